"""Confusion matrices as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from emotion.labels import EMOTIONS

__all__ = ["plot_confusions", "plot_report"]

ACROSS = 4
INCHES = 3.0


def plot_confusions(arena: dict[str, Any], path: Path) -> None:
    """Draw the confusion matrix of every trained system of an arena into one PNG, if there is any.

    Rows are true, columns said; each row is divided by its sum, so the diagonal shows recalls.

    Args:
        arena: Figures of `emotion.comparison.table.arena_figures`.
        path: Where to write it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    systems = [system for system in arena["systems"] if "confusion" in system]
    if not systems:
        return
    columns = min(ACROSS, len(systems))
    rows = math.ceil(len(systems) / columns)
    figure = Figure(figsize=(columns * INCHES, rows * INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    for place, system in enumerate(systems, start=1):
        _draw(figure.add_subplot(rows, columns, place), system)
    figure.suptitle(arena["title"], fontsize=10)
    figure.savefig(path, dpi=80, metadata={"Software": None})


def plot_report(found: dict[str, Any], path: Path) -> None:
    """Draw every confusion matrix of a report of `emotion.scoring.score` likewise.

    Args:
        found: The report; reports inside it are drawn too, under their names.
        path: Where to write it.
    """
    title = str(found.get("corpus", found.get("recipe")))
    plot_confusions({"title": title, "systems": _reports(found, title)}, path)


def _reports(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    own = [found | {"system": name}] if "confusion" in found else []
    inside = [_reports(value, key) for key, value in found.items() if isinstance(value, dict)]
    return own + [one for several in inside for one in several]


def _draw(axes: Any, system: dict[str, Any]) -> None:
    counts = np.array(system["confusion"], dtype=np.float64)
    recalled = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(recalled, vmin=0, vmax=1, cmap="Blues")
    for (row, column), part in np.ndenumerate(recalled):
        colour = "white" if part > 0.5 else "black"
        text = f"{100 * part:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    axes.set_title(f"{system['system']}  UAR {100 * system['uar']['value']:.1f} %", fontsize=8)
    emotions = system.get("emotions", EMOTIONS)
    axes.set_xticks(range(len(emotions)), emotions, rotation=60, fontsize=6)
    axes.set_yticks(range(len(emotions)), emotions, fontsize=6)
