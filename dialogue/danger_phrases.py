"""A small language of phrases, so that what is looked for can be read and extended in a table.

A phrase is words with spaces or ends of lines between them. Other signs:

====================  =====================================================================
``(a|b c)``           one of these
``[a|b c]``           one of these, or nothing
``<name>``            one of the words of that class
``_``                 any word
``~`` and ``~~``      up to three, and up to eight, words of any kind
``!``                 here it is looked whether the words before deny what follows (once)
``-(a|b c)``          if none of these follows
``$``                 the end of the sentence, or a word that begins another one
``a & b``             both stand in the sentence, in any order
====================  =====================================================================
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dialogue.errors import InputError

__all__ = ["Classes", "Phrase", "read_classes", "words_of"]

_SIGN: Final = re.compile(r"-\(|[()\[\]|!$]|~~?|<\w+>|[^\s()\[\]|!$~<>]+")
_PLAIN: Final = {"_": r"\S+ ", "~": r"(?:\S+ ){0,3}?", "~~": r"(?:\S+ ){0,8}?", "!": "(?P<act>)",
                 "$": r"(?=$|(?:and|but|because|so|please|help|anyway|i|what) )"}  # fmt: skip
# Words that tell little: a phrase is looked for where its rarer words are.
_COMMON: Final = frozenset({
    "i", "me", "my", "am", "is", "are", "was", "be", "have", "has", "had", "do", "not", "no", "to",
    "of", "the", "a", "an", "in", "on", "at", "it", "that", "this", "and", "or", "so", "if", "he",
    "she", "him", "her", "his", "they", "them", "you", "will", "would", "can", "could", "get",
    "got", "want", "going", "know", "think", "about", "for", "with", "as", "up", "out", "all",
    "more",
})  # fmt: skip


def words_of(table: object) -> frozenset[str]:
    """Return every word that stands in the phrases of a table."""
    if isinstance(table, str):
        return frozenset(re.findall(r"[a-z]+", re.sub(r"<\w+>", "", table)))
    values = table.values() if isinstance(table, dict) else table if isinstance(table, list) else ()
    return frozenset().union(*map(words_of, values))


@dataclass(frozen=True)
class _Part:
    """A piece of a pattern, and words of which one must be there; None if there are no such."""

    pattern: str
    needs: frozenset[str] | None


Classes = Mapping[str, _Part]
"""Classes of words by name."""


def read_classes(table: Mapping[str, Sequence[str]], known: Classes) -> Classes:
    """Read classes of words, each a list of phrases; they may use known ones and those above."""
    classes = dict(known)
    for name, phrases in table.items():
        part = _either([_part(phrase, classes) for phrase in phrases])
        classes[name] = _Part(f"(?:{part.pattern})", part.needs)
    return classes


@dataclass(frozen=True)
class Phrase:
    """One phrase, ready to be found in a sentence of plainly spelt words, a space after each.

    Attributes:
        text: As it is written in the table.
        needs: Words of which at least one is in each sentence that holds the phrase.
    """

    text: str
    needs: frozenset[str]
    _patterns: tuple[re.Pattern[str], ...]

    @classmethod
    def read(cls, text: str, classes: Classes) -> Phrase:
        """Compile a phrase.

        Raises:
            InputError: If its brackets do not match, a class is unknown, or every word of it may
                be left out.
        """
        text = re.sub(r"\s*\|\s*", "|", " ".join(text.split()))
        parts = [_part(each, classes) for each in text.split(" & ")]
        needs = _rarest([part.needs for part in parts])
        if needs is None:
            raise InputError(f"Expected a phrase with a word that must be there, got {text!r}.")
        return cls(text, needs, tuple(re.compile(rf"(?<!\S){part.pattern}") for part in parts))

    def found_in(self, sentence: str) -> list[re.Match[str]]:
        """Return where its first part stands; nothing unless all its parts are there."""
        first, *others = self._patterns
        if all(other.search(sentence) for other in others):
            return list(first.finditer(sentence))
        return []


def _part(text: str, classes: Classes) -> _Part:
    signs = deque(_SIGN.findall(text))
    part = _alternatives(signs, classes)
    if signs:
        raise InputError(f"Expected brackets that match, got {text!r}.")
    return _Part(f"(?:{part.pattern})", part.needs)


def _alternatives(signs: deque[str], classes: Classes) -> _Part:
    options = [_sequence(signs, classes)]
    while signs and signs[0] == "|":
        signs.popleft()
        options.append(_sequence(signs, classes))
    return _either(options)


def _either(options: Collection[_Part]) -> _Part:
    needs = [option.needs for option in options if option.needs is not None]
    whole = frozenset().union(*needs) if len(needs) == len(options) else None
    return _Part("|".join(option.pattern for option in options), whole)


def _sequence(signs: deque[str], classes: Classes) -> _Part:
    parts = []
    while signs and signs[0] not in (")", "]", "|"):
        parts.append(_item(signs.popleft(), signs, classes))
    return _Part("".join(part.pattern for part in parts), _rarest([p.needs for p in parts]))


def _item(sign: str, signs: deque[str], classes: Classes) -> _Part:
    if sign in ("(", "[", "-("):
        inner = _alternatives(signs, classes)
        if not signs or signs.popleft() != {"[": "]"}.get(sign, ")"):
            raise InputError(f"Expected a closing bracket after {sign}{inner.pattern!r}.")
        opening, closing = {"(": ("(?:", ")"), "[": ("(?:", ")?"), "-(": ("(?!", ")")}[sign]
        return _Part(opening + inner.pattern + closing, inner.needs if sign == "(" else None)
    if sign in _PLAIN:
        return _Part(_PLAIN[sign], None)
    if sign.startswith("<"):
        if sign[1:-1] not in classes:
            raise InputError(f"Expected a class out of {', '.join(classes)}, got {sign}.")
        return classes[sign[1:-1]]
    if not re.fullmatch(r"[a-z0-9']+", sign):
        raise InputError(f"Expected a word of small letters, got {sign!r}.")
    return _Part(f"{sign} ", frozenset((sign,)))


def _rarest(needs: Collection[frozenset[str] | None]) -> frozenset[str] | None:
    def commonness(words: frozenset[str]) -> int:
        return len(words) + 100 * len(words & _COMMON)

    return min((each for each in needs if each is not None), key=commonness, default=None)
