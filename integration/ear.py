"""What one session's microphone says: sound in, turns and pieces to write down out.

It joins the voice activity detector to the turn-taking and knows no clock and no thread: the same
sound gives the same turns, whatever the size of its chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from emotion.media import Resampler
from emotion.speech.vad import UtteranceDetector
from integration.events import Sound
from integration.turn_taking import (
    Action,
    Agent,
    Floor,
    Reset,
    Signal,
    TurnConfig,
    Voice,
    Words,
    step,
)

__all__ = ["Ear", "Heard16k", "Spoken", "UtteranceOver"]


@dataclass(frozen=True)
class Spoken:
    """More of the utterance under way: mono at 16 kHz in [-1, 1], of shape (sample,)."""

    samples: npt.NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class UtteranceOver:
    """The utterance under way has ended; `kept` is False where it was none after all."""

    kept: bool


Heard16k = Action | Spoken | UtteranceOver
"""What an ear tells: turn-taking, and the sound that is to be written down."""


class Ear:
    """Listens to one microphone. Not safe to use from several threads.

    Args:
        config: Times of turn-taking.
    """

    def __init__(self, config: TurnConfig | None = None) -> None:
        self._floor = Floor(config or TurnConfig())
        self._detector = UtteranceDetector()
        self._resampler: Resampler | None = None
        self._given = 0  # samples of the utterance under way that were told
        self._spoke = False

    @property
    def floor(self) -> Floor:
        """The state of turn-taking; an immutable value."""
        return self._floor

    def push(self, sound: Sound) -> Iterator[Heard16k]:
        """Take in sound and tell what comes of it, frame by frame; to be read to its end."""
        if self._resampler is None or self._resampler.sample_rate_hz != sound.sample_rate_hz:
            self._resampler = Resampler(sound.sample_rate_hz)
        samples = self._resampler.push(sound.samples)
        for done in self._detector.steps(sound.time_s, samples):
            speaks = self._detector.open_since_s is not None
            if done is not None:
                yield from self._piece(done.samples[self._given :])
            if self._spoke and (done is not None or not speaks):
                self._given = 0
                yield UtteranceOver(kept=done is not None)
            self._spoke = speaks
            yield from self._step(self._voice((done.start_s, done.end_s) if done else None))
        yield from self._piece(self._detector.sound_since(self._given))

    def tell(self, signal: Words | Agent) -> tuple[Action, ...]:
        """Take in words, or what the agent does, and say what comes of it."""
        return () if signal == self._floor.agent else self._step(signal)

    def reset(self) -> tuple[Action, ...]:
        """Drop what is half said; how this person speaks is still known."""
        self._detector, self._resampler = UtteranceDetector(), None
        self._given, self._spoke = 0, False
        actions = self._step(Reset())
        # the microphone may start again with an earlier time
        self._floor = replace(self._floor, time_s=float("-inf"), silent_s=float("inf"))
        return actions

    def _step(self, signal: Signal) -> tuple[Action, ...]:
        self._floor, actions = step(self._floor, signal)
        return actions

    def _voice(self, ended: tuple[float, float] | None) -> Voice:
        heard = self._detector
        return Voice(heard.judged_s, heard.stirring, heard.open_since_s, heard.silent_s, ended)

    def _piece(self, samples: npt.NDArray[np.float32]) -> Iterator[Spoken]:
        self._given += len(samples)
        if len(samples):
            yield Spoken(samples)
