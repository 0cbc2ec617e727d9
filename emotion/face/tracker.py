"""Faces over time: detection now and then, following in between, ids that outlive short losses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from emotion.face.detector import Box, DetectedFace, check_frame
from emotion.face.identity import Album, IdentityNetwork

__all__ = ["FaceFinder", "FaceTracker", "TrackedFace", "intersection_over_union"]

DETECT_EVERY_S = 1.0
"""The whole picture is searched this often while every known face is still followed …"""

SEARCH_EVERY_S = 0.3
"""… and this often while one is lost or none is known."""

FORGET_AFTER_S = 1.5
"""A face that comes back within this time near where it was keeps its id."""

SAME_FACE_IOU = 0.25

CUT_LEVELS = 20.0
"""A mean change of more grey levels than this between two small pictures of frames is a cut …"""

CUT_JUMP = 3.0
"""… if it is so many times the change before it. In a real clip at rest the most is 2 levels."""

_THUMBNAIL = (32, 18)
_STRIDE = 8


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

    With a network of recognition a face that comes back after a cut, or after a long loss, gets
    the id of the person it belongs to, and after a cut nobody takes over the id of whoever was at
    the same place. Without one, place and time alone decide.

    Args:
        finder: Detects and follows faces.
        identity: Recognises people, or None.
    """

    def __init__(self, finder: FaceFinder, identity: IdentityNetwork | None = None) -> None:
        self._finder = finder
        self._album = Album(identity) if identity is not None else None
        self._thumbnail: npt.NDArray[np.int16] | None = None
        self._change = 0.0
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

        Raises:
            InputError: If the frame has another shape or type.
        """
        check_frame(frame)
        self._tracks = [t for t in self._tracks if time_s - t.seen_s <= FORGET_AFTER_S]
        if self._album is not None and self._is_cut(frame):
            self._tracks = [t for t in self._tracks if t.person not in self._album]
            self._search_due_s = time_s
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
        placed = self._by_place(found)
        rest = [f for f in range(len(found)) if f not in placed]
        persons = placed | self._by_looks(frame, found, rest, placed.values())
        for f, face in enumerate(found):
            if f not in persons:
                persons[f] = self._next_person
                self._next_person += 1
            self._see(persons[f], face, time_s)
            if self._album is not None:
                self._album.note(persons[f], frame, face)

    def _by_place(self, found: list[DetectedFace]) -> dict[int, int]:
        """Faces that lie where known ones were: {index of a face: person}."""
        pairs = sorted(
            (
                (intersection_over_union(track.face.box, face.box), track.person, f)
                for track in self._tracks
                for f, face in enumerate(found)
            ),
            reverse=True,
        )
        placed: dict[int, int] = {}
        for overlap, person, f in pairs:
            if overlap >= SAME_FACE_IOU and person not in placed.values() and f not in placed:
                placed[f] = person
        return placed

    def _by_looks(
        self,
        frame: npt.NDArray[np.uint8],
        found: list[DetectedFace],
        rest: list[int],
        in_sight: Collection[int],
    ) -> dict[int, int]:
        """Faces of people of the album, of those in `rest`: {index of a face: person}."""
        if self._album is None or not rest:
            return {}
        known = self._album.recognize(frame, [found[f] for f in rest], in_sight)
        return {rest[i]: person for i, person in known.items()}

    def _see(self, person: int, face: DetectedFace, time_s: float) -> None:
        self._tracks = [track for track in self._tracks if track.person != person]
        self._tracks.append(_Track(person, face, time_s))
        self._tracks.sort(key=lambda track: track.person)

    def _is_cut(self, frame: npt.NDArray[np.uint8]) -> bool:
        """Whether this frame shows another scene: it changed much, and suddenly, as no pan does."""
        few = Image.fromarray(np.ascontiguousarray(frame[::_STRIDE, ::_STRIDE]))
        small = few.resize(_THUMBNAIL, Image.Resampling.BOX)
        before, self._thumbnail = self._thumbnail, np.asarray(small, np.int16)
        if before is None:
            return False
        usual, self._change = self._change, float(np.abs(before - self._thumbnail).mean())
        return self._change > max(CUT_LEVELS, CUT_JUMP * usual)

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
