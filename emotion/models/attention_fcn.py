"""Attention-based fully convolutional network over the log spectrogram of a voice.

Zhang, Du, Wang & Zhang 2018 (arXiv:1806.01506): the convolutions of AlexNet without its fully
connected layers turn a spectrogram of any length into a grid of F x T vectors; attention over the
grid gives one vector an utterance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS
from emotion.models.attention import AttentionPooling, AveragePooling
from emotion.speech.spectrogram import BINS

__all__ = [
    "COMPACT",
    "ORIGINAL",
    "TORCHVISION",
    "AttentionFCN",
    "AttentionFCNConfig",
    "ConvLayer",
    "VoiceOutput",
]


@dataclass(frozen=True)
class ConvLayer:
    """One convolution with its ReLU, and the max-pooling after it.

    Attributes:
        channels: Feature maps it makes.
        kernel: Side of its square kernel.
        stride: Step of the convolution.
        padding: Zeros on each side.
        normalise: Whether the configured normalisation follows.
        pool: (kernel, stride) of a max-pooling after it, or None.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    normalise: bool = True
    pool: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if min(self.channels, self.kernel, self.stride) < 1 or self.padding < 0:
            raise ValueError(f"Expected positive sizes and padding >= 0, got {self}.")


@dataclass(frozen=True)
class AttentionFCNConfig:
    """Everything that decides the network's shape.

    Attributes:
        layers: The convolutions in order.
        normalisation: Batch normalisation, AlexNet's local response normalisation, or none.
        pooling: Attention, or the plain average it has to beat.
        attention_hidden: Size of the attention's hidden layer.
        sharpness: The attention's λ.
        dynamic_range_db: How far below its loudest point a clip still is heard. Amplitudes are
            taken relative to that point, so the model does not depend on a microphone's gain.
        dropout: On the pooled vector, in [0, 1).
        standardised: Whether each clip's level is brought to mean 0 and deviation 1: without batch
            normalisation the network hardly learns from levels that are all positive.
    """

    layers: tuple[ConvLayer, ...]
    normalisation: Literal["batch", "lrn", "none"] = "batch"
    pooling: Literal["attention", "average"] = "attention"
    attention_hidden: int = 256
    sharpness: float = 0.3
    dynamic_range_db: float = 80.0
    dropout: float = 0.0
    standardised: bool = False

    def __post_init__(self) -> None:
        layers = (x if isinstance(x, ConvLayer) else ConvLayer(**_tuples(x)) for x in self.layers)
        object.__setattr__(self, "layers", tuple(layers))
        if not self.layers:
            raise ValueError("Expected at least one layer, got none.")
        if self.normalisation not in ("batch", "lrn", "none"):
            raise ValueError(
                f"Expected normalisation batch, lrn or none, got {self.normalisation!r}."
            )
        if self.pooling not in ("attention", "average"):
            raise ValueError(f"Expected pooling attention or average, got {self.pooling!r}.")
        if not (self.sharpness > 0 and self.dynamic_range_db > 0 and 0 <= self.dropout < 1):
            raise ValueError(f"Expected λ > 0, a range > 0 dB and dropout in [0, 1), got {self}.")

    @property
    def features(self) -> int:
        """Size of the utterance's vector."""
        return self.layers[-1].channels

    @property
    def shortest_frames(self) -> int:
        """Fewest frames that leave one position on the time axis; shorter clips are padded."""
        frames = 1
        for layer in reversed(self.layers):
            if layer.pool is not None:
                frames = (frames - 1) * layer.pool[1] + layer.pool[0]
            frames = max(1, (frames - 1) * layer.stride + layer.kernel - 2 * layer.padding)
        return frames


def _tuples(table: dict[str, object]) -> dict[str, object]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}


ORIGINAL = AttentionFCNConfig(
    layers=(
        ConvLayer(96, 11, stride=4, pool=(3, 2)),
        ConvLayer(256, 5, padding=2, pool=(3, 2)),
        ConvLayer(384, 3, padding=1, normalise=False),
        ConvLayer(384, 3, padding=1, normalise=False),
        ConvLayer(256, 3, padding=1, normalise=False, pool=(3, 2)),
    ),
    normalisation="lrn",
    standardised=True,
)
"""The layout of the paper: 200 x 300 in gives 5 x 8 positions of 256 features."""

