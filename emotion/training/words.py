"""Trains the model of words on GoEmotions, with what other conversations teach of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from emotion.calibration import fit_temperature
from emotion.corpora.dialogues import Utterance, utterances
from emotion.corpora.goemotions import FINE, Comments, load_comments
from emotion.errors import CorpusError
from emotion.labels import EMOTIONS
from emotion.models.word_gru import PADDING, WordGRU, WordGRUConfig
from emotion.training.loop import Figures, device_of, fit, initialised
from emotion.training.recipes import WordsRecipe
from emotion.training.word_vectors import WINDOW, word_vectors
from emotion.words import Vocabulary, WordFeatures, WordReader, WordsModel, padded, words_of

__all__ = ["fit_linear", "fit_thresholds", "train_words"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def train_words(recipe: WordsRecipe, root: Path, out: Path, *, resume: bool = False) -> WordsModel:
    """Train on `train` of GoEmotions under `root`, calibrate on `valid`, write `out`.

    Args:
        recipe: Every figure of the training.
        root: Folder of the corpora.
        out: Where the checkpoint goes.
        resume: Go on with the network from the state in `out`.

    Raises:
        CorpusError: If a corpus is missing or cannot be read.
    """
    train, valid = load_comments(root, "train"), load_comments(root, "valid")
    linear = fit_linear(train, recipe)
    reader = fit_reader(train, valid, recipe, root, out, resume=resume)
    raw = WordsModel(linear.config, linear.weights, linear.bias, linear.idf, reader=reader)
    temperature = fit_temperature(raw.logits(valid.texts), shares(valid))
    model = WordsModel(raw.config, raw.weights, raw.bias, raw.idf, temperature, reader)
    thresholds = fit_thresholds(valid.labels, model.probabilities(valid.texts))
    facts = {
        "recipe": "words",
        "corpora": ["goemotions train", *recipe.dialogues],
        "calibrated_on": "goemotions valid",
        "seed": recipe.schedule.seed,
        "epochs": recipe.schedule.epochs,
        "thresholds": [round(float(t), 4) for t in thresholds],
    }
    model.save(out, facts)
    return WordsModel.load(out)


def shares(comments: Comments) -> Floats:
    """Targets (comment, emotion): a comment's labels share its probability."""
    labels = comments.labels.astype(np.float64)
    targets: Floats = labels / labels.sum(axis=1, keepdims=True)
    return targets


def fit_linear(comments: Comments, recipe: WordsRecipe) -> WordsModel:
    """Fit a logistic regression an emotion on features scaled by how much they tell of it.

    Wang & Manning, "Baselines and Bigrams" (ACL 2012): each feature is multiplied by its naive
    Bayes log-count ratio. Here by `recipe.least_ratio` + |ratio|, so that L2 shrinks least what
    tells most. The factors go into the weights.

    Raises:
        CorpusError: If every comment has some emotion, or none has.
    """
    from scipy import sparse  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression

    features = WordFeatures(recipe.config)
    counts = features.counts(comments.texts)
    idf = _inverse_document_frequency(counts)
    vectors, there = features.vectors(counts, idf), counts > 0
    shape = (counts.shape[1], comments.labels.shape[1])
    weights, bias = np.zeros(shape, np.float32), np.zeros(shape[1], np.float32)
    for emotion, labels in enumerate(comments.labels.T):
        if labels.all() or not labels.any():
            name = EMOTIONS[emotion]
            raise CorpusError(f"Expected comments with and without {name}, got one kind alone.")
        factor = recipe.least_ratio + np.abs(_log_count_ratio(there, labels))
        model = LogisticRegression(C=recipe.strength, solver="liblinear", tol=1e-3)
        model.fit(vectors @ sparse.diags(factor), labels)
        weights[:, emotion] = model.coef_[0] * factor
        bias[emotion] = model.intercept_[0]
    return WordsModel(recipe.config, weights, bias, idf)


def fit_reader(
    train: Comments,
    valid: Comments,
    recipe: WordsRecipe,
    root: Path,
    out: Path,
    *,
    resume: bool = False,
) -> WordReader:
    """Train the network that reads, its vectors begun from how words keep company."""
    spoken = [words_of(said.text) for name in recipe.dialogues for said in utterances(root, name)]
    comments = [words_of(text) for text in train.texts]
    vocabulary = known_words(comments, spoken, recipe)
    numbers = _running(vocabulary, [*spoken, *comments * recipe.comments_weigh])
    seed = recipe.schedule.seed
    vectors = word_vectors(numbers, vocabulary.first_shared, recipe.config.width, seed)
    del spoken, numbers  # millions of words
    feelings = [feelings_of(utterances(root, name), recipe) for name in recipe.feelings]
    task = ReaderTask(recipe, vocabulary, train, feelings, valid)
    task.begin_from(vectors)
    averaged = fit(task, recipe.schedule, out, resume=resume)
    return WordReader(vocabulary, cast(_Taught, averaged).reader.cpu().eval())


