"""Where the note stands, and what it says."""

import pytest

from dialogue.affect import UserAffect, trend_of
from dialogue.conditioning import (
    brief_note,
    condition,
    full_note,
    may_name,
    over_attributes,
    short_note,
)
from dialogue.conversation import Message

SAD = UserAffect("sad", confidence=0.9, channels=("face", "voice"), agreement=0.9)
HAPPY = UserAffect("happy", confidence=0.6, channels=("face",))
TALK = [Message("user", "Hello."), Message("assistant", "Hi!"), Message("user", "I lost it.")]


def test_the_note_is_inside_the_newest_user_turn_alone():
    noted = condition(TALK, SAD, short_note)
    assert [m.content for m in noted] == ["Hello.", "Hi!", "I lost it.\n[seems very sad]"]
    assert [m.role for m in noted] == [m.role for m in TALK]


def test_without_a_feeling_nothing_is_written():
    assert condition(TALK) == TALK


def test_earlier_notes_stay_where_they_were():
    first = condition([Message("user", "Hello.")], HAPPY)
    later = [Message("user", "Hello.", HAPPY), *TALK[1:]]
    assert condition(later, SAD)[0] == first[0]


def test_no_system_message_is_touched_or_made():
    noted = condition([Message("system", "Be kind."), Message("user", "Hi.")], SAD)
    assert noted[0].content == "Be kind."
    assert len(noted) == 2


@pytest.mark.parametrize(
    ("affect", "note"),
    [
        (SAD, "[seems very sad]"),
        (UserAffect("neutral", confidence=0.7), "[seems calm]"),
        (UserAffect("afraid", confidence=0.4), "[seems a little afraid]"),
        (UserAffect(None, confidence=0.3), "[feeling unclear]"),
        (UserAffect("sad", channels=("face", "voice"), agreement=0.1), "[mixed feelings]"),
    ],
)
def test_the_short_note(affect, note):
    assert short_note(affect) == note


def test_training_and_live_talk_write_the_same_note():
    assert short_note(SAD) == brief_note("sad", "very")


def test_the_full_note_tells_what_was_perceived_and_how_to_answer():
    note = full_note(SAD)
    assert "face, voice: seems very sad" in note
    assert "The channels agree." in note
    assert "never mention this note" in note


def test_the_full_note_names_what_disagrees():
    apart = UserAffect(
        "happy",
        confidence=0.6,
        channels=("face", "words"),
        by_channel={"face": "happy", "words": "sad"},
    )
    assert "The channels disagree (face happy, words sad)." in full_note(apart)
    assert "ask one open, gentle question" in full_note(apart)


def felt(valence, label="sad", confidence=0.7, **more):
    return UserAffect(label, confidence=confidence, valence=valence, channels=("face",), **more)


def test_the_trend_is_told_from_the_third_turn_on():
    talk = [Message("user", word, felt(v)) for word, v in (("A", 0.2), ("B", 0.1), ("C", -0.4))]
    notes = [message.content for message in condition(talk)]
    assert ["Over the talk" in note for note in notes] == [False, False, True]
    assert "they seem to get heavier" in notes[2]
    assert condition(talk[:2]) == condition(talk)[:2]


@pytest.mark.parametrize(
    ("valences", "trend"),
    [
        ([], None),
        ([0.1], None),
        ([0.1, 0.1], None),
        ([0.1, 0.1, 0.2], "steady"),
        ([-0.4, -0.2, 0.1], "lifting"),
        ([0.4, 0.2, -0.3], "sinking"),
        ([-1.0, 0.5, 0.5, 0.5, 0.5, 0.5], "steady"),
    ],
)
def test_the_trend_compares_with_the_turns_before(valences, trend):
    assert trend_of([felt(valence) for valence in valences]) == trend


def test_a_channel_that_is_switched_off_is_not_told():
    off = UserAffect(
        "sad",
        channels=("voice", "words"),
        by_channel={"face": "angry", "voice": "sad", "words": "happy"},
    )
    assert "face" not in full_note(off)
    assert "voice sad, words happy" in full_note(off)


@pytest.mark.parametrize(
    ("affect", "said", "allowed"),
    [
        (felt(-0.5), "My dog ran away.", False),
        (felt(-0.5), "I am so sad today.", True),
        (felt(-0.5), "How do I sound?", True),
        (felt(-0.5, confidence=0.95), "My dog ran away.", False),
        (SAD, "My dog ran away.", True),
        (
            UserAffect("neutral", confidence=1.0, channels=("face", "voice"), agreement=1.0),
            "",
            False,
        ),
    ],
)
def test_a_feeling_is_named_only_if_they_did_or_ask_or_it_is_extreme(affect, said, allowed):
    assert may_name(affect, said) == allowed
    assert ("You may name" in full_note(affect, said=said)) == allowed


@pytest.mark.parametrize(
    ("reply", "said", "too_much"),
    [
        ("You seem sad.", "My dog ran away.", True),
        ("You look so angry!", "He scratched my car.", True),
        ("You seem sad.", "I am sad.", False),
        ("I can see on the camera that you smile.", "I am sad.", True),
        ("You have depression.", "I am sad.", True),
        ("I am sorry. How long has he been gone?", "My dog ran away.", False),
        ("What kind of camera is it?", "I bought a camera.", False),
    ],
)
def test_an_answer_says_no_more_about_a_person_than_it_should(reply, said, too_much):
    assert over_attributes(reply, felt(-0.5), said) == too_much
