"""One session's microphone at work: a thread that listens and one that writes down.

Neither looks at faces nor answers, so that somebody who interrupts is heard at once, however busy
the models are.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Protocol

from integration.ear import Ear, Heard16k, Spoken, UtteranceOver
from integration.events import Sound
from integration.queues import Bounds, Inbox
from integration.scribe import Scribe
from integration.transcription import SAMPLE_RATE_HZ, Transcriber
from integration.turn_taking import (
    Action,
    Agent,
    TurnDropped,
    TurnEnded,
    Words,
    may_be_the_agents,
)

__all__ = ["Listener", "Microphone"]


class Listener(Protocol):
    """Who is told what was heard; every method returns at once."""

    def agent(self) -> Agent:
        """Say what the agent does now."""

    def act(self, action: Action) -> None:
        """Do what turn-taking asks for."""

    def take_turn(self, turn: TurnEnded, text: Future[str]) -> bool:
        """Take a turn, whose words come soon, or say that it is not taken."""

    def show_words(self, text: str) -> None:
        """Show the words of the turn under way; nothing where there is none."""

    def lose(self, speech_s: float) -> None:
        """Count speech that is not written down, in seconds."""

    def complain(self, error: Exception) -> None:
        """Say that listening failed and was started anew."""


class Microphone:
    """Joins an ear and a scribe; `listen` and `write` are each run by a thread of their own.

    Args:
        inbox: Where sound waits; somebody else puts it there and closes it.
        transcriber: Writes down speech.
        listener: Is told what comes of it.
        bounds: How much speech may wait to be written down.
    """

    def __init__(
        self, inbox: Inbox, transcriber: Transcriber, listener: Listener, bounds: Bounds
    ) -> None:
        self._inbox = inbox
        self._listener = listener
        self._lock = threading.Lock()  # of the ear, and of what is told to the listener
        self._ear = Ear()
        self._rough = transcriber.rough
        self._scribe = Scribe(transcriber, self._take_words, bounds.speech_s)

    def listen(self) -> None:
        """Listen until the inbox is closed."""
        while (batch := self._inbox.take()) is not None:
            try:
                if batch.dropped_audio_s:
                    self._listener.lose(batch.dropped_audio_s)
                for sound in batch.media:
                    if isinstance(sound, Sound):
                        self._hear(sound, batch.epoch)
            except Exception as error:  # a broken ear is not used again
                self._listener.complain(error)
                self.reset(forget=True)
            del batch  # what was heard is not kept while nothing new comes
        self._scribe.close()

    def write(self) -> None:
        """Write down until the inbox is closed."""
        self._scribe.run()

    def reset(self, *, forget: bool = False) -> None:
        """Drop what is half said, and with `forget` what is known of how this person speaks."""
        with self._lock:
            self._inbox.restart()
            for action in self._ear.reset():
                self._follow(action)
            self._drop_words()
            if forget:
                self._scribe.forget()
                self._ear = Ear()

    def _hear(self, sound: Sound, epoch: int) -> None:
        with self._lock:
            if epoch != self._inbox.epoch:
                return
            for action in self._ear.tell(self._listener.agent()):
                self._follow(action)
            for heard in self._ear.push(sound):
                self._follow(heard)

    def _take_words(self, turn: int, text: str, settled: bool) -> None:
        with self._lock:
            if turn != self._scribe.turn:
                return  # dropped meanwhile
            # what the ear has heard end since is not in these words
            settled = settled and not self._scribe.is_behind
            self._listener.show_words("" if may_be_the_agents(self._ear.floor, text) else text)
            for action in self._ear.tell(Words(text, settled, sure=not self._rough)):
                self._follow(action)

    def _follow(self, heard: Heard16k) -> None:
        match heard:
            case Spoken():
                if not self._scribe.push(heard.samples):
                    self._listener.lose(len(heard.samples) / SAMPLE_RATE_HZ)
            case UtteranceOver():
                self._scribe.end_utterance(kept=heard.kept)
            case TurnEnded():
                self._end_turn(heard)
            case TurnDropped():
                self._drop_words()
            case _:
                self._listener.act(heard)

    def _end_turn(self, turn: TurnEnded) -> None:
        text: Future[str] = Future()
        if self._listener.take_turn(turn, text):
            self._scribe.end_turn(text)
        else:
            self._drop_words()

    def _drop_words(self) -> None:
        self._scribe.drop_turn()
        self._listener.show_words("")
