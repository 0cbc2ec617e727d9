"""What is done to continuous ratings before they are scored, chosen on the development set.

Tzirakis et al. 2017 (arXiv:1704.08619) and the AVEC challenges before it: median filter,
centring, scaling, time shift, each kept only where it raises the concordance on the development
set, then applied unchanged to the test set. Nothing here sees test labels: `choose_postprocessing`
takes the development set's, and `PostProcessing.applied` takes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from emotion.errors import InputError
from emotion.metrics import concordance

__all__ = ["PostProcessing", "PostProcessingSearch", "choose_postprocessing"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PostProcessing:
    """The chain for one dimension; the defaults leave ratings as they are.

    Attributes:
        window: Steps of the median filter, odd; 1 is none.
        mean: What the development set's filtered ratings average.
        centre: Added to every rating.
        scale: Factor on a rating's distance from `mean`, > 0.
        shift: Steps by which ratings are moved later; negative is earlier, for a network that
            answers late.
    """

    window: int = 1
    mean: float = 0.0
    centre: float = 0.0
    scale: float = 1.0
    shift: int = 0

    def __post_init__(self) -> None:
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"Expected an odd window of at least one step, got {self.window}.")
        if not (self.scale > 0 and np.isfinite([self.mean, self.centre, self.scale]).all()):
            raise ValueError(f"Expected finite figures and a scale > 0, got {self}.")

    def applied(self, ratings: npt.ArrayLike) -> Floats:
        """Ratings (step,) of one recording after the whole chain; ends are drawn out."""
        smooth = _median(_row(ratings), self.window)
        scaled = (smooth - self.mean) * self.scale + self.mean + self.centre
        return _shifted(scaled, self.shift)


@dataclass(frozen=True)
class PostProcessingSearch:
    """What is tried, in steps of 40 ms.

    Attributes:
        windows: Odd lengths of the median filter; the paper's are 0.4 to 20 s (remembered,
            unchecked).
        shifts: Moves later in time; the paper's are 0.04 to 10 s (likewise), here either way.
    """

    windows: tuple[int, ...] = (11, 25, 51, 75, 101, 151, 201, 301, 401, 501)
    shifts: tuple[int, ...] = field(default=tuple(range(-250, 251, 5)))

    def __post_init__(self) -> None:
        for name in ("windows", "shifts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if any(window < 1 or window % 2 == 0 for window in self.windows):
            raise ValueError(f"Expected odd windows, got {self.windows}.")


def choose_postprocessing(
    said: Sequence[npt.ArrayLike],
    truth: Sequence[npt.ArrayLike],
    search: PostProcessingSearch | None = None,
) -> PostProcessing:
    """Choose the chain for one dimension, link after link, on the development set.

    The concordance is taken over all recordings joined. A link is kept only where it raises it, so
    the chain never does worse than the ratings as they are.

    Args:
        said: Ratings (step,) of each recording.
        truth: The gold standard (step,) of each, of the development set.
        search: What is tried; None is the default.

    Raises:
        InputError: If there is no recording, or one whose rows differ in length.
    """
    search = search or PostProcessingSearch()
    rows, wanted = [_row(r) for r in said], [_row(r) for r in truth]
    if not rows or [r.shape for r in rows] != [w.shape for w in wanted]:
        raise InputError(
            f"Expected equally long ratings and gold standards of at least one recording, got "
            f"{[r.size for r in rows]} and {[w.size for w in wanted]} steps."
        )
    chain = _best(
        PostProcessing(), (PostProcessing(window=w) for w in search.windows), rows, wanted
    )
    smooth = np.concatenate([chain.applied(row) for row in rows])
    gold = np.concatenate(wanted)
    mean = float(smooth.mean())
    chain = replace(chain, mean=mean)
    chain = _best(chain, [replace(chain, centre=float(gold.mean()) - mean)], rows, wanted)
    if smooth.std() > 0 and gold.std() > 0:
        chain = _best(chain, [replace(chain, scale=float(gold.std() / smooth.std()))], rows, wanted)
    return _best(chain, (replace(chain, shift=s) for s in search.shifts), rows, wanted)


def _best(
    chain: PostProcessing,
    candidates: Iterable[PostProcessing],
    said: Sequence[Floats],
    truth: Sequence[Floats],
) -> PostProcessing:
    """Return the first of the chains that agree best, `chain` itself unless one is better."""
    gold = np.concatenate(truth)
    best = concordance(gold, np.concatenate([chain.applied(row) for row in said]))
    for candidate in candidates:
        agreement = concordance(gold, np.concatenate([candidate.applied(row) for row in said]))
        if agreement > best:
            chain, best = candidate, agreement
    return chain


def _row(ratings: npt.ArrayLike) -> Floats:
    row = np.asarray(ratings, dtype=np.float64)
    if row.ndim != 1 or not row.size:
        raise InputError(f"Expected ratings of shape (step,), got {row.shape}.")
    return row


def _median(row: Floats, window: int) -> Floats:
    """Take the running median of (step,), as if the ends went on."""
    from scipy.ndimage import median_filter  # type: ignore[import-untyped]

    smooth: Floats = row if window == 1 else median_filter(row, size=window, mode="nearest")
    return smooth


def _shifted(row: Floats, steps: int) -> Floats:
    """Values (step,) moved later, the first or last filling what becomes free."""
    return row[np.clip(np.arange(len(row)) - steps, 0, len(row) - 1)]
