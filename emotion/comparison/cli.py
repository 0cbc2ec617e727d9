"""Command `attune compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from emotion.arguments import add_corpora, check_writable, corpora_root, names
from emotion.errors import InputError

__all__ = ["add_commands"]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `compare` to the parser of `attune`."""
    compare = commands.add_parser(
        "compare",
        help="train and score every system of the papers, side by side",
        description="Train and score every system that the corpora at hand allow, on the same "
        "folds of other people, and write one table as Markdown, JSON and confusion matrices. "
        "What is done is kept: a comparison that was killed goes on where it stopped.",
    )
    add_corpora(compare)
    compare.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=Path("runs/compare"),
        help="default: %(default)s",
    )
    compare.add_argument(
        "--arenas",
        metavar="NAME,…",
        type=names,
        help="some of ravdess-pairs, ravdess-voice (likewise emodb, savee, enterface, cremad, "
        "iemocap), cross-corpus, fer2013-face, clips, continuous (default: all)",
    )
    compare.add_argument("--systems", metavar="NAME,…", type=names, help="default: all")
    compare.add_argument(
        "--train", metavar="CORPUS,…", type=names, help="voices: train on these corpora …"
    )
    compare.add_argument(
        "--test", metavar="CORPUS,…", type=names, help="… and test on these, instead of --arenas"
    )
    compare.add_argument("--epochs", type=int, help="instead of each recipe's, for a trial")
    compare.add_argument(
        "--voice-model", metavar="FOLDER|HUB_ID", help="a speech model of the hub, as one more row"
    )
    compare.add_argument(
        "--face-model", metavar="FOLDER|HUB_ID", help="a picture model of the hub, likewise"
    )
    compare.add_argument(
        "--resume", action="store_true", help="go on with what is in --out, which it always does"
    )
    compare.set_defaults(run=_compare)


def _compare(args: argparse.Namespace) -> int:
    from emotion.comparison.report import Request, compare
    from emotion.comparison.system import Options
    from emotion.corpora.archive import default_cache

    if bool(args.train) != bool(args.test):
        raise InputError("Expected both --train and --test, or neither, got one of them.")
    if args.epochs is not None and args.epochs < 1:
        raise InputError(f"Expected at least one epoch, got {args.epochs}.")
    request = Request(
        root=corpora_root(args),
        out=args.out,
        cache=args.cache or default_cache(),
        arenas=args.arenas,
        systems=args.systems,
        train=args.train or (),
        test=args.test or (),
        options=Options(args.epochs, args.voice_model, args.face_model),
    )
    check_writable(args.out / "compare.json")
    compare(request)
    print((args.out / "compare.md").read_text())
    print(f"{args.out}: compare.md, compare.json and the confusion matrices")
    return 0
