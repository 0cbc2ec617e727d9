"""Every word the page says, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emotion.labels import Emotion
from integration.events import Channel

__all__ = [
    "AGREE",
    "ASLEEP",
    "CANNOT_OPEN",
    "CONSENT_BODY",
    "CONSENT_LAW",
    "CONSENT_LICENCE",
    "CONSENT_TITLE",
    "DIFFER",
    "EMOTION_NAMES",
    "FORGOTTEN",
    "FULL",
    "GREETING",
    "GREETING_TYPED",
    "MIXED",
    "NOT_SO",
    "STAYS_HERE",
    "SWITCHES",
    "TAGLINE",
    "TOO_LONG",
    "UNCLEAR",
    "UNHEARD",
    "WORDS_LEAVE",
    "percent",
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
    "Picture and sound are read in memory and thrown away; neither they nor your words are "
    "written to a disk. “Forget everything” deletes the talk, and so does closing the page.",
)

WORDS_LEAVE: Final = (
    "Your words leave this machine",
    "Picture and sound are read in memory here and thrown away. What you say or write, and a note "
    "of the feeling read from it, is sent to {host}, whose model writes the answers.",
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
AGREE: Final = "Face and voice say the same"
MIXED: Final = "The words say something else, so the answer takes neither for granted"
DIFFER: Final = "Face and voice differ"
NOT_SO: Final = "That is not how I feel"
UNHEARD: Final = "I heard your voice but could not make out words. Say it again, or type it."
FORGOTTEN: Final = "Everything said and seen so far is deleted."
FULL: Final = "Too many people are talking here already; please try again later."
ASLEEP: Final = "This page was away too long and its talk is deleted; reload it to begin anew."

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
    """
    return f"{100 * probability:.0f}\u202f%"  # a narrow no-break space keeps it on one line
