"""Trains the model of words on GoEmotions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion.calibration import fit_temperature
from emotion.corpora.goemotions import Comments, load_comments
from emotion.training.recipes import WordsRecipe
from emotion.words import WordFeatures, WordsModel

__all__ = ["fit_thresholds", "train_words"]

Floats = npt.NDArray[np.float64]


def train_words(recipe: WordsRecipe, root: Path, out: Path) -> WordsModel:
    """Train on `train` of GoEmotions under `root`, calibrate on `valid`, write `out`."""
    train, valid = load_comments(root, "train"), load_comments(root, "valid")
    features = WordFeatures(recipe.config)
    counts = features.counts(train.texts)
    idf = _inverse_document_frequency(counts)
    weights = fit_softmax(features.vectors(counts, idf), shares(train), recipe)
    raw = WordsModel(recipe.config, weights[:-1], weights[-1], idf)
    temperature = fit_temperature(raw.logits(valid.texts), shares(valid))
    model = WordsModel(recipe.config, raw.weights, raw.bias, idf, temperature)
    thresholds = fit_thresholds(valid.labels, model.probabilities(valid.texts))
    facts = {
        "recipe": "words",
        "corpora": ["goemotions train"],
        "calibrated_on": "goemotions valid",
        "thresholds": [round(float(t), 3) for t in thresholds],
    }
    model.save(out, facts)
    return WordsModel.load(out)


def shares(comments: Comments) -> Floats:
    """Targets (comment, emotion): a comment's labels share its probability."""
    labels = comments.labels.astype(np.float64)
    targets: Floats = labels / labels.sum(axis=1, keepdims=True)
    return targets


def fit_softmax(vectors: Any, targets: Floats, recipe: WordsRecipe) -> npt.NDArray[np.float32]:
    """Multinomial logistic regression with an L2 penalty, by L-BFGS.

    Args:
        vectors: Sparse (text, feature).
        targets: (text, emotion), rows summing to 1.
        recipe: Its penalty and number of iterations.

    Returns:
        (feature + 1, emotion); the last row is the bias.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    shape = (vectors.shape[1] + 1, targets.shape[1])

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        logits = vectors @ weights[:-1] + weights[-1]
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        slope = (np.exp(log_p) - targets) / len(targets)
        gradient = np.vstack([vectors.T @ slope + recipe.penalty * weights[:-1], slope.sum(0)])
        penalty = recipe.penalty / 2 * float((weights[:-1] ** 2).sum())
        return penalty - float((targets * log_p).sum()) / len(targets), gradient.ravel()

    found = minimize(
        loss,
        np.zeros(shape).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": recipe.iterations},
    )
    weights: npt.NDArray[np.float32] = found.x.reshape(shape).astype(np.float32)
    return weights


def fit_thresholds(labels: npt.NDArray[np.bool_], probabilities: npt.ArrayLike) -> Floats:
    """For each emotion the probability above which saying it gives the best F1.

    GoEmotions comments may have several labels, so its F1 is a matter of thresholds.

    Args:
        labels: (comment, emotion).
        probabilities: (comment, emotion).

    Returns:
        (emotion,).
    """
    candidates = np.arange(0.03, 0.9, 0.01)
    said = np.asarray(probabilities)[None] > candidates[:, None, None]
    hits = (said & labels).sum(axis=1)
    f1 = 2 * hits / np.maximum(said.sum(axis=1) + labels.sum(axis=0), 1)
    best: Floats = candidates[f1.argmax(axis=0)]
    return best


def _inverse_document_frequency(counts: Any) -> npt.NDArray[np.float32]:
    """log((1 + n) / (1 + df)) + 1 of each feature (feature,)."""
    seen = np.bincount(counts.indices, minlength=counts.shape[1])
    idf: npt.NDArray[np.float32] = np.log((1 + counts.shape[0]) / (1 + seen)) + 1
    return idf.astype(np.float32)
