"""The face networks of the papers behind one interface: picture in, vector and logits out.

VGG-Face (Parkhi, Vedaldi & Zisserman, "Deep Face Recognition", BMVC 2015), ResNet-50 (He et al.,
CVPR 2016), Inception-ResNet-v1 as facenet-pytorch builds it (Szegedy et al. 2016,
arXiv:1602.07261), Inception V3 (Szegedy et al., CVPR 2016) and the two CNNs of this package. All
take plain pictures; size and level are brought to what each network's published weights know:

    kind                  side   level of a pixel x in [0, 255]
    vgg-face              224    RGB minus the mean (129.19, 104.76, 93.59) of its training faces
    resnet50              224    RGB / 255, minus ImageNet's mean, by ImageNet's deviation
    inception-resnet-v1   160    (RGB - 127.5) / 128
    inception-v3          299    (RGB - 127.5) / 127.5
    compact, wide          48    luma, each picture standardised by itself
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS
from emotion.models.face_cnn import COMPACT, CROP_SIDE, WIDE, FaceCNN, FaceCNNConfig, standardise

__all__ = ["FaceEncoder", "FaceEncoderConfig", "FaceKind", "VGGLayer", "own_config"]

FaceKind = Literal["vgg-face", "resnet50", "inception-resnet-v1", "inception-v3", "compact", "wide"]
VGGLayer = Literal["pool5", "fc6", "fc7"]


class _Kind(NamedTuple):
    """What there is to know of one network.

    Attributes:
        side: Of the pictures its weights were made for, in pixels.
        shortest: Least side it can take.
        features: Size of its vector before `shrink`.
        mean: Taken from each RGB level.
        deviation: Which the rest is divided by.
    """

    side: int
    shortest: int
    features: int
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    deviation: tuple[float, float, float] = (127.5, 127.5, 127.5)


_KINDS: dict[str, _Kind] = {
    "vgg-face": _Kind(
        224, 32, 4096, (129.186279296875, 104.76238250732422, 93.59396362304688), (1.0, 1.0, 1.0)
    ),
    "resnet50": _Kind(224, 32, 2048, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "inception-resnet-v1": _Kind(160, 75, 512, deviation=(128.0, 128.0, 128.0)),
    "inception-v3": _Kind(299, 75, 2048),
    "compact": _Kind(48, 8, COMPACT.features),
    "wide": _Kind(48, 8, WIDE.features),
}
_OWN: dict[FaceKind, FaceCNNConfig] = {"compact": COMPACT, "wide": WIDE}
_SHRINKS = (1, 2, 4, 8, 16)
_VGG_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_VGG_HIDDEN = 4096


@dataclass(frozen=True)
class FaceEncoderConfig:
    """Everything that decides the network's shape.

    Attributes:
        kind: Which network.
        side: Side of the picture it sees, in pixels; None takes the kind's own.
        layer: VGG-Face only: whose output is the vector; what lies behind it is not built.
        shrink: Divides every width: 1 is the published network, 16 is for tests.
        dropout: On the vector before the classifier, and between VGG-Face's full layers, in [0, 1).
    """

    kind: FaceKind = "vgg-face"
    side: int | None = None
    layer: VGGLayer = "fc7"
    shrink: int = 1
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"Expected a kind among {', '.join(_KINDS)}, got {self.kind!r}.")
        if self.layer not in get_args(VGGLayer) or self.shrink not in _SHRINKS:
            raise ValueError(
                "Expected layer pool5, fc6 or fc7 and shrink 1, 2, 4, 8 or 16, "
                f"got {self.layer!r} and {self.shrink}."
            )
        shortest = _KINDS[self.kind].shortest
        if self.pixels < shortest or not 0 <= self.dropout < 1:
            raise ValueError(
                f"Expected a side of at least {shortest} pixels for {self.kind} and dropout in "
                f"[0, 1), got {self.pixels} and {self.dropout}."
            )

    @property
    def pixels(self) -> int:
        """Side of the picture the network sees."""
        return _KINDS[self.kind].side if self.side is None else self.side

    @property
    def features(self) -> int:
        """Size of a face's vector."""
        of_pooling = self.kind == "vgg-face" and self.layer == "pool5"
        return (_VGG_BLOCKS[-1][0] if of_pooling else _KINDS[self.kind].features) // self.shrink


def own_config(config: FaceCNNConfig) -> FaceEncoderConfig:
    """Give the configuration under which `FaceEncoder` holds the weights of a `FaceCNN`.

    Raises:
        InputError: If the network has another shape than those of this package.
    """
    shape = replace(config, dropout=COMPACT.dropout, mirrored=COMPACT.mirrored)
    kind = next((kind for kind, own in _OWN.items() if own == shape), None)
    if kind is None:
        raise InputError(f"Expected a face network of {' or '.join(_OWN)} shape, got {config}.")
    return FaceEncoderConfig(kind, CROP_SIDE, dropout=config.dropout)


