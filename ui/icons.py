"""Small drawings beside words, never instead of them; they take the colour of the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ICONS"]


def _icon(strokes: str) -> str:
    return (
        '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" fill="none" '
        'stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">'
        f"{strokes}</svg>"
    )


ICONS: Final[Mapping[str, str]] = {
    "camera": _icon(
        '<rect x="2.5" y="6.5" width="13" height="11" rx="3"/><path d="m15.5 10.5 6-3v9l-6-3"/>'
    ),
    "microphone": _icon(
        '<rect x="9" y="3" width="6" height="11" rx="3"/>'
        '<path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3"/>'
    ),
    "aloud": _icon(
        '<path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z"/>'
        '<path d="M15.5 9a4.2 4.2 0 0 1 0 6M18.3 6.5a8 8 0 0 1 0 11"/>'
    ),
    "edit": _icon('<path d="m14.5 5.5 4 4L8 20H4v-4zM12.5 7.5l4 4"/>'),
}
"""By the name of what they stand beside."""
