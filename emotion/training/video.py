"""Trains every audio-visual system of the papers on clips of real people, and scores it.

Clips are decoded and their faces cropped once (`emotion.training.clips`); frozen encoders look at
them once too, so that a fusion over the bundled encoders trains on a laptop. The two-stage recipe
of Zhang 2019 is: `attune train face-vgg` on FER2013, then `--init` with that folder here.

Nobody who is in training is in validation, on which temperatures and weights are found; and those
held out are in neither, nor in the training of an encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities, fit_temperature
from emotion.corpora.archive import Archive
from emotion.corpora.clip import check_speakers
from emotion.corpora.registry import CORPORA
from emotion.errors import CheckpointError, CorpusError
from emotion.face.extra import import_dlib
from emotion.face.tracker import FaceFinder
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall
from emotion.models.deep_fusion import AMFBP, AMFBPConfig, AudioVisualFBP, AudioVisualFBPConfig
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig, own_config
from emotion.models.face_cnn import FaceCNNConfig
from emotion.models.frames import (
    FrameAverage,
    FrameAverageConfig,
    FrameConcat,
    FrameConcatConfig,
    FrameLSTM,
    FrameLSTMConfig,
)
from emotion.models.fusion import AttentionFBP, AttentionFBPConfig
from emotion.models.hybrid import Hybrid, HybridConfig, NetworkMember
from emotion.models.pooled_svm import PooledSVM, PooledSVMConfig
from emotion.models.svm import SVM
from emotion.perception import pick_device
from emotion.report import Predictions
from emotion.training.clips import ClipSettings, ClipStore, open_clips
from emotion.training.loop import (
    Figures,
    Schedule,
    device_of,
    fit,
    initialised,
    is_main_process,
    mixed_precision,
)
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.material import (
    Encoders,
    Features,
    Functionals,
    Material,
    Pictures,
    Show,
    hearing,
    looked_at,
    measured,
)
from emotion.training.parts import Parts, judged, parted, with_pictures
from emotion.training.sampling import balanced
from emotion.training.video_recipes import FACE_ALONE, RECIPES, Config, VideoRecipe, encoders_of

__all__ = [
    "RECIPES",
    "VideoRecipe",
    "VideoTask",
    "audiovisual_corpora",
    "encoders_of",
    "judge",
    "score_video",
    "train_video",
]

Floats = npt.NDArray[np.float64]
ENCODERS = "encoders"
"""Folder beside a checkpoint with the encoders it was trained over."""

_CLIPS_AT_ONCE = 16


# ------------------------------------------------------------------------------ the commands


def train_video(
    recipe: VideoRecipe,
    root: Path,
    out: Path,
    *,
    cache: Path | None,
    resume: bool = False,
    corpora: Sequence[str] | None = None,
    without_speakers: Collection[str] = (),
    init: Path | None = None,
    finder: FaceFinder | None = None,
) -> Path:
    """Train a system on the clips of some corpora.

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the checkpoint; its encoders are kept in it too.
        cache: Folder for decoded clips and features, or None to keep them in memory.
        resume: Go on where a killed training stopped.
        corpora: Instead of the recipe's.
        without_speakers: Speakers to keep away from training and validation, to be scored on.
        init: Encoders: a checkpoint of a face or voice network, or a folder of checkpoints by
            name: "face" and "voice"; for the hybrid "vgg-lstm", "inception" and "soundnet"; for
            the pooled machines every face network in it counts, unless the recipe names some. The
            bundled ones stand in for what is not there.
        finder: Finds faces; default: MTCNN.

    Returns:
        `out`.

    Raises:
        CorpusError: If a corpus or a speaker is not there, there is nothing to train on, or an
            encoder was trained on somebody who is to be held out.
        CheckpointError: If an encoder is missing or damaged.
        InputError: If openSMILE or dlib is needed and not installed.
    """
    names = tuple(corpora or recipe.corpora) or audiovisual_corpora(root)
    whole = open_clips(root, names, recipe.clips, cache, finder)
    check_speakers(without_speakers, set(whole.speakers))
    # machines are calibrated and weighed on their own folds, so they need nobody kept back
    every = None if isinstance(recipe.config, PooledSVMConfig) else recipe.validation
    parts = parted(whole, without_speakers, every=every, seed=recipe.schedule.seed)
    recipe = _with_networks(recipe, init)
    encoders = Encoders.find(init, encoders_of(recipe.config))
    _check_strangers(encoders, without_speakers)
    _check_extras(recipe)
    _prepare(parts.train, parts.valid)
    if is_main_process():
        encoders.copy(out / ENCODERS)
    facts = _facts(recipe, parts, encoders)
    facts["held_out_speakers"] = sorted(without_speakers)
    _trainer(recipe)(_Job(recipe, parts.train, parts.valid, encoders, out, resume, facts))
    return out


def _check_strangers(encoders: Encoders, without: Collection[str]) -> None:
    """Refuse encoders that know somebody who is to be a stranger."""
    known = sorted(encoders.speakers & set(without))
    if known:
        raise CorpusError(
            "Expected encoders that were not trained on those held out, got some that know "
            f"{', '.join(known)}: train a voice by `attune train voice` with the same "
            "--without-speakers and give its folder with --init."
        )


def _with_networks(recipe: VideoRecipe, init: Path | None) -> VideoRecipe:
    """Let the pooled machines see by every face network there is, unless the recipe chose."""
    config = recipe.config
    if not isinstance(config, PooledSVMConfig) or config != replace(config, networks=("face",)):
        return recipe
    found = Encoders.faces_in(init) if init is not None else ()
    return replace(recipe, config=replace(config, networks=found)) if found else recipe


def _prepare(*stores: ClipStore) -> None:
    """Decode what is not yet in the cache; of several processes the first one does it."""
    from accelerate import PartialState

    with PartialState().main_process_first():
        for store in stores:
            store.prepare()


def score_video(
    folder: Path,
    root: Path,
    corpus: str,
    *,
    cache: Path | None,
    split: str | None = None,
    speakers: Collection[str] | None = None,
    finder: FaceFinder | None = None,
) -> Predictions:
    """Let a trained system judge the clips of people it does not know.

    Args:
        folder: As `train_video` left it.
        root: Folder of corpora.
        corpus: Name among CORPORA.
        cache: Folder for decoded clips and features, or None.
        split: Official part to judge, such as "valid"; even if its temperature was found there.
        speakers: Whom to judge; default: all who were in neither training nor validation. Nobody
            is judged who was in the training of an encoder.
        finder: Finds faces; default: MTCNN.

    Returns:
        Predictions grouped by speaker.

    Raises:
        CorpusError: If nobody is left to judge.
        CheckpointError: If the checkpoint is missing, damaged or of another kind.
    """
    facts = checkpoint.read(folder).training
    settings = ClipSettings(**facts["clips"])
    store = with_pictures(open_clips(root, [corpus], settings, cache, finder))
    chosen = judged(store, facts, split, speakers)
    chosen.prepare()
    said = judge(folder, chosen).astype(np.float32)
    return Predictions(chosen.labels, said, np.array(chosen.speakers))


def audiovisual_corpora(root: Path) -> tuple[str, ...]:
    """Name the corpora under a folder that hold clips of an emotion with pictures and sound.

    Raises:
        CorpusError: If there is none.
    """
    wanted = [name for name, corpus in CORPORA.items() if len(corpus.modalities) == 2]
    found = [name for name in wanted if _has_films(name, root)]
    if not found:
        raise CorpusError(
            f"Expected clips with pictures of {', '.join(wanted)} in {root}, found none."
        )
    return tuple(found)


def _has_films(name: str, root: Path) -> bool:
    corpus = CORPORA[name]
    if Archive.place(root, corpus.places) is None:
        return False
    return any(clip.video and clip.audio and clip.emotion for clip in corpus.clips(root))


def _facts(recipe: VideoRecipe, parts: Parts, encoders: Encoders) -> dict[str, Any]:
    """Tell what a checkpoint says of its training."""
    return {
        "recipe": recipe.name,
        "corpora": sorted({clip.corpus for clip in parts.train.clips}),
        "speakers": sorted(set(parts.train.speakers)),
        "validation_speakers": sorted(set(parts.valid.speakers)),
        "validation": parts.chosen,
        "seed": recipe.schedule.seed,
        "epochs": recipe.schedule.epochs,
        "temperature": 1.0,
        "clips": asdict(recipe.clips),
        "encoders": encoders.digests,
        "encoder_speakers": sorted(encoders.speakers),
        "functionals": recipe.functionals,
    }


# ------------------------------------------------------------------------------------ training


@dataclass(frozen=True)
class _Job:
    """One training: what, on what, to where."""

    recipe: VideoRecipe
    train: ClipStore
    valid: ClipStore
    encoders: Encoders
    out: Path
    resume: bool
    facts: Mapping[str, Any]

    def fit(self, model: Callable[[], nn.Module], train: Material, valid: Material) -> None:
        """Train a network; its checkpoint lies in `out` afterwards."""
        task = VideoTask(self.recipe, model, train, valid, self.out, self.facts)
        fit(task, self.recipe.schedule, self.out, resume=self.resume)

    @property
    def groups(self) -> list[str]:
        """What the machines' folds keep together of each training clip: the most that leaves two.

        Where the corpus names nobody, as AFEW, each clip stands alone: its C and its calibration
        are then found on people who may be known, its score never is.
        """
        clips = self.train.clips
        for groups in ([clip.group for clip in clips], [clip.speaker for clip in clips]):
            if len(set(groups)) > 1:
                return groups
        return [clip.name for clip in clips]

    @property
    def folds(self) -> dict[str, str]:
        """How the machines' folds were made, as a fact of the training."""
        named = len(set(self.train.speakers)) > 1
        return {"folds": "by speaker" if named else "by clip: the corpus names no speakers"}


