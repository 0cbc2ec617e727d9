"""What every dialogue model can do, and the one way to get one."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from dialogue.affect import UserAffect
from dialogue.conversation import Message
from dialogue.errors import ModelError

__all__ = ["Device", "DialogueModel", "load_model", "pick_device"]

Device = Literal["auto", "cpu", "cuda"]


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


_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def load_model(
    name: str | None = None, *, device: Device = "auto", seed: int | None = None
) -> DialogueModel:
    """Load a model, with the check for a person in danger before it.

    The network is used for a hub id and a URL only.

    Args:
        name: None for the bundled model; else a folder in transformers' format, a hub id, or the
            URL of an OpenAI-compatible server such as `http://127.0.0.1:8000/v1`.
        device: `auto` takes a GPU where there is one.
        seed: Makes answers repeat; None draws new ones each time.

    Raises:
        ModelError: If there is no such folder, hub id or server, or it holds no causal language
            model.
    """
    from dialogue.safeguards import Guarded

    if name is not None and name.startswith(("http://", "https://")):
        from dialogue.models.remote import RemoteModel

        return Guarded(RemoteModel(name))
    if name is None:
        from dialogue.models.bundled import WEIGHTS, BundledModel

        return Guarded(BundledModel.load(WEIGHTS, device=device, seed=seed))
    if not Path(name).is_dir() and not _HUB_ID.fullmatch(name):
        raise ModelError(f"Expected a model's folder, hub id or URL, got {name!r}.")
    return Guarded(_load_pretrained(name, device, seed))


def _load_pretrained(name: str, device: Device, seed: int | None) -> DialogueModel:
    """Load a model of transformers; one that this package trained answers as the bundled one."""
    from dialogue.models.bundled import ROLE_TOKENS, BundledModel
    from dialogue.models.local import LocalModel, load_pretrained

    model, tokenizer = load_pretrained(name, pick_device(device))
    if set(tokenizer.all_special_tokens) >= ROLE_TOKENS:
        return BundledModel(model.float(), tokenizer, seed=seed)
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
