"""One conversation as a value: every event gives the next one. No clock, no thread, no I/O.

Whoever holds a `Session` may read it at leisure: it never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from dialogue.affect import UserAffect
from emotion.estimate import EmotionEstimate, Moment, Reading
from emotion.labels import Emotion
from integration.events import (
    AgentSpoke,
    ChannelSwitched,
    Consented,
    Corrected,
    Ducked,
    Edited,
    Event,
    Forgotten,
    Heard,
    Hearing,
    Interrupted,
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
from integration.lessons import Lesson, adapted
from integration.speech import Speech, delivery_for, sentences_of
from integration.translation import prevailing

if TYPE_CHECKING:
    from integration.evidence import Evidence

__all__ = ["RULES", "Readiness", "Session", "Status", "Turn", "advance", "lessons_of"]

Readiness = Literal["warming up", "ready", "failed"]
"""Where the models are."""

Status = Literal["hearing", "waiting", "answering", "answered", "stopped", "unheard", "failed"]
"""Where a turn is: its words are being made out; it waits for an answer; the answer streams in, is
complete, or was stopped; no words could be made out; or something failed."""

PICTURED_TURNS: Final = 12
"""So many of the newest turns keep their pictures: an hour of talk needs no more memory."""

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
        lessons: What the person's earlier corrections taught until it was answered.
        correction: What the person says they felt, or None.
        reply: The answer as far as it has come.
        status: Where the turn is.
        failure: One sentence, where it failed.
        waited_s: From the turn's end to the first word of its answer, in seconds.
        heard_after_s: From the turn's end to its words, in seconds; None where it was typed.
        read_after_s: From the turn's end to the estimate, in seconds.
        pause_s: Silence that was waited for before the turn was taken to have ended.
        edited: Whether the person has corrected the words.
        answer: Counts the answers of a talk, from 1; 0 where this turn has none.
        evidence: The pictures that weighed most, or None.
    """

    id: int
    source: Source
    status: Status
    text: str | None = field(default=None, repr=False)
    estimate: EmotionEstimate | None = field(default=None, repr=False)
    words: Reading | None = field(default=None, repr=False)
    lessons: tuple[Lesson, ...] = field(default=(), repr=False)
    correction: Emotion | None = field(default=None, repr=False)
    affect: UserAffect | None = field(default=None, repr=False)
    reply: str = field(default="", repr=False)
    failure: str | None = None
    waited_s: float | None = None
    heard_after_s: float | None = None
    read_after_s: float | None = None
    pause_s: float | None = None
    edited: bool = False
    answer: int = 0
    evidence: Evidence | None = field(default=None, repr=False)

    @property
    def seems(self) -> EmotionEstimate | None:
        """How the person seems to feel: what an answer goes by where they do not say it."""
        return adapted(prevailing(self.estimate, self.words), self.lessons)


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
        dropped_audio_s: Seconds of sound that was not read for its feeling, for the same reason.
        dropped_speech_s: Seconds of sound that was not written down, for the same reason.
        hearing: Words of the turn under way, as far as they are recognised; empty without any.
        ducked: Whether the agent's voice is down, because the person's is heard.
        agent_speaking: Whether the browser speaks an answer aloud.
        hushed_turn: The turn whose answer must not be spoken on, or None.
        answers: How many answers were begun.
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
    dropped_speech_s: float = 0.0
    hearing: str = field(default="", repr=False)
    ducked: bool = False
    agent_speaking: bool = False
    hushed_turn: int | None = None
    answers: int = 0

    @property
    def busy(self) -> bool:
        """Whether the agent is about to answer, answers, or speaks."""
        return self.agent_speaking or any(
            turn.status in ("hearing", "waiting", "answering") for turn in self.turns
        )

    @property
    def speech(self) -> Speech | None:
        """The newest answer as far as it can be spoken; None without one, or once it is hushed."""
        turn = next((turn for turn in reversed(self.turns) if turn.answer), None)
        if turn is None or turn.id == self.hushed_turn or turn.status == "failed":
            return None
        ended = turn.status != "answering"
        how = delivery_for(turn.affect)
        said = sentences_of(turn.reply, ended=ended)
        return Speech(turn.id, turn.answer, said, how.rate, how.pitch, ended)

    def turn(self, turn_id: int) -> Turn | None:
        """Return the turn of this id, or None where it is unknown or forgotten."""
        return next((turn for turn in self.turns if turn.id == turn_id), None)


