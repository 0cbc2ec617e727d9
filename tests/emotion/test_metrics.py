import numpy as np
import pytest
from sklearn import metrics as reference

from emotion import InputError
from emotion.metrics import (
    accuracy_of_surest,
    calibration_errors_by_chance,
    concordance,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    recalls,
    unweighted_average_recall,
    weighted_accuracy,
)

TOLERANCE = {"rel": 1e-12, "abs": 1e-12}


@pytest.fixture(params=range(5))
def labels(request):
    generator = np.random.default_rng(request.param)
    truth = generator.integers(0, 7, 200)
    said = np.where(generator.random(200) < 0.6, truth, generator.integers(0, 7, 200))
    return truth, said


def test_confusion_is_scikit_learns(labels):
    ours = confusion_matrix(*labels)
    assert ours.tolist() == reference.confusion_matrix(*labels, labels=range(7)).tolist()


def test_the_averages_are_scikit_learns(labels):
    confusion = confusion_matrix(*labels)
    assert weighted_accuracy(confusion) == pytest.approx(
        reference.accuracy_score(*labels), **TOLERANCE
    )
    assert unweighted_average_recall(confusion) == pytest.approx(
        reference.balanced_accuracy_score(*labels), **TOLERANCE
    )
    assert macro_f1(confusion) == pytest.approx(
        reference.f1_score(*labels, average="macro"), **TOLERANCE
    )
    assert recalls(confusion) == pytest.approx(
        reference.recall_score(*labels, average=None), **TOLERANCE
    )


def test_a_class_that_does_not_occur_counts_in_no_mean():
    confusion = confusion_matrix([0, 0, 1, 1], [0, 2, 1, 1])
    assert unweighted_average_recall(confusion) == 0.75
    assert macro_f1(confusion) == pytest.approx((2 / 3 + 1) / 2, **TOLERANCE)
    assert np.isnan(recalls(confusion)[2])


def textbook_concordance(x, y):
    """Lin's eq. with sums written out."""
    n = len(x)
    mx, my = sum(x) / n, sum(y) / n
    sxy = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / n
    sxx = sum((a - mx) ** 2 for a in x) / n
    syy = sum((b - my) ** 2 for b in y) / n
    return 2 * sxy / (sxx + syy + (mx - my) ** 2)


@pytest.mark.parametrize("seed", range(5))
def test_concordance_is_lins(seed):
    x, noise = np.random.default_rng(seed).standard_normal((2, 100))
    y = 0.7 * x + 0.3 * noise + 0.1
    assert concordance(x, y) == pytest.approx(textbook_concordance(x, y), **TOLERANCE)


def test_concordance_of_constants():
    assert concordance([1, 1], [1, 1]) == 1.0
    assert concordance([1, 1], [2, 2]) == 0.0


def textbook_calibration_error(truth, probabilities, bins):
    total = 0.0
    for b in range(bins):
        inside = [
            (max(row), float(np.argmax(row) == t))
            for t, row in zip(truth, probabilities, strict=True)
            if b / bins < max(row) <= (b + 1) / bins
        ]
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(r for _, r in inside) / len(inside)
            total += len(inside) / len(truth) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_is_guos(seed):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(7), 300)
    truth = generator.integers(0, 7, 300)
    assert expected_calibration_error(truth, probabilities) == pytest.approx(
        textbook_calibration_error(truth, probabilities, 15), **TOLERANCE
    )


@pytest.mark.parametrize("pair", [([], []), ([1], [1, 2]), ([[1]], [[1]])])
def test_unequal_rows_are_refused_in_words(pair):
    with pytest.raises(InputError, match="Expected two equally long"):
        confusion_matrix(*pair)
    with pytest.raises(InputError, match="Expected two equally long"):
        concordance(*pair)


def test_exact_probabilities_have_the_error_of_chance_and_it_falls_with_samples():
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.full(7, 0.5), size=2000)
    truth = np.array([generator.choice(7, p=row) for row in probabilities])
    many = calibration_errors_by_chance(probabilities, generator).mean()
    few = calibration_errors_by_chance(probabilities[:100], generator).mean()
    assert expected_calibration_error(truth, probabilities) == pytest.approx(many, abs=0.01)
    assert few > 3 * many
    assert calibration_errors_by_chance(np.eye(7), generator, draws=3).tolist() == [0, 0, 0]


def test_the_surest_half_is_the_half_with_most_confidence():
    confidence = np.linspace(0.5, 1, 100)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    truth = np.repeat([1, 0], 50)
    assert accuracy_of_surest(truth, probabilities) == 1
    assert accuracy_of_surest(truth, probabilities, part=1) == 0.5
