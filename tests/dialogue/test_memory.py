"""What is remembered of turns that are no longer read: little, and nothing that was not told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue.affect import UserAffect
from dialogue.conversation import Message
from dialogue.memory import Memory, remember, trend_over


def told(*texts):
    return remember(Message("user", text) for text in texts)


def felt(*valences):
    return [UserAffect("sad" if v < 0 else "happy", valence=v) for v in valences]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Hello, my name is Anna.", "Anna"),
        ("my name's anna and i am tired", "Anna"),
        ("I'm called Jean-Luc.", "Jean-Luc"),
        ("Call me Ishmael.", "Ishmael"),
        ("Call me later!", None),
        ("They call me stupid.", None),
        ("My name is on the list.", None),
        ("My sister's name is Eva.", None),
        ("I am Anna.", None),  # as well: "I am Angry."
        ("His name is Bob.", None),
    ],
)
def test_what_the_person_is_called(text, name):
    assert told(text).name == name


def test_who_says_the_name_again_corrects_it():
    assert told("My name is Ana.", "No, my name is Anna.").name == "Anna"


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("My dog Bruno is ill.", (("dog", "Bruno"),)),
        ("my dog's name is bruno", (("dog", "Bruno"),)),
        ("My best friend, Mary, was there.", (("friend", "Mary"),)),
        ("my little brother is called Tom", (("brother", "Tom"),)),
        ("My sister Eva and my cat Tiger", (("sister", "Eva"), ("cat", "Tiger"))),
        ("My boss called yesterday.", ()),
        ("My boss called me.", ()),
        ("My mother May be right.", ()),
        ("my dog died", ()),
        ("My dog, Im so sad.", ()),
        ("Her dog Bruno is ill.", ()),
        ("My friend told me.", ()),
    ],
)
def test_who_belongs_to_the_person(text, people):
    assert told(text).people == people


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("Yesterday my dog ran away.", "my dog ran away"),
        ("my grandma passed away and i miss her", "my grandma passed away and i miss her"),
        ("I lost my job, and nobody helps.", "I lost my job"),
        ("I got promoted!", "I got promoted"),
        ("We just moved to Berlin.", "We just moved to Berlin"),
        ("My wife and I got divorced.", "My wife and I got divorced"),
        ("She has been diagnosed with cancer.", "She has been diagnosed with cancer"),
        ("I’ve graduated!", "I've graduated"),
        ("I failed my driving test because I was ill.", "I failed my driving test"),
        ("my sister is pregnant", "my sister is pregnant"),
        ("My boyfriend broke up with me but I am fine.", "My boyfriend broke up with me"),
    ],
)  # fmt: skip
def test_what_happened_is_quoted(text, event):
    assert told(text).events == (event,)


@pytest.mark.parametrize(
    "text",
    [
        "What if I lost my job?",
        "Has my dog died?",
        "If my dog died I would cry.",
        "My dog almost died.",
        "I never quit.",
        "I didn't quit.",
        "I dreamt that my mother died.",
        "I am afraid that I failed my exam.",
        "I hope we won.",
        "I won't go.",
        "It is quite nice, I had quite a lot.",
        "I thought I lost my phone.",
        "In the movie he died.",
        "I feel like I lost my friends.",
        "I lost my temper.",
        "I went to the shop.",
        "The battery died.",
        "I might have failed my exam.",
    ],
)
def test_what_did_not_happen_is_not_remembered(text):
    assert told(text).events == ()


def test_a_long_event_is_cut_and_says_so():
    (event,) = told("I lost my job " + "and then more " * 20).events
    assert len(event.split()) == 12
    assert event.endswith("…")


def test_the_same_event_is_remembered_once_and_only_the_newest_five():
    assert told("I quit.", "I quit.").events == ("I quit",)
    many = [f"I moved to town {number}." for number in range(9)]
    assert told(*many).events == tuple(text[:-1] for text in many[-5:])


def test_feelings_are_remembered_as_they_changed():
    labels = ["sad", "sad", None, "sad", "angry", "happy", "happy"]
    talk = [Message("user", "Hm.", UserAffect(label)) for label in labels]
    assert remember(talk).feelings == ("sad", "angry", "happy")


def test_what_the_assistant_says_is_nobodys_memory():
    assert remember([Message("assistant", "My name is Bob. I quit.")]) == Memory()


@pytest.mark.parametrize(
    ("valences", "expected"),
    [
        ((), None),
        ((-0.5, -0.5, 0.5), None),
        ((-0.5, -0.5, 0.5, 0.5), "lifting"),
        ((0.5, 0.5, 0.0, -0.5, -0.5), "sinking"),
        ((-0.5, -0.6, -0.5, -0.4), "steady"),
    ],
)
def test_the_trend_compares_the_later_half_with_the_earlier(valences, expected):
    assert trend_over(felt(*valences)) == expected


def test_an_unclear_feeling_has_no_part_in_the_trend():
    assert trend_over([UserAffect(None, valence=1.0)] * 4) is None


def test_the_line_holds_every_fact_and_an_empty_memory_none():
    talk = [
        Message("user", "My name is Anna. My dog Bruno ran away.", UserAffect("sad", valence=-0.6)),
        Message("user", "I miss him.", UserAffect("sad", valence=-0.6)),
        Message("user", "He is back!", UserAffect("happy", valence=0.8)),
        Message("user", "So good.", UserAffect("happy", valence=0.8)),
    ]
    assert remember(talk).write() == (
        '[Earlier: their name is Anna; their dog is Bruno; "My dog Bruno ran away"; '
        "seemed sad, happy; they got lighter]"
    )
    assert Memory().write() == ""


def test_a_memory_shrinks_fact_by_fact_to_nothing_and_the_name_goes_last():
    memory = Memory("Anna", (("dog", "Bruno"),), ("I quit", "I moved out"), ("sad",), "steady")
    lines = []
    while line := memory.write():
        lines.append(line)
        memory = memory.shorter()
    assert lines[-1] == "[Earlier: their name is Anna]"
    assert [len(line) for line in lines] == sorted(map(len, lines), reverse=True)
    assert len(lines) == 5


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(min_size=1).filter(str.strip), max_size=4))
def test_no_text_breaks_the_rules_and_every_event_is_a_quote(texts):
    memory = told(*texts)
    for event in memory.events:
        assert any(event.rstrip("…").split()[0] in text.replace("’", "'") for text in texts)


def test_words_never_show_in_a_repr():
    assert "Anna" not in repr(told("My name is Anna."))