class VideoTask:
    """Clips drawn so that every emotion is seen equally often."""

    def __init__(
        self,
        recipe: VideoRecipe,
        make: Callable[[], nn.Module],
        train: Material,
        valid: Material,
        out: Path,
        facts: Mapping[str, Any],
    ) -> None:
        self.recipe, self.train, self.valid, self.out = recipe, train, valid, out
        self.facts = dict(facts)
        self.model: nn.Module = initialised(make, recipe.schedule.seed)

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """Draw clips (example,), about as many as there are, an emotion's sharing one weight."""
        return balanced(self.train.labels.numpy(), batch, generator)

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Cross-entropy on clips (example,), some of their frames shown."""
        device = device_of(self.model)
        _calm(self.model)
        of = self.recipe
        show = Show(of.frames, of.shuffled, of.no_face, of.no_voice, generator)
        inputs = [x.to(device) for x in self.train.inputs(indices.tolist(), show)]
        targets = smoothed(self.train.labels[indices], self.recipe.smoothing)
        heavy = isinstance(self.train, Pictures)
        with mixed_precision(self.model) if heavy else nullcontext():
            logits = self.model(*inputs).logits
        return cross_entropy(logits, targets.to(device))

    def epoch_done(self, averaged: nn.Module, epoch: int) -> Figures:
        """Fit the temperature on the validation clips and write the checkpoint."""
        facts, said = self.facts | {"epochs": epoch + 1}, dict[str, float]()
        truth = self.valid.labels.numpy()
        if len(truth):
            logits = _logits(averaged, self.valid)
            facts["temperature"] = fit_temperature(logits, np.eye(len(EMOTIONS))[truth])
            confusion = confusion_matrix(truth, logits.argmax(1))
            said["validation UAR"] = unweighted_average_recall(confusion)
        checkpoint.save(self.out, averaged, cast(Any, averaged).config, training=facts)
        return said


def _calm(model: nn.Module) -> None:
    """Let encoders inside a network keep their batch statistics: a step's clips are too few."""
    for name in ("face", "voice"):
        encoder = getattr(model, name, None)
        if isinstance(encoder, nn.Module):
            encoder.eval()


