"""Attention-guided factorized bilinear pooling of a face and a voice.

Zhang, Wang & Du, "Deep Fusion: An Attention Guided Factorized Bilinear Pooling for Audio-video
Emotion Recognition" (arXiv:1901.04889): attention over the frames of a face gives v, the voice
gives a, and z = SumPool_k(Dropout(Ũᵀa ∘ Ṽᵀv)), signed square root, L2 norm, linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS
from emotion.models.attention import AttentionPooling, AveragePooling

__all__ = [
    "AttentionFBP",
    "AttentionFBPConfig",
    "FactorizedBilinearPooling",
    "FusionOutput",
    "GatedFBP",
    "GatedFBPConfig",
]


@dataclass(frozen=True)
class AttentionFBPConfig:
    """Everything that decides the network's shape.

    Attributes:
        frame_features: Size of the vector of one face frame.
        voice_features: Size of the vector of a voice.
        factors: The paper's k: products summed into each output.
        outputs: The paper's o: size of the fused vector.
        dropout: On the products, in [0, 1).
        attention_hidden: Size of the frame attention's hidden layer.
        sharpness: The frame attention's λ.
        signed_root: Whether the signed square root comes before the L2 norm. Public code either
            takes k = 5 and o = 512 with both, or k = 2 and o = 32 with the L2 norm alone.
        pooling: Attention over the frames, or the plain average it has to beat.
    """

    frame_features: int = 256
    voice_features: int = 128
    factors: int = 4
    outputs: int = 64
    dropout: float = 0.1
    attention_hidden: int = 64
    sharpness: float = 1.0
    signed_root: bool = True
    pooling: Literal["attention", "average"] = "attention"

    def __post_init__(self) -> None:
        sizes = (self.frame_features, self.voice_features, self.factors, self.outputs)
        if min(*sizes, self.attention_hidden) < 1:
            raise ValueError(f"Expected positive sizes, got {self}.")
        if not (0 <= self.dropout < 1 and self.sharpness > 0):
            raise ValueError(f"Expected dropout in [0, 1) and λ > 0, got {self}.")
        if self.pooling not in ("attention", "average"):
            raise ValueError(f"Expected pooling attention or average, got {self.pooling!r}.")


@dataclass(frozen=True)
class GatedFBPConfig(AttentionFBPConfig):
    """That, with gates.

    Attributes:
        gate_hidden: Size of the hidden layer of each gate.
    """

    gate_hidden: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gate_hidden < 1:
            raise ValueError(f"Expected gates with a hidden layer, got {self}.")


class FusionOutput(NamedTuple):
    """What the fusion says of each clip.

    Attributes:
        logits: (batch, emotion).
        frame_attention: (batch, frame), summing to 1 a clip, all 0 where no face was seen.
        trust: (batch, 2) in [0, 1], how far the face and the voice are believed, 0 of what is
            missing; None of a network without gates.
    """

    logits: Tensor
    frame_attention: Tensor
    trust: Tensor | None = None


class FactorizedBilinearPooling(nn.Module):
    """z = L2(signed-sqrt(SumPool_k(Dropout(Ũᵀa ∘ Ṽᵀv)))), with a 1 appended to a and to v.

    The appended 1 (Zadeh et al. 2017, arXiv:1707.07250, eq. 1) is the bias of each projection: it
    keeps each modality's own terms beside the products.

    Args:
        first: Size of a.
        second: Size of v.
        outputs: The paper's o, size of z.
        factors: The paper's k, products summed into each output.
        dropout: On the products, in [0, 1).
        signed_root: Whether to take the signed square root before the L2 norm.
    """

    def __init__(
        self,
        first: int,
        second: int,
        outputs: int,
        factors: int,
        dropout: float,
        signed_root: bool = True,
    ) -> None:
        super().__init__()
        self.factors, self.signed_root = factors, signed_root
        self.project_first = nn.Linear(first, outputs * factors)
        self.project_second = nn.Linear(second, outputs * factors)
        self.dropout = nn.Dropout(dropout)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Fuse (batch, first) and (batch, second) into (batch, output) of length 1."""
        product = self.dropout(self.project_first(first) * self.project_second(second))
        pooled = product.view(len(product), -1, self.factors).sum(dim=-1)
        if self.signed_root:
            # the floor keeps the root's slope finite at 0; it moves z by less than 1e-6
            pooled = pooled.sign() * pooled.abs().clamp_min(_FLOOR).sqrt()
        return nn.functional.normalize(pooled, dim=-1)


_FLOOR = 1e-12


