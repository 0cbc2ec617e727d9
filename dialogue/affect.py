"""How a person seems to feel, in dialogue's own words, and what that asks of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from statistics import fmean
from types import MappingProxyType
from typing import Final, Literal, get_args

from dialogue.errors import InputError

__all__ = [
    "ACCORDS",
    "CHANNELS",
    "FEELINGS",
    "POLICIES",
    "STRENGTHS",
    "Accord",
    "Act",
    "Channel",
    "Feeling",
    "Policy",
    "Strength",
    "Trend",
    "UserAffect",
    "policy_for",
    "trend_of",
]

Feeling = Literal["angry", "disgusted", "afraid", "happy", "neutral", "sad", "surprised"]
FEELINGS: Final[tuple[Feeling, ...]] = get_args(Feeling)

Channel = Literal["face", "voice", "words"]
CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)

Strength = Literal["slightly", "clearly", "very"]
STRENGTHS: Final[tuple[Strength, ...]] = get_args(Strength)

Accord = Literal["single", "agree", "conflict"]
"""Whether the channels tell the same story; `single` where only one of them was there."""
ACCORDS: Final[tuple[Accord, ...]] = get_args(Accord)

Trend = Literal["lifting", "steady", "sinking"]
"""How the feeling went over a talk."""

Act = Literal["follow", "ask", "comfort", "reassure", "calm", "validate", "celebrate", "explore"]

CLEARLY_FROM: Final = 0.5
VERY_FROM: Final = 0.8
AGREE_FROM: Final = 0.5
"""`UserAffect.agreement` under this is a conflict: the distributions share less than half."""

TREND_FROM: Final = 0.25
"""Change of valence, on its scale from -1 to 1, that counts as one; about the change from neutral
to a feeling that is read with a confidence of 0.4."""
TREND_TURNS: Final = 4
"""Earlier turns that the newest is compared with."""

_VALENCE_SIGN: Final[Mapping[Feeling, int]] = {
    "angry": -1, "disgusted": -1, "afraid": -1, "happy": 1, "neutral": 0, "sad": -1, "surprised": 0,
}  # fmt: skip


@dataclass(frozen=True)
class UserAffect:
    """How a person seems to feel while saying one thing; a guess about expression, not a fact.

    Attributes:
        label: The feeling, or None where it is unclear.
        probabilities: Calibrated probability of each feeling, or empty where none is known.
        confidence: Probability of the likeliest feeling, in [0, 1].
        valence: Unpleasant -1 to pleasant 1.
        arousal: Calm -1 to excited 1.
        channels: What it was read from, without those the person switched off.
        agreement: 1 where face and voice say the same, 0 where they share nothing; None without
            both of them.
        by_channel: The likeliest feeling of each channel alone, where it is known.

    Raises:
        InputError: If a word is not one of FEELINGS or CHANNELS, or a number is out of its range.
    """

    label: Feeling | None = field(repr=False)
    probabilities: Mapping[Feeling, float] = field(default_factory=dict, repr=False)
    confidence: float = 0.0
    valence: float = 0.0
    arousal: float = 0.0
    channels: tuple[Channel, ...] = ()
    agreement: float | None = None
    by_channel: Mapping[Channel, Feeling | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in (self.label, *self.probabilities, *self.by_channel.values()):
            _check_word("a feeling", name, FEELINGS)
        for channel in (*self.channels, *self.by_channel):
            _check_word("a channel", channel, CHANNELS)
        _check_range("confidence", self.confidence, 0.0)
        _check_range("valence", self.valence, -1.0)
        _check_range("arousal", self.arousal, -1.0)
        _check_range("agreement", self.agreement or 0.0, 0.0)

    @property
    def strength(self) -> Strength:
        """How strongly it may be put, by the calibrated confidence."""
        if self.confidence >= VERY_FROM:
            return "very"
        return "clearly" if self.confidence >= CLEARLY_FROM else "slightly"

    @property
    def sign(self) -> int:
        """Whether the feeling is pleasant, 1, unpleasant, -1, or neither, 0."""
        return _VALENCE_SIGN[self.label] if self.label else 0

    @property
    def contradicted_by_words(self) -> bool:
        """Whether the words' feeling has the opposite sign of valence from what else was read.

        A smile over neutral words is no contradiction.
        """
        words = self.by_channel.get("words")
        return words is not None and _VALENCE_SIGN[words] * self.sign < 0

    @property
    def accord(self) -> Accord:
        """Whether face, voice and words tell the same story."""
        if self.agreement is not None and self.agreement < AGREE_FROM:
            return "conflict"
        if self.contradicted_by_words:
            return "conflict"
        return "agree" if len(self.channels) > 1 else "single"


@dataclass(frozen=True)
class Policy:
    """How to answer.

    Attributes:
        act: What the answer should do, in one word.
        guidance: The same as an instruction to a language model.
    """

    act: Act
    guidance: str


_GUIDANCE: Final[Mapping[Act, str]] = {
    "follow": "Answer what they said; let the feeling rest.",
    "ask": "Do not assume a feeling; ask one open, gentle question.",
    "comfort": "Be warm and unhurried, show you understood what happened, give no quick advice.",
    "reassure": "Be steady and calm, take the worry seriously, then ask what would help.",
    "calm": "Stay calm and fair, take the grievance seriously, do not argue or soothe too soon.",
    "validate": "Say that the reaction makes sense in what they told, then let them go on.",
    "celebrate": "Share the joy plainly and ask for more of the good news.",
    "explore": "Meet the surprise with interest and ask what they make of it.",
}

_ACTS: Final[Mapping[Feeling, tuple[Act, Act, Act]]] = {
    # slightly, clearly, very
    "angry": ("validate", "validate", "calm"),
    "disgusted": ("follow", "validate", "validate"),
    "afraid": ("ask", "reassure", "reassure"),
    "happy": ("follow", "celebrate", "celebrate"),
    "neutral": ("follow", "follow", "follow"),
    "sad": ("ask", "comfort", "comfort"),
    "surprised": ("follow", "explore", "explore"),
}


def _act(feeling: Feeling | None, strength: Strength, accord: Accord) -> Act:
    if feeling is None or accord == "conflict":
        return "ask"  # an unclear or contradictory signal is never talked over
    return _ACTS[feeling][STRENGTHS.index(strength)]


POLICIES: Final[Mapping[tuple[Feeling | None, Strength, Accord], Policy]] = MappingProxyType(
    {
        key: Policy(act := _act(*key), _GUIDANCE[act])
        for key in product((*FEELINGS, None), STRENGTHS, ACCORDS)
    }
)
"""Feeling (None: unclear) × strength × accord → how to answer; complete."""


def policy_for(affect: UserAffect) -> Policy:
    """Look up how to answer someone who seems to feel so."""
    return POLICIES[affect.label, affect.strength, affect.accord]


def trend_of(affects: Sequence[UserAffect]) -> Trend | None:
    """Say how the feeling went, from the valence of the newest turn and the mean of those before.

    Args:
        affects: Of the user's turns in order of time.

    Returns:
        None where fewer than two turns were read before the newest.
    """
    before = [affect.valence for affect in affects[-1 - TREND_TURNS : -1]]
    if len(before) < 2:
        return None
    change = affects[-1].valence - fmean(before)
    if abs(change) < TREND_FROM:
        return "steady"
    return "lifting" if change > 0 else "sinking"


def _check_word(what: str, word: str | None, allowed: tuple[str, ...]) -> None:
    if word is not None and word not in allowed:
        raise InputError(f"Expected {what} out of {', '.join(allowed)}, got {word!r}.")


def _check_range(name: str, value: float, low: float) -> None:
    if not low <= value <= 1.0:
        raise InputError(f"Expected {name} in [{low:g}, 1], got {value}.")
