"""One turn as markup: what was said, how it seemed, what was answered; and as a point in time.

Whatever a person or a model said is escaped; it never becomes markup.
"""

from __future__ import annotations

from html import escape
from textwrap import shorten
from typing import Final

from emotion.estimate import EmotionEstimate, Reading
from emotion.labels import EMOTIONS
from integration.session import Turn
from integration.translation import prevailing
from ui.icons import ICONS
from ui.plots import Mark, chip, columns, place, strip
from ui.texts import (
    AGREE,
    DIFFER,
    EDIT,
    EMOTION_NAMES,
    LEARNT,
    MIXED,
    NOT_SO,
    UNCLEAR,
    UNHEARD,
    UNSURE,
    WHY,
    percent,
)

__all__ = ["MARKED_WORDS", "mark_of", "render_turn"]

MARKED_WORDS: Final = 90
"""More characters of a turn are not shown on the time line."""


def render_turn(turn: Turn, *, newest: bool = False) -> str:
    """Show one turn: what was said, how it seemed, what was answered.

    Args:
        turn: The turn.
        newest: Whether to begin with its emotion unfolded.
    """
    return f'<div class="said">{_said(turn)}{_felt(turn, newest)}</div>{_replied(turn)}'


def _said(turn: Turn) -> str:
    how = "You said" if turn.source == "voice" else "You wrote"
    edited = " · corrected by you" if turn.edited else ""
    if turn.text:
        words = f'<p class="words">{escape(turn.text)}</p>{_edit(turn)}'
    elif turn.status == "hearing":
        words = '<p class="words faint">Making out the words …</p>'
    else:
        words = f'<p class="words faint">{UNHEARD}</p>{_edit(turn)}'
    return f'<p class="who">{how}{edited}</p>{words}'


def _edit(turn: Turn) -> str:
    if turn.source == "typed":
        return ""
    return (
        f'<details class="edit"><summary title="{EDIT}">{ICONS["edit"]}<span class="unseen">{EDIT}'
        f'</span></summary><form data-edit="{turn.id}"><textarea rows="2" maxlength="2000" '
        f'aria-label="What you said">{escape(turn.text or "")}</textarea><div>'
        '<button type="button" data-cancel>Leave it</button>'
        '<button type="submit">That is what I said</button></div></form></details>'
    )


def _felt(turn: Turn, newest: bool) -> str:
    whole = turn.seems
    if whole is None and turn.correction is None:
        return ""
    body = f"{_whole(whole)}{_apart(turn)}{_agreement(turn)}{_why(turn)}{_correction(turn)}"
    headline = _headline(turn, whole)
    return (
        f'<details class="felt"{" open" if newest else ""}><summary>{headline}</summary>'
        f"{body}</details>"
    )


def _headline(turn: Turn, whole: EmotionEstimate | None) -> str:
    """Say what the answer goes by."""
    if turn.correction is not None or whole is None:
        return f'{chip(turn.correction)} <span class="sure">as you say</span>'
    sure = f"{percent(whole.confidence)} sure" if whole.label else UNSURE
    return f'{chip(whole.label)} <span class="sure">{sure}{_sources(whole)}</span>'


def _sources(estimate: EmotionEstimate) -> str:
    seen = [name for name in ("face", "voice") if getattr(estimate, name) is not None]
    used = seen or (["words"] if estimate.words else [])
    return f", from {' and '.join(used)}" if used else ""


def _whole(estimate: EmotionEstimate | None) -> str:
    return "" if estimate is None else columns(estimate.probabilities, estimate.label)


def _apart(turn: Turn) -> str:
    estimate = turn.estimate
    readings = {
        "Face": estimate.face if estimate else None,
        "Voice": estimate.voice if estimate else None,
        "Words": turn.words,
    }
    rows = "".join(_reading(name, r) for name, r in readings.items() if r is not None)
    return f'<dl class="apart">{rows}</dl>' if rows else ""


def _reading(name: str, reading: Reading) -> str:
    p = reading.probabilities[reading.label]
    return (
        f"<dt>{name}</dt><dd>{strip(reading.probabilities)}"
        f"<span>{EMOTION_NAMES[reading.label]} {percent(p)}</span></dd>"
    )


def _agreement(turn: Turn) -> str:
    estimate = turn.estimate
    lines = []
    if estimate is not None and estimate.agreement is not None:
        same = estimate.face and estimate.voice and estimate.face.label == estimate.voice.label
        apart = f"<span>(agreement {percent(estimate.agreement)})</span>"
        lines.append(f"{AGREE if same else DIFFER} {apart}")
    if turn.affect is not None and turn.affect.contradicted_by_words:
        lines.append(MIXED)
    if turn.correction is None and turn.lessons:
        lines += _learnt(prevailing(turn.estimate, turn.words), turn.seems)
    return "".join(f'<p class="agreement">{line}</p>' for line in lines)


def _learnt(read: EmotionEstimate | None, seems: EmotionEstimate | None) -> list[str]:
    before, after = (_told(estimate) for estimate in (read, seems))
    return [] if before == after else [f"{LEARNT} <span>(without them: {before})</span>"]


def _told(estimate: EmotionEstimate | None) -> str:
    if estimate is None or estimate.label is None:
        return UNCLEAR.lower()
    return f"{EMOTION_NAMES[estimate.label].lower()} {percent(estimate.confidence)}"


def _why(turn: Turn) -> str:
    """Leave room for the pictures: they are a fragment of their own, which is sent but once."""
    if turn.evidence is None:
        return ""
    return (
        f'<details class="why"><summary>{WHY}</summary><div id="why-{turn.id}" data-slot></div>'
        "</details>"
    )


def _correction(turn: Turn) -> str:
    picks = "".join(
        f'<button type="button" data-turn="{turn.id}" data-emotion="{e}" '
        f'aria-pressed="{"true" if e == turn.correction else "false"}">{chip(e)}</button>'
        for e in EMOTIONS
    )
    return (
        f'<details class="correct"><summary>{NOT_SO}</summary>'
        f'<div role="group" aria-label="What do you feel?">{picks}</div></details>'
    )


def _replied(turn: Turn) -> str:
    if turn.status == "failed":
        return f'<div class="reply failed" role="alert"><p>{escape(turn.failure or "")}</p></div>'
    if turn.status == "waiting" or (turn.status == "answering" and not turn.reply):
        return '<div class="reply"><p class="thinking"><i></i><i></i><i></i></p></div>'
    if not turn.reply:
        return ""
    waited = f" · after {turn.waited_s:.1f} s" if turn.waited_s is not None else ""
    caret = '<span class="caret"></span>' if turn.status == "answering" else ""
    stopped = '<p class="who">stopped</p>' if turn.status == "stopped" else ""
    return (
        f'<div class="reply"><p class="who">Attune (AI){waited}</p>'
        f'<p class="words">{escape(turn.reply.strip())}{caret}</p>{stopped}</div>'
    )


def mark_of(turn: Turn) -> Mark:
    """Say where a turn lies on the time line, and what is told of it there."""
    whole = turn.seems
    words = shorten(turn.text or "…", MARKED_WORDS, placeholder=" …")
    if turn.correction is not None:
        valence, _ = place({turn.correction: 1.0})
        return Mark(turn.id, turn.correction, "as you say", valence, words)
    if whole is None:
        return Mark(turn.id, None, "nothing read", None, words)
    sure = f"{percent(whole.confidence)} sure" if whole.label else UNSURE
    return Mark(turn.id, whole.label, sure, whole.valence, words)
