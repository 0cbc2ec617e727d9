"""Any file as a stream of pictures and sound in media time, in constant memory (PyAV, FFmpeg)."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from emotion.errors import InputError, MediaError

__all__ = [
    "SAMPLE_RATE_HZ",
    "Picture",
    "Resampler",
    "Sound",
    "Source",
    "next_due_s",
    "read_media",
    "read_pictures",
    "read_sounds",
]

Source = Path | bytes
"""A file, or its content."""

SAMPLE_RATE_HZ = 16_000
"""Every model and the voice activity detector listen at this rate."""

MAX_GAP_S = 0.05
"""A longer gap in the time stamps of a sound track is a gap in the sound."""

MAX_PICTURE_SIDE = 1280
"""Larger pictures are reduced while they are converted: the face path gains nothing from more."""


@dataclass(frozen=True)
class Picture:
    """One frame: (height, width, 3) RGB uint8, shown from `time_s` on."""

    time_s: float
    rgb: npt.NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True)
class Sound:
    """A piece of sound: (sample,) float32 in [-1, 1], mono, 16 kHz, starting at `time_s`."""

    time_s: float
    samples: npt.NDArray[np.float32] = field(repr=False)


class Resampler:
    """Turns chunks of mono sound of any rate into 16 kHz; chunk borders leave no trace.

    Args:
        sample_rate_hz: Rate of what will be pushed.

    Raises:
        InputError: If the rate is not between 4 kHz and 384 kHz.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        if not 4_000 <= sample_rate_hz <= 384_000:
            raise InputError(f"Expected a sample rate of 4 to 384 kHz, got {sample_rate_hz} Hz.")
        self.sample_rate_hz = sample_rate_hz
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)

    def push(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Give (sample,) float32 at the rate named; get what is ready, (sample,) at 16 kHz."""
        if self.sample_rate_hz == SAMPLE_RATE_HZ:
            return samples
        if not len(samples):
            return samples
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = self.sample_rate_hz
        return _joined(self._resampler.resample(frame))

    def flush(self) -> npt.NDArray[np.float32]:
        """Return what was held back; nothing may be pushed afterwards."""
        if self.sample_rate_hz == SAMPLE_RATE_HZ:
            return np.zeros(0, np.float32)
        return _joined(self._resampler.resample(None))


def read_media(path: str | Path, picture_rate_hz: float | None = None) -> Iterator[Picture | Sound]:
    """Decode a video, sound file or picture, both streams merged in order of time.

    Args:
        path: Anything FFmpeg reads. A still picture comes as one `Picture` at 0 s.
        picture_rate_hz: At most so many pictures a second: of each interval the first. The others
            are decoded but not converted, which is the larger part of the work. None: all.

    Raises:
        MediaError: If the file is missing, cannot be decoded, or holds neither picture nor sound.
    """
    file = Path(path)
    if not file.is_file():
        raise MediaError(f"Expected a media file, found none at {str(file)!r}.")
    has_picture, has_sound = _streams(file)
    if not (has_picture or has_sound):
        raise MediaError(f"Expected picture or sound in {str(file)!r}, found neither.")
    # Each stream is decoded from its own handle: merging them then needs no buffer, however the
    # container interleaves them.
    sources: list[Iterator[Picture | Sound]] = []
    if has_sound:
        sources.append(read_sounds(file))
    if has_picture:
        sources.append(read_pictures(file, picture_rate_hz))
    return merge(*sources, key=lambda event: event.time_s)


def _streams(file: Path) -> tuple[bool, bool]:
    try:
        with av.open(_url(file)) as container:
            return bool(container.streams.video), bool(container.streams.audio)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(
            f"Expected a media file at {str(file)!r}, could not decode it ({_reason(error)})."
        ) from error


def next_due_s(time_s: float, rate_hz: float) -> float:
    """Start of the interval of 1 / rate_hz after the one that holds `time_s`."""
    return (math.floor(time_s * rate_hz + 1e-6) + 1) / rate_hz


def read_pictures(
    source: Source, rate_hz: float | None = None, start_s: float = 0.0
) -> Iterator[Picture]:
    """Decode the pictures alone.

    Args:
        source: A file or its content.
        rate_hz: As of `read_media`.
        start_s: Nothing before this time is given; what lies long before is not decoded.

    Raises:
        MediaError: If there are none, or the first cannot be decoded.
    """
    begins_s = start_s or -math.inf  # the first picture may come a little before 0 s
    due_s = begins_s
    for frame in _frames(source, "video", start_s):
        time_s = float(frame.time or 0.0)
        if time_s + 1e-6 < due_s:
            continue
        due_s = begins_s if rate_hz is None else next_due_s(time_s, rate_hz)
        rotation_deg = frame.rotation
        scale = min(1.0, MAX_PICTURE_SIDE / max(frame.width, frame.height))
        if scale < 1.0:
            frame = frame.reformat(round(frame.width * scale), round(frame.height * scale))
        # Phones store portrait pictures lying down and note how to turn them.
        turns = round(rotation_deg / 90)
        yield Picture(time_s, np.rot90(frame.to_ndarray(format="rgb24"), turns).copy())


def read_sounds(source: Source, start_s: float = 0.0) -> Iterator[Sound]:
    """Decode the sound alone, 16 kHz.

    Args:
        source: A file or its content.
        start_s: What lies long before this time is not decoded; a little of it may be given.

    Raises:
        MediaError: If there is none, or its beginning cannot be decoded.
    """
    stretch: _Stretch | None = None
    due_s = 0.0
    for frame in _frames(source, "audio", start_s):
        time_s = due_s if frame.time is None else float(frame.time)
        if stretch is None or time_s - due_s > MAX_GAP_S:
            yield from stretch.push(None) if stretch else ()
            stretch, due_s = _Stretch(time_s), time_s
        yield from stretch.push(frame)
        due_s += frame.samples / frame.sample_rate
    yield from stretch.push(None) if stretch else ()


class _Stretch:
    """Sound without a gap, resampled."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._count = 0
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)

    def push(self, frame: Any | None) -> Iterator[Sound]:
        """Take in a frame, or None at the end; give what is ready."""
        samples = _joined(self._resampler.resample(frame))
        if len(samples):
            yield Sound(self._start_s + self._count / SAMPLE_RATE_HZ, samples)
            self._count += len(samples)


def _frames(source: Source, kind: str, start_s: float = 0.0) -> Iterator[Any]:
    decoded = 0
    named = repr(str(source)) if isinstance(source, Path) else f"{len(source)} bytes"
    try:
        with av.open(_url(source) if isinstance(source, Path) else io.BytesIO(source)) as container:
            streams = getattr(container.streams, kind)
            if not streams:
                raise MediaError(f"Expected a {kind} stream in {named}, found none.")
            streams[0].thread_type = "AUTO"
            if start_s > 0:
                container.seek(int(start_s * av.time_base))
            for frame in container.decode(streams[0]):
                decoded += 1
                yield frame
    except (av.error.FFmpegError, OSError) as error:
        # A file cut off in the middle is read up to where it breaks.
        if decoded == 0:
            raise MediaError(
                f"Expected a readable {kind} stream in {named}, could not decode it "
                f"({_reason(error)})."
            ) from error


def _joined(frames: list[Any]) -> npt.NDArray[np.float32]:
    pieces = [frame.to_ndarray().reshape(-1).astype(np.float32) for frame in frames]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _url(file: Path) -> str:
    return f"file:{file}"  # or FFmpeg takes "12:30.mp4" for an address of the protocol "12"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
