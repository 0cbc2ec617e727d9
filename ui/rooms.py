"""One room a page: its pipeline, known by a token that nobody can guess, freed when it goes."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from integration.clock import Clock, MonotonicClock
from integration.errors import IntegrationError
from integration.pipeline import Parts, Pipeline
from ui.texts import ASLEEP, FULL

__all__ = ["GRACE_S", "FullHouseError", "GoneError", "Room", "Rooms"]

GRACE_S: Final = 30.0
"""How long a page may be away before its talk is deleted."""


class FullHouseError(IntegrationError):
    """As many people are talking as this server takes."""


class GoneError(IntegrationError):
    """There is no such room, or it was freed."""


@dataclass
class Room:
    """One page's talk.

    Attributes:
        pipeline: Its conversation.
        pages: How many sockets of the page are open.
        left_s: When the last one closed, or the room was made.
    """

    pipeline: Pipeline
    pages: int
    left_s: float


class Rooms:
    """Every page's room. Safe to use from several threads.

    Args:
        open_pipeline: Makes the pipeline of a new room.
        clock: Measures the grace.
        most: How many rooms there may be at once.
    """

    def __init__(
        self,
        open_pipeline: Callable[[], Pipeline],
        *,
        clock: Clock | None = None,
        most: int = 16,
    ) -> None:
        self._open_pipeline = open_pipeline
        self._clock = clock or MonotonicClock()
        self._most = most
        self._rooms: dict[str, Room] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, parts: Future[Parts]) -> Rooms:
        """Make rooms whose talks share these models."""
        return cls(lambda: Pipeline(parts))

    def __len__(self) -> int:
        return len(self._rooms)

    def open(self) -> str:
        """Make a room and return its token.

        Raises:
            FullHouseError: If there are too many already.
        """
        self.sweep()
        with self._lock:
            if len(self._rooms) >= self._most:
                raise FullHouseError(FULL)
            token = secrets.token_urlsafe(24)
            self._rooms[token] = Room(self._open_pipeline(), 0, self._clock.now())
            return token

    def find(self, token: str) -> Pipeline:
        """Return the pipeline of a room.

        Raises:
            GoneError: If there is no such room.
        """
        room = self._rooms.get(token)
        if room is None:
            raise GoneError(ASLEEP)
        return room.pipeline

    def enter(self, token: str) -> Pipeline:
        """Note that a page has come; see `find`."""
        pipeline = self.find(token)
        with self._lock:
            self._rooms[token].pages += 1
        return pipeline

    def leave(self, token: str) -> None:
        """Note that a page has gone; its room waits for it a little."""
        with self._lock:
            room = self._rooms.get(token)
            if room is not None:
                room.pages -= 1
                room.left_s = self._clock.now()

    def sweep(self) -> None:
        """Free the rooms whose page has been away for longer than the grace."""
        with self._lock:
            now_s = self._clock.now()
            gone = [
                token
                for token, room in self._rooms.items()
                if room.pages <= 0 and now_s - room.left_s > GRACE_S
            ]
            freed = [self._rooms.pop(token) for token in gone]
        for room in freed:
            room.pipeline.close()

    def close(self) -> None:
        """Free every room."""
        with self._lock:
            freed, self._rooms = list(self._rooms.values()), {}
        for room in freed:
            room.pipeline.close()
