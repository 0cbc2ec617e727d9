"""Trains the bundled language model: tokenizer, token rows, and one run that can be resumed.

Stage 1 reads talk of every kind and learns every word of it; stage 2 reads people who listen,
beside the note of how the other seems to feel, and learns the listener's words alone. The learning
rate warms up, stays, and falls to zero over stage 2 (WSD, Hu et al. 2024, arXiv:2404.06395).
Matrices are trained by Muon (Jordan et al. 2024), all else by AdamW.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dialogue.data import (
    SOURCES,
    Encoded,
    Rows,
    Source,
    Talk,
    annotate,
    encode_talk,
    is_held_out,
    pack,
    read_held_out,
    read_source,
    windows,
)
from dialogue.errors import CorpusError, InputError
from dialogue.learning import (
    optimizers_of,
    read_checkpoint,
    read_facts,
    set_rates,
    write_checkpoint,
)
from dialogue.models.bundled import BundledDecoding

__all__ = [
    "CHAT_TEMPLATE",
    "SPECIAL_TOKENS",
    "ModelShape",
    "Recipe",
    "Run",
    "build_model",
    "build_tokenizer",
    "export",
    "prepare",
]

SPECIAL_TOKENS: Final = ("<|pad|>", "<|start|>", "<|user|>", "<|agent|>", "<|end|>")

CHAT_TEMPLATE: Final = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}<|end|>"
    "{% elif message['role'] == 'assistant' %}<|agent|>{{ message['content'] }}<|end|>"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|agent|>{% endif %}"
)
"""System messages are left out: the bundled model was never told anything by one."""


@dataclass(frozen=True)
class ModelShape:
    """Size of the language model, a Llama with tied embeddings.

    Raises:
        InputError: If the heads do not divide the width.
    """

    vocabulary: int = 6144
    width: int = 256
    layers: int = 5
    heads: int = 4
    feed_forward: int = 704
    positions: int = 512

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise InputError(f"Expected heads that divide {self.width}, got {self.heads}.")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the data.

    Attributes:
        shape: Of the model.
        row_tokens: Length of a row.
        batch_rows: Rows in a step.
        matrix_rate: Peak learning rate of Muon.
        other_rate: Peak learning rate of AdamW.
        weight_decay: Of both, decoupled.
        warm_up_steps: Over which the rates rise linearly.
        general_rows: Most rows of stage 1; all where None.
        rehearsal: Rows of stage 1 mixed into stage 2, as a share of its own.
        seed: Of initial weights, order, and notes.

    Raises:
        InputError: If a size is not positive or a rate is out of range.
    """

    shape: ModelShape = ModelShape()
    row_tokens: int = 256
    batch_rows: int = 16
    matrix_rate: float = 0.02
    other_rate: float = 0.004
    weight_decay: float = 0.05
    warm_up_steps: int = 60
    general_rows: int | None = None
    rehearsal: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.row_tokens, self.batch_rows) < 1:
            raise InputError(f"Expected rows, got {self.batch_rows} of {self.row_tokens} tokens.")
        if not 0 <= self.rehearsal < 1:
            raise InputError(f"Expected a share of rehearsal in [0, 1), got {self.rehearsal}.")


# ---------------------------------------------------------------------------------- preparation


