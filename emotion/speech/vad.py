"""Utterances in a stream of sound: WebRTC's voice activity detector with hysteresis."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import webrtcvad

from emotion.errors import InputError
from emotion.media import SAMPLE_RATE_HZ

__all__ = ["Utterance", "UtteranceDetector", "VadConfig", "voice_quality"]

FRAME_S = 0.02
SAMPLES_PER_FRAME = round(SAMPLE_RATE_HZ * FRAME_S)
MAX_GAP_S = 0.1
STIR_FRAMES = 4
STIR_VOICED = 3


@dataclass(frozen=True)
class VadConfig:
    """When an utterance starts and ends.

    Attributes:
        aggressiveness: WebRTC's mode, 0 (lets much through) to 3.
        onset_s: Window in which `onset_ratio` of the frames must be voiced to start.
        onset_ratio: In (0, 1].
        pause_s: Silence that ends an utterance.
        padding_s: Sound kept before the first and after the last voiced frame.
        min_voiced_s: With less voice than this it is no utterance.
        max_utterance_s: A longer utterance is cut here, so that memory stays bounded.

    Raises:
        InputError: If a value is out of range.
    """

    aggressiveness: int = 2
    onset_s: float = 0.2
    onset_ratio: float = 0.6
    pause_s: float = 0.6
    padding_s: float = 0.1
    min_voiced_s: float = 0.25
    max_utterance_s: float = 15.0

    def __post_init__(self) -> None:
        if self.aggressiveness not in range(4):
            raise InputError(f"Expected aggressiveness 0 to 3, got {self.aggressiveness}.")
        if not 0 < self.onset_ratio <= 1:
            raise InputError(f"Expected onset_ratio in (0, 1], got {self.onset_ratio}.")
        if min(self.onset_s, self.pause_s, self.max_utterance_s) < FRAME_S:
            raise InputError(f"Expected times of at least one frame ({FRAME_S} s), got {self}.")


@dataclass(frozen=True)
class Utterance:
    """A stretch of speech between two pauses.

    Attributes:
        start_s: Media time of its first sample.
        end_s: Media time of its end.
        samples: (sample,) float32 in [-1, 1], mono, 16 kHz.
        quality: How well the voice stands out, in [0, 1]; see `voice_quality`.
    """

    start_s: float
    end_s: float
    samples: npt.NDArray[np.float32] = field(repr=False)
    quality: float


@dataclass
class _Frame:
    samples: npt.NDArray[np.float32]
    voiced: bool


class UtteranceDetector:
    """Cuts a stream of sound into utterances, the same whatever size its chunks are.

    Args:
        config: When an utterance starts and ends.
    """

    def __init__(self, config: VadConfig | None = None) -> None:
        self.config = config or VadConfig()
        self._vad = webrtcvad.Vad(self.config.aggressiveness)
        self._base_s: float | None = None
        self._frame_index = 0
        self._rest = np.zeros(0, np.float32)
        self._before: deque[_Frame] = deque(
            maxlen=_frames(self.config.onset_s) + _frames(self.config.padding_s)
        )
        self._open: list[_Frame] = []
        self._silent = 0
        self._noise_level = 1e-4
        self._newest: deque[bool] = deque(maxlen=STIR_FRAMES)
        self._voiced_until_s = -np.inf

    @property
    def judged_s(self) -> float:
        """Media time up to which whole frames were judged, in seconds."""
        return round((self._base_s or 0.0) + self._frame_index * FRAME_S, 6)

    @property
    def stirring(self) -> bool:
        """Whether a voice is heard just now: 60 ms of the last 80, well before `speaking`."""
        return sum(self._newest) >= STIR_VOICED

    @property
    def silent_s(self) -> float:
        """Seconds since the last voiced frame; infinite before the first."""
        return max(0.0, round(self.judged_s - self._voiced_until_s, 6))

    @property
    def speaking(self) -> bool:
        """Whether an utterance is under way."""
        return bool(self._open)

    @property
    def now_s(self) -> float:
        """Media time up to which sound has come in; -inf before the first."""
        if self._base_s is None:
            return -np.inf
        samples = self._frame_index * SAMPLES_PER_FRAME + len(self._rest)
        return self._base_s + samples / SAMPLE_RATE_HZ

    @property
    def open_since_s(self) -> float | None:
        """Where the utterance under way started, or None."""
        return self._start_s() if self._open else None

    def sound_since(self, first: int) -> npt.NDArray[np.float32]:
        """Sound of the utterance under way from its sample `first` on, (sample,)."""
        rest = self._open[first // SAMPLES_PER_FRAME :]
        if not rest:
            return np.zeros(0, np.float32)
        return np.concatenate([frame.samples for frame in rest])[first % SAMPLES_PER_FRAME :]

    def push(self, time_s: float, samples: npt.NDArray[np.float32]) -> list[Utterance]:
        """Take in sound and return the utterances it ended.

        Args:
            time_s: Media time of the first sample. Chunks follow one another; a gap of more than
                MAX_GAP_S, where sound was lost, ends the utterance under way.
            samples: (sample,) float32 in [-1, 1], mono, 16 kHz.
        """
        return [done for done in self.steps(time_s, samples) if done is not None]

    def steps(self, time_s: float, samples: npt.NDArray[np.float32]) -> Iterator[Utterance | None]:
        """Take in sound frame by frame: yield after each what it ended, or None.

        Whoever looks at this detector between two steps sees the same whatever the size of the
        chunks. See `push` for the arguments.
        """
        lost = self._base_s is not None and time_s - self.now_s > MAX_GAP_S
        if lost:
            yield from self.flush()
            # it still hears the voice of before, and would take the first silence for one
            self._vad = webrtcvad.Vad(self.config.aggressiveness)
        if lost or self._base_s is None:
            self._base_s, self._frame_index = time_s, 0
            self._rest = np.zeros(0, np.float32)
            self._newest.clear()
        pending = np.concatenate([self._rest, samples])
        whole = len(pending) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
        self._rest = pending[whole:]
        frames = pending[:whole].reshape(-1, SAMPLES_PER_FRAME)
        for frame in frames:
            yield self._step(frame)

    def flush(self) -> list[Utterance]:
        """End the utterance under way, as at the end of a file."""
        done = self._close()
        return [done] if done else []

    def _step(self, samples: npt.NDArray[np.float32]) -> Utterance | None:
        pcm = (np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16).tobytes()
        frame = _Frame(samples, self._vad.is_speech(pcm, SAMPLE_RATE_HZ))
        self._frame_index += 1
        self._newest.append(frame.voiced)
        if frame.voiced:
            self._voiced_until_s = self.judged_s
        if self._open:
            return self._continue(frame)
        self._before.append(frame)
        if not frame.voiced:
            self._noise_level = 0.95 * self._noise_level + 0.05 * _level(samples)
        onset = list(self._before)[-_frames(self.config.onset_s) :]
        if sum(f.voiced for f in onset) >= self.config.onset_ratio * _frames(self.config.onset_s):
            first = next(i for i, f in enumerate(self._before) if f.voiced)
            keep = max(0, first - _frames(self.config.padding_s))
            self._open = list(self._before)[keep:]
            self._before.clear()
            self._silent = 0
        return None

    def _continue(self, frame: _Frame) -> Utterance | None:
        self._open.append(frame)
        self._silent = 0 if frame.voiced else self._silent + 1
        too_long = len(self._open) >= _frames(self.config.max_utterance_s)
        if too_long or self._silent >= _frames(self.config.pause_s):
            return self._close()
        return None

    def _close(self) -> Utterance | None:
        frames, start_s = self._open, self._start_s()
        self._open = []
        voiced = [i for i, frame in enumerate(frames) if frame.voiced]
        if len(voiced) * FRAME_S < self.config.min_voiced_s - 1e-9:
            return None
        frames = frames[: voiced[-1] + 1 + _frames(self.config.padding_s)]
        return Utterance(
            start_s=start_s,
            end_s=round(start_s + len(frames) * FRAME_S, 6),
            samples=np.concatenate([frame.samples for frame in frames]),
            quality=voice_quality([frames[i].samples for i in voiced], self._noise_level),
        )

    def _start_s(self) -> float:
        index = self._frame_index - len(self._open)
        return round((self._base_s or 0.0) + index * FRAME_S, 6)


def voice_quality(voiced: list[npt.NDArray[np.float32]], noise_level: float) -> float:
    """How well a voice stands out of its background, in [0, 1].

    0 at a signal-to-noise ratio of 0 dB or below, 1 at 20 dB or above, linear in between.

    Args:
        voiced: Frames (sample,) with voice in them.
        noise_level: Root mean square of the background.
    """
    if not voiced:
        return 0.0
    level = float(np.sqrt(np.mean([_level(frame) ** 2 for frame in voiced])))
    ratio_db = 20 * np.log10(max(level, 1e-6) / max(noise_level, 1e-6))
    return float(np.clip(ratio_db / 20, 0.0, 1.0))


def _level(samples: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _frames(seconds: float) -> int:
    return round(seconds / FRAME_S)
