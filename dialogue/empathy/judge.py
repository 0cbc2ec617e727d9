"""A large language model as a judge of two replies: both orders, several samples, no last word.

Judges prefer what they read first and what is longer (Zheng et al., "Judging LLM-as-a-Judge",
NeurIPS 2023, section 3.3), so each pair is judged in both orders; how far its verdict depends on
the order is reported, and so is its agreement with people, where somebody judged the same pairs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dialogue.conversation import Message
from dialogue.empathy.arms import Contrast
from dialogue.empathy.conversations import Exchange
from dialogue.empathy.generation import Progress, quiet
from dialogue.empathy.journal import Journal, key_of
from dialogue.empathy.responses import Label
from dialogue.errors import InputError
from dialogue.models.base import DialogueModel, reply_batch

__all__ = ["JUDGE_PERSONA", "Judge", "Judgement", "agreement", "load_judge"]

Floats = npt.NDArray[np.float64]

LEAST_SAMPLES: Final = 3
ORDERS: Final = 2

JUDGE_PERSONA: Final = (
    "You compare two replies to a person in a conversation. Judge only which of them is more "
    "empathetic: it understands how the person feels, responds to that with fitting warmth, and "
    "leaves room for more, without assuming what was not said. Length is no merit. Think if you "
    "must, then end with one line: VERDICT: A, VERDICT: B or VERDICT: TIE."
)
PROBE: Final = "Reply A: Oh no.\n\nReply B: Oh no.\n\nBoth are equal."
_VERDICT: Final = re.compile(r"VERDICT:\s*\W*(A|B|TIE)\b", re.IGNORECASE)
_VALUES: Final[Mapping[str, float]] = {"A": 1.0, "B": -1.0, "TIE": 0.0}


@dataclass(frozen=True)
class Judgement:
    """How two rows compare in the eyes of a judge.

    Attributes:
        preference: (exchange,) from -1, the other row, to 1, the row in question; nan where no
            verdict could be read.
        consistent: Part of the exchanges in which both orders give the same winner.
        unreadable: Part of the answers without a verdict.
    """

    preference: Floats = field(repr=False)
    consistent: float
    unreadable: float


@dataclass(frozen=True)
class Judge:
    """A model that is asked which of two replies is more empathetic.

    Attributes:
        model: Draws its answers anew each time.
        facts: What decides its answers, plain JSON.
        samples: Answers for each pair and order, at least 3.

    Raises:
        InputError: If there are fewer samples.
    """

    model: DialogueModel = field(repr=False)
    facts: Mapping[str, Any]
    samples: int = LEAST_SAMPLES

    def __post_init__(self) -> None:
        if self.samples < LEAST_SAMPLES:
            raise InputError(
                f"Expected at least {LEAST_SAMPLES} samples of a judge, got {self.samples}."
            )

    def compare(
        self,
        exchanges: Sequence[Exchange],
        replies: Sequence[str],
        others: Sequence[str],
        journal: Journal,
        progress: Progress = quiet,
    ) -> Judgement:
        """Judge pairs of replies to the same exchanges.

        Args:
            exchanges: What was said.
            replies: Of the row in question.
            others: Of the other row; equal replies are a tie, and nobody is asked.
            journal: Answers in it are taken from there, new ones are added.
            progress: Shows how far it is.
        """
        triples = list(zip(exchanges, replies, others, strict=True))
        verdicts = np.zeros((len(triples), ORDERS, self.samples))
        for number, (exchange, reply, other) in enumerate(progress(triples, "judge")):
            if reply != other:
                verdicts[number] = self._verdicts(exchange, reply, other, journal)
        readable = ~np.isnan(verdicts)
        by_order = _means(verdicts)
        winners = np.sign(by_order)
        return Judgement(
            preference=_means(by_order),
            consistent=float((winners[:, 0] == winners[:, 1]).mean()),
            unreadable=float(1 - readable.mean()),
        )

    def _verdicts(self, exchange: Exchange, reply: str, other: str, journal: Journal) -> Floats:
        """Verdicts (order, sample) for the row in question."""
        asked = [_question(exchange, *pair) for pair in ((reply, other), (other, reply))]
        keys = [
            [key_of("judge", [self.facts, text, n]) for n in range(self.samples)] for text in asked
        ]
        self._ask(asked, keys, journal)
        values = np.array([[_verdict(journal[key]) for key in row] for row in keys])
        signed: Floats = values * np.array([[1.0], [-1.0]])
        return signed

    def _ask(self, asked: Sequence[str], keys: Sequence[Sequence[str]], journal: Journal) -> None:
        missing = {
            key: text
            for text, row in zip(asked, keys, strict=True)
            for key in row
            if key not in journal
        }
        if missing:
            answers = reply_batch(self.model, [[Message("user", t)] for t in missing.values()])
            journal.add(dict(zip(missing, answers, strict=True)))


def _means(values: Floats) -> Floats:
    """Mean over the last axis of what is not nan; nan where nothing is left."""
    there = ~np.isnan(values)
    sums, counts = np.where(there, values, 0.0).sum(-1), there.sum(-1)
    found: Floats = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=found, where=counts > 0)
    return found


def _question(exchange: Exchange, first: str, second: str) -> str:
    talk = "\n".join(
        f"{'Person' if turn.side == 'user' else 'Listener'}: {turn.text}" for turn in exchange.turns
    )
    return f"The conversation:\n{talk}\n\nReply A: {first}\n\nReply B: {second}"


def _verdict(answer: str) -> float:
    found = _VERDICT.findall(answer)
    return _VALUES[found[-1].upper()] if found else np.nan


def load_judge(address: str, samples: int = LEAST_SAMPLES) -> Judge:
    """Reach a judge behind an OpenAI-compatible server, and see whether it answers.

    Args:
        address: URL of the server; the name of one of its models may follow a `#`.
        samples: Answers for each pair and order.

    Raises:
        InputError: If there are too few samples.
        ModelError: If nobody answers there.
    """
    from dialogue.models.remote import RemoteModel, RemoteSettings

    url, _, name = address.partition("#")
    settings = RemoteSettings(most_tokens=400)
    model = RemoteModel(url, name or None, settings, persona=JUDGE_PERSONA)
    judge = Judge(model, model.facts(), samples)
    model.reply([Message("user", PROBE)])  # better now than after hours of generating
    return judge


def agreement(
    labels: Sequence[Label],
    ids: Sequence[str],
    judged: Mapping[tuple[str, str], Judgement],
) -> dict[str, float] | None:
    """Say how often a judge prefers what people preferred.

    Args:
        labels: Of people.
        ids: Of the exchanges.
        judged: (row, other) → what the judge said.

    Returns:
        Number of pairs that both judged, the part on which they agree, and Cohen's κ (1960) over
        the three verdicts; None where both judged no pair.
    """
    at = {name: number for number, name in enumerate(ids)}
    pairs: list[tuple[float, float]] = []
    for name, row, other, preferred in labels:
        for (own, against), judgement in judged.items():
            if name in at and {row, other} == {own, against}:
                human = 0.0 if preferred == "tie" else 1.0 if preferred == own else -1.0
                pairs.append((human, float(np.sign(judgement.preference[at[name]]))))
    kept = [(human, said) for human, said in pairs if not np.isnan(said)]
    if not kept:
        return None
    humans, says = np.array(kept).T
    agree = float((humans == says).mean())
    chance = float(sum((humans == v).mean() * (says == v).mean() for v in (-1.0, 0.0, 1.0)))
    kappa = (agree - chance) / (1 - chance) if chance < 1 else 1.0
    return {"pairs": len(kept), "agree": agree, "kappa": kappa}


def judged_contrasts(
    judge: Judge,
    contrasts: Sequence[Contrast],
    exchanges: Sequence[Exchange],
    replies: Mapping[str, Sequence[str]],
    journal: Journal,
    progress: Progress = quiet,
) -> dict[tuple[str, str], Judgement]:
    """Judge every contrast; see `Judge.compare`."""
    return {
        (c.row, c.other): judge.compare(
            exchanges, replies[c.row], replies[c.other], journal, progress
        )
        for c in contrasts
    }
