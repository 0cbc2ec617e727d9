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
from integration.parts import Parts
from integration.pipeline import Pipeline
from ui.texts import ASLEEP, FULL

__all__ = ["GRACE_S", "FullHouseError", "GoneError", "Room", "Rooms", "Visit"]

GRACE_S: Final = 30.0
"""How long a page may be away before its talk is deleted."""


class FullHouseError(IntegrationError):
    """As many people are talking as this server takes."""


class GoneError(IntegrationError):
    """There is no such room, or it was freed."""


@dataclass(frozen=True)
class Visit:
    """One socket's stay in a room.

    Attributes:
        token: Of the room.
        number: Counts the visits to the room.
        pipeline: Its conversation.
    """

    token: str
    number: int
    pipeline: Pipeline


@dataclass
class Room:
    """One page's talk.

    Attributes:
        pipeline: Its conversation.
        left_s: When its page closed, or the room was made; None while the page is there.
        visits: How many sockets there were; the newest alone is the page's.
    """

    pipeline: Pipeline
    left_s: float | None
    visits: int = 0


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
        most: int = 8,
    ) -> None:
        self._open_pipeline = open_pipeline
        self._clock = clock or MonotonicClock()
        self._most = most
        self._rooms: dict[str, Room] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, parts: Future[Parts], *, most: int = 8) -> Rooms:
        """Make rooms whose talks share these models."""
        return cls(lambda: Pipeline(parts), most=most)

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
            self._rooms[token] = Room(self._open_pipeline(), self._clock.now())
            return token

    def resume(self, token: str) -> str:
        """Return the token of a page that was reloaded, or of a new room where its own is gone.

        The grace begins anew, so that the room is still there when the page has been drawn.

        Raises:
            FullHouseError: If a new room is needed and there are too many already.
        """
        self.sweep()
        with self._lock:
            room = self._rooms.get(token)
            if room is not None:
                if room.left_s is not None:
                    room.left_s = self._clock.now()
                return token
        return self.open()

    def find(self, token: str) -> Pipeline:
        """Return the pipeline of a room.

        Raises:
            GoneError: If there is no such room.
        """
        room = self._rooms.get(token)
        if room is None:
            raise GoneError(ASLEEP)
        return room.pipeline

    def enter(self, token: str) -> Visit:
        """Let a page in; one that was there already is not the room's page any more.

        Raises:
            GoneError: If there is no such room.
        """
        with self._lock:
            pipeline = self.find(token)
            room = self._rooms[token]
            room.left_s = None
            room.visits += 1
            return Visit(token, room.visits, pipeline)

    def is_newest(self, visit: Visit) -> bool:
        """Say whether no other page has come into the room since, and the room is still there."""
        room = self._rooms.get(visit.token)
        return room is not None and room.visits == visit.number

    def leave(self, visit: Visit) -> None:
        """Note that a page has gone; its room waits for it a little."""
        with self._lock:
            if self.is_newest(visit):
                self._rooms[visit.token].left_s = self._clock.now()

    def sweep(self) -> None:
        """Free the rooms whose page has been away for longer than the grace."""
        with self._lock:
            since_s = self._clock.now() - GRACE_S
            gone = [
                token
                for token, room in self._rooms.items()
                if room.left_s is not None and room.left_s < since_s
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
