from typing import get_args

import pytest

from dialogue.affect import Act
from integration.speech import DELIVERIES, Speech, delivery_for, sentences_of
from integration.translation import to_affect


def test_every_act_has_a_delivery_that_a_browser_can_speak():
    assert set(DELIVERIES) == set(get_args(Act))
    for delivery in DELIVERIES.values():
        assert 0.8 <= delivery.rate <= 1.2
        assert 0.8 <= delivery.pitch <= 1.2


def test_sadness_is_met_slower_and_lower_than_joy(make_estimate):
    sad, glad = (delivery_for(to_affect(make_estimate(e, top=0.9))) for e in ("sad", "happy"))
    assert sad.rate < delivery_for(None).rate < glad.rate
    assert sad.pitch < delivery_for(None).pitch < glad.pitch


@pytest.mark.parametrize(
    ("reply", "ended", "ready"),
    [
        ("", False, ()),
        ("", True, ()),
        ("Oh no.", False, ()),
        ("Oh no.", True, ("Oh no.",)),
        ("Oh no. Wh", False, ("Oh no.",)),
        ("He said “go!” And then? I", False, ("He said “go!”", "And then?")),
        ("It cost 3.5 dollars. ", False, ("It cost 3.5 dollars.",)),
        ("One …\n\nTwo", True, ("One …", "Two")),
        ("!? ...", True, ()),
    ],
)
def test_a_sentence_is_ready_when_something_follows_it(reply, ended, ready):
    assert sentences_of(reply, ended=ended) == ready


def test_sentences_that_are_ready_never_change():
    reply = 'I see. That sounds hard! "Really?" she said. Tell me more…  If you like.'
    whole = sentences_of(reply, ended=True)
    for length in range(len(reply)):
        ready = sentences_of(reply[:length], ended=False)
        assert ready == whole[: len(ready)]


def test_what_is_said_stays_out_of_reprs():
    assert "secret" not in repr(Speech(0, 1, ("a secret",), 1.0, 1.0, True))
