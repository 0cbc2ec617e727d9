import numpy as np
import pytest
from PIL import Image

RATE_HZ = 16_000


@pytest.fixture(scope="session")
def buzz():
    """Sound that WebRTC takes for a voice: harmonics of 140 Hz, modulated as syllables are."""

    def make(seconds):
        t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        harmonics = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20))
        return (0.15 * harmonics * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * t))).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def hush():
    """Almost silence: noise 80 dB below full scale."""

    def make(seconds, level=1e-4):
        noise = np.random.default_rng(1).standard_normal(round(seconds * RATE_HZ))
        return (level * noise).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def astronaut():
    """A photograph with one real face (NASA, public domain)."""
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(data.astronaut())


@pytest.fixture(scope="session")
def on_canvas():
    """Paste a picture into a black frame."""

    def paste(picture, width=640, height=480, left=0, top=0):
        canvas = Image.new("RGB", (width, height))
        canvas.paste(picture, (left, top))
        return np.asarray(canvas)

    return paste


@pytest.fixture(scope="session")
def recognizer():
    """The bundled recogniser."""
    from emotion import EmotionRecognizer

    return EmotionRecognizer.from_pretrained(device="cpu")
