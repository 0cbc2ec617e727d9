"""Any causal language model of transformers, from a folder or the hub."""

from __future__ import annotations

import hashlib
import inspect
import queue
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)
from transformers.utils import logging as hub_logging

from dialogue.affect import UserAffect
from dialogue.conditioning import condition, full_note, lean_note
from dialogue.context import READ_ONLY_THE_END, Fitted, fit
from dialogue.conversation import Message, as_messages
from dialogue.errors import ModelError
from dialogue.models.base import Device, Quantization, pick_device, require
from dialogue.models.cache import TalkCaches
from dialogue.persona import PERSONA

__all__ = [
    "Decoding",
    "LocalModel",
    "encode",
    "load_pretrained",
    "pick_dtype",
    "quantized",
    "weights_digest",
]

PLAIN_TEMPLATE: Final = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: "
    "{{ message['content'] | replace('\n', ' ') }}\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For models whose tokenizer brings no chat template. A role counts at the beginning of a line
only, and nobody's words begin one."""
PLAIN_STOP: Final = "\nUser:"
PERSONA_SHARE: Final = 0.25
"""Of what a model reads at once, that its persona may take from the talk; else it goes without."""
_TURN_TOKENS: Final = 6
"""What a template writes around a turn, about."""
_EXISTENCE_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class Decoding:
    """How words are drawn.

    Attributes:
        temperature: Of the softmax; 0 takes the likeliest.
        top_p: Mass of the likeliest tokens that are drawn from (Holtzman et al. 2020).
        most_tokens: Longest answer.
        context_tokens: Most tokens that are read; fewer where the model has fewer positions.
        timeout_s: Longest wait for one token.
        cached_talks: Talks whose keys and values are kept between turns, the most recently
            answered ones; each takes memory for up to `context_tokens`.

    Raises:
        ModelError: If a number is out of its range.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    most_tokens: int = 160
    context_tokens: int = 4096
    timeout_s: float = 120.0
    cached_talks: int = 4

    def __post_init__(self) -> None:
        require("a temperature of at least 0", self.temperature, self.temperature >= 0)
        require("a top_p in (0, 1]", self.top_p, 0 < self.top_p <= 1)
        require("most_tokens of at least 1", self.most_tokens, self.most_tokens >= 1)
        require("context_tokens of at least 1", self.context_tokens, self.context_tokens >= 1)
        require("timeout_s above 0", self.timeout_s, self.timeout_s > 0)
        require("cached_talks of at least 0", self.cached_talks, self.cached_talks >= 0)


class LocalModel:
    """A model of transformers with its tokenizer.

    What was read of a talk is kept for its next turn, which then reads only what is new.

    Args:
        model: Causal, in evaluation mode, on its device.
        tokenizer: Its own.
        decoding: How words are drawn.
        seed: Makes answers repeat; None draws new ones each time. Seeded answers are written one
            after the other, and the process's generator is as before when one ends.
    """

    def __init__(
        self, model: Any, tokenizer: Any, decoding: Decoding = Decoding(), seed: int | None = None
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._decoding = decoding
        self._seed = seed
        self._most_tokens, self._context_tokens = _room(model, decoding)
        self._plain = tokenizer.chat_template is None
        if self._plain:
            tokenizer.chat_template = PLAIN_TEMPLATE
        # Here also because a tokenizer's first use may set it up, which no two threads may do.
        self._persona_fits = self._count(PERSONA) <= PERSONA_SHARE * self._context_tokens
        self._talks = _caches(model, decoding.cached_talks)

    @classmethod
    def load(
        cls,
        name: str,
        *,
        device: Device = "auto",
        seed: int | None = None,
        quantize: Quantization | None = None,
        decoding: Decoding = Decoding(),
    ) -> LocalModel:
        """Load from a folder or the hub; see `load_model`."""
        model, tokenizer = load_pretrained(name, pick_device(device), quantize)
        return cls(model, tokenizer, decoding, seed)

    def stream(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[str]:
        """Yield the answer; see `DialogueModel.stream`."""
        taken = as_messages(messages)  # refused here, not at the first word
        return self._answer(taken, affect, cancel or threading.Event())

    def reply(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
    ) -> str:
        """Return the whole answer; see `DialogueModel.reply`."""
        return "".join(self.stream(messages, affect=affect))

    @torch.inference_mode()
    def reply_batch(self, talks: Sequence[Sequence[Message]]) -> list[str]:
        """Answer several talks side by side; see `dialogue.models.base.reply_batch`.

        Padding changes the last bits of what is computed, so an answer may differ from that of
        `reply`; the same batch gives the same answers.
        """
        fitted = [self._fit(as_messages(talk), None) for talk in talks]
        rows = [self._encode(talk.messages)[0, -self._context_tokens :] for talk in fitted]
        with nullcontext() if self._seed is None else _seeded(self._seed, self._model.device):
            written = self._generate_rows(rows)
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        stop = PLAIN_STOP if self._plain else None
        answers = ["".join(_until((text,), stop)).strip() for text in texts]
        return [READ_ONLY_THE_END * f.cut + a for f, a in zip(fitted, answers, strict=True)]

    def _generate_rows(self, rows: Sequence[Tensor]) -> Tensor:
        """Continue rows of (token,) each, padded on their left, as (row, token)."""
        width = max(map(len, rows))
        settings = self._drawing()
        ids = torch.full((len(rows), width), int(settings["pad_token_id"] or 0))
        there = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, width - len(row) :], there[number, width - len(row) :] = row, 1
        device = self._model.device
        written: Tensor = self._model.generate(
            input_ids=ids.to(device), attention_mask=there.to(device), **settings
        )
        return written[:, width:]

    @torch.inference_mode()
    def surprise(self, messages: Sequence[Message], reply: str) -> float:
        """Return the surprise of a given reply; see `dialogue.models.base.surprise_of`."""
        talk = self._fit(as_messages(messages), None).messages
        prompt = self._encode(talk)[0, -self._context_tokens :]
        words = f" {reply}" if self._plain else reply
        told = self._tokenizer(words, add_special_tokens=False)["input_ids"]
        end = self._tokenizer.eos_token_id
        answer = torch.tensor([*told, *([] if end is None else [end])]).to(prompt)
        logits = self._logits(torch.cat([prompt, answer])[None])[0, len(prompt) - 1 : -1]
        each = logits.double().log_softmax(-1).gather(1, answer.to(logits.device)[:, None])
        return -float(each.sum())

    def _logits(self, ids: Tensor) -> Tensor:
        """Read rows of ids, (row, token) -> (row, token, vocabulary)."""
        logits: Tensor = self._model(input_ids=ids.to(self._model.device)).logits
        return logits

    def facts(self) -> dict[str, Any]:
        """Say which model this is; see `dialogue.models.base.facts_of`."""
        return {
            "kind": type(self).__name__,
            "name": Path(str(self._model.config.name_or_path)).name,
            "decoding": asdict(self._decoding),
            "seed": self._seed,
            "persona": PERSONA if self._persona_fits and not self._plain else None,
            "weights_sha256": weights_digest(self._model),
        }

    def forget(self) -> None:
        """Drop what is kept of talks; see `dialogue.models.base.forget`."""
        if self._talks is not None:
            self._talks.forget()

    def _answer(
        self, messages: list[Message], affect: UserAffect | None, cancel: threading.Event
    ) -> Iterator[str]:
        fitted = self._fit(messages, affect)
        ids = self._encode(fitted.messages)
        # Where even the template and one word are too long, whatever is last is read.
        ids = ids[:, -self._context_tokens :]
        streamer = TextIteratorStreamer(
            self._tokenizer,
            skip_prompt=True,
            timeout=self._decoding.timeout_s,
            skip_special_tokens=True,
        )
        stop = threading.Event()
        settings = self._settings(streamer, _AnySet(cancel, stop))
        worker = _Worker(lambda: self._generate(ids, settings), streamer)
        worker.start()
        try:
            if fitted.cut:
                yield READ_ONLY_THE_END
            yield from _until(streamer, PLAIN_STOP if self._plain else None)
        except queue.Empty as error:
            limit = self._decoding.timeout_s
            raise ModelError(f"Expected a token within {limit:g} s, got none.") from error
        finally:
            stop.set()  # also when the reader goes away in the middle
        worker.join(self._decoding.timeout_s)
        if worker.error is not None:
            raise ModelError(f"Expected an answer, got {worker.error!r}.") from worker.error

    def _fit(self, messages: list[Message], affect: UserAffect | None) -> Fitted:
        said = self._with_persona(messages)
        write = full_note if said is messages else lean_note
        return fit(said, condition(said, affect, write), self._context_tokens, self._count)

    def _encode(self, messages: Sequence[Message]) -> Tensor:
        """Write a talk as token ids of shape (1, token)."""
        return encode(self._tokenizer, messages)

    def _generate(self, ids: Tensor, settings: dict[str, Any]) -> None:
        """Write the answer to ids, (1, token), into the settings' streamer."""
        with nullcontext() if self._seed is None else _seeded(self._seed, self._model.device):
            if self._talks is None:
                self._generate_from(ids, settings, None)
                return
            cache = self._talks.take(ids[0])
            read = self._generate_from(ids, settings, cache.layers)
            size = cache.layers.get_seq_length()
            self._talks.give(replace(cache, tokens=read[0, :size].cpu()))

    def _generate_from(self, ids: Tensor, settings: dict[str, Any], layers: Any) -> Tensor:
        known = {} if layers is None else {"past_key_values": layers}
        ids = ids.to(self._model.device)
        written: Tensor = self._model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), **settings, **known
        )
        return written

    def _settings(self, streamer: TextIteratorStreamer, stop: StoppingCriteria) -> dict[str, Any]:
        criteria = StoppingCriteriaList([stop])
        return {**self._drawing(), "streamer": streamer, "stopping_criteria": criteria}

    def _drawing(self) -> dict[str, Any]:
        sampling = self._decoding.temperature > 0
        drawn = {"temperature": self._decoding.temperature, "top_p": self._decoding.top_p}
        return {
            "max_new_tokens": self._most_tokens,
            "do_sample": sampling,
            "pad_token_id": self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
            **(drawn if sampling else {}),
        }

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) + _TURN_TOKENS

    def _with_persona(self, messages: list[Message]) -> list[Message]:
        has_one = any(message.role == "system" for message in messages)
        if self._plain or has_one or not self._persona_fits:
            return messages
        return [Message("system", PERSONA), *messages]


