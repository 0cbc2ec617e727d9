"""Speech to text: pocketsphinx where nothing else was chosen, any Whisper of the hub otherwise."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from integration import decoder
from integration.decoder import SAMPLE_RATE_HZ
from integration.errors import TranscriptionError

__all__ = [
    "SAMPLE_RATE_HZ",
    "PocketSphinxTranscriber",
    "Transcriber",
    "WhisperTranscriber",
    "load_transcriber",
]

DECODE_TIMEOUT_S: Final = 60.0
OFFLINE: Final = "pocketsphinx"
HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")

Decoder = subprocess.Popen[bytes]


class Transcriber(Protocol):
    """Anything that writes down speech."""

    def transcribe(self, samples: npt.NDArray[np.float32]) -> str:
        """Write down one utterance.

        Args:
            samples: Mono at 16 kHz in [-1, 1], of shape (sample,).

        Returns:
            The words; empty where none could be made out.

        Raises:
            TranscriptionError: If the samples have another form or the transcriber fails.
        """

    def close(self) -> None:
        """Free what the transcriber holds."""


class PocketSphinxTranscriber:
    """CMU Pocketsphinx with the English model that comes in its wheel; needs no network.

    A rough default: about every second word of acted speech is wrong. The decoder keeps Python's
    global lock while it works, half a second a sentence, so it runs in a process of its own:
    camera, page and the other talks go on meanwhile. Sound goes there through a pipe, never
    through a file.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = _start_decoder()

    def transcribe(self, samples: npt.NDArray[np.float32]) -> str:
        """Write down one utterance; see `Transcriber.transcribe`."""
        pcm = _as_int16(samples).tobytes()
        if not pcm:
            return ""
        with self._lock:
            words = _ask(self._process, pcm)
            if words is None:
                self.close()
                self._process = _start_decoder()
                seconds = len(samples) / SAMPLE_RATE_HZ
                raise TranscriptionError(
                    f"Expected the words of {seconds:.1f} s of speech, but the decoder stopped; "
                    "it was started anew."
                )
            return words

    def close(self) -> None:
        """End the decoder's process."""
        self._process.kill()
        with suppress(OSError), self._process:  # closes its pipes and takes its exit code
            pass


class WhisperTranscriber:
    """Any Whisper-type model through transformers, by hub id or folder.

    Args:
        name: Hub id or folder.
        device: A torch device, such as "cpu" or "cuda".

    Raises:
        TranscriptionError: If there is no such model.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        sentence = f"Expected a speech recognition model (hub id or folder), got {name!r}."
        if not (HUB_ID.fullmatch(name) or Path(name).is_dir()):
            raise TranscriptionError(sentence)  # the hub need not be asked
        from transformers import pipeline

        try:
            with _quiet_hub():
                self._recognize: Callable[..., Any] = pipeline(
                    "automatic-speech-recognition", model=name, device=device
                )
        except (OSError, ValueError, KeyError) as error:
            raise TranscriptionError(sentence) from error

    def transcribe(self, samples: npt.NDArray[np.float32]) -> str:
        """Write down one utterance; see `Transcriber.transcribe`."""
        _check(samples)
        if not len(samples):
            return ""
        sound = {"raw": samples.astype(np.float32), "sampling_rate": SAMPLE_RATE_HZ}
        try:
            return str(self._recognize(sound)["text"]).strip()
        except (RuntimeError, ValueError) as error:
            seconds = len(samples) / SAMPLE_RATE_HZ
            raise TranscriptionError(
                f"Expected the words of {seconds:.1f} s of speech, but the model failed "
                f"({type(error).__name__})."
            ) from error

    def close(self) -> None:
        """Hold nothing that needs freeing."""


def load_transcriber(name: str | None = None, *, device: str = "cpu") -> Transcriber:
    """Load the offline default, or a Whisper-type model by hub id or folder.

    Raises:
        TranscriptionError: If there is no such model.
    """
    if name in (None, OFFLINE):
        return PocketSphinxTranscriber()
    return WhisperTranscriber(str(name), device)


@contextmanager
def _quiet_hub() -> Iterator[None]:
    # where there is no network the hub's client reports every try; one sentence says it in the end
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _check(samples: npt.NDArray[np.float32]) -> None:
    if samples.ndim != 1:
        raise TranscriptionError(f"Expected speech of shape (sample,), got {samples.shape}.")


def _as_int16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    _check(samples)
    return (np.clip(samples, -1.0, 1.0) * np.iinfo(np.int16).max).astype(np.int16)


def _start_decoder() -> Decoder:
    # -P: the folder of that file must not come before the standard library
    return subprocess.Popen(
        [sys.executable, "-P", decoder.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _ask(process: Decoder, pcm: bytes) -> str | None:
    """Return the words, or None where the process has ended or does not answer in time."""
    to, back = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    watchdog = threading.Timer(DECODE_TIMEOUT_S, process.kill)
    watchdog.start()
    try:
        decoder.send(to, pcm)
        words = decoder.receive(back)
    except (OSError, ValueError):  # the pipe is broken, or closed
        return None
    finally:
        watchdog.cancel()
    return None if words is None else words.decode()
