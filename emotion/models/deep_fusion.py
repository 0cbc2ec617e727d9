"""Audio-visual networks that fuse by factorised bilinear pooling, trained from end to end.

`AudioVisualFBP` is Zhang, Wang & Du 2019 (arXiv:1901.04889): attention over the spectrogram gives
a, attention over the frames of a face gives v, FBP joins them.

`AMFBP` is Zhou et al. 2021 (arXiv:2111.08910), "Information Fusion in Attention Networks Using
Adaptive and Multi-level Factorized Bilinear Pooling". Its abstract is what this file rests on: a
global FBP; an adaptive strategy that "dynamically calculates the fusion weight of two modalities"
from "the emotion-related representation vectors from the attention mechanism of respective
modalities"; and, on top, several levels that combine "global-trunk and intra-trunk data in one
recording". The formula of the weights and the way levels are combined are not in it: both are
settings here (`weighting`, `combine`). Its "1-D attention" over the voice is taken to be
that of `AttentionFCN`, and a trunk to be an equal part of the recording in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS
from emotion.models.attention import AttentionPooling
from emotion.models.attention_fcn import ORIGINAL, AttentionFCN, AttentionFCNConfig
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig
from emotion.models.fusion import (
    AttentionFBP,
    AttentionFBPConfig,
    FactorizedBilinearPooling,
    FusionOutput,
)

__all__ = [
    "AMFBP",
    "AMFBPConfig",
    "AMFBPOutput",
    "AdaptiveFBP",
    "AudioVisualFBP",
    "AudioVisualFBPConfig",
    "Combine",
    "Fused",
    "MultiLevelFBP",
    "MultiLevelFBPConfig",
    "Weighting",
    "frame_features",
]

Weighting = Literal["none", "norm", "gate"]
Combine = Literal["concat", "sum"]


# ------------------------------------------------------------------------- levels of vectors


@dataclass(frozen=True)
class MultiLevelFBPConfig:
    """Everything that decides the network's shape.

    Attributes:
        first: Size of the first stream's vector at each level.
        second: Size of the second stream's vector at each level.
        factors: FBP's k: products summed into each output.
        outputs: FBP's o: size of each level's fused vector.
        dropout: On the products, in [0, 1).
        signed_root: Whether the signed square root comes before the L2 norm.
        weighting: How much each stream counts: "none" evenly; "norm" by the length of its vector,
            |a| / (|a| + |v|); "gate" by the softmax of one learned score a stream.
        combine: Whether the fused vectors of the levels stand side by side or are summed.
    """

    first: tuple[int, ...] = (128,)
    second: tuple[int, ...] = (256,)
    factors: int = 4
    outputs: int = 64
    dropout: float = 0.1
    signed_root: bool = True
    weighting: Weighting = "gate"
    combine: Combine = "concat"

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        sizes = (*self.first, *self.second, self.factors, self.outputs)
        if not self.first or len(self.first) != len(self.second) or min(sizes) < 1:
            raise ValueError(f"Expected as many positive sizes of either stream, got {self}.")
        if self.weighting not in get_args(Weighting) or self.combine not in get_args(Combine):
            raise ValueError(
                "Expected weighting none, norm or gate and combine concat or sum, "
                f"got {self.weighting!r} and {self.combine!r}."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"Expected dropout in [0, 1), got {self.dropout}.")


class Fused(NamedTuple):
    """What one level gives.

    Attributes:
        vector: (batch, output).
        weights: (batch, stream), what the first and the second stream counted, summing to 1.
    """

    vector: Tensor
    weights: Tensor


class AdaptiveFBP(nn.Module):
    """One level: each stream scaled by twice its weight, then FBP.

    Even weights leave the vectors as they are. Without the 1 that FBP appends to each vector the
    weights would cancel in the L2 norm; with it they say how much each stream's own terms count.
    """

    def __init__(self, first: int, second: int, config: MultiLevelFBPConfig) -> None:
        super().__init__()
        self.weighting = config.weighting
        if config.weighting == "gate":
            self.score_first, self.score_second = nn.Linear(first, 1), nn.Linear(second, 1)
        self.pooling = FactorizedBilinearPooling(
            first, second, config.outputs, config.factors, config.dropout, config.signed_root
        )

    def forward(self, first: Tensor, second: Tensor) -> Fused:
        """Fuse (batch, first) and (batch, second) into (batch, output)."""
        weights = self.weigh(first, second)
        scaled = (2 * weights[:, :1] * first, 2 * weights[:, 1:] * second)
        return Fused(self.pooling(*scaled), weights)

    def weigh(self, first: Tensor, second: Tensor) -> Tensor:
        """Weights (batch, stream) of (batch, first) and (batch, second)."""
        if self.weighting == "none":
            return first.new_full((len(first), 2), 0.5)
        if self.weighting == "gate":
            scores = torch.cat([self.score_first(first), self.score_second(second)], dim=1)
            return scores.softmax(dim=1)
        lengths = torch.stack([first.norm(dim=1), second.norm(dim=1)], dim=1)
        return (lengths + _NO_LENGTH) / (lengths + _NO_LENGTH).sum(dim=1, keepdim=True)


_NO_LENGTH = 1e-6  # two empty vectors count evenly


class MultiLevelFBP(nn.Module):
    """Two streams of vectors, at one or several levels, in; emotion logits out.

    A level is one vector a clip, or several (trunks of its recording): trunks share the level's
    weights and their fused vectors are averaged. The vectors should be standardised.
    """

    def __init__(self, config: MultiLevelFBPConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList(
            AdaptiveFBP(first, second, config)
            for first, second in zip(config.first, config.second, strict=True)
        )
        wide = len(self.levels) if config.combine == "concat" else 1
        self.classify = nn.Linear(wide * config.outputs, len(EMOTIONS))
        self.scale = nn.Parameter(torch.tensor(8.0))  # each z has length 1: logits need the room

    def forward(
        self,
        first: Tensor | Sequence[Tensor],
        second: Tensor | Sequence[Tensor],
        mask: Tensor | None = None,
    ) -> Tensor:
        """Logits (batch, emotion).

        Args:
            first: A level's vectors (batch, feature) or (batch, trunk, feature), or a list of
                levels.
            second: The other stream's, with the same levels and trunks.
            mask: (batch, trunk) bool, true where both streams have something in a trunk; None
                counts all. A clip without a trunk gets a zero vector at that level.

        Raises:
            InputError: If the shapes do not fit the configuration or each other.
        """
        return self.decide(self.fuse(first, second, mask))

    def fuse(
        self,
        first: Tensor | Sequence[Tensor],
        second: Tensor | Sequence[Tensor],
        mask: Tensor | None = None,
    ) -> list[Fused]:
        """Every level's fused vector (batch, output) and weights (batch, stream), as `forward`."""
        ones, others = _levels(first), _levels(second)
        self._check(ones, others)
        return [
            level(one, other) if one.ndim == 2 else _over_trunks(level, one, other, mask)
            for level, one, other in zip(self.levels, ones, others, strict=True)
        ]

    def decide(self, levels: Sequence[Fused]) -> Tensor:
        """Logits (batch, emotion) of what `fuse` gave, vectors (batch, output) a level."""
        vectors = [level.vector for level in levels]
        together = self.config.combine == "concat"
        joined = torch.cat(vectors, dim=1) if together else torch.stack(vectors).sum(dim=0)
        logits: Tensor = self.scale * self.classify(joined)
        return logits.float()

    def _check(self, first: list[Tensor], second: list[Tensor]) -> None:
        """Refuse levels that are not (batch, feature) or (batch, trunk, feature), as configured."""
        got = [tuple(vector.shape) for vector in first], [tuple(vector.shape) for vector in second]
        sizes = self.config.first, self.config.second
        batch = first[0].shape[:1] if first else ()
        fits = all(
            tuple(shape[-1] for shape in shapes) == features
            and all(len(shape) in (2, 3) and shape[:1] == batch for shape in shapes)
            for shapes, features in zip(got, sizes, strict=True)
        )
        if not fits or [s[:-1] for s in got[0]] != [s[:-1] for s in got[1]]:
            raise InputError(
                "Expected levels (batch, feature) or (batch, trunk, feature) with features "
                f"{sizes[0]} and {sizes[1]}, got {_listed(got[0])} and {_listed(got[1])}."
            )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes)) or "none"


