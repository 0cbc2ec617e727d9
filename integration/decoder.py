"""The process in which pocketsphinx decodes: int16 sound in on stdin, words out on stdout.

It is run as a file of its own, so that it loads nothing but the decoder, and ends when its stdin
does. Both ways each message is its length (uint32, little-endian) and that many bytes.
"""

from __future__ import annotations

import struct
import sys
from typing import IO, Final

__all__ = ["receive", "send"]

SAMPLE_RATE_HZ: Final = 16000
_LENGTH: Final = struct.Struct("<I")


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write one message."""
    pipe.write(_LENGTH.pack(len(message)) + message)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Read one message; None where the other side has ended."""
    header = pipe.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    message = pipe.read(length)
    return message if len(message) == length else None


def _serve() -> None:
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL")
    while (pcm := receive(sys.stdin.buffer)) is not None:
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)  # the whole utterance is normalised at once
        decoder.end_utt()
        hypothesis = decoder.hyp()
        send(sys.stdout.buffer, b"" if hypothesis is None else hypothesis.hypstr.encode())


if __name__ == "__main__":
    _serve()
