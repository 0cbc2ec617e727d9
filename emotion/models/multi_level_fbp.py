"""Factorised bilinear pooling on several levels, the two streams adaptively weighted.

Zhou et al. 2021 (arXiv:2111.08910), "Information Fusion in Attention Networks Using Adaptive and
Multi-level Factorized Bilinear Pooling". Its abstract is what this file rests on: a global FBP; an
adaptive strategy that "dynamically calculates the fusion weight of two modalities" from "the
emotion-related representation vectors from the attention mechanism of respective modalities"; and,
on top, several levels that combine "global-trunk and intra-trunk data in one recording". The
formula of the weights and the way levels are combined are not in it: both are settings here
(`weighting`, `combine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS
from emotion.models.fusion import FactorizedBilinearPooling

__all__ = [
    "AdaptiveFBP",
    "Combine",
    "Fused",
    "MultiLevelFBP",
    "MultiLevelFBPConfig",
    "Weighting",
]

Weighting = Literal["none", "norm", "gate"]
Combine = Literal["concat", "sum"]


@dataclass(frozen=True)
class MultiLevelFBPConfig:
    """Everything that decides the network's shape.

    Attributes:
        first: Size of the first stream's vector at each level.
        second: Size of the second stream's vector at each level.
        factors: FBP's k: products summed into each output.
        outputs: FBP's o: size of each level's fused vector.
        dropout: On the products, in [0, 1).
        signed_root: Whether the signed square root comes before the L2 norm.
        weighting: How much each stream counts: "none" evenly; "norm" by the length of its vector,
            |a| / (|a| + |v|); "gate" by the softmax of one learned score a stream.
        combine: Whether the fused vectors of the levels stand side by side or are summed.
    """

    first: tuple[int, ...] = (128,)
    second: tuple[int, ...] = (256,)
    factors: int = 4
    outputs: int = 64
    dropout: float = 0.1
    signed_root: bool = True
    weighting: Weighting = "gate"
    combine: Combine = "concat"

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        sizes = (*self.first, *self.second, self.factors, self.outputs)
        if not self.first or len(self.first) != len(self.second) or min(sizes) < 1:
            raise ValueError(f"Expected as many positive sizes of either stream, got {self}.")
        if self.weighting not in get_args(Weighting) or self.combine not in get_args(Combine):
            raise ValueError(
                "Expected weighting none, norm or gate and combine concat or sum, "
                f"got {self.weighting!r} and {self.combine!r}."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"Expected dropout in [0, 1), got {self.dropout}.")


class Fused(NamedTuple):
    """What one level gives.

    Attributes:
        vector: (batch, output).
        weights: (batch, stream), what the first and the second stream counted, summing to 1.
    """

    vector: Tensor
    weights: Tensor


class AdaptiveFBP(nn.Module):
    """One level: each stream scaled by twice its weight, then FBP.

    Even weights leave the vectors as they are. Without the 1 that FBP appends to each vector the
    weights would cancel in the L2 norm; with it they say how much each stream's own terms count.
    """

    def __init__(self, first: int, second: int, config: MultiLevelFBPConfig) -> None:
        super().__init__()
        self.weighting = config.weighting
        if config.weighting == "gate":
            self.score_first, self.score_second = nn.Linear(first, 1), nn.Linear(second, 1)
        self.pooling = FactorizedBilinearPooling(
            first, second, config.outputs, config.factors, config.dropout, config.signed_root
        )

    def forward(self, first: Tensor, second: Tensor) -> Fused:
        """Fuse (batch, first) and (batch, second) into (batch, output)."""
        weights = self.weigh(first, second)
        scaled = (2 * weights[:, :1] * first, 2 * weights[:, 1:] * second)
        return Fused(self.pooling(*scaled), weights)

    def weigh(self, first: Tensor, second: Tensor) -> Tensor:
        """Weights (batch, stream) of (batch, first) and (batch, second)."""
        if self.weighting == "none":
            return first.new_full((len(first), 2), 0.5)
        if self.weighting == "gate":
            scores = torch.cat([self.score_first(first), self.score_second(second)], dim=1)
            return scores.softmax(dim=1)
        lengths = torch.stack([first.norm(dim=1), second.norm(dim=1)], dim=1)
        return (lengths + _NO_LENGTH) / (lengths + _NO_LENGTH).sum(dim=1, keepdim=True)


_NO_LENGTH = 1e-6  # two empty vectors count evenly


class MultiLevelFBP(nn.Module):
    """Two streams of vectors, at one or several levels, in; emotion logits out.

    A level is one vector a clip, or several (trunks of its recording): trunks share the level's
    weights and their fused vectors are averaged. The vectors should be standardised.
    """

    def __init__(self, config: MultiLevelFBPConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList(
            AdaptiveFBP(first, second, config)
            for first, second in zip(config.first, config.second, strict=True)
        )
        wide = len(self.levels) if config.combine == "concat" else 1
        self.classify = nn.Linear(wide * config.outputs, len(EMOTIONS))
        self.scale = nn.Parameter(torch.tensor(8.0))  # each z has length 1: logits need the room

    def forward(
        self,
        first: Tensor | Sequence[Tensor],
        second: Tensor | Sequence[Tensor],
        mask: Tensor | None = None,
    ) -> Tensor:
        """Logits (batch, emotion).

        Args:
            first: A level's vectors (batch, feature) or (batch, trunk, feature), or a list of
                levels.
            second: The other stream's, with the same levels and trunks.
            mask: (batch, trunk) bool, true where both streams have something in a trunk; None
                counts all. A clip without a trunk gets a zero vector at that level.

        Raises:
            InputError: If the shapes do not fit the configuration or each other.
        """
        return self.decide(self.fuse(first, second, mask))

    def fuse(
        self,
        first: Tensor | Sequence[Tensor],
        second: Tensor | Sequence[Tensor],
        mask: Tensor | None = None,
    ) -> list[Fused]:
        """Every level's fused vector (batch, output) and weights (batch, stream), as `forward`."""
        ones, others = _levels(first), _levels(second)
        self._check(ones, others)
        return [
            level(one, other) if one.ndim == 2 else _over_trunks(level, one, other, mask)
            for level, one, other in zip(self.levels, ones, others, strict=True)
        ]

    def decide(self, levels: Sequence[Fused]) -> Tensor:
        """Logits (batch, emotion) of what `fuse` gave, vectors (batch, output) a level."""
        vectors = [level.vector for level in levels]
        together = self.config.combine == "concat"
        joined = torch.cat(vectors, dim=1) if together else torch.stack(vectors).sum(dim=0)
        logits: Tensor = self.scale * self.classify(joined)
        return logits.float()

    def _check(self, first: list[Tensor], second: list[Tensor]) -> None:
        """Refuse levels that are not (batch, feature) or (batch, trunk, feature), as configured."""
        got = [tuple(vector.shape) for vector in first], [tuple(vector.shape) for vector in second]
        sizes = self.config.first, self.config.second
        batch = first[0].shape[:1] if first else ()
        fits = all(
            tuple(shape[-1] for shape in shapes) == features
            and all(len(shape) in (2, 3) and shape[:1] == batch for shape in shapes)
            for shapes, features in zip(got, sizes, strict=True)
        )
        if not fits or [s[:-1] for s in got[0]] != [s[:-1] for s in got[1]]:
            raise InputError(
                "Expected levels (batch, feature) or (batch, trunk, feature) with features "
                f"{sizes[0]} and {sizes[1]}, got {_listed(got[0])} and {_listed(got[1])}."
            )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes)) or "none"


def _levels(vectors: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [vectors] if isinstance(vectors, Tensor) else list(vectors)


def _over_trunks(level: nn.Module, first: Tensor, second: Tensor, mask: Tensor | None) -> Fused:
    """Fuse (batch, trunk, feature) by one level; average where mask (batch, trunk) is true."""
    batch, trunks = first.shape[:2]
    if mask is None:
        mask = first.new_ones((batch, trunks), dtype=torch.bool)
    if mask.shape != (batch, trunks):
        raise InputError(f"Expected a mask {(batch, trunks)}, got shape {tuple(mask.shape)}.")
    fused: Fused = level(first.flatten(0, 1), second.flatten(0, 1))
    share = (mask / mask.sum(dim=1, keepdim=True).clamp_min(1))[..., None]
    vector, weights = (x.view(batch, trunks, -1) for x in fused)
    even = 0.5 * (1 - share.sum(dim=1))  # where no trunk counts
    return Fused((share * vector).sum(dim=1), (share * weights).sum(dim=1) + even)