def _caches(model: Any, most: int) -> TalkCaches | None:
    """Keep the caches of talks, where the model has one that can be cropped."""
    config = model.config.get_text_config(decoder=True)
    static = model.generation_config.cache_implementation is not None
    takes_one = "past_key_values" in inspect.signature(model.forward).parameters
    if most == 0 or static or not takes_one or not model._supports_default_dynamic_cache():
        return None
    return TalkCaches(lambda: DynamicCache(config=config), most)


def _room(model: Any, decoding: Decoding) -> tuple[int, int]:
    """Most new tokens and most tokens read, which fit the model's positions together."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not positions or positions < 2:
        return decoding.most_tokens, decoding.context_tokens
    new = min(decoding.most_tokens, positions // 2)
    return new, min(decoding.context_tokens, positions - new)


def load_pretrained(
    name: str, device: str, quantize: Quantization | None = None
) -> tuple[Any, Any]:
    """Load model and tokenizer; safetensors only, and nobody's code is run.

    Args:
        name: A folder, which is read without the network, or a hub id.
        device: `cpu` or `cuda`.
        quantize: `int8` computes linear layers with eight-bit weights, on a processor.

    Raises:
        ModelError: If it cannot be had, is no causal language model, or cannot be quantised.
    """
    if quantize is not None and device != "cpu":
        raise ModelError(
            "Expected --device cpu with int8, got a GPU; there, name a model that was published "
            "quantised, or serve it with vLLM and name the URL."
        )
    here = Path(name).is_dir()
    options = {"local_files_only": here or not _is_on_hub(name), "trust_remote_code": False}
    try:
        with _no_bar() if here else nullcontext():
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            model = AutoModelForCausalLM.from_pretrained(
                name, dtype="auto", use_safetensors=True, **options
            )
    except Exception as error:  # damaged files raise what their reader likes
        raise _unusable(name) from error
    if getattr(model, "hf_quantizer", None) is None:  # published quantised: as it is
        model = model.to(torch.float32 if quantize else pick_dtype(device, model.dtype))
    model = model.to(device).eval()
    model.generation_config.cache_implementation = None  # the caches of talks take its place
    return (quantized(model) if quantize else model), tokenizer


def weights_digest(*modules: torch.nn.Module | None) -> str:
    """Name weights by the sha256 of their names and numbers, wherever they came from.

    Args:
        modules: In a fixed order; None counts for nothing.
    """
    digest = hashlib.sha256()
    for module in modules:
        state = {} if module is None else module.state_dict()
        for name, value in sorted(state.items()):
            digest.update(name.encode())
            if isinstance(value, Tensor):  # quantised layers keep settings among their tensors
                plain = value.dequantize() if value.is_quantized else value
                digest.update(
                    plain.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
                )
            else:
                digest.update(repr(value).encode())
    return digest.hexdigest()


def pick_dtype(device: str, stored: torch.dtype) -> torch.dtype:
    """Choose the numbers to compute with.

    A GPU gets bfloat16, or float16 where it has no bfloat16. A processor gets float32, but
    bfloat16 where it multiplies that itself and the weights were stored so: they lose nothing.

    Args:
        device: `cpu` or `cuda`.
        stored: What the weights were stored in.
    """
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native and stored == torch.bfloat16 else torch.float32


def quantized(model: Any) -> Any:
    """Give all linear layers but the last eight-bit weights, a scale for each output channel.

    Inputs are quantised as they come, so that whole products are computed in eight bits.
    """
    linear = [name for name, part in model.named_modules() if type(part) is torch.nn.Linear]
    head = model.get_output_embeddings()
    names = [name for name in linear if model.get_submodule(name) is not head]
    if not names:
        raise ModelError(f"Expected linear layers to quantise, got {type(model).__name__}.")
    with warnings.catch_warnings():
        # torch announces that this moves to torchao, which was no faster than float32 here
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch.ao import quantization

        per_channel = quantization.per_channel_dynamic_qconfig
        return quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            model, dict.fromkeys(names, per_channel)
        )


def _is_on_hub(name: str) -> bool:
    """Ask the hub once, shortly; False where only the cache has the model.

    Without this, transformers asks for a minute, with a line on stderr for each try.
    """
    cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
    if "/" not in name and not cached:
        raise ModelError(
            f"Expected a model's folder, hub id (organisation/model) or URL, got {name!r}."
        )
    try:
        HfApi().model_info(name, timeout=_EXISTENCE_TIMEOUT_S)
    except Exception as error:  # the hub's errors and those of its HTTP library share no root
        if not cached:
            raise _unusable(name) from error
        return False
    return True


def _unusable(name: str) -> ModelError:
    what = "a folder with" if Path(name).is_dir() else "the hub id of"
    return ModelError(
        f"Expected {what} a causal language model, tokenizer and safetensors, got {name!r}."
    )


@contextmanager
def _no_bar() -> Iterator[None]:
    """Show no progress bar, which a folder is read too fast for."""
    shown = hub_logging.is_progress_bar_enabled()
    hub_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hub_logging.enable_progress_bar()


def encode(tokenizer: Any, messages: Sequence[Message]) -> Tensor:
    """Write a talk as token ids of shape (1, token), ready for the answer.

    Role tokens inside a message are encoded as the text they are: nobody can forge a turn.
    """
    talk = [message.to_dict() for message in messages]
    options: dict[str, Any] = {
        "add_generation_prompt": True,
        "sanitize_control_tokens": True,
        "return_tensors": "pt",
        "return_dict": True,
        "enable_thinking": False,  # templates that know it; a listener does not muse aloud
    }
    try:
        written = tokenizer.apply_chat_template(talk, **options)
    except Exception as error:  # templates raise what they like, some on a system message
        if talk[0]["role"] != "system" or len(talk) < 2:
            raise ModelError(f"Expected a usable chat template, got {error!r}.") from error
        first = Message(messages[1].role, f"{messages[0].content}\n\n{messages[1].content}")
        return encode(tokenizer, [first, *messages[2:]])
    ids: Tensor = written["input_ids"]
    return ids


class _AnySet(StoppingCriteria):  # type: ignore[misc]
    """Stops before the next token once one of the events is set."""

    def __init__(self, *events: threading.Event) -> None:
        self._events = events

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """Say for each row of input_ids, (row, token), whether it is done."""
        done = any(event.is_set() for event in self._events)
        return torch.full((len(input_ids),), done, device=input_ids.device)


_seeded_lock = threading.Lock()


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the process's generator, the only one `generate` draws from, and restore it."""
    devices = [device] if device.type == "cuda" else []
    with _seeded_lock, torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


class _Worker(threading.Thread):
    """Generates beside the reader, and ends the stream whatever happens."""

    def __init__(self, generate: Callable[[], None], streamer: Any) -> None:
        super().__init__(daemon=True)
        self._generate = generate
        self._streamer = streamer
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._generate()
        except Exception as error:
            self.error = error
            self._streamer.on_finalized_text("", stream_end=True)


def _until(pieces: Iterable[str], stop: str | None) -> Iterator[str]:
    held = ""
    begun = False
    for piece in pieces:
        held += piece if begun else piece.lstrip()
        begun = begun or bool(held)
        if stop is not None and stop in held:
            yield held.split(stop)[0]
            return
        # What may be the beginning of the stop is held back until it is known not to be.
        keep = len(stop) - 1 if stop is not None else 0
        if len(held) > keep:
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
    if held:
        yield held
