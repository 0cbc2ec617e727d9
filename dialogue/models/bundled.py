"""The bundled model: small, so several whole answers are drawn and the best of them is said."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from dialogue.affect import UserAffect
from dialogue.choosing import beyond, faults, is_grave, is_late, safe_answer
from dialogue.conditioning import condition, conflict_note, short_note
from dialogue.context import LEFT_OUT, READ_ONLY_THE_END, cut_text
from dialogue.conversation import Message, as_messages, trim
from dialogue.learned_text import LearnedText, has_learned_text
from dialogue.models.base import Device, pick_device
from dialogue.models.local import encode, load_pretrained, weights_digest
from dialogue.prefix import EmotionPrefix, has_prefix, turn_starts, weave
from dialogue.text import bare, tidy

__all__ = ["ROLE_TOKENS", "WEIGHTS", "BundledDecoding", "BundledModel", "Candidate"]

ROLE_TOKENS: Final = frozenset({"<|start|>", "<|user|>", "<|agent|>", "<|end|>"})
"""Of the tokenizer that `dialogue.training` makes, by which its models are known."""
SUBSTANCE_TOKENS: Final = 15
_NOTE_TOKENS: Final = 16
"""Room for the note and the marks of a turn."""
_WORTH_DROPPING: Final = 0.75
"""Share of the rows that must be left for the others to be taken out, which copies the cache."""
WEIGHTS: Final = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True)
class BundledDecoding:
    """How an answer is drawn and chosen.

    Attributes:
        candidates: Answers drawn side by side.
        temperature: Of the softmax.
        top_k: Likeliest tokens that are drawn from, before `top_p`.
        top_p: Mass of the likeliest tokens that are drawn from (Holtzman et al. 2020).
        most_tokens: An answer that has not ended by then is not said.
        context_tokens: Most tokens of the talk that are read.
        relevance: Weight of how much likelier the talk makes an answer (MMI, Li et al. 2016).
        substance: Nats a token that an answer of `SUBSTANCE_TOKENS` gains, a shorter one in
            proportion.
        fault_cost: Nats a token that each fault costs.
        curiosity: Nats a token that a question gains where neither of the last two turns asked one.
        least_likelihood: Nats a token under which an answer is not said: the model is guessing.
        least_sayable: Answers that must be left late in a talk, else the model is out of its depth
            and something safe is said.
    """

    candidates: int = 16
    temperature: float = 0.75
    top_k: int = 50
    top_p: float = 0.9
    most_tokens: int = 40
    context_tokens: int = 190
    relevance: float = 0.75
    substance: float = 1.5
    fault_cost: float = 1.0
    curiosity: float = 0.25
    least_likelihood: float = -2.0
    least_sayable: int = 3


@dataclass(frozen=True)
class Candidate:
    """One drawn answer.

    Attributes:
        ids: Its tokens, the end token with them if it ended.
        text: The same in words.
        likelihood: Mean log-probability a token in nats, given the talk.
        ended: Whether it ended by itself.
    """

    ids: tuple[int, ...]
    text: str
    likelihood: float
    ended: bool


class BundledModel:
    """The model in `dialogue/weights`.

    Args:
        model: A causal model of transformers in evaluation mode.
        tokenizer: Its own, with the chat template of `dialogue.training`.
        decoding: How an answer is drawn and chosen.
        seed: Makes answers repeat; None draws new ones each time.
        prefix: Trained for this model; None tells it of a feeling by the note alone.
        learned: Of this model; long answers that stand in it are not said.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        decoding: BundledDecoding = BundledDecoding(),
        seed: int | None = None,
        prefix: EmotionPrefix | None = None,
        learned: LearnedText | None = None,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._decoding = decoding
        self._seed = seed
        self._prefix = prefix
        self._learned = learned

    @classmethod
    def load(
        cls, folder: Path = WEIGHTS, *, device: Device = "auto", seed: int | None = None
    ) -> BundledModel:
        """Load the weights, and what is beside them of the rest; see `load_model`."""
        model, tokenizer = load_pretrained(str(folder), pick_device(device))
        model = model.float()
        prefix = EmotionPrefix.load(folder, model) if has_prefix(folder) else None
        learned = LearnedText.load(folder) if has_learned_text(folder) else None
        return cls(model, tokenizer, seed=seed, prefix=prefix, learned=learned)

    def stream(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[str]:
        """Yield the answer word by word; see `DialogueModel.stream`."""
        taken = as_messages(messages)
        return self._answer(taken, affect or taken[-1].affect, cancel or threading.Event())

    def reply(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
    ) -> str:
        """Return the whole answer; see `DialogueModel.reply`."""
        return "".join(self.stream(messages, affect=affect))

    def _answer(
        self, messages: list[Message], affect: UserAffect | None, cancel: threading.Event
    ) -> Iterator[str]:
        text = self._choose(messages, affect, cancel)
        newest = messages[-1].content
        if text and self._spelt(newest) != tidy(newest):
            yield READ_ONLY_THE_END
        for piece in re.findall(r"\S+\s*", text):
            if cancel.is_set():
                return
            yield piece

    def _choose(
        self,
        messages: list[Message],
        affect: UserAffect | None,
        cancel: threading.Event,
    ) -> str:
        generator = torch.Generator(self._model.device)
        generator.seed() if self._seed is None else generator.manual_seed(self._seed)
        said = [m.content for m in messages]
        if (answer := beyond(said)) is not None:
            return answer
        with _one_thread():
            drawn = self.draw(self.encode(messages, affect), generator, cancel)
            if cancel.is_set():
                return ""
            likely = (c for c in drawn if c.likelihood >= self._decoding.least_likelihood)
            sayable = [c for c in likely if _is_sayable(c, said, affect) and self._is_own(c)]
            if len(sayable) >= (self._decoding.least_sayable if is_late(said) else 1):
                return self._best(sayable, said, affect).text
        return safe_answer(said, affect)

    def _is_own(self, candidate: Candidate) -> bool:
        return self._learned is None or not self._learned.holds(candidate.text)

    def encode(self, messages: Sequence[Message], affect: UserAffect | None = None) -> Tensor:
        """Write a talk as token ids of shape (1, token), spelt and noted as in training."""
        spelt = [replace(message, content=self._spelt(message.content)) for message in messages]
        write = short_note if self._prefix is None else conflict_note
        noted = condition(spelt, affect, write)
        kept = trim(noted, self._decoding.context_tokens, self._count)
        ids = self._woven(encode(self._tokenizer, kept), kept)
        return ids.to(self._model.device)

    def _woven(self, ids: Tensor, messages: Sequence[Message]) -> Tensor:
        """Write virtual tokens in front of the turns that have an affect, (1, token)."""
        if self._prefix is None:
            return ids
        starts = turn_starts(self._tokenizer, messages, ids[0])
        affects = [message.affect for message in messages if message.role == "user"]
        return weave(ids[0], starts, affects, self._prefix.shape.tokens)[None]

    def _embedded(self, ids: Tensor) -> Tensor:
        """Look a talk up, (1, token) -> (1, token, width)."""
        words = self._model.get_input_embeddings()
        if self._prefix is None:
            embedded: Tensor = words(ids)
            return embedded
        return self._prefix.embed(words, ids)

    def _spelt(self, text: str) -> str:
        """Spell one turn as in training; of one that is too long by itself, its end."""
        room = self._decoding.context_tokens - _NOTE_TOKENS
        return cut_text(tidy(text), room, self._count).removeprefix(LEFT_OUT)

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) + 2

    @torch.inference_mode()
    def draw(
        self,
        prompt: Tensor,
        generator: torch.Generator,
        cancel: threading.Event | None = None,
    ) -> list[Candidate]:
        """Draw answers side by side.

        Args:
            prompt: (1, token) int64 of `encode`, ending where the answer begins.
            generator: Source of all randomness.
            cancel: Once set, drawing ends within one token.
        """
        count, end = self._decoding.candidates, self._tokenizer.eos_token_id
        cache = DynamicCache(config=self._model.config)
        logits = self._model(
            inputs_embeds=self._embedded(prompt), past_key_values=cache, logits_to_keep=1
        ).logits[:, -1]
        cache.batch_repeat_interleave(count)
        logits = logits.expand(count, -1)
        drawn: list[list[tuple[int, float]]] = [[] for _ in range(count)]
        rows = drawn
        for _ in range(self._decoding.most_tokens):
            token = self._next(logits, generator)
            score = logits.log_softmax(-1).gather(1, token)
            for row, *step in zip(rows, token[:, 0].tolist(), score[:, 0].tolist(), strict=True):
                if not row or row[-1][0] != end:
                    row.append((step[0], step[1]))
            going = [i for i, row in enumerate(rows) if row[-1][0] != end]
            if not going or (cancel is not None and cancel.is_set()):
                break
            if len(going) <= _WORTH_DROPPING * len(rows):  # those that have ended cost as much
                kept = torch.tensor(going, device=prompt.device)
                rows, token = [rows[i] for i in going], token[kept]
                cache.batch_select_indices(kept)
            logits = self._model(token, past_key_values=cache).logits[:, -1]
        return [self._candidate(row) for row in drawn]

    def _next(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one token a row: logits (row, vocabulary) → (row, 1)."""
        scaled = logits / self._decoding.temperature
        top, tokens = scaled.softmax(-1).topk(min(self._decoding.top_k, scaled.shape[-1]))
        before = top.cumsum(-1) - top
        kept = top.masked_fill(before > self._decoding.top_p, 0.0)
        return tokens.gather(1, torch.multinomial(kept, 1, generator=generator))

    def _candidate(self, drawn: Sequence[tuple[int, float]]) -> Candidate:
        """Read (token, log-probability in nats) of one answer."""
        ids = tuple(token for token, _ in drawn)
        text = self._tokenizer.decode(ids, skip_special_tokens=True).strip()
        likelihood = sum(score for _, score in drawn) / len(drawn)
        return Candidate(ids, text, likelihood, ids[-1] == self._tokenizer.eos_token_id)

    def _best(
        self, candidates: list[Candidate], said: list[str], affect: UserAffect | None
    ) -> Candidate:
        alone = self._likelihoods(self._opening(), [c.ids for c in candidates])
        how = self._decoding
        curious = how.curiosity * (not any("?" in text for text in said[-2:]))
        scores = [
            c.likelihood
            + how.relevance * (c.likelihood - a)
            + how.substance * min(1.0, len(c.ids) / SUBSTANCE_TOKENS)
            + curious * ("?" in c.text)
            - how.fault_cost * faults(c.text, said, affect)
            for c, a in zip(candidates, alone, strict=True)
        ]
        return candidates[scores.index(max(scores))]

    def likelihoods(
        self,
        messages: Sequence[Message],
        replies: Sequence[str],
        affect: UserAffect | None = None,
    ) -> list[float]:
        """Return the mean log-probability a token, in nats, of given replies and their ends.

        Args:
            messages: What was said before, ending with the user's; empty for nothing at all.
            replies: Any texts.
            affect: How the newest message was said.
        """
        prompt = self.encode(messages, affect) if messages else self._opening()
        end = self._tokenizer.eos_token_id
        texts = [self._tokenizer.encode(tidy(r), add_special_tokens=False) for r in replies]
        return self._likelihoods(prompt, [(*ids, end) for ids in texts])

    def surprise(self, messages: Sequence[Message], reply: str) -> float:
        """Return the surprise of a given reply; see `dialogue.models.base.surprise_of`."""
        ids = self._tokenizer.encode(tidy(reply), add_special_tokens=False)
        return -self.likelihoods(messages, [reply])[0] * (len(ids) + 1)

    def facts(self) -> dict[str, Any]:
        """Say which model this is; see `dialogue.models.base.facts_of`."""
        return {
            "kind": type(self).__name__,
            "decoding": asdict(self._decoding),
            "seed": self._seed,
            "prefix": self._prefix is not None,
            "weights_sha256": weights_digest(self._model, self._prefix),
        }

    def _opening(self) -> Tensor:
        """Write a talk in which nothing was said before the answer, (1, token)."""
        ids = self._tokenizer.convert_tokens_to_ids(["<|start|>", "<|agent|>"])
        return torch.tensor([ids], device=self._model.device)

    @torch.inference_mode()
    def _likelihoods(self, prompt: Tensor, answers: Sequence[Sequence[int]]) -> list[float]:
        """Mean log-probability a token of answers, each ending in its end token."""
        lengths = [len(answer) for answer in answers]
        ids = pad_sequence([torch.tensor(answer) for answer in answers], batch_first=True)
        ids = ids.to(prompt.device)
        said = torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]
        cache = DynamicCache(config=self._model.config)
        inner = self._model.base_model
        first = inner(inputs_embeds=self._embedded(prompt), past_key_values=cache)[0][:, -1:]
        cache.batch_repeat_interleave(len(ids))
        later = inner(ids[:, :-1], past_key_values=cache)[0]
        hidden = torch.cat([first.expand(len(ids), -1, -1), later], 1)[said]
        logits = self._model.get_output_embeddings()(hidden)  # what pads a row has none
        surprise = functional.cross_entropy(logits, ids[said], reduction="none")
        return [-float(part.mean()) for part in torch.split(surprise, lengths)]


_threads_lock = threading.Lock()
_threads: list[int] = []


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute on one thread.

    Matrices this small are slower on two, and many times slower where the other core is busy.
    """
    with _threads_lock:
        if not _threads:
            _threads.append(torch.get_num_threads())  # what all leave behind, whoever came first
        before = _threads[0]
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_sayable(candidate: Candidate, said: Sequence[str], affect: UserAffect | None) -> bool:
    words = bare(candidate.text)
    known = {bare(text) for text in said}
    new = candidate.ended and bool(words) and words not in known and "[" not in candidate.text
    return new and not is_grave(faults(candidate.text, said, affect), said)
