"""Sound, pictures and continuous ratings of a clip, straight from its corpus.

What lies in a zip is decoded in memory: no recording is ever written to a disk.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from emotion.corpora.archive import Archive, decode_audio
from emotion.corpora.clip import Clip
from emotion.errors import CorpusError, MediaError
from emotion.media import SAMPLE_RATE_HZ, Picture, read_pictures, read_sounds

__all__ = ["clip_pictures", "clip_sound", "ratings"]

Floats = npt.NDArray[np.float64]

WHOLE = 0.99
"""A file that is shorter than this part of what its heading says has been cut off."""

_TIME_COLUMNS = ("frametime", "time", "timestamp")
_NAME_COLUMNS = ("instance_name", "name")
_VALUE_COLUMN = "goldstandard"


def clip_sound(archive: Archive, clip: Clip) -> npt.NDArray[np.float32]:
    """Decode what is heard in a clip.

    A clip's `span_s` is cut out of the recording, unless the sound file bears the clip's own name:
    then the corpus has cut it already.

    Args:
        archive: Of the clip's corpus.
        clip: With sound.

    Returns:
        (sample,) in [-1, 1], mono, 16 kHz.

    Raises:
        CorpusError: If the clip has no sound, or it is missing, cut off, cannot be decoded, holds
            no sample, or is over before the span is.
    """
    name = _part(clip, clip.audio, "sound")
    content = _whole(archive, name)
    try:
        cut = clip.span_s is None or PurePosixPath(name).stem == PurePosixPath(clip.name).stem
        sound = decode_audio(content, SAMPLE_RATE_HZ) if cut else _span(content, clip, name)
    except (CorpusError, MediaError) as error:
        raise CorpusError(f"Unreadable clip {name} in {archive.path}: {error}") from error
    if not len(sound):
        raise CorpusError(f"Expected sound in {name} of {archive.path}, got 0 samples.")
    return sound


def clip_pictures(archive: Archive, clip: Clip, rate_hz: float | None = None) -> Iterator[Picture]:
    """Decode what is seen in a clip, one picture after the other, of two people who speaks.

    Args:
        archive: Of the clip's corpus.
        clip: With pictures.
        rate_hz: At most so many pictures a second, of each interval the first; None: all.

    Yields:
        Pictures; their time counts from the beginning of the clip.

    Raises:
        CorpusError: If the clip has no pictures, or they are missing, cut off, or cannot be
            decoded.
    """
    name = _part(clip, clip.video, "pictures")
    content = _whole(archive, name)
    start_s, end_s = clip.span_s or (0.0, np.inf)
    seen = 0
    try:
        for picture in read_pictures(content, rate_hz, start_s):
            if picture.time_s >= end_s:
                break
            seen += 1
            yield Picture(picture.time_s - start_s, _half(picture.rgb, clip))
    except MediaError as error:
        raise CorpusError(f"Unreadable clip {name} in {archive.path}: {error}") from error
    if not seen:
        raise CorpusError(f"Expected pictures of {clip.name} in {name}, got none.")


def ratings(archive: Archive, clip: Clip) -> dict[str, tuple[Floats, Floats]]:
    """Read the continuous ratings of a clip.

    Two forms are read: ARFF with the attributes name, time and rating, and CSV parted by commas or
    semicolons, with or without a heading. The rating is the column named GoldStandard or as its
    dimension, else the only one left.

    Returns:
        Times in seconds (rating,), rising, and values (rating,), by the name of their dimension.

    Raises:
        CorpusError: If the clip has none, or a file is missing or in another form.
    """
    if not clip.ratings:
        raise CorpusError(f"Expected a clip with continuous ratings, got {clip.name} without.")
    return {
        dimension: _rating(archive.read(file).decode("utf-8", "replace"), dimension, file)
        for dimension, file in clip.ratings.items()
    }


def _part(clip: Clip, name: str | None, kind: str) -> str:
    if name is None:
        raise CorpusError(f"Expected {kind} in {clip.name} of {clip.corpus}, found none.")
    return name


def _whole(archive: Archive, name: str) -> bytes:
    """Content of a recording, if it is all there as far as its heading tells (AVI and WAV)."""
    content = archive.read(name)
    if content.startswith(b"version https://git-lfs"):
        raise CorpusError(
            f"Expected a recording in {name} of {archive.path}, got a pointer of Git LFS: "
            "fetch it with `git lfs pull`."
        )
    stated = 8 + int.from_bytes(content[4:8], "little")
    streamed = stated - 8 in (0, 0xFFFFFFFF)  # written before its length was known
    if content[:4] == b"RIFF" and not streamed and len(content) < WHOLE * stated:
        raise CorpusError(
            f"Expected {stated} bytes in {name} of {archive.path}, got {len(content)}: "
            "the file is cut off."
        )
    return content


def _half(rgb: npt.NDArray[np.uint8], clip: Clip) -> npt.NDArray[np.uint8]:
    """Part of a picture (height, width, 3) that shows the clip's speaker."""
    middle = rgb.shape[1] // 2
    if clip.half is None:
        return rgb
    return rgb[:, :middle].copy() if clip.half == "left" else rgb[:, middle:].copy()


