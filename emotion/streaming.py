"""The live recogniser. The offline one is this one, fed with a file: they cannot differ."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from emotion.errors import InputError
from emotion.estimate import (
    Attention,
    EmotionEstimate,
    FaceSighting,
    Moment,
    Reading,
    as_probabilities,
)
from emotion.face.crop import aligned_crop, crop_quality
from emotion.face.speaker import likely_speaker, mouth_motion, mouth_patch, sound_level
from emotion.face.tracker import FaceFinder, FaceTracker, TrackedFace
from emotion.labels import EMOTIONS, Emotion
from emotion.media import SAMPLE_RATE_HZ, Resampler, next_due_s
from emotion.models.adaptive_voice import VoiceHistory
from emotion.perception import Floats, Fusion, Perception, VoiceView
from emotion.speech.vad import Utterance, UtteranceDetector, VadConfig

__all__ = ["FACE_RATE_HZ", "LiveRecognizer"]

FACE_RATE_HZ = 10
"""Faces are read this often; frames in between cost nothing."""

VIDEO_GRACE_S = 1.0
"""An utterance waits this long for frames of its span before it goes without them."""

RECENT_S = 30.0
"""Frames and sound older than this are gone."""

MAX_WHOLE_FRAMES = 512
"""A stretch without speech keeps at most this many frames a person, evenly spread."""

MAX_PEOPLE = 16
"""More faces than this are not remembered: those seen least often are forgotten first."""

SMOOTHED_FRAMES = 5

BEFORE_SPEECH_S = 1.0
"""Mouths are watched from this long before an utterance: who was still then and moves now?"""

SPEAKER_CONFIDENCE = 0.7
"""With less the voice goes to the largest face."""

CROP_STRIDE = 2
"""Every so many pixels of a face are remembered, to show what was looked at."""

MAX_MOTION_GAP_S = 2.5 / FACE_RATE_HZ
"""Frames further apart do not tell how a mouth moved in between."""


@dataclass(frozen=True)
class _FaceFrame:
    time_s: float
    box: tuple[float, float, float, float]
    feature: Floats
    probabilities: Floats
    quality: float
    motion: float
    crop: npt.NDArray[np.uint8] | None = None


@dataclass
class _Person:
    """What is remembered of one face: its newest frames, and a thinned record of them all."""

    mouth_s: float = -np.inf
    mouth: Floats | None = None
    recent: deque[_FaceFrame] = field(default_factory=deque)
    whole: list[_FaceFrame] = field(default_factory=list)
    stride: int = 1
    count: int = 0

    def add(self, frame: _FaceFrame) -> None:
        self.recent.append(frame)
        while frame.time_s - self.recent[0].time_s > RECENT_S:
            self.recent.popleft()
        if self.count % self.stride == 0:
            self.whole.append(replace(frame, crop=None))
        self.count += 1
        if len(self.whole) > MAX_WHOLE_FRAMES:
            self.whole = self.whole[::2]
            self.stride *= 2

    def motion(self, time_s: float, crop: npt.NDArray[np.uint8]) -> float:
        """How much the mouth moved since the frame before; NaN where that was too long ago."""
        before, before_s = self.mouth, self.mouth_s
        self.mouth, self.mouth_s = mouth_patch(crop), time_s
        if before is None or time_s - before_s > MAX_MOTION_GAP_S:
            return np.nan
        return mouth_motion(before, self.mouth)

    def between(self, start_s: float, end_s: float) -> list[_FaceFrame]:
        return [frame for frame in self.recent if start_s <= frame.time_s <= end_s]


class LiveRecognizer:
    """Takes frames and sound as they come and gives an estimate when an utterance has ended.

    All times are seconds of media time. Results depend on those alone, not on how fast or in what
    portions the media are pushed. One instance belongs to one stream and is not safe to push to
    from several threads; `now` may be called from any.

    Args:
        perception: The loaded models.
        emotions: The classes to speak of, such as SIX.
        vad: When an utterance starts and ends.
        finder: Detects faces; default: the perception's live detector.
    """

    def __init__(
        self,
        perception: Perception,
        *,
        emotions: Sequence[Emotion] = EMOTIONS,
        vad: VadConfig | None = None,
        finder: FaceFinder | None = None,
    ) -> None:
        self._perception = perception
        self._emotions = tuple(emotions)
        self._tracker = FaceTracker(finder or perception.detector, perception.identity)
        self._vad = UtteranceDetector(vad)
        self._resampler: Resampler | None = None
        self._people: dict[int, _Person] = {}
        self._in_sight: tuple[FaceSighting, ...] = ()
        self._newest_frame_s = -np.inf
        self._newest_sound_s = -np.inf
        self._next_frame_s = -np.inf
        self._sound: deque[tuple[float, npt.NDArray[np.float32]]] = deque()
        self._sound_samples = 0
        self._waiting: deque[Utterance] = deque()
        self._finished: list[EmotionEstimate] = []
        self._heard_anyone = False
        self._voices: dict[int | None, VoiceHistory] = {}

    def push_frame(self, time_s: float, rgb: npt.NDArray[np.uint8]) -> None:
        """Take in a frame.

        Args:
            time_s: Media time, not before that of the frame before.
            rgb: (height, width, 3) uint8.

        Raises:
            InputError: If the frame has another shape or type, or its time does not go on.
        """
        _check_time(time_s, self._newest_frame_s)
        if time_s + 1e-6 >= self._next_frame_s:
            self._look(time_s, rgb)
            self._next_frame_s = next_due_s(time_s, FACE_RATE_HZ)
        self._newest_frame_s = time_s
        self._finish_ready()

    def push_audio(
        self, time_s: float, samples: npt.NDArray[np.float32], sample_rate_hz: int
    ) -> None:
        """Take in sound.

        Args:
            time_s: Media time of the first sample, not before that of the sound before.
            samples: (sample,) float32 in [-1, 1], mono; any number of them.
            sample_rate_hz: Any from 4 kHz to 384 kHz.

        Raises:
            InputError: If the sound has another shape or rate, or its time does not go on.
        """
        _check_time(time_s, self._newest_sound_s)
        self._newest_sound_s = time_s
        if self._resampler is None or self._resampler.sample_rate_hz != sample_rate_hz:
            self._resampler = Resampler(sample_rate_hz)
        self._listen(time_s, self._resampler.push(as_mono(samples)))
        self._finish_ready()

    def poll(self) -> list[EmotionEstimate]:
        """Return the estimates that became ready since the last call, in order of time."""
        finished, self._finished = self._finished, []
        return finished

    def now(self) -> Moment:
        """Return what is seen and heard this moment."""
        newest = max(self._newest_frame_s, self._vad.now_s)
        return Moment(
            float(newest) if np.isfinite(newest) else 0.0, self._in_sight, self._vad.speaking
        )

    def recent(self, start_s: float) -> EmotionEstimate | None:
        """Estimate the largest face since `start_s`, as for a turn that was typed; None without.

        Args:
            start_s: Media time; nothing older than 30 s is remembered.
        """
        seen = self._seen(start_s, np.inf)
        if not seen:
            return None
        person = max(seen, key=lambda p: _mean_height(seen[p]))
        end_s = seen[person][-1].time_s
        return self._estimate(max(start_s, seen[person][0].time_s), end_s, person, seen[person])

    def take_audio(self, start_s: float, end_s: float) -> npt.NDArray[np.float32]:
        """Return the sound of a span, (sample,) at 16 kHz, as far as the newest 30 s hold it."""
        pieces = [
            samples[_index(start_s - at_s) : max(_index(end_s - at_s), 0)]
            for at_s, samples in self._sound
            if at_s < end_s and at_s + len(samples) / SAMPLE_RATE_HZ > start_s
        ]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def take_faces(self, person: int, times_s: Sequence[float]) -> list[npt.NDArray[np.uint8]]:
        """Return small crops (height, width, 3) of a person, each the one nearest to a time.

        Args:
            person: Id of the tracked face.
            times_s: Media times; the newest 30 s are remembered.

        Returns:
            One a time, or none at all where the person is not remembered.
        """
        seen = self._people.get(person)
        kept = [(f.time_s, f.crop) for f in seen.recent if f.crop is not None] if seen else []
        if not kept:
            return []
        taken_s = np.array([time_s for time_s, _ in kept])
        return [kept[int(np.abs(taken_s - time_s).argmin())][1] for time_s in times_s]

    def close(self) -> list[EmotionEstimate]:
        """End the stream: return what is left, or the whole where nobody spoke."""
        if self._resampler is not None:
            self._listen(self._vad.now_s, self._resampler.flush())
        self._note(self._vad.flush())
        while self._waiting:
            self._finish(self._waiting.popleft())
        if not self._heard_anyone:
            for person, seen in sorted(self._people.items()):
                span = seen.whole[0].time_s, seen.recent[-1].time_s
                self._finished.append(self._estimate(*span, person, seen.whole))
        return self.poll()

    def _look(self, time_s: float, rgb: npt.NDArray[np.uint8]) -> None:
        tracked = self._tracker.update(time_s, rgb)
        crops = [aligned_crop(rgb, t.face) for t in tracked]
        view = self._perception.faces(crops)
        for row, (t, crop) in enumerate(zip(tracked, crops, strict=True)):
            person = self._people.setdefault(t.person, _Person())
            frame = _FaceFrame(
                time_s,
                t.face.box,
                view.features[row],
                view.probabilities[row],
                crop_quality(crop, t.face),
                person.motion(time_s, crop) if len(tracked) > 1 else np.nan,
                np.ascontiguousarray(crop[::CROP_STRIDE, ::CROP_STRIDE]),
            )
            person.add(frame)
        self._forget(time_s)
        self._in_sight = tuple(self._sighting(t) for t in tracked)

    def _sighting(self, tracked: TrackedFace) -> FaceSighting:
        newest = list(self._people[tracked.person].recent)[-SMOOTHED_FRAMES:]
        mean = np.mean([frame.probabilities for frame in newest], axis=0)
        return FaceSighting(
            tracked.person, tracked.face.box, as_probabilities(mean, self._emotions)
        )

    def _forget(self, time_s: float) -> None:
        """Drop people not seen for long; until somebody has spoken, only the many too many."""
        gone = [p for p, seen in self._people.items() if time_s - seen.recent[-1].time_s > RECENT_S]
        gone.sort(key=lambda person: self._people[person].count)
        too_many = len(gone) if self._heard_anyone else max(len(self._people) - MAX_PEOPLE, 0)
        for person in gone[:too_many]:
            del self._people[person]

    def _listen(self, time_s: float, samples: npt.NDArray[np.float32]) -> None:
        if not len(samples):
            return
        self._sound.append((time_s, samples))
        self._sound_samples += len(samples)
        while self._sound_samples - len(self._sound[0][1]) > RECENT_S * SAMPLE_RATE_HZ:
            self._sound_samples -= len(self._sound.popleft()[1])
        self._note(self._vad.push(time_s, samples))

    def _note(self, utterances: list[Utterance]) -> None:
        self._waiting.extend(utterances)
        self._heard_anyone |= bool(utterances)

    def _finish_ready(self) -> None:
        while self._waiting and self._is_ready(self._waiting[0]):
            self._finish(self._waiting.popleft())

    def _is_ready(self, utterance: Utterance) -> bool:
        no_video = self._newest_frame_s < utterance.start_s - VIDEO_GRACE_S
        frames_are_in = self._newest_frame_s >= utterance.end_s
        waited = self._vad.now_s >= utterance.end_s + VIDEO_GRACE_S
        return no_video or frames_are_in or waited

    def _finish(self, utterance: Utterance) -> None:
        """One estimate a person: the voice goes to the likely speaker, others are face alone."""
        span = utterance.start_s, utterance.end_s
        seen = self._seen(*span)
        speaker = self._speaker(seen, *span)
        voice = self._heard(speaker, utterance)
        frames = [] if speaker is None else seen[speaker]
        heard = voice, utterance.quality
        self._finished.append(self._estimate(*span, speaker, frames, *heard))
        for person in sorted(seen.keys() - {speaker}):
            self._finished.append(self._estimate(*span, person, seen[person]))

    def _heard(self, speaker: int | None, utterance: Utterance) -> VoiceView:
        """Hear an utterance against what its speaker sounded like before in this stream.

        Voices without a face to go with, None, count as one speaker's.
        """
        voice = self._perception.voice(utterance.samples, self._voices.pop(speaker, None))
        if voice.history is not None:
            self._voices[speaker] = voice.history  # the newest stands last
        if len(self._voices) > MAX_PEOPLE:
            del self._voices[next(iter(self._voices))]
        return voice

    def _speaker(
        self, seen: dict[int, list[_FaceFrame]], start_s: float, end_s: float
    ) -> int | None:
        """Whose mouth moved with the sound; where that is not clear, the largest face."""
        if not seen:
            return None
        largest = max(seen, key=lambda p: _mean_height(seen[p]))
        if len(seen) == 1:
            return largest
        since_s = start_s - BEFORE_SPEECH_S
        frames = {p: self._people[p].between(since_s, end_s) for p in seen}
        times_s = sorted({frame.time_s for found in frames.values() for frame in found})
        level = sound_level(self._sound_between(since_s, end_s), since_s, np.array(times_s))
        motions = {p: _motions(found, times_s) for p, found in frames.items()}
        likely = likely_speaker(motions, level)
        return likely[0] if likely and likely[1] >= SPEAKER_CONFIDENCE else largest

    def _sound_between(self, start_s: float, end_s: float) -> npt.NDArray[np.float32]:
        """Sound of a span, (sample,) at 16 kHz, as long as the span: silence where none came."""
        sound = np.zeros(_index(end_s - start_s), np.float32)
        for at_s, samples in self._sound:
            first = round((at_s - start_s) * SAMPLE_RATE_HZ)
            inside = samples[max(-first, 0) : max(len(sound) - first, 0)]
            sound[max(first, 0) : max(first, 0) + len(inside)] = inside
        return sound

    def _seen(self, start_s: float, end_s: float) -> dict[int, list[_FaceFrame]]:
        frames = {p: seen.between(start_s, end_s) for p, seen in self._people.items()}
        return {person: found for person, found in frames.items() if found}

    def _estimate(
        self,
        start_s: float,
        end_s: float,
        person: int | None,
        frames: list[_FaceFrame],
        voice: VoiceView | None = None,
        voice_quality: float = 0.0,
    ) -> EmotionEstimate:
        features = [frame.feature for frame in frames]
        fused = self._perception.fuse(
            np.stack(features) if features else np.zeros((0, 0), np.float32),
            voice.feature if voice else None,
        )
        probabilities = as_probabilities(fused.probabilities, self._emotions)
        label = max(probabilities, key=probabilities.__getitem__)
        clear = probabilities[label] >= self._perception.unclear_below
        return EmotionEstimate(
            start_s=start_s,
            end_s=end_s,
            person=person,
            probabilities=probabilities,
            label=label if clear else None,
            face=self._face_reading(frames, fused),
            voice=self._voice_reading(voice, voice_quality * fused.trust[1]),
            attention=_attention(frames, fused.frame_weights, voice),
        )

    def _face_reading(self, frames: list[_FaceFrame], fused: Fusion) -> Reading | None:
        if not frames:
            return None
        weights = fused.frame_weights
        mean = np.average([f.probabilities for f in frames], axis=0, weights=weights)
        quality = float(np.mean([frame.quality for frame in frames])) * fused.trust[0]
        return Reading(as_probabilities(mean, self._emotions), quality)

    def _voice_reading(self, voice: VoiceView | None, quality: float) -> Reading | None:
        if voice is None:
            return None
        return Reading(as_probabilities(voice.probabilities, self._emotions), quality)


def as_mono(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Check a waveform.

    Args:
        samples: (sample,) floats in [-1, 1].

    Raises:
        InputError: If it has another shape, is not of floats, or is not finite.
    """
    array = np.asarray(samples)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"Expected audio of shape (sample,), floats in [-1, 1], got {array.shape}, "
            f"{array.dtype}."
        )
    if not np.isfinite(array).all():
        raise InputError("Expected finite audio samples, got NaN or infinity.")
    return array.astype(np.float32, copy=False)


def _check_time(time_s: float, newest_s: float) -> None:
    if not np.isfinite(time_s) or time_s < newest_s:
        raise InputError(f"Expected a time from {newest_s:g} s on, got {time_s:g} s.")


def _attention(frames: list[_FaceFrame], weights: Floats, voice: VoiceView | None) -> Attention:
    regions: Iterator[tuple[float, ...]] = (
        (tuple(float(w) for w in row) for row in voice.attention) if voice else iter(())
    )
    return Attention(
        tuple(frame.time_s for frame in frames), tuple(float(w) for w in weights), tuple(regions)
    )


def _mean_height(frames: list[_FaceFrame]) -> float:
    return float(np.mean([frame.box[3] - frame.box[1] for frame in frames]))


def _motions(frames: list[_FaceFrame], times_s: list[float]) -> npt.NDArray[np.float64]:
    """Motion of a mouth at given times, (time,); NaN where it was not seen."""
    moved = {frame.time_s: frame.motion for frame in frames}
    return np.array([moved.get(time_s, np.nan) for time_s in times_s])


def _index(seconds: float) -> int:
    return max(round(seconds * SAMPLE_RATE_HZ), 0)
