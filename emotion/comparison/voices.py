"""Arenas of acted speech, and the systems that hear it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion.comparison.arena import (
    Arena,
    Cost,
    Fitted,
    Fold,
    Labels,
    Learner,
    Majority,
    Probabilities,
    folds_by_group,
    state_folder,
)
from emotion.comparison.cost import network_cost
from emotion.comparison.system import LIU_2018, OWN, ZHANG_2018, Options, System
from emotion.corpora.archive import cached_arrays
from emotion.corpora.speech import SPEECH_CORPORA, Voices, load_voices
from emotion.errors import InputError
from emotion.labels import EMOTIONS
from emotion.training.recipes import VoiceRecipe, voice_original, voice_torchvision

__all__ = [
    "CROSSED_SYSTEMS",
    "FOLDS",
    "SYSTEMS",
    "FunctionalsSVM",
    "NetworkFeaturesSVM",
    "VoiceNetwork",
    "VoiceSamples",
    "crossed_arena",
    "voice_arena",
]

Features = npt.NDArray[np.float32]

WORTH_KEEPING = 50
"""Features of fewer clips are made each time, as one clip is when it is timed."""


@dataclass(frozen=True)
class VoiceSamples:
    """Some clips, and where features of all of them are kept."""

    voices: Voices
    cache: Path | None

    def __len__(self) -> int:
        return len(self.voices)

    def features(self, kind: str, make: Callable[[Sequence[Features]], Features]) -> Features:
        """(clip, feature) made once for these very sounds and then read from the cache."""
        if len(self) < WORTH_KEEPING:
            return make(self.voices.waveforms)
        digest = hashlib.sha256()
        for waveform in self.voices.waveforms:
            digest.update(waveform.tobytes())
        key = f"{kind}-{digest.hexdigest()[:16]}"
        return cached_arrays(key, self.cache, lambda: {kind: make(self.voices.waveforms)})[kind]


FOLDS: dict[str, int | None] = {
    "ravdess": 3,
    "emodb": None,
    "savee": None,
    "enterface": 5,
    "cremad": 5,
    "iemocap": None,
}
"""Folds of people of each corpus; None leaves one speaker out, or one session where there are."""


def voice_arena(
    corpus: str, root: Path, cache: Path | None, folds: int | None
) -> Arena[VoiceSamples]:
    """Make an arena of all clips of a corpus of speech.

    Args:
        corpus: Name among SPEECH_CORPORA.
        root: Folder of corpora.
        cache: Folder for decoded sound and for features, or None.
        folds: How many folds of people; None leaves one speaker out at a time, or one session
            where people were recorded together, as is usual on IEMOCAP.
    """
    voices = load_voices(root, [corpus], cache)
    sessions = [clip.session or clip.speaker for clip in voices.clips]
    together = set(sessions) != set(voices.speakers)
    left_out = f"leave one {'session' if together else 'speaker'} out"
    how = left_out if folds is None else f"{folds} folds of other people"
    return Arena(
        name=f"{corpus}-voice",
        title=f"{SPEECH_CORPORA[corpus].title}, voice alone",
        protocol=f"{len(voices)} clips of {len(set(voices.speakers))} speakers; {how}",
        labels=voices.labels,
        groups=voices.speakers,
        folds=folds_by_group(sessions, folds),
        take=_taker(voices, cache),
    )


def crossed_arena(
    train: Sequence[str], test: str, root: Path, cache: Path | None
) -> Arena[VoiceSamples]:
    """Train on some corpora of speech, score on another, as the source work does with AFEW.

    Raises:
        CorpusError: If a corpus is unknown, missing or damaged.
    """
    voices = load_voices(root, [*train, test], cache)
    inside = np.isin([clip.corpus for clip in voices.clips], train)
    name = "+".join(train)
    return Arena(
        name=f"{name}-to-{test}",
        title=f"{name} → {test}, voice alone",
        protocol=f"trained on {inside.sum()} clips of {name}, scored on {(~inside).sum()} of "
        f"{test}; UAR is over the emotions that occur in {test}",
        labels=voices.labels,
        groups=tuple(c.name if c.nameless else c.speaker for c in voices.clips),
        folds=(Fold(np.nonzero(inside)[0], np.nonzero(~inside)[0]),),
        take=_taker(voices, cache),
        trained_in=f"{name}-to-others",
    )


def _taker(voices: Voices, cache: Path | None) -> Callable[[npt.NDArray[np.int64]], VoiceSamples]:
    def take(indices: npt.NDArray[np.int64]) -> VoiceSamples:
        clips = tuple(voices.clips[i] for i in indices)
        return VoiceSamples(Voices(clips, tuple(voices.waveforms[i] for i in indices)), cache)

    return take


@dataclass(frozen=True)
class FunctionalsSVM:
    """openSMILE's functionals into a support vector machine with an RBF kernel.

    Attributes:
        kind: "egemaps" (88 numbers a clip) or "compare" (ComParE 2016, 6,373).
    """

    kind: str

    def fit(
        self, train: VoiceSamples, labels: Labels, groups: Sequence[str], folder: Path
    ) -> Fitted:
        """Standardise and fit."""
        return _FeaturesSVM(self._features, self._features(train), labels)

    def _features(self, samples: VoiceSamples) -> Features:
        """(clip, feature) by openSMILE."""
        from emotion.speech import functionals

        features: Features = samples.features(self.kind, getattr(functionals, self.kind))
        return features


@dataclass(frozen=True)
class VoiceNetwork:
    """A recipe of the voice network, trained anew on each fold."""

    recipe: VoiceRecipe

    def fit(
        self, train: VoiceSamples, labels: Labels, groups: Sequence[str], folder: Path
    ) -> _VoiceNetworkFitted:
        """Train by the recipe, going on from what is in the folder."""
        from emotion import checkpoint
        from emotion.training.loop import fit, is_finished
        from emotion.training.voice import VoiceTask

        own, nobody = state_folder(self, folder, labels, groups), Voices((), ())
        if not is_finished(own):
            task = VoiceTask(self.recipe, train.voices, nobody, own)
            fit(task, self.recipe.schedule, own, resume=True)
        return _VoiceNetworkFitted(checkpoint.load(own))


class _VoiceNetworkFitted:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.cost = network_cost(model, _silence())

    def probabilities(self, samples: VoiceSamples) -> Probabilities:
        """(clip, emotion) of whole clips."""
        from emotion.calibration import calibrated_probabilities

        return calibrated_probabilities(self._outputs(samples)[0], 1.0)

    def features(self, samples: VoiceSamples) -> Features:
        """(clip, feature) before the classifier."""
        return self._outputs(samples)[1]

    def _outputs(self, samples: VoiceSamples) -> tuple[Features, Features]:
        from emotion.training.voice import voice_outputs

        return voice_outputs(self.model, samples.voices)


@dataclass(frozen=True)
class NetworkFeaturesSVM:
    """The vector of a trained voice network into the classifier that functionals get.

    The network is the one of the same recipe in the same fold: it is trained once for both.
    """

    recipe: VoiceRecipe

    def fit(
        self, train: VoiceSamples, labels: Labels, groups: Sequence[str], folder: Path
    ) -> Fitted:
        """Train the network, or take the one that is there, and fit the machine on its vectors."""
        network = VoiceNetwork(self.recipe).fit(train, labels, groups, folder)
        fitted = _FeaturesSVM(network.features, network.features(train), labels)
        own = network.cost
        macs = None if own.macs is None or fitted.cost.macs is None else own.macs + fitted.cost.macs
        fitted.cost = Cost(own.parameters + fitted.cost.parameters, macs)
        return fitted


@dataclass(frozen=True)
class HubVoiceModel:
    """A model of the Hugging Face hub as it comes, its labels mapped to ours."""

    name: str

    def fit(
        self, train: VoiceSamples, labels: Labels, groups: Sequence[str], folder: Path
    ) -> Fitted:
        """Load it; it learns nothing here."""
        from emotion.models.hub import load_hub_voice

        return _HubVoiceFitted(load_hub_voice(self.name))


class _HubVoiceFitted:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.cost = Cost(model.parameters)

    def probabilities(self, samples: VoiceSamples) -> Probabilities:
        """(clip, emotion) of whole clips.

        Raises:
            InputError: If `attune train voice-hub` trained the model on somebody of the clips.
        """
        known = sorted(set(samples.voices.speakers) & set(self.model.training.get("speakers", ())))
        if known:
            raise InputError(
                "Expected a --voice-model that was not trained on those it is scored on, got one "
                f"that knows {', '.join(known)}."
            )
        said: Probabilities = self.model.probabilities(samples.voices.waveforms)
        return said


class _FeaturesSVM:
    """Standardised features into a support vector machine with an RBF kernel."""

    def __init__(
        self, features: Callable[[VoiceSamples], Features], rows: Features, labels: Labels
    ) -> None:
        from emotion.speech.functionals import FunctionalsBaseline

        self._features, self._classifier = features, FunctionalsBaseline().fit(rows, labels)
        size = self._classifier.parameters
        self.cost = Cost(parameters=size, macs=size)

    def probabilities(self, samples: VoiceSamples) -> Probabilities:
        """(clip, emotion) of one and zeros: it says labels, not probabilities."""
        said = self._classifier.predict(self._features(samples))
        return np.asarray(np.eye(len(EMOTIONS))[said], np.float32)


def _silence() -> Any:
    """Spectrogram (1, frame, bin) of three seconds of silence."""
    import torch

    from emotion.speech.spectrogram import log_spectrogram

    return log_spectrogram(torch.zeros(1, 3 * 16_000))


COMPACT_EPOCHS = 40
"""Half of the bundled recipe's, so that a comparison takes an hour, not two."""

