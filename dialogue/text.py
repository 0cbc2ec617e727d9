"""Spelling as the bundled model knows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["bare", "tidy"]

_CONTRACTIONS: Final[Mapping[str, str]] = {
    "i": "I", "im": "I'm", "i'm": "I'm", "ive": "I've", "i've": "I've", "i'd": "I'd",
    "i'll": "I'll", "dont": "don't", "cant": "can't", "wont": "won't", "didnt": "didn't",
    "doesnt": "doesn't", "isnt": "isn't", "wasnt": "wasn't", "couldnt": "couldn't",
    "wouldnt": "wouldn't", "shouldnt": "shouldn't", "arent": "aren't", "havent": "haven't",
    "hasnt": "hasn't", "hadnt": "hadn't", "werent": "weren't", "thats": "that's",
    "whats": "what's", "youre": "you're", "theyre": "they're", "youve": "you've",
    "theres": "there's", "alot": "a lot", "u": "you",
}  # fmt: skip
_WORD = re.compile(r"(?<![\w'])[A-Za-z']+(?![\w'])")
_QUOTES: Final = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "`": "'"})


def tidy(text: str) -> str:
    """Give chat its capitals, apostrophes, spaces and full stop, so that replies have them too.

    >>> tidy("i dont know ,that is  alot")
    "I don't know, that is a lot."
    """
    text = " ".join(text.translate(_QUOTES).replace("_comma_", ",").split())
    text = re.sub(r"\s+([,.!?;:])", r"\1", text)
    text = re.sub(r"([,!?;])(?=[A-Za-z])", r"\1 ", text)
    text = re.sub(r"(?<=[a-z]{2}\.)(?=[A-Z])", " ", text)
    text = re.sub(r"([!?.,])\1{3,}", r"\1\1\1", text)
    text = _WORD.sub(_spelled, text)
    text = re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)
    return text + "." if text and (text[-1].isalnum() or text[-1] == ",") else text


def _spelled(match: re.Match[str]) -> str:
    word = match[0]
    right = _CONTRACTIONS.get(word.lower())
    if right is None or (word.isupper() and len(word) > 1):
        return word
    return right[0].upper() + right[1:] if word[0].isupper() else right


def bare(text: str) -> str:
    """Reduce a text to its lower-case words, without numbers, to tell whether two are the same.

    >>> bare("Oh no!  I'm sorry.") == bare("oh no im sorry")
    True
    """
    return " ".join(re.findall(r"[a-z']+", tidy(text).lower()))
