import json

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from emotion.errors import InputError
from emotion.estimate import (
    Attention,
    EmotionEstimate,
    Reading,
    as_probabilities,
    jensen_shannon_divergence,
)
from emotion.labels import CIRCUMPLEX, EMOTIONS, SIX


def certain(emotion):
    return {e: float(e == emotion) for e in EMOTIONS}


def estimate(**changes):
    values = {
        "start_s": 0.5,
        "end_s": 2.0,
        "person": 0,
        "probabilities": certain("happy"),
        "label": "happy",
    }
    return EmotionEstimate(**(values | changes))


def test_divergence_equals_scipys_on_random_distributions():
    generator = np.random.default_rng(0)
    for _ in range(50):
        p, q = generator.dirichlet(np.ones(7)), generator.dirichlet(np.ones(7))
        expected = jensenshannon(p, q, base=2) ** 2
        ours = jensen_shannon_divergence(as_probabilities(p), as_probabilities(q))
        assert ours == pytest.approx(expected, abs=1e-12)


def test_six_emotions_drop_surprise_and_sum_to_one():
    six = as_probabilities([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4], SIX)
    assert list(six) == list(SIX)
    assert sum(six.values()) == pytest.approx(1.0, abs=1e-12)
    assert six["happy"] == pytest.approx(1 / 6)


@pytest.mark.parametrize("values", [[0.5, 0.5], [0.0] * 7])
def test_a_distribution_that_is_none_is_refused_in_words(values):
    with pytest.raises(InputError, match="Expected"):
        as_probabilities(values)


def test_valence_and_arousal_are_expectations_over_the_circumplex():
    half = as_probabilities([0, 0, 0, 0.5, 0, 0.5, 0])
    mixed = estimate(probabilities=half)
    assert mixed.valence == pytest.approx((CIRCUMPLEX["happy"][0] + CIRCUMPLEX["sad"][0]) / 2)
    assert mixed.arousal == pytest.approx((CIRCUMPLEX["happy"][1] + CIRCUMPLEX["sad"][1]) / 2)


def test_agreement_needs_both_and_spans_zero_to_one():
    happy, sad = Reading(certain("happy"), 1.0), Reading(certain("sad"), 1.0)
    assert estimate(face=happy).agreement is None
    assert estimate(face=happy, voice=happy).agreement == 1.0
    assert estimate(face=happy, voice=sad).agreement == 0.0


def test_to_dict_is_plain_json_with_the_attributes_names():
    full = estimate(
        face=Reading(certain("happy"), 0.9),
        attention=Attention((0.5,), (1.0,), ((0.25, 0.75),)),
    )
    plain = json.loads(json.dumps(full.to_dict()))
    assert plain["face"] == {"probabilities": certain("happy"), "quality": 0.9}
    assert plain["attention"]["spectrogram_weights"] == [[0.25, 0.75]]
    for name in ("confidence", "valence", "arousal", "agreement", "voice", "words", "label"):
        assert plain[name] == getattr(full, name)
