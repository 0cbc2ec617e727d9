"""Losses of the recipes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from emotion.labels import EMOTIONS

__all__ = ["concordance_loss", "cross_entropy", "smoothed"]


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


def concordance_loss(said: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over dimensions of 1 − CCC, each CCC over all samples at once.

    Tzirakis et al. 2017 (arXiv:1704.08619), with Lin's variances divided by n (Biometrics
    45, 1989): `emotion.metrics.concordance` with a gradient. Two equal constants cost nothing.

    Args:
        said: (..., dimension) ratings.
        truth: (..., dimension) ratings.
        mask: (...) bool, true at samples that count; None counts all.

    Returns:
        In [0, 2]; 0 where no sample counts. In float64 if `said` is, else in float32.
    """
    dtype = torch.promote_types(said.dtype, torch.float32)
    counted = torch.ones_like(said[..., 0], dtype=torch.bool) if mask is None else mask
    x, y = said[counted].to(dtype), truth[counted].to(dtype)
    if not len(x):
        return said.sum() * 0.0
    covariance = ((x - x.mean(0)) * (y - y.mean(0))).mean(0)
    spread = x.var(0, correction=0) + y.var(0, correction=0) + (x.mean(0) - y.mean(0)).square()
    varied = spread > 0
    # dividing by 1 where nothing varies keeps the gradient of the other branch finite
    agreement = 2 * covariance / torch.where(varied, spread, torch.ones_like(spread))
    return (1 - torch.where(varied, agreement, torch.ones_like(agreement))).mean()