@torch.inference_mode()
def _logits(model: nn.Module, material: Material) -> npt.NDArray[np.float32]:
    """Logits (clip, emotion) of whole clips."""
    device, pieces = device_of(model), [torch.zeros(0, len(EMOTIONS))]
    for start in range(0, len(material.labels), _CLIPS_AT_ONCE):
        part = range(start, min(start + _CLIPS_AT_ONCE, len(material.labels)))
        inputs = (x.to(device) for x in material.inputs(part, None))
        pieces.append(model(*inputs).logits.cpu())
    return torch.cat(pieces).numpy()


def _trainer(recipe: VideoRecipe) -> Callable[[_Job], None]:
    if isinstance(recipe.config, PooledSVMConfig):
        return _train_pooled
    if isinstance(recipe.config, HybridConfig):
        return _train_hybrid
    if recipe.fine_tune or isinstance(recipe.config, AMFBPConfig):
        return _train_pictures
    return _train_features


def _train_features(job: _Job) -> None:
    """Train a network over frozen encoders."""
    voice = None if isinstance(job.recipe.config, FACE_ALONE) else "voice"
    train, valid = (Features.of(x, job.encoders, "face", voice) for x in (job.train, job.valid))
    job.fit(partial(_fresh, job.recipe.config, job.encoders, train), train, valid)


