"""The process in which pocketsphinx decodes: int16 sound in on stdin, words out on stdout.

It is run as a file of its own, so that it loads nothing but the decoder, and ends when its stdin
does. Both ways each message is its length (uint32, little-endian) and that many bytes.

A message in is an order (one byte), the number of an utterance (uint32, little-endian) and sound:

    W  a whole utterance            → its words
    M  more of an utterance         → its words so far
    E  the end of it                → its words
    D  nobody needs it any more     → nothing
"""

from __future__ import annotations

import struct
import sys
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DROP", "END", "MORE", "WHOLE", "order", "receive", "send"]

SAMPLE_RATE_HZ: Final = 16000
MOST_STATES: Final = 2000
"""Hidden Markov models that are followed at a time. Of the default, 30000, most are for nothing:
words are wrong as often, and decoding takes a third of the time (0.16 instead of 0.47 of the
sound's own length; on 24 sentences of RAVDESS the word error rate is 0.33 instead of 0.36)."""

SHORT_S: Final = 1.4
"""An utterance up to this long, of which 0.7 s are the silence around it, is most likely one of
SHORT_ONES: the language model of whole sentences makes 'the' of 'hmm' and 'so' of 'stop'."""

AGAIN_S: Final = 3.0
"""An utterance up to this long is decoded again as a whole when it has ended. While its sound comes
it is normalised by what was said before it, which in a talk's first sentence is nothing."""

SHORT_ONES: Final = (
    "mhm", "uh-huh", "hmm", "mm", "yeah", "yes", "yep", "okay", "right", "sure", "oh", "ah", "wow",
    "really", "i see", "go on", "of course", "no", "nope", "no no", "stop", "stop it", "wait",
    "hold on", "one moment", "be quiet", "excuse me", "hey", "hello", "hi", "sorry", "what", "why",
    "please", "thanks", "thank you", "bye",
)  # fmt: skip
_SOUNDS: Final = {"mhm": "M HH M", "mm": "M M"}
"""How those are said that the dictionary spells otherwise."""

WHOLE, MORE, END, DROP = b"W", b"M", b"E", b"D"

_LENGTH: Final = struct.Struct("<I")
_ORDER: Final = struct.Struct("<cI")


def order(kind: bytes, utterance: int = 0, pcm: bytes = b"") -> bytes:
    """Pack one message in."""
    return _ORDER.pack(kind, utterance) + pcm


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


class _Decoders:
    """One decoder for each utterance that is under way; those that are free are kept."""

    def __init__(self) -> None:
        self._free = [_decoder()]
        self._busy: dict[int, Any] = {}
        self._sound: dict[int, bytes] = {}  # of those that are not too long to be decoded again

    def whole(self, _: int, pcm: bytes) -> bytes:
        decoder = self._take()
        self._free.append(decoder)
        return _decoded(decoder, pcm)

    def more(self, utterance: int, pcm: bytes) -> bytes:
        decoder = self._busy.get(utterance)
        if decoder is None:
            decoder = self._busy[utterance] = self._take()
            decoder.start_utt()
            self._sound[utterance] = b""
        if pcm:
            decoder.process_raw(pcm)
        self._remember(utterance, pcm)
        return _words(decoder)

    def end(self, utterance: int, pcm: bytes) -> bytes:
        self.more(utterance, pcm)
        sound, decoder = self._sound.pop(utterance, b""), self._busy.pop(utterance)
        words = self._words_of_ended(decoder)
        if not sound:
            return words
        short = len(sound) <= 2 * SAMPLE_RATE_HZ * SHORT_S
        return (_short_one(decoder, sound) if short else b"") or _decoded(decoder, sound)

    def _remember(self, utterance: int, pcm: bytes) -> None:
        if utterance in self._sound:
            self._sound[utterance] += pcm
            if len(self._sound[utterance]) > 2 * SAMPLE_RATE_HZ * AGAIN_S:
                del self._sound[utterance]

    def drop(self, utterance: int, _: bytes) -> bytes:
        self._sound.pop(utterance, None)
        if utterance in self._busy:
            self._words_of_ended(self._busy.pop(utterance))
        return b""

    def _take(self) -> Any:
        return self._free.pop() if self._free else _decoder()

    def _words_of_ended(self, decoder: Any) -> bytes:
        decoder.end_utt()
        self._free.append(decoder)
        return _words(decoder)


def _decoder() -> Any:
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL", maxhmmpf=MOST_STATES)
    for word, sounds in _SOUNDS.items():
        decoder.add_word(f"{word}(2)" if decoder.lookup_word(word) else word, sounds, True)
    decoder.add_jsgf_string(
        "short", f"#JSGF V1.0; grammar short; public <one> = {' | '.join(SHORT_ONES)};"
    )
    return decoder


def _short_one(decoder: Any, pcm: bytes) -> bytes:
    """Return the one of SHORT_ONES that it was, or nothing; takes some hundredths of a second."""
    whole_sentences = decoder.current_search()
    decoder.activate_search("short")
    words = _decoded(decoder, pcm)
    decoder.activate_search(whole_sentences)
    return words


def _decoded(decoder: Any, pcm: bytes) -> bytes:
    decoder.start_utt()
    if pcm:
        decoder.process_raw(pcm, full_utt=True)  # all of it is normalised at once
    decoder.end_utt()
    return _words(decoder)


def _words(decoder: Any) -> bytes:
    hypothesis = decoder.hyp()
    return b"" if hypothesis is None else bytes(hypothesis.hypstr, "utf-8")


def _serve() -> None:
    decoders = _Decoders()
    does: Mapping[bytes, Callable[[int, bytes], bytes]] = {
        WHOLE: decoders.whole,
        MORE: decoders.more,
        END: decoders.end,
        DROP: decoders.drop,
    }
    while (message := receive(sys.stdin.buffer)) is not None:
        kind, utterance = _ORDER.unpack_from(message)
        send(sys.stdout.buffer, does[kind](utterance, message[_ORDER.size :]))


if __name__ == "__main__":
    _serve()
