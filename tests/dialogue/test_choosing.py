"""What is not said, and what is said instead."""

from typing import get_args

import pytest

from dialogue.affect import Act, UserAffect
from dialogue.choosing import GRAVE_LATER_FROM, SAFE, beyond, faults, is_grave, safe_answer
from dialogue.conditioning import over_attributes
from dialogue.text import bare

HAPPY = UserAffect("happy", confidence=0.9, channels=("face", "voice"), agreement=0.9)
SAD = UserAffect("sad", confidence=0.7, channels=("face", "voice"), agreement=0.9)
DEAD = ["My dog died on Sunday.", "I am so sorry.", "The house is so quiet now."]


@pytest.mark.parametrize(
    ("text", "said", "count"),
    [
        ("That is good to hear.", [], 0.0),
        ("That is is good to hear.", [], 1.0),
        ("She said that she said that she cares.", [], 1.5),
        ('She said "yes and left me.', [], 1.5),
        ("That is good to hear", [], 1.0),
        ("Oh.", [], 1.0),
        ("That is good to hear.", ["That is good to hear!"], 1.0),
        ("I am sorry to hear that. That is great.", [], 1.0),
    ],
)
def test_faults(text, said, count):
    assert faults(text, said) == count


@pytest.mark.parametrize(
    ("text", "affect", "count"),
    [
        ("I am so sorry for you.", HAPPY, 1.0),
        ("That is wonderful to hear.", HAPPY, 0.0),
        ("That is wonderful to hear.", UserAffect("sad", confidence=0.6), 1.0),
        ("That is wonderful to hear.", UserAffect("angry", confidence=0.4), 0.0),
        ("Tell me about that.", UserAffect(None), 0.5),
        ("Will you tell me about that?", UserAffect(None), 0.0),
        ("You should try to go out more.", SAD, 0.5),
        ("You should try to go out more.", HAPPY, 0.0),
    ],
)
def test_a_tone_that_does_not_fit_is_a_fault(text, affect, count):
    assert faults(text, [], affect) == count


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("How old was he?", ["He was fourteen."]),
        ("How long ago was that?", ["It happened ten years ago."]),
        ("How long have you had it?", ["I have had it for a year."]),
        ("You should call the police.", ["I don't want to call the police."]),
        ("Did you find it?", ["I found my ring again."]),
        ("I hope you find him soon.", DEAD),
        ("I hope your dog is okay!", DEAD),
        ("Is he a good dog?", DEAD),
        ("That is great!", ["Nobody came and I was so lonely."]),
        ("I love that cake too.", ["I baked a cake."]),
        ("I am sure she was afraid to ask.", ["My sister called me."]),
        ("What kind of pizza was it?", ["I went to the library."]),
        ("It smells of the smell.", ["The smell was bad."]),
        ("That is really so sad.", ["I lost it.", "That is so sad.", "I miss it."]),
    ],
)
def test_what_goes_against_the_talk_is_not_said(answer, said):
    assert faults(answer, said) >= GRAVE_LATER_FROM


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("What kind of cake was it?", ["I baked a cake."]),
        ("Oh no! What happened?", ["My dog ran away."]),
        ("That must be very hard for you.", DEAD),
        ("I can understand that.", ["I don't want another dog."]),
        ("That is so sad. How is your mother?", ["My mother lost her ring."]),
    ],
)
def test_what_a_kind_listener_says_is_said(answer, said):
    assert faults(answer, said) < GRAVE_LATER_FROM


def test_every_act_has_safe_answers_that_say_nothing_wrong():
    assert set(SAFE) == set(get_args(Act))
    for act, answers in SAFE.items():
        assert len({bare(text) for text in answers}) == len(answers) >= 4, act
        assert not [text for text in answers if over_attributes(text)]
        assert all(len(text.split()) <= 16 for text in answers)


def test_a_safe_answer_is_new_and_fits_the_act():
    said = ["My dog died on Sunday."]
    for _ in range(12):
        answer = safe_answer(said, SAD)
        assert bare(answer) not in {bare(text) for text in said}
        said += [answer, "Yes."]
    assert said[1] in SAFE["comfort"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Are you a robot?", "program"),
        ("What's your name?", "program"),
        ("What is the capital of Peru?", "know"),
        ("Is anybody there?", "here"),
        ("Well, thanks for listening to me.", "welcome"),
        ("Good night!", "Goodbye"),
    ],
)
def test_what_is_beyond_a_small_model_is_answered_without_it(text, word):
    assert word in beyond([text])


@pytest.mark.parametrize(
    "story",
    [
        "I thanked him and then I had to go.",
        "What would you do?",
        "I never got to say goodbye to my grandmother.",
        "Thanks to my boss I lost my job today.",
        "My mother asked me who are you. It is the dementia.",
        "What is the point of going on with this job?",
        "Good night's sleep at last!",
    ],
)
def test_a_story_is_not_beyond_it(story):
    assert beyond([story]) is None


@pytest.mark.parametrize(
    "text", ["Goodbye!", "Okay, see you tomorrow.", "And who are you?", "Hi, what's your name?"]
)
def test_a_farewell_and_a_question_about_itself_are(text):
    assert beyond([text]) is not None


@pytest.mark.parametrize("text", ["We lost a dog too.", "Me too, it is hard.", "My sister did."])
def test_a_life_of_its_own_is_a_fault_wherever_it_stands(text):
    assert faults(text, ["My dog died and my sister cried."]) >= 1


def test_an_answer_that_names_a_feeling_unasked_is_a_fault():
    assert faults("You seem sad about that.", ["My dog ran away."], SAD) >= 1.0
    assert faults("You seem sad about that.", ["I am sad."], SAD) == 0.0


def test_late_in_a_talk_less_is_dared():
    assert not is_grave(0.5, ["It rained."])
    assert is_grave(1.0, ["It rained."])
    assert is_grave(0.5, ["It rained."] * 7)
