"""What all tests share: where the corpora are, and hand-written stand-ins for the models."""

import os
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from emotion.estimate import EmotionEstimate, FaceSighting, Moment, Reading, as_probabilities
from emotion.labels import EMOTIONS

# Before torch is loaded, and for every process a test starts: on a busy machine two threads wait
# for each other and small networks take ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent
PATIENCE_S = 20.0
SAMPLE_RATE_HZ = 16_000


@pytest.fixture(scope="session")
def data_folder():
    """The folder of the corpora, $ATTUNE_DATA or ../shared/data beside the repository; or None."""
    given = os.environ.get("ATTUNE_DATA")
    root = Path(given) if given else ROOT.parent / "shared" / "data"
    return root if root.is_dir() else None


@pytest.fixture(scope="session")
def data_root(data_folder):
    """The folder of the corpora; skips the test where there is none."""
    if data_folder is None:
        pytest.skip("no corpora in $ATTUNE_DATA nor in ../shared/data")
    return data_folder


@pytest.fixture(scope="session")
def buzz():
    """Sound that WebRTC takes for a voice: harmonics of 140 Hz, modulated as syllables are."""

    def make(seconds):
        t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        harmonics = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20))
        return (0.15 * harmonics * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * t))).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def hush():
    """Almost silence: noise 80 dB below full scale."""

    def make(seconds, level=1e-4):
        noise = np.random.default_rng(1).standard_normal(round(seconds * SAMPLE_RATE_HZ))
        return (level * noise).astype(np.float32)

    return make


def peaked(emotion, top=0.7):
    """Probabilities with this much on one emotion and the rest spread evenly."""
    rest = (1 - top) / (len(EMOTIONS) - 1)
    return as_probabilities([top if e == emotion else rest for e in EMOTIONS])


@pytest.fixture
def make_reading():
    return lambda emotion, top=0.7: Reading(peaked(emotion, top), quality=0.9)


@pytest.fixture
def make_estimate(make_reading):
    """Build an estimate from the emotion of each channel; the fused one is the first given."""

    def make(face=None, voice=None, *, label="same", top=0.7, start_s=0.0, end_s=1.0):
        first = face or voice
        return EmotionEstimate(
            start_s=start_s,
            end_s=end_s,
            person=0 if face else None,
            probabilities=peaked(first, top),
            label=first if label == "same" else label,
            face=make_reading(face, top) if face else None,
            voice=make_reading(voice, top) if voice else None,
        )

    return make


@pytest.fixture
def make_moment():
    def make(emotion="happy", top=0.7, *, time_s=0.0, speaking=False):
        face = FaceSighting(0, (200.0, 100.0, 400.0, 350.0), peaked(emotion, top))
        return Moment(time_s, (face,), speaking)

    return make


class GivenClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self):
        self.time_s = 100.0

    def now(self):
        return self.time_s


@dataclass
class FakeLive:
    """Notes what was pushed and gives the estimates it was told to."""

    finished: list = field(default_factory=list)
    face: EmotionEstimate | None = None
    moment: Moment = field(default_factory=lambda: Moment(0.0, (), False))
    frames: list = field(default_factory=list)
    sounds: list = field(default_factory=list)
    asked_since: list = field(default_factory=list)
    error: Exception | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event | None = None

    def push_frame(self, time_s, rgb):
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        self.frames.append((time_s, rgb))

    def push_audio(self, time_s, samples, sample_rate_hz):
        self.sounds.append((time_s, samples, sample_rate_hz))

    def poll(self):
        finished, self.finished = self.finished, []
        return finished

    def now(self):
        return self.moment

    def recent(self, start_s):
        self.asked_since.append(start_s)
        return self.face

    def take_audio(self, start_s, end_s):
        return np.zeros(round((end_s - start_s) * 16000), np.float32)

    def take_faces(self, person, times_s):
        return [np.zeros((48, 48, 3), np.uint8) for _ in times_s]


class FakeRecognizer:
    """Hands out the lives it was given, then fresh ones; words are always neutral."""

    def __init__(self, *lives):
        self.lives = list(lives)
        self.opened = []

    def stream(self):
        live = self.lives.pop(0) if self.lives else FakeLive()
        self.opened.append(live)
        return live

    def recognize_words(self, text):
        return np.array(list(peaked("neutral").values()), np.float32)


class FakeTranscriber:
    rough = False

    def __init__(self, *texts, error=None):
        self.texts = list(texts)
        self.error = error
        self.heard = []

    def transcribe(self, samples):
        self.heard.append(samples)
        if self.error is not None:
            raise self.error
        return self.texts.pop(0)

    def listen(self):
        from integration.transcription import Rolling

        return Rolling(self, every_s=np.inf)

    def close(self):
        pass


class FakeResponder:
    """Answers in pieces; with a gate, waits before the second piece until it is opened."""

    def __init__(self, *pieces, gate=None, error=None):
        self.pieces = pieces or ("I ", "see.")
        self.gate = gate
        self.error = error
        self.asked = []

    def stream(self, messages, *, affect=None, cancel=None):
        self.asked.append((list(messages), affect))
        if self.error is not None:
            raise self.error
        for number, piece in enumerate(self.pieces):
            if number and self.gate is not None:
                while not self.gate.wait(0.01):
                    if cancel.is_set():
                        return
            if cancel.is_set():
                return
            yield piece


@dataclass
class FakeModels:
    live: FakeLive
    recognizer: FakeRecognizer
    transcriber: FakeTranscriber
    responder: FakeResponder
    clock: GivenClock

    def parts(self):
        from integration.parts import Parts

        loaded = Future()
        loaded.set_result(Parts(self.recognizer, self.transcriber, self.responder))
        return loaded


@pytest.fixture
def clock():
    return GivenClock()


@pytest.fixture
def models(clock):
    """Stand-ins for all models: recogniser, transcriber, responder."""
    live = FakeLive()
    return FakeModels(
        live, FakeRecognizer(live), FakeTranscriber("hello there"), FakeResponder(), clock
    )


@pytest.fixture(scope="session")
def fakes():
    """The stand-ins' classes, for tests that build their own."""
    return {c.__name__: c for c in (FakeLive, FakeRecognizer, FakeTranscriber, FakeResponder)}
