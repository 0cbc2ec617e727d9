"""The arena of single faces, FER2013, and the systems that see them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities
from emotion.comparison.arena import Arena, Cost, Fitted, Fold, Labels, Majority, Probabilities
from emotion.comparison.cost import network_cost
from emotion.comparison.system import (
    KNYAZEV_2017,
    LIU_2018,
    OWN,
    TZIRAKIS_2017,
    ZHANG_2019,
    Options,
    System,
)
from emotion.corpora.archive import cached_arrays
from emotion.corpora.fer2013 import Faces, load_faces
from emotion.face.landmarks import LandmarkPredictor, crop_landmarks, landmark_distances
from emotion.labels import EMOTIONS

__all__ = [
    "SYSTEMS",
    "FaceSamples",
    "HubFaceModel",
    "LandmarkDistancesSVM",
    "TrainedFaceNetwork",
    "face_arena",
]


@dataclass(frozen=True)
class FaceSamples:
    """Some photographs, and where features of them are kept."""

    faces: Faces
    cache: Path | None

    def __len__(self) -> int:
        return len(self.faces)


def face_arena(root: Path, cache: Path | None) -> Arena[FaceSamples]:
    """FER2013: trained on `Training`, scored on `PublicTest` by FER2013's own labels."""
    parts = [load_faces(root, split, cache) for split in ("Training", "PublicTest")]
    images = np.concatenate([part.images for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    votes = np.concatenate([part.votes for part in parts])
    every, first = np.arange(len(labels)), len(parts[0])

    def take(indices: npt.NDArray[np.int64]) -> FaceSamples:
        return FaceSamples(Faces(images[indices], labels[indices], votes[indices]), cache)

    return Arena(
        name="fer2013-face",
        title="FER2013, one photograph of a face",
        protocol=f"{first:,} photographs to train on, {len(parts[1]):,} of PublicTest to be scored "
        "on; no names of people, so each photograph is its own group",
        labels=labels,
        groups=tuple(map(str, every)),
        folds=(Fold(every[:first], every[first:]),),
        take=take,
    )


@dataclass(frozen=True)
class TrainedFaceNetwork:
    """A face network that `attune train face` trained on `Training`.

    Attributes:
        folder: Of the checkpoint.
        digest: Of its weights: with others it is another system.
    """

    folder: Path
    digest: str

    def fit(self, train: FaceSamples, labels: Labels, groups: Sequence[str], at: Path) -> Fitted:
        """Read the checkpoint; it has seen nothing but `Training`."""
        return _FaceNetworkFitted(checkpoint.load(self.folder))


class _FaceNetworkFitted:
    def __init__(self, model: Any) -> None:
        import torch

        self.model = model
        self.cost = network_cost(model, torch.zeros(1, 1, 48, 48))

    def probabilities(self, samples: FaceSamples) -> Probabilities:
        """(image, emotion) by the head of FER2013's labels."""
        from emotion.training.face import face_logits

        return calibrated_probabilities(face_logits(self.model, samples.faces)["fer2013"], 1.0)


@dataclass(frozen=True)
class HubFaceModel:
    """A model of the Hugging Face hub as it comes, its labels mapped to ours."""

    name: str

    def fit(self, train: FaceSamples, labels: Labels, groups: Sequence[str], at: Path) -> Fitted:
        """Load it; it learns nothing here."""
        from emotion.models.hub import load_hub_face

        return _HubFaceFitted(load_hub_face(self.name))


class _HubFaceFitted:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.cost = Cost(model.parameters)

    def probabilities(self, samples: FaceSamples) -> Probabilities:
        """(image, emotion)."""
        said: Probabilities = self.model.probabilities(list(samples.faces.images))
        return said


@dataclass(frozen=True)
class LandmarkDistancesSVM:
    """Distances between 68 landmarks into a linear support vector machine."""

    penalty: float = 0.01

    def fit(self, train: FaceSamples, labels: Labels, groups: Sequence[str], at: Path) -> Fitted:
        """Find the landmarks, standardise the distances and fit."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import LinearSVC

        machine = LinearSVC(C=self.penalty, class_weight="balanced", dual=False)
        predictor = LandmarkPredictor()
        rows = _distances(train, predictor)
        pipeline = make_pipeline(StandardScaler(), machine).fit(rows, labels)
        return _DistancesFitted(pipeline, predictor, rows.shape[1])


class _DistancesFitted:
    def __init__(self, pipeline: Any, predictor: LandmarkPredictor, distances: int) -> None:
        self.pipeline, self.predictor = pipeline, predictor
        size = distances * len(EMOTIONS)
        self.cost = Cost(size, size)

    def probabilities(self, samples: FaceSamples) -> Probabilities:
        """(image, emotion) of one and zeros: it says labels, not probabilities."""
        said = self.pipeline.predict(_distances(samples, self.predictor))
        return np.asarray(np.eye(len(EMOTIONS))[said], np.float32)


def _distances(samples: FaceSamples, predictor: LandmarkPredictor) -> npt.NDArray[np.float32]:
    """Distances (image, feature), kept in the cache for many photographs."""
    images = samples.faces.images

    def measure() -> dict[str, npt.NDArray[np.float32]]:
        points = crop_landmarks(images, predictor)
        return {"distances": np.stack([landmark_distances(face) for face in points])}

    if len(images) < _WORTH_KEEPING:
        return np.asarray(measure()["distances"], np.float32)
    key = f"landmark-distances-{hashlib.sha256(images.tobytes()).hexdigest()[:16]}"
    return cached_arrays(key, samples.cache, measure)["distances"]


_WORTH_KEEPING = 100


def _needs_weights(name: str, source: str, kind: str) -> System:
    note = f"needs published weights: `attune convert {kind}`, then `attune train {name} --init`"
    return System(name, source, lambda _: None, note)


def _bundled(options: Options) -> TrainedFaceNetwork:
    folder = checkpoint.bundled("face")
    return TrainedFaceNetwork(folder, checkpoint.digest(folder))


def _hub(options: Options) -> HubFaceModel | None:
    return None if options.face_model is None else HubFaceModel(options.face_model)


SYSTEMS = (
    System("majority", OWN, lambda _: Majority(), "the frequencies of training"),
    System(
        "landmark-distances-svm", LIU_2018, lambda _: LandmarkDistancesSVM(), "dlib's 68 points"
    ),
    System("face-cnn", OWN, _bundled, "the bundled weights: recipe `face`, no other data"),
    _needs_weights("face-vgg", ZHANG_2019, "vgg-face"),
    _needs_weights("face-resnet50", TZIRAKIS_2017, "resnet50"),
    _needs_weights("face-inception-v3", LIU_2018, "inception-v3"),
    _needs_weights("face-inception-resnet-v1", KNYAZEV_2017, "inception-resnet-v1"),
    System("face-hub", OWN, _hub, "needs `--face-model`, a folder or an id of the hub"),
)
