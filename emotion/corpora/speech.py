"""The sound of whole corpora in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emotion.corpora.archive import Archive, cached_arrays
from emotion.corpora.clip import Clip
from emotion.corpora.corpus import Corpus
from emotion.corpora.media import clip_sound
from emotion.corpora.registry import CORPORA
from emotion.errors import CorpusError
from emotion.labels import EMOTIONS

__all__ = ["SPEECH_CORPORA", "Voices", "load_voices"]

SPEECH_CORPORA: dict[str, Corpus] = {
    name: corpus
    for name, corpus in CORPORA.items()
    if "voice" in corpus.modalities and corpus.labels
}
"""Those with sound and a label of emotion each."""


@dataclass(frozen=True)
class Voices:
    """Clips with their sound in memory.

    Attributes:
        clips: What each is.
        waveforms: (sample,) float32 in [-1, 1] at 16 kHz, one a clip.
    """

    clips: tuple[Clip, ...]
    waveforms: tuple[npt.NDArray[np.float32], ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(clip,) index into EMOTIONS."""
        return np.array(
            [EMOTIONS.index(clip.emotion) for clip in self.clips if clip.emotion], dtype=np.int64
        )

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
        found = [clip for clip in SPEECH_CORPORA[name].clips(root) if clip.audio]
        if not found:
            raise CorpusError(f"Expected clips of {name} with sound in {root}, found none.")
        clips += found
        waveforms += _waveforms(SPEECH_CORPORA[name], found, root, cache)
    return Voices(tuple(clips), tuple(waveforms))


def _waveforms(
    corpus: Corpus, clips: list[Clip], root: Path, cache: Path | None
) -> list[npt.NDArray[np.float32]]:
    """Sound (sample,) of each clip."""
    archive = corpus.archive(root)

    def decode() -> dict[str, npt.NDArray[np.int16]]:
        return {clip.name: _decoded(archive, clip) for clip in clips}

    chosen = hashlib.sha256(repr(clips).encode()).hexdigest()[:8]
    arrays = cached_arrays(f"{corpus.name}-{archive.fingerprint}-{chosen}", cache, decode)
    return [arrays[clip.name].astype(np.float32) / _FULL_SCALE for clip in clips]


_FULL_SCALE = 32768.0


def _decoded(archive: Archive, clip: Clip) -> npt.NDArray[np.int16]:
    """Decode one clip to (sample,), 16 bit."""
    waveform = clip_sound(archive, clip)
    # the recordings are 16-bit, so nothing is lost and the cache is half as large
    return np.round(waveform * _FULL_SCALE).clip(-32768, 32767).astype(np.int16)
