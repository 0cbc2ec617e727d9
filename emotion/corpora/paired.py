"""The one openly usable set of real pairs here: features of the face and of the voice of one clip.

270 clips of RAVDESS speech (18 actors, 15 clips each), one row a clip: acoustic measurements (f0,
formants, loudness, MFCC means and variances, ...) and what a face analyser made of its frames (mean
and deviation of seven emotion scores, of action units and of how open the mouth is).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS, Emotion

__all__ = ["PAIRED_LABELS", "PairedFeatures", "load_paired"]

PLACES = ("paired/ravdess_paired_features.csv", "ravdess_paired_features.csv")

PAIRED_LABELS: dict[str, Emotion] = {
    "angry": "angry",
    "calm": "neutral",
    "disgust": "disgust",
    "fearful": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprised": "surprise",
}

_ABOUT = ("emotion", "intensity", "actor", "gender")
_DIVIDER = "file"  # acoustic columns stand before it, facial ones behind


@dataclass(frozen=True)
class PairedFeatures:
    """Some clips.

    Attributes:
        voice: (clip, feature) float64, nan where a measurement is missing.
        face: (clip, feature) float64, likewise.
        labels: (clip,) index into EMOTIONS.
        actors: Who speaks, as "ravdess:<two digits>".
    """

    voice: npt.NDArray[np.float64] = field(repr=False)
    face: npt.NDArray[np.float64] = field(repr=False)
    labels: npt.NDArray[np.int64]
    actors: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> PairedFeatures:
        """Pick the clips at `indices` (clip,)."""
        actors = tuple(self.actors[i] for i in indices)
        return PairedFeatures(self.voice[indices], self.face[indices], self.labels[indices], actors)


def load_paired(root: Path) -> PairedFeatures:
    """Read all clips, in the order of the file.

    Raises:
        CorpusError: If the table is missing, or a column, an emotion or a number is not right.
    """
    path = next((root / place for place in PLACES if (root / place).is_file()), None)
    if path is None:
        raise CorpusError(f"Expected {' or '.join(PLACES)} in {root}, found neither.")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    missing = [name for name in (_DIVIDER, *_ABOUT) if name not in columns]
    if missing:
        raise CorpusError(f"Expected the column {missing[0]} in {path}, got {len(columns)} others.")
    divider = columns.index(_DIVIDER)
    face = [name for name in columns[divider + 1 :] if name not in _ABOUT]
    try:
        return PairedFeatures(
            voice=_numbers(rows, columns[:divider]),
            face=_numbers(rows, face),
            labels=np.array([EMOTIONS.index(PAIRED_LABELS[row["emotion"]]) for row in rows]),
            actors=tuple(f"ravdess:{int(row['actor']):02}" for row in rows),
        )
    except (KeyError, ValueError) as error:
        raise CorpusError(f"Unreadable row in {path}: {error}.") from error


def _numbers(rows: Sequence[dict[str, str]], names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Columns (row, name) as numbers, nan where a cell is empty."""
    return np.array([[float(row[name] or "nan") for name in names] for row in rows])
