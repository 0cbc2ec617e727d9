"""The emotion of the words themselves: a linear model over hashed n-grams of words and letters.

Its classes are the Ekman grouping of GoEmotions (Demszky et al., ACL 2020), which is our seven.
Features: words and their pairs, and pieces of 2 to 5 letters within words, each hashed, weighted
by (1 + log count) · idf and scaled to length 1 (Weinberger et al., "Feature hashing", ICML 2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities
from emotion.errors import CheckpointError
from emotion.labels import EMOTIONS

__all__ = ["WordFeatures", "WordsConfig", "WordsModel"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class WordsConfig:
    """How texts become vectors.

    Attributes:
        words: Buckets for words and pairs of words.
        letters: Buckets for pieces of words.
        longest_piece: Letters of the longest piece.
    """

    words: int = 2**17
    letters: int = 2**17
    longest_piece: int = 5

    def __post_init__(self) -> None:
        if min(self.words, self.letters) < 1 or self.longest_piece < 2:
            raise ValueError(f"Expected buckets and pieces of at least two letters, got {self}.")


class WordFeatures:
    """Texts to sparse counts (text, feature)."""

    def __init__(self, config: WordsConfig) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        common = {"alternate_sign": False, "norm": None, "dtype": np.float32}
        self.config = config
        self._words = HashingVectorizer(
            ngram_range=(1, 2),
            n_features=config.words,
            token_pattern=r"(?u)\b\w+\b|[^\w\s]",
            **common,
        )
        self._letters = HashingVectorizer(
            analyzer="char_wb",
            ngram_range=(2, config.longest_piece),
            n_features=config.letters,
            **common,
        )

    def counts(self, texts: Sequence[str]) -> Any:
        """1 + log of how often each feature occurs, 0 where it does not: sparse (text, feature)."""
        from scipy import sparse  # type: ignore[import-untyped]

        parts = (self._words.transform(texts), self._letters.transform(texts))
        counts = sparse.hstack(parts, format="csr")
        counts.data = 1 + np.log(counts.data)
        return counts

    def vectors(self, counts: Any, idf: Floats) -> Any:
        """Weigh `counts` by idf (feature,), words and letters each scaled to length 1."""
        from scipy import sparse
        from sklearn.preprocessing import normalize

        weighted = counts.multiply(idf[None]).tocsr()
        parts = (weighted[:, : self.config.words], weighted[:, self.config.words :])
        return sparse.hstack([normalize(part) for part in parts], format="csr")


@dataclass(frozen=True)
class WordsModel:
    """Texts in, calibrated probabilities of each emotion out.

    Attributes:
        config: How texts become vectors.
        weights: (feature, emotion).
        bias: (emotion,).
        idf: (feature,) inverse document frequencies.
        temperature: Divides the logits.
    """

    config: WordsConfig
    weights: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    idf: Floats = field(repr=False)
    temperature: float = 1.0

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a checkpoint.

        Raises:
            CheckpointError: If it is missing, damaged or holds another model.
        """
        stored = checkpoint.read(folder)
        if stored.architecture != cls.__name__:
            raise CheckpointError(f"Expected WordsModel in {folder}, got {stored.architecture!r}.")
        config = WordsConfig(**stored.config)
        features = config.words + config.letters
        wanted = {
            "weights": (features, len(EMOTIONS)),
            "scale": (len(EMOTIONS),),
            "bias": (len(EMOTIONS),),
            "idf": (features,),
        }
        got = {name: array.shape for name, array in stored.arrays.items()}
        if got != wanted:
            raise CheckpointError(f"Expected arrays of shapes {wanted} in {folder}, got {got}.")
        weights = stored.arrays["weights"].astype(np.float32) * stored.arrays["scale"]
        idf = stored.arrays["idf"].astype(np.float32)
        temperature = float(stored.training["temperature"])
        return cls(config, weights, stored.arrays["bias"], idf, temperature)

    def save(self, folder: str | Path, training: dict[str, Any]) -> None:
        """Write a checkpoint: weights as int8 with one scale an emotion, idf as float16."""
        scale = np.abs(self.weights).max(axis=0) / 127
        arrays = {
            "weights": np.round(self.weights / scale).astype(np.int8),
            "scale": scale.astype(np.float32),
            "bias": self.bias.astype(np.float32),
            "idf": self.idf.astype(np.float16),
        }
        training = training | {"temperature": self.temperature}
        name = type(self).__name__
        checkpoint.write(folder, checkpoint.Stored(name, asdict(self.config), training, arrays))

    def logits(self, texts: Sequence[str]) -> Floats:
        """Logits (text, emotion) before the temperature."""
        vectors = self._features.vectors(self._features.counts(texts), self.idf)
        logits: Floats = vectors @ self.weights + self.bias
        return logits

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Calibrated probabilities (text, emotion) float32; each row sums to 1."""
        if not texts:
            return np.zeros((0, len(EMOTIONS)), np.float32)
        return calibrated_probabilities(self.logits(texts), self.temperature)

    @cached_property
    def _features(self) -> WordFeatures:
        return WordFeatures(self.config)
