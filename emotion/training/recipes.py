"""The recipes of faces, voices, their fusion and words, as data.

Every figure that shapes a training stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from emotion.models import attention_fcn
from emotion.models.adaptive_voice import AdaptiveVoiceConfig
from emotion.models.attention_fcn import COMPACT, AttentionFCNConfig
from emotion.models.face_backbones import FaceEncoderConfig, FaceKind
from emotion.models.face_cnn import WIDE, FaceCNNConfig
from emotion.models.fusion import GatedFBPConfig
from emotion.training.augmentation import FaceAugmentation, VoiceAugmentation
from emotion.training.loop import Schedule
from emotion.words import WordsConfig

__all__ = [
    "FACE_BACKBONES",
    "AdaptiveVoiceRecipe",
    "FaceBackboneRecipe",
    "FaceRecipe",
    "FaceStage",
    "FusionRecipe",
    "HubVoiceRecipe",
    "VoiceRecipe",
    "WordsRecipe",
    "face_restarted",
    "face_sam",
    "face_taught",
    "face_wide",
    "voice_average",
    "voice_original",
    "voice_torchvision",
]


@dataclass(frozen=True)
class FaceStage:
    """From a point of training on, how large the crops are and how far they are changed.

    Attributes:
        begins: Part of training that is behind when it begins, in [0, 1).
        side: Side of the crops in pixels; smaller ones train faster.
        augmentation: How far they are changed.
    """

    begins: float
    side: int
    augmentation: FaceAugmentation


@dataclass(frozen=True)
class FaceRecipe:
    """Trains `FaceCNN` on FER2013's labels and FER+'s votes at once.

    Attributes:
        held_out: Faces of each thousand of `Training` kept back for temperatures and for fusion.
        smoothing: Label smoothing of FER2013's labels, wrong about one time in ten.
        mixup: Strength of mixup; 0 for none.
        split_seed: Of which faces are held out: the same for pupils, teachers and repetitions.
        taught: Part of each target that is what the teachers say of the very same picture, where
            there are teachers, in [0, 1].
        of_init: Part of the weights of `--init` in the last checkpoint's, the rest those learnt.
        bits: Of a weight in the checkpoint.
        stages: Size and augmentation over time.
    """

    config: FaceCNNConfig = field(default_factory=lambda: FaceCNNConfig(mirrored=True))
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=54, batch=128, learning_rate=0.1, optimiser="sgd", average=0.998
        )
    )
    held_out: int = 70
    smoothing: float = 0.05
    mixup: float = 0.2
    split_seed: int = 1
    taught: float = 0.7
    of_init: float = 0.0
    bits: Literal[8, 16] = 16
    stages: tuple[FaceStage, ...] = (
        FaceStage(0.0, 40, FaceAugmentation()),
        FaceStage(
            0.8, 48, FaceAugmentation(rotation_deg=10.0, shift=0.04, zoom=(0.86, 1.06), erased=0.25)
        ),
    )


def face_taught() -> FaceRecipe:
    """Train on from `--init` for a while, by what `--teachers` say as well."""
    schedule = Schedule(epochs=16, batch=128, learning_rate=0.04, optimiser="sgd", average=0.998)
    return FaceRecipe(schedule=schedule, stages=_in_bad_light(FaceRecipe().stages))


def face_wide() -> FaceRecipe:
    """Train the larger network from scratch, by what `--teachers` say as well."""
    config = replace(WIDE, mirrored=True)
    schedule = Schedule(epochs=64, batch=128, learning_rate=0.1, optimiser="sgd", average=0.998)
    stages = _in_bad_light(FaceRecipe().stages)
    return FaceRecipe(config=config, schedule=schedule, stages=stages, taught=0.5, bits=8)


def face_restarted() -> FaceRecipe:
    """Train on from `--init`, of `face_wide`, by the labels alone, and end halfway between both.

    The rate rises once more (Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", ICLR 2017), not as far. The second round learns its faces too well and its doubts
    too little; the weights in between (Wortsman et al., "Robust fine-tuning of zero-shot models",
    CVPR 2022) keep the good of both.
    """
    first = face_wide()
    schedule = replace(first.schedule, epochs=60, learning_rate=0.06)
    begun, last = first.stages
    stages = (begun, replace(last, begins=0.78))
    return replace(first, schedule=schedule, stages=stages, of_init=0.5)


def face_sam() -> FaceRecipe:
    """Train on from `--init`, of `face_restarted`, towards a flatter minimum, and end halfway.

    Sharpness-aware minimisation is worth most where labels are wrong (Foret et al., "Sharpness-
    Aware Minimization for Efficiently Improving Generalization", ICLR 2021, section 3.3), as one
    in ten of these is, and late (Zhou et al., "Sharpness-Aware Minimization Efficiently Selects
    Flatter Minima Late in Training", ICLR 2025).
    """
    before = face_restarted()
    schedule = replace(before.schedule, epochs=12, learning_rate=0.03, sharpness=0.1)
    begun, last = before.stages
    return replace(before, schedule=schedule, stages=(begun, replace(last, begins=0.6)))


def _in_bad_light(stages: tuple[FaceStage, ...]) -> tuple[FaceStage, ...]:
    return tuple(
        replace(stage, augmentation=replace(stage.augmentation, lit=0.2, noisy=0.2))
        for stage in stages
    )


@dataclass(frozen=True)
class FaceBackboneRecipe:
    """Fine-tunes one of the papers' face networks on FER2013's labels, first of its two stages.

    Attributes:
        held_out: As in `FaceRecipe`.
        smoothing: Label smoothing.
        mixup: Strength of mixup; 0 for none.
        augmentation: How far faces are changed.
    """

    config: FaceEncoderConfig
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=12, batch=64, learning_rate=1e-4, weight_decay=0.05, average=0.998
        )
    )
    held_out: int = 70
    smoothing: float = 0.1
    mixup: float = 0.2
    augmentation: FaceAugmentation = field(default_factory=FaceAugmentation)


_BACKBONE_KINDS: dict[str, FaceKind] = {
    "face-vgg": "vgg-face",
    "face-resnet50": "resnet50",
    "face-inception-resnet-v1": "inception-resnet-v1",
    "face-inception-v3": "inception-v3",
}
FACE_BACKBONES = {
    name: FaceBackboneRecipe(FaceEncoderConfig(kind)) for name, kind in _BACKBONE_KINDS.items()
}
"""By the names of `attune train`."""


@dataclass(frozen=True)
class VoiceRecipe:
    """Trains `AttentionFCN` on acted speech, every emotion as often as any other.

    Attributes:
        corpora: Names among SPEECH_CORPORA; only those whose licence allows it.
        frames: Longest piece of a clip that is heard at once.
        smoothing: Label smoothing.
        mixup: Strength of mixup of the spectrograms; 0 for none.
        augmentation: How far voices are changed.
    """

    config: AttentionFCNConfig = COMPACT
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=80, batch=32, learning_rate=3e-3, weight_decay=0.05, average=0.995
        )
    )
    corpora: tuple[str, ...] = ("ravdess", "emodb")
    frames: int = 300
    smoothing: float = 0.1
    mixup: float = 0.1
    augmentation: VoiceAugmentation = field(default_factory=VoiceAugmentation)


@dataclass(frozen=True)
class AdaptiveVoiceRecipe(VoiceRecipe):
    """Trains `AdaptiveVoice`: the network above, and what judges statistics beside it.

    Attributes:
        adaptive: Its shape; `config` stands in for the network in it.
        judging: How long and how fast the statistics' part is trained, from the seed of `schedule`.
        judging_mixup: Strength of mixup of the statistics.
        views: Versions of each clip that it sees: as it is, and changed.
        noisy: How far these are changed.
        incomplete: Part of the clips of whose speaker only some other clips are known.
        fewest: Part of a speaker's clips that is known of those at least; the rest is drawn
            log-uniformly between this and 1.
        uneven: Part of the clips of whose speaker mostly one emotion is known.
        corpus_power: How the corpora share the draws of an emotion; see `sampling.balanced`.
    """

    adaptive: AdaptiveVoiceConfig = field(default_factory=AdaptiveVoiceConfig)
    judging: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=60, batch=64, learning_rate=2e-3, weight_decay=0.1, average=0.99
        )
    )
    judging_mixup: float = 0.3
    views: int = 3
    noisy: VoiceAugmentation = field(
        default_factory=lambda: VoiceAugmentation(
            pitch=(1.0, 1.0),
            speed=(0.9, 1.1),
            noise_db=(15.0, 60.0),
            hidden_bins=0,
            hidden_frames=0,
        )
    )
    incomplete: float = 0.6
    fewest: float = 0.01
    uneven: float = 0.6
    corpus_power: float = 0.5


def voice_original() -> VoiceRecipe:
    """Train the layout of the paper, with its attention and local response normalisation.

    Without batch normalisation it needs small steps, and many.
    """
    return _relaid(attention_fcn.ORIGINAL)


def voice_torchvision() -> VoiceRecipe:
    """Train the layout of torchvision's AlexNet, for which there are ImageNet weights."""
    return _relaid(attention_fcn.TORCHVISION)


def voice_average() -> VoiceRecipe:
    """Train the compact network with average pooling: the ablation that attention must beat."""
    return VoiceRecipe(config=replace(COMPACT, pooling="average"))


def _relaid(config: AttentionFCNConfig) -> VoiceRecipe:
    schedule = Schedule(epochs=15, batch=16, learning_rate=3e-4, weight_decay=0.05, average=0.99)
    return VoiceRecipe(config=config, schedule=schedule, mixup=0.0, augmentation=_MILD)


_MILD = VoiceAugmentation(
    pitch=(0.95, 1.05),
    speed=(0.9, 1.1),
    noise_db=(40.0, 85.0),
    reverberant=0.0,
    hidden_bins=0,
    hidden_frames=0,
)
"""From scratch the large layouts hardly leave chance when voices are changed as far as usual."""


@dataclass(frozen=True)
class HubVoiceRecipe:
    """Fine-tunes an audio model of the Hugging Face hub on acted speech, every emotion as often.

    Attributes:
        corpora: Names among SPEECH_CORPORA.
        piece_s: Length of the piece of a clip that is heard at once; a shorter clip is repeated,
            since not every such model can tell padding from sound.
        smoothing: Label smoothing.
    """

    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=15, batch=16, learning_rate=3e-5, warmup=0.1, weight_decay=0.01, average=0.99
        )
    )
    corpora: tuple[str, ...] = ("ravdess", "emodb")
    piece_s: float = 3.0
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not (self.piece_s > 0 and 0 <= self.smoothing < 1):
            raise ValueError(f"Expected a piece > 0 s and smoothing in [0, 1), got {self}.")


@dataclass(frozen=True)
class WordsRecipe:
    """Trains `WordsModel`: a logistic regression on GoEmotions, and a network that reads.

    Attributes:
        strength: The regression's C, the inverse of its L2 penalty.
        least_ratio: Added to the naive Bayes ratio that scales each of its features.
        dialogues: Corpora whose text teaches the network which words keep like company.
        feelings: Those among them whose feelings it learns beside GoEmotions' own.
        vocabulary: Most words it knows.
        least_spoken: How often a word that is rare in comments must be in `dialogues`.
        spoken_for_one: So many uses there rank a word like one in a comment.
        comments_weigh: How often comments count among texts from which vectors are made.
        vector_spread: Standard deviation of the vectors it begins from.
        longest: Words of a text that training reads.
        forgotten: Part of the words that training makes unknown.
        coarse_weight: Of the mean cross-entropy of the seven.
        fine_weight: Of that of the 27 and neutral.
        others_weight: Of that of `feelings`.
        others_share: Part of `feelings` drawn anew each epoch.
        most_of_one: Most texts of one feeling.
        smoothing: Label smoothing of `feelings`.
    """

    config: WordsConfig = field(default_factory=WordsConfig)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=5,
            batch=64,
            learning_rate=2e-3,
            weight_decay=0.01,
            average=0.995,
            clip_norm=1.0,
        )
    )
    strength: float = 0.3
    least_ratio: float = 0.25
    dialogues: tuple[str, ...] = (
        "book_dialogues",
        "commonsense_dialogues",
        "dailydialog",
        "empathetic_dialogues",
        "persona_chat",
        "self_dialogue",
        "topical_chat",
    )
    feelings: tuple[str, ...] = ("dailydialog", "empathetic_dialogues")
    vocabulary: int = 16_000
    least_spoken: int = 60
    spoken_for_one: float = 200.0
    comments_weigh: int = 4
    vector_spread: float = 0.5
    longest: int = 40
    forgotten: float = 0.1
    coarse_weight: float = 3.5
    fine_weight: float = 7.0
    others_weight: float = 0.5
    others_share: float = 0.5
    most_of_one: int = 5_000
    smoothing: float = 0.05


