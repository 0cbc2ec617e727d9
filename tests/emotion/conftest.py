import argparse
import io
import os
import wave
import zipfile

import numpy as np
import pytest
from PIL import Image

from emotion.cli import add_commands
from emotion.corpora.fer2013 import FERPLUS_LABELS
from emotion.labels import EMOTIONS

RATE_HZ = 16_000

# Before Accelerate looks: the tests compute on the CPU whatever the machine has, but for those
# marked gpu.
os.environ.setdefault("ACCELERATE_USE_CPU", "true")


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


@pytest.fixture(scope="session")
def write_ravdess():
    """Write ravdess.zip into a folder: half a second of noise for each actor and emotion."""

    def write(root, actors=(1, 2)):
        with zipfile.ZipFile(root / "ravdess.zip", "w") as archive:
            for actor in actors:
                for emotion in range(1, 9):
                    name = f"Actor_{actor:02}/03-01-{emotion:02}-01-01-01-{actor:02}.wav"
                    archive.writestr(name, _noise(10 * actor + emotion))
        return root

    return write


def _noise(seed):
    buffer = io.BytesIO()
    samples = 3000 * np.random.default_rng(seed).standard_normal(RATE_HZ // 2)
    with wave.open(buffer, "wb") as out:
        out.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        out.writeframes(samples.astype(np.int16).tobytes())
    return buffer.getvalue()


@pytest.fixture(scope="session")
def write_fer2013():
    """Write fer2013.zip and FER+'s votes into a folder: noise, as many faces of each emotion."""

    def write(root, split="Training", pictures=70):
        generator = np.random.default_rng(1)
        names = list(FERPLUS_LABELS.values())
        rows = [["Usage", "Image name", *names]]
        with zipfile.ZipFile(root / "fer2013.zip", "w") as archive:
            for i in range(pictures):
                buffer = io.BytesIO()
                pixels = generator.integers(0, 256, (48, 48)).astype(np.uint8)
                Image.fromarray(pixels).save(buffer, "PNG")
                archive.writestr(f"{split}/{EMOTIONS[i % 7]}/fer{i:07}.png", buffer.getvalue())
                own = FERPLUS_LABELS[EMOTIONS[i % 7]]
                votes = [str(8 * (name == own) + 2 * (name == "neutral")) for name in names]
                rows.append([split, f"fer{i:07}.png", *votes])
        (root / "fer2013new.csv").write_text("".join(",".join(row) + "\n" for row in rows))
        return root

    return write


@pytest.fixture
def attune(monkeypatch):
    """Run one of the emotion commands, from its arguments to its exit code; no corpora are set."""
    monkeypatch.delenv("ATTUNE_DATA", raising=False)

    def run(*arguments):
        parser = argparse.ArgumentParser()
        add_commands(parser.add_subparsers(required=True))
        args = parser.parse_args([str(a) for a in arguments])
        return args.run(args)

    return run
