"""From what the recogniser says to what dialogue understands: the only place that knows both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from dialogue.affect import Channel, Feeling, UserAffect
from emotion.calibration import UNCLEAR_BELOW
from emotion.estimate import EmotionEstimate, Probabilities, Reading
from emotion.labels import EMOTIONS, Emotion
from integration.lessons import Lesson, adapted

__all__ = ["FEELING_OF", "joined", "permitted", "prevailing", "to_affect"]

FEELING_OF: Final[Mapping[Emotion, Feeling]] = MappingProxyType(
    {
        "angry": "angry",
        "disgust": "disgusted",
        "fear": "afraid",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
        "surprise": "surprised",
    }
)
"""Each emotion in the words of dialogue; a test proves it complete in both directions."""

WORDS_PREVAIL_FROM: Final = 0.6
"""Probability from which words prevail over a face and a voice that show nothing. It is above
UNCLEAR_BELOW because a transcript of speech may itself be wrong."""


def permitted(
    estimate: EmotionEstimate | None, *, camera: bool = True, microphone: bool = True
) -> EmotionEstimate | None:
    """Keep of an estimate only what the channels that are switched on may tell.

    Returns:
        The estimate as it is where nothing has to go; one of the remaining channel alone; None
        where nothing remains.
    """
    if estimate is None:
        return None
    face = estimate.face if camera else None
    voice = estimate.voice if microphone else None
    if (face, voice) == (estimate.face, estimate.voice):
        return estimate if face or voice else None
    left = face or voice
    if left is None:
        return None
    person = estimate.person if face else None
    alone = replace(_alone(left), start_s=estimate.start_s, end_s=estimate.end_s, person=person)
    return replace(alone, face=face, voice=voice, words=estimate.words)


def joined(estimates: Sequence[EmotionEstimate]) -> EmotionEstimate | None:
    """Join the estimates of one turn's utterances into one of the whole turn.

    Distributions are averaged with the utterances' lengths as weights (the linear opinion pool,
    Stone 1961), which keeps them calibrated as well as each of them is. Person, words and
    attention are those of the longest utterance.

    Returns:
        The estimate as it is where there is one; None where there is none.
    """
    if len(estimates) < 2:
        return estimates[0] if estimates else None
    longest = max(estimates, key=_length_s)
    lengths_s = [_length_s(estimate) for estimate in estimates]
    whole = _mean([estimate.probabilities for estimate in estimates], lengths_s)
    label = max(whole, key=whole.__getitem__)
    return replace(
        longest,
        start_s=min(estimate.start_s for estimate in estimates),
        end_s=max(estimate.end_s for estimate in estimates),
        probabilities=whole,
        label=label if whole[label] >= UNCLEAR_BELOW else None,
        face=_mean_reading([estimate.face for estimate in estimates], lengths_s),
        voice=_mean_reading([estimate.voice for estimate in estimates], lengths_s),
    )


def _length_s(estimate: EmotionEstimate) -> float:
    return max(estimate.end_s - estimate.start_s, 1e-3)


def _mean_reading(readings: Sequence[Reading | None], lengths_s: Sequence[float]) -> Reading | None:
    there = [(r, s) for r, s in zip(readings, lengths_s, strict=True) if r is not None]
    if not there:
        return None
    weights = [length_s for _, length_s in there]
    quality = sum(r.quality * s for r, s in there) / sum(weights)
    return Reading(_mean([r.probabilities for r, _ in there], weights), quality)


def _mean(distributions: Sequence[Probabilities], weights: Sequence[float]) -> Probabilities:
    pairs = list(zip(distributions, weights, strict=True))
    return {e: sum(p[e] * w for p, w in pairs) / sum(weights) for e in distributions[0]}


def to_affect(
    estimate: EmotionEstimate | None,
    *,
    words: Reading | None = None,
    camera: bool = True,
    microphone: bool = True,
    correction: Emotion | None = None,
    lessons: Sequence[Lesson] = (),
) -> UserAffect | None:
    """Say in dialogue's words how a person seems to feel.

    Args:
        estimate: Face and voice of the utterance, or None.
        words: The words' own reading; `estimate.words` where it is not given.
        camera: Whether the camera is switched on; its face tells nothing where it is not.
        microphone: The same for the voice.
        correction: What the person says they feel: it replaces everything that was read.
        lessons: What their earlier corrections taught; see `adapted`.

    Returns:
        The affect, its label None where the estimate is unclear; None where nothing is known.
    """
    if correction is not None:
        return _stated(correction)
    words = words or (estimate.words if estimate else None)
    seen = permitted(estimate, camera=camera, microphone=microphone)
    whole = adapted(prevailing(seen, words), lessons)
    if whole is None:
        return None
    readings: dict[Channel, Reading | None] = {"words": words}
    if seen is not None:
        readings = {"face": seen.face, "voice": seen.voice, "words": words}
    affect = _affect(whole, readings)
    return replace(affect, agreement=seen.agreement if seen else None)


def prevailing(estimate: EmotionEstimate | None, words: Reading | None) -> EmotionEstimate | None:
    """Return the view of a turn that its answer goes by: face and voice, or the words.

    A calm face hides much ('poker face', arXiv:2605.20200): words that clearly say a feeling are
    not overruled by a face and a voice that show none. Where face and voice show another feeling
    they prevail, and dialogue sees from the words beside them that the two conflict.

    Args:
        estimate: Face and voice, as far as they may tell, or None.
        words: The words' own reading, or None.

    Returns:
        The estimate as it is, or one of the words alone; None where both are missing.
    """
    if words is None:
        return estimate
    if estimate is None:
        return _of_words(words, estimate)
    silent = estimate.label in (None, "neutral")
    told = words.label != "neutral" and words.probabilities[words.label] >= WORDS_PREVAIL_FROM
    return _of_words(words, estimate) if silent and told else estimate


def _of_words(words: Reading, estimate: EmotionEstimate | None) -> EmotionEstimate:
    span = (estimate.start_s, estimate.end_s) if estimate else (0.0, 0.0)
    return replace(_alone(words), start_s=span[0], end_s=span[1], words=words)


def _affect(whole: EmotionEstimate, readings: Mapping[Channel, Reading | None]) -> UserAffect:
    heard = {channel: reading for channel, reading in readings.items() if reading is not None}
    return UserAffect(
        label=None if whole.label is None else FEELING_OF[whole.label],
        probabilities=_feelings(whole.probabilities),
        confidence=min(whole.confidence, 1.0),
        valence=whole.valence,
        arousal=whole.arousal,
        channels=tuple(heard),
        agreement=whole.agreement,
        by_channel={channel: FEELING_OF[reading.label] for channel, reading in heard.items()},
    )


def _stated(emotion: Emotion) -> UserAffect:
    certain = {other: float(other == emotion) for other in EMOTIONS}
    stated = Reading(certain, quality=1.0)
    return _affect(_alone(stated), {"words": stated})


def _alone(reading: Reading) -> EmotionEstimate:
    clear = reading.probabilities[reading.label] >= UNCLEAR_BELOW
    label = reading.label if clear else None
    return EmotionEstimate(0.0, 0.0, None, reading.probabilities, label)


def _feelings(probabilities: Probabilities) -> dict[Feeling, float]:
    return {FEELING_OF[emotion]: p for emotion, p in probabilities.items()}
