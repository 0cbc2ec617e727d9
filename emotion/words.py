"""The emotion of the words themselves: a linear model of n-grams beside a network that reads.

Its classes are the Ekman grouping of GoEmotions (Demszky et al., ACL 2020), which is our seven.
The linear part's features: words and their pairs, and pieces of 2 to 5 letters within words, each
hashed, weighted by (1 + log count) · idf and scaled to length 1 (Weinberger et al., "Feature
hashing", ICML 2009). The network is `emotion.models.word_gru`. Both give each emotion's log-odds;
their mean over a temperature goes through softmax, which makes a distribution of the seven.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zlib import crc32

import numpy as np
import numpy.typing as npt

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities
from emotion.errors import CheckpointError
from emotion.labels import EMOTIONS
from emotion.quantisation import eight_bits, packed

if TYPE_CHECKING:
    from emotion.models.word_gru import WordGRU

__all__ = ["Vocabulary", "WordFeatures", "WordReader", "WordsConfig", "WordsModel", "words_of"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[Any]]

_WORD = re.compile(r"\[name\]|\[religion\]|[a-z]+(?:'[a-z]+)?|\d+|[^\w\s]|\w+")
_TEXTS_AT_ONCE = 256
_READER = "reader."


@dataclass(frozen=True)
class WordsConfig:
    """How texts become vectors.

    Attributes:
        words: Buckets for words and pairs of words.
        letters: Buckets for pieces of words.
        longest_piece: Letters of the longest piece.
        width: Size of the network's word vectors.
        hidden: Size of its state in each direction.
    """

    words: int = 2**16
    letters: int = 2**16
    longest_piece: int = 5
    width: int = 64
    hidden: int = 96

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


def words_of(text: str) -> list[str]:
    """Split into lower-case words, numbers and signs; masked names as GoEmotions writes them.

    >>> words_of("Don't, [NAME]!")
    ["don't", ',', '[name]', '!']
    """
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


class Vocabulary:
    """Words to rows of an embedding: row 0 is padding, then the known words, then shared rows.

    Args:
        words: The known ones.
    """

    SHARED = 512
    """Rows among which unknown words are dealt by their crc32."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self._rows = {word: row for row, word in enumerate(self.words, start=1)}

    @property
    def first_shared(self) -> int:
        """Row of the first of the shared ones."""
        return len(self.words) + 1

    @property
    def rows(self) -> int:
        """All of them."""
        return self.first_shared + self.SHARED

    def numbers(self, words: Sequence[str]) -> list[int]:
        """Rows of words, of which no words at all is one unknown word."""
        return [self._rows.get(w) or self._shared(w) for w in words or ("",)]

    def _shared(self, word: str) -> int:
        return self.first_shared + crc32(word.encode()) % self.SHARED


@dataclass(frozen=True)
class WordReader:
    """The part that reads word by word.

    Attributes:
        vocabulary: Its words.
        network: In evaluation mode.
    """

    vocabulary: Vocabulary = field(repr=False)
    network: WordGRU = field(repr=False)

    def logits(self, texts: Sequence[str]) -> Floats:
        """Log-odds (text, emotion)."""
        import torch

        found = np.zeros((len(texts), len(EMOTIONS)), np.float32)
        numbers = [self.vocabulary.numbers(words_of(text)) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(numbers[i]))
        device = self.network.classifier.weight.device
        with torch.inference_mode():
            for start in range(0, len(order), _TEXTS_AT_ONCE):
                batch = order[start : start + _TEXTS_AT_ONCE]
                words = torch.from_numpy(padded([numbers[i] for i in batch])).to(device)
                found[batch] = self.network(words).cpu().numpy()
        return found

    def arrays(self) -> Arrays:
        """Everything to store: matrices as int8 with a scale a row, the words as UTF-8 lines."""
        lines = "\n".join(self.vocabulary.words).encode()
        weights = {k: v.float().cpu().numpy() for k, v in self.network.state_dict().items()}
        stored = packed(weights) | {"vocabulary": np.frombuffer(lines, np.uint8)}
        return {_READER + name: array for name, array in stored.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], config: WordsConfig) -> Self:
        """Rebuild from what `arrays` gave, as a checkpoint reads it.

        Raises:
            KeyError, RuntimeError, ValueError: If they are not of such a network.
        """
        import torch

        from emotion.models.word_gru import WordGRU, WordGRUConfig

        own = {k.removeprefix(_READER): v for k, v in arrays.items() if k.startswith(_READER)}
        vocabulary = Vocabulary(own.pop("vocabulary").tobytes().decode().split("\n"))
        network = WordGRU(WordGRUConfig(vocabulary.rows, config.width, config.hidden))
        network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in own.items()})
        return cls(vocabulary, network.eval())


