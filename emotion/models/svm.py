"""Support vector machines whose whole state is a handful of arrays.

They are fitted by scikit-learn (LIBLINEAR, LIBSVM) and read by numpy alone, so that a checkpoint
needs no pickle. One machine an emotion, each against all others; its decisions become probabilities
by a sigmoid fitted to out-of-fold decisions (Platt, "Probabilistic outputs for support vector
machines", 1999, with the smoothed targets of its section 2.2), divided by their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from emotion import checkpoint
from emotion.errors import CheckpointError, CorpusError, InputError
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall

__all__ = ["SVM", "Normalisation", "SVMConfig", "normalised"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[Any]]

Normalisation = Literal["minmax", "l1", "root"]
Kernel = Literal["linear", "rbf"]

_ABSENT = -1.0  # decision of an emotion that no clip of a fold's training part shows
_FLATTEST = 1e-12


@dataclass(frozen=True)
class SVMConfig:
    """How a machine is fitted.

    Attributes:
        kernel: Linear (LIBLINEAR), or radial basis functions (LIBSVM) of width 1 / (features ×
            variance).
        costs: The C to choose among, by the unweighted average recall of out-of-fold decisions;
            of equally good ones the smallest.
        chain: What is done to features before they are standardised, in this order: "minmax" to
            the range of the training clips, "l1" to length 1, "root" the signed square root.
        folds: Most folds; there are never more than speakers.
        balanced: Whether every emotion weighs the same, however rare.
        seed: Of LIBLINEAR's coordinate descent.
    """

    kernel: Kernel = "linear"
    costs: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
    chain: tuple[Normalisation, ...] = ()
    folds: int = 5
    balanced: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", tuple(sorted(self.costs)))
        object.__setattr__(self, "chain", tuple(self.chain))
        if self.kernel not in get_args(Kernel):
            raise ValueError(f"Expected the kernel linear or rbf, got {self.kernel!r}.")
        if not self.costs or min(self.costs) <= 0 or self.folds < 2:
            raise ValueError(f"Expected costs > 0 and at least 2 folds, got {self}.")
        unknown = [name for name in self.chain if name not in get_args(Normalisation)]
        if unknown:
            raise ValueError(f"Expected steps of {get_args(Normalisation)}, got {unknown}.")


class SVM:
    """A fitted machine.

    Args:
        config: How it was fitted.
        arrays: Its state: `classes` (class,) indices into EMOTIONS; `low`, `high`, `mean` and
            `deviation` (feature,); `slope` and `offset` (class,) of the sigmoids; `intercept`
            (class,) and either `weight` (class, feature) or `support` (vector, feature), `dual`
            (class, vector) and `gamma`.
        held_out: (sample, emotion) calibrated out-of-fold probabilities of the samples it was
            fitted to, the honest view to weigh it against others by; not part of a checkpoint.

    Attributes:
        cost: The C that was chosen.
    """

    def __init__(self, config: SVMConfig, arrays: Arrays, held_out: Floats | None = None) -> None:
        missing = sorted(_needed(config) - set(arrays))
        if missing:
            raise CheckpointError(f"Expected the array {missing[0]} of an SVM, got none.")
        self.config, self.arrays, self.held_out = config, dict(arrays), held_out
        self.cost = float(arrays["cost"])

    @classmethod
    def fit(
        cls, config: SVMConfig, features: npt.ArrayLike, labels: Labels, groups: Sequence[str]
    ) -> SVM:
        """Choose C by folds that never part a group, calibrate on them, and fit to everything.

        Args:
            config: How.
            features: (sample, feature), finite.
            labels: (sample,) indices into EMOTIONS.
            groups: Whom each sample is of.

        Raises:
            InputError: If the features are not (sample, feature) or not finite.
            CorpusError: If there are fewer than two emotions or two groups.
        """
        rows = _checked(features)
        if len(rows) != len(labels) or len(set(groups)) < 2 or len(np.unique(labels)) < 2:
            raise CorpusError(
                "Expected clips of at least two emotions and two speakers, got "
                f"{len(rows)} clips of {len(np.unique(labels))} and {len(set(groups))}."
            )
        classes = np.unique(labels)
        folds = list(_folds(config, rows, labels, groups))
        cost, outside = _best_cost(config, rows, labels, classes, folds)
        arrays = _fit(config, cost, rows, labels, classes) | _sigmoids(outside, labels, classes)
        held_out = _probabilities(outside, arrays)
        return cls(config, arrays, held_out)

    def decisions(self, features: npt.ArrayLike) -> Floats:
        """Signed distances (sample, class) of features (sample, feature).

        Raises:
            InputError: If the features are not (sample, feature) or not finite.
        """
        rows, wanted = _checked(features), len(self.arrays["mean"])
        if rows.shape[1] != wanted:
            raise InputError(f"Expected features (sample, {wanted}), got shape {rows.shape}.")
        return _decisions(self.config, self.arrays, rows)

    def probabilities(self, features: npt.ArrayLike) -> Floats:
        """Calibrated probabilities (sample, emotion) of features (sample, feature).

        An emotion that was not among the training clips has probability 0.
        """
        return _probabilities(self.decisions(features), self.arrays)

    @property
    def state(self) -> Arrays:
        """All its arrays by name, as `SVM(config, state)` takes them."""
        return self.arrays

    def save(self, folder: str | Path, *, training: Mapping[str, Any]) -> None:
        """Write a checkpoint of config.json and model.safetensors."""
        stored = checkpoint.Stored("SVM", asdict(self.config), dict(training), self.arrays)
        checkpoint.write(folder, stored)

    @classmethod
    def load(cls, folder: str | Path) -> SVM:
        """Read a checkpoint.

        Raises:
            CheckpointError: If it is missing, damaged or of another kind.
        """
        stored = checkpoint.read(folder)
        if stored.architecture != "SVM":
            raise CheckpointError(f"Expected an SVM in {folder}, got {stored.architecture}.")
        return cls(SVMConfig(**stored.config), stored.arrays)


def normalised(
    features: Floats, chain: Sequence[Normalisation], low: Floats, high: Floats
) -> Floats:
    """Take features (sample, feature) through a chain of normalisations.

    Args:
        features: (sample, feature).
        chain: See `SVMConfig`.
        low: (feature,) smallest values among the training clips.
        high: (feature,) largest.

    >>> import numpy as np
    >>> rows = np.array([[0.0, 3.0]])
    >>> normalised(rows, ("minmax", "root"), np.zeros(2), np.full(2, 12.0)).tolist()
    [[0.0, 0.5]]
    """
    steps: dict[str, Callable[[Floats], Floats]] = {
        "minmax": lambda x: (x - low) / np.maximum(high - low, _FLATTEST),
        "l1": lambda x: x / np.maximum(np.abs(x).sum(axis=1, keepdims=True), _FLATTEST),
        "root": lambda x: np.sign(x) * np.sqrt(np.abs(x)),
    }
    for name in chain:
        features = steps[name](features)
    return features


def _needed(config: SVMConfig) -> set[str]:
    machine = {"weight"} if config.kernel == "linear" else {"support", "dual", "gamma"}
    common = {"classes", "cost", "deviation", "high", "intercept", "low", "mean", "offset", "slope"}
    return machine | common


def _checked(features: npt.ArrayLike) -> Floats:
    """Features (sample, feature) in float64, refused where they are something else."""
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise InputError(f"Expected finite features (sample, feature), got shape {rows.shape}.")
    return rows


def _folds(
    config: SVMConfig, rows: Floats, labels: Labels, groups: Sequence[str]
) -> Iterator[tuple[Labels, Labels]]:
    """Give the indices (sample,) of each fold's training and test part; no group is parted."""
    from sklearn.model_selection import GroupKFold

    splitter = GroupKFold(min(config.folds, len(set(groups))))
    for inside, outside in splitter.split(rows, labels, list(groups)):
        if len(np.unique(labels[inside])) > 1:
            yield inside, outside


