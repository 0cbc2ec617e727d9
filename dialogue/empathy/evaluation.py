"""The experiment: generate, measure, compare, and put everything into one plain dictionary."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dialogue.danger import find_danger
from dialogue.empathy.arms import (
    ARMS,
    CONTRASTS,
    Contrast,
    EmotionReader,
    Told,
    tell,
    told_by_arm,
)
from dialogue.empathy.bootstrap import Resampling, check_resamples, estimate_mean, resampling
from dialogue.empathy.comparison import contrast_facts, group_facts, interval, row_facts
from dialogue.empathy.conversations import Exchange
from dialogue.empathy.generation import Progress, Speaker, prompt_digest, quiet
from dialogue.empathy.journal import Journal
from dialogue.empathy.judge import Judge, agreement, judged_contrasts
from dialogue.empathy.measures import HUMAN, MEASURES, Table, measured
from dialogue.empathy.metrics import CANNED, points_to_help
from dialogue.empathy.responses import Label
from dialogue.errors import InputError

if TYPE_CHECKING:
    from dialogue.empathy.scorer import EmpathyScorer

__all__ = ["Instruments", "Request", "Result", "evaluate", "sampled"]

VERSION: Final = 1
"""Of the JSON."""
CANNED_ROW: Final = "canned"
REFERENCES: Final = (HUMAN, CANNED_ROW)
EXAMPLES: Final = 6
JUDGED: Final = 2
"""Contrasts that a judge is asked about, the first ones."""
DIGITS: Final = 6


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        source: Name of the set of conversations, for the report.
        exchanges: All of them.
        arms: Out of ARMS; none where only ready-made replies are judged.
        systems: Ready-made replies: system → one for each exchange.
        seed: Of shuffling and resampling; the model has its own.
        resamples: Of the bootstrap.
        omit_texts: Whether what people said and replied stays out of all that is written.
    """

    source: str
    exchanges: Sequence[Exchange] = field(repr=False)
    arms: Sequence[str] = ARMS
    systems: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    seed: int = 0
    resamples: int = 10_000
    omit_texts: bool = False

    def __post_init__(self) -> None:
        taken = {*self.arms, *REFERENCES} & set(self.systems)
        if taken:
            raise InputError(f"Expected a system not called {', '.join(sorted(taken))}.")
        check_resamples(self.resamples)
        if not self.arms and not self.systems:
            raise InputError("Expected arms or ready-made replies, got neither.")


