"""Probabilities that mean what they say: temperature scaling, and when to say 'unclear'.

Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), section 4.2: logits are divided
by one number T, found by minimising the negative log-likelihood on people the model was not
trained on. T is part of each checkpoint's config.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion.errors import InputError

__all__ = [
    "EVIDENCE",
    "UNCLEAR_BELOW",
    "calibrated_probabilities",
    "cross_fitted",
    "evidence",
    "fit_temperature",
    "majority",
]

Floats = npt.NDArray[np.float64]

UNCLEAR_BELOW = 0.5
"""An estimate whose likeliest emotion is below this probability is 'unclear': it has no label.

Chow, "On optimum recognition error and reject tradeoff", IEEE Transactions on Information Theory 16
(1970): where not to say costs half as much as to say it wrongly, say what is likelier right than
wrong. That takes probabilities that mean what they say; `by_threshold` of every report shows that
what lies between 0.4 and 0.5 is indeed wrong about as often as right, or more often."""

_COLDEST, _HOTTEST = 0.05, 20.0


def calibrated_probabilities(logits: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float32]:
    """Softmax of logits / T over the last axis: (sample, emotion) or any (..., emotion).

    Args:
        logits: (..., emotion).
        temperature: T, positive.

    Returns:
        (..., emotion) float32; each row sums to 1.

    >>> calibrated_probabilities([3.0, 3.0], temperature=2.0).tolist()
    [0.5, 0.5]
    """
    if not temperature > 0:
        raise InputError(f"Expected a positive temperature, got {temperature}.")
    return np.exp(_log_softmax(np.asarray(logits, dtype=np.float64) / temperature)).astype(
        np.float32
    )


def fit_temperature(logits: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Find the T that minimises the negative log-likelihood of held-out targets.

    The likelihood is unimodal in log T, so a golden-section search between 0.05 and 20 finds it.

    Args:
        logits: (sample, emotion).
        targets: (sample, emotion) target probabilities: one-hot labels or annotators' votes.

    Raises:
        InputError: If the two differ in shape or are empty.
    """
    scores, wanted = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    if scores.shape != wanted.shape or scores.ndim != 2 or not len(scores):
        raise InputError(
            f"Expected logits and targets (sample, emotion), got {scores.shape} and {wanted.shape}."
        )

    def loss(log_t: float) -> float:
        return -float((wanted * _log_softmax(scores / np.exp(log_t))).sum())

    return float(np.exp(_golden_section(loss, np.log(_COLDEST), np.log(_HOTTEST))))


def cross_fitted(
    logits: npt.NDArray[np.floating], truth: npt.NDArray[np.int64], groups: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """Probabilities (sample, emotion), the temperature of each group fitted on the other groups.

    For speakers on whom the checkpoint's own temperature was fitted, so that their calibration
    error is not measured on what it was fitted to.

    Args:
        logits: (sample, emotion).
        truth: (sample,) index of the emotion.
        groups: (sample,) whom each is of; a single group has to be fitted on itself.
    """
    targets = np.eye(logits.shape[1])[truth]
    said = np.zeros(logits.shape, np.float32)
    for group in np.unique(groups):
        own = groups == group
        others = ~own if not own.all() else own
        temperature = fit_temperature(logits[others], targets[others])
        said[own] = calibrated_probabilities(logits[own], temperature)
    return said


def majority(votes: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Find what most annotators chose, and where nothing else was chosen as often.

    A probability of ours means the chance to be right about this, so temperatures are fitted to it.
    Fitted to the votes themselves it would be the part of the annotators who agree: a network that
    is right nine times in ten would say 0.7 where a third of the annotators usually differ.

    Args:
        votes: (sample, emotion), counts or parts.

    Returns:
        (sample,) index of the emotion, and (sample,) bool, false of ties and where nobody voted.

    >>> majority([[3, 1, 0], [2, 2, 1], [0, 0, 0]])
    (array([0, 0, 0]), array([ True, False, False]))
    """
    counts = np.asarray(votes, dtype=np.float64)
    most = counts.max(axis=1, keepdims=True)
    alone = np.isclose(counts, most).sum(axis=1) == 1
    return counts.argmax(axis=1), alone & (most[:, 0] > 0)


EVIDENCE = ("face", "voice", "both")
"""What a fusion may have to go by; each has a temperature of its own."""


def evidence(trust: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """Name what a fusion went by, one of EVIDENCE a clip.

    Args:
        trust: (clip, 2) in [0, 1], how far it believed face and voice, 0 of what was missing.

    >>> evidence([[0.9, 0.0], [0.9, 0.8], [0.1, 0.7]]).tolist()
    ['face', 'both', 'voice']
    """
    face, voice = np.asarray(trust, dtype=np.float64).T
    believed = np.minimum(face, voice) >= _BELIEVED
    return np.where(believed, "both", np.where(face >= voice, "face", "voice"))


_BELIEVED = 0.5


def _golden_section(loss: Callable[[float], float], low: float, high: float) -> float:
    ratio = (5**0.5 - 1) / 2
    while high - low > 1e-6:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normaliser: Floats = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    difference: Floats = shifted - normaliser
    return difference