TORCHVISION = AttentionFCNConfig(
    layers=(
        ConvLayer(64, 11, stride=4, padding=2, pool=(3, 2)),
        ConvLayer(192, 5, padding=2, pool=(3, 2)),
        ConvLayer(384, 3, padding=1),
        ConvLayer(256, 3, padding=1),
        ConvLayer(256, 3, padding=1, pool=(3, 2)),
    ),
    normalisation="none",
    standardised=True,
)
"""The convolutions of torchvision's AlexNet (Krizhevsky 2014, arXiv:1404.5997), whose ImageNet
weights `attune convert alexnet` brings here; as many positions as the paper's layout."""

COMPACT = AttentionFCNConfig(
    layers=(
        ConvLayer(16, 5, stride=2, padding=2, pool=(2, 2)),
        ConvLayer(32, 3, padding=1, pool=(2, 2)),
        ConvLayer(64, 3, padding=1, pool=(2, 2)),
        ConvLayer(128, 3, padding=1, pool=(2, 2)),
        ConvLayer(128, 3, padding=1),
    ),
    attention_hidden=64,
    dropout=0.3,
)
"""Batch normalisation and a fifteenth of the weights, for corpora of one or two thousand clips."""


class VoiceOutput(NamedTuple):
    """What the network says of each clip.

    Attributes:
        logits: (batch, emotion).
        feature: (batch, feature), the utterance's vector.
        attention: (batch, frequency, time), summing to 1 a clip; low frequencies first.
    """

    logits: Tensor
    feature: Tensor
    attention: Tensor


