"""Audio-visual networks that fuse by factorised bilinear pooling, trained from end to end.

`AudioVisualFBP` is Zhang, Wang & Du 2019 (arXiv:1901.04889): attention over the spectrogram gives
a, attention over the frames of a face gives v, FBP joins them.

`AMFBP` is Zhou et al. 2021 (arXiv:2111.08910): FBP with adaptive weights on two levels
(`multi_level_fbp`), the whole recording and its trunks. Its "1-D attention" over the voice is taken
to be that of `AttentionFCN`, and a trunk to be an equal part of the recording in time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.models.attention import AttentionPooling
from emotion.models.attention_fcn import ORIGINAL, AttentionFCN, AttentionFCNConfig
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig
from emotion.models.fusion import AttentionFBP, AttentionFBPConfig, FusionOutput
from emotion.models.multi_level_fbp import Combine, MultiLevelFBP, MultiLevelFBPConfig, Weighting

__all__ = [
    "AMFBP",
    "AMFBPConfig",
    "AMFBPOutput",
    "AudioVisualFBP",
    "AudioVisualFBPConfig",
    "frame_features",
]

# -------------------------------------------------------------------------------- Zhang 2019


@dataclass(frozen=True)
class AudioVisualFBPConfig:
    """Everything that decides the network's shape.

    Attributes:
        voice: The spectrogram's network.
        face: The frames' network.
        factors: FBP's k.
        outputs: FBP's o.
        dropout: On the products, in [0, 1).
        attention_hidden: Size of the frame attention's hidden layer.
        sharpness: The frame attention's λ.
        signed_root: Whether the signed square root comes before the L2 norm.
        pooling: Attention over the frames, or the plain average it has to beat.
    """

    voice: AttentionFCNConfig = ORIGINAL
    face: FaceEncoderConfig = field(default_factory=FaceEncoderConfig)
    factors: int = 5
    outputs: int = 512
    dropout: float = 0.1
    attention_hidden: int = 256
    sharpness: float = 1.0
    signed_root: bool = True
    pooling: Literal["attention", "average"] = "attention"

    def __post_init__(self) -> None:
        _restore(self, "voice", AttentionFCNConfig)
        _restore(self, "face", FaceEncoderConfig)
        _ = self.fusion  # checks the rest

    @property
    def fusion(self) -> AttentionFBPConfig:
        """Configuration of what joins the two."""
        return AttentionFBPConfig(
            frame_features=self.face.features,
            voice_features=self.voice.features,
            factors=self.factors,
            outputs=self.outputs,
            dropout=self.dropout,
            attention_hidden=self.attention_hidden,
            sharpness=self.sharpness,
            signed_root=self.signed_root,
            pooling=self.pooling,
        )


class AudioVisualFBP(nn.Module):
    """Pictures and spectrogram in, emotion logits out: both branches and the fusion as one network.

    The branches' own weights can be brought in with `emotion.models.published.load_weights`.
    """

    def __init__(self, config: AudioVisualFBPConfig) -> None:
        super().__init__()
        self.config = config
        self.voice = _headless(AttentionFCN(config.voice))
        self.face = _headless(FaceEncoder(config.face))
        self.fusion = AttentionFBP(config.fusion)

    def forward(
        self,
        frames: Tensor | None,
        frame_mask: Tensor | None = None,
        spectrogram: Tensor | None = None,
        lengths: Tensor | None = None,
        voice_mask: Tensor | None = None,
    ) -> FusionOutput:
        """Classify clips; either modality may be missing.

        Args:
            frames: Face crops (batch, frame, channel, height, width) as `FaceEncoder` takes them,
                or None where no clip has a face.
            frame_mask: (batch, frame) bool, true where a face was seen; None counts all.
            spectrogram: (batch, time, bin) of `log_spectrogram`, or None where no clip has a voice.
            lengths: (batch,) times that count in each clip; None counts all.
            voice_mask: (batch,) bool, true where a clip has a voice; None counts all.

        Raises:
            InputError: If both are None, or shapes do not fit the configuration or each other.
        """
        faces = None if frames is None else frame_features(self.face, frames, frame_mask)
        voice = None if spectrogram is None else self.voice(spectrogram, lengths).feature
        output: FusionOutput = self.fusion(faces, frame_mask, voice, voice_mask)
        return output


# -------------------------------------------------------------------------------- Zhou 2021


@dataclass(frozen=True)
class AMFBPConfig:
    """Everything that decides the network's shape.

    Attributes:
        voice: The spectrogram's network.
        face: The frames' network.
        trunks: Equal parts in time that a recording is cut into for the second level.
        factors: FBP's k.
        outputs: FBP's o at each level.
        dropout: On the products, in [0, 1).
        signed_root: Whether the signed square root comes before the L2 norm.
        weighting: As in `MultiLevelFBPConfig`.
        combine: As in `MultiLevelFBPConfig`.
        attention_hidden: Size of the frame attention's hidden layer.
        sharpness: The frame attention's λ.
    """

    voice: AttentionFCNConfig = ORIGINAL
    face: FaceEncoderConfig = field(default_factory=FaceEncoderConfig)
    trunks: int = 3
    factors: int = 5
    outputs: int = 512
    dropout: float = 0.1
    signed_root: bool = True
    weighting: Weighting = "gate"
    combine: Combine = "concat"
    attention_hidden: int = 256
    sharpness: float = 1.0

    def __post_init__(self) -> None:
        _restore(self, "voice", AttentionFCNConfig)
        _restore(self, "face", FaceEncoderConfig)
        if min(self.trunks, self.attention_hidden) < 1 or not self.sharpness > 0:
            raise ValueError(f"Expected positive trunks, attention size and λ, got {self}.")
        _ = self.fusion  # checks the rest

    @property
    def fusion(self) -> MultiLevelFBPConfig:
        """Configuration of what joins the two: the whole recording, then its trunks."""
        return MultiLevelFBPConfig(
            first=(self.voice.features, self.voice.features),
            second=(self.face.features, self.face.features),
            factors=self.factors,
            outputs=self.outputs,
            dropout=self.dropout,
            signed_root=self.signed_root,
            weighting=self.weighting,
            combine=self.combine,
        )


class AMFBPOutput(NamedTuple):
    """What the network says of each clip.

    Attributes:
        logits: (batch, emotion).
        frame_attention: (batch, frame), summing to 1 a clip, all 0 where no face was seen.
        weights: (batch, level, stream), what voice and face counted in the whole and in its trunks.
    """

    logits: Tensor
    frame_attention: Tensor
    weights: Tensor


class AMFBP(nn.Module):
    """Pictures and spectrogram in, emotion logits out, fused as a whole and trunk by trunk.

    Each clip needs a voice; one without a face gets a learned vector in its place, and no trunks.
    Attention pools each trunk with the same weights as the whole. The vectors of both streams are
    standardised before they are fused.
    """

    frame_mean: Tensor
    frame_deviation: Tensor
    voice_mean: Tensor
    voice_deviation: Tensor

    def __init__(self, config: AMFBPConfig) -> None:
        super().__init__()
        self.config = config
        for name, size in (("frame", config.face.features), ("voice", config.voice.features)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_deviation", torch.ones(size))
        self.voice = _headless(AttentionFCN(config.voice))
        self.face = _headless(FaceEncoder(config.face))
        self.attention = AttentionPooling(
            config.face.features, config.attention_hidden, config.sharpness
        )
        self.no_face = nn.Parameter(torch.zeros(config.face.features))
        self.fusion = MultiLevelFBP(config.fusion)

    def forward(
        self,
        frames: Tensor,
        frame_mask: Tensor | None,
        spectrogram: Tensor,
        lengths: Tensor | None = None,
    ) -> AMFBPOutput:
        """Classify clips.

        Args:
            frames: Face crops (batch, frame, channel, height, width), evenly spaced in time.
            frame_mask: (batch, frame) bool, true where a face was seen; None counts all. What
                follows a clip's last true frame counts as padding, not as time.
            spectrogram: (batch, time, bin) of `log_spectrogram`.
            lengths: (batch,) times that count in each clip; None counts all.

        Raises:
            InputError: If shapes do not fit the configuration or each other.
        """
        faces = frame_features(self.face, frames, frame_mask)
        if len(faces) != len(spectrogram):
            raise InputError(
                f"Expected as many spectrograms as clips of frames, got {len(spectrogram)} and "
                f"shape {tuple(frames.shape)}."
            )
        if frame_mask is None:
            frame_mask = faces.new_ones(faces.shape[:2], dtype=torch.bool)
        faces = (faces - self.frame_mean) / self.frame_deviation
        whole, parts, present, attention = self._face_levels(faces, frame_mask)
        voices, voice_parts, spoken = self._voice_levels(spectrogram, lengths)
        levels = self.fusion.fuse([voices, voice_parts], [whole, parts], present & spoken)
        weights = torch.stack([level.weights for level in levels], dim=1)
        return AMFBPOutput(self.fusion.decide(levels), attention, weights)

    def _voice_levels(
        self, spectrogram: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors (batch, feature) and (batch, trunk, feature), trunks heard (batch, trunk)."""
        maps, times = self.voice.maps(spectrogram, lengths)
        trunks = _trunks(times, maps.shape[3], self.config.trunks)
        pooled = [self.voice.pool(maps, part)[0] for part in (trunks.any(dim=1), *trunks.unbind(1))]
        whole, *parts = ((x - self.voice_mean) / self.voice_deviation for x in pooled)
        return whole, torch.stack(parts, dim=1), trunks.any(dim=2)

    def _face_levels(self, faces: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pool frames (batch, frame, feature) where mask (batch, frame) is true.

        Returns:
            Vectors (batch, feature) and (batch, trunk, feature), trunks with a face (batch, trunk),
            attention (batch, frame).
        """
        position = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        last = (mask * position).amax(dim=1)
        trunks = _trunks(last, mask.shape[1], self.config.trunks) & mask[:, None]
        parts = [self.attention(faces, part).context for part in trunks.unbind(dim=1)]
        whole = self.attention(faces, mask)
        vector = torch.where(mask.any(dim=1, keepdim=True), whole.context, self.no_face)
        return vector, torch.stack(parts, dim=1), trunks.any(dim=2), whole.weights


def _trunks(lengths: Tensor, size: int, count: int) -> Tensor:
    """(batch, trunk, position) bool: which equal part of each clip's length (batch,) it is in."""
    position = torch.arange(size, device=lengths.device)
    index = count * position // lengths.clamp_min(1)[:, None]
    part = torch.arange(count, device=lengths.device)
    inside = (position < lengths[:, None])[:, None]
    return (index[:, None] == part[:, None]) & inside


# ----------------------------------------------------------------------------------- shared


def frame_features(face: FaceEncoder, frames: Tensor, mask: Tensor | None) -> Tensor:
    """Vectors (batch, frame, feature) of frames (batch, frame, channel, height, width).

    Args:
        face: What turns a crop into a vector.
        frames: Levels in [0, 255].
        mask: (batch, frame) bool, true where a face was seen; None counts all. The others are not
            looked at and get zeros.

    Raises:
        InputError: If the axes do not fit.
    """
    if frames.ndim != 5 or (mask is not None and mask.shape != frames.shape[:2]):
        given = None if mask is None else tuple(mask.shape)
        raise InputError(
            "Expected frames (batch, frame, channel, height, width) and a mask (batch, frame), "
            f"got {tuple(frames.shape)} and {given}."
        )
    seen = frames.new_ones(frames.shape[:2], dtype=torch.bool) if mask is None else mask
    vectors = torch.zeros(*frames.shape[:2], face.config.features, device=frames.device)
    if seen.any():
        vectors[seen] = face.features(frames[seen])
    return vectors


_Encoder = TypeVar("_Encoder", AttentionFCN, FaceEncoder)


def _headless(encoder: _Encoder) -> _Encoder:
    """Take the classifier off, which nothing would train here."""
    setattr(encoder, "classify", nn.Identity())  # noqa: B010 (its type says Linear)
    return encoder


def _restore(config: object, name: str, kind: type[Any]) -> None:
    """Turn what JSON made of a nested configuration back into it."""
    value = getattr(config, name)
    if isinstance(value, dict):
        object.__setattr__(config, name, kind(**value))
