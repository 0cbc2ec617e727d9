"""What of a talk a model reads: its newest whole turns, and a few facts of those before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from dialogue.conversation import Message
from dialogue.memory import Memory, remember

__all__ = ["READ_ONLY_THE_END", "Fitted", "cut_text", "first_kept", "fit"]

KEPT_SHARE: Final = 0.5
"""Of the budget, kept when turns must go. The talk then begins at the same turn for many turns
more, so that a model's cache of it stays valid."""
MEMORY_SHARE: Final = 0.125
"""Of the budget, set aside for the facts."""
LEFT_OUT: Final = "[The beginning of this message was too long to be read.] "
READ_ONLY_THE_END: Final = "(That was more than I can read at once, so I read only the end.) "
"""Said to the person before the answer."""
_MOST_LETTERS_A_TOKEN: Final = 16


@dataclass(frozen=True)
class Fitted:
    """A talk that fits a budget.

    Attributes:
        messages: System messages, then the newest turns; facts of the dropped ones stand at the
            beginning of the first.
        cut: Whether the newest message was too long by itself and lost its beginning.
    """

    messages: list[Message]
    cut: bool


def fit(
    said: Sequence[Message],
    written: Sequence[Message],
    budget_tokens: int,
    count_tokens: Callable[[str], int],
) -> Fitted:
    """Drop whole turns from a talk's beginning until it fits, and remember a few facts of them.

    Args:
        said: In order of time, ending with the user's; without notes, with affects.
        written: The same messages as a model reads them: with notes.
        budget_tokens: Most tokens of all contents together.
        count_tokens: Number of tokens of one content.
    """
    system = [message for message in written if message.role == "system"]
    spoken = [message for message in written if message.role != "system"]
    told = [message for message in said if message.role != "system"]
    room = max(1, budget_tokens - sum(count_tokens(message.content) for message in system))
    longest = max(1, room - int(MEMORY_SHARE * room))
    spoken[-1], cut = _cut_message(spoken[-1], longest, count_tokens)
    roles = [message.role for message in spoken]
    start = first_kept(roles, [count_tokens(message.content) for message in spoken], longest)
    kept = spoken[start:]
    line = _line(remember(told[:start]), room - longest, count_tokens)
    if line:
        kept[0] = replace(kept[0], content=f"{line}\n{kept[0].content}")
    return Fitted([*system, *kept], cut)


def first_kept(roles: Sequence[str], lengths: Sequence[int], budget_tokens: int) -> int:
    """Return the index of the first message that is still read.

    It depends on the talk's past only: each time the talk outgrew the budget, it was cut down to
    about half of it, so that the beginning then stays where it is for many turns.

    >>> first_kept(["user", "assistant"] * 3 + ["user"], [10] * 7, 40)
    4

    Args:
        roles: Of each message, in order of time.
        lengths: Tokens of each.
        budget_tokens: Most tokens together.
    """
    total = [0, *accumulate(lengths)]
    asks = [index for index, role in enumerate(roles) if role == "user"]
    start = 0
    for newest in asks:  # as the talk grew
        if total[newest + 1] - total[start] > budget_tokens:
            room = KEPT_SHARE * budget_tokens
            later = (i for i in asks if start < i < newest and total[newest + 1] - total[i] <= room)
            start = next(later, newest)
    return start


def _line(memory: Memory, most_tokens: int, count_tokens: Callable[[str], int]) -> str:
    while (line := memory.write()) and count_tokens(line) > most_tokens:
        memory = memory.shorter()
    return line


def _cut_message(
    message: Message, most_tokens: int, count_tokens: Callable[[str], int]
) -> tuple[Message, bool]:
    text = cut_text(message.content, most_tokens, count_tokens)
    return replace(message, content=text), text != message.content


def cut_text(text: str, most_tokens: int, count_tokens: Callable[[str], int]) -> str:
    """Keep the end of a text that is too long, for it is nearest to what is to be answered.

    Args:
        text: What was said.
        most_tokens: Longest that is kept whole, in tokens.
        count_tokens: Number of tokens of a text.

    Returns:
        The text as it is, or its last words after a remark that it was cut.
    """
    end = text[-_MOST_LETTERS_A_TOKEN * most_tokens :]
    if len(end) == len(text) and count_tokens(text) <= most_tokens:
        return text
    room = max(1, most_tokens - count_tokens(LEFT_OUT))
    while len(end) > 1 and (tokens := count_tokens(end)) > room:
        shorter = end[-max(1, int(0.95 * len(end) * room / tokens)) :]
        end = shorter.partition(" ")[2] or shorter
    return LEFT_OUT + end