class FaceEncoder(nn.Module):
    """Face crops in, one vector a face; a linear layer turns it into logits."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: FaceEncoderConfig) -> None:
        super().__init__()
        self.config = config
        kind = _KINDS[config.kind]
        self.register_buffer("mean", torch.tensor(kind.mean)[:, None, None], persistent=False)
        self.register_buffer(
            "deviation", torch.tensor(kind.deviation)[:, None, None], persistent=False
        )
        self.backbone = _MAKERS[config.kind](config)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.features, len(EMOTIONS))

    def forward(self, crops: Tensor) -> Tensor:
        """Logits (image, emotion) of crops (image, channel, height, width), as `features`."""
        logits: Tensor = self.classify(self.dropout(self.features(crops)))
        return logits.float()

    def features(self, crops: Tensor) -> Tensor:
        """Vectors (image, feature) of crops (image, channel, height, width).

        Args:
            crops: Levels in [0, 255] of any number type, RGB (3 channels) or grey (1), of any size.

        Raises:
            InputError: If there are not four axes and one or three channels.
        """
        if crops.ndim != 4 or crops.shape[1] not in (1, 3) or 0 in crops.shape[2:]:
            raise InputError(
                f"Expected crops (image, 1 or 3, height, width), got shape {tuple(crops.shape)}."
            )
        vectors: Tensor = self.backbone(self._standard(crops.float()))
        return vectors.float()

    def _standard(self, crops: Tensor) -> Tensor:
        """Bring levels (image, channel, height, width) to the side and level the network knows."""
        size = (self.config.pixels, self.config.pixels)
        if crops.shape[2:] != size:
            crops = nn.functional.interpolate(crops, size, mode="bilinear", antialias=True)
        if self.config.kind in _OWN:
            luma = crops.new_tensor(_LUMA)[:, None, None]
            return standardise(
                (crops * luma).sum(dim=1, keepdim=True) if crops.shape[1] == 3 else crops
            )
        return (crops.expand(-1, 3, -1, -1) - self.mean) / self.deviation


_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as `face_cnn.grey`


def _own(config: FaceEncoderConfig) -> nn.Module:
    whole = _OWN[config.kind]
    widths = tuple(width // config.shrink for width in whole.widths)
    backbone: nn.Module = FaceCNN(
        FaceCNNConfig(whole.stem // config.shrink, widths, whole.blocks, config.dropout)
    ).backbone
    return backbone


def _vgg_face(config: FaceEncoderConfig) -> nn.Module:
    """VGG-16 under the names of the published weights."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = 3
    for block, (channels, convolutions) in enumerate(_VGG_BLOCKS, start=1):
        for index in range(1, convolutions + 1):
            layers[f"conv{block}_{index}"] = _convolution(width, channels // config.shrink)
            layers[f"relu{block}_{index}"] = nn.ReLU()
            width = channels // config.shrink
        layers[f"pool{block}"] = nn.MaxPool2d(2)
    if config.layer == "pool5":
        layers["average"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    hidden = _VGG_HIDDEN // config.shrink
    if config.layer in ("fc6", "fc7"):
        layers |= {"fc6": nn.Linear(width * (config.pixels // 32) ** 2, hidden), "relu6": nn.ReLU()}
    if config.layer == "fc7":
        layers["dropout6"] = nn.Dropout(config.dropout)
        layers |= {"fc7": nn.Linear(hidden, hidden), "relu7": nn.ReLU()}
    return nn.Sequential(layers)


def _convolution(width: int, channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(width, channels, 3, padding=1)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return convolution


def _resnet50(config: FaceEncoderConfig) -> nn.Module:
    from torchvision.models import resnet50

    with torch.device("meta"):
        network = resnet50(weights=None)
    network.fc = nn.Identity()
    return _materialised(network, config.shrink)


def _inception_v3(config: FaceEncoderConfig) -> nn.Module:
    from torchvision.models import Inception3

    with torch.device("meta"):
        network = Inception3(aux_logits=False, transform_input=False, init_weights=False)
    network.fc = network.dropout = nn.Identity()
    return _materialised(network, config.shrink)


def _inception_resnet_v1(config: FaceEncoderConfig) -> nn.Module:
    from facenet_pytorch import InceptionResnetV1

    with torch.device("meta"):
        network = InceptionResnetV1(pretrained=None, classify=False)
    # the vector before it is brought to length 1, which is what its own classifier saw
    network.classify, network.logits, network.dropout = True, nn.Identity(), nn.Identity()
    return _materialised(network, config.shrink)


_MAKERS: dict[str, Callable[[FaceEncoderConfig], nn.Module]] = {
    "vgg-face": _vgg_face,
    "resnet50": _resnet50,
    "inception-resnet-v1": _inception_resnet_v1,
    "inception-v3": _inception_v3,
    "compact": _own,
    "wide": _own,
}


def _materialised(module: nn.Module, shrink: int) -> nn.Module:
    """Give a library's network, made without weights, fresh ones, every width divided by `shrink`.

    The widths of these networks are multiples of 16, and what they concatenate is narrowed in the
    same measure, so the narrow networks fit together as the published ones do.
    """
    for name, child in module.named_children():
        fresh = _narrow(child, shrink)
        if fresh is None:
            _materialised(child, shrink)
        else:
            setattr(module, name, fresh)
    return module


def _narrow(module: nn.Module, shrink: int) -> nn.Module | None:
    """Make a fresh layer in place of one that holds weights; None for anything else."""
    if isinstance(module, nn.Conv2d):
        width = module.in_channels if module.in_channels == 3 else module.in_channels // shrink
        same: dict[str, Any] = {k: getattr(module, k) for k in ("kernel_size", "stride", "padding")}
        channels = module.out_channels // shrink
        fresh = nn.Conv2d(width, channels, bias=module.bias is not None, **same)
        nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
        return fresh
    if isinstance(module, nn.Linear):
        sizes = module.in_features // shrink, module.out_features // shrink
        return nn.Linear(*sizes, bias=module.bias is not None)
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return type(module)(module.num_features // shrink, module.eps, module.momentum)
    return None
