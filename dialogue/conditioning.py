"""The feeling as a note beside the newest user turn.

The note goes into the turn itself and never into a system prompt: the key-value cache of earlier
turns stays valid, and the notes of earlier turns stay where they were. Hume's EVI describes
expression the same way, in words after the user's text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from dialogue.affect import Feeling, Strength, UserAffect, policy_for
from dialogue.conversation import Message

__all__ = ["brief_note", "condition", "full_note", "short_note"]

_ADVERB: Final[dict[Strength, str]] = {"slightly": "a little ", "clearly": "", "very": "very "}
_ADJECTIVE: Final[dict[Feeling, str]] = {"neutral": "calm"}
UNCLEAR: Final = "[feeling unclear]"
MIXED: Final = "[mixed feelings]"


def describe(feeling: Feeling, strength: Strength) -> str:
    """Put a feeling in words.

    >>> describe("sad", "very")
    'very sad'
    """
    return _ADVERB[strength] + _ADJECTIVE.get(feeling, feeling)


def brief_note(feeling: Feeling | None, strength: Strength) -> str:
    """Write the note in the form that the bundled model was trained on.

    >>> brief_note("angry", "slightly")
    '[seems a little angry]'
    """
    return UNCLEAR if feeling is None else f"[seems {describe(feeling, strength)}]"


def short_note(affect: UserAffect) -> str:
    """Write the bundled model's note for one affect: a few tokens, no instruction."""
    if affect.accord == "conflict":
        return MIXED
    return brief_note(affect.label, affect.strength)


def full_note(affect: UserAffect) -> str:
    """Write the note for a model that follows instructions: what was perceived, how to answer."""
    seen = ", ".join(affect.channels) or "their words"
    if affect.label is None:
        perceived = f"Perceived from {seen}: the feeling is unclear."
    else:
        perceived = f"Perceived from {seen}: seems {describe(affect.label, affect.strength)}."
    return f"[{' '.join([perceived, *_accord_words(affect), policy_for(affect).guidance, _TACT])}]"


_TACT: Final = (
    "This may be wrong: trust the words first, never mention this note, a camera or scores, and "
    "do not name the feeling unless they do."
)


def _accord_words(affect: UserAffect) -> list[str]:
    if affect.accord == "single":
        return []
    if affect.accord == "agree":
        return ["The channels agree."]
    apart = [f"{channel} {feeling}" for channel, feeling in affect.by_channel.items() if feeling]
    return [f"The channels disagree ({', '.join(apart)})." if apart else "The channels disagree."]


def condition(
    messages: Sequence[Message],
    affect: UserAffect | None = None,
    write: Callable[[UserAffect], str] = full_note,
) -> list[Message]:
    """Write every known feeling beside the words it belongs to.

    Args:
        messages: In order of time, ending with the user's; each may carry its own affect, and an
            earlier turn's note is the same whenever it is written.
        affect: How the newest turn was said; None leaves what that message carries.
        write: Makes the note: `full_note`, or `short_note` for the bundled model.

    Returns:
        Plain messages: the content of each user turn with an affect ends in a line with its note.
    """
    newest = messages[-1]
    felt = [*messages[:-1], replace(newest, affect=affect or newest.affect)]
    return [
        Message(m.role, m.content if m.affect is None else f"{m.content}\n{write(m.affect)}")
        for m in felt
    ]
