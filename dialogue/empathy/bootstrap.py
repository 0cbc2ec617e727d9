"""What chance alone may do: a paired bootstrap that draws whole dialogues, and Holm's correction.

Every dialogue is drawn with all its rows, so that differences between rows are paired (Efron &
Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from dialogue.errors import InputError

__all__ = [
    "Estimate",
    "Resampling",
    "check_resamples",
    "detectable",
    "estimate_mean",
    "holm",
    "resampling",
]

Floats = npt.NDArray[np.float64]

LEAST_RESAMPLES: Final = 100
LEVEL: Final = 0.95
POWER: Final = 0.8
_ROWS_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class Resampling:
    """How often each dialogue was drawn in each resample.

    Attributes:
        counts: (resample, dialogue); each row sums to the number of dialogues.
    """

    counts: npt.NDArray[np.uint8]

    def means(self, values: Floats, weights: Floats | None = None) -> Floats:
        """Weighted mean of each resample, Σ c w v / Σ c w.

        Args:
            values: (dialogue,); nan where there is none, which counts for nothing.
            weights: (dialogue,) or None for the same of all.

        Returns:
            (resample,); nan where no dialogue with a value was drawn.
        """
        there = ~np.isnan(values)
        own = there.astype(np.float64) if weights is None else np.where(there, weights, 0.0)
        columns = np.stack([np.where(there, values, 0.0) * own, own], axis=1)
        starts = range(0, len(self.counts), _ROWS_AT_ONCE)
        sums = np.concatenate(
            [self.counts[s : s + _ROWS_AT_ONCE].astype(np.float64) @ columns for s in starts]
        )
        found = np.full(len(sums), np.nan)
        np.divide(sums[:, 0], sums[:, 1], out=found, where=sums[:, 1] > 0)
        return found


@dataclass(frozen=True)
class Estimate:
    """A mean, or a mean difference.

    Attributes:
        value: Of all dialogues.
        low: Lower end of the 95 % interval.
        high: Upper end.
        error: Standard deviation over the resamples.
        p: Two-sided: twice the part of the resamples on the farther side of 0, with one added to
            both counts (Davison & Hinkley 1997, eq. 4.11), at most 1.
        dialogues: How many had a value.
    """

    value: float
    low: float
    high: float
    error: float
    p: float
    dialogues: int


def resampling(dialogues: int, resamples: int, seed: int) -> Resampling:
    """Draw dialogues with replacement.

    Args:
        dialogues: How many there are, at least 1.
        resamples: How often as many are drawn.
        seed: Of the drawing.

    Raises:
        InputError: If there are no dialogues, or too few resamples for an interval.
    """
    if dialogues < 1:
        raise InputError(f"Expected dialogues to draw from, got {dialogues}.")
    check_resamples(resamples)
    generator = np.random.default_rng(seed)
    counts = np.empty((resamples, dialogues), np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(dialogues, size=dialogues), minlength=dialogues)
    return Resampling(counts)


def check_resamples(resamples: int) -> None:
    """Refuse too few resamples for an interval.

    Raises:
        InputError: If they are.
    """
    if resamples < LEAST_RESAMPLES:
        raise InputError(f"Expected at least {LEAST_RESAMPLES} resamples, got {resamples}.")


def estimate_mean(
    drawn: Resampling, values: Floats, weights: Floats | None = None
) -> Estimate | None:
    """Estimate a weighted mean with its percentile interval; of differences, whether it is 0.

    Args:
        drawn: Of the same dialogues.
        values: (dialogue,); nan where there is none.
        weights: (dialogue,) or None.

    Returns:
        None where no dialogue has a value.
    """
    there = ~np.isnan(values)
    if not there.any():
        return None
    means = drawn.means(values, weights)
    means = means[~np.isnan(means)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    farther = min((means <= 0).sum(), (means >= 0).sum())
    return Estimate(
        value=float(np.average(values[there], weights=None if weights is None else weights[there])),
        low=float(low),
        high=float(high),
        error=float(means.std(ddof=1)),
        p=min(1.0, 2 * (float(farther) + 1) / (len(means) + 1)),
        dialogues=int(there.sum()),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several measures at once: max over j ≤ i of min(1, (m − j + 1) p_(j)).

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [1.0] * len(p_values)
    reached = 0.0
    for rank, index in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = reached
    return adjusted


def detectable(error: float, measures: int = 1, power: float = POWER) -> float:
    """Smallest true difference that would be found: (z_(1 − α/2m) + z_power) · standard error.

    Cohen, "Statistical Power Analysis" (1988), section 2.2, by the normal distribution, with α as
    Holm's first and strictest step asks it of m measures.

    >>> round(detectable(1.0), 3)
    2.802

    Args:
        error: Standard error of the mean difference.
        measures: m, that are tested at once.
        power: Chance of finding it.
    """
    normal = NormalDist()
    strict = normal.inv_cdf(1 - (1 - LEVEL) / (2 * measures))
    return error * (strict + normal.inv_cdf(power))
