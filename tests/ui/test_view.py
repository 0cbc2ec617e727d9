import dataclasses
import re

import numpy as np
import pytest

from emotion.estimate import FaceSighting
from emotion.labels import EMOTIONS
from integration.evidence import Evidence, SeenFace
from integration.lessons import Lesson, adapted
from integration.session import Session, Turn
from integration.translation import to_affect
from ui import texts, view
from ui.turns import MARKED_WORDS

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
    session = dataclasses.replace(talking, turns=(turn, failed), notice=HOSTILE, hearing=HOSTILE)
    answered = dataclasses.replace(session, turns=(turn,))
    html = whole(view.render(session)) + whole(view.render(answered)) + view.full(HOSTILE)
    assert "<script" not in html
    assert "<img" not in html
    # notice, hearing, and of each turn its words, the field to correct them, the mark, the answer;
    # what is announced; the sentence of a full house
    assert html.count("&lt;script&gt;") == (2 + 4 + 4) + (2 + 4 + 1) + 1


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
        (
            False,
            True,
            ("Not looking", "Camera off", "Microphone on", "goes by your voice and words"),
        ),
        (
            True,
            False,
            ("Not listening", "Camera on", "Microphone off", "goes by your face and words"),
        ),
        (False, False, ("Camera off", "Microphone off", "goes by your words alone")),
        (True, True, ("Camera on", "Microphone on", "goes by your face, voice and words")),
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
    session = dataclasses.replace(session, dropped_speech_s=3.0)
    words = text_of(view.render(session).fragments["status"])
    assert words.endswith("skipped 7 pictures, 1.2 s of sound and the words of 3.0 s")


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


def test_a_turn_shows_what_was_learnt_from_corrections(talking, make_estimate):
    smile = make_estimate("happy")
    lessons = (Lesson(smile.probabilities, "sad"),) * 6
    changes = {"estimate": smile, "words": None, "lessons": lessons}
    turn = shown_turn(talking, **changes)
    headline = text_of(turn.split("<summary>")[1].split("</summary>")[0])
    sure = texts.percent(adapted(smile, lessons).confidence).replace("\u202f", " ")
    assert headline == f"Sad {sure} sure, from face"
    assert f"{texts.LEARNT} (without them: happy 70 %)" in text_of(turn)
    assert texts.LEARNT not in shown_turn(talking, **changes | {"correction": "sad"})
    fear = make_estimate("fear", top=0.99)
    other = (Lesson(smile.probabilities | {"happy": 1.0, "fear": 0.0}, "sad"),)
    assert texts.LEARNT not in shown_turn(talking, estimate=fear, words=None, lessons=other)


def test_the_time_line_shows_what_was_learnt_too(talking, make_estimate):
    smile = make_estimate("happy")
    lessons = (Lesson(smile.probabilities, "sad"),) * 6
    turn = dataclasses.replace(talking.turns[0], estimate=smile, words=None, lessons=lessons)
    (mark,) = view.render(dataclasses.replace(talking, turns=(turn,))).marks
    assert mark.label == "sad"


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


def test_a_voice_that_is_heard_shows_at_its_switch(talking):
    assert "Microphone hears you" in text_of(view.render(talking).fragments["switches"])
    quiet = dataclasses.replace(talking, moment=dataclasses.replace(talking.moment, speaking=False))
    assert "Microphone on" in text_of(view.render(quiet).fragments["switches"])


def test_words_appear_while_they_are_recognised(talking):
    assert view.render(talking).fragments["hearing"] == ""
    hearing = dataclasses.replace(talking, hearing="my dog ran")
    shown = text_of(view.render(hearing).fragments["hearing"])
    assert shown == "You are saying my dog ran …"


# -- the trail on the plane -----------------------------------------------------------------------


def seen_at(session, time_s, person=0):
    faces = tuple(dataclasses.replace(face, person=person) for face in session.moment.faces)
    moment = dataclasses.replace(session.moment, time_s=time_s, faces=faces)
    return dataclasses.replace(session, moment=moment)


def shown_at(session, times_s, person=0):
    before = None
    for time_s in times_s:
        session = seen_at(session, time_s, person)
        before = (session, view.render(session, before))
    return before


def test_the_trail_forgets_what_is_old_and_stays_short(talking):
    _, page = shown_at(talking, [i / 20 for i in range(400)])
    times_s = [trace.time_s for trace in page.trail]
    assert times_s[-1] == pytest.approx(19.95)
    assert times_s == sorted(times_s)
    assert times_s[0] > 19.95 - view.TRAIL_S
    assert 20 < len(times_s) <= view.TRAIL_S / view.TRAIL_STEP_S + 2


def test_a_moment_that_is_shown_again_adds_nothing(talking):
    session, page = shown_at(talking, [0.0, 0.5])
    assert view.render(session, (session, page)).trail == page.trail


