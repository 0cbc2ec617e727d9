"""What the commands of this package share: where the corpora are, lists of names, early checks."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from emotion.errors import CorpusError, InputError

__all__ = ["add_corpora", "check_writable", "corpora_root", "names"]


def add_corpora(parser: argparse.ArgumentParser) -> None:
    """Add `--data` and `--cache`."""
    parser.add_argument(
        "--data",
        metavar="ROOT",
        type=Path,
        help="folder of the corpora (default: $ATTUNE_DATA)",
    )
    parser.add_argument(
        "--cache", metavar="FOLDER", type=Path, help="of decoded corpora (default: ~/.cache/attune)"
    )


def names(text: str) -> tuple[str, ...]:
    """Split a list at its commas.

    >>> names("ravdess, emodb")
    ('ravdess', 'emodb')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def corpora_root(args: argparse.Namespace) -> Path:
    """Folder of the corpora, from `--data` or the environment.

    Raises:
        CorpusError: If none is given, or there is no such folder.
    """
    root = args.data or os.environ.get("ATTUNE_DATA")
    if not root:
        raise CorpusError("Expected a folder of corpora in --data or ATTUNE_DATA, got none.")
    if not Path(root).is_dir():
        raise CorpusError(f"Expected a folder of corpora at {root}, found none.")
    return Path(root)


def check_writable(file: Path) -> None:
    """Find out before an hour of work whether its result can be kept.

    Raises:
        InputError: If the file cannot be written.
    """
    existed = file.exists()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a"):
            pass
    except OSError as error:
        raise InputError(f"Expected a file to write at {file}, got: {error.strerror}.") from error
    if not existed:
        file.unlink()  # what fails later must not leave an empty result behind
