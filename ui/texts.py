"""Every word the page says, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from emotion.labels import Emotion
from integration.events import Channel

__all__ = [
    "AGREE",
    "ALOUD",
    "ASLEEP",
    "ASLEEP_SOUND",
    "BY_TURNS",
    "CANNOT_OPEN",
    "CONSENT_BODY",
    "CONSENT_LAW",
    "CONSENT_LICENCE",
    "CONSENT_TITLE",
    "DIFFER",
    "EDIT",
    "ELSEWHERE",
    "EMOTION_NAMES",
    "FULL",
    "GREETING",
    "GREETING_TYPED",
    "LEARNT",
    "LOST",
    "MIXED",
    "NOT_SO",
    "NO_VOICE",
    "ONE_PICTURE",
    "SAVES",
    "STAYS_HERE",
    "SWITCHES",
    "TAGLINE",
    "TOO_LONG",
    "UNCLEAR",
    "UNHEARD",
    "UNSURE",
    "WHY",
    "WORDS_LEAVE",
    "listed",
    "percent",
    "seconds",
]

TAGLINE: Final = "A listener made of software."

CONSENT_TITLE: Final = "Before we talk"

CONSENT_BODY: Final[tuple[tuple[str, str], ...]] = (
    (
        "What it reads",
        "Attune looks at your face and listens to your voice and words, and guesses which of seven "
        "emotions you show: anger, disgust, fear, happiness, sadness, surprise, or none of them. "
        "Its answers take that guess into account.",
    ),
    (
        "It can be wrong",
        "It sees how you look and sound, not what you feel. It says “unclear” when it is not sure, "
        "and you can correct it, or switch camera and microphone off, at any time.",
    ),
    (
        "You are talking to an AI",
        "A language model writes the answers. It is no therapist and no doctor, and it is no help "
        "in an emergency: call your local emergency number.",
    ),
)

STAYS_HERE: Final = (
    "Nothing leaves this machine",
    "Picture and sound are read in memory and thrown away, but for a few small pictures that show "
    "you why. Neither they nor your words are written to a disk. “Forget everything” deletes the "
    "talk, and so does closing the page.",
)

WORDS_LEAVE: Final = (
    "Your words leave this machine",
    "Picture and sound are read in memory here and thrown away, but for a few small pictures that "
    "show you why. What you say or write, and a note of the feeling read from it, is sent to "
    "{host}, whose model writes the answers.",
)

CONSENT_LAW: Final = (
    "In the EU the law asks that you are told before emotion recognition starts, which this page "
    "does, and forbids it at work and in education except for medical or safety reasons."
)

CONSENT_LICENCE: Final = (
    "The models that come with Attune are for research and non-commercial use (CC BY-NC-SA 4.0)."
)

GREETING: Final = "Say something, or type it. Take your time."
GREETING_TYPED: Final = "Write what is on your mind. Take your time."

EMOTION_NAMES: Final[Mapping[Emotion, str]] = {
    "angry": "Angry",
    "disgust": "Disgust",
    "fear": "Fear",
    "happy": "Happy",
    "neutral": "Neutral",
    "sad": "Sad",
    "surprise": "Surprise",
}

UNCLEAR: Final = "Unclear"
UNSURE: Final = "not sure enough to say"
AGREE: Final = "Face and voice say the same"
MIXED: Final = "The words say something else, so the answer takes neither for granted"
DIFFER: Final = "Face and voice differ"
LEARNT: Final = "Your earlier corrections count here"
NOT_SO: Final = "That is not how I feel"
WHY: Final = "Why this guess"
ONE_PICTURE: Final = "Only one picture of your face was there to look at."
EDIT: Final = "Correct the words"
UNHEARD: Final = "I heard your voice but could not make out words. Say it again, or type it."
FULL: Final = "Too many people are talking here already; please try again later."
ASLEEP: Final = "This page was away too long and its talk is deleted; reload it to begin anew."

LOST: Final = "The connection is lost; trying again …"
ELSEWHERE: Final = "This talk goes on in another tab."

BY_TURNS: Final = "Without the camera there is nothing to show live; each turn shows what was read."

ALOUD: Final[Mapping[str, str]] = {
    "on": "on",
    "off": "off",
    "speaking": "speaking",
    "ducked": "waits",
}
"""What the switch of the agent's voice says."""

ASLEEP_SOUND: Final = "The browser waits for a click or a key before it listens again."

NO_VOICE: Final = (
    "Answers cannot be read aloud: this browser has no voice on this machine, and online voices "
    "would send the words away."
)

SAVES: Final[Mapping[str, str]] = {
    "text": "As a readable text",
    "json": "As JSON, with every number",
}
"""The forms in which a talk can be saved."""

TOO_LONG: Final = "Please write at most {most} characters at a time; these were {got}."

SWITCHES: Final[Mapping[Channel, str]] = {"camera": "Camera", "microphone": "Microphone"}

CANNOT_OPEN: Final[Mapping[str, Mapping[Channel, str]]] = {
    "denied": {
        "camera": "The browser does not allow the camera; the rest goes on without it.",
        "microphone": "The browser does not allow the microphone; you can type instead.",
    },
    "missing": {
        "camera": "No camera was found; the rest goes on without it.",
        "microphone": "No microphone was found; you can type instead.",
    },
    "insecure": {
        "camera": "Browsers give the camera only to pages that come by HTTPS or from the same "
        "machine; the rest goes on without it.",
        "microphone": "Browsers give the microphone only to pages that come by HTTPS or from the "
        "same machine; you can type instead.",
    },
    "failed": {
        "camera": "The camera could not be opened; another program may be using it.",
        "microphone": "The microphone could not be opened; another program may be using it.",
    },
}
"""What the browser reports when it cannot open a device, and how the page puts it."""


def percent(probability: float) -> str:
    r"""Put a probability in [0, 1] in words.

    >>> percent(0.634)
    '63\u202f%'
    >>> percent(0.998)  # nothing that is guessed is certain
    '>99\u202f%'
    """
    number = ">99" if 0.995 <= probability < 1.0 else f"{100 * probability:.0f}"
    return f"{number}\u202f%"  # a narrow no-break space keeps it on one line


def seconds(time_s: float) -> str:
    r"""Put a time in words.

    >>> seconds(1.25)
    '1.2\u202fs'
    """
    return f"{time_s:.1f}\u202fs"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> listed(["face", "voice", "words"])
    'face, voice and words'
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
