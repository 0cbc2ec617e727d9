"""Fusion without bilinear pooling: the baselines that the deep fusions have to beat.

Feature level: the vectors side by side through a small network. Decision level: the average of the
views' probabilities, their weighted sum (Liu et al. 2018; Fan et al. 2016), or a linear layer that
learns from their logarithms. Avots et al. 2019 compare the two levels on AFEW.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS

__all__ = [
    "ConcatFusion",
    "ConcatFusionConfig",
    "LearntDecision",
    "LearntDecisionConfig",
    "average_decisions",
    "fit_decision_weights",
    "weighted_decisions",
]

Probabilities = npt.NDArray[np.floating]
SMALLEST_PROBABILITY = 1e-6
"""Probabilities are raised to it before a logarithm."""


# ---------------------------------------------------------------------------- decision level


def average_decisions(views: Sequence[Probabilities]) -> npt.NDArray[np.float64]:
    """Mean of every view's probabilities (clip, emotion), as (clip, emotion).

    >>> average_decisions([np.array([[0.2, 0.8]]), np.array([[0.6, 0.4]])]).round(2)
    array([[0.4, 0.6]])

    Raises:
        InputError: If there is no view, or their shapes differ.
    """
    mean: npt.NDArray[np.float64] = _stacked(views).mean(axis=0)
    return mean


def weighted_decisions(
    views: Sequence[Probabilities], weights: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Weighted sum Σ_m w_m p_m of every view's probabilities (clip, emotion), as (clip, emotion).

    Where a view says nothing of a clip, the sum of the others is divided by their weights' sum;
    where nobody of any weight says anything, every emotion is as likely.

    Args:
        views: (clip, emotion) a view, each row summing to 1, or nan where it says nothing.
        weights: (view,), none negative, summing to 1.

    Raises:
        InputError: If the shapes differ, or the weights are no weights.

    >>> weighted_decisions([np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])], [0.75, 0.25]).tolist()
    [[0.75, 0.25]]
    """
    stacked, given = _stacked(views), np.asarray(weights, dtype=np.float64)
    if given.shape != (len(stacked),) or given.min() < 0 or abs(given.sum() - 1) > 1e-6:
        raise InputError(
            f"Expected {len(stacked)} weights, none negative, summing to 1, got {given.tolist()}."
        )
    spoken = ~np.isnan(stacked).any(axis=2)
    counted = given[:, None] * spoken
    total = np.where(spoken.all(axis=0), 1.0, counted.sum(axis=0))[:, None]
    mixed: npt.NDArray[np.float64] = np.einsum("vc,vce->ce", counted, np.nan_to_num(stacked))
    even = np.full_like(mixed, 1 / mixed.shape[1])
    return np.divide(mixed, total, out=even, where=total > 0)


def fit_decision_weights(
    views: Sequence[Probabilities], labels: npt.ArrayLike, *, rounds: int = 500
) -> npt.NDArray[np.float64]:
    """Weights (view,) under which the weighted sum makes the labels of a validation part likeliest.

    Expectation-maximisation for a mixture's weights: w_m <- mean over clips of
    w_m p_m(y) / Σ_j w_j p_j(y). The likelihood is concave in w and never falls, so the weights are
    non-negative, sum to 1 and need neither a grid nor a step size.

    Args:
        views: (clip, emotion) a view, of clips that no view was trained on and that are not those
            of the final score. Clips of which a view says nothing (nan) teach nothing; where there
            are no others, the weights are even.
        labels: (clip,) indices of the true emotions.
        rounds: Steps at most; it ends earlier where the weights stand still.

    Raises:
        InputError: If the shapes differ, or a label is none of the emotions.
    """
    stacked, truth = _stacked(views), np.asarray(labels)
    clips, emotions = stacked.shape[1:]
    if truth.shape != (clips,) or clips == 0 or truth.min() < 0 or truth.max() >= emotions:
        raise InputError(f"Expected {clips} labels under {emotions}, got {truth.tolist()}.")
    (spoken,) = np.nonzero(~np.isnan(stacked).any(axis=(0, 2)))
    likelihood = stacked[:, spoken, truth[spoken]].clip(SMALLEST_PROBABILITY)
    weights = np.full(len(stacked), 1 / len(stacked))
    for _ in range(rounds if len(spoken) else 0):
        shares = weights[:, None] * likelihood
        new = (shares / shares.sum(axis=0)).mean(axis=1)
        if np.abs(new - weights).max() < 1e-9:
            break
        weights = new
    return weights


