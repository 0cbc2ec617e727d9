"""The page as a pure function of the session: nothing here reads a clock, a file or a socket.

Whatever a person or a model said is escaped; it never becomes markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final, Literal

from emotion.calibration import UNCLEAR_BELOW
from emotion.estimate import FaceSighting, Moment
from emotion.labels import Emotion
from integration.events import Channel
from integration.session import Session
from ui.icons import ICONS
from ui.plots import (
    Mark,
    Trace,
    bars,
    chip,
    face_box,
    pictures,
    place,
    plane,
    time_line,
)
from ui.texts import (
    ALOUD,
    ASLEEP,
    ASLEEP_SOUND,
    BY_TURNS,
    CONSENT_BODY,
    CONSENT_LAW,
    CONSENT_LICENCE,
    CONSENT_TITLE,
    ELSEWHERE,
    GREETING,
    GREETING_TYPED,
    LOST,
    NO_VOICE,
    SAVES,
    STAYS_HERE,
    SWITCHES,
    TAGLINE,
    UNSURE,
    WORDS_LEAVE,
    listed,
    percent,
)
from ui.turns import mark_of, render_turn

__all__ = ["Page", "consent", "full", "header", "render", "render_turn", "stage", "talk"]

TRAIL_S: Final = 6.0
"""How long the way of the dot on the plane stays in sight."""

TRAIL_STEP_S: Final = 0.2


@dataclass(frozen=True)
class Page:
    """What a browser has to show.

    Attributes:
        screen: The consent screen, or the talk.
        devices: Which of the devices should run.
        answering: Whether an answer is on its way, which may be stopped.
        fragments: HTML by the id of the element that holds it.
        turns: HTML of each turn by its id, in order of time.
        trail: Where the nearest face was on the plane of valence and arousal, newest last.
        marks: Each turn as a point on the time line.
    """

    screen: Literal["consent", "talk"]
    devices: Mapping[Channel, bool]
    answering: bool
    fragments: Mapping[str, str] = field(repr=False)
    turns: Mapping[int, str] = field(repr=False)
    trail: tuple[Trace, ...] = field(default=(), repr=False)
    marks: tuple[Mark, ...] = field(default=(), repr=False)


def render(session: Session, before: tuple[Session, Page] | None = None) -> Page:
    """Show a session.

    Args:
        session: The session.
        before: An earlier one and how it was shown; turns of it that are still the same are not
            drawn again. They are compared by identity, which a long talk needs many times a second.
    """
    old, page = before or (None, None)
    trail = _trail(session.moment, page.trail if page else ())
    marks = _marks(session, old, page)
    return Page(
        screen="talk" if session.consented else "consent",
        devices={"camera": session.camera, "microphone": session.microphone},
        answering=any(turn.status in ("waiting", "answering") for turn in session.turns),
        fragments={
            "status": _status(session),
            "switches": _switches(session),
            "goes-by": _goes_by(session),
            "overlay": _overlay(session.moment),
            "now": _now(session, trail),
            "notice": _notice(session),
            "greeting": _greeting(session),
            "so-far": _so_far(marks, page),
            "hearing": _hearing(session),
            "announce": _announce(session),
            **_reasons(session, old, page),
        },
        turns=_turns(session, old, page),
        trail=trail,
        marks=marks,
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
        f'<p id="lost" role="alert" data-trying="{LOST}" data-gone="{ASLEEP}" '
        f'data-elsewhere="{ELSEWHERE}" hidden></p>'
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


def full(sentence: str) -> str:
    """Say on the first screen why nobody can begin here now."""
    return f'<p id="full" role="alert">{escape(sentence)}</p>'


def stage() -> str:
    """Draw the frame around the live picture, which the page's script fills."""
    states = "".join(f' data-{state}="{words}"' for state, words in ALOUD.items())
    return (
        '<div id="picture"><video id="camera" autoplay playsinline muted '
        'aria-label="Your camera"></video><svg id="overlay" aria-hidden="true"></svg>'
        f'<p id="dark">{ICONS["camera"]}The camera is off.</p></div>'
        '<div id="devices" role="group" aria-label="What may be used">'
        '<div id="switches"></div>'
        '<button type="button" class="switch" role="switch" id="aloud" aria-checked="false" '
        f'aria-describedby="aloud-why"{states}>{ICONS["aloud"]}Read aloud<b>off</b></button></div>'
        f'<p id="aloud-why" hidden>{NO_VOICE}</p><p id="asleep" role="status">{ASLEEP_SOUND}</p>'
        '<p id="goes-by"></p>'
        '<section id="now" aria-label="Right now"></section>'
        '<button type="button" id="unfold" aria-expanded="false" aria-controls="now">'
        '<span class="unseen">All seven emotions</span></button>'
    )


def talk() -> str:
    """Draw the frame around the turns, which the page's script fills."""
    return (
        '<section id="so-far" aria-label="The talk so far"></section>'
        '<div id="notice" role="status" aria-live="polite"></div>'
        '<div id="turns" role="log" aria-label="The talk" aria-live="off" tabindex="0"></div>'
        '<div id="hearing"></div>'
        '<div id="greeting"></div>'
        '<p id="announce" class="unseen" role="status" aria-live="polite"></p>'
    )


# -- the parts that follow the session ------------------------------------------------------------


