"""From the clips of a corpus to arrays: face crops, their times and landmarks, and the sound.

A clip is decoded once, by the face path that the live recogniser takes (detect, track, crop), and
kept in a file of its own, so a killed run goes on where it stopped and a corpus larger than memory
is read clip by clip.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from emotion.corpora.archive import Archive, cached_arrays
from emotion.corpora.clip import Clip
from emotion.corpora.media import clip_pictures, clip_sound
from emotion.corpora.registry import corpus_named
from emotion.errors import CorpusError, InputError
from emotion.face.crop import CROP_SIDE, aligned_crop
from emotion.face.detector import FaceDetector
from emotion.face.extra import has_dlib
from emotion.face.identity import DlibIdentity, IdentityNetwork
from emotion.face.landmarks import LandmarkPredictor
from emotion.face.speaker import likely_speaker, mouth_motion, mouth_patch, sound_level
from emotion.face.tracker import FaceFinder, FaceTracker
from emotion.labels import EMOTIONS
from emotion.media import Picture
from emotion.perception import SAME_STREAM_DISTANCE
from emotion.streaming import SPEAKER_CONFIDENCE

__all__ = [
    "ClipArrays",
    "ClipSettings",
    "ClipStore",
    "Experts",
    "Landmarks",
    "decode_clip",
    "open_clips",
]

Arrays = Mapping[str, npt.NDArray[Any]]
Landmarks = Literal["five", "dlib"]

FORMAT = 1
"""Part of every key: changes when the same clip and settings would give other arrays."""

_FULL_SCALE = 32768.0
_MOTION_GAP_FRAMES = 2.5  # pictures further apart do not tell how a mouth moved, as in live use


@dataclass(frozen=True)
class ClipSettings:
    """How a clip becomes arrays; part of the key of what is cached.

    Attributes:
        rate_hz: At most so many pictures a second; 10 is what the live recogniser looks at.
        side: Height and width of a crop in pixels.
        colour: RGB crops, or grey ones of a third of the size.
        landmarks: "five" of MTCNN, or "dlib": the 68 points, which need the extra `landmarks`.
        identity: Whether people are recognised across cuts, where that extra is installed.
        most_frames: Pictures of a clip beyond this number are not looked at, so that memory is
            bounded.
    """

    rate_hz: float = 10.0
    side: int = CROP_SIDE
    colour: bool = True
    landmarks: Landmarks = "five"
    identity: bool = True
    most_frames: int = 10_000

    def __post_init__(self) -> None:
        if not self.rate_hz > 0 or min(self.side, self.most_frames) < 1:
            raise ValueError(f"Expected a positive rate, side and number of frames, got {self}.")
        if self.landmarks not in get_args(Landmarks):
            raise ValueError(f"Expected landmarks {get_args(Landmarks)}, got {self.landmarks!r}.")

    @property
    def key(self) -> str:
        """Short name that changes when a setting does."""
        return _short(json.dumps([FORMAT, asdict(self), self.identity and has_dlib()]))


@dataclass(frozen=True)
class ClipArrays:
    """One clip, decoded.

    Attributes:
        crops: (frame, side, side, 3) or (frame, side, side) uint8, of one person; no frame where
            no face was found.
        times_s: (frame,) media time of each crop, from the start of the recording.
        landmarks: (frame, point, xy) float32 in pixels of the picture.
        waveform: (sample,) float32 in [-1, 1] at 16 kHz; empty where there is no sound.
    """

    crops: npt.NDArray[np.uint8] = field(repr=False)
    times_s: npt.NDArray[np.float64] = field(repr=False)
    landmarks: npt.NDArray[np.float32] = field(repr=False)
    waveform: npt.NDArray[np.float32] = field(repr=False)


class ClipStore:
    """Clips and their arrays, decoded when they are first asked for.

    Args:
        clips: Any clips.
        archives: The archive of each corpus among them.
        settings: How they become arrays.
        cache: Folder for a file a clip, or None to keep the arrays in memory.
        finder: Finds faces; default: MTCNN as the live recogniser uses it.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        archives: Mapping[str, Archive],
        settings: ClipSettings,
        cache: Path | None,
        finder: FaceFinder | None = None,
    ) -> None:
        self.clips, self.settings = tuple(clips), settings
        self.cache = None if cache is None else cache / "clips"
        self._archives, self._finder = dict(archives), finder
        self._experts: Experts | None = None
        self._kept: dict[str, Arrays] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> ClipArrays:
        arrays = self.derived(index, "", lambda: self._decode(index))
        sound = arrays["waveform"].astype(np.float32) / _FULL_SCALE
        return ClipArrays(arrays["crops"], arrays["times_s"], arrays["landmarks"], sound)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(clip,) index into EMOTIONS."""
        return np.array([EMOTIONS.index(clip.emotion or "") for clip in self.clips], np.int64)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Speaker id of each clip."""
        return tuple(clip.speaker for clip in self.clips)

    def of(self, chosen: Sequence[int]) -> ClipStore:
        """Keep the clips at some indices; what is decoded stays shared."""
        part = copy.copy(self)
        part.clips = tuple(self.clips[index] for index in chosen)
        return part

    def prepare(self) -> None:
        """Decode every clip that is not yet in the cache."""
        for index in tqdm(range(len(self)), desc="decoding clips", mininterval=2.0):
            if not self._has(self.key(index)):
                self[index]

    def key(self, index: int, what: str = "") -> str:
        """Name of what is cached of a clip: its content, the settings, and what was made of it."""
        clip = self.clips[index]
        archive = self._archives[clip.corpus]
        facts = [
            _state(archive, name) for name in sorted({clip.video, clip.audio} - {None}, key=str)
        ]
        content = _short(json.dumps([clip.corpus, clip.name, clip.span_s, facts]))
        return "-".join([clip.corpus, content, self.settings.key, *([what] if what else [])])

    def derived(self, index: int, what: str, make: Any) -> Arrays:
        """Arrays made of a clip once, under its key and `what` they are.

        Args:
            index: Which clip.
            what: Names what they are and with which settings or weights they were made.
            make: Makes them.
        """
        key = self.key(index, what)
        if self.cache is not None:
            return cached_arrays(key, self.cache, make)
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def _has(self, key: str) -> bool:
        if self.cache is None:
            return key in self._kept
        return (self.cache / f"{key}.safetensors").exists()

    def _decode(self, index: int) -> Arrays:
        clip = self.clips[index]
        if self._finder is None:
            self._finder = FaceDetector()
        if self._experts is None:
            self._experts = Experts.wanted(self.settings)
        archive = self._archives[clip.corpus]
        found = decode_clip(archive, clip, self.settings, self._finder, self._experts)
        # 16 bit lose nothing of a recording of 16 bit, and the cache is half as large
        sound = np.round(found.waveform * _FULL_SCALE).clip(-32768, 32767).astype(np.int16)
        return {
            "crops": found.crops,
            "times_s": found.times_s,
            "landmarks": found.landmarks,
            "waveform": sound,
        }


