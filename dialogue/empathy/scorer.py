"""How empathetic a reply is, by EPITOME's three mechanisms; the bundled scorer or any other.

A scorer's folder is config.json (order of mechanisms and levels, shape, facts of its training, the
sha256 of the other files), model.safetensors and tokenizer.json; no pickle.

A scorer that goes by words can be gamed: a reply of stock phrases scores high. So nothing in this
project is trained against it, nor are replies chosen by it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast

import numpy as np
import numpy.typing as npt

from dialogue.empathy.annotations import LEVELS, MECHANISMS
from dialogue.empathy.sentences import CUES
from dialogue.errors import InputError, ModelError
from dialogue.models.base import Device, pick_device

if TYPE_CHECKING:
    from dialogue.empathy.network import ReplyNetwork
    from dialogue.empathy.reading import SentenceReader
    from dialogue.empathy.stack import Stack

__all__ = ["LEVELS", "MECHANISMS", "WEIGHTS", "EmpathyScorer", "StackedScorer", "load_scorer"]

WEIGHTS: Final = Path(__file__).parent / "weights"
"""The scorer that comes with this package."""

_ARCHITECTURE: Final = "EmpathyStack"
_CONFIG, _TENSORS, _TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
_TRUNK, _NETWORK, _TEMPERATURES = "trunk.", "network.", "temperatures"
_PAIRS_AT_ONCE: Final = 256
NETWORK_SHARE: Final = 0.4
"""Weight of the network beside the regressions. Chosen by looking at the first fold."""
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class EmpathyScorer(Protocol):
    """Judges replies."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """Say how likely each level of each mechanism is.

        Args:
            pairs: What the person said, and the response.

        Returns:
            (pair, mechanism, level) float64: calibrated probabilities of levels 0, 1 and 2 of
            `MECHANISMS`; over the levels they sum to 1.

        Raises:
            InputError: If a response has no words.
        """


def load_scorer(source: str | Path | None = None, device: str = "auto") -> EmpathyScorer:
    """Load a scorer; the network is used for a hub id only.

    Args:
        source: None for the bundled one; a folder that `attune train-empathy` wrote; or a folder
            or hub id of sequence classifiers of transformers that read a post and a response as a
            pair of texts: either one with nine labels `<mechanism>_<level>`, or three in the
            subfolders `emotional_reactions`, `interpretations` and `explorations`, each with its
            levels 0, 1 and 2 in this order.
        device: `auto` takes a GPU where there is one.

    Raises:
        ModelError: If there is no such scorer, it is damaged, or its labels are others.
    """
    name = str(WEIGHTS if source is None else source)
    folder = Path(name or "no name")  # the path of no name would be the folder one is in
    where = pick_device(cast(Device, device))
    if folder.is_dir() and _is_ours(folder):
        return StackedScorer.load(folder, where)
    if not folder.is_dir() and not _HUB_ID.fullmatch(name):
        raise ModelError(f"Expected a scorer's folder or hub id, got {name!r}.")
    from dialogue.empathy.classifiers import load_classifiers

    return load_classifiers(name, where)


def _is_ours(folder: Path) -> bool:
    """Whether a folder is in this package's format, damaged or not."""
    path = folder / _CONFIG
    if not path.is_file():
        return (folder / _TENSORS).is_file()
    return b'"model_type"' not in path.read_bytes()


