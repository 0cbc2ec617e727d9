"""A hybrid of networks and machines whose decisions are summed by weights.

Liu, Tang, Lv & Wang, "Multi-feature based emotion recognition for video clips" (EmotiW, ICMI 2018),
as its abstract tells it: (i) a VGG network's frame features in an LSTM; (ii) an ImageNet network
(Inception V3) fine-tuned on faces, its softmax averaged over frames; (iii) Euclidean distances
between facial landmarks in a support vector machine; (iv) acoustic features of openSMILE and of
SoundNet in support vector machines; a weighted sum of their decisions, its weights found on the
validation clips. Which sizes its LSTM and kernels had is not known here, so they are settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities
from emotion.errors import CheckpointError, InputError
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall, weighted_accuracy
from emotion.models.decision import ConcatFusion, ConcatFusionConfig
from emotion.models.svm import SVM

__all__ = [
    "FrameAverage",
    "FrameAverageConfig",
    "FrameConcat",
    "FrameConcatConfig",
    "FrameLSTM",
    "FrameLSTMConfig",
    "FrameOutput",
    "Hybrid",
    "HybridConfig",
    "NetworkMember",
    "distance_statistics",
    "shuffled_frames",
    "simplex_weights",
    "weighted_sum",
]

Floats = npt.NDArray[np.float64]


class FrameOutput(NamedTuple):
    """What a network over a clip's frames says.

    Attributes:
        logits: (batch, emotion).
    """

    logits: Tensor


@dataclass(frozen=True)
class FrameLSTMConfig:
    """Everything that decides the network's shape.

    Attributes:
        features: Size of a frame's vector.
        hidden: Size of the LSTM's state.
        layers: How many LSTMs stand on each other.
        dropout: On the frames and on the last state, in [0, 1).
    """

    features: int = 256
    hidden: int = 128
    layers: int = 1
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if min(self.features, self.hidden, self.layers) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"Expected positive sizes and dropout in [0, 1), got {self}.")


class FrameLSTM(nn.Module):
    """The features of a clip's frames in their order through an LSTM; its last state decides."""

    frame_mean: Tensor
    frame_deviation: Tensor

    def __init__(self, config: FrameLSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("frame_mean", torch.zeros(config.features))
        self.register_buffer("frame_deviation", torch.ones(config.features))
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = nn.LSTM(config.features, config.hidden, config.layers, batch_first=True)
        self.classify = nn.Linear(config.hidden, len(EMOTIONS))

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> FrameOutput:
        """Classify clips; one clip's result does not depend on the others in its batch.

        Args:
            frames: (batch, frame, feature).
            mask: (batch, frame) bool, true where a frame counts; None counts all. The others are
                passed over; a clip without any is classified by the state before the first frame.

        Raises:
            InputError: If sizes do not fit the configuration or each other.
        """
        mask = _checked_mask(frames, mask, self.config.features)
        frames, lengths = _gathered(frames, mask)
        standard = self.dropout((frames - self.frame_mean) / self.frame_deviation)
        states = self.lstm(standard)[0].float()
        last = states[torch.arange(len(states)), (lengths - 1).clamp_min(0)]
        last = last * (lengths > 0)[:, None]
        return FrameOutput(self.classify(self.dropout(last)).float())


@dataclass(frozen=True)
class FrameAverageConfig:
    """Everything that decides the network's shape.

    Attributes:
        features: Size of a frame's vector.
        dropout: On the frames, in [0, 1).
    """

    features: int = 256
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.features < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"Expected positive features and dropout in [0, 1), got {self}.")


class FrameAverage(nn.Module):
    """A linear softmax a frame, averaged over a clip's frames; its logits are the logarithm."""

    frame_mean: Tensor
    frame_deviation: Tensor

    def __init__(self, config: FrameAverageConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("frame_mean", torch.zeros(config.features))
        self.register_buffer("frame_deviation", torch.ones(config.features))
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.features, len(EMOTIONS))

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> FrameOutput:
        """Classify clips; one clip's result does not depend on the others in its batch.

        Args:
            frames: (batch, frame, feature).
            mask: (batch, frame) bool, true where a frame counts; None counts all. A clip without
                any gets even logits.

        Raises:
            InputError: If sizes do not fit the configuration or each other.
        """
        mask = _checked_mask(frames, mask, self.config.features)
        standard = self.dropout((frames - self.frame_mean) / self.frame_deviation)
        each = torch.log_softmax(self.classify(standard).float(), dim=-1)
        # finite, so that a clip without any frame has a slope too
        hidden = each.masked_fill(~mask[:, :, None], torch.finfo(each.dtype).min / 2)
        mean = torch.logsumexp(hidden, dim=1) - mask.sum(dim=1, keepdim=True).clamp_min(1).log()
        return FrameOutput(torch.where(mask.any(dim=1, keepdim=True), mean, 0.0))