def build_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE (Sennrich et al. 2016) that keeps case and can write any text."""
    from tokenizers import ByteLevelBPETokenizer

    learner = ByteLevelBPETokenizer()
    learner.train_from_iterator(
        texts, vocabulary, 2, show_progress=False, special_tokens=list(SPECIAL_TOKENS)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=learner._tokenizer,
        bos_token="<|start|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|user|>", "<|agent|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True)
class Prepared:
    """What a run learns from.

    Attributes:
        tokenizer: Learnt from the same talks.
        general: Stage 1, in the order it is learnt.
        listening: Stage 2, likewise.
        valid: EmpatheticDialogues' validation part, the listener's turns marked.
    """

    tokenizer: PreTrainedTokenizerFast
    general: Rows
    listening: Rows
    valid: Rows


def prepare(
    data: Path, cache: Path, recipe: Recipe, sources: tuple[Source, ...] = SOURCES
) -> Prepared:
    """Read the corpora, learn the tokenizer and pack the rows, or load them from the cache.

    Raises:
        CorpusError: If a corpus is missing, or nothing of it may be trained on.
    """
    decisive = (recipe.shape.vocabulary, recipe.row_tokens, recipe.rehearsal, recipe.seed)
    folder = cache / _fingerprint([decisive, [asdict(source) for source in sources]])
    if not (folder / "prepared.json").is_file():
        _write_prepared(folder, _prepare(data, recipe, sources))
    return _read_prepared(folder)


def _prepare(data: Path, recipe: Recipe, sources: tuple[Source, ...]) -> Prepared:
    held_out = read_held_out(data, sources)
    talks: list[tuple[Source, list[Talk]]] = []
    for source in tqdm(sources, desc="reading", unit="corpus"):
        kept = [t for t in read_source(data, source, "train") if not is_held_out(t, held_out)]
        talks.append((source, kept))
    if not any(kept for _, kept in talks):
        raise CorpusError(f"Expected talks to train on in {data}, got none.")
    tokenizer = build_tokenizer(_texts(talks, recipe.seed), recipe.shape.vocabulary)
    packer = _Packer(tokenizer, recipe)
    general = packer.pack([t for _, kept in talks for t in kept], listener_only=False)
    listening = _listening(packer, talks, general, recipe)
    valid = [t for s in sources if s.stage == 2 for t in read_source(data, s, "valid")]
    return Prepared(tokenizer, general, listening, packer.pack(valid, listener_only=True))


def _texts(talks: Iterable[tuple[Source, list[Talk]]], seed: int) -> Iterator[str]:
    random_ = random.Random(seed)
    for _, kept in talks:
        for talk in kept:
            yield from (text for _, text in annotate(talk, random_))


class _Packer:
    """Turns talks into shuffled rows; each call uses up randomness of its own."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.random = random.Random(recipe.seed + 1)

    def pack(self, talks: list[Talk], *, listener_only: bool) -> Rows:
        shuffled = self.random.sample(talks, len(talks))
        encoded = (
            self._encode(t, listener_only)
            for t in tqdm(shuffled, desc="packing", unit="talk", mininterval=2)
        )
        rows = pack(
            (piece for pieces in encoded for piece in pieces),
            self.recipe.row_tokens,
            self.tokenizer.pad_token_id,
        )
        order = np.array(self.random.sample(range(len(rows)), len(rows)), np.int64)
        return Rows(rows.tokens[order], rows.learned[order])

    def _encode(self, talk: Talk, listener_only: bool) -> list[Encoded]:
        pieces = windows(annotate(talk, self.random), self.recipe.row_tokens * 6 // 10)
        return [encode_talk(p, self.tokenizer, listener_only=listener_only) for p in pieces]


def _listening(
    packer: _Packer, talks: list[tuple[Source, list[Talk]]], general: Rows, recipe: Recipe
) -> Rows:
    passes = max((source.passes for source, _ in talks if source.stage == 2), default=0)
    rounds: list[Rows] = []
    for number in range(passes):
        heard = [t for s, kept in talks if s.stage == 2 and s.passes > number for t in kept]
        rows = packer.pack(heard, listener_only=True)
        again = packer.random.sample(
            range(len(general)), min(len(general), round(recipe.rehearsal * len(rows)))
        )
        mixed = _joined([rows, Rows(general.tokens[again], general.learned[again])])
        order = np.array(packer.random.sample(range(len(mixed)), len(mixed)), np.int64)
        rounds.append(Rows(mixed.tokens[order], mixed.learned[order]))
    return _joined(rounds) if rounds else Rows(general.tokens[:0], general.learned[:0])


def _joined(parts: list[Rows]) -> Rows:
    return Rows(
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.learned for part in parts]),
    )


_ROWS: Final = ("general", "listening", "valid")


def _write_prepared(folder: Path, prepared: Prepared) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    prepared.tokenizer.save_pretrained(folder)
    for name in _ROWS:
        rows: Rows = getattr(prepared, name)
        np.save(folder / f"{name}.tokens.npy", rows.tokens)
        np.save(folder / f"{name}.learned.npy", rows.learned)
    facts = {name: len(getattr(prepared, name)) for name in _ROWS}
    (folder / "prepared.json").write_text(json.dumps(facts))  # last: its presence means complete


