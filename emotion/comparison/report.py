"""The whole comparison: every arena, one table, written after each system."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.comparison import clips, continuous, faces, pairs, voices
from emotion.comparison.arena import Arena
from emotion.comparison.compare import run_arena
from emotion.comparison.plots import plot_confusions
from emotion.comparison.system import Options, System
from emotion.comparison.table import Row, arena_figures, markdown, untrained
from emotion.corpora.speech import SPEECH_CORPORA
from emotion.errors import CorpusError, InputError

__all__ = ["ARENAS", "Request", "compare"]

PAIR_FOLDS = 6


@dataclass(frozen=True)
class Request:
    """What to compare.

    Attributes:
        root: Folder of corpora.
        out: Where the table and the state of trainings go.
        cache: Folder for decoded corpora and features.
        arenas: Names among ARENAS; None for all.
        systems: Names of systems; None for all.
        train: Corpora of voices to train on, for one corpus against another.
        test: Corpora of voices to be scored on then.
        options: What all systems are told.
    """

    root: Path
    out: Path
    cache: Path | None
    arenas: Sequence[str] | None
    systems: Sequence[str] | None
    train: Sequence[str]
    test: Sequence[str]
    options: Options


Systems = tuple[System, ...]
Run = Callable[[Request, Systems], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Kind:
    """One kind of data and what competes on it.

    Attributes:
        title: Of its part of the table, where nothing can be trained.
        run: Trains and scores some of the systems; gives the figures of its arena, or of each of
            its arenas, again and again while they grow.
        systems: All that compete.
    """

    title: str
    run: Run
    systems: Systems


def _in(make: Callable[[Request], Iterable[Arena[Any]]]) -> Run:
    def run(request: Request, systems: Systems) -> Iterator[dict[str, Any]]:
        for arena in make(request):
            yield from _one_arena(arena, request, systems)

    return run


def _crossed(pairs: Sequence[tuple[Sequence[str], str]]) -> Run:
    """Run each pair whose corpora are at hand, then say which others are missing."""

    def run(request: Request, systems: Systems) -> Iterator[dict[str, Any]]:
        missing: list[str] = []
        for train, test in pairs:
            try:
                arena = voices.crossed_arena(train, test, request.root, request.cache)
            except CorpusError as error:
                missing.append(str(error))
                continue
            yield from _one_arena(arena, request, systems)
        if missing:
            raise CorpusError(" ".join(dict.fromkeys(missing)))

    return run


def _one_arena(arena: Arena[Any], request: Request, systems: Systems) -> Iterator[dict[str, Any]]:
    rows: list[Row] = []
    for row in run_arena(arena, systems, request.options, request.out):
        rows.append(row)
        yield arena_figures(arena, rows)
    plot_confusions(arena_figures(arena, rows), request.out / f"confusions-{arena.name}.png")


def _continuous(request: Request, systems: Systems) -> Iterator[dict[str, Any]]:
    yield from continuous.continuous_figures(
        request.root, request.cache, request.options, systems, request.out
    )


def _voice_kind(corpus: str) -> Kind:
    def make(request: Request) -> list[Arena[Any]]:
        return [voices.voice_arena(corpus, request.root, request.cache, voices.FOLDS[corpus])]

    return Kind(f"{SPEECH_CORPORA[corpus].title}, voice alone", _in(make), voices.SYSTEMS)


CROSSED = (
    (("ravdess",), "emodb"),
    (("ravdess",), "tess"),
    (("emodb",), "ravdess"),
    (("tess",), "ravdess"),
)
"""The source work trains on eNTERFACE and SAVEE and tests on AFEW; this is done here instead."""

ARENAS: dict[str, Kind] = {
    "ravdess-pairs": Kind(
        "RAVDESS, features of face and voice",
        _in(lambda r: [pairs.paired_arena(r.root, PAIR_FOLDS)]),
        pairs.SYSTEMS,
    ),
    **{f"{corpus}-voice": _voice_kind(corpus) for corpus in voices.FOLDS},
    "cross-corpus": Kind(
        "One corpus against another, voice alone", _crossed(CROSSED), voices.CROSSED_SYSTEMS
    ),
    "fer2013-face": Kind(
        "FER2013, one photograph of a face",
        _in(lambda r: [faces.face_arena(r.root, r.cache)]),
        faces.SYSTEMS,
    ),
    "clips": Kind(
        "Clips with face and voice",
        _in(lambda r: clips.clip_arenas(r.root, r.cache)),
        clips.SYSTEMS,
    ),
    "continuous": Kind("RECOLA, arousal and valence", _continuous, continuous.SYSTEMS),
}
"""What competes where, in the order of the table."""


def compare(request: Request) -> dict[str, Any]:
    """Run every arena and write compare.md, compare.json and a PNG of confusions an arena.

    The table is written after every system, so a comparison that is stopped leaves what it found.

    Raises:
        InputError: If an arena or a system is unknown, or a corpus is to train and to test.
    """
    _check_names(request)
    figures: dict[str, Any] = _about(request) | {"arenas": []}
    arenas: dict[str, Any] = {}
    for kind in _kinds(request):
        wanted = request.systems
        chosen = tuple(s for s in kind.systems if wanted is None or s.name in wanted)
        for arena in _figures(kind, chosen, request) if chosen else ():
            arenas[arena["arena"]] = arena
            figures["arenas"] = list(arenas.values())
            _write(figures, request.out)
    return figures


def _figures(kind: Kind, systems: Systems, request: Request) -> Iterator[dict[str, Any]]:
    """Figures as they grow; all systems untrained where the corpus is not at hand."""
    try:
        yield from kind.run(request, systems)
    except CorpusError as error:
        yield {
            "arena": kind.title,
            "title": kind.title,
            "protocol": str(error).removesuffix("."),
            "missing": True,
            "systems": [untrained(system) for system in systems],
            "differences": [],
        }


def _kinds(request: Request) -> list[Kind]:
    if request.train:
        ways = [(request.train, test) for test in request.test]
        return [Kind("One corpus against another", _crossed(ways), voices.SYSTEMS)]
    return [kind for name, kind in ARENAS.items() if not request.arenas or name in request.arenas]


def _write(figures: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.json").write_text(json.dumps(figures, indent=1) + "\n")
    (out / "compare.md").write_text(markdown(figures))


def _check_names(request: Request) -> None:
    both = sorted(set(request.train) & set(request.test))
    if both:
        raise InputError(f"Expected other corpora to test than to train, got {both[0]} in both.")
    known = {system.name for kind in ARENAS.values() for system in kind.systems}
    for what, asked, names in (
        ("corpora", [*request.train, *request.test], list(SPEECH_CORPORA)),
        ("arenas", request.arenas, list(ARENAS)),
        ("systems", request.systems, sorted(known)),
    ):
        unknown = sorted(set(asked or ()) - set(names))
        if unknown:
            raise InputError(f"Expected {what} among {', '.join(names)}, got {', '.join(unknown)}.")


def _about(request: Request) -> dict[str, Any]:
    return {
        "command": shlex.join(["attune", *sys.argv[1:]]),
        "commit": _commit(),
        "seed": 1,
        "machine": f"{platform.machine()}, one thread of a processor, Python "
        f"{platform.python_version()}",
    }


def _commit() -> str:
    """Name the commit this code is of, where it is a checkout."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
