"""What every dialogue model can do, and the one way to get one."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from dialogue.affect import UserAffect
from dialogue.conversation import Message
from dialogue.errors import ModelError

__all__ = [
    "Device",
    "DialogueModel",
    "Quantization",
    "facts_of",
    "forget",
    "load_model",
    "pick_device",
    "reply_batch",
    "require",
    "surprise_of",
]

Device = Literal["auto", "cpu", "cuda"]

Quantization = Literal["int8"]
"""Eight-bit weights on a processor: linear layers take a quarter of float32's memory."""


class DialogueModel(Protocol):
    """Answers the newest message of a talk. Any number of threads may share one."""

    def stream(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[str]:
        """Yield the answer piece by piece.

        Args:
            messages: In order of time; the last is the user's.
            affect: How the user seems to feel while saying the last.
            cancel: Once set, the stream ends within one token.

        Raises:
            InputError: If there is no message, an empty one, or the last is not the user's.
            ModelError: If the model fails.
        """

    def reply(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
    ) -> str:
        """Return the whole answer; the same as all pieces of `stream` put together."""


_URL = re.compile(r"https?://")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def forget(model: object) -> None:
    """Let a model drop whatever it keeps of talks between turns, such as keys and values.

    Of all talks at once: that nothing is left of the one that was deleted is worth reading the
    others once more.

    Args:
        model: Any model, also one that keeps nothing or has a check before it.
    """
    drop = getattr(getattr(model, "model", model), "forget", None)
    if drop is not None:
        drop()


def reply_batch(model: DialogueModel, talks: Sequence[Sequence[Message]]) -> list[str]:
    """Answer several talks, side by side where the model can.

    Args:
        model: Any model.
        talks: Each ending with the user's message; affects are those of the messages.
    """
    together = getattr(model, "reply_batch", None)
    answers: list[str] = together(talks) if together else [model.reply(talk) for talk in talks]
    return answers


def surprise_of(model: object, talk: Sequence[Message], answer: str) -> float | None:
    """Return the surprise, in nats, of a given answer and of its end, with a talk before it.

    Args:
        model: Any model; a check before it is not asked.
        talk: Ending with the user's message; affects are those of the messages.
        answer: Any text.

    Returns:
        None where the model, such as a server, does not tell.
    """
    told = getattr(getattr(model, "model", model), "surprise", None)
    return None if told is None else float(told(talk, answer))


def facts_of(model: object) -> dict[str, Any]:
    """Say which model this is and how it draws words: everything but the talk that decides a reply.

    Returns:
        Plain JSON: its kind, decoding settings, seed and the sha256 of its weights, as far as it
        tells them.
    """
    inner = getattr(model, "model", model)
    told = getattr(inner, "facts", None)
    return dict(told()) if told else {"kind": type(inner).__name__}


def load_model(
    name: str | None = None,
    *,
    device: Device = "auto",
    seed: int | None = None,
    quantize: Quantization | None = None,
    region: str | None = None,
) -> DialogueModel:
    """Load a model, with the check for a person in danger before it.

    The network is used for a hub id and a URL only.

    Args:
        name: None for the bundled model; else a folder in transformers' format, a hub id, or the
            URL of an OpenAI-compatible server such as `http://127.0.0.1:8000/v1`; the name of one
            of its models may follow a `#`.
        device: `auto` takes a GPU where there is one.
        seed: Makes answers repeat; None draws new ones each time.
        quantize: How a folder or hub id is made smaller; None leaves it as it was published.
        region: Country code whose lines of help that check names; None names all it knows.

    Raises:
        InputError: If no lines of that region are known.
        ModelError: If there is no such folder, hub id or server, or it holds no causal language
            model, or one that cannot be quantised.
    """
    from dialogue.safeguards import Guarded

    if quantize not in (None, *get_args(Quantization)):
        raise ModelError(f"Expected quantize out of int8 or None, got {quantize!r}.")
    if quantize is not None and (name is None or _URL.match(name)):
        raise ModelError(f"Expected a folder or hub id with {quantize}, got {name or 'none'!r}.")

    if name is not None and _URL.match(name):
        from dialogue.models.remote import RemoteModel

        url, _, served = name.partition("#")
        return Guarded(RemoteModel(url, served or None), region)
    if name is None:
        from dialogue.models.bundled import WEIGHTS, BundledModel

        return Guarded(BundledModel.load(WEIGHTS, device=device, seed=seed), region)
    if not Path(name).is_dir() and not _HUB_ID.fullmatch(name):
        raise ModelError(f"Expected a model's folder, hub id or URL, got {name!r}.")
    return Guarded(_load_pretrained(name, device, seed, quantize), region)


def _load_pretrained(
    name: str, device: Device, seed: int | None, quantize: Quantization | None
) -> DialogueModel:
    """Load a model of transformers; one that this package trained answers as the bundled one.

    A prefix in its folder is used; it was trained for weights that were not quantised.
    """
    from dialogue.models.bundled import ROLE_TOKENS, BundledModel
    from dialogue.models.local import LocalModel, load_pretrained
    from dialogue.models.prefixed import PrefixedModel
    from dialogue.prefix import EmotionPrefix, has_prefix

    model, tokenizer = load_pretrained(name, pick_device(device), quantize)
    prefix = None
    if has_prefix(Path(name)) and quantize is None:
        prefix = EmotionPrefix.load(Path(name), model)
    if set(tokenizer.all_special_tokens) >= ROLE_TOKENS:
        model = model if quantize else model.float()
        return BundledModel(model, tokenizer, seed=seed, prefix=prefix)
    if prefix is not None:
        return PrefixedModel(model, tokenizer, prefix, seed=seed)
    return LocalModel(model, tokenizer, seed=seed)


def pick_device(device: Device) -> str:
    """Return `cuda` or `cpu`.

    Raises:
        ModelError: If a GPU was asked for and there is none, or the name is unknown.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise ModelError(f"Expected device auto, cpu or cuda, got {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("Expected a CUDA device, got a machine without one.")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def require(wanted: str, value: float, holds: bool) -> None:
    """Check one number of a configuration.

    Raises:
        ModelError: If it does not hold.
    """
    if not holds:
        raise ModelError(f"Expected {wanted}, got {value}.")
