import random
from typing import get_args

import pytest

from emotion.errors import InputError
from integration.events import (
    AgentSpoke,
    ChannelSwitched,
    Consented,
    Corrected,
    Ducked,
    Edited,
    Event,
    Forgotten,
    Heard,
    Hearing,
    Interrupted,
    MediaDropped,
    MomentSeen,
    Noticed,
    Read,
    Readied,
    ReplyEnded,
    ReplyPiece,
    ReplyStarted,
    TurnFailed,
    TurnOpened,
)
from integration.evidence import Evidence
from integration.session import PICTURED_TURNS, RULES, Session, advance

BEGUN = (Readied(), Consented(camera=True, microphone=True))


def after(*events, session=None):
    session = session or Session()
    for event in events:
        session = advance(session, event)
    return session


def test_every_event_has_a_rule():
    assert set(RULES) == set(get_args(Event))


def test_before_consent_nothing_is_on_and_no_turn_is_taken(make_moment):
    session = after(
        ChannelSwitched("camera", True), TurnOpened(0, "typed", "hi"), MomentSeen(make_moment())
    )
    assert not session.camera
    assert session.turns == ()
    assert session.moment is None


def test_a_spoken_turn_from_its_end_to_its_answer(make_estimate):
    session = after(*BEGUN, TurnOpened(0, "voice", estimate=make_estimate("sad", "sad")))
    assert session.turns[0].status == "hearing"
    session = after(Heard(0, "my dog ran away"), session=session)
    assert (session.turns[0].text, session.turns[0].status) == ("my dog ran away", "waiting")
    session = after(
        ReplyStarted(0), ReplyPiece(0, "Oh ", 0.4), ReplyPiece(0, "no."), session=session
    )
    assert (session.turns[0].reply, session.turns[0].status) == ("Oh no.", "answering")
    assert session.turns[0].waited_s == 0.4
    assert after(ReplyEnded(0), session=session).turns[0].status == "answered"
    assert after(ReplyEnded(0, stopped=True), session=session).turns[0].status == "stopped"


def test_words_that_could_not_be_made_out():
    assert after(*BEGUN, TurnOpened(0, "voice"), Heard(0, "")).turns[0].status == "unheard"


def test_an_answer_begun_again_replaces_the_first():
    session = after(*BEGUN, TurnOpened(0, "typed", "hi"), ReplyStarted(0), ReplyPiece(0, "One"))
    session = after(ReplyStarted(0), ReplyPiece(0, "Two"), session=session)
    assert session.turns[0].reply == "Two"


def test_pieces_that_come_after_the_end_are_left_out():
    session = after(*BEGUN, TurnOpened(0, "typed", "hi"), ReplyStarted(0), ReplyEnded(0))
    assert after(ReplyPiece(0, "late"), session=session).turns[0].reply == ""


def test_reading_a_turn_keeps_what_was_read_before(make_estimate, make_reading):
    session = after(
        *BEGUN,
        TurnOpened(0, "typed", "hi"),
        Read(0, estimate=make_estimate("sad")),
        Read(0, words=make_reading("happy")),
    )
    assert session.turns[0].estimate.label == "sad"
    assert session.turns[0].words.label == "happy"


def test_switching_the_camera_off_takes_its_faces_away_at_once(make_moment):
    session = after(
        *BEGUN, MomentSeen(make_moment(speaking=True)), ChannelSwitched("camera", False)
    )
    assert session.moment.faces == ()
    assert session.moment.speaking
    assert after(MomentSeen(make_moment()), session=session).moment.faces == ()
    assert after(ChannelSwitched("microphone", False), session=session).moment is None


def test_a_browser_that_cannot_open_a_device_says_why():
    session = after(*BEGUN, ChannelSwitched("camera", False, "No camera was found."))
    assert session.notice == "No camera was found."
    both = after(ChannelSwitched("microphone", False, "No microphone was found."), session=session)
    assert both.notice == "No camera was found. No microphone was found."
    assert after(TurnOpened(0, "typed", "hi"), session=session).notice is None


