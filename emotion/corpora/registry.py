"""Every corpus of the papers this project reads, by its name in commands."""

from __future__ import annotations

from emotion.corpora.acted import AFEW, CREMAD, EMODB, ENTERFACE, RAVDESS, SAVEE, TESS
from emotion.corpora.corpus import Corpus
from emotion.corpora.fer2013 import FER2013
from emotion.corpora.iemocap import IEMOCAP
from emotion.corpora.recola import RECOLA
from emotion.errors import CorpusError

__all__ = ["CORPORA", "corpus_named"]

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        AFEW,
        ENTERFACE,
        SAVEE,
        FER2013,
        IEMOCAP,
        RECOLA,
        RAVDESS,
        EMODB,
        TESS,
        CREMAD,
    )
}
"""AFEW to RECOLA are those of the source work; the others are open."""


def corpus_named(name: str) -> Corpus:
    """Look a corpus up.

    Raises:
        CorpusError: If there is none of that name.
    """
    if name not in CORPORA:
        raise CorpusError(f"Expected a corpus among {', '.join(CORPORA)}, got {name!r}.")
    return CORPORA[name]
