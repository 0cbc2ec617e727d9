"""An ensemble of networks whose frame features are pooled and read by linear machines.

Knyazev, Shvetsov, Efremova & Kuharenko, "Convolutional neural networks pretrained on large face
recognition datasets for emotion classification from video" (arXiv:1711.04598): one vector a frame
by each of several face networks; mean, standard deviation and minimum over a clip's frames;
min-max, L1 and signed square root; standardisation and a linear support vector machine whose C is
chosen by 5-fold cross-validation; sigmoid calibration; probabilities summed over the networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from emotion import checkpoint
from emotion.errors import CheckpointError, CorpusError, InputError
from emotion.labels import EMOTIONS
from emotion.models.decision import fit_decision_weights, weighted_decisions
from emotion.models.svm import SVM, SVMConfig

__all__ = ["KNYAZEV", "PooledSVM", "PooledSVMConfig", "Statistic", "pool_frames"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Statistic = Literal["mean", "std", "min", "max"]

KNYAZEV = SVMConfig(chain=("minmax", "l1", "root"), costs=(1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0))
"""The paper's chain; whether its min-max is taken by feature is remembered, not checked."""


@dataclass(frozen=True)
class PooledSVMConfig:
    """Which networks, what is pooled, and how the machines are fitted.

    Attributes:
        networks: Names of the networks, in order of their weights.
        statistics: What is taken of each feature over a clip's frames.
        svm: How each network's machine is fitted.
        weighting: "even" as in the paper, whose sum has no weights, or "fitted": weights found on
            the out-of-fold probabilities.
    """

    networks: tuple[str, ...] = ("face",)
    statistics: tuple[Statistic, ...] = ("mean", "std", "min")
    svm: SVMConfig = field(default_factory=lambda: KNYAZEV)
    weighting: Literal["even", "fitted"] = "even"

    def __post_init__(self) -> None:
        for name in ("networks", "statistics"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.svm, Mapping):
            object.__setattr__(self, "svm", SVMConfig(**self.svm))
        if not self.networks or not set(self.statistics) <= set(get_args(Statistic)):
            raise ValueError(f"Expected a network and statistics {get_args(Statistic)}, got {self}")
        if not self.statistics or self.weighting not in ("even", "fitted"):
            raise ValueError(f"Expected statistics and even or fitted weighting, got {self}.")


