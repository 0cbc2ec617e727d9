"""What the agent says aloud: which sentences are ready, and how fast and high they are spoken.

The page speaks with the browser's own synthesis; what it is to say and how is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from dialogue.affect import Act, UserAffect, policy_for

__all__ = ["DELIVERIES", "Delivery", "Speech", "delivery_for", "sentences_of"]


@dataclass(frozen=True)
class Delivery:
    """How something is spoken, as the Web Speech API counts it.

    Attributes:
        rate: Speed; 1 is the voice's usual one.
        pitch: Height, 0 to 2; 1 is the voice's usual one.
    """

    rate: float
    pitch: float


DELIVERIES: Final[Mapping[Act, Delivery]] = MappingProxyType(
    {
        "follow": Delivery(1.0, 1.0),
        "ask": Delivery(0.97, 1.02),
        "comfort": Delivery(0.88, 0.94),
        "reassure": Delivery(0.9, 0.95),
        "calm": Delivery(0.92, 0.92),
        "validate": Delivery(0.95, 0.97),
        "celebrate": Delivery(1.08, 1.1),
        "explore": Delivery(1.02, 1.05),
    }
)
"""What an answer should do → how it is spoken. Sad speech is slower and lower, glad speech faster
and higher (Banse & Scherer 1996, table 6); the steps are small, because an answer meets a feeling
and does not act it."""


def delivery_for(affect: UserAffect | None) -> Delivery:
    """Look up how an answer to someone who seems to feel so is spoken."""
    return DELIVERIES["follow" if affect is None else policy_for(affect).act]


@dataclass(frozen=True)
class Speech:
    """An answer as far as it can be spoken.

    Attributes:
        turn: The turn it answers.
        answer: Counts the answers of a talk; a turn that is answered again has another one.
        sentences: Those that are ready, from the first on; spoken ones never change.
        rate: See `Delivery`.
        pitch: See `Delivery`.
        ended: Whether no more sentences will come.
    """

    turn: int
    answer: int
    sentences: tuple[str, ...] = field(repr=False)
    rate: float
    pitch: float
    ended: bool


# an end of sentence, with its closing quotes and brackets, that is followed by something
_END: Final = re.compile(r"""(?<=[.!?…])(["'”’)\]]*)\s+""")


def sentences_of(reply: str, *, ended: bool) -> tuple[str, ...]:
    """Cut an answer into the sentences that are ready to be spoken.

    A sentence is ready when something follows it, or when the answer has ended.

    >>> sentences_of("Oh no. What happ", ended=False)
    ('Oh no.',)
    >>> sentences_of("Oh no. What happened?", ended=True)
    ('Oh no.', 'What happened?')
    """
    marked = _END.sub(r"\1\n", reply.strip() if ended else reply.lstrip())
    pieces = [piece.strip() for piece in marked.split("\n")]
    ready = pieces if ended else pieces[:-1]
    return tuple(piece for piece in ready if any(letter.isalnum() for letter in piece))
