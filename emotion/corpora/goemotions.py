"""GoEmotions: Reddit comments with 27 emotions, here in its Ekman grouping, which is our seven.

Demszky et al., "GoEmotions: A dataset of fine-grained emotions" (ACL 2020), Apache-2.0. Read from
`goemotions.jsonl.gz`, one comment a line: {"split", "turns": [{"text", "emotion": [...]}]}.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS, Emotion

__all__ = ["EKMAN", "Comments", "load_comments"]

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


@dataclass(frozen=True)
class Comments:
    """One part of the corpus.

    Attributes:
        texts: The comments.
        labels: (comment, emotion) bool; a comment may have several.
    """

    texts: tuple[str, ...] = field(repr=False)
    labels: npt.NDArray[np.bool_]


def load_comments(root: Path, split: str) -> Comments:
    """Read one part: "train", "valid" or "test".

    Raises:
        CorpusError: If the file or the part is missing, or a line cannot be read.
    """
    path = next((root / place for place in PLACES if (root / place).is_file()), None)
    if path is None:
        raise CorpusError(f"Expected {' or '.join(PLACES)} in {root}, found neither.")
    group = {fine: i for i, emotion in enumerate(EMOTIONS) for fine in EKMAN[emotion]}
    texts: list[str] = []
    labels: list[list[bool]] = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for comment in map(json.loads, lines):
                if comment["split"] == split:
                    turn = comment["turns"][0]
                    said = {group[fine] for fine in turn["emotion"]}
                    texts.append(turn["text"])
                    labels.append([i in said for i in range(len(EMOTIONS))])
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        line = len(texts) + 1
        raise CorpusError(f"Unreadable comment after {line} of {split} in {path}.") from error
    if not texts:
        raise CorpusError(f"Expected comments of the part {split!r} in {path}, found none.")
    return Comments(tuple(texts), np.array(labels))
