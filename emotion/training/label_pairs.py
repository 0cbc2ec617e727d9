"""Clips of faces and a voice that share nothing but their label."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from emotion.labels import EMOTIONS
from emotion.training.pools import Photographs, VoicePool
from emotion.training.recipes import FusionRecipe

__all__ = ["NEUTRAL", "PairedClips", "alone", "make_clips", "untouched"]

NEUTRAL = EMOTIONS.index("neutral")


@dataclass(frozen=True)
class PairedClips:
    """Clips of a face and a voice that share nothing but their label.

    Attributes:
        frames: (clip, frame, feature).
        frame_mask: (clip, frame) bool.
        expressive: (clip, frame) bool, true for sharp photographs of the clip's label.
        voice: (clip, feature).
        voice_mask: (clip,) bool.
        labels: (clip,).
        trust: (clip, 2), how far the face and the voice deserve trust: 1 as they are, 0 where they
            say nothing, nan where that is not told, as of a voice in noise.
    """

    frames: Tensor
    frame_mask: Tensor
    expressive: Tensor
    voice: Tensor
    voice_mask: Tensor
    labels: Tensor
    trust: Tensor


def make_clips(
    recipe: FusionRecipe,
    photographs: Photographs,
    voices: VoicePool,
    labels: Tensor,
    generator: torch.Generator,
) -> PairedClips:
    """Make one clip of each label (clip,), no photograph twice in it."""
    plans = [_plan(recipe, int(label), photographs, generator) for label in labels]
    parts = [_frames(photographs, *plan, generator) for plan in plans]
    frames, expressive = (
        nn.utils.rnn.pad_sequence(list(rows), batch_first=True) for rows in zip(*parts, strict=True)
    )
    lengths = torch.tensor([len(f) for f, _ in parts])
    mask = torch.arange(frames.shape[1]) < lengths[:, None]
    fate = _Fate.draw(recipe, len(labels), generator)
    mask &= ~fate.no_face[:, None]
    voice = voices.draw(labels, generator, fate.noisy_voice)
    if fate.spoilt_face.any():
        frames[fate.spoilt_face] = _nothing_to_see(photographs, frames[fate.spoilt_face], generator)
        expressive[fate.spoilt_face] = False
    if fate.spoilt_voice.any():
        voice[fate.spoilt_voice] = _any_of(voices.spoilt, voice[fate.spoilt_voice], generator)
    return PairedClips(frames, mask, expressive & mask, voice, ~fate.no_voice, labels, fate.trust)


def untouched(recipe: FusionRecipe) -> FusionRecipe:
    """Change a recipe so that of its clips nothing is missing or spoilt."""
    return replace(
        recipe, no_face=0.0, no_voice=0.0, spoilt_face=0.0, spoilt_voice=0.0, noisy_voice=0.0
    )


def alone(clips: PairedClips, name: str) -> PairedClips:
    """Keep the "face" or the "voice" of clips alone, or "both"."""
    if name == "voice":
        return replace(clips, frame_mask=torch.zeros_like(clips.frame_mask))
    return replace(clips, voice_mask=clips.voice_mask & (name == "both"))


@dataclass(frozen=True)
class _Fate:
    """What is done to clips, each (clip,) bool; never to face and voice of one clip."""

    no_face: Tensor
    spoilt_face: Tensor
    no_voice: Tensor
    spoilt_voice: Tensor
    noisy_voice: Tensor

    @classmethod
    def draw(cls, recipe: FusionRecipe, clips: int, generator: torch.Generator) -> _Fate:
        chance, noise = torch.rand(2, clips, generator=generator)
        edges = torch.tensor([recipe.no_face, recipe.spoilt_face, recipe.no_voice]).cumsum(0)
        which = torch.bucketize(
            chance, torch.cat([edges, edges[-1:] + recipe.spoilt_voice]), right=True
        )
        no_face, spoilt_face, no_voice, spoilt_voice = (which == kind for kind in range(4))
        noisy_voice = ~no_voice & ~spoilt_voice & (noise < recipe.noisy_voice)
        return cls(no_face, spoilt_face, no_voice, spoilt_voice, noisy_voice)

    @property
    def trust(self) -> Tensor:
        """(clip, 2) as in `PairedClips`."""
        face = (~self.spoilt_face).float().masked_fill(self.no_face, torch.nan)
        voice = (~self.spoilt_voice).float()
        voice = voice.masked_fill(self.no_voice | self.noisy_voice, torch.nan)
        return torch.stack([face, voice], dim=1)


def _nothing_to_see(photographs: Photographs, like: Tensor, generator: torch.Generator) -> Tensor:
    """Frames (clip, frame, feature): all of a clip blurred, or none a face."""
    noise = _any_of(photographs.spoilt, like, generator)
    faint = _any_of(photographs.blurred, like, generator)
    return torch.where(torch.rand(len(like), 1, 1, generator=generator) < 0.5, noise, faint)


def _plan(
    recipe: FusionRecipe, label: int, photographs: Photographs, generator: torch.Generator
) -> tuple[Tensor, int, int]:
    """Choose a clip's photographs (frame,), all different.

    The first so many are expressive, the last so many blurred.
    """
    draw = torch.rand(3, generator=generator).tolist()
    fewest, most = recipe.expressive
    expressive = fewest + int(draw[0] * (most - fewest + 1))
    neutral = int(draw[1] * (recipe.neutral + 1))
    blurred = int(draw[2] * (recipe.blurred + 1))
    pools = [(photographs.labels == label, expressive)]
    if label != NEUTRAL:
        pools.append((photographs.labels == NEUTRAL, neutral))
    pools.append((torch.ones_like(photographs.labels, dtype=torch.bool), blurred))
    parts = [_some(torch.where(pool)[0], count, generator) for pool, count in pools]
    sharp = torch.cat(parts[:-1])
    other = parts[-1][~torch.isin(parts[-1], sharp)]
    return torch.cat([sharp, other]), len(parts[0]), len(other)


def _frames(
    photographs: Photographs,
    chosen: Tensor,
    expressive: int,
    blurred: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Shuffle a clip's photographs: features (frame, feature), and which are expressive."""
    views = torch.randint(len(photographs.views), (len(chosen),), generator=generator)
    frames = photographs.views[views, chosen]
    if blurred:
        frames[-blurred:] = photographs.blurred[chosen[-blurred:]]
    order = torch.randperm(len(frames), generator=generator)
    return frames[order], order < expressive


def _some(pool: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw (count,) different members of a pool (member,)."""
    return pool[torch.randperm(len(pool), generator=generator)[:count]]


def _any_of(pool: Tensor, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw members of a pool (member, feature) at random, as many as in (..., feature)."""
    return pool[torch.randint(len(pool), like.shape[:-1], generator=generator)]
