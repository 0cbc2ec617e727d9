import io
import struct

import numpy as np
import pytest
from PIL import Image

from integration.events import Frame, Sound
from ui.media import MAX_MESSAGE_BYTES, MediaMessageError, read_media


def message(kind, payload, *, time_s=1.5, rate_hz=16000):
    return struct.pack("<B3xId", kind, rate_hz, time_s) + payload


def jpeg(width=64, height=48, colour=(200, 30, 30), form="JPEG"):
    packed = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(packed, form)
    return packed.getvalue()


def test_a_picture_comes_out_as_it_went_in():
    frame = read_media(message(1, jpeg()))
    assert isinstance(frame, Frame)
    assert (frame.time_s, frame.rgb.shape, frame.rgb.dtype) == (1.5, (48, 64, 3), np.uint8)
    assert np.abs(frame.rgb.mean((0, 1)) - (200, 30, 30)).max() < 4


def test_sound_comes_out_as_it_went_in():
    pcm = np.array([0, 16384, -32768, 32767], "<i2")
    sound = read_media(message(2, pcm.tobytes(), rate_hz=48000))
    assert isinstance(sound, Sound)
    assert sound.sample_rate_hz == 48000
    np.testing.assert_allclose(sound.samples, [0, 0.5, -1, 32767 / 32768])


def header_says(width, height):
    """A JPEG whose header promises far more than it holds."""
    packed = bytearray(jpeg())
    at = packed.index(b"\xff\xc0") + 5
    packed[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(packed)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"", "got 0"),
        (message(1, b""), "got 16"),
        (message(1, b"x" * MAX_MESSAGE_BYTES), f"got {MAX_MESSAGE_BYTES + 16}"),
        (message(3, b"x"), "got 3"),
        (message(1, b"no picture"), "got 10 other bytes"),
        (message(1, jpeg()[:200]), "JPEG"),
        (message(1, jpeg(form="PNG")), "JPEG"),
        (message(1, jpeg(width=4000, height=10)), "4000"),
        (message(1, header_says(10_000, 10_000)), "10000, 10000"),
        (message(1, header_says(65_500, 65_500)), "65500, 65500"),
        (message(2, b"odd"), "got 3 bytes"),
        (message(2, b"ab", rate_hz=0), "at 0 Hz"),
        (message(2, b"ab", time_s=float("nan")), "nan"),
        (message(2, b"ab", time_s=-1.0), "-1.0"),
        (message(2, b"ab", time_s=1e9), "1000000000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("error")
def test_anything_else_is_refused_in_words(bad, says):
    with pytest.raises(MediaMessageError, match=says):
        read_media(bad)
