"""Words and their neighbours, hashed (Weinberger et al., "Feature hashing", ICML 2009).

Only the buckets that two texts or more of the training part fall into are kept, so that what is
stored is small and holds no words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

__all__ = ["HashedNgrams", "hashed_counts"]

BUCKETS: Final = 2**20
_TOKENS: Final = r"(?u)\b\w+(?:'\w+)?\b|[^\w\s]"


def hashed_counts(texts: Sequence[str], longest: int) -> Any:
    """1 + log of how often each n-gram occurs, sparse (text, bucket).

    Args:
        texts: Any; case does not matter, and signs are words as well.
        longest: Words of the longest n-gram.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        ngram_range=(1, longest),
        n_features=BUCKETS,
        token_pattern=_TOKENS,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    counts = hashing.transform(texts)
    counts.data = 1 + np.log(counts.data)
    return counts


@dataclass(frozen=True)
class HashedNgrams:
    """Buckets worth keeping, and how rare each is.

    Attributes:
        buckets: (feature,) int32, ascending.
        idf: (feature,) float32 inverse document frequencies.
    """

    buckets: npt.NDArray[np.int32] = field(repr=False)
    idf: npt.NDArray[np.float32] = field(repr=False)

    @classmethod
    def fit(cls, counts: Any) -> Self:
        """Keep the buckets that two texts or more fall into.

        Args:
            counts: Sparse (text, bucket) of `hashed_counts`.
        """
        texts = np.bincount(counts.indices, minlength=BUCKETS)
        buckets = np.flatnonzero(texts >= 2).astype(np.int32)
        # Rounded as they are stored, so that a scorer read back is the one that was measured.
        idf = (np.log((1 + counts.shape[0]) / (1 + texts[buckets])) + 1).astype(np.float16)
        return cls(buckets, idf.astype(np.float32))

    def vectors(self, counts: Any) -> Any:
        """Weigh `hashed_counts`, sparse (text, feature), each text's vector of length 1 or 0."""
        from sklearn.preprocessing import normalize

        return normalize(counts[:, self.buckets].multiply(self.idf[None]).tocsr())
