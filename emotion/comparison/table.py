"""What the systems said, as figures with intervals, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion.comparison.arena import Arena
from emotion.comparison.compare import Said
from emotion.comparison.system import System
from emotion.labels import EMOTIONS
from emotion.metrics import unweighted_average_recall
from emotion.report import RESAMPLES, SEED, Predictions, report, resampled

__all__ = ["Row", "arena_figures", "difference", "markdown", "untrained"]

Row = tuple[System, Said | None]
Figures = dict[str, Any]

_FUSED = ("concat", "decision-average", "decision-weighted", "decision-learnt", "fbp", "am-fbp")
_ALONE = ("voice-alone", "face-alone")
_CLAIMED = (
    ("fbp", "concat"),
    ("am-fbp", "concat"),
    ("am-fbp", "fbp"),
    ("attention-fcn-compact", "egemaps-svm"),
    ("attention-fcn-compact", "compare-svm"),
    ("face-cnn", "landmark-distances-svm"),
)
"""The first is said to be better: by its paper, or because it learns its features."""


def arena_figures(arena: Arena[Any], rows: Sequence[Row]) -> Figures:
    """Figures of every system of an arena, and the differences that the papers claim.

    Args:
        arena: Where they competed.
        rows: Each system and what it said, None for one that is untrained.
    """
    said = {system.name: what for system, what in rows if what is not None}
    return {
        "arena": arena.name,
        "title": arena.title,
        "protocol": arena.protocol,
        "systems": [_system_figures(arena, system, what) for system, what in rows],
        "differences": [
            _compared(arena, said[first], said[second])
            for first, second in _pairs(said, [system for system, _ in rows])
        ],
    }


def difference(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    truth: npt.NDArray[np.int64],
    groups: npt.NDArray[Any],
) -> dict[str, float]:
    """UAR of the first less that of the second, with its paired bootstrap interval by group.

    Each of 1000 resamples draws whole people and scores both systems on them, so what makes a
    person easy or hard for both cancels out (Efron & Tibshirani 1993, chapter 16).

    Args:
        first: (sample,) what one system said.
        second: (sample,) what the other said.
        truth: (sample,) labels.
        groups: (sample,) whom each is of; of one person alone the samples are drawn.
    """
    group_of = resampled(groups)
    people = int(group_of.max()) + 1
    weights = np.full(people, 1 / people)
    drawn = np.random.default_rng(SEED).multinomial(people, weights, size=RESAMPLES)
    every = np.ones((1, people), dtype=np.int64)

    def uars(said: npt.NDArray[np.int64], draws: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        counts = np.zeros((people, len(EMOTIONS), len(EMOTIONS)), dtype=np.int64)
        np.add.at(counts, (group_of, truth, said), 1)
        summed = np.einsum("dp,pts->dts", draws, counts)
        return np.array([unweighted_average_recall(confusion) for confusion in summed])

    low, high = np.percentile(uars(first, drawn) - uars(second, drawn), [2.5, 97.5])
    value = (uars(first, every) - uars(second, every))[0]
    return {name: round(float(x), 4) for name, x in zip(_BOUNDS, (value, low, high), strict=True)}


_BOUNDS = ("value", "low", "high")


def markdown(figures: Figures) -> str:
    """Write the whole comparison as a page.

    Args:
        figures: {"command", "commit", "seed", "machine", "arenas": [`arena_figures`, ...]}.
    """
    lines = [
        "# Every system of the papers, side by side",
        "",
        f"`{figures['command']}` at commit {figures['commit']}, seed {figures['seed']}, "
        f"{figures['machine']}. In brackets 95 % bootstrap intervals that resample people. "
        "*untrained* marks a system that the data at hand cannot train, and says what it needs. "
        "MACs are those of the learnt part for one clip; ms is the median for one clip by itself "
        "on one core, features included.",
    ]
    for arena in figures["arenas"]:
        lines += _arena_lines(arena)
    return "\n".join(lines) + "\n"


def untrained(system: System) -> Figures:
    """Row of a system that the data at hand cannot train."""
    about = {"system": system.name, "source": system.source, "note": system.note}
    return about | {"untrained": True}


def _system_figures(arena: Arena[Any], system: System, said: Said | None) -> Figures:
    if said is None:
        return untrained(system)
    groups = np.array(arena.people(said.tested))
    figures = report(Predictions(arena.labels[said.tested], said.probabilities, groups))
    kept = ("samples", "groups", "wa", "uar", "macro_f1", "recall", "confusion")
    cost = asdict(said.cost) | {"ms_a_clip": said.ms_a_clip}
    about: Figures = {"system": system.name, "source": system.source, "note": system.note}
    return about | cost | {name: figures[name] for name in kept}


def _pairs(said: dict[str, Said], systems: Sequence[System]) -> list[tuple[str, str]]:
    """Names of systems to be compared: attention with its twin, both with either, and claims."""
    pairs = [(s.ablation_of, s.name) for s in systems if s.ablation_of in said and s.name in said]
    fused = [name for name in _FUSED if name in said]
    alone = [name for name in _ALONE if name in said]
    claimed = [(a, b) for a, b in _CLAIMED if a in said and b in said]
    return [(str(a), b) for a, b in pairs] + [(f, a) for f in fused for a in alone] + claimed


def _compared(arena: Arena[Any], first: Said, second: Said) -> Figures:
    truth, groups = arena.labels[first.tested], np.array(arena.people(first.tested))
    one, other = (said.probabilities.argmax(axis=1) for said in (first, second))
    names = {"first": first.system.name, "second": second.system.name}
    return names | {"uar_gain": difference(one, other, truth, groups)}


def _arena_lines(arena: Figures) -> list[str]:
    if arena.get("missing"):
        return _missing_lines(arena)
    scores = _CONCORDANCE if arena.get("continuous") else _CLASSES
    columns = (*_ABOUT, *scores, *_COST)
    lines = ["", f"## {arena['title']}", "", f"{arena['protocol']}.", ""]
    lines += [f"| {' | '.join(name for name, _ in columns)} |"]
    lines += [f"|{'|'.join('---' for _ in columns)}|"]
    for system in arena["systems"]:
        lines.append(f"| {' | '.join(show(system) for _, show in columns)} |")
    if arena["differences"]:
        lines += ["", "| difference of UAR | points | holds |", "|---|---|---|"]
        lines += [_difference_line(d) for d in arena["differences"]]
    return lines


def _missing_lines(arena: Figures) -> list[str]:
    by_source: dict[str, list[str]] = {}
    for system in arena["systems"]:
        by_source.setdefault(system["source"], []).append(f"`{system['system']}`")
    named = "; ".join(f"{', '.join(names)} ({source})" for source, names in by_source.items())
    return ["", f"## {arena['title']}", "", f"*untrained*: {named}.", "", f"{arena['protocol']}."]


def _difference_line(found: Figures) -> str:
    gain = found["uar_gain"]
    holds = "yes" if gain["low"] > 0 else "the other way" if gain["high"] < 0 else "not shown"
    return f"| {found['first']} − {found['second']} | {_interval(gain, '+.1f')} | {holds} |"


def _interval(value: Figures, form: str = ".1f", unit: float = 100) -> str:
    shown = ["?" if value[name] is None else format(unit * value[name], form) for name in _BOUNDS]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _scored(name: str, form: str = ".1f", unit: float = 100) -> Callable[[Figures], str]:
    def show(system: Figures) -> str:
        return "*untrained*" if "untrained" in system else _interval(system[name], form, unit)

    return show


def _number(name: str) -> Callable[[Figures], str]:
    def show(system: Figures) -> str:
        value = system.get(name)
        return "" if value is None else f"{value:,.1f}" if isinstance(value, float) else _si(value)

    return show


def _si(count: int) -> str:
    """Short form of a count: 4.9 k, 3.7 M.

    >>> _si(950), _si(4_935), _si(3_700_000)
    ('950', '4.9 k', '3.7 M')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


Columns = tuple[tuple[str, Callable[[Figures], str]], ...]

_ABOUT: Columns = (
    ("system", lambda system: system["system"]),
    ("of", lambda system: system["source"]),
)
_CLASSES: Columns = (
    ("UAR %", _scored("uar")),
    ("WA %", _scored("wa")),
    ("macro-F1 %", _scored("macro_f1")),
)
_CONCORDANCE: Columns = (
    ("CCC arousal", _scored("arousal", ".3f", 1)),
    ("CCC valence", _scored("valence", ".3f", 1)),
)
_COST: Columns = (
    ("parameters", _number("parameters")),
    ("MACs", _number("macs")),
    ("ms", _number("ms_a_clip")),
    ("how", lambda system: system["note"]),
)
