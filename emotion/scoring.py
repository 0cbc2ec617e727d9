"""Scores checkpoints: what each says of a corpus, and only of speakers it never heard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities, cross_fitted, majority
from emotion.corpora.registry import CORPORA
from emotion.corpora.speech import SPEECH_CORPORA, Voices, load_voices
from emotion.errors import CorpusError, InputError
from emotion.labels import EMOTIONS, Emotion
from emotion.report import Predictions, report, rounded, spread, voice_figures

if TYPE_CHECKING:
    from emotion.corpora.fer2013 import Faces
    from emotion.models.hub import HubFace, HubVoice
    from emotion.training.histories import Known
    from emotion.training.paired_views import PairedViews

__all__ = ["scorable", "score"]


def score(
    corpus: str,
    root: Path,
    *,
    split: str | None = None,
    model: Path | None = None,
    emotions: Sequence[Emotion] = EMOTIONS,
    baseline: bool = False,
    voice_model: str | None = None,
    face_model: str | None = None,
    labels: Sequence[str] | None = None,
    seeds: Sequence[Path] = (),
    cache: Path | None = None,
) -> dict[str, Any]:
    """Score a checkpoint on a corpus.

    Args:
        corpus: One of `scorable()`. "paired" pairs FER2013's PublicTest with voices of speakers
            that the voice model never heard, by label, and scores face, voice and both;
            "photographs" sets FER2013's faces into larger pictures and tries the whole face path.
        root: Folder of corpora.
        split: Part of a corpus that has official parts; default the public test parts of FER2013
            and GoEmotions, and all of a corpus of clips.
        model: A checkpoint, or a folder of them named face, voice, fusion, words; default the
            bundled ones.
        emotions: EMOTIONS, or SIX: samples of surprise are left out and the rest renormalised.
        baseline: Score beside a voice model what it has to beat: openSMILE's eGeMAPS and a support
            vector machine, trained on the same speakers.
        voice_model: Instead, an audio classifier of transformers: a folder or a hub id.
        face_model: Instead, an image classifier of transformers, likewise.
        labels: What the outputs of that classifier mean, where it does not say so itself.
        seeds: Checkpoints of the same recipe trained from other seeds; the report then holds the
            `spread` of all of them.
        cache: Folder for decoded corpora, or None.

    Returns:
        Plain JSON: corpus, what was scored, and the figures of `report`; of RECOLA those of
        `emotion.training.continuous.continuous_report`.

    Raises:
        CorpusError: If the corpus is unknown or missing, or the model has heard all its speakers.
        InputError: If a split or a baseline is asked of a corpus that has none, or a model of
            voices or faces of a corpus without.
        CheckpointError: If the checkpoint is missing, damaged or of another kind.
    """
    if corpus not in scorable():
        raise CorpusError(f"Expected a corpus among {', '.join(scorable())}, got {corpus!r}.")
    request = _Request(
        corpus,
        root,
        split,
        model,
        tuple(emotions),
        baseline,
        voice_model,
        face_model,
        labels,
        cache,
    )
    _check(request)
    scorer = _score_clips if _is_of_clips(request) else _SCORERS.get(corpus, _score_voices)
    found = {"corpus": corpus} | scorer(request)
    others = [scorer(replace(request, model=folder)) for folder in seeds]
    reports = [one.get("fusion", one) for one in (found, *others)]
    return found | ({"spread": spread(reports)} if others else {})


def scorable() -> tuple[str, ...]:
    """Names of what can be scored: every corpus of speech, and what has a way of its own."""
    return tuple(sorted({*SPEECH_CORPORA, *_SCORERS}))


@dataclass(frozen=True)
class _Request:
    corpus: str
    root: Path
    split: str | None
    model: Path | None
    emotions: tuple[Emotion, ...]
    baseline: bool
    voice_model: str | None
    face_model: str | None
    labels: Sequence[str] | None
    cache: Path | None

    @property
    def kind(self) -> str:
        """What the corpus holds: "voices", "faces", "photographs", "words", "both" or "ratings"."""
        return _KINDS.get(self.corpus, "voices")

    def folder(self, part: str) -> Path:
        """Find the checkpoint of one part: given itself, inside what was given, or bundled."""
        if self.model is None:
            return checkpoint.bundled(part)
        if (self.model / part).is_dir():
            return self.model / part
        if part == "face" and (self.model / "fusion").is_dir():
            return checkpoint.bundled(part)  # a retrained fusion over the bundled faces
        return self.model

    def load(self, part: str, *architectures: str) -> tuple[Any, dict[str, Any]]:
        """Load that checkpoint and the facts of its training."""
        folder = self.folder(part)
        return checkpoint.load(folder, *architectures), checkpoint.read(folder).training


def _check(request: _Request) -> None:
    """Refuse, before an hour of work, what the corpus has not got."""
    for flag, given, kind in (
        ("--baseline", request.baseline, "voices"),
        ("--voice-model", request.voice_model, "voices"),
        ("--face-model", request.face_model, "faces"),
    ):
        if given and request.kind != kind:
            raise InputError(f"Expected a corpus of {kind} for {flag}, got {request.corpus!r}.")
    foreign = request.voice_model or request.face_model
    if foreign and (request.model or request.baseline):
        raise InputError(f"Expected neither --model nor --baseline beside {foreign}, got one.")
    if request.labels and not foreign:
        raise InputError("Expected --voice-model or --face-model for --labels, got neither.")
    corpus = CORPORA.get(request.corpus)
    parted = request.corpus in _KINDS or bool(corpus and corpus.counts.splits)
    if request.split is not None and (request.corpus == "paired" or not parted):
        raise InputError(f"Expected no split for {request.corpus}, got {request.split!r}.")


def _score_faces(request: _Request) -> dict[str, Any]:
    from emotion.corpora.fer2013 import load_faces

    probabilities, facts = _face_reader(request)
    split = request.split or "PublicTest"
    faces = load_faces(request.root, split, request.cache)
    truth = faces.labels
    if request.corpus == "ferplus":  # the majority of those votes that are for one of our seven
        truth, certain = majority(faces.votes)
        facts |= {"ties_dropped": int((~certain).sum())}
        faces, truth = faces.take(certain), truth[certain]
    predictions = Predictions(truth, probabilities(faces), np.arange(len(truth)))
    figures = report(predictions, request.emotions)
    return {"split": split, "seen_in_training": split == "Training"} | facts | figures


def _face_reader(
    request: _Request,
) -> tuple[Callable[[Faces], npt.NDArray[np.float32]], dict[str, Any]]:
    """Make what turns faces into probabilities (image, emotion); also facts of a hub model."""
    from emotion.models.hub import load_hub_face
    from emotion.training.face import face_logits

    if request.face_model:
        branch = load_hub_face(request.face_model, request.labels, _device())
        return lambda faces: branch.probabilities(list(faces.images)), _facts(branch)
    model, facts = request.load("face", "FaceCNN", "FaceEncoder")
    if request.corpus not in facts["temperature"]:
        known = ", ".join(facts["temperature"])
        raise InputError(f"Expected {known} for this model, got {request.corpus}.")
    temperature = facts["temperature"][request.corpus]

    def probabilities(faces: Faces) -> npt.NDArray[np.float32]:
        return calibrated_probabilities(face_logits(model, faces)[request.corpus], temperature)

    return probabilities, {}


def _device() -> str:
    from emotion.perception import pick_device

    return str(pick_device("auto"))


def _facts(branch: HubVoice | HubFace) -> dict[str, Any]:
    return {
        "model": branch.name,
        "says": list(branch.emotions),
        "parameters": branch.parameters,
        "temperature": "the model's own",
    }


def _score_hub_voice(request: _Request, name: str) -> dict[str, Any]:
    """Score an audio classifier of transformers on the speakers it is not known to have heard."""
    from emotion.models.hub import load_hub_voice

    branch = load_hub_voice(name, request.labels, _device())
    voices = _unseen(_voices(request), branch.training)
    said = branch.probabilities(voices.waveforms)
    groups = np.array(voices.speakers)
    figures = report(Predictions(voices.labels, said, groups), request.emotions)
    return {"speakers": sorted(set(voices.speakers))} | _facts(branch) | figures


def _voices(request: _Request) -> Voices:
    """Read the corpus's clips of the part that was asked for."""
    voices = load_voices(request.root, [request.corpus], request.cache)
    if request.split is None:
        return voices
    kept = [i for i, clip in enumerate(voices.clips) if clip.split == request.split]
    if not kept:
        known = ", ".join(sorted({clip.split for clip in voices.clips if clip.split}))
        raise CorpusError(f"Expected a part of {request.corpus} ({known}), got {request.split!r}.")
    return Voices(tuple(voices.clips[i] for i in kept), tuple(voices.waveforms[i] for i in kept))


