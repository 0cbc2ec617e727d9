"""Trains every audio-visual system of the papers on clips of real people, and scores it.

Clips are decoded and their faces cropped once (`emotion.training.clips`); frozen encoders look at
them once too, so that a fusion over the bundled encoders trains on a laptop. The two-stage recipe
of Zhang 2019 is: `attune train face-vgg` on FER2013, then `--init` with that folder here.

Nobody who is in training is in validation, on which temperatures and weights are found; and those
held out are in neither.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities, fit_temperature
from emotion.corpora.clip import Clip, check_speakers
from emotion.corpora.registry import CORPORA
from emotion.errors import CheckpointError, CorpusError, InputError
from emotion.face.extra import import_dlib
from emotion.face.tracker import FaceFinder
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall
from emotion.models.attention_fcn import COMPACT
from emotion.models.deep_fusion import AMFBP, AMFBPConfig, AudioVisualFBP, AudioVisualFBPConfig
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig
from emotion.models.face_cnn import CROP_SIDE, FaceCNNConfig
from emotion.models.fusion import AttentionFBP, AttentionFBPConfig
from emotion.models.hybrid import (
    FrameAverage,
    FrameAverageConfig,
    FrameConcat,
    FrameConcatConfig,
    FrameLSTM,
    FrameLSTMConfig,
    Hybrid,
    HybridConfig,
    NetworkMember,
)
from emotion.models.pooled_svm import PooledSVM, PooledSVMConfig
from emotion.models.svm import SVM, SVMConfig
from emotion.perception import pick_device
from emotion.scoring import Predictions
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

__all__ = [
    "RECIPES",
    "VideoRecipe",
    "VideoTask",
    "audiovisual_corpora",
    "judge",
    "score_video",
    "train_video",
]

Floats = npt.NDArray[np.float64]
Config = (
    AttentionFBPConfig
    | AMFBPConfig
    | FrameConcatConfig
    | FrameLSTMConfig
    | FrameAverageConfig
    | PooledSVMConfig
    | HybridConfig
)

ENCODERS = "encoders"
"""Folder beside a checkpoint with the encoders it was trained over."""

_CLIPS_AT_ONCE = 16


@dataclass(frozen=True)
class VideoRecipe:
    """Trains one audio-visual system on clips.

    Attributes:
        name: What the checkpoint calls it.
        config: Which system, and its shape; sizes that the encoders decide are filled in.
        schedule: How long and how fast its networks are trained.
        corpora: Names among CORPORA; none takes all that hold clips with pictures and sound.
        clips: How clips become arrays.
        frames: Most frames of a clip that are looked at in one step of training.
        shuffled: Whether these come in random order (Liu et al. 2018), as an augmentation.
        fine_tune: Whether the encoders learn too; else they are frozen.
        no_face: Part of the clips that are shown without a face.
        no_voice: Part of the clips that are shown without a voice.
        smoothing: Label smoothing.
        validation: One of so many speakers is kept for temperature and weights, where a corpus
            has no such part itself.
        functionals: Which of openSMILE's sets the hybrid listens to.
        svm: How the hybrid's machines are fitted.
        lstm: Shape of the hybrid's LSTM.
    """

    name: str
    config: Config
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=30, batch=32, learning_rate=1e-3, weight_decay=0.05, average=0.99
        )
    )
    corpora: tuple[str, ...] = ()
    clips: ClipSettings = field(default_factory=ClipSettings)
    frames: int = 16
    shuffled: bool = False
    fine_tune: bool = False
    no_face: float = 0.1
    no_voice: float = 0.1
    smoothing: float = 0.1
    validation: int = 5
    functionals: Functionals = "compare"
    svm: SVMConfig = field(default_factory=SVMConfig)
    lstm: FrameLSTMConfig = field(default_factory=FrameLSTMConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "corpora", tuple(self.corpora))
        if self.frames < 1 or self.validation < 2 or not 0 <= self.smoothing < 1:
            raise ValueError(f"Expected frames, smoothing in [0, 1), validation >= 2, got {self}.")
        if min(self.no_face, self.no_voice) < 0 or self.no_face + self.no_voice >= 1:
            raise ValueError(
                "Expected parts without face and voice that leave some whole, got "
                f"{self.no_face} and {self.no_voice}."
            )
        if self.functionals not in get_args(Functionals):
            raise ValueError(f"Expected egemaps or compare, got {self.functionals!r}.")
        landmarks = isinstance(self.config, HybridConfig) and "landmarks" in self.config.machines
        if landmarks and self.clips.landmarks != "dlib":
            raise ValueError(f"Expected 68 landmarks for the hybrid, got {self.clips.landmarks!r}.")
        if self.fine_tune and not isinstance(self.config, AttentionFBPConfig | AMFBPConfig):
            raise ValueError(f"Expected fbp or am-fbp to fine-tune encoders, got {self.name!r}.")


_COMPACT_AMFBP = AMFBPConfig(
    voice=COMPACT,
    face=FaceEncoderConfig("compact"),
    factors=4,
    outputs=64,
    attention_hidden=64,
)
_EVEN = 1e-6  # so little sharpness makes attention over frames the plain average
_FINE = Schedule(epochs=15, batch=16, learning_rate=1e-4, weight_decay=0.05, average=0.99)

RECIPES: dict[str, VideoRecipe] = {
    recipe.name: recipe
    for recipe in (
        VideoRecipe("fbp", AttentionFBPConfig()),
        VideoRecipe("fbp-average", AttentionFBPConfig(sharpness=_EVEN)),
        VideoRecipe("fbp-fine-tuned", AttentionFBPConfig(), _FINE, fine_tune=True),
        VideoRecipe("am-fbp", _COMPACT_AMFBP, no_voice=0.0),
        VideoRecipe("concat", FrameConcatConfig()),
        VideoRecipe("vgg-lstm", FrameLSTMConfig()),
        VideoRecipe("vgg-lstm-shuffled", FrameLSTMConfig(), shuffled=True),
        VideoRecipe("pooled-svm", PooledSVMConfig()),
        VideoRecipe("hybrid", HybridConfig(), clips=ClipSettings(landmarks="dlib")),
    )
}
"""Every recipe of this file by its name in commands."""


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
        CorpusError: If a corpus or a speaker is not there, or there is nothing to train on.
        CheckpointError: If an encoder is missing or damaged.
        InputError: If openSMILE or dlib is needed and not installed.
    """
    names = tuple(corpora or recipe.corpora) or audiovisual_corpora(root)
    whole = open_clips(root, names, recipe.clips, cache, finder)
    check_speakers(without_speakers, set(whole.speakers))
    parts = _parts(whole, without_speakers, recipe)
    recipe = _with_networks(recipe, init)
    encoders = Encoders.find(init, _needed(recipe.config))
    _check_extras(recipe)
    _prepare(parts.train, parts.valid)
    if is_main_process():
        encoders.copy(out / ENCODERS)
    facts = _facts(recipe, parts, encoders)
    facts["held_out_speakers"] = sorted(without_speakers)
    _trainer(recipe)(_Job(recipe, parts.train, parts.valid, encoders, out, resume, facts))
    return out


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
        speakers: Whom to judge; default: all who were in neither training nor validation.
        finder: Finds faces; default: MTCNN.

    Returns:
        Predictions grouped by speaker.

    Raises:
        CorpusError: If nobody is left to judge.
        CheckpointError: If the checkpoint is missing, damaged or of another kind.
    """
    facts = checkpoint.read(folder).training
    settings = ClipSettings(**facts["clips"])
    store = _with_pictures(open_clips(root, [corpus], settings, cache, finder))
    chosen = _judged(store, facts, split, speakers)
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
    if not any((root / place).exists() for place in corpus.places):
        return False
    return any(clip.video and clip.audio and clip.emotion for clip in corpus.clips(root))


# ---------------------------------------------------------------------------- who is in which part


def _with_pictures(store: ClipStore) -> ClipStore:
    chosen = [index for index, clip in enumerate(store.clips) if clip.video is not None]
    if not chosen:
        raise CorpusError(f"Expected clips with pictures, got {len(store)} with sound alone.")
    return store.of(chosen)


@dataclass(frozen=True)
class _Parts:
    """Who is in which part.

    Attributes:
        train: Clips to learn from.
        valid: Clips for temperature and weights, of nobody in training.
        chosen: How these were chosen, by corpus.
    """

    train: ClipStore
    valid: ClipStore
    chosen: dict[str, str]


def _parts(store: ClipStore, without: Collection[str], recipe: VideoRecipe) -> _Parts:
    """Part the clips into training and validation."""
    store = _with_pictures(store)
    learnt = [
        i for i, c in enumerate(store.clips) if c.speaker not in without and c.split != "test"
    ]
    kept: set[int] = set()
    chosen: dict[str, str] = {}
    for corpus in sorted({store.clips[i].corpus for i in learnt}):
        own = {i: store.clips[i] for i in learnt if store.clips[i].corpus == corpus}
        # machines are calibrated and weighed on their own folds, so they need nobody kept back
        every = None if isinstance(recipe.config, PooledSVMConfig) else recipe.validation
        found, chosen[corpus] = _validation(own, every, recipe.schedule.seed)
        kept |= found
    train = [i for i in learnt if i not in kept]
    if len(set(store.labels[train].tolist())) < 2:
        raise CorpusError(f"Expected clips of at least two emotions to train on, got {len(train)}.")
    return _Parts(store.of(train), store.of(sorted(kept)), chosen)


def _validation(clips: Mapping[int, Clip], every: int | None, seed: int) -> tuple[set[int], str]:
    """Choose clips of one corpus, by index, to validate on; and say how.

    The corpus's own part, or one of so many speakers. Where a corpus names nobody and its own part
    is held out, as AFEW's may be, one of so many clips: temperature and weights are then found on
    people who may be known, but never on those to be scored.
    """
    speakers = sorted({clip.speaker for clip in clips.values()})
    official = {i for i, clip in clips.items() if clip.split == "valid"}
    order = np.random.default_rng(seed)
    if official and len({clips[i].speaker for i in official}) < len(speakers):
        return official, "official part"
    if every is None or len(speakers) == 2:
        return set(), "none"
    if len(speakers) > 2:
        drawn = set(order.permutation(speakers)[: max(1, len(speakers) // every)].tolist())
        return {i for i, clip in clips.items() if clip.speaker in drawn}, "by speaker"
    some = order.permutation(sorted(clips))[: len(clips) // every].tolist()
    return set(some), "by clip: the corpus names no speakers"


def _needed(config: Config) -> tuple[str, ...]:
    """Names of the encoders of a system."""
    if isinstance(config, PooledSVMConfig):
        return config.networks
    if isinstance(config, HybridConfig):
        return (*config.networks, *(("soundnet",) if "soundnet" in config.machines else ()))
    return ("face",) if isinstance(config, _FACE_ALONE) else ("face", "voice")


def _judged(
    store: ClipStore, facts: Mapping[str, Any], split: str | None, speakers: Collection[str] | None
) -> ClipStore:
    """Keep the clips to be judged."""
    known = set(facts["speakers"])
    if split is None:
        known |= set(facts["validation_speakers"])
    chosen = [
        i
        for i, clip in enumerate(store.clips)
        if clip.speaker not in known
        and (split is None or clip.split == split)
        and (speakers is None or clip.speaker in speakers)
    ]
    if not chosen:
        raise CorpusError(
            f"Expected clips of speakers that the model does not know among {len(store)}, got "
            "none: hold some out with --without-speakers."
        )
    return store.of(chosen)


def _facts(recipe: VideoRecipe, parts: _Parts, encoders: Encoders) -> dict[str, Any]:
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
        """Whom each training clip is of, for the machines' folds.

        Where the corpus names nobody, as AFEW, each clip stands alone: its C and its calibration
        are then found on people who may be known, its score never is.
        """
        if self.folds["folds"] == "by speaker":
            return list(self.train.speakers)
        return [clip.name for clip in self.train.clips]

    @property
    def folds(self) -> dict[str, str]:
        """What the machines' folds keep together, as a fact of the training."""
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
        labels = self.train.labels
        weights = 1.0 / torch.bincount(labels, minlength=len(EMOTIONS)).clamp_min(1)[labels]
        steps = max(1, len(labels) // batch)
        drawn = torch.multinomial(weights, steps * batch, replacement=True, generator=generator)
        return list(torch.split(drawn, batch))

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
    voice = None if isinstance(job.recipe.config, _FACE_ALONE) else "voice"
    train, valid = (Features.of(x, job.encoders, "face", voice) for x in (job.train, job.valid))
    job.fit(partial(_fresh, job.recipe.config, job.encoders, train), train, valid)


_FACE_ALONE = (FrameLSTMConfig, FrameAverageConfig)
_NETWORKS: dict[type[Any], Callable[[Any], nn.Module]] = {
    AttentionFBPConfig: AttentionFBP,
    FrameConcatConfig: FrameConcat,
    FrameLSTMConfig: FrameLSTM,
    FrameAverageConfig: FrameAverage,
}


def _fresh(config: Config, encoders: Encoders, train: Features, face: str = "face") -> nn.Module:
    """Make a network of the encoders' sizes that standardises what they say."""
    if isinstance(config, _FACE_ALONE):
        fitted: Any = replace(config, features=encoders.features(face))
    else:
        sizes = {f"{k}_features": encoders.features(v) for k, v in _SIZES.items()}
        fitted = replace(cast(Any, config), **sizes)
    model: Any = _NETWORKS[type(config)](fitted)
    _standardise(model.frame_mean, model.frame_deviation, train.of_frames)
    if train.of_voices is not None:
        _standardise(model.voice_mean, model.voice_deviation, train.of_voices)
    network: nn.Module = model
    return network


_SIZES = {"frame": "face", "voice": "voice"}


def _standardise(mean: Tensor, deviation: Tensor, figures: tuple[Tensor, Tensor]) -> None:
    """Set a network's mean and deviation (feature,) to given ones."""
    mean.copy_(figures[0])
    deviation.copy_(figures[1].clamp_min(1e-3))


def _train_pictures(job: _Job) -> None:
    """Train a network that holds its encoders, which learn too if the recipe says so."""
    masks = not isinstance(job.recipe.config, AMFBPConfig)
    train, valid = (
        Pictures(store, torch.from_numpy(store.labels), masks) for store in (job.train, job.valid)
    )
    job.fit(partial(_whole, job.recipe, job.encoders), train, valid)


def _whole(recipe: VideoRecipe, encoders: Encoders) -> nn.Module:
    """Make a network around the encoders' weights."""
    face, voice = encoders.models["face"], cast(Any, encoders.models["voice"])
    config: Any = recipe.config
    if isinstance(config, AttentionFBPConfig):
        kept = ("factors", "outputs", "dropout", "attention_hidden", "sharpness", "signed_root")
        same = {name: getattr(config, name) for name in kept}
        config = AudioVisualFBPConfig(voice.config, _face_config(face), **same)
    else:
        config = replace(config, voice=voice.config, face=_face_config(face))
    model = (AMFBP if isinstance(config, AMFBPConfig) else AudioVisualFBP)(config)
    for own, given in ((model.face, face), (model.voice, voice)):
        weights = {k: v for k, v in given.state_dict().items() if k in own.state_dict()}
        own.load_state_dict(weights)
        own.requires_grad_(recipe.fine_tune)
    return model


def _face_config(face: nn.Module) -> FaceEncoderConfig:
    """Give the configuration under which `FaceEncoder` holds a face network's weights."""
    if isinstance(face, FaceEncoder):
        return face.config
    config = cast(FaceCNNConfig, face.config)
    if config != replace(FaceCNNConfig(), dropout=config.dropout):
        raise InputError(f"Expected the compact face network as it is bundled, got {config}.")
    return FaceEncoderConfig("compact", CROP_SIDE, dropout=config.dropout)


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
    if isinstance(model.config, _FACE_ALONE):
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
    encoders = _kept(folder, _needed(model.config))
    return model.probabilities(_hybrid_clips(store, model.config, encoders, facts["functionals"]))
