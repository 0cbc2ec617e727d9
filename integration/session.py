"""One conversation as a value: every event gives the next one. No clock, no thread, no I/O.

Whoever holds a `Session` may read it at leisure: it never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from dialogue.affect import UserAffect
from emotion.estimate import EmotionEstimate, Moment, Reading
from emotion.labels import Emotion
from integration.events import (
    ChannelSwitched,
    Consented,
    Corrected,
    Event,
    Forgotten,
    Heard,
    MediaDropped,
    MomentSeen,
    Noticed,
    Read,
    Readied,
    ReplyEnded,
    ReplyPiece,
    ReplyStarted,
    Source,
    TurnFailed,
    TurnOpened,
)

__all__ = ["RULES", "Readiness", "Session", "Status", "Turn", "advance"]

Readiness = Literal["warming up", "ready", "failed"]
"""Where the models are."""

Status = Literal["hearing", "waiting", "answering", "answered", "stopped", "unheard", "failed"]
"""Where a turn is: its words are being made out; it waits for an answer; the answer streams in, is
complete, or was stopped; no words could be made out; or something failed."""

NO_MODELS: Final = "Nobody can answer: the models could not be loaded."


@dataclass(frozen=True)
class Turn:
    """One thing the person said, and the answer to it.

    Attributes:
        id: Counts from 0; never used twice in a session, not even after forgetting.
        source: Spoken or typed.
        text: The words; None until they are made out.
        estimate: Face and voice, or None where neither was there.
        words: The words' own reading, or None.
        correction: What the person says they felt, or None.
        reply: The answer as far as it has come.
        status: Where the turn is.
        failure: One sentence, where it failed.
        waited_s: From the turn's end to the first word of its answer, in seconds.
    """

    id: int
    source: Source
    status: Status
    text: str | None = field(default=None, repr=False)
    estimate: EmotionEstimate | None = field(default=None, repr=False)
    words: Reading | None = field(default=None, repr=False)
    correction: Emotion | None = field(default=None, repr=False)
    affect: UserAffect | None = field(default=None, repr=False)
    reply: str = field(default="", repr=False)
    failure: str | None = None
    waited_s: float | None = None


@dataclass(frozen=True)
class Session:
    """One conversation at one moment.

    Attributes:
        consented: Whether the person agreed to the first screen. Until then nothing is taken in.
        camera: Whether the camera is switched on.
        microphone: Whether the microphone is switched on.
        readiness: Where the models are.
        moment: What is seen and heard now; None while both channels are off.
        turns: In order of time.
        next_turn: Id of the next turn.
        notice: One sentence that belongs to no turn, or None.
        dropped_frames: Frames thrown away because the machine was too slow.
        dropped_audio_s: Seconds of sound thrown away for the same reason.
    """

    consented: bool = False
    camera: bool = False
    microphone: bool = False
    readiness: Readiness = "warming up"
    moment: Moment | None = field(default=None, repr=False)
    turns: tuple[Turn, ...] = ()
    next_turn: int = 0
    notice: str | None = None
    dropped_frames: int = 0
    dropped_audio_s: float = 0.0

    def turn(self, turn_id: int) -> Turn | None:
        """Return the turn of this id, or None where it is unknown or forgotten."""
        return next((turn for turn in self.turns if turn.id == turn_id), None)


def advance(session: Session, event: Event) -> Session:
    """Return the session after an event; an event about a forgotten turn changes nothing."""
    return RULES[type(event)](session, event)


def _consented(session: Session, event: Consented) -> Session:
    agreed = replace(session, consented=True, camera=event.camera, microphone=event.microphone)
    return _with_moment(agreed, session.moment)


def _switched(session: Session, event: ChannelSwitched) -> Session:
    on = event.on and session.consented
    camera = on if event.channel == "camera" else session.camera
    microphone = on if event.channel == "microphone" else session.microphone
    # camera and microphone often fail together: neither reason hides the other
    reasons = dict.fromkeys(filter(None, (session.notice, event.reason)))
    notice = " ".join(reasons) or None
    switched = replace(session, camera=camera, microphone=microphone, notice=notice)
    return _with_moment(switched, session.moment)


def _with_moment(session: Session, moment: Moment | None) -> Session:
    """Let the page show of a moment only what the switched-on channels may tell."""
    if moment is not None:
        faces = moment.faces if session.camera else ()
        moment = replace(moment, faces=faces, speaking=moment.speaking and session.microphone)
    return replace(session, moment=moment if session.camera or session.microphone else None)


def _readied(session: Session, event: Readied) -> Session:
    if event.failure is None:
        return replace(session, readiness="ready")
    turns = tuple(_unanswerable(turn) for turn in session.turns)
    return replace(session, readiness="failed", notice=event.failure, turns=turns)


def _unanswerable(turn: Turn) -> Turn:
    return replace(turn, status="failed", failure=NO_MODELS)


def _moment_seen(session: Session, event: MomentSeen) -> Session:
    return _with_moment(session, event.moment)


def _media_dropped(session: Session, event: MediaDropped) -> Session:
    return replace(
        session,
        dropped_frames=session.dropped_frames + event.frames,
        dropped_audio_s=session.dropped_audio_s + event.audio_s,
    )


def _noticed(session: Session, event: Noticed) -> Session:
    return replace(session, notice=event.sentence)


def _turn_opened(session: Session, event: TurnOpened) -> Session:
    if not session.consented or event.turn < session.next_turn:
        return session
    turn = Turn(
        id=event.turn,
        source=event.source,
        status="hearing" if event.text is None else "waiting",
        text=event.text,
        estimate=event.estimate,
    )
    notice = None
    if session.readiness == "failed":
        turn, notice = _unanswerable(turn), session.notice
    return replace(session, turns=(*session.turns, turn), next_turn=turn.id + 1, notice=notice)


def _change_turn(session: Session, turn_id: int, **changes: Any) -> Session:
    if session.turn(turn_id) is None:
        return session
    turns = tuple(replace(t, **changes) if t.id == turn_id else t for t in session.turns)
    return replace(session, turns=turns)


def _read(session: Session, event: Read) -> Session:
    known = {"estimate": event.estimate, "words": event.words}
    return _change_turn(
        session, event.turn, **{name: value for name, value in known.items() if value is not None}
    )


def _heard(session: Session, event: Heard) -> Session:
    status: Status = "waiting" if event.text else "unheard"
    return _change_turn(session, event.turn, text=event.text, status=status)


def _reply_started(session: Session, event: ReplyStarted) -> Session:
    begun: dict[str, Any] = {"status": "answering", "affect": event.affect}
    return _change_turn(session, event.turn, reply="", failure=None, waited_s=None, **begun)


def _reply_piece(session: Session, event: ReplyPiece) -> Session:
    turn = session.turn(event.turn)
    if turn is None or turn.status != "answering":
        return session
    waited_s = turn.waited_s if event.waited_s is None else event.waited_s
    return _change_turn(session, event.turn, reply=turn.reply + event.text, waited_s=waited_s)


def _reply_ended(session: Session, event: ReplyEnded) -> Session:
    return _change_turn(session, event.turn, status="stopped" if event.stopped else "answered")


def _turn_failed(session: Session, event: TurnFailed) -> Session:
    return _change_turn(session, event.turn, status="failed", failure=event.sentence)


def _corrected(session: Session, event: Corrected) -> Session:
    return _change_turn(session, event.turn, correction=event.emotion)


def _forgotten(session: Session, event: Forgotten) -> Session:
    del event  # says nothing but that it happened
    return Session(
        consented=session.consented,
        camera=session.camera,
        microphone=session.microphone,
        readiness=session.readiness,
        next_turn=session.next_turn,
    )


RULES: Final[Mapping[type[Any], Callable[[Session, Any], Session]]] = {
    Consented: _consented,
    ChannelSwitched: _switched,
    Readied: _readied,
    MomentSeen: _moment_seen,
    MediaDropped: _media_dropped,
    Noticed: _noticed,
    TurnOpened: _turn_opened,
    Read: _read,
    Heard: _heard,
    ReplyStarted: _reply_started,
    ReplyPiece: _reply_piece,
    ReplyEnded: _reply_ended,
    TurnFailed: _turn_failed,
    Corrected: _corrected,
    Forgotten: _forgotten,
}
"""What each event does to a session; a test proves the table complete."""
