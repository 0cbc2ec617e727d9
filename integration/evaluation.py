"""Lends the recogniser to `dialogue.empathy`, which may not know it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from dialogue.affect import FEELINGS, UserAffect
from emotion.checkpoint import BUNDLED, digest
from emotion.estimate import EmotionEstimate, Reading, as_probabilities
from emotion.labels import EMOTIONS
from emotion.recognizer import EmotionRecognizer
from integration.translation import FEELING_OF, joined, to_affect

__all__ = ["RecognizerReader"]

_PARTS: Final = ("face", "voice", "fusion", "words")
_ORDER: Final = [[FEELING_OF[e] for e in EMOTIONS].index(feeling) for feeling in FEELINGS]


class RecognizerReader:
    """An `EmotionReader` of `dialogue.empathy` that is the recogniser of this project.

    Args:
        recognizer: Any.
        name: Of its weights, for reports.
    """

    def __init__(self, recognizer: EmotionRecognizer, name: str) -> None:
        self._recognizer = recognizer
        self.name = name

    @classmethod
    def load(cls, device: str = "auto") -> RecognizerReader:
        """Load the bundled recogniser."""
        recognizer = EmotionRecognizer.from_pretrained(device=device)
        parts = ", ".join(f"{part} {digest(BUNDLED / part)[:16]}" for part in _PARTS)
        return cls(recognizer, f"bundled recogniser (sha256 of {parts})")

    def affects(self, texts: Sequence[str]) -> list[UserAffect]:
        """Read how people seem to feel from their words; see `EmotionReader`."""
        read = (to_affect(None, words=self._words(text)) for text in texts)
        return [affect for affect in read if affect is not None]  # words always tell something

    def clip(self, path: Path, said: str) -> UserAffect | None:
        """Read it from a clip and the words said in it; see `EmotionReader`."""
        estimate = joined(_of_one(self._recognizer.recognize(path)))
        return None if estimate is None else to_affect(estimate, words=self._words(said))

    def distributions(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Read texts, (text, feeling); see `EmotionReader`."""
        found = np.array([self._recognizer.recognize_words(text) for text in texts], np.float64)
        return found.reshape(-1, len(EMOTIONS))[:, _ORDER]

    def _words(self, text: str) -> Reading:
        return Reading(as_probabilities(self._recognizer.recognize_words(text)), quality=1.0)


def _of_one(estimates: Sequence[EmotionEstimate]) -> list[EmotionEstimate]:
    """Keep those of the person who is there longest."""
    lengths_s: dict[int | None, float] = {}
    for e in estimates:
        lengths_s[e.person] = lengths_s.get(e.person, 0.0) + e.end_s - e.start_s
    longest = max(lengths_s, key=lambda person: lengths_s[person], default=None)
    return [e for e in estimates if e.person == longest]
