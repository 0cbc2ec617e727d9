"""Who is the same person: face recognition, and an album of the people seen so far.

Descriptors live in the memory of one session and are never stored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from emotion import checkpoint
from emotion.errors import CheckpointError, InputError
from emotion.face.alignment import DLIB, align, enlarged_box
from emotion.face.detector import DetectedFace
from emotion.face.extra import dlib_file, import_dlib

__all__ = [
    "Album",
    "CheckpointIdentity",
    "DlibIdentity",
    "IdentityNetwork",
    "descriptor_distances",
    "same_person",
]

MAX_PEOPLE = 16
"""An album holds no more: those not seen for longest are forgotten first."""

MIN_HEIGHT_PX = 40.0
"""Smaller faces say too little of whose they are."""

Crop = npt.NDArray[np.uint8]
Descriptors = npt.NDArray[np.float32]


class IdentityNetwork(Protocol):
    """A network whose descriptors of one person lie near each other."""

    @property
    def threshold(self) -> float:
        """Euclidean distance up to which two descriptors are taken for one person's."""
        ...

    def crop(self, frame: npt.NDArray[np.uint8], face: DetectedFace) -> Crop:
        """Cut a face out of (height, width, 3) as the network was trained, (side, side, 3)."""
        ...

    def embed(self, crops: Sequence[Crop]) -> Descriptors:
        """Describe crops, each (side, side, 3) uint8 → (face, dimension) float32."""
        ...


class DlibIdentity:
    """dlib's ResNet (King 2017): 128 numbers a face; the extra `landmarks` carries its weights.

    Its crops are laid on MTCNN's five points. That serves as well as dlib's own crop by 68 points:
    of 12,509 pairs of different people 2.7 % lie within 0.6 either way, 0.4 % within 0.5; of 800
    pairs of one person 0.6 % and 0.9 % lie outside (photographs of dlib's users, frames of a film,
    one portrait in 26 sizes, turns and exposures; strangers of FER2013, 48 pixels wide, enlarged,
    which resemble each other more than large photographs do).

    Args:
        threshold: Euclidean distance; dlib states 0.6, for 99.4 % of the pairs of LFW.

    Raises:
        InputError: If the extra is not installed or the threshold is not positive.
    """

    def __init__(self, threshold: float = 0.6) -> None:
        if not threshold > 0:
            raise InputError(f"Expected a positive threshold, got {threshold}.")
        self._dlib = import_dlib()
        self._one_at_a_time = Lock()
        self.threshold = threshold

    def crop(self, frame: npt.NDArray[np.uint8], face: DetectedFace) -> Crop:
        """Cut a face out, (150, 150, 3), its points where dlib's crops have them."""
        return align(frame, face.landmarks, DLIB)

    def embed(self, crops: Sequence[Crop]) -> Descriptors:
        """Describe crops (150, 150, 3) uint8 → (face, 128); dlib's lengths are kept, about 1.4."""
        # The network keeps its activations, and one is shared by all sessions.
        with self._one_at_a_time:
            found = [np.array(self._network.compute_face_descriptor(c)) for c in crops]
        return np.array(found, np.float32).reshape(-1, 128)

    @cached_property
    def _network(self) -> Any:
        file = dlib_file("dlib_face_recognition_resnet_model_v1.dat")
        return self._dlib.face_recognition_model_v1(file)


class CheckpointIdentity:
    """A `FaceEncoder` trained for recognition, such as Inception-ResNet-v1 on VGGFace2.

    `attune convert inception-resnet-v1` makes its folder from facenet-pytorch's published file.

    Args:
        folder: A checkpoint with a `FaceEncoder`.
        threshold: Euclidean distance of descriptors of length 1. The default is the optimum on LFW
            of FaceNet (Schroff et al. 2015: 1.242 squared), remembered and unchecked, since no
            published weights are at hand here: measure it on people of your own.
        margin: How much larger than MTCNN's box the crop is, in parts of it. The default is that
            of the published training (160 pixels of 182 with a margin of 44), remembered too.
        device: Where it runs.

    Raises:
        CheckpointError: If the folder holds something else.
        InputError: If the threshold is not positive.
    """

    def __init__(
        self,
        folder: str | Path,
        threshold: float = 1.11,
        margin: float = 0.16,
        device: torch.device | str = "cpu",
    ) -> None:
        from emotion.models.face_backbones import FaceEncoder

        if not threshold > 0:
            raise InputError(f"Expected a positive threshold, got {threshold}.")
        self._encoder = checkpoint.load(folder)
        if not isinstance(self._encoder, FaceEncoder):
            raise CheckpointError(
                f"Expected a FaceEncoder in {str(folder)!r}, got {type(self._encoder).__name__}."
            )
        self._encoder.to(device)
        self._device = torch.device(device)
        self.threshold = threshold
        self._margin = margin

    def crop(self, frame: npt.NDArray[np.uint8], face: DetectedFace) -> Crop:
        """Cut the enlarged box out, as its network sees it, (side, side, 3)."""
        side = self._encoder.config.pixels
        left, top, right, bottom = enlarged_box(face.box, self._margin)
        edges = (round(left), round(top), round(right), round(bottom))
        picture = Image.fromarray(frame).crop(edges)
        return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2))

    @torch.inference_mode()
    def embed(self, crops: Sequence[Crop]) -> Descriptors:
        """Describe crops (side, side, 3) uint8 → (face, dimension), each of length 1."""
        if not crops:
            return np.zeros((0, self._encoder.config.features), np.float32)
        pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(self._device)
        vectors = torch.nn.functional.normalize(self._encoder.features(pixels), dim=1)
        found: Descriptors = vectors.cpu().numpy()
        return found