class AttentionFCN(nn.Module):
    """Spectrogram of any length in, emotion logits, utterance vector and attention out."""

    def __init__(self, config: AttentionFCNConfig) -> None:
        super().__init__()
        self.config = config
        widths = (1, *(layer.channels for layer in config.layers))
        self.blocks = nn.ModuleList(
            _block(width, layer, config.normalisation)
            for width, layer in zip(widths, config.layers, strict=False)
        )
        self.pooling = (
            AttentionPooling(config.features, config.attention_hidden, config.sharpness)
            if config.pooling == "attention"
            else AveragePooling()
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.features, len(EMOTIONS))

    def forward(self, spectrogram: Tensor, lengths: Tensor | None = None) -> VoiceOutput:
        """Classify clips; one clip's result does not depend on the others in its batch.

        Args:
            spectrogram: (batch, frame, bin) of `log_spectrogram`.
            lengths: (batch,) frames that count in each clip; None counts all.

        Raises:
            InputError: If the axes, the bins or the lengths do not fit.
        """
        maps, lengths = self.maps(spectrogram, lengths)
        frequency, time = maps.shape[2:]
        feature, weights = self.pool(maps, _time_mask(lengths, time))
        logits = self.classify(self.dropout(feature))
        return VoiceOutput(logits.float(), feature, weights.view(-1, frequency, time))

    def maps(self, spectrogram: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Convolve a spectrogram (batch, frame, bin) with lengths (batch,), as `forward` takes it.

        Returns:
            Maps (batch, feature, frequency, time) and how many times of each clip count (batch,).

        Raises:
            InputError: If the axes, the bins or the lengths do not fit.
        """
        lengths = _checked_lengths(spectrogram, lengths)
        return self._convolve(self._level(spectrogram, lengths), lengths)

    def pool(self, maps: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Pool maps (batch, feature, frequency, time) where times (batch, time) bool is true.

        Returns:
            Vectors (batch, feature) and the weights (batch, position) that made them; both are
            zero where no time of a clip is true.
        """
        mask = times[:, None].expand(-1, maps.shape[2], -1).flatten(1)
        context, weights = self.pooling(maps.flatten(2).transpose(1, 2), mask)
        return context, weights

    def _level(self, spectrogram: Tensor, lengths: Tensor) -> Tensor:
        """Level in [0, 1] of (batch, 1, frequency, time): 1 at a clip's loudest point.

        What is beyond a clip's end becomes 0, as the convolutions' own padding: silence, or the
        clip's mean where levels are standardised.
        """
        frames = max(spectrogram.shape[1], self.config.shortest_frames)
        missing = frames - spectrogram.shape[1]
        padded = nn.functional.pad(spectrogram.float(), (0, 0, 0, missing))
        mask = _time_mask(lengths, frames)[:, :, None]
        loudest = padded.masked_fill(~mask, -torch.inf).amax(dim=(1, 2), keepdim=True)
        span = self.config.dynamic_range_db / _DB_PER_NEPER
        level = (1 + (padded - loudest) / span).clamp_min(0)
        if self.config.standardised:
            level = _standardised(level, mask)
        return (level * mask).transpose(1, 2).unsqueeze(1)

    def _convolve(self, maps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Turn (batch, 1, frequency, time) into (batch, feature, frequency, time), with lengths."""
        for block, layer in zip(self.blocks, self.config.layers, strict=True):
            maps = block(maps)
            lengths = _after(lengths, layer)
            maps = maps * _time_mask(lengths, maps.shape[3])[:, None, None]
        return maps, lengths


_DB_PER_NEPER = 8.685889638065037


def _block(width: int, layer: ConvLayer, normalisation: str) -> nn.Sequential:
    batch_norm = layer.normalise and normalisation == "batch"
    convolve = nn.Conv2d(
        width, layer.channels, layer.kernel, layer.stride, layer.padding, bias=not batch_norm
    )
    parts: list[nn.Module] = [convolve]
    if batch_norm:
        parts.append(nn.BatchNorm2d(layer.channels))
    elif normalisation != "batch":  # He et al. 2015 (arXiv:1502.01852): signals keep their size
        nn.init.kaiming_normal_(convolve.weight, nonlinearity="relu")
        nn.init.zeros_(cast(Tensor, convolve.bias))
    parts.append(nn.ReLU())
    if layer.normalise and normalisation == "lrn":
        parts.append(nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0))
    return nn.Sequential(*parts, *([nn.MaxPool2d(*layer.pool)] if layer.pool else []))


def _standardised(level: Tensor, mask: Tensor) -> Tensor:
    """(batch, frame, bin) with mean 0 and deviation 1 over the frames of mask (batch, frame, 1)."""
    count = mask.sum(dim=(1, 2), keepdim=True) * level.shape[2]
    centred = level - (level * mask).sum(dim=(1, 2), keepdim=True) / count
    variance = (centred.square() * mask).sum(dim=(1, 2), keepdim=True) / count
    return centred / variance.sqrt().clamp_min(_FLATTEST)


_FLATTEST = 1e-3  # a clip of one level stays one


def _after(lengths: Tensor, layer: ConvLayer) -> Tensor:
    """(batch,) positions left on the time axis by one layer, at least one."""
    left = (lengths + 2 * layer.padding - layer.kernel) // layer.stride + 1
    if layer.pool is not None:
        left = (left.clamp_min(1) - layer.pool[0]) // layer.pool[1] + 1
    return left.clamp_min(1)


def _time_mask(lengths: Tensor, size: int) -> Tensor:
    """(batch, time) bool, true before each clip's end."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _checked_lengths(spectrogram: Tensor, lengths: Tensor | None) -> Tensor:
    """Lengths (batch,) of a spectrogram (batch, frame, bin), all frames by default."""
    if spectrogram.ndim != 3 or spectrogram.shape[2] != BINS or spectrogram.shape[1] == 0:
        shape = tuple(spectrogram.shape)
        raise InputError(f"Expected a spectrogram (batch, frame, {BINS}), got shape {shape}.")
    batch, frames, _ = spectrogram.shape
    if lengths is None:
        return torch.full((batch,), frames, device=spectrogram.device)
    if lengths.shape != (batch,) or int(lengths.min()) < 1 or int(lengths.max()) > frames:
        raise InputError(f"Expected {batch} lengths from 1 to {frames}, got {lengths.tolist()}.")
    return lengths.to(spectrogram.device)
