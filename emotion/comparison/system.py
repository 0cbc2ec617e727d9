"""What a system of the table is: its name, its paper, and how it is made or why it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emotion.comparison.arena import Learner

__all__ = [
    "AM_FBP",
    "KNYAZEV_2017",
    "LIU_2018",
    "OWN",
    "TZIRAKIS_2017",
    "ZHANG_2018",
    "ZHANG_2019",
    "Options",
    "System",
]

ZHANG_2018 = "Zhang et al. 2018"
ZHANG_2019 = "Zhang et al. 2019"
AM_FBP = "AM-FBP 2021"
TZIRAKIS_2017 = "Tzirakis et al. 2017"
LIU_2018 = "Liu et al. 2018"
KNYAZEV_2017 = "Knyazev et al. 2017"
OWN = "baseline"


@dataclass(frozen=True)
class Options:
    """What the command line says to all systems.

    Attributes:
        epochs: Instead of every recipe's own, for a trial.
        voice_model: A model of speech: a folder or an id of the Hugging Face hub.
        face_model: A model of pictures, likewise.
    """

    epochs: int | None = None
    voice_model: str | None = None
    face_model: str | None = None


@dataclass(frozen=True)
class System:
    """One row of the table.

    Attributes:
        name: As on the command line and in the table.
        source: The paper it is of.
        make: Makes it, or returns None where something that it needs is not given.
        note: How it is trained here, or what it needs.
        ablation_of: The system with attention whose average-pooled twin this is.
    """

    name: str
    source: str
    make: Callable[[Options], Learner | None]
    note: str = ""
    ablation_of: str | None = None