def _read_prepared(folder: Path) -> Prepared:
    general, listening, valid = (
        Rows(np.load(folder / f"{name}.tokens.npy"), np.load(folder / f"{name}.learned.npy"))
        for name in _ROWS
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    return Prepared(tokenizer, general, listening, valid)


def _fingerprint(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


# --------------------------------------------------------------------------------- the model


def build_model(
    shape: ModelShape, tokenizer: PreTrainedTokenizerFast, seed: int
) -> LlamaForCausalLM:
    """Make the untrained model; the caller's global random state stays as it was."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def loss_of(model: LlamaForCausalLM, tokens: Tensor, learned: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of the tokens that are to be predicted.

    Args:
        model: Any causal model of transformers with a `model` trunk and an `lm_head`.
        tokens: (row, position) int64.
        learned: (row, position) bool; the first position never counts.
    """
    hidden = model.model(input_ids=tokens[:, :-1]).last_hidden_state
    chosen = learned[:, 1:]
    # Logits of unlearnt positions are never made: half of the output layer's cost in stage 2.
    logits = model.lm_head(hidden[chosen]).float()
    return functional.cross_entropy(logits, tokens[:, 1:][chosen])


def rate_at(step: int, steps: int, decay_from: int, warm_up_steps: int) -> float:
    """Share of the peak learning rate at a step: warm-up, stable, linear decay to zero.

    >>> [rate_at(step, 100, 50, 10) for step in (0, 9, 30, 75, 100)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warm_up_steps:
        return (step + 1) / warm_up_steps
    return 1.0 if step < decay_from else (steps - step) / max(1, steps - decay_from)


# ----------------------------------------------------------------------------------- the run


class Run:
    """One training run: model, optimizers, and the step it is at.

    Args:
        prepared: What to learn.
        recipe: How.
        folder: Where checkpoints go.
        device: A torch device.
    """

    def __init__(
        self, prepared: Prepared, recipe: Recipe, folder: Path, device: str = "cpu"
    ) -> None:
        self.prepared = prepared
        self.recipe = recipe
        self.folder = folder
        self.device = torch.device(device)
        self.model = build_model(recipe.shape, prepared.tokenizer, recipe.seed).to(self.device)
        self.optimizers = optimizers_of(
            self.model, recipe.matrix_rate, recipe.other_rate, recipe.weight_decay
        )
        general = prepared.general
        kept = Rows(general.tokens[: recipe.general_rows], general.learned[: recipe.general_rows])
        self.rows = _joined([kept, prepared.listening])
        self.decay_from = len(kept) // recipe.batch_rows
        self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return math.ceil(len(self.rows) / self.recipe.batch_rows)

    @property
    def is_begun(self) -> bool:
        """Whether the folder holds a checkpoint."""
        return self._checkpoint.is_file()

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "run.safetensors"

    def advance(self) -> float:
        """Take one step and return its loss in nats a token."""
        rows = self.recipe.batch_rows
        part = slice(self.step * rows, (self.step + 1) * rows)
        loss = self._loss(self.rows, part)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        share = rate_at(self.step, self.steps, self.decay_from, self.recipe.warm_up_steps)
        set_rates(self.optimizers, share)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return float(loss.detach())

    def _loss(self, rows: Rows, part: slice) -> Tensor:
        """Mean loss of some rows, a scalar ()."""
        tokens = torch.from_numpy(rows.tokens[part].astype(np.int64)).to(self.device)
        learned = torch.from_numpy(np.array(rows.learned[part])).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            return loss_of(self.model, tokens, learned)

    def validate(self) -> dict[str, float]:
        """Losses on the validation part, and the tokens read so far; see `Learner.validate`."""
        tokens = self.step * self.recipe.batch_rows * self.recipe.row_tokens
        return {"tokens": tokens, "valid_loss": self.validation_loss()}

    @torch.no_grad()
    def validation_loss(self, most_rows: int = 96) -> float:
        """Nats a token of the human replies in the validation part, over its first rows."""
        total = count = 0.0
        rows = self.prepared.valid
        for first in range(0, min(most_rows, len(rows)), 16):
            part = slice(first, min(first + 16, most_rows))
            weight = float(rows.learned[part, 1:].sum())
            total += float(self._loss(rows, part)) * weight
            count += weight
        return total / max(count, 1.0)

    def save(self) -> None:
        """Write a checkpoint; the one before stays whole until this one is."""
        facts = {"recipe": asdict(self.recipe)}
        write_checkpoint(self._checkpoint, self, {"model": self.model}, self.optimizers, facts)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint; False where there is none.

        Raises:
            InputError: If the checkpoint belongs to another recipe.
        """
        if not self.is_begun:
            return False
        path = self._checkpoint
        if read_facts(path)["recipe"] != asdict(self.recipe):
            raise InputError(f"Expected a run of this recipe in {path}, got another recipe's.")
        read_checkpoint(path, self, {"model": self.model}, self.optimizers)
        return True


def export(run: Run, folder: Path) -> None:
    """Write the model as transformers reads it: float16 weights, tokenizer, decoding settings."""
    folder.mkdir(parents=True, exist_ok=True)
    model = build_model(run.recipe.shape, run.prepared.tokenizer, run.recipe.seed)
    model.load_state_dict(run.model.state_dict())
    drawn = BundledDecoding()  # for those who use the folder without this package
    model.generation_config.update(
        do_sample=True,
        temperature=drawn.temperature,
        top_p=drawn.top_p,
        top_k=drawn.top_k,
        max_new_tokens=drawn.most_tokens,
    )
    model.half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written as 600, which no installer would share
    run.prepared.tokenizer.save_pretrained(folder)
