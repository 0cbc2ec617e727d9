"""Trains an EmotionPrefix for a causal language model, which stays frozen or learns with it.

Virtual tokens tell of an affect as a calibrated recogniser might report it: where it says seventy
per cent it is right in seventy of a hundred. They are taught in one of two ways. By the talks: the
listener's turns are predicted behind them. By the note: behind them the model is to predict what it
predicts, as it was before, behind a note of one feeling, drawn as often as the report says; so it
learns to weigh what it would say to each (context distillation: Snell, Klein & Zhong 2022,
arXiv:2209.15189; into few tokens: Mu, Li & Goodman 2023, arXiv:2304.08467). That tells the prefix
far more a talk than which word a person happened to choose, and a model that learns with it keeps
what it knew. Such a model also meets talks where the affect is noted in words, noted and prefixed,
and not told at all, and so is good at each of them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from dialogue.affect import FEELINGS, Feeling, Strength, UserAffect
from dialogue.conditioning import condition, short_note
from dialogue.conversation import Message
from dialogue.data import Felt, Talk, windows
from dialogue.errors import InputError
from dialogue.learning import (
    optimizers_of,
    read_checkpoint,
    read_facts,
    set_rates,
    write_checkpoint,
)
from dialogue.prefix import (
    EmotionPrefix,
    PrefixShape,
    fingerprint,
    turn_starts,
    weave,
)
from dialogue.text import bare

__all__ = [
    "ARMS",
    "FROZEN",
    "TOGETHER",
    "Exercise",
    "Heard",
    "PrefixRecipe",
    "PrefixRun",
    "affect_of",
    "digest",
    "draw_affect",
    "exercise",
]

CIRCUMPLEX: Final[Mapping[Feeling, tuple[float, float]]] = {
    "angry": (-0.43, 0.67), "disgusted": (-0.60, 0.35), "afraid": (-0.64, 0.60),
    "happy": (0.76, 0.48), "neutral": (0.0, 0.0), "sad": (-0.63, -0.27), "surprised": (0.40, 0.67),
}  # fmt: skip
"""(valence, arousal) of each feeling, the same that the recogniser derives its estimates from."""
_CONFIDENCE: Final[Mapping[Strength, tuple[float, float]]] = {
    "slightly": (0.4, 0.7), "clearly": (0.55, 0.9), "very": (0.7, 0.99),
}  # fmt: skip
"""Ranges that the reported confidence is drawn from, evenly."""
TOLD_CONFIDENCE: Final[Mapping[Strength, float]] = {"slightly": 0.4, "clearly": 0.65, "very": 0.9}
"""In the midst of what `UserAffect.strength` calls so."""
UNCLEAR_BELOW: Final = 0.5
"""Reported confidence under which a drawn affect has no label."""


ARMS: Final[Mapping[str, tuple[bool, bool]]] = {
    "none": (False, False),
    "note": (True, False),
    "prefix": (False, True),
    "both": (True, True),
}
"""How an affect is told: (in a note?, in a prefix?)."""

Teacher = Literal["talks", "note"]

Heard = Mapping[str, Sequence[float]]
"""`digest` of what was said → probability of each feeling, as a recogniser read these words."""


@dataclass(frozen=True)
class PrefixRecipe:
    """Everything that decides a prefix, beside the data and its model.

    Attributes:
        tokens: Virtual tokens a turn.
        hidden: Width of the prefix's inner layer.
        together: Whether the language model learns as well; else it stays as it is to the bit.
        rate: Peak learning rate of the prefix (AdamW).
        matrix_rate: Of the language model's matrices (Muon), where it learns.
        other_rate: Of all else in it (AdamW).
        batch_rows: Talks in a step.
        steps: Of the whole run.
        row_tokens: Longest talk; longer ones are cut between turns.
        warm_up_steps: Over which the rates rise; they then fall to zero as half a cosine.
        arms: How talks tell an affect, each as often as it stands here.
        taught_by: "talks" or "note".
        silent_share: Turns without an affect, as where a channel is switched off.
        told_share: Talks with an annotated feeling whose affects say it as it is, without
            probabilities, as where a person or a program tells it.
        heard_share: Those whose affects are what was heard in the words, where that is known; talks
            without a feeling have no other. In the rest affects are drawn by `draw_affect`.
        seed: Of first weights, order, and drawn affects.

    Raises:
        InputError: If a size is not positive, a share is out of [0, 1], or an arm is unknown.
    """

    tokens: int = 4
    hidden: int = 64
    together: bool = False
    rate: float = 5e-3
    matrix_rate: float = 3e-3
    other_rate: float = 6e-4
    batch_rows: int = 16
    steps: int = 800
    row_tokens: int = 256
    warm_up_steps: int = 20
    arms: tuple[str, ...] = ("prefix",)
    taught_by: Teacher = "note"
    silent_share: float = 0.1
    told_share: float = 0.4
    heard_share: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.batch_rows, self.steps, self.row_tokens) < 1:
            raise InputError(
                f"Expected rows, steps and tokens, got {self.batch_rows}, {self.steps} and "
                f"{self.row_tokens}."
            )
        shares = (self.silent_share, self.told_share, self.heard_share)
        if min(shares) < 0 or max(self.silent_share, self.told_share + self.heard_share) > 1:
            raise InputError(f"Expected shares in [0, 1], also together, got {shares}.")
        if not self.arms or not set(self.arms) <= set(ARMS):
            raise InputError(f"Expected arms out of {', '.join(ARMS)}, got {self.arms}.")
        if self.taught_by not in get_args(Teacher):
            raise InputError(f"Expected to be taught by talks or note, got {self.taught_by!r}.")


FROZEN: Final = PrefixRecipe()
"""For any model that stays as it is."""
TOGETHER: Final = PrefixRecipe(
    together=True, arms=(*ARMS, "prefix", "prefix", "both"), batch_rows=32, steps=900
)
"""For the bundled model, which learns with its prefix."""


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
    affect = affect_of(probabilities)
    return replace(affect, channels=("face", "voice"), agreement=1.0)


def affect_of(probabilities: Mapping[Feeling, float]) -> UserAffect:
    """Say what a distribution amounts to, as the recogniser does; of the words, if of one channel.

    Args:
        probabilities: Of each feeling; calibrated, they sum to 1.
    """
    likeliest = max(probabilities, key=probabilities.__getitem__)
    sure = min(1.0, probabilities[likeliest])
    return UserAffect(
        label=likeliest if sure >= UNCLEAR_BELOW else None,
        probabilities=probabilities,
        confidence=sure,
        valence=sum(p * CIRCUMPLEX[f][0] for f, p in probabilities.items()),
        arousal=sum(p * CIRCUMPLEX[f][1] for f, p in probabilities.items()),
        channels=("words",),
    )


def suppose(affect: UserAffect | None, generator: torch.Generator) -> UserAffect | None:
    """Take an affect for one of the feelings it may be, each as often as its probability says.

    Args:
        affect: One without probabilities is taken as it is.
        generator: Source of all randomness.
    """
    if affect is None or not affect.probabilities:
        return affect
    chances = torch.tensor([affect.probabilities.get(f, 0.0) for f in FEELINGS]) + 1e-6
    feeling = FEELINGS[int(torch.multinomial(chances, 1, generator=generator))]
    sure = affect.confidence if feeling == affect.label else UNCLEAR_BELOW
    return UserAffect(feeling, confidence=sure)


def digest(text: str) -> str:
    """Name some words, however they were spelt, without repeating them."""
    return hashlib.sha256(bare(text).encode()).hexdigest()[:16]


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


def logits_behind(prefix: EmotionPrefix | None, model: Any, rows: Sequence[Exercise]) -> Tensor:
    """Predict the marked tokens, (marked token, vocabulary).

    Args:
        prefix: Embeds the virtual tokens; None where the rows have none.
        model: Any causal model of transformers.
        rows: Of any lengths.
    """
    device = model.get_input_embeddings().weight.device
    ids = _padded([row.ids for row in rows]).to(device)
    there = _padded([torch.ones_like(row.ids) for row in rows]).to(device)
    learned = _padded([row.learned for row in rows]).to(device)
    words = model.get_input_embeddings()
    embedded = words(ids) if prefix is None else prefix.embed(words, ids)
    chosen = functional.pad(learned[:, 1:], (0, 1))
    return _logits(model, embedded, there, chosen).float()


def loss_behind(prefix: EmotionPrefix | None, model: Any, rows: Sequence[Exercise]) -> Tensor:
    """Mean cross-entropy, in nats, of the marked tokens; see `logits_behind`."""
    logits = logits_behind(prefix, model, rows)
    said = torch.cat([row.ids[1:][row.learned[1:]] for row in rows]).to(logits.device)
    return functional.cross_entropy(logits, said)


def _padded(rows: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def alike(first: Exercise, second: Exercise) -> tuple[Exercise, Exercise]:
    """Mark the same last tokens of a talk that is written in two ways and was cut at its beginning.

    Args:
        first: One way.
        second: The other.
    """
    most = min(int(row.learned[1:].sum()) for row in (first, second))  # nothing predicts the first
    last = (row.learned & (_from_the_end(row.learned) <= most) for row in (first, second))
    return Exercise(first.ids, next(last)), Exercise(second.ids, next(last))


def _from_the_end(marks: Tensor) -> Tensor:
    """Count the marks of (position,) bool from each position to the end."""
    return marks.flip(0).cumsum(0).flip(0)


def _logits(model: Any, embedded: Tensor, there: Tensor, chosen: Tensor) -> Tensor:
    """Predict behind chosen positions, (row, position) bool -> (chosen, vocabulary)."""
    if isinstance(model, LlamaForCausalLM):  # those of the other positions are never made
        hidden = model.model(inputs_embeds=embedded, attention_mask=there).last_hidden_state
        logits: Tensor = model.lm_head(hidden[chosen])
        return logits
    all_: Tensor = model(inputs_embeds=embedded, attention_mask=there).logits
    return all_[chosen]


class PrefixRun:
    """One training run of a prefix: the step it is at, and what it learnt.

    Args:
        model: Any causal model of transformers; frozen here unless the recipe says together.
        tokenizer: Its own, with a chat template.
        talks: To learn from; those without a feeling are left out where no words were heard.
        valid: To measure on, likewise.
        recipe: How.
        folder: Where the checkpoint goes.
        heard: What a recogniser reads in the words; None teaches by annotated feelings alone.

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
        heard: Heard | None = None,
    ) -> None:
        teaches = recipe.together and recipe.taught_by == "note"
        self.teacher = deepcopy(model).requires_grad_(False).eval() if teaches else model
        self.model = model.requires_grad_(recipe.together).eval()
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.folder = folder
        self.heard = heard or {}
        self.talks = self._teaching(talks)
        self.valid = self._teaching(valid)
        if not self.talks:
            raise InputError(f"Expected talks with a feeling, got {len(talks)} without.")
        self.prefix = _new_prefix(model, recipe)
        own = [{"params": list(self.prefix.parameters()), "peak": recipe.rate}]
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(own, weight_decay=0.0)]
        if recipe.together:
            self.optimizers += optimizers_of(model, recipe.matrix_rate, recipe.other_rate, 0.05)
        self._model_before = fingerprint(model)
        self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []

    def _teaching(self, talks: Sequence[Talk]) -> list[Talk]:
        pieces = [piece for talk in talks for piece in _cut(talk, self.recipe.row_tokens * 6 // 10)]
        return [talk for talk in pieces if _is_answered(talk) and (_is_felt(talk) or self.heard)]

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.recipe.steps

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "prefix_run.safetensors"

    @property
    def is_begun(self) -> bool:
        """Whether the folder holds a checkpoint."""
        return self._checkpoint.is_file()

    def advance(self) -> float:
        """Take one step and return its loss in nats a token."""
        loss = self._lesson([self._row(index) for index in self._batch()])
        loss.backward()  # type: ignore[no-untyped-call]
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
        set_rates(self.optimizers, _share(self.step, self.recipe))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return float(loss.detach())

    def _lesson(self, rows: Sequence[tuple[Exercise, Exercise]]) -> Tensor:
        """How far some talks are from what is taught, in nats a token, a scalar ()."""
        if self.recipe.taught_by == "talks":
            return self._loss([told for told, _ in rows])
        pairs = [alike(told, taught) for told, taught in rows]
        with self._autocast():
            with torch.no_grad():
                wanted = logits_behind(None, self.teacher, [taught for _, taught in pairs])
            got = logits_behind(self.prefix, self.model, [told for told, _ in pairs])
        return functional.kl_div(
            got.log_softmax(-1), wanted.log_softmax(-1), reduction="batchmean", log_target=True
        )

    def _loss(self, rows: Sequence[Exercise]) -> Tensor:
        """Mean loss of some talks, a scalar ()."""
        with self._autocast():
            return loss_behind(self.prefix, self.model, rows)

    def _autocast(self) -> torch.autocast:
        device = self.model.get_input_embeddings().weight.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.recipe.together)

    def _batch(self) -> list[int]:
        """Choose the step's talks by number: a pass takes each once, with others of its length."""
        size = min(self.recipe.batch_rows, len(self.talks))
        pass_, place = divmod(self.step, len(self.talks) // size)
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + pass_)
        order = torch.randperm(len(self.talks), generator=generator).tolist()
        span = slice(first := place // _SPAN * _SPAN * size, first + _SPAN * size)
        alike = sorted(order[span], key=lambda index: _words(self.talks[index]))
        batches = [alike[i : i + size] for i in range(0, len(alike) - size + 1, size)]
        mixed = torch.randperm(len(batches), generator=generator).tolist()
        return batches[mixed[place % _SPAN]]

    def _row(self, index: int) -> tuple[Exercise, Exercise]:
        """Write a talk as it is told in some arm, and as its teacher is told it."""
        number = self.step * len(self.talks) + index
        generator = torch.Generator().manual_seed(self.recipe.seed * 7_000_003 + number)
        arm = self.recipe.arms[int(_uniform(generator) * len(self.recipe.arms))]
        messages = self._messages(self.talks[index], self.recipe.silent_share, generator)
        _, prefixed = ARMS[arm]
        if not prefixed:
            return (told := self._written(messages, arm)), told
        known = [replace(m, affect=suppose(m.affect, generator)) for m in messages]
        return self._written(messages, arm), self._written(known, "note")

    def _messages(
        self, talk: Talk, silent_share: float, generator: torch.Generator
    ) -> list[Message]:
        report = self._report(talk, _uniform(generator))
        return felt_messages(talk, silent_share, generator, report)

    def _written(self, messages: Sequence[Message], arm: str) -> Exercise:
        noted, prefixed = ARMS[arm]
        if noted:
            messages = condition(messages, write=short_note)
        whole = exercise(self.tokenizer, messages, self.recipe.tokens if prefixed else 0)
        kept = slice(-self.recipe.row_tokens, None)
        return Exercise(whole.ids[kept], whole.learned[kept])

    def _report(self, talk: Talk, drawn: float) -> Report:
        """Choose by a number in [0, 1] how a talk's affects come about."""
        if not _is_felt(talk):
            return partial(_heard, self.heard)
        if drawn < self.recipe.told_share:
            return _told
        heard = self.heard and drawn < self.recipe.told_share + self.recipe.heard_share
        return partial(_heard, self.heard) if heard else _drawn

    def validate(self) -> dict[str, float]:
        """Losses on validation talks: each arm, and their mean; see `Learner.validate`."""
        arms = {arm: self.validation_loss(arm) for arm in dict.fromkeys(self.recipe.arms)}
        mean = sum(arms.values()) / len(arms)
        return {"valid_loss": mean, **{f"valid_{arm}": loss for arm, loss in arms.items()}}

    @torch.no_grad()
    def validation_loss(self, arm: str = "prefix", most_talks: int = 96) -> float:
        """Nats a token of the human answers in the validation talks; nan where there are none.

        Args:
            arm: How the affects are told, which are the same for each arm.
            most_talks: That are read.
        """
        rows = [
            self._written(self._messages(talk, 0.0, torch.Generator().manual_seed(number)), arm)
            for number, talk in enumerate(self.valid[:: -(-len(self.valid) // most_talks) or 1])
        ]
        batches = [rows[i : i + 16] for i in range(0, len(rows), 16)]
        weights = [sum(int(row.learned.sum()) for row in batch) for batch in batches]
        losses = [float(self._loss(batch)) for batch in batches]
        total = sum(loss * weight for loss, weight in zip(losses, weights, strict=True))
        return total / sum(weights) if weights else math.nan

    def save(self) -> None:
        """Write a checkpoint; the one before stays whole until this one is."""
        facts = {"recipe": _as_json(self.recipe), "model": self._model_before}
        write_checkpoint(self._checkpoint, self, self._modules(), self.optimizers, facts)

    def _modules(self) -> dict[str, nn.Module]:
        together = {"model": self.model} if self.recipe.together else {}
        return {"prefix": self.prefix, **together}

    def resume(self) -> bool:
        """Continue from the folder's checkpoint; False where there is none.

        Raises:
            InputError: If the checkpoint belongs to another recipe or another model.
        """
        if not self.is_begun:
            return False
        facts = read_facts(self._checkpoint)
        if (facts["recipe"], facts["model"]) != (_as_json(self.recipe), self._model_before):
            raise InputError(
                f"Expected a run of this recipe and model in {self._checkpoint}, got another's."
            )
        read_checkpoint(self._checkpoint, self, self._modules(), self.optimizers)
        return True

    def export(self, folder: Path) -> None:
        """Write the prefix, and the model with it where it learnt as well, as float16."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.recipe.together:
            self.model.half().save_pretrained(folder)
            for file in folder.glob("*.safetensors"):
                file.chmod(0o644)  # written as 600, which no installer would share
            self.tokenizer.save_pretrained(folder)
        self.prefix.save(folder, self.model.float())


_SPAN: Final = 16
"""Steps whose talks are sorted by length together: less is padded, and steps still vary."""


def _as_json(recipe: PrefixRecipe) -> dict[str, Any]:
    return {**asdict(recipe), "arms": list(recipe.arms)}


def _is_answered(talk: Talk) -> bool:
    return any(not a and b for (a, _), (b, _) in pairwise(talk.turns))


def _is_felt(talk: Talk) -> bool:
    return talk.feeling is not None or any(talk.shown)


def _words(talk: Talk) -> int:
    return sum(len(text.split()) for _, text in talk.turns)


def _cut(talk: Talk, most_words: int) -> Iterator[Talk]:
    """Cut a long talk between turns."""
    done = 0
    for piece in windows(talk.turns, most_words):
        after = done + len(piece)
        yield replace(talk, turns=tuple(piece), shown=talk.shown[done:after])
        done = after


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


Report = Callable[[str, Felt | None, torch.Generator], UserAffect | None]
"""(what was said, annotated feeling, randomness) → affect."""


def _told(text: str, felt: Felt | None, generator: torch.Generator) -> UserAffect | None:
    return None if felt is None else UserAffect(felt[0], confidence=TOLD_CONFIDENCE[felt[1]])


def _drawn(text: str, felt: Felt | None, generator: torch.Generator) -> UserAffect | None:
    return None if felt is None else draw_affect(*felt, generator)


def _heard(
    heard: Heard, text: str, felt: Felt | None, generator: torch.Generator
) -> UserAffect | None:
    read = heard.get(digest(text))
    return None if read is None else affect_of(dict(zip(FEELINGS, read, strict=True)))


def felt_messages(
    talk: Talk, silent_share: float, generator: torch.Generator, report: Report = _drawn
) -> list[Message]:
    """Write a talk as messages; what the teller says carries an affect.

    Args:
        talk: Of any kind.
        silent_share: Turns of the teller without an affect.
        generator: Source of all randomness.
        report: Makes the affects.
    """
    shown = talk.shown or (talk.feeling,) * len(talk.turns)
    turns = list(zip(talk.turns, shown, strict=True))
    while turns and not turns[-1][0][0]:
        turns.pop()  # nobody answers it
    while turns and turns[0][0][0]:
        turns.pop(0)  # templates want the user to begin
    messages: list[Message] = []
    for (listens, text), felt in turns:
        silent = _uniform(generator) < silent_share
        affect = None if listens or silent else report(text, felt, generator)
        messages.append(Message("assistant" if listens else "user", text, affect))
    return messages
