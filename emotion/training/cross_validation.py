"""How good a recipe is: trained anew without some speakers, until everybody was left out once.

The figures are the recipe's. Shipped weights are the same recipe on all speakers, so nobody is left
to score those on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion import checkpoint
from emotion.calibration import cross_fitted
from emotion.corpora.speech import SPEECH_CORPORA, Voices, load_voices
from emotion.corpora.splits import deal
from emotion.errors import InputError
from emotion.labels import EMOTIONS, Emotion
from emotion.models.adaptive_voice import AdaptiveVoice
from emotion.report import Predictions, report, spread, voice_figures
from emotion.training.histories import Known
from emotion.training.loop import is_finished
from emotion.training.recipes import VoiceRecipe
from emotion.training.voice import train_voice, voice_outputs

__all__ = ["cross_validate", "deal_speakers"]

DEALT_FROM = 1
"""Seed by which speakers are dealt: the same folds whatever the seed of training."""


def cross_validate(
    recipe: VoiceRecipe,
    root: Path,
    out: Path,
    *,
    folds: int,
    seeds: Sequence[int] = (1,),
    cache: Path | None = None,
) -> dict[str, Any]:
    """Train the recipe once a fold and score it on the speakers left out.

    A fold leaves out speakers of every corpus of the recipe that it has enough of, so the same
    trainings serve all of them. What is trained is kept in `out`; when killed, a second call goes
    on from there. The temperature of each speaker is fitted on the others.

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the folds' checkpoints.
        folds: How many; of a corpus with fewer speakers each is a fold of its own.
        seeds: Trains everything from each of them; with several the report holds their spread,
            and its other figures are of the first.
        cache: Folder for decoded corpora, or None.

    Returns:
        Plain JSON: by corpus the figures of `emotion.report.report`, of the emotions that occur in
        it, by the actors' sex where it is known, and of each fold.

    Raises:
        InputError: If there is no seed.
        CorpusError: If there are fewer than two folds or speakers.
    """
    if not seeds:
        raise InputError("Expected at least one seed, got none.")
    voices = load_voices(root, recipe.corpora, cache)
    fold_of = deal_speakers(voices, folds)
    reports = []
    for seed in seeds:
        own = replace(recipe, schedule=replace(recipe.schedule, seed=seed))
        trainer = _Trainer(own, root, out / f"seed{seed}", cache, fold_of)
        reports.append(_figures(voices, fold_of, trainer))
    about = {
        "protocol": "every speaker left out once; the figures are the recipe's, not the weights'",
        "temperature": "of each speaker fitted on the others",
        "folds": folds,
        "epochs": recipe.schedule.epochs,
        "seeds": list(seeds),
    }
    for corpus in recipe.corpora if len(seeds) > 1 else ():
        reports[0][corpus]["spread"] = spread([found[corpus] for found in reports])
    return about | reports[0]


def deal_speakers(voices: Voices, folds: int) -> dict[str, int]:
    """Deal the speakers of each corpus over the folds, as evenly as their clips allow.

    Args:
        voices: Of one corpus or several.
        folds: How many.

    Returns:
        Fold of each speaker, from 0.

    Raises:
        CorpusError: If there are fewer than two folds, or a corpus has a single speaker.
    """
    generator = np.random.default_rng(DEALT_FROM)
    fold_of: dict[str, int] = {}
    for corpus in sorted({clip.corpus for clip in voices.clips}):
        sizes = Counter(clip.speaker for clip in voices.clips if clip.corpus == corpus)
        fold_of |= deal(sizes, min(folds, max(2, len(sizes))), generator)
    return fold_of


@dataclass(frozen=True)
class _Trainer:
    recipe: VoiceRecipe
    root: Path
    out: Path
    cache: Path | None
    fold_of: dict[str, int]

    def logits(self, voices: Voices, known: Known) -> npt.NDArray[np.float32]:
        """Logits (clip, emotion), each by the network that was trained without the speaker."""
        said = np.zeros((len(voices), len(EMOTIONS)), np.float32)
        for fold, left_out in self._left_out():
            mine = np.isin(voices.speakers, left_out)
            own = voices.of(left_out)
            if len(own):
                said[mine] = voice_outputs(self._trained(fold, left_out), own, known=known)[0]
        return said

    @property
    def adaptive(self) -> bool:
        """Whether the networks get to know their speakers."""
        return isinstance(self._trained(*self._left_out()[0]), AdaptiveVoice)

    def _left_out(self) -> list[tuple[int, list[str]]]:
        """Each fold and its speakers."""
        folds = sorted(set(self.fold_of.values()))
        return [(fold, [s for s, own in self.fold_of.items() if own == fold]) for fold in folds]

    def _trained(self, fold: int, left_out: Sequence[str]) -> Any:
        made_of = hashlib.sha256(repr((self.recipe, sorted(left_out))).encode()).hexdigest()
        folder = self.out / f"fold{fold + 1}-{made_of[:8]}"
        if not is_finished(folder):
            train_voice(
                self.recipe,
                self.root,
                folder,
                cache=self.cache,
                without_speakers=left_out,
                resume=True,
            )
        return checkpoint.load(folder)


def _figures(voices: Voices, fold_of: dict[str, int], trainer: _Trainer) -> dict[str, Any]:
    """Figures by corpus."""
    found: dict[str, Any] = {}
    for corpus in sorted({clip.corpus for clip in voices.clips}):
        own = voices.of([c.speaker for c in voices.clips if c.corpus == corpus])
        fold = np.array([fold_of[speaker] for speaker in own.speakers])
        found[corpus] = _of_corpus(corpus, own, fold, trainer)
    return found


def _of_corpus(
    corpus: str, voices: Voices, fold: npt.NDArray[np.int64], trainer: _Trainer
) -> dict[str, Any]:
    """Figures of one corpus, its clips (clip,) dealt over folds."""
    emotions, truth = _emotions_of(corpus), voices.labels
    speakers = np.array(voices.speakers)

    def probabilities(known: Known) -> npt.NDArray[np.float32]:
        return cross_fitted(trainer.logits(voices, known), truth, speakers)

    figures = voice_figures(probabilities, truth, speakers, trainer.adaptive, emotions)
    said = Predictions(truth, probabilities("earlier"), speakers)
    each: list[dict[str, Any]] = []
    for number in sorted(set(fold.tolist())):
        part = said.take(fold == number)
        own = report(part, emotions)
        people = sorted(set(part.groups.tolist()))
        each.append({"left_out": people, "wa": own["wa"]["value"], "uar": own["uar"]["value"]})
    return {"speakers": sorted(set(voices.speakers))} | figures | {"each_fold": each}


def _emotions_of(corpus: str) -> tuple[Emotion, ...]:
    """Emotions that a corpus acts: of the others nothing can be asked on it."""
    acted = set(SPEECH_CORPORA[corpus].labels.values())
    return tuple(emotion for emotion in EMOTIONS if emotion in acted)
