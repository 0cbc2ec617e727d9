"""The arms of the experiment: one model, told the person's feeling in four ways or not at all."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from dialogue.affect import UserAffect
from dialogue.conversation import Message
from dialogue.empathy.conversations import Exchange
from dialogue.errors import InputError

__all__ = [
    "ARMS",
    "CONTRASTS",
    "MEANINGS",
    "Arm",
    "Contrast",
    "EmotionReader",
    "Told",
    "tell",
    "told_by_arm",
]

Arm = Literal["none", "predicted", "oracle", "shuffled", "neutral"]
ARMS: Final[tuple[Arm, ...]] = get_args(Arm)

Affects = tuple[UserAffect | None, ...]
"""Of each of the person's turns, in order of time."""


@dataclass(frozen=True)
class Contrast:
    """Two rows that are compared.

    Attributes:
        row: Its replies are in question.
        other: What they are held against.
        question: What the difference answers.
    """

    row: str
    other: str
    question: str


CONTRASTS: Final[tuple[Contrast, ...]] = (
    Contrast("predicted", "none", "Does telling the recognised feeling change the replies?"),
    Contrast("predicted", "shuffled", "Does it matter that it is the right person's feeling?"),
    Contrast("oracle", "predicted", "What do the errors of recognition cost?"),
    Contrast("oracle", "none", "What would a perfect recogniser bring?"),
    Contrast("neutral", "none", "Does a note change the replies whatever it says?"),
)

MEANINGS: Final[Mapping[Arm, str]] = MappingProxyType(
    {
        "none": "nothing of any feeling.",
        "predicted": "what the recogniser reads, as in a live talk.",
        "oracle": "the label of the data, with the face, voice and words where it has them.",
        "shuffled": "what was predicted of another dialogue; each prediction once.",
        "neutral": "that the person seems calm, always.",
    }
)
"""What each arm is told, for readers; complete, by test."""

NEUTRAL: Final = UserAffect("neutral", confidence=0.65, channels=("words",))


class EmotionReader(Protocol):
    """Reads feelings; the side that knows the recogniser brings one.

    Attributes:
        name: Which reader it is, and which weights.
    """

    name: str

    def affects(self, texts: Sequence[str]) -> list[UserAffect]:
        """Read how people seem to feel from their words alone, as a live talk would."""

    def clip(self, path: Path, said: str) -> UserAffect | None:
        """Read it from a video or sound and the words said in it; None where nobody is found."""

    def distributions(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Read texts, (text, feeling) in the order of FEELINGS; each row sums to 1."""


@dataclass(frozen=True)
class Told:
    """What each arm is told.

    Attributes:
        by_arm: Arm → affects of each exchange.
        sources: Of the newest affects that were predicted: clip, words, or given in the file.
        left_out: Arm that was asked for → why it is not there.
    """

    by_arm: Mapping[str, tuple[Affects, ...]] = field(repr=False)
    sources: Mapping[str, int]
    left_out: Mapping[str, str]


def tell(exchange: Exchange, affects: Affects) -> list[Message]:
    """Write an exchange as a talk whose newest message is to be answered.

    Args:
        exchange: What was said.
        affects: Of the person's turns.
    """
    felt = iter(affects)
    return [
        Message(turn.side, turn.text, next(felt) if turn.side == "user" else None)
        for turn in exchange.turns
    ]


def told_by_arm(
    exchanges: Sequence[Exchange], arms: Sequence[str], reader: EmotionReader, seed: int
) -> Told:
    """Work out what each arm is told.

    Args:
        exchanges: All of them.
        arms: Out of ARMS; `oracle` is left out where an exchange has no label.
        reader: Predicts.
        seed: Of the shuffling.

    Raises:
        InputError: If an arm is unknown.
    """
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown:
        raise InputError(f"Expected arms out of {', '.join(ARMS)}, got {unknown[0]!r}.")
    left_out: dict[str, str] = {}
    if "oracle" in arms and (bare := [e.id for e in exchanges if e.affect is None]):
        left_out["oracle"] = f"{len(bare)} conversations have no emotion, the first is {bare[0]}"
    by_arm: dict[str, tuple[Affects, ...]] = {}
    sources: Counter[str] = Counter()
    if {"predicted", "shuffled"} & set(arms):
        by_arm["predicted"], sources = _predicted(exchanges, reader)
        by_arm["shuffled"] = _shuffled(by_arm["predicted"], seed)
    by_arm["none"] = tuple((None,) * len(affects) for affects in _labelled(exchanges))
    by_arm["oracle"] = _labelled(exchanges)
    by_arm["neutral"] = tuple((NEUTRAL,) * len(affects) for affects in by_arm["none"])
    kept: dict[str, tuple[Affects, ...]] = {
        arm: by_arm[arm] for arm in ARMS if arm in arms and arm not in left_out
    }
    return Told(kept, dict(sorted(sources.items())), left_out)


def _labelled(exchanges: Sequence[Exchange]) -> tuple[Affects, ...]:
    return tuple(tuple(t.affect for t in e.turns if t.side == "user") for e in exchanges)


def _predicted(
    exchanges: Sequence[Exchange], reader: EmotionReader
) -> tuple[tuple[Affects, ...], Counter[str]]:
    texts = [t.text for e in exchanges for t in e.turns if t.side == "user"]
    of_words = iter(reader.affects(texts))
    found: list[Affects] = []
    sources: Counter[str] = Counter()
    for exchange in exchanges:
        affects: list[UserAffect | None] = []
        for turn in exchange.turns:
            if turn.side == "user":
                words = next(of_words)
                seen = reader.clip(turn.clip, turn.text) if turn.clip and not turn.read else None
                affects.append(turn.read or seen or words)
                source = "given" if turn.read else "clip" if seen else "words"
        sources[source] += 1  # of the newest turn
        found.append(tuple(affects))
    return tuple(found), sources


def _shuffled(affects: Sequence[Affects], seed: int) -> tuple[Affects, ...]:
    """Give each talk the affects of another one, each of them once (Sattolo 1986)."""
    order = list(range(len(affects)))
    random_ = random.Random(seed)
    for last in range(len(order) - 1, 0, -1):
        other = random_.randrange(last)
        order[last], order[other] = order[other], order[last]
    return tuple(_fitted(affects[o], len(own)) for o, own in zip(order, affects, strict=True))


def _fitted(affects: Affects, length: int) -> Affects:
    """Take the newest of another talk; its first stands in where that talk was shorter."""
    return (affects[:1] * max(0, length - len(affects)) + affects)[-length:]