class PooledSVM:
    """A fitted ensemble.

    Args:
        config: How it was fitted.
        machines: One a network, in order of `config.networks`.
        weights: (network,) of the calibrated sum, summing to 1.
        prior: (emotion,) parts of the training clips: what is said of a clip without a face.
    """

    def __init__(
        self, config: PooledSVMConfig, machines: Sequence[SVM], weights: Floats, prior: Floats
    ) -> None:
        self.config, self.machines = config, tuple(machines)
        self.weights, self.prior = weights, prior

    @classmethod
    def fit(
        cls,
        config: PooledSVMConfig,
        frames: Mapping[str, Sequence[npt.NDArray[Any]]],
        labels: Labels,
        groups: Sequence[str],
    ) -> PooledSVM:
        """Fit one machine a network and find their weights.

        Args:
            config: How.
            frames: By network, each clip's (frame, feature); clips without frames are left out.
            labels: (clip,) indices into EMOTIONS.
            groups: Whom each clip is of; folds never part one.

        Raises:
            CorpusError: If fewer than two emotions or speakers have a face.
            InputError: If a network's features are missing or do not fit.
        """
        seen = _with_frames(config, frames)
        chosen = [str(group) for group, kept in zip(groups, seen, strict=True) if kept]
        if not chosen:
            raise CorpusError(f"Expected clips with a face, got none among {len(groups)}.")
        machines = [
            SVM.fit(config.svm, _pooled(config, frames[name], seen), labels[seen], chosen)
            for name in config.networks
        ]
        weights = np.full(len(machines), 1 / len(machines))
        if config.weighting == "fitted":
            views = [machine.held_out for machine in machines if machine.held_out is not None]
            weights = fit_decision_weights(views, labels[seen])
        return cls(
            config, machines, weights, np.bincount(labels, minlength=len(EMOTIONS)) / len(labels)
        )

    def probabilities(self, frames: Mapping[str, Sequence[npt.NDArray[Any]]]) -> Floats:
        """Weighted sum (clip, emotion) of the machines' calibrated probabilities.

        Args:
            frames: By network, each clip's (frame, feature); a clip without frames gets the prior.

        Raises:
            InputError: If a network's features are missing or do not fit.
        """
        seen = _with_frames(self.config, frames)
        said = np.tile(self.prior, (len(seen), 1))
        if seen.any():
            views = [
                machine.probabilities(_pooled(self.config, frames[name], seen))
                for name, machine in zip(self.config.networks, self.machines, strict=True)
            ]
            said[seen] = weighted_decisions(views, self.weights)
        return said

    def save(self, folder: str | Path, *, training: Mapping[str, Any]) -> None:
        """Write a checkpoint of config.json and model.safetensors."""
        arrays: dict[str, npt.NDArray[Any]] = {"weights": self.weights, "prior": self.prior}
        for name, machine in zip(self.config.networks, self.machines, strict=True):
            arrays |= {f"{name}.{key}": array for key, array in machine.state.items()}
        stored = checkpoint.Stored("PooledSVM", asdict(self.config), dict(training), arrays)
        checkpoint.write(folder, stored)

    @classmethod
    def load(cls, folder: str | Path) -> PooledSVM:
        """Read a checkpoint.

        Raises:
            CheckpointError: If it is missing, damaged or of another kind.
        """
        stored = checkpoint.read(folder)
        if stored.architecture != "PooledSVM":
            raise CheckpointError(f"Expected a PooledSVM in {folder}, got {stored.architecture}.")
        config = PooledSVMConfig(**stored.config)
        machines = []
        for name in config.networks:
            start = f"{name}."
            own = {
                k.removeprefix(start): v for k, v in stored.arrays.items() if k.startswith(start)
            }
            machines.append(SVM(config.svm, own))
        return cls(config, machines, stored.arrays["weights"], stored.arrays["prior"])


def pool_frames(
    frames: npt.NDArray[Any], statistics: Sequence[Statistic] = ("mean", "std", "min")
) -> Floats:
    """Pool (frame, feature) into (statistic · feature,), one statistic after the other.

    Raises:
        InputError: If the frames are not (frame, feature) or there is none.

    >>> import numpy as np
    >>> pool_frames(np.array([[1.0], [3.0]])).tolist()
    [2.0, 1.0, 1.0]
    """
    if frames.ndim != 2 or not len(frames):
        raise InputError(f"Expected at least one frame (frame, feature), got shape {frames.shape}.")
    each: Floats = frames.astype(np.float64)
    pools: dict[str, Any] = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}
    return np.concatenate([pools[name](each, axis=0) for name in statistics])


def _with_frames(
    config: PooledSVMConfig, frames: Mapping[str, Sequence[npt.NDArray[Any]]]
) -> npt.NDArray[np.bool_]:
    """(clip,) true where there are frames, the same for every network."""
    missing = [name for name in config.networks if name not in frames]
    if missing:
        raise InputError(
            f"Expected features of {', '.join(config.networks)}, got none of {missing[0]}."
        )
    return np.array([len(rows) > 0 for rows in frames[config.networks[0]]], dtype=bool)


def _pooled(
    config: PooledSVMConfig, frames: Sequence[npt.NDArray[Any]], seen: npt.NDArray[np.bool_]
) -> Floats:
    """Pooled features (clip, statistic · feature) of the clips that have frames."""
    kept = [rows for rows, has in zip(frames, seen, strict=True) if has]
    return np.stack([pool_frames(rows, config.statistics) for rows in kept])
