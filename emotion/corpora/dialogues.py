"""Conversations as plain text, some with feelings: what people say, to learn words from.

Each is `NAME.jsonl.gz`, a conversation a line: {"split"?, "emotion"?, "situation"?, "turns":
[{"text", "emotion"?}]}. Lines of a part named test are never read.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emotion.errors import CorpusError

__all__ = ["Utterance", "utterances"]


@dataclass(frozen=True)
class Utterance:
    """What was said at once.

    Attributes:
        text: The words.
        feeling: In the corpus's own name, or None where it says nothing.
    """

    text: str = field(repr=False)
    feeling: str | None = None


def utterances(root: Path, corpus: str) -> Iterator[Utterance]:
    """Everything said in a corpus, in its order, but for its test part.

    A feeling of a whole conversation (EmpatheticDialogues) is that of its situation and its first
    turn; a feeling of a turn (DailyDialog) is its own.

    Raises:
        CorpusError: If the file is missing or a line cannot be read.
    """
    places = (root / "dialogue" / f"{corpus}.jsonl.gz", root / f"{corpus}.jsonl.gz")
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise CorpusError(f"Expected {corpus}.jsonl.gz in {root} or its dialogue, found neither.")
    read = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for conversation in map(json.loads, lines):
                if conversation.get("split") != "test":
                    yield from _said(conversation)
                read += 1
    except (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CorpusError(f"Unreadable conversation after {read} in {path}.") from error


def _said(conversation: dict[str, Any]) -> Iterator[Utterance]:
    whole = conversation.get("emotion")
    if conversation.get("situation"):
        yield Utterance(conversation["situation"], whole)
    for turn in conversation["turns"]:
        yield Utterance(turn["text"], turn.get("emotion", whole))
        whole = None
