"""The scorer's regressions: three readings of a reply and what the eye sees at once, put together.

1. Sentence by sentence, from hashed n-grams: the level of the sentence, which the rationales teach.
2. The same from a language model's states.
3. The whole reply from hashed n-grams, each level of equal weight.
4. Cues: question marks, first and second person, length.

A multinomial logistic regression a mechanism combines them. It learns from readings of posts that
the readers below it were not fitted on (stacked generalisation, Wolpert 1992).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from dialogue.empathy.annotations import LEVELS, MECHANISMS
from dialogue.empathy.network import Windows
from dialogue.empathy.ngrams import HashedNgrams, hashed_counts
from dialogue.empathy.reading import SentenceReader
from dialogue.empathy.sentences import cues_of, split_sentences

__all__ = [
    "STRENGTHS",
    "Linear",
    "Stack",
    "Strengths",
    "Views",
    "fit_linear",
    "fit_stack",
    "log_softmax",
    "mixed",
    "temperature_of",
    "views_of",
]

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SENTENCE_NGRAM: Final = 3
RESPONSE_NGRAM: Final = 2
_LEAST: Final = 1e-3
"""Added to probabilities before their logarithm."""
_NEVER: Final = -12.0
"""Log-odds of a level that no training reply had."""


# -------------------------------------------------------------------------------------- views


@dataclass(frozen=True)
class Views:
    """Replies as numbers, before anything was learnt of levels.

    Attributes:
        starts: (pair + 1,) number of each reply's first sentence, and of all sentences.
        sentences: Sparse n-gram counts (sentence, bucket).
        responses: Sparse n-gram counts (pair, bucket).
        vectors: (sentence, feature) of a `SentenceReader`.
        cues: (pair, cue).
        windows: States of each reply, for the network.
    """

    starts: Ints
    sentences: Any = field(repr=False)
    responses: Any = field(repr=False)
    vectors: npt.NDArray[np.float32] = field(repr=False)
    cues: npt.NDArray[np.float32] = field(repr=False)
    windows: tuple[Windows, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.cues)

    def take(self, pairs: Ints) -> Views:
        """Return the views of some pairs, by number and in this order."""
        rows = self.sentences_of(pairs)
        lengths = np.diff(self.starts)[pairs]
        return Views(
            np.concatenate([[0], lengths.cumsum()]),
            self.sentences[rows],
            self.responses[pairs],
            self.vectors[rows],
            self.cues[pairs],
            tuple(self.windows[pair] for pair in pairs),
        )

    def sentences_of(self, pairs: Ints) -> Ints:
        """Numbers of these pairs' sentences."""
        spans = [np.arange(self.starts[pair], self.starts[pair + 1]) for pair in pairs]
        return np.concatenate([np.zeros(0, np.int64), *spans])


def views_of(pairs: Sequence[tuple[str, str]], reader: SentenceReader) -> Views:
    """Look at pairs of what the person said and the response."""
    posts, responses = [post for post, _ in pairs], [response for _, response in pairs]
    pieces = [split_sentences(response) for response in responses]
    read = reader.read(posts, responses)
    return Views(
        np.concatenate([[0], np.cumsum([len(own) for own in pieces])]).astype(np.int64),
        hashed_counts([piece for own in pieces for piece in own], SENTENCE_NGRAM),
        hashed_counts(responses, RESPONSE_NGRAM),
        np.concatenate([one.vectors for one in read]),
        np.stack([cues_of(post, response) for post, response in pairs]),
        tuple(one.windows for one in read),
    )


# ------------------------------------------------------------------------------------- linear


@dataclass(frozen=True)
class Linear:
    """Multinomial logistic regressions, one a mechanism.

    Attributes:
        weights: (feature, mechanism, level) float32.
        bias: (mechanism, level) float32.
    """

    weights: npt.NDArray[np.float32] = field(repr=False)
    bias: npt.NDArray[np.float32] = field(repr=False)

    def log_probabilities(self, features: Any) -> Floats:
        """Log-probabilities (row, mechanism, level).

        Args:
            features: (row, feature), dense or sparse; or each mechanism's own, (row, mechanism,
                feature).
        """
        if features.ndim == 3:
            logits = np.einsum("rmf,fml->rml", features, self.weights, dtype=np.float64)
            return log_softmax(logits + self.bias)
        flat = self.weights.reshape(len(self.weights), -1)
        logits = np.asarray(features @ flat, np.float64).reshape(-1, *self.bias.shape)
        return log_softmax(logits + self.bias)

    def arrays(self, dtype: type[np.floating[Any]]) -> Arrays:
        """Weights as numbers of this kind, and the bias."""
        return {"weights": self.weights.astype(dtype), "bias": self.bias}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Rebuild from `arrays`."""
        return cls(arrays["weights"].astype(np.float32), arrays["bias"])

    def rounded(self) -> Self:
        """Round weights to float16, as they are stored."""
        return type(self).of(self.arrays(np.float16))


def log_softmax(logits: Floats) -> Floats:
    """Log of the softmax over the last axis, (..., level)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normal: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normal


