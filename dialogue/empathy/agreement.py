"""How well a scorer agrees with people, and whether one does so better than another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "AGREEMENTS",
    "accuracy",
    "calibration_error",
    "confusion_of",
    "f1_by_level",
    "kappa",
    "macro_f1",
    "paired_differences",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_RESAMPLES_AT_ONCE: Final = 500


def confusion_of(levels: Ints, said: Ints, count: int = 3) -> Floats:
    """Count pairs, (level, level said).

    Args:
        levels: (pair,) by people.
        said: (pair,) by the scorer.
        count: Of levels.
    """
    counts = np.zeros((count, count))
    np.add.at(counts, (levels, said), 1)
    return counts


def accuracy(confusion: Floats) -> Floats:
    """Share of pairs whose level was said, (...,), from counts (..., level, level said)."""
    found: Floats = np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum((-2, -1))
    return found


def f1_by_level(confusion: Floats) -> Floats:
    """2 · right / (said + true) of each level, (..., level); 0 where there is neither."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(-1) + confusion.sum(-2)
    found: Floats = 2 * right / np.maximum(total, 1)
    return found


def macro_f1(confusion: Floats) -> Floats:
    """Mean F1 of the levels, (...,), from counts (..., level, level said)."""
    found: Floats = f1_by_level(confusion).mean(-1)
    return found


def kappa(confusion: Floats) -> Floats:
    """Agreement beyond chance, a disagreement counting as its distance squared, (...,).

    Cohen, "Weighted kappa" (Psychological Bulletin 70, 1968); from counts (..., level, level said).
    """
    levels = np.arange(confusion.shape[-1])
    cost = (levels[:, None] - levels) ** 2
    by_chance = confusion.sum(-1)[..., None] * confusion.sum(-2)[..., None, :]
    total = confusion.sum((-2, -1))
    expected = (cost * by_chance).sum((-2, -1)) / total
    found: Floats = 1 - np.divide(
        (cost * confusion).sum((-2, -1)), expected, out=np.zeros_like(total), where=expected > 0
    )
    return found


AGREEMENTS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "kappa": kappa,
}


def calibration_error(probabilities: Floats, levels: Ints, bins: int = 15) -> float:
    """Measure how far confidence is from the share that is right (ECE, Naeini et al., AAAI 2015).

    In [0, 1], of the likeliest level.

    Args:
        probabilities: (pair, level).
        levels: (pair,) by people.
        bins: Of equal width.
    """
    sure, right = probabilities.max(1), probabilities.argmax(1) == levels
    bin_of = np.minimum((sure * bins).astype(np.int64), bins - 1)
    gaps = [abs((right[bin_of == b] - sure[bin_of == b]).sum()) for b in np.unique(bin_of)]
    return float(sum(gaps) / len(levels))


def paired_differences(
    levels: Ints,
    said: Ints,
    other: Ints,
    posts: npt.NDArray[Any],
    *,
    resamples: int,
    generator: np.random.Generator,
) -> dict[str, dict[str, float]]:
    """Say by how much one scorer agrees better than another, with 95 % intervals.

    Posts are drawn with replacement, each with all its replies and for both scorers at once
    (Efron & Tibshirani 1993, percentile intervals).

    Args:
        levels: (pair,) by people.
        said: (pair,) by the scorer.
        other: (pair,) by the other.
        posts: (pair,) which post each reply is to.
        resamples: How often the posts are drawn.
        generator: Source of all randomness.

    Returns:
        For each of `AGREEMENTS` the `value` of the difference, `low` and `high`.
    """
    _, post_of = np.unique(posts, return_inverse=True)
    counts = np.zeros((2, post_of.max() + 1, 3, 3))
    for side, own in zip(counts, (said, other), strict=True):
        np.add.at(side, (post_of, levels, own), 1)
    drawn = _resampled(counts, resamples, generator)
    found = {}
    for name, agreement in AGREEMENTS.items():
        ours, theirs = agreement(counts.sum(1))
        low, high = np.quantile(agreement(drawn[0]) - agreement(drawn[1]), (0.025, 0.975))
        found[name] = {"value": float(ours - theirs), "low": float(low), "high": float(high)}
    return found


def _resampled(counts: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """Draw posts from (scorer, post, level, level), into (scorer, resample, level, level)."""
    posts = counts.shape[1]
    flat = counts.transpose(1, 0, 2, 3).reshape(posts, -1)
    drawn = []
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        times = generator.multinomial(posts, np.full(posts, 1 / posts), size)
        drawn.append(times @ flat)
    every: Floats = np.concatenate(drawn).reshape(resamples, *counts.shape[:1], 3, 3)
    return every.transpose(1, 0, 2, 3)
