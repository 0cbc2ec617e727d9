"""Emotion from clips, arrays, faces, speech and words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from emotion.checkpoint import BUNDLED
from emotion.errors import CheckpointError, InputError
from emotion.estimate import EmotionEstimate
from emotion.labels import EMOTIONS, Emotion
from emotion.media import SAMPLE_RATE_HZ, Picture, Resampler, Sound, read_media
from emotion.perception import Perception, pick_device
from emotion.speech.vad import VadConfig
from emotion.streaming import FACE_RATE_HZ, LiveRecognizer, as_mono

__all__ = ["EmotionRecognizer"]

Floats = npt.NDArray[np.float32]

MIN_VOICE_S = 0.25


class EmotionRecognizer:
    """Reads the emotion a person seems to express, from face and voice, utterance by utterance.

    Face: a convolutional network on face crops, attention over frames. Voice: an attention-based
    fully convolutional network on the log spectrogram (Zhang et al. 2018, arXiv:1806.01506), and
    statistics of the utterance against those of the same speaker's earlier ones in the clip or
    stream. Both: gated factorized bilinear pooling (Zhang et al. 2019, arXiv:1901.04889).
    Probabilities are calibrated.

    Args:
        perception: The loaded models; `from_pretrained` makes them.
        emotions: The classes to speak of: EMOTIONS, or SIX for those of the source work.

    Raises:
        InputError: If an emotion is not one of EMOTIONS.
    """

    def __init__(self, perception: Perception, emotions: Sequence[Emotion] = EMOTIONS) -> None:
        unknown = [emotion for emotion in emotions if emotion not in EMOTIONS]
        if unknown or not emotions:
            raise InputError(f"Expected emotions of {EMOTIONS}, got {tuple(emotions)}.")
        self._perception = perception
        self.emotions: tuple[Emotion, ...] = tuple(e for e in EMOTIONS if e in emotions)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str = "auto",
        emotions: Sequence[Emotion] = EMOTIONS,
        identity: bool = False,
    ) -> Self:
        """Load weights.

        Args:
            name: A folder of weights or the id of a repository on the Hugging Face hub; default:
                the weights that come with this package. Only a hub id uses the network.
            device: "auto", "cpu" or "cuda".
            emotions: The classes to speak of.
            identity: Whether people who come back after a cut are recognised by their faces and
                keep their id, which takes the extra `landmarks` or a converted network. That is
                biometric data about them: ask them first.

        Raises:
            CheckpointError: If the weights are missing or damaged.
            InputError: If the device, or what recognises people, is not there.
        """
        folder = BUNDLED if name is None else _resolve(str(name))
        return cls(Perception(folder, pick_device(device), identity=identity), emotions)

    def recognize(
        self,
        path: str | Path | None = None,
        *,
        frames: Iterable[npt.NDArray[np.uint8]] | None = None,
        frame_rate_hz: float | None = None,
        waveform: Floats | None = None,
        sample_rate_hz: int | None = None,
    ) -> list[EmotionEstimate]:
        """Read a clip: one estimate an utterance and person, or one for the whole without speech.

        Args:
            path: A video, a sound file or a still picture; or, instead, arrays:
            frames: Each (height, width, 3) RGB uint8.
            frame_rate_hz: Frames a second.
            waveform: (sample,) float32 in [-1, 1], mono.
            sample_rate_hz: Its rate.

        Returns:
            Estimates in order of time. Memory does not grow with the length of the clip.

        Raises:
            MediaError: If the file cannot be decoded.
            InputError: If neither a face nor 0.25 s of voice is found, or the arguments are wrong.
        """
        arrays = frames is not None or waveform is not None
        if (path is None) != arrays:
            raise InputError("Expected either a path, or frames or a waveform, got both or none.")
        if path is not None:
            return self._recognize(read_media(path, FACE_RATE_HZ), str(path))
        events: list[Iterator[Picture | Sound]] = []
        if waveform is not None:
            events.append(_sound_events(waveform, sample_rate_hz))
        if frames is not None:
            events.append(_picture_events(frames, frame_rate_hz))
        return self._recognize(merge(*events, key=lambda event: event.time_s), "the arrays")

    def recognize_batch(self, paths: Iterable[str | Path]) -> list[list[EmotionEstimate]]:
        """Read several files; the same results as one by one, in the same order."""
        return [self.recognize(path) for path in paths]

    def recognize_faces(
        self, images: Sequence[npt.NDArray[np.uint8]], labels: str = "ferplus"
    ) -> Floats:
        """Read face crops.

        Args:
            images: Each (height, width, 3) RGB or (height, width), uint8, of any size, framed
                like FER2013's photographs.
            labels: Whose labels to predict: "fer2013" or "ferplus". The two label the same faces
                and agree on 65 % of them.

        Returns:
            (image, emotion) float32, calibrated probabilities; each row sums to 1.
        """
        return self._restrict(self._perception.faces(images, labels).probabilities)

    def recognize_speech(self, waveform: Floats, sample_rate_hz: int) -> Floats:
        """Read one utterance.

        Args:
            waveform: (sample,) float32 in [-1, 1], mono.
            sample_rate_hz: Its rate.

        Returns:
            (emotion,) float32, calibrated probabilities; they sum to 1.

        Raises:
            InputError: If the waveform has another shape, or is shorter than 0.25 s.
        """
        resampler = Resampler(sample_rate_hz)
        samples = np.concatenate([resampler.push(as_mono(waveform)), resampler.flush()])
        if len(samples) < MIN_VOICE_S * SAMPLE_RATE_HZ:
            raise InputError(
                f"Expected at least {MIN_VOICE_S} s of sound, got "
                f"{len(samples) / SAMPLE_RATE_HZ:.2f} s."
            )
        probabilities: Floats = self._restrict(self._perception.voice(samples).probabilities[None])
        row: Floats = probabilities[0]
        return row

    def recognize_words(self, text: str) -> Floats:
        """Read what was said or typed.

        Args:
            text: At least one word.

        Returns:
            (emotion,) float32, calibrated probabilities; they sum to 1.

        Raises:
            InputError: If the text is empty.
        """
        if not text.strip():
            raise InputError("Expected some words, got an empty text.")
        probabilities: Floats = self._restrict(self._perception.words.probabilities([text]))
        row: Floats = probabilities[0]
        return row

    def stream(self, vad: VadConfig | None = None) -> LiveRecognizer:
        """Start a live recogniser of one camera and microphone.

        Args:
            vad: When an utterance starts and ends.
        """
        return LiveRecognizer(self._perception, emotions=self.emotions, vad=vad)

    def _recognize(self, events: Iterator[Picture | Sound], source: str) -> list[EmotionEstimate]:
        first = list(islice(events, 2))
        still = len(first) == 1 and isinstance(first[0], Picture)
        live = LiveRecognizer(
            self._perception,
            emotions=self.emotions,
            finder=self._perception.thorough_detector if still else None,
        )
        estimates: list[EmotionEstimate] = []
        for event in chain(first, events):
            if isinstance(event, Picture):
                live.push_frame(event.time_s, event.rgb)
            else:
                live.push_audio(event.time_s, event.samples, SAMPLE_RATE_HZ)
            estimates += live.poll()
        estimates += live.close()
        if not estimates:
            raise InputError(
                f"Expected a face or at least {MIN_VOICE_S} s of voice in {source}, found neither."
            )
        return sorted(estimates, key=lambda e: (e.start_s, e.person is None, e.person))

    def _restrict(self, probabilities: Floats) -> Floats:
        """(row, emotion): zero the classes not spoken of and renormalise."""
        mask = np.array([emotion in self.emotions for emotion in EMOTIONS], np.float32)
        kept: Floats = probabilities * mask
        kept /= kept.sum(axis=1, keepdims=True)
        return kept


def _resolve(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"Expected a folder of weights or a hub id, found none at {name!r}.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(name, allow_patterns=["*/config.json", "*.safetensors"]))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(
            f"Expected weights on the hub at {name!r}, could not fetch them "
            f"({type(error).__name__})."
        ) from error


def _sound_events(waveform: Floats, sample_rate_hz: int | None) -> Iterator[Sound]:
    if sample_rate_hz is None:
        raise InputError("Expected sample_rate_hz beside the waveform, got none.")
    resampler = Resampler(sample_rate_hz)
    samples = np.concatenate([resampler.push(as_mono(waveform)), resampler.flush()])
    for start in range(0, len(samples), SAMPLE_RATE_HZ):
        yield Sound(start / SAMPLE_RATE_HZ, samples[start : start + SAMPLE_RATE_HZ])


def _picture_events(
    frames: Iterable[npt.NDArray[np.uint8]], frame_rate_hz: float | None
) -> Iterator[Picture]:
    if frame_rate_hz is None or not frame_rate_hz > 0:
        raise InputError(f"Expected a positive frame_rate_hz, got {frame_rate_hz}.")
    for index, frame in enumerate(frames):
        yield Picture(index / frame_rate_hz, frame)
