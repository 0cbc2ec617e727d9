"""Hand-made features over a sliding window into support vector regression.

What the end-to-end network has to beat (Tzirakis et al. 2017, arXiv:1704.08619): eGeMAPS
for the voice, LBP-TOP for the face, the baselines of the AVEC challenges (Valstar et al. 2016,
arXiv:1605.01600). Each step has low-level features; a step's input is what these come to in the
window around it; a linear machine a dimension rates it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from emotion import checkpoint
from emotion.errors import CheckpointError, InputError
from emotion.media import SAMPLE_RATE_HZ

__all__ = [
    "LOW_LEVEL_FEATURES",
    "UNIFORM_PATTERNS",
    "WindowedSVR",
    "WindowedSVRConfig",
    "lbp_top",
    "low_level_egemaps",
    "over_windows",
]

Floats = npt.NDArray[np.float64]

LOW_LEVEL_FEATURES = 25
"""Of eGeMAPS, a hundred times a second."""

_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_FLATTEST = 1e-9


@dataclass(frozen=True)
class WindowedSVRConfig:
    """What a step's features are, and how the machine is fitted.

    Attributes:
        features: "egemaps" of the sound, or "lbp-top" of the face.
        dimensions: Names of what is rated.
        window: Steps around each step, odd; 101 steps are 4 s.
        side: Height and width in pixels to which faces are reduced.
        blocks: Squares a side for each of which patterns are counted.
        epsilon: Errors up to this cost nothing.
    """

    features: Literal["egemaps", "lbp-top"] = "egemaps"
    dimensions: tuple[str, ...] = ("arousal", "valence")
    window: int = 101
    side: int = 48
    blocks: int = 3
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dimensions", tuple(self.dimensions))
        if self.features not in ("egemaps", "lbp-top") or not self.dimensions:
            raise ValueError(f"Expected egemaps or lbp-top and at least a dimension, got {self}.")
        if self.window < 1 or self.window % 2 == 0 or self.epsilon < 0:
            raise ValueError(f"Expected an odd window and epsilon >= 0, got {self}.")
        if not 1 <= self.blocks <= self.side - 2:
            raise ValueError(f"Expected 1 to {self.side - 2} blocks, got {self.blocks}.")

    @property
    def hears(self) -> bool:
        """Whether it needs sound; faces otherwise."""
        return self.features == "egemaps"


class WindowedSVR:
    """One linear machine a dimension over standardised windows.

    Args:
        config: What it was fitted to.
        arrays: `mean` and `deviation` (feature,), `weight` (dimension, feature), `intercept` and
            `cost` (dimension,).
    """

    def __init__(self, config: WindowedSVRConfig, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        missing = sorted({"mean", "deviation", "weight", "intercept", "cost"} - set(arrays))
        if missing:
            raise CheckpointError(f"Expected the array {missing[0]} of a regression, got none.")
        self.config, self.arrays = config, dict(arrays)

    @classmethod
    def fit(
        cls,
        config: WindowedSVRConfig,
        levels: Sequence[npt.ArrayLike],
        truth: Sequence[npt.ArrayLike],
        costs: Sequence[float],
        every: int = 1,
    ) -> WindowedSVR:
        """Fit by LIBLINEAR, with squared errors beyond epsilon.

        Args:
            config: What a step's input is.
            levels: (step, feature) low-level features of each recording.
            truth: (step, dimension) gold standard of each.
            costs: C of each dimension.
            every: Only every so-manieth step is learnt: neighbours say nearly the same.
        """
        from sklearn.svm import LinearSVR

        rows = np.concatenate([_inputs(config, level)[::every] for level in levels])
        gold = np.concatenate([np.asarray(t, np.float64)[::every] for t in truth])
        mean, deviation = rows.mean(axis=0), np.maximum(rows.std(axis=0), _FLATTEST)
        standard = (rows - mean) / deviation
        machines = [
            LinearSVR(
                C=cost,
                epsilon=config.epsilon,
                loss="squared_epsilon_insensitive",
                dual=False,
                # its penalty counts the intercept: so scaled, it is as good as free
                intercept_scaling=100.0,
            ).fit(standard, column)
            for cost, column in zip(costs, gold.T, strict=True)
        ]
        arrays = {
            "mean": mean,
            "deviation": deviation,
            "weight": np.stack([machine.coef_ for machine in machines]),
            "intercept": np.array([float(machine.intercept_[0]) for machine in machines]),
            "cost": np.array(costs, np.float64),
        }
        return cls(config, arrays)

    def rate(self, levels: npt.ArrayLike) -> Floats:
        """Rate a recording.

        Args:
            levels: (step, feature) low-level features.

        Returns:
            (step, dimension).

        Raises:
            InputError: If there are other features than it was fitted to.
        """
        rows = _inputs(self.config, levels)
        if rows.shape[1] != len(self.arrays["mean"]):
            wanted = len(self.arrays["mean"])
            raise InputError(f"Expected windows of {wanted} features, got shape {rows.shape}.")
        standard = (rows - self.arrays["mean"]) / self.arrays["deviation"]
        ratings: Floats = standard @ self.arrays["weight"].T + self.arrays["intercept"]
        return ratings

    def save(self, folder: str | Path, *, training: Mapping[str, Any]) -> None:
        """Write a checkpoint of config.json and model.safetensors."""
        stored = checkpoint.Stored("WindowedSVR", asdict(self.config), dict(training), self.arrays)
        checkpoint.write(folder, stored)

    @classmethod
    def load(cls, folder: str | Path) -> WindowedSVR:
        """Read a checkpoint.

        Raises:
            CheckpointError: If it is missing, damaged or of another kind.
        """
        stored = checkpoint.read(folder)
        if stored.architecture != "WindowedSVR":
            raise CheckpointError(f"Expected a WindowedSVR in {folder}, got {stored.architecture}.")
        try:
            return cls(WindowedSVRConfig(**stored.config), stored.arrays)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"Unusable configuration in {folder}: {error}") from error


def over_windows(levels: npt.ArrayLike, window: int, *, spread: bool) -> Floats:
    """Mean, and if asked standard deviation, of features in the window around each step.

    Args:
        levels: (step, feature).
        window: Steps, odd; at the ends of a recording only those that are there.
        spread: Whether the deviations follow the means.

    Returns:
        (step, feature) or (step, 2 · feature).

    >>> over_windows([[0.0], [2.0], [4.0]], 3, spread=False).tolist()
    [[1.0], [2.0], [3.0]]
    """
    rows = np.asarray(levels, np.float64)
    if rows.ndim != 2 or not len(rows):
        raise InputError(f"Expected features (step, feature), got shape {rows.shape}.")
    origin = rows.mean(axis=0)  # sums of squares far from 0 would lose digits
    rows = rows - origin
    steps, reach = np.arange(len(rows)), window // 2
    first, last = np.maximum(steps - reach, 0), np.minimum(steps + reach + 1, len(rows))
    count = (last - first)[:, None]

    def averaged(values: Floats) -> Floats:
        sums = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
        means: Floats = (sums[last] - sums[first]) / count
        return means

    mean = averaged(rows)
    found: Floats = mean + origin
    if spread:
        deviation = np.sqrt(np.maximum(averaged(rows**2) - mean**2, 0.0))
        found = np.concatenate([found, deviation], axis=1)
    return found


def low_level_egemaps(
    waveform: npt.NDArray[np.float32], step_samples: int
) -> npt.NDArray[np.float32]:
    """Low-level descriptors of eGeMAPS (Eyben et al. 2016), averaged over each step.

    Args:
        waveform: (sample,) in [-1, 1], mono, 16 kHz.
        step_samples: Samples of a step.

    Returns:
        (step, 25) of the whole steps; 0 for what cannot be computed, as the end of a recording,
        where openSMILE's frames no longer fit.

    Raises:
        InputError: If openSMILE is not installed.
    """
    try:
        import opensmile
    except ImportError as error:
        raise InputError("Expected openSMILE from the extra functionals, found none.") from error
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.LowLevelDescriptors,
    )
    table = smile.process_signal(waveform, SAMPLE_RATE_HZ)
    starts_s = table.index.get_level_values("start").total_seconds().to_numpy()
    step = (starts_s * SAMPLE_RATE_HZ / step_samples + 1e-6).astype(int)
    steps = len(waveform) // step_samples
    inside = step < steps
    levels = np.zeros((steps, LOW_LEVEL_FEATURES))
    np.add.at(levels, step[inside], np.nan_to_num(table.to_numpy(np.float64)[inside]))
    count = np.bincount(step[inside], minlength=steps)
    return (levels / np.maximum(count, 1)[:, None]).astype(np.float32)


def lbp_top(grey: npt.NDArray[np.uint8], blocks: int) -> npt.NDArray[np.float32]:
    """Count local binary patterns on three orthogonal planes (Zhao & Pietikäinen, PAMI 29, 2007).

    A pixel's pattern says which of its eight neighbours in a plane (xy, xt, yt; the next pixels,
    not interpolated on a circle) are at least as bright. Patterns with at most two changes along
    the ring have a bin each, all others share one.

    Args:
        grey: (step, height, width). Patterns are counted for each step but the first and the last,
            whose neighbours in time are not all there.
        blocks: Squares a side that are counted apart.

    Returns:
        (step − 2, 3 · 59 · blocks²), counts of a plane and block summing to 1. The mean over a
        window is LBP-TOP of that window.

    Raises:
        InputError: If there are not three steps, or too few pixels for the blocks.
    """
    if grey.ndim != 3 or len(grey) < 3 or min(grey.shape[1:]) < blocks + 2:
        raise InputError(
            f"Expected at least 3 steps of {blocks + 2} pixels a side, got shape {grey.shape}."
        )
    block = _block_of(grey.shape[1] - 2, grey.shape[2] - 2, blocks)
    planes = [_histograms(grey, axes, block, blocks**2) for axes in ((1, 2), (0, 2), (0, 1))]
    return np.concatenate(planes, axis=1).astype(np.float32)


def _uniform_patterns() -> npt.NDArray[np.int64]:
    """Bin of each of the 256 patterns: its rank among the uniform ones, or one for all others."""
    bins = np.full(256, -1)
    for pattern in range(256):
        ring = [pattern >> k & 1 for k in range(8)]
        if sum(a != b for a, b in pairwise([*ring, ring[0]])) <= 2:
            bins[pattern] = bins.max() + 1
    return np.where(bins < 0, bins.max() + 1, bins)


UNIFORM_PATTERNS = _uniform_patterns()
"""Bin of each 8-bit pattern, 0 to 58."""


def _block_of(height: int, width: int, blocks: int) -> npt.NDArray[np.int64]:
    """Index of the block of each pixel (height, width)."""
    row, column = (np.arange(side) * blocks // side for side in (height, width))
    index: npt.NDArray[np.int64] = row[:, None] * blocks + column
    return index


def _histograms(
    grey: npt.NDArray[np.uint8],
    axes: tuple[int, int],
    block: npt.NDArray[np.int64],
    blocks: int,
) -> Floats:
    """Shares (step, block · bin) of the patterns of (step, height, width) in the plane of axes."""
    centre = grey[1:-1, 1:-1, 1:-1]
    # views of the volume moved by -1, 0, 1 along each axis
    moved = sliding_window_view(grey, centre.shape)
    pattern = np.zeros(centre.shape, np.uint8)
    for bit, offsets in enumerate(_NEIGHBOURS):
        place = [1, 1, 1]
        for axis, offset in zip(axes, offsets, strict=True):
            place[axis] += offset
        pattern |= (moved[tuple(place)] >= centre).astype(np.uint8) << np.uint8(bit)
    bins = int(UNIFORM_PATTERNS.max()) + 1
    within = block * bins + UNIFORM_PATTERNS[pattern]
    size = blocks * bins
    flat = (np.arange(len(centre))[:, None, None] * size + within).ravel()
    counts = np.bincount(flat, minlength=len(centre) * size).reshape(len(centre), blocks, bins)
    shares: Floats = counts / counts.sum(axis=2, keepdims=True)
    return shares.reshape(len(centre), size)


def _inputs(config: WindowedSVRConfig, levels: npt.ArrayLike) -> Floats:
    """Put together what the machine reads of each step (step, feature)."""
    return over_windows(levels, config.window, spread=config.hears)
