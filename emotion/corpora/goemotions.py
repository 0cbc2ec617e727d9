"""GoEmotions: Reddit comments with 27 emotions, here in its Ekman grouping, which is our seven.

Demszky et al., "GoEmotions: A dataset of fine-grained emotions" (ACL 2020), Apache-2.0. Read from
`goemotions.jsonl.gz`, one comment a line: {"split", "turns": [{"text", "emotion": [...]}]}.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS, Emotion

__all__ = ["EKMAN", "FINE", "Comments", "load_comments"]

PLACES = ("dialogue/goemotions.jsonl.gz", "goemotions.jsonl.gz")

EKMAN: dict[Emotion, tuple[str, ...]] = {
    "angry": ("anger", "annoyance", "disapproval"),
    "disgust": ("disgust",),
    "fear": ("fear", "nervousness"),
    "happy": (
        "admiration",
        "amusement",
        "approval",
        "caring",
        "desire",
        "excitement",
        "gratitude",
        "joy",
        "love",
        "optimism",
        "pride",
        "relief",
    ),
    "neutral": ("neutral",),
    "sad": ("disappointment", "embarrassment", "grief", "remorse", "sadness"),
    "surprise": ("confusion", "curiosity", "realization", "surprise"),
}
"""The published grouping (`ekman_mapping.json`), joy named happy."""

FINE: tuple[str, ...] = tuple(fine for emotion in EMOTIONS for fine in EKMAN[emotion])
"""The 27 emotions and neutral, those of one group together."""


@dataclass(frozen=True)
class Comments:
    """One part of the corpus.

    Attributes:
        texts: The comments.
        labels: (comment, emotion) bool; a comment may have several.
        fine: (comment, 28) bool, in the order of FINE.
    """

    texts: tuple[str, ...] = field(repr=False)
    labels: npt.NDArray[np.bool_]
    fine: npt.NDArray[np.bool_]


def load_comments(root: Path, split: str) -> Comments:
    """Read one part: "train", "valid" or "test".

    Raises:
        CorpusError: If the file or the part is missing, or a line cannot be read.
    """
    path = next((root / place for place in PLACES if (root / place).is_file()), None)
    if path is None:
        raise CorpusError(f"Expected {' or '.join(PLACES)} in {root}, found neither.")
    texts: list[str] = []
    said: list[list[int]] = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for comment in map(json.loads, lines):
                if comment["split"] == split:
                    turn = comment["turns"][0]
                    said.append([FINE.index(fine) for fine in turn["emotion"]])
                    texts.append(turn["text"])
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        line = len(texts) + 1
        raise CorpusError(f"Unreadable comment after {line} of {split} in {path}.") from error
    if not texts:
        raise CorpusError(f"Expected comments of the part {split!r} in {path}, found none.")
    return Comments(tuple(texts), *_labels(said))


def _labels(said: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Emotions (comment, emotion) and fine ones (comment, 28) from the numbers in FINE."""
    fine = np.zeros((len(said), len(FINE)), dtype=bool)
    for row, numbers in zip(fine, said, strict=True):
        row[numbers] = True
    sizes = [len(EKMAN[emotion]) for emotion in EMOTIONS]
    begins = np.cumsum([0, *sizes[:-1]])
    return np.logical_or.reduceat(fine, begins, axis=1), fine
