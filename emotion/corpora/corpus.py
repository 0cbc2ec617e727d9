"""What a corpus is: where it lies, who grants it, what it should hold, and the clips in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emotion.corpora.archive import Archive
from emotion.corpora.clip import Clip
from emotion.errors import CorpusError
from emotion.labels import Emotion

__all__ = ["Corpus", "Counts", "Labels", "Modality", "Split", "known_emotion"]

Labels = Mapping[str, Emotion | None]
Modality = Literal["face", "voice"]
Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Counts:
    """How much its makers say it holds; None where they do not say, or nobody here knows.

    Attributes:
        clips: Recordings or turns, also those whose label is none of ours.
        speakers: People.
        splits: Clips of each official part.
        emotions: Clips of each of our emotions; with `splits`, of the labelled parts together.
        source: Where the figures come from.
    """

    clips: int | None = None
    speakers: int | None = None
    splits: Mapping[Split, int] = field(default_factory=dict)
    emotions: Mapping[Emotion, int] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Corpus:
    """One corpus, read in its official layout.

    Attributes:
        name: As in commands and speaker ids.
        title: Its full name.
        licence: Of the recordings.
        url: Where to get it, or whom to ask.
        places: Where it is looked for under the root: a folder, a zip, or a folder of zips.
        modalities: What its clips hold.
        counts: What they should come to.
        labels: Its emotion codes to ours; None leaves the clip out. `dataclasses.replace` makes
            the same corpus with other classes.
        read: Lists the clips of an archive by such labels.
        trains: Whether weights trained on it may be shipped with this project.
        beside: Where a further file with labels of the same clips is looked for.
        note: What a user should know of its speakers or labels.
    """

    name: str
    title: str
    licence: str
    url: str
    places: tuple[str, ...]
    modalities: tuple[Modality, ...]
    counts: Counts
    labels: Labels = field(repr=False)
    read: Callable[[Archive, Labels], Iterable[Clip]] = field(repr=False)
    trains: bool = False
    beside: tuple[str, ...] = ()
    note: str = ""

    def archive(self, root: Path) -> Archive:
        """Its files under `root`.

        Raises:
            CorpusError: If it is in none of its places.
        """
        return Archive.find(root, self.places)

    def clips(self, root: Path) -> list[Clip]:
        """List its labelled clips under `root`, in order of their names.

        Raises:
            CorpusError: If it is not there, holds no clip, an emotion is unknown or an annotation
                is missing.
        """
        archive = self.archive(root)
        clips = sorted(self.read(archive, self.labels), key=lambda clip: clip.name)
        if not clips:
            raise CorpusError(f"Expected clips of {self.title} in {archive.path}, found none.")
        return clips


def known_emotion(code: str, labels: Labels, name: str) -> Emotion | None:
    """Our emotion for a corpus's code, or None where the clip is to be left out.

    Args:
        code: As the corpus writes it.
        labels: Its codes to ours.
        name: Of the file, for the message.

    Raises:
        CorpusError: If the corpus knows no such code.
    """
    if code not in labels:
        raise CorpusError(f"Expected an emotion among {', '.join(labels)} in {name}, got {code!r}.")
    return labels[code]
