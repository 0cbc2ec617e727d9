"""`attune corpora`: what each corpus is, where to get it, and what of it is at hand."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion.errors import CorpusError

if TYPE_CHECKING:
    from emotion.corpora.corpus import Corpus

__all__ = ["add_commands", "survey"]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `corpora` to the parser of `attune`."""
    corpora = commands.add_parser(
        "corpora",
        help="list the corpora: licence, where to get them, what is at hand",
        description="List the corpora that can be trained and scored on: licence, whom to ask, "
        "what they should hold, and what of it lies under --data.",
    )
    corpora.add_argument(
        "--data",
        metavar="ROOT",
        type=Path,
        help="folder of the corpora (default: $ATTUNE_DATA; without either they are only listed)",
    )
    corpora.add_argument("--json", action="store_true", help="print the list as JSON")
    corpora.set_defaults(run=_corpora)


def survey(corpus: Corpus, root: Path | None) -> dict[str, Any]:
    """Tell what a corpus should hold, and what was found of it, as plain JSON.

    A corpus that is not there has `found` None; a damaged one has an `error` instead, so that one
    of them does not cost the list.

    Args:
        corpus: Any.
        root: Folder of corpora, or None to look for nothing.
    """
    counts = corpus.counts
    about: dict[str, Any] = {
        "name": corpus.name,
        "title": corpus.title,
        "licence": corpus.licence,
        "url": corpus.url,
        "modalities": list(corpus.modalities),
        "note": corpus.note,
        "official": {
            "clips": counts.clips,
            "speakers": counts.speakers,
            "splits": dict(counts.splits),
            "emotions": dict(counts.emotions),
            "source": counts.source,
        },
        "places": list(corpus.places),
        "found": None,
    }
    from emotion.corpora.archive import Archive

    try:
        if root is None or Archive.place(root, corpus.places) is None:
            return about
        return about | {"found": _found(corpus, root)}
    except (CorpusError, OSError) as error:
        return about | {"error": str(error)}


def _found(corpus: Corpus, root: Path) -> dict[str, Any]:
    clips = corpus.clips(root)
    speakers = {clip.speaker for clip in clips}
    # Where nobody is named, the official part stands in place of the speaker.
    nobody = speakers <= {f"{corpus.name}:{clip.split}" for clip in clips}
    return {
        "path": str(corpus.archive(root).path),
        "clips": len(clips),
        "speakers": None if nobody else len(speakers),
        "splits": dict(sorted(Counter(clip.split for clip in clips if clip.split).items())),
        "emotions": dict(sorted(Counter(clip.emotion for clip in clips if clip.emotion).items())),
        "with_face": sum(clip.video is not None for clip in clips),
        "with_voice": sum(clip.audio is not None for clip in clips),
        "beside": next((str(root / p) for p in corpus.beside if (root / p).is_file()), None),
    }


def _corpora(args: argparse.Namespace) -> int:
    from emotion.corpora.registry import CORPORA

    given = args.data or os.environ.get("ATTUNE_DATA")
    root = Path(given) if given else None
    if root is not None and not root.is_dir():
        raise CorpusError(f"Expected a folder of corpora at {root}, found none.")
    surveys = [survey(corpus, root) for corpus in CORPORA.values()]
    if args.json:
        print(json.dumps(surveys, indent=2))
    else:
        print("\n\n".join("\n".join(_lines(each, root)) for each in surveys))
    return 0


def _lines(about: dict[str, Any], root: Path | None) -> list[str]:
    official = about["official"]
    lines = [
        f"{about['title']} ({about['name']}): {' and '.join(about['modalities'])}",
        f"  licence   {about['licence']}",
        f"  from      {about['url']}",
        f"  official  {_figures(official)}",
        f"            ({official['source']})",
    ]
    if about["note"]:
        lines.append(f"  note      {about['note']}")
    if root is None:
        return lines
    if "error" in about:
        return [*lines, f"  error     {about['error']}"]
    if about["found"] is None:
        return [*lines, f"  found     not found: {' or '.join(about['places'])}"]
    found = about["found"]
    places = [found["path"], *([found["beside"]] if found["beside"] else [])]
    return [*lines, f"  found     {_figures(found)}", *(f"            {place}" for place in places)]


def _figures(counts: dict[str, Any]) -> str:
    """Clips, speakers, parts and emotions on one line, what is unknown left out."""
    parts = [f"{counts[name]} {name}" for name in ("clips", "speakers") if counts[name] is not None]
    for name in ("splits", "emotions"):
        parts += [", ".join(f"{key} {count}" for key, count in counts[name].items())]
    return "; ".join(part for part in parts if part)
