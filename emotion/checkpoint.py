"""A checkpoint is a folder of config.json and model.safetensors: no pickle, nothing implied.

config.json holds the architecture's name, its configuration, the order of the labels, the sha256
of model.safetensors and the facts of its training (recipe, corpora, speakers held out, seed,
temperatures). On disk matrices are float16, or int8 with a scale a row; everything with one axis or
none is float32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt

from emotion.errors import CheckpointError
from emotion.labels import EMOTIONS
from emotion.quantisation import packed, unpacked

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BUNDLED", "Stored", "bundled", "digest", "load", "read", "save", "write"]

BUNDLED: Final = Path(__file__).parent / "weights"
"""The weights that come with this package, a checkpoint a folder."""

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_ARCHITECTURES = {
    "AMFBP": ("emotion.models.deep_fusion", "AMFBPConfig"),
    "AdaptiveVoice": ("emotion.models.adaptive_voice", "AdaptiveVoiceConfig"),
    "AttentionFBP": ("emotion.models.fusion", "AttentionFBPConfig"),
    "AttentionFCN": ("emotion.models.attention_fcn", "AttentionFCNConfig"),
    "AudioVisualFBP": ("emotion.models.deep_fusion", "AudioVisualFBPConfig"),
    "ConcatFusion": ("emotion.models.decision", "ConcatFusionConfig"),
    "EndToEnd": ("emotion.models.end_to_end", "EndToEndConfig"),
    "FaceCNN": ("emotion.models.face_cnn", "FaceCNNConfig"),
    "FaceEncoder": ("emotion.models.face_backbones", "FaceEncoderConfig"),
    "FrameAverage": ("emotion.models.frames", "FrameAverageConfig"),
    "FrameConcat": ("emotion.models.frames", "FrameConcatConfig"),
    "FrameLSTM": ("emotion.models.frames", "FrameLSTMConfig"),
    "GatedFBP": ("emotion.models.fusion", "GatedFBPConfig"),
    "LearntDecision": ("emotion.models.decision", "LearntDecisionConfig"),
    "MultiLevelFBP": ("emotion.models.multi_level_fbp", "MultiLevelFBPConfig"),
    "SoundNet": ("emotion.models.soundnet", "SoundNetConfig"),
}

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Stored:
    """What a checkpoint folder holds.

    Attributes:
        architecture: Name of the model's class.
        config: Its configuration, as plain JSON.
        training: Facts of its training: recipe, corpora, speakers held out, temperatures, ...
        arrays: Weights by name.
    """

    architecture: str
    config: dict[str, Any]
    training: dict[str, Any]
    arrays: Arrays


def bundled(name: str) -> Path:
    """Folder of a bundled checkpoint: "face", "voice", "fusion" or "words"."""
    return BUNDLED / name


def save(
    folder: str | Path,
    model: nn.Module,
    config: object,
    *,
    training: Mapping[str, Any],
    bits: Literal[8, 16] = 16,
) -> None:
    """Write a model's checkpoint; a reader never sees half of one.

    Args:
        folder: Where to; made if missing.
        model: One of the networks of `emotion.models`.
        config: Its frozen configuration.
        training: Facts of its training, plain JSON.
        bits: Of a stored weight of a matrix.
    """
    whole = {k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}
    arrays = packed(whole) if bits == 8 else {k: _halved(v) for k, v in whole.items()}
    write(folder, Stored(type(model).__name__, asdict(cast(Any, config)), dict(training), arrays))


def load(folder: str | Path, *architectures: str) -> Any:
    """Read a model in float32, ready to infer.

    Args:
        folder: Where it is.
        architectures: Names of the classes it may be of; none given, it may be of any known one.

    Raises:
        CheckpointError: If a file is missing or damaged, or belongs to another model.
    """
    stored = read(folder)
    wanted = architectures or tuple(_ARCHITECTURES)
    if stored.architecture not in wanted:
        raise CheckpointError(
            f"Expected a checkpoint of {' or '.join(wanted)} in {folder}, "
            f"got {stored.architecture!r}."
        )
    module_name, config_name = _ARCHITECTURES[stored.architecture]
    module = import_module(module_name)
    try:
        config = getattr(module, config_name)(**stored.config)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"Unusable configuration in {folder}: {error}") from error
    model = getattr(module, stored.architecture)(config)
    _fill(model, stored.arrays, folder)
    return model.eval()


def digest(folder: str | Path) -> str:
    """Sha256 of a checkpoint's weights, as its config.json states it.

    Raises:
        CheckpointError: If there is no readable config.json.
    """
    sha256: str = _config(Path(folder))["sha256"]
    return sha256


def write(folder: str | Path, stored: Stored) -> None:
    """Write arrays and facts as they are, weights first."""
    from safetensors.numpy import save as to_bytes

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = to_bytes({k: np.asarray(v, order="C") for k, v in stored.arrays.items()})
    config = {
        "architecture": stored.architecture,
        "config": stored.config,
        "labels": EMOTIONS,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "training": stored.training,
    }
    _replace(folder / WEIGHTS_FILE, weights)
    _replace(folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())


def read(folder: str | Path) -> Stored:
    """Read a checkpoint's arrays and facts, checking labels and checksum; int8 becomes float32.

    Raises:
        CheckpointError: If a file is missing or damaged, or the label order differs.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    folder = Path(folder)
    config, weights = _config(folder), _bytes(folder / WEIGHTS_FILE)
    if tuple(config["labels"]) != EMOTIONS:
        wanted, got = ", ".join(EMOTIONS), ", ".join(map(str, config["labels"]))
        raise CheckpointError(f"Expected the labels {wanted} in {folder}, got {got}.")
    digest = hashlib.sha256(weights).hexdigest()
    if digest != config["sha256"]:
        raise CheckpointError(
            f"Expected {folder / WEIGHTS_FILE} with sha256 {config['sha256']}, got {digest}."
        )
    try:
        arrays = unpacked(from_bytes(weights))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"Unreadable weights in {folder}: {error}") from error
    return Stored(config["architecture"], config["config"], config["training"], arrays)


def _config(folder: Path) -> dict[str, Any]:
    content = _bytes(folder / CONFIG_FILE)  # its error is a ValueError too
    try:
        config = json.loads(content)
    except ValueError as error:
        raise CheckpointError(
            f"Expected JSON in {folder / CONFIG_FILE}, got what fails with: {error}."
        ) from error
    wanted = {"architecture", "config", "labels", "sha256", "training"}
    if not isinstance(config, dict) or not wanted <= set(config):
        missing = ", ".join(sorted(wanted - set(config)))
        raise CheckpointError(f"Expected {missing} in {folder / CONFIG_FILE}, got none.")
    return config


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"Expected a checkpoint file {path}, got: {error.strerror}."
        ) from error


def _fill(model: nn.Module, arrays: Arrays, folder: str | Path) -> None:
    import torch

    wanted = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    got = {k: tuple(v.shape) for k, v in arrays.items()}
    if wanted != got:
        differing = sorted(k for k in wanted.keys() | got if wanted.get(k) != got.get(k))
        name = differing[0]
        raise CheckpointError(
            f"Expected {name} of shape {wanted.get(name)} in {folder}, got {got.get(name)}"
            f" ({len(differing)} weights differ)."
        )
    model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in arrays.items()})


def _halved(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Matrices, (row, column) or more axes, as float16; anything with fewer axes as it is."""
    return array.astype(np.float16) if array.ndim > 1 and array.dtype == np.float32 else array


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
