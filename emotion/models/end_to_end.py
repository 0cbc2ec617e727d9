"""End-to-end audio-visual network: raw waveform and face pixels in, arousal and valence out.

Tzirakis, Trigeorgis, Nicolaou, Schuller & Zafeiriou 2017 (arXiv:1704.08619). A convolutional
network reads the 640 samples of each 40 ms step, a ResNet-50 its face crop; two layers of LSTM over
the steps, which keep their state from one piece of a recording to the next, rate the feeling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torchvision.models.resnet import Bottleneck

from emotion.errors import InputError

__all__ = ["EndToEnd", "EndToEndConfig", "EndToEndOutput", "State"]

State = tuple[Tensor, Tensor]
"""Hidden and cell values of the LSTM, each (layer, batch, feature)."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_STEM_KERNEL, _STEM_PADDING = 7, 3
_EXPANSION: int = Bottleneck.expansion


@dataclass(frozen=True)
class EndToEndConfig:
    """Everything that decides the network's shape; the defaults are the paper's.

    The paper's LSTM has peepholes and clipped cells in its public code; torch's has neither.

    Attributes:
        modalities: What it takes in; one alone gives the paper's unimodal networks.
        dimensions: Names of what it rates.
        step_samples: Samples at 16 kHz of one step, 40 ms.
        filters: Feature maps of both convolutions over the waveform.
        kernels: Their lengths in samples.
        time_pool: Steps of time pooled between them.
        map_pool: Feature maps pooled into one after them.
        side: Height and width of a face crop in pixels.
        stem: Feature maps of ResNet's first convolution.
        widths: Inner feature maps of the bottlenecks of each stage; they put out four times these.
        blocks: Bottlenecks of each stage.
        hidden: Size of each LSTM layer.
        layers: LSTM layers.
        waveform_dropout: On the samples, in [0, 1); remembered from the public code, unchecked.
        feature_dropout: On what the LSTM reads, in [0, 1); as above.
    """

    modalities: Literal["audio", "video", "both"] = "both"
    dimensions: tuple[str, ...] = ("arousal", "valence")
    step_samples: int = 640
    filters: int = 40
    kernels: tuple[int, int] = (20, 40)
    time_pool: int = 2
    map_pool: int = 10
    side: int = 96
    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    hidden: int = 256
    layers: int = 2
    waveform_dropout: float = 0.5
    feature_dropout: float = 0.5

    def __post_init__(self) -> None:
        for name in ("dimensions", "kernels", "widths", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.modalities not in ("audio", "video", "both"):
            raise ValueError(f"Expected audio, video or both, got {self.modalities!r}.")
        sound = (self.step_samples, self.filters, *self.kernels, self.time_pool, self.map_pool)
        sight = (self.side, self.stem, *self.widths, *self.blocks)
        if min(*sound, *sight, self.hidden, self.layers) < 1 or not self.dimensions:
            raise ValueError(f"Expected positive sizes and at least one dimension, got {self}.")
        if self.step_samples % self.time_pool or self.filters % self.map_pool:
            raise ValueError(f"Expected pools that divide samples and filters, got {self}.")
        if len(self.widths) != len(self.blocks) or len(self.kernels) != 2:
            raise ValueError(f"Expected two kernels and as many widths as blocks, got {self}.")
        if not (0 <= self.waveform_dropout < 1 and 0 <= self.feature_dropout < 1):
            raise ValueError(f"Expected both dropouts in [0, 1), got {self}.")

    @property
    def hears(self) -> bool:
        """Whether it takes the waveform."""
        return self.modalities != "video"

    @property
    def sees(self) -> bool:
        """Whether it takes face crops."""
        return self.modalities != "audio"

    @property
    def audio_features(self) -> int:
        """Features of a step's sound: 640 / 2 places in time, 40 / 10 maps each: 1280."""
        return self.step_samples // self.time_pool * (self.filters // self.map_pool)

    @property
    def video_features(self) -> int:
        """Features of a step's face: 4 · 512 = 2048."""
        return _EXPANSION * self.widths[-1]

    @property
    def features(self) -> int:
        """What the LSTM reads of a step: 1280 + 2048 = 3328 with both modalities."""
        return self.hears * self.audio_features + self.sees * self.video_features


class EndToEndOutput(NamedTuple):
    """What the network says of each step, and what it remembers.

    Attributes:
        ratings: (batch, step, dimension) float32, 0 at padded steps; on the scale it was trained
            on, about [-1, 1], but not bounded.
        state: After each clip's last step that counts; give it with the clip's next piece.
    """

    ratings: Tensor
    state: State


class EndToEnd(nn.Module):
    """Waveform and faces of consecutive steps in, ratings and the LSTM's state out."""

    def __init__(self, config: EndToEndConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = WaveformCNN(config) if config.hears else None
        self.video = FaceResNet(config) if config.sees else None
        self.dropout = nn.Dropout(config.feature_dropout)
        self.lstm = nn.LSTM(config.features, config.hidden, config.layers, batch_first=True)
        self.rate = nn.Linear(config.hidden, len(config.dimensions))

    def forward(
        self,
        waveform: Tensor | None = None,
        faces: Tensor | None = None,
        mask: Tensor | None = None,
        state: State | None = None,
    ) -> EndToEndOutput:
        """Rate consecutive steps; padded steps change neither ratings, state nor statistics.

        Args:
            waveform: (batch, step, sample) in [-1, 1] at 16 kHz; None for a network of faces.
            faces: (batch, step, channel, height, width) RGB in [0, 1]; None for one of sound.
            mask: (batch, step) bool, true at a clip's steps, which come first; None counts all.
            state: What an earlier call put out for the steps before; None where there are none.

        Raises:
            InputError: If a modality is missing or too much, or axes or mask do not fit.
        """
        shape = self._checked_shape(waveform, faces)
        device = self.rate.weight.device
        lengths = _lengths(mask, shape).to(device)
        steps = torch.arange(shape[1], device=device) < lengths[:, None]
        features = self.dropout(self._encode(waveform, faces, steps)).float()
        padded = features.new_zeros(*shape, features.shape[1])
        padded[steps] = features
        packed = pack_padded_sequence(padded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        # what is passed from step to step stays in float32, whatever the encoders compute in
        with torch.autocast(device.type, enabled=False):
            heard, state = self.lstm(packed, state)
            hidden, _ = pad_packed_sequence(heard, batch_first=True, total_length=shape[1])
            ratings = self.rate(hidden).masked_fill(~steps[..., None], 0.0)
        return EndToEndOutput(ratings, cast(State, state))

    def _encode(self, waveform: Tensor | None, faces: Tensor | None, steps: Tensor) -> Tensor:
        """Features (position, feature) of the steps (batch, step) that count, and no others."""
        parts = []
        if self.audio is not None and waveform is not None:
            parts.append(self.audio(waveform[steps]))
        if self.video is not None and faces is not None:
            parts.append(self.video(faces[steps]))
        return torch.cat(parts, dim=1)

    def _checked_shape(self, waveform: Tensor | None, faces: Tensor | None) -> tuple[int, int]:
        """Batch and steps of waveform (batch, step, sample) and faces (batch, step, c, h, w)."""
        side = self.config.side
        shapes = {
            _checked(waveform, self.config.hears, "waveform", (self.config.step_samples,)),
            _checked(faces, self.config.sees, "faces", (3, side, side)),
        } - {None}
        if len(shapes) != 1:
            raise InputError(f"Expected as many steps of sound as of faces, got {shapes}.")
        return cast(tuple[int, int], shapes.pop())


class WaveformCNN(nn.Module):
    """Sound of one step to a vector: two convolutions, pooled over time and over feature maps."""

    def __init__(self, config: EndToEndConfig) -> None:
        super().__init__()
        self.map_pool = config.map_pool
        self.dropout = nn.Dropout(config.waveform_dropout)
        self.first = nn.Conv1d(1, config.filters, config.kernels[0])
        self.time_pool = nn.MaxPool1d(config.time_pool)
        self.second = nn.Conv1d(config.filters, config.filters, config.kernels[1])

    def forward(self, waveform: Tensor) -> Tensor:
        """Turn (position, sample) into (position, feature)."""
        maps = self.dropout(waveform)[:, None]
        maps = self.time_pool(functional.relu(self.first(_same(maps, self.first))))
        maps = functional.relu(self.second(_same(maps, self.second)))
        # over feature maps: neighbours among the filters, not in time, share a pool
        pooled = functional.max_pool1d(maps.transpose(1, 2), self.map_pool)
        return pooled.flatten(1)


class FaceResNet(nn.Module):
    """ResNet of bottlenecks without its classifier; weights are named as torchvision names them.

    He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), table 1.
    """

    def __init__(self, config: EndToEndConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, config.stem, _STEM_KERNEL, 2, _STEM_PADDING, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = []
        width_in = config.stem
        for number, (width, blocks) in enumerate(
            zip(config.widths, config.blocks, strict=True), start=1
        ):
            self.stages.append(f"layer{number}")
            stride = 1 if number == 1 else 2
            self.add_module(self.stages[-1], _stage(width_in, width, blocks, stride))
            width_in = _EXPANSION * width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.register_buffer("mean", _channels(_IMAGENET_MEAN), persistent=False)
        self.register_buffer("deviation", _channels(_IMAGENET_DEVIATION), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Turn (position, channel, height, width) in [0, 1] into (position, feature)."""
        maps = (faces - self.get_buffer("mean")) / self.get_buffer("deviation")
        maps = self.pool(functional.relu(self.bn1(self.conv1(maps))))
        for stage in self.stages:
            maps = self.get_submodule(stage)(maps)
        features: Tensor = maps.mean(dim=(2, 3))
        return features


def _stage(width_in: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    width_out = _EXPANSION * width
    shortcut = nn.Sequential(
        nn.Conv2d(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out)
    )
    first = Bottleneck(width_in, width, stride, shortcut)
    return nn.Sequential(first, *(Bottleneck(width_out, width) for _ in range(blocks - 1)))


def _same(maps: Tensor, layer: nn.Conv1d) -> Tensor:
    """Pad (position, map, sample) so that the layer keeps its length; the odd zero comes last."""
    missing = layer.kernel_size[0] - 1
    return functional.pad(maps, (missing // 2, missing - missing // 2))


def _channels(values: tuple[float, ...]) -> Tensor:
    """(channel, 1, 1) of one value a channel."""
    return torch.tensor(values)[:, None, None]


def _checked(
    given: Tensor | None, wanted: bool, name: str, inner: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Batch and steps of (batch, step, *inner), or None where the modality takes no part."""
    if (given is not None) != wanted:
        raise InputError(f"Expected {name if wanted else f'no {name}'}, got {_shape(given)}.")
    if given is None:
        return None
    if given.shape[2:] != inner or 0 in given.shape:
        raise InputError(
            f"Expected {name} of shape (batch, step, {', '.join(map(str, inner))}), "
            f"got {_shape(given)}."
        )
    return tuple(given.shape[:2])


def _shape(given: Tensor | None) -> str:
    return "none" if given is None else f"shape {tuple(given.shape)}"


def _lengths(mask: Tensor | None, shape: tuple[int, int]) -> Tensor:
    """Count the steps (batch,) of a mask (batch, step)."""
    if mask is None:
        return torch.full(shape[:1], shape[1])
    if mask.shape != shape or mask.dtype != torch.bool:
        raise InputError(
            f"Expected a mask of bools of shape {shape}, got {mask.dtype}, {tuple(mask.shape)}."
        )
    lengths = mask.sum(dim=1)
    ends = torch.arange(shape[1], device=mask.device) < lengths[:, None]
    if not lengths.all() or not torch.equal(ends, mask):
        raise InputError("Expected each clip's steps before its padding, got a mask with gaps.")
    return lengths
