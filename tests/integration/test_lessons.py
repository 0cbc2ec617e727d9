import numpy as np
import pytest

from emotion.labels import EMOTIONS
from integration.lessons import TRUST, Lesson, adapted


def test_without_corrections_nothing_changes(make_estimate):
    estimate = make_estimate("happy")
    assert adapted(estimate, []) is estimate
    assert adapted(None, [Lesson(estimate.probabilities, "sad")]) is None


def test_corrections_follow_the_textbook_form(make_estimate):
    estimate = make_estimate("happy", top=0.7)
    stated = ["sad", "sad", "fear"]
    lessons = [
        Lesson(make_estimate(e, top=0.6).probabilities, s)
        for e, s in zip(["happy", "angry", "happy"], stated, strict=True)
    ]
    counts = TRUST * np.eye(len(EMOTIONS))
    for lesson in lessons:
        counts[:, EMOTIONS.index(lesson.stated)] += [lesson.read[e] for e in EMOTIONS]
    confusion = counts / counts.sum(axis=1, keepdims=True)
    wanted = np.array([estimate.probabilities[e] for e in EMOTIONS]) @ confusion
    got = [adapted(estimate, lessons).probabilities[e] for e in EMOTIONS]
    assert got == pytest.approx(wanted.tolist(), abs=1e-12)
    assert sum(got) == pytest.approx(1.0)


def test_one_correction_makes_less_sure_and_several_turn_the_reading(make_estimate):
    estimate = make_estimate("happy")
    lesson = Lesson(estimate.probabilities, "sad")
    once, often = adapted(estimate, [lesson]), adapted(estimate, [lesson] * 6)
    assert once.label == "happy"
    assert once.confidence < estimate.confidence
    assert often.label == "sad"
    assert often.valence < estimate.valence


def test_what_was_never_corrected_stays_nearly_as_it_is(make_estimate):
    lesson = Lesson(make_estimate("happy", top=0.9).probabilities, "sad")
    fear = make_estimate("fear", top=0.9)
    assert adapted(fear, [lesson] * 3).label == "fear"


def test_feelings_stay_out_of_reprs(make_estimate):
    assert "sad" not in repr(Lesson(make_estimate("happy").probabilities, "sad"))
