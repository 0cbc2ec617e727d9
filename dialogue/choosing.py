"""What is wrong with a drawn answer, and what is said where none will do.

A model this small often misreads. What it should not say to a person can be told from the words by
rules that anybody can read and mend, in `choosing.toml`; where all it has to say breaks them, it
says something short that is true of any such talk. English only.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

from dialogue.affect import Act, UserAffect, policy_for
from dialogue.conditioning import over_attributes
from dialogue.tables import read_table
from dialogue.text import bare

__all__ = ["SAFE", "beyond", "faults", "is_grave", "is_late", "safe_answer"]

GRAVE_FROM: Final = 1.0
"""Faults from which an answer is not said."""
GRAVE_LATER_FROM: Final = 0.5
"""The same late in a talk."""
LATER_TURNS: Final = 5
_STEM: Final = 5
"""Letters by which kindred words are alike."""

_TABLE: Final = read_table("choosing.toml")


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    """Compile patterns of the table; each <name> is one of its parts."""
    whole = "|".join(patterns)
    while whole != (filled := re.sub(r"<(\w+)>", _part, whole)):
        whole = filled
    return re.compile(whole, re.IGNORECASE)


def _part(match: re.Match[str]) -> str:
    return f"(?:{'|'.join(_TABLE['parts'][match[1]])})"


def _words(patterns: Sequence[str]) -> re.Pattern[str]:
    return _any_of([rf"\b(?:{'|'.join(patterns)})\b"])


def _pairs(rules: Sequence[Mapping[str, Sequence[str]]]) -> tuple[_Rule, ...]:
    return tuple((_any_of(rule["when"]), _any_of(rule["wrong"])) for rule in rules)


_Rule = tuple[re.Pattern[str], re.Pattern[str]]
"""(what was told, what an answer may then not ask or say)."""
_TOLD: Final = _pairs(_TABLE["told"])
_LASTING: Final = _pairs(_TABLE["lasting"])
_TONE: Final = {name: _words(patterns) for name, patterns in _TABLE["tone"].items()}
_BEYOND: Final = tuple((_any_of(row["asked"]), row["answers"]) for row in _TABLE["beyond"])
_LISTENERS_WORDS: Final = frozenset(_TABLE["words"]["listeners"].split())
_EMPTY_WORDS: Final = frozenset(_TABLE["words"]["empty"].split())
SAFE: Final[Mapping[Act, Sequence[str]]] = _TABLE["safe"]
"""What fits any talk in which the policy asks for this act; complete, by test."""
_PATIENT: Final[frozenset[Act]] = frozenset({"comfort", "reassure", "calm", "validate"})
"""Acts that give no quick advice."""


def faults(text: str, said: Sequence[str], affect: UserAffect | None = None) -> float:
    """Count what is wrong with an answer; 0 is best.

    Args:
        text: The answer.
        said: Every earlier turn of the talk, by either; the last is the user's.
        affect: How the user seems to feel: gladness to the sad is a fault, and so is an answer
            without a question where the policy asks one, quick advice where it gives none, and to
            say more about a person than one should.
    """
    words = _plain(text).split()
    trigrams = _grams(words, 3)
    found = float(len(set(trigrams)) < len(trigrams))
    found += re.search(r"\b(\w+) \1\b", text, re.IGNORECASE) is not None
    found += text.count('"') % 2 + (text[-1:] not in '.!?"')
    found += max((_overlap(words, _plain(earlier).split()) for earlier in said), default=0.0)
    newest = said[-1] if said else ""
    found += over_attributes(text, affect, newest)
    found += _goes_against(text, newest, said)
    found += _says("life", text)
    found += 0.5 * _says("guess", text)
    found += _strays(words, said) + 0.5 * _repeats_itself(words, said)
    return found + (len(words) < 3) + _tone_faults(text, newest, affect)


def is_late(said: Sequence[str]) -> bool:
    """Whether a talk has more turns than those that the model learnt to listen from mostly have."""
    return len(said) >= LATER_TURNS


def is_grave(found: float, said: Sequence[str]) -> bool:
    """Whether an answer with so many faults is not said at all."""
    return found >= (GRAVE_LATER_FROM if is_late(said) else GRAVE_FROM)


def _plain(text: str) -> str:
    """Reduce a text to its lower-case words, the short forms written out."""
    text = re.sub(r"n't\b", " not", bare(text))
    for short, whole in (("'s", " is"), ("'m", " am"), ("'re", " are"), ("'ll", " will")):
        text = text.replace(short, whole)
    return text


def _strays(words: Sequence[str], said: Sequence[str]) -> float:
    """Half a fault for each of two words of things that nobody spoke of, and for one said twice."""
    things = [word[:_STEM] for word in words if word not in _LISTENERS_WORDS]
    told = {word[:_STEM] for theirs in said[-1::-2] for word in _plain(theirs).split()}
    strays = len(set(things) - told)
    return 0.5 * min(2, strays) + 0.5 * (len(set(things)) < len(things))


def _repeats_itself(words: Sequence[str], said: Sequence[str]) -> bool:
    """Whether an answer says no more than an earlier one of its own did."""
    core = set(words) - _EMPTY_WORDS
    return any(core <= set(_plain(own).split()) for own in said[-2::-2])


def _goes_against(text: str, newest: str, said: Sequence[str]) -> bool:
    def met(rules: Sequence[_Rule], told: str) -> bool:
        return any(when.search(told) and wrong.search(text) for when, wrong in rules)

    return met(_TOLD, newest) or met(_LASTING, " ".join(said))


def _says(tone: str, text: str) -> bool:
    return _TONE[tone].search(text) is not None


def _tone_faults(text: str, newest: str, affect: UserAffect | None) -> float:
    glad, sorry = _says("glad", text), _says("sorry", text)
    found = float(glad and sorry)
    found += 0.5 * (glad and _says("bad_news", newest))
    if affect is None:
        return found
    act = policy_for(affect).act
    found += 0.5 * (act == "ask" and "?" not in text)
    found += 0.5 * (act in _PATIENT and _says("advice", text))
    # A weak or contradictory signal about the face never overrules the words of the talk.
    if affect.strength != "slightly" and affect.accord != "conflict":
        found += (affect.sign > 0 and sorry) + (affect.sign < 0 and glad)
    return found


def _grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]


def _overlap(words: Sequence[str], earlier: Sequence[str]) -> float:
    """Share of the trigrams of an answer that were said before."""
    grams = set(_grams(words, 3))
    return len(grams & set(_grams(earlier, 3))) / len(grams) if grams else 0.0


# ------------------------------------------------------------------------------- safe answers


def beyond(said: Sequence[str]) -> str | None:
    """Answer what is beyond the model, such as a question about itself or the world.

    >>> beyond(["Are you a robot?"])
    'I am a small computer program that listens. What would you like to talk about?'

    Args:
        said: Every turn of the talk; the last is the user's.

    Returns:
        None where the model may answer.
    """
    for pattern, answers in _BEYOND:
        if pattern.search(said[-1]):
            return _new(answers, said)
    return None


def safe_answer(said: Sequence[str], affect: UserAffect | None) -> str:
    """Say something short that is true of any such talk and was not said yet, if there is any."""
    act = "follow" if affect is None else policy_for(affect).act
    turn = zlib.crc32(bare(said[-1]).encode()) % len(SAFE[act])  # talks begin with different ones
    choices = (
        *SAFE[act][turn:],
        *SAFE[act][:turn],
        *_TABLE["spare"]["answers"],
        *SAFE["follow"],
        *SAFE["ask"],
    )
    return _new(choices, said) or choices[0]


def _new(choices: Sequence[str], said: Sequence[str]) -> str | None:
    known = {bare(text) for text in said}
    return next((text for text in choices if bare(text) not in known), None)
