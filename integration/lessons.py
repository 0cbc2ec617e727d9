"""What corrections teach for the rest of a talk: how this person's feelings show.

Each correction says: where this was read, that was felt. With them the chance that somebody feels
b where a is read is that of a row of a confusion matrix under a Dirichlet prior (Dawid & Skene
1979, with soft counts):

    T(a, b) = (n₀ [a = b] + Σ over corrections p(a) [stated = b]) / (n₀ + Σ over corrections p(a))

and a later reading p becomes p'(b) = Σ_a p(a) T(a, b). One correction makes a reading less sure;
several that agree turn it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from emotion.calibration import UNCLEAR_BELOW
from emotion.estimate import EmotionEstimate, Probabilities
from emotion.labels import EMOTIONS, Emotion

__all__ = ["Lesson", "adapted"]

TRUST: Final = 2.0
"""n₀: so many corrections of a sure reading weigh as much as the recogniser."""


@dataclass(frozen=True)
class Lesson:
    """One correction.

    Attributes:
        read: What was read; sums to 1.
        stated: What the person says they felt.
    """

    read: Probabilities = field(repr=False)
    stated: Emotion = field(repr=False)


def adapted(estimate: EmotionEstimate | None, lessons: Sequence[Lesson]) -> EmotionEstimate | None:
    """Return the estimate in the light of what the person has said since the talk began.

    Its channels' own readings stay as they are. Without lessons it is the same.
    """
    if estimate is None or not lessons:
        return estimate
    felt = dict.fromkeys(EMOTIONS, 0.0)
    for read, p in estimate.probabilities.items():
        told = [(lesson.read.get(read, 0.0), lesson.stated) for lesson in lessons]
        total = TRUST + sum(weight for weight, _ in told)
        felt[read] += p * TRUST / total
        for weight, stated in told:
            felt[stated] += p * weight / total
    label = max(felt, key=felt.__getitem__)
    clear = felt[label] >= UNCLEAR_BELOW
    return replace(estimate, probabilities=felt, label=label if clear else None)
