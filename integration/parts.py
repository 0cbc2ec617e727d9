"""What a conversation needs of the models: a recogniser, a transcriber and a dialogue model."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dialogue.affect import UserAffect
from dialogue.conversation import Message
from emotion.estimate import EmotionEstimate, Moment
from integration.transcription import Transcriber

__all__ = ["LiveEmotion", "Parts", "Recognizer", "Responder"]


class LiveEmotion(Protocol):
    """The live recogniser, as far as a conversation needs it; times are seconds of media time."""

    def push_frame(self, time_s: float, rgb: npt.NDArray[np.uint8]) -> None:
        """Take in a uint8 frame of shape (height, width, colour)."""

    def push_audio(
        self, time_s: float, samples: npt.NDArray[np.float32], sample_rate_hz: int
    ) -> None:
        """Take in mono samples in [-1, 1] of shape (sample,)."""

    def poll(self) -> list[EmotionEstimate]:
        """Return the utterances that have ended since the last call."""

    def now(self) -> Moment:
        """Return what is seen and heard this moment."""

    def recent(self, start_s: float) -> EmotionEstimate | None:
        """Return the face since `start_s`, or None where there was none."""

    def take_audio(self, start_s: float, end_s: float) -> npt.NDArray[np.float32]:
        """Return mono samples at 16 kHz of shape (sample,), as far as they are still kept."""

    def take_faces(self, person: int, times_s: Sequence[float]) -> list[npt.NDArray[np.uint8]]:
        """Return small crops (height, width, 3) of a person, each nearest to one of the times."""


class Recognizer(Protocol):
    """The emotion recogniser, as far as a conversation needs it."""

    def stream(self) -> LiveEmotion:
        """Open a live recogniser of its own for one session."""

    def recognize_words(self, text: str) -> npt.NDArray[np.float32]:
        """Return calibrated probabilities of shape (emotion,)."""


class Responder(Protocol):
    """The dialogue model, as far as a conversation needs it."""

    def stream(
        self,
        messages: Sequence[Message],
        *,
        affect: UserAffect | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[str]:
        """Yield the answer piece by piece; end soon after `cancel` is set."""


@dataclass(frozen=True)
class Parts:
    """The models of a conversation; all sessions of a server share them."""

    recognizer: Recognizer
    transcriber: Transcriber
    responder: Responder
