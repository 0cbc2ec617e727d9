"""RECOLA: people solving a task together, arousal and valence rated all the time.

Ringeval et al., "Introducing the RECOLA multimodal corpus" (FG 2013), in the layout of the AVEC
challenges: `recordings_audio/train_1.wav`, `recordings_video/train_1.mp4` and
`ratings_gold_standard/<arousal|valence>/train_1.arff` (or `.csv`), a value each 40 ms. The name
before the number is the official part. Each recording is another person. The ratings of the part
`test` were kept by the organisers: without them its recordings give no clips.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from emotion.corpora.archive import Archive
from emotion.corpora.clip import Clip
from emotion.corpora.corpus import Corpus, Counts, Labels, Split
from emotion.errors import CorpusError

__all__ = ["DIMENSIONS", "RATING_STEP_S", "RECOLA"]

DIMENSIONS = ("arousal", "valence")
RATING_STEP_S = 0.04

_FOLDERS = {"recordings_audio": "audio", "recordings_video": "video"} | {
    dimension: dimension for dimension in DIMENSIONS
}
_SPLITS: dict[str, Split] = {"train": "train", "dev": "valid", "test": "test"}


def _read(archive: Archive, labels: Labels) -> Iterator[Clip]:
    """Join recordings and ratings of one name."""
    takes: dict[str, dict[str, str]] = {}
    for name in archive.names:
        path = PurePosixPath(name)
        kind = _FOLDERS.get(path.parent.name)
        individual = "ratings_individual" in path.parts  # one column a rater, not the gold standard
        if kind and not individual and re.fullmatch(r"(train|dev|test)_\d+", path.stem):
            takes.setdefault(path.stem, {})[kind] = name
    for take, files in sorted(takes.items()):
        split = _SPLITS[take.partition("_")[0]]
        ratings = {dimension: files[dimension] for dimension in DIMENSIONS if dimension in files}
        if split == "test" and not ratings:
            continue
        _check(archive, take, files)
        yield Clip(
            "recola",
            take,
            None,
            f"recola:{take}",
            split=split,
            video=files.get("video"),
            audio=files.get("audio"),
            ratings=ratings,
        )


def _check(archive: Archive, take: str, files: dict[str, str]) -> None:
    for dimension in DIMENSIONS:
        if dimension not in files:
            raise CorpusError(
                f"Expected ratings_gold_standard/{dimension}/{take}.arff or .csv in "
                f"{archive.path}, found neither."
            )
    if not {"audio", "video"} & files.keys():
        raise CorpusError(
            f"Expected recordings_audio/{take}.wav or recordings_video/{take}.mp4 in "
            f"{archive.path}, found neither."
        )


RECOLA = Corpus(
    "recola",
    "RECOLA",
    "research, by agreement with the University of Fribourg",
    "https://diuf.unifr.ch/main/diva/recola/",
    ("recola", "RECOLA", "RECOLA_2016", "AVEC_2016", "recola.zip", "RECOLA.zip"),
    ("face", "voice"),
    Counts(
        27,
        27,
        {"train": 9, "valid": 9, "test": 9},
        source="AVEC 2016, five minutes a person; 46 people were recorded",
    ),
    {},
    _read,
    note="arousal and valence each 40 ms instead of emotions",
)
