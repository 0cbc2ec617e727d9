"""What a server is started with, read once, and the models it names."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args
from urllib.parse import urlsplit

import numpy as np

from dialogue.conversation import Message
from dialogue.models.base import forget
from integration.errors import IntegrationError
from integration.parts import Parts, Responder
from integration.transcription import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from emotion.recognizer import EmotionRecognizer

__all__ = ["Settings", "load_in_background", "load_parts"]

WARM_UP_SAMPLES: Final = SAMPLE_RATE_HZ

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Settings:
    """What to talk with.

    Attributes:
        model: Dialogue model: hub id, folder or URL; None for the bundled one.
        asr: Speech recognition: hub id or folder of a Whisper-type model; None for pocketsphinx.
        emotion_weights: Folder of the recogniser's weights; None for the bundled ones.
        device: "auto", "cpu" or "cuda".
        threads: Threads that one computation may use; None leaves that to torch. Faces are read
            while an answer is written: where both take all cores, each waits for the other, and a
            frame takes ten times as long.
        quantize: "int8" for eight-bit weights of `model` on a processor; None leaves them.
        region: Country code whose lines of help are named in danger; None names all.

    Raises:
        IntegrationError: If a folder does not exist, or a value is out of its range or no URL.
    """

    model: str | None = None
    asr: str | None = None
    emotion_weights: Path | None = None
    device: Device = "auto"
    threads: int | None = None
    quantize: Literal["int8"] | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        if self.emotion_weights is not None and not self.emotion_weights.is_dir():
            raise IntegrationError(
                f"Expected a folder of emotion weights, got {str(self.emotion_weights)!r}."
            )
        try:
            self.words_go_to  # noqa: B018  # asks whether the URL can be read at all
        except ValueError as error:
            raise IntegrationError(
                f"Expected a dialogue model (hub id, folder or URL), got {self.model!r}."
            ) from error
        if self.device not in get_args(Device):
            raise IntegrationError(f"Expected device auto, cpu or cuda, got {self.device!r}.")
        if self.threads is not None and self.threads < 1:
            raise IntegrationError(f"Expected at least one thread, got {self.threads}.")

    @property
    def words_go_to(self) -> str | None:
        """Host of another machine that the dialogue model runs on, or None where it runs here."""
        host = urlsplit(self.model or "").hostname
        return None if host in (None, "localhost", "127.0.0.1", "::1") else host


def load_parts(settings: Settings) -> Parts:
    """Load all models; takes seconds. With `threads` it sets that number for the whole process.

    Raises:
        EmotionError: If the recogniser's weights are missing or damaged.
        DialogueError: If the dialogue model is unknown or damaged.
        IntegrationError: If the speech recognition model is.
    """
    import torch

    from dialogue.models.base import load_model
    from emotion.recognizer import EmotionRecognizer
    from integration.transcription import load_transcriber

    on_gpu = settings.device != "cpu" and torch.cuda.is_available()
    # first: its process starts beside the others
    transcriber = load_transcriber(settings.asr, device="cuda" if on_gpu else "cpu")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    weights = [] if settings.emotion_weights is None else [settings.emotion_weights]
    recognizer = EmotionRecognizer.from_pretrained(*weights, device=settings.device)
    _warm_up(recognizer)
    responder = load_model(
        settings.model,
        device=settings.device,
        quantize=settings.quantize,
        region=settings.region,
    )
    if not urlsplit(settings.model or "").hostname:  # a server is sent nothing that nobody said
        _say_hello(responder)
    return Parts(recognizer, transcriber, responder)


def _warm_up(recognizer: EmotionRecognizer) -> None:
    # what each model loads at its first use would otherwise be waited for in the first turn
    recognizer.recognize_words("warm up")
    recognizer.recognize_speech(np.zeros(WARM_UP_SAMPLES, np.float32), SAMPLE_RATE_HZ)
    recognizer.recognize_faces([np.zeros((48, 48), np.uint8)])
    recognizer.stream().push_frame(0.0, np.zeros((480, 640, 3), np.uint8))


def _say_hello(responder: Responder) -> None:
    enough = threading.Event()
    for _ in responder.stream([Message("user", "Hello.")], cancel=enough):
        enough.set()
    forget(responder)


def load_in_background(settings: Settings, loaded: Future[Parts]) -> None:
    """Load all models in a thread of their own, so that the page can be served meanwhile.

    Args:
        settings: Which models.
        loaded: Is given the models, or the error.
    """

    def load() -> None:
        try:
            loaded.set_result(load_parts(settings))
        except Exception as error:
            loaded.set_exception(error)

    threading.Thread(target=load, name="load", daemon=True).start()
