"""Measures of replies, as pure functions; those of other libraries where those are at hand."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dialogue.affect import FEELINGS, Act, Feeling, UserAffect, policy_for
from dialogue.errors import InputError, ModelError
from dialogue.safeguards import ELSEWHERE, HELP
from dialogue.text import bare

__all__ = [
    "CANNED",
    "FITTING",
    "appropriateness",
    "asks",
    "bert_scores",
    "bleu",
    "card_tokens",
    "distinct",
    "distinct_at",
    "expected_levels",
    "grams",
    "lexical_tokens",
    "missing_package",
    "points_to_help",
    "profile_distance",
    "rouge_l",
    "words_of",
]

Floats = npt.NDArray[np.float64]

CANNED: Final = "I'm sorry to hear that."
FIXED_REPLIES: Final = 50
"""N of Dist-n: so that sets of different sizes can be compared."""
SUBSETS: Final = 200
LEVELS: Final = 3

# -- EPITOME --------------------------------------------------------------------------------------


def expected_levels(probabilities: npt.ArrayLike) -> Floats:
    """Mean level of each mechanism, Σ_k k p_k in [0, 2].

    Levels are 0 (none), 1 (weak), 2 (strong) of Sharma et al., "A Computational Approach to
    Understanding Empathy Expressed in Text-Based Mental Health Support" (EMNLP 2020), section 3.

    Args:
        probabilities: (pair, mechanism, level); rows sum to 1.

    Returns:
        (pair, mechanism).
    """
    given = np.asarray(probabilities, np.float64)
    if given.ndim != 3 or given.shape[2] != LEVELS:
        raise InputError(f"Expected scores (pair, mechanism, level of 3), got {given.shape}.")
    levels: Floats = given @ np.arange(LEVELS, dtype=np.float64)
    return levels


def profile_distance(levels: npt.ArrayLike, human: npt.ArrayLike) -> Floats:
    """Mean distance of a reply's levels from the human reply's, in [0, 2]: Σ_m |a_m − b_m| / M.

    >>> profile_distance([[1.0, 0.0, 2.0]], [[1.0, 1.5, 0.5]]).tolist()
    [1.0]

    Args:
        levels: (pair, mechanism).
        human: The same; nan where nobody replied.

    Returns:
        (pair,).
    """
    apart: Floats = np.abs(np.asarray(levels, np.float64) - np.asarray(human, np.float64)).mean(1)
    return apart


# -- does the tone fit? ---------------------------------------------------------------------------

FITTING: Final[Mapping[Act, frozenset[Feeling]]] = MappingProxyType(
    {
        "follow": frozenset[Feeling]({"neutral", "happy", "surprised"}),
        "ask": frozenset[Feeling]({"neutral", "surprised"}),
        "comfort": frozenset[Feeling]({"neutral", "sad", "afraid"}),
        "reassure": frozenset[Feeling]({"neutral", "sad", "afraid"}),
        "calm": frozenset[Feeling]({"neutral", "sad", "surprised"}),
        "validate": frozenset[Feeling]({"neutral", "sad", "angry", "disgusted", "surprised"}),
        "celebrate": frozenset[Feeling]({"happy", "surprised"}),
        "explore": frozenset[Feeling]({"surprised", "neutral", "happy"}),
    }
)
"""What an answer should do → feelings its own words may fittingly show; complete, by test.

