"""What flows through one conversation: media on its way in, and what became of it.

Every event is frozen. Times are seconds of media time, counted from the start of the session's
camera and microphone. What a person said, looked like or sounded like is kept out of every repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from dialogue.affect import UserAffect
from emotion.errors import InputError
from emotion.estimate import EmotionEstimate, Moment, Reading
from emotion.labels import EMOTIONS, Emotion
from integration.lessons import Lesson

if TYPE_CHECKING:
    from integration.evidence import Evidence

__all__ = [
    "AgentSpoke",
    "Channel",
    "ChannelSwitched",
    "Consented",
    "Corrected",
    "Ducked",
    "Edited",
    "Event",
    "Forgotten",
    "Frame",
    "Heard",
    "Hearing",
    "Interrupted",
    "MediaDropped",
    "MomentSeen",
    "Noticed",
    "Read",
    "Readied",
    "ReplyEnded",
    "ReplyPiece",
    "ReplyStarted",
    "Sound",
    "Source",
    "TurnFailed",
    "TurnOpened",
]

Channel = Literal["camera", "microphone"]
"""What a person can switch on and off."""

Source = Literal["voice", "typed"]
"""How a turn came in."""


@dataclass(frozen=True)
class Frame:
    """One camera picture.

    Attributes:
        time_s: When it was taken.
        rgb: uint8 of shape (height, width, colour).
    """

    time_s: float
    rgb: npt.NDArray[np.uint8] = field(repr=False)

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise InputError(
                "Expected a uint8 frame of shape (height, width, 3), "
                f"got {self.rgb.dtype} {self.rgb.shape}."
            )


@dataclass(frozen=True)
class Sound:
    """A piece of microphone sound.

    Attributes:
        time_s: When its first sample was taken.
        samples: float32 mono in [-1, 1] of shape (sample,).
        sample_rate_hz: Samples a second.
    """

    time_s: float
    samples: npt.NDArray[np.float32] = field(repr=False)
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 1:
            raise InputError(f"Expected audio of shape (sample,), got {self.samples.shape}.")
        if self.sample_rate_hz <= 0:
            raise InputError(f"Expected a positive sample rate, got {self.sample_rate_hz} Hz.")

    @property
    def duration_s(self) -> float:
        """Length of the piece in seconds."""
        return len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True)
class Consented:
    """The person has read the first screen and agreed; says which channels may start."""

    camera: bool
    microphone: bool


@dataclass(frozen=True)
class ChannelSwitched:
    """A channel was switched by the person, or by the browser that could not open it."""

    channel: Channel
    on: bool
    reason: str | None = None


@dataclass(frozen=True)
class Readied:
    """The models are loaded, or could not be: then `failure` says why in one sentence."""

    failure: str | None = None


@dataclass(frozen=True)
class MomentSeen:
    """What the recogniser sees and hears now."""

    moment: Moment


@dataclass(frozen=True)
class MediaDropped:
    """Media that was thrown away since the last such event, because the machine is too slow.

    Attributes:
        frames: Camera pictures.
        audio_s: Seconds of sound that was not read for its feeling.
        speech_s: Seconds of sound that was not written down.
    """

    frames: int = 0
    audio_s: float = 0.0
    speech_s: float = 0.0


@dataclass(frozen=True)
class Noticed:
    """Something the person should know that belongs to no turn."""

    sentence: str


@dataclass(frozen=True)
class Hearing:
    """The words of the turn under way, as far as they are recognised; empty when there is none."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class Ducked:
    """The agent's voice goes down, because the person's is heard, or comes up again."""

    on: bool


@dataclass(frozen=True)
class Interrupted:
    """The person has taken the turn: the agent stops speaking and writing."""


@dataclass(frozen=True)
class AgentSpoke:
    """The browser began to speak an answer aloud, or ended."""

    on: bool


@dataclass(frozen=True)
class TurnOpened:
    """A spoken turn has ended, or a text was sent; the text of a spoken turn comes later.

    Attributes:
        turn: Its id.
        source: Spoken or typed.
        text: The words of a typed turn.
        estimate: Face and voice, where they are known already.
        pause_s: Silence that was waited for before the turn was taken to have ended.
    """

    turn: int
    source: Source
    text: str | None = field(default=None, repr=False)
    estimate: EmotionEstimate | None = field(default=None, repr=False)
    pause_s: float | None = None


@dataclass(frozen=True)
class Read:
    """How a turn seems to be meant: by face and voice, and by its words; what is None stays.

    Attributes:
        turn: Its id.
        estimate: Face and voice.
        words: The words' own reading.
        evidence: The pictures that weighed most.
        waited_s: From the turn's end to this estimate, in seconds.
    """

    turn: int
    estimate: EmotionEstimate | None = field(default=None, repr=False)
    words: Reading | None = field(default=None, repr=False)
    evidence: Evidence | None = field(default=None, repr=False)
    waited_s: float | None = None


@dataclass(frozen=True)
class Heard:
    """The words of a spoken turn; empty where none could be made out.

    Attributes:
        turn: Its id.
        text: The words.
        waited_s: From the turn's end to its words, in seconds.
    """

    turn: int
    text: str = field(repr=False)
    waited_s: float | None = None


@dataclass(frozen=True)
class ReplyStarted:
    """The model begins to answer a turn; an earlier answer is replaced.

    Attributes:
        turn: Its id.
        affect: What the model is told of how the person seems to feel.
        lessons: What the person's corrections taught until now, which that goes by.
    """

    turn: int
    affect: UserAffect | None = field(default=None, repr=False)
    lessons: tuple[Lesson, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ReplyPiece:
    """The next piece of an answer; the first one says how long the person waited for it."""

    turn: int
    text: str = field(repr=False)
    waited_s: float | None = None


@dataclass(frozen=True)
class ReplyEnded:
    """The answer is complete, or was stopped before it was."""

    turn: int
    stopped: bool = False


@dataclass(frozen=True)
class TurnFailed:
    """A turn cannot be answered; the sentence is shown beside it."""

    turn: int
    sentence: str


@dataclass(frozen=True)
class Corrected:
    """The person says what they felt in a turn."""

    turn: int
    emotion: Emotion = field(repr=False)

    def __post_init__(self) -> None:
        if self.emotion not in EMOTIONS:
            raise InputError(f"Expected one of {', '.join(EMOTIONS)}, got {self.emotion!r}.")


@dataclass(frozen=True)
class Edited:
    """The person says what their words were in a turn."""

    turn: int
    text: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("Expected the words that were said, got an empty text.")


@dataclass(frozen=True)
class Forgotten:
    """The person asked to forget everything that was said and seen."""


Event = (
    Consented
    | ChannelSwitched
    | Readied
    | MomentSeen
    | MediaDropped
    | Noticed
    | Hearing
    | Ducked
    | Interrupted
    | AgentSpoke
    | TurnOpened
    | Read
    | Heard
    | ReplyStarted
    | ReplyPiece
    | ReplyEnded
    | TurnFailed
    | Corrected
    | Edited
    | Forgotten
)
