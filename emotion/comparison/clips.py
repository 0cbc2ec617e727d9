"""Arenas of clips with face and voice, one a corpus at hand, and what is trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emotion import checkpoint
from emotion.comparison.arena import (
    Arena,
    Cost,
    Fitted,
    Fold,
    Labels,
    Majority,
    Probabilities,
    folds_by_group,
    kept_in,
)
from emotion.comparison.system import (
    AM_FBP,
    KNYAZEV_2017,
    LIU_2018,
    OWN,
    ZHANG_2019,
    Options,
    System,
)
from emotion.corpora.clip import Clip
from emotion.corpora.registry import corpus_named
from emotion.labels import EMOTIONS
from emotion.training.clips import ClipSettings, open_clips
from emotion.training.loop import STATE_FILE
from emotion.training.video import RECIPES, VideoRecipe, audiovisual_corpora, judge, train_video

__all__ = ["SYSTEMS", "ClipSamples", "VideoSystem", "clip_arenas"]

FOLDS = 5


@dataclass(frozen=True)
class ClipSamples:
    """Some clips of a corpus.

    Attributes:
        clips: What they are.
        corpus: Name of the corpus.
        root: Folder of corpora.
        cache: Folder for decoded clips.
        everybody: Who is in the whole corpus.
    """

    clips: tuple[Clip, ...]
    corpus: str
    root: Path
    cache: Path | None
    everybody: frozenset[str]

    def __len__(self) -> int:
        return len(self.clips)


def clip_arenas(root: Path, cache: Path | None) -> Iterator[Arena[ClipSamples]]:
    """Make an arena of every corpus under `root` that holds faces and voices together.

    A corpus with an official validation part is split as its makers did, others by people.

    Raises:
        CorpusError: If there is no such corpus.
    """
    for name in audiovisual_corpora(root):
        yield _arena(name, root, cache)


def _arena(name: str, root: Path, cache: Path | None) -> Arena[ClipSamples]:
    found = corpus_named(name).clips(root)
    clips = tuple(clip for clip in found if clip.video and clip.audio and clip.emotion)
    speakers = tuple(clip.speaker for clip in clips)
    everybody = frozenset(speakers)
    folds, how = _folds(clips, speakers)

    def take(indices: npt.NDArray[np.int64]) -> ClipSamples:
        return ClipSamples(tuple(clips[i] for i in indices), name, root, cache, everybody)

    return Arena(
        name=f"{name}-clips",
        title=f"{corpus_named(name).title}, face and voice of the same clip",
        protocol=f"{len(clips)} clips of {len(everybody)} people; {how}",
        labels=np.array([EMOTIONS.index(clip.emotion or "") for clip in clips]),
        groups=speakers,
        folds=folds,
        take=take,
    )


def _folds(clips: Sequence[Clip], speakers: Sequence[str]) -> tuple[tuple[Fold, ...], str]:
    official = np.array([clip.split == "valid" for clip in clips])
    learnt = np.array([clip.split == "train" for clip in clips])
    if official.any() and learnt.any():
        return (Fold(np.nonzero(learnt)[0], np.nonzero(official)[0]),), "the official parts"
    count = min(FOLDS, len(set(speakers)))
    return folds_by_group(speakers, count), f"{count} folds of other people"


@dataclass(frozen=True)
class VideoSystem:
    """A recipe of `attune train` for clips, trained anew on each fold."""

    recipe: VideoRecipe

    def fit(
        self, train: ClipSamples, labels: Labels, groups: Sequence[str], folder: Path
    ) -> Fitted:
        """Train by the recipe on the fold's people, going on from what is in the folder."""
        own = kept_in(self, folder)
        if not (own / "config.json").exists() or (own / STATE_FILE).exists():
            train_video(
                self.recipe,
                train.root,
                own,
                cache=train.cache,
                resume=True,
                corpora=(train.corpus,),
                without_speakers=train.everybody - set(groups),
            )
        return _VideoSystemFitted(own)


@dataclass(frozen=True)
class _VideoSystemFitted:
    folder: Path

    @property
    def cost(self) -> Cost:
        """All numbers of the checkpoint; frozen encoders are not among them."""
        arrays = checkpoint.read(self.folder).arrays
        return Cost(sum(array.size for array in arrays.values()))

    def probabilities(self, samples: ClipSamples) -> Probabilities:
        """(clip, emotion) of clips, decoded by the settings of training."""
        settings = ClipSettings(**checkpoint.read(self.folder).training["clips"])
        store = open_clips(samples.root, (samples.corpus,), settings, samples.cache)
        place = {clip.name: index for index, clip in enumerate(store.clips)}
        chosen = store.of([place[clip.name] for clip in samples.clips])
        chosen.prepare()
        return judge(self.folder, chosen).astype(np.float32)


def _system(name: str, source: str, ablation_of: str | None = None) -> System:
    def make(options: Options) -> VideoSystem:
        recipe = RECIPES[name]
        epochs = options.epochs or recipe.schedule.epochs
        return VideoSystem(replace(recipe, schedule=replace(recipe.schedule, epochs=epochs)))

    return System(name, source, make, f"recipe `{name}`", ablation_of)


SYSTEMS = (
    System("majority", OWN, lambda _: Majority(), "the frequencies of training"),
    _system("concat", OWN),
    _system("fbp", ZHANG_2019),
    _system("fbp-average", ZHANG_2019, "fbp"),
    _system("fbp-fine-tuned", ZHANG_2019),
    _system("am-fbp", AM_FBP),
    _system("vgg-lstm", LIU_2018),
    _system("vgg-lstm-shuffled", LIU_2018, "vgg-lstm"),
    _system("pooled-svm", KNYAZEV_2017),
    _system("hybrid", LIU_2018),
)
