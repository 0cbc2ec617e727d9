"""Continuous arousal and valence on RECOLA, by the end-to-end network and what it beats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emotion.comparison.arena import state_folder
from emotion.comparison.system import TZIRAKIS_2017, Options, System
from emotion.comparison.table import untrained
from emotion.corpora.registry import corpus_named
from emotion.errors import EmotionError

__all__ = ["SYSTEMS", "continuous_figures"]

CORPUS = "recola"
_NO_LABELS = np.zeros(0, np.int64)


_CHOSEN_HERE = "; epoch, C and post-processing were chosen on it, so the figures are too good"


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
    from emotion.training.loop import is_finished

    clips = corpus_named(CORPUS).clips(root)
    split = "test" if any(clip.split == "test" for clip in clips) else "valid"
    learnt = [clip.speaker for clip in clips if clip.split != "test"]
    rows: list[dict[str, Any]] = []
    for system in systems:
        recipe, train = _recipe(system.name, options)
        folder = state_folder(recipe, out / f"{CORPUS}-continuous", _NO_LABELS, learnt)
        try:
            if not is_finished(folder):
                train(recipe, root, folder, cache=cache, resume=True)
            about = {"system": system.name, "source": system.source, "note": system.note}
            rows.append(about | _scored(folder, root, cache, split))
        except EmotionError as error:
            rows.append(untrained(replace(system, note=str(error))))
        yield {
            "arena": f"{CORPUS}-continuous",
            "title": "RECOLA, arousal and valence",
            "protocol": f"CCC on the part {split!r}, people apart from those of training"
            + _CHOSEN_HERE * (split == "valid"),
            "continuous": True,
            "systems": list(rows),
            "differences": [],
        }


def _scored(folder: Path, root: Path, cache: Path | None, split: str) -> dict[str, Any]:
    """CCC of a checkpoint, and what it costs."""
    from emotion import checkpoint
    from emotion.training.end_to_end import score_continuous

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
