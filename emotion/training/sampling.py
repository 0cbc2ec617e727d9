"""How examples are drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS

__all__ = ["balanced"]


def balanced(labels: npt.NDArray[np.int64], batch: int, generator: torch.Generator) -> list[Tensor]:
    """Draw steps of indices (example,) of `labels` (clip,), every emotion equally often.

    Raises:
        CorpusError: If there is no clip.
    """
    if not len(labels):
        raise CorpusError("Expected clips to train on, got none: everybody is held out.")
    own = torch.from_numpy(labels)
    weights = 1.0 / torch.bincount(own, minlength=len(EMOTIONS)).clamp_min(1)[own]
    steps = max(1, len(own) // batch)
    drawn = torch.multinomial(weights, steps * batch, replacement=True, generator=generator)
    return list(torch.split(drawn, batch))
