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


@dataclass(frozen=True)
class Decoding:
    """How words are drawn.

    Attributes:
        temperature: Of the softmax; 0 takes the likeliest.
        top_p: Mass of the likeliest tokens that are drawn from (Holtzman et al. 2020).
        most_tokens: Longest answer.
        context_tokens: Most tokens of the talk that are read.
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
        seed: Makes answers repeat; None draws new ones each time.
    """

    def __init__(
        self, model: Any, tokenizer: Any, decoding: Decoding = Decoding(), seed: int | None = None
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._decoding = decoding
        self._seed = seed
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
        noted = trim(condition(messages, affect), self._decoding.context_tokens, self._count)
        ids = encode(self._tokenizer, self._with_persona(noted)).to(self._model.device)
        streamer = TextIteratorStreamer(
            self._tokenizer,
            skip_prompt=True,
            timeout=self._decoding.timeout_s,
            skip_special_tokens=True,
        )
        stop = threading.Event()
        worker = _Worker(
            self._model, self._settings(ids, streamer, _AnySet(cancel, stop)), streamer
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
            "max_new_tokens": self._decoding.most_tokens,
            "do_sample": sampling,
            "pad_token_id": self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
            "streamer": streamer,
            "stopping_criteria": StoppingCriteriaList([stop]),
            **(drawn if sampling else {}),
        }

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _with_persona(self, messages: list[Message]) -> list[Message]:
        if self._plain or any(message.role == "system" for message in messages):
            return messages
        return [Message("system", PERSONA), *messages]


def load_pretrained(name: str, device: str) -> tuple[Any, Any]:
    """Load model and tokenizer; safetensors only, and nobody's code is run.

    Args:
        name: A folder, which is read without the network, or a hub id.
        device: `cpu` or `cuda`; a GPU gets bfloat16, a processor float32.

    Raises:
        ModelError: If it cannot be had or is no causal language model.
    """
    here = Path(name).is_dir()
    options = {"local_files_only": here, "trust_remote_code": False}
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    try:
        with _no_bar() if here else nullcontext():
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            model = AutoModelForCausalLM.from_pretrained(
                name, dtype=dtype, use_safetensors=True, **options
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        what = "a folder with" if here else "the hub id of"
        raise ModelError(
            f"Expected {what} a causal language model, tokenizer and safetensors, got {name!r}."
        ) from error
    return model.to(device).eval(), tokenizer


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


class _Worker(threading.Thread):
    """Generates beside the reader, and ends the stream whatever happens."""

    def __init__(self, model: Any, settings: dict[str, Any], streamer: Any) -> None:
        super().__init__(daemon=True)
        self._model = model
        self._settings = settings
        self._streamer = streamer
        self.error: Exception | None = None

    def run(self) -> None:
        try:
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
