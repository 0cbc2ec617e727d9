"""What the browser sends, and how it is read. Pictures are decoded in memory only.

One message is a header of 16 bytes (little-endian) and a payload:

    kind (uint8) · 3 unused · sample rate in Hz (uint32) · media time in s (float64) · payload

Kind 1 is a JPEG picture, kind 2 mono sound as int16.
"""

from __future__ import annotations

import io
import math
import struct
from typing import Final

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from integration.errors import IntegrationError
from integration.events import Frame, Sound

__all__ = ["MAX_MESSAGE_BYTES", "MediaMessageError", "read_media"]

MAX_MESSAGE_BYTES: Final = 256 * 1024
MAX_SIDE: Final = 1280
MAX_SECONDS: Final = 24 * 3600.0
SAMPLE_RATES_HZ: Final = range(8000, 96001)

_HEADER: Final = struct.Struct("<B3xId")
_PICTURE: Final = 1
_SOUND: Final = 2


class MediaMessageError(IntegrationError, ValueError):
    """A message that is no picture and no sound as this page sends them."""


def read_media(message: bytes) -> Frame | Sound:
    """Read one binary message of the browser.

    Raises:
        MediaMessageError: If it is too long, too short, or holds neither picture nor sound.
    """
    if not _HEADER.size < len(message) <= MAX_MESSAGE_BYTES:
        raise MediaMessageError(
            f"Expected a message of {_HEADER.size + 1} to {MAX_MESSAGE_BYTES} bytes, "
            f"got {len(message)}."
        )
    kind, rate_hz, time_s = _HEADER.unpack_from(message)
    if not (math.isfinite(time_s) and 0 <= time_s <= MAX_SECONDS):
        raise MediaMessageError(f"Expected a media time of 0 to {MAX_SECONDS:.0f} s, got {time_s}.")
    payload = message[_HEADER.size :]
    if kind == _PICTURE:
        return _picture(time_s, payload)
    if kind == _SOUND:
        return _sound(time_s, rate_hz, payload)
    raise MediaMessageError(f"Expected kind {_PICTURE} or {_SOUND}, got {kind}.")


def _picture(time_s: float, jpeg: bytes) -> Frame:
    try:
        # not Image.open, which has a bound of its own, far higher, that it warns of and raises for
        with JpegImageFile(io.BytesIO(jpeg)) as picture:
            if max(picture.size) > MAX_SIDE:  # known from the header, before anything is decoded
                raise MediaMessageError(
                    f"Expected a picture of at most {MAX_SIDE} pixels a side, got {picture.size}."
                )
            return Frame(time_s, np.asarray(picture.convert("RGB")))
    except (OSError, SyntaxError) as error:
        raise MediaMessageError(f"Expected a JPEG picture, got {len(jpeg)} other bytes.") from error


def _sound(time_s: float, rate_hz: int, pcm: bytes) -> Sound:
    if rate_hz not in SAMPLE_RATES_HZ or len(pcm) % 2:
        raise MediaMessageError(
            f"Expected int16 sound at 8 to 96 kHz, got {len(pcm)} bytes at {rate_hz} Hz."
        )
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
    return Sound(time_s, samples, rate_hz)