def lessons_of(session: Session, turn_id: int) -> tuple[Lesson, ...]:
    """Return what the person's corrections of the turns before one teach."""
    lessons = []
    for turn in session.turns:
        read = prevailing(turn.estimate, turn.words)
        if turn.id < turn_id and turn.correction is not None and read is not None:
            lessons.append(Lesson(read.probabilities, turn.correction))
    return tuple(lessons)


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
    """Let the page show of a moment, and of words, only what the switched-on channels may tell."""
    if moment is not None:
        faces = moment.faces if session.camera else ()
        moment = replace(moment, faces=faces, speaking=moment.speaking and session.microphone)
    return replace(
        session,
        moment=moment if session.camera or session.microphone else None,
        hearing=session.hearing if session.microphone else "",
    )


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
        dropped_speech_s=session.dropped_speech_s + event.speech_s,
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
        pause_s=event.pause_s,
        lessons=lessons_of(session, event.turn),
    )
    notice = None
    if session.readiness == "failed":
        turn, notice = _unanswerable(turn), session.notice
    older = tuple(
        replace(old, evidence=None) if old.evidence is not None else old
        for old in session.turns[: 1 - PICTURED_TURNS]
    )
    turns = (*older, *session.turns[len(older) :], turn)
    opened = replace(_interrupted(session), turns=turns, next_turn=turn.id + 1, notice=notice)
    return replace(opened, hearing="" if event.source == "voice" else session.hearing)


def _change_turn(session: Session, turn_id: int, **changes: Any) -> Session:
    if session.turn(turn_id) is None:
        return session
    turns = tuple(replace(t, **changes) if t.id == turn_id else t for t in session.turns)
    return replace(session, turns=turns)


def _read(session: Session, event: Read) -> Session:
    known = {
        "estimate": event.estimate,
        "words": event.words,
        "evidence": event.evidence,
        "read_after_s": event.waited_s,
    }
    return _change_turn(
        session, event.turn, **{name: value for name, value in known.items() if value is not None}
    )


def _heard(session: Session, event: Heard) -> Session:
    turn = session.turn(event.turn)
    if turn is None or turn.edited:
        return session  # the person knows better what they said
    status: Status = "waiting" if event.text else "unheard"
    heard = {"text": event.text, "status": status, "heard_after_s": event.waited_s}
    return _change_turn(session, event.turn, **heard)


def _reply_started(session: Session, event: ReplyStarted) -> Session:
    if session.turn(event.turn) is None:
        return session
    begun: dict[str, Any] = {"status": "answering", "answer": session.answers + 1}
    begun |= {"affect": event.affect, "lessons": event.lessons}
    begun |= {"reply": "", "failure": None, "waited_s": None}
    session = replace(session, answers=session.answers + 1, hushed_turn=None)
    return _change_turn(session, event.turn, **begun)


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


def _edited(session: Session, event: Edited) -> Session:
    turn = session.turn(event.turn)
    if turn is None or turn.text == event.text:
        return session
    waits = turn.status in ("hearing", "unheard", "failed") and session.readiness != "failed"
    status = "waiting" if waits else turn.status
    # what was read from other words no longer holds
    changed = {"text": event.text, "edited": True, "words": None, "status": status}
    return _change_turn(session, event.turn, **changed)


def _hearing(session: Session, event: Hearing) -> Session:
    return replace(session, hearing=event.text if session.microphone else "")


def _ducked(session: Session, event: Ducked) -> Session:
    return replace(session, ducked=event.on)


def _interrupted(session: Session, event: Interrupted | None = None) -> Session:
    del event  # says nothing but that it happened
    answered = next((turn.id for turn in reversed(session.turns) if turn.answer), None)
    hushed = session.hushed_turn if answered is None else answered
    return replace(session, hushed_turn=hushed, agent_speaking=False, ducked=False)


def _agent_spoke(session: Session, event: AgentSpoke) -> Session:
    return replace(session, agent_speaking=event.on and session.speech is not None)


def _forgotten(session: Session, event: Forgotten) -> Session:
    del event  # says nothing but that it happened
    return Session(
        consented=session.consented,
        camera=session.camera,
        microphone=session.microphone,
        readiness=session.readiness,
        next_turn=session.next_turn,
        answers=session.answers,
    )


RULES: Final[Mapping[type[Any], Callable[[Session, Any], Session]]] = {
    Consented: _consented,
    ChannelSwitched: _switched,
    Readied: _readied,
    MomentSeen: _moment_seen,
    MediaDropped: _media_dropped,
    Noticed: _noticed,
    Hearing: _hearing,
    Ducked: _ducked,
    Interrupted: _interrupted,
    AgentSpoke: _agent_spoke,
    TurnOpened: _turn_opened,
    Read: _read,
    Heard: _heard,
    ReplyStarted: _reply_started,
    ReplyPiece: _reply_piece,
    ReplyEnded: _reply_ended,
    TurnFailed: _turn_failed,
    Corrected: _corrected,
    Edited: _edited,
    Forgotten: _forgotten,
}
"""What each event does to a session; a test proves the table complete."""
