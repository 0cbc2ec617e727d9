"""A deterministic check for a person in danger, outside any model.

It looks for somebody saying of themselves that they may take their life or hurt themselves. It is
a net with holes: it reads English words only, and silence proves nothing. Where it is caught, no
model speaks; the answer is always the same kind one, with places that help.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dialogue.affect import UserAffect
from dialogue.conversation import Message, as_messages
from dialogue.models.base import DialogueModel

__all__ = ["HELP_LINES", "Guarded", "crisis_answer", "is_crisis"]

HELP_LINES: Final[Mapping[str, str]] = {
    "US and Canada": "call or text 988",
    "UK and Ireland": "Samaritans 116 123",
    "Germany": "TelefonSeelsorge 0800 111 0 111",
    "France": "3114",
    "Spain": "024",
    "Netherlands": "113 or 0800 0113",
    "India": "Tele-MANAS 14416",
    "Australia": "Lifeline 13 11 14",
    "New Zealand": "call or text 1737",
}
"""Free lines, day and night. Elsewhere: the emergency number, or findahelpline.com."""

_SELF = r"(?:my ?self|me self|m[sy]elf)"
_DANGER: Final = re.compile(
    rf"\b(?:kill(?:ing)?|hang(?:ing)?|shoot(?:ing)?|drown(?:ing)?) {_SELF}\b(?! in\b)"
    rf"|\b(?:cut(?:ting)?|hurt(?:ing)?|harm(?:ing)?) {_SELF}"
    r" (?:on purpose|again|tonight|today|now)\b"
    rf"|\b(?:want|wanna|need|going|gonna|feel like|thinking (?:of|about)|urge|plan(?:ning)?|about)"
    rf"(?: to)? (?:cut(?:ting)?|hurt(?:ing)?|harm(?:ing)?) {_SELF}\b"
    r"|\b(?:end(?:ing)?|tak(?:e|ing)|finish(?:ing)?) my (?:own )?life\b|\bend(?:ing)? it all\b"
    r"|\b(?:i am|i'm|im|i feel|i've been|i have been) (?:\w+ and |very |so |really |feeling )*"
    r"suicidal\b|\b(?:my|i have|i had|having|with) suicidal (?:thoughts|feelings)\b"
    r"|\bi(?:'m|'ve been| am| keep| have| have been| was)? (?:think|thinking|thought|want|consider"
    r"|considering|plan|planning|contemplat\w+|attempt\w*)\b[^.?!]{0,25}\bsuicide\b"
    r"|\bcommit(?:ting)? suicide\b"
    r"|\b(?:i|just) (?:really |just |only )?(?:want to|wanna|wish to) (?:die|be dead)\b"
    r"|\bi wish i (?:was|were) (?:dead|never born)\b"
    r"|\b(?:i )?(?:don't|do not|dont) (?:want to|wanna) (?:live|be alive|exist|wake up|be here)"
    r"(?: any ?more)?(?=[.!?,]|$| and| because| any)"
    r"|\bno (?:reason|point) (?:to|in) liv(?:e|ing)\b"
    r"|\b(?:everyone|they|world|family|kids)(?: would|'d|'ll| will| is| are)? (?:all )?(?:be )?"
    r"better off without me\b",
    re.IGNORECASE,
)
_VERB: Final = re.compile(
    r"\b(?:kill|hang|shoot|drown|cut|hurt|harm|end|tak|finish|commit|suicid)", re.IGNORECASE
)
# Spoken words come without commas, so a "not" counts only where nothing but these words stands
# between it and the verb: "I am not okay I want to ..." denies nothing.
_DENIED: Final = re.compile(
    r"(?:\b(?:not|never|without|no longer|dont|wont|didnt|wouldnt)|n't)"
    r"(?: (?:really|actually|ever|currently|a|any|the|have|had|be|been|being|will|would|could|to|of"
    r"|on|about|going|gonna|want(?:ed|ing)?|wanna|need|wish|mean|intend(?:ing)?|intention"
    r"|try(?:ing)?|tried|plan(?:s|ned|ning)?|think(?:ing)?|thoughts?|consider(?:ed|ing)?"
    r"|contemplat(?:e|ed|ing)|attempt(?:ed|ing)?|feel(?:ing)? like|urge))* $",
    re.IGNORECASE,
)
_FIGURE: Final = re.compile(
    r"(?:die|dead|my ?self)"
    r"(?: (?:laughing|trying|(?:in )?training|at the gym)"
    r"|(?: \w+){0,2} (?:of|from|with) (?:\w+ )?"
    r"(?:laugh\w*|embarrass\w*|shame|boredom|joy|cringe))\b",
    re.IGNORECASE,
)
_FIRST_PERSON: Final = re.compile(r"\b(?:i|im|me|my|my ?self|m[sy]elf)\b", re.IGNORECASE)
_OTHERS: Final = re.compile(
    r"\b(?:he|she|they|who|friend|brother|sister|uncle|cousin|man|woman|guy|girl|boy|kid|neighbou?r"
    r"|student|mother|father|mom|dad|people|someone|somebody)\b[^.?!]{0,30}$",
    re.IGNORECASE,
)


def is_crisis(text: str) -> bool:
    """Whether somebody says that they may take their own life or hurt themselves.

    >>> is_crisis("I want to kill myself."), is_crisis("I am so sad, I miss him.")
    (True, False)
    """
    plain = " ".join(text.replace("’", "'").split())
    return any(_is_meant(plain, match) for match in _DANGER.finditer(plain))


def _is_meant(text: str, match: re.Match[str]) -> bool:
    verb = _VERB.search(match[0])
    before_verb = text[: match.start() + (verb.start() if verb else 0)]
    if _DENIED.search(before_verb) or _FIGURE.search(text[match.start() : match.end() + 30]):
        return False
    if _FIRST_PERSON.search(match[0]):
        return True
    before = text[: match.start()]
    return not _OTHERS.search(before) or bool(re.search(r"\bi\b", before[-30:], re.IGNORECASE))


def crisis_answer() -> str:
    """Answer with care and point to people who help."""
    lines = "; ".join(f"{region}: {line}" for region, line in HELP_LINES.items())
    return (
        "I am really glad you told me, and I am taking it seriously. I am only a computer program "
        "and cannot keep you safe, but people can, right now. If you are in danger, please call "
        f"your emergency number. To talk to someone, day or night: {lines}; elsewhere: "
        "findahelpline.com. Is there someone near you who could be with you?"
    )


class Guarded:
    """A model that is not asked when a person is in danger.

    Args:
        model: Answers everything else.
    """

    def __init__(self, model: DialogueModel) -> None:
        self.model = model

    def stream(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[str]:
        """Yield the answer; see `DialogueModel.stream`."""
        taken = as_messages(messages)
        if is_crisis(taken[-1].content):
            return iter((crisis_answer(),))
        return self.model.stream(taken, affect=affect, cancel=cancel)

    def reply(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
    ) -> str:
        """Return the whole answer; see `DialogueModel.reply`."""
        return "".join(self.stream(messages, affect=affect))