def test_another_face_begins_a_trail_of_its_own(talking):
    before = shown_at(talking, [0.0, 0.5, 1.0])
    session = seen_at(talking, 1.5, person=1)
    assert [t.person for t in view.render(session, before).trail] == [1]
    gone = dataclasses.replace(session, moment=None)
    assert view.render(gone, before).trail == ()


# -- the talk so far ------------------------------------------------------------------------------


def test_the_time_line_tells_each_turn(talking):
    turns = (
        dataclasses.replace(talking.turns[0], id=1, correction="angry"),
        talking.turns[0],
        Turn(id=4, source="voice", status="hearing"),
    )
    page = view.render(dataclasses.replace(talking, turns=turns))
    words = text_of(page.fragments["so-far"])
    assert "Angry my dog ran away Angry, as you say" in words
    assert "Sad my dog ran away Sad, 70 % sure" in words
    assert "… nothing read" in words
    assert view.render(dataclasses.replace(talking, turns=())).fragments["so-far"] == ""


def test_long_words_are_cut_on_the_time_line(talking):
    turn = dataclasses.replace(talking.turns[0], text="word " * 200)
    html = view.render(dataclasses.replace(talking, turns=(turn,))).fragments["so-far"]
    assert html.count("word") <= MARKED_WORDS / 5


def test_both_forms_of_the_talk_can_be_saved(talking):
    html = view.render(talking).fragments["so-far"]
    assert re.findall(r'data-save="(\w+)"', html) == ["text", "json"]


def test_the_time_line_is_not_drawn_again_while_an_answer_streams(talking, monkeypatch):
    page = view.render(talking)
    answered = dataclasses.replace(talking.turns[0], reply="Oh no. I am sorry.")
    session = dataclasses.replace(talking, turns=(answered,))
    monkeypatch.setattr(view, "time_line", lambda marks: pytest.fail("drawn again"))
    shown = view.render(session, (talking, page))
    assert shown.fragments["so-far"] == page.fragments["so-far"]


# -- why ------------------------------------------------------------------------------------------


@pytest.fixture
def explained(talking):
    faces = (SeenFace(0.5, 1.0, np.zeros((8, 8, 3), np.uint8)),)
    turn = dataclasses.replace(talking.turns[0], evidence=Evidence(faces, duration_s=1.0))
    return dataclasses.replace(talking, turns=(turn,))


def test_pictures_have_a_place_of_their_own_and_are_drawn_once(explained, monkeypatch):
    page = view.render(explained)
    assert '<div id="why-3" data-slot></div>' in page.turns[3]
    assert "data:image" in page.fragments["why-3"]
    assert "data:image" not in page.turns[3]
    monkeypatch.setattr(view, "pictures", lambda evidence: pytest.fail("drawn again"))
    answered = dataclasses.replace(explained.turns[0], reply="Oh.")
    session = dataclasses.replace(explained, turns=(answered,))
    shown = view.render(session, (explained, page))
    assert shown.fragments["why-3"] is page.fragments["why-3"]


def test_pictures_that_came_later_are_shown(talking, explained):
    before = (talking, view.render(talking))
    assert "why-3" not in before[1].fragments
    assert "data:image" in view.render(explained, before).fragments["why-3"]


def test_pictures_that_went_leave_no_place(talking, explained):
    page = view.render(talking, (explained, view.render(explained)))
    assert "why-3" not in page.turns[3]
    assert "why-3" not in page.fragments


# -- correcting the words -------------------------------------------------------------------------


def test_heard_words_can_be_corrected_in_place(talking):
    html = view.render(talking).turns[3]
    assert '<form data-edit="3">' in html
    assert ">my dog ran away</textarea>" in html
    unheard = shown_turn(talking, text=None, status="unheard")
    assert 'data-edit="3"' in unheard
    typed = shown_turn(talking, source="typed")
    assert "data-edit" not in typed
    assert "data-edit" not in shown_turn(talking, text=None, status="hearing")


def test_corrected_words_say_so(talking):
    assert "You said · corrected by you" in text_of(shown_turn(talking, edited=True))


# -- for those who hear the page ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said"),
    [("answering", ""), ("answered", "Attune: Oh no."), ("stopped", "Attune: Oh no.")],
)
def test_an_answer_is_announced_once_it_is_whole(talking, status, said):
    turn = dataclasses.replace(talking.turns[0], status=status)
    session = dataclasses.replace(talking, turns=(turn,))
    assert view.render(session).fragments["announce"] == said


def test_every_fragment_has_a_place_on_the_page(talking):
    drawn = view.header() + view.stage() + view.talk()
    places = set(re.findall(r' id="([\w-]+)"', drawn))
    assert set(view.render(talking).fragments) <= places


def test_the_switch_for_the_voice_says_why_it_may_be_grey():
    assert f'<p id="aloud-why" hidden>{texts.NO_VOICE}</p>' in view.stage()


def test_every_way_to_lose_the_connection_has_words():
    assert re.findall(r"data-(\w+)=", view.header().split('id="lost"')[1]) == [
        "trying",
        "gone",
        "elsewhere",
    ]