def checked(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return pairs as a list.

    Raises:
        InputError: If one is no pair of texts, or its response has no words.
    """
    for number, pair in enumerate(pairs):
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise InputError(f"Expected pairs of texts, got a {type(pair).__name__} at {number}.")
        if not pair[1].strip():
            raise InputError(f"Expected a response with words, got an empty one at {number}.")
    return list(pairs)


class StackedScorer:
    """The scorer of this project: `dialogue.empathy.stack` and `dialogue.empathy.network`, mixed.

    Args:
        reader: Whose states both go by.
        stack: The regressions.
        network: Taught to read whole replies.
        temperatures: (mechanism,) by which mixed log-probabilities are divided.
        training: Facts of its training, as plain JSON.
    """

    def __init__(
        self,
        reader: SentenceReader,
        stack: Stack,
        network: ReplyNetwork,
        temperatures: npt.NDArray[np.float32],
        training: Mapping[str, Any] | None = None,
    ) -> None:
        self._reader = reader
        self._stack = stack
        self._network = network
        self._temperatures = temperatures
        self.training = dict(training or {})

    def score(self, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """Say how likely levels are, (pair, mechanism, level); see `EmpathyScorer.score`."""
        taken = checked(pairs)
        parts = [taken[i : i + _PAIRS_AT_ONCE] for i in range(0, len(taken), _PAIRS_AT_ONCE)]
        found = [np.exp(self._log_probabilities(part)) for part in parts]
        probabilities = np.concatenate([np.zeros((0, len(MECHANISMS), len(LEVELS))), *found])
        normal: npt.NDArray[np.float64] = probabilities / probabilities.sum(-1, keepdims=True)
        return normal

    def _log_probabilities(self, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        from dialogue.empathy.stack import log_softmax, mixed, views_of

        views = views_of(pairs, self._reader)
        stacked = self._stack.log_probabilities(views)
        found = mixed(stacked, self._network.log_probabilities(views.windows), NETWORK_SHARE)
        return log_softmax(found / self._temperatures[:, None])

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors and tokenizer.json."""
        from safetensors.numpy import save as to_bytes

        from dialogue.empathy.network import stored_network

        folder.mkdir(parents=True, exist_ok=True)
        named = {f"{_TRUNK}{name}": array for name, array in self._reader.stored.items()}
        network = stored_network(self._network)
        named |= {f"{_NETWORK}{name}": array for name, array in network.items()}
        named |= self._stack.arrays() | {_TEMPERATURES: self._temperatures}
        arrays = {name: np.asarray(array, order="C") for name, array in named.items()}
        tensors, tokenizer = to_bytes(arrays), self._reader.tokenizer_json().encode()
        config = {
            "architecture": _ARCHITECTURE,
            "mechanisms": MECHANISMS,
            "levels": LEVELS,
            "cues": CUES,
            "trunk": asdict(self._reader.shape),
            "network": asdict(self._network.shape),
            "sha256": {_TENSORS: _digest(tensors), _TOKENIZER: _digest(tokenizer)},
            "training": self.training,
        }
        written = (json.dumps(config, indent=2) + "\n").encode()
        for name, content in ((_TENSORS, tensors), (_TOKENIZER, tokenizer), (_CONFIG, written)):
            partial = folder / f"{name}.partial"
            partial.write_bytes(content)
            partial.replace(folder / name)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Self:
        """Read what `save` wrote.

        Raises:
            ModelError: If a file is missing or damaged, or was written for other mechanisms.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load as from_bytes

        from dialogue.empathy.network import NetworkShape, restored_network
        from dialogue.empathy.reading import SentenceReader, TrunkShape
        from dialogue.empathy.stack import Stack

        config = _config(folder)
        tensors = _checked_file(folder, _TENSORS, config)
        tokenizer = _checked_file(folder, _TOKENIZER, config)
        try:
            arrays = from_bytes(tensors)
            reader = SentenceReader.restored(
                _part(arrays, _TRUNK), tokenizer.decode(), TrunkShape(**config["trunk"]), device
            )
            shape = NetworkShape(**config["network"])
            network = restored_network(_part(arrays, _NETWORK), shape, device)
            return cls(reader, Stack.of(arrays), network, arrays[_TEMPERATURES], config["training"])
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"Expected an empathy scorer in {folder}, got: {error}.") from error


def _part(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads(_read(folder / _CONFIG))
    except ValueError as error:
        raise ModelError(f"Expected JSON in {folder / _CONFIG}, got: {error}.") from error
    wanted = {
        "architecture": _ARCHITECTURE,
        "mechanisms": list(MECHANISMS),
        "levels": list(LEVELS),
        "cues": list(CUES),
    }
    got = config if isinstance(config, dict) else {}
    for key, value in wanted.items():
        if got.get(key) != value:
            raise ModelError(
                f"Expected {key} {value} in {folder / _CONFIG}, got {got.get(key, 'none')}."
            )
    if missing := {"trunk", "network", "sha256", "training"} - got.keys():
        raise ModelError(f"Expected {', '.join(sorted(missing))} in {folder / _CONFIG}, got none.")
    return got


def _checked_file(folder: Path, name: str, config: Mapping[str, Any]) -> bytes:
    content = _read(folder / name)
    wanted = dict(config["sha256"]).get(name)
    if _digest(content) != wanted:
        raise ModelError(f"Expected {folder / name} with sha256 {wanted}, got {_digest(content)}.")
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"Expected a scorer's file {path}, got: {error.strerror}.") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
