"""Scored reports: what a checkpoint says of a corpus, with intervals and without seen speakers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emotion import checkpoint
from emotion.calibration import UNCLEAR_BELOW, calibrated_probabilities, fit_temperature
from emotion.errors import CheckpointError, CorpusError, InputError
from emotion.labels import EMOTIONS, Emotion
from emotion.metrics import (
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    recalls,
    unweighted_average_recall,
    weighted_accuracy,
)

if TYPE_CHECKING:
    from emotion.corpora.speech import Voices

__all__ = ["CORPORA", "Predictions", "bootstrap_interval", "report", "score"]

CORPORA = ("emodb", "fer2013", "ferplus", "goemotions", "paired", "ravdess", "tess")
SPLIT_CORPORA = ("fer2013", "ferplus", "goemotions")
RESAMPLES = 1000
SEED = 1

Interval = tuple[float, float]


@dataclass(frozen=True)
class Predictions:
    """What was true and what was said of some samples.

    Attributes:
        truth: (sample,) index into EMOTIONS.
        probabilities: (sample, emotion), calibrated.
        groups: (sample,) whom each is of; resampling draws whole groups.
    """

    truth: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    groups: npt.NDArray[Any]


def score(
    corpus: str,
    root: Path,
    *,
    split: str | None = None,
    model: Path | None = None,
    emotions: Sequence[Emotion] = EMOTIONS,
    baseline: bool = False,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Score a checkpoint on a corpus.

    Args:
        corpus: One of CORPORA. "paired" pairs FER2013's PublicTest with voices of speakers that
            the voice model never heard, by label, and scores face, voice and both.
        root: Folder of corpora.
        split: Part of FER2013 or GoEmotions; default their public test parts.
        model: A checkpoint, or a folder of them named face, voice, fusion, words; default the
            bundled ones.
        emotions: EMOTIONS, or SIX: samples of surprise are left out and the rest renormalised.
        baseline: Score beside a voice model what it has to beat: openSMILE's eGeMAPS and a support
            vector machine, trained on the same speakers.
        cache: Folder for decoded corpora, or None.

    Returns:
        Plain JSON: corpus, what was scored, and the figures of `report`.

    Raises:
        CorpusError: If the corpus is unknown or missing, or the model has heard all its speakers.
        InputError: If a split or a baseline is asked of a corpus that has none.
        CheckpointError: If the checkpoint is missing, damaged or of another kind.
    """
    if corpus not in CORPORA:
        raise CorpusError(f"Expected a corpus among {', '.join(CORPORA)}, got {corpus!r}.")
    scorer = {
        "fer2013": _score_faces,
        "ferplus": _score_faces,
        "goemotions": _score_words,
        "paired": _score_paired,
    }.get(corpus, _score_voices)
    if baseline and scorer is not _score_voices:
        raise InputError(f"Expected a corpus of voices for a baseline, got {corpus!r}.")
    if split is not None and corpus not in SPLIT_CORPORA:
        raise InputError(f"Expected no split for {corpus}, got {split!r}.")
    request = _Request(corpus, root, split, model, tuple(emotions), baseline, cache)
    return {"corpus": corpus} | scorer(request)


def report(predictions: Predictions, emotions: Sequence[Emotion] = EMOTIONS) -> dict[str, Any]:
    """Figures of some predictions as plain JSON.

    WA, UAR and macro-F1 with 95 % bootstrap intervals; the calibration error over 15 bins; the part
    of the samples that is not 'unclear', and WA on these; recall of each emotion; and the confusion
    (rows true, columns said).

    Args:
        predictions: What was true and said.
        emotions: The classes to speak of.
    """
    kept = [EMOTIONS.index(emotion) for emotion in emotions]
    inside = np.isin(predictions.truth, kept)
    truth = np.searchsorted(kept, predictions.truth[inside])
    probabilities = predictions.probabilities[inside][:, kept].astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    said = probabilities.argmax(axis=1)
    groups = predictions.groups[inside]
    confusion = confusion_matrix(truth, said, len(kept))
    figures: dict[str, Any] = {"samples": len(truth), "groups": len(set(groups.tolist()))}
    for name, metric in (
        ("wa", weighted_accuracy),
        ("uar", unweighted_average_recall),
        ("macro_f1", macro_f1),
    ):
        low, high = bootstrap_interval(truth, said, groups, metric, len(kept))
        figures[name] = {"value": _rounded(metric(confusion)), "low": low, "high": high}
    figures["ece"] = _rounded(expected_calibration_error(truth, probabilities))
    figures |= _when_clear(truth, probabilities)
    by_class = zip(emotions, recalls(confusion), strict=True)
    figures["recall"] = {e: None if np.isnan(r) else _rounded(r) for e, r in by_class}
    return figures | {"emotions": list(emotions), "confusion": confusion.tolist()}


