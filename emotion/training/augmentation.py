"""Random changes that leave the emotion as it is. All randomness comes from a given generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from emotion.models.face_cnn import standardise
from emotion.speech.spectrogram import AMPLITUDE_FLOOR, FRAME_HOP_S

__all__ = [
    "FaceAugmentation",
    "VoiceAugmentation",
    "augment_faces",
    "augment_levels",
    "augment_voices",
    "mixup",
]


@dataclass(frozen=True)
class FaceAugmentation:
    """How far a face crop may be changed.

    Attributes:
        rotation_deg: Largest rotation either way.
        shift: Largest shift either way, as a part of the side.
        zoom: Side of the part that is shown, from and to, 1 being the whole crop.
        gamma: Largest |log2| of the exponent on the grey levels.
        blurred: Part of the crops that are shown at half resolution.
        erased: Part of the crops of which a rectangle is hidden.
        lit: Part of the crops lit from one side, the other one as dark as `DARKEST` of it.
        noisy: Part of the crops with the noise of a camera in the dark, up to `NOISIEST` levels.
    """

    rotation_deg: float = 15.0
    shift: float = 0.06
    zoom: tuple[float, float] = (0.78, 1.06)
    gamma: float = 0.7
    blurred: float = 0.15
    erased: float = 0.4
    lit: float = 0.0
    noisy: float = 0.0


DARKEST = 0.25
NOISIEST = 16.0


def augment_faces(
    levels: Tensor, side: int, how: FaceAugmentation, generator: torch.Generator
) -> Tensor:
    """Flip, turn, shift, zoom, brighten, blur and partly hide face crops.

    Args:
        levels: (image, 1, height, width) grey levels in [0, 255].
        side: Wanted height and width.
        how: How far.
        generator: Source of randomness.

    Returns:
        (image, 1, side, side), each standardised as `prepare_crops` does.
    """
    changed = _seen_otherwise(levels, side, how, generator)
    return _erase_some(standardise(changed), how.erased, generator)


def augment_levels(
    levels: Tensor, side: int, how: FaceAugmentation, generator: torch.Generator
) -> Tensor:
    """Change face crops as `augment_faces` does, for networks that standardise by themselves.

    Args:
        levels: (image, 1, height, width) grey levels in [0, 255].
        side: Wanted height and width.
        how: How far.
        generator: Source of randomness.

    Returns:
        (image, 1, side, side) in [0, 255], middle grey where a part is hidden.
    """
    changed = _seen_otherwise(levels, side, how, generator)
    return _erase_some(changed - _MIDDLE, how.erased, generator) + _MIDDLE


_MIDDLE = 127.5


def _seen_otherwise(
    levels: Tensor, side: int, how: FaceAugmentation, generator: torch.Generator
) -> Tensor:
    """Flip, turn, shift, zoom, brighten and blur (image, 1, height, width) to (…, side, side)."""
    size = [len(levels), 1, side, side]
    grid = functional.affine_grid(_transforms(len(levels), how, generator), size, False)
    moved = functional.grid_sample(levels, grid, padding_mode="border", align_corners=False)
    moved = _blur_some(moved, how.blurred, generator)
    if how.lit > 0:
        moved = _light_some(moved, how.lit, generator)
    if how.noisy > 0:
        moved = _disturb_some(moved, how.noisy, generator)
    exponent = 2 ** (how.gamma * (2 * _uniform(len(levels), generator) - 1))
    return 255 * (moved / 255).clamp(1e-3, 1) ** exponent[:, None, None, None]


@dataclass(frozen=True)
class VoiceAugmentation:
    """How far the log spectrogram of a voice may be changed.

    Attributes:
        pitch: Factor on all frequencies, from and to: pitch and vocal tract together.
        speed: Factor on the speaking rate, from and to.
        noise_db: Level of noise under the clip's mean power, from and to.
        reverberant: Part of the batches heard in a room.
        hidden_bins: Widest band that is silenced, twice a clip (SpecAugment, arXiv:1904.08779).
        hidden_frames: Longest stretch that is silenced, twice a clip.
    """

    pitch: tuple[float, float] = (0.92, 1.09)
    speed: tuple[float, float] = (0.87, 1.15)
    noise_db: tuple[float, float] = (25.0, 85.0)
    reverberant: float = 0.15
    hidden_bins: int = 16
    hidden_frames: int = 20


def augment_voices(
    spectrograms: Tensor,
    lengths: Tensor,
    frames: int,
    how: VoiceAugmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Cut a piece of each clip, change speed and pitch, put it in a noisy room, hide parts.

    Args:
        spectrograms: (batch, frame, bin) log amplitudes; what is beyond a clip's length is ignored.
        lengths: (batch,) frames of each clip.
        frames: Longest wanted piece.
        how: How far.
        generator: Source of randomness.

    Returns:
        (batch, frames, bin) log amplitudes and (batch,) their lengths.
    """
    warped, lengths = _warp(spectrograms, lengths, frames, how, generator)
    power = (2 * warped).exp()
    if torch.rand(1, generator=generator) < how.reverberant:
        power = _reverberate(power, generator)
    power = power + _noise_power(power, lengths, how, generator)
    return _hide_some(0.5 * power.log(), how, generator), lengths