@dataclass(frozen=True)
class WordsModel:
    """Texts in, calibrated probabilities of each emotion out.

    Attributes:
        config: How texts become vectors.
        weights: (feature, emotion).
        bias: (emotion,).
        idf: (feature,) inverse document frequencies.
        temperature: Divides the logits.
        reader: The network; without it the linear part speaks alone.
    """

    config: WordsConfig
    weights: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    idf: Floats = field(repr=False)
    temperature: float = 1.0
    reader: WordReader | None = None

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
        linear = {k: v for k, v in stored.arrays.items() if not k.startswith(_READER)}
        got = {name: array.shape for name, array in linear.items()}
        if got != wanted:
            raise CheckpointError(f"Expected arrays of shapes {wanted} in {folder}, got {got}.")
        weights = linear["weights"].astype(np.float32) * linear["scale"]
        idf = linear["idf"].astype(np.float32)
        temperature = float(stored.training["temperature"])
        reader = _reader(stored, config, folder)
        return cls(config, weights, linear["bias"], idf, temperature, reader)

    def save(self, folder: str | Path, training: dict[str, Any]) -> None:
        """Write a checkpoint: weights as int8 with one scale an emotion, idf as float16."""
        weights, scale = eight_bits(self.weights, axis=0)
        arrays = {
            "weights": weights,
            "scale": scale[0],
            "bias": self.bias.astype(np.float32),
            "idf": self.idf.astype(np.float16),
        }
        arrays |= self.reader.arrays() if self.reader else {}
        training = training | {"temperature": self.temperature}
        name = type(self).__name__
        checkpoint.write(folder, checkpoint.Stored(name, asdict(self.config), training, arrays))

    def logits(self, texts: Sequence[str]) -> Floats:
        """Logits (text, emotion) before the temperature: the mean of both parts' log-odds."""
        vectors = self._features.vectors(self._features.counts(texts), self.idf)
        logits: Floats = vectors @ self.weights + self.bias
        if self.reader:
            logits = np.float32(0.5) * (logits + self.reader.logits(texts))
        return logits

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Calibrated probabilities (text, emotion) float32; each row sums to 1."""
        if not texts:
            return np.zeros((0, len(EMOTIONS)), np.float32)
        return calibrated_probabilities(self.logits(texts), self.temperature)

    @cached_property
    def _features(self) -> WordFeatures:
        return WordFeatures(self.config)


def padded(numbers: Sequence[Sequence[int]]) -> Ints:
    """Rows of words of several texts as (text, word), 0 after the last word of each."""
    found = np.zeros((len(numbers), max(map(len, numbers))), np.int64)
    for row, own in zip(found, numbers, strict=True):
        row[: len(own)] = own
    return found


def _reader(
    stored: checkpoint.Stored, config: WordsConfig, folder: str | Path
) -> WordReader | None:
    if not any(name.startswith(_READER) for name in stored.arrays):
        return None
    try:
        return WordReader.of(stored.arrays, config)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"Unusable network of words in {folder}: {error}") from error