def known_words(
    comments: Iterable[Sequence[str]], spoken: Iterable[Sequence[str]], recipe: WordsRecipe
) -> Vocabulary:
    """Choose the words that comments use most, and after them those of conversations."""
    ours = Counter(word for words in comments for word in words)
    theirs = Counter(word for words in spoken for word in words)
    often = {w for w in ours.keys() | theirs if ours[w] >= 2 or theirs[w] >= recipe.least_spoken}
    ranked = sorted(often, key=lambda w: (-ours[w] - theirs[w] / recipe.spoken_for_one, w))
    return Vocabulary(ranked[: recipe.vocabulary])


@dataclass(frozen=True)
class Feelings:
    """Texts of another corpus, each with one of its feelings.

    Attributes:
        texts: The texts.
        labels: (text,) int64.
        count: How many feelings there are.
    """

    texts: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    count: int


def feelings_of(said: Iterable[Utterance], recipe: WordsRecipe) -> Feelings:
    """Collect what has a feeling, at most `recipe.most_of_one` of each.

    The first ones would be of one part; so those kept are spread evenly over the corpus.
    """
    labelled = [one for one in said if one.feeling]
    counts = Counter(one.feeling for one in labelled)
    names = {name: label for label, name in enumerate(sorted(counts, key=str))}
    seen: Counter[str | None] = Counter()
    texts, labels = [], []
    for one in labelled:
        share = min(1.0, recipe.most_of_one / counts[one.feeling])
        if int(share * (seen[one.feeling] + 1)) > int(share * seen[one.feeling]):
            texts.append(one.text)
            labels.append(names[one.feeling])
        seen[one.feeling] += 1
    return Feelings(tuple(texts), np.array(labels, np.int64), len(names))


class _Taught(nn.Module):
    """The reader and what only teaches it: GoEmotions' fine emotions and others' feelings."""

    def __init__(self, config: WordGRUConfig, others: Sequence[int]) -> None:
        super().__init__()
        self.reader = WordGRU(config)
        self.fine = nn.Linear(config.pooled, len(FINE))
        self.others = nn.ModuleList(nn.Linear(config.pooled, count) for count in others)


class ReaderTask:
    """Comments and others' feelings in one shuffled order, like lengths together."""

    def __init__(
        self,
        recipe: WordsRecipe,
        vocabulary: Vocabulary,
        train: Comments,
        feelings: Sequence[Feelings],
        valid: Comments,
    ) -> None:
        self.recipe, self.vocabulary, self.valid = recipe, vocabulary, valid
        config = WordGRUConfig(vocabulary.rows, recipe.config.width, recipe.config.hidden)
        taught = initialised(
            lambda: _Taught(config, [each.count for each in feelings]), recipe.schedule.seed
        )
        self.model: nn.Module = taught
        self._taught = cast(_Taught, taught)
        texts = [train.texts, *(each.texts for each in feelings)]
        self.numbers = [self._numbers(text) for part in texts for text in part]
        self.source = torch.from_numpy(np.repeat(np.arange(len(texts)), [len(t) for t in texts]))
        self.labels = torch.from_numpy(
            np.concatenate([np.zeros(len(train.texts), np.int64), *(f.labels for f in feelings)])
        )
        self.emotions = torch.from_numpy(train.labels).float()
        self.fine = torch.from_numpy(train.fine).float()

    def begin_from(self, vectors: npt.NDArray[np.float32]) -> None:
        """Put vectors of the known words (row, width) into the embedding, near 0 into the rest."""
        scale = self.recipe.vector_spread / max(float(vectors[1:].std()), 1e-12)
        weight = self._taught.reader.embedding.weight.data
        weight *= 0.1
        weight[: len(vectors)] = torch.from_numpy(vectors * scale)
        weight[PADDING] = 0

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """Shuffle all comments and a part of the rest; sort neighbours by length; shuffle steps."""
        others = self.source > 0
        kept = torch.rand(len(others), generator=generator)
        rest = torch.nonzero(others)[:, 0]
        rest = rest[kept[rest].argsort()[: int(self.recipe.others_share * len(rest))]]
        drawn = torch.cat([torch.nonzero(~others)[:, 0], rest])
        drawn = drawn[torch.randperm(len(drawn), generator=generator)]
        steps: list[Tensor] = []
        for piece in torch.split(drawn, batch * 50):
            by_length = sorted(piece.tolist(), key=lambda i: len(self.numbers[i]))
            steps += torch.split(torch.tensor(by_length), batch)
        return [steps[i] for i in torch.randperm(len(steps), generator=generator).tolist()]

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Sum over the corpora of each one's mean loss, weighed by its part of the step."""
        words = torch.from_numpy(padded([self.numbers[i] for i in indices.tolist()]))
        words = self._forgetful(words, generator).to(device_of(self.model))
        pooled, source = self._taught.reader.pooled(words), self.source[indices]
        parts = []
        for which in sorted(set(source.tolist())):
            rows = torch.nonzero(source == which)[:, 0]
            own = self._loss_of(which, pooled[rows.to(pooled.device)], indices[rows])
            parts.append(own * len(rows) / len(indices))
        return torch.stack(parts).sum()

    def epoch_done(self, averaged: nn.Module, epoch: int) -> Figures:
        """Macro-F1 of the network alone on `valid`, thresholds fitted there."""
        said = WordReader(self.vocabulary, cast(_Taught, averaged).reader.eval()).logits(
            self.valid.texts
        )
        odds = 1 / (1 + np.exp(-said))
        chosen = odds > fit_thresholds(self.valid.labels, odds)
        return {"valid macro-F1": float(_f1(self.valid.labels, chosen).mean())}

    def _loss_of(self, which: int, pooled: Tensor, indices: Tensor) -> Tensor:
        """Mean loss of examples (example,) of one corpus, GoEmotions being number 0."""
        binary, device = functional.binary_cross_entropy_with_logits, pooled.device
        if which:
            said = self._taught.others[which - 1](pooled)
            wanted = self.labels[indices].to(device)
            return self.recipe.others_weight * functional.cross_entropy(
                said, wanted, label_smoothing=self.recipe.smoothing
            )
        coarse = binary(self._taught.reader.classifier(pooled), self.emotions[indices].to(device))
        fine = binary(self._taught.fine(pooled), self.fine[indices].to(device))
        return self.recipe.coarse_weight * coarse + self.recipe.fine_weight * fine

    def _numbers(self, text: str) -> list[int]:
        return self.vocabulary.numbers(words_of(text)[: self.recipe.longest])

    def _forgetful(self, words: Tensor, generator: torch.Generator) -> Tensor:
        """Turn a part of the words (text, word) into unknown ones, whose rows so learn to serve."""
        first, rows = self.vocabulary.first_shared, self.vocabulary.rows
        chosen = torch.rand(words.shape, generator=generator) < self.recipe.forgotten
        unknown = torch.randint(first, rows, words.shape, generator=generator)
        return torch.where(chosen & (words != PADDING), unknown, words)


