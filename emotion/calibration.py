"""Probabilities that mean what they say: temperature scaling, and when to say 'unclear'.

Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), section 4.2: logits are divided
by one number T, found by minimising the negative log-likelihood on people the model was not
trained on. T is part of each checkpoint's config.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from emotion.errors import InputError

__all__ = ["UNCLEAR_BELOW", "calibrated_probabilities", "fit_temperature"]

Floats = npt.NDArray[np.float64]

UNCLEAR_BELOW = 0.4
"""An estimate whose likeliest emotion is below this probability is 'unclear': it has no label."""

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
