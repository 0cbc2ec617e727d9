import dataclasses
import re

import pytest

from emotion.estimate import FaceSighting
from emotion.labels import EMOTIONS
from integration.session import Session, Turn
from integration.translation import to_affect
from ui import texts, view

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"


@pytest.fixture
def talking(make_moment, make_estimate, make_reading):
    turn = Turn(
        id=3,
        source="voice",
        status="answered",
        text="my dog ran away",
        estimate=make_estimate("sad", "fear"),
        words=make_reading("neutral", 0.8),
        reply="Oh no.",
    )
    return Session(
        consented=True,
        camera=True,
        microphone=True,
        readiness="ready",
        moment=make_moment("happy", 0.63, speaking=True),
        turns=(turn,),
        next_turn=4,
    )


def text_of(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split()).replace("\u202f", " ")


def whole(page):
    return "".join((*page.fragments.values(), *page.turns.values()))


def test_the_page_is_a_pure_function_of_the_session(talking):
    before = repr(dataclasses.astuple(talking))
    assert view.render(talking) == view.render(talking)
    assert repr(dataclasses.astuple(talking)) == before


def test_nothing_but_the_consent_screen_before_consent():
    page = view.render(Session())
    assert page.screen == "consent"
    assert page.devices == {"camera": False, "microphone": False}
    assert page.turns == {}


def test_the_first_screen_says_what_a_person_has_to_know():
    words = text_of(view.consent())
    for needed in ("face", "voice", "can be wrong", "Nothing leaves this machine", "AI", "EU"):
        assert needed in words


def test_everything_a_person_or_model_said_is_escaped(talking):
    turn = dataclasses.replace(talking.turns[0], text=HOSTILE, reply=HOSTILE)
    failed = dataclasses.replace(turn, id=4, status="failed", failure=HOSTILE)
    session = dataclasses.replace(talking, turns=(turn, failed), notice=HOSTILE)
    html = whole(view.render(session))
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("&lt;script&gt;") == 5


def test_now_shows_all_seven_with_numbers_and_names(talking):
    words = text_of(view.render(talking).fragments["now"])
    assert "Happy 63 % sure" in words
    assert "You are speaking" in words
    for name in texts.EMOTION_NAMES.values():
        assert re.search(rf"{name} \d+ %", words)


def test_unclear_is_a_state_of_its_own(talking, make_moment, make_estimate):
    turn = dataclasses.replace(talking.turns[0], estimate=make_estimate("sad", "sad", label=None))
    session = dataclasses.replace(talking, moment=make_moment("happy", 0.3), turns=(turn,))
    page = view.render(session)
    assert "Unclear" in text_of(page.fragments["now"])
    assert "class=is" not in page.fragments["now"]
    assert "Unclear" in page.fragments["overlay"]
    assert "Unclear not sure enough to say" in text_of(page.turns[3])


def test_a_turn_shows_face_voice_and_words_apart(talking):
    words = text_of(view.render(talking).turns[3])
    assert "You said my dog ran away" in words
    assert "Sad 70 % sure, from face and voice" in words
    assert "Face Sad 70 %" in words
    assert "Voice Fear 70 %" in words
    assert "Words Neutral 80 %" in words
    assert "Face and voice differ (agreement" in words
    assert "Attune (AI) Oh no." in words


def test_the_wait_for_an_answer_is_told(talking):
    turn = dataclasses.replace(talking.turns[0], waited_s=0.84)
    assert "Attune (AI) · after 0.8 s Oh no." in text_of(view.render_turn(turn))


def test_face_and_voice_that_say_the_same(talking, make_estimate):
    turn = dataclasses.replace(talking.turns[0], estimate=make_estimate("sad", "sad"))
    words = text_of(view.render_turn(turn))
    assert "Face and voice say the same (agreement 100 %)" in words


def test_a_missing_channel_is_left_out(talking, make_estimate):
    turn = dataclasses.replace(talking.turns[0], estimate=make_estimate(voice="sad"), words=None)
    words = text_of(view.render_turn(turn))
    assert "from voice" in words
    assert "Face" not in words
    assert "agreement" not in words


def test_a_turn_without_any_reading_shows_its_words_alone():
    turn = Turn(id=0, source="typed", status="waiting", text="hello")
    html = view.render_turn(turn)
    assert text_of(html) == "You wrote hello"
    assert "thinking" in html


def test_every_emotion_can_be_picked_as_a_correction(talking):
    html = view.render(talking).turns[3]
    assert re.findall(r'data-turn="3" data-emotion="(\w+)"', html) == list(EMOTIONS)
    turn = dataclasses.replace(talking.turns[0], correction="angry")
    corrected = view.render_turn(turn)
    assert "Angry as you say" in text_of(corrected)
    assert re.findall(r'data-emotion="(\w+)" aria-pressed="true"', corrected) == ["angry"]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("hearing", "Making out the words"),
        ("unheard", "could not make out words"),
        ("stopped", "stopped"),
        ("failed", "It failed."),
    ],
)
def test_each_state_of_a_turn_is_said_in_words(status, shown):
    text = "hello" if status in ("stopped", "failed") else None
    turn = Turn(0, "voice", status, text=text, reply="Well", failure="It failed.")
    assert shown in text_of(view.render_turn(turn))


