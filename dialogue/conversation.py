"""Messages, and a conversation that remembers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from dialogue.affect import UserAffect
from dialogue.errors import InputError

__all__ = ["Conversation", "Message", "Role", "as_messages", "trim"]

Role = Literal["system", "user", "assistant"]


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
