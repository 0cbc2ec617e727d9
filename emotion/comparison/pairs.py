"""The arena of real pairs, features of face and voice of one clip, and what fuses them.

Every network here gets the same: features standardised by the training actors, the same steps and
dropouts to choose from by folds inside the training actors, and five seeds whose probabilities are
averaged. So what differs between two rows is the fusion alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emotion.calibration import calibrated_probabilities
from emotion.comparison.arena import (
    Arena,
    Cost,
    Fitted,
    Labels,
    Majority,
    Probabilities,
    folds_by_group,
)
from emotion.comparison.cost import network_cost
from emotion.comparison.system import AM_FBP, LIU_2018, OWN, ZHANG_2019, System
from emotion.corpora.paired import PairedFeatures, load_paired
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall
from emotion.models.decision import (
    ConcatFusion,
    ConcatFusionConfig,
    LearntDecision,
    LearntDecisionConfig,
    average_decisions,
    fit_decision_weights,
    weighted_decisions,
)
from emotion.models.fusion import FactorizedBilinearPooling
from emotion.models.multi_level_fbp import MultiLevelFBP, MultiLevelFBPConfig
from emotion.training.loop import initialised
from emotion.training.losses import cross_entropy, smoothed

__all__ = ["SYSTEMS", "DecisionFusion", "PairNetwork", "paired_arena"]

STEPS = (40, 120, 300)
DROPOUTS = (0.2, 0.5)
SEEDS = (1, 2, 3, 4, 5)
INNER_FOLDS = 3
HIDDEN = 64


def paired_arena(root: Path, folds: int | None) -> Arena[PairedFeatures]:
    """Read the 270 clips; leave one actor out at a time, or part actors into folds."""
    features = load_paired(root)
    how = "leave one actor out" if folds is None else f"{folds} folds of other actors"
    return Arena(
        name="ravdess-pairs",
        title="RAVDESS, features of face and voice of the same clip",
        protocol=f"{len(features)} clips of {len(set(features.actors))} actors; {how}",
        labels=features.labels,
        groups=features.actors,
        folds=folds_by_group(features.actors, folds),
        take=features.take,
    )


class Sizes(NamedTuple):
    """How many features a voice and a face have."""

    voice: int
    face: int


class VoiceAlone(ConcatFusion):
    """The voice through a hidden layer."""

    def __init__(self, sizes: Sizes, dropout: float) -> None:
        super().__init__(ConcatFusionConfig((sizes.voice,), (HIDDEN,), dropout))

    def forward(self, *streams: Tensor) -> Tensor:
        """Logits (clip, emotion) of voices (clip, feature); the faces behind them do not matter."""
        return super().forward(streams[0])


class FaceAlone(ConcatFusion):
    """The face through a hidden layer."""

    def __init__(self, sizes: Sizes, dropout: float) -> None:
        super().__init__(ConcatFusionConfig((sizes.face,), (HIDDEN,), dropout))

    def forward(self, *streams: Tensor) -> Tensor:
        """Logits (clip, emotion) of faces (clip, feature); the voices before them do not matter."""
        return super().forward(streams[1])


class Concat(ConcatFusion):
    """Voice and face side by side through a hidden layer."""

    def __init__(self, sizes: Sizes, dropout: float) -> None:
        super().__init__(ConcatFusionConfig(tuple(sizes), (HIDDEN,), dropout))


class Bilinear(nn.Module):
    """Factorized bilinear pooling of voice and face, then a linear layer."""

    def __init__(self, sizes: Sizes, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.pooling = FactorizedBilinearPooling(*sizes, outputs=HIDDEN, factors=4, dropout=dropout)
        self.classify = nn.Linear(HIDDEN, len(EMOTIONS))
        self.scale = nn.Parameter(torch.tensor(8.0))  # z has length 1: logits need the room

    def forward(self, voice: Tensor, face: Tensor) -> Tensor:
        """Logits (clip, emotion) of voices (clip, feature) and faces (clip, feature)."""
        fused = self.pooling(self.dropout(voice), self.dropout(face))
        logits: Tensor = self.scale * self.classify(fused)
        return logits


class MultiLevelBilinear(nn.Module):
    """AM-FBP on two levels: the features themselves, and a hidden layer of each stream.

    The paper's levels are the whole recording and pieces of it; here a recording is one vector.
    """

    def __init__(self, sizes: Sizes, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.ModuleList(nn.Linear(size, HIDDEN) for size in sizes)
        first, second = ((size, HIDDEN) for size in sizes)
        self.fuse = MultiLevelFBP(
            MultiLevelFBPConfig(first, second, outputs=HIDDEN // 2, dropout=dropout)
        )

    def forward(self, voice: Tensor, face: Tensor) -> Tensor:
        """Logits (clip, emotion) of voices (clip, feature) and faces (clip, feature)."""
        streams = [self.dropout(voice), self.dropout(face)]
        levels = [
            [stream, torch.relu(layer(stream))]
            for stream, layer in zip(streams, self.hidden, strict=True)
        ]
        logits: Tensor = self.fuse(*levels)
        return logits


Maker = Callable[[Sizes, float], nn.Module]


@dataclass(frozen=True)
class PairNetwork:
    """One way to fuse, trained with steps and dropout chosen inside the training actors.

    Attributes:
        make: Class of the network: what is kept is found again by its name, which a function's
            repr(), an address, would not give.
    """

    make: Maker

    def fit(
        self, train: PairedFeatures, labels: Labels, groups: Sequence[str], folder: Path
    ) -> _Networks:
        """Choose steps and dropout by folds of actors, then train each seed on all."""
        inner = folds_by_group(groups, INNER_FOLDS)
        best, steps, dropout = -1.0, STEPS[0], DROPOUTS[0]
        for some_steps, some_dropout in product(STEPS, DROPOUTS):
            said = np.zeros(len(train), dtype=np.int64)
            for fold in inner:
                fitted = self._train(train.take(fold.train), some_steps, some_dropout, SEEDS[:1])
                said[fold.test] = fitted.probabilities(train.take(fold.test)).argmax(axis=1)
            uar = unweighted_average_recall(confusion_matrix(labels, said))
            if uar > best:
                best, steps, dropout = uar, some_steps, some_dropout
        return self._train(train, steps, dropout, SEEDS)

    def _train(
        self, train: PairedFeatures, steps: int, dropout: float, seeds: Sequence[int]
    ) -> _Networks:
        scaling = _Scaling.of(train)
        voice, face = scaling(train)
        sizes = Sizes(voice.shape[1], face.shape[1])
        targets = smoothed(torch.from_numpy(train.labels), 0.1)
        models = []
        for seed in seeds:
            model = initialised(lambda: self.make(sizes, dropout), seed)
            models.append(_train_network(model, (voice, face), targets, steps, seed))
        return _Networks(models, scaling)


def _train_network(
    model: nn.Module, inputs: tuple[Tensor, ...], targets: Tensor, steps: int, seed: int
) -> nn.Module:
    """Take so many steps of AdamW on all clips at once; inputs (clip, ...), targets (clip, 7)."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(steps):
            optimiser.zero_grad()
            cross_entropy(model(*inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return model.eval()


class _Networks:
    """Networks of several seeds; their probabilities are averaged."""

    def __init__(self, models: Sequence[nn.Module], scaling: _Scaling) -> None:
        self.models, self.scaling = models, scaling
        self.cost = network_cost(models[0], *(torch.zeros(1, n) for n in scaling.sizes))

    @torch.inference_mode()
    def probabilities(self, samples: PairedFeatures) -> Probabilities:
        """(clip, emotion)."""
        inputs = self.scaling(samples)
        said = [calibrated_probabilities(model(*inputs).numpy(), 1.0) for model in self.models]
        mean: Probabilities = np.mean(said, axis=0, dtype=np.float32)
        return mean


@dataclass(frozen=True)
class DecisionFusion:
    """Voice alone and face alone, their decisions put together.

    Attributes:
        how: "average"; "weighted" by weights found, or "learnt" by a layer fitted, on what the two
            say of training actors they were not trained on.
    """

    how: str

    def fit(
        self, train: PairedFeatures, labels: Labels, groups: Sequence[str], folder: Path
    ) -> Fitted:
        """Train both, and the way to put them together."""
        learners = (PairNetwork(VoiceAlone), PairNetwork(FaceAlone))
        both = [learner.fit(train, labels, groups, folder) for learner in learners]
        unseen = [np.zeros((len(train), len(EMOTIONS)), np.float32) for _ in learners]
        for fold in folds_by_group(groups, INNER_FOLDS) if self.how != "average" else ():
            part = train.take(fold.train)
            people = [groups[i] for i in fold.train]
            for learner, rows in zip(learners, unseen, strict=True):
                fitted = learner.fit(part, labels[fold.train], people, folder)
                rows[fold.test] = fitted.probabilities(train.take(fold.test))
        return _Decision(both, _decide(self.how, unseen, labels))


Decide = Callable[[Sequence[Probabilities]], npt.NDArray[Any]]


def _decide(how: str, unseen: Sequence[Probabilities], labels: Labels) -> Decide:
    if how == "average":
        return average_decisions
    if how == "weighted":
        weights = fit_decision_weights(unseen, labels)
        return lambda views: weighted_decisions(views, weights)
    views = torch.from_numpy(np.stack(unseen, axis=1))
    layer = LearntDecision(LearntDecisionConfig(len(unseen)))
    _train_network(layer, (views,), smoothed(torch.from_numpy(labels), 0.1), STEPS[1], SEEDS[0])

    @torch.inference_mode()
    def learnt(views: Sequence[Probabilities]) -> npt.NDArray[Any]:
        logits = layer(torch.from_numpy(np.stack(views, axis=1).astype(np.float32)))
        return calibrated_probabilities(logits.numpy(), 1.0)

    return learnt


class _Decision:
    def __init__(self, both: Sequence[_Networks], decide: Decide) -> None:
        self.both, self.decide = both, decide
        macs = [part.cost.macs or 0 for part in both]
        self.cost = Cost(sum(part.cost.parameters for part in both), sum(macs))

    def probabilities(self, samples: PairedFeatures) -> Probabilities:
        """(clip, emotion)."""
        said = self.decide([part.probabilities(samples) for part in self.both])
        return said.astype(np.float32)


class _Scaling:
    """Standardises voice and face by some clips; what was not measured becomes their mean."""

    def __init__(
        self, mean: Sequence[npt.NDArray[Any]], deviation: Sequence[npt.NDArray[Any]]
    ) -> None:
        self.mean, self.deviation = mean, deviation
        self.sizes = Sizes(*(len(row) for row in mean))

    @classmethod
    def of(cls, clips: PairedFeatures) -> _Scaling:
        both = (clips.voice, clips.face)
        deviations = [np.nanstd(x, axis=0) for x in both]
        return cls([np.nanmean(x, axis=0) for x in both], [np.maximum(d, 1e-9) for d in deviations])

    def __call__(self, clips: PairedFeatures) -> tuple[Tensor, Tensor]:
        """Voices (clip, feature) and faces (clip, feature)."""
        rows = (clips.voice, clips.face)
        scaled = [
            np.nan_to_num((x - m) / d).clip(-_FURTHEST, _FURTHEST).astype(np.float32)
            for x, m, d in zip(rows, self.mean, self.deviation, strict=True)
        ]
        return torch.from_numpy(scaled[0]), torch.from_numpy(scaled[1])


_FURTHEST = 5.0  # deviations; acoustic measurements have wild outliers


SYSTEMS = (
    System("majority", OWN, lambda _: Majority(), "the frequencies of training"),
    System("voice-alone", OWN, lambda _: PairNetwork(VoiceAlone), "one hidden layer"),
    System("face-alone", OWN, lambda _: PairNetwork(FaceAlone), "one hidden layer"),
    System("concat", OWN, lambda _: PairNetwork(Concat), "features side by side"),
    System("decision-average", OWN, lambda _: DecisionFusion("average"), "mean of the two"),
    System("decision-weighted", LIU_2018, lambda _: DecisionFusion("weighted"), "weighted sum"),
    System("decision-learnt", OWN, lambda _: DecisionFusion("learnt"), "logistic regression"),
    System("fbp", ZHANG_2019, lambda _: PairNetwork(Bilinear), "k = 4, o = 64"),
    System(
        "am-fbp", AM_FBP, lambda _: PairNetwork(MultiLevelBilinear), "two levels, adaptive weights"
    ),
)
