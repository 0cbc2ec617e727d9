"""Writes down one session's speech while it comes: a thread that nobody has to wait for."""

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

from integration.transcription import SAMPLE_RATE_HZ, Listening, Transcriber

__all__ = ["Scribe"]

Samples = npt.NDArray[np.float32]

PIECE_S: Final = 0.2
"""Less sound than this is not worth the way to the transcriber."""


@dataclass(frozen=True)
class _Sound:
    samples: Samples = field(repr=False)


@dataclass(frozen=True)
class _UtteranceOver:
    kept: bool


@dataclass(frozen=True)
class _TurnOver:
    text: Future[str] | None  # None: nobody wants it


class Scribe:
    """Every method but `run` returns at once and may be called from any thread.

    Args:
        transcriber: Writes down speech.
        on_words: Is told, by the thread that runs `run`, a turn's number, its words so far, and
            whether all of its ended utterances are in them.
    """

    def __init__(
        self, transcriber: Transcriber, on_words: Callable[[int, str, bool], None]
    ) -> None:
        self._transcriber = transcriber
        self._on_words = on_words
        self._orders: deque[_Sound | _UtteranceOver | _TurnOver] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._turns_asked = self._turns_done = 0
        self._listening: Listening | None = None
        self._ended: list[str] = []
        self._error: Exception | None = None

    @property
    def turn(self) -> int:
        """Number of the turn under way: how many were ended or dropped before it."""
        return self._turns_asked

    def push(self, samples: Samples) -> None:
        """Take in more of the utterance under way, mono at 16 kHz of shape (sample,)."""
        self._order(_Sound(samples))

    def end_utterance(self, *, kept: bool) -> None:
        """End the utterance under way; its words are dropped where it is not kept."""
        self._order(_UtteranceOver(kept))

    def end_turn(self) -> Future[str]:
        """End the turn under way; its words come soon, or the error that kept them away."""
        text: Future[str] = Future()
        self._order(_TurnOver(text))
        return text

    def drop_turn(self) -> None:
        """Forget the turn under way; what of it still waits is not written down any more."""
        with self._changed:
            while self._orders and not isinstance(self._orders[-1], _TurnOver):
                self._orders.pop()
            self._order(_TurnOver(None))

    def close(self) -> None:
        """Forget everything and let `run` return."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def run(self) -> None:
        """Write down until closed."""
        while (order := self._next()) is not None:
            match order:
                case _Sound():
                    self._write(order.samples)
                case _UtteranceOver():
                    self._end_utterance(order.kept)
                case _TurnOver():
                    self._end_turn(order.text)
            del order  # no sound is kept while nothing new comes
        self._drop()
        with self._changed:
            left = [order for order in self._orders if isinstance(order, _TurnOver)]
            self._orders.clear()
        for order in left:
            if order.text is not None:
                order.text.cancel()

    def _order(self, order: _Sound | _UtteranceOver | _TurnOver) -> None:
        with self._changed:
            self._orders.append(order)
            self._turns_asked += isinstance(order, _TurnOver)
            self._changed.notify()

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
            return _Sound(np.concatenate(pieces))

    def _is_worth_it(self) -> bool:
        waiting = 0
        for order in self._orders:
            if not isinstance(order, _Sound):
                return True
            waiting += len(order.samples)
        return waiting >= PIECE_S * SAMPLE_RATE_HZ

    def _write(self, samples: Samples) -> None:
        try:
            self._listening = self._listening or self._transcriber.listen()
            words = self._listening.push(samples)
        except Exception as error:  # this thread outlives whatever a transcriber does
            self._fail(error)
        else:
            self._tell([*self._ended, words], settled=False)

    def _end_utterance(self, kept: bool) -> None:
        listening, self._listening = self._listening, None
        if listening is None:
            return
        if not kept:
            self._listening = listening
            self._drop()
            return
        try:
            self._ended.append(listening.finish())
        except Exception as error:
            self._fail(error)
        self._tell(self._ended, settled=True)

    def _end_turn(self, text: Future[str] | None) -> None:
        self._drop()
        words, error = _joined(self._ended), self._error
        self._ended, self._error = [], None
        self._turns_done += 1
        if text is None or not text.set_running_or_notify_cancel():
            return
        if error is not None and not words:
            text.set_exception(error)
        else:
            text.set_result(words)

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


def _joined(words: list[str]) -> str:
    return " ".join(word.strip() for word in words if word.strip())
