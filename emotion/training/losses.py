"""Losses of the recipes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from emotion.labels import EMOTIONS

__all__ = ["cross_entropy", "smoothed"]


def smoothed(labels: Tensor, amount: float) -> Tensor:
    """One-hot targets with a part spread over all emotions.

    Szegedy et al., "Rethinking the Inception Architecture" (CVPR 2016), section 7.

    Args:
        labels: (sample,) index into EMOTIONS.
        amount: Part of the probability that is spread, in [0, 1).

    Returns:
        (sample, emotion) float32, rows summing to 1.
    """
    one_hot = functional.one_hot(labels, len(EMOTIONS)).float()
    return one_hot * (1 - amount) + amount / len(EMOTIONS)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over samples of -Σ t log softmax(logits); a row of zero targets costs nothing.

    Args:
        logits: (sample, emotion).
        targets: (sample, emotion), rows summing to 1 or to 0.
    """
    each = -(targets * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
    return each.sum() / targets.sum().clamp_min(1.0)
