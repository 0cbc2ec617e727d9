"""One conversation at work: four threads between what comes in and a session that can be read.

The listening thread finds turns in the sound and hears who interrupts; the writing thread writes
down what is said while it comes; the perceiving thread feeds camera and microphone to the
recogniser; the answering thread lets the model answer. None waits for another longer than it has
to, and whoever brings media waits for none. A failure becomes a sentence in the session, never a
dead thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from dialogue.affect import UserAffect
from dialogue.conversation import Message
from dialogue.errors import DialogueError
from dialogue.models.base import forget
from emotion.errors import EmotionError
from emotion.estimate import EmotionEstimate, Reading, as_probabilities
from emotion.labels import Emotion
from integration.clock import Clock, MonotonicClock
from integration.errors import IntegrationError
from integration.events import (
    AgentSpoke,
    Channel,
    ChannelSwitched,
    Consented,
    Corrected,
    Ducked,
    Edited,
    Event,
    Forgotten,
    Frame,
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
    Sound,
    TurnFailed,
    TurnOpened,
)
from integration.evidence import Evidence, gather
from integration.microphone import Microphone
from integration.parts import LiveEmotion, Parts
from integration.queues import Batch, Bounds, Inbox, Typed
from integration.session import Session, Turn, advance, lessons_of
from integration.translation import joined, permitted, to_affect
from integration.turn_taking import Action, Agent, Duck, HeardItself, Interrupt, TurnEnded, Unduck

__all__ = ["Pipeline", "messages_of"]

_LOG = logging.getLogger(__name__)

TYPED_LOOKBACK_S: Final = 5.0
"""How far back the face counts for a typed turn."""

ESTIMATE_WAIT_S: Final = 1.5
"""A spoken turn is answered without its estimate where that takes longer than this."""

ESTIMATES_KEPT: Final = 32

OWN_VOICE: Final = (
    "The microphone hears Attune's own voice. Headphones let you interrupt it at once; "
    "“Stop the answer” always does."
)


@dataclass(frozen=True)
class _Job:
    turn: int
    opened_s: float
    text: Future[str] | None = field(default=None, repr=False)
    spoken: TurnEnded | None = None
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class _Felt:
    """The estimate of one utterance, what it was made from, and when it was there."""

    estimate: EmotionEstimate = field(repr=False)
    evidence: Evidence | None = field(repr=False)
    ready_s: float

    def within(self, span: tuple[float, float]) -> bool:
        return self.estimate.start_s < span[1] and self.estimate.end_s > span[0]


class Pipeline:
    """Runs one session; every method returns at once and may be called from any thread.

    Args:
        parts: The models, possibly still loading; turns typed meanwhile wait for them.
        clock: Measures how long a person waits for the first word of an answer.
        bounds: How much may wait.
    """

    def __init__(
        self, parts: Future[Parts], *, clock: Clock | None = None, bounds: Bounds | None = None
    ) -> None:
        self._clock = clock or MonotonicClock()
        self._bounds = bounds or Bounds()
        self._inbox = Inbox(self._bounds)
        self._sounds = Inbox(self._bounds)  # the same sound, for turn-taking
        self._microphone: Microphone | None = None
        self._felt: deque[_Felt] = deque(maxlen=ESTIMATES_KEPT)
        self._unfelt: _Job | None = None  # answered before all its estimates were there
        self._watchers: list[Callable[[], None]] = []
        self._waiting: list[_Job] = []  # at most one a turn
        self._working: _Job | None = None
        self._session = Session()
        self._lock = threading.Condition()  # notified of every change
        self._threads: tuple[threading.Thread, ...] = ()
        self._closed = self._forgetting = False
        self._media_end_s = 0.0
        parts.add_done_callback(self._start)

    @property
    def session(self) -> Session:
        """The conversation as it is now; an immutable value."""
        return self._session

    @property
    def media_end_s(self) -> float:
        """Newest media time that came in; the next camera and microphone go on from here."""
        return self._media_end_s

    def consent(self, *, camera: bool, microphone: bool) -> None:
        """Note that the person agreed to the first screen, and which channels may start."""
        self._happen(Consented(camera=camera, microphone=microphone))

    def switch(self, channel: Channel, on: bool, reason: str | None = None) -> None:
        """Switch a channel; `reason` is shown where it was not the person who switched it."""
        self._happen(ChannelSwitched(channel, on, reason))
        if channel == "microphone" and not on:
            self._deafen()

    def push_frame(self, time_s: float, rgb: npt.NDArray[np.uint8]) -> None:
        """Take in a frame of shape (height, width, 3), if the person lets the camera be used."""
        if self._takes("camera"):
            self._inbox.put_frame(Frame(time_s, rgb))
            self._media_end_s = max(self._media_end_s, time_s)

    def push_audio(
        self, time_s: float, samples: npt.NDArray[np.float32], sample_rate_hz: int
    ) -> None:
        """Take in sound of shape (sample,), if the person lets the microphone be used."""
        if self._takes("microphone"):
            sound = Sound(time_s, samples, sample_rate_hz)
            self._sounds.put_sound(sound)
            self._inbox.put_sound(sound)
            self._media_end_s = max(self._media_end_s, time_s + sound.duration_s)

    def say(self, text: str) -> None:
        """Take in a typed turn.

        Raises:
            IntegrationError: If the text is empty.
        """
        if not text.strip():
            raise IntegrationError("Expected some words to answer, got an empty text.")
        with self._lock:
            turn = self._open(TurnOpened(self._session.next_turn, "typed", text.strip()))
            if turn is not None and self._session.readiness != "failed":
                self._inbox.put_typed(Typed(turn))

    def correct(self, turn: int, emotion: Emotion) -> None:
        """Take the person's word for what they felt; the newest turn is answered again."""
        self._happen(Corrected(turn, emotion))
        newest = self._session.turns[-1:]
        if newest and newest[0].id == turn and newest[0].text:
            self._enqueue(_Job(turn, self._clock.now()))

    def edit(self, turn: int, text: str) -> None:
        """Take the person's word for what they said; the newest turn is answered (again).

        Raises:
            InputError: If the text is empty.
        """
        before = self._session
        self._happen(Edited(turn, text.strip()))
        newest = self._session.turns[-1:]
        if newest and newest[0].id == turn and self._session is not before:
            self._enqueue(_Job(turn, self._clock.now()))

    def spoke(self, on: bool) -> None:
        """Note that the browser began to speak an answer aloud, or ended."""
        self._happen(AgentSpoke(on))

    def skip(self, frames: int) -> None:
        """Note that a browser left pictures out, because the way here was too slow.

        Raises:
            IntegrationError: If that number is no count.
        """
        if frames < 1:
            raise IntegrationError(f"Expected at least one picture to be skipped, got {frames}.")
        self._happen(MediaDropped(frames))

    def stop(self) -> None:
        """Stop the answer that is being given, written and spoken."""
        with self._lock:
            self._cancel()
            self._happen(Interrupted())

    def _cancel(self) -> None:
        for job in (self._working, *self._waiting):
            if job is not None:
                job.cancel.set()

    def forget(self) -> None:
        """Delete everything said and seen; consent and switches stay."""
        self._deafen(forget=True)
        with self._lock:
            self._cancel()
            self._felt.clear()
            self._unfelt = None
            self._forgetting = True
            self._inbox.restart()
            self._happen(Forgotten())

    def close(self) -> None:
        """End all threads and delete everything; what is being computed is cancelled."""
        with self._lock:
            self._closed = True
            self._cancel()
            self._inbox.close()
            self._sounds.close()
            self._microphone = None
            self._waiting = []
            self._felt.clear()
            self._unfelt = None
            self._session = Session(next_turn=self._session.next_turn)
            self._lock.notify_all()

    def join(self, timeout_s: float = 10.0) -> bool:
        """Wait until all threads have ended; return whether they have."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def wait(self, condition: Callable[[Session], bool], timeout_s: float = 30.0) -> Session:
        """Wait until the session meets a condition, and return it.

        Raises:
            IntegrationError: If it does not in time.
        """
        with self._lock:
            if not self._lock.wait_for(lambda: condition(self._session), timeout_s):
                raise IntegrationError(f"Expected a change within {timeout_s:g} s, got none.")
            return self._session

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call a function after every change, from any thread; it must return at once.

        Returns:
            A function that ends this.
        """
        with self._lock:
            self._watchers = [*self._watchers, changed]

        def unwatch() -> None:
            with self._lock:
                self._watchers = [other for other in self._watchers if other is not changed]

        return unwatch

    # -- shared -----------------------------------------------------------------------------------

    def _start(self, loaded: Future[Parts]) -> None:
        error = loaded.exception()
        if error is not None:
            self._happen(Readied(_sentence("The models could not be loaded", error)))
            return
        with self._lock:
            if self._closed:
                return
            self._happen(Readied())
            parts = loaded.result()
            self._microphone = Microphone(
                self._sounds, parts.transcriber, _Listener(self), self._bounds
            )
            work: dict[str, Callable[[], None]] = {
                "listen": self._microphone.listen,
                "write": self._microphone.write,
                "perceive": lambda: self._perceive(parts),
                "answer": lambda: self._answer(parts),
            }
            self._threads = tuple(
                threading.Thread(target=target, name=name, daemon=True)
                for name, target in work.items()
            )
            for thread in self._threads:
                thread.start()

    def _happen(self, event: Event, epoch: int | None = None) -> None:
        with self._lock:
            outdated = epoch is not None and epoch != self._inbox.epoch
            if not outdated and not self._closed:
                self._session = advance(self._session, event)
                self._lock.notify_all()
                for changed in self._watchers:
                    changed()

    def _takes(self, channel: Channel) -> bool:
        session = self._session
        if not session.consented or self._closed or session.readiness == "failed":
            return False
        if channel == "microphone":
            return session.microphone  # what is said while the models load waits for them
        return session.camera and session.readiness == "ready"

    def _deafen(self, *, forget: bool = False) -> None:
        # never under the lock of the session, which the microphone takes under its own
        microphone = self._microphone
        if microphone is None:
            self._sounds.restart()
        else:
            microphone.reset(forget=forget)

    def _open(self, event: TurnOpened, epoch: int | None = None) -> int | None:
        with self._lock:
            waiting = sum(turn.status in ("hearing", "waiting") for turn in self._session.turns)
            if waiting >= self._bounds.turns:
                self._happen(Noticed(f"{waiting} turns wait for an answer; the last was left out."))
                return None
            self._happen(event, epoch)
            return event.turn if self._session.turn(event.turn) else None

    def _enqueue(self, job: _Job) -> None:
        with self._lock:
            if self._session.readiness == "failed":
                return  # nobody is there to take it
            self._cancel()  # whoever speaks again wants no answer to what came before
            self._waiting = [*(old for old in self._waiting if old.turn != job.turn), job]
            self._lock.notify_all()

    def _next_job(self) -> _Job | None:
        """Wait for something to answer; None where there is something to forget instead."""
        with self._lock:
            self._working = None
            self._lock.wait_for(lambda: self._closed or self._forgetting or bool(self._waiting))
            if not (self._closed or self._forgetting):
                self._working = self._waiting.pop(0)
            self._forgetting = False
            return self._working

    # -- the listening thread ---------------------------------------------------------------------

    def _take_turn(self, turn: TurnEnded, text: Future[str]) -> bool:
        with self._lock:
            opened = TurnOpened(self._session.next_turn, "voice", pause_s=turn.pause_s)
            number = self._open(opened)
            if number is not None:
                self._enqueue(_Job(number, self._clock.now(), text, turn))
            return number is not None

    # -- the perceiving thread --------------------------------------------------------------------

    def _perceive(self, parts: Parts) -> None:
        live: LiveEmotion | None = None
        epoch = self._inbox.epoch
        while (batch := self._inbox.take()) is not None:
            if batch.epoch != epoch:
                live, epoch = None, batch.epoch
            try:
                live = live or parts.recognizer.stream()
                self._take_in(live, batch)
            except Exception as error:
                live = None  # a broken stream is not used again
                sentence = _sentence("Reading face and voice failed and was started anew", error)
                self._happen(Noticed(sentence), epoch)
                self._pass_on(batch.typed)
            del batch  # what was seen and heard is not kept while nothing new comes

    def _take_in(self, live: LiveEmotion, batch: Batch) -> None:
        self._report_dropped(batch)
        for item in batch.media:
            if isinstance(item, Frame):
                live.push_frame(item.time_s, item.rgb)
            else:
                live.push_audio(item.time_s, item.samples, item.sample_rate_hz)
        for estimate in _one_an_utterance(live.poll()):
            self._feel(live, estimate, batch.epoch)
        if batch.media:
            self._happen(MomentSeen(live.now()), batch.epoch)
        self._look_beside(live, batch)
        self._pass_on(batch.typed)

    def _report_dropped(self, batch: Batch) -> None:
        if batch.dropped_frames or batch.dropped_audio_s:
            dropped = MediaDropped(batch.dropped_frames, batch.dropped_audio_s)
            self._happen(dropped, batch.epoch)

    def _feel(self, live: LiveEmotion, estimate: EmotionEstimate, epoch: int) -> None:
        session = self._session
        seen = permitted(estimate, camera=session.camera, microphone=session.microphone)
        if seen is None:
            return
        samples = live.take_audio(seen.start_s, seen.end_s) if seen.voice else None
        felt = _Felt(seen, gather(seen, live.take_faces, samples), self._clock.now())
        with self._lock:
            if epoch == self._inbox.epoch:
                self._felt.append(felt)
                self._lock.notify_all()
                if self._unfelt is not None:
                    self._join_felt(self._unfelt)

    def _look_beside(self, live: LiveEmotion, batch: Batch) -> None:
        if not batch.typed or not self._session.camera:
            return
        start_s = max(0.0, self._media_end_s - TYPED_LOOKBACK_S)
        seen = permitted(live.recent(start_s), microphone=False)
        evidence = gather(seen, live.take_faces, None)
        for typed in batch.typed:
            self._happen(Read(typed.turn, estimate=seen, evidence=evidence), batch.epoch)

    def _pass_on(self, typed: Sequence[Typed]) -> None:
        for one in typed:
            self._enqueue(_Job(one.turn, self._clock.now()))

    # -- the answering thread ---------------------------------------------------------------------

    def _answer(self, parts: Parts) -> None:
        while not self._closed:
            job = self._next_job()
            if job is None:
                forget(parts.responder)  # here, where no answer under way can bring it back
                continue
            try:
                self._answer_one(parts, job)
            except Exception as error:
                self._happen(TurnFailed(job.turn, _sentence("This could not be answered", error)))
            del job  # nor what was said
        forget(parts.responder)

    def _answer_one(self, parts: Parts, job: _Job) -> None:
        if not self._written_down(parts, job):
            return
        self._read_voice(job)
        session = self._session
        turn = session.turn(job.turn)
        if turn is None or self._is_outdated(job):
            return
        lessons = lessons_of(session, turn.id)
        affect = to_affect(
            turn.estimate,
            words=turn.words,
            camera=session.camera,
            microphone=session.microphone,
            correction=turn.correction,
            lessons=lessons,
        )
        self._happen(ReplyStarted(job.turn, affect, lessons))
        self._reply(parts, job, messages_of(self._session, turn.id))

    def _is_outdated(self, job: _Job) -> bool:
        """Whether nobody waits for this answer any more; says so of a turn that gets no other."""
        with self._lock:
            if job.cancel.is_set() and all(other.turn != job.turn for other in self._waiting):
                self._happen(ReplyEnded(job.turn, stopped=True))
            return job.cancel.is_set()

    def _written_down(self, parts: Parts, job: _Job) -> bool:
        turn = self._session.turn(job.turn)
        if turn is None:
            return False
        text = turn.text
        if text is None and job.text is not None:
            try:
                text = job.text.result()
            except CancelledError:
                return False  # the talk has ended
            self._happen(Heard(job.turn, text, self._clock.now() - job.opened_s))
        if text and turn.words is None:
            self._read_words(parts, job.turn, text)
        return bool(text)

    def _read_words(self, parts: Parts, number: int, text: str) -> None:
        words = _read_words(parts, text)
        with self._lock:
            turn = self._session.turn(number)
            if turn is not None and turn.text == text:  # else the person has edited it meanwhile
                self._happen(Read(number, words=words))

    def _read_voice(self, job: _Job) -> None:
        """Wait a little for face and voice of all the turn's utterances, and join them."""
        if job.spoken is None:
            return
        spans = job.spoken.utterances
        with self._lock:
            self._lock.wait_for(
                lambda: (
                    self._closed
                    or job.cancel.is_set()
                    or all(any(felt.within(span) for felt in self._felt) for span in spans)
                ),
                ESTIMATE_WAIT_S,
            )
            self._join_felt(job)

    def _join_felt(self, job: _Job) -> None:
        """Say how a spoken turn seems to be meant; what comes too late for its answer is shown."""
        assert job.spoken is not None
        whole = job.spoken.start_s, job.spoken.end_s
        felt = [felt for felt in self._felt if felt.within(whole)]
        spans = job.spoken.utterances
        missing = not all(any(one.within(span) for one in felt) for span in spans)
        self._unfelt = job if missing else None
        self._happen(_joined(job, felt, self._session))

    def _reply(self, parts: Parts, job: _Job, messages: list[Message]) -> None:
        if not messages:
            return  # forgotten meanwhile
        said = False
        affect = messages[-1].affect
        for piece in parts.responder.stream(messages, affect=affect, cancel=job.cancel):
            if job.cancel.is_set():
                break
            waited_s = None if said else self._clock.now() - job.opened_s
            self._happen(ReplyPiece(job.turn, piece, waited_s))
            said = True
        self._happen(ReplyEnded(job.turn, stopped=job.cancel.is_set()))


