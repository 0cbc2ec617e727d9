"""A few facts of turns that are no longer read: names, events, feelings.

They are found by rules that anybody can read. The rules know English only and miss much, and they
quote: what happened is told in the person's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from statistics import fmean
from typing import Final

from dialogue.affect import Feeling, Trend, UserAffect
from dialogue.conversation import Message

__all__ = ["Memory", "remember", "trend_over"]

TREND_FROM: Final = 0.2
"""Least difference of mean valence between a talk's later and earlier half, of a range of 2."""
_TREND_LEAST: Final = 4

_TREND_WORDS: Final[Mapping[Trend, str]] = {
    "lifting": "they got lighter",
    "sinking": "they got heavier",
}

_MOST_PEOPLE: Final = 6
_MOST_EVENTS: Final = 5
_MOST_FEELINGS: Final = 4
_MOST_WORDS: Final = 12


@dataclass(frozen=True)
class Memory:
    """What was told and shown in turns that are no longer read.

    Attributes:
        name: What the person is called, or None.
        people: Relation and name of others: `("dog", "Bruno")`.
        events: What happened to whom, in the person's words; oldest first.
        feelings: How the person seemed to feel, each as long as it lasted; oldest first.
        trend: Where the valence went over these turns, or None where too little is known.
    """

    name: str | None = field(default=None, repr=False)
    people: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    events: tuple[str, ...] = field(default=(), repr=False)
    feelings: tuple[Feeling, ...] = field(default=(), repr=False)
    trend: Trend | None = field(default=None, repr=False)

    def write(self) -> str:
        """Write the facts as one line for a model; empty where nothing is known.

        >>> Memory("Anna", (("dog", "Bruno"),), ("my dog ran away",), ("sad", "happy")).write()
        '[Earlier: their name is Anna; their dog is Bruno; "my dog ran away"; seemed sad, happy]'
        """
        facts = [f"their name is {self.name}"] if self.name else []
        facts += [f"their {relation} is {name}" for relation, name in self.people]
        facts += [f'"{event}"' for event in self.events]
        if self.feelings:
            facts.append(f"seemed {', '.join(self.feelings)}")
        if self.trend not in (None, "steady"):
            facts.append(_TREND_WORDS[self.trend])
        return f"[Earlier: {'; '.join(facts)}]" if facts else ""

    def shorter(self) -> Memory:
        """Leave out one fact: the oldest event, then the oldest feeling, then a person."""
        if self.events:
            return replace(self, events=self.events[1:])
        if self.feelings:
            return replace(self, feelings=self.feelings[1:])
        return replace(self, people=self.people[1:]) if self.people else Memory()


def remember(messages: Iterable[Message]) -> Memory:
    """Condense the user's turns into facts, by rules.

    Args:
        messages: In order of time, as they were said: without notes.
    """
    told = [message for message in messages if message.role == "user"]
    affects = [message.affect for message in told if message.affect is not None]
    name: str | None = None
    people: dict[str, str] = {}
    events: dict[str, None] = {}
    for message in told:
        name = _own_name(message.content) or name  # who says it again corrects it
        people |= _people(message.content)
        events |= dict.fromkeys(_events(message.content))
    labels = [affect.label for affect in affects if affect.label is not None]
    return Memory(
        name,
        tuple(people.items())[-_MOST_PEOPLE:],
        tuple(events)[-_MOST_EVENTS:],
        tuple(label for label, _ in groupby(labels))[-_MOST_FEELINGS:],
        trend_over(affects),
    )


def trend_over(affects: Sequence[UserAffect]) -> Trend | None:
    """Compare the mean valence of many turns' later half with that of their earlier one.

    `dialogue.affect.trend_of` compares the newest turn with the few before it.

    Args:
        affects: In order of time; those that are unclear do not count.

    Returns:
        None for fewer than four clear ones.
    """
    valences = [affect.valence for affect in affects if affect.label is not None]
    if len(valences) < _TREND_LEAST:
        return None
    half = len(valences) // 2
    change = fmean(valences[-half:]) - fmean(valences[:half])
    if abs(change) < TREND_FROM:
        return "steady"
    return "lifting" if change > 0 else "sinking"


