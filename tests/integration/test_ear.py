import numpy as np
import pytest

from emotion.speech.vad import UtteranceDetector
from integration.ear import Ear, Spoken, UtteranceOver
from integration.events import Sound
from integration.turn_taking import (
    Agent,
    Duck,
    HeardItself,
    Interrupt,
    TurnBegan,
    TurnConfig,
    TurnDropped,
    TurnEnded,
    Unduck,
)

RATE_HZ = 16_000


PATIENT = TurnConfig(shortest_pause_s=1.1)


@pytest.fixture
def talk(buzz, hush):
    """Two utterances of one turn, a long silence, a third."""
    parts = [hush(0.5), buzz(1.0), hush(1.0), buzz(0.8), hush(2.0), buzz(0.7), hush(1.5)]
    return np.concatenate(parts)


def listen(ear, wave, chunk, rate_hz=RATE_HZ, start_s=0.0):
    return [
        heard
        for i in range(0, len(wave), chunk)
        for heard in ear.push(Sound(start_s + i / rate_hz, wave[i : i + chunk], rate_hz))
    ]


def without_sound(heard):
    return [one for one in heard if not isinstance(one, Spoken)]


def utterances(heard):
    """The sound of each utterance, put together again."""
    done, pieces = [], []
    for one in heard:
        if isinstance(one, Spoken):
            pieces.append(one.samples)
        elif isinstance(one, UtteranceOver):
            done.append(np.concatenate(pieces))
            pieces = []
    return done


@pytest.mark.parametrize("chunk", [160, 640, 1_601, 8_000])
def test_the_size_of_chunks_changes_no_turn_and_no_sound(talk, chunk):
    whole, pieces = (listen(Ear(PATIENT), talk, size) for size in (len(talk), chunk))
    assert without_sound(pieces) == without_sound(whole)
    ours, theirs = utterances(pieces), UtteranceDetector().push(0.0, talk)
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs, strict=True):
        # what is told early holds a little silence that an utterance does not keep
        assert np.array_equal(one[: len(other.samples)], other.samples)
        assert 0 <= len(one) - len(other.samples) <= RATE_HZ


def test_turns_are_those_of_the_recognisers_own_utterances(talk):
    turns = [one for one in listen(Ear(PATIENT), talk, 640) if isinstance(one, TurnEnded)]
    spans = [(u.start_s, u.end_s) for u in UtteranceDetector().push(0.0, talk)]
    assert [span for turn in turns for span in turn.utterances] == spans
    assert [len(turn.utterances) for turn in turns] == [2, 1]


def test_another_rate_gives_the_same_turns(talk):
    fast = np.repeat(talk, 3)
    turns = [one for one in listen(Ear(PATIENT), fast, 1920, 48_000) if isinstance(one, TurnEnded)]
    assert [turn.start_s for turn in turns] == pytest.approx([0.4, 5.2], abs=0.15)


def test_a_voice_is_noticed_within_a_tenth_of_a_second_and_interrupts_within_seven(buzz, hush):
    ear = Ear()
    assert ear.tell(Agent(busy=True)) == ()
    times_s = {}
    wave = np.concatenate([hush(1.0), buzz(1.0)])
    for i in range(0, len(wave), 320):
        for heard in ear.push(Sound(i / RATE_HZ, wave[i : i + 320], RATE_HZ)):
            times_s.setdefault(type(heard), (i + 320) / RATE_HZ)
    assert times_s[Duck] <= 1.1
    assert times_s[Interrupt] <= 1.7


def speak_aloud(ear, voice, hush, start_s, delay_s=0.16):
    """Let an agent speak out of a loudspeaker that its microphone hears, until it has ended.

    A ducked voice is held still `delay_s` later. Returns what was done, how much was spoken, and
    the time.
    """
    done, at, time_s, level = [], 0, start_s, [1.0] * round(delay_s / 0.04)
    ducked = hushed = False
    while time_s < start_s + 20.0:
        speaks = not hushed and at < len(voice)
        actions = [*ear.tell(Agent(speaks, "That is what it says." if speaks else ""))]
        sound = hush(0.04)
        if level.pop(0) and speaks:
            piece = 0.3 * voice[at : at + len(sound)]
            sound[: len(piece)] += piece
            at += len(sound)
        actions += without_sound(ear.push(Sound(time_s, sound, RATE_HZ)))
        for action in actions:
            ducked = (ducked or isinstance(action, Duck)) and not isinstance(action, Unduck)
            hushed |= isinstance(action, Interrupt)
        level.append(not ducked)
        done += [type(action) for action in actions]
        time_s += 0.04
    return done, at / len(voice), time_s


@pytest.mark.parametrize("delay_s", [0.08, 0.16, 0.28])
def test_an_agent_that_comes_out_of_a_loudspeaker_soon_speaks_on(buzz, hush, delay_s):
    ear = Ear()
    list(ear.push(Sound(0.0, hush(2.0), RATE_HZ)))
    done, spoken, time_s = speak_aloud(ear, buzz(5.0), hush, 2.0, delay_s)
    assert done.count(HeardItself) == 1
    assert done.count(Duck) == 2
    assert spoken >= 1.0
    again, spoken, _ = speak_aloud(ear, buzz(5.0), hush, time_s, delay_s)
    assert spoken >= 1.0
    assert not {Interrupt, TurnEnded} & {*done, *again}
    assert Duck not in again


def test_a_click_ducks_and_is_no_turn(buzz, hush):
    ear = Ear()
    ear.tell(Agent(busy=True))
    heard = without_sound(listen(ear, np.concatenate([hush(1), buzz(0.16), hush(2.5)]), 640))
    assert not [one for one in heard if isinstance(one, (TurnEnded, Interrupt))]
    assert not ear.floor.ducked
    assert ear.floor.turn is None


def test_a_reset_drops_what_is_half_said_and_begins_at_any_time(buzz, hush):
    ear = Ear()
    listen(ear, np.concatenate([hush(0.5), buzz(1.0)]), 640, start_s=100.0)
    assert ear.reset() == (TurnDropped(),)
    heard = listen(ear, np.concatenate([hush(0.5), buzz(1.0), hush(1.5)]), 640, start_s=2.0)
    kinds = [type(one) for one in without_sound(heard)]
    assert kinds == [TurnBegan, UtteranceOver, TurnEnded]


def test_lost_sound_ends_what_was_being_said(buzz, hush):
    ear = Ear()
    listen(ear, np.concatenate([hush(0.5), buzz(1.0)]), 640)
    heard = without_sound(listen(ear, hush(0.5), 640, start_s=20.0))
    assert [type(one) for one in heard] == [UtteranceOver, TurnEnded]


def test_sound_stays_out_of_reprs():
    assert "array" not in repr(Spoken(np.zeros(4, np.float32)))