@pytest.mark.parametrize(
    ("camera", "microphone", "shown"),
    [
        (False, True, ("Not looking", "Camera off", "Microphone on")),
        (True, False, ("Not listening", "Camera on", "Microphone off")),
    ],
)
def test_what_is_switched_off_says_so(talking, camera, microphone, shown):
    session = dataclasses.replace(talking, camera=camera, microphone=microphone, moment=None)
    words = text_of(whole(view.render(session)))
    for needed in shown:
        assert needed in words


def test_the_nearest_face_is_the_one_described(talking, make_moment):
    near = make_moment("happy").faces[0]
    far = FaceSighting(1, (0.0, 0.0, 20.0, 20.0), make_moment("angry").faces[0].probabilities)
    session = dataclasses.replace(
        talking, moment=dataclasses.replace(talking.moment, faces=(far, near))
    )
    page = view.render(session)
    assert "Happy 70 % sure" in text_of(page.fragments["now"])
    assert page.fragments["overlay"].count("<rect") == 2


def test_no_face_in_sight(talking):
    session = dataclasses.replace(talking, moment=None)
    assert "No face in sight" in text_of(view.render(session).fragments["now"])


def test_what_was_skipped_is_counted_in_sight(talking):
    session = dataclasses.replace(talking, dropped_frames=7, dropped_audio_s=1.25)
    words = text_of(view.render(session).fragments["status"])
    assert words == "Ready · skipped 7 pictures and 1.2 s of sound"


def test_before_the_first_turn_the_page_says_how_to_begin():
    words = view.render(Session(consented=True, microphone=True)).fragments["greeting"]
    assert "Say something" in words
    typed = view.render(Session(consented=True)).fragments["greeting"]
    assert "Say" not in typed


@pytest.mark.parametrize(
    ("status", "answering"), [("waiting", True), ("answering", True), ("answered", False)]
)
def test_an_answer_on_its_way_may_be_stopped(status, answering):
    turns = (Turn(0, "typed", status, text="hello"),)
    assert view.render(Session(consented=True, turns=turns)).answering is answering


@pytest.mark.parametrize("readiness", ["warming up", "ready", "failed"])
def test_the_page_says_where_the_models_are(readiness):
    words = {"warming up": "Warming up", "ready": "Ready", "failed": "Not working"}[readiness]
    page = view.render(Session(readiness=readiness))
    assert words in page.fragments["status"]


def test_only_the_newest_turn_is_unfolded(talking):
    older = dataclasses.replace(talking.turns[0], id=2)
    page = view.render(dataclasses.replace(talking, turns=(older, talking.turns[0])))
    assert 'class="felt" open' not in page.turns[2]
    assert 'class="felt" open' in page.turns[3]


def test_every_device_problem_has_words_for_both_devices():
    for words in texts.CANNOT_OPEN.values():
        assert set(words) == set(texts.SWITCHES)
    assert set(texts.EMOTION_NAMES) == set(EMOTIONS)


def shown_turn(session, **changes):
    changed = dataclasses.replace(session.turns[0], **changes)
    return view.render(dataclasses.replace(session, turns=(changed,))).turns[3]


def test_words_that_contradict_a_face_are_said_to(talking, make_estimate, make_reading):
    smile, grief = make_estimate("happy"), make_reading("sad")
    affect = to_affect(smile, words=grief)
    assert texts.MIXED in shown_turn(talking, estimate=smile, words=grief, affect=affect)
    joy = make_reading("happy")
    affect = to_affect(smile, words=joy)
    assert texts.MIXED not in shown_turn(talking, estimate=smile, words=joy, affect=affect)


def test_clear_words_head_a_turn_whose_face_shows_nothing(talking, make_estimate, make_reading):
    turn = shown_turn(
        talking, estimate=make_estimate("neutral"), words=make_reading("sad", 0.9), affect=None
    )
    headline = text_of(turn.split("<summary>")[1].split("</summary>")[0])
    assert headline.startswith("Sad")
    assert headline.endswith("from words")


def test_the_first_screen_says_where_words_go_when_they_leave():
    assert "Nothing leaves this machine" in text_of(view.consent())
    elsewhere = text_of(view.consent("llm.example.org"))
    assert "Nothing leaves" not in elsewhere
    assert "sent to llm.example.org" in elsewhere


def test_turns_that_are_still_the_same_are_not_drawn_again(talking, monkeypatch):
    first = talking.turns[0]
    turns = tuple(dataclasses.replace(first, id=number) for number in range(4))
    before = dataclasses.replace(talking, turns=turns)
    page = view.render(before)
    changed = dataclasses.replace(turns[1], correction="happy")
    newer = dataclasses.replace(first, id=4)
    session = dataclasses.replace(before, turns=(turns[0], changed, *turns[2:], newer))
    whole_page = view.render(session)
    drawn = []
    render_turn = view.render_turn

    def noted(turn, *, newest):
        drawn.append(turn.id)
        return render_turn(turn, newest=newest)

    monkeypatch.setattr(view, "render_turn", noted)
    assert view.render(session, (before, page)) == whole_page
    assert drawn == [1, 3, 4]  # 3 was the newest and folds itself up


def test_a_talk_that_was_forgotten_is_not_taken_from_before(talking):
    page = view.render(talking)
    forgotten = dataclasses.replace(talking, turns=())
    assert view.render(forgotten, (talking, page)).turns == {}
