"""EmotionPrefix: how a person seems to feel, as a few token embeddings that no word has.

A learned soft prompt (Li & Liang 2021, arXiv:2101.00190; Lester et al. 2021, arXiv:2104.08691) that
depends on its input: probabilities, valence, arousal and confidence of an affect become a few
virtual tokens in front of the turn they belong to, for any causal model of transformers.

A virtual token is written into a row of token ids as a negative number that holds its affect. So
rows can be compared, cut and cached as ever, and what was read of earlier turns stays valid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dialogue.affect import FEELINGS, UserAffect
from dialogue.conversation import Message
from dialogue.errors import InputError, ModelError

__all__ = [
    "FEATURES",
    "EmotionPrefix",
    "PrefixShape",
    "features_of",
    "fingerprint",
    "has_prefix",
    "turn_starts",
    "weave",
]

FEATURES: Final = (*FEELINGS, "valence", "arousal", "confidence")
"""What a prefix is computed from, in order."""
_LEVELS: Final = 4095
"""Steps of a feature between -1 and 1: an id of 63 bits holds five of twelve bits each."""
_BITS: Final = 12
_SAMPLED: Final = 256
"""Values of each weight that enter a fingerprint."""


@dataclass(frozen=True)
class PrefixShape:
    """Size of a prefix.

    Attributes:
        width: Of the model's token embeddings.
        tokens: Virtual tokens a turn; at least two, which hold the affect between them.
        hidden: Width of the layer between.

    Raises:
        InputError: If a size is too small.
    """

    width: int
    tokens: int = 4
    hidden: int = 64

    def __post_init__(self) -> None:
        if self.tokens < 2:
            raise InputError(f"Expected at least 2 virtual tokens, got {self.tokens}.")
        if min(self.width, self.hidden) < 1:
            raise InputError(f"Expected widths from 1 on, got {self.width} and {self.hidden}.")


class EmotionPrefix(nn.Module):
    """Turns an affect into virtual token embeddings.

    Args:
        shape: Its size.
        scale: Root mean square of the model's own token embeddings, which those of the prefix have
            before they are trained.
        generator: Draws the first weights; None leaves them zero, to be loaded.
    """

    def __init__(
        self, shape: PrefixShape, scale: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.shape = shape
        sizes = (len(FEATURES), shape.hidden, shape.tokens * shape.width)
        with torch.device("meta"):  # draws nothing from the process's own generator
            self.inner = nn.Linear(sizes[0], sizes[1])
            self.outer = nn.Linear(sizes[1], sizes[2])
        self.to_empty(device="cpu")
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        if generator is not None:
            nn.init.normal_(self.inner.weight, std=sizes[0] ** -0.5, generator=generator)
            nn.init.normal_(self.outer.weight, std=scale * sizes[1] ** -0.5, generator=generator)
            nn.init.normal_(self.outer.bias, std=scale, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Compute the embeddings.

        Args:
            features: (turn, feature) in [-1, 1], in the order of FEATURES.

        Returns:
            (turn, virtual token, width).
        """
        flat: Tensor = self.outer(nn.functional.gelu(self.inner(features)))
        return flat.reshape(-1, self.shape.tokens, self.shape.width)

    def embed(self, embedding: nn.Module, ids: Tensor) -> Tensor:
        """Look rows of token ids up, with virtual tokens among them.

        Args:
            embedding: The model's own, `model.get_input_embeddings()`.
            ids: (row, position) int64 as `weave` writes them; virtual tokens that lost a part of
                their turn's, at the beginning of a row, stand for nothing known.

        Returns:
            (row, position, width), in the embedding's own kind of numbers.
        """
        words: Tensor = embedding(ids.clamp(min=0))
        virtual = ids < 0
        if not virtual.any():
            return words
        places = _places(virtual, self.shape.tokens)
        features, there = _unpack(ids, places, self.shape.tokens)
        rows, positions = virtual.nonzero(as_tuple=True)
        own = self(features.to(self.outer.weight))[torch.arange(len(there)), places[virtual]]
        own = own * there[:, None]
        return words.index_put((rows, positions), own.to(words))

    def save(self, folder: Path, model: Any) -> None:
        """Write `prefix.safetensors`, and `prefix.json` with the fingerprint of its model."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.detach().float().cpu() for name, t in self.state_dict().items()}
        save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "prefix.safetensors")
        (folder / "prefix.safetensors").chmod(0o644)
        facts = {
            "shape": asdict(self.shape),
            "features": FEATURES,
            "fingerprint": fingerprint(model),
        }
        (folder / "prefix.json").write_text(json.dumps(facts, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path, model: Any) -> EmotionPrefix:
        """Read a prefix for the model it was trained for.

        Raises:
            ModelError: If the folder has none, it is damaged, or it was trained for another model.
        """
        if not has_prefix(folder):
            raise ModelError(
                f"Expected a trained prefix in {folder}, got none; "
                f"`attune train-dialogue --prefix-only --model {folder}` trains one."
            )
        try:
            facts = json.loads((folder / "prefix.json").read_text())
            prefix = cls(PrefixShape(**facts["shape"]))
            known = tuple(facts["features"]) == FEATURES
            prefix.load_state_dict(load_file(folder / "prefix.safetensors"))
        except Exception as error:  # damaged files raise what their reader likes
            raise ModelError(f"Expected a whole prefix in {folder}, got {error!r}.") from error
        got = fingerprint(model)
        if not known or facts["fingerprint"] != got:
            raise ModelError(
                f"Expected the prefix in {folder} with its own model "
                f"{facts['fingerprint'][:12]}, got {got[:12]}."
            )
        return prefix.to(model.get_input_embeddings().weight.device).eval()


def has_prefix(folder: Path) -> bool:
    """Whether a folder holds a trained prefix."""
    return (folder / "prefix.json").is_file() and (folder / "prefix.safetensors").is_file()


def features_of(affect: UserAffect) -> list[float]:
    """Write an affect as numbers in [-1, 1], in the order of FEATURES.

    Where no probabilities are known the label has its confidence, and the others share the rest.

    >>> features_of(UserAffect("happy", confidence=0.4, valence=0.3))[3:9]
    [0.4, 0.1, 0.1, 0.1, 0.3, 0.0]
    """
    known = affect.probabilities or _spread(affect)
    probabilities = [known.get(feeling, 0.0) for feeling in FEELINGS]
    return [*probabilities, affect.valence, affect.arousal, affect.confidence]


def _spread(affect: UserAffect) -> dict[str, float]:
    if affect.label is None:
        return dict.fromkeys(FEELINGS, 1 / len(FEELINGS))
    rest = round((1 - affect.confidence) / (len(FEELINGS) - 1), 12)
    return {f: affect.confidence if f == affect.label else rest for f in FEELINGS}


def fingerprint(model: Any) -> str:
    """Return a sha256 over names, shapes and evenly spaced values of a model's weights.

    Values are taken as bfloat16, so that a model loaded in float32 has the fingerprint of the same
    one in bfloat16. Weights changed by quantisation are another model.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        if not isinstance(weight, Tensor) or not weight.is_floating_point():
            continue
        flat = weight.detach().reshape(-1)
        sampled = flat[:: max(1, flat.numel() // _SAMPLED)].to(torch.bfloat16).cpu()
        digest.update(f"{name}{tuple(weight.shape)}".encode())
        digest.update(sampled.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


# --------------------------------------------------------------------------------- rows of ids


def weave(
    ids: Tensor, starts: Sequence[int], affects: Sequence[UserAffect | None], tokens: int
) -> Tensor:
    """Write virtual tokens into a talk, in front of the turns that have an affect.

    Args:
        ids: (token,) int64.
        starts: Where each turn begins, rising.
        affects: Of each of these turns; None where nothing is known, which leaves it as it is.
        tokens: Virtual tokens a turn.

    Returns:
        (position,) int64.
    """
    pieces: list[Tensor] = []
    done = 0
    for start, affect in zip(starts, affects, strict=True):
        if affect is None:
            continue
        pieces += [ids[done:start], torch.tensor(_pack(features_of(affect), tokens)).to(ids)]
        done = start
    return torch.cat([*pieces, ids[done:]])


def _pack(features: Sequence[float], tokens: int) -> list[int]:
    """Write features as negative ids, one a virtual token."""
    share = ceil(len(features) / tokens)
    levels = [round((min(1.0, max(-1.0, value)) + 1) / 2 * _LEVELS) for value in features]
    groups = [levels[i * share : (i + 1) * share] for i in range(tokens)]
    return [-1 - sum(v << _BITS * i for i, v in enumerate(group)) for group in groups]


def _places(virtual: Tensor, tokens: int) -> Tensor:
    """Say which of its turn's virtual tokens each is, (row, position); counted from its run's end.

    A run's end is whole whatever a row lost at its beginning.
    """
    after = torch.zeros_like(virtual[:, :1], dtype=torch.long)
    places = torch.zeros_like(virtual, dtype=torch.long)
    for position in range(virtual.shape[1] - 1, -1, -1):
        after = (after + 1) * virtual[:, position : position + 1]
        places[:, position : position + 1] = (-after) % tokens
    return places


def _unpack(ids: Tensor, places: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Read the features of each virtual token's turn.

    Args:
        ids: (row, position).
        places: (row, position), see `_places`.
        tokens: Virtual tokens a turn.

    Returns:
        (virtual token, feature), and (virtual token,) bool: whether all of its turn's are there.
    """
    rows, positions = (ids < 0).nonzero(as_tuple=True)
    first = positions - places[rows, positions]
    there = first >= 0
    run = (first.clamp(min=0)[:, None] + torch.arange(tokens, device=ids.device)).clamp(
        max=ids.shape[1] - 1
    )
    packed = -1 - ids[rows[:, None], run]
    share = ceil(len(FEATURES) / tokens)
    shifts = _BITS * torch.arange(share, device=ids.device)
    levels = (packed[..., None] >> shifts) & _LEVELS
    features = levels.flatten(1)[:, : len(FEATURES)] / _LEVELS * 2 - 1
    return features, there


def turn_starts(tokenizer: Any, messages: Sequence[Message], ids: Tensor) -> list[int]:
    """Find where each user turn begins in a talk that a chat template wrote.

    A turn begins where the talk without it, and all after it, ends; so a template needs no marks of
    its own. What stands before the first turn, such as a start token, stays in front of it.

    Args:
        tokenizer: With a chat template.
        messages: The talk.
        ids: (token,) as its template wrote them.

    Returns:
        A position for each of the user's messages, in order of time.
    """
    asked = [index for index, message in enumerate(messages) if message.role == "user"]
    return [_start(tokenizer, messages[:index], ids) for index in asked]


def _start(tokenizer: Any, before: Sequence[Message], ids: Tensor) -> int:
    opening = int(bool(len(ids)) and ids[0].item() == tokenizer.bos_token_id)
    if not before:
        return opening
    options = {"sanitize_control_tokens": True, "return_dict": True, "return_tensors": "pt"}
    try:
        talk = [message.to_dict() for message in before]
        written = tokenizer.apply_chat_template(talk, **options)["input_ids"][0]
    except Exception:  # a template that refuses a talk without an answer
        return opening
    size = min(len(written), len(ids))
    same = (written[:size] == ids[:size]).long().cumprod(0).sum()
    return int(same)
