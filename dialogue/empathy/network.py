"""The part that was taught to read replies: upper layers of a language model, and heads on them.

It learns the level of each sentence, which the rationales tell, beside that of the whole reply, as
EPITOME's own model learns rationales beside levels (Sharma et al., EMNLP 2020, section 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaModel

from dialogue.empathy.annotations import LEVELS, MECHANISMS
from dialogue.errors import ModelError

__all__ = [
    "NetworkShape",
    "ReplyNetwork",
    "Teaching",
    "Window",
    "dequantized",
    "quantized",
    "teach",
]

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PAIRS_AT_ONCE: Final = 48
_SCALE: Final = ".scale"


@dataclass(frozen=True)
class Window:
    """Some sentences of one reply behind its post, as the frozen layers see them.

    Attributes:
        states: (token, width) float32.
        sentence_of: (token,) number of the sentence within the reply; -1 before the reply.
    """

    states: npt.NDArray[np.float32]
    sentence_of: Ints


Windows = tuple[Window, ...]
"""A whole reply."""


@dataclass(frozen=True)
class NetworkShape:
    """Shape of the layers that learn.

    Attributes:
        width: Of a state.
        layers: How many.
        heads: Of attention.
        feed_forward: Width within a layer.
        dropout: Before the heads, in [0, 1).

    Raises:
        ModelError: If a size is not positive, or the heads do not divide the width.
    """

    width: int
    layers: int
    heads: int
    feed_forward: int
    dropout: float = 0.2

    def __post_init__(self) -> None:
        sizes = (self.width, self.layers, self.heads, self.feed_forward)
        if min(sizes) < 1 or self.width % self.heads or not 0 <= self.dropout < 1:
            raise ModelError(
                f"Expected positive sizes and heads that divide the width, got {self}."
            )


@dataclass(frozen=True)
class _Batch:
    """Replies side by side.

    Attributes:
        states: (window, token, width).
        there: (window, token) bool: tokens of sentences.
        sentence_of: (word,) number of each such token's sentence among all.
        pair_of: (word,) number of its reply.
        sentences: How many.
        pairs: How many.
    """

    states: Tensor
    there: Tensor
    sentence_of: Tensor
    pair_of: Tensor
    sentences: int
    pairs: int


class ReplyNetwork(nn.Module):
    """States of the frozen layers to levels of sentences and of whole replies."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        self.layers = LlamaModel(
            LlamaConfig(
                vocab_size=1,
                hidden_size=shape.width,
                intermediate_size=shape.feed_forward,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                bos_token_id=None,
                eos_token_id=None,
            )
        )
        self.layers.embed_tokens = nn.Identity()
        self.dropout = nn.Dropout(shape.dropout)
        self.attention = nn.Linear(shape.width, len(MECHANISMS))
        self.sentences = nn.Linear(3 * shape.width, len(MECHANISMS) * len(LEVELS))
        self.replies = nn.ModuleList(nn.Linear(3 * shape.width, len(LEVELS)) for _ in MECHANISMS)

    def forward(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        """Logits of sentences (sentence, mechanism, level) and of replies (pair, mechanism, level).

        Sentences and replies are seen alike: mean, maximum and an attention-weighted mean of their
        tokens' states; a reply's attention is its mechanism's own.
        """
        output = self.layers(inputs_embeds=batch.states, use_cache=False)
        words = output.last_hidden_state[batch.there].float()
        scores = self.attention(words).float().clamp(max=20).exp()
        mean, most = _mean_and_most(words, batch.sentence_of, batch.sentences)
        weights = _shares(scores, batch.sentence_of, batch.sentences).mean(1, keepdim=True)
        attended = _sums(words * weights, batch.sentence_of, batch.sentences)
        views = self.dropout(torch.cat([mean, most, attended], 1))
        of_sentences = self.sentences(views).float().unflatten(1, (len(MECHANISMS), len(LEVELS)))
        return of_sentences, self._of_replies(words, scores, batch)

    def _of_replies(self, words: Tensor, scores: Tensor, batch: _Batch) -> Tensor:
        mean, most = _mean_and_most(words, batch.pair_of, batch.pairs)
        weights = _shares(scores, batch.pair_of, batch.pairs)
        logits = []
        for mechanism, head in enumerate(self.replies):
            attended = _sums(words * weights[:, mechanism, None], batch.pair_of, batch.pairs)
            logits.append(head(self.dropout(torch.cat([mean, most, attended], 1))).float())
        return torch.stack(logits, 1)

    @torch.inference_mode()
    def log_probabilities(self, replies: Sequence[Windows]) -> Floats:
        """Log-probabilities (pair, mechanism, level) float64 of whole replies."""
        found = np.zeros((len(replies), len(MECHANISMS), len(LEVELS)))
        order = sorted(range(len(replies)), key=lambda i: _tokens(replies[i]))
        device = self.attention.weight.device
        for start in range(0, len(order), _PAIRS_AT_ONCE):
            own = order[start : start + _PAIRS_AT_ONCE]
            _, logits = self(_batched([replies[i] for i in own], device))
            found[own] = logits.double().log_softmax(-1).cpu().numpy()
        return found


def _tokens(reply: Windows) -> int:
    return sum(len(window.sentence_of) for window in reply)


def _sums(words: Tensor, owner: Tensor, count: int) -> Tensor:
    """Add up words (word, feature) of each owner, (owner, feature)."""
    return words.new_zeros(count, words.shape[1]).index_add(0, owner, words)


def _shares(scores: Tensor, owner: Tensor, count: int) -> Tensor:
    """Divide scores (word, mechanism) by their owner's sum."""
    return scores / _sums(scores, owner, count)[owner]


def _mean_and_most(words: Tensor, owner: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and maximum of each owner's words, (owner, feature) each."""
    mean = _sums(words, owner, count) / _sums(torch.ones_like(words[:, :1]), owner, count)
    index = owner[:, None].expand_as(words)
    lowest = words.new_full((count, words.shape[1]), -torch.inf)
    return mean, lowest.scatter_reduce(0, index, words, "amax")


def _batched(replies: Sequence[Windows], device: torch.device) -> _Batch:
    windows = [(pair, window) for pair, reply in enumerate(replies) for window in reply]
    longest = max(len(window.sentence_of) for _, window in windows)
    width = windows[0][1].states.shape[1]
    counts = [1 + max(int(w.sentence_of.max()) for w in reply) for reply in replies]
    starts = np.concatenate([[0], np.cumsum(counts)])
    states = np.zeros((len(windows), longest, width), np.float32)
    numbers = np.full((len(windows), longest), -1)
    owners = np.zeros((len(windows), longest), np.int64)
    for row, (pair, window) in enumerate(windows):
        length = len(window.sentence_of)
        states[row, :length] = window.states
        inside = window.sentence_of >= 0
        numbers[row, :length] = np.where(inside, window.sentence_of + starts[pair], -1)
        owners[row] = pair
    there = numbers >= 0
    return _Batch(
        torch.from_numpy(states).to(device),
        torch.from_numpy(there).to(device),
        torch.from_numpy(numbers[there]).to(device),
        torch.from_numpy(owners[there]).to(device),
        int(starts[-1]),
        len(replies),
    )


# ----------------------------------------------------------------------------------- teaching


@dataclass(frozen=True)
class Teaching:
    """How the network learns.

    Attributes:
        epochs: Times that each reply is read.
        batch_pairs: Replies in a step.
        layer_rate: Peak learning rate of the layers, by AdamW.
        head_rate: Of the heads.
        weight_decay: Decoupled.
        warm_up: Share of the steps over which the rates rise; they fall linearly to 0 after it.
        smoothing: Share of each reply's label that is spread over all levels.
        seed: Of the heads, the order and dropout.
    """

    epochs: int = 4
    batch_pairs: int = 24
    layer_rate: float = 4e-4
    head_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.1
    smoothing: float = 0.05
    seed: int = 0


def teach(
    network: ReplyNetwork,
    replies: Sequence[Windows],
    levels: Ints,
    sentence_levels: Sequence[Ints],
    teaching: Teaching,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Teach a network, and leave it in evaluation mode; global random state stays as it was.

    Args:
        network: Its layers as they were pretrained.
        replies: To learn from.
        levels: (pair, mechanism).
        sentence_levels: For each reply (sentence, mechanism).
        teaching: How.
        progress: Called after each step with the share of the steps that are done.
    """
    device = network.attention.weight.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(teaching.seed)
        for head in (network.attention, network.sentences, *network.replies):
            head.reset_parameters()
        optimizer = _optimizer(network, teaching)
        steps = list(_steps(replies, teaching))
        network.train()
        for step, own in enumerate(steps):
            _set_rates(optimizer, step, len(steps), teaching)
            batch = _batched([replies[i] for i in own], device)
            wanted = torch.from_numpy(levels[own]).to(device)
            told = np.concatenate([sentence_levels[i] for i in own])
            with torch.autocast(device.type, torch.bfloat16):
                of_sentences, of_replies = network(batch)
            loss = _loss(of_replies, wanted, teaching.smoothing)
            loss = loss + _loss(of_sentences, torch.from_numpy(told).to(device), 0.0)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            if progress is not None:
                progress((step + 1) / len(steps))
    network.eval()


def _loss(logits: Tensor, levels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy in nats, summed over mechanisms.

    Args:
        logits: (row, mechanism, level).
        levels: (row, mechanism).
        smoothing: Share of each label that is spread over all levels.
    """
    loss = functional.cross_entropy(
        logits.flatten(0, 1), levels.flatten(), label_smoothing=smoothing
    )
    return len(MECHANISMS) * loss


def _steps(replies: Sequence[Windows], teaching: Teaching) -> Iterator[Ints]:
    """Deal replies to steps, (reply,) numbers each: like lengths together, in random order."""
    random = np.random.default_rng(teaching.seed)
    tokens = np.array([_tokens(reply) for reply in replies])
    for _ in range(teaching.epochs):
        order = np.argsort(tokens + random.uniform(0, 25, len(replies)))
        count = math.ceil(len(replies) / teaching.batch_pairs)
        cut = [order[i * teaching.batch_pairs :][: teaching.batch_pairs] for i in range(count)]
        yield from (cut[i] for i in random.permutation(count))


def _optimizer(network: ReplyNetwork, teaching: Teaching) -> torch.optim.Optimizer:
    layers = list(network.layers.parameters())
    known = {id(parameter) for parameter in layers}
    heads = [parameter for parameter in network.parameters() if id(parameter) not in known]
    groups = [
        {"params": layers, "peak": teaching.layer_rate},
        {"params": heads, "peak": teaching.head_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=teaching.weight_decay, betas=(0.9, 0.98))


def _set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int, how: Teaching) -> None:
    rising = (step + 1) / max(1.0, how.warm_up * steps)
    share = min(rising, (steps - step) / max(1.0, (1 - how.warm_up) * steps))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


# ---------------------------------------------------------------------------------- eight bits


def quantized(weights: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Round matrices to int8, with a scale (row, 1) each; all else is float32."""
    stored: Arrays = {}
    for name, array in weights.items():
        if array.ndim != 2:
            stored[name] = array.astype(np.float32)
            continue
        scale = np.maximum(np.abs(array).max(axis=1, keepdims=True), 1e-12) / 127
        stored[name] = np.round(array / scale).astype(np.int8)
        stored[name + _SCALE] = scale.astype(np.float32)
    return stored


def dequantized(stored: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """Weights of `quantized` as float32 tensors."""
    return {
        name: torch.from_numpy(array * stored.get(name + _SCALE, np.float32(1))).float()
        for name, array in stored.items()
        if not name.endswith(_SCALE)
    }


def stored_network(network: ReplyNetwork) -> Arrays:
    """Its weights as they are kept."""
    return quantized({n: w.float().cpu().numpy() for n, w in network.state_dict().items()})


def restored_network(stored: Mapping[str, Any], shape: NetworkShape, device: str) -> ReplyNetwork:
    """Rebuild a network in evaluation mode from `stored_network`.

    Raises:
        ModelError: If the weights are not of such a network.
    """
    with torch.random.fork_rng(devices=[]):
        network = ReplyNetwork(shape)
    try:
        network.load_state_dict(dequantized(stored))
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"Expected weights of {asdict(shape)}, got others: {first}") from error
    return network.to(device).eval()