def fit_linear(
    features: Any, levels: Ints, *, strength: float, balanced: bool = False, scaled: bool = False
) -> Linear:
    """Fit one logistic regression a mechanism.

    Args:
        features: (row, feature), dense or sparse; or each mechanism's own, (row, mechanism,
            feature).
        levels: (row, mechanism).
        strength: Inverse of the L2 penalty, C.
        balanced: Whether each level counts the same in sum.
        scaled: Whether to fit on features of mean 0 and deviation 1; dense ones only.
    """
    fitted = []
    for mechanism, wanted in enumerate(levels.T):
        own = features[:, mechanism] if features.ndim == 3 else features
        fit = _fit_scaled if scaled else _fit_one
        fitted.append(fit(own, wanted, strength, balanced))
    weights, bias = (np.stack(parts, axis=-2) for parts in zip(*fitted, strict=True))
    return Linear(weights.astype(np.float32), bias.astype(np.float32))


def _fit_scaled(
    features: npt.NDArray[Any], levels: Ints, strength: float, balanced: bool
) -> tuple[Floats, Floats]:
    """Fit as `_fit_one` does on standardised features, for those that are not."""
    centre, spread = features.mean(0, np.float64), features.std(0, dtype=np.float64)
    spread = np.where(spread > 1e-9, spread, 1.0)
    standard = ((features - centre) / spread).astype(np.float32)
    weights, bias = _fit_one(standard, levels, strength, balanced)
    weights = weights / spread[:, None]
    return weights, bias - centre @ weights


def _fit_one(features: Any, levels: Ints, strength: float, balanced: bool) -> tuple[Floats, Floats]:
    """Weights (feature, level) and bias (level,) of one mechanism."""
    from sklearn.linear_model import LogisticRegression

    weights, bias = np.zeros((features.shape[1], len(LEVELS))), np.full(len(LEVELS), _NEVER)
    known = np.unique(levels)
    bias[known] = 0.0
    if len(known) > 1:
        weight = "balanced" if balanced else None
        fitted = LogisticRegression(C=strength, class_weight=weight, max_iter=300, tol=1e-3)
        fitted.fit(features, levels)
        # Of two levels, scikit-learn has the log-odds of the second alone.
        own = known if len(known) > 2 else known[1:]
        weights[:, own], bias[own] = fitted.coef_.T, fitted.intercept_
    return weights, bias


# -------------------------------------------------------------------------------------- stack


@dataclass(frozen=True)
class Strengths:
    """Inverse L2 penalties, C, of the stack's regressions.

    Attributes:
        sentences: From n-grams of sentences.
        vectors: From a language model's states.
        responses: From n-grams of whole replies.
        combination: Of all of them.
    """

    sentences: float = 5.0
    vectors: float = 3e-4
    responses: float = 10.0
    combination: float = 0.1


STRENGTHS: Final = Strengths()


@dataclass(frozen=True)
class _Readers:
    """What reads a reply below the combination."""

    sentence_ngrams: HashedNgrams
    sentences: Linear
    vectors: Linear
    response_ngrams: HashedNgrams
    responses: Linear

    def features(self, views: Views) -> Floats:
        """Everything the combination learns from, (pair, mechanism, feature)."""
        by_ngrams = self.sentences.log_probabilities(self.sentence_ngrams.vectors(views.sentences))
        by_vectors = self.vectors.log_probabilities(views.vectors)
        whole = self.responses.log_probabilities(self.response_ngrams.vectors(views.responses))
        parts = (
            _summed_up(by_ngrams, views.starts),
            _summed_up(by_vectors, views.starts),
            whole,
            np.repeat(views.cues[:, None], len(MECHANISMS), axis=1),
        )
        return np.concatenate(parts, axis=-1)


def _summed_up(logs: Floats, starts: Ints) -> Floats:
    """Sentences' log-probabilities (sentence, mechanism, level) to (pair, mechanism, 8).

    How sure the surest sentence is of level 1, of level 2, and of either; that no sentence, or some
    sentence shows the mechanism; their mean; the first and the last sentence.
    """
    found = np.exp(logs)
    shown = 1 - found[..., 0]
    first, last = starts[:-1], starts[1:] - 1
    lengths = np.diff(starts)[:, None]
    none = np.exp(np.add.reduceat(np.log(np.maximum(found[..., 0], 1e-12)), first))
    views = (
        np.maximum.reduceat(found[..., 1], first),
        np.maximum.reduceat(found[..., 2], first),
        np.maximum.reduceat(shown, first),
        none,
        1 - none,
        np.add.reduceat(shown, first) / lengths,
        shown[first],
        shown[last],
    )
    summed: Floats = np.log(np.stack(views, axis=-1) + _LEAST)
    return summed


