"""The recipes of the audio-visual systems of the papers on clips, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from emotion.models.attention_fcn import COMPACT
from emotion.models.deep_fusion import AMFBPConfig
from emotion.models.face_backbones import FaceEncoderConfig
from emotion.models.frames import FrameAverageConfig, FrameConcatConfig, FrameLSTMConfig
from emotion.models.fusion import AttentionFBPConfig
from emotion.models.hybrid import HybridConfig
from emotion.models.pooled_svm import PooledSVMConfig
from emotion.models.svm import SVMConfig
from emotion.training.clips import ClipSettings
from emotion.training.loop import Schedule
from emotion.training.material import Functionals

__all__ = ["FACE_ALONE", "RECIPES", "Config", "VideoRecipe", "encoders_of"]

Config = (
    AttentionFBPConfig
    | AMFBPConfig
    | FrameConcatConfig
    | FrameLSTMConfig
    | FrameAverageConfig
    | PooledSVMConfig
    | HybridConfig
)

FACE_ALONE = (FrameLSTMConfig, FrameAverageConfig)
"""Configurations of the networks that hear nothing."""


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
_FINE = Schedule(epochs=15, batch=16, learning_rate=1e-4, weight_decay=0.05, average=0.99)

RECIPES: dict[str, VideoRecipe] = {
    recipe.name: recipe
    for recipe in (
        VideoRecipe("fbp", AttentionFBPConfig()),
        VideoRecipe("fbp-average", AttentionFBPConfig(pooling="average")),
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


def encoders_of(config: Config) -> tuple[str, ...]:
    """Names of the encoders that a system needs."""
    if isinstance(config, PooledSVMConfig):
        return config.networks
    if isinstance(config, HybridConfig):
        return (*config.networks, *(("soundnet",) if "soundnet" in config.machines else ()))
    return ("face",) if isinstance(config, FACE_ALONE) else ("face", "voice")