def _score_voices(request: _Request) -> dict[str, Any]:
    from emotion.models.adaptive_voice import AdaptiveVoice
    from emotion.training.voice import voice_outputs

    if request.voice_model:
        return _score_hub_voice(request, request.voice_model)
    model, facts = request.load("voice", "AttentionFCN", "AdaptiveVoice")
    voices = _unseen(_voices(request), facts)
    groups = np.array(voices.speakers)
    crossed = bool(set(voices.speakers) & set(facts["held_out_speakers"]))

    def probabilities(known: Known) -> npt.NDArray[np.float32]:
        logits = voice_outputs(model, voices, known=known)[0]
        if crossed:
            return cross_fitted(logits, voices.labels, groups)
        return calibrated_probabilities(logits, facts["temperature"])

    adaptive = isinstance(model, AdaptiveVoice)
    figures = voice_figures(probabilities, voices.labels, groups, adaptive, request.emotions)
    if request.baseline:
        figures["egemaps_svm"] = _score_baseline(request, facts, voices)
    return {
        "speakers": sorted(set(voices.speakers)),
        "temperature": "fitted on the other speakers" if crossed else "of the checkpoint",
    } | figures


def _is_of_clips(request: _Request) -> bool:
    """Whether the checkpoint is of a system that was trained on clips with face and voice."""
    folder = request.model
    if folder is None or request.kind != "voices":
        return False
    own = (folder / checkpoint.CONFIG_FILE).is_file()
    return own and "clips" in checkpoint.read(folder).training


