"""RAVDESS, EMO-DB and TESS: acted speech, one emotion a file, told by the file's name.

- RAVDESS: Livingstone & Russo, PLOS ONE 13(5), 2018. `Actor_XX/03-01-EE-II-SS-RR-AA.wav`; its calm
  counts as neutral.
- EMO-DB: Burkhardt et al., Interspeech 2005. `wav/SSTTTEV.wav`; its boredom is none of our seven
  and is left out.
- TESS: Pichora-Fuller & Dupuis, 2020. `<OAF|YAF>_<emotion>/*.wav`; its licence (no derivatives)
  keeps it out of training: it is for cross-corpus scores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from emotion.corpora.archive import Archive, cached_arrays, decode_audio
from emotion.corpora.clip import Clip
from emotion.errors import CorpusError
from emotion.labels import EMOTIONS, Emotion

__all__ = ["SPEECH_CORPORA", "SpeechCorpus", "Voices", "load_voices"]

AUDIO_SUFFIXES = (".wav", ".flac")
SAMPLE_RATE_HZ = 16_000

RAVDESS_LABELS: dict[str, Emotion | None] = {
    "01": "neutral",
    "02": "neutral",  # calm
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
EMODB_LABELS: dict[str, Emotion | None] = {
    "A": "fear",
    "E": "disgust",
    "F": "happy",
    "L": None,  # boredom
    "N": "neutral",
    "T": "sad",
    "W": "angry",
}
TESS_LABELS: dict[str, Emotion | None] = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "pleasant_surprise": "surprise",
    "pleasant_surprised": "surprise",
    "surprise": "surprise",
    "surprised": "surprise",
}


def _ravdess(path: PurePosixPath) -> tuple[str, str] | None:
    match = re.fullmatch(r"(\d\d)-(\d\d)-(\d\d)-\d\d-\d\d-\d\d-(\d\d)", path.stem)
    return (match[3], match[4]) if match and match[2] == "01" else None  # 02 is song


def _emodb(path: PurePosixPath) -> tuple[str, str] | None:
    match = re.fullmatch(r"(\d\d)[a-z]\d\d([A-Z])[a-z]", path.stem)
    return (match[2], match[1]) if match else None


def _tess(path: PurePosixPath) -> tuple[str, str] | None:
    match = re.fullmatch(r"([OY]AF)_(\w+)", path.parent.name, re.IGNORECASE)
    return (match[2].lower(), match[1].upper()) if match else None


@dataclass(frozen=True)
class SpeechCorpus:
    """How one corpus of speech is laid out.

    Attributes:
        name: As in commands and speaker ids.
        title: Its full name.
        licence: Of the recordings.
        places: Where it is looked for under the root.
        labels: Its emotion codes to ours; None leaves the clip out.
        parse: Emotion code and speaker of a path, or None for a file that is no clip.
        trains: Whether weights trained on it may be shipped.
    """

    name: str
    title: str
    licence: str
    places: tuple[str, ...]
    labels: dict[str, Emotion | None]
    parse: Callable[[PurePosixPath], tuple[str, str] | None]
    trains: bool = True

    def clips(self, root: Path) -> list[Clip]:
        """List its labelled clips under `root`, in order of their names.

        Raises:
            CorpusError: If it is not there, holds no clip, or a name's emotion is unknown.
        """
        archive = Archive.find(root, self.places)
        clips = [clip for name in archive.names if (clip := self._clip(name)) is not None]
        if not clips:
            raise CorpusError(f"Expected clips of {self.title} in {archive.path}, found none.")
        return clips

    def _clip(self, name: str) -> Clip | None:
        path = PurePosixPath(name)
        parsed = self.parse(path) if path.suffix.lower() in AUDIO_SUFFIXES else None
        if parsed is None:
            return None
        code, speaker = parsed
        if code not in self.labels:
            known = ", ".join(self.labels)
            raise CorpusError(f"Expected an emotion among {known} in {name}, got {code!r}.")
        emotion = self.labels[code]
        return Clip(self.name, name, emotion, f"{self.name}:{speaker}") if emotion else None


SPEECH_CORPORA = {
    corpus.name: corpus
    for corpus in (
        SpeechCorpus(
            "ravdess",
            "RAVDESS",
            "CC BY-NC-SA 4.0",
            ("speech/ravdess.zip", "ravdess.zip", "ravdess", "RAVDESS"),
            RAVDESS_LABELS,
            _ravdess,
        ),
        SpeechCorpus(
            "emodb",
            "EMO-DB",
            "CC0",
            ("speech/emodb.zip", "emodb.zip", "emodb", "EMO-DB"),
            EMODB_LABELS,
            _emodb,
        ),
        SpeechCorpus(
            "tess",
            "TESS",
            "CC BY-NC-ND 4.0",
            ("speech/tess.zip", "tess.zip", "tess", "TESS"),
            TESS_LABELS,
            _tess,
            trains=False,
        ),
    )
}


@dataclass(frozen=True)
class Voices:
    """Clips with their sound in memory.

    Attributes:
        clips: What each is.
        waveforms: (sample,) float32 in [-1, 1] at 16 kHz, one a clip.
    """

    clips: tuple[Clip, ...]
    waveforms: tuple[npt.NDArray[np.float32], ...]

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(clip,) index into EMOTIONS."""
        return np.array([EMOTIONS.index(clip.emotion) for clip in self.clips], dtype=np.int64)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Speaker id of each clip."""
        return tuple(clip.speaker for clip in self.clips)

    def of(self, speakers: Sequence[str]) -> Voices:
        """Keep the clips of some speakers."""
        kept = [i for i, clip in enumerate(self.clips) if clip.speaker in speakers]
        return Voices(tuple(self.clips[i] for i in kept), tuple(self.waveforms[i] for i in kept))


def load_voices(root: Path, corpora: Sequence[str], cache: Path | None = None) -> Voices:
    """Read and decode all clips of some corpora.

    Args:
        root: Folder of corpora.
        corpora: Names among SPEECH_CORPORA.
        cache: Folder for decoded arrays, or None.

    Raises:
        CorpusError: If a corpus is unknown, missing or damaged.
    """
    unknown = [name for name in corpora if name not in SPEECH_CORPORA]
    if unknown:
        known = ", ".join(SPEECH_CORPORA)
        raise CorpusError(f"Expected corpora among {known}, got {', '.join(unknown)}.")
    clips: list[Clip] = []
    waveforms: list[npt.NDArray[np.float32]] = []
    for name in corpora:
        found = SPEECH_CORPORA[name].clips(root)
        clips += found
        waveforms += _waveforms(SPEECH_CORPORA[name], found, root, cache)
    return Voices(tuple(clips), tuple(waveforms))


def _waveforms(
    corpus: SpeechCorpus, clips: list[Clip], root: Path, cache: Path | None
) -> list[npt.NDArray[np.float32]]:
    """Sound (sample,) of each clip."""
    archive = Archive.find(root, corpus.places)

    def decode() -> dict[str, npt.NDArray[np.int16]]:
        return {clip.name: _decoded(archive, clip.name) for clip in clips}

    arrays = cached_arrays(f"{corpus.name}-{archive.fingerprint}", cache, decode)
    return [arrays[clip.name].astype(np.float32) / _FULL_SCALE for clip in clips]


_FULL_SCALE = 32768.0


def _decoded(archive: Archive, name: str) -> npt.NDArray[np.int16]:
    """Decode one clip to (sample,), 16 bit."""
    try:
        waveform = decode_audio(archive.read(name), SAMPLE_RATE_HZ)
    except CorpusError as error:
        raise CorpusError(f"Unreadable clip {name} in {archive.path}: {error}") from error
    # the recordings are 16-bit, so nothing is lost and the cache is half as large
    return np.round(waveform * _FULL_SCALE).clip(-32768, 32767).astype(np.int16)