_RELATION: Final = (
    r"sister|brother|mother|mom|mum|father|dad|son|daughter|wife|husband|partner|boyfriend"
    r"|girlfriend|fianc[eé]e?|(?:best )?friend|boss|teacher|dog|cat|puppy|kitten|horse|rabbit|baby"
    r"|grandmother|grandma|grandfather|grandpa|aunt|uncle|cousin|niece|nephew|neighbou?r"
    r"|colleague|roommate|therapist"
)
_OWN_NAME: Final = re.compile(
    r"\b(?:my name(?: is|'s)|(?:i am|i'm) called|call me)\s+(?P<name>[A-Za-z][\w'-]*)",
    re.IGNORECASE,
)
_NAMED: Final = re.compile(
    rf"\bmy (?:\w+ )?(?P<relation>{_RELATION})(?:'s name is| is (?:called|named)|,? named"
    r"|,? called)\s+(?P<name>[A-Za-z][\w'-]*)",
    re.IGNORECASE,
)
_BESIDE: Final = re.compile(
    rf"\b[Mm]y (?:\w+ )?(?P<relation>{_RELATION}),? (?P<name>[A-Z][a-z]+(?:-[A-Z][a-z]+)?)\b"
)
_NO_NAMES: Final = frozenset(
    str.split(
        "im a an and the or if in on at up it i'm i me my you your he she they we not no yes so "
        "but that this what when who how why is was are be been just very really also always never "
        "maybe later back again crazy stupid old-fashioned mad weird lazy selfish names whatever "
        "anything something today tomorrow yesterday tonight sick out over for to because about "
        "with off monday tuesday wednesday thursday friday saturday sunday january february march "
        "april may june july august september october november december christmas easter god said "
        "says told called after "
    )
)


def _own_name(text: str) -> str | None:
    names = [_name(match, "call me" in match[0].lower()) for match in _OWN_NAME.finditer(text)]
    return next((name for name in reversed(names) if name), None)


def _people(text: str) -> dict[str, str]:
    found = {}
    for pattern in (_BESIDE, _NAMED):
        for match in pattern.finditer(text):
            # "my boss called yesterday" names nobody
            name = _name(match, "is" not in match[0].split() and "name" not in match[0])
            if name:
                found[match["relation"].lower()] = name
    return found


def _name(match: re.Match[str], only_capital: bool) -> str | None:
    name = re.sub(r"'s$", "", match["name"])
    if name.lower() in _NO_NAMES or (only_capital and not name[0].isupper()):
        return None
    return name[0].upper() + name[1:]


_THINGS: Final = (
    r"job|house|home|apartment|flat|car|wallet|phone|keys?|money|ring|baby|pregnancy|friends?"
    r"|dog|cat|game|match|battle|mother|mom|mum|father|dad|son|daughter|wife|husband|brother"
    r"|sister|grandmother|grandma|grandfather|grandpa|aunt|uncle|cousin|license|scholarship"
)
_HAPPENED: Final = (
    r"(?:just )?(?:died|passed away|ran away|quit|retired|graduated|proposed|gave birth|won\b(?!')"
    r"|broke up|split up|relapsed|miscarried|left (?:me|us)|cheated on|adopted"
    r"|moved (?:to|out|in|away|back)|dropped out"
    r"|got (?:married|divorced|engaged|fired|promoted|hired|accepted|rejected|pregnant|mugged"
    r"|robbed|arrested|diagnosed|into an?|into college|laid off|dumped|hit by"
    r"|a (?:new )?(?:job|puppy|dog|cat|house|raise|promotion|divorce))"
    r"|(?:was|were|been|is being) (?:fired|laid off|diagnosed|robbed|mugged|attacked|accepted"
    r"|rejected|promoted|hospitali[sz]ed|arrested|bullied|dumped|in an accident)"
    rf"|lost (?:my|our|his|her|their|the|a) (?:\w+ )?(?:{_THINGS})\b"
    r"|(?:failed|passed) (?:my|the|his|her|their|an?) (?:\w+ )?(?:exams?|tests?|class|course|bar)\b"
    r"|had (?:a |an |my |his |her )?(?:\w+ )?(?:baby|accident|surgery|miscarriage|stroke"
    r"|heart attack|breakdown|operation)\b"
    r"|is (?:pregnant|dying|getting married|in (?:the )?hospital))"
)
_WHO: Final = r"i|we|he|she|they|somebody|someone"
_EVENT: Final = re.compile(
    rf"\b(?:(?:{_WHO})(?:'ve|'s)? |my (?:(?!(?:{_WHO}|and|but)\b)[\w']+ ){{1,5}}?(?:and i )?)"
    rf"(?:have |has |had )?(?:just |finally |recently |also |then |actually )?"
    rf"{_HAPPENED}\b",
    re.IGNORECASE,
)
_UNREAL: Final = re.compile(
    r"\b(?:if|when|unless|until|before|hope\w*|wish\w*|dream\w*|dreamt|imagin\w*|pretend\w*|maybe"
    r"|might|afraid|scared|worr\w+|fear\w*|think|thought|feel\w* like|as though|what would"
    r"|almost|nearly|never|not|\w+n't|movie|film|book|show|story|character)\b",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(r"[^.!?;\n]+[.!?;\n]*")


def _events(text: str) -> list[str]:
    """Quote what happened, clause by clause; questions, wishes and denials are left out."""
    found = []
    for clause in _CLAUSE.findall(text.replace("’", "'")):
        match = _EVENT.search(clause)
        if match is None or "?" in clause or _UNREAL.search(clause[: match.end()]):
            continue
        words = re.split(r"[^\w' -]|\b(?:but|because)\b", clause[match.start() :])[0].split()
        found.append(" ".join(words[:_MOST_WORDS]) + "…" * (len(words) > _MOST_WORDS))
    return found
