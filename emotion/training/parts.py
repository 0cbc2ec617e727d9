"""Who of a corpus is trained on, who is validated on, and who is left to be judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from emotion.corpora.clip import Clip
from emotion.errors import CorpusError
from emotion.training.clips import ClipStore

__all__ = ["Parts", "judged", "parted", "with_pictures"]


def with_pictures(store: ClipStore) -> ClipStore:
    """Keep the clips with pictures.

    Raises:
        CorpusError: If there is none.
    """
    chosen = [index for index, clip in enumerate(store.clips) if clip.video is not None]
    if not chosen:
        raise CorpusError(f"Expected clips with pictures, got {len(store)} with sound alone.")
    return store.of(chosen)


@dataclass(frozen=True)
class Parts:
    """Who is in which part.

    Attributes:
        train: Clips to learn from.
        valid: Clips for temperature and weights, of nobody in training.
        chosen: How these were chosen, by corpus.
    """

    train: ClipStore
    valid: ClipStore
    chosen: dict[str, str]


def parted(store: ClipStore, without: Collection[str], *, every: int | None, seed: int) -> Parts:
    """Part the clips with pictures into training and validation.

    Args:
        store: Clips of any corpora; those of an official part "test" are left out.
        without: Speakers to leave out of both.
        every: One of so many speakers is kept for validation where a corpus has no such part
            itself; None keeps nobody then.
        seed: Of the choice.

    Raises:
        CorpusError: If there is nothing to train on.
    """
    store = with_pictures(store)
    learnt = [
        i for i, c in enumerate(store.clips) if c.speaker not in without and c.split != "test"
    ]
    kept: set[int] = set()
    chosen: dict[str, str] = {}
    for corpus in sorted({store.clips[i].corpus for i in learnt}):
        own = {i: store.clips[i] for i in learnt if store.clips[i].corpus == corpus}
        found, chosen[corpus] = _validation(own, every, seed)
        kept |= found
    train = [i for i in learnt if i not in kept]
    if len(set(store.labels[train].tolist())) < 2:
        raise CorpusError(f"Expected clips of at least two emotions to train on, got {len(train)}.")
    return Parts(store.of(train), store.of(sorted(kept)), chosen)


def _validation(clips: Mapping[int, Clip], every: int | None, seed: int) -> tuple[set[int], str]:
    """Choose clips of one corpus, by index, to validate on; and say how.

    The corpus's own part, or one of so many speakers, or of so many sessions where people were
    recorded together. Where a corpus names nobody and its own part is held out, as AFEW's may be,
    one of so many clips: temperature and weights are then found on people who may be known, but
    never on those to be scored.
    """
    groups = sorted({clip.group for clip in clips.values()})
    official = {i for i, clip in clips.items() if clip.split == "valid"}
    order = np.random.default_rng(seed)
    if official and len({clips[i].group for i in official}) < len(groups):
        return official, "official part"
    if every is None or len(groups) == 2:
        return set(), "none"
    if len(groups) > 2:
        drawn = set(order.permutation(groups)[: max(1, len(groups) // every)].tolist())
        return {i for i, clip in clips.items() if clip.group in drawn}, "by speaker"
    some = order.permutation(sorted(clips))[: len(clips) // every].tolist()
    return set(some), "by clip: the corpus names no speakers"


def judged(
    store: ClipStore, facts: Mapping[str, Any], split: str | None, speakers: Collection[str] | None
) -> ClipStore:
    """Keep the clips of people whom a model does not know.

    Args:
        store: Clips of a corpus.
        facts: Of the model's training.
        split: Official part to judge, even if it was validated on; None judges all parts.
        speakers: Whom to judge; None judges everybody.

    Raises:
        CorpusError: If nobody is left.
    """
    known = {*facts["speakers"], *facts["encoder_speakers"]}
    if split is None:
        known |= set(facts["validation_speakers"])
    chosen = [
        i
        for i, clip in enumerate(store.clips)
        if clip.speaker not in known
        and (split is None or clip.split == split)
        and (speakers is None or clip.speaker in speakers)
    ]
    if not chosen:
        raise CorpusError(
            "Expected clips of speakers that neither the model nor its encoders know among "
            f"{len(store)}, got none: hold some out with --without-speakers."
        )
    return store.of(chosen)