Recipe = Callable[[], VoiceRecipe]


def _compact() -> VoiceRecipe:
    recipe = VoiceRecipe()
    return replace(recipe, schedule=replace(recipe.schedule, epochs=COMPACT_EPOCHS))


def _shortened(recipe: VoiceRecipe, options: Options) -> VoiceRecipe:
    epochs = options.epochs or recipe.schedule.epochs
    return replace(recipe, schedule=replace(recipe.schedule, epochs=epochs))


def _network(layout: str, recipe: Recipe) -> tuple[System, System]:
    """Make a layout of the network with attention, and its twin that averages."""

    def attentive(options: Options) -> VoiceNetwork:
        return VoiceNetwork(_shortened(recipe(), options))

    def average(options: Options) -> VoiceNetwork:
        own = _shortened(recipe(), options)
        return VoiceNetwork(replace(own, config=replace(own.config, pooling="average")))

    name = f"attention-fcn-{layout}"
    return (
        System(name, ZHANG_2018, attentive, "λ-softmax attention, from scratch"),
        System(f"average-fcn-{layout}", ZHANG_2018, average, "average pooling, from scratch", name),
    )


def _network_features(options: Options) -> NetworkFeaturesSVM:
    return NetworkFeaturesSVM(_shortened(_compact(), options))


def _hub(options: Options) -> Learner | None:
    return None if options.voice_model is None else HubVoiceModel(options.voice_model)


_FIRST = (
    System("majority", OWN, lambda _: Majority(), "the frequencies of training"),
    System("egemaps-svm", LIU_2018, lambda _: FunctionalsSVM("egemaps"), "88 functionals"),
    System("compare-svm", LIU_2018, lambda _: FunctionalsSVM("compare"), "6,373 functionals"),
    System(
        "attention-fcn-features-svm",
        ZHANG_2018,
        _network_features,
        "the compact network's vector into the same classifier",
    ),
)
_LAST = (
    System(
        "soundnet-svm",
        LIU_2018,
        lambda _: None,
        "needs published weights: `attune convert soundnet`, then recipe `hybrid`",
    ),
    System("voice-hub", OWN, _hub, "needs `--voice-model`, a folder or an id of the hub"),
)
CROSSED_SYSTEMS = (*_FIRST, *_network("compact", _compact))
"""What competes where one corpus is trained on and another scored."""

SYSTEMS = (
    *CROSSED_SYSTEMS,
    *_network("original", voice_original),
    *_network("torchvision", voice_torchvision),
    *_LAST,
)
