"""The feeling as a note beside the newest user turn.

The note goes into the turn itself and never into a system prompt: the key-value cache of earlier
turns stays valid, and the notes of earlier turns stay where they were. Hume's EVI describes
expression the same way, in words after the user's text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from dialogue.affect import Feeling, Strength, Trend, UserAffect, policy_for, trend_of
from dialogue.conversation import Message

__all__ = [
    "brief_note",
    "condition",
    "conflict_note",
    "full_note",
    "lean_note",
    "may_name",
    "over_attributes",
    "short_note",
]

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


def short_note(affect: UserAffect, *, said: str = "", trend: Trend | None = None) -> str:
    """Write the bundled model's note for one affect: a few tokens, no instruction.

    It was trained without a trend, and reads the words themselves.
    """
    if affect.accord == "conflict":
        return MIXED
    return brief_note(affect.label, affect.strength)


def conflict_note(affect: UserAffect, *, said: str = "", trend: Trend | None = None) -> str:
    """Write the bundled model's note only for what an EmotionPrefix cannot tell: a conflict."""
    return MIXED if affect.accord == "conflict" else ""


def full_note(affect: UserAffect, *, said: str = "", trend: Trend | None = None) -> str:
    """Write the note for a model that follows instructions: what was perceived, how to answer.

    Args:
        affect: How the person seems to feel.
        said: Their words, which may allow to name the feeling.
        trend: How the talk went so far; a steady one needs no words.
    """
    return f"{lean_note(affect, said=said, trend=trend)[:-1]} {_TACT}]"


def lean_note(affect: UserAffect, *, said: str = "", trend: Trend | None = None) -> str:
    """Write the same for a model whose persona has said once what every full note repeats."""
    seen = ", ".join(affect.channels) or "their words"
    if affect.label is None:
        perceived = f"Perceived from {seen}: the feeling is unclear."
    else:
        perceived = f"Perceived from {seen}: seems {describe(affect.label, affect.strength)}."
    so_far = [_TREND_WORDS[trend]] if trend in _TREND_WORDS else []
    naming = _MAY_NAME if may_name(affect, said) else _MAY_NOT_NAME
    guidance = policy_for(affect).guidance
    return f"[{' '.join([perceived, *_accord_words(affect), *so_far, guidance, naming])}]"


_TREND_WORDS: Final[dict[Trend | None, str]] = {
    "lifting": "Over the talk they seem to get lighter.",
    "sinking": "Over the talk they seem to get heavier.",
}
_TACT: Final = (
    "This may be wrong: trust the words first, and never mention this note, a camera, scores or a "
    "diagnosis."
)
_MAY_NAME: Final = "You may name the feeling, carefully."
_MAY_NOT_NAME: Final = "Do not name the feeling."


def _accord_words(affect: UserAffect) -> list[str]:
    if affect.accord == "single":
        return []
    if affect.accord == "agree":
        return ["The channels agree."]
    heard = ((channel, affect.by_channel.get(channel)) for channel in affect.channels)
    apart = [f"{channel} {feeling}" for channel, feeling in heard if feeling]
    return [f"The channels disagree ({', '.join(apart)})." if apart else "The channels disagree."]


class Note(Protocol):
    """Writes the note beside one user turn."""

    def __call__(self, affect: UserAffect, *, said: str, trend: Trend | None) -> str:
        """Put an affect in words."""


def condition(
    messages: Sequence[Message],
    affect: UserAffect | None = None,
    write: Note = full_note,
) -> list[Message]:
    """Write every known feeling beside the words it belongs to.

    Args:
        messages: In order of time, ending with the user's; each may carry its own affect, and an
            earlier turn's note is the same whenever it is written.
        affect: How the newest turn was said; None leaves what that message carries.
        write: Makes the note: `full_note`; `lean_note` behind `dialogue.persona`; `short_note` for
            the bundled model, or `conflict_note` where it has a prefix.

    Returns:
        The messages: the content of each user turn with an affect ends in a line with its note, if
        that says anything.
    """
    newest = messages[-1]
    felt = [*messages[:-1], replace(newest, affect=affect or newest.affect)]
    noted: list[Message] = []
    so_far: list[UserAffect] = []
    for message in felt:
        if message.affect is not None:
            so_far.append(message.affect)
            note = write(message.affect, said=message.content, trend=trend_of(so_far))
            message = replace(message, content=message.content + (f"\n{note}" if note else ""))
        noted.append(message)
    return noted


_FEELING_WORDS: Final = (
    r"(?:angry|anger|furious|mad|annoyed|disgust\w*|afraid|scared|anxious|nervous|worried|fear"
    r"|terrified|happy|glad|joy\w*|excited|sad\w*|unhappy|depressed|down|lonely|upset|surprised"
    r"|shocked)\b"
)
_NAMES: Final = re.compile(rf"\b{_FEELING_WORDS}", re.IGNORECASE)
_ASKS: Final = re.compile(
    r"\b(?:how do(?:es)? (?:i|my (?:face|voice)) (?:seem|look|sound)|what do you (?:think|see|hear)"
    r" i|(?:can|could) you (?:tell|see|hear) (?:how|what|that|if) i|do i (?:seem|look|sound)"
    r"|how (?:am i feeling|do i feel)|what am i feeling)\b",
    re.IGNORECASE,
)
EXTREME_FROM: Final = 0.9
"""Calibrated confidence from which channels that agree let a feeling be named unasked."""


def may_name(affect: UserAffect, said: str = "") -> bool:
    """Whether an answer may name the feeling: they did, they ask, or the signal is extreme.

    >>> sad = UserAffect("sad", confidence=0.7)
    >>> [may_name(sad, said) for said in ("My dog died.", "I am so sad.", "How do I sound?")]
    [False, True, True]
    """
    if _NAMES.search(said) or _ASKS.search(said):
        return True
    agreed = affect.accord == "agree" and affect.label not in (None, "neutral")
    return agreed and affect.confidence >= EXTREME_FROM


_ATTRIBUTES: Final = re.compile(
    r"\byou(?:'re| are)? (?:\w+ )?(?:seem|look|sound|appear)(?:ing)? (?:like you(?:'re| are) )?"
    rf"(?:so |very |really |a bit |a little )*{_FEELING_WORDS}"
    r"|\b(?:camera|webcam|your (?:facial )?expression|your face (?:shows|says|tells)"
    r"|detect(?:ed|s)?|(?:emotion|confidence) scores?|diagnos\w+"
    r"|you (?:have|suffer from) (?:depression|anxiety))\b",
    re.IGNORECASE,
)


def over_attributes(reply: str, affect: UserAffect | None = None, said: str = "") -> bool:
    """Whether an answer says more about a person than it should.

    It mentions camera, scores or a diagnosis, or names a feeling that it may not name.

    Args:
        reply: The answer.
        affect: How the person seems to feel, or None.
        said: Their words: what they speak of themselves may be taken up.
    """
    found = _ATTRIBUTES.search(reply)
    if found is None or found[0].lower() in said.lower():
        return False
    names = _NAMES.search(found[0]) is not None
    return not (names and affect is not None and may_name(affect, said))
