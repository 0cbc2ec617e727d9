"""EPITOME's annotated replies to posts (Sharma et al., EMNLP 2020, "A Computational Approach to
Understanding Empathy Expressed in Text-Based Mental Health Support").

A reply is judged by three mechanisms, each at level 0 (none), 1 (weak) or 2 (strong): emotional
reactions (warmth, compassion), interpretations (saying that one understands what the other feels or
went through) and explorations (asking about what was not said). Where the level is above 0 the
annotators marked why: the rationale.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from dialogue.errors import CorpusError

__all__ = ["LEVELS", "MECHANISMS", "AnnotatedPair", "levels_of", "post_folds", "read_epitome"]

MECHANISMS: Final = ("emotional_reactions", "interpretations", "explorations")
"""In the order of every array's mechanism axis."""
LEVELS: Final = (0, 1, 2)
"""None, weak, strong."""


@dataclass(frozen=True)
class AnnotatedPair:
    """A post, a reply to it, and what people found in the reply.

    Attributes:
        post_id: The same for all replies to one post.
        post: What the person said.
        response: The reply.
        levels: Of each mechanism, 0, 1 or 2.
        rationales: For each mechanism the parts of the reply that show it; none at level 0.
    """

    post_id: str
    post: str = field(repr=False)
    response: str = field(repr=False)
    levels: tuple[int, ...]
    rationales: tuple[tuple[str, ...], ...] = field(repr=False)


def read_epitome(root: Path) -> list[AnnotatedPair]:
    """Read the pairs from `empathy/<mechanism>-reddit.csv`, in the order of the files.

    Args:
        root: Folder of the corpora.

    Raises:
        CorpusError: If a file is missing, has other columns or levels, or other pairs than the
            first.
    """
    files = [_rows(root / "empathy" / f"{m.replace('_', '-')}-reddit.csv") for m in MECHANISMS]
    ids = [[(row["sp_id"], row["rp_id"]) for row in rows] for rows in files]
    if any(other != ids[0] for other in ids[1:]):
        raise CorpusError(
            f"Expected the same pairs in all files of {root / 'empathy'}, got others."
        )
    return [_pair(rows) for rows in zip(*files, strict=True)]


def _rows(path: Path) -> list[dict[str, str]]:
    wanted = {"sp_id", "rp_id", "seeker_post", "response_post", "level", "rationales"}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"Expected annotated replies at {path}, got: {error}.") from error
    if not rows or not wanted <= set(rows[0]):
        got = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise CorpusError(f"Expected columns {', '.join(sorted(wanted))} in {path}, got {got}.")
    odd = next((row["level"] for row in rows if row["level"] not in ("0", "1", "2")), None)
    if odd is not None:
        raise CorpusError(f"Expected levels 0, 1 or 2 in {path}, got {odd!r}.")
    return rows


def _pair(rows: Sequence[dict[str, str]]) -> AnnotatedPair:
    # The three files copy one reply with other blanks between its sentences; one copy will do.
    first = rows[0]
    return AnnotatedPair(
        post_id=first["sp_id"],
        post=first["seeker_post"],
        response=first["response_post"],
        levels=tuple(int(row["level"]) for row in rows),
        rationales=tuple(_parts(row["rationales"] or "") for row in rows),
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def levels_of(pairs: Sequence[AnnotatedPair]) -> npt.NDArray[np.int64]:
    """Levels (pair, mechanism)."""
    return np.array([pair.levels for pair in pairs], np.int64).reshape(-1, len(MECHANISMS))


def post_folds(posts: Sequence[str], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal pairs into folds of like size, all replies to one post into the same.

    Args:
        posts: Id of the post, for each pair.
        folds: How many; at most as many as there are posts.
        seed: Of the order in which posts are dealt.

    Returns:
        (pair,) number of the fold.

    Raises:
        CorpusError: If there are fewer posts than folds.

    >>> fold = post_folds(["a", "b", "a", "c"], folds=2, seed=0)
    >>> bool(fold[0] == fold[2])
    True
    """
    from sklearn.model_selection import GroupKFold

    if not 2 <= folds <= len(set(posts)):
        raise CorpusError(
            f"Expected 2 to {len(set(posts))} folds, one post or more each, got {folds}."
        )
    dealt = np.zeros(len(posts), np.int64)
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(np.zeros(len(posts)), groups=posts)):
        dealt[held_out] = number
    return dealt
