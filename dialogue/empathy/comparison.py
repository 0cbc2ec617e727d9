"""Rows, and the differences between them, as plain dictionaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dialogue.empathy.arms import Contrast
from dialogue.empathy.bootstrap import (
    Estimate,
    Resampling,
    detectable,
    estimate_mean,
    holm,
    resampling,
)
from dialogue.empathy.conversations import Exchange
from dialogue.empathy.measures import HUMAN, MEASURES, Measure, Table
from dialogue.empathy.metrics import bleu, distinct_at, missing_package

__all__ = ["LEAST_TESTED", "contrast_facts", "group_facts", "interval", "row_facts"]

Floats = npt.NDArray[np.float64]

MATCHED_WORDS, MATCHED_PART = 1, 0.1
"""Replies match in length where they differ by no more words than the larger of both: so many, or
this part of the longer one."""
LEAST_IN_GROUP: Final = 5
LEAST_TESTED: Final = 20
"""Dialogues under which nothing is tested: percentile intervals of fewer are too narrow."""


def row_facts(
    row: str,
    replies: Sequence[str | None],
    humans: Sequence[str | None],
    table: Table,
    drawn: Resampling,
) -> dict[str, Any]:
    """Sum up one row.

    Args:
        row: Its name.
        replies: One an exchange, or None.
        humans: What people replied, likewise.
        table: Of all rows.
        drawn: Of the exchanges.
    """
    means = {
        m.name: found
        for m in MEASURES
        if (found := _mean(m.name, table.values[row], table, drawn)) is not None
    }
    kept = [
        (reply, human)
        for reply, human, alarmed in zip(replies, humans, table.alarmed, strict=True)
        if reply is not None and not alarmed
    ]
    whole = _whole([r for r, _ in kept], [h for _, h in kept], is_human=row == HUMAN)
    if "nats_a_token" in means:
        whole["perplexity"] = math.exp(means["nats_a_token"]["value"])
    return {"name": row, "means": means, "whole": whole}


def _mean(
    name: str, values: Mapping[str, Floats], table: Table, drawn: Resampling
) -> dict[str, float] | None:
    if name not in values or name in table.missing:
        return None
    found = estimate_mean(drawn, values[name], table.weights.get(name))
    return None if found is None else interval(found)


def interval(found: Estimate) -> dict[str, float]:
    """Write an estimate as plain JSON."""
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "dialogues": found.dialogues,
    }


def _whole(
    replies: Sequence[str], humans: Sequence[str | None], *, is_human: bool
) -> dict[str, Any]:
    """Measures of all replies together, which no dialogue has by itself."""
    found: dict[str, Any] = {}
    if replies and not missing_package("nltk"):
        found["variety"] = distinct_at(replies)
    both = [(r, h) for r, h in zip(replies, humans, strict=True) if h is not None]
    if both and not is_human and not missing_package("sacrebleu"):
        found["bleu"] = bleu([r for r, _ in both], [h for _, h in both])
    return found


def contrast_facts(contrast: Contrast, table: Table, drawn: Resampling) -> dict[str, Any]:
    """Compare two rows in every measure that both have; see `Contrast`."""
    row, other = table.values[contrast.row], table.values[contrast.other]
    shared = [m for m in MEASURES if m.name in row and m.name in other]
    shared = [m for m in shared if m.name not in table.missing]
    tested = [m for m in shared if m.tested]
    matched = _alike_in_length(row["words"], other["words"])
    found: dict[str, dict[str, Any]] = {}
    for measure in shared:
        apart = row[measure.name] - other[measure.name]
        estimate = estimate_mean(drawn, apart, table.weights.get(measure.name))
        if estimate is not None:
            found[measure.name] = _difference(estimate, apart, len(tested))
            found[measure.name]["length_matched"] = _matched(measure, apart, matched, table, drawn)
    enough = [m.name for m in tested if m.name in found]
    tests = [name for name in enough if found[name]["dialogues"] >= LEAST_TESTED]
    for name, p in zip(tests, holm([found[name]["p"] for name in tests]), strict=True):
        found[name]["p_holm"] = p
    return {**asdict(contrast), "length_matched": int(matched.sum()), "measures": found}


def _difference(estimate: Estimate, apart: Floats, tested: int) -> dict[str, Any]:
    spread = float(np.nanstd(apart))
    return {
        **interval(estimate),
        "p": estimate.p,
        "detectable": _detectable(estimate, max(1, tested)),
        "standardized": estimate.value / spread if spread > 0 else 0.0,
        "standardized_low": estimate.low / spread if spread > 0 else 0.0,
        "standardized_high": estimate.high / spread if spread > 0 else 0.0,
    }


def _detectable(estimate: Estimate, tested: int) -> float | None:
    if not estimate.error or estimate.dialogues < LEAST_TESTED:
        return None
    return detectable(estimate.error, tested)


def _alike_in_length(words: Floats, others: Floats) -> npt.NDArray[np.bool_]:
    allowed = np.maximum(MATCHED_WORDS, MATCHED_PART * np.fmax(words, others))
    return np.asarray(np.abs(words - others) <= allowed)


def _matched(
    measure: Measure,
    apart: Floats,
    matched: npt.NDArray[np.bool_],
    table: Table,
    drawn: Resampling,
) -> dict[str, float] | None:
    kept = np.where(matched, apart, np.nan)
    found = estimate_mean(drawn, kept, table.weights.get(measure.name))
    return None if found is None else interval(found)


def group_facts(
    exchanges: Sequence[Exchange],
    contrasts: Sequence[Contrast],
    table: Table,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Compare rows within groups of exchanges; to look at, not to test.

    Args:
        exchanges: All of them.
        contrasts: What is compared.
        table: Of all rows.
        resamples: Of each group's own bootstrap.
        seed: The same.
    """
    found = []
    for contrast in contrasts:
        for split, names in _splits(exchanges).items():
            for name in sorted(set(names) - {""}):
                inside = np.array([own == name for own in names]) & ~table.alarmed
                if inside.sum() >= LEAST_IN_GROUP:
                    found.append(_group(contrast, (split, name), inside, table, (resamples, seed)))
    return found


def _splits(exchanges: Sequence[Exchange]) -> dict[str, list[str]]:
    return {
        "feeling": [str(e.affect.label) if e.affect else "" for e in exchanges],
        "cues": [e.accord or "" for e in exchanges],
        "kind": [e.kind for e in exchanges],
    }


def _group(
    contrast: Contrast,
    group: tuple[str, str],
    inside: npt.NDArray[np.bool_],
    table: Table,
    draws: tuple[int, int],
) -> dict[str, Any]:
    row, other = table.values[contrast.row], table.values[contrast.other]
    drawn = resampling(int(inside.sum()), *draws)
    weights = {measure: own[inside] for measure, own in table.weights.items()}
    own_table = replace(table, weights=weights)
    differences = {
        m.name: (row[m.name] - other[m.name])[inside]
        for m in MEASURES
        if m.tested and m.name in row and m.name in other
    }
    means = {m: _mean(m, differences, own_table, drawn) for m in differences}
    return {
        "row": contrast.row,
        "other": contrast.other,
        "split": group[0],
        "group": group[1],
        "dialogues": int(inside.sum()),
        "measures": {m: found for m, found in means.items() if found is not None},
    }
