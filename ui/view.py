"""The page as a pure function of the session: nothing here reads a clock, a file or a socket.

Whatever a person or a model said is escaped; it never becomes markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from emotion.calibration import UNCLEAR_BELOW
from emotion.estimate import EmotionEstimate, FaceSighting, Moment, Reading
from emotion.labels import EMOTIONS, Emotion
from integration.events import Channel
from integration.session import Session, Turn
from integration.translation import prevailing
from ui.plots import bars, chip, columns, face_box, strip
from ui.texts import (
    AGREE,
    CONSENT_BODY,
    CONSENT_LAW,
    CONSENT_LICENCE,
    CONSENT_TITLE,
    DIFFER,
    EMOTION_NAMES,
    GREETING,
    GREETING_TYPED,
    MIXED,
    NOT_SO,
    STAYS_HERE,
    SWITCHES,
    TAGLINE,
    UNHEARD,
    WORDS_LEAVE,
    percent,
)

__all__ = ["Page", "consent", "header", "render", "render_turn", "stage", "talk"]


@dataclass(frozen=True)
class Page:
    """What a browser has to show.

    Attributes:
        screen: The consent screen, or the talk.
        devices: Which of the devices should run.
        answering: Whether an answer is on its way, which may be stopped.
        fragments: HTML by the id of the element that holds it.
        turns: HTML of each turn by its id, in order of time.
    """

    screen: Literal["consent", "talk"]
    devices: Mapping[Channel, bool]
    answering: bool
    fragments: Mapping[str, str] = field(repr=False)
    turns: Mapping[int, str] = field(repr=False)


def render(session: Session, before: tuple[Session, Page] | None = None) -> Page:
    """Show a session.

    Args:
        session: The session.
        before: An earlier one and how it was shown; turns of it that are still the same are not
            drawn again. They are compared by identity, which a long talk needs many times a second.
    """
    return Page(
        screen="talk" if session.consented else "consent",
        devices={"camera": session.camera, "microphone": session.microphone},
        answering=any(turn.status in ("waiting", "answering") for turn in session.turns),
        fragments={
            "status": _status(session),
            "switches": _switches(session),
            "overlay": _overlay(session.moment),
            "now": _now(session),
            "notice": _notice(session),
            "greeting": _greeting(session),
        },
        turns=_turns(session, *(before or (None, None))),
    )


def _turns(session: Session, before: Session | None, page: Page | None) -> dict[int, str]:
    kept: dict[int, str] = {}
    if before is not None and page is not None:
        # the newest turn of either begins unfolded, which another one does not
        pairs = zip(session.turns[:-1], before.turns[:-1], strict=False)
        kept = {turn.id: page.turns[turn.id] for turn, old in pairs if turn is old}
    return {
        turn.id: kept.get(turn.id) or render_turn(turn, newest=turn is session.turns[-1])
        for turn in session.turns
    }


# -- the parts that never change ------------------------------------------------------------------


def header() -> str:
    """Draw the head of the page."""
    return (
        f'<header id="head"><h1>Attune</h1><p>{TAGLINE}</p>'
        '<div id="status" role="status" aria-live="polite"></div></header>'
    )


def consent(words_go_to: str | None = None) -> str:
    """Draw the first screen: what is read, that it can be wrong, where it stays, what it is.

    Args:
        words_go_to: Host that a remote dialogue model runs on, or None where it runs here.
    """
    where, how = STAYS_HERE if words_go_to is None else WORDS_LEAVE
    kept = (where, escape(how.format(host=words_go_to)))
    points = "".join(
        f"<li><h3>{title}</h3><p>{text}</p></li>" for title, text in (*CONSENT_BODY, kept)
    )
    small = f'<p class="law">{CONSENT_LAW} {CONSENT_LICENCE}</p>'
    return f"<h2>{CONSENT_TITLE}</h2><ul>{points}</ul>{small}"


def stage() -> str:
    """Draw the frame around the live picture, which the page's script fills."""
    return (
        '<div id="picture"><video id="camera" autoplay playsinline muted '
        'aria-label="Your camera"></video><svg id="overlay" aria-hidden="true"></svg>'
        '<p id="dark">The camera is off.</p></div>'
        '<div id="switches" role="group" aria-label="What may be used"></div>'
        '<section id="now" aria-label="Right now"></section>'
    )


def talk() -> str:
    """Draw the frame around the turns, which the page's script fills."""
    return (
        '<div id="notice" role="status" aria-live="polite"></div>'
        '<div id="turns" role="log" aria-label="The talk" tabindex="0"></div>'
        '<div id="greeting"></div>'
    )