def _levels(vectors: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [vectors] if isinstance(vectors, Tensor) else list(vectors)


def _over_trunks(level: nn.Module, first: Tensor, second: Tensor, mask: Tensor | None) -> Fused:
    """Fuse (batch, trunk, feature) by one level; average where mask (batch, trunk) is true."""
    batch, trunks = first.shape[:2]
    if mask is None:
        mask = first.new_ones((batch, trunks), dtype=torch.bool)
    if mask.shape != (batch, trunks):
        raise InputError(f"Expected a mask {(batch, trunks)}, got shape {tuple(mask.shape)}.")
    fused: Fused = level(first.flatten(0, 1), second.flatten(0, 1))
    share = (mask / mask.sum(dim=1, keepdim=True).clamp_min(1))[..., None]
    vector, weights = (x.view(batch, trunks, -1) for x in fused)
    even = 0.5 * (1 - share.sum(dim=1))  # where no trunk counts
    return Fused((share * vector).sum(dim=1), (share * weights).sum(dim=1) + even)


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
    """

    voice: AttentionFCNConfig = ORIGINAL
    face: FaceEncoderConfig = field(default_factory=FaceEncoderConfig)
    factors: int = 5
    outputs: int = 512
    dropout: float = 0.1
    attention_hidden: int = 256
    sharpness: float = 1.0
    signed_root: bool = True

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
    Attention pools each trunk with the same weights as the whole.
    """

    def __init__(self, config: AMFBPConfig) -> None:
        super().__init__()
        self.config = config
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
        parts = [self.voice.pool(maps, part)[0] for part in trunks.unbind(dim=1)]
        whole: Tensor = self.voice.pool(maps, trunks.any(dim=1))[0]
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
