"""Any causal language model of transformers, from a folder or the hub."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)
from transformers.utils import logging as hub_logging

from dialogue.affect import UserAffect
from dialogue.conditioning import condition
from dialogue.conversation import Message, as_messages, trim
from dialogue.errors import ModelError
from dialogue.models.base import Device, pick_device
from dialogue.persona import PERSONA

__all__ = ["Decoding", "LocalModel", "encode", "load_pretrained"]

PLAIN_TEMPLATE: Final = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For models whose tokenizer brings no chat template."""
PLAIN_STOP: Final = "\nUser:"
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
    """

    temperature: float = 0.7
    top_p: float = 0.9
    most_tokens: int = 160
    context_tokens: int = 2048
    timeout_s: float = 120.0


class LocalModel:
    """A model of transformers with its tokenizer.

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

    @classmethod
    def load(cls, name: str, *, device: Device = "auto", seed: int | None = None) -> LocalModel:
        """Load from a folder or the hub; see `load_model`."""
        model, tokenizer = load_pretrained(name, pick_device(device))
        return cls(model, tokenizer, seed=seed)

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

    def _answer(
        self, messages: list[Message], affect: UserAffect | None, cancel: threading.Event
    ) -> Iterator[str]:
        noted = self._with_persona(condition(messages, affect))
        ids = encode(self._tokenizer, trim(noted, self._context_tokens, self._count))
        # One turn alone may be too long: its end is nearest to what is to be answered.
        ids = ids[:, -self._context_tokens :].to(self._model.device)
        streamer = TextIteratorStreamer(
            self._tokenizer,
            skip_prompt=True,
            timeout=self._decoding.timeout_s,
            skip_special_tokens=True,
        )
        stop = threading.Event()
        worker = _Worker(
            self._model, self._settings(ids, streamer, _AnySet(cancel, stop)), streamer, self._seed
        )
        worker.start()
        try:
            yield from _until(streamer, PLAIN_STOP if self._plain else None)
        except queue.Empty as error:
            limit = self._decoding.timeout_s
            raise ModelError(f"Expected a token within {limit:g} s, got none.") from error
        finally:
            stop.set()  # also when the reader goes away in the middle
        worker.join(self._decoding.timeout_s)
        if worker.error is not None:
            raise ModelError(f"Expected an answer, got {worker.error!r}.") from worker.error

    def _settings(
        self, ids: Tensor, streamer: TextIteratorStreamer, stop: StoppingCriteria
    ) -> dict[str, Any]:
        """Say how to generate from ids, (1, token)."""
        sampling = self._decoding.temperature > 0
        drawn = {"temperature": self._decoding.temperature, "top_p": self._decoding.top_p}
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "max_new_tokens": self._most_tokens,
            "do_sample": sampling,
            "pad_token_id": self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
            "streamer": streamer,
            "stopping_criteria": StoppingCriteriaList([stop]),
            **(drawn if sampling else {}),
        }

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) + _TURN_TOKENS

    def _with_persona(self, messages: list[Message]) -> list[Message]:
        if self._plain or any(message.role == "system" for message in messages):
            return messages
        return [Message("system", PERSONA), *messages]


def _room(model: Any, decoding: Decoding) -> tuple[int, int]:
    """Most new tokens and most tokens read, which fit the model's positions together."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not positions or positions < 2:
        return decoding.most_tokens, decoding.context_tokens
    new = min(decoding.most_tokens, positions // 2)
    return new, min(decoding.context_tokens, positions - new)


def load_pretrained(name: str, device: str) -> tuple[Any, Any]:
    """Load model and tokenizer; safetensors only, and nobody's code is run.

    Args:
        name: A folder, which is read without the network, or a hub id.
        device: `cpu` or `cuda`; a GPU gets bfloat16, a processor float32.

    Raises:
        ModelError: If it cannot be had or is no causal language model.
    """
    here = Path(name).is_dir()
    options = {"local_files_only": here or not _is_on_hub(name), "trust_remote_code": False}
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    try:
        with _no_bar() if here else nullcontext():
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            model = AutoModelForCausalLM.from_pretrained(
                name, dtype=dtype, use_safetensors=True, **options
            )
    except Exception as error:  # damaged files raise what their reader likes
        raise _unusable(name) from error
    return model.to(device).eval(), tokenizer


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
    }
    try:
        written = tokenizer.apply_chat_template(talk, **options)
    except Exception as error:  # templates raise what they like, some on a system message
        if talk[0]["role"] != "system":
            raise ModelError(f"Expected a usable chat template, got {error!r}.") from error
        return encode(tokenizer, messages[1:])
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

    def __init__(
        self, model: Any, settings: dict[str, Any], streamer: Any, seed: int | None
    ) -> None:
        super().__init__(daemon=True)
        self._model = model
        self._settings = settings
        self._streamer = streamer
        self._seed = seed
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with nullcontext() if self._seed is None else _seeded(self._seed, self._model.device):
                self._model.generate(**self._settings)
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
