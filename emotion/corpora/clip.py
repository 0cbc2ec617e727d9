"""What every corpus is read into, and splits that never part one speaker's clips."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from emotion.errors import CorpusError
from emotion.labels import Emotion

__all__ = ["Clip", "check_speakers", "split_by_speaker"]


@dataclass(frozen=True)
class Clip:
    """One labelled recording, or one labelled stretch of a longer recording.

    Attributes:
        corpus: Name of its corpus, such as "ravdess".
        name: What identifies it inside the corpus; a path unless `span_s` says otherwise.
        emotion: Its label among our seven; None where the labels are continuous (`ratings`).
        speaker: Who speaks, as "<corpus>:<id>".
        split: The corpus's own part, "train", "valid" or "test", where it has such parts.
        session: Recording session, as "<corpus>:<id>", where speakers were recorded together.
        video: Path inside the corpus of its pictures, or None.
        audio: Path inside the corpus of its sound, the same as `video` where both are in one file.
        span_s: The stretch (start, end) of the recording in seconds; None is all of it. A sound
            file that bears the clip's own name has been cut out by the corpus already.
        ratings: Path inside the corpus of continuous ratings by the name of their dimension,
            "arousal" or "valence".
        half: Which half of the picture shows who speaks, where it shows two people side by side.
    """

    corpus: str
    name: str
    emotion: Emotion | None
    speaker: str
    split: str | None = None
    session: str | None = None
    video: str | None = None
    audio: str | None = None
    span_s: tuple[float, float] | None = None
    ratings: Mapping[str, str] = field(default_factory=dict, hash=False)
    half: Literal["left", "right"] | None = None

    @property
    def nameless(self) -> bool:
        """Whether nobody is named and the official part stands in place of the speaker."""
        return self.speaker == f"{self.corpus}:{self.split}"

    @property
    def group(self) -> str:
        """What no split may part: its session, where people were recorded together, or speaker."""
        return self.session or self.speaker


def split_by_speaker(
    clips: Sequence[Clip], held_out: Collection[str]
) -> tuple[list[Clip], list[Clip]]:
    """Part clips into those of other speakers and those of the speakers held out.

    A split by clip would put one speaker's voice on both sides: on RAVDESS it reports 96 % where
    unseen speakers give 48 %.

    Args:
        clips: Any clips.
        held_out: Speaker ids such as "ravdess:21".

    Raises:
        CorpusError: If a speaker is in none of the clips.
    """
    check_speakers(held_out, {clip.speaker for clip in clips})
    return (
        [clip for clip in clips if clip.speaker not in held_out],
        [clip for clip in clips if clip.speaker in held_out],
    )


def check_speakers(wanted: Collection[str], known: Collection[str]) -> None:
    """Refuse a speaker nobody knows.

    Raises:
        CorpusError: If a speaker of `wanted` is not in `known`.
    """
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise CorpusError(
            f"Expected speakers among {', '.join(sorted(known))}, got {', '.join(unknown)}."
        )
