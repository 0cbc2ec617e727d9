"""Figures of the scorer's card, filled in from `scores.json` beside it.

The last cell of a row names where its figures are, in backticks: `key.key` for one figure, a
mechanism and a measure for a comparison. All cells between the first and the last are filled in, so
that no figure is copied by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dialogue.errors import InputError

__all__ = ["CARD", "SCORES", "places", "refresh", "refreshed"]

CARD, SCORES = "MODEL_CARD.md", "scores.json"
_ROW = re.compile(r"^\| (?P<what>[^|]+) \|.*\| `(?P<place>[\w.]+)` \|$", re.MULTILINE)


def refresh(folder: Path) -> None:
    """Write the figures of `scores.json` into `MODEL_CARD.md` of the same folder.

    Raises:
        InputError: If a file is missing or a place of the card is not in the scores.
    """
    try:
        scores = json.loads((folder / SCORES).read_text())
        text = (folder / CARD).read_text()
    except (OSError, ValueError) as error:
        raise InputError(f"Expected a card and its scores in {folder}, got: {error}.") from error
    (folder / CARD).write_text(refreshed(text, scores))


def refreshed(text: str, scores: Mapping[str, Any]) -> str:
    """Fill in every row of a card that names its place.

    Raises:
        InputError: If a place is not in the scores.
    """
    return _ROW.sub(lambda row: _filled(row, scores), text)


def places(text: str) -> list[str]:
    """Every place that a card takes figures from."""
    return [row["place"] for row in _ROW.finditer(text)]


def _filled(row: re.Match[str], scores: Mapping[str, Any]) -> str:
    found: Any = scores
    for key in row["place"].split("."):
        if not isinstance(found, Mapping) or key not in found:
            raise InputError(f"Expected a figure at {row['place']}, got none.")
        found = found[key]
    cells = [row["what"], *_cells(found), f"`{row['place']}`"]
    return f"| {' | '.join(cells)} |"


def _cells(found: Any) -> list[str]:
    if isinstance(found, Mapping):
        difference = found["difference"]
        interval = f"{difference['low']:+.3f} to {difference['high']:+.3f}"
        return [
            f"{found['baseline']:.3f}",
            f"{found['scorer']:.3f}",
            f"{difference['value']:+.3f}",
            interval,
        ]
    if isinstance(found, list):
        return [", ".join(_number(value) for value in found)]
    return [_number(found)]


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
