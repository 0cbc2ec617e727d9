"""Bounded waiting lines: what is put in returns at once, what does not fit is counted."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from integration.errors import IntegrationError
from integration.events import Frame, Sound

__all__ = ["Batch", "Bounds", "Inbox", "Typed"]


@dataclass(frozen=True)
class Bounds:
    """How much may wait.

    Attributes:
        frames: Camera pictures; the oldest makes room for the newest.
        audio_s: Seconds of sound; the oldest makes room for the newest.
        speech_s: Seconds of speech to be written down; a turn that finds no room breaks off.
        turns: Turns without an answer yet; a further one is refused.
    """

    frames: int = 8
    audio_s: float = 30.0
    speech_s: float = 60.0
    turns: int = 8

    def __post_init__(self) -> None:
        if min(vars(self).values()) <= 0:
            raise IntegrationError(f"Expected positive bounds, got {self}.")


@dataclass(frozen=True)
class Typed:
    """A typed turn on its way to be read beside the face of the last seconds."""

    turn: int


@dataclass(frozen=True)
class Batch:
    """Everything that waited, in order of time.

    Attributes:
        epoch: Counts up whenever the session forgets: what is older must not be used any more.
        media: Frames and sounds by time.
        typed: Typed turns in order.
        dropped_frames: Frames thrown away since the last batch.
        dropped_audio_s: Seconds of sound thrown away since the last batch.
    """

    epoch: int
    media: tuple[Frame | Sound, ...] = field(repr=False)
    typed: tuple[Typed, ...]
    dropped_frames: int
    dropped_audio_s: float


class Inbox:
    """Where media waits for the recogniser. Safe to use from several threads."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._changed = threading.Condition()
        self._epoch = self._taken_epoch = 0
        self._closed = False
        self._clear()

    @property
    def epoch(self) -> int:
        """How often the inbox was started anew."""
        return self._epoch

    def put_frame(self, frame: Frame) -> None:
        """Append a frame and return; the oldest goes where there are too many."""
        with self._changed:
            self._frames.append(frame)
            if len(self._frames) > self._bounds.frames:
                self._frames.popleft()
                self._dropped_frames += 1
            self._changed.notify()

    def put_sound(self, sound: Sound) -> None:
        """Append sound and return; the oldest goes where there is too much."""
        with self._changed:
            self._sounds.append(sound)
            self._waiting_s += sound.duration_s
            while self._waiting_s > self._bounds.audio_s:
                gone_s = self._sounds.popleft().duration_s
                self._waiting_s -= gone_s
                self._dropped_audio_s += gone_s
            self._changed.notify()

    def put_typed(self, typed: Typed) -> None:
        """Append a typed turn and return."""
        with self._changed:
            self._typed.append(typed)
            self._changed.notify()

    def restart(self) -> None:
        """Throw away everything that waits and begin a new epoch."""
        with self._changed:
            self._epoch += 1
            self._clear()
            self._changed.notify()

    def close(self) -> None:
        """Throw away everything and let `take` return None from now on."""
        with self._changed:
            self._closed = True
            self._clear()
            self._changed.notify_all()

    def take(self) -> Batch | None:
        """Wait until there is something and take all of it; None once closed.

        A new epoch is something too: whoever takes it must let go of what came before.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or bool(self) or self._epoch != self._taken_epoch
            )
            if self._closed:
                return None
            self._taken_epoch = self._epoch
            media: list[Frame | Sound] = [*self._frames, *self._sounds]
            media.sort(key=lambda item: item.time_s)
            batch = Batch(
                epoch=self._epoch,
                media=tuple(media),
                typed=tuple(self._typed),
                dropped_frames=self._dropped_frames,
                dropped_audio_s=self._dropped_audio_s,
            )
            self._clear()
            return batch

    def __bool__(self) -> bool:
        return bool(self._frames or self._sounds or self._typed)

    def _clear(self) -> None:
        self._frames: deque[Frame] = deque()
        self._sounds: deque[Sound] = deque()
        self._typed: deque[Typed] = deque()
        self._waiting_s = 0.0
        self._dropped_frames = 0
        self._dropped_audio_s = 0.0
