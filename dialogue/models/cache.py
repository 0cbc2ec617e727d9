"""What a model has already read of the talks it answers, so that each turn reads only what is new.

Keys and values of a token depend on all tokens before it, so they hold for an exact prefix only. A
talk is known by its tokens; no talk ever takes over what was read of another one, and the least
recently answered is dropped first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

__all__ = ["TalkCache", "TalkCaches", "common_prefix"]

SAME_TALK_FROM: Final = 0.5
"""Share of a cache that must be the beginning of a prompt: two talks share the persona only."""


@dataclass
class TalkCache:
    """What was read of one talk.

    Attributes:
        layers: A `Cache` of transformers, with batch size 1.
        tokens: The tokens it holds, (token,) int64 on the processor.
        floor: Fewest tokens that it can be cropped to: a sliding window forgets what left it.
        epoch: How often everything was forgotten before it was taken.
    """

    layers: Any
    tokens: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long), repr=False)
    floor: int = 0
    epoch: int = 0

    def reusable(self, prompt: Tensor) -> int:
        """Return how many tokens of a prompt, (token,), need not be read again.

        At least one is read, for the model speaks from the last one's output.
        """
        shared = min(common_prefix(self.tokens, prompt), len(prompt) - 1)
        same_talk = shared >= max(self.floor, SAME_TALK_FROM * len(self.tokens), 1)
        return shared if same_talk and self.layers.is_croppable else 0

    def crop(self, kept: int) -> None:
        """Drop all but the first tokens."""
        self.layers.crop(kept - len(self.tokens))
        self.tokens = self.tokens[:kept]
        if any(_has_slid(layer) for layer in self.layers.layers):
            self.floor = kept


class TalkCaches:
    """A few caches, each in use by one answer at most.

    Args:
        make: Makes an empty cache.
        most: How many talks are kept.
    """

    def __init__(self, make: Callable[[], Any], most: int) -> None:
        self._make = make
        self._most = most
        self._idle: list[TalkCache] = []  # the most recently answered last
        self._epoch = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, prompt: Tensor) -> TalkCache:
        """Take the cache that saves most of a prompt, (token,), cropped to what they share.

        Whoever fails while using it keeps it, for nobody knows what it holds then.
        """
        with self._lock:
            best = max(self._idle, key=lambda cache: cache.reusable(prompt), default=None)
            kept = best.reusable(prompt) if best is not None else 0
            if best is None or not kept:
                return self._empty()
            self._idle.remove(best)
        best.crop(kept)
        return best

    def give(self, cache: TalkCache) -> None:
        """Put a cache back after an answer; the least recently answered talk makes room."""
        with self._lock:
            if cache.epoch == self._epoch:
                self._idle = [*self._idle, cache][-self._most :]

    def forget(self) -> None:
        """Drop everything that was read, and what is being read."""
        with self._lock:
            self._epoch += 1
            self._idle.clear()

    def _empty(self) -> TalkCache:
        layers = self._make()
        layers.activate_past_recording()  # else a sliding window could not be cropped
        return TalkCache(layers, epoch=self._epoch)


def common_prefix(first: Tensor, second: Tensor) -> int:
    """Return how many tokens two rows, (token,), begin with alike.

    >>> common_prefix(torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4, 5]))
    2
    """
    size = min(len(first), len(second))
    return int((first[:size] == second[:size]).long().cumprod(0).sum())


def _has_slid(layer: Any) -> bool:
    window = getattr(layer, "sliding_window", None)
    return window is not None and layer.get_seq_length() >= window
