"""Brings weights that others published into checkpoints of this package, once.

Published files are PyTorch pickles. Only their tensors are read (`weights_only=True`): a file that
holds anything else is refused. After `attune convert` nothing but safetensors is touched again.

    kind                  file                                            into
    alexnet               torchvision's alexnet-owt-7be5be79.pth          AttentionFCN, TORCHVISION
    vgg-face              VGG-Face (Parkhi 2015) as ported to PyTorch:    FaceEncoder
                          vgg_face_dag.pth
    resnet50              torchvision's resnet50-*.pth                    FaceEncoder
    inception-v3          torchvision's inception_v3_google-*.pth         FaceEncoder
    inception-resnet-v1   facenet-pytorch's 20180402-114759-vggface2.pt   FaceEncoder
    soundnet              SoundNet (Aytar 2016) as ported to PyTorch:     SoundNet
                          soundnet8_final.pth, sound8.pth
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.errors import CheckpointError
from emotion.models.attention_fcn import TORCHVISION, AttentionFCN
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig
from emotion.models.soundnet import SoundNet, SoundNetConfig

__all__ = ["KINDS", "Published", "convert", "load_weights", "with_layer"]

HUB = "hub:"
"""A file of the Hugging Face hub is written hub:OWNER/REPOSITORY/FILE."""


@dataclass(frozen=True)
class Published:
    """How one family of published files becomes a checkpoint.

    Attributes:
        model: Class of our network.
        config: Its configuration, as published.
        rules: Published names (a pattern that matches the whole name) and ours; None leaves the
            weight out.
        ours: Start of the names in our network that the file must fill.
    """

    model: Callable[[Any], nn.Module]
    config: Any
    rules: tuple[tuple[str, str | None], ...]
    ours: str


def _face(kind: Any, *rules: tuple[str, str | None]) -> Published:
    return Published(FaceEncoder, FaceEncoderConfig(kind=kind), rules, "backbone.")


_HEAD = (r"(fc|AuxLogits|logits)\..+", None)
_REST = (r"(.+)", r"backbone.\1")
_ALEXNET_PLACES = ("0", "3", "6", "8", "10")  # of the convolutions in torchvision's `features`


def _soundnet_rules() -> list[tuple[str, str | None]]:
    """Layers counted from 1 there and from 0 here; one port keeps each in a Sequential."""
    rules: list[tuple[str, str | None]] = [(r"conv8\w*\..+", None)]
    for block in range(7):
        layer = block + 1
        rules += [
            (rf"conv{layer}(?:\.0)?\.(weight|bias)", rf"blocks.{block}.0.\1"),
            (rf"(?:batchnorm{layer}|conv{layer}\.1)\.(\w+)", rf"blocks.{block}.1.\1"),
        ]
    return rules


KINDS: Final[dict[str, Published]] = {
    "alexnet": Published(
        AttentionFCN,
        TORCHVISION,
        (
            *(
                (rf"features\.{place}\.(weight|bias)", rf"blocks.{index}.0.\1")
                for index, place in enumerate(_ALEXNET_PLACES)
            ),
            (r"classifier\..+", None),
        ),
        "blocks.",
    ),
    "vgg-face": _face(
        "vgg-face",
        (r"(?:features\.)?conv_?(\d)_(\d)\.(weight|bias)", r"backbone.conv\1_\2.\3"),
        (r"(?:fc\.)?(fc[67])\.(weight|bias)", r"backbone.\1.\2"),
        (r"(?:fc\.)?fc8\.(weight|bias)", None),
    ),
    "resnet50": _face("resnet50", _HEAD, _REST),
    "inception-v3": _face("inception-v3", _HEAD, _REST),
    "inception-resnet-v1": _face("inception-resnet-v1", _HEAD, _REST),
    "soundnet": Published(
        SoundNet,
        SoundNetConfig(layer="conv7"),
        tuple(_soundnet_rules()),
        "blocks.",
    ),
}
"""Every kind of published file that `attune convert` knows."""


def convert(kind: str, file: str, out: str | Path, *, config: Any = None) -> nn.Module:
    """Write a published file's weights as a checkpoint of this package; return the model.

    What the file does not hold, the emotion classifier first of all, starts at random (seed 0): the
    checkpoint is where training starts, not a recogniser.

    Args:
        kind: A name in `KINDS`.
        file: The published file, a safetensors file of the same names, or hub:OWNER/REPO/FILE.
        out: Folder of the checkpoint.
        config: Another configuration of the same network, such as another layer to take.

    Raises:
        CheckpointError: If the kind is unknown, the file cannot be read or runs code, or its
            weights are not those of the network.
    """
    if kind not in KINDS:
        raise CheckpointError(f"Expected a kind among {', '.join(KINDS)}, got {kind!r}.")
    published = KINDS[kind]
    config = published.config if config is None else config
    path = _fetched(file)
    given = _read(path)
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch.Generator().manual_seed(0).get_state())
        model = published.model(config)
    left_out = _fill(model, given, published, file)
    facts = {
        "recipe": f"convert {kind}",
        "file": Path(file).name,
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "left_out": left_out,
        "filled": published.ours,
    }
    checkpoint.save(out, model, config, training=facts)
    return model


def load_weights(model: nn.Module, folder: str | Path, only: str = "") -> list[str]:
    """Copy a checkpoint's weights into a network of the same or of another kind, by name.

    So AlexNet's convolutions reach any `AttentionFCN` of that layout, the bundled face model's a
    compact `FaceEncoder`, and a network fine-tuned on photographs the face branch of a fusion.

    Args:
        model: What to fill; names that only one side has are left alone.
        folder: Of the checkpoint.
        only: Start of the names to copy.

    Returns:
        The names copied.

    Raises:
        CheckpointError: If no name is shared, or a shared one has another shape.
    """
    mine = model.state_dict()
    arrays = checkpoint.read(folder).arrays
    shared = sorted(name for name in arrays if name in mine and name.startswith(only))
    if not shared:
        start = f" that start with {only!r}" if only else ""
        raise CheckpointError(f"Expected weights{start} shared with {folder}, got none.")
    for name in shared:
        if arrays[name].shape != tuple(mine[name].shape):
            raise CheckpointError(
                f"Expected {name} of shape {tuple(mine[name].shape)} in {folder}, "
                f"got {arrays[name].shape}."
            )
        mine[name].copy_(torch.from_numpy(arrays[name].copy()))
    return shared


def with_layer(kind: str, layer: str | None) -> Any:
    """Return the configuration of a kind with another layer as its vector; None keeps its own.

    Raises:
        CheckpointError: If that kind has no such layer.
    """
    config = KINDS[kind].config
    if layer is None:
        return config
    if kind not in ("vgg-face", "soundnet"):
        raise CheckpointError(f"Expected no layer for {kind}, got {layer!r}: it has one vector.")
    try:
        return replace(config, layer=layer)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def _fetched(file: str) -> Path:
    """Find the file on this machine; one of the hub is fetched, as its user asked."""
    if not file.startswith(HUB):
        return Path(file)
    owner, _, rest = file.removeprefix(HUB).partition("/")
    repository, _, name = rest.partition("/")
    if not name:
        raise CheckpointError(f"Expected {HUB}OWNER/REPOSITORY/FILE, got {file!r}.")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(f"{owner}/{repository}", name))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(f"Expected {file} on the hub, got: {error}") from error


def _read(path: Path) -> Mapping[str, Tensor]:
    """Tensors by their published names, of a state dict or a file that wraps one."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(
            f"Expected published weights in {path}, got: {error.strerror}."
        ) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"Expected tensors only in {path}, got a pickle that runs code when it is read."
        ) from error
    except Exception as error:  # a damaged file fails in as many ways as there are damages
        raise CheckpointError(
            f"Expected a PyTorch state dict in {path}, got what cannot be read as one."
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(torch.is_tensor(x) for x in content.values()):
        raise CheckpointError(f"Expected a state dict in {path}, got {type(content).__name__}.")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def _fill(
    model: nn.Module, given: Mapping[str, Tensor], published: Published, file: str
) -> list[str]:
    """Copy the tensors over; return the published names that have no place here."""
    mine = model.state_dict()
    wanted = {n for n in mine if n.startswith(published.ours) and not n.endswith("_tracked")}
    left_out = []
    for name, tensor in given.items():
        ours = _renamed(name, published, file)
        if ours not in mine:
            left_out.append(name)
            continue
        mine[ours].copy_(_fitted(tensor, mine[ours], name, file))
        wanted.discard(ours)
    if wanted:
        raise CheckpointError(
            f"Expected weights for {min(wanted)} in {file}, got none ({len(wanted)} are missing)."
        )
    return left_out


def _renamed(name: str, published: Published, file: str) -> str | None:
    """Our name of a published weight, None where it is left out."""
    for pattern, ours in published.rules:
        match = re.fullmatch(pattern, name)
        if match is not None:
            return None if ours is None else match.expand(ours)
    raise CheckpointError(f"Expected the names of published weights in {file}, got {name!r}.")


def _fitted(tensor: Tensor, ours: Tensor, name: str, file: str) -> Tensor:
    """Bring a published tensor to our shape, where the same numbers are only written otherwise.

    A first layer made for colour is summed over it, which is what three equal channels would give;
    a full layer written as a convolution, and a convolution over time written in two dimensions,
    are the same numbers in the same order.
    """
    if tensor.ndim == 4 and tensor.shape[1] == 3 and ours.shape[1:2] == (1,):
        tensor = tensor.sum(dim=1, keepdim=True)
    if tensor.ndim == 4 and ours.ndim in (2, 3) and tensor.numel() == ours.numel():
        tensor = tensor.flatten(1) if ours.ndim == 2 else tensor.squeeze(3)
    if tensor.shape != ours.shape:
        raise CheckpointError(
            f"Expected {name} to fit {tuple(ours.shape)} in {file}, got {tuple(tensor.shape)}."
        )
    return tensor
