"""Fits and scores the hand-made references of the end-to-end network: eGeMAPS or LBP-TOP + SVR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from emotion.face.tracker import FaceFinder
from emotion.models.svr import WindowedSVR, WindowedSVRConfig, lbp_top, low_level_egemaps
from emotion.training.continuous import (
    STEP_SAMPLES,
    Recording,
    continuous_facts,
    continuous_report,
    kept_rows,
    load_recordings,
)
from emotion.training.postprocessing import PostProcessingSearch

__all__ = ["RECIPES", "SVRRecipe", "low_level_features", "score_svr", "train_svr"]

CHUNK_STEPS = 500

Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SVRRecipe:
    """Fits `WindowedSVR` to recordings that are rated all the time.

    Attributes:
        config: Features, window and machine.
        corpus: A name in `emotion.corpora.registry.CORPORA` with parts "train" and "valid".
        costs: The C to choose among, by the development set's CCC after post-processing.
        every: Only every so-manieth step is learnt.
        search: What post-processing is tried on the development set.
    """

    config: WindowedSVRConfig = field(default_factory=WindowedSVRConfig)
    corpus: str = "recola"
    costs: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1)
    every: int = 10
    search: PostProcessingSearch = field(default_factory=PostProcessingSearch)

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", tuple(self.costs))
        if not self.costs or min(self.costs) <= 0 or self.every < 1:
            raise ValueError(f"Expected costs > 0 and every >= 1, got {self}.")


RECIPES: Final = {
    "svr-audio": SVRRecipe(),
    "svr-video": SVRRecipe(WindowedSVRConfig("lbp-top")),
}
"""One a modality, both trained by `train_svr`."""


def train_svr(
    recipe: SVRRecipe,
    root: Path,
    out: Path,
    *,
    cache: Path | None,
    resume: bool = False,
    finder: FaceFinder | None = None,
) -> WindowedSVR:
    """Fit to the part "train", choose C and post-processing on "valid", write `out`.

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the checkpoint.
        cache: Folder for prepared sound, faces and features; None prepares them each time.
        resume: Nothing to do with it: what takes long lies in `cache`, fitting takes seconds.
        finder: Finds the faces; None is MTCNN.

    Raises:
        CorpusError: If the corpus, one of the two parts, a modality or a rating is not there.
        InputError: If openSMILE is needed and not installed.
    """
    config = recipe.config
    train, development = (
        _recordings(config, recipe.corpus, root, split, cache, finder)
        for split in ("train", "valid")
    )
    inside = [low_level_features(recording, config, cache) for recording in train]
    outside = [low_level_features(recording, config, cache) for recording in development]
    truth = [recording.truth for recording in development]
    trials = []
    for cost in tqdm(recipe.costs, desc="choosing C", leave=False):
        model = WindowedSVR.fit(
            config, inside, [r.truth for r in train], [cost] * len(config.dimensions), recipe.every
        )
        said = [model.rate(levels) for levels in outside]
        trials.append((model, continuous_facts(said, truth, config.dimensions, recipe.search)))
    best, facts = _best_of_each_dimension(trials, config)
    facts |= {
        "recipe": "svr-audio" if config.hears else "svr-video",
        "corpora": [recipe.corpus],
        "speakers": [recording.clip.speaker for recording in train],
        "held_out_speakers": [recording.clip.speaker for recording in development],
    }
    best.save(out, training=facts)
    return best


def low_level_features(
    recording: Recording, config: WindowedSVRConfig, cache: Path | None
) -> Features:
    """Low-level features (step, feature) of a recording's rated steps, kept in `cache`."""
    if config.hears:
        rows = kept_rows(f"{recording.key}-egemaps", cache, lambda: _of_sound(recording))
    else:
        key = f"{recording.key}-lbp-top-{config.side}-{config.blocks}"
        rows = kept_rows(key, cache, lambda: _of_faces(recording, config))
    levels: Features = rows[recording.first : recording.first + len(recording)]
    return levels


def score_svr(
    folder: Path,
    root: Path,
    *,
    split: str = "test",
    cache: Path | None = None,
    finder: FaceFinder | None = None,
) -> dict[str, Any]:
    """Score a checkpoint of `train_svr`, as `score_end_to_end` scores its own.

    Raises:
        CheckpointError: If the checkpoint is of something else.
        CorpusError: If the part, a modality or a rating is not there.
    """
    from emotion import checkpoint

    model, facts = WindowedSVR.load(folder), checkpoint.read(folder).training
    (corpus,) = facts["corpora"]
    recordings = _recordings(model.config, corpus, root, split, cache, finder)
    said = [model.rate(low_level_features(r, model.config, cache)) for r in recordings]
    return continuous_report(said, recordings, facts, split)


def _best_of_each_dimension(
    trials: Sequence[tuple[WindowedSVR, dict[str, Any]]], config: WindowedSVRConfig
) -> tuple[WindowedSVR, dict[str, Any]]:
    """Put together the machines that agree best, dimension by dimension; the first of equals."""
    arrays = {name: array.copy() for name, array in trials[0][0].arrays.items()}
    parts = ("post_processing", "development", "development_raw")
    facts: dict[str, Any] = {part: {} for part in parts}
    for d, name in enumerate(config.dimensions):
        model, found = max(trials, key=lambda trial: float(trial[1]["development"][name]))
        for array in ("weight", "intercept", "cost"):
            arrays[array][d] = model.arrays[array][d]
        for part in parts:
            facts[part][name] = found[part][name]
    for part in parts[1:]:
        facts[part]["mean"] = float(np.mean(list(facts[part].values())))
    return WindowedSVR(config, arrays), facts


def _of_sound(recording: Recording) -> Features:
    """Describe (step, feature) everything that is heard."""
    assert recording.waveform is not None  # load_recordings was asked for sound
    return low_level_egemaps(recording.waveform[:].ravel(), STEP_SAMPLES)


def _of_faces(recording: Recording, config: WindowedSVRConfig) -> Features:
    """Count patterns (step, feature) of everything that is seen, a stretch at a time."""
    assert recording.crops is not None  # load_recordings was asked for faces
    steps, parts = len(recording.crops), []
    for start in range(0, steps, CHUNK_STEPS):
        stop = min(start + CHUNK_STEPS, steps)
        crops = recording.crops[max(0, start - 1) : stop + 1]
        grey = np.stack([_reduced(crop, config.side) for crop in crops])
        # the first and the last step of a recording have no neighbour on one side: themselves
        ends = (int(start == 0), int(stop == steps))
        parts.append(lbp_top(np.pad(grey, (ends, (0, 0), (0, 0)), "edge"), config.blocks))
    return np.concatenate(parts)


def _reduced(crop: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Grey (side, side) of a crop (height, width, 3)."""
    picture = Image.fromarray(crop).convert("L")
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def _recordings(
    config: WindowedSVRConfig,
    corpus: str,
    root: Path,
    split: str,
    cache: Path | None,
    finder: FaceFinder | None,
) -> list[Recording]:
    return load_recordings(
        root,
        split,
        cache=cache,
        corpus=corpus,
        dimensions=config.dimensions,
        sound=config.hears,
        faces=not config.hears,
        finder=finder,
    )
