"""Trains an EmotionPrefix for a causal language model, which stays frozen or learns with it.

The listener's turns of talks whose emotion is known are predicted behind virtual tokens of an
affect as a calibrated recogniser might report it: where it says seventy per cent it is right in
seventy of a hundred. A prefix so learns how far such a report can be trusted.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from dialogue.affect import FEELINGS, Feeling, Strength, UserAffect
from dialogue.conditioning import condition, short_note
from dialogue.conversation import Message
from dialogue.data import Talk
from dialogue.errors import InputError
from dialogue.prefix import EmotionPrefix, PrefixShape, fingerprint, turn_starts, weave

__all__ = ["Exercise", "PrefixRecipe", "PrefixRun", "draw_affect", "exercise", "train_prefix"]

CIRCUMPLEX: Final[Mapping[Feeling, tuple[float, float]]] = {
    "angry": (-0.43, 0.67), "disgusted": (-0.60, 0.35), "afraid": (-0.64, 0.60),
    "happy": (0.76, 0.48), "neutral": (0.0, 0.0), "sad": (-0.63, -0.27), "surprised": (0.40, 0.67),
}  # fmt: skip
"""(valence, arousal) of each feeling, the same that the recogniser derives its estimates from."""
_CONFIDENCE: Final[Mapping[Strength, tuple[float, float]]] = {
    "slightly": (0.35, 0.55), "clearly": (0.45, 0.8), "very": (0.6, 0.97),
}  # fmt: skip
"""Ranges that the reported confidence is drawn from, evenly."""
UNCLEAR_BELOW: Final = 0.5
"""Reported confidence under which a drawn affect has no label."""


@dataclass(frozen=True)
class PrefixRecipe:
    """Everything that decides a prefix, beside the data and its model.

    Attributes:
        tokens: Virtual tokens a turn.
        hidden: Width of the prefix's inner layer.
        together: Whether the language model learns as well; else it stays as it is to the bit.
        rate: Peak learning rate of the prefix (AdamW).
        model_rate: Of the language model, where it learns.
        batch_rows: Talks in a step.
        steps: Of the whole run.
        row_tokens: Longest talk; longer ones lose their beginning.
        warm_up_steps: Over which the rates rise; they then fall to zero as half a cosine.
        silent_share: Turns without an affect, as where a channel is switched off.
        noted_share: Talks that carry the bundled model's note as well.
        seed: Of first weights, order, and drawn affects.

    Raises:
        InputError: If a size is not positive or a share is out of [0, 1].
    """

    tokens: int = 4
    hidden: int = 64
    together: bool = False
    rate: float = 3e-3
    model_rate: float = 5e-5
    batch_rows: int = 16
    steps: int = 800
    row_tokens: int = 256
    warm_up_steps: int = 20
    silent_share: float = 0.1
    noted_share: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.batch_rows, self.steps, self.row_tokens) < 1:
            raise InputError(
                f"Expected rows, steps and tokens, got {self.batch_rows}, {self.steps} and "
                f"{self.row_tokens}."
            )
        if not (0 <= self.silent_share <= 1 and 0 <= self.noted_share <= 1):
            raise InputError(
                f"Expected shares in [0, 1], got {self.silent_share} and {self.noted_share}."
            )


def draw_affect(feeling: Feeling, strength: Strength, generator: torch.Generator) -> UserAffect:
    """Report a true feeling as a calibrated recogniser might, wrong as often as it says itself.

    Args:
        feeling: The true one.
        strength: How strongly it is meant.
        generator: Source of all randomness.
    """
    low, high = _CONFIDENCE[strength]
    confidence = low + (high - low) * _uniform(generator)
    others = [f for f in FEELINGS if f != feeling]
    wrong = others[int(_uniform(generator) * len(others))]
    top = feeling if _uniform(generator) < confidence else wrong
    weights = [-math.log(max(_uniform(generator), 1e-9)) for _ in others]  # flat Dirichlet
    shares = iter((1 - confidence) * weight / sum(weights) for weight in weights)
    probabilities = {f: confidence if f == top else next(shares) for f in FEELINGS}
    likeliest = max(probabilities, key=probabilities.__getitem__)
    sure = probabilities[likeliest]
    return UserAffect(
        label=likeliest if sure >= UNCLEAR_BELOW else None,
        probabilities=probabilities,
        confidence=sure,
        valence=sum(p * CIRCUMPLEX[f][0] for f, p in probabilities.items()),
        arousal=sum(p * CIRCUMPLEX[f][1] for f, p in probabilities.items()),
        channels=("face", "voice"),
        agreement=1.0,
    )


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


@dataclass(frozen=True)
class Exercise:
    """One talk to learn from.

    Attributes:
        ids: (position,) int64, virtual tokens with them.
        learned: (position,) bool: whether this token is to be predicted.
    """

    ids: Tensor
    learned: Tensor


def exercise(tokenizer: Any, messages: Sequence[Message], tokens: int) -> Exercise:
    """Write a talk as its chat template does, with virtual tokens, and mark what is answered.

    Args:
        tokenizer: With a chat template.
        messages: Ending with an answer; user turns carry their affects.
        tokens: Virtual tokens a turn; 0 leaves them out.
    """
    ids = _written(tokenizer, messages)
    learned = torch.zeros_like(ids, dtype=torch.bool)
    for index, message in enumerate(messages):
        if message.role == "assistant":
            begin = _same(_written(tokenizer, messages[:index], prompt=True), ids)
            learned[begin : _same(_written(tokenizer, messages[: index + 1]), ids)] = True
    asked = [message.affect for message in messages if message.role == "user"]
    starts = turn_starts(tokenizer, messages, ids)
    woven = weave(ids, starts, asked, tokens) if tokens else ids
    marks = torch.zeros_like(woven, dtype=torch.bool)
    marks[woven >= 0] = learned
    return Exercise(woven, marks)


def _written(tokenizer: Any, messages: Sequence[Message], *, prompt: bool = False) -> Tensor:
    written = tokenizer.apply_chat_template(
        [message.to_dict() for message in messages],
        add_generation_prompt=prompt,
        sanitize_control_tokens=True,
        return_dict=True,
        return_tensors="pt",
    )
    ids: Tensor = written["input_ids"][0]
    return ids


def _same(first: Tensor, second: Tensor) -> int:
    size = min(len(first), len(second))
    return int((first[:size] == second[:size]).long().cumprod(0).sum())


def loss_behind(prefix: EmotionPrefix | None, model: Any, rows: Sequence[Exercise]) -> Tensor:
    """Mean cross-entropy, in nats, of the marked tokens.

    Args:
        prefix: Embeds the virtual tokens; None where the rows have none.
        model: Any causal model of transformers.
        rows: Of any lengths.
    """
    device = model.get_input_embeddings().weight.device
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    there, learned = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = row.ids
        there[number, : len(row.ids)] = 1
        learned[number, : len(row.ids)] = row.learned
    ids, there, learned = ids.to(device), there.to(device), learned.to(device)
    words = model.get_input_embeddings()
    embedded = words(ids) if prefix is None else prefix.embed(words, ids)
    logits = model(inputs_embeds=embedded, attention_mask=there).logits[:, :-1]
    chosen = learned[:, 1:]
    return functional.cross_entropy(logits[chosen].float(), ids[:, 1:][chosen])


class PrefixRun:
    """One training run of a prefix: the step it is at, and what it learnt.

    Args:
        model: Any causal model of transformers; frozen here unless the recipe says together.
        tokenizer: Its own, with a chat template.
        talks: To learn from; those without a feeling are left out.
        valid: To measure on, likewise.
        recipe: How.
        folder: Where the checkpoint goes.

    Raises:
        InputError: If no talk has a feeling.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        talks: Sequence[Talk],
        valid: Sequence[Talk],
        recipe: PrefixRecipe,
        folder: Path,
    ) -> None:
        self.model = model.requires_grad_(recipe.together).eval()
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.folder = folder
        self.talks = [talk for talk in talks if _can_teach(talk)]
        self.valid = [talk for talk in valid if _can_teach(talk)]
        if not self.talks:
            raise InputError(f"Expected talks with a feeling, got {len(talks)} without.")
        self.prefix = _new_prefix(model, recipe)
        self.optimizer = torch.optim.AdamW(self._groups(), weight_decay=0.0)
        self._model_before = fingerprint(model)
        self._exercises: dict[int, Exercise] = {}
        self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []

    def _groups(self) -> list[dict[str, Any]]:
        groups = [{"params": list(self.prefix.parameters()), "peak": self.recipe.rate}]
        if self.recipe.together:
            groups.append({"params": list(self.model.parameters()), "peak": self.recipe.model_rate})
        return groups

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "prefix_run.safetensors"

    @property
    def is_begun(self) -> bool:
        """Whether the folder holds a checkpoint."""
        return self._checkpoint.is_file()

    def advance(self) -> float:
        """Take one step and return its loss in nats a token."""
        begun = time.monotonic()
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        drawn = torch.randint(len(self.talks), (self.recipe.batch_rows,), generator=generator)
        loss = loss_behind(self.prefix, self.model, [self._row(i) for i in drawn.tolist()])
        loss.backward()  # type: ignore[no-untyped-call]
        learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(learning, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * _share(self.step, self.recipe)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.seconds += time.monotonic() - begun
        return float(loss.detach())

    def _row(self, index: int) -> Exercise:
        if index not in self._exercises:
            self._exercises[index] = self._exercise(self.talks[index], index)
        return self._exercises[index]

    def _exercise(self, talk: Talk, number: int) -> Exercise:
        generator = torch.Generator().manual_seed(self.recipe.seed * 7_000_003 + number)
        messages = felt_messages(talk, self.recipe.silent_share, generator)
        if _uniform(generator) < self.recipe.noted_share:
            messages = condition(messages, write=short_note)
        whole = exercise(self.tokenizer, messages, self.recipe.tokens)
        kept = slice(-self.recipe.row_tokens, None)
        return Exercise(whole.ids[kept], whole.learned[kept])

    @torch.no_grad()
    def validation_loss(self, most_talks: int = 64) -> float:
        """Nats a token of the human answers in the validation talks; nan where there are none."""
        rows = [self._exercise(talk, -1 - n) for n, talk in enumerate(self.valid[:most_talks])]
        batches = [rows[i : i + 16] for i in range(0, len(rows), 16)]
        weights = [sum(int(row.learned.sum()) for row in batch) for batch in batches]
        losses = [float(loss_behind(self.prefix, self.model, batch)) for batch in batches]
        total = sum(loss * weight for loss, weight in zip(losses, weights, strict=True))
        return total / sum(weights) if weights else math.nan

    def save(self) -> None:
        """Write a checkpoint; the one before stays whole until this one is."""
        tensors = {f"prefix.{n}": t.detach() for n, t in self.prefix.named_parameters()}
        if self.recipe.together:
            tensors |= {f"model.{n}": t.detach() for n, t in self.model.named_parameters()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        facts = {"step": self.step, "seconds": self.seconds, "curve": self.curve}
        facts |= {"recipe": asdict(self.recipe), "model": self._model_before}
        partial = self.folder / "prefix_run.partial"
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(whole, partial, {"run": json.dumps(facts)})
        partial.replace(self._checkpoint)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint; False where there is none.

        Raises:
            InputError: If the checkpoint belongs to another recipe or another model.
        """
        if not self.is_begun:
            return False
        with safe_open(self._checkpoint, "pt") as file:
            facts = json.loads(file.metadata()["run"])
        if (facts["recipe"], facts["model"]) != (asdict(self.recipe), self._model_before):
            raise InputError(
                f"Expected a run of this recipe and model in {self._checkpoint}, got another's."
            )
        self.step, self.seconds, self.curve = facts["step"], facts["seconds"], facts["curve"]
        self._load(load_file(self._checkpoint))
        return True

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for kind, module in (("prefix", self.prefix), ("model", self.model)):
                for name, parameter in module.named_parameters():
                    if f"{kind}.{name}" in tensors:
                        parameter.copy_(tensors[f"{kind}.{name}"])
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                index, key = rest.split(".")
                states.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})

    def export(self, folder: Path) -> None:
        """Write the prefix, and the model with it where it learnt as well."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.recipe.together:
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        self.prefix.save(folder, self.model)


def _can_teach(talk: Talk) -> bool:
    answered = any(not a and b for (a, _), (b, _) in pairwise(talk.turns))
    return talk.feeling is not None and answered


def _new_prefix(model: Any, recipe: PrefixRecipe) -> EmotionPrefix:
    words = model.get_input_embeddings().weight.detach()
    shape = PrefixShape(words.shape[1], recipe.tokens, recipe.hidden)
    generator = torch.Generator().manual_seed(recipe.seed)
    prefix = EmotionPrefix(shape, float(words.float().square().mean().sqrt()), generator)
    return prefix.to(words.device)


def _share(step: int, recipe: PrefixRecipe) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then half a cosine to zero."""
    if step < recipe.warm_up_steps:
        return (step + 1) / recipe.warm_up_steps
    gone = (step - recipe.warm_up_steps) / max(1, recipe.steps - recipe.warm_up_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, gone)))


def felt_messages(talk: Talk, silent_share: float, generator: torch.Generator) -> list[Message]:
    """Write a talk as messages; what the teller says carries a drawn affect.

    Args:
        talk: With a feeling.
        silent_share: Turns of the teller without an affect.
        generator: Source of all randomness.
    """
    turns = list(talk.turns)
    while turns and not turns[-1][0]:
        turns.pop()  # nobody answers it
    while turns and turns[0][0]:
        turns.pop(0)  # templates want the user to begin
    messages = [Message("assistant" if listens else "user", text) for listens, text in turns]
    if talk.feeling is None:
        return messages
    drawn = [
        (draw_affect(*talk.feeling, generator), _uniform(generator) < silent_share)
        for _ in messages
    ]
    return [
        replace(m, affect=affect) if m.role == "user" and not silent else m
        for m, (affect, silent) in zip(messages, drawn, strict=True)
    ]


def train_prefix(
    run: PrefixRun,
    *,
    save_every_s: float = 120.0,
    validate_every: int = 100,
    until_step: int | None = None,
    progress: Callable[[PrefixRun, float], None] | None = None,
) -> None:
    """Go on with a run to its end, saving and validating on the way.

    Args:
        run: At any step.
        save_every_s: Seconds between checkpoints.
        validate_every: Steps between validations, each a point of `run.curve`.
        until_step: Stop there, as a kill would, but saved.
        progress: Called after each step with the run and its loss.
    """
    last = run.recipe.steps if until_step is None else min(until_step, run.recipe.steps)
    saved = time.monotonic()
    while run.step < last:
        loss = run.advance()
        if run.step % validate_every == 0 or run.step == run.recipe.steps:
            run.curve.append({"step": run.step, "valid_loss": round(run.validation_loss(), 4)})
        if time.monotonic() - saved > save_every_s:
            run.save()
            saved = time.monotonic()
        if progress is not None:
            progress(run, loss)
    run.save()
