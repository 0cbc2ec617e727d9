"""Word vectors from what stands near what: positive pointwise mutual information, factorised.

Levy & Goldberg, "Neural Word Embedding as Implicit Matrix Factorization" (NeurIPS 2014), with the
context smoothing and the √ of the singular values of Levy, Goldberg & Dagan (TACL 2015).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["word_vectors"]

WINDOW = 5
SMOOTHING = 0.75
LEAST_WEIGHT = 0.9
"""Pairs lighter than this are left out; two neighbouring words met once weigh 1."""

_PIECE = 4_000_000

Floats = npt.NDArray[np.float32]


def word_vectors(words: npt.NDArray[np.int32], rows: int, width: int, seed: int) -> Floats:
    """Vectors of words, so that words in like company are alike.

    Args:
        words: (place,) numbers of the words in order of the text, 0 for what has no vector; between
            texts `WINDOW` zeros keep their words apart.
        rows: How many numbers there are, 0 among them.
        width: Size of a vector.
        seed: Of the factorisation.

    Returns:
        (row, width), 0 in row 0 and for words never met.
    """
    from sklearn.utils.extmath import randomized_svd

    information = _information(_neighbours(words, rows))
    left, singular, _ = randomized_svd(
        information, min(width, rows - 1), n_iter=3, random_state=seed
    )
    vectors = np.zeros((rows, width), np.float32)
    vectors[:, : left.shape[1]] = left * np.sqrt(singular)
    return vectors


def _neighbours(words: npt.NDArray[np.int32], rows: int) -> Any:
    """How often words stand near each other, 1/d at a distance d: sparse (row, row), symmetric."""
    from scipy import sparse  # type: ignore[import-untyped]

    found = sparse.csr_matrix((rows, rows), dtype=np.float32)
    for start in range(0, len(words), _PIECE):
        piece = words[start : start + _PIECE]
        for distance in range(1, WINDOW + 1):
            pair = piece[:-distance], piece[distance:]
            known = (pair[0] > 0) & (pair[1] > 0)
            weights = np.full(known.sum(), 1 / distance, np.float32)
            found += sparse.csr_matrix((weights, (pair[0][known], pair[1][known])), (rows, rows))
    return found + found.T


def _information(weights: Any) -> Any:
    """max(0, log p(word, context) / p(word) p(context)), the context's p smoothed: sparse."""
    from scipy import sparse

    entries = weights.tocoo()
    total = np.asarray(weights.sum(axis=1), np.float64)[:, 0]
    smooth = total**SMOOTHING
    expected = total[entries.row] * smooth[entries.col] / smooth.sum()
    information = np.log(entries.data / expected)
    kept = (information > 0) & (entries.data > LEAST_WEIGHT)
    places = entries.row[kept], entries.col[kept]
    return sparse.csr_matrix((information[kept].astype(np.float32), places), weights.shape)
