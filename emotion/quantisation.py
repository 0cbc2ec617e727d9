"""Weights in eight bits on disk: whole numbers, and a scale for each row.

Each row has its own scale, so that no row loses to a larger one (Krishnamoorthi, "Quantizing deep
convolutional networks for efficient inference: a whitepaper", arXiv:1806.08342, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["eight_bits", "packed", "unpacked"]

Arrays = Mapping[str, npt.NDArray[Any]]

_SCALE = ".scale"


def eight_bits(
    array: npt.NDArray[Any], axis: int | tuple[int, ...]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Whole numbers within ±127, and the scale they are to be multiplied by along `axis`."""
    scale = np.maximum(np.abs(array).max(axis=axis, keepdims=True), 1e-12) / 127
    return np.round(array / scale).astype(np.int8), scale.astype(np.float32)


def packed(arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Turn float matrices (row, column, ...) into int8 and NAME.scale; keep what else there is."""
    found: dict[str, npt.NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.ndim > 1 and array.dtype == np.float32:
            found[name], found[name + _SCALE] = eight_bits(array, tuple(range(1, array.ndim)))
        else:
            found[name] = array
    return found


def unpacked(arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Undo `packed`: float32 matrices, each within half a step of what it was."""
    scales = {name for name in arrays if name.removesuffix(_SCALE) in arrays.keys() - {name}}
    return {
        name: array * arrays[name + _SCALE] if name + _SCALE in scales else array
        for name, array in arrays.items()
        if name not in scales
    }
