"""What weighed most in an utterance, small enough to be shown: in memory only, never on a disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from emotion.estimate import Attention, EmotionEstimate

__all__ = ["Evidence", "SeenFace", "gather"]

MOST_FACES: Final = 6
FACE_SIDE: Final = 48
"""Faces are shown no larger than they were looked at."""

ROWS: Final = 50
MOST_COLUMNS: Final = 160
QUIETEST_NAT: Final = 7.0
"""Amplitudes this far under the loudest one are drawn as silence, in nats (61 dB)."""

Bytes = npt.NDArray[np.uint8]
TakeFaces = Callable[[int, Sequence[float]], Sequence[Bytes]]
"""From a person's id and media times to a crop (height, width, 3) for each, as far as they last."""


@dataclass(frozen=True)
class SeenFace:
    """One face frame of an utterance.

    Attributes:
        time_s: Seconds since the utterance began.
        weight: Its share of what all frames together weighed, in [0, 1].
        rgb: uint8 of shape (height, width, 3), at most FACE_SIDE a side.
    """

    time_s: float
    weight: float
    rgb: Bytes = field(repr=False, compare=False)


@dataclass(frozen=True)
class Evidence:
    """The pictures behind one estimate.

    Attributes:
        faces: The frames that weighed most, in order of time.
        spectrogram: uint8 of shape (frequency, time), low frequencies first, 0-4 kHz; or None
            where there was no voice. Loud is 255.
        regions: Weights of shape (frequency, time) over the same area, as in `Attention`.
        duration_s: Length of the utterance in seconds.
    """

    faces: tuple[SeenFace, ...] = field(default=(), repr=False)
    spectrogram: Bytes | None = field(default=None, repr=False, compare=False)
    regions: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    duration_s: float = 0.0


def gather(
    estimate: EmotionEstimate | None,
    take_faces: TakeFaces,
    samples: npt.NDArray[np.float32] | None,
) -> Evidence | None:
    """Collect the pictures behind an estimate.

    Args:
        estimate: Of the utterance, already cut down to what the person lets be used.
        take_faces: Returns the crops of a person at some media times.
        samples: Its sound, mono in [-1, 1] of shape (sample,) at 16 kHz, or None.

    Returns:
        The pictures; None where there is nothing to show.
    """
    if estimate is None:
        return None
    attention = estimate.attention
    faces = _faces(estimate, take_faces) if estimate.face is not None else ()
    voiced = estimate.voice is not None and attention.spectrogram_weights
    spectrogram = _spectrogram(samples) if voiced and samples is not None else None
    if not faces and spectrogram is None:
        return None
    regions = attention.spectrogram_weights if spectrogram is not None else ()
    return Evidence(faces, spectrogram, regions, estimate.end_s - estimate.start_s)


def _faces(estimate: EmotionEstimate, take_faces: TakeFaces) -> tuple[SeenFace, ...]:
    if estimate.person is None:
        return ()
    chosen = _heaviest(estimate.attention, (estimate.end_s - estimate.start_s) / (2 * MOST_FACES))
    crops = take_faces(estimate.person, [time_s for time_s, _ in chosen])
    return tuple(
        SeenFace(time_s - estimate.start_s, weight, _small(crop))
        for (time_s, weight), crop in zip(chosen, crops, strict=False)
    )


def _heaviest(attention: Attention, apart_s: float) -> list[tuple[float, float]]:
    """Pick times and weights of the heaviest frames, no two close together, in order of time."""
    frames = zip(attention.frame_times_s, attention.frame_weights, strict=True)
    chosen: list[tuple[float, float]] = []
    for time_s, weight in sorted(frames, key=lambda frame: -frame[1]):
        if all(abs(time_s - other_s) >= apart_s for other_s, _ in chosen):
            chosen.append((time_s, weight))
    return sorted(chosen[:MOST_FACES])


def _small(crop: Bytes) -> Bytes:
    stride = max(1, -(-max(crop.shape[:2]) // FACE_SIDE))
    return np.ascontiguousarray(crop[::stride, ::stride])


def _spectrogram(samples: npt.NDArray[np.float32]) -> Bytes | None:
    """Draw sound as the voice network sees it, only smaller: (frequency, time)."""
    import torch

    from emotion.speech.spectrogram import log_spectrogram

    seen = log_spectrogram(torch.from_numpy(np.ascontiguousarray(samples))[None])[0].numpy().T
    if seen.shape[1] == 0:
        return None
    rows: npt.NDArray[np.float32] = seen.reshape(ROWS, -1, seen.shape[1]).max(axis=1)
    parts = np.array_split(rows, min(seen.shape[1], MOST_COLUMNS), axis=1)
    small = np.stack([part.max(axis=1) for part in parts], axis=1)
    bright = np.clip(1.0 + (small - small.max()) / QUIETEST_NAT, 0.0, 1.0)
    return np.asarray(255 * bright, np.uint8)
