"""What was heard of a speaker before each clip of a corpus."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from emotion.corpora.speech import Voices
from emotion.models.adaptive_voice import VoiceHistory
from emotion.speech.spectrogram import log_spectrogram
from emotion.speech.statistics import utterance_statistics
from emotion.training.loop import step_generator

__all__ = ["Known", "histories", "same_speaker", "statistics_of"]

Known = Literal["all", "earlier", "none"]
"""What is known of a speaker at each clip: all of their clips, those before it, or it alone.

Labels are never known. The order in which clips come is drawn at random, the same each time.
"""


def histories(voices: Voices, known: Known) -> VoiceHistory:
    """Sum up what is known of each clip's speaker, the clip included.

    Args:
        voices: Clips with their speakers; of the nameless each clip is a speaker of its own.
        known: See `Known`.
    """
    statistics = statistics_of(voices)
    if known == "none":
        return VoiceHistory.of(statistics)
    together = same_speaker(voices)
    if known == "earlier":
        place = torch.randperm(len(voices), generator=step_generator(1, 5))
        together &= place[None] <= place[:, None]
    return VoiceHistory.among(statistics, together)


def same_speaker(voices: Voices) -> Tensor:
    """Whether two clips (clip, clip) have the same speaker."""
    names = [f"{i}" if c.nameless else f"of {c.speaker}" for i, c in enumerate(voices.clips)]
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    speaker = torch.tensor([place[name] for name in names])
    return speaker[:, None] == speaker[None]


@torch.inference_mode()
def statistics_of(voices: Voices) -> Tensor:
    """Statistics (clip, statistic) of the clips as they are."""
    spectrograms = (log_spectrogram(torch.from_numpy(w)[None]) for w in voices.waveforms)
    found = [utterance_statistics(s, torch.tensor([s.shape[1]])) for s in spectrograms]
    return torch.cat(found)