_NETWORKS: dict[type[Any], Callable[[Any], nn.Module]] = {
    AttentionFBPConfig: AttentionFBP,
    FrameConcatConfig: FrameConcat,
    FrameLSTMConfig: FrameLSTM,
    FrameAverageConfig: FrameAverage,
}


def _fresh(config: Config, encoders: Encoders, train: Features, face: str = "face") -> nn.Module:
    """Make a network of the encoders' sizes that standardises what they say."""
    if isinstance(config, FACE_ALONE):
        fitted: Any = replace(config, features=encoders.features(face))
    else:
        sizes = {f"{k}_features": encoders.features(v) for k, v in _SIZES.items()}
        fitted = replace(cast(Any, config), **sizes)
    model: Any = _NETWORKS[type(config)](fitted)
    _standardise_by(model, train)
    network: nn.Module = model
    return network


_SIZES = {"frame": "face", "voice": "voice"}


def _standardise_by(model: Any, train: Features) -> None:
    """Let a network standardise vectors by the mean and deviation of those of the training."""
    for name, figures in (("frame", train.of_frames), ("voice", train.of_voices)):
        if figures is not None:
            getattr(model, f"{name}_mean").copy_(figures[0])
            getattr(model, f"{name}_deviation").copy_(figures[1].clamp_min(1e-3))


def _train_pictures(job: _Job) -> None:
    """Train a network that holds its encoders, which learn too if the recipe says so."""
    seen = Features.of(job.train, job.encoders, "face", "voice")
    masks = not isinstance(job.recipe.config, AMFBPConfig)
    train, valid = (
        Pictures(store, torch.from_numpy(store.labels), masks) for store in (job.train, job.valid)
    )
    job.fit(partial(_whole, job.recipe, job.encoders, seen), train, valid)


def _whole(recipe: VideoRecipe, encoders: Encoders, train: Features) -> nn.Module:
    """Make a network around the encoders' weights that standardises what these say at first."""
    face, voice = encoders.models["face"], cast(Any, encoders.models["voice"])
    config: Any = recipe.config
    if isinstance(config, AttentionFBPConfig):
        sizes = ("frame_features", "voice_features")  # these the encoders decide
        same = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in sizes}
        config = AudioVisualFBPConfig(voice.config, _face_config(face), **same)
    else:
        config = replace(config, voice=voice.config, face=_face_config(face))
    model = (AMFBP if isinstance(config, AMFBPConfig) else AudioVisualFBP)(config)
    _standardise_by(model if isinstance(model, AMFBP) else model.fusion, train)
    for own, given in ((model.face, face), (model.voice, voice)):
        weights = {k: v for k, v in given.state_dict().items() if k in own.state_dict()}
        own.load_state_dict(weights)
        own.requires_grad_(recipe.fine_tune)
    return model


def _face_config(face: nn.Module) -> FaceEncoderConfig:
    """Give the configuration under which `FaceEncoder` holds a face network's weights."""
    if isinstance(face, FaceEncoder):
        return face.config
    return own_config(cast(FaceCNNConfig, face.config))


def _train_pooled(job: _Job) -> None:
    """Fit Knyazev's ensemble."""
    config = cast(PooledSVMConfig, job.recipe.config)
    frames = {name: looked_at(job.train, job.encoders, name) for name in config.networks}
    model = PooledSVM.fit(config, frames, job.train.labels, job.groups)
    found = {"costs": [m.cost for m in model.machines], "weights": model.weights.tolist()}
    if is_main_process():
        model.save(job.out, training={**job.facts, **job.folds, **found})


def _train_hybrid(job: _Job) -> None:
    """Train Liu's members one after the other, then weigh them on the validation clips."""
    config = _members(cast(HybridConfig, job.recipe.config), job.encoders)
    networks = {name: _train_member(job, name) for name in config.networks}
    machines = {name: _fit_machine(job, name) for name in config.machines}
    hybrid = Hybrid(config, networks, machines)
    if len(job.valid):
        clips = _hybrid_clips(job.valid, config, job.encoders, job.recipe.functionals)
        hybrid.weigh(clips, job.valid.labels)
    weights = dict(zip(config.members, hybrid.weights.tolist(), strict=True))
    if is_main_process():
        hybrid.save(job.out, training={**job.facts, **job.folds, "weights": weights})


def _check_extras(recipe: VideoRecipe) -> None:
    """Find out before hours of work whether what the hybrid needs is installed."""
    if isinstance(recipe.config, HybridConfig) and "functionals" in recipe.config.machines:
        hearing(recipe.functionals)([])
    if recipe.clips.landmarks == "dlib":
        import_dlib()


