"""Replies as the lower, frozen layers of a small language model see them.

The layers are the bundled dialogue model's, in eight bits, and kept beside the scorer, so that a
new dialogue model does not change what the scorer says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from dialogue.empathy.network import (
    NetworkShape,
    ReplyNetwork,
    Window,
    Windows,
    dequantized,
    quantized,
)
from dialogue.empathy.sentences import split_sentences
from dialogue.errors import ModelError
from dialogue.text import tidy

__all__ = ["Read", "SentenceReader", "TrunkShape", "pretrained"]

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]

POST_TOKENS: Final = 48
"""Of the post, from its beginning, that are read before the reply."""
REPLY_TOKENS: Final = 128
"""Of the reply that are read at once; a longer one is read in windows of whole sentences."""
_ROWS_AT_ONCE: Final = 32


@dataclass(frozen=True)
class TrunkShape:
    """Shape of the lower layers of a Llama (Touvron et al. 2023).

    Attributes:
        vocabulary: Tokens.
        width: Of a state.
        layers: How many; the states after the last two are used, before any norm.
        heads: Of attention.
        feed_forward: Width within a layer.

    Raises:
        ModelError: If a size is not positive, or the heads do not divide the width.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    feed_forward: int

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 1 or self.width % self.heads:
            raise ModelError(
                f"Expected positive sizes and heads that divide the width, got {self}."
            )

    def build(self) -> LlamaModel:
        """Make the network, its weights yet to be filled in."""
        config = LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
        )
        with torch.random.fork_rng(devices=[]):
            trunk = LlamaModel(config)
        trunk.norm = nn.Identity()
        return trunk


@dataclass(frozen=True)
class _Tokens:
    """Some sentences of one reply behind its post.

    Attributes:
        pair: Number of the reply.
        ids: All tokens.
        sentence_of: The sentence that each token is of, counted within the reply; -1 before it.
    """

    pair: int
    ids: list[int]
    sentence_of: list[int]


@dataclass(frozen=True)
class Read:
    """One reply, as it was read.

    Attributes:
        windows: Its states, one window or more.
        vectors: (sentence, feature): mean and maximum over a sentence's tokens of the states after
            the last layer but one, then of those after the last.
    """

    windows: Windows
    vectors: Floats


