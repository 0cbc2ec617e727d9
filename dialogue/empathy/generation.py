"""Replies of one model to every exchange in every arm, none of them generated twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

from dialogue.conversation import Conversation, Message
from dialogue.empathy.arms import Told, tell
from dialogue.empathy.conversations import Exchange
from dialogue.empathy.journal import Journal, key_of
from dialogue.models.base import DialogueModel, facts_of, reply_batch, surprise_of
from dialogue.text import tidy

__all__ = ["Progress", "Speaker", "prompt_digest", "quiet", "speaker_of"]

BATCH: Final = 8
"""Talks that are answered side by side, where the model can. Part of what decides a reply: padding
changes the last bits of what is computed."""

Item = TypeVar("Item")
Progress = Callable[[Sequence[Any], str], Iterable[Any]]
"""Yields the items it is given, and shows how many of them are done; the text says of what."""


def quiet(items: Sequence[Item], what: str) -> Iterable[Item]:
    """Show nothing."""
    return items


@dataclass(frozen=True)
class Speaker:
    """A model, and everything but the talk that decides its replies.

    Attributes:
        model: Any.
        facts: Plain JSON.
        batch: Talks that are answered side by side; 1 where the model takes one after the other.
    """

    model: DialogueModel = field(repr=False)
    facts: Mapping[str, Any]
    batch: int = BATCH

    def replies(
        self,
        talks: Sequence[Sequence[Message]],
        journal: Journal,
        progress: Progress = quiet,
        what: str = "replies",
    ) -> list[str]:
        """Answer talks, each ending with the person's message.

        Args:
            talks: Affects are those of the messages.
            journal: Replies in it are taken from there, new ones are added.
            progress: Shows how far it is.
            what: Is shown beside.
        """
        answers: list[str] = []
        starts = range(0, len(talks), self.batch)
        for start in progress(starts, what):
            batch = talks[start : start + self.batch]
            written = [_written(talk) for talk in batch]
            keys = [key_of("reply", [self.facts, n, written]) for n in range(len(batch))]
            if not all(key in journal for key in keys):
                journal.add(dict(zip(keys, reply_batch(self.model, batch), strict=True)))
            answers += [journal[key] for key in keys]
        return answers

    def surprises(
        self,
        talks: Sequence[Sequence[Message]],
        replies: Sequence[str | None],
        journal: Journal,
        progress: Progress = quiet,
        what: str = "likelihoods",
    ) -> list[float | None]:
        """Say how surprised the model is by given replies, in nats, with the end of the turn.

        Args:
            talks: Each ending with the person's message.
            replies: One a talk; None where there is none.
            journal: As in `replies`.
            progress: The same.
            what: The same.

        Returns:
            One a talk; None where there is no reply, or the model does not tell.
        """
        found: list[float | None] = []
        for talk, reply in progress(list(zip(talks, replies, strict=True)), what):
            if reply is None:
                found.append(None)
                continue
            key = key_of("surprise", [self.facts, _written(talk), reply])
            if key not in journal:
                journal.add({key: surprise_of(self.model, talk, tidy(reply))})
            found.append(journal[key])
        return found


def speaker_of(model: DialogueModel) -> Speaker:
    """Describe a model: what it says of itself, the code that answers, and the libraries."""
    inner = getattr(model, "model", model)
    facts = facts_of(model) | {
        "code_sha256": _code_digest(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "device": str(getattr(getattr(inner, "_model", None), "device", "cpu")),
    }
    return Speaker(model, facts, BATCH if hasattr(inner, "reply_batch") else 1)


def _code_digest() -> str:
    """Name the code that decides a reply: this package without experiment and command line."""
    package = Path(__file__).parents[1]
    files = [*package.glob("*.py"), *package.glob("*.toml"), *package.glob("models/*.py")]
    files.remove(package / "cli.py")
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def prompt_digest(exchanges: Sequence[Exchange], told: Told, arm: str) -> str:
    """Name everything that an arm's model reads."""
    talks = zip(exchanges, told.by_arm[arm], strict=True)
    written = [_written(tell(exchange, affects)) for exchange, affects in talks]
    return key_of("prompts", written)


def _written(talk: Sequence[Message]) -> Any:
    """Write a talk with its affects as plain JSON."""
    return json.loads(Conversation(list(talk)).to_json())["messages"]