def _stacked(views: Sequence[Probabilities]) -> npt.NDArray[np.float64]:
    """(view, clip, emotion) of views (clip, emotion)."""
    shapes = {np.shape(view) for view in views}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise InputError(f"Expected views (clip, emotion) of one shape, got {sorted(shapes)}.")
    return np.stack([np.asarray(view, dtype=np.float64) for view in views])


@dataclass(frozen=True)
class LearntDecisionConfig:
    """Everything that decides the layer's shape.

    Attributes:
        views: How many ways of looking it mixes.
    """

    views: int = 2

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ValueError(f"Expected at least one view, got {self.views}.")


class LearntDecision(nn.Module):
    """Multinomial logistic regression on the logarithms of every view's probabilities."""

    def __init__(self, config: LearntDecisionConfig) -> None:
        super().__init__()
        self.config = config
        self.classify = nn.Linear(config.views * len(EMOTIONS), len(EMOTIONS))
        # it starts as the normalised product of the views, and learns from there
        with torch.no_grad():
            self.classify.weight.copy_(torch.eye(len(EMOTIONS)).repeat(1, config.views))
            self.classify.bias.zero_()

    def forward(self, views: Tensor) -> Tensor:
        """Logits (batch, emotion) of probabilities (batch, view, emotion).

        Raises:
            InputError: If the shape is another.
        """
        if views.ndim != 3 or views.shape[1:] != (self.config.views, len(EMOTIONS)):
            raise InputError(
                f"Expected probabilities (batch, {self.config.views}, {len(EMOTIONS)}), "
                f"got shape {tuple(views.shape)}."
            )
        logits: Tensor = self.classify(views.clamp_min(SMALLEST_PROBABILITY).log().flatten(1))
        return logits.float()


# ----------------------------------------------------------------------------- feature level


@dataclass(frozen=True)
class ConcatFusionConfig:
    """Everything that decides the network's shape.

    Attributes:
        features: Size of each vector; one size alone makes the unimodal network.
        hidden: Size of each hidden layer; none gives a linear classifier.
        dropout: Before every layer, in [0, 1).
    """

    features: tuple[int, ...] = (128, 256)
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("features", "hidden"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.features or min((*self.features, *self.hidden)) < 1:
            raise ValueError(f"Expected positive sizes, got {self}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"Expected dropout in [0, 1), got {self.dropout}.")


class ConcatFusion(nn.Module):
    """Vectors side by side through a small perceptron."""

    def __init__(self, config: ConcatFusionConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        width = sum(config.features)
        for size in config.hidden:
            layers += [nn.Dropout(config.dropout), nn.Linear(width, size), nn.ReLU()]
            width = size
        self.layers = nn.Sequential(*layers, nn.Dropout(config.dropout))
        self.classify = nn.Linear(width, len(EMOTIONS))

    def forward(self, *vectors: Tensor) -> Tensor:
        """Logits (batch, emotion) of as many vectors (batch, feature) as the configuration has.

        Raises:
            InputError: If their number, axes or sizes differ.
        """
        batch = len(vectors[0]) if vectors else 0
        wanted = [(batch, size) for size in self.config.features]
        got = [tuple(vector.shape) for vector in vectors]
        if got != wanted:
            shapes = (", ".join(map(str, x)) or "none" for x in (wanted, got))
            raise InputError("Expected vectors {}, got {}.".format(*shapes))
        logits: Tensor = self.classify(self.layers(torch.cat(vectors, dim=1)))
        return logits.float()
