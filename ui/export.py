"""A talk as a file for the person who had it: pure functions of the session, nothing is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from emotion.estimate import Reading
from integration.session import Session, Turn
from ui.texts import EMOTION_NAMES, UNCLEAR, percent

__all__ = ["FORMS", "Form", "as_json", "as_text"]

FORMAT: Final = 1
"""Counts up when the meaning of a key changes; keys may be added without."""

HEADING: Final = "A talk with Attune, an AI"
CAUTION: Final = "What is said of feelings is a guess from face, voice and words, and can be wrong."


@dataclass(frozen=True)
class Form:
    """One way to save a talk.

    Attributes:
        write: Turns a session into the file's text.
        media_type: Of the file.
        name: Suggested for the file.
    """

    write: Callable[[Session], str]
    media_type: str
    name: str


def as_json(session: Session) -> str:
    """Write a talk with every number, times in seconds.

    Estimates have the keys of `EmotionEstimate.to_dict`; `seems` is what an answer goes by.
    """
    talk = {"format": FORMAT, "note": CAUTION, "turns": [_turn(turn) for turn in session.turns]}
    return json.dumps(talk, ensure_ascii=False, indent=1)


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "turn": turn.id,
        "source": turn.source,
        "text": turn.text,
        "edited": turn.edited,
        "estimate": turn.estimate and turn.estimate.to_dict(),
        "words": turn.words and _reading(turn.words),
        "seems": turn.seems
        and {
            "label": turn.seems.label,
            "probabilities": dict(turn.seems.probabilities),
        },
        "correction": turn.correction,
        "reply": turn.reply.strip() or None,
        "status": turn.status,
        "pause_s": turn.pause_s,
        "read_after_s": turn.read_after_s,
        "heard_after_s": turn.heard_after_s,
        "waited_s": turn.waited_s,
    }


def _reading(reading: Reading) -> dict[str, Any]:
    return {"probabilities": dict(reading.probabilities), "quality": reading.quality}


def as_text(session: Session) -> str:
    """Write a talk to be read."""
    parts = [HEADING, CAUTION, *map(_paragraph, session.turns)]
    return "\n\n".join(parts) + "\n"


def _paragraph(turn: Turn) -> str:
    how = "said" if turn.source == "voice" else "wrote"
    lines = [f"You {how}: {turn.text or '(no words were made out)'}", *_felt(turn)]
    if turn.reply.strip():
        stopped = " (stopped)" if turn.status == "stopped" else ""
        lines.append(f"Attune: {turn.reply.strip()}{stopped}")
    elif turn.failure:
        lines.append(f"({turn.failure})")
    return "\n".join(lines)


def _felt(turn: Turn) -> list[str]:
    if turn.correction is not None:
        return [f"(You felt: {EMOTION_NAMES[turn.correction].lower()})"]
    whole = turn.seems
    if whole is None:
        return []
    if whole.label is None:
        return [f"(Seemed: {UNCLEAR.lower()})"]
    return [f"(Seemed: {EMOTION_NAMES[whole.label].lower()}, {percent(whole.confidence)} sure)"]


FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {
        "json": Form(as_json, "application/json", "attune-talk.json"),
        "text": Form(as_text, "text/plain; charset=utf-8", "attune-talk.txt"),
    }
)
"""How a talk can be saved, by the last part of its address."""
