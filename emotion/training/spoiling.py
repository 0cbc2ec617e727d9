"""Faces and voices that say little or nothing: what a camera in the dark and a bad line give.

The fusion is trained to look away from them, and tried on them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["blurred", "coloured_noise", "noise_pictures", "noisy"]

Waveform = npt.NDArray[np.float32]

QUIETEST = 1e-4


def noisy(
    waveform: Waveform, snr_db: float, slope_db: float, generator: torch.Generator
) -> Waveform:
    """Add noise to a voice.

    Args:
        waveform: (sample,) in [-1, 1].
        snr_db: Mean power of the voice over that of the noise, in decibels.
        slope_db: Colour of the noise, in decibels an octave: 0 white, -3 pink, -6 brown.
        generator: Source of randomness.

    Returns:
        (sample,), made quieter where it would clip.
    """
    noise = coloured_noise(len(waveform), slope_db, generator)
    level = max(float(np.sqrt(np.mean(np.square(waveform)))), QUIETEST)
    mixed = waveform + noise * np.float32(level * 10 ** (-snr_db / 20))
    unclipped: Waveform = (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)
    return unclipped


def coloured_noise(samples: int, slope_db: float, generator: torch.Generator) -> Waveform:
    """Gaussian noise (sample,) of mean power 1 whose spectrum falls by `slope_db` an octave."""
    white = torch.randn(samples, generator=generator)
    spectrum = torch.fft.rfft(white)
    octaves = torch.arange(1, len(spectrum) + 1).log2()
    coloured = torch.fft.irfft(spectrum * 10 ** (slope_db * octaves / 20), n=samples)
    found: Waveform = (coloured / coloured.square().mean().sqrt()).numpy().astype(np.float32)
    return found


def noise_pictures(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Grey levels (picture, 1, side, side), each independent and uniform in [0, 255]."""
    return 255 * torch.rand(count, 1, side, side, generator=generator)


def blurred(levels: Tensor, deviation: float) -> Tensor:
    """Blur (picture, 1, height, width) by a Gaussian of that deviation in pixels."""
    reach = round(3 * deviation)
    along = torch.arange(-reach, reach + 1) / deviation
    kernel = torch.softmax(-0.5 * along.square(), dim=0)
    framed = functional.pad(levels, [reach] * 4, mode="replicate")
    across = functional.conv2d(framed, kernel[None, None, None])
    return functional.conv2d(across, kernel[None, None, :, None])
