import threading
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest

from integration.errors import TranscriptionError
from integration.scribe import Scribe

PATIENCE_S = 20.0
PIECE = np.zeros(4000, np.float32)


class Letters:
    """Writes a letter for every piece it was given, and notes who let go of what."""

    def __init__(self, error=None, gate=None):
        self.error = error
        self.gate = gate  # a slow one waits for it
        self.dropped = 0
        self.begun = threading.Semaphore(0)

    def listen(self):
        self.begun.release()
        return LetterListening(self)


class LetterListening:
    def __init__(self, letters):
        self.letters = letters
        self.samples = 0

    def push(self, samples):
        if self.letters.error is not None:
            raise self.letters.error
        if self.letters.gate is not None:
            assert self.letters.gate.wait(PATIENCE_S)
        self.samples += len(samples)
        return "a" * (self.samples // len(PIECE))

    def finish(self):
        return self.push(PIECE[:0]) + "!"

    def drop(self):
        self.letters.dropped += 1


def ended(scribe):
    text = Future()
    scribe.end_turn(text)
    return text


@pytest.fixture
def begin():
    """Start scribes; end them after the test."""
    started = []

    def start(transcriber, **bounds):
        words = []
        scribe = Scribe(transcriber, lambda *told: words.append(told), **bounds)
        thread = threading.Thread(target=scribe.run)
        thread.start()
        started.append((scribe, thread))
        return scribe, words

    yield start
    for scribe, thread in started:
        scribe.close()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_words_come_while_somebody_speaks_and_are_whole_at_the_end(begin):
    scribe, words = begin(Letters())
    scribe.push(PIECE)
    scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    assert ended(scribe).result(PATIENCE_S) == "aa! a!"
    assert {turn for turn, _, _ in words} == {0}
    assert ("aa!", True) in [told[1:] for told in words]
    assert scribe.turn == 1


def test_what_was_no_utterance_leaves_no_words(begin):
    letters = Letters()
    scribe, _ = begin(letters)
    scribe.push(PIECE)
    scribe.end_utterance(kept=False)
    scribe.end_utterance(kept=False)
    assert ended(scribe).result(PATIENCE_S) == ""
    assert letters.dropped == 1


def test_a_dropped_turn_leaves_nothing_to_the_next(begin):
    letters = Letters()
    scribe, _ = begin(letters)
    scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    scribe.push(PIECE)
    assert letters.begun.acquire(timeout=PATIENCE_S)
    assert letters.begun.acquire(timeout=PATIENCE_S)
    scribe.drop_turn()
    scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    assert ended(scribe).result(PATIENCE_S) == "a!"
    assert letters.dropped == 1


def test_sound_of_a_dropped_turn_that_still_waits_is_not_written_down():
    words = []
    scribe = Scribe(Letters(), lambda *told: words.append(told))
    scribe.push(PIECE)
    kept = ended(scribe)
    scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    scribe.drop_turn()
    thread = threading.Thread(target=scribe.run)
    thread.start()
    kept.result(PATIENCE_S)
    scribe.close()
    thread.join(PATIENCE_S)
    assert {turn for turn, _, _ in words} == {0}


@pytest.mark.parametrize("error", [TranscriptionError("It stopped."), RuntimeError("broken")])
def test_a_failure_is_the_turns_and_the_next_one_is_written_down(begin, error):
    letters = Letters(error)
    scribe, _ = begin(letters)
    scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    with pytest.raises(type(error)):
        ended(scribe).result(PATIENCE_S)
    letters.error = None
    scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    assert ended(scribe).result(PATIENCE_S) == "a!"


def test_whoever_waits_when_it_closes_is_told(begin):
    letters = Letters()
    scribe = Scribe(letters, lambda *_: None)
    scribe.push(PIECE)
    text = ended(scribe)
    scribe.close()
    scribe.run()
    with pytest.raises(CancelledError):
        text.result(PATIENCE_S)


@pytest.fixture
def slow(begin):
    """A scribe whose transcriber is at work on a first piece, with room for four more."""
    letters = Letters(gate=threading.Event())
    scribe, words = begin(letters, most_s=1.0)
    scribe.push(PIECE)
    assert letters.begun.acquire(timeout=PATIENCE_S)
    yield scribe, words, letters.gate
    letters.gate.set()


def test_speech_waits_whole_for_a_slow_transcriber(slow):
    scribe, _, gate = slow
    assert all(scribe.push(PIECE) for _ in range(4))
    scribe.end_utterance(kept=True)
    text = ended(scribe)
    gate.set()
    assert text.result(PATIENCE_S) == "aaaaa!"


def test_a_turn_that_finds_no_room_breaks_off_and_says_so(slow):
    scribe, _, gate = slow
    assert [scribe.push(PIECE) for _ in range(7)] == [True] * 4 + [False] * 3
    scribe.end_utterance(kept=True)
    assert not scribe.push(PIECE[:1])  # nor is there any for its next utterance
    scribe.end_utterance(kept=True)
    text, wordless = ended(scribe), None
    assert not scribe.push(PIECE)
    wordless = ended(scribe)
    gate.set()
    assert text.result(PATIENCE_S) == "aaaaa! …"
    with pytest.raises(TranscriptionError, match=r"1 s of it waited.* words of 0\.2 s are missing"):
        wordless.result(PATIENCE_S)
    assert scribe.push(PIECE)  # there is room again
    scribe.end_utterance(kept=True)
    assert ended(scribe).result(PATIENCE_S) == "a!"


def test_what_is_dropped_makes_room(slow):
    scribe, _, gate = slow
    assert [scribe.push(PIECE) for _ in range(5)] == [True] * 4 + [False]
    for _ in range(3):
        scribe.drop_turn()
    assert scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    text = ended(scribe)
    gate.set()
    assert text.result(PATIENCE_S) == "a!"


def test_any_number_of_turns_waits_within_the_bound(slow):
    scribe, _, _ = slow
    for _ in range(500):
        scribe.push(PIECE)
        scribe.end_utterance(kept=True)
        scribe.push(PIECE)
        scribe.drop_turn()
    assert len(scribe._orders) <= 3


def test_words_are_settled_once_no_utterance_waits(slow):
    scribe, words, gate = slow
    scribe.end_utterance(kept=True)
    assert scribe.is_behind
    text = ended(scribe)
    gate.set()
    text.result(PATIENCE_S)
    assert not scribe.is_behind
    assert ("a!", True) in [told[1:] for told in words]


def test_forgetting_leaves_nothing_to_write_down(slow):
    scribe, words, gate = slow
    scribe.end_utterance(kept=True)
    text = ended(scribe)
    scribe.push(PIECE)
    scribe.forget()
    with pytest.raises(CancelledError):
        text.result(PATIENCE_S)
    assert scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    again = ended(scribe)
    gate.set()
    assert again.result(PATIENCE_S) == "a!"
    assert {text for _, text, settled in words if settled} == {"a!"}