@dataclass(frozen=True)
class FrameConcatConfig:
    """Everything that decides the network's shape.

    Attributes:
        frame_features: Size of a frame's vector.
        voice_features: Size of a voice's vector.
        hidden: Size of each hidden layer; none gives a linear classifier.
        dropout: Before every layer, in [0, 1).
    """

    frame_features: int = 256
    voice_features: int = 128
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        _ = self.fusion  # checks them all

    @property
    def fusion(self) -> ConcatFusionConfig:
        """Configuration of what stands behind the two vectors."""
        return ConcatFusionConfig(
            (self.voice_features, self.frame_features), self.hidden, self.dropout
        )


class FrameConcat(nn.Module):
    """Feature-level fusion of a clip: its frames' mean beside its voice, both standardised.

    The baseline that attention and bilinear pooling have to beat. What is missing counts as the
    mean of the training clips.
    """

    frame_mean: Tensor
    frame_deviation: Tensor
    voice_mean: Tensor
    voice_deviation: Tensor

    def __init__(self, config: FrameConcatConfig) -> None:
        super().__init__()
        self.config = config
        for name, size in (("frame", config.frame_features), ("voice", config.voice_features)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_deviation", torch.ones(size))
        self.fusion = ConcatFusion(config.fusion)

    def forward(
        self,
        frames: Tensor,
        frame_mask: Tensor | None,
        voice: Tensor,
        voice_mask: Tensor | None = None,
    ) -> FrameOutput:
        """Classify clips; one clip's result does not depend on the others in its batch.

        Args:
            frames: (batch, frame, feature).
            frame_mask: (batch, frame) bool, true where a face was seen; None counts all.
            voice: (batch, feature).
            voice_mask: (batch,) bool, true where a clip has a voice; None counts all.

        Raises:
            InputError: If sizes do not fit the configuration or each other.
        """
        mask = _checked_mask(frames, frame_mask, self.config.frame_features)[:, :, None]
        standard = (frames - self.frame_mean) / self.frame_deviation
        face = (standard * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
        heard = (voice - self.voice_mean) / self.voice_deviation
        if voice_mask is not None:
            heard = heard * voice_mask[:, None]
        return FrameOutput(self.fusion(heard, face))


@dataclass(frozen=True)
class NetworkMember:
    """A network over a clip's frames, and the temperature of its probabilities."""

    model: FrameLSTM | FrameAverage
    temperature: float = 1.0

    @torch.inference_mode()
    def probabilities(self, clips: Sequence[npt.NDArray[Any]]) -> Floats:
        """Read each clip's (frame, feature): (clip, emotion), nan where it has no frame."""
        said: Floats = np.full((len(clips), len(EMOTIONS)), np.nan)
        for row, frames in enumerate(clips):
            if len(frames):
                logits = self.model(torch.from_numpy(np.asarray(frames, np.float32))[None]).logits
                said[row] = calibrated_probabilities(logits.numpy(), self.temperature)[0]
        return said

    @classmethod
    def load(cls, folder: Path) -> NetworkMember:
        """Read a checkpoint of one of the two networks."""
        model = checkpoint.load(folder)
        return cls(model, checkpoint.read(folder).training["temperature"])


@dataclass(frozen=True)
class HybridConfig:
    """Who decides.

    Attributes:
        networks: Names of the members that are networks over a clip's frames.
        machines: Names of the members that are support vector machines over one vector a clip.
    """

    networks: tuple[str, ...] = ("vgg-lstm", "inception")
    machines: tuple[str, ...] = ("landmarks", "functionals", "soundnet")

    def __post_init__(self) -> None:
        for name in ("networks", "machines"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.members or len(set(self.members)) < len(self.members):
            raise ValueError(f"Expected members of different names, got {self.members}.")

    @property
    def members(self) -> tuple[str, ...]:
        """All names, in order of the weights."""
        return self.networks + self.machines


class Hybrid:
    """Networks and machines that look at a clip in different ways, and the weight of each.

    Args:
        config: Who decides.
        networks: The networks by name.
        machines: The support vector machines by name.
        weights: (member,), summing to 1; None until `weigh` found them.
    """

    def __init__(
        self,
        config: HybridConfig,
        networks: Mapping[str, NetworkMember],
        machines: Mapping[str, SVM],
        weights: Floats | None = None,
    ) -> None:
        missing = sorted(set(config.members) - set(networks) - set(machines))
        if missing:
            raise InputError(f"Expected members {', '.join(config.members)}, got no {missing[0]}.")
        self.config, self.networks, self.machines = config, dict(networks), dict(machines)
        count = len(config.members)
        self.weights = np.full(count, 1 / count) if weights is None else weights

    def views(self, clips: Mapping[str, Sequence[npt.NDArray[Any]]]) -> Floats:
        """Ask each member: (member, clip, emotion), nan where it has nothing to go by.

        Args:
            clips: By member, each clip's (frame, feature) for a network or (feature,) for a
                machine; an empty array where a clip has no face or no sound.
        """
        said = [self.networks[name].probabilities(clips[name]) for name in self.config.networks]
        said += [_read(self.machines[name], clips[name]) for name in self.config.machines]
        return np.stack(said)

    def weigh(
        self, clips: Mapping[str, Sequence[npt.NDArray[Any]]], truth: npt.NDArray[np.int64]
    ) -> None:
        """Find the weights on validation clips: of no speaker of training nor of the last score."""
        self.weights = simplex_weights(self.views(clips), truth)

    def probabilities(self, clips: Mapping[str, Sequence[npt.NDArray[Any]]]) -> Floats:
        """Weighted sum (clip, emotion) of what the members say of clips as `views` takes them."""
        return weighted_sum(self.views(clips), self.weights)

    def save(self, folder: str | Path, *, training: Mapping[str, Any]) -> None:
        """Write a checkpoint of the weights, and each member's own in a folder of its name."""
        folder = Path(folder)
        for name, member in self.networks.items():
            facts = {**training, "temperature": member.temperature}
            checkpoint.save(folder / name, member.model, member.model.config, training=facts)
        for name, machine in self.machines.items():
            machine.save(folder / name, training=training)
        arrays = {"weights": self.weights}
        config = asdict(self.config)
        checkpoint.write(folder, checkpoint.Stored("Hybrid", config, dict(training), arrays))

    @classmethod
    def load(cls, folder: str | Path) -> Hybrid:
        """Read a checkpoint.

        Raises:
            CheckpointError: If one of its parts is missing, damaged or of another kind.
        """
        stored = checkpoint.read(folder)
        if stored.architecture != "Hybrid":
            raise CheckpointError(f"Expected a Hybrid in {folder}, got {stored.architecture}.")
        config = HybridConfig(**stored.config)
        networks = {name: NetworkMember.load(Path(folder) / name) for name in config.networks}
        machines = {name: SVM.load(Path(folder) / name) for name in config.machines}
        return cls(config, networks, machines, stored.arrays["weights"])


def _read(machine: SVM, clips: Sequence[npt.NDArray[Any]]) -> Floats:
    """Read each clip's (feature,) by a machine: (clip, emotion), nan where it is empty."""
    said: Floats = np.full((len(clips), len(EMOTIONS)), np.nan)
    there = [row for row, vector in enumerate(clips) if vector.size]
    if there:
        said[there] = machine.probabilities(np.stack([clips[row] for row in there]))
    return said


def shuffled_frames(frames: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Put each clip's frames in a random order, those that do not count behind.

    An augmentation for networks that read frames in order (Liu et al. 2018; whether it helps is an
    ablation to run).

    Args:
        frames: (batch, frame, feature).
        mask: (batch, frame) bool, true for a clip's first frames.
        generator: Source of randomness.

    Returns:
        (batch, frame, feature).
    """
    keys = torch.rand(mask.shape, generator=generator).to(mask.device)
    order = keys.masked_fill(~mask, 2.0).argsort(dim=1)
    return frames.gather(1, order[:, :, None].expand_as(frames))


def distance_statistics(distances: npt.NDArray[Any]) -> Floats:
    """Mean, deviation and largest of each landmark distance over a clip's frames.

    Args:
        distances: (frame, pair) of `emotion.face.landmarks.landmark_distances`.

    Returns:
        (3 · pair,).

    Raises:
        InputError: If there is no frame.
    """
    if distances.ndim != 2 or not len(distances):
        raise InputError(f"Expected distances (frame, pair), got shape {distances.shape}.")
    each: Floats = distances.astype(np.float64)
    return np.concatenate([each.mean(axis=0), each.std(axis=0), each.max(axis=0)])


def weighted_sum(views: npt.NDArray[Any], weights: npt.NDArray[Any]) -> Floats:
    """Σ_m w_m p_m over the members that say something of a clip, divided by their weights' sum.

    Args:
        views: (member, clip, emotion) probabilities; nan where a member says nothing of a clip.
        weights: (member,), summing to 1.

    Returns:
        (clip, emotion), rows summing to 1: even where no member of any weight says anything.

    >>> import numpy as np
    >>> weighted_sum(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]), np.array([0.75, 0.25])).tolist()
    [[0.75, 0.25]]
    """
    heard = weights[:, None] * ~np.isnan(views).any(axis=2)
    total = heard.sum(axis=0)[:, None]
    sums: Floats = np.einsum("mc,mce->ce", heard, np.nan_to_num(views))
    even = np.full_like(sums, 1 / views.shape[2])
    mean: Floats = np.divide(sums, total, out=even, where=total > 0)
    return mean


def simplex_weights(
    views: npt.NDArray[Any], truth: npt.NDArray[np.int64], steps: int = 10
) -> Floats:
    """Find the weights of a sum of decisions by trying every one of a grid on the simplex.

    The best has the highest unweighted average recall; of equally good ones the highest weighted
    accuracy, then the highest mean probability of the true emotion, then the most even weights,
    then the first in the order of the grid. Nothing random is in it.

    Args:
        views: (member, clip, emotion) probabilities of clips that no member was trained on, and
            that are not those of the final score.
        truth: (clip,) indices into EMOTIONS.
        steps: Weights are multiples of 1 / steps.

    Returns:
        (member,), summing to 1.

    Raises:
        InputError: If shapes do not fit, or there is no clip.
    """
    if views.ndim != 3 or views.shape[1] != len(truth) or not len(truth) or steps < 1:
        raise InputError(
            f"Expected views (member, clip, emotion) of {len(truth)} clips and at least one step, "
            f"got shape {views.shape} and {steps} steps."
        )
    grid = _simplex(len(views), steps)
    return max(grid, key=lambda weights: _merit(views, truth, weights))


def _merit(
    views: npt.NDArray[Any], truth: npt.NDArray[np.int64], weights: Floats
) -> tuple[float, ...]:
    """How good weights (member,) are, rounded so that float noise breaks no tie."""
    said = weighted_sum(views, weights)
    confusion = confusion_matrix(truth, said.argmax(axis=1))
    figures = (
        unweighted_average_recall(confusion),
        weighted_accuracy(confusion),
        said[np.arange(len(truth)), truth].mean(),
        -(weights**2).sum(),
    )
    return tuple(round(float(figure), 9) for figure in figures)


def _simplex(members: int, steps: int) -> Iterator[Floats]:
    """Every (member,) of multiples of 1 / steps that sum to 1: stars between bars."""
    places = steps + members - 1
    for bars in combinations(range(places), members - 1):
        edges = np.array((-1, *bars, places))
        yield (np.diff(edges) - 1) / steps


def _gathered(frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the frames (batch, frame, feature) that count to the front; also how many (batch,)."""
    order = (~mask).int().argsort(dim=1, stable=True)
    return frames.gather(1, order[:, :, None].expand_as(frames)), mask.sum(dim=1)


def _checked_mask(frames: Tensor, mask: Tensor | None, features: int) -> Tensor:
    """Mask (batch, frame), all true by default, of frames (batch, frame, feature)."""
    if frames.ndim != 3 or frames.shape[1] == 0 or frames.shape[2] != features:
        raise InputError(
            f"Expected frames (batch, frame, {features}), got shape {tuple(frames.shape)}."
        )
    if mask is None:
        return torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    if mask.shape != frames.shape[:2]:
        wanted, got = tuple(frames.shape[:2]), tuple(mask.shape)
        raise InputError(f"Expected a mask {wanted}, got shape {got}.")
    return mask