def _span(content: bytes, clip: Clip, name: str) -> npt.NDArray[np.float32]:
    """Sound (sample,) of a stretch of a recording; gaps in the recording are silence."""
    start_s, end_s = clip.span_s or (0.0, 0.0)
    sound = np.zeros(round((end_s - start_s) * SAMPLE_RATE_HZ), np.float32)
    reached = 0
    for piece in read_sounds(content, start_s):
        if piece.time_s >= end_s:
            break
        first = round((piece.time_s - start_s) * SAMPLE_RATE_HZ)
        kept = piece.samples[max(0, -first) : max(0, len(sound) - first)]
        sound[max(0, first) : max(0, first) + len(kept)] = kept
        reached = max(reached, max(0, first) + len(kept))
    if reached < WHOLE * len(sound):
        raise CorpusError(
            f"Expected sound from {start_s:g} to {end_s:g} s in {name}, "
            f"got it up to {start_s + reached / SAMPLE_RATE_HZ:g} s."
        )
    return sound[:reached]


def _rating(text: str, dimension: str, file: str) -> tuple[Floats, Floats]:
    """Read times and values (rating,) of one file."""
    heading, rows = _table(text)
    try:
        time, value = _columns(heading, len(rows[0]), dimension)
        table = np.array([(float(row[time]), float(row[value])) for row in rows])
    except (IndexError, ValueError) as error:
        raise CorpusError(f"Expected times and {dimension} in {file}: {error}.") from error
    times_s, values = table.T
    if not (np.isfinite(table).all() and (np.diff(times_s) > 0).all()):
        raise CorpusError(f"Expected rising times and finite ratings in {file}, got others.")
    return times_s, values


def _table(text: str) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, lower case, if there are any, and the rows of data."""
    lines = [line for line in map(str.strip, text.splitlines()) if line and line[0] != "%"]
    delimiter = ";" if any(";" in line for line in lines[-1:]) else ","
    heading = [
        match[1].lower()
        for line in lines
        if (match := re.match(r"@attribute\s+['\"]?(\w+)", line, re.IGNORECASE))
    ]
    data = [line for line in lines if line[0] != "@"]
    rows = [list(map(str.strip, row)) for row in csv.reader(data, delimiter=delimiter)]
    if rows and not heading and not _is_number(rows[0][-1]):
        heading = [name.lower() for name in rows.pop(0)]
    return heading, rows


def _columns(heading: list[str], width: int, dimension: str) -> tuple[int, int]:
    """Places of time and rating among the columns."""
    if not heading:
        return width - 2, width - 1
    times = [i for i, name in enumerate(heading) if name in _TIME_COLUMNS]
    others = [i for i in range(len(heading)) if i not in times and heading[i] not in _NAME_COLUMNS]
    named = [i for i in others if heading[i] in (_VALUE_COLUMN, dimension)]
    if len(times) != 1 or len(named or others) != 1:
        raise ValueError(f"got the columns {', '.join(heading)}")
    return times[0], (named or others)[0]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
