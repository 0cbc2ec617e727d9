"""Trains and scores every system of an arena on every fold, and keeps what each said."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emotion.comparison.arena import Arena, Cost, Fold, Learner, Probabilities
from emotion.comparison.system import Options, System
from emotion.errors import EmotionError
from emotion.labels import EMOTIONS

__all__ = ["Said", "run_arena", "run_system"]

TIMED_CLIPS = 20


@dataclass(frozen=True)
class Said:
    """What one system said of all tested samples of an arena.

    Attributes:
        system: Which.
        tested: (sample,) indices into the arena, in order.
        probabilities: (sample, emotion).
        cost: Of the system of the first fold.
        ms_a_clip: Median time for one clip by itself, features included, on one core.
    """

    system: System
    tested: np.ndarray[Any, np.dtype[np.int64]]
    probabilities: Probabilities
    cost: Cost
    ms_a_clip: float


def run_arena(
    arena: Arena[Any], systems: Sequence[System], options: Options, out: Path
) -> Iterator[tuple[System, Said | None]]:
    """Train and score systems one after the other; None for one that cannot be trained.

    One that lacks an extra, or whose clips cannot be read, does not cost the others: its note then
    says why.
    """
    for system in systems:
        try:
            learner = system.make(options)
            said = None if learner is None else run_system(arena, system, learner, out)
        except EmotionError as error:
            yield replace(system, note=str(error)), None
            continue
        yield system, said


def run_system(arena: Arena[Any], system: System, learner: Learner, out: Path) -> Said:
    """Train and score one system on every fold; folds that are done are read, not repeated."""
    tested, rows, facts = [], [], []
    folds = tqdm(arena.folds, desc=f"{arena.name} {system.name}", unit="fold")
    for number, fold in enumerate(folds, start=1):
        file = out / arena.name / f"fold{number}" / f"{system.name}.json"
        state = out / (arena.trained_in or arena.name) / f"fold{number}"
        said, fact = _run_fold(arena, fold, learner, file, state, timed=number == 1)
        tested.append(fold.test)
        rows.append(said)
        facts.append(fact)
    order = np.argsort(np.concatenate(tested), kind="stable")
    return Said(
        system,
        np.concatenate(tested)[order],
        np.concatenate(rows)[order],
        Cost(facts[0]["parameters"], facts[0]["macs"]),
        facts[0]["ms_a_clip"],
    )


def _run_fold(
    arena: Arena[Any], fold: Fold, learner: Learner, file: Path, state: Path, *, timed: bool
) -> tuple[Probabilities, dict[str, Any]]:
    """Probabilities (sample, emotion) of the fold's test part, and what they cost."""
    key = _key(arena, fold, learner)
    if file.exists() and (kept := json.loads(file.read_text()))["key"] == key:
        return np.array(kept["said"], np.float32).reshape(-1, len(EMOTIONS)), kept["facts"]
    fitted = learner.fit(
        arena.take(fold.train), arena.labels[fold.train], arena.people(fold.train), state
    )
    said = fitted.probabilities(arena.take(fold.test))
    facts = asdict(fitted.cost) | {"ms_a_clip": _ms_a_clip(arena, fold, fitted) if timed else None}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(json.dumps({"key": key, "facts": facts, "said": said.round(6).tolist()}))
    partial.replace(file)
    return said, facts


def _ms_a_clip(arena: Arena[Any], fold: Fold, fitted: Any) -> float:
    """Median time of one clip by itself, the first one not counted."""
    times = []
    for index in fold.test[: TIMED_CLIPS + 1]:
        sample = arena.take(np.array([index]))
        start = time.perf_counter()
        fitted.probabilities(sample)
        times.append(time.perf_counter() - start)
    return round(1000 * float(np.median(times[1:] or times)), 2)


def _key(arena: Arena[Any], fold: Fold, learner: Learner) -> str:
    """Make a key that changes with the samples, the fold or any setting of the learner."""
    digest = hashlib.sha256(repr(learner).encode())
    for array in (arena.labels, fold.train, fold.test):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
