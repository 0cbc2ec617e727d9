"""English as people type it, written as the phrases of `dialogue.danger` know it.

The table of slips is `danger_spelling.toml`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from dialogue.danger_phrases import words_of
from dialogue.tables import read_table

__all__ = ["spell_out"]

_TABLE: Final = read_table("danger_spelling.toml")
_SHORT_FORMS: Final[dict[str, str]] = _TABLE["short_forms"]
_IS: Final = frozenset(_TABLE["sounded_is"])
_SHORT: Final[frozenset[str]] = frozenset(_TABLE["known"])
_KNOWN: Final = _SHORT | words_of(read_table("danger.toml"))
_REAL: Final[frozenset[str]] = frozenset(_TABLE["real"])
_CLIPPED: Final = frozenset(_TABLE["clipped"])
_ENDINGS: Final = (
    ("n't", " not"), ("'m", " am"), ("'ve", " have"), ("'re", " are"), ("'ll", " will"),
    ("'d", " would"),
)  # fmt: skip
_HESITATION: Final = re.compile(
    rf"\b(?:{'|'.join(_TABLE['hesitations'])})\b"
    r"|(?<!feel )(?<!feels )(?<!felt )(?<!feeling )(?<!would )\blike(?= (?:want|need|feel|hate|can"
    r"|do|so|not|never|have|am|going|keep|tried|die|end|kill|hurt|cut)\b)"
)
_LEET: Final = str.maketrans("1!304@$5", "iieoaass")


def spell_out(text: str) -> str:
    """Write words as the phrases know them: lower case, no short forms, usual slips put right.

    >>> spell_out("I’m gona KIL myslef")
    'i am going to kill myself'
    """
    plain = unicodedata.normalize("NFKC", text).replace("’", "'").lower()
    plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
    plain = re.sub(r"([a-z])\1{2,}", r"\1", plain).replace("-", " ")
    plain = re.sub(r"\b(?:[a-z][ ./]){3,}[a-z]\b", lambda word: re.sub(r"\W", "", word[0]), plain)
    plain = re.sub(r"[a-z0-9*@$'][a-z0-9*@$'!]*(?<!!)", lambda word: _spelt(word[0]), plain)
    plain = _HESITATION.sub("", plain)
    plain = re.sub(r"\b(want|going|need|have|wish|try|trying) too\b", r"\1 to", plain)
    plain = re.sub(r"\b(my|him|her|them|your) sel(f|ves)\b", r"\1sel\2", plain)
    return re.sub(r"[^\S\n]+", " ", plain).strip()


def _spelt(word: str) -> str:
    if word in _SHORT_FORMS:
        return _SHORT_FORMS[word]
    for ending, whole in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            return word.removesuffix(ending) + whole
    if word.endswith("'s"):
        return f"{word[:-2]} is" if word[:-2] in _IS else word
    if word.endswith(("in", "in'")) and (whole := word.rstrip("'") + "g") in _CLIPPED:
        return whole
    right = _corrected(word)
    return _SHORT_FORMS.get(right, right)


@lru_cache(maxsize=4096)
def _corrected(word: str) -> str:
    """Put one slip right where it makes a word of the phrases, and is no other English word."""
    if word in _KNOWN or word in _REAL:
        return word
    if re.fullmatch(r"su+i?[cs]+[iy]?d(?:[aeu]l+e?|le)", word):
        return "suicidal"
    if re.fullmatch(r"su+i?[cs]+[iy]?de?", word):
        return "suicide"
    if not word.isalpha():
        return _unhidden(word)
    if (single := _undoubled(word)) in _BY_UNDOUBLED:
        return _BY_UNDOUBLED[single]
    return next((k for k in _LONG_BY_INITIAL.get(word[0], ()) if _is_one_slip(word, k)), word)


def _unhidden(word: str) -> str:
    """Read signs that stand for letters, as in "k1ll" or "k*ll"."""
    if word.isdigit() or not any(sign in word for sign in "*1!304@$5"):
        return word
    hidden = re.compile(re.escape(word.translate(_LEET)).replace(r"\*", "[a-z]"))
    return next((known for known in sorted(_SHORT) if hidden.fullmatch(known)), word)


def _undoubled(word: str) -> str:
    return re.sub(r"(.)\1", r"\1", word)


_BY_UNDOUBLED: Final = {_undoubled(word): word for word in sorted(_SHORT)}
_LONG_BY_INITIAL: Final = {
    initial: tuple(k for k in sorted(_KNOWN) if k[0] == initial and len(k) > 5)
    for initial in {word[0] for word in _KNOWN}
}


def _is_one_slip(word: str, known: str) -> bool:
    """Whether one letter is missing, added, another, or two are swapped (Damerau 1964)."""
    if word[0] != known[0] or abs(len(word) - len(known)) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(word, known, strict=False)) if a != b), len(word))
    if at >= len(word) - 1 and at >= len(known) - 1:
        return False  # another ending, as in "punched" for "punches"
    rest, right = word[at:], known[at:]
    swapped = rest[1::-1] == right[:2] and rest[2:] == right[2:]
    return swapped or rest[1:] in (right, right[1:]) or rest == right[1:]
