"""The check for a person in danger.

`crisis_cases.tsv` holds one case a line: the danger (or `none`), the form, the words. They were
written in four parts, each before the rules were touched again; the parts that were kept closed
were scored once and then became part of what the rules are developed on: recall at first sight was
121 of 124 on the closed half of the first part, and 88 of 116, 46 of 61 and 37 of 55 on the three
written later in other words. The cases below therefore guard what was reached; how much of other
people's words is caught is nearer to the later figures.
"""

import gzip
import json
from pathlib import Path

import pytest

from dialogue.danger import DANGERS, find_danger, spell_out
from dialogue.errors import InputError
from dialogue.safeguards import HELP, Guarded, crisis_answer, is_crisis

CASES = [
    line.split("\t")
    for line in (Path(__file__).parent / "crisis_cases.tsv").read_text().splitlines()
]
DANGER = [(kind, text) for kind, _, text in CASES if kind != "none"]
ORDINARY = [text for kind, _, text in CASES if kind == "none"]
SPOKEN = (
    "I can not go on I will kill myself",
    "I do not know why I don't just kill myself",
    "nobody loves me my dad hates me i wanna die",
    "I’ve been thinking about suicide a lot lately",
)


class Parrot:
    """A model that repeats what it was asked."""

    def stream(self, messages, *, affect=None, cancel=None):
        yield messages[-1].content

    def reply(self, messages, *, affect=None):
        return messages[-1].content


def ask(model, text):
    return model.reply([{"role": "user", "content": text}])


def test_there_are_enough_cases_of_every_kind_and_form():
    assert len(CASES) >= 600
    assert {kind for kind, _, _ in CASES} == {*DANGERS, "none"}
    forms = {form for _, form, _ in CASES}
    assert {"negation", "third_person", "misspelt", "denied", "look_alike"} <= forms


def test_danger_is_heard():
    missed = [text for _, text in DANGER if not is_crisis(text)]
    assert len(missed) / len(DANGER) <= 0.02, missed
    assert all(map(is_crisis, SPOKEN))


def test_the_kind_of_danger_is_told():
    right = sum(find_danger(text) == kind for kind, text in DANGER)
    assert right / len(DANGER) >= 0.97


def test_ordinary_words_are_no_alarm():
    alarms = [text for text in ORDINARY if is_crisis(text)]
    assert len(alarms) / len(ORDINARY) <= 0.01, alarms


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("I’m gona k1ll myslef", "i am going to kill myself"),
        ("i hav sucidal thougts", "i have suicidal thoughts"),
        ("I wanna dieeee", "i want to die"),
        ("he punched me", "he punched me"),
        ("don't", "do not"),
    ],
)
def test_slips_are_put_right_and_words_left_alone(text, spelt):
    assert spell_out(text) == spelt


def test_a_hidden_letter_hides_nothing():
    assert is_crisis("I want to ki\u200bll myself")


def test_no_model_speaks_to_a_person_in_danger():
    guarded = Guarded(Parrot())
    assert ask(guarded, SPOKEN[0]) == crisis_answer("self_harm")
    assert ask(guarded, "My husband hits me.") == crisis_answer("abuse")
    assert ask(guarded, "Hello.") == "Hello."


@pytest.mark.parametrize("danger", DANGERS)
def test_the_answer_names_help_of_every_region_and_that_it_is_a_program(danger):
    answer = crisis_answer(danger)
    assert all((h.abuse if danger == "abuse" else h.talk) in answer for h in HELP.values())
    assert "computer program" in answer
    assert answer.endswith("?")


def test_a_region_names_its_own_lines_alone():
    answer = ask(Guarded(Parrot(), region="DE"), SPOKEN[0])
    assert "TelefonSeelsorge" in answer
    assert "please call 112" in answer
    assert "988" not in answer


def test_an_unknown_region_is_refused():
    with pytest.raises(InputError, match=r"Expected a region out of US, .* got 'XX'"):
        Guarded(Parrot(), region="XX")


def test_a_long_text_is_read_to_its_end_in_a_moment():
    assert find_danger("I had tea and went to see my friend, he said hello. " * 400) is None
    assert is_crisis("It rained all day and I was at home. " * 200 + "I want to kill myself.")


# Alarms on all turns of those who tell, true ones with them; see the test's last line.
MOST_ALARMS = {"empathetic_dialogues": 0.0020, "esconv": 0.0050, "counsel_chat": 0.12}


@pytest.mark.data
@pytest.mark.slow
def test_alarms_are_rare_in_ordinary_talk_of_feelings(data_root):
    heard, alarms = {}, {}
    for corpus in MOST_ALARMS:
        told = list(told_in(data_root, corpus))
        heard[corpus], alarms[corpus] = len(told), sum(map(is_crisis, told))
        assert alarms[corpus] / heard[corpus] <= MOST_ALARMS[corpus], corpus
    assert sum(heard.values()) > 58_000
    assert sum(alarms.values()) / sum(heard.values()) < 0.01  # true ones with them


def told_in(root, corpus):
    with gzip.open(root / f"dialogue/{corpus}.jsonl.gz", "rt") as lines:
        for line in lines:
            for turn in json.loads(line)["turns"]:
                if turn["speaker"] == "A":
                    yield turn["text"].replace("_comma_", ",")