def test_models_that_fail_to_load_leave_a_sentence():
    session = after(Readied("The models could not be loaded."))
    assert (session.readiness, session.notice) == ("failed", "The models could not be loaded.")


def test_no_turn_waits_for_models_that_failed_to_load():
    session = after(Consented(camera=False, microphone=False), TurnOpened(0, "typed", "hello"))
    session = after(Readied("No model."), TurnOpened(1, "typed", "anybody?"), session=session)
    assert [turn.status for turn in session.turns] == ["failed", "failed"]
    assert all("could not be loaded" in turn.failure for turn in session.turns)
    assert session.notice == "No model."


def test_what_is_dropped_adds_up():
    session = after(*BEGUN, MediaDropped(2, 0.5), MediaDropped(1, 0.25), MediaDropped(speech_s=1.5))
    dropped = (session.dropped_frames, session.dropped_audio_s, session.dropped_speech_s)
    assert dropped == (3, 0.75, 1.5)


def test_forgetting_deletes_all_but_the_persons_own_choices(make_moment):
    session = after(
        *BEGUN,
        ChannelSwitched("camera", False),
        MomentSeen(make_moment()),
        TurnOpened(0, "typed", "a secret"),
        Noticed("Something."),
        MediaDropped(1),
        Forgotten(),
    )
    assert session == Session(True, False, True, "ready", next_turn=1)


@pytest.mark.parametrize(
    "late",
    [
        Heard(0, "a secret"),
        Read(0),
        ReplyStarted(0),
        ReplyPiece(0, "a secret"),
        ReplyEnded(0),
        TurnFailed(0, "It failed."),
        Corrected(0, "sad"),
        Edited(0, "a secret"),
        Interrupted(),
        TurnOpened(0, "typed", "a secret"),
    ],
)
def test_what_comes_late_for_a_forgotten_turn_changes_nothing(late):
    session = after(*BEGUN, TurnOpened(0, "typed", "a secret"), Forgotten())
    assert after(late, session=session) == session


def test_a_correction_names_one_of_the_seven():
    session = after(*BEGUN, TurnOpened(0, "typed", "hi"), Corrected(0, "angry"))
    assert session.turns[0].correction == "angry"
    with pytest.raises(InputError, match="bored"):
        Corrected(0, "bored")


def test_the_person_says_what_their_words_were_before_the_recogniser_does(make_reading):
    session = after(*BEGUN, TurnOpened(0, "voice"), Edited(0, "my dog ran away"))
    assert (session.turns[0].text, session.turns[0].status) == ("my dog ran away", "waiting")
    session = after(Heard(0, "the doc runaway"), session=session)
    assert session.turns[0].text == "my dog ran away"
    assert session.turns[0].edited


def test_other_words_are_read_anew(make_reading):
    session = after(*BEGUN, TurnOpened(0, "typed", "hi"), Read(0, words=make_reading("happy")))
    assert after(Edited(0, "hi"), session=session) is session
    edited = after(Edited(0, "help"), session=session)
    assert edited.turns[0].words is None
    assert after(*BEGUN, TurnOpened(0, "voice"), Heard(0, ""), Edited(0, "yes")).turns[
        0
    ].status == ("waiting")
    with pytest.raises(InputError, match="empty"):
        Edited(0, "  ")


def test_an_answer_is_spoken_sentence_by_sentence_and_hushed_by_an_interruption():
    session = after(*BEGUN, TurnOpened(0, "typed", "hi"))
    assert session.speech is None
    session = after(ReplyStarted(0), ReplyPiece(0, "Oh no. What "), session=session)
    speech = session.speech
    assert (speech.turn, speech.answer, speech.sentences, speech.ended) == (
        0,
        1,
        ("Oh no.",),
        False,
    )
    session = after(AgentSpoke(True), Ducked(True), session=session)
    assert (session.agent_speaking, session.ducked, session.busy) == (True, True, True)
    session = after(Interrupted(), ReplyEnded(0, stopped=True), session=session)
    assert (session.speech, session.hushed_turn) == (None, 0)
    assert (session.agent_speaking, session.ducked, session.busy) == (False, False, False)


