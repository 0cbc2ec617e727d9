"""The bootstrap and Holm's correction, against scipy and closed forms written apart."""

import math

import numpy as np
import pytest
from scipy import stats

from dialogue.empathy.bootstrap import detectable, estimate_mean, holm, resampling
from dialogue.errors import InputError


def test_a_resample_draws_as_many_dialogues_as_there_are_and_repeats():
    counts = resampling(30, 200, seed=3).counts
    assert counts.shape == (200, 30)
    assert (counts.sum(1) == 30).all()
    assert (counts == resampling(30, 200, seed=3).counts).all()
    assert (counts != resampling(30, 200, seed=4).counts).any()


def test_means_of_resamples_are_those_of_drawing_by_hand():
    values = np.array([1.0, np.nan, 3.0, -2.0])
    weights = np.array([1.0, 9.0, 2.0, 0.5])
    drawn = resampling(4, 100, seed=0)
    got = drawn.means(values, weights)
    for row, mean in zip(drawn.counts, got, strict=True):
        picked = [n for n, count in enumerate(row) for _ in range(count) if n != 1]
        total = sum(weights[n] for n in picked)
        if total:
            assert mean == pytest.approx(sum(weights[n] * values[n] for n in picked) / total)
        else:
            assert math.isnan(mean)


def test_the_interval_is_the_normal_one_where_there_are_many_dialogues():
    values = np.random.default_rng(0).normal(0.3, 1.0, 2000)
    found = estimate_mean(resampling(2000, 10_000, seed=0), values)
    error = values.std(ddof=1) / math.sqrt(2000)
    assert found.error == pytest.approx(error, rel=0.03)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.004)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.004)
    assert found.value == pytest.approx(values.mean())


def test_the_interval_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(1).exponential(1.0, 60)
    ours = estimate_mean(resampling(60, 20_000, seed=0), values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    )
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.015)
    assert ours.error == pytest.approx(theirs.standard_error, rel=0.03)


def test_p_is_that_of_a_normal_test_where_there_are_many_dialogues():
    values = np.random.default_rng(5).normal(0.0, 1.0, 1000)
    values += 0.06 - values.mean()
    found = estimate_mean(resampling(1000, 20_000, seed=0), values)
    z = values.mean() / (values.std(ddof=1) / math.sqrt(1000))
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.01)


def test_a_planted_effect_is_found_and_a_null_effect_is_not():
    random = np.random.default_rng(7)
    base = random.normal(1.0, 0.4, 300)
    planted = base + random.normal(0.2, 0.5, 300)
    null = base + random.normal(0.0, 0.5, 300)
    drawn = resampling(300, 10_000, seed=0)
    found = [estimate_mean(drawn, other - base) for other in (planted, null)]
    corrected = holm([estimate.p for estimate in found] + [0.5] * 5)
    assert corrected[0] < 0.05
    assert found[0].low > 0
    assert corrected[1] > 0.05
    assert found[1].low < 0 < found[1].high


def test_a_null_effect_is_called_one_as_often_as_was_promised():
    random = np.random.default_rng(11)
    drawn = resampling(80, 1000, seed=0)
    ps = [estimate_mean(drawn, random.normal(0, 1, 80)).p for _ in range(400)]
    assert 0.02 < np.mean([p < 0.05 for p in ps]) < 0.09


def test_an_effect_of_the_detectable_size_is_found_four_times_in_five():
    random = np.random.default_rng(13)
    drawn = resampling(120, 1000, seed=0)
    effect = detectable(1 / math.sqrt(120))
    found = [estimate_mean(drawn, random.normal(effect, 1, 120)).p < 0.05 for _ in range(300)]
    assert 0.74 < np.mean(found) < 0.86


def test_pairs_find_what_unpaired_rows_would_hide():
    random = np.random.default_rng(3)
    base = random.normal(0, 5.0, 100)
    drawn = resampling(100, 2000, seed=0)
    paired = estimate_mean(drawn, (base + 0.2 + random.normal(0, 0.3, 100)) - base)
    assert paired.p < 0.01
    assert estimate_mean(drawn, base).error > 10 * paired.error


def test_no_difference_at_all_is_no_effect():
    found = estimate_mean(resampling(10, 100, seed=0), np.zeros(10))
    assert (found.value, found.low, found.high, found.error, found.p) == (0, 0, 0, 0, 1)


def test_nothing_measured_is_no_estimate():
    assert estimate_mean(resampling(3, 100, seed=0), np.full(3, np.nan)) is None


def test_holm_is_the_textbook_example():
    # Holm's procedure at level .05 over p = .01, .04, .03, .005: rejects .005 and .01 alone.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_holm_is_the_step_down_rule_written_apart():
    random = np.random.default_rng(0)
    for _ in range(50):
        p = random.uniform(0, 0.2, 6)
        alive = list(np.argsort(p))
        rejected = set()
        while alive and p[alive[0]] <= 0.05 / len(alive):
            rejected.add(int(alive.pop(0)))
        assert {n for n, adjusted in enumerate(holm(p.tolist())) if adjusted <= 0.05} == rejected


def test_the_detectable_difference_is_found_as_often_as_it_says():
    error, measures = 0.1, 4
    true = detectable(error, measures)
    strict = stats.norm.ppf(1 - 0.05 / (2 * measures))
    assert stats.norm.sf(strict - true / error) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(("dialogues", "resamples"), [(0, 1000), (5, 10)])
def test_too_few_are_refused(dialogues, resamples):
    with pytest.raises(InputError, match=r"Expected .*, got"):
        resampling(dialogues, resamples, seed=0)
