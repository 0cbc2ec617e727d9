"""Which measures there are, and their value for every dialogue of every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from dialogue.affect import FEELINGS
from dialogue.conditioning import over_attributes
from dialogue.danger import find_danger
from dialogue.empathy.annotations import MECHANISMS
from dialogue.empathy.arms import EmotionReader
from dialogue.empathy.conversations import Exchange
from dialogue.empathy.metrics import (
    appropriateness,
    asks,
    bert_scores,
    card_tokens,
    expected_levels,
    missing_package,
    profile_distance,
    rouge_l,
    words_of,
)
from dialogue.text import tidy

__all__ = ["HUMAN", "MEASURES", "Measure", "Table", "measured"]

if TYPE_CHECKING:
    from dialogue.empathy.scorer import EmpathyScorer

Floats = npt.NDArray[np.float64]

HUMAN: Final = "human"


@dataclass(frozen=True)
class Measure:
    """One column of the report.

    Attributes:
        name: In the JSON.
        title: For readers.
        better: 1 where more is better, -1 where less is, 0 where neither is.
        tested: Whether it is one of those that Holm's correction goes over.
        meaning: What it is, in a sentence.
    """

    name: str
    title: str
    better: Literal[-1, 0, 1]
    tested: bool
    meaning: str


MEASURES: Final[tuple[Measure, ...]] = (
    Measure(
        "emotional_reactions", "Emotional reactions", 1, True,
        "EPITOME: warmth, compassion, concern; expected level, 0 to 2.",
    ),
    Measure(
        "interpretations", "Interpretations", 1, True,
        "EPITOME: says what it understood of the feeling or the experience; 0 to 2.",
    ),
    Measure(
        "explorations", "Explorations", 1, True,
        "EPITOME: asks about what was not said; 0 to 2.",
    ),
    Measure(
        "profile_distance", "Distance to the human profile", -1, True,
        "Mean distance of the three levels from those of the human reply; 0 to 2.",
    ),
    Measure(
        "appropriateness", "Emotional appropriateness", 1, True,
        "Probability that the feeling read in the reply's own words is one that fits what the "
        "labelled feeling asks for, by a table of ours (dialogue.empathy.metrics.FITTING); 0 to 1.",
    ),
    Measure(
        "nats_a_token", "Surprise at the human reply", -1, True,
        "Nats a lower-cased NLTK token of the human reply and its end, as in the model's card; "
        "its exponential is the perplexity.",
    ),
    Measure(
        "over_attribution", "Over-attribution", -1, True,
        "Part of the replies that tell people how they seem or sound though they did not say it, "
        "or speak of a camera, scores or a diagnosis.",
    ),
    Measure(
        "asks_on_conflict", "Asks where cues conflict", 1, True,
        "Part of the replies with a question where words, face and voice are labelled to conflict.",
    ),
    Measure("asks", "Asks", 0, False, "Part of the replies with a question."),
    Measure("words", "Words", 0, False, "Length in words."),
    Measure("rouge_l", "ROUGE-L", 0, False, "F of rouge-score against the human reply; 0 to 1."),
    Measure(
        "bert_score", "BERTScore", 0, False,
        "F of torchmetrics against the human reply, with the encoder named; last layer, not "
        "rescaled.",
    ),
)  # fmt: skip
"""In the order of the report; those that are not tested are there to see that all is well."""


@dataclass(frozen=True)
class Table:
    """Values of all measures.

    Attributes:
        values: Row → measure → (exchange,), nan where it does not apply.
        weights: Measure → (exchange,), for those whose mean is not over dialogues.
        levels: Row → EPITOME's expected levels, (exchange, mechanism), nan without a reply.
        missing: Measure → why it is not there.
        alarmed: (exchange,) bool: the safeguard speaks, so no measure applies.
    """

    values: Mapping[str, Mapping[str, Floats]] = field(repr=False)
    weights: Mapping[str, Floats] = field(repr=False)
    levels: Mapping[str, Floats] = field(repr=False)
    missing: Mapping[str, str]
    alarmed: npt.NDArray[np.bool_] = field(repr=False)


Replies = Mapping[str, Sequence[str | None]]
"""Row → a reply for each exchange; None where there is none."""


def measured(
    exchanges: Sequence[Exchange],
    replies: Replies,
    surprises: Mapping[str, Sequence[float | None]],
    scorer: EmpathyScorer,
    reader: EmotionReader,
    bert: tuple[str, str] | None = None,
) -> Table:
    """Measure every reply.

    Args:
        exchanges: What was said.
        replies: Of each row; `human` holds those of people.
        surprises: Arm → surprise at each human reply, in nats.
        scorer: Of EPITOME's mechanisms.
        reader: Reads the feeling of replies.
        bert: (encoder, device) of BERTScore, or None.
    """
    alarmed = np.array([find_danger(e.said) is not None for e in exchanges])
    levels = {row: _levels(exchanges, own, scorer) for row, own in replies.items()}
    values: dict[str, dict[str, Floats]] = {}
    for row, own in replies.items():
        found = _of_replies(exchanges, own, reader)
        found |= {name: levels[row][:, n] for n, name in enumerate(MECHANISMS)}
        found["profile_distance"] = profile_distance(levels[row], levels[HUMAN])
        found |= _beside_human(own, replies[HUMAN], bert if row != HUMAN else None)
        values[row] = found
    tokens = np.array([_tokens(human) for human in replies[HUMAN]])
    missing = _missing(exchanges, replies, surprises, bert)
    if "nats_a_token" not in missing:
        for arm, nats in surprises.items():
            values[arm]["nats_a_token"] = np.array(nats, np.float64) / tokens
    del values[HUMAN]["profile_distance"], values[HUMAN]["rouge_l"]
    for found in values.values():
        for name in found:
            found[name] = np.where(alarmed, np.nan, found[name])
    return Table(values, {"nats_a_token": tokens}, levels, missing, alarmed)


def _tokens(human: str | None) -> float:
    if human is None or missing_package("nltk"):
        return np.nan
    return card_tokens(tidy(human))


def _levels(
    exchanges: Sequence[Exchange], replies: Sequence[str | None], scorer: EmpathyScorer
) -> Floats:
    there = [n for n, reply in enumerate(replies) if reply and reply.strip()]
    found = np.full((len(replies), len(MECHANISMS)), np.nan)
    found[[reply is not None for reply in replies]] = 0.0  # a reply without words does nothing
    if there:
        pairs = [(exchanges[n].said, str(replies[n])) for n in there]
        found[there] = expected_levels(scorer.score(pairs))
    return found


def _of_replies(
    exchanges: Sequence[Exchange], replies: Sequence[str | None], reader: EmotionReader
) -> dict[str, Floats]:
    readings = iter(reader.distributions([r for r in replies if r and r.strip()]))
    names = ("appropriateness", "over_attribution", "asks_on_conflict", "asks", "words")
    found = {name: np.full(len(replies), np.nan) for name in names}
    for n, (exchange, reply) in enumerate(zip(exchanges, replies, strict=True)):
        if reply is None:
            continue
        reading = next(readings) if reply.strip() else np.zeros(len(FEELINGS))
        found["over_attribution"][n] = over_attributes(reply, exchange.affect, exchange.said)
        found["asks"][n], found["words"][n] = asks(reply), words_of(reply)
        if exchange.affect is not None:
            found["appropriateness"][n] = appropriateness(exchange.affect, reading)
        if exchange.accord == "conflict":
            found["asks_on_conflict"][n] = asks(reply)
    return found


def _beside_human(
    replies: Sequence[str | None], humans: Sequence[str | None], bert: tuple[str, str] | None
) -> dict[str, Floats]:
    pairs = list(zip(replies, humans, strict=True))
    both = [n for n, (reply, human) in enumerate(pairs) if reply is not None and human is not None]
    found = {"rouge_l": np.full(len(pairs), np.nan)}
    own, other = [str(replies[n]) for n in both], [str(humans[n]) for n in both]
    if both and not missing_package("rouge_score"):
        found["rouge_l"][both] = [rouge_l(a, b) for a, b in zip(own, other, strict=True)]
    if both and bert is not None:
        found["bert_score"] = np.full(len(pairs), np.nan)
        found["bert_score"][both] = bert_scores(own, other, *bert)
    return found


def _missing(
    exchanges: Sequence[Exchange],
    replies: Replies,
    surprises: Mapping[str, Sequence[float | None]],
    bert: tuple[str, str] | None,
) -> dict[str, str]:
    """Say of each measure that is not there why."""
    found: dict[str, str] = {}
    if all(human is None for human in replies[HUMAN]):
        beside = ("profile_distance", "nats_a_token", "rouge_l", "bert_score")
        found |= dict.fromkeys(beside, "no human replies in these conversations")
    if all(e.affect is None for e in exchanges):
        found["appropriateness"] = "no emotion in these conversations"
    if all(e.accord != "conflict" for e in exchanges):
        found["asks_on_conflict"] = "no labelled conflict of cues in these conversations"
    if not surprises:
        found.setdefault("nats_a_token", "ready-made replies, no model")
    elif all(nats is None for own in surprises.values() for nats in own):
        found.setdefault("nats_a_token", "the model tells no likelihoods, or read nothing")
    for measure, package in (("nats_a_token", "nltk"), ("rouge_l", "rouge_score")):
        if why := missing_package(package):
            found.setdefault(measure, why)
    if bert is None:
        found.setdefault("bert_score", "no encoder named (--bertscore MODEL)")
    return found
