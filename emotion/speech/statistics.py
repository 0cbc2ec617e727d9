"""Statistics of an utterance: how its spectrum, its cepstra, its pitch and its loudness vary.

The functionals of computational paralinguistics (Eyben et al., "The Geneva Minimalistic Acoustic
Parameter Set", IEEE Transactions on Affective Computing 2016) computed from the log spectrogram
that the networks see, so that they need neither another library nor the sound itself: whatever a
live system can hear it can also measure.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import torch
import torchaudio
from torch import Tensor

from emotion.speech.spectrogram import (
    BINS,
    DFT_SAMPLES,
    FRAME_HOP_S,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_WINDOW,
)

__all__ = ["LOUDNESS", "STATISTICS", "gain_of_statistics", "utterance_statistics"]

BANDS = 40
CEPSTRA = 20
DYNAMIC_RANGE_NEPER = 80 / 8.685889638065037
SPEECH_NEPER = 35 / 8.685889638065037
"""Frames less than 35 dB below the loudest are speech; from the first to the last is the clip."""
QUANTILES = (0.05, 0.2, 0.5, 0.8, 0.95)
MODULATIONS_HZ = (0.3, 1.5, 3.0, 6.0, 10.0, 20.0)
MODULATION_BANDS = 8
MODULATION_FRAMES = 4096
LONGEST_LAG, SHORTEST_LAG = 267, 32
"""Samples at 16 kHz: pitch from 60 to 500 Hz."""
VOICED = 0.55
"""Frames whose autocorrelation at the pitch is above are voiced."""

_EACH = len(QUANTILES) + 5
_QUANTILES_AT = slice(2, 2 + len(QUANTILES))
STATISTICS = (
    (BANDS + CEPSTRA + 2) * _EACH
    + (len(MODULATIONS_HZ) - 1) * MODULATION_BANDS
    + BANDS
    + CEPSTRA
    + 7
)
"""How many numbers describe an utterance."""
LOUDNESS = STATISTICS - 1
"""Index of the mean level of speech in neper."""


def utterance_statistics(spectrogram: Tensor, lengths: Tensor) -> Tensor:
    """Describe clips; one clip's numbers do not depend on the others in its batch.

    Args:
        spectrogram: (batch, frame, bin) of `log_spectrogram`.
        lengths: (batch,) frames that count in each clip.

    Returns:
        (batch, STATISTICS) float32, not normalised. Over the frames of speech, of 40 mel bands
        and 20 cepstra: mean, deviation, five quantiles, the range between the second and the
        fourth, deviation and mean size of the change from frame to frame. The same of pitch in
        semitones and harmonicity in dB over voiced frames. How strongly eight bands are modulated
        at 0.3 to 20 Hz; the cepstra's slopes; levels of voiced frames; part of speech and of
        voice; duration; loudness.
    """
    inside, speech, loudest, energy = _speech(spectrogram.float(), lengths)
    level = (spectrogram.float() - loudest[:, None, None]).clamp_min(-DYNAMIC_RANGE_NEPER)
    power = (2 * level).exp() * inside[..., None]
    bands = 0.5 * (power @ _mel(level.device)).clamp_min(1e-8).log()
    cepstra = bands @ _cosines(level.device)
    pitch, harmonicity, voicing = _pitch(power)
    voiced = speech & (voicing > VOICED)
    voiced = torch.where(voiced.sum(1, keepdim=True) < _FEWEST_VOICED, speech, voiced)
    both = torch.stack([pitch, harmonicity], 2)
    described = [
        *(_described(bands, speech), _described(cepstra, speech), _described(both, voiced)),
        *(_modulation(bands, inside), _slope(cepstra, speech)),
        _mean(bands, voiced) - _mean(bands, speech),
        *(_slope(pitch[..., None], voiced), _mean(harmonicity[..., None], speech)),
        _durations(inside, speech, voiced),
        _mean((energy - loudest[:, None])[..., None], speech),
    ]
    return torch.cat(described, 1) + loudest[:, None] * gain_of_statistics(level.device)


@cache
@torch.inference_mode(False)  # else what is made while inferring would bar gradients for good
def gain_of_statistics(device: torch.device) -> Tensor:
    """How far each of the statistics (statistic,) rises where all sound is louder by a neper."""
    levels = torch.zeros(_EACH, device=device)
    levels[0] = levels[_QUANTILES_AT] = 1.0
    of_bands = levels[:, None].expand(-1, BANDS)
    of_cepstra = torch.zeros(_EACH, CEPSTRA, device=device)
    of_cepstra[:, 0] = BANDS**0.5 * levels  # what is the same in all bands is the first cepstrum
    gain = torch.zeros(STATISTICS, device=device)
    gain[: _EACH * (BANDS + CEPSTRA)] = torch.cat([of_bands.flatten(), of_cepstra.flatten()])
    gain[LOUDNESS] = 1.0
    return gain


_FEWEST_VOICED = 5


def _speech(spectrogram: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Masks (batch, frame) of the clip without silence around it and of speech in it.

    Also the loudest point (batch,) and the level (batch, frame) of each frame, in neper.
    """
    time = torch.arange(spectrogram.shape[1], device=spectrogram.device)
    real = time < lengths[:, None]
    energy = 0.5 * (2 * spectrogram).exp().sum(2).log()
    top = energy.masked_fill(~real, -torch.inf).amax(1, keepdim=True)
    speech = real & (energy > top - SPEECH_NEPER)
    first = speech.int().argmax(1, keepdim=True)
    last = time[-1] - speech.int().flip(1).argmax(1, keepdim=True)
    loudest = spectrogram.masked_fill(~real[..., None], -torch.inf).amax((1, 2))
    return (time >= first) & (time <= last), speech, loudest, energy


