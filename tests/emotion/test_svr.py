"""The hand-made features of voice and face, and the regression over their windows."""

from itertools import product

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from emotion import InputError, checkpoint
from emotion.errors import CheckpointError
from emotion.models.svr import (
    UNIFORM_PATTERNS,
    WindowedSVR,
    WindowedSVRConfig,
    lbp_top,
    low_level_egemaps,
    over_windows,
)

CONFIG = WindowedSVRConfig(window=5)


@pytest.fixture
def recordings():
    """Two recordings (step, feature) whose windows tell two dimensions, with some noise."""
    generator = np.random.default_rng(1)
    levels = [100 + generator.standard_normal((80, 3)).cumsum(axis=0) for _ in range(2)]
    weight = generator.standard_normal((6, 2))
    truth = [over_windows(x, 5, spread=True) @ weight for x in levels]
    truth = [t + 0.1 * generator.standard_normal(t.shape) for t in truth]
    return levels, truth


# -------------------------------------------------------------------------- windows


@pytest.mark.parametrize("window", [1, 5, 31, 999])
def test_windows_are_means_and_deviations_of_what_is_there(window):
    rows = np.random.default_rng(1).standard_normal((40, 3)) + 1000
    found = over_windows(rows, window, spread=True)
    for step in range(40):
        near = rows[max(0, step - window // 2) : step + window // 2 + 1]
        np.testing.assert_allclose(found[step, :3], near.mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(found[step, 3:], near.std(axis=0), atol=1e-6)


def test_no_steps_are_refused():
    with pytest.raises(InputError, match=r"got shape \(0, 3\)"):
        over_windows(np.zeros((0, 3)), 5, spread=True)


# --------------------------------------------------------------------------- voices


def test_low_level_descriptors_follow_the_voice(buzz):
    pytest.importorskip("opensmile")
    voice = buzz(1.0)
    voice[:8000] *= 0.05
    levels = low_level_egemaps(voice, 640)
    assert levels.shape == (25, 25)
    assert np.isfinite(levels).all()
    assert levels[14:22, 0].min() > 2 * levels[2:10, 0].max()  # the first is loudness


# ---------------------------------------------------------------------------- faces


def test_there_are_58_uniform_patterns():
    assert UNIFORM_PATTERNS.max() == 58
    assert np.bincount(UNIFORM_PATTERNS).tolist() == [1] * 58 + [256 - 58]
    assert len({UNIFORM_PATTERNS[p] for p in (0, 255, 0b00011100, 0b11000001)}) == 4
    assert UNIFORM_PATTERNS[0b01010101] == 58


def test_patterns_are_counted_as_the_paper_says():
    """Literally: each pixel, each plane, each neighbour, walking around the pixel."""
    grey = np.random.default_rng(1).integers(0, 5, (4, 8, 7)).astype(np.uint8)
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    wanted = np.zeros((2, 3, 4, 59))
    for t, y, x in product(range(1, 3), range(1, 7), range(1, 6)):
        block = (y - 1) * 2 // 6 * 2 + (x - 1) * 2 // 5
        for plane, (first, second) in enumerate(((1, 2), (0, 2), (0, 1))):
            bits = []
            for a, b in ring:
                place = [t, y, x]
                place[first] += a
                place[second] += b
                bits.append(int(grey[tuple(place)] >= grey[t, y, x]))
            pattern = sum(bit << k for k, bit in enumerate(bits))
            wanted[t - 1, plane, block, UNIFORM_PATTERNS[pattern]] += 1
    wanted /= wanted.sum(axis=3, keepdims=True)
    np.testing.assert_allclose(lbp_top(grey, 2), wanted.reshape(2, -1), atol=1e-6)


def test_patterns_do_not_depend_on_brightness():
    grey = np.random.default_rng(1).integers(0, 100, (5, 12, 12)).astype(np.uint8)
    assert np.array_equal(lbp_top(grey, 2), lbp_top(2 * grey + 30, 2))


@pytest.mark.parametrize("shape", [(2, 12, 12), (5, 3, 12), (5, 12)])
def test_too_little_to_count_is_refused(shape):
    with pytest.raises(InputError, match="Expected at least 3 steps of 4 pixels"):
        lbp_top(np.zeros(shape, np.uint8), 2)


# ----------------------------------------------------------------------- regression


def test_the_machine_is_scikit_learns(recordings):
    levels, truth = recordings
    model = WindowedSVR.fit(CONFIG, levels, truth, [0.01, 0.1])
    rows = np.concatenate([over_windows(x, 5, spread=True) for x in levels])
    scaler = StandardScaler().fit(rows)
    for d, cost in enumerate((0.01, 0.1)):
        machine = LinearSVR(
            C=cost, loss="squared_epsilon_insensitive", dual=False, intercept_scaling=100.0
        ).fit(scaler.transform(rows), np.concatenate(truth)[:, d])
        wanted = machine.predict(scaler.transform(over_windows(levels[0], 5, spread=True)))
        np.testing.assert_allclose(model.rate(levels[0])[:, d], wanted, atol=1e-9)


def test_it_learns_and_its_checkpoint_round_trips(recordings, tmp_path):
    levels, truth = recordings
    model = WindowedSVR.fit(CONFIG, levels[:1], truth[:1], [0.1, 0.1], every=2)
    said = model.rate(levels[1])
    assert min(np.corrcoef(said[:, d], truth[1][:, d])[0, 1] for d in range(2)) > 0.9
    model.save(tmp_path, training={"recipe": "svr-audio"})
    again = WindowedSVR.load(tmp_path)
    assert again.config == CONFIG
    assert np.array_equal(again.rate(levels[1]), said)


def test_other_features_are_refused(recordings):
    levels, truth = recordings
    model = WindowedSVR.fit(CONFIG, levels, truth, [0.1, 0.1])
    with pytest.raises(InputError, match=r"windows of 6 features, got shape \(80, 4\)"):
        model.rate(levels[0][:, :2])


def test_another_checkpoint_is_refused():
    with pytest.raises(CheckpointError, match="Expected a WindowedSVR"):
        WindowedSVR.load(checkpoint.bundled("voice"))


@pytest.mark.parametrize(
    "change", [{"window": 4}, {"features": "mfcc"}, {"blocks": 50}, {"dimensions": ()}]
)
def test_a_configuration_that_makes_no_sense_is_refused(change):
    with pytest.raises(ValueError, match="Expected"):
        WindowedSVRConfig(**change)
