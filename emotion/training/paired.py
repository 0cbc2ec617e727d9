"""Tries a fusion on label-paired clips of faces and voices that no encoder was trained on.

There is next to no open corpus of faces and voices together, so a clip is a voice of a speaker held
out and photographs of FER2013's PublicTest with the same label. Such pairs are easier than people:
face and voice never contradict each other here but by mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities
from emotion.corpora.fer2013 import load_faces
from emotion.corpora.speech import load_voices
from emotion.errors import CheckpointError, CorpusError
from emotion.training.fusion import (
    NEUTRAL,
    PairedClips,
    VoicePool,
    encode_photographs,
    make_clips,
)
from emotion.training.loop import step_generator
from emotion.training.recipes import FusionRecipe
from emotion.training.voice import voice_outputs

__all__ = ["PairedViews", "paired_views"]

CLIPS_A_VOICE = 5
SPLIT = "PublicTest"


@dataclass(frozen=True)
class PairedViews:
    """What every way to look at the clips says of them.

    Attributes:
        truth: (clip,) index into EMOTIONS.
        speakers: (clip,) who speaks.
        views: (clip, emotion) probabilities by the name of the way.
        attention: Of clips of another emotion than neutral, the mean part of the attention that
            fell on photographs of that emotion, not on neutral or blurred ones.
        expressive: The mean part of the photographs that these are: what even attention would give.
    """

    truth: npt.NDArray[np.int64]
    speakers: npt.NDArray[np.str_]
    views: dict[str, npt.NDArray[np.float32]]
    attention: float
    expressive: float


def paired_views(
    *, face: Path, voice: Path, fusion: Path, root: Path, cache: Path | None
) -> PairedViews:
    """Look at label-paired clips with both modalities, with either, and by the encoders' own heads.

    Args:
        face: Checkpoint of the face model.
        voice: Checkpoint of the voice model, with speakers held out.
        fusion: Checkpoint of the fusion trained over these two.
        root: Folder of corpora.
        cache: Folder for decoded corpora, or None.

    Raises:
        CheckpointError: If the fusion was trained over other encoders.
        CorpusError: If the voice model has heard all speakers.
    """
    _check_encoders(fusion, face, voice)
    parts = _Parts.load(face, voice, fusion)
    recipe = replace(FusionRecipe(), no_face=0.0, no_voice=0.0, views=1)
    photographs = encode_photographs(parts.face, load_faces(root, SPLIT, cache), recipe)
    pool, speakers = _unheard(voice, parts.voice, root, cache)
    index = torch.arange(len(speakers)).repeat(CLIPS_A_VOICE)
    labels = pool.labels[index]
    clips = make_clips(recipe, photographs, pool, labels, step_generator(recipe.schedule.seed, 6))
    clips = replace(clips, voice=pool.features[index])
    attention, expressive = parts.attention(clips)
    return PairedViews(
        labels.numpy(),
        np.array(speakers)[index.numpy()],
        parts.views(clips),
        attention,
        expressive,
    )


@dataclass(frozen=True)
class _Parts:
    face: Any
    voice: Any
    fusion: Any
    temperatures: dict[str, Any]

    @classmethod
    def load(cls, face: Path, voice: Path, fusion: Path) -> _Parts:
        folders = {"face": face, "voice": voice, "fusion": fusion}
        temperatures = {k: checkpoint.read(f).training["temperature"] for k, f in folders.items()}
        return cls(**{k: checkpoint.load(f) for k, f in folders.items()}, temperatures=temperatures)

    @torch.inference_mode()
    def views(self, clips: PairedClips) -> dict[str, npt.NDArray[np.float32]]:
        """Probabilities (clip, emotion) by every way to look at the clips."""
        face, voice = self._face_head(clips), self._head("voice", self.voice.classify(clips.voice))
        average = ((face + voice) / 2).astype(np.float32)
        both = self.fusion(clips.frames, clips.frame_mask, clips.voice).logits
        one = self.fusion(clips.frames, clips.frame_mask).logits
        other = self.fusion(None, None, clips.voice).logits
        return {
            "fusion": self._head("fusion", both),
            "fusion_without_voice": self._head("fusion", one),
            "fusion_without_face": self._head("fusion", other),
            "face_head_averaged_over_frames": face,
            "voice_head": voice,
            "average_of_the_two_heads": average,
        }

    @torch.inference_mode()
    def attention(self, clips: PairedClips) -> tuple[float, float]:
        """Mean parts of the attention and of the frames that are expressive."""
        telling = clips.labels != NEUTRAL
        weights = self.fusion(clips.frames, clips.frame_mask, clips.voice).frame_attention
        part = (weights * clips.expressive).sum(dim=1)
        even = clips.expressive.sum(dim=1) / clips.frame_mask.sum(dim=1)
        return part[telling].mean().item(), even[telling].mean().item()

    def _face_head(self, clips: PairedClips) -> npt.NDArray[np.float32]:
        """Probabilities (clip, emotion) by the face model's own head, averaged over frames."""
        logits = self.face.heads["fer2013"](clips.frames)
        each = calibrated_probabilities(logits.numpy(), self.temperatures["face"]["fer2013"])
        mask = clips.frame_mask.numpy()[:, :, None]
        mean: npt.NDArray[np.float32] = (each * mask).sum(axis=1) / mask.sum(axis=1)
        return mean

    def _head(self, name: str, logits: Tensor) -> npt.NDArray[np.float32]:
        """Calibrated probabilities of logits (clip, emotion)."""
        return calibrated_probabilities(logits.numpy(), self.temperatures[name])


def _unheard(
    folder: Path, model: Any, root: Path, cache: Path | None
) -> tuple[VoicePool, tuple[str, ...]]:
    facts = checkpoint.read(folder).training
    voices = load_voices(root, facts["corpora"], cache)
    unheard = voices.of(sorted(set(voices.speakers) - set(facts["speakers"])))
    if not len(unheard):
        raise CorpusError(
            f"Expected a voice model with speakers held out in {folder}, got one that was trained "
            f"on all {len(set(voices.speakers))} speakers."
        )
    _, features = voice_outputs(model, unheard)
    pool = VoicePool(torch.from_numpy(features), torch.from_numpy(unheard.labels))
    return pool, unheard.speakers


def _check_encoders(fusion: Path, face: Path, voice: Path) -> None:
    wanted = checkpoint.read(fusion).training["encoders"]
    for name, folder in (("face", face), ("voice", voice)):
        if checkpoint.digest(folder) != wanted[name]:
            raise CheckpointError(
                f"Expected the {name} model with sha256 {wanted[name]}, over which {fusion} was "
                f"trained, got {checkpoint.digest(folder)} in {folder}."
            )
