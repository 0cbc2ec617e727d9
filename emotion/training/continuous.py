"""Recordings rated continuously, as aligned 40 ms steps of sound, face crops and gold standard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from emotion.corpora.archive import Archive, cached_arrays
from emotion.corpora.clip import Clip
from emotion.corpora.media import clip_pictures, clip_sound, ratings
from emotion.corpora.registry import corpus_named
from emotion.errors import CorpusError
from emotion.face.crop import CROP_SIDE, aligned_crop
from emotion.face.detector import FaceDetector
from emotion.face.tracker import FaceFinder, FaceTracker, TrackedFace
from emotion.media import SAMPLE_RATE_HZ, Picture
from emotion.metrics import concordance
from emotion.report import RESAMPLES, SEED
from emotion.training.postprocessing import (
    PostProcessing,
    PostProcessingSearch,
    choose_postprocessing,
)

__all__ = [
    "STEP_S",
    "STEP_SAMPLES",
    "Piece",
    "Recording",
    "Rows",
    "concordance_intervals",
    "continuous_facts",
    "continuous_report",
    "face_crops",
    "kept_rows",
    "load_recordings",
]

STEP_S = 0.04
"""RECOLA is rated every 40 ms, and its pictures come as often."""

STEP_SAMPLES = round(SAMPLE_RATE_HZ * STEP_S)

Array = npt.NDArray[Any]
Ratings = npt.NDArray[np.floating]


class Rows:
    """Rows of an array in memory, or of one on disk that is read as it is asked for.

    The face crops of RECOLA's 5-minute recordings are 200 MB each, so they need not all fit.

    Args:
        source: The array (row, ...), or a safetensors file that holds it under the name "rows".
    """

    def __init__(self, source: Array | Path) -> None:
        self._source = source

    def __len__(self) -> int:
        if not isinstance(self._source, Path):
            return len(self._source)
        return int(self._read(lambda rows: rows.get_shape()[0]))

    def __getitem__(self, rows: slice) -> Array:
        if not isinstance(self._source, Path):
            return self._source[rows]
        start, stop, _ = rows.indices(len(self))  # beyond the end is no error, as with arrays
        found: Array = self._read(lambda stored: stored[start:stop])
        return found

    def _read(self, what: Callable[[Any], Any]) -> Any:
        from safetensors import safe_open

        with safe_open(self._source, framework="numpy") as stored:
            return what(stored.get_slice("rows"))


def kept_rows(key: str, cache: Path | None, make: Callable[[], Array]) -> Rows:
    """Rows made once and read from a file afterwards.

    Args:
        key: Names content and settings; a change of either must change it.
        cache: Folder of the files, or None to make the rows every time.
        make: Makes the array (row, ...).
    """
    if cache is None:
        return Rows(make())
    path = cache / f"{key}.safetensors"
    if not path.exists():
        cached_arrays(key, cache, lambda: {"rows": make()})
    return Rows(path)


@dataclass(frozen=True)
class Piece:
    """Consecutive steps of a recording.

    Attributes:
        truth: (step, dimension) gold standard.
        waveform: (step, sample) float32 in [-1, 1] at 16 kHz, or None if sound was not asked for.
        crops: (step, height, width, 3) RGB uint8, or None if faces were not asked for.
    """

    truth: npt.NDArray[np.float32]
    waveform: npt.NDArray[np.float32] | None = field(repr=False)
    crops: npt.NDArray[np.uint8] | None = field(repr=False)


@dataclass(frozen=True)
class Recording:
    """One recording, cut into steps.

    Attributes:
        clip: What it is.
        key: Names its files and how they were cut, for what is made of it and kept.
        first: Step of sound and faces at which the gold standard begins.
        truth: (step, dimension) gold standard.
        waveform: (step, sample) sound, or None.
        crops: (step, height, width, 3) faces, or None.
    """

    clip: Clip
    key: str
    first: int
    truth: npt.NDArray[np.float32] = field(repr=False)
    waveform: Rows | None = field(repr=False)
    crops: Rows | None = field(repr=False)

    def __len__(self) -> int:
        return len(self.truth)

    def piece(self, start: int = 0, stop: int | None = None) -> Piece:
        """Read the steps from `start` to before `stop`, or to the end."""
        stop = len(self) if stop is None else min(stop, len(self))
        rows = slice(self.first + start, self.first + stop)
        return Piece(
            self.truth[start:stop],
            None if self.waveform is None else self.waveform[rows],
            None if self.crops is None else self.crops[rows],
        )


def load_recordings(
    root: Path,
    split: str,
    *,
    cache: Path | None,
    corpus: str = "recola",
    dimensions: Sequence[str] = ("arousal", "valence"),
    sound: bool = True,
    faces: bool = True,
    finder: FaceFinder | None = None,
) -> list[Recording]:
    """Read one part of a corpus of continuous ratings.

    Sound and face crops are kept in `cache`, a file a recording, so preparing them can be stopped
    and goes on where it was; from there they are read piece by piece.

    Args:
        root: Folder of corpora.
        split: "train", "valid" or "test".
        cache: Folder of the prepared recordings; None prepares them each time, in memory.
        corpus: A name in `emotion.corpora.registry.CORPORA`.
        dimensions: What of the gold standard is wanted, in this order.
        sound: Whether sound is wanted.
        faces: Whether face crops are wanted.
        finder: Finds the faces; None is MTCNN.

    Raises:
        CorpusError: If the corpus, its part, a modality or a gold standard is not there.
    """
    archive = corpus_named(corpus).archive(root)
    clips = corpus_named(corpus).clips(root)
    chosen = [clip for clip in clips if clip.split == split]
    if not chosen:
        parts = ", ".join(sorted({str(clip.split) for clip in clips}))
        raise CorpusError(f"Expected recordings of {split!r} in {archive.path}, got {parts}.")
    reader = _Reader(archive, tuple(dimensions), cache, finder)
    bar = tqdm(chosen, desc=f"{corpus} {split}", mininterval=2.0, leave=False)
    return [reader.recording(clip, sound, faces) for clip in bar]


def face_crops(pictures: Iterable[Picture], finder: FaceFinder) -> npt.NDArray[np.uint8]:
    """Cut the one face that is followed through a recording.

    Where it is lost, or no picture came, the crop before stays; before its first, the first.

    Args:
        pictures: In order of time.
        finder: Finds the faces.

    Returns:
        (step, CROP_SIDE, CROP_SIDE, 3) RGB uint8 up to the last picture; no step if no face is
        seen.
    """
    tracker, person, steps = FaceTracker(finder), None, 0
    seen: dict[int, npt.NDArray[np.uint8]] = {}
    for picture in pictures:
        step = int(picture.time_s / STEP_S + 1e-6)
        steps = max(steps, step + 1)
        main = _main_face(tracker.update(picture.time_s, picture.rgb), person)
        if main is not None and step not in seen:
            person, seen[step] = main.person, aligned_crop(picture.rgb, main.face)
    if not seen:
        return np.zeros((0, CROP_SIDE, CROP_SIDE, 3), np.uint8)
    held = np.searchsorted(np.array(list(seen)), np.arange(steps), side="right") - 1
    return np.stack(list(seen.values()))[np.maximum(held, 0)]


def concordance_intervals(
    said: Sequence[npt.ArrayLike], truth: Sequence[npt.ArrayLike], dimensions: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """CCC of each dimension over all recordings joined, with 95 % bootstrap intervals.

    Whole recordings are drawn, 1000 times (Efron & Tibshirani 1993, chapter 13): steps of one are
    anything but independent.

    Args:
        said: (step, dimension) ratings of each recording.
        truth: (step, dimension) gold standard of each.
        dimensions: Their names.

    Returns:
        By the name of the dimension {"value", "low", "high"}, in [-1, 1]; without low and high,
        None, where there is but one recording to draw.
    """
    rows = [np.asarray(r, np.float64) for r in said]
    gold = [np.asarray(r, np.float64) for r in truth]
    generator = np.random.default_rng(SEED)
    drawn = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=RESAMPLES)
    figures: dict[str, dict[str, float | None]] = {}
    for d, name in enumerate(dimensions):
        x, y = [r[:, d] for r in gold], [r[:, d] for r in rows]
        low, high = np.percentile(_resampled(x, y, drawn), [2.5, 97.5]).tolist()
        value = concordance(np.concatenate(x), np.concatenate(y))
        known = len(rows) > 1
        figures[name] = {
            "value": value,
            "low": low if known else None,
            "high": high if known else None,
        }
    return figures


def continuous_facts(
    said: Sequence[Ratings],
    truth: Sequence[Ratings],
    dimensions: Sequence[str],
    search: PostProcessingSearch,
) -> dict[str, Any]:
    """Post-processing chosen on the development set, and what it reaches there.

    Args:
        said: (step, dimension) ratings of each recording.
        truth: (step, dimension) gold standard of each.
        dimensions: Their names.
        search: What is tried.

    Returns:
        "post_processing" by dimension, and CCC over all recordings joined, in "development" with
        it, in "development_raw" without; both with their mean over the dimensions.
    """
    facts: dict[str, Any] = {"post_processing": {}, "development": {}, "development_raw": {}}
    for d, name in enumerate(dimensions):
        rows, gold = [r[:, d] for r in said], [t[:, d] for t in truth]
        chain = choose_postprocessing(rows, gold, search)
        facts["post_processing"][name] = asdict(chain)
        joined, done = np.concatenate(gold), [chain.applied(row) for row in rows]
        facts["development"][name] = concordance(joined, np.concatenate(done))
        facts["development_raw"][name] = concordance(joined, np.concatenate(rows))
    for part in ("development", "development_raw"):
        facts[part]["mean"] = float(np.mean(list(facts[part].values())))
    return facts


def continuous_report(
    said: Sequence[Ratings],
    recordings: Sequence[Recording],
    facts: Mapping[str, Any],
    split: str,
) -> dict[str, Any]:
    """CCC of ratings, after a checkpoint's post-processing and, under "raw", without it.

    Args:
        said: (step, dimension) ratings of each recording.
        recordings: With their gold standards.
        facts: Of the checkpoint's training; its chains were chosen on "valid".
        split: What part the recordings are.

    Returns:
        By the name of each dimension {"value", "low", "high"}, as of `concordance_intervals`; with
        "corpus", "split", "recordings" and "steps"; whether the part was "seen_in_training", and
        whether the "post_processing_chosen_here".
    """
    truth = [recording.truth for recording in recordings]
    chains = {name: PostProcessing(**c) for name, c in facts["post_processing"].items()}
    done = [
        np.stack([chain.applied(row[:, d]) for d, chain in enumerate(chains.values())], axis=1)
        for row in said
    ]
    return {
        "corpus": recordings[0].clip.corpus,
        "split": split,
        "seen_in_training": split == "train",
        "post_processing_chosen_here": split == "valid",
        "recordings": len(recordings),
        "steps": sum(map(len, truth)),
        **concordance_intervals(done, truth, list(chains)),
        "raw": concordance_intervals(said, truth, list(chains)),
    }


def _resampled(
    truth: Sequence[npt.NDArray[np.float64]],
    said: Sequence[npt.NDArray[np.float64]],
    drawn: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """CCC of each draw (draw, recording) of how often each recording (step,) is taken."""
    origin = np.concatenate(truth).mean()  # sums of squares far from 0 would lose digits
    sums = np.array(
        [
            [len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y]
            for x, y in ((x - origin, y - origin) for x, y in zip(truth, said, strict=True))
        ]
    )
    total = drawn @ sums
    mx, my, xx, yy, xy = (total[:, 1:] / total[:, :1]).T
    spread = (xx - mx**2) + (yy - my**2) + (mx - my) ** 2
    agreement: npt.NDArray[np.float64] = 2 * (xy - mx * my) / np.where(spread > 0, spread, 1)
    agreement[spread <= 0] = 1.0
    return agreement


class _Reader:
    """Cuts the clips of one archive into steps."""

    def __init__(
        self,
        archive: Archive,
        dimensions: tuple[str, ...],
        cache: Path | None,
        finder: FaceFinder | None,
    ) -> None:
        self.archive, self.dimensions, self.cache = archive, dimensions, cache
        self.finder = finder

    def recording(self, clip: Clip, sound: bool, faces: bool) -> Recording:
        facts = f"{self.archive.fingerprint} {clip.name} {clip.audio} {clip.video} {clip.span_s}"
        digest = hashlib.sha256(f"{facts} {STEP_SAMPLES} {CROP_SIDE}".encode()).hexdigest()[:16]
        key = f"{clip.corpus}-{digest}"
        waveform = crops = None
        if sound:
            waveform = kept_rows(f"{key}-sound", self.cache, lambda: self._sound(clip))
        if faces:
            crops = kept_rows(f"{key}-faces", self.cache, lambda: self._faces(clip))
        lengths = [len(rows) for rows in (waveform, crops) if rows is not None]
        first, truth = self._truth(clip, min(lengths))
        return Recording(clip, key, first, truth, waveform, crops)

    def _sound(self, clip: Clip) -> Array:
        """(step, sample) of whole steps."""
        samples = clip_sound(self.archive, clip)
        steps = len(samples) // STEP_SAMPLES
        if not steps:
            raise CorpusError(f"Expected sound in {clip.name}, got {len(samples)} samples.")
        return samples[: steps * STEP_SAMPLES].reshape(steps, STEP_SAMPLES)

    def _faces(self, clip: Clip) -> Array:
        """(step, height, width, 3) crops."""
        if self.finder is None:
            self.finder = FaceDetector()
        crops = face_crops(clip_pictures(self.archive, clip, 1 / STEP_S), self.finder)
        if not len(crops):
            raise CorpusError(f"Expected a face in {clip.corpus} {clip.name}, found none.")
        return crops

    def _truth(self, clip: Clip, steps: int) -> tuple[int, npt.NDArray[np.float32]]:
        """First rated step, and the gold standard (step, dimension) from there on."""
        missing = [name for name in self.dimensions if name not in clip.ratings]
        if missing:
            raise CorpusError(
                f"Expected ratings of {', '.join(missing)} for {clip.corpus} {clip.name}, got none."
            )
        rated = ratings(self.archive, clip)
        begins = max(float(rated[name][0][0]) for name in self.dimensions)
        ends = min(float(rated[name][0][-1]) for name in self.dimensions)
        first, last = (round(begins / STEP_S), min(round(ends / STEP_S), steps - 1))
        if last < first:
            raise CorpusError(
                f"Expected ratings while {clip.name} lasts, {steps * STEP_S:.2f} s, "
                f"got {begins:.2f} to {ends:.2f} s."
            )
        times = np.arange(first, last + 1) * STEP_S
        columns = [np.interp(times, *rated[name]) for name in self.dimensions]
        return first, np.stack(columns, axis=1).astype(np.float32)


def _main_face(faces: Collection[TrackedFace], person: int | None) -> TrackedFace | None:
    """Choose the person already followed, or else the largest face."""
    known = [tracked for tracked in faces if tracked.person == person]
    return max(known or faces, key=lambda tracked: tracked.face.height, default=None)
