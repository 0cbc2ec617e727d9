import json

import numpy as np
import pytest

from emotion import EMOTIONS, SIX
from emotion.metrics import confusion_matrix, unweighted_average_recall
from emotion.report import Predictions, bootstrap_interval, by_sex, report, spread


def predictions(samples=350, groups=10, right=0.7):
    generator = np.random.default_rng(1)
    truth = np.arange(samples) % 7
    said = np.where(generator.random(samples) < right, truth, generator.integers(0, 7, samples))
    probabilities = np.full((samples, 7), 0.05, np.float32)
    probabilities[np.arange(samples), said] = 0.7
    return Predictions(truth, probabilities, np.arange(samples) * groups // samples)


def test_a_report_holds_what_it_names():
    found = report(predictions())
    assert json.loads(json.dumps(found)) == found
    assert (found["samples"], found["groups"]) == (350, 10)
    for name in ("wa", "uar", "macro_f1"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert list(found["recall"]) == list(EMOTIONS)
    assert np.mean(list(found["recall"].values())) == pytest.approx(found["uar"]["value"], abs=1e-4)
    assert np.sum(found["confusion"]) == 350


def test_unclear_samples_are_told_apart():
    sample = predictions()
    sample.probabilities[::2] = 1 / 7
    found = report(sample)
    said = sample.probabilities[1::2].argmax(axis=1)
    assert found["clear"] == 0.5
    assert found["wa_when_clear"] == pytest.approx((said == sample.truth[1::2]).mean(), abs=1e-4)
    sample.probabilities[:] = 1 / 7
    assert report(sample)["wa_when_clear"] is None


def test_six_leaves_surprise_out_and_renormalises():
    seven, six = predictions(), report(predictions(), SIX)
    assert six["samples"] == 300
    assert list(six["recall"]) == list(SIX)
    assert np.shape(six["confusion"]) == (6, 6)
    # who said surprise says its next choice now: all equal here, so angry, the first
    was = report(seven)["confusion"]
    assert six["confusion"][1][0] == was[1][0] + was[1][6]


def test_intervals_draw_whole_groups():
    """Where groups agree with themselves, drawing samples would be far too sure."""
    truth = np.zeros(400, dtype=np.int64)
    groups = np.repeat(np.arange(4), 100)
    said = (groups % 2).astype(np.int64)

    def accuracy(counts):
        return counts[0, 0] / counts.sum()

    by_group = bootstrap_interval(truth, said, groups, accuracy, 2)
    by_sample = bootstrap_interval(truth, said, np.arange(400), accuracy, 2)
    assert by_group == (0.0, 1.0)
    assert by_sample[1] - by_sample[0] < 0.12


def test_the_samples_of_a_single_group_are_drawn():
    """Whole draws of one group are all the same: [14, 14] would claim to be certain."""
    truth, said = np.zeros(40, dtype=np.int64), np.arange(40) % 2

    def accuracy(counts):
        return counts[0, 0] / counts.sum()

    one = bootstrap_interval(truth, said, np.array(["afew:valid"] * 40), accuracy, 2)
    assert one == bootstrap_interval(truth, said, np.arange(40), accuracy, 2)
    assert one[0] < 0.5 < one[1]


def test_the_interval_is_the_percentile_bootstrap():
    """Against resampling written out: the same within the noise of a thousand draws."""
    sample = predictions()
    said = sample.probabilities.argmax(axis=1)
    generator = np.random.default_rng(2)
    values = []
    for _ in range(1000):
        drawn = generator.integers(0, 10, 10)
        rows = np.concatenate([np.flatnonzero(sample.groups == g) for g in drawn])
        values.append(unweighted_average_recall(confusion_matrix(sample.truth[rows], said[rows])))
    ours = bootstrap_interval(sample.truth, said, sample.groups, unweighted_average_recall, 7)
    assert ours == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.015)


def test_actors_are_told_apart_by_their_numbers():
    sample = predictions()
    groups = np.array([f"ravdess:{number:02}" for number in sample.groups + 1])
    found = by_sex(Predictions(sample.truth, sample.probabilities, groups))
    assert {sex: own["samples"] for sex, own in found.items()} == {"women": 175, "men": 175}
    even = sample.groups % 2 == 1
    right = (sample.probabilities.argmax(axis=1) == sample.truth)[even].mean()
    assert found["women"]["wa"]["value"] == pytest.approx(right, abs=1e-4)
    assert by_sex(sample) == {}


def test_the_spread_of_seeds_is_their_standard_deviation():
    each = [report(predictions(right=right)) for right in (0.5, 0.6, 0.7)]
    found = spread(each)["wa"]
    assert found["values"] == [one["wa"]["value"] for one in each]
    assert found["deviation"] == pytest.approx(np.std(found["values"], ddof=1), abs=1e-4)


def test_coverage_falls_and_accuracy_is_given_at_every_threshold():
    sample = predictions()
    sample.probabilities[::2] = 1 / 7
    rows = report(sample)["by_threshold"]
    assert [rows[least]["clear"] for least in ("0.3", "0.6", "0.8")] == [0.5, 0.5, 0.0]
    assert rows["0.8"]["wa_when_clear"] is None
