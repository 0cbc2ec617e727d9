"""The trained networks on one device: crops, sound and words in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emotion import checkpoint
from emotion.calibration import UNCLEAR_BELOW, calibrated_probabilities, evidence
from emotion.checkpoint import BUNDLED
from emotion.errors import CheckpointError, InputError
from emotion.face.detector import FaceDetector
from emotion.face.extra import has_dlib
from emotion.face.identity import CheckpointIdentity, DlibIdentity, IdentityNetwork
from emotion.face.second_opinion import SecondOpinion
from emotion.face.tracker import FaceFinder
from emotion.models.adaptive_voice import AdaptiveVoice, VoiceHistory
from emotion.models.attention_fcn import AttentionFCN, VoiceOutput
from emotion.models.face_cnn import FaceCNN, prepare_crops
from emotion.models.fusion import GatedFBP
from emotion.speech.spectrogram import log_spectrogram
from emotion.words import WordsModel

__all__ = ["FaceView", "Fusion", "Perception", "VoiceView", "pick_device"]

Floats = npt.NDArray[np.float32]

_CALIBRATED = ("face", "voice", "fusion")
_FACES_PER_BATCH = 256

VOICES = ("AttentionFCN", "AdaptiveVoice")
"""Architectures that can be the voice."""

IDENTITY = "identity"

SAME_STREAM_DISTANCE = 0.5
"""Within one stream, where light and camera stay, fewer strangers are taken for one another at this
distance than at the 0.6 of dlib (0.4 % against 2.7 % of pairs) and nobody is missed more often."""


@dataclass(frozen=True)
class FaceView:
    """What the face network makes of some crops.

    Attributes:
        features: (image, feature).
        probabilities: (image, emotion), calibrated.
    """

    features: Floats
    probabilities: Floats


@dataclass(frozen=True)
class VoiceView:
    """What the voice network makes of one utterance.

    Attributes:
        feature: (feature,).
        probabilities: (emotion,), calibrated.
        attention: (frequency, time), sums to 1.
        history: What is known of the speaker's voice now, this utterance included, for the next
            one; None of a network that hears each utterance alone.
    """

    feature: Floats
    probabilities: Floats
    attention: Floats
    history: VoiceHistory | None = None


@dataclass(frozen=True)
class Fusion:
    """Face and voice together.

    Attributes:
        probabilities: (emotion,), calibrated.
        frame_weights: (frame,), sums to 1; empty without frames.
        trust: In the face and in the voice, each in [0, 1]; 0 of what is missing.
    """

    probabilities: Floats
    frame_weights: Floats
    trust: tuple[float, float]


class Perception:
    """Loads the four models of a weights folder; safe to share between threads and sessions.

    Args:
        folder: Holds `face`, `voice`, `fusion` and `words`, each a checkpoint; `identity` too,
            where people are to be recognised by it.
        device: Where the networks run; on a GPU in mixed precision.
        identity: Whether people who come back are recognised by their faces. That is biometric
            data about them, so it is done only where it was asked for.

    Raises:
        CheckpointError: If a checkpoint is missing or damaged.
        InputError: If people are to be recognised and nothing is at hand that can.
    """

    def __init__(
        self,
        folder: Path = BUNDLED,
        device: torch.device | None = None,
        *,
        identity: bool = False,
    ) -> None:
        self.folder = folder
        self.device = device or torch.device("cpu")
        self._face: FaceCNN = self._load("face", "FaceCNN")
        self._voice: AttentionFCN | AdaptiveVoice = self._load("voice", *VOICES)
        self._fusion: GatedFBP = self._load("fusion", "GatedFBP")
        self._recognises_people = identity
        if identity:
            _ = self.identity  # what is missing is said now, not at the first face
        self._temperatures = {name: self._temperature(name) for name in _CALIBRATED}

    @cached_property
    def detector(self) -> FaceDetector:
        """Finds faces in live pictures."""
        return FaceDetector(self.device)

    @cached_property
    def thorough_detector(self) -> FaceFinder:
        """Finds small faces in photographs too, at several times the cost."""
        detector = FaceDetector(self.device, max_side=960, min_face=20, second_look=True)
        return SecondOpinion(detector) if has_dlib() else detector

    @cached_property
    def identity(self) -> IdentityNetwork | None:
        """Recognises people who come back; None where that was not asked for.

        A checkpoint `identity` of the weights folder comes first (`attune convert` makes one),
        then dlib's network, where the extra `landmarks` is installed.
        """
        if not self._recognises_people:
            return None
        if (self.folder / IDENTITY).is_dir():
            return CheckpointIdentity(self.folder / IDENTITY, device=self.device)
        return DlibIdentity(SAME_STREAM_DISTANCE)

    @cached_property
    def words(self) -> WordsModel:
        """The model of the words themselves."""
        return WordsModel.load(self.folder / "words")

    @property
    def unclear_below(self) -> float:
        """Confidence under which an estimate has no label, in [0, 1]."""
        return UNCLEAR_BELOW

    @torch.inference_mode()
    def faces(self, crops: Sequence[npt.NDArray[np.uint8]], labels: str = "ferplus") -> FaceView:
        """Read face crops.

        Args:
            crops: Each (height, width, 3) RGB or (height, width), uint8, of any size.
            labels: Which head answers, "fer2013" or "ferplus".

        Raises:
            InputError: If the head is unknown.
        """
        if labels not in self._face.heads:
            raise InputError(f"Expected labels of {sorted(self._face.heads)}, got {labels!r}.")
        features, logits = [], []
        for start in range(0, len(crops), _FACES_PER_BATCH):
            batch = prepare_crops(crops[start : start + _FACES_PER_BATCH]).to(self.device)
            with self._precision():
                feature = self._face.features(batch)
                logits.append(self._face.heads[labels](feature).float())
            features.append(feature.float())
        if not features:
            width = self._face.config.features
            return FaceView(np.zeros((0, width), np.float32), np.zeros((0, 7), np.float32))
        probabilities = self._calibrated("face", torch.cat(logits), labels)
        return FaceView(torch.cat(features).cpu().numpy(), probabilities)

    @torch.inference_mode()
    def voice(self, samples: Floats, history: VoiceHistory | None = None) -> VoiceView:
        """Read one utterance.

        Args:
            samples: (sample,) float32 in [-1, 1], mono, 16 kHz.
            history: What is known of the speaker from earlier utterances; None knows nobody.
        """
        waveform = torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None]
        spectrogram = log_spectrogram(waveform.to(self.device))
        output, known = self._heard(spectrogram, history)
        return VoiceView(
            output.feature[0].float().cpu().numpy(),
            self._calibrated("voice", output.logits)[0],
            output.attention[0].float().cpu().numpy(),
            known,
        )

    @torch.inference_mode()
    def fuse(self, frames: Floats, voice: Floats | None) -> Fusion:
        """Join the frames of an utterance and its voice; either may be missing, not both.

        Where there is nothing to go by but the voice, its own model has the word: it is surer of
        itself for better reasons than the fusion is without a face.

        Args:
            frames: (frame, feature) of the face network; no rows where no face was seen.
            voice: (feature,) of the voice network, or None.
        """
        if not len(frames) and voice is None:
            raise InputError("Expected frames or a voice to fuse, got neither.")
        with self._precision():
            heard = None if voice is None else torch.from_numpy(voice)[None].to(self.device)
            seen = torch.from_numpy(frames)[None].to(self.device) if len(frames) else None
            output = self._fusion(seen, voice=heard)
        weights = output.frame_attention[0].float().cpu().numpy()
        trust = output.trust.float().cpu().numpy()
        (went_by,) = evidence(trust).tolist()
        if went_by == "voice" and heard is not None:
            probabilities = self._calibrated("voice", self._voice.classify(heard))[0]
        else:
            probabilities = self._calibrated("fusion", output.logits, went_by)[0]
        trusted = float(trust[0, 0]), float(trust[0, 1])
        return Fusion(probabilities, weights[: len(frames)], trusted)

    def _heard(
        self, spectrogram: Tensor, history: VoiceHistory | None
    ) -> tuple[VoiceOutput, VoiceHistory | None]:
        """Hear a spectrogram (1, frame, bin), and add it to what is known of its speaker."""
        with self._precision():
            if not isinstance(self._voice, AdaptiveVoice):
                return self._voice(spectrogram), None
            statistics = self._voice.statistics(spectrogram)
            own = VoiceHistory.of(statistics)
            known = own if history is None else history.plus(own)
            return self._voice(spectrogram, None, known, statistics), known

    def _load(self, name: str, *architectures: str) -> Any:
        folder = self.folder / name
        if not folder.is_dir():
            raise CheckpointError(f"Expected a checkpoint in {str(folder)!r}, found no folder.")
        return checkpoint.load(folder, *architectures).to(self.device)

    def _temperature(self, name: str) -> Any:
        training = checkpoint.read(self.folder / name).training
        if "temperature" not in training:
            raise CheckpointError(f"Expected a temperature in {self.folder / name}, got none.")
        return training["temperature"]

    def _calibrated(self, model: str, logits: Tensor, head: str | None = None) -> Floats:
        """(…, emotion) → probabilities of the same shape."""
        temperature = self._temperatures[model]
        return calibrated_probabilities(
            logits.float().cpu().numpy(), temperature[head] if head else temperature
        )

    def _precision(self) -> AbstractContextManager[object]:
        if self.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.float16)
        return nullcontext()


def pick_device(name: str) -> torch.device:
    """Choose "cpu", "cuda" or, with "auto", a GPU when there is one.

    Raises:
        InputError: If the name is none of these or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError(f'Expected device "auto", "cpu" or "cuda", got {name!r}.')
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError('Expected a CUDA device for device="cuda", found none.')
    return torch.device(name)
