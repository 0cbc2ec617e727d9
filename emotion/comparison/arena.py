"""An arena: samples of one corpus, whom each is of, and folds that never part a person.

Every system of an arena is trained and scored on the same folds, so their predictions pair up
sample by sample and a difference can be tested by resampling people.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from emotion.corpora.splits import deal
from emotion.errors import CorpusError
from emotion.labels import EMOTIONS

__all__ = [
    "Arena",
    "Cost",
    "Fitted",
    "Fold",
    "Learner",
    "Majority",
    "folds_by_group",
    "kept_in",
    "state_folder",
]

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]

S = TypeVar("S")


@dataclass(frozen=True)
class Cost:
    """What a system costs beside its accuracy.

    Attributes:
        parameters: Numbers that training chose.
        macs: Multiplications and additions for one clip of the arena, of the learnt part; None
            where it is not known.
    """

    parameters: int
    macs: int | None = None


class Fitted(Protocol):
    """A trained system."""

    @property
    def cost(self) -> Cost:
        """What it costs."""

    def probabilities(self, samples: Any) -> Probabilities:
        """(sample, emotion), rows summing to 1."""


class Learner(Protocol):
    """An untrained system."""

    def fit(self, train: Any, labels: Labels, groups: Sequence[str], folder: Path) -> Fitted:
        """Learn from samples of labels (sample,) by people (sample,).

        Args:
            train: The arena's samples of a fold.
            labels: (sample,) index into EMOTIONS.
            groups: (sample,) whom each is of, for choices inside the training part.
            folder: Of this fold, for all systems; a long training keeps its state below it, in
                `state_folder(self, folder, labels, groups)`, and goes on from there.
        """


@dataclass(frozen=True)
class Fold:
    """Indices (sample,) to train on and to be scored on."""

    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Arena(Generic[S]):
    """Samples and folds.

    Attributes:
        name: As on the command line, such as "ravdess-voice".
        title: One line above its part of the table.
        protocol: How it is split, in words.
        labels: (sample,) index into EMOTIONS.
        groups: (sample,) whom each is of; intervals resample these.
        folds: Each tested sample is in the test part of exactly one.
        take: Samples at some indices (sample,).
        trained_in: Name of the arena whose trainings this one shares; empty for its own.
    """

    name: str
    title: str
    protocol: str
    labels: Labels
    groups: tuple[str, ...]
    folds: tuple[Fold, ...]
    take: Callable[[npt.NDArray[np.int64]], S] = field(repr=False)
    trained_in: str = ""

    def __post_init__(self) -> None:
        for fold in self.folds:
            shared = set(self.people(fold.train)) & set(self.people(fold.test))
            if shared:
                raise CorpusError(
                    f"Expected other people in training than in the test of {self.name}, "
                    f"got {', '.join(sorted(shared)[:3])} in both."
                )

    def people(self, indices: npt.NDArray[np.int64]) -> list[str]:
        """Whom the samples at `indices` (sample,) are of."""
        return [self.groups[i] for i in indices]


def folds_by_group(groups: Sequence[str], count: int | None, seed: int = 1) -> tuple[Fold, ...]:
    """Part people into folds of nearly equal size, or leave one out at a time.

    Args:
        groups: (sample,) whom each is of.
        count: How many folds; None leaves one person out.
        seed: Of the order in which people of equally many samples are dealt out.

    Raises:
        CorpusError: If there are fewer people than folds, or only one.
    """
    sizes = Counter(groups)
    count = len(sizes) if count is None else count
    where = deal(sizes, count, np.random.default_rng(seed))
    fold_of = np.array([where[group] for group in groups])
    every = range(count)
    return tuple(Fold(np.nonzero(fold_of != k)[0], np.nonzero(fold_of == k)[0]) for k in every)


def kept_in(learner: object, folder: Path) -> Path:
    """Folder of a learner's state below a fold's; other settings have another folder."""
    digest = hashlib.sha256(repr(learner).encode()).hexdigest()
    return folder / f"{type(learner).__name__}-{digest[:12]}"


def state_folder(learner: object, folder: Path, labels: Labels, groups: Sequence[str]) -> Path:
    """Make the folder of a learner's state below a fold's.

    A state that was begun on other samples is deleted: it may know who is tested now.

    Args:
        learner: What is trained; its repr() names all its settings.
        folder: Of the fold.
        labels: (sample,) of training.
        groups: (sample,) whom each is of.
    """
    own = kept_in(learner, folder)
    learnt = hashlib.sha256(json.dumps([labels.tolist(), list(groups)]).encode()).hexdigest()
    mark = own / "samples.sha256"
    if mark.exists() and mark.read_text() != learnt:
        shutil.rmtree(own)
    own.mkdir(parents=True, exist_ok=True)
    mark.write_text(learnt)
    return own


@dataclass(frozen=True)
class Majority:
    """Says of every sample how frequent each emotion was in training: what anything must beat."""

    def fit(self, train: Any, labels: Labels, groups: Sequence[str], folder: Path) -> Fitted:
        """Count labels (sample,); the samples, the people and the folder do not matter."""
        counts = np.bincount(labels, minlength=len(EMOTIONS))
        return _Constant((counts / counts.sum()).astype(np.float32))


@dataclass(frozen=True)
class _Constant:
    frequencies: Probabilities
    cost: Cost = Cost(parameters=len(EMOTIONS), macs=0)

    def probabilities(self, samples: Any) -> Probabilities:
        """(sample, emotion), the same row for each."""
        return np.tile(self.frequencies, (len(samples), 1))
