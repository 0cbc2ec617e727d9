import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from emotion import InputError
from emotion.calibration import calibrated_probabilities, fit_temperature


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