def fit_thresholds(
    labels: Bools, probabilities: npt.ArrayLike, smoothed: float = 1 / 256
) -> Floats:
    """For each emotion the probability above which saying it gives the best F1.

    GoEmotions comments may have several labels, so its F1 is a matter of thresholds. The best of
    thousands of F1 is partly luck; so F1 is first smoothed over neighbouring comments in order of
    their probability.

    Args:
        labels: (comment, emotion).
        probabilities: (comment, emotion).
        smoothed: Part of the comments to smooth over at once.

    Returns:
        (emotion,).
    """
    said = np.asarray(probabilities, np.float64)
    window = 1 + 2 * int(smoothed * len(said) / 2)
    found = [_threshold(*column, window) for column in zip(labels.T, said.T, strict=True)]
    return np.array(found)


def _threshold(labels: Bools, said: Floats, window: int) -> float:
    order = np.argsort(-said, kind="stable")
    hits, first = np.cumsum(labels[order]), np.arange(1, len(order) + 1)
    f1 = np.pad(2 * hits / (first + labels.sum()), window // 2, mode="edge")
    best = int(np.convolve(f1, np.full(window, 1 / window), "valid").argmax())
    following = order[min(best + 1, len(order) - 1)]
    return float(said[order[best]] + said[following]) / 2


def _f1(labels: Bools, said: Bools) -> Floats:
    """F1 of each emotion (emotion,) from (comment, emotion)."""
    both: Floats = 2 * (labels & said).sum(axis=0) / np.maximum((labels.sum(0) + said.sum(0)), 1)
    return both


def _running(vocabulary: Vocabulary, texts: Iterable[Sequence[str]]) -> npt.NDArray[np.int32]:
    """Numbers of the known words of all texts (place,), unknown ones 0, zeros between texts."""
    apart, known = [PADDING] * WINDOW, vocabulary.first_shared
    return np.fromiter(
        (
            number if number < known else PADDING
            for words in texts
            for number in (*vocabulary.numbers(words), *apart)
        ),
        np.int32,
    )


def _log_count_ratio(there: Any, labels: Bools) -> npt.NDArray[np.float32]:
    """Log of how much more often a feature is there with the label than without (feature,)."""
    with_it = (1 + np.asarray(there[labels].sum(axis=0))[0]) / (labels.sum() + 2)
    without = (1 + np.asarray(there[~labels].sum(axis=0))[0]) / ((~labels).sum() + 2)
    ratio: npt.NDArray[np.float32] = np.log(with_it / without).astype(np.float32)
    return ratio


def _inverse_document_frequency(counts: Any) -> npt.NDArray[np.float32]:
    """log((1 + n) / (1 + df)) + 1 of each feature (feature,)."""
    seen = np.bincount(counts.indices, minlength=counts.shape[1])
    idf: npt.NDArray[np.float32] = np.log((1 + counts.shape[0]) / (1 + seen)) + 1
    return idf.astype(np.float32)