def _best_cost(
    config: SVMConfig,
    rows: Floats,
    labels: Labels,
    classes: Labels,
    folds: Sequence[tuple[Labels, Labels]],
) -> tuple[float, Floats]:
    """Choose C, and give its out-of-fold decisions (sample, class)."""
    best: tuple[float, float, Floats] | None = None
    for cost in config.costs:
        decisions = np.full((len(rows), len(classes)), _ABSENT)
        for inside, outside in folds:
            arrays = _fit(config, cost, rows[inside], labels[inside], classes)
            decisions[outside] = _decisions(config, arrays, rows[outside])
        said = classes[decisions.argmax(axis=1)]
        recall = unweighted_average_recall(confusion_matrix(labels, said))
        if best is None or recall > best[0]:
            best = (recall, cost, decisions)
    assert best is not None  # the config has at least one cost
    return best[1], best[2]


def _fit(
    config: SVMConfig, cost: float, rows: Floats, labels: Labels, classes: Labels
) -> dict[str, npt.NDArray[Any]]:
    """Fit the normalisation and one machine a class; a class without samples is never near."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    chained = normalised(rows, config.chain, low, high)
    deviation = chained.std(axis=0)
    arrays: dict[str, npt.NDArray[Any]] = {
        "classes": classes,
        "cost": np.array(cost),
        "low": low,
        "high": high,
        "mean": chained.mean(axis=0),
        "deviation": np.where(deviation > _FLATTEST, deviation, 1.0),
    }
    standard = (chained - arrays["mean"]) / arrays["deviation"]
    fit = _fit_linear if config.kernel == "linear" else _fit_rbf
    return arrays | fit(config, cost, standard, labels, classes)


def _fit_linear(
    config: SVMConfig, cost: float, rows: Floats, labels: Labels, classes: Labels
) -> dict[str, npt.NDArray[Any]]:
    from sklearn.svm import LinearSVC

    weight, intercept = np.zeros((len(classes), rows.shape[1])), np.full(len(classes), _ABSENT)
    for row, own in _each_class(labels, classes):
        machine = LinearSVC(
            C=cost,
            class_weight="balanced" if config.balanced else None,
            dual="auto",
            max_iter=10_000,
            random_state=config.seed,
        ).fit(rows, own)
        weight[row], intercept[row] = machine.coef_[0], machine.intercept_[0]
    return {"weight": weight, "intercept": intercept}


def _fit_rbf(
    config: SVMConfig, cost: float, rows: Floats, labels: Labels, classes: Labels
) -> dict[str, npt.NDArray[Any]]:
    """Fit by LIBSVM; the machines share one list of support vectors."""
    from sklearn.svm import SVC

    gamma = 1.0 / (rows.shape[1] * max(rows.var(), _FLATTEST))
    dual, intercept = np.zeros((len(classes), len(rows))), np.full(len(classes), _ABSENT)
    for row, own in _each_class(labels, classes):
        balance = "balanced" if config.balanced else None
        machine = SVC(C=cost, gamma=gamma, class_weight=balance).fit(rows, own)
        dual[row, machine.support_], intercept[row] = machine.dual_coef_[0], machine.intercept_[0]
    used = dual.any(axis=0)
    return {
        "support": rows[used],
        "dual": dual[:, used],
        "intercept": intercept,
        "gamma": np.array(gamma),
    }


def _each_class(labels: Labels, classes: Labels) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    for row, name in enumerate(classes):
        own = labels == name
        if own.any():
            yield row, own


def _decisions(config: SVMConfig, arrays: Arrays, rows: Floats) -> Floats:
    """Signed distances (sample, class) of features (sample, feature)."""
    chained = normalised(rows, config.chain, arrays["low"], arrays["high"])
    standard = (chained - arrays["mean"]) / arrays["deviation"]
    if config.kernel == "linear":
        linear: Floats = standard @ arrays["weight"].T + arrays["intercept"]
        return linear
    support = arrays["support"]
    squares = (standard**2).sum(1)[:, None] + (support**2).sum(1) - 2 * standard @ support.T
    kernel = np.exp(-arrays["gamma"] * np.maximum(squares, 0.0))
    curved: Floats = kernel @ arrays["dual"].T + arrays["intercept"]
    return curved


def _sigmoids(decisions: Floats, labels: Labels, classes: Labels) -> dict[str, Floats]:
    """Slope and offset (class,) of p = 1 / (1 + exp(-(slope · f + offset)))."""
    pairs = [
        _platt(column, labels == name) for column, name in zip(decisions.T, classes, strict=True)
    ]
    slope, offset = np.array(pairs).T
    return {"slope": slope, "offset": offset}


def _platt(decisions: Floats, own: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Platt's sigmoid of decisions (sample,) as a logistic regression on weighted targets."""
    from sklearn.linear_model import LogisticRegression

    positive, negative = own.sum(), (~own).sum()
    targets = np.where(own, (positive + 1) / (positive + 2), 1 / (negative + 2))
    spread = max(float(np.abs(decisions).max()), _FLATTEST)
    column = np.tile(decisions / spread, 2)[:, None]
    answers = np.repeat([1, 0], len(decisions))
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        column, answers, sample_weight=np.concatenate([targets, 1 - targets])
    )
    # a slope below 0 would turn the machine around: a fold that learnt nothing tells nothing
    return max(float(fitted.coef_[0, 0]) / spread, 0.0), float(fitted.intercept_[0])


def _probabilities(decisions: Floats, arrays: Arrays) -> Floats:
    """Probabilities (sample, emotion) of decisions (sample, class)."""
    each = 1 / (1 + np.exp(-np.clip(arrays["slope"] * decisions + arrays["offset"], -500, 500)))
    spread: Floats = np.zeros((len(decisions), len(EMOTIONS)))
    spread[:, arrays["classes"]] = each / each.sum(axis=1, keepdims=True)
    return spread