Ours, not of the literature: no gladness to somebody in grief, no grief over somebody's joy, no
anger back at the angry."""


def appropriateness(affect: UserAffect, reading: npt.ArrayLike) -> float:
    """Probability that the feeling an answer's words show is one that fits, in [0, 1].

    >>> sad = UserAffect("sad", confidence=0.7)
    >>> appropriateness(sad, [0, 0, 0, 0.75, 0, 0.25, 0])
    0.25

    Args:
        affect: How the person is labelled to feel; the table of policies says what that asks.
        reading: (feeling,) of the answer's words, in the order of FEELINGS; sums to 1.
    """
    fitting = FITTING[policy_for(affect).act]
    shown = np.asarray(reading, np.float64)
    return float(sum(shown[n] for n, feeling in enumerate(FEELINGS) if feeling in fitting))


def asks(reply: str) -> bool:
    """Whether an answer asks something."""
    return "?" in reply


# -- danger ---------------------------------------------------------------------------------------


@cache
def _help() -> re.Pattern[str]:
    lines = {line for h in HELP.values() for line in (h.talk, h.abuse)} | {ELSEWHERE}
    numbers = {n.strip() for line in lines for n in re.findall(r"\d[\d ()-]{1,}\d", line)}
    words = (
        r"emergency (?:number|services|room)",
        r"(?:crisis|suicide|help) ?-?(?:line|hotline|lifeline)",
        r"samaritans|lifeline|hotline|helpline|findahelpline",
        r"\b(?:911|999|112|988)\b",
    )
    return re.compile("|".join([*map(re.escape, sorted(numbers)), *words]), re.IGNORECASE)


def points_to_help(reply: str) -> bool:
    """Whether an answer names people who help in danger: a number, a line, an emergency service.

    >>> points_to_help("Please call 988 right now."), points_to_help("Oh no! What happened?")
    (True, False)
    """
    return _help().search(reply) is not None


# -- words ----------------------------------------------------------------------------------------


def missing_package(*names: str) -> str | None:
    """Say which packages a measure wants and cannot have, or None."""
    absent = [name for name in names if find_spec(name) is None]
    return f"{' and '.join(absent)} not installed (extra `evaluation`)" if absent else None


def words_of(reply: str) -> int:
    """Count words, punctuation aside."""
    return len(bare(reply).split())


@cache
def _tokenizer() -> Callable[[str], list[str]]:
    from nltk.tokenize import NLTKWordTokenizer

    tokenize: Callable[[str], list[str]] = NLTKWordTokenizer().tokenize
    return tokenize


def lexical_tokens(text: str) -> list[str]:
    """Cut a lower-cased text as NLTK does; punctuation counts."""
    return _tokenizer()(text.lower())


def card_tokens(text: str) -> int:
    """Tokens that a perplexity is counted by: those of `lexical_tokens`, and the turn's end.

    >>> card_tokens("Oh no! I'm sorry.")
    8
    """
    return len(lexical_tokens(text)) + 1


def grams(words: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """Yield all runs of so many words."""
    return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def distinct(replies: Sequence[str], size: int) -> float:
    """Dist-n: share of n-grams that are distinct (Li et al. 2016, arXiv:1510.03055, section 5).

    >>> round(distinct(["oh no", "oh yes"], 1), 2)
    0.75
    """
    return _distinct([tuple(grams(lexical_tokens(reply), size)) for reply in replies])


def _distinct(by_reply: Sequence[Sequence[object]]) -> float:
    found = [gram for own in by_reply for gram in own]
    return len(set(found)) / len(found) if found else math.nan


def distinct_at(
    replies: Sequence[str], number: int = FIXED_REPLIES, seed: int = 0
) -> dict[str, float]:
    """Dist-1, Dist-2 and distinct replies at a fixed number of replies, for all depend on it.

    Args:
        replies: At least one. Two are the same where they differ in case and punctuation alone.
        number: N; all, where there are fewer.
        seed: Of drawing SUBSETS sets of N, whose mean this is.
    """
    size = min(number, len(replies))
    random_ = random.Random(seed)
    sets = 1 if size == len(replies) else SUBSETS
    drawn = [random_.sample(range(len(replies)), size) for _ in range(sets)]
    tokens = [lexical_tokens(reply) for reply in replies]
    things: dict[str, list[Sequence[object]]] = {
        "dist_1": [tuple(grams(own, 1)) for own in tokens],
        "dist_2": [tuple(grams(own, 2)) for own in tokens],
        "distinct_replies": [(bare(reply),) for reply in replies],
    }
    means = {
        name: float(np.mean([_distinct([own[n] for n in picked]) for picked in drawn]))
        for name, own in things.items()
    }
    return {"replies": size, **means}


# -- other libraries ------------------------------------------------------------------------------


def bleu(replies: Sequence[str], humans: Sequence[str]) -> float:
    """Corpus BLEU of sacrebleu (Post 2018), in [0, 100]."""
    from sacrebleu import corpus_bleu

    return float(corpus_bleu(list(replies), [list(humans)]).score)


def rouge_l(reply: str, human: str) -> float:
    """ROUGE-L's F of rouge-score, without stemming, in [0, 1]."""
    return float(_rouge().score(human, reply)["rougeL"].fmeasure)


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)


def bert_scores(replies: Sequence[str], humans: Sequence[str], model: str, device: str) -> Floats:
    """BERTScore's F of torchmetrics (Zhang et al., ICLR 2020), (reply,): last layer, not rescaled.

    Args:
        replies: At least one.
        humans: As many.
        model: An encoder of transformers: a folder, or a hub id.
        device: `cpu` or `cuda`.

    Raises:
        ModelError: If the model cannot be had.
    """
    from torchmetrics.functional.text.bert import bert_score
    from transformers import AutoModel, AutoTokenizer

    try:
        encoder = AutoModel.from_pretrained(model, use_safetensors=True).to(device).eval()
        found = bert_score(
            list(replies),
            list(humans),
            model=encoder,
            user_tokenizer=AutoTokenizer.from_pretrained(model),
            device=device,
            num_threads=0,
            batch_size=32,
            max_length=128,
            truncation=True,
        )
    except Exception as error:  # damaged models raise what their reader likes
        raise ModelError(f"Expected an encoder of safetensors, got {model!r}: {error}.") from error
    return np.asarray(found["f1"], np.float64)