@dataclass(frozen=True)
class Stack:
    """Views in, log-probabilities of levels out.

    Attributes:
        readers: Below the combination.
        combination: Of what they read, and the cues.
    """

    readers: _Readers
    combination: Linear

    def log_probabilities(self, views: Views) -> Floats:
        """Log-probabilities (pair, mechanism, level)."""
        return self.combination.log_probabilities(self.readers.features(views))

    def arrays(self) -> Arrays:
        """Everything to store, by name; weights over n-grams and states as float16."""
        readers = self.readers
        named = {
            "sentences": readers.sentences.arrays(np.float16)
            | {
                "buckets": readers.sentence_ngrams.buckets,
                "idf": readers.sentence_ngrams.idf.astype(np.float16),
            },
            "vectors": readers.vectors.arrays(np.float16),
            "responses": readers.responses.arrays(np.float16)
            | {
                "buckets": readers.response_ngrams.buckets,
                "idf": readers.response_ngrams.idf.astype(np.float16),
            },
            "combination": self.combination.arrays(np.float32),
        }
        return {f"{part}.{name}": a for part, own in named.items() for name, a in own.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Rebuild from `arrays`.

        Raises:
            KeyError: If one is missing.
        """

        def part(name: str) -> Arrays:
            return {k[len(name) + 1 :]: a for k, a in arrays.items() if k.startswith(f"{name}.")}

        def ngrams(own: Arrays) -> HashedNgrams:
            return HashedNgrams(own["buckets"], own["idf"].astype(np.float32))

        sentences, responses = part("sentences"), part("responses")
        readers = _Readers(
            ngrams(sentences),
            Linear.of(sentences),
            Linear.of(part("vectors")),
            ngrams(responses),
            Linear.of(responses),
        )
        return cls(readers, Linear.of(part("combination")))


def fit_readers(
    views: Views, levels: Ints, sentence_levels: Ints, strengths: Strengths
) -> _Readers:
    """Fit what reads below the combination.

    Args:
        views: Of the training pairs.
        levels: (pair, mechanism).
        sentence_levels: (sentence, mechanism).
        strengths: Of the regressions.
    """
    of_sentences = HashedNgrams.fit(views.sentences)
    of_responses = HashedNgrams.fit(views.responses)
    return _Readers(
        of_sentences,
        fit_linear(
            of_sentences.vectors(views.sentences), sentence_levels, strength=strengths.sentences
        ).rounded(),
        fit_linear(
            views.vectors, sentence_levels, strength=strengths.vectors, scaled=True
        ).rounded(),
        of_responses,
        fit_linear(
            of_responses.vectors(views.responses),
            levels,
            strength=strengths.responses,
            balanced=True,
        ).rounded(),
    )


def fit_stack(
    views: Views,
    levels: Ints,
    sentence_levels: Ints,
    folds: Ints,
    strengths: Strengths = STRENGTHS,
) -> Stack:
    """Fit the whole stack, nothing of it on a reading of its own training posts.

    Args:
        views: Of the training pairs.
        levels: (pair, mechanism).
        sentence_levels: (sentence, mechanism).
        folds: (pair,) number of the inner fold, all replies to one post in the same.
        strengths: Of the regressions.
    """
    features = _held_out_features(views, levels, sentence_levels, folds, strengths)
    return Stack(
        fit_readers(views, levels, sentence_levels, strengths),
        fit_linear(features, levels, strength=strengths.combination, scaled=True),
    )


def _held_out_features(
    views: Views, levels: Ints, sentence_levels: Ints, folds: Ints, strengths: Strengths
) -> Floats:
    """Let readers read pairs that they were not fitted on: (pair, mechanism, feature)."""
    parts = []
    for fold in np.unique(folds):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        own = sentence_levels[views.sentences_of(seen)]
        readers = fit_readers(views.take(seen), levels[seen], own, strengths)
        parts.append((unseen, readers.features(views.take(unseen))))
    features = np.zeros((len(views), *parts[0][1].shape[1:]))
    for unseen, read in parts:
        features[unseen] = read
    return features


def mixed(stacked: Floats, network: Floats, share: float) -> Floats:
    """Mix two opinions as a geometric mean: log-probabilities (pair, mechanism, level).

    Args:
        stacked: Log-probabilities of a `Stack`.
        network: Of a `ReplyNetwork`.
        share: Weight of the network, in [0, 1].
    """
    return log_softmax((1 - share) * stacked + share * network)


def temperature_of(logs: Floats, levels: Ints) -> float:
    """Find the number that, dividing log-odds (row, level), makes levels (row,) likeliest.

    Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), section 4.2.
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

    def loss(log_t: float) -> float:
        return -float(log_softmax(logs / np.exp(log_t))[np.arange(len(levels)), levels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))
