"""What the recogniser says about one utterance, and about one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion.errors import InputError
from emotion.labels import CIRCUMPLEX, EMOTIONS, Emotion

__all__ = [
    "Attention",
    "EmotionEstimate",
    "FaceSighting",
    "Moment",
    "Probabilities",
    "Reading",
    "as_probabilities",
    "jensen_shannon_divergence",
]

Probabilities = Mapping[Emotion, float]
"""Calibrated probability of each emotion; the values sum to 1."""


def as_probabilities(
    values: Sequence[float] | npt.NDArray[np.floating], emotions: Sequence[Emotion] = EMOTIONS
) -> dict[Emotion, float]:
    """Name the values of a distribution over EMOTIONS, restricted to `emotions` and renormalised.

    Args:
        values: Non-negative weights of shape (emotion,), in the order of EMOTIONS.
        emotions: The emotions to keep, such as `SIX`.

    Raises:
        InputError: If the number of values is not that of EMOTIONS or nothing is left to normalise.
    """
    if len(values) != len(EMOTIONS):
        raise InputError(f"Expected {len(EMOTIONS)} probabilities, got {len(values)}.")
    kept = {e: float(p) for e, p in zip(EMOTIONS, values, strict=True) if e in emotions}
    total = sum(kept.values())
    if not total > 0:
        raise InputError(f"Expected probabilities with a positive sum, got {total}.")
    return {emotion: p / total for emotion, p in kept.items()}


def jensen_shannon_divergence(p: Probabilities, q: Probabilities) -> float:
    """Jensen–Shannon divergence in bits: 0 for equal distributions, 1 for disjoint ones.

    Source: Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37
    (1991), eq. 4.1 with equal weights: H((p + q) / 2) - (H(p) + H(q)) / 2.

    >>> jensen_shannon_divergence({"happy": 1.0, "sad": 0.0}, {"happy": 0.0, "sad": 1.0})
    1.0
    """
    a = np.array([p[e] for e in p], dtype=np.float64)
    b = np.array([q[e] for e in p], dtype=np.float64)
    return float(np.clip(_entropy((a + b) / 2) - (_entropy(a) + _entropy(b)) / 2, 0.0, 1.0))


def _entropy(p: npt.NDArray[np.float64]) -> float:
    positive = p[p > 0]
    return float(-(positive * np.log2(positive)).sum())


@dataclass(frozen=True)
class Reading:
    """One modality's view of an utterance.

    Attributes:
        probabilities: Calibrated, sums to 1.
        quality: In [0, 1]: how good the evidence was (size and sharpness of the face, level of the
            voice above its background, and how far the fusion takes it for a face or a voice at
            all), not how sure the model is.
    """

    probabilities: Probabilities
    quality: float

    @property
    def label(self) -> Emotion:
        """The likeliest emotion."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True)
class Attention:
    """Which parts of an utterance weighed most; each set of weights sums to 1.

    Attributes:
        frame_times_s: Media time of each face frame that was looked at, in seconds.
        frame_weights: Weight of each of them.
        spectrogram_weights: (frequency position, time position), low frequencies first, spanning
            0-4 kHz and the utterance.
    """

    frame_times_s: tuple[float, ...] = ()
    frame_weights: tuple[float, ...] = ()
    spectrogram_weights: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class EmotionEstimate:
    """The emotion a person seems to express in one utterance.

    It describes expression, not what somebody feels. Times are seconds of media time.

    Attributes:
        start_s: Where the utterance starts.
        end_s: Where it ends.
        person: Id of the tracked face, or None where no face belongs to the voice.
        probabilities: Calibrated probability of each emotion, face and voice fused; sums to 1.
        label: The likeliest emotion, or None where the estimate is unclear.
        face: The face alone, or None.
        voice: The voice alone, or None.
        words: The words alone, where a transcript is known; never mixed into `probabilities`.
        attention: What weighed most.
    """

    start_s: float
    end_s: float
    person: int | None
    probabilities: Probabilities
    label: Emotion | None
    face: Reading | None = None
    voice: Reading | None = None
    words: Reading | None = None
    attention: Attention = Attention()

    @property
    def confidence(self) -> float:
        """Probability of the likeliest emotion, in [0, 1]."""
        return max(self.probabilities.values())

    @cached_property
    def valence(self) -> float:
        """Expected valence in [-1, 1], derived from the probabilities and CIRCUMPLEX."""
        return sum(p * CIRCUMPLEX[e][0] for e, p in self.probabilities.items())

    @cached_property
    def arousal(self) -> float:
        """Expected arousal in [-1, 1], derived from the probabilities and CIRCUMPLEX."""
        return sum(p * CIRCUMPLEX[e][1] for e, p in self.probabilities.items())

    @cached_property
    def agreement(self) -> float | None:
        """1 minus the Jensen–Shannon divergence (base 2) of face and voice; None without both."""
        if self.face is None or self.voice is None:
            return None
        return 1.0 - jensen_shannon_divergence(self.face.probabilities, self.voice.probabilities)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, keys named as the attributes."""
        plain: dict[str, Any] = _plain(self)
        derived = ("confidence", "valence", "arousal", "agreement")
        return plain | {name: getattr(self, name) for name in derived}


@dataclass(frozen=True)
class FaceSighting:
    """One face at one moment.

    Attributes:
        person: Id of the track.
        box: (left, top, right, bottom) in pixels of the frame.
        probabilities: Calibrated, sums to 1.
    """

    person: int
    box: tuple[float, float, float, float]
    probabilities: Probabilities


@dataclass(frozen=True)
class Moment:
    """What is seen and heard this moment.

    Attributes:
        time_s: Newest media time that was pushed, in seconds.
        faces: Every face now in sight.
        speaking: Whether a voice is active.
    """

    time_s: float
    faces: tuple[FaceSighting, ...]
    speaking: bool


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