class AttentionFBP(nn.Module):
    """Face frames and a voice in, emotion logits and frame attention out; either may be missing.

    A missing modality is replaced by a learned vector, which training sees by modality dropout.
    """

    frame_mean: Tensor
    frame_deviation: Tensor
    voice_mean: Tensor
    voice_deviation: Tensor

    def __init__(self, config: AttentionFBPConfig) -> None:
        super().__init__()
        self.config = config
        faces, voices = config.frame_features, config.voice_features
        self.register_buffer("frame_mean", torch.zeros(faces))
        self.register_buffer("frame_deviation", torch.ones(faces))
        self.register_buffer("voice_mean", torch.zeros(voices))
        self.register_buffer("voice_deviation", torch.ones(voices))
        self.attention = (
            AttentionPooling(faces, config.attention_hidden, config.sharpness)
            if config.pooling == "attention"
            else AveragePooling()
        )
        self.no_face = nn.Parameter(torch.zeros(faces))
        self.no_voice = nn.Parameter(torch.zeros(voices))
        self.pooling = FactorizedBilinearPooling(
            voices, faces, config.outputs, config.factors, config.dropout, config.signed_root
        )
        self.classify = nn.Linear(config.outputs, len(EMOTIONS))
        self.scale = nn.Parameter(torch.tensor(8.0))  # z has length 1: logits need the room

    def forward(
        self,
        frames: Tensor | None,
        frame_mask: Tensor | None = None,
        voice: Tensor | None = None,
        voice_mask: Tensor | None = None,
    ) -> FusionOutput:
        """Fuse what there is of each clip.

        Args:
            frames: (batch, frame, feature) of `FaceCNN.features`, or None where no clip has a face.
            frame_mask: (batch, frame) bool, true where a face was seen; None counts all. A clip
                whose row is false throughout has no face.
            voice: (batch, feature) of `AttentionFCN`, or None where no clip has a voice.
            voice_mask: (batch,) bool, true where a clip has a voice; None counts all.

        Raises:
            InputError: If both are None, or sizes do not fit the configuration or each other.
        """
        self._check(frames, frame_mask, voice, voice_mask)
        batch = len(frames) if frames is not None else len(voice) if voice is not None else 0
        face, weights = self._face(frames, frame_mask, batch)
        fused = self.pooling(self._voice(voice, voice_mask, batch), face)
        return FusionOutput((self.scale * self.classify(fused)).float(), weights)

    def _face(
        self, frames: Tensor | None, mask: Tensor | None, batch: int
    ) -> tuple[Tensor, Tensor]:
        """Pool each clip's frames to (batch, feature); also their weights (batch, frame)."""
        if frames is None or frames.shape[1] == 0:
            return self.no_face.expand(batch, -1), self.no_face.new_zeros(batch, 0)
        if mask is None:
            mask = frames.new_ones(frames.shape[:2], dtype=torch.bool)
        pooled = self.attention((frames - self.frame_mean) / self.frame_deviation, mask)
        present = mask.any(dim=1, keepdim=True)
        return torch.where(present, pooled.context, self.no_face), pooled.weights

    def _voice(self, voice: Tensor | None, mask: Tensor | None, batch: int) -> Tensor:
        """Standardised voices (batch, feature), the learnt vector where there is none."""
        if voice is None:
            return self.no_voice.expand(batch, -1)
        standard = (voice - self.voice_mean) / self.voice_deviation
        return standard if mask is None else torch.where(mask[:, None], standard, self.no_voice)

    def _check(
        self,
        frames: Tensor | None,
        frame_mask: Tensor | None,
        voice: Tensor | None,
        voice_mask: Tensor | None,
    ) -> None:
        """Refuse frames that are not (batch, frame, feature), voices not (batch, feature)."""
        if frames is None and voice is None:
            raise InputError("Expected face frames, a voice, or both, got neither.")
        batch = next(len(x) for x in (frames, voice) if x is not None)
        length = None if frames is None or frames.ndim != 3 else frames.shape[1]
        for name, tensor, wanted in (
            ("frames", frames, (batch, length, self.config.frame_features)),
            ("frame_mask", frame_mask, (batch, length)),
            ("voice", voice, (batch, self.config.voice_features)),
            ("voice_mask", voice_mask, (batch,)),
        ):
            if tensor is not None and tuple(tensor.shape) != wanted:
                raise InputError(f"Expected {name} {wanted}, got shape {tuple(tensor.shape)}.")


class GatedFBP(AttentionFBP):
    """`AttentionFBP` with a gate on each modality: a voice that is noise counts as none.

    g = sigmoid(MLP(x)) is the trust in the pooled face, or in the voice, a gated unit as in Arevalo
    et al. 2017 (arXiv:1702.01992), but each gate sees its own modality alone, so that a clear voice
    cannot switch off a clear face. Stretched by a tenth and clipped to [0, 1], as in Louizos et al.
    2018 (arXiv:1712.01312), eq. 11, it can shut wholly: x' = h x + (1 - h) x_missing.
    """

    config: GatedFBPConfig

    def __init__(self, config: GatedFBPConfig) -> None:
        super().__init__(config)
        self.face_gate = _gate(config.frame_features, config.gate_hidden)
        self.voice_gate = _gate(config.voice_features, config.gate_hidden)

    def forward(
        self,
        frames: Tensor | None,
        frame_mask: Tensor | None = None,
        voice: Tensor | None = None,
        voice_mask: Tensor | None = None,
    ) -> FusionOutput:
        """As `AttentionFBP.forward`, on the same shapes, and also how far each is trusted."""
        self._check(frames, frame_mask, voice, voice_mask)
        batch = len(frames) if frames is not None else len(voice) if voice is not None else 0
        face, weights = self._face(frames, frame_mask, batch)
        heard = self._voice(voice, voice_mask, batch)
        trust = torch.cat([self.face_gate(face), self.voice_gate(heard)], dim=1).sigmoid()
        opened = (trust * (1 + 2 * _STRETCH) - _STRETCH).clamp(0, 1)
        face = self.no_face.lerp(face, opened[:, :1])
        heard = self.no_voice.lerp(heard, opened[:, 1:])
        logits = self.scale * self.classify(self.pooling(heard, face))
        there = self._there(weights, voice, voice_mask)
        return FusionOutput(logits.float(), weights, trust.float() * there)

    def _there(self, weights: Tensor, voice: Tensor | None, mask: Tensor | None) -> Tensor:
        """Whether each clip has a face and a voice, (batch, 2), of frame weights (batch, frame)."""
        seen = weights.sum(dim=1) > 0
        heard = torch.full_like(seen, voice is not None) if mask is None else mask
        return torch.stack([seen, heard], dim=1)


_STRETCH = 0.1


def _gate(features: int, hidden: int) -> nn.Sequential:
    """(batch, feature) to a logit (batch, 1); at first it lets nearly everything through."""
    judge = nn.Linear(hidden, 1)
    nn.init.constant_(judge.bias, 2.0)
    return nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), judge)
