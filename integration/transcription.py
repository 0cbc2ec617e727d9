"""Speech to text: pocketsphinx where nothing else was chosen, any Whisper of the hub otherwise."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import IO, Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from integration import decoder
from integration.clock import Clock, MonotonicClock
from integration.decoder import SAMPLE_RATE_HZ
from integration.errors import TranscriptionError
from integration.hub import folder_of

__all__ = [
    "SAMPLE_RATE_HZ",
    "Listening",
    "PocketSphinxTranscriber",
    "Rolling",
    "Transcriber",
    "WhisperTranscriber",
    "load_transcriber",
]

DECODE_TIMEOUT_S: Final = 60.0
OFFLINE: Final = "pocketsphinx"

MOST_AT_ONCE: Final = 4
"""So many utterances are decoded while they are spoken (100 MB each); a further one at its end."""

Samples = npt.NDArray[np.float32]
Decoder = subprocess.Popen[bytes]


class Listening(Protocol):
    """One utterance that is written down while its sound comes; used by one thread at a time."""

    def push(self, samples: Samples) -> str:
        """Take in more of it, of shape (sample,), and return the words so far."""

    def finish(self) -> str:
        """Return its words; nothing may be pushed afterwards."""

    def drop(self) -> None:
        """Let go of it; nobody needs its words."""


class Transcriber(Protocol):
    """Anything that writes down speech; may be used by several threads.

    Attributes:
        rough: Whether the words so far are too often wrong to interrupt the agent for them.
    """

    rough: bool

    def transcribe(self, samples: Samples) -> str:
        """Write down one utterance.

        Args:
            samples: Mono at 16 kHz in [-1, 1], of shape (sample,).

        Returns:
            The words; empty where none could be made out.

        Raises:
            TranscriptionError: If the samples have another form or the transcriber fails.
        """

    def listen(self) -> Listening:
        """Begin an utterance whose sound is still to come; its methods raise the same."""

    def close(self) -> None:
        """Free what the transcriber holds."""


class PocketSphinxTranscriber:
    """CMU Pocketsphinx with the English model that comes in its wheel; needs no network.

    A rough default: of acted speech every third word is wrong. The decoder keeps Python's global
    lock while it works, so it runs in a process of its own: camera, page and the other talks go on
    meanwhile. Sound goes there through a pipe, never through a file.
    """

    rough = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._under_way = 0
        self._process = _start_decoder()

    def transcribe(self, samples: Samples) -> str:
        """Write down one utterance; see `Transcriber.transcribe`."""
        pcm = _as_int16(samples).tobytes()
        return self._ask(decoder.order(decoder.WHOLE, 0, pcm), self._process) if pcm else ""

    def listen(self) -> Listening:
        """Begin an utterance; see `Transcriber.listen`."""
        with self._lock:
            if self._under_way >= MOST_AT_ONCE:
                return Rolling(self, every_s=np.inf)
            self._under_way += 1
            return _Streaming(next(self._numbers), self._process, self._ask, self._ended)

    def close(self) -> None:
        """End the decoder's process."""
        self._process.kill()
        with suppress(OSError), self._process:  # closes its pipes and takes its exit code
            pass

    def _ask(self, message: bytes, process: Decoder) -> str:
        with self._lock:
            if process is not self._process:
                raise TranscriptionError("Expected the words of this utterance, but it was lost.")
            words = _ask(process, message)
            if words is None:
                self.close()
                self._process = _start_decoder()
                seconds = len(message) / 2 / SAMPLE_RATE_HZ
                raise TranscriptionError(
                    f"Expected the words of {seconds:.1f} s of speech, but the decoder stopped; "
                    "it was started anew."
                )
            return words

    def _ended(self) -> None:
        with self._lock:
            self._under_way -= 1


class _Streaming:
    """An utterance in the decoder's process; see `Listening`."""

    def __init__(
        self,
        number: int,
        process: Decoder,
        ask: Callable[[bytes, Decoder], str],
        ended: Callable[[], None],
    ) -> None:
        self._number = number
        self._process = process
        self._ask = ask
        self._ended = ended

    def push(self, samples: Samples) -> str:
        return self._tell(decoder.MORE, _as_int16(samples).tobytes())

    def finish(self) -> str:
        try:
            return self._tell(decoder.END)
        finally:
            self._ended()

    def drop(self) -> None:
        try:
            with suppress(TranscriptionError):  # it is gone already
                self._tell(decoder.DROP)
        finally:
            self._ended()

    def _tell(self, kind: bytes, pcm: bytes = b"") -> str:
        return self._ask(decoder.order(kind, self._number, pcm), self._process)


class Rolling:
    """Writes down an utterance again and again while it grows; see `Listening`.

    Args:
        transcriber: Writes down all that has come so far.
        every_s: So much new speech makes it worth while, and no less than twice the time the last
            writing took; infinite for only once, at the end.
        clock: Measures that time.
    """

    def __init__(
        self, transcriber: Transcriber, every_s: float, clock: Clock | None = None
    ) -> None:
        self._transcriber = transcriber
        self._every_s = every_s
        self._clock = clock or MonotonicClock()
        self._pieces: list[Samples] = []
        self._new = 0
        self._words = ""

    def push(self, samples: Samples) -> str:
        """Take in more of it, of shape (sample,), and return the words so far."""
        _check(samples)
        self._pieces.append(samples)
        self._new += len(samples)
        if self._new < self._every_s * SAMPLE_RATE_HZ:
            return self._words
        began_s = self._clock.now()
        words = self.finish()
        self._every_s = max(self._every_s, 2 * (self._clock.now() - began_s))
        return words

    def finish(self) -> str:
        """Return its words."""
        if self._new:
            self._new = 0
            self._words = self._transcriber.transcribe(np.concatenate(self._pieces))
        return self._words

    def drop(self) -> None:
        """Let go of its sound."""
        self._pieces = []


class WhisperTranscriber:
    """Any Whisper-type model through transformers, by hub id or folder.

    Words that are shown while somebody speaks come of writing down the utterance again from its
    beginning, each time a second of it is new.

    Args:
        name: Hub id or folder.
        device: A torch device, such as "cpu" or "cuda".

    Raises:
        TranscriptionError: If there is no such model, or the hub cannot be reached.
    """

    rough = False

    def __init__(self, name: str, device: str = "cpu") -> None:
        folder = folder_of(name)
        from transformers import pipeline

        try:
            self._recognize: Callable[..., Any] = pipeline(
                "automatic-speech-recognition", model=str(folder), device=device
            )
        except (OSError, ValueError, KeyError) as error:
            raise TranscriptionError(
                f"Expected a speech recognition model (hub id or folder), got {name!r}."
            ) from error

    def transcribe(self, samples: Samples) -> str:
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

    def listen(self) -> Listening:
        """Begin an utterance; see `Transcriber.listen`."""
        return Rolling(self, every_s=1.0)

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


def _check(samples: Samples) -> None:
    if samples.ndim != 1:
        raise TranscriptionError(f"Expected speech of shape (sample,), got {samples.shape}.")


def _as_int16(samples: Samples) -> npt.NDArray[np.int16]:
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


def _ask(process: Decoder, message: bytes) -> str | None:
    """Return the words, or None where the process has ended or does not answer in time."""
    to, back = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    watchdog = threading.Timer(DECODE_TIMEOUT_S, process.kill)
    watchdog.start()
    try:
        decoder.send(to, message)
        words = decoder.receive(back)
    except (OSError, ValueError):  # the pipe is broken, or closed
        return None
    finally:
        watchdog.cancel()
    return None if words is None else words.decode()
