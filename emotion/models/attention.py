"""Attention that pools a set of vectors into one.

Zhang, Du, Wang & Zhang 2018 (arXiv:1806.01506), eqs. 1-3; used again for the frames of a face in
Zhang, Wang & Du 2019 (arXiv:1901.04889).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["AttentionPooling", "AveragePooling", "Pooled"]


class Pooled(NamedTuple):
    """What attention saw.

    Attributes:
        context: (batch, feature), the weighted sum.
        weights: (batch, position), each row summing to 1 over its valid positions.
    """

    context: Tensor
    weights: Tensor


class AttentionPooling(nn.Module):
    """Pools positions by λ-softmax attention.

    e_i = uᵀ tanh(W a_i + b), α = softmax(λ e), c = Σ α_i a_i. A small λ keeps the weights from
    settling on one position; the paper uses λ = 0.3.

    Args:
        features: Size of each a_i.
        hidden: Size of W a_i.
        sharpness: The paper's λ, positive.
    """

    def __init__(self, features: int, hidden: int, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness
        self.project = nn.Linear(features, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, positions: Tensor, mask: Tensor | None = None) -> Pooled:
        """Pool (batch, position, feature) into (batch, feature).

        Args:
            positions: (batch, position, feature).
            mask: (batch, position) bool, true where a position counts; None counts all. A row that
                is false throughout gives zero weights and a zero context.
        """
        energy = self.score(torch.tanh(self.project(positions))).squeeze(-1).float()
        if mask is None:
            weights = torch.softmax(self.sharpness * energy, dim=-1)
        else:
            lowest = torch.finfo(energy.dtype).min
            weights = torch.softmax((self.sharpness * energy).masked_fill(~mask, lowest), dim=-1)
            weights = weights * mask
        return Pooled(torch.einsum("bp,bpf->bf", weights, positions.float()), weights)


class AveragePooling(nn.Module):
    """Pools positions by their plain average: the ablation that attention has to beat."""

    def forward(self, positions: Tensor, mask: Tensor) -> Pooled:
        """Pool (batch, position, feature) where mask (batch, position) bool is true.

        A row that is false throughout gives zero weights and a zero context.
        """
        weights = mask / mask.sum(dim=1, keepdim=True).clamp_min(1)
        return Pooled(torch.einsum("bp,bpf->bf", weights, positions.float()), weights)
