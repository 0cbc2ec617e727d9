"""How examples are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS

__all__ = ["balanced"]


def balanced(
    labels: npt.NDArray[np.int64],
    batch: int,
    generator: torch.Generator,
    *,
    corpora: Sequence[str] = (),
    corpus_power: float = 1.0,
) -> list[Tensor]:
    """Draw steps of indices (example,) of `labels` (clip,), every emotion equally often.

    Args:
        labels: Index into EMOTIONS of each clip.
        batch: Examples a step.
        generator: Source of randomness.
        corpora: Of each clip, where they matter.
        corpus_power: An emotion's draws are shared by its corpora as their clips of it to this
            power are: 1 draws every clip equally often, 0 every corpus, however small.

    Raises:
        CorpusError: If there is no clip.
    """
    if not len(labels):
        raise CorpusError("Expected clips to train on, got none: everybody is held out.")
    own = torch.from_numpy(labels)
    cells = own
    if corpora:
        names, corpus = np.unique(np.asarray(corpora), return_inverse=True)
        cells = own * len(names) + torch.from_numpy(corpus)
    shares = torch.bincount(cells).float()[cells] ** (corpus_power - 1)
    weights = shares / torch.zeros(len(EMOTIONS)).index_add(0, own, shares)[own]
    steps = max(1, len(own) // batch)
    drawn = torch.multinomial(weights, steps * batch, replacement=True, generator=generator)
    return list(torch.split(drawn, batch))
