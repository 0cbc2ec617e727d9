"""Sentences as a small language model sees them: its states, pooled over each sentence's words.

The trunk is the bundled dialogue model's, frozen, in eight bits, and kept beside the scorer, so
that a new dialogue model does not change what the scorer says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from dialogue.empathy.sentences import split_sentences
from dialogue.errors import ModelError
from dialogue.text import tidy

__all__ = ["SentenceReader", "TrunkShape"]

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]

POST_TOKENS: Final = 48
"""Of the post, from its beginning, that are read before the reply."""
REPLY_TOKENS: Final = 128
"""Of the reply that are read at once; a longer one is read in windows of whole sentences."""
_ROWS_AT_ONCE: Final = 32


@dataclass(frozen=True)
class TrunkShape:
    """Shape of a Llama without its output layer (Touvron et al. 2023).

    Attributes:
        vocabulary: Tokens.
        width: Of a state.
        layers: How many; the states after the last two are used.
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
        with torch.device("meta"):
            return LlamaModel(config)


@dataclass(frozen=True)
class _Window:
    """Some sentences of one reply behind its post.

    Attributes:
        tokens: All of them.
        spans: For each sentence its number among all, its first token and the one after its last.
    """

    tokens: list[int]
    spans: list[tuple[int, int, int]]


class SentenceReader:
    """Turns replies into a vector a sentence.

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
    def from_model(cls, folder: Path, device: str = "cpu", layers: int | None = None) -> Self:
        """Take the trunk of a language model that `attune train-dialogue` made.

        Args:
            folder: Of the model.
            device: As torch names it.
            layers: How many of its layers to keep, from the first; None keeps all.
        """
        from dialogue.models.local import load_pretrained

        model, tokenizer = load_pretrained(str(folder), "cpu")
        kept = layers or model.config.num_hidden_layers
        shape = TrunkShape(
            vocabulary=model.config.vocab_size,
            width=model.config.hidden_size,
            layers=kept,
            heads=model.config.num_attention_heads,
            feed_forward=model.config.intermediate_size,
        )
        weights = model.model.state_dict()
        named = {n: weights[n].float().numpy() for n in shape.build().state_dict()}
        return cls.of(_stored(named), tokenizer, shape, device)

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
        weights = {
            name: torch.from_numpy(array * stored.get(f"{name}.scale", np.float32(1)))
            for name, array in stored.items()
            if not name.endswith(".scale")
        }
        try:
            trunk.load_state_dict(weights, assign=True)
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1].strip()
            raise ModelError(f"Expected weights of {shape}, got others: {first}") from error
        return cls(_on(trunk, shape, device), tokenizer, shape, dict(stored))

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
    def vectors(self, posts: Sequence[str], responses: Sequence[str]) -> Floats:
        """Read sentences, (sentence, feature): those of the first reply, of the second, ...

        The features are mean and maximum over a sentence's tokens of the states after the last
        layer but one, then of those after the last. Each sentence is read behind the post and the
        reply's sentences before it.
        """
        windows = list(self._windows(posts, responses))
        count = 1 + max((span[0] for w in windows for span in w.spans), default=-1)
        found = np.zeros((count, self.features), np.float32)
        order = sorted(range(len(windows)), key=lambda i: len(windows[i].tokens))
        for start in range(0, len(order), _ROWS_AT_ONCE):
            self._read([windows[i] for i in order[start : start + _ROWS_AT_ONCE]], found)
        return found

    def _read(self, windows: Sequence[_Window], found: Floats) -> None:
        """Write the vectors of some windows' sentences where they belong."""
        longest = max(len(window.tokens) for window in windows)
        padded = [[*w.tokens, *[0] * (longest - len(w.tokens))] for w in windows]
        # Attention looks back only, so padding behind a reply changes nothing in it.
        output = self._trunk(
            input_ids=torch.tensor(padded, device=self._trunk.device),
            output_hidden_states=True,
            use_cache=False,
        )
        before, last = output.hidden_states[-2].float(), output.last_hidden_state.float()
        for row, window in enumerate(windows):
            for number, first, end in window.spans:
                found[number] = _pooled(before[row, first:end], last[row, first:end])

    def _windows(self, posts: Sequence[str], responses: Sequence[str]) -> Iterator[_Window]:
        marks = self._tokenizer.convert_tokens_to_ids(
            ["<|start|>", "<|user|>", "<|end|>", "<|agent|>"]
        )
        start, user, end, agent = marks
        number = 0
        for post, response in zip(posts, responses, strict=True):
            opening = [start, user, *self._tokens(tidy(post))[:POST_TOKENS], end, agent]
            tokens: list[int] = []
            spans: list[tuple[int, int, int]] = []
            for piece in split_sentences(response):
                own = self._piece(piece, first=not tokens, empty=end)
                if spans and len(tokens) + len(own) > REPLY_TOKENS:
                    yield _Window([*opening, *tokens], spans)
                    tokens, spans = [], []
                    own = self._piece(piece, first=True, empty=end)
                first = len(opening) + len(tokens)
                spans.append((number, first, first + len(own)))
                tokens += own
                number += 1
            yield _Window([*opening, *tokens], spans)

    def _piece(self, text: str, *, first: bool, empty: int) -> list[int]:
        return self._tokens(("" if first else " ") + tidy(text))[:REPLY_TOKENS] or [empty]

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids


def _on(trunk: Any, shape: TrunkShape, device: str) -> Any:
    """Put a filled-in trunk on its device, with the turning angles that no checkpoint holds."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    trunk.rotary_emb = LlamaRotaryEmbedding(trunk.config)
    return trunk.to(device).eval()


def _pooled(before: Tensor, last: Tensor) -> Floats:
    """Two layers' states (token, width) of a sentence to its vector (4 · width,)."""
    views = (before.mean(0), before.amax(0), last.mean(0), last.amax(0))
    vector: Floats = torch.cat(views).cpu().numpy()
    return vector


def _stored(weights: Mapping[str, Floats]) -> Arrays:
    """Matrices as int8 with a scale a row, all else as float32."""
    stored: Arrays = {}
    for name, array in weights.items():
        if array.ndim != 2:
            stored[name] = array.astype(np.float32)
            continue
        scale = np.maximum(np.abs(array).max(axis=1, keepdims=True), 1e-12) / 127
        stored[name] = np.round(array / scale).astype(np.int8)
        stored[f"{name}.scale"] = scale.astype(np.float32)
    return stored
