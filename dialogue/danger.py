"""Whether somebody's words speak of danger: the phrases of `danger.toml` in plainly spelt English.

It is a net with holes: it reads English words only, and silence proves nothing. What it finds does
not count where it is denied ("I would never …"), is a figure of speech ("… of embarrassment"), is
told of a film or a book, or is long over.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, get_args

from dialogue.danger_phrases import Classes, Phrase, read_classes
from dialogue.danger_spelling import spell_out
from dialogue.tables import read_table

__all__ = ["DANGERS", "Danger", "find_danger", "phrases_heard", "spell_out"]

Danger = Literal["self_harm", "other_at_risk", "harm_to_others", "abuse"]
"""The person themself; somebody they speak of; somebody they, or that one, may harm; abuse of them
or of somebody they know."""
DANGERS: Final[tuple[Danger, ...]] = get_args(Danger)


# What makes words harmless stands near them: spoken sentences run on, over many things.
_NEAR_WORDS: Final = 7
_FIRST: Final = re.compile(r"(?<!\S)(?:i|my|myself|(?<!told )(?<!sent )me) ")


@dataclass(frozen=True)
class _Rule:
    """A phrase of danger, read for one person.

    Attributes:
        danger: What it speaks of.
        phrase: Of the table.
        of: Whose words or deeds it must be; None if it says so itself.
        unless: Phrases in the same sentence that make it harmless.
    """

    danger: Danger
    phrase: Phrase
    of: Literal["speaker", "other"] | None
    unless: tuple[Phrase, ...]


@dataclass(frozen=True)
class _Table:
    """What `danger.toml` says, ready for use."""

    rules_by_word: Mapping[str, tuple[_Rule, ...]]
    denied: re.Pattern[str]
    subject: Phrase
    harmless: tuple[Phrase, ...]
    over: tuple[Phrase, ...]


def find_danger(text: str) -> Danger | None:
    """Say what danger somebody's words speak of, or None.

    Several at once are answered by the first of DANGERS.

    >>> find_danger("I want to kill myself."), find_danger("This exam is killing me.")
    ('self_harm', None)
    """
    found = {danger for danger, _ in phrases_heard(text)}
    return next((danger for danger in DANGERS if danger in found), None)


def phrases_heard(text: str) -> Iterator[tuple[Danger, str]]:
    """Yield every phrase of the table that the words hold, and its danger.

    >>> list(phrases_heard("I'd sooner be dead."))
    [('self_harm', '(rather|prefer to|sooner) be dead')]
    """
    for sentence in _sentences(spell_out(text)):
        for rule in _rules_for(sentence):
            if any(_is_meant(rule, sentence, m) for m in rule.phrase.found_in(sentence)):
                yield rule.danger, rule.phrase.text


def _sentences(plain: str) -> Iterator[str]:
    """Cut plainly spelt text into sentences of words, a space after each."""
    pauses = re.sub(r"\.{2,}|…", " ", plain)
    for sentence in re.split(r"[.?!;:\n]+(?=\s|$)|\n", pauses):
        words = re.findall(r"[a-z0-9][a-z0-9']*", sentence)
        if words:
            yield " ".join(words) + " "


def _rules_for(sentence: str) -> list[_Rule]:
    by_word = _table().rules_by_word
    found = {id(rule): rule for word in set(sentence.split()) for rule in by_word.get(word, ())}
    return list(found.values())


def _is_meant(rule: _Rule, sentence: str, match: re.Match[str]) -> bool:
    table = _table()
    is_deed = match.groupdict().get("act") is not None
    deed = match.start("act") if is_deed else match.end()
    if is_deed and table.denied.search(sentence[:deed]):
        return False
    if rule.of and rule.of != _whose(sentence[:deed]):
        return False
    near = _near(sentence, match)
    words = set(near.split())
    quiet = (phrase for phrase in (*rule.unless, *table.harmless) if phrase.needs & words)
    if any(phrase.found_in(near) for phrase in quiet):
        return False
    return not all(phrase.found_in(sentence) for phrase in table.over)


def _near(sentence: str, match: re.Match[str]) -> str:
    """Return what matched with the words around it."""
    before = sentence[: match.start()].split()[-_NEAR_WORDS:]
    after = sentence[match.end() :].split()[:_NEAR_WORDS]
    return " ".join([*before, *match[0].split(), *after]) + " "


def _whose(said: str) -> Literal["speaker", "other"]:
    """Say whose deed words lead up to: another's if one is named and no "I" or "my" comes after."""
    named = [found.end() for found in _table().subject.found_in(said)]
    since = said[named[-1] :] if named else "i "
    return "speaker" if _FIRST.search(since) else "other"


@cache
def _table() -> _Table:
    table = read_table("danger.toml")
    words = read_classes(table["words"], {})
    by_word: defaultdict[str, list[_Rule]] = defaultdict(list)
    for rule in _rules(table, words):
        for word in rule.phrase.needs:
            by_word[word].append(rule)
    quiet = table["quiet"]
    return _Table(
        rules_by_word={word: tuple(rules) for word, rules in by_word.items()},
        denied=re.compile(
            rf"(?<!\S)(?:{'|'.join(quiet['denials'])})(?: (?:{'|'.join(quiet['between'])}))* $"
        ),
        subject=Phrase.read("<they>", words),
        harmless=_phrases(quiet["harmless"], words),
        over=tuple(Phrase.read(f"({'|'.join(quiet[key])})", words) for key in ("past", "well")),
    )


def _rules(table: Mapping[str, Any], words: Classes) -> Iterator[_Rule]:
    persons = {name: read_classes(forms, words) for name, forms in table["who"].items()}
    for section in table["section"]:
        for who, danger in section["danger"].items():
            classes = persons[who]
            unless = _phrases(section.get("unless", []), classes)
            of = who if section.get("whose", False) else None
            for text in section["say"]:
                yield _Rule(danger, Phrase.read(text, classes), of, unless)


def _phrases(texts: list[str], classes: Classes) -> tuple[Phrase, ...]:
    return tuple(Phrase.read(text, classes) for text in texts)
