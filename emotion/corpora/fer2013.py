"""FER2013, and the FER+ votes for the same photographs.

Goodfellow et al., "Challenges in representation learning" (ICONIP 2013): 48 x 48 grey faces found
by web search, as `<split>/<emotion>/<name>.png`. Barsoum et al., "Training deep networks for facial
expression recognition with crowd-sourced label distribution" (ICMI 2016): ten votes a photograph in
`fer2013new.csv`; its votes for contempt, unknown and not-a-face are dropped here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from emotion.corpora.archive import Archive, cached_arrays
from emotion.corpora.clip import Clip
from emotion.corpora.corpus import Corpus, Counts, Labels, Split, known_emotion
from emotion.errors import CorpusError
from emotion.labels import EMOTIONS

__all__ = ["FER2013", "FERPLUS_LABELS", "Faces", "load_faces"]

PLACES = ("fer2013/fer2013.zip", "fer2013.zip", "fer2013")
VOTES = ("fer2013/fer2013new.csv", "fer2013new.csv")
SIDE = 48

FERPLUS_LABELS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}
"""Our names to FER+'s columns."""

_SPLITS: dict[str, Split] = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}


def _read(archive: Archive, labels: Labels) -> Iterator[Clip]:
    """One clip a photograph, its part in place of the person nobody named."""
    for name in archive.names:
        parts = PurePosixPath(name).parts
        split = next((_SPLITS[part] for part in parts[:-2] if part in _SPLITS), None)
        if name.endswith(".png") and split:
            emotion = known_emotion(parts[-2], labels, name)
            if emotion is not None:
                yield Clip("fer2013", name, emotion, f"fer2013:{split}", split=split, video=name)


FER2013 = Corpus(
    "fer2013",
    "FER2013 and FER+",
    "challenge data, research",
    "https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-"
    "recognition-challenge",
    PLACES,
    ("face",),
    Counts(
        35_887,
        None,
        {"train": 28_709, "valid": 3_589, "test": 3_589},
        {
            "angry": 4953,
            "disgust": 547,
            "fear": 5121,
            "happy": 8989,
            "neutral": 6198,
            "sad": 6077,
            "surprise": 4002,
        },
        source="Goodfellow et al. 2013, and the file of the challenge",
    ),
    {emotion: emotion for emotion in EMOTIONS},
    _read,
    trains=True,
    beside=VOTES,
    note="photographs, nobody is named: use the official split; FER+'s votes are in "
    "github.com/microsoft/FERPlus",
)


@dataclass(frozen=True)
class Faces:
    """One part of FER2013 in memory.

    Attributes:
        images: (image, 48, 48) uint8 grey levels.
        labels: (image,) index into EMOTIONS, FER2013's own label.
        votes: (image, emotion) float32, FER+'s votes as probabilities; all 0 where nobody voted
            for one of the seven, or where the votes are not at hand.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    votes: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[Any]) -> Faces:
        """Pick the faces at `indices` (face,), or where a mask (image,) is true."""
        return Faces(self.images[indices], self.labels[indices], self.votes[indices])


def load_faces(root: Path, split: str, cache: Path | None = None) -> Faces:
    """Read one part of FER2013, in the order of its file names.

    Args:
        root: Folder of corpora.
        split: "Training", "PublicTest" or "PrivateTest".
        cache: Folder for decoded arrays, or None.

    Raises:
        CorpusError: If the corpus, the part or a picture is not what the layout says.
    """
    archive = Archive.find(root, PLACES)
    votes_file = next((root / place for place in VOTES if (root / place).is_file()), None)
    votes = votes_file.read_text() if votes_file else ""
    key = f"fer2013-{split}-{archive.fingerprint}-{len(votes)}"
    arrays = cached_arrays(key, cache, lambda: _decode(archive, split, votes))
    return Faces(arrays["images"], arrays["labels"], arrays["votes"])


def _decode(archive: Archive, split: str, votes: str) -> dict[str, npt.NDArray[Any]]:
    """Read one part: images (image, 48, 48), labels (image,) and votes (image, emotion)."""
    paths = [PurePosixPath(n) for n in archive.names if n.endswith(".png")]
    paths = sorted((p for p in paths if split in p.parts[:-2]), key=lambda p: p.name)
    if not paths:
        raise CorpusError(f"Expected {split}/<emotion>/*.png in {archive.path}, found none.")
    unknown = {p.parts[-2] for p in paths} - set(EMOTIONS)
    if unknown:
        raise CorpusError(
            f"Expected the folders {', '.join(EMOTIONS)} in {split} of {archive.path}, "
            f"got {', '.join(sorted(unknown))}."
        )
    table = _votes(votes)
    nobody = np.zeros(len(EMOTIONS), np.float32)
    return {
        "images": np.stack([_picture(archive, str(p)) for p in paths]),
        "labels": np.array([EMOTIONS.index(p.parts[-2]) for p in paths]),
        "votes": np.stack([table.get(p.name, nobody) for p in paths]),
    }


def _picture(archive: Archive, name: str) -> npt.NDArray[np.uint8]:
    """Decode grey levels (48, 48)."""
    try:
        with Image.open(io.BytesIO(archive.read(name))) as picture:
            pixels = np.asarray(picture.convert("L"))
    except OSError as error:
        raise CorpusError(f"Expected a picture {name} in {archive.path}, got: {error}") from error
    if pixels.shape != (SIDE, SIDE):
        raise CorpusError(f"Expected {name} of 48 x 48 pixels, got shape {pixels.shape}.")
    return pixels


def _votes(text: str) -> dict[str, npt.NDArray[np.float32]]:
    """Votes (emotion,) as probabilities by the name of the picture; nobody's votes are left out."""
    table = {}
    for row in csv.DictReader(io.StringIO(text)):
        counts = np.array([int(row[FERPLUS_LABELS[e]]) for e in EMOTIONS], dtype=np.float32)
        if counts.sum() > 0:
            table[row["Image name"]] = counts / counts.sum()
    return table