def _status(session: Session) -> str:
    word = {"warming up": "Warming up", "ready": "Ready", "failed": "Not working"}[
        session.readiness
    ]
    if session.consented and session.readiness == "warming up":
        word += " – you can type already"
    kind = session.readiness.split()[0]
    return f'<span class="dot {kind}"></span>{word}{_dropped(session)}'


def _dropped(session: Session) -> str:
    lost = []
    if session.dropped_frames:
        lost.append(f"{session.dropped_frames} pictures")
    if session.dropped_audio_s:
        lost.append(f"{session.dropped_audio_s:.1f} s of sound")
    if session.dropped_speech_s:
        lost.append(f"the words of {session.dropped_speech_s:.1f} s")
    return f' <span class="lost">· skipped {listed(lost)}</span>' if lost else ""


def _switches(session: Session) -> str:
    states = {
        "camera": "on" if session.camera else "off",
        "microphone": "hears you" if _speaks(session) else "on" if session.microphone else "off",
    }
    return "".join(
        f'<button type="button" class="switch" role="switch" data-switch="{channel}" '
        f'aria-checked="{"false" if states[channel] == "off" else "true"}">{ICONS[channel]}{name}'
        f"<b>{states[channel]}</b></button>"
        for channel, name in SWITCHES.items()
    )


def _speaks(session: Session) -> bool:
    return session.microphone and session.moment is not None and session.moment.speaking


def _goes_by(session: Session) -> str:
    used = [
        *(["face"] if session.camera else []),
        *(["voice"] if session.microphone else []),
        "words",
    ]
    return f"Attune goes by your {listed(used)}{' alone' if len(used) == 1 else ''}."


def _overlay(moment: Moment | None) -> str:
    faces = moment.faces if moment else ()
    return "".join(face_box(face, _label(face)) for face in faces)


def _now(session: Session, trail: tuple[Trace, ...]) -> str:
    face = _nearest(session.moment)
    label = _label(face) if face else None
    sure = f"{percent(_top(face))} sure" if face and label else UNSURE if face else ""
    head = chip(label) if face else '<span class="chip none"><i></i>No face in sight</span>'
    charts = bars(face.probabilities if face else None, label) + plane(trail if face else ())
    if not session.camera:
        head, charts = '<span class="chip none"><i></i>Not looking</span>', f"<p>{BY_TURNS}</p>"
    return (
        f'<div class="line"><h2>Right now</h2>{_voice(session)}</div>'
        f'<div class="line seems">{head} <span class="sure">{sure}</span></div>'
        f'<div class="charts">{charts}</div>'
    )


def _trail(moment: Moment | None, before: tuple[Trace, ...]) -> tuple[Trace, ...]:
    """Go on with the way of the nearest face; another face begins a new one."""
    face = _nearest(moment)
    if moment is None or face is None:
        return ()
    newest = Trace(moment.time_s, face.person, *place(face.probabilities))
    kept = [t for t in before if t.person == face.person and t.time_s > newest.time_s - TRAIL_S]
    # the one before may have come too soon after its own to be worth a step
    if len(kept) > 1 and kept[-1].time_s - kept[-2].time_s < TRAIL_STEP_S:
        kept.pop()
    return (*(t for t in kept if t.time_s < newest.time_s), newest)


def _voice(session: Session) -> str:
    meter = '<i class="meter" aria-hidden="true"><u></u><u></u><u></u><u></u></i>'
    if not session.microphone:
        return '<span class="voice off">Not listening</span>'
    if _speaks(session):
        return f'<span class="voice on">{meter}You are speaking</span>'
    return f'<span class="voice">{meter}Listening</span>'


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


def _hearing(session: Session) -> str:
    if not session.hearing:
        return ""
    return (
        '<div class="said live"><p class="who">You are saying</p>'
        f'<p class="words">{escape(session.hearing)} <span class="faint">…</span></p></div>'
    )


def _announce(session: Session) -> str:
    """Say for a screen reader what has just come to an end."""
    turn = session.turns[-1] if session.turns else None
    if turn is None or turn.status not in ("answered", "stopped"):
        return ""
    return f"Attune: {escape(turn.reply.strip())}"


# -- the talk so far ------------------------------------------------------------------------------


def _marks(session: Session, before: Session | None, page: Page | None) -> tuple[Mark, ...]:
    kept: list[Mark] = []
    if before is not None and page is not None:
        known = zip(session.turns, before.turns, page.marks, strict=False)
        kept = [mark if turn is old else mark_of(turn) for turn, old, mark in known]
    return (*kept, *map(mark_of, session.turns[len(kept) :]))


def _so_far(marks: tuple[Mark, ...], page: Page | None) -> str:
    if not marks:
        return ""
    if page is not None and page.marks == marks:
        return page.fragments["so-far"]
    saves = "".join(
        f'<button type="button" data-save="{form}">{name}</button>' for form, name in SAVES.items()
    )
    return (
        '<div class="line"><h2>The talk so far</h2><details class="save"><summary>Save'
        f"</summary><div>{saves}</div></details></div>{time_line(marks)}"
    )


def _reasons(session: Session, before: Session | None, page: Page | None) -> dict[str, str]:
    known = {} if before is None else {turn.id: turn.evidence for turn in before.turns}
    drawn = page.fragments if page else {}
    return {
        (key := f"why-{turn.id}"): drawn[key]
        if turn.evidence is known.get(turn.id)
        else pictures(turn.evidence)
        for turn in session.turns
        if turn.evidence is not None
    }
