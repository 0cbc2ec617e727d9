"""A sentence read word by word in both directions, its states pooled: what n-grams cannot see.

Embeddings, a bidirectional GRU (Cho et al., EMNLP 2014), and three views of its states side by
side: an attention-weighted mean, the maximum and the mean over the words.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emotion.errors import InputError
from emotion.labels import EMOTIONS

__all__ = ["PADDING", "WordGRU", "WordGRUConfig"]

PADDING = 0
"""Stands after the last word of a shorter sentence."""


@dataclass(frozen=True)
class WordGRUConfig:
    """Everything that decides the network's shape.

    Attributes:
        rows: Of the embedding: padding, known words, and the rows that unknown ones share.
        width: Size of a word's vector.
        hidden: Size of the state in each direction.
        dropout: On word vectors and on the pooled states, in [0, 1).
    """

    rows: int
    width: int = 64
    hidden: int = 96
    dropout: float = 0.35

    def __post_init__(self) -> None:
        if self.rows < 2 or min(self.width, self.hidden) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"Expected two rows, positive sizes, dropout in [0, 1), got {self}.")

    @property
    def pooled(self) -> int:
        """Size of a sentence's vector."""
        return 6 * self.hidden


class WordGRU(nn.Module):
    """Numbers of words (text, word), `PADDING` after the last, to logits (text, emotion)."""

    def __init__(self, config: WordGRUConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.rows, config.width, padding_idx=PADDING)
        self.gru = nn.GRU(config.width, config.hidden, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(2 * config.hidden, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.pooled, len(EMOTIONS))

    def forward(self, words: Tensor) -> Tensor:
        """Log-odds (text, emotion) that each emotion is among those of the text.

        Args:
            words: (text, word) int64 rows of the embedding, at least one word a text.
        """
        logits: Tensor = self.classifier(self.pooled(words))
        return logits

    def pooled(self, words: Tensor) -> Tensor:
        """Vectors of the sentences (text, 6 · hidden) from words (text, word)."""
        if words.ndim != 2 or not words.shape[1] or not bool((words[:, 0] != PADDING).all()):
            raise InputError(
                f"Expected words (text, word) with one at least in each, got {tuple(words.shape)}."
            )
        there = words != PADDING
        states = self._states(self.dropout(self.embedding(words)), there.sum(dim=1))
        absent = ~there[:, :, None]
        weights = self.attention(states).masked_fill(absent, -torch.inf).softmax(dim=1)
        mean = states.sum(dim=1) / there.sum(dim=1, keepdim=True)  # padding's states are 0
        views = ((states * weights).sum(1), states.masked_fill(absent, -torch.inf).amax(1), mean)
        dropped: Tensor = self.dropout(torch.cat(views, dim=1))
        return dropped

    def _states(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Run both directions over vectors (text, word, width), each from its text's own end."""
        packed = nn.utils.rnn.pack_padded_sequence(
            vectors, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, total_length=vectors.shape[1]
        )
        return states