def _described(values: Tensor, mask: Tensor) -> Tensor:
    """Ten statistics of each value (batch, frame, value) where mask (batch, frame) is true."""
    mean = _mean(values, mask)
    spread = _mean((values - mean[:, None]).square(), mask).add(1e-6).sqrt()
    change, both = values.diff(dim=1), mask[:, 1:] & mask[:, :-1]
    rate = _mean(change.square(), both).add(1e-6).sqrt()
    size = _mean(change.abs(), both)
    quantiles = _quantiles(values, mask)
    interval = quantiles[:, -2] - quantiles[:, 1]
    return torch.cat([mean, spread, quantiles.flatten(1), interval, rate, size], 1)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean (batch, value) of (batch, frame, value) where mask (batch, frame) is true; else 0."""
    return (values * mask[..., None]).sum(1) / mask.sum(1).clamp_min(1)[:, None]


def _quantiles(values: Tensor, mask: Tensor) -> Tensor:
    """(batch, quantile, value) of (batch, frame, value), linear between neighbours."""
    last = (mask.sum(1) - 1)[:, None]
    ordered = values.masked_fill(~mask[..., None], torch.inf).sort(1).values
    place = torch.tensor(QUANTILES, device=values.device) * last
    below = place.floor().long()
    above = torch.minimum(below + 1, last)

    def at(index: Tensor) -> Tensor:
        return ordered.gather(1, index[..., None].expand(-1, -1, values.shape[2]))

    return at(below).lerp(at(above), (place - below)[..., None])


def _slope(values: Tensor, mask: Tensor) -> Tensor:
    """Change (batch, value) of (batch, frame, value) a second, by least squares."""
    time = FRAME_HOP_S * torch.arange(values.shape[1], device=values.device)
    time = time[:, None] - _mean(time.expand(len(values), -1)[..., None], mask)[:, None]
    spread = _mean(time.square(), mask).clamp_min(1e-4)
    return _mean(values * time, mask) / spread


def _modulation(bands: Tensor, inside: Tensor) -> Tensor:
    """Log power (batch, rate x band) of how strongly bands (batch, frame, band) come and go."""
    grouped = bands.reshape(*bands.shape[:2], MODULATION_BANDS, -1).mean(3)
    centred = (grouped - _mean(grouped, inside)[:, None]) * inside[..., None]
    spectrum = torch.fft.rfft(centred, n=MODULATION_FRAMES, dim=1).abs().square()
    rate_hz = torch.fft.rfftfreq(MODULATION_FRAMES, FRAME_HOP_S, device=bands.device)
    edges = pairwise(MODULATIONS_HZ)
    found = [spectrum[:, (rate_hz >= low) & (rate_hz < high)].mean(1) for low, high in edges]
    return (torch.cat(found, 1) / inside.sum(1)[:, None] + 1e-4).log()


def _pitch(power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pitch in semitones, harmonicity in dB and autocorrelation (batch, frame) of power (…, bin).

    The power spectrum's inverse transform is the autocorrelation, divided by the window's own
    (Boersma 1993); short lags are preferred slightly, against errors of an octave.
    """
    full = torch.nn.functional.pad(power, (0, DFT_SAMPLES // 2 + 1 - BINS))
    found = torch.fft.irfft(full, n=DFT_SAMPLES)[..., : DFT_SAMPLES // 2]
    found = found / found[..., :1].clamp_min(1e-9) / _window_correlation(power.device)
    lags = torch.arange(SHORTEST_LAG, LONGEST_LAG, device=power.device)
    liked = found[..., SHORTEST_LAG:LONGEST_LAG] - _OCTAVE_COST * (lags - SHORTEST_LAG)
    best = liked.argmax(-1) + SHORTEST_LAG
    left, middle, right = (found.gather(-1, best[..., None] + i)[..., 0] for i in (-1, 0, 1))
    shift = 0.5 * (left - right) / (left - 2 * middle + right).clamp_max(-1e-6)
    period = best + shift.clamp(-0.5, 0.5)
    voicing = middle.clamp(1e-3, 0.995)
    harmonicity = 10 * torch.log10(voicing / (1 - voicing))
    return 12 * torch.log2(SAMPLE_RATE_HZ / period / _LOWEST_HZ), harmonicity, voicing


_OCTAVE_COST = 0.0006
_LOWEST_HZ = 27.5


def _durations(inside: Tensor, speech: Tensor, voiced: Tensor) -> Tensor:
    """Part of speech in the clip, log of its seconds, the clip's seconds, part of voice in it."""
    count, spoken = inside.sum(1).float(), speech.sum(1).float()
    seconds = FRAME_HOP_S * count
    columns = [spoken / count, (FRAME_HOP_S * spoken).log(), seconds, voiced.sum(1) / spoken]
    return torch.stack(columns, 1)


@cache
@torch.inference_mode(False)
def _mel(device: torch.device) -> Tensor:
    """Triangles (bin, band) from 20 Hz to 4 kHz."""
    top_hz = BINS * SAMPLE_RATE_HZ / DFT_SAMPLES
    banks: Tensor = torchaudio.functional.melscale_fbanks(
        DFT_SAMPLES // 2 + 1, 20.0, top_hz, BANDS, SAMPLE_RATE_HZ
    )
    return banks[:BINS].to(device)


@cache
@torch.inference_mode(False)
def _cosines(device: torch.device) -> Tensor:
    """Discrete cosine transform (band, cepstrum)."""
    matrix: Tensor = torchaudio.functional.create_dct(CEPSTRA, BANDS, "ortho")
    return matrix.to(device)


@cache
@torch.inference_mode(False)
def _window_correlation(device: torch.device) -> Tensor:
    """Autocorrelation (lag,) of the analysis window, 1 at lag 0."""
    window = torch.hamming_window(SAMPLES_PER_WINDOW, dtype=torch.float64)
    power = torch.fft.rfft(window, n=2 ** math.ceil(math.log2(2 * len(window)))).abs().square()
    found = torch.fft.irfft(power)[: DFT_SAMPLES // 2]
    correlation: Tensor = (found / found[0]).clamp_min(0.05)
    return correlation.float().to(device)