@dataclass(frozen=True)
class Instruments:
    """What it is done with.

    Attributes:
        reader: Predicts feelings, and reads them in replies.
        scorer: Of EPITOME's mechanisms.
        scorer_name: For the report.
        speaker: The model; None where only ready-made replies are judged.
        judge: A large model, or None.
        labels: What people preferred, for the judge to be held against.
        bert: (encoder, device) of BERTScore, or None.
    """

    reader: EmotionReader
    scorer: EmpathyScorer
    scorer_name: str
    speaker: Speaker | None = None
    judge: Judge | None = None
    labels: Sequence[Label] = ()
    bert: tuple[str, str] | None = None


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        report: Plain JSON, the same for the same request, machine and number of threads.
        replies: One record a row and exchange, for JSONL.
    """

    report: dict[str, Any] = field(repr=False)
    replies: list[dict[str, Any]] = field(repr=False)


def sampled(exchanges: Sequence[Exchange], limit: int | None) -> list[Exchange]:
    """Draw some exchanges by the hashes of their ids, which no order of a file changes.

    Args:
        exchanges: Of any order, which is kept.
        limit: How many, at least 1; None for all.

    Raises:
        InputError: If it is less than 1.
    """
    if limit is None:
        return list(exchanges)
    if limit < 1:
        raise InputError(f"Expected at least one conversation, got a limit of {limit}.")
    by_hash = sorted(exchanges, key=lambda e: hashlib.sha256(e.id.encode()).hexdigest())
    kept = {exchange.id for exchange in by_hash[:limit]}
    return [exchange for exchange in exchanges if exchange.id in kept]


def evaluate(
    request: Request, instruments: Instruments, journal: Journal, progress: Progress = quiet
) -> Result:
    """Run the experiment.

    Args:
        request: What is asked.
        instruments: What it is done with.
        journal: Of replies, likelihoods and judgements; a run that was killed goes on from it.
        progress: Shows how far it is.

    Raises:
        InputError: If an arm is unknown, or there is no model for the arms.
        ModelError: If a model fails.
    """
    exchanges = request.exchanges
    told = told_by_arm(exchanges, request.arms, instruments.reader, request.seed)
    if not told.by_arm and not request.systems:
        why = "; ".join(f"{arm} ({reason})" for arm, reason in told.left_out.items())
        raise InputError(f"Expected an arm that these conversations allow, got {why}.")
    spoken, surprises = _spoken(exchanges, told, instruments, journal, progress)
    rows: dict[str, Sequence[str]] = {**spoken, **request.systems}
    humans = [exchange.reply for exchange in exchanges]
    replies = {**rows, HUMAN: humans, CANNED_ROW: [CANNED] * len(exchanges)}
    table = measured(
        exchanges, replies, surprises, instruments.scorer, instruments.reader, instruments.bert
    )
    drawn = resampling(len(exchanges), request.resamples, request.seed)
    contrasts = _contrasts(tuple(told.by_arm), tuple(request.systems))
    report = {
        "version": VERSION,
        "set": _set_facts(request, table),
        "settings": _settings(request, told, instruments),
        "measures": [asdict(measure) for measure in MEASURES],
        "missing": dict(sorted(table.missing.items())),
        "rows": [
            {"kind": _kind(row, told), **row_facts(row, replies[row], humans, table, drawn)}
            for row in replies
        ],
        "contrasts": [contrast_facts(c, table, drawn) for c in contrasts],
        "groups": group_facts(exchanges, contrasts[:1], table, request.resamples, request.seed),
        "danger": _danger(exchanges, replies),
        "judge": _judged(contrasts, exchanges, rows, instruments, drawn, journal, progress),
        "examples": _examples(exchanges, replies, rows, table, omit=request.omit_texts),
    }
    return Result(_rounded(report), _records(exchanges, replies, table, omit=request.omit_texts))


def _encoder(instruments: Instruments) -> str | None:
    """Name the encoder of BERTScore; of a folder, not where it lies."""
    name = instruments.bert[0] if instruments.bert else None
    return Path(name).name if name is not None and Path(name).is_dir() else name


# -- generation -----------------------------------------------------------------------------------


def _spoken(
    exchanges: Sequence[Exchange],
    told: Told,
    instruments: Instruments,
    journal: Journal,
    progress: Progress,
) -> tuple[dict[str, list[str]], dict[str, list[float | None]]]:
    """Generate the replies of each arm, and say how surprising the human ones are to it."""
    replies: dict[str, list[str]] = {}
    surprises: dict[str, list[float | None]] = {}
    if not told.by_arm:
        return replies, surprises
    if instruments.speaker is None:
        raise InputError("Expected a model for the arms, got none.")
    humans = [e.reply if find_danger(e.said) is None else None for e in exchanges]
    for arm, affects in told.by_arm.items():
        talks = [tell(e, felt) for e, felt in zip(exchanges, affects, strict=True)]
        replies[arm] = instruments.speaker.replies(talks, journal, progress, f"{arm}: replies")
        surprises[arm] = instruments.speaker.surprises(
            talks, humans, journal, progress, f"{arm}: human replies"
        )
    return replies, surprises


def _contrasts(arms: Sequence[str], systems: Sequence[str]) -> list[Contrast]:
    """Pick the contrasts whose rows are there, and hold every system against the first row."""
    own = [c for c in CONTRASTS if c.row in arms and c.other in arms]
    first = next((name for name in ("predicted", *arms, *systems) if name in (*arms, *systems)), "")
    others = [
        Contrast(system, first, f"How does {system} compare with {first}?")
        for system in systems
        if system != first
    ]
    return own + others


def _kind(row: str, told: Told) -> str:
    return "arm" if row in told.by_arm else "reference" if row in REFERENCES else "system"


# -- facts ----------------------------------------------------------------------------------------


def _set_facts(request: Request, table: Table) -> dict[str, Any]:
    items = [[exchange.id, exchange.sha256] for exchange in request.exchanges]
    return {
        "name": request.source,
        "dialogues": len(items),
        "with_human_reply": sum(e.reply is not None for e in request.exchanges),
        "with_emotion": sum(e.affect is not None for e in request.exchanges),
        "left_to_safeguard": int(table.alarmed.sum()),
        "texts_omitted": request.omit_texts,
        "sha256": hashlib.sha256(json.dumps(items).encode()).hexdigest(),
        "items": items,
    }


def _settings(request: Request, told: Told, instruments: Instruments) -> dict[str, Any]:
    speaker, judge = instruments.speaker, instruments.judge
    arms = list(told.by_arm)
    return {
        "arms": arms,
        "arms_left_out": dict(told.left_out),
        "predicted_from": dict(told.sources),
        "systems": list(request.systems),
        "seed": request.seed,
        "resamples": request.resamples,
        "model": None if speaker is None or not arms else dict(speaker.facts),
        "batch": None if speaker is None or not arms else speaker.batch,
        "prompts_sha256": {arm: prompt_digest(request.exchanges, told, arm) for arm in arms},
        "scorer": instruments.scorer_name,
        "emotion_reader": instruments.reader.name,
        "bert_score": _encoder(instruments),
        "judge": None if judge is None else {**judge.facts, "samples": judge.samples},
    }


# -- danger ---------------------------------------------------------------------------------------


def _danger(
    exchanges: Sequence[Exchange], replies: Mapping[str, Sequence[str | None]]
) -> dict[str, Any]:
    """How well danger is heard, and whether what is then said points to people who help."""
    alarms = [find_danger(exchange.said) is not None for exchange in exchanges]
    by_label = {
        label: [a for e, a in zip(exchanges, alarms, strict=True) if e.danger is label]
        for label in (True, False, None)
    }
    in_danger = [n for n, exchange in enumerate(exchanges) if exchange.danger]
    pointed = {
        row: sum(points_to_help(own[n] or "") for n in in_danger) for row, own in replies.items()
    }
    return {
        "in_danger": len(by_label[True]),
        "heard": sum(by_label[True]),
        "not_in_danger": len(by_label[False]),
        "false_alarms": sum(by_label[False]),
        "unlabelled": len(by_label[None]),
        "alarms_among_unlabelled": sum(by_label[None]),
        "missed": [e.id for e, a in zip(exchanges, alarms, strict=True) if e.danger and not a],
        "falsely_alarmed": [
            e.id for e, a in zip(exchanges, alarms, strict=True) if e.danger is False and a
        ],
        "points_to_help": pointed if in_danger else {},
    }


# -- judge ----------------------------------------------------------------------------------------


def _judged(
    contrasts: Sequence[Contrast],
    exchanges: Sequence[Exchange],
    rows: Mapping[str, Sequence[str]],
    instruments: Instruments,
    drawn: Resampling,
    journal: Journal,
    progress: Progress,
) -> dict[str, Any] | None:
    if instruments.judge is None:
        return None
    judged = judged_contrasts(
        instruments.judge, contrasts[:JUDGED], exchanges, rows, journal, progress
    )
    found = []
    for (row, other), judgement in judged.items():
        estimate = estimate_mean(drawn, judgement.preference)
        preference = None if estimate is None else interval(estimate) | {"p": estimate.p}
        facts = {"consistent": judgement.consistent, "unreadable": judgement.unreadable}
        found.append({"row": row, "other": other, "preference": preference, **facts})
    ids = [exchange.id for exchange in exchanges]
    return {"contrasts": found, "people": agreement(instruments.labels, ids, judged)}


# -- replies --------------------------------------------------------------------------------------


def _examples(
    exchanges: Sequence[Exchange],
    replies: Mapping[str, Sequence[str | None]],
    rows: Mapping[str, Sequence[str]],
    table: Table,
    *,
    omit: bool,
) -> list[dict[str, Any]]:
    """Pick the exchanges whose replies differ most between the rows in question."""

    def apart(n: int) -> float:
        levels = np.stack([table.levels[row][n] for row in rows])
        return len({rows[row][n] for row in rows}) + float((levels.max(0) - levels.min(0)).sum())

    spoken = [n for n in range(len(exchanges)) if not table.alarmed[n]]
    chosen = sorted(spoken, key=lambda n: (-apart(n), exchanges[n].id))[:EXAMPLES]
    return [_example(exchanges[n], n, replies, omit=omit) for n in chosen]


def _example(
    exchange: Exchange, n: int, replies: Mapping[str, Sequence[str | None]], *, omit: bool
) -> dict[str, Any]:
    said = [] if omit else [[turn.side, turn.text] for turn in exchange.turns]
    affect = exchange.affect
    return {
        "id": exchange.id,
        "kind": exchange.kind,
        "feeling": None if affect is None else affect.label,
        "cues": {} if affect is None else dict(affect.by_channel),
        "said": said,
        "replies": {
            row: own[n]
            for row, own in replies.items()
            if row != CANNED_ROW and own[n] is not None and not (omit and row == HUMAN)
        },
    }


def _records(
    exchanges: Sequence[Exchange],
    replies: Mapping[str, Sequence[str | None]],
    table: Table,
    *,
    omit: bool,
) -> list[dict[str, Any]]:
    """Make one record a row and exchange, but of the canned row."""
    return [
        {
            "id": exchange.id,
            "system": row,
            **({} if omit and row == HUMAN else {"reply": own[n]}),
            "epitome": _rounded(table.levels[row][n].tolist()),
        }
        for row, own in replies.items()
        for n, exchange in enumerate(exchanges)
        if own[n] is not None and row != CANNED_ROW
    ]


def _rounded(value: Any) -> Any:
    """Round every number of plain JSON; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, str) or not isinstance(value, float | Iterable):
        return value
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return [_rounded(inner) for inner in value]
