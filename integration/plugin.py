"""Gives anybody's chat agent a sense of how the person seems to feel."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from dialogue.conditioning import condition
from dialogue.conversation import Message
from emotion.estimate import EmotionEstimate
from integration.translation import to_affect

__all__ = ["EmotionAwareAgent"]

Answer = TypeVar("Answer")


class EmotionAwareAgent(Generic[Answer]):
    """Wraps a function that answers chat messages, and keeps the talk for it.

    The perceived feeling goes as a note into the content of the last user message, never into a
    system prompt; notes of earlier turns stay where they were, so that a model's cache of the
    earlier talk stays valid.

    Args:
        reply: Takes messages `{"role": …, "content": …}` in order of time, the last one the
            user's, and returns the answer: a text or an iterator of its pieces.
        system: Content of a system message to begin with, or None.

    >>> agent = EmotionAwareAgent(reply=lambda messages: messages[-1]["content"].upper())
    >>> agent.respond("it rains", None)
    'IT RAINS'
    """

    def __init__(
        self, reply: Callable[[list[dict[str, str]]], Answer], *, system: str | None = None
    ) -> None:
        self._reply = reply
        self._talk = [] if system is None else [Message("system", system)]
        self._heard: Callable[[], Generator[str] | None] = lambda: None

    @property
    def messages(self) -> list[dict[str, str]]:
        """The talk so far, notes included; a copy."""
        return [message.to_dict() for message in condition(self._talk)] if self._talk else []

    def respond(self, text: str, estimate: EmotionEstimate | None) -> Answer:
        """Call the agent at once and return what it returned.

        An answer becomes part of the talk when it is a text. Of an iterator, what was read of it
        does: at its end, or when it is closed, given up, fails, or the next call comes, which
        closes it. An agent that raises leaves the talk as it was.

        Args:
            text: What the person said.
            estimate: How they seem to feel, or None where nothing is known.

        Raises:
            InputError: If the text is empty.
        """
        self._stop_listening()
        talk = [*self._talk, Message("user", text, to_affect(estimate))]
        answer = self._reply([message.to_dict() for message in condition(talk)])
        self._talk = talk
        if isinstance(answer, str):
            self._remember(answer)
        elif isinstance(answer, Iterator):
            listening = self._listening(answer)
            self._heard = weakref.ref(listening)  # whoever gives it up ends it at once
            return listening  # type: ignore[return-value]  # an iterator as well
        return answer

    def _stop_listening(self) -> None:
        listening = self._heard()
        if listening is not None:
            listening.close()

    def _remember(self, answer: str) -> None:
        if answer.strip():
            self._talk.append(Message("assistant", answer))

    def _listening(self, pieces: Iterator[str]) -> Generator[str]:
        heard = []
        try:
            for piece in pieces:
                heard.append(piece)
                yield piece
        finally:
            self._remember("".join(heard))