class SentenceReader:
    """Turns replies into states, and a vector a sentence.

    Args:
        trunk: In evaluation mode, on its device.
        tokenizer: Its own, with the bundled model's marks of turns.
        shape: Of the trunk.
        stored: Its weights as they are on the disk.
    """

    def __init__(
        self, trunk: Any, tokenizer: PreTrainedTokenizerFast, shape: TrunkShape, stored: Arrays
    ) -> None:
        self._trunk = trunk
        self._tokenizer = tokenizer
        self.shape = shape
        self.stored = stored

    @classmethod
    def of(
        cls,
        stored: Mapping[str, npt.NDArray[Any]],
        tokenizer: PreTrainedTokenizerFast,
        shape: TrunkShape,
        device: str = "cpu",
    ) -> Self:
        """Rebuild from what is on the disk.

        Raises:
            ModelError: If the weights are not of such a trunk.
        """
        trunk = shape.build()
        try:
            trunk.load_state_dict(dequantized(stored))
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1].strip()
            raise ModelError(f"Expected weights of {shape}, got others: {first}") from error
        return cls(trunk.to(device).eval(), tokenizer, shape, dict(stored))

    @classmethod
    def restored(
        cls,
        stored: Mapping[str, npt.NDArray[Any]],
        tokenizer_json: str,
        shape: TrunkShape,
        device: str = "cpu",
    ) -> Self:
        """Rebuild from weights and a tokenizer's own JSON; see `of`."""
        from tokenizers import Tokenizer

        try:
            inner = Tokenizer.from_str(tokenizer_json)
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise ModelError(f"Expected a tokenizer, got what fails with: {error}.") from error
        return cls.of(stored, PreTrainedTokenizerFast(tokenizer_object=inner), shape, device)

    def tokenizer_json(self) -> str:
        """Return the tokenizer as its own JSON."""
        written: str = self._tokenizer.backend_tokenizer.to_str()
        return written

    @property
    def features(self) -> int:
        """Size of a sentence's vector."""
        return 4 * self.shape.width

    @torch.inference_mode()
    def read(self, posts: Sequence[str], responses: Sequence[str]) -> list[Read]:
        """Read replies, each behind its post; each sentence sees those before it."""
        parts = list(self._cut(posts, responses))
        found: list[list[tuple[Window, Floats]]] = [[] for _ in responses]
        order = sorted(range(len(parts)), key=lambda i: len(parts[i].ids))
        read: dict[int, tuple[Window, Floats]] = {}
        for start in range(0, len(order), _ROWS_AT_ONCE):
            own = order[start : start + _ROWS_AT_ONCE]
            read |= dict(zip(own, self._states([parts[i] for i in own]), strict=True))
        for number, part in enumerate(parts):
            found[part.pair].append(read[number])
        return [
            Read(tuple(window for window, _ in own), np.concatenate([v for _, v in own]))
            for own in found
        ]

    def _states(self, parts: Sequence[_Tokens]) -> Iterator[tuple[Window, Floats]]:
        """States of some windows, and their sentences' vectors (sentence, feature)."""
        longest = max(len(part.ids) for part in parts)
        padded = [[*part.ids, *[0] * (longest - len(part.ids))] for part in parts]
        # Attention looks back only, so padding behind a reply changes nothing in it.
        output = self._trunk(
            input_ids=torch.tensor(padded, device=self._trunk.device),
            output_hidden_states=True,
            use_cache=False,
        )
        before, last = output.hidden_states[-2].float(), output.last_hidden_state.float()
        for row, part in enumerate(parts):
            length, sentence_of = len(part.ids), np.array(part.sentence_of)
            pooled = [
                _pooled(before[row, :length][own], last[row, :length][own])
                for own in (torch.from_numpy(sentence_of == n) for n in _numbers(sentence_of))
            ]
            states = last[row, :length].cpu().numpy().copy()
            yield Window(states, sentence_of), np.stack(pooled)

    def _cut(self, posts: Sequence[str], responses: Sequence[str]) -> Iterator[_Tokens]:
        start, user, end, agent = self._tokenizer.convert_tokens_to_ids(
            ["<|start|>", "<|user|>", "<|end|>", "<|agent|>"]
        )
        for pair, (post, response) in enumerate(zip(posts, responses, strict=True)):
            opening = [start, user, *self._tokens(tidy(post))[:POST_TOKENS], end, agent]
            part = _Tokens(pair, [*opening], [-1] * len(opening))
            for number, piece in enumerate(split_sentences(response)):
                own = self._piece(piece, first=part.sentence_of[-1] < 0, empty=end)
                if part.sentence_of[-1] >= 0 and len(part.ids) + len(own) > (
                    len(opening) + REPLY_TOKENS
                ):
                    yield part
                    part = _Tokens(pair, [*opening], [-1] * len(opening))
                    own = self._piece(piece, first=True, empty=end)
                part.ids.extend(own)
                part.sentence_of.extend([number] * len(own))
            yield part

    def _piece(self, text: str, *, first: bool, empty: int) -> list[int]:
        return self._tokens(("" if first else " ") + tidy(text))[:REPLY_TOKENS] or [empty]

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids


def _numbers(sentence_of: npt.NDArray[np.int64]) -> list[int]:
    """Sentences of a window, in order."""
    numbers: list[int] = np.unique(sentence_of[sentence_of >= 0]).tolist()
    return numbers


def _pooled(before: Tensor, last: Tensor) -> Floats:
    """Two layers' states (token, width) of a sentence to its vector (4 · width,)."""
    views = (before.mean(0), before.amax(0), last.mean(0), last.amax(0))
    vector: Floats = torch.cat(views).cpu().numpy()
    return vector


def pretrained(
    folder: Path, device: str = "cpu", frozen: int = 2
) -> tuple[SentenceReader, ReplyNetwork]:
    """Divide a model of `attune train-dialogue` into layers that are frozen and others that learn.

    Args:
        folder: Of the model.
        device: As torch names it.
        frozen: Layers that do not learn, from the first.

    Returns:
        The frozen layers, and a network of the others whose heads are yet to be taught.
    """
    from dialogue.models.local import load_pretrained

    model, tokenizer = load_pretrained(str(folder), "cpu")
    config, lower, upper = model.config, {}, {}
    for name, weight in model.model.float().state_dict().items():
        _, _, rest = name.partition("layers.")
        number, _, tail = rest.partition(".")
        if rest and int(number) >= frozen:
            upper[f"layers.{int(number) - frozen}.{tail}"] = weight
        elif name == "norm.weight":
            upper[name] = weight
        else:
            lower[name] = weight.numpy()
    sizes = {"width": config.hidden_size, "heads": config.num_attention_heads}
    sizes |= {"feed_forward": config.intermediate_size}
    shape = TrunkShape(vocabulary=config.vocab_size, layers=frozen, **sizes)
    reader = SentenceReader.of(quantized(lower), tokenizer, shape, device)
    with torch.random.fork_rng(devices=[]):
        network = ReplyNetwork(NetworkShape(layers=config.num_hidden_layers - frozen, **sizes))
    network.layers.load_state_dict(upper)
    return reader, network.to(device)
