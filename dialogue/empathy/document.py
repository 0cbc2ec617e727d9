"""A report as a list of blocks, and two ways to write them: Markdown, and one HTML page.

The page loads nothing: style and plots are in it. It reads on a telephone, in light and dark, and
says in words or shapes whatever it says in colour.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from html import escape
from pathlib import Path
from typing import Final, TypeAlias

__all__ = [
    "Block",
    "Exchanged",
    "Figure",
    "Figures",
    "Fold",
    "Grid",
    "Heading",
    "Lead",
    "Text",
    "to_html",
    "to_markdown",
]

STYLE_FILE: Final = Path(__file__).with_name("report.css")


@dataclass(frozen=True)
class Heading:
    """A heading below the title."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; `code` and **bold** are understood."""

    text: str


@dataclass(frozen=True)
class Lead:
    """The answer in short, and the figures that carry it.

    Attributes:
        text: A paragraph.
        figures: (figure, what it counts).
    """

    text: str
    figures: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        caption: What it shows.
        headings: Of its columns; the first column names the rows.
        rows: Of cells.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]] = field(repr=False)


@dataclass(frozen=True)
class Figure:
    """A plot.

    Attributes:
        caption: Its title.
        alt: The same in words.
        svg: An svg element.
    """

    caption: str
    alt: str
    svg: str = field(repr=False)


@dataclass(frozen=True)
class Figures:
    """Plots side by side, where there is room."""

    plots: Sequence[Figure]


@dataclass(frozen=True)
class Exchanged:
    """One exchange, and what each row replied.

    Attributes:
        title: Of the exchange.
        said: (who, words).
        replies: (row, words).
    """

    title: str
    said: Sequence[tuple[str, str]] = field(repr=False)
    replies: Sequence[tuple[str, str]] = field(repr=False)


@dataclass(frozen=True)
class Fold:
    """Blocks that a reader may open.

    Attributes:
        title: What is in it.
        blocks: What is shown then; Markdown leaves `html_only` folds out.
        html_only: See `blocks`.
    """

    title: str
    blocks: Sequence[Block] = field(repr=False)
    html_only: bool = False


Block: TypeAlias = "Heading | Text | Lead | Grid | Figures | Exchanged | Fold"


# -- Markdown -------------------------------------------------------------------------------------


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """Write a report for a reader of plain text."""
    return "\n\n".join([f"# {title}", *filter(None, map(_markdown, blocks))]) + "\n"


@singledispatch
def _markdown(block: Block) -> str:
    raise NotImplementedError(type(block).__name__)


@_markdown.register
def _(block: Heading) -> str:
    return f"## {block.text}"


@_markdown.register
def _(block: Text) -> str:
    return block.text


@_markdown.register
def _(block: Lead) -> str:
    return "\n".join(
        [block.text, "", *(f"- {what}: **{figure}**" for figure, what in block.figures)]
    )


@_markdown.register
def _(block: Grid) -> str:
    lines = [block.headings, ["---"] * len(block.headings), *block.rows]
    table = "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in lines)
    return f"**{block.caption}**\n\n{table}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


@_markdown.register
def _(block: Figures) -> str:
    return ""  # its tables say the same


@_markdown.register
def _(block: Exchanged) -> str:
    said = [f"> **{who}**: {_cell(words)}  " for who, words in block.said]
    replies = [f"- **{row}**: {_cell(words)}" for row, words in block.replies]
    return "\n".join([f"### {block.title}", "", *said, "", *replies])


@_markdown.register
def _(block: Fold) -> str:
    if block.html_only:
        return ""
    return "\n\n".join([f"### {block.title}", *map(_markdown, block.blocks)])


# -- HTML -----------------------------------------------------------------------------------------


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Write a report as one page that needs nothing else."""
    style = STYLE_FILE.read_text(encoding="utf-8")
    body = "\n".join(map(_html, blocks))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)


@singledispatch
def _html(block: Block) -> str:
    raise NotImplementedError(type(block).__name__)


@_html.register
def _(block: Heading) -> str:
    return f"<h2>{escape(block.text)}</h2>"


@_html.register
def _(block: Text) -> str:
    return f"<p>{_inline(block.text)}</p>"


@_html.register
def _(block: Lead) -> str:
    figures = "".join(
        f"<div><dt>{_inline(what)}</dt><dd>{_inline(figure)}</dd></div>"
        for figure, what in block.figures
    )
    return f'<p class="lead">{_inline(block.text)}</p>\n<dl class="figures">{figures}</dl>'


@_html.register
def _(block: Grid) -> str:
    head = "".join(f'<th scope="col">{_inline(name)}</th>' for name in block.headings)
    body = "\n".join(
        f'<tr><th scope="row">{_inline(row[0])}</th>'
        + "".join(f"<td>{_inline(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in block.rows
    )
    caption = escape(block.caption)
    return (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table>'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>"
        "</table></div>"
    )


@_html.register
def _(block: Figures) -> str:
    plots = "\n".join(
        f"<figure><figcaption>{_inline(plot.caption)}</figcaption>"
        f'<div role="img" aria-label="{escape(plot.alt)}">{plot.svg}</div></figure>'
        for plot in block.plots
    )
    return f'<div class="plots">{plots}</div>'


@_html.register
def _(block: Exchanged) -> str:
    said = "".join(
        f'<p class="{escape(who.lower())}"><b>{escape(who)}</b> {escape(words)}</p>'
        for who, words in block.said
    )
    replies = "".join(
        f"<div><dt>{escape(row)}</dt><dd>{escape(words)}</dd></div>" for row, words in block.replies
    )
    return (
        f'<article><h3>{escape(block.title)}</h3><div class="said">{said}</div>'
        f'<dl class="replies">{replies}</dl></article>'
    )


@_html.register
def _(block: Fold) -> str:
    inside = "\n".join(map(_html, block.blocks))
    return f"<details><summary>{escape(block.title)}</summary>\n{inside}\n</details>"
