"""A model's folder, by hub id: from the cache where it lies there, else from the hub, asked once.

Left to itself transformers asks an unreachable hub for half a minute before it says so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from integration.errors import TranscriptionError

__all__ = ["folder_of"]

HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
FILES: Final = ["*.json", "*.txt", "*.model", "*.safetensors"]
"""What a model is read from: weights as tensors only."""

REACH_TIMEOUT_S: Final = 5.0


def folder_of(name: str) -> Path:
    """Return the folder of a model.

    A model that was fetched before is taken from the cache, without the network.

    Args:
        name: A folder, or a hub id (organisation/model).

    Raises:
        TranscriptionError: If there is no such model, or the hub cannot be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    if not HUB_ID.fullmatch(name):
        raise _no_model(name)
    return _cached(name) or _fetched(name)


def _no_model(name: str) -> TranscriptionError:
    return TranscriptionError(
        f"Expected a speech recognition model (hub id or folder), got {name!r}."
    )


def _cached(name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:  # such as "../folder"
        raise _no_model(name) from error
    return folder if any(folder.glob("*.safetensors")) else None


def _fetched(name: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    try:
        HfApi().model_info(name, timeout=REACH_TIMEOUT_S)
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # the hub's errors and those of its HTTP library share no root
        raise TranscriptionError(
            f"Expected a speech recognition model of the hub, got {name!r}: it is unknown there, "
            "or the hub cannot be reached from here."
        ) from error
