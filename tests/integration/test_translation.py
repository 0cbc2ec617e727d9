import pytest

from dialogue.affect import FEELINGS
from emotion.labels import EMOTIONS
from integration.lessons import Lesson
from integration.translation import FEELING_OF, joined, permitted, prevailing, to_affect


def test_every_emotion_has_one_feeling_and_every_feeling_one_emotion():
    assert tuple(FEELING_OF) == EMOTIONS
    assert sorted(FEELING_OF.values()) == sorted(FEELINGS)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_an_estimate_keeps_its_numbers_in_translation(emotion, make_estimate):
    estimate = make_estimate(emotion, emotion)
    affect = to_affect(estimate)
    assert affect.label == FEELING_OF[emotion]
    assert affect.confidence == pytest.approx(0.7)
    assert affect.valence == estimate.valence
    assert affect.arousal == estimate.arousal
    assert affect.agreement == pytest.approx(1.0)
    assert affect.channels == ("face", "voice")
    assert affect.by_channel == {"face": FEELING_OF[emotion], "voice": FEELING_OF[emotion]}
    assert sum(affect.probabilities.values()) == pytest.approx(1.0)
    assert affect.probabilities[FEELING_OF[emotion]] == pytest.approx(0.7)


def test_unclear_stays_unclear(make_estimate):
    assert to_affect(make_estimate("sad", "sad", label=None)).label is None


def test_nothing_known_is_no_affect(make_estimate):
    assert to_affect(None) is None
    assert to_affect(make_estimate("sad", "happy"), camera=False, microphone=False) is None


@pytest.mark.parametrize(
    ("camera", "microphone", "label", "channels"),
    [
        (True, True, "sad", ("face", "voice")),
        (True, False, "sad", ("face",)),
        (False, True, "happy", ("voice",)),
    ],
)
def test_a_channel_switched_off_tells_nothing(camera, microphone, label, channels, make_estimate):
    affect = to_affect(make_estimate("sad", "happy"), camera=camera, microphone=microphone)
    assert (affect.label, affect.channels) == (label, channels)
    assert tuple(affect.by_channel) == channels
    if len(channels) == 1:
        assert affect.agreement is None
        assert affect.probabilities[label] == pytest.approx(0.7)


def test_what_is_left_of_an_estimate_is_unclear_below_the_threshold(make_estimate):
    affect = to_affect(make_estimate("sad", "happy", top=0.35), camera=False)
    assert affect.label is None
    assert affect.confidence == pytest.approx(0.35)


def test_a_permitted_estimate_forgets_the_face_it_may_not_use(make_estimate):
    left = permitted(make_estimate("sad", "happy", start_s=2.0, end_s=3.0), camera=False)
    assert (left.person, left.face, left.start_s, left.end_s) == (None, None, 2.0, 3.0)
    assert left.label == "happy"


def test_an_estimate_without_face_or_voice_is_not_permitted(make_estimate):
    estimate = make_estimate("sad")
    assert permitted(estimate) is estimate
    assert permitted(estimate, camera=False) is None


def test_words_speak_beside_face_and_voice_but_not_for_them(make_estimate, make_reading):
    affect = to_affect(make_estimate("happy"), words=make_reading("sad"))
    assert affect.label == "happy"
    assert affect.channels == ("face", "words")
    assert affect.by_channel == {"face": "happy", "words": "sad"}
    assert affect.accord == "conflict"


def test_words_alone_speak_where_there_is_nothing_else(make_reading):
    affect = to_affect(None, words=make_reading("fear"))
    assert (affect.label, affect.channels) == ("afraid", ("words",))


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_what_the_person_says_counts_more_than_all_that_was_read(emotion, make_estimate):
    affect = to_affect(make_estimate("happy", "happy"), correction=emotion)
    assert affect.label == FEELING_OF[emotion]
    assert affect.confidence == 1.0
    assert affect.accord == "single"


@pytest.mark.parametrize(
    ("face", "words", "prevails"),
    [
        ("neutral", ("sad", 0.9), "words"),
        (None, ("sad", 0.9), "words"),
        ("neutral", ("sad", 0.5), "face"),
        ("neutral", ("neutral", 0.9), "face"),
        ("happy", ("sad", 0.9), "face"),
    ],
)
def test_clear_words_prevail_over_a_face_that_shows_nothing(
    make_estimate, make_reading, face, words, prevails
):
    estimate = make_estimate(face) if face else None
    whole = prevailing(estimate, make_reading(*words))
    expected = words[0] if prevails == "words" else face
    assert whole.label == expected
    affect = to_affect(estimate, words=make_reading(*words))
    assert affect.label == FEELING_OF[expected]
    assert affect.channels == (("face", "words") if face else ("words",))
    assert affect.accord == ("conflict" if face == "happy" else "agree" if face else "single")


def test_an_unclear_face_leaves_the_word_to_clear_words(make_estimate, make_reading):
    unclear = make_estimate("angry", label=None, top=0.3)
    assert prevailing(unclear, make_reading("sad", 0.9)).label == "sad"
    assert prevailing(unclear, make_reading("sad", 0.3)) is unclear
    assert prevailing(None, None) is None


def test_what_corrections_taught_changes_the_affect_and_not_its_channels(make_estimate):
    estimate = make_estimate("happy", "happy")
    lesson = Lesson(estimate.probabilities, "sad")
    affect = to_affect(estimate, lessons=[lesson] * 6)
    assert affect.label == "sad"
    assert affect.valence < estimate.valence
    assert affect.by_channel == {"face": "happy", "voice": "happy"}
    assert to_affect(estimate, correction="fear", lessons=[lesson]).label == "afraid"


def test_the_utterances_of_a_turn_are_joined_by_their_length(make_estimate):
    long, short = make_estimate("sad", end_s=3.0), make_estimate("happy", start_s=4.0, end_s=5.0)
    whole = joined([long, short])
    assert (whole.start_s, whole.end_s, whole.label) == (0.0, 5.0, "sad")
    for emotion in EMOTIONS:
        wanted = 0.75 * long.probabilities[emotion] + 0.25 * short.probabilities[emotion]
        assert whole.probabilities[emotion] == pytest.approx(wanted, abs=1e-12)
    assert whole.voice is None
    assert whole.face.label == "sad"


def test_of_a_turn_without_estimates_or_with_one_there_is_nothing_to_join(make_estimate):
    assert joined([]) is None
    estimate = make_estimate("sad")
    assert joined([estimate]) is estimate


def test_a_turn_half_of_which_has_a_face_keeps_what_there_is(make_estimate):
    heard, both = make_estimate(None, "sad"), make_estimate("happy", "sad", start_s=2.0, end_s=3.0)
    whole = joined([heard, both])
    assert whole.face == both.face
    assert whole.voice.label == "sad"
    assert sum(whole.probabilities.values()) == pytest.approx(1.0)
