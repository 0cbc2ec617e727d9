"""The log spectrogram the voice models see.

Zhang, Du, Wang & Zhang, "Attention Based Fully Convolutional Network for Speech Emotion
Recognition" (arXiv:1806.01506), section 2: Hamming window of 40 ms, hop of 10 ms, DFT of 800 points
at 16 kHz, of which the lowest 200 bins (0-4 kHz) are kept.
"""

from __future__ import annotations

from functools import cache

import torch
import torchaudio
from torch import Tensor
from torch.nn import functional

from emotion.errors import InputError

__all__ = [
    "AMPLITUDE_FLOOR",
    "BINS",
    "DFT_SAMPLES",
    "FRAME_HOP_S",
    "SAMPLES_PER_HOP",
    "SAMPLES_PER_WINDOW",
    "SAMPLE_RATE_HZ",
    "WINDOW_S",
    "frame_count",
    "log_spectrogram",
]

SAMPLE_RATE_HZ = 16_000
WINDOW_S = 0.04
FRAME_HOP_S = 0.01
DFT_SAMPLES = 800
BINS = 200
"""Bins of 20 Hz from 0 Hz up: 0-4 kHz."""
AMPLITUDE_FLOOR = 1e-5
"""Amplitudes below are raised to it before the logarithm; a full-scale sine reaches about 170."""

SAMPLES_PER_WINDOW = round(SAMPLE_RATE_HZ * WINDOW_S)
SAMPLES_PER_HOP = round(SAMPLE_RATE_HZ * FRAME_HOP_S)
_PADDING = (DFT_SAMPLES - SAMPLES_PER_WINDOW) // 2


def frame_count(samples: int) -> int:
    """How many whole frames fit into so many samples at 16 kHz.

    >>> frame_count(639), frame_count(640), frame_count(800)
    (0, 1, 2)
    """
    return max(0, 1 + (samples - SAMPLES_PER_WINDOW) // SAMPLES_PER_HOP)


def log_spectrogram(waveform: Tensor) -> Tensor:
    """Natural logarithm of the amplitude of the lowest 200 bins.

    Frame i covers samples [160 i, 160 i + 640) and nothing else, so a signal cut into pieces that
    overlap by 480 samples gives the same frames as the whole.

    Args:
        waveform: (batch, sample) in [-1, 1] at 16 kHz.

    Returns:
        (batch, frame, bin) float32; no frame where there are fewer than 640 samples.

    Raises:
        InputError: If the waveform does not have two axes.
    """
    if waveform.ndim != 2:
        raise InputError(f"Expected a waveform (batch, sample), got shape {tuple(waveform.shape)}.")
    if frame_count(waveform.shape[1]) == 0:
        return waveform.new_zeros((waveform.shape[0], 0, BINS), dtype=torch.float32)
    # torchaudio centres the window in the DFT; padded, a frame starts where its window does
    padded = functional.pad(waveform.float(), (_PADDING, _PADDING))
    amplitude: Tensor = _transform(waveform.device)(padded)[:, :BINS]
    return amplitude.clamp_min(AMPLITUDE_FLOOR).log().transpose(1, 2)


@cache
def _transform(device: torch.device) -> torch.nn.Module:
    transform: torch.nn.Module = torchaudio.transforms.Spectrogram(
        n_fft=DFT_SAMPLES,
        win_length=SAMPLES_PER_WINDOW,
        hop_length=SAMPLES_PER_HOP,
        window_fn=torch.hamming_window,
        power=1.0,
        center=False,
    )
    return transform.to(device)
