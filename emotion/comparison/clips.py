"""Arenas of clips with face and voice, one a corpus at hand, and what is trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

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
    state_folder,
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
from emotion.training.loop import is_finished
from emotion.training.recipes import VoiceRecipe
from emotion.training.video import (
    RECIPES,
    VideoRecipe,
    audiovisual_corpora,
    encoders_of,
    judge,
    train_video,
)
from emotion.training.voice import train_voice

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
    folds, how = _folds(clips)

    def take(indices: npt.NDArray[np.int64]) -> ClipSamples:
        return ClipSamples(tuple(clips[i] for i in indices), name, root, cache, everybody)

    return Arena(
        name=f"{name}-clips",
        title=f"{corpus_named(name).title}, face and voice of the same clip",
        protocol=f"{len(clips)} clips of {_people(clips)}; {how}",
        labels=np.array([EMOTIONS.index(clip.emotion or "") for clip in clips]),
        groups=speakers,
        folds=folds,
        take=take,
    )


def _people(clips: Sequence[Clip]) -> str:
    """How many they are of, where the corpus tells."""
    nobody = all(clip.nameless for clip in clips)
    return "people who are not named" if nobody else f"{len({c.speaker for c in clips})} people"


def _folds(clips: Sequence[Clip]) -> tuple[tuple[Fold, ...], str]:
    official = np.array([clip.split == "valid" for clip in clips])
    learnt = np.array([clip.split == "train" for clip in clips])
    if official.any() and learnt.any():
        return (Fold(np.nonzero(learnt)[0], np.nonzero(official)[0]),), "the official parts"
    groups = [clip.group for clip in clips]
    count = min(FOLDS, len(set(groups)))
    return folds_by_group(groups, count), f"{count} folds of other people"


@dataclass(frozen=True)
class VideoSystem:
    """A recipe of `attune train` for clips, trained anew on each fold.

    Attributes:
        recipe: What is trained, over the bundled encoders.
        voice: Trains the fold's own voice encoder where the bundled one knows somebody whom the
            fold tests.
        bundled: Digests of the bundled encoders: over others it is another system.
    """

    recipe: VideoRecipe
    voice: VoiceRecipe = field(default_factory=VoiceRecipe)
    bundled: tuple[str, ...] = field(
        default_factory=lambda: tuple(
            checkpoint.digest(checkpoint.bundled(part)) for part in ("face", "voice")
        )
    )

    def fit(
        self, train: ClipSamples, labels: Labels, groups: Sequence[str], folder: Path
    ) -> Fitted:
        """Train by the recipe on the fold's people, going on from what is in the folder."""
        own = state_folder(self, folder, labels, groups)
        if not is_finished(own):
            strangers = train.everybody - set(groups)
            train_video(
                self.recipe,
                train.root,
                own,
                cache=train.cache,
                resume=True,
                corpora=(train.corpus,),
                without_speakers=strangers,
                init=self._encoders(
                    train, strangers, state_folder(self.voice, folder, labels, groups)
                ),
            )
        return _VideoSystemFitted(own)

    def _encoders(self, train: ClipSamples, strangers: frozenset[str], folder: Path) -> Path | None:
        """Train a voice encoder that knows no stranger; None where the bundled one knows none."""
        known = checkpoint.read(checkpoint.bundled("voice")).training.get("speakers", ())
        if "voice" not in encoders_of(self.recipe.config) or not strangers & set(known):
            return None
        if not is_finished(folder / "voice"):
            train_voice(
                replace(self.voice, corpora=(train.corpus,)),
                train.root,
                folder / "voice",
                cache=train.cache,
                without_speakers=strangers,
                resume=True,
            )
        return folder


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


R = TypeVar("R", VideoRecipe, VoiceRecipe)


def _shortened(recipe: R, options: Options) -> R:
    epochs = options.epochs or recipe.schedule.epochs
    return replace(recipe, schedule=replace(recipe.schedule, epochs=epochs))


def _system(name: str, source: str, ablation_of: str | None = None) -> System:
    def make(options: Options) -> VideoSystem:
        return VideoSystem(_shortened(RECIPES[name], options), _shortened(VoiceRecipe(), options))

    return System(name, source, make, f"recipe `{name}` over the bundled encoders", ablation_of)


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
