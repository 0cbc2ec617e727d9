"""What the scorer has to beat: TF-IDF and logistic regression over the reply's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dialogue.empathy.agreement import accuracy, confusion_of, macro_f1

__all__ = ["SETTINGS", "BaselineSetting", "tuned_baseline"]

Ints = npt.NDArray[np.int64]
_WORDS: Final = r"(?u)\b\w\w+\b"
_WORDS_AND_SIGNS: Final = r"(?u)\b\w+\b|[^\w\s]"


@dataclass(frozen=True)
class BaselineSetting:
    """One of those that are tried.

    Attributes:
        signs: Whether punctuation counts as words.
        strength: Inverse L2 penalty, C.
        balanced: Whether each level counts the same in sum.
    """

    signs: bool
    strength: float
    balanced: bool

    def fitted_to(
        self, texts: Sequence[str], levels: Ints, others: Sequence[str]
    ) -> npt.NDArray[np.int64]:
        """Levels (text,) of the others after learning the first."""
        from sklearn.linear_model import LogisticRegression

        if (levels == levels[0]).all():
            return np.full(len(others), levels[0])
        vectorizer = self._vectorizer()
        weight = "balanced" if self.balanced else None
        model = LogisticRegression(C=self.strength, class_weight=weight, max_iter=300)
        model.fit(vectorizer.fit_transform(texts), levels)
        said: npt.NDArray[np.int64] = model.predict(vectorizer.transform(others))
        return said

    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            ngram_range=(1, 2),
            min_df=2,
            sublinear_tf=True,
            token_pattern=_WORDS_AND_SIGNS if self.signs else _WORDS,
        )


SETTINGS: Final = tuple(
    BaselineSetting(*values) for values in product((False, True), (1.0, 10.0), (False, True))
)


def tuned_baseline(
    texts: Sequence[str], levels: Ints, folds: Ints, others: Sequence[str]
) -> tuple[Ints, BaselineSetting]:
    """Say levels (text,) of other replies, by the setting that is best within the training part.

    Best by accuracy and macro-F1 in sum over the inner folds.

    Args:
        texts: Replies to learn from.
        levels: (text,) of one mechanism.
        folds: (text,) number of the inner fold.
        others: Replies to judge.
    """

    def worth(setting: BaselineSetting) -> float:
        said = np.zeros_like(levels)
        for fold in np.unique(folds):
            unseen = folds == fold
            seen = [text for text, held in zip(texts, unseen, strict=True) if not held]
            held_out = [text for text, held in zip(texts, unseen, strict=True) if held]
            said[unseen] = setting.fitted_to(seen, levels[~unseen], held_out)
        confusion = confusion_of(levels, said)
        return float(accuracy(confusion) + macro_f1(confusion))

    best = max(SETTINGS, key=worth)
    return best.fitted_to(texts, levels, others), best