def _members(config: HybridConfig, encoders: Encoders) -> HybridConfig:
    """Leave SoundNet out where there are no weights of it."""
    machines = [name for name in config.machines if name != "soundnet" or name in encoders.models]
    return replace(config, machines=tuple(machines))


def _train_member(job: _Job, name: str) -> NetworkMember:
    """Train one network over one encoder, unless a run that is resumed has done so."""
    folder = job.out / name
    if not (job.resume and _is_done(folder, job.recipe.schedule)):
        kind = job.recipe.lstm if name.endswith("lstm") else FrameAverageConfig()
        train, valid = (Features.of(x, job.encoders, name, None) for x in (job.train, job.valid))
        facts = {**job.facts, "recipe": f"{job.recipe.name}: {name}"}
        part = replace(job, out=folder, facts=facts)
        part.fit(partial(_fresh, kind, job.encoders, train, name), train, valid)
    return NetworkMember.load(folder)


def _is_done(folder: Path, schedule: Schedule) -> bool:
    if not (folder / checkpoint.CONFIG_FILE).exists():
        return False
    done: bool = checkpoint.read(folder).training["epochs"] == schedule.epochs
    return done


def _fit_machine(job: _Job, name: str) -> SVM:
    """Fit one machine to the clips that give it something to go by."""
    vectors = measured(job.train, name, job.encoders, job.recipe.functionals)
    there = [i for i, vector in enumerate(vectors) if vector.size]
    if not there:
        raise CorpusError(f"Expected clips with {name}, got none among {len(vectors)}.")
    rows, groups = np.stack([vectors[i] for i in there]), [job.groups[i] for i in there]
    return SVM.fit(job.recipe.svm, rows, job.train.labels[there], groups)


def _hybrid_clips(
    store: ClipStore, config: HybridConfig, encoders: Encoders, functionals: Functionals
) -> dict[str, list[npt.NDArray[Any]]]:
    """Give what each member looks at of each clip."""
    clips = {name: looked_at(store, encoders, name) for name in config.networks}
    return clips | {n: measured(store, n, encoders, functionals) for n in config.machines}


# ------------------------------------------------------------------------------------- scoring


def judge(folder: Path, store: ClipStore) -> Floats:
    """Let a trained system judge clips, whoever is in them.

    Args:
        folder: As `train_video` left it.
        store: Clips, decoded by the settings the system was trained with.

    Returns:
        (clip, emotion) calibrated probabilities, rows summing to 1.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged or of another kind.
    """
    stored = checkpoint.read(folder)
    systems = {"PooledSVM": _judge_pooled, "Hybrid": _judge_hybrid}
    if stored.architecture in systems:
        return systems[stored.architecture](Path(folder), store, stored.training)
    model = checkpoint.load(folder).to(pick_device("auto"))
    said = calibrated_probabilities(
        _logits(model, _material(Path(folder), model, store)), stored.training["temperature"]
    )
    return said.astype(np.float64)


def _material(folder: Path, model: nn.Module, store: ClipStore) -> Material:
    """Show clips in the form a trained network takes them."""
    if isinstance(model, AudioVisualFBP | AMFBP):
        masks = isinstance(model, AudioVisualFBP)
        return Pictures(store, torch.from_numpy(store.labels), masks)
    if type(model.config) not in _NETWORKS:
        raise CheckpointError(f"Expected a system of clips in {folder}, got {type(model)}.")
    if isinstance(model.config, FACE_ALONE):
        return Features.of(store, _kept(folder, ("face",)), "face", None)
    return Features.of(store, _kept(folder, ("face", "voice")), "face", "voice")


def _kept(folder: Path, names: Sequence[str]) -> Encoders:
    """Read the encoders that lie beside a checkpoint."""
    return Encoders.read({name: folder / ENCODERS / name for name in names})


def _judge_pooled(folder: Path, store: ClipStore, facts: Mapping[str, Any]) -> Floats:
    model = PooledSVM.load(folder)
    encoders = _kept(folder, model.config.networks)
    return model.probabilities({n: looked_at(store, encoders, n) for n in model.config.networks})


def _judge_hybrid(folder: Path, store: ClipStore, facts: Mapping[str, Any]) -> Floats:
    model = Hybrid.load(folder)
    encoders = _kept(folder, encoders_of(model.config))
    return model.probabilities(_hybrid_clips(store, model.config, encoders, facts["functionals"]))
