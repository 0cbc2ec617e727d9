"""The plots of a report, as svg elements whose colours are the page's."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

__all__ = ["forest", "levels", "reach_of"]

WIDTH_INCHES: Final = 4.2
"""Narrow, so that its words can be read on a telephone."""

MOST_LETTERS: Final = 24
"""Of a name beside a plot."""
_ROWS: Final = tuple(f"#00000{n}" for n in range(1, 7))
_COLOURS: Final[Mapping[str, str]] = {
    "#010101": "var(--ink)",
    "#020202": "var(--soft)",
    "#030303": "var(--grid)",
    "#040404": "var(--better)",
    "#050505": "var(--worse)",
    "#060606": "var(--unclear)",
    "#070707": "var(--card)",
    **{row: f"var(--row{n})" for n, row in enumerate(_ROWS)},
}
"""What matplotlib draws with → what the page makes of it, in light and dark."""
INK, SOFT, GRID, BETTER, WORSE, UNCLEAR, CARD = list(_COLOURS)[:7]


def forest(
    contrast: Mapping[str, Any],
    titles: Mapping[str, str],
    better: Mapping[str, int],
    reach: float,
) -> str:
    """Draw the differences of one contrast in standard deviations, better to the right.

    Args:
        contrast: Of the report.
        titles: Measure → title, of those to draw, in order.
        better: Measure → 1 or -1.
        reach: End of the axis, the same for all contrasts of a page.
    """
    names = [name for name in titles if name in contrast["measures"]]
    figure, axes = _figure(0.9 + 0.33 * len(names))
    axes.axvline(0, color=SOFT, linewidth=1)
    for y, name in enumerate(names):
        found, sign = contrast["measures"][name], better[name]
        ends = sorted(sign * found[end] for end in ("standardized_low", "standardized_high"))
        value = sign * found["standardized"]
        shown = _shown(value, found.get("p_holm", 1.0))
        axes.plot(ends, [y, y], color=shown["color"], linewidth=2, solid_capstyle="round")
        axes.plot([value], [y], markersize=8, markeredgewidth=1.6, **shown)
    axes.set_xlim(-reach, reach)
    axes.set_yticks(range(len(names)), [titles[name] for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("← worse · better →")
    return _svg(figure, f"forest-{contrast['row']}-{contrast['other']}")


def reach_of(contrasts: Sequence[Mapping[str, Any]], names: Iterable[str]) -> float:
    """Return the end of an axis that holds every interval of some contrasts, at least 0.3."""
    found = [c["measures"][name] for c in contrasts for name in names if name in c["measures"]]
    ends = [abs(f[end]) for f in found for end in ("standardized_low", "standardized_high")]
    reach: float = max([0.3, *ends])
    return 1.05 * reach


def _shown(value: float, p: float) -> dict[str, Any]:
    if p >= 0.05:
        return {"marker": "o", "color": UNCLEAR, "markerfacecolor": CARD}
    return {"marker": "^", "color": BETTER} if value > 0 else {"marker": "v", "color": WORSE}


def levels(rows: Sequence[Mapping[str, Any]], measure: str) -> str:
    """Draw one measure of every row with its interval.

    Args:
        rows: Of the report.
        measure: Its name.
    """
    kept = [row for row in rows if measure in row["means"]]
    figure, axes = _figure(0.75 + 0.3 * len(kept))
    for y, row in enumerate(kept):
        found = row["means"][measure]
        colour = _ROWS[min(y, len(_ROWS) - 1)] if row["kind"] != "reference" else INK
        marker = "D" if row["kind"] == "reference" else "o"
        axes.plot([found["low"], found["high"]], [y, y], color=colour, linewidth=2)
        axes.plot([found["value"]], [y], marker=marker, color=colour, markersize=7)
        axes.annotate(
            f"{found['value']:.2f}", (found["high"], y), (6, 0), textcoords="offset points",
            va="center", color=SOFT, fontsize=9, clip_on=False,
        )  # fmt: skip
    axes.set_yticks(range(len(kept)), [_tick(row["name"]) for row in kept])
    axes.set_ylim(len(kept) - 0.4, -0.6)
    top = max(row["means"][measure]["high"] for row in kept)
    axes.set_xlim(0, 1.16 * top if top > 0 else 1)  # from nothing: a cut axis enlarges
    return _svg(figure, f"levels-{measure}")


def _tick(name: str) -> str:
    """Shorten a name to what has room, and keep matplotlib from reading formulas in it."""
    short = name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"
    return short.replace("$", r"\$")


def _figure(height_inches: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure((WIDTH_INCHES, height_inches), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    figure.patch.set_alpha(0)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, labelsize=10.5)
    axes.tick_params(axis="x", colors=SOFT, labelsize=9.5)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.label.set_color(SOFT)
    axes.xaxis.label.set_fontsize(9.5)
    return figure, axes


def _svg(figure: Any, name: str) -> str:
    """Write a figure as an element whose ids are its own, with the page's colours and letters."""
    from matplotlib import rc_context

    written = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(written, format="svg", metadata={"Date": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    own = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]  # names may be anybody's
    svg = re.sub(r' id="([^"]+)"', rf' id="f{own}-\1"', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\1f{own}-", svg)
    svg = re.sub(r"font:( [\d.]+px)[^;\"]*", r"font:\1 system-ui, sans-serif", svg)
    for drawn, meant in _COLOURS.items():
        svg = svg.replace(drawn, meant)
    return re.sub(r"\n\s*\n+", "\n", svg)
