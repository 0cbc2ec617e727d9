"""Messages, and a conversation that remembers them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from dialogue.affect import UserAffect
from dialogue.errors import InputError

__all__ = ["Conversation", "Message", "Role", "as_messages", "trim"]

Role = Literal["system", "user", "assistant"]

VERSION: Final = 1
"""Of the JSON that a conversation is saved as; raised with every change that old code misreads."""


@dataclass(frozen=True)
class Message:
    """One turn.

    Attributes:
        role: Who speaks.
        content: What is said; never shown in a repr, so that no log repeats it.
        affect: How the user seemed to feel while saying it; models write it beside the words.

    Raises:
        InputError: If the role is unknown or the content is empty.
    """

    role: Role
    content: str = field(repr=False)
    affect: UserAffect | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise InputError(f"Expected a role out of {get_args(Role)}, got {self.role!r}.")
        if not isinstance(self.content, str) or not self.content.strip():
            raise InputError(f"Expected words from the {self.role}, got an empty text.")

    def to_dict(self) -> dict[str, str]:
        """Return `{"role": …, "content": …}`, as chat templates and servers take it."""
        return {"role": self.role, "content": self.content}


def as_messages(messages: Iterable[Message | Mapping[str, Any]]) -> list[Message]:
    """Accept messages or `{"role", "content"}` mappings.

    Raises:
        InputError: If one is neither, or if there is none, or the last is not the user's.
    """
    taken = [_as_message(message) for message in messages]
    if not taken or taken[-1].role != "user":
        got = f"one of the {taken[-1].role}" if taken else "no message"
        raise InputError(f"Expected messages that end with the user's, got {got}.")
    return taken


def _as_message(message: Message | Mapping[str, Any]) -> Message:
    if isinstance(message, Message):
        return message
    try:
        return Message(message["role"], message["content"])
    except (KeyError, TypeError) as error:
        raise InputError(
            "Expected messages with a role and a content, got another form."
        ) from error


def trim(
    messages: Sequence[Message], budget_tokens: int, count_tokens: Callable[[str], int]
) -> list[Message]:
    """Keep the newest turns that fit a budget; system messages and the newest turn always stay.

    Args:
        messages: In order of time.
        budget_tokens: Most tokens of all contents together.
        count_tokens: Number of tokens of one content.
    """
    system = [message for message in messages if message.role == "system"]
    spoken = [message for message in messages if message.role != "system"]
    left = budget_tokens - sum(count_tokens(message.content) for message in system)
    kept: list[Message] = []
    for message in reversed(spoken):
        left -= count_tokens(message.content)
        if kept and left < 0:
            break
        kept.insert(0, message)
    while len(kept) > 1 and kept[0].role == "assistant":
        kept.pop(0)  # an answer whose question was forgotten misleads a model
    return system + kept


@dataclass
class Conversation:
    """One talk, in order of time.

    >>> talk = Conversation().said("user", "My dog ran away.")
    >>> talk.said("assistant", "Oh no! How long has he been gone?").replies
    ('Oh no! How long has he been gone?',)
    """

    messages: list[Message] = field(default_factory=list, repr=False)

    def said(self, role: Role, content: str, affect: UserAffect | None = None) -> Self:
        """Add a turn, with how its speaker seemed to feel, and return this conversation.

        Raises:
            InputError: If the content is empty.
        """
        self.messages.append(Message(role, content, affect))
        return self

    @property
    def replies(self) -> tuple[str, ...]:
        """Everything the assistant has said."""
        return tuple(m.content for m in self.messages if m.role == "assistant")

    def forget(self) -> None:
        """Delete every turn."""
        self.messages.clear()

    def to_json(self) -> str:
        """Write the talk as JSON: what was said, and how its speakers seemed to feel.

        >>> print(Conversation().said("user", "Hi.").to_json())
        {
         "version": 1,
         "messages": [
          {
           "role": "user",
           "content": "Hi.",
           "affect": null
          }
         ]
        }
        """
        messages = [{**m.to_dict(), "affect": _affect_to_json(m.affect)} for m in self.messages]
        return json.dumps({"version": VERSION, "messages": messages}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; the result is the same talk.

        Raises:
            InputError: If it is no such JSON, of another version, or a field is missing, unknown
                or of a wrong kind.
        """
        try:
            saved = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError("Expected a talk as JSON, got other text.") from error
        _check_keys("a talk", saved, {"version", "messages"})
        if saved["version"] != VERSION or isinstance(saved["version"], bool):
            got = str(saved["version"])[:20]
            raise InputError(f"Expected a talk of version {VERSION}, got version {got}.")
        if not isinstance(saved["messages"], list):
            raise InputError(f"Expected a list of messages, got {_kind(saved['messages'])}.")
        return cls([_message_from_json(message) for message in saved["messages"]])

    def save(self, path: Path) -> None:
        """Write the talk into a file that its owner alone may read.

        Raises:
            InputError: If it cannot be written.
        """
        try:
            path.touch(mode=0o600)
            path.write_text(self.to_json(), encoding="utf-8")
        except OSError as error:
            raise InputError(f"Expected a file that can be written, got {error}.") from error

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a talk from a file; see `from_json`.

        Raises:
            InputError: If there is no such file, or it holds no talk.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Expected a talk in a file, got {error}.") from error
        return cls.from_json(text)


# -- a saved talk ---------------------------------------------------------------------------------


def _affect_to_json(affect: UserAffect | None) -> dict[str, Any] | None:
    if affect is None:
        return None
    values = {f.name: getattr(affect, f.name) for f in fields(affect)}
    return {name: dict(v) if isinstance(v, Mapping) else v for name, v in values.items()}


def _message_from_json(saved: Any) -> Message:
    _check_keys("a message", saved, {"role", "content", "affect"})
    if not isinstance(saved["role"], str):
        raise InputError(f"Expected a role in words, got {_kind(saved['role'])}.")
    return Message(saved["role"], saved["content"], _affect_from_json(saved["affect"]))  # type: ignore[arg-type]


def _affect_from_json(saved: Any) -> UserAffect | None:
    if saved is None:
        return None
    _check_keys("a feeling", saved, set(_KINDS))
    for name, is_right in _KINDS.items():
        if not is_right(saved[name]):
            raise InputError(f"Expected another kind of {name}, got {_kind(saved[name])}.")
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in saved.items()}
    return UserAffect(**values)


def _check_keys(what: str, saved: Any, wanted: set[str]) -> None:
    if not isinstance(saved, dict) or set(saved) != wanted:
        got = ", ".join(sorted(saved)) if isinstance(saved, dict) else _kind(saved)
        raise InputError(f"Expected {what} with {', '.join(sorted(wanted))}, got {got[:200]}.")


def _kind(value: object) -> str:
    """Name the kind of a value, never the value: it may be something that was said."""
    return f"one of type {type(value).__name__}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_word_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "label": _is_word_or_none,
    "probabilities": lambda v: (
        isinstance(v, dict) and all(_is_number(p) and 0 <= p <= 1 for p in v.values())
    ),
    "confidence": _is_number,
    "valence": _is_number,
    "arousal": _is_number,
    "channels": lambda v: isinstance(v, list) and all(isinstance(c, str) for c in v),
    "agreement": lambda v: v is None or _is_number(v),
    "by_channel": lambda v: isinstance(v, dict) and all(map(_is_word_or_none, v.values())),
}
"""What each field of a `UserAffect` is in JSON; complete, by test."""
