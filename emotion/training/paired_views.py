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
from emotion.calibration import calibrated_probabilities, cross_fitted, evidence
from emotion.corpora.fer2013 import Faces, load_faces
from emotion.corpora.speech import Voices, load_voices
from emotion.errors import CheckpointError, CorpusError
from emotion.models.face_cnn import standardise
from emotion.training.label_pairs import NEUTRAL, PairedClips, alone, make_clips, untouched
from emotion.training.loop import step_generator
from emotion.training.pools import (
    Photographs,
    VoicePool,
    as_people_see,
    encode_photographs,
    face_features,
)
from emotion.training.recipes import FusionRecipe
from emotion.training.spoiling import blurred, coloured_noise, noise_pictures, noisy
from emotion.training.voice import voice_outputs

__all__ = ["CONDITIONS", "PairedViews", "attention_auc", "paired_views"]

CLIPS_A_VOICE = 5
SPLIT = "PublicTest"

FACE_CONDITIONS = ("face black", "face noise", "face blurred")
VOICE_CONDITIONS = (
    "voice silent",
    "voice white noise alone",
    *(f"voice white noise {snr_db} dB" for snr_db in (20, 10, 0, -10)),
    "voice pink noise 0 dB",
)
CONDITIONS = (*FACE_CONDITIONS, *VOICE_CONDITIONS)
"""What is done to one modality of every clip while the other one stays as it is."""

_BLUR = 4.0


@dataclass(frozen=True)
class PairedViews:
    """What every way to look at the clips says of them.

    Attributes:
        truth: (clip,) index into EMOTIONS.
        speakers: (clip,) who speaks.
        views: (clip, emotion) probabilities by the name of the way.
        conditions: (clip, emotion) probabilities of the fusion by what was done to the clips.
        attention: Of clips of another emotion than neutral, the mean part of the attention that
            fell on photographs of that emotion, not on neutral or blurred ones.
        expressive: The mean part of the photographs that these are: what even attention would give.
        attention_auc: Of the same clips, the mean chance that a photograph of that emotion has more
            attention than another one of the same clip.
    """

    truth: npt.NDArray[np.int64]
    speakers: npt.NDArray[np.str_]
    views: dict[str, npt.NDArray[np.float32]]
    conditions: dict[str, npt.NDArray[np.float32]]
    attention: float
    expressive: float
    attention_auc: float


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
    faces = as_people_see(load_faces(root, SPLIT, cache))
    photographs = encode_photographs(parts.face, faces, _RECIPE)
    voices = _unheard(voice, root, cache)
    stage = _Stage(parts, faces, photographs, voices)
    speakers = np.array(voices.speakers)[stage.index.numpy()]
    clips = stage.clips()
    attention, expressive, auc = parts.attention(clips)
    return PairedViews(
        truth=clips.labels.numpy(),
        speakers=speakers,
        views=parts.views(clips, speakers),
        conditions={name: parts.fused(stage.clips(name), speakers) for name in CONDITIONS},
        attention=attention,
        expressive=expressive,
        attention_auc=auc,
    )


_RECIPE = replace(untouched(FusionRecipe()), views=1, spoilt=1)

_NOISE_PICTURES = 200


class _Stage:
    """Makes the same clips again and again, each time with something else done to them."""

    def __init__(
        self, parts: _Parts, faces: Faces, photographs: Photographs, voices: Voices
    ) -> None:
        self._parts, self._faces = parts, faces
        self._photographs, self._voices = photographs, voices
        self.index = torch.arange(len(voices)).repeat(CLIPS_A_VOICE)

    def clips(self, condition: str = "") -> PairedClips:
        """Clips of every voice, `CLIPS_A_VOICE` times."""
        heard = self._heard(condition)
        pool = VoicePool(heard, torch.from_numpy(self._voices.labels))
        generator = step_generator(_RECIPE.schedule.seed, 6)
        labels = pool.labels[self.index]
        clips = make_clips(_RECIPE, self._seen(condition), pool, labels, generator)
        return replace(clips, voice=heard[self.index])

    def _seen(self, condition: str) -> Photographs:
        """Photographs to which that was done."""
        levels = torch.from_numpy(self._faces.images)[:, None].float()
        if condition == "face blurred":
            pictures = blurred(levels, _BLUR)
        elif condition == "face noise":
            pictures = noise_pictures(_NOISE_PICTURES, levels.shape[-1], step_generator(1, 7))
        elif condition == "face black":
            pictures = torch.zeros_like(levels[:1])
        else:
            return self._photographs
        features = face_features(self._parts.face, standardise(pictures))
        each = features[torch.arange(len(levels)) % len(features)]
        return replace(self._photographs, views=each[None], blurred=each)

    def _heard(self, condition: str) -> Tensor:
        """Features (voice, feature) of voices to which that was done."""
        generator = step_generator(1, 8)
        waveforms = self._voices.waveforms
        if condition == "voice silent":
            changed = [np.zeros_like(w) for w in waveforms]
        elif condition == "voice white noise alone":
            changed = [np.float32(0.1) * coloured_noise(len(w), 0.0, generator) for w in waveforms]
        elif condition.startswith("voice"):
            _, colour, _, snr_db, _ = condition.split()
            slope_db = {"white": 0.0, "pink": -3.0}[colour]
            changed = [noisy(w, float(snr_db), slope_db, generator) for w in waveforms]
        else:
            changed = list(waveforms)
        voices = replace(self._voices, waveforms=tuple(changed))
        return torch.from_numpy(voice_outputs(self._parts.voice, voices, known="earlier")[1])


