import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from emotion import InputError
from emotion.calibration import (
    calibrated_probabilities,
    cross_fitted,
    evidence,
    fit_temperature,
    majority,
)


@pytest.fixture
def overconfident():
    """Logits three times as large as the labels, drawn from them, deserve."""
    generator = np.random.default_rng(1)
    logits = generator.standard_normal((4000, 7))
    labels = [generator.choice(7, p=row) for row in softmax(logits, axis=1)]
    return 3 * logits, np.eye(7)[labels]


def test_probabilities_are_the_softmax():
    logits = np.random.default_rng(1).standard_normal((5, 7)) * 50
    ours = calibrated_probabilities(logits, 1.7)
    np.testing.assert_allclose(ours, softmax(logits / 1.7, axis=1), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-6)


def test_the_temperature_is_found(overconfident):
    assert fit_temperature(*overconfident) == pytest.approx(3, rel=0.05)


def test_it_is_where_scipy_finds_it(overconfident):
    logits, targets = overconfident
    found = minimize_scalar(
        lambda t: -(targets * log_softmax(logits / t, axis=1)).sum(),
        bounds=(0.5, 10),
        method="bounded",
        options={"xatol": 1e-8},
    )
    assert fit_temperature(logits, targets) == pytest.approx(found.x, rel=1e-4)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_positive(temperature):
    with pytest.raises(InputError, match="positive temperature, got"):
        calibrated_probabilities([0.0], temperature)


@pytest.mark.parametrize("shape", [(0, 7), (3,), (3, 6)])
def test_what_does_not_fit_is_refused(shape):
    with pytest.raises(InputError, match="Expected logits and targets"):
        fit_temperature(np.zeros(shape), np.zeros((3, 7)))


def test_the_majority_is_what_most_chose_and_no_tie():
    generator = np.random.default_rng(1)
    votes = generator.multinomial(10, np.full(7, 1 / 7), size=300)
    labels, certain = majority(votes / 10)
    for row, label, alone in zip(votes.tolist(), labels, certain, strict=True):
        assert row[label] == max(row)
        assert alone == (row.count(max(row)) == 1)
    assert not majority(np.zeros((2, 7)))[1].any()


def test_a_clip_goes_by_what_it_believes():
    trust = [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.9, 0.3], [0.2, 0.1]]
    assert evidence(trust).tolist() == ["both", "face", "voice", "face", "face"]


def test_a_temperature_is_never_fitted_on_who_is_scored():
    generator = np.random.default_rng(1)
    truth = np.tile(np.arange(7), 20)
    groups = np.repeat([0, 1], 70)
    logits = (np.eye(7)[truth] + generator.standard_normal((140, 7))).astype(np.float32)
    before = cross_fitted(logits, truth, groups)
    logits[groups == 1] *= 100  # changes the temperature for group 0 only
    after = cross_fitted(logits, truth, groups)
    assert not np.allclose(before[groups == 0], after[groups == 0])
    np.testing.assert_allclose(before.sum(axis=1), 1, atol=1e-5)
