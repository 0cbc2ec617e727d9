"""Writes the measured figures into dialogue/weights/MODEL_CARD.md, so that none is copied by hand.

    python benchmarks/dialogue_card.py

A row of figures ends with its place, `name#key.key` in backticks, which is a key of
benchmarks/dialogue_name.json; the cell before it is filled in from there.
"""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CARD = HERE.parent / "dialogue" / "weights" / "MODEL_CARD.md"
ROW = re.compile(r"^(?P<head>\|.*\|)[^|]*\| `(?P<name>\w+)#(?P<keys>[^`]+)` \|$", re.MULTILINE)


def refreshed(card: str) -> str:
    """Fill in every figure of a card whose place is told."""
    return ROW.sub(_filled, card)


def _filled(match: re.Match[str]) -> str:
    found: Any = json.loads((HERE / f"dialogue_{match['name']}.json").read_text())
    for key in match["keys"].split("."):
        found = found[key]
    shown = figure(found, is_share=match["name"] == "replies")
    return f"{match['head']} {shown} | `{match['name']}#{match['keys']}` |"


def figure(found: Any, *, is_share: bool) -> str:
    """Write one figure: a share as per cent, a mean with its interval, else as it stands."""
    if isinstance(found, dict):
        low, high = found["interval_95"]
        return f"{found['mean']} ({low} to {high})"
    if is_share and isinstance(found, float) and found <= 1:
        return f"{100 * found:.1f} %"
    return str(found)


if __name__ == "__main__":
    CARD.write_text(refreshed(CARD.read_text()))
