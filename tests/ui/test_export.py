import json

import pytest

from emotion.estimate import EmotionEstimate
from integration.session import Session, Turn
from ui.export import FORMS, as_json, as_text


@pytest.fixture
def talk(make_estimate, make_reading):
    said = Turn(
        id=0,
        source="voice",
        status="answered",
        text="my dog ran away – für immer",
        estimate=make_estimate("sad", "fear"),
        words=make_reading("sad", 0.8),
        reply=" Oh no. ",
        waited_s=0.25,
    )
    corrected = Turn(
        id=1, source="typed", status="stopped", text="so", correction="angry", reply="I"
    )
    unheard = Turn(
        id=2, source="voice", status="unheard", estimate=make_estimate("sad", label=None)
    )
    return Session(consented=True, turns=(said, corrected, unheard))


def test_json_holds_every_turn_with_its_numbers(talk):
    saved = json.loads(as_json(talk))
    first, second, third = saved["turns"]
    assert first["text"] == "my dog ran away – für immer"
    assert first["estimate"]["label"] == "sad"
    assert first["estimate"]["agreement"] == pytest.approx(talk.turns[0].estimate.agreement)
    assert first["seems"] == {"label": "sad", "probabilities": first["estimate"]["probabilities"]}
    assert first["words"]["probabilities"]["sad"] == pytest.approx(0.8)
    assert (first["reply"], first["waited_s"]) == ("Oh no.", 0.25)
    assert (second["correction"], second["estimate"], second["status"]) == (
        "angry",
        None,
        "stopped",
    )
    assert third["text"] is None
    assert "can be wrong" in saved["note"]


def test_an_estimate_has_the_keys_that_other_programs_know(talk):
    (first, *_) = json.loads(as_json(talk))["turns"]
    assert first["estimate"].keys() == EmotionEstimate.to_dict(talk.turns[0].estimate).keys()


def test_a_transcript_reads_as_one(talk):
    assert as_text(talk).split("\n\n")[2:] == [
        "You said: my dog ran away – für immer\n(Seemed: sad, 70\u202f% sure)\nAttune: Oh no.",
        "You wrote: so\n(You felt: angry)\nAttune: I (stopped)",
        "You said: (no words were made out)\n(Seemed: unclear)\n",
    ]
    assert "can be wrong" in as_text(talk)


@pytest.mark.parametrize("form", FORMS)
def test_a_talk_without_a_word_can_be_saved(form):
    assert FORMS[form].write(Session())
