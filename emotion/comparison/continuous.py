"""Continuous arousal and valence on RECOLA, by the end-to-end network and what it beats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from emotion.comparison.system import TZIRAKIS_2017, Options, System
from emotion.corpora.registry import corpus_named

__all__ = ["SYSTEMS", "continuous_figures"]

CORPUS = "recola"


def _system(name: str, note: str) -> System:
    return System(name, TZIRAKIS_2017, lambda _: None, note)


SYSTEMS = (
    _system("svr-audio", "eGeMAPS low-level descriptors in windows, linear SVR"),
    _system("svr-video", "LBP-TOP of the face, linear SVR"),
    _system("end-to-end-audio", "raw waveform, recipe `end-to-end-audio`"),
    _system("end-to-end-video", "ResNet-50 on face crops, recipe `end-to-end-video`"),
    _system("end-to-end", "both, recipe `end-to-end`"),
)


def continuous_figures(
    root: Path, cache: Path | None, options: Options, systems: tuple[System, ...], out: Path
) -> Iterator[dict[str, Any]]:
    """Train and score every system on RECOLA; figures after each.

    The test part is scored where its ratings are at hand, else the development part, on which the
    post-processing was chosen; the figures say which.

    Raises:
        CorpusError: If RECOLA is not under `root`.
    """
    splits = {clip.split for clip in corpus_named(CORPUS).clips(root)}
    split = "test" if "test" in splits else "valid"
    rows: list[dict[str, Any]] = []
    for system in systems:
        about = {"system": system.name, "source": system.source, "note": system.note}
        rows.append(about | _trained(system.name, root, cache, options, out, split))
        yield {
            "arena": f"{CORPUS}-continuous",
            "title": "RECOLA, arousal and valence",
            "protocol": f"CCC on the part {split!r}, people apart from those of training",
            "continuous": True,
            "systems": list(rows),
            "differences": [],
        }


def _trained(
    name: str, root: Path, cache: Path | None, options: Options, out: Path, split: str
) -> dict[str, Any]:
    """CCC of one recipe, trained unless its folder holds a finished training."""
    from emotion import checkpoint
    from emotion.training.end_to_end import score_continuous
    from emotion.training.loop import STATE_FILE

    recipe, train = _recipe(name, options)
    folder = out / f"{CORPUS}-continuous" / name
    if not (folder / "config.json").exists() or (folder / STATE_FILE).exists():
        train(recipe, root, folder, cache=cache, resume=True)
    found = score_continuous(folder, root, split=split, cache=cache)
    weights = sum(array.size for array in checkpoint.read(folder).arrays.values())
    return {"parameters": weights, "macs": None, "ms_a_clip": None} | found


def _recipe(name: str, options: Options) -> tuple[Any, Callable[..., Any]]:
    from emotion.training import end_to_end, svr

    if name in svr.RECIPES:
        return svr.RECIPES[name], svr.train_svr
    recipe = end_to_end.RECIPES[name]
    epochs = options.epochs or recipe.schedule.epochs
    recipe = replace(recipe, schedule=replace(recipe.schedule, epochs=epochs))
    return recipe, end_to_end.train_end_to_end