def bootstrap_interval(
    truth: npt.NDArray[np.int64],
    said: npt.NDArray[np.int64],
    groups: npt.NDArray[Any],
    metric: Callable[[npt.NDArray[np.int64]], float],
    classes: int,
) -> Interval:
    """95 % percentile interval over 1000 resamples of whole groups.

    Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.

    Args:
        truth: (sample,) class indices.
        said: (sample,) class indices.
        groups: (sample,) whom each sample is of.
        metric: Of a confusion matrix.
        classes: How many classes there are.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    confusions = np.zeros((group_of.max() + 1, classes, classes), dtype=np.int64)
    np.add.at(confusions, (group_of, truth, said), 1)
    generator = np.random.default_rng(SEED)
    drawn = generator.multinomial(
        len(confusions), np.full(len(confusions), 1 / len(confusions)), size=RESAMPLES
    )
    flat = drawn @ confusions.reshape(len(confusions), -1)
    values = [metric(counts) for counts in flat.reshape(RESAMPLES, classes, classes)]
    low, high = np.percentile(values, [2.5, 97.5])
    return _rounded(low), _rounded(high)


@dataclass(frozen=True)
class _Request:
    corpus: str
    root: Path
    split: str | None
    model: Path | None
    emotions: tuple[Emotion, ...]
    baseline: bool
    cache: Path | None

    def folder(self, part: str) -> Path:
        """Find the checkpoint of one part: given itself, inside what was given, or bundled."""
        if self.model is None:
            return checkpoint.bundled(part)
        if (self.model / part).is_dir():
            return self.model / part
        if part == "face" and (self.model / "fusion").is_dir():
            return checkpoint.bundled(part)  # a retrained fusion over the bundled faces
        return self.model

    def load(self, part: str, architecture: str) -> tuple[Any, dict[str, Any]]:
        """Load that checkpoint and the facts of its training."""
        folder = self.folder(part)
        stored = checkpoint.read(folder)
        if stored.architecture != architecture:
            raise CheckpointError(
                f"Expected a checkpoint of {architecture} in {folder}, got {stored.architecture}."
            )
        return checkpoint.load(folder), stored.training


def _score_faces(request: _Request) -> dict[str, Any]:
    from emotion.corpora.fer2013 import load_faces
    from emotion.training.face import face_logits

    model, facts = request.load("face", "FaceCNN")
    split = request.split or "PublicTest"
    faces = load_faces(request.root, split, request.cache)
    truth = faces.labels
    if request.corpus == "ferplus":  # the majority of those votes that are for one of our seven
        faces = faces.take(faces.votes.sum(axis=1) > 0)
        truth = faces.votes.argmax(axis=1)
    logits = face_logits(model, faces)[request.corpus]
    said = calibrated_probabilities(logits, facts["temperature"][request.corpus])
    figures = report(Predictions(truth, said, np.arange(len(truth))), request.emotions)
    return {"split": split, "seen_in_training": split == "Training"} | figures


def _score_voices(request: _Request) -> dict[str, Any]:
    from emotion.corpora.speech import load_voices
    from emotion.training.voice import voice_outputs

    model, facts = request.load("voice", "AttentionFCN")
    voices = _unseen(load_voices(request.root, [request.corpus], request.cache), facts)
    logits, _ = voice_outputs(model, voices)
    groups = np.array(voices.speakers)
    said = calibrated_probabilities(logits, facts["temperature"])
    crossed = bool(set(voices.speakers) & set(facts["held_out_speakers"]))
    if crossed:
        said = cross_fitted(logits, voices.labels, groups)
    figures = report(Predictions(voices.labels, said, groups), request.emotions)
    if request.baseline:
        figures["egemaps_svm"] = _score_baseline(request, facts, voices)
    return {
        "speakers": sorted(set(voices.speakers)),
        "temperature": "fitted on the other speakers" if crossed else "of the checkpoint",
    } | figures


def _score_baseline(request: _Request, facts: dict[str, Any], voices: Voices) -> dict[str, Any]:
    """Train eGeMAPS and an SVM on the speakers of a voice model, and score them on `voices`."""
    from emotion.corpora.speech import load_voices
    from emotion.speech.functionals import FunctionalsBaseline, egemaps

    train = load_voices(request.root, facts["corpora"], request.cache).of(facts["speakers"])
    classifier = FunctionalsBaseline().fit(egemaps(train.waveforms), train.labels)
    said = np.eye(len(EMOTIONS), dtype=np.float32)[classifier.predict(egemaps(voices.waveforms))]
    figures = report(Predictions(voices.labels, said, np.array(voices.speakers)), request.emotions)
    sure = ("ece", "clear", "wa_when_clear")  # it says labels, not probabilities
    return {name: figure for name, figure in figures.items() if name not in sure}


def cross_fitted(
    logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int64], groups: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """Probabilities (sample, emotion), the temperature of each group fitted on the other groups.

    For speakers on whom the checkpoint's own temperature was fitted, so that their calibration
    error is not measured on what it was fitted to.
    """
    targets = np.eye(len(EMOTIONS))[truth]
    said = np.zeros_like(logits)
    for group in np.unique(groups):
        own = groups == group
        others = ~own if not own.all() else own
        temperature = fit_temperature(logits[others], targets[others])
        said[own] = calibrated_probabilities(logits[own], temperature)
    return said


def _unseen(voices: Voices, facts: dict[str, Any]) -> Voices:
    seen = set(facts.get("speakers", ()))
    unseen = sorted(set(voices.speakers) - seen)
    if not unseen:
        corpus = voices.clips[0].corpus
        raise CorpusError(
            f"Expected speakers of {corpus} that the model was not trained on, got none: train one "
            f"with `attune train voice --without-speakers {voices.speakers[-1]}` and give --model."
        )
    return voices.of(unseen)


def _score_words(request: _Request) -> dict[str, Any]:
    from sklearn.metrics import f1_score

    from emotion.corpora.goemotions import load_comments
    from emotion.words import WordsModel

    folder = request.folder("words")
    model, split = WordsModel.load(folder), request.split or "test"
    comments = load_comments(request.root, split)
    said = model.probabilities(comments.texts)
    thresholds = np.array(checkpoint.read(folder).training["thresholds"])
    each = f1_score(comments.labels, said > thresholds, average=None)
    single = comments.labels.sum(axis=1) == 1
    truth = comments.labels[single].argmax(axis=1)
    one = report(Predictions(truth, said[single], np.arange(len(truth))), request.emotions)
    return {
        "split": split,
        "comments": len(comments.texts),
        "macro_f1_with_thresholds": _rounded(each.mean()),
        "f1_with_thresholds": dict(zip(EMOTIONS, map(_rounded, each), strict=True)),
        "comments_of_one_emotion": one,
    }


def _score_paired(request: _Request) -> dict[str, Any]:
    from emotion.training.paired import SPLIT, paired_views

    folders = {part: request.folder(part) for part in ("face", "voice", "fusion")}
    found = paired_views(**folders, root=request.root, cache=request.cache)
    figures: dict[str, Any] = {
        "pairing": "label-paired",
        "faces": SPLIT,
        "speakers": sorted(set(found.speakers.tolist())),
        "attention_on_expressive_frames": _rounded(found.attention),
        "expressive_frames": _rounded(found.expressive),
    }
    for name, said in found.views.items():
        figures[name] = report(Predictions(found.truth, said, found.speakers), request.emotions)
    return figures


def _when_clear(
    truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> dict[str, float | None]:
    """Part of (sample, emotion) probabilities that name an emotion, and how often rightly."""
    clear = probabilities.max(axis=1) >= UNCLEAR_BELOW
    right = probabilities.argmax(axis=1) == truth
    return {
        "clear": _rounded(clear.mean()),
        "wa_when_clear": _rounded(right[clear].mean()) if clear.any() else None,
    }


def _rounded(value: float) -> float:
    return round(float(value), 4)
