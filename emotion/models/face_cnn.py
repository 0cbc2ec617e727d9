"""A residual CNN for one face crop, with a head for each way of labelling faces.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), with the average-pooled
shortcuts of He et al., "Bag of Tricks" (CVPR 2019), fig. 2c. FER2013's labels and FER+'s votes
agree on 65 % of the same faces only, so one output cannot serve both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS

__all__ = [
    "COMPACT",
    "CROP_SIDE",
    "WIDE",
    "FaceCNN",
    "FaceCNNConfig",
    "FaceLabels",
    "grey",
    "prepare_crops",
    "standardise",
]

FaceLabels = Literal["fer2013", "ferplus"]
CROP_SIDE = 48
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"
_FLATTEST = 8.0  # grey levels: the noise of a flat crop is not blown up beyond this deviation


@dataclass(frozen=True)
class FaceCNNConfig:
    """Everything that decides the network's shape.

    Attributes:
        stem: Channels of the first convolution.
        widths: Channels of each stage; each halves the picture.
        blocks: Residual blocks of each stage.
        dropout: On the face's vector before the heads, in [0, 1).
        mirrored: Whether a face's vector is the mean of those of its crop and of the mirrored crop,
            once trained: a face has no side, and the two err differently.
    """

    stem: int = 32
    widths: tuple[int, ...] = (64, 128, 256)
    blocks: tuple[int, ...] = (1, 2, 2)
    dropout: float = 0.2
    mirrored: bool = False

    def __post_init__(self) -> None:
        for name in ("widths", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.widths) != len(self.blocks) or min((self.stem, *self.widths, *self.blocks)) < 1:
            raise ValueError(f"Expected as many positive widths as blocks, got {self}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"Expected dropout in [0, 1), got {self.dropout}.")

    @property
    def features(self) -> int:
        """Size of a face's vector."""
        return self.widths[-1]


COMPACT = FaceCNNConfig()
"""2.7 million weights: the teacher, and the size of what is compared with the papers' systems."""

WIDE = FaceCNNConfig(stem=48, widths=(96, 192, 320), blocks=(2, 2, 2))
"""4.9 million weights, two and a half times the work: the bundled one."""


class FaceCNN(nn.Module):
    """Face crops in, one vector a face; linear heads turn it into logits."""

    def __init__(self, config: FaceCNNConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [_conv(1, config.stem, 3), nn.ReLU()]
        width = config.stem
        for out, blocks in zip(config.widths, config.blocks, strict=True):
            for index in range(blocks):
                layers.append(_ResidualBlock(width, out, stride=2 if index == 0 else 1))
                width = out
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(config.dropout)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, len(EMOTIONS)) for name in get_args(FaceLabels)}
        )
        # a quarter faster to train on a processor
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, crops: Tensor) -> Tensor:
        """Turn crops (image, 1, height, width) of `prepare_crops` into (image, feature).

        Raises:
            InputError: If there are not four axes and one channel.
        """
        if crops.ndim != 4 or crops.shape[1] != 1:
            raise InputError(f"Expected crops (image, 1, height, width), got {tuple(crops.shape)}.")
        if self.training or not self.config.mirrored:
            return self._vectors(crops)
        both = self._vectors(torch.cat([crops, crops.flip(3)]))  # a quarter faster than by turns
        return (both[: len(crops)] + both[len(crops) :]) / 2

    def _vectors(self, crops: Tensor) -> Tensor:
        vectors: Tensor = self.backbone(crops.contiguous(memory_format=torch.channels_last))
        return vectors.float()

    def forward(self, crops: Tensor) -> dict[FaceLabels, Tensor]:
        """Logits (image, emotion) by every head, for crops (image, 1, height, width)."""
        features = self.dropout(self.features(crops))
        return {name: self.heads[name](features).float() for name in get_args(FaceLabels)}


def prepare_crops(images: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
    """Turn face crops of any size into what `FaceCNN` was trained on.

    Each becomes grey (ITU-R BT.601), is resized to 48 x 48 (bilinear, antialiased) and then
    standardised by itself to mean 0 and deviation 1, so exposure and contrast do not matter.

    Args:
        images: uint8, each (height, width, 3) RGB or (height, width).

    Returns:
        (image, 1, 48, 48) float32.

    Raises:
        InputError: If an image has another type or shape, or no pixel.
    """
    crops = [_resized(_checked(image)) for image in images]
    return standardise(torch.stack(crops)) if crops else torch.zeros(0, 1, CROP_SIDE, CROP_SIDE)


def grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Grey levels (height, width) in [0, 255] of a picture (height, width[, 3])."""
    if image.ndim == 2:
        return image.astype(np.float32)
    return image.astype(np.float32) @ np.array(_LUMA, dtype=np.float32)


def standardise(crops: Tensor) -> Tensor:
    """Standardise each of (image, 1, height, width) grey crops, levels in [0, 255], by itself."""
    mean = crops.mean(dim=(1, 2, 3), keepdim=True)
    deviation = (crops - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return (crops - mean) / deviation.clamp_min(_FLATTEST)


def _checked(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Refuse what is not uint8 (height, width[, 3]), as the shape (4, 4, 4)."""
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if not fits or image.dtype != np.uint8 or image.size == 0:
        raise InputError(
            "Expected a uint8 face crop (height, width, 3) or (height, width), "
            f"got {image.dtype} of shape {image.shape}."
        )
    return image


def _resized(image: npt.NDArray[np.uint8]) -> Tensor:
    """Grey levels (1, 48, 48) of a picture (height, width[, 3])."""
    levels = torch.from_numpy(grey(image))[None, None]
    if levels.shape[2:] == (CROP_SIDE, CROP_SIDE):
        return levels[0]
    size = (CROP_SIDE, CROP_SIDE)
    return nn.functional.interpolate(levels, size, mode="bilinear", antialias=True)[0]


def _conv(width: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out)
    )


class _ResidualBlock(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(width, out, 3, stride), nn.ReLU(), _conv(out, out, 3))
        shrink = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        same = width == out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(shrink, _conv(width, out, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Residual block: (image, channel, height, width) to the same, halved where it strides."""
        return torch.relu(self.body(maps) + self.shortcut(maps))