def descriptor_distances(a: Descriptors, b: Descriptors) -> Descriptors:
    """Euclidean distances of each of (face, dimension) to each of (other, dimension).

    Returns:
        (face, other).
    """
    apart: Descriptors = np.linalg.norm(a[:, None] - b[None], axis=2)
    return apart


def same_person(a: Descriptors, b: Descriptors, threshold: float) -> bool:
    """Whether two descriptors (dimension,) are taken for one person's.

    Args:
        a: Of one face.
        b: Of another face, by the same network.
        threshold: The network's.

    >>> same_person(np.array([0.0, 1.0]), np.array([0.3, 1.0]), threshold=0.6)
    True
    """
    return bool(np.linalg.norm(a - b) <= threshold)


class _Page:
    """A person's first crop and newest crop; they are described when somebody is looked for."""

    def __init__(self, network: IdentityNetwork, crop: Crop) -> None:
        self._network = network
        self._crops = {"first": crop}
        self._described: dict[str, Descriptors] = {}

    def renew(self, crop: Crop) -> None:
        self._crops["newest"] = crop
        self._described.pop("newest", None)

    def descriptors(self) -> Descriptors:
        for name, crop in self._crops.items():
            if name not in self._described:
                self._described[name] = self._network.embed([crop])[0]
        return np.stack(list(self._described.values()))


class Album:
    """The people of one stream, so that a face that comes back is known.

    A network of recognition takes longer than everything else the face path does, so the album
    keeps crops, two a person, and describes them only when a new face may be somebody's.

    Args:
        network: Describes faces.
    """

    def __init__(self, network: IdentityNetwork) -> None:
        self._network = network
        self._pages: dict[int, _Page] = {}

    def __contains__(self, person: int) -> bool:
        return person in self._pages

    def note(self, person: int, frame: npt.NDArray[np.uint8], face: DetectedFace) -> None:
        """Remember how a person looks; faces under 40 pixels are left out."""
        if face.height < MIN_HEIGHT_PX:
            return
        crop = self._network.crop(frame, face)
        page = self._pages.pop(person, None)
        if page is None:
            page = _Page(self._network, crop)
        else:
            page.renew(crop)
        self._pages[person] = page  # the newest last
        while len(self._pages) > MAX_PEOPLE:
            del self._pages[next(iter(self._pages))]

    def recognize(
        self,
        frame: npt.NDArray[np.uint8],
        faces: Sequence[DetectedFace],
        in_sight: Collection[int],
    ) -> dict[int, int]:
        """Say which faces belong to people of the album, the surest first.

        Args:
            frame: (height, width, 3) RGB uint8.
            faces: All in one frame, so no two of them are one person.
            in_sight: People whose faces are in this frame already.

        Returns:
            {index of a face: person}; faces of strangers are left out.
        """
        absent = [person for person in self._pages if person not in in_sight]
        large = [i for i, face in enumerate(faces) if face.height >= MIN_HEIGHT_PX]
        if not absent or not large:
            return {}
        looked = self._network.embed([self._network.crop(frame, faces[i]) for i in large])
        apart = [
            (float(distance), i, person)
            for person in absent
            for i, distance in zip(large, self._distances(looked, person), strict=True)
        ]
        known: dict[int, int] = {}
        for distance, i, person in sorted(apart):
            near = distance <= self._network.threshold
            if near and i not in known and person not in known.values():
                known[i] = person
        return known

    def _distances(self, looked: Descriptors, person: int) -> Descriptors:
        """Distances of (face, dimension) to the nearer crop of a person, (face,)."""
        nearest: Descriptors = descriptor_distances(looked, self._pages[person].descriptors()).min(
            axis=1
        )
        return nearest