def _score_clips(request: _Request) -> dict[str, Any]:
    from emotion.training.video import score_video

    if request.model is None or request.baseline:
        raise InputError("Expected no --baseline for a system of face and voice, got one.")
    found = score_video(
        request.model, request.root, request.corpus, cache=request.cache, split=request.split
    )
    facts = checkpoint.read(request.model).training
    known = {"recipe": facts["recipe"], "speakers": sorted(set(found.groups.tolist()))}
    return known | report(found, request.emotions)


def _score_baseline(request: _Request, facts: dict[str, Any], voices: Voices) -> dict[str, Any]:
    """Train eGeMAPS and an SVM on the speakers of a voice model, and score them on `voices`."""
    from emotion.speech.functionals import FunctionalsBaseline, egemaps

    train = load_voices(request.root, facts["corpora"], request.cache).of(facts["speakers"])
    classifier = FunctionalsBaseline().fit(egemaps(train.waveforms), train.labels)
    said = np.eye(len(EMOTIONS), dtype=np.float32)[classifier.predict(egemaps(voices.waveforms))]
    figures = report(Predictions(voices.labels, said, np.array(voices.speakers)), request.emotions)
    return {name: figure for name, figure in figures.items() if name not in _SURENESS}


_SURENESS = (
    *("ece", "ece_by_chance", "ece_p", "wa_of_surest_half"),
    *("clear", "wa_when_clear", "by_threshold"),
)
"""Figures that mean nothing where labels are said, not probabilities."""


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
        "macro_f1_with_thresholds": rounded(each.mean()),
        "f1_with_thresholds": dict(zip(EMOTIONS, map(rounded, each), strict=True)),
        "comments_of_one_emotion": one,
    }