@dataclass(frozen=True)
class FusionRecipe:
    """Trains `GatedFBP` on faces and voices that share nothing but their label.

    Encoders know the faces and voices they were trained on too well, and a fusion trained on those
    would trust both too much. So faces are those held out by the face recipe, and each voice is
    moved towards another one, so far that the voice model alone is right in training as often as
    `voice_accuracy`, which is what it reaches on speakers it never heard. In some clips the face is
    black or noise, or the voice silence or noise: what says nothing must not mislead.

    Attributes:
        config: The network; the sizes of its inputs are those of the encoders.
        clips: Clips made anew each epoch, every emotion equally often.
        expressive: Fewest and most different photographs of the clip's label in it.
        neutral: Most neutral photographs among them.
        blurred: Most photographs of any label, blurred until little is left to see.
        views: Randomly changed versions of each photograph.
        noisy_views: Versions of each voice in noise.
        spoilt: How many pictures of nobody, and how many sounds without a voice, to choose from.
        no_face: Part of the clips without a face.
        no_voice: Part of the clips without a voice.
        spoilt_face: Part of the clips with pictures of nobody.
        spoilt_voice: Part of the clips with a sound without a voice.
        noisy_voice: Part of the voices that are in noise.
        attention: Weight of the cross-entropy of the frame attention, which should fall on the
            expressive photographs.
        trust: Weight of the cross-entropy of the gates, which should open for what is as it was
            recorded and close for what says nothing.
        voice_accuracy: See above, in (0, 1); where the checkpoint of the voice does not tell it.
        folds: Parts into which the faces are dealt to fit the temperatures.
        smoothing: Label smoothing.
    """

    config: GatedFBPConfig = field(default_factory=GatedFBPConfig)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=20, batch=128, learning_rate=1e-3, weight_decay=0.05, average=0.995
        )
    )
    clips: int = 6400
    expressive: tuple[int, int] = (1, 4)
    neutral: int = 3
    blurred: int = 2
    views: int = 4
    noisy_views: int = 2
    spoilt: int = 600
    no_face: float = 0.15
    no_voice: float = 0.15
    spoilt_face: float = 0.15
    spoilt_voice: float = 0.15
    noisy_voice: float = 0.3
    attention: float = 0.3
    trust: float = 0.3
    voice_accuracy: float = 0.6
    folds: int = 4
    smoothing: float = 0.05

    def __post_init__(self) -> None:
        parts = (self.no_face, self.no_voice, self.spoilt_face, self.spoilt_voice)
        if min(parts) < 0 or sum(parts) > 1:
            raise ValueError(f"Expected parts of the clips of at most 1 together, got {parts}.")
