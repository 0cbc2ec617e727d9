import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from emotion import checkpoint
from emotion.models.attention_fcn import AttentionFCN, AttentionFCNConfig, ConvLayer
from emotion.models.face_cnn import FaceCNN, FaceCNNConfig
from emotion.models.fusion import GatedFBP, GatedFBPConfig
from emotion.scoring import score
from emotion.training.loop import step_generator
from emotion.training.paired_views import CONDITIONS, attention_auc
from emotion.training.spoiling import blurred, coloured_noise, noise_pictures, noisy

RATE_HZ = 16_000


@pytest.mark.parametrize("snr_db", [20.0, 0.0, -10.0])
def test_noise_is_as_loud_as_was_asked(snr_db):
    voice = 0.05 * np.sin(np.arange(RATE_HZ) / 10).astype(np.float32)
    mixed = noisy(voice, snr_db, 0.0, step_generator(1))
    gain = np.dot(mixed, voice) / np.dot(voice, voice)  # what would clip is made quieter as a whole
    noise = mixed - gain * voice
    measured = 10 * np.log10(np.mean((gain * voice) ** 2) / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=0.5)
    assert np.abs(mixed).max() <= 1
    assert mixed.dtype == np.float32


@pytest.mark.parametrize("slope_db", [0.0, -3.0, -6.0])
def test_the_spectrum_falls_by_so_much_an_octave(slope_db):
    noise = coloured_noise(4 * RATE_HZ, slope_db, step_generator(1))
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [10 * np.log10(power[2**k : 2 ** (k + 1)].mean()) for k in range(8, 14)]
    assert np.diff(octaves).mean() == pytest.approx(slope_db, abs=0.4)
    assert np.mean(noise**2) == pytest.approx(1, rel=1e-3)


def test_blur_is_a_gaussian_and_keeps_what_is_even():
    point = torch.zeros(1, 1, 33, 33)
    point[0, 0, 16, 16] = 1
    spread = blurred(point, 2.0)[0, 0]
    assert spread.sum() == pytest.approx(1, abs=1e-4)
    assert (spread[16, 18] / spread[16, 16]).log() == pytest.approx(
        -(2**2) / (2 * 2.0**2), abs=1e-3
    )
    even = torch.full((1, 1, 8, 8), 3.0)
    torch.testing.assert_close(blurred(even, 2.0), even)


def test_noise_fills_the_range_of_grey():
    pictures = noise_pictures(3, 48, step_generator(1))
    assert pictures.shape == (3, 1, 48, 48)
    assert pictures.min() >= 0
    assert pictures.max() <= 255
    assert pictures.mean() == pytest.approx(127.5, abs=3)


def test_the_auc_of_attention_is_scikit_learns():
    generator = step_generator(1)
    weights = torch.rand(20, 6, generator=generator)
    expressive = torch.rand(20, 6, generator=generator) < 0.5
    mask = torch.arange(6) < 5
    expressive &= mask
    found = attention_auc(weights, expressive, mask.expand(20, -1))
    for clip in range(20):
        told = expressive[clip, :5]
        if told.all() or not told.any():
            assert found[clip].isnan()
        else:
            assert found[clip] == pytest.approx(roc_auc_score(told, weights[clip, :5]))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Small networks with random weights that fit each other."""
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        face = FaceCNN(FaceCNNConfig(stem=4, widths=(8,), blocks=(1,)))
        voice = AttentionFCN(AttentionFCNConfig((ConvLayer(4, 5, 4),), attention_hidden=4))
        fusion = GatedFBP(GatedFBPConfig(frame_features=8, voice_features=4, outputs=8))
    facts = {"temperature": {"fer2013": 1.0, "ferplus": 1.0}}
    checkpoint.save(folder / "face", face, face.config, training=facts)
    people = {"speakers": ["ravdess:01"], "held_out_speakers": ["ravdess:02", "ravdess:03"]}
    facts = {"temperature": 1.0, "corpora": ["ravdess"]} | people
    checkpoint.save(folder / "voice", voice, voice.config, training=facts)
    own = {"face": 1.0, "voice": 2.0, "both": 3.0}
    facts = {"temperature_without": {"ravdess:02": own, "ravdess:03": own}}
    facts["encoders"] = {part: checkpoint.digest(folder / part) for part in ("face", "voice")}
    checkpoint.save(folder / "fusion", fusion, fusion.config, training=facts)
    return folder


def test_every_condition_is_scored_against_the_better_single_model(
    models, tmp_path, write_ravdess, write_fer2013
):
    root = write_ravdess(tmp_path, actors=(1, 2, 3))
    write_fer2013(root, "PublicTest", pictures=28)
    found = score("paired", root, model=models, seeds=[models])
    assert json.loads(json.dumps(found)) == found
    assert found["speakers"] == ["ravdess:02", "ravdess:03"]
    assert list(found["conditions"]) == list(CONDITIONS)
    for name, row in found["conditions"].items():
        left = "voice" if name.startswith("face") else "face"
        alone = {"face": "fusion_without_voice", "voice": "fusion_without_face"}[left]
        head = {"face": "face_head_averaged_over_frames", "voice": "voice_head"}[left]
        best = max(found[single]["uar"]["value"] for single in (alone, head))
        assert found[row["single"]]["uar"]["value"] == best
        over = row["uar"]["value"] - best
        assert row["uar_over_single"] == pytest.approx(over, abs=1e-3)
    assert 0 <= found["attention_auc"] <= 1
    assert found["spread"]["uar"]["deviation"] == 0
