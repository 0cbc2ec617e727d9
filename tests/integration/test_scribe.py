import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest

from integration.errors import TranscriptionError
from integration.scribe import Scribe

PATIENCE_S = 20.0
PIECE = np.zeros(4000, np.float32)


class Letters:
    """Writes a letter for every piece it was given, and notes who let go of what."""

    def __init__(self, error=None):
        self.error = error
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
        self.samples += len(samples)
        return "a" * (self.samples // len(PIECE))

    def finish(self):
        return self.push(PIECE[:0]) + "!"

    def drop(self):
        self.letters.dropped += 1


@pytest.fixture
def begin():
    """Start scribes; end them after the test."""
    started = []

    def start(transcriber):
        words = []
        scribe = Scribe(transcriber, lambda *told: words.append(told))
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
    assert scribe.end_turn().result(PATIENCE_S) == "aa! a!"
    assert {turn for turn, _, _ in words} == {0}
    assert ("aa!", True) in [told[1:] for told in words]
    assert scribe.turn == 1


def test_what_was_no_utterance_leaves_no_words(begin):
    letters = Letters()
    scribe, _ = begin(letters)
    scribe.push(PIECE)
    scribe.end_utterance(kept=False)
    scribe.end_utterance(kept=False)
    assert scribe.end_turn().result(PATIENCE_S) == ""
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
    assert scribe.end_turn().result(PATIENCE_S) == "a!"
    assert letters.dropped == 1


def test_sound_of_a_dropped_turn_that_still_waits_is_not_written_down():
    words = []
    scribe = Scribe(Letters(), lambda *told: words.append(told))
    scribe.push(PIECE)
    kept = scribe.end_turn()
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
        scribe.end_turn().result(PATIENCE_S)
    letters.error = None
    scribe.push(PIECE)
    scribe.end_utterance(kept=True)
    assert scribe.end_turn().result(PATIENCE_S) == "a!"


def test_whoever_waits_when_it_closes_is_told(begin):
    letters = Letters()
    scribe = Scribe(letters, lambda *_: None)
    scribe.push(PIECE)
    text = scribe.end_turn()
    scribe.close()
    scribe.run()
    with pytest.raises(CancelledError):
        text.result(PATIENCE_S)
