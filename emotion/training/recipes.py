"""The recipes of faces, voices, their fusion and words, as data.

Every figure that shapes a training stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from emotion.models import attention_fcn
from emotion.models.attention_fcn import COMPACT, AttentionFCNConfig
from emotion.models.face_backbones import FaceEncoderConfig, FaceKind
from emotion.models.face_cnn import FaceCNNConfig
from emotion.models.fusion import AttentionFBPConfig
from emotion.training.augmentation import FaceAugmentation, VoiceAugmentation
from emotion.training.loop import Schedule
from emotion.words import WordsConfig

__all__ = [
    "FACE_BACKBONES",
    "FaceBackboneRecipe",
    "FaceRecipe",
    "FaceStage",
    "FusionRecipe",
    "HubVoiceRecipe",
    "VoiceRecipe",
    "WordsRecipe",
    "face_taught",
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
    stages: tuple[FaceStage, ...] = (
        FaceStage(0.0, 40, FaceAugmentation()),
        FaceStage(
            0.8, 48, FaceAugmentation(rotation_deg=10.0, shift=0.04, zoom=(0.86, 1.06), erased=0.25)
        ),
    )


def face_taught() -> FaceRecipe:
    """Train on from `--init` for a while, by what `--teachers` say as well."""
    schedule = Schedule(epochs=30, batch=128, learning_rate=0.05, optimiser="sgd", average=0.998)
    stages = tuple(
        replace(stage, augmentation=replace(stage.augmentation, lit=0.2, noisy=0.2))
        for stage in FaceRecipe().stages
    )
    return FaceRecipe(schedule=schedule, stages=stages)


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
    """Trains `WordsModel` on GoEmotions by logistic regression.

    Attributes:
        penalty: Factor of half the squared length of the weights.
        iterations: Most steps of L-BFGS.
    """

    config: WordsConfig = field(default_factory=WordsConfig)
    penalty: float = 5e-6
    iterations: int = 60


@dataclass(frozen=True)
class FusionRecipe:
    """Trains `AttentionFBP` on faces and voices that share nothing but their label.

    Encoders know the faces and voices they were trained on too well, and a fusion trained on those
    would trust both too much. So faces are those held out by the face recipe, and each voice is
    moved towards another one, so far that the voice model alone is right in training as often as
    `voice_accuracy`, which is what it reaches on speakers it never heard.

    Attributes:
        clips: Clips made anew each epoch, every emotion equally often.
        expressive: Fewest and most different photographs of the clip's label in it.
        neutral: Most neutral photographs among them.
        blurred: Most photographs of any label, blurred until little is left to see.
        views: Randomly changed versions of each photograph.
        no_face: Part of the clips without a face.
        no_voice: Part of the clips without a voice.
        voice_accuracy: See above, in (0, 1).
        calibration: Faces of each hundred kept out of training to fit the temperature.
        smoothing: Label smoothing.
    """

    config: AttentionFBPConfig = field(default_factory=AttentionFBPConfig)
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
    no_face: float = 0.2
    no_voice: float = 0.2
    voice_accuracy: float = 0.6
    calibration: int = 20
    smoothing: float = 0.05
