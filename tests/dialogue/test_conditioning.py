"""Where the note stands, and what it says."""

import pytest

from dialogue.affect import UserAffect
from dialogue.conditioning import brief_note, condition, full_note, short_note
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