def open_clips(
    root: Path,
    corpora: Sequence[str],
    settings: ClipSettings,
    cache: Path | None,
    finder: FaceFinder | None = None,
) -> ClipStore:
    """List the clips of some corpora that carry one of our emotions; nothing is decoded yet.

    Args:
        root: Folder of corpora.
        corpora: Names among `emotion.corpora.registry.CORPORA`.
        settings: How clips become arrays.
        cache: Folder for them, or None to keep them in memory.
        finder: Finds faces; default: MTCNN.

    Raises:
        CorpusError: If a corpus is unknown or missing, or none of its clips carries an emotion.
    """
    clips: list[Clip] = []
    for name in corpora:
        found = [clip for clip in corpus_named(name).clips(root) if clip.emotion is not None]
        if not found:
            raise CorpusError(f"Expected clips of {name} with an emotion, got none.")
        clips += found
    archives = {name: corpus_named(name).archive(root) for name in corpora}
    return ClipStore(clips, archives, settings, cache, finder)


def decode_clip(
    archive: Archive,
    clip: Clip,
    settings: ClipSettings,
    finder: FaceFinder,
    experts: Experts | None = None,
) -> ClipArrays:
    """Decode one clip and follow everybody in it.

    Of several people the one is kept whose mouth moves with the sound; where that is not clear, the
    one who is seen most: whose faces add up to most height.

    Args:
        archive: Of its corpus.
        clip: Which.
        settings: How.
        finder: Detects and follows faces.
        experts: What dlib brings, where the settings ask for it.

    Raises:
        CorpusError: If its pictures or sound cannot be decoded.
        InputError: If the settings ask for 68 points and nobody finds them.
    """
    experts = experts or Experts()
    if settings.landmarks == "dlib" and experts.predictor is None:
        raise InputError("Expected a predictor for 68 landmarks, got none.")
    sound = np.zeros(0, np.float32) if clip.audio is None else clip_sound(archive, clip)
    strips: dict[int, _Strip] = {}
    if clip.video is not None:
        pictures = islice(clip_pictures(archive, clip, settings.rate_hz), settings.most_frames)
        strips = _followed(pictures, settings, finder, experts)
    return _who_counts(strips, sound).arrays(settings, sound)


