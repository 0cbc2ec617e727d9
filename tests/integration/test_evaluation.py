"""The recogniser, lent to the evaluation of dialogue."""

import numpy as np
import pytest

from dialogue.affect import FEELINGS
from emotion.labels import EMOTIONS
from integration.evaluation import RecognizerReader
from integration.translation import FEELING_OF


class Spells:
    """Reads the emotion that a text names, and gives the estimates it was told to."""

    def __init__(self, *estimates):
        self.estimates = list(estimates)

    def recognize(self, path):
        return self.estimates

    def recognize_words(self, text):
        named = [0.7 if emotion in text else 0.05 for emotion in EMOTIONS]
        return np.array(named, np.float32)


@pytest.fixture
def reader():
    return RecognizerReader(Spells(), "spells")


def test_words_are_read_as_in_a_live_talk(reader):
    affects = reader.affects([f"Some {emotion}." for emotion in EMOTIONS])
    assert [affect.label for affect in affects] == [FEELING_OF[emotion] for emotion in EMOTIONS]
    assert {affect.channels for affect in affects} == {("words",)}
    assert affects[0].confidence == pytest.approx(0.7)


def test_distributions_are_in_the_order_of_feelings(reader):
    found = reader.distributions([f"Some {emotion}." for emotion in EMOTIONS])
    assert found.dtype == np.float64
    said = [FEELINGS[row.argmax()] for row in found]
    assert said == [FEELING_OF[emotion] for emotion in EMOTIONS]
    assert reader.distributions([]).shape == (0, 7)


def test_a_clip_is_that_of_whoever_is_there_longest(make_estimate, tmp_path):
    from dataclasses import replace

    other = replace(make_estimate("happy", end_s=1.0), person=1)
    mine = [make_estimate("sad", start_s=n, end_s=n + 1.0) for n in range(3)]
    affect = RecognizerReader(Spells(other, *mine), "spells").clip(tmp_path, "Some neutral words.")
    assert (affect.label, affect.channels) == ("sad", ("face", "words"))
    assert RecognizerReader(Spells(), "spells").clip(tmp_path, "Hello.") is None


@pytest.mark.data
def test_a_real_clip_is_read_by_face_voice_and_words(data_root):
    reader = RecognizerReader.load("cpu")
    clip = data_root / "clips" / "01-01-06-01-02-01-09.mp4"
    affect = reader.clip(clip, "Dogs are sitting by the door.")
    assert affect.channels == ("face", "voice", "words")
    assert "sha256" in reader.name
