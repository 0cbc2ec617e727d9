"""Which runs of words a model learnt from, so that it says nobody's whole sentence again.

Models of language repeat what they were trained on (Carlini et al. 2021, arXiv:2012.07805). The
runs are kept as a Bloom filter (Bloom 1970): two megabytes that no text can be read from, which
never miss a run and take one in twenty for learnt that was not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from dialogue.errors import ModelError
from dialogue.text import bare

__all__ = ["RUN_WORDS", "LearnedText", "has_learned_text"]

RUN_WORDS: Final = 9
"""Words of a run: a text of fewer is anybody's."""
_BITS_A_RUN: Final = 6
_HASHES: Final = 4
"""Of a run; near the best for so many bits, ln 2 × 6."""
_FILE: Final = "learned_text.safetensors"


class LearnedText:
    """Tells whether a text stands word for word in what a model learnt from.

    Args:
        bits: (byte,) uint8, the filter.
    """

    def __init__(self, bits: np.ndarray) -> None:
        self._bits = bits

    @classmethod
    def of(cls, texts: Iterable[str]) -> LearnedText:
        """Remember the runs of some texts."""
        runs = {digest for text in texts for digest in _digests(text)}
        bits = np.zeros(max(1, len(runs) * _BITS_A_RUN // 8), np.uint8)
        places = _places(b"".join(runs), 8 * len(bits)).ravel()
        np.bitwise_or.at(bits, places >> 3, np.left_shift(1, places & 7).astype(np.uint8))
        return cls(bits)

    def holds(self, text: str) -> bool:
        """Whether all runs of a text were learnt; False for one too short to have any.

        Case and punctuation do not count.
        """
        runs = b"".join(_digests(text))
        places = _places(runs, 8 * len(self._bits))
        found = self._bits[places >> 3] >> (places & 7) & 1
        return bool(runs) and bool(found.all())

    def save(self, folder: Path) -> None:
        """Write the filter beside its model."""
        facts = {"run_words": str(RUN_WORDS), "hashes": str(_HASHES)}
        save_file({"bits": self._bits}, folder / _FILE, facts)
        (folder / _FILE).chmod(0o644)  # written as 600, which no installer would share

    @classmethod
    def load(cls, folder: Path) -> LearnedText:
        """Read what `save` wrote.

        Raises:
            ModelError: If the file is missing or damaged, or counts runs another way.
        """
        try:
            with safe_open(folder / _FILE, "np") as file:
                facts, bits = file.metadata() or {}, file.get_tensor("bits")
        except Exception as error:  # damaged files raise what their reader likes
            raise ModelError(f"Expected a whole {_FILE} in {folder}, got {error!r}.") from error
        if (facts.get("run_words"), facts.get("hashes")) != (str(RUN_WORDS), str(_HASHES)):
            raise ModelError(
                f"Expected runs of {RUN_WORDS} words in {folder / _FILE}, got {facts}."
            )
        return cls(bits)


def has_learned_text(folder: Path) -> bool:
    """Whether a filter lies in a model's folder."""
    return (folder / _FILE).is_file()


def _digests(text: str) -> Iterator[bytes]:
    words = bare(text).split()
    runs = (words[i : i + RUN_WORDS] for i in range(len(words) - RUN_WORDS + 1))
    return (hashlib.blake2b(" ".join(run).encode(), digest_size=16).digest() for run in runs)


def _places(digests: bytes, bits: int) -> np.ndarray:
    """Say where the bits of runs are, (run, hash): two hashes make all (Kirsch & Mitzenmacher)."""
    first, second = np.frombuffer(digests, "<u8").reshape(-1, 2, 1).swapaxes(0, 1)
    hashes: np.ndarray = first + np.arange(_HASHES, dtype=np.uint64) * second
    return (hashes % np.uint64(bits)).astype(np.int64)