@dataclass(frozen=True)
class Experts:
    """What the extra `landmarks` adds to the face path.

    Attributes:
        predictor: Finds 68 points.
        identity: Recognises who comes back after a cut.
    """

    predictor: LandmarkPredictor | None = None
    identity: IdentityNetwork | None = None

    @classmethod
    def wanted(cls, settings: ClipSettings) -> Experts:
        """Load what the settings ask for.

        Raises:
            InputError: If 68 points are asked for and the extra is not installed.
        """
        predictor = LandmarkPredictor() if settings.landmarks == "dlib" else None
        recognises = settings.identity and has_dlib()
        return cls(predictor, DlibIdentity(SAME_STREAM_DISTANCE) if recognises else None)


@dataclass
class _Strip:
    """What was seen of one person."""

    times_s: list[float] = field(default_factory=list)
    crops: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    landmarks: list[npt.NDArray[np.float32]] = field(default_factory=list)
    motions: list[float] = field(default_factory=list)
    mouth: npt.NDArray[np.float32] | None = None
    seen: float = 0.0

    def watch(self, time_s: float, crop: npt.NDArray[np.uint8], longest_gap_s: float) -> None:
        """Note how far the mouth moved since the picture before, nan where that was long ago."""
        before, self.mouth = self.mouth, mouth_patch(crop)
        near = bool(self.times_s) and time_s - self.times_s[-1] <= longest_gap_s
        moved = mouth_motion(before, self.mouth) if before is not None and near else np.nan
        self.motions.append(moved)

    def motion(self, times_s: Sequence[float]) -> npt.NDArray[np.float64]:
        """Motion of the mouth at given times, (time,); nan where it was not seen."""
        known = dict(zip(self.times_s, self.motions, strict=True))
        return np.array([known.get(time_s, np.nan) for time_s in times_s])

    def arrays(self, settings: ClipSettings, sound: npt.NDArray[np.float32]) -> ClipArrays:
        """Stack it: no frame still has the axes of a crop."""
        points = 68 if settings.landmarks == "dlib" else 5
        shape = (len(self.crops), settings.side, settings.side, *((3,) if settings.colour else ()))
        return ClipArrays(
            np.array(self.crops, np.uint8).reshape(shape),
            np.array(self.times_s, np.float64),
            np.array(self.landmarks, np.float32).reshape(-1, points, 2),
            sound,
        )


def _followed(
    pictures: Iterator[Picture], settings: ClipSettings, finder: FaceFinder, experts: Experts
) -> dict[int, _Strip]:
    """Follow everybody through the pictures of a clip."""
    tracker, strips = FaceTracker(finder, experts.identity), dict[int, _Strip]()
    for picture in pictures:
        for tracked in tracker.update(picture.time_s, picture.rgb):
            face, strip = tracked.face, strips.setdefault(tracked.person, _Strip())
            crop = aligned_crop(picture.rgb, face)
            strip.watch(picture.time_s, crop, _MOTION_GAP_FRAMES / settings.rate_hz)
            strip.times_s.append(picture.time_s)
            strip.crops.append(_resized(crop, settings))
            strip.landmarks.append(
                face.landmarks
                if experts.predictor is None
                else experts.predictor.predict(picture.rgb, [face])[0]
            )
            strip.seen += face.height
    return strips


def _who_counts(strips: Mapping[int, _Strip], sound: npt.NDArray[np.float32]) -> _Strip:
    """Choose whose clip it is."""
    most_seen = max(strips.values(), key=lambda strip: strip.seen, default=_Strip())
    if len(strips) < 2:
        return most_seen
    times_s = sorted({time_s for strip in strips.values() for time_s in strip.times_s})
    motions = {person: strip.motion(times_s) for person, strip in strips.items()}
    likely = likely_speaker(motions, sound_level(sound, 0.0, np.array(times_s)))
    sure = likely is not None and likely[1] >= SPEAKER_CONFIDENCE
    return strips[likely[0]] if likely is not None and sure else most_seen


def _resized(crop: npt.NDArray[np.uint8], settings: ClipSettings) -> npt.NDArray[np.uint8]:
    """Bring the crop of the live path to (side, side[, 3])."""
    picture, size = Image.fromarray(crop), (settings.side, settings.side)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(picture if settings.colour else picture.convert("L"))


def _state(archive: Archive, name: str | None) -> list[Any]:
    """Tell what changes when a file does: its size and date, or those of the zip it lies in."""
    file = archive.path / str(name)
    if not file.is_file():
        return [name, archive.fingerprint]
    return [name, file.stat().st_size, file.stat().st_mtime_ns]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