def test_a_turn_that_is_answered_again_is_spoken_again():
    session = after(*BEGUN, TurnOpened(0, "typed", "hi"), ReplyStarted(0), ReplyEnded(0))
    session = after(Interrupted(), ReplyStarted(0), ReplyPiece(0, "Two. "), session=session)
    assert (session.hushed_turn, session.speech.answer, session.speech.turn) == (None, 2, 0)


def test_a_new_turn_hushes_the_answer_before_it():
    session = after(*BEGUN, TurnOpened(0, "typed", "hi"), ReplyStarted(0), ReplyPiece(0, "Oh. "))
    assert after(TurnOpened(1, "typed", "so"), session=session).hushed_turn == 0


def test_words_show_while_they_are_heard_and_go_with_the_turn():
    session = after(*BEGUN, Hearing("my dog"))
    assert session.hearing == "my dog"
    assert after(TurnOpened(0, "typed", "hi"), session=session).hearing == "my dog"
    assert after(TurnOpened(0, "voice"), session=session).hearing == ""
    off = after(ChannelSwitched("microphone", False), Hearing("late"), session=session)
    assert off.hearing == ""


def test_only_the_newest_turns_keep_their_pictures():
    picture = Evidence(duration_s=1.0)
    session = after(*BEGUN)
    for turn in range(PICTURED_TURNS + 3):
        session = after(TurnOpened(turn, "voice"), Read(turn, evidence=picture), session=session)
    kept = [turn.id for turn in session.turns if turn.evidence is not None]
    assert kept == list(range(3, PICTURED_TURNS + 3))


def test_nobody_speaks_an_answer_that_is_not_there():
    assert not after(*BEGUN, AgentSpoke(True)).agent_speaking


def test_nothing_said_or_felt_shows_in_a_repr(make_estimate):
    session = after(
        *BEGUN,
        TurnOpened(0, "voice", estimate=make_estimate("sad")),
        Heard(0, "a secret"),
        ReplyStarted(0),
        ReplyPiece(0, "another secret"),
        Corrected(0, "fear"),
    )
    for hidden in ("secret", "sad", "fear"):
        assert hidden not in repr(session)
        assert hidden not in repr(Heard(0, "a secret")) + repr(Corrected(0, "fear"))


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_events_keeps_the_session_whole(seed, make_moment, make_estimate):
    rng = random.Random(seed)
    events = [
        Consented(camera=True, microphone=False),
        ChannelSwitched("microphone", True),
        ChannelSwitched("camera", False),
        Readied(),
        MomentSeen(make_moment(speaking=True)),
        Forgotten(),
        Hearing("some words"),
        Ducked(True),
        Interrupted(),
        AgentSpoke(True),
        AgentSpoke(False),
        *(
            event
            for turn in range(4)
            for event in (
                TurnOpened(turn, "voice", estimate=make_estimate("sad")),
                TurnOpened(turn, "typed", "hi"),
                Heard(turn, "hello"),
                ReplyStarted(turn),
                ReplyPiece(turn, "word "),
                ReplyEnded(turn),
                TurnFailed(turn, "It failed."),
                Edited(turn, "other words"),
            )
        ),
    ]
    session = Session()
    for event in rng.choices(events, k=200):
        before, session = session, advance(session, event)
        ids = [turn.id for turn in session.turns]
        assert ids == sorted(set(ids))
        assert all(turn_id < session.next_turn for turn_id in ids)
        assert session.next_turn >= before.next_turn
        assert session.microphone or not session.hearing
        assert session.speech is None or session.speech.turn != session.hushed_turn
        assert session.answers >= before.answers
        assert session.consented or not (session.camera or session.microphone or session.turns)
        if session.moment is not None:
            assert session.camera or not session.moment.faces
            assert session.microphone or not session.moment.speaking