@dataclass(frozen=True)
class _Parts:
    face: Any
    voice: Any
    fusion: Any
    facts: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, face: Path, voice: Path, fusion: Path) -> _Parts:
        folders = {"face": face, "voice": voice, "fusion": fusion}
        facts = {name: checkpoint.read(folder).training for name, folder in folders.items()}
        return cls(**{k: checkpoint.load(f) for k, f in folders.items()}, facts=facts)

    @torch.inference_mode()
    def views(
        self, clips: PairedClips, speakers: npt.NDArray[np.str_]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Probabilities (clip, emotion) by every way to look at the clips."""
        face, voice = self._face_head(clips), self._voice_head(clips, speakers)
        return {
            "fusion": self.fused(clips, speakers),
            "fusion_without_voice": self.fused(alone(clips, "face"), speakers),
            "fusion_without_face": self.fused(alone(clips, "voice"), speakers),
            "face_head_averaged_over_frames": face,
            "voice_head": voice,
            "average_of_the_two_heads": ((face + voice) / 2).astype(np.float32),
        }

    @torch.inference_mode()
    def fused(self, clips: PairedClips, speakers: npt.NDArray[np.str_]) -> npt.NDArray[np.float32]:
        """Probabilities (clip, emotion) by the fusion, calibrated without who speaks, (clip,)."""
        said = self.fusion(clips.frames, clips.frame_mask, clips.voice, clips.voice_mask)
        by, went_by = self.facts["fusion"]["temperature_without"], evidence(said.trust)
        own = [by[speaker][what] for speaker, what in zip(speakers.tolist(), went_by, strict=True)]
        fused = calibrated_probabilities(said.logits.numpy() / np.array(own)[:, None], 1.0)
        heard = (went_by == "voice")[:, None]  # then the voice's own model has the word, as live
        return np.where(heard, self._voice_head(clips, speakers), fused)

    @torch.inference_mode()
    def attention(self, clips: PairedClips) -> tuple[float, float, float]:
        """Mean parts of the attention and of the frames that are expressive, and the mean AUC."""
        telling = clips.labels != NEUTRAL
        weights = self.fusion(clips.frames, clips.frame_mask, clips.voice).frame_attention
        part = (weights * clips.expressive).sum(dim=1)
        even = clips.expressive.sum(dim=1) / clips.frame_mask.sum(dim=1)
        auc = attention_auc(weights, clips.expressive, clips.frame_mask)[telling]
        return part[telling].mean().item(), even[telling].mean().item(), auc.nanmean().item()

    def _voice_head(
        self, clips: PairedClips, speakers: npt.NDArray[np.str_]
    ) -> npt.NDArray[np.float32]:
        """Probabilities (clip, emotion) by the voice model's own head, calibrated likewise."""
        logits = self.voice.classify(clips.voice).numpy()
        return cross_fitted(logits, clips.labels.numpy(), speakers)

    def _face_head(self, clips: PairedClips) -> npt.NDArray[np.float32]:
        """Probabilities (clip, emotion) by the face model's own head, averaged over frames."""
        logits = self.face.heads["ferplus"](clips.frames)
        each = calibrated_probabilities(
            logits.numpy(), self.facts["face"]["temperature"]["ferplus"]
        )
        mask = clips.frame_mask.numpy()[:, :, None]
        mean: npt.NDArray[np.float32] = (each * mask).sum(axis=1) / mask.sum(axis=1)
        return mean


def attention_auc(weights: Tensor, expressive: Tensor, mask: Tensor) -> Tensor:
    """Chance that an expressive frame of a clip has more attention than another one of it.

    Area under the ROC curve as Mann & Whitney's statistic; ties count half.

    Args:
        weights: (clip, frame).
        expressive: (clip, frame) bool.
        mask: (clip, frame) bool, true where there is a frame.

    Returns:
        (clip,) in [0, 1]; nan where all frames of a clip are alike.
    """
    more = weights[:, :, None] - weights[:, None, :]
    pairs = expressive[:, :, None] & (mask & ~expressive)[:, None, :]
    won = ((more > 0).float() + 0.5 * (more == 0).float()) * pairs
    return won.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2))


def _unheard(folder: Path, root: Path, cache: Path | None) -> Voices:
    facts = checkpoint.read(folder).training
    voices = load_voices(root, facts["corpora"], cache)
    unheard = voices.of(sorted(set(voices.speakers) - set(facts["speakers"])))
    if not len(unheard):
        raise CorpusError(
            f"Expected a voice model with speakers held out in {folder}, got one that was trained "
            f"on all {len(set(voices.speakers))} speakers."
        )
    return unheard


def _check_encoders(fusion: Path, face: Path, voice: Path) -> None:
    wanted = checkpoint.read(fusion).training["encoders"]
    for name, folder in (("face", face), ("voice", voice)):
        if checkpoint.digest(folder) != wanted[name]:
            raise CheckpointError(
                f"Expected the {name} model with sha256 {wanted[name]}, over which {fusion} was "
                f"trained, got {checkpoint.digest(folder)} in {folder}."
            )
