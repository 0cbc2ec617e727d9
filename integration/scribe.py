"""Writes down one session's speech while it comes: a thread that nobody has to wait for.

Where it falls behind, speech waits for it, but not without end: a turn that finds no room is
written down as far as it came, and whoever pushed the rest is told that it has no words.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from integration.errors import TranscriptionError
from integration.transcription import SAMPLE_RATE_HZ, Listening, Transcriber

__all__ = ["Scribe"]

Samples = npt.NDArray[np.float32]

PIECE_S: Final = 0.2
"""Less sound than this is not worth the way to the transcriber."""

CUT: Final = " …"
"""Stands where the words of a turn's end are missing."""


@dataclass(frozen=True)
class _Sound:
    samples: Samples = field(repr=False)


@dataclass(frozen=True)
class _UtteranceOver:
    kept: bool


@dataclass(frozen=True)
class _TurnOver:
    turn: int
    text: Future[str] | None = None  # None: nobody wants it
    lost_s: float = 0.0


class Scribe:
    """Every method but `run` returns at once and may be called from any thread.

    Args:
        transcriber: Writes down speech.
        on_words: Is told, by the thread that runs `run`, a turn's number, its words so far, and
            whether all of its ended utterances are in them.
        most_s: So much speech may wait to be written down.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        on_words: Callable[[int, str, bool], None],
        most_s: float = 60.0,
    ) -> None:
        self._transcriber = transcriber
        self._on_words = on_words
        self._most_s = most_s
        self._orders: deque[_Sound | _UtteranceOver | _TurnOver] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._waiting = 0  # samples
        self._lost = 0  # samples of the turn under way that found no room
        self._turns_asked = self._turns_done = 0
        self._listening: Listening | None = None
        self._ended: list[str] = []
        self._error: Exception | None = None

    @property
    def turn(self) -> int:
        """Number of the turn under way: how many were ended or dropped before it."""
        return self._turns_asked

    @property
    def is_behind(self) -> bool:
        """Whether an utterance that has ended still waits to be written down."""
        with self._changed:
            return any(isinstance(o, _UtteranceOver) and o.kept for o in self._orders)

    def push(self, samples: Samples) -> bool:
        """Take in more of the utterance under way, mono at 16 kHz of shape (sample,).

        Returns:
            Whether there was room. Once there was none, the rest of the turn has no words either:
            a sentence that breaks off misleads less than one with a hole.
        """
        with self._changed:
            fits = self._waiting + len(samples) <= self._most_s * SAMPLE_RATE_HZ
            if fits and not self._lost:
                self._waiting += len(samples)
                self._order(_Sound(samples))
                return True
            self.end_utterance(kept=True)
            self._lost += len(samples)
            return False

    def end_utterance(self, *, kept: bool) -> None:
        """End the utterance under way; its words are dropped where it is not kept."""
        with self._changed:
            if not self._lost:
                self._order(_UtteranceOver(kept))

    def end_turn(self, text: Future[str]) -> None:
        """End the turn under way; its words come soon, or the error that kept them away."""
        with self._changed:
            self._end(text)

    def drop_turn(self) -> None:
        """Forget the turn under way; what of it still waits is not written down any more."""
        with self._changed:
            while self._orders and not _is_wanted(self._orders[-1]):
                self._waiting -= _length(self._orders.pop())
            self._end(None)

    def forget(self) -> None:
        """Forget every turn; whoever waits for the words of one is told that none will come."""
        with self._changed:
            for order in self._orders:
                if isinstance(order, _TurnOver) and order.text is not None:
                    order.text.cancel()
            self._orders.clear()
            self._waiting = 0
            self._end(None)

    def close(self) -> None:
        """Forget everything and let `run` return."""
        with self._changed:
            self._closed = True
            self.forget()

    def run(self) -> None:
        """Write down until closed."""
        while (order := self._next()) is not None:
            match order:
                case _Sound():
                    self._write(order.samples)
                case _UtteranceOver():
                    self._end_utterance(order.kept)
                case _TurnOver():
                    self._end_turn(order)
            del order  # no sound is kept while nothing new comes
        self._drop()

    def _order(self, order: _Sound | _UtteranceOver | _TurnOver) -> None:
        self._orders.append(order)
        self._changed.notify()

    def _end(self, text: Future[str] | None) -> None:
        self._turns_asked += 1
        self._order(_TurnOver(self._turns_asked, text, self._lost / SAMPLE_RATE_HZ))
        self._lost = 0

    def _next(self) -> _Sound | _UtteranceOver | _TurnOver | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_worth_it())
            if self._closed:
                return None
            first = self._orders.popleft()
            if not isinstance(first, _Sound):
                return first
            pieces = [first.samples]
            while self._orders and isinstance(more := self._orders[0], _Sound):
                pieces.append(more.samples)  # what came while the last was written down
                self._orders.popleft()
            self._waiting -= sum(map(len, pieces))
            return _Sound(np.concatenate(pieces))

    def _is_worth_it(self) -> bool:
        return self._waiting >= PIECE_S * SAMPLE_RATE_HZ or any(
            not isinstance(order, _Sound) for order in self._orders
        )

    def _write(self, samples: Samples) -> None:
        try:
            self._listening = self._listening or self._transcriber.listen()
            words = self._listening.push(samples)
        except Exception as error:  # this thread outlives whatever a transcriber does
            self._fail(error)
        else:
            self._tell([*self._ended, words], settled=False)

    def _end_utterance(self, kept: bool) -> None:
        if not kept:
            self._drop()
            return
        listening, self._listening = self._listening, None
        try:
            if listening is not None:
                self._ended.append(listening.finish())
        except Exception as error:
            self._fail(error)
        self._tell(self._ended, settled=True)

    def _end_turn(self, over: _TurnOver) -> None:
        self._drop()
        words, error = _joined(self._ended), self._error
        self._ended, self._error = [], None
        self._turns_done = over.turn
        text = over.text
        if text is None or not text.set_running_or_notify_cancel():
            return
        if over.lost_s and not words and error is None:
            error = self._fell_behind(over.lost_s)
        if error is not None and not words:
            text.set_exception(error)
        else:
            text.set_result(words + CUT if over.lost_s else words)

    def _fell_behind(self, lost_s: float) -> TranscriptionError:
        return TranscriptionError(
            f"Expected to write speech down as fast as it comes, but {self._most_s:g} s of it "
            f"waited already; the words of {lost_s:.1f} s are missing."
        )

    def _tell(self, words: list[str], *, settled: bool) -> None:
        self._on_words(self._turns_done, _joined(words), settled)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._drop()

    def _drop(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            with suppress(Exception):  # it is gone already
                listening.drop()


def _is_wanted(order: _Sound | _UtteranceOver | _TurnOver) -> bool:
    return isinstance(order, _TurnOver) and order.text is not None


def _length(order: _Sound | _UtteranceOver | _TurnOver) -> int:
    return len(order.samples) if isinstance(order, _Sound) else 0


def _joined(words: list[str]) -> str:
    return " ".join(word.strip() for word in words if word.strip())
