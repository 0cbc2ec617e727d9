"""What was already paid for: an append-only file that a killed run goes on from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dialogue.errors import InputError

__all__ = ["Journal", "key_of"]


def key_of(kind: str, decides: Any) -> str:
    """Name a result by everything that decides it.

    Args:
        kind: Of the result.
        decides: Plain JSON.
    """
    text = json.dumps([kind, decides], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Journal:
    """Results by their keys, one a line; each is on the disk before it is used.

    Args:
        path: The file, or None to remember for this run alone.

    Raises:
        InputError: If the file cannot be written, or holds something else.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, Any] = {}
        if path is not None:
            self._read(path)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Any:
        return self._known[key]

    def add(self, results: Mapping[str, Any]) -> None:
        """Keep results that belong together: after a kill all of them are there, or none counts.

        Args:
            results: Key → plain JSON.
        """
        line = json.dumps(dict(results), ensure_ascii=False)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        self._known |= json.loads(line)  # as a later run will read it

    def _read(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            raw = path.read_bytes()
        except OSError as error:
            raise InputError(f"Expected a folder that can be written, got {error}.") from error
        whole = raw[: raw.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            self._known |= _results(line, number, path)
        if len(whole) < len(raw):
            with path.open("r+b") as file:
                file.truncate(len(whole))  # the line that was being written when the run was killed


def _results(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    except ValueError:
        pass
    raise InputError(f"Expected results of an earlier run in line {number} of {path}, got others.")
