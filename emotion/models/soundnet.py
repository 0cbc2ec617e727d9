"""SoundNet: eight convolutions over a raw waveform, learnt from sound beside moving pictures.

Aytar, Vondrick & Torralba, "SoundNet: Learning Sound Representations from Unlabeled Video" (NIPS
2016, arXiv:1610.09001), table 1; one of the acoustic features of Liu et al. 2018. The eighth layer
names objects and scenes and is left out. Published weights come in by `attune convert soundnet`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
import torchaudio
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS
from emotion.speech.spectrogram import SAMPLE_RATE_HZ

__all__ = ["SOUNDNET_RATE_HZ", "SoundNet", "SoundNetConfig", "SoundNetLayer"]

SoundNetLayer = Literal["conv3", "conv4", "conv5", "pool5", "conv6", "conv7"]
SOUNDNET_RATE_HZ = 22_050
AMPLITUDE = 256.0
"""Full scale of what the published network has heard: it was fed samples in [-256, 256]."""


class _Layer(NamedTuple):
    channels: int
    kernel: int
    pool: int  # side and step of the max-pooling after it; 1 is none


_LAYERS = (
    _Layer(16, 64, 8),
    _Layer(32, 32, 8),
    _Layer(64, 16, 1),
    _Layer(128, 8, 1),
    _Layer(256, 4, 4),
    _Layer(512, 4, 1),
    _Layer(1024, 4, 1),
)
_STRIDE = 2


@dataclass(frozen=True)
class SoundNetConfig:
    """Everything that decides the network's shape.

    Attributes:
        layer: Whose output, averaged over time, is the vector; later layers are not built.
        shrink: Divides every width: 1 is the published network.
        sample_rate_hz: Of the waveforms given; they are resampled to the network's 22,050 Hz.
        dropout: On the vector before the classifier, in [0, 1).
    """

    layer: SoundNetLayer = "pool5"
    shrink: int = 1
    sample_rate_hz: int = SAMPLE_RATE_HZ
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.layer not in get_args(SoundNetLayer):
            known = ", ".join(get_args(SoundNetLayer))
            raise ValueError(f"Expected a layer among {known}, got {self.layer!r}.")
        if self.shrink not in (1, 2, 4, 8, 16) or self.sample_rate_hz < 1:
            raise ValueError(f"Expected shrink 1, 2, 4, 8 or 16 and a rate > 0 Hz, got {self}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"Expected dropout in [0, 1), got {self.dropout}.")

    @property
    def layers(self) -> tuple[_Layer, ...]:
        """The convolutions that are built, with their widths."""
        kept = list(_LAYERS[: int(self.layer[-1])])
        if self.layer.startswith("conv"):
            kept[-1] = kept[-1]._replace(pool=1)
        return tuple(x._replace(channels=x.channels // self.shrink) for x in kept)

    @property
    def features(self) -> int:
        """Size of a clip's vector."""
        return self.layers[-1].channels

    @property
    def shortest_samples(self) -> int:
        """Fewest samples at 22,050 Hz that leave one position; shorter clips are padded."""
        samples = 1
        for layer in reversed(self.layers):
            samples = max(1, (samples * layer.pool - 1) * _STRIDE)
        return samples


class SoundNet(nn.Module):
    """Waveforms of any length in, one vector a clip; a linear layer turns it into logits."""

    def __init__(self, config: SoundNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = (1, *(layer.channels for layer in config.layers))
        self.blocks = nn.ModuleList(
            _block(width, layer) for width, layer in zip(widths, config.layers, strict=False)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.features, len(EMOTIONS))

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (batch, emotion) of waveforms (batch, sample) with lengths (batch,).

        Raises:
            InputError: If the axes or the lengths do not fit.
        """
        logits: Tensor = self.classify(self.dropout(self.features(waveform, lengths)))
        return logits.float()

    def features(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Vectors (batch, feature): the configured layer, averaged over each clip's own time.

        Args:
            waveform: (batch, sample) in [-1, 1] at the configured rate.
            lengths: (batch,) samples that count in each clip; None counts all.

        Raises:
            InputError: If the axes or the lengths do not fit.
        """
        lengths = _checked_lengths(waveform, lengths)
        maps, lengths = self._resampled(waveform * _mask(lengths, waveform.shape[1]), lengths)
        for block, layer in zip(self.blocks, self.config.layers, strict=True):
            maps = block(maps)
            lengths = _after(lengths, layer)
            # what is beyond a clip's end becomes 0 again, as the convolutions' own padding
            maps = maps * _mask(lengths, maps.shape[2])[:, None]
        return maps.float().sum(dim=2) / lengths[:, None]

    def _resampled(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 1, sample) at the network's rate and scale, and lengths (batch,) there."""
        given = self.config.sample_rate_hz
        if given != SOUNDNET_RATE_HZ:
            waveform = torchaudio.functional.resample(waveform.float(), given, SOUNDNET_RATE_HZ)
            lengths = -(-lengths * SOUNDNET_RATE_HZ // given)  # rounded up
            waveform = waveform * _mask(lengths, waveform.shape[1])
        missing = max(0, self.config.shortest_samples - waveform.shape[1])
        return AMPLITUDE * nn.functional.pad(waveform, (0, missing))[:, None], lengths


def _block(width: int, layer: _Layer) -> nn.Sequential:
    convolution = nn.Conv1d(width, layer.channels, layer.kernel, _STRIDE, layer.kernel // 2)
    pool = [nn.MaxPool1d(layer.pool)] if layer.pool > 1 else []
    return nn.Sequential(convolution, nn.BatchNorm1d(layer.channels), nn.ReLU(), *pool)


def _after(lengths: Tensor, layer: _Layer) -> Tensor:
    """(batch,) positions left by one layer, at least one."""
    left = (lengths + 2 * (layer.kernel // 2) - layer.kernel) // _STRIDE + 1
    return (left // layer.pool).clamp_min(1)


def _mask(lengths: Tensor, size: int) -> Tensor:
    """(batch, position) bool, true before each clip's end."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _checked_lengths(waveform: Tensor, lengths: Tensor | None) -> Tensor:
    """Lengths (batch,) of a waveform (batch, sample), all samples by default."""
    if waveform.ndim != 2 or waveform.shape[1] == 0:
        shape = tuple(waveform.shape)
        raise InputError(f"Expected a waveform (batch, sample), got shape {shape}.")
    batch, samples = waveform.shape
    if lengths is None:
        return torch.full((batch,), samples, device=waveform.device)
    if lengths.shape != (batch,) or int(lengths.min()) < 1 or int(lengths.max()) > samples:
        raise InputError(f"Expected {batch} lengths from 1 to {samples}, got {lengths.tolist()}.")
    return lengths.to(waveform.device)
