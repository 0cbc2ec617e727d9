"""Ready-made replies, so that any other system can be judged, and judgements of people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from dialogue.empathy.conversations import whole_characters
from dialogue.errors import InputError

__all__ = ["Label", "read_labels", "read_responses"]

UNNAMED: Final = "responses"

Label = tuple[str, str, str, str]
"""(id of the exchange, one row, another row, the row that somebody preferred or `tie`)."""


def read_responses(path: Path, ids: Sequence[str]) -> dict[str, list[str]]:
    """Read replies: JSONL with `id`, `reply` (or `response`) and, of several systems, `system`.

    Args:
        path: The file.
        ids: Of the exchanges; each needs a reply of every system, others are not looked at.

    Returns:
        System → its replies in the order of the ids.

    Raises:
        InputError: If the file cannot be read, a line is no reply, or one is missing or twice.
    """
    found: dict[str, dict[str, str]] = {}
    for number, record in _records(path, "replies"):
        name: Any = record.get("id")
        reply: Any = record.get("reply", record.get("response"))
        system = record.get("system", UNNAMED)
        if not isinstance(name, str | int) or not isinstance(system, str) or not _is_said(reply):
            raise InputError(f"Expected an id and a reply in line {number} of {path}, got others.")
        own = found.setdefault(whole_characters(system), {})
        if str(name) in own:
            raise InputError(f"Expected one reply to {name} of {system} in {path}, got two.")
        own[str(name)] = whole_characters(reply).strip()
    if not found:
        raise InputError(f"Expected replies in {path}, got none.")
    return {system: _in_order(own, ids, system, path) for system, own in found.items()}


def _is_said(reply: object) -> bool:
    return isinstance(reply, str) and bool(reply.strip())


def _in_order(own: dict[str, str], ids: Sequence[str], system: str, path: Path) -> list[str]:
    missing = [name for name in ids if name not in own]
    if missing:
        raise InputError(
            f"Expected replies of {system} to all {len(ids)} conversations in {path}, got none to "
            f"{len(missing)} of them, the first is {missing[0]}."
        )
    return [own[name] for name in ids]


def read_labels(path: Path) -> list[Label]:
    """Read what people preferred: JSONL with `id`, `pair` (two rows) and `preferred`.

    Raises:
        InputError: If the file cannot be read, or a line is no judgement.
    """
    labels: list[Label] = []
    for number, record in _records(path, "judgements"):
        pair: Any = record.get("pair")
        preferred: Any = record.get("preferred")
        fits = isinstance(pair, list) and len(pair) == 2 and preferred in (*pair, "tie")
        if not fits or "id" not in record:
            raise InputError(
                f"Expected an id, a pair and which of it was preferred in line {number} of {path}, "
                "got others."
            )
        labels.append((str(record["id"]), pair[0], pair[1], preferred))
    return labels


def _records(path: Path, what: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Expected {what} in a file, got {error}.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise InputError(f"Expected {what} as JSON in line {number} of {path}, got other text.")
        yield number, record
