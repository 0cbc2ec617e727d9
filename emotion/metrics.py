"""Scores as pure functions of what was true and what was said, in float64.

Labels are indices into EMOTIONS. Classes that never occur among the true labels count in no mean
over classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emotion.errors import InputError
from emotion.labels import EMOTIONS

__all__ = [
    "accuracy_of_surest",
    "calibration_errors_by_chance",
    "concordance",
    "confusion_matrix",
    "expected_calibration_error",
    "macro_f1",
    "recalls",
    "unweighted_average_recall",
    "weighted_accuracy",
]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def confusion_matrix(
    truth: npt.ArrayLike, said: npt.ArrayLike, classes: int = len(EMOTIONS)
) -> Counts:
    """Count what was said of each true class.

    Args:
        truth: (sample,) class indices.
        said: (sample,) class indices.
        classes: How many classes there are.

    Returns:
        (true class, said class) counts.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    wanted, got = np.asarray(truth), np.asarray(said)
    if wanted.shape != got.shape or wanted.ndim != 1 or not len(wanted):
        raise InputError(
            f"Expected two equally long lists of labels, got shapes {wanted.shape}, {got.shape}."
        )
    counts: Counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (wanted, got), 1)
    return counts


def weighted_accuracy(confusion: npt.ArrayLike) -> float:
    """WA: the part of all samples that was named rightly, Σ_c n_cc / n.

    >>> weighted_accuracy([[1, 1], [0, 2]])
    0.75
    """
    counts = np.asarray(confusion, dtype=np.float64)
    return float(np.trace(counts) / counts.sum())


def recalls(confusion: npt.ArrayLike) -> Floats:
    """Recall of each class, n_cc / Σ_j n_cj; nan for a class that does not occur.

    Args:
        confusion: (true class, said class) counts.

    Returns:
        (class,) in [0, 1].
    """
    counts = np.asarray(confusion, dtype=np.float64)
    totals = counts.sum(axis=1)
    hits = np.diag(counts)
    rates: Floats = np.full(len(counts), np.nan)
    np.divide(hits, totals, out=rates, where=totals > 0)
    return rates


def unweighted_average_recall(confusion: npt.ArrayLike) -> float:
    """UAR: mean recall over the classes that occur.

    Schuller et al., "The INTERSPEECH 2009 Emotion Challenge", section 3.

    >>> unweighted_average_recall([[1, 1, 0], [0, 2, 0], [0, 0, 0]])
    0.75
    """
    return float(np.nanmean(recalls(confusion)))


def macro_f1(confusion: npt.ArrayLike) -> float:
    """Mean over the classes that occur of F1 = 2 n_cc / (Σ_j n_cj + Σ_i n_ic).

    Opitz & Burst, "Macro F1 and Macro F1" (arXiv:1911.03347), the averaged F1.

    >>> round(macro_f1([[1, 1], [0, 2]]), 4)
    0.7333
    """
    counts = np.asarray(confusion, dtype=np.float64)
    true, said = counts.sum(axis=1), counts.sum(axis=0)
    return float(np.mean((2 * np.diag(counts) / np.maximum(true + said, 1))[true > 0]))


def concordance(truth: npt.ArrayLike, said: npt.ArrayLike) -> float:
    """CCC = 2 s_xy / (s_x² + s_y² + (m_x − m_y)²), with variances divided by n.

    Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45 (1989),
    section 2. Two equal constants agree fully: 1.

    Args:
        truth: (sample,) values.
        said: (sample,) values.

    >>> round(concordance([1, 2, 3], [2, 3, 4]), 4)
    0.5714
    """
    x, y = np.asarray(truth, dtype=np.float64), np.asarray(said, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or not len(x):
        raise InputError(f"Expected two equally long rows, got shapes {x.shape} and {y.shape}.")
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * covariance / spread) if spread > 0 else 1.0


def expected_calibration_error(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15
) -> float:
    """ECE = Σ_b n_b / n · |accuracy_b − confidence_b| over equal bins of confidence (low, high].

    Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), eq. 3.

    Args:
        truth: (sample,) class indices.
        probabilities: (sample, class), rows summing to 1.
        bins: How many.

    >>> round(expected_calibration_error([0, 1], [[0.9, 0.1], [0.6, 0.4]]), 4)
    0.35
    """
    wanted = np.asarray(truth)
    said = np.asarray(probabilities, dtype=np.float64)
    confidence = said.max(axis=1)
    right = said.argmax(axis=1) == wanted
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(wanted))


def calibration_errors_by_chance(
    probabilities: npt.ArrayLike, generator: np.random.Generator, draws: int = 200
) -> npt.NDArray[np.float64]:
    """ECE (draw,) of probabilities that are exactly right, for want of samples.

    With few samples the accuracy of a bin strays from its confidence by chance alone, so ECE is
    never 0: it is taken over labels drawn from the probabilities themselves (Vaicenavicius et al.,
    "Evaluating model calibration in classification", AISTATS 2019, section 5, consistency
    resampling). Their mean is what to expect; the part of them above a measured ECE is the p-value
    of the probabilities being exact, where samples are independent.

    Args:
        probabilities: (sample, class), rows summing to 1.
        generator: Source of randomness.
        draws: How many times all labels are drawn.
    """
    said = np.asarray(probabilities, dtype=np.float64)
    edges = said.cumsum(axis=1)
    chances = generator.random((draws, len(said), 1)) * edges[:, -1:]
    drawn = (chances > edges).sum(axis=2)
    return np.array([expected_calibration_error(labels, said) for labels in drawn])


def accuracy_of_surest(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, part: float = 0.5
) -> float:
    """WA on that part of the samples whose likeliest class is most probable.

    One point of the risk-coverage curve of El-Yaniv & Wiener, JMLR 11 (2010).

    Args:
        truth: (sample,) class indices.
        probabilities: (sample, class).
        part: In (0, 1]; at least one sample is kept.

    >>> accuracy_of_surest([0, 1], [[0.9, 0.1], [0.6, 0.4]])
    1.0
    """
    wanted, said = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    surest = np.argsort(-said.max(axis=1), kind="stable")[: max(1, int(len(said) * part))]
    return float((said.argmax(axis=1) == wanted)[surest].mean())