def _score_paired(request: _Request) -> dict[str, Any]:
    from emotion.training.paired_views import SPLIT, paired_views

    folders = {part: request.folder(part) for part in ("face", "voice", "fusion")}
    found = paired_views(**folders, root=request.root, cache=request.cache)
    figures: dict[str, Any] = {
        "pairing": "label-paired",
        "faces": SPLIT,
        "speakers": sorted(set(found.speakers.tolist())),
        "temperature": "fitted on the other speakers",
        "attention_on_expressive_frames": rounded(found.attention),
        "expressive_frames": rounded(found.expressive),
        "attention_auc": rounded(found.attention_auc),
    }
    for name, said in found.views.items():
        figures[name] = report(Predictions(found.truth, said, found.speakers), request.emotions)
    better = max(figures[name]["uar"]["value"] for names in _SINGLE.values() for name in names)
    figures["fusion_over_better_single"] = rounded(figures["fusion"]["uar"]["value"] - better)
    figures["conditions"] = {
        name: _condition(name, said, found, figures, request.emotions)
        for name, said in found.conditions.items()
    }
    return figures


def _condition(
    name: str,
    said: npt.NDArray[np.float32],
    found: PairedViews,
    figures: dict[str, Any],
    emotions: Sequence[Emotion],
) -> dict[str, Any]:
    """Figures of the fusion where one modality is spoilt, and of the better model of the other."""
    own = report(Predictions(found.truth, said, found.speakers), emotions)
    left = "voice" if name.startswith("face") else "face"
    best = max(_SINGLE[left], key=lambda single: figures[single]["uar"]["value"])
    over = own["uar"]["value"] - figures[best]["uar"]["value"]
    kept = {key: own[key] for key in ("wa", "uar", "ece", "ece_by_chance")}
    return kept | {"single": best, "uar_over_single": rounded(over)}


_SINGLE = {
    "face": ("fusion_without_voice", "face_head_averaged_over_frames"),
    "voice": ("fusion_without_face", "voice_head"),
}
"""What can be said by one modality alone, with nothing spoilt."""


def _score_photographs(request: _Request) -> dict[str, Any]:
    from emotion.perception import Perception, pick_device
    from emotion.training.photographs import EVERY, SIDE, photograph_views

    folder = request.model or checkpoint.BUNDLED
    split = request.split or "PublicTest"
    perception = Perception(folder, pick_device("auto"))
    views = photograph_views(perception, request.root, split, request.cache)
    majorities, certain = majority(views.faces.votes)
    truths = {
        "fer2013": (views.faces.labels, np.ones(len(certain), dtype=bool)),
        "ferplus": (majorities, certain),
    }
    everything = np.ones(len(certain), dtype=bool)
    figures: dict[str, Any] = {
        "faces": f"FER2013 {split}, one in {EVERY}, enlarged to {SIDE} pixels",
        "split": split,
        "detector": type(perception.thorough_detector).__name__,
        "photographs": len(views.faces),
        "as_given": _heads(views.as_given, truths, everything, request.emotions),
    }
    for name, found in views.found.items():
        heads = _heads(views.through_path[name], truths, found, request.emotions)
        figures[name] = {"found": rounded(found.mean())} | heads
    return figures


def _heads(
    probabilities: dict[str, npt.NDArray[np.float32]],
    truths: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]],
    found: npt.NDArray[np.bool_],
    emotions: Sequence[Emotion],
) -> dict[str, Any]:
    """Figures by head of (found image, emotion) of images of which (image,) were found."""
    figures = {}
    for head, said in probabilities.items():
        truth, certain = truths[head]
        own = Predictions(truth[found], said, np.arange(len(said))).take(certain[found])
        if not len(own.truth):
            continue
        own_report = report(own, emotions)
        figures[head] = {key: own_report[key] for key in ("samples", "wa", "uar", "ece")}
    return figures


def _score_ratings(request: _Request) -> dict[str, Any]:
    from emotion.training.end_to_end import score_continuous

    if request.model is None:
        raise InputError(f"Expected --model for {request.corpus}: no bundled one rates, got none.")
    return score_continuous(
        request.model, request.root, split=request.split or "test", cache=request.cache
    )


_SCORERS: dict[str, Callable[[_Request], dict[str, Any]]] = {
    "fer2013": _score_faces,
    "ferplus": _score_faces,
    "goemotions": _score_words,
    "paired": _score_paired,
    "photographs": _score_photographs,
    "recola": _score_ratings,
}

_KINDS = {
    "fer2013": "faces",
    "ferplus": "faces",
    "goemotions": "words",
    "paired": "both",
    "photographs": "photographs",
    "recola": "ratings",
}