# -- the parts that follow the session ------------------------------------------------------------


def _status(session: Session) -> str:
    word = {
        "warming up": "Warming up – you can type already",
        "ready": "Ready",
        "failed": "Not working",
    }[session.readiness]
    kind = session.readiness.split()[0]
    return f'<span class="dot {kind}"></span>{word}{_dropped(session)}'


def _dropped(session: Session) -> str:
    lost = []
    if session.dropped_frames:
        lost.append(f"{session.dropped_frames} pictures")
    if session.dropped_audio_s:
        lost.append(f"{session.dropped_audio_s:.1f} s of sound")
    return f' <span class="lost">· skipped {" and ".join(lost)}</span>' if lost else ""


def _switches(session: Session) -> str:
    on = {"camera": session.camera, "microphone": session.microphone}
    return "".join(
        f'<button type="button" class="switch" role="switch" data-switch="{channel}" '
        f'aria-checked="{"true" if on[channel] else "false"}"><i></i>{name}'
        f"<b>{'on' if on[channel] else 'off'}</b></button>"
        for channel, name in SWITCHES.items()
    )


def _overlay(moment: Moment | None) -> str:
    faces = moment.faces if moment else ()
    return "".join(face_box(face, _label(face)) for face in faces)


def _now(session: Session) -> str:
    face = _nearest(session.moment)
    label = _label(face) if face else None
    sure = f' <span class="sure">{percent(_top(face))} sure</span>' if face and label else ""
    head = chip(label) if face else '<span class="chip none"><i></i>No face in sight</span>'
    if not session.camera:
        head = '<span class="chip none"><i></i>Not looking</span>'
    return (
        f'<div class="line"><h2>Right now</h2>{_voice(session)}</div>'
        f'<div class="line">{head}{sure}</div>'
        f"{bars(face.probabilities if face else None, label)}"
    )


def _voice(session: Session) -> str:
    if not session.microphone:
        return '<span class="voice off">Not listening</span>'
    if session.moment is not None and session.moment.speaking:
        return '<span class="voice on"><i></i>You are speaking</span>'
    return '<span class="voice">Listening</span>'


def _nearest(moment: Moment | None) -> FaceSighting | None:
    faces = moment.faces if moment else ()
    return max(faces, key=lambda face: face.box[3] - face.box[1], default=None)


def _top(face: FaceSighting) -> float:
    return max(face.probabilities.values())


def _label(face: FaceSighting) -> Emotion | None:
    likeliest = max(face.probabilities, key=face.probabilities.__getitem__)
    return likeliest if _top(face) >= UNCLEAR_BELOW else None


def _greeting(session: Session) -> str:
    if session.turns:
        return ""
    return f"<p>{GREETING if session.microphone else GREETING_TYPED}</p>"


def _notice(session: Session) -> str:
    return f"<p>{escape(session.notice)}</p>" if session.notice else ""


def render_turn(turn: Turn, *, newest: bool = False) -> str:
    """Show one turn: what was said, how it seemed, what was answered.

    Args:
        turn: The turn.
        newest: Whether to begin with its emotion unfolded.
    """
    return f'<div class="said">{_said(turn)}{_felt(turn, newest)}</div>{_replied(turn)}'


def _said(turn: Turn) -> str:
    how = "You said" if turn.source == "voice" else "You wrote"
    if turn.text:
        words = f'<p class="words">{escape(turn.text)}</p>'
    elif turn.status == "hearing":
        words = '<p class="words faint">Making out the words …</p>'
    else:
        words = f'<p class="words faint">{UNHEARD}</p>'
    return f'<p class="who">{how}</p>{words}'


def _felt(turn: Turn, newest: bool) -> str:
    whole = prevailing(turn.estimate, turn.words)
    if whole is None and turn.correction is None:
        return ""
    body = f"{_whole(whole)}{_apart(turn)}{_agreement(turn)}{_correction(turn)}"
    headline = _headline(turn, whole)
    return (
        f'<details class="felt"{" open" if newest else ""}><summary>{headline}</summary>'
        f"{body}</details>"
    )


def _headline(turn: Turn, whole: EmotionEstimate | None) -> str:
    """Say what the answer goes by."""
    if turn.correction is not None or whole is None:
        return f'{chip(turn.correction)} <span class="sure">as you say</span>'
    sure = f"{percent(whole.confidence)} sure" if whole.label else "not sure enough to say"
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
    return "".join(f'<p class="agreement">{line}</p>' for line in lines)


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
