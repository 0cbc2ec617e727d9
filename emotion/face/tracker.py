"""Faces over time: detection now and then, following in between, ids that outlive short losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from emotion.face.detector import Box, DetectedFace

__all__ = ["FaceFinder", "FaceTracker", "TrackedFace", "intersection_over_union"]

DETECT_EVERY_S = 1.0
"""The whole picture is searched this often while every known face is still followed …"""

SEARCH_EVERY_S = 0.3
"""… and this often while one is lost or none is known."""

FORGET_AFTER_S = 1.5
"""A face that comes back within this time near where it was keeps its id."""

SAME_FACE_IOU = 0.25


class FaceFinder(Protocol):
    """What the tracker needs of a detector."""

    def detect(self, frame: npt.NDArray[np.uint8]) -> list[DetectedFace]:
        """Find every face in a frame."""
        ...

    def refine(self, frame: npt.NDArray[np.uint8], boxes: list[Box]) -> list[DetectedFace | None]:
        """Follow faces from boxes that are nearly right."""
        ...


@dataclass(frozen=True)
class TrackedFace:
    """A face and the id of the person it belongs to."""

    person: int
    face: DetectedFace


@dataclass
class _Track:
    person: int
    face: DetectedFace
    seen_s: float


class FaceTracker:
    """Gives each face a stable id.

    Its decisions depend on media time alone, so a clip read from a file and the same clip seen
    live are tracked alike.

    Args:
        finder: Detects and follows faces.
    """

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._tracks: list[_Track] = []
        self._next_person = 0
        self._search_due_s = -np.inf

    def update(self, time_s: float, frame: npt.NDArray[np.uint8]) -> list[TrackedFace]:
        """Take in one frame.

        Args:
            time_s: Media time, not before that of the frame before.
            frame: (height, width, 3) RGB uint8.

        Returns:
            The faces seen in it, in order of id.
        """
        self._tracks = [t for t in self._tracks if time_s - t.seen_s <= FORGET_AFTER_S]
        if time_s >= self._search_due_s:
            self._search(time_s, frame)
        else:
            self._follow(time_s, frame)
        seen = [track for track in self._tracks if track.seen_s == time_s]
        lost = len(seen) < len(self._tracks) or not seen
        pause = SEARCH_EVERY_S if lost else DETECT_EVERY_S
        self._search_due_s = min(self._search_due_s, time_s + pause)
        return [TrackedFace(track.person, track.face) for track in seen]

    def _search(self, time_s: float, frame: npt.NDArray[np.uint8]) -> None:
        self._search_due_s = np.inf
        found = self._finder.detect(frame)
        pairs = sorted(
            (
                (intersection_over_union(track.face.box, face.box), t, f)
                for t, track in enumerate(self._tracks)
                for f, face in enumerate(found)
            ),
            reverse=True,
        )
        taken: dict[int, int] = {}
        for overlap, t, f in pairs:
            if overlap >= SAME_FACE_IOU and t not in taken.values() and f not in taken:
                taken[f] = t
        for f, face in enumerate(found):
            if f in taken:
                self._tracks[taken[f]].face, self._tracks[taken[f]].seen_s = face, time_s
            else:
                self._tracks.append(_Track(self._next_person, face, time_s))
                self._next_person += 1

    def _follow(self, time_s: float, frame: npt.NDArray[np.uint8]) -> None:
        faces = self._finder.refine(frame, [track.face.box for track in self._tracks])
        for track, face in zip(self._tracks, faces, strict=True):
            if face and intersection_over_union(track.face.box, face.box) >= SAME_FACE_IOU:
                track.face, track.seen_s = face, time_s


def intersection_over_union(a: Box, b: Box) -> float:
    """Overlap of two boxes, in [0, 1].

    >>> intersection_over_union((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
