"""What is said, without any model, to a person whose words speak of danger.

`dialogue.danger` finds it; where it does, no model speaks. The answer is always the same kind one,
with places that help.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from dialogue.affect import UserAffect
from dialogue.conversation import Message, as_messages
from dialogue.danger import Danger, find_danger
from dialogue.errors import InputError
from dialogue.models.base import DialogueModel, reply_batch

__all__ = ["HELP", "Guarded", "Help", "crisis_answer", "is_crisis"]


@dataclass(frozen=True)
class Help:
    """Whom to call in one region; free of charge, and day and night as far as is known.

    Attributes:
        name: Of the region, in English.
        emergency: Number for police and ambulance.
        talk: For somebody who may harm themself, or anybody else who needs to talk.
        abuse: For somebody who is hurt by another.
    """

    name: str
    emergency: str
    talk: str
    abuse: str


HELP: Final[Mapping[str, Help]] = MappingProxyType(
    {
        "US": Help(
            "United States", "911", "call or text 988", "Domestic Violence Hotline 1-800-799-7233"
        ),
        "CA": Help("Canada", "911", "call or text 988", "shelters by place at sheltersafe.ca"),
        "GB": Help(
            "United Kingdom",
            "999",
            "Samaritans 116 123",
            "National Domestic Abuse Helpline 0808 2000 247",
        ),
        "IE": Help("Ireland", "112", "Samaritans 116 123", "Women's Aid 1800 341 900"),
        "DE": Help("Germany", "112", "TelefonSeelsorge 0800 111 0 111", "Hilfetelefon 116 016"),
        "FR": Help("France", "112", "3114", "Violences Femmes Info 3919"),
        "ES": Help("Spain", "112", "024", "016"),
        "NL": Help("Netherlands", "112", "113 or 0800 0113", "Veilig Thuis 0800 2000"),
        "IN": Help("India", "112", "Tele-MANAS 14416", "Women Helpline 181"),
        "AU": Help("Australia", "000", "Lifeline 13 11 14", "1800RESPECT 1800 737 732"),
        "NZ": Help("New Zealand", "111", "call or text 1737", "Women's Refuge 0800 733 843"),
    }
)
"""ISO 3166 country code → help. Elsewhere: the local emergency number, or findahelpline.com.

Compared in November 2026 with what public pages say: those of the helplines or of public bodies for
FR, NL, the Spanish 024 and the American 1-800-799-7233, news for the Canadian 988 and the Spanish
016, lists of others for the rest. Nobody here called them: whoever serves others checks first. The
lines for abuse of IE, FR, ES, IN and NZ, and the German 116 016, are for women above all.
"""

ELSEWHERE: Final = "findahelpline.com"

_OPENING: Final[Mapping[Danger, str]] = MappingProxyType(
    {
        "self_harm": "I am really glad you told me, and I am taking it seriously. I am only a "
        "computer program and cannot keep you safe, but people can, right now.",
        "other_at_risk": "Thank you for looking out for them; I am taking it seriously. I am only "
        "a computer program, but people can help you both, right now. You can ask them openly "
        "whether they think of suicide: asking does no harm. Stay with them if you can.",
        "harm_to_others": "I am glad you said it, and I am taking it seriously. I am only a "
        "computer program. Please step away from the person and from anything that could hurt "
        "somebody, and let people help you before anything happens.",
        "abuse": "I am so sorry this is happening, and I am glad you told me. It is not the fault "
        "of the one who is hurt. I am only a computer program, but people can help.",
    }
)
_CLOSING: Final[Mapping[Danger, str]] = MappingProxyType(
    {
        "self_harm": "Is there someone near you who could be with you?",
        "other_at_risk": "Are they safe at this moment?",
        "harm_to_others": "Is there someone who could be with you now?",
        "abuse": "Are you somewhere safe right now?",
    }
)


def is_crisis(text: str) -> bool:
    """Whether somebody's words speak of danger, to themself or to others; see `dialogue.danger`.

    >>> is_crisis("I want to kill myself."), is_crisis("I am so sad, I miss him.")
    (True, False)
    """
    return find_danger(text) is not None


def crisis_answer(danger: Danger = "self_harm", region: str | None = None) -> str:
    """Answer with care and point to people who help.

    Args:
        danger: What the words speak of.
        region: Country code out of HELP; None, or one that is not in it, names them all.
    """
    known = HELP.get(region or "")
    emergency = known.emergency if known else "your emergency number"
    lines = "; ".join(
        f"{h.name}: {_line(h, danger)}" for h in ([known] if known else HELP.values())
    )
    return (
        f"{_OPENING[danger]} If someone is in danger now, please call {emergency}. To talk to "
        f"someone, day or night: {lines}; elsewhere: {ELSEWHERE}. {_CLOSING[danger]}"
    )


def _line(help_: Help, danger: Danger) -> str:
    return help_.abuse if danger == "abuse" else help_.talk


class Guarded:
    """A model that is not asked when a person's words speak of danger.

    Args:
        model: Answers everything else.
        region: Country code out of HELP whose lines are named; None names them all.

    Raises:
        InputError: If there is no such region.
    """

    def __init__(self, model: DialogueModel, region: str | None = None) -> None:
        if region is not None and region not in HELP:
            raise InputError(f"Expected a region out of {', '.join(HELP)}, got {region!r}.")
        find_danger("")  # reads the table now, not at the first words
        self.model = model
        self._region = region

    def stream(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[str]:
        """Yield the answer; see `DialogueModel.stream`."""
        taken = as_messages(messages)
        danger = find_danger(taken[-1].content)
        if danger is not None:
            return iter((crisis_answer(danger, self._region),))
        return self.model.stream(taken, affect=affect, cancel=cancel)

    def reply(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
    ) -> str:
        """Return the whole answer; see `DialogueModel.reply`."""
        return "".join(self.stream(messages, affect=affect))

    def reply_batch(self, talks: Sequence[Sequence[Message]]) -> list[str]:
        """Answer several talks; see `dialogue.models.base.reply_batch`."""
        dangers = [find_danger(talk[-1].content) for talk in talks]
        calm = [talk for talk, danger in zip(talks, dangers, strict=True) if danger is None]
        answers = iter(reply_batch(self.model, calm) if calm else ())
        return [crisis_answer(d, self._region) if d else next(answers) for d in dangers]
