"""A hybrid of networks and machines whose decisions are summed by weights.

Liu, Tang, Lv & Wang, "Multi-feature based emotion recognition for video clips" (EmotiW, ICMI 2018),
as its abstract tells it: (i) a VGG network's frame features in an LSTM; (ii) an ImageNet network
(Inception V3) fine-tuned on faces, its softmax averaged over frames; (iii) Euclidean distances
between facial landmarks in a support vector machine; (iv) acoustic features of openSMILE and of
SoundNet in support vector machines; a weighted sum of their decisions, its weights found on the
validation clips. Which sizes its LSTM and kernels had, and how its weights were searched, is not
known here: the sizes are settings, the weights those under which the labels are likeliest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities
from emotion.errors import CheckpointError, InputError
from emotion.labels import EMOTIONS
from emotion.models.decision import fit_decision_weights, weighted_decisions
from emotion.models.frames import FrameAverage, FrameLSTM
from emotion.models.svm import SVM

__all__ = ["Hybrid", "HybridConfig", "NetworkMember", "distance_statistics"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NetworkMember:
    """A network over a clip's frames, and the temperature of its probabilities."""

    model: FrameLSTM | FrameAverage
    temperature: float = 1.0

    @torch.inference_mode()
    def probabilities(self, clips: Sequence[npt.NDArray[Any]]) -> Floats:
        """Read each clip's (frame, feature): (clip, emotion), nan where it has no frame."""
        said: Floats = np.full((len(clips), len(EMOTIONS)), np.nan)
        for row, frames in enumerate(clips):
            if len(frames):
                logits = self.model(torch.from_numpy(np.asarray(frames, np.float32))[None]).logits
                said[row] = calibrated_probabilities(logits.numpy(), self.temperature)[0]
        return said

    @classmethod
    def load(cls, folder: Path) -> NetworkMember:
        """Read a checkpoint of one of the two networks."""
        model = checkpoint.load(folder)
        return cls(model, checkpoint.read(folder).training["temperature"])


@dataclass(frozen=True)
class HybridConfig:
    """Who decides.

    Attributes:
        networks: Names of the members that are networks over a clip's frames.
        machines: Names of the members that are support vector machines over one vector a clip.
    """

    networks: tuple[str, ...] = ("vgg-lstm", "inception")
    machines: tuple[str, ...] = ("landmarks", "functionals", "soundnet")

    def __post_init__(self) -> None:
        for name in ("networks", "machines"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.members or len(set(self.members)) < len(self.members):
            raise ValueError(f"Expected members of different names, got {self.members}.")

    @property
    def members(self) -> tuple[str, ...]:
        """All names, in order of the weights."""
        return self.networks + self.machines


class Hybrid:
    """Networks and machines that look at a clip in different ways, and the weight of each.

    Args:
        config: Who decides.
        networks: The networks by name.
        machines: The support vector machines by name.
        weights: (member,), summing to 1; None until `weigh` found them.
    """

    def __init__(
        self,
        config: HybridConfig,
        networks: Mapping[str, NetworkMember],
        machines: Mapping[str, SVM],
        weights: Floats | None = None,
    ) -> None:
        missing = sorted(set(config.members) - set(networks) - set(machines))
        if missing:
            raise InputError(f"Expected members {', '.join(config.members)}, got no {missing[0]}.")
        self.config, self.networks, self.machines = config, dict(networks), dict(machines)
        count = len(config.members)
        self.weights = np.full(count, 1 / count) if weights is None else weights

    def views(self, clips: Mapping[str, Sequence[npt.NDArray[Any]]]) -> Floats:
        """Ask each member: (member, clip, emotion), nan where it has nothing to go by.

        Args:
            clips: By member, each clip's (frame, feature) for a network or (feature,) for a
                machine; an empty array where a clip has no face or no sound.
        """
        said = [self.networks[name].probabilities(clips[name]) for name in self.config.networks]
        said += [_read(self.machines[name], clips[name]) for name in self.config.machines]
        return np.stack(said)

    def weigh(
        self, clips: Mapping[str, Sequence[npt.NDArray[Any]]], truth: npt.NDArray[np.int64]
    ) -> None:
        """Find the weights on validation clips: of no speaker of training nor of the last score."""
        self.weights = fit_decision_weights(list(self.views(clips)), truth)

    def probabilities(self, clips: Mapping[str, Sequence[npt.NDArray[Any]]]) -> Floats:
        """Weighted sum (clip, emotion) of what the members say of clips as `views` takes them."""
        return weighted_decisions(list(self.views(clips)), self.weights)

    def save(self, folder: str | Path, *, training: Mapping[str, Any]) -> None:
        """Write a checkpoint of the weights, and each member's own in a folder of its name."""
        folder = Path(folder)
        for name, member in self.networks.items():
            facts = {**training, "temperature": member.temperature}
            checkpoint.save(folder / name, member.model, member.model.config, training=facts)
        for name, machine in self.machines.items():
            machine.save(folder / name, training=training)
        arrays = {"weights": self.weights}
        config = asdict(self.config)
        checkpoint.write(folder, checkpoint.Stored("Hybrid", config, dict(training), arrays))

    @classmethod
    def load(cls, folder: str | Path) -> Hybrid:
        """Read a checkpoint.

        Raises:
            CheckpointError: If one of its parts is missing, damaged or of another kind.
        """
        stored = checkpoint.read(folder)
        if stored.architecture != "Hybrid":
            raise CheckpointError(f"Expected a Hybrid in {folder}, got {stored.architecture}.")
        config = HybridConfig(**stored.config)
        networks = {name: NetworkMember.load(Path(folder) / name) for name in config.networks}
        machines = {name: SVM.load(Path(folder) / name) for name in config.machines}
        return cls(config, networks, machines, stored.arrays["weights"])


def _read(machine: SVM, clips: Sequence[npt.NDArray[Any]]) -> Floats:
    """Read each clip's (feature,) by a machine: (clip, emotion), nan where it is empty."""
    said: Floats = np.full((len(clips), len(EMOTIONS)), np.nan)
    there = [row for row, vector in enumerate(clips) if vector.size]
    if there:
        said[there] = machine.probabilities(np.stack([clips[row] for row in there]))
    return said


def distance_statistics(distances: npt.NDArray[Any]) -> Floats:
    """Mean, deviation and largest of each landmark distance over a clip's frames.

    Args:
        distances: (frame, pair) of `emotion.face.landmarks.landmark_distances`.

    Returns:
        (3 · pair,).

    Raises:
        InputError: If there is no frame.
    """
    if distances.ndim != 2 or not len(distances):
        raise InputError(f"Expected distances (frame, pair), got shape {distances.shape}.")
    each: Floats = distances.astype(np.float64)
    return np.concatenate([each.mean(axis=0), each.std(axis=0), each.max(axis=0)])
