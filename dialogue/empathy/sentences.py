"""A reply sentence by sentence: where its rationale lies, and what the eye sees at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from dialogue.empathy.annotations import AnnotatedPair

__all__ = ["CUES", "cues_of", "sentence_levels", "split_sentences"]

Floats = npt.NDArray[np.float32]

_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]+|[^.!?\n]+$")
_SAYING = re.compile(r"\w|\?")
_WORD = re.compile(r"\w+")
_YOU = re.compile(r"\b(you|your|youre|u|ur)\b", re.IGNORECASE)
_ME = re.compile(r"\b(i|me|my|im|ive|myself)\b", re.IGNORECASE)
_THEM = re.compile(r"\b(he|she|they|him|her|them)\b", re.IGNORECASE)
_SHORTEST_SHARED: Final = 8
_LEAST_SHARE: Final = 0.3

CUES: Final = (
    "log_words", "log_words_squared", "sentences", "questions", "question_share", "any_question",
    "ends_asking", "begins_asking", "asks_you", "asks_you_count", "asks_me", "me_rate", "you_rate",
    "any_me", "any_you", "begins_with_me", "me_count", "you_count", "shared_words", "post_asks",
    "log_post_words", "exclamations", "them_rate", "link",
)  # fmt: skip
"""What `cues_of` counts. Counts are square roots, so that long replies do not outweigh all else."""


def split_sentences(text: str) -> list[str]:
    """Cut after full stops, question and exclamation marks and at ends of lines; at least one.

    >>> split_sentences("Oh no! I am so sorry. How are you now?")
    ['Oh no!', 'I am so sorry.', 'How are you now?']
    """
    found = (piece.strip() for piece in _SENTENCE.findall(text))
    return [piece for piece in found if _SAYING.search(piece)] or [text.strip()]


def cues_of(post: str, response: str) -> Floats:
    """Count what tells the mechanisms apart without reading: (cue,), named by `CUES`."""
    pieces = split_sentences(response)
    asked = [piece for piece in pieces if "?" in piece]
    count = max(1, len(response.split()))
    me, you = len(_ME.findall(response)), len(_YOU.findall(response))
    asks_you = sum(bool(_YOU.search(piece)) for piece in asked)
    said, told = (set(_WORD.findall(text.lower())) for text in (response, post))
    values = (
        np.log(count),
        np.log(count) ** 2 / 4,
        len(pieces) ** 0.5,
        len(asked) ** 0.5,
        len(asked) / len(pieces),
        bool(asked),
        "?" in pieces[-1],
        "?" in pieces[0],
        asks_you > 0,
        asks_you**0.5,
        any(_ME.search(piece) for piece in asked),
        me / count,
        you / count,
        me > 0,
        you > 0,
        _ME.match(response) is not None,
        me**0.5,
        you**0.5,
        len(said & told) / (len(said) + 1),
        "?" in post,
        np.log(max(1, len(post.split()))),
        response.count("!") ** 0.5,
        len(_THEM.findall(response)) / count,
        "http" in response,
    )
    return np.array(values, np.float32)


def sentence_levels(pair: AnnotatedPair) -> npt.NDArray[np.int64]:
    """Levels of a reply's sentences, (sentence, mechanism): the reply's own where its rationale is.

    A sentence that shares less than a third of its letters with a rationale is not part of it. A
    reply of one sentence has its level whatever the rationale.
    """
    bare = [_bare(piece) for piece in split_sentences(pair.response)]
    levels = np.zeros((len(bare), len(pair.levels)), np.int64)
    for mechanism, (level, rationales) in enumerate(zip(pair.levels, pair.rationales, strict=True)):
        marked = [any(_shares(piece, _bare(r)) for r in rationales) for piece in bare]
        levels[:, mechanism] = level * np.array(marked if len(bare) > 1 else [True])
    return levels


def _bare(text: str) -> str:
    return "".join(character.lower() for character in text if character.isalnum())


def _shares(sentence: str, rationale: str) -> bool:
    """Whether one holds the other, or the end of one is the beginning of the other."""
    if not sentence or not rationale:
        return False
    if sentence in rationale or rationale in sentence:
        return True
    shortest = max(_SHORTEST_SHARED, int(np.ceil(_LEAST_SHARE * len(sentence))))
    lengths: Sequence[int] = range(shortest, min(len(sentence), len(rationale)) + 1)
    return any(
        sentence.endswith(rationale[:n]) or sentence.startswith(rationale[-n:]) for n in lengths
    )