def mixup(batch: int, strength: float, generator: torch.Generator) -> tuple[Tensor, float]:
    """Draw the partners (batch,) and the weight of the first for mixing pairs.

    Zhang et al., "mixup" (ICLR 2018), with λ ~ Beta(strength, strength) and one λ a batch.
    """
    partners = torch.randperm(batch, generator=generator)
    shares = torch._standard_gamma(torch.full((2,), strength), generator=generator)
    return partners, float(shares[0] / shares.sum().clamp_min(1e-12))


def _warp(
    spectrograms: Tensor,
    lengths: Tensor,
    frames: int,
    how: VoiceAugmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Cut, stretch and transpose (batch, frame, bin); also the new lengths (batch,)."""
    batch, size, bins = spectrograms.shape
    speed = how.speed[0] + (how.speed[1] - how.speed[0]) * _uniform(batch, generator)
    pitch = how.pitch[0] + (how.pitch[1] - how.pitch[0]) * _uniform(batch, generator)
    left = (lengths / speed).long().clamp(1, frames)
    start = (lengths - left * speed).clamp_min(0) * _uniform(batch, generator)
    time = start[:, None] + torch.arange(frames) * speed[:, None]
    time = torch.minimum(time, lengths[:, None] - 1.0)
    frequency = torch.arange(bins) / pitch[:, None]
    grid = torch.stack(
        [
            (2 * frequency / (bins - 1) - 1)[:, None].expand(-1, frames, -1),
            (2 * time / max(1, size - 1) - 1)[:, :, None].expand(-1, -1, bins),
        ],
        dim=-1,
    )
    warped = functional.grid_sample(
        spectrograms[:, None], grid, padding_mode="border", align_corners=True
    )
    return warped[:, 0], left


def _reverberate(power: Tensor, generator: torch.Generator) -> Tensor:
    """Add to (batch, frame, bin) a decaying tail, 0.2 to 0.8 s until it is 60 dB down."""
    draw = torch.rand(2, generator=generator)
    decay_s, wet = 0.2 + 0.6 * draw[0], 0.02 + 0.2 * draw[1]
    tail = torch.exp(-math.log(1e6) * FRAME_HOP_S * torch.arange(30) / decay_s) * wet
    tail[0] = 1.0
    by_bin = functional.pad(power.transpose(1, 2).flatten(0, 1)[:, None], (29, 0))
    heard = functional.conv1d(by_bin, tail.flip(0)[None, None])
    return heard.view(power.shape[0], power.shape[2], -1).transpose(1, 2)


def _noise_power(
    power: Tensor, lengths: Tensor, how: VoiceAugmentation, generator: torch.Generator
) -> Tensor:
    """Noise (batch, frame, bin) whose spectrum falls or rises steadily, its power exponential."""
    batch, frames, bins = power.shape
    valid = torch.arange(frames) < lengths[:, None]
    mean = (power.mean(dim=2) * valid).sum(dim=1) / lengths
    below_db = how.noise_db[0] + (how.noise_db[1] - how.noise_db[0]) * _uniform(batch, generator)
    slope_db = 24 * _uniform(batch, generator) - 18
    colour_db = slope_db[:, None] * (torch.arange(bins) / bins - 0.5)
    level = mean[:, None] * 10 ** ((colour_db - below_db[:, None]) / 10)
    chance = -torch.rand(power.shape, generator=generator).clamp_min(1e-6).log()
    return level[:, None] * chance


def _hide_some(levels: Tensor, how: VoiceAugmentation, generator: torch.Generator) -> Tensor:
    """Silence bands and stretches of (batch, frame, bin)."""
    batch, frames, bins = levels.shape
    silent = torch.zeros(levels.shape, dtype=torch.bool)
    for _ in range(2):
        band = _stretches(batch, bins, how.hidden_bins, generator)
        stretch = _stretches(batch, frames, how.hidden_frames, generator)
        silent |= band[:, None, :] | stretch[:, :, None]
    return levels.masked_fill(silent, math.log(AMPLITUDE_FLOOR))


def _stretches(batch: int, size: int, longest: int, generator: torch.Generator) -> Tensor:
    """(batch, size) bool, true in one stretch of 0 to `longest` a row."""
    length = (longest + 1) * _uniform(batch, generator)
    start = (size - length) * _uniform(batch, generator)
    along = torch.arange(size)
    return (along >= start[:, None]) & (along < (start + length.floor())[:, None])


def _transforms(images: int, how: FaceAugmentation, generator: torch.Generator) -> Tensor:
    """Matrices (image, 2, 3) from output to input coordinates in [-1, 1]."""
    angle = math.radians(how.rotation_deg) * (2 * _uniform(images, generator) - 1)
    zoom = how.zoom[0] + (how.zoom[1] - how.zoom[0]) * _uniform(images, generator)
    flip = torch.where(_uniform(images, generator) < 0.5, -1.0, 1.0)
    shift = 2 * how.shift * (2 * torch.rand(images, 2, generator=generator) - 1)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    rows = [torch.stack([flip * cos, -sin], 1), torch.stack([flip * sin, cos], 1)]
    return torch.cat([torch.stack(rows, 1), shift[:, :, None]], 2)


def _blur_some(crops: Tensor, part: float, generator: torch.Generator) -> Tensor:
    """Halve the resolution of some of (image, 1, height, width)."""
    chosen = _uniform(len(crops), generator) < part
    if not chosen.any():
        return crops
    small = functional.avg_pool2d(crops[chosen], 2)
    blurred = functional.interpolate(small, crops.shape[2:], mode="bilinear")
    return crops.index_put((chosen,), blurred)


def _light_some(crops: Tensor, part: float, generator: torch.Generator) -> Tensor:
    """Light some of (image, 1, height, width) levels from a side of their own."""
    images, side = len(crops), crops.shape[-1]
    angle = 2 * math.pi * _uniform(images, generator)[:, None, None]
    dark = (1 - DARKEST) * _uniform(images, generator)[:, None, None]
    along = torch.linspace(-0.5, 0.5, side)
    way = (angle.cos() * along + angle.sin() * along[:, None]) / math.sqrt(2) + 0.5
    chosen = (_uniform(images, generator) < part)[:, None, None]
    return crops * torch.where(chosen, 1 - dark * way, 1.0)[:, None]


def _disturb_some(crops: Tensor, part: float, generator: torch.Generator) -> Tensor:
    """Add noise of each crop's own strength to some of (image, 1, height, width) levels."""
    images = len(crops)
    strength = NOISIEST * _uniform(images, generator) * (_uniform(images, generator) < part)
    noise = torch.randn(crops.shape, generator=generator)
    return crops + strength[:, None, None, None] * noise


def _erase_some(crops: Tensor, part: float, generator: torch.Generator) -> Tensor:
    """Hide a rectangle in some of (image, 1, height, width)."""
    images, side = len(crops), crops.shape[-1]
    size = side * (0.15 + 0.3 * torch.rand(images, 2, generator=generator))
    start = (side - size) * torch.rand(images, 2, generator=generator)
    along = torch.arange(side)
    inside = (along >= start[..., None]) & (along < (start + size)[..., None])
    hidden = inside[:, 0, :, None] & inside[:, 1, None, :]
    hidden &= (_uniform(images, generator) < part)[:, None, None]
    return crops.masked_fill(hidden[:, None], 0.0)


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    """Draw (count,) numbers in [0, 1)."""
    return torch.rand(count, generator=generator)