class _Listener:
    """What a microphone tells a pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def agent(self) -> Agent:
        session = self._pipeline.session
        speech = session.speech if session.agent_speaking else None
        return Agent(session.busy, " ".join(speech.sentences) if speech else "")

    def act(self, action: Action) -> None:
        match action:
            case Duck():
                self._pipeline._happen(Ducked(True))
            case Unduck():
                self._pipeline._happen(Ducked(False))
            case Interrupt():
                self._pipeline.stop()
            case HeardItself():
                self._pipeline._happen(Noticed(OWN_VOICE))

    def take_turn(self, turn: TurnEnded, text: Future[str]) -> bool:
        return self._pipeline._take_turn(turn, text)

    def lose(self, speech_s: float) -> None:
        self._pipeline._happen(MediaDropped(speech_s=speech_s))

    def complain(self, error: Exception) -> None:
        sentence = _sentence("Listening failed and was started anew", error)
        self._pipeline._happen(Noticed(sentence))

    def show_words(self, text: str) -> None:
        if text != self._pipeline.session.hearing:
            self._pipeline._happen(Hearing(text))


def messages_of(session: Session, turn_id: int) -> list[Message]:
    """Return the talk up to and with a turn, for a dialogue model; empty where it is forgotten.

    Turns that got no answer are put together with the next one, so that the roles alternate. Each
    carries what the model was told of it at its time, or what the person has said since.
    """
    messages: list[Message] = []
    unanswered: list[str] = []
    for turn in session.turns if session.turn(turn_id) else ():
        if turn.id > turn_id or not turn.text:
            continue
        unanswered.append(turn.text)
        answered = bool(turn.reply.strip()) and turn.id < turn_id
        if answered or turn.id == turn_id:
            messages.append(Message("user", "\n".join(unanswered), _told(turn)))
            unanswered = []
        if answered:
            messages.append(Message("assistant", turn.reply.strip()))
    return messages


def _told(turn: Turn) -> UserAffect | None:
    return turn.affect if turn.correction is None else to_affect(None, correction=turn.correction)


def _read_words(parts: Parts, text: str) -> Reading | None:
    try:
        return Reading(as_probabilities(parts.recognizer.recognize_words(text)), quality=1.0)
    except EmotionError:
        return None  # words without letters, such as "!?", are answered without a reading


def _joined(job: _Job, felt: Sequence[_Felt], session: Session) -> Read:
    """Say how a turn seems to be meant, by what the person still lets be used."""
    on = {"camera": session.camera, "microphone": session.microphone}
    seen = [permitted(one.estimate, **on) for one in felt]
    whole = joined([estimate for estimate in seen if estimate is not None])
    pictures = max(felt, key=lambda one: one.estimate.end_s - one.estimate.start_s, default=None)
    shown = None
    if pictures is not None and permitted(pictures.estimate, **on) == pictures.estimate:
        shown = pictures.evidence
    waited_s = max((one.ready_s - job.opened_s for one in felt), default=None)
    return Read(
        job.turn,
        estimate=whole,
        evidence=shown,
        waited_s=None if waited_s is None else max(waited_s, 0.0),
    )


def _one_an_utterance(estimates: Sequence[EmotionEstimate]) -> list[EmotionEstimate]:
    # several people in the picture give several estimates of one utterance: the first is nearest
    spans: dict[tuple[float, float], EmotionEstimate] = {}
    for estimate in estimates:
        spans.setdefault((estimate.start_s, estimate.end_s), estimate)
    return list(spans.values())


def _sentence(what: str, error: BaseException) -> str:
    if isinstance(error, (EmotionError, DialogueError, IntegrationError)):
        return f"{what}: {error}"
    # an unforeseen error's message may hold what a person said: its type must do
    _LOG.error("%s (%s)", what, type(error).__name__)
    return f"{what} ({type(error).__name__})."
