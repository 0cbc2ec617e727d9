"""Figures of a model card, taken from the reports that `attune score --json` wrote.

A row of figures ends with its place, `file.json#key.key`, in backticks; everything between the bar
and the place is filled in from there, so no figure is copied by hand:

    | what | bar | % | 95 % interval | reached | place |

Rows of recalls begin with such a place, and so does the head of a confusion matrix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emotion.errors import InputError

__all__ = ["looked_up", "places", "refresh", "refreshed"]

_FIGURE = re.compile(
    r"^\| (?P<what>[^|]+) \|(?P<bar>[^|]*)\|[^|]*\|[^|]*\|[^|]*\| `(?P<place>[^`|]+#[^`|]+)` \|$",
    re.MULTILINE,
)
_RECALLS = re.compile(r"^\| `(?P<place>[^`]+#[^`]*recall)` \|.+$", re.MULTILINE)
_CONFUSION = re.compile(
    r"^\| `(?P<place>[^`]+#[^`]*confusion)` \|.*\n(?:\|.*(?:\n|$))+", re.MULTILINE
)


def refresh(folder: Path) -> None:
    """Write today's figures into `MODEL_CARD.md` of a folder that holds the reports in `scores`.

    Raises:
        InputError: If a place of the card is in no report.
    """
    card = folder / "MODEL_CARD.md"
    card.write_text(refreshed(card.read_text(), folder / "scores"))


def refreshed(text: str, scores: Path) -> str:
    """Fill in every figure of a card whose place is told.

    Args:
        text: The card.
        scores: Folder of the reports.

    Raises:
        InputError: If a place of the card is in no report.
    """
    for pattern, fill in ((_FIGURE, _figure), (_RECALLS, _recalls), (_CONFUSION, _confusion)):
        text = pattern.sub(_filled(fill, scores), text)
    return text


def places(text: str) -> list[str]:
    """Every place that a card takes a figure from, in order of kind."""
    return [found["place"] for p in (_FIGURE, _RECALLS, _CONFUSION) for found in p.finditer(text)]


def looked_up(place: str, scores: Path) -> Any:
    """Find what stands at `file.json#key.key`.

    Raises:
        InputError: If there is no such file or key.
    """
    file, _, path = place.partition("#")
    try:
        found = json.loads((scores / file).read_text())
        for key in path.split("."):
            found = _named(found, key) if isinstance(found, list) else found[key]
    except (OSError, LookupError, ValueError, TypeError, StopIteration) as error:
        raise InputError(f"Expected a figure at {place} in {scores}, got: {error!r}.") from error
    return found


def _named(rows: list[Any], key: str) -> Any:
    """Pick a row by its number, or the arena or system of that name."""
    if key.isdecimal():
        return rows[int(key)]
    return next(row for row in rows if key in (row.get("system"), row.get("arena")))


def _filled(
    fill: Callable[[re.Match[str], Any], str], scores: Path
) -> Callable[[re.Match[str]], str]:
    return lambda match: fill(match, looked_up(match["place"], scores))


def _figure(match: re.Match[str], found: Any) -> str:
    value, interval = found, "-"
    if isinstance(found, dict) and "low" in found:
        value, interval = found["value"], f"{_percent(found['low'])} to {_percent(found['high'])}"
    elif isinstance(found, dict):
        seeds = len(found["values"])
        value, interval = found["mean"], f"± {_percent(found['deviation'])}, {seeds} seeds"
    bar = match["bar"].strip()
    reached = _reached(bar, 100 * value) if bar else ""
    cells = (match["what"], bar, _percent(value), interval, reached, f"`{match['place']}`")
    return f"| {' | '.join(cells)} |"


def _reached(bar: str, percent: float) -> str:
    """Whether a figure is at least, "≥ 70", or at most, "≤ 4", what was to be reached."""
    sign, wanted = bar.split()
    above = round(percent, 1) >= float(wanted)
    below = round(percent, 1) <= float(wanted)
    return "yes" if (above if sign == "≥" else below) else "**no**"


def _recalls(match: re.Match[str], found: dict[str, float | None]) -> str:
    cells = ["-" if value is None else f"{100 * value:.0f}" for value in found.values()]
    return f"| `{match['place']}` | {' | '.join(cells)} |"


def _confusion(match: re.Match[str], found: list[list[int]]) -> str:
    head, rule, *rows = match[0].rstrip("\n").split("\n")
    names = [row.split("|")[1].strip() for row in rows]
    if len(names) != len(found):
        raise InputError(
            f"Expected {len(found)} rows of {match['place']}, got {', '.join(names) or 'none'}."
        )
    lines = [
        f"| {name} | {' | '.join(map(str, counts))} |"
        for name, counts in zip(names, found, strict=True)
    ]
    return "\n".join([head, rule, *lines]) + match[0][len(match[0].rstrip("\n")) :]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
