"""The seven emotions, in the order every model emits them, and where they lie on the circumplex."""

from __future__ import annotations

from typing import Final, Literal, get_args

__all__ = ["CIRCUMPLEX", "EMOTIONS", "SIX", "Emotion"]

Emotion = Literal["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]

EMOTIONS: Final[tuple[Emotion, ...]] = get_args(Emotion)
"""AFEW, FER2013, RAVDESS and SAVEE use these seven. The order is part of every checkpoint."""

SIX: Final[tuple[Emotion, ...]] = ("angry", "disgust", "fear", "happy", "neutral", "sad")
"""The classes of the source work: the seven without surprise, renormalised."""

CIRCUMPLEX: Final[dict[Emotion, tuple[float, float]]] = {
    "angry": (-0.43, 0.67),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "happy": (0.76, 0.48),
    "neutral": (0.0, 0.0),
    "sad": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
}
"""(valence, arousal), each in [-1, 1], neutral at the origin. The other six are the ratings of
emotion terms that are commonly quoted from Russell & Mehrabian, "Evidence for a three-factor theory
of emotions", Journal of Research in Personality 11 (1977); they were taken from such quotations and
not compared with the paper, whose terms (joyful, anger, ...) differ a little from ours. They serve
where a corpus rates no valence or arousal: an estimate's valence and arousal are expectations over
its probabilities."""
