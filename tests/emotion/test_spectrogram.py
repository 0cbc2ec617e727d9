import numpy as np
import pytest
import torch

from emotion import InputError
from emotion.speech.spectrogram import (
    AMPLITUDE_FLOOR,
    BINS,
    SAMPLES_PER_HOP,
    SAMPLES_PER_WINDOW,
    frame_count,
    log_spectrogram,
)


def literal(waveform):
    """The definition, one frame after the other, in float64."""
    n = np.arange(640)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * n / 640)
    rows = []
    for start in range(0, len(waveform) - 639, 160):
        spectrum = np.fft.rfft(waveform[start : start + 640] * window, 800)
        rows.append(np.log(np.maximum(np.abs(spectrum[:200]), AMPLITUDE_FLOOR)))
    return np.array(rows)


@pytest.fixture
def noise():
    return 0.1 * np.random.default_rng(1).standard_normal(8000)


def test_it_is_the_definition(noise):
    ours = log_spectrogram(torch.from_numpy(noise)[None])[0]
    np.testing.assert_allclose(ours.numpy(), literal(noise), atol=2e-4)


def test_the_sizes_are_those_of_the_paper():
    assert (SAMPLES_PER_WINDOW, SAMPLES_PER_HOP, BINS) == (640, 160, 200)


@pytest.mark.parametrize("chunk", [160, 480, 1600])
def test_pieces_give_the_frames_of_the_whole(noise, chunk):
    waveform = torch.from_numpy(noise)[None].float()
    whole = log_spectrogram(waveform)[0]
    pieces, start = [], 0
    while start < len(whole):
        frames = chunk // 160
        samples = waveform[:, start * 160 : start * 160 + (frames - 1) * 160 + 640]
        pieces.append(log_spectrogram(samples)[0])
        start += frames
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [0, 1, 639, 640, 799, 800, 16_000])
def test_short_signals_have_the_frames_that_fit(samples):
    assert log_spectrogram(torch.zeros(2, samples)).shape == (2, frame_count(samples), BINS)


def test_silence_is_the_floor():
    silent = log_spectrogram(torch.zeros(1, 1600))
    torch.testing.assert_close(silent, torch.full_like(silent, float(np.log(AMPLITUDE_FLOOR))))


def test_a_wrong_shape_is_refused_in_words():
    with pytest.raises(InputError, match=r"\(batch, sample\), got shape \(3,\)"):
        log_spectrogram(torch.zeros(3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_says_the_same(noise):
    waveform = torch.from_numpy(noise)[None].float()
    there = log_spectrogram(waveform.cuda()).cpu()
    torch.testing.assert_close(there, log_spectrogram(waveform), atol=1e-3, rtol=1e-3)
