"""Networks over the vectors of a clip's frames: in their order, one by one, or their mean.

The LSTM and the averaged softmax are members of the hybrid of Liu et al. 2018 (`hybrid`); the mean
beside the voice's vector is fusion at feature level, which deeper fusions have to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS
from emotion.models.decision import ConcatFusion, ConcatFusionConfig

__all__ = [
    "FrameAverage",
    "FrameAverageConfig",
    "FrameConcat",
    "FrameConcatConfig",
    "FrameLSTM",
    "FrameLSTMConfig",
    "FrameOutput",
    "shuffled_frames",
]


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
