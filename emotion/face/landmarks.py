"""68 points of a face, and the distances between them that an SVM reads (Liu et al. 2018).

The points are those of iBUG 300-W (Sagonas et al. 2013), found by the ensemble of regression trees
of Kazemi & Sullivan (CVPR 2014) in dlib: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47,
mouth 48-67. The file of the trees is for research, so it is an extra:
`pip install attune[landmarks]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from emotion.errors import InputError
from emotion.face.detector import Box, DetectedFace, FaceDetector
from emotion.face.extra import dlib_file, import_dlib

__all__ = [
    "INNER_POINTS",
    "POINTS",
    "LandmarkPredictor",
    "Pairs",
    "crop_landmarks",
    "landmark_box",
    "landmark_distances",
    "landmark_pairs",
]

POINTS = 68
INNER_POINTS = range(17, POINTS)
"""All but the jaw, which says more of the head than of its expression."""

_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)

Pairs = Literal["inner", "all"]
"""Which pairs are measured: those of the 51 points without the jaw (1275), or of all (2278)."""

BOX_PER_FACE_LENGTH = 2.1
BOX_DOWN = 0.4
"""Side of the square the trees start from, in distances from eyes to mouth, and where its centre
lies on that line. Of 41 conventions tried on 144 faces (137 of FER2013 and of photographs of
others) it gave the least mean distance to MTCNN's five points, 0.071 of the distance between the
eyes; MTCNN's own box gave 0.089. On the 127 of them that dlib's detector finds, its own box gives
0.072."""

_UPSAMPLE = 4
_FACES_PER_BATCH = 256


class LandmarkPredictor:
    """dlib's 68 points.

    Args:
        detector: Finds the five points that place a face in a crop; default: MTCNN on the CPU.

    Raises:
        InputError: If the extra is not installed.
    """

    def __init__(self, detector: FaceDetector | None = None) -> None:
        self._dlib = import_dlib()
        self._given = detector

    def predict(
        self, frame: npt.NDArray[np.uint8], faces: Sequence[DetectedFace]
    ) -> npt.NDArray[np.float32]:
        """Find the points of faces in a picture.

        Args:
            frame: (height, width, 3) RGB uint8.
            faces: Where the detector saw them.

        Returns:
            (face, 68, 2), x and y in pixels of the frame.
        """
        return self.predict_in(frame, [landmark_box(face.landmarks) for face in faces])

    def predict_in(
        self, frame: npt.NDArray[np.uint8], boxes: Sequence[Box]
    ) -> npt.NDArray[np.float32]:
        """Find the points of the faces in boxes, as `landmark_box` or dlib's detector frame them.

        Args:
            frame: (height, width, 3) RGB or (height, width) grey, uint8.
            boxes: (left, top, right, bottom) in pixels; may reach over the border.

        Returns:
            (box, 68, 2), x and y in pixels of the frame.

        Raises:
            InputError: If the frame has another shape or type.
        """
        grey_or_colour = frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)
        if not grey_or_colour or frame.dtype != np.uint8:
            raise InputError(
                "Expected a picture of shape (height, width, 3) or (height, width), uint8, got "
                f"{frame.shape}, {frame.dtype}."
            )
        found = [self._shape(frame, box) for box in boxes]
        return np.array(found, np.float32).reshape(-1, POINTS, 2)

    def predict_crops(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Find the points in crops that one face fills; see `crop_landmarks`."""
        if images.ndim not in (3, 4) or images.dtype != np.uint8:
            raise InputError(
                "Expected crops of shape (image, height, width) or (image, height, width, 3), "
                f"uint8, got {images.shape}, {images.dtype}."
            )
        found = np.zeros((len(images), POINTS, 2), np.float32)
        for start in range(0, len(images), _FACES_PER_BATCH):
            batch = images[start : start + _FACES_PER_BATCH]
            five = self._detector.points_of_crops(batch)
            for row, (image, points) in enumerate(zip(batch, five, strict=True), start):
                found[row] = self._enlarged(image, points)
        return found

    def _enlarged(
        self, image: npt.NDArray[np.uint8], five: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Points (68, 2) of a crop (height, width[, 3]): the trees compare pixels, so enlarge."""
        height, width = image.shape[:2]
        side = (_UPSAMPLE * width, _UPSAMPLE * height)
        large = np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BICUBIC))
        (points,) = self.predict_in(large, [landmark_box(_UPSAMPLE * five)])
        pixels: npt.NDArray[np.float32] = (points + 0.5) / _UPSAMPLE - 0.5
        return pixels

    def _shape(self, frame: npt.NDArray[np.uint8], box: Box) -> list[tuple[int, int]]:
        edges = (round(edge) for edge in box)
        shape = self._predictor(frame, self._dlib.rectangle(*edges))
        return [(part.x, part.y) for part in shape.parts()]

    @cached_property
    def _predictor(self) -> Any:
        return self._dlib.shape_predictor(dlib_file("shape_predictor_68_face_landmarks.dat"))

    @cached_property
    def _detector(self) -> FaceDetector:
        return self._given or FaceDetector()


def crop_landmarks(
    images: npt.NDArray[np.uint8], predictor: LandmarkPredictor | None = None
) -> npt.NDArray[np.float32]:
    """Find the 68 points in crops that one face fills, as FER2013's photographs.

    MTCNN's last stage alone places the box: with the whole crop as the box the mean distance to
    points from dlib's own detector is twice as large (0.093 against 0.043 of the distance between
    the eyes, 237 photographs). 3.6 ms a crop on one core.

    Args:
        images: (image, height, width) or (image, height, width, 3), uint8.
        predictor: A loaded one, where there are several calls.

    Returns:
        (image, 68, 2), x and y in pixels of the crop.

    Raises:
        InputError: If the images have another shape or type, or the extra is not installed.
    """
    return (predictor or LandmarkPredictor()).predict_crops(images)


def landmark_box(five: npt.NDArray[np.floating]) -> Box:
    """Frame a face as dlib's trees expect it, from five points.

    Args:
        five: (point, xy): eyes, nose, corners of the mouth, as `DetectedFace.landmarks`.

    Returns:
        (left, top, right, bottom) in pixels.
    """
    eyes, mouth = five[:2].mean(axis=0), five[3:].mean(axis=0)
    x, y = eyes + BOX_DOWN * (mouth - eyes)
    half = BOX_PER_FACE_LENGTH / 2 * max(float(np.linalg.norm(mouth - eyes)), 1.0)
    return (float(x - half), float(y - half), float(x + half), float(y + half))


def landmark_pairs(pairs: Pairs = "inner") -> npt.NDArray[np.int64]:
    """Which two points each distance is between.

    Args:
        pairs: "inner" or "all".

    Returns:
        (feature, 2) indices of points, the first below the second.

    Raises:
        InputError: If `pairs` is neither.

    >>> len(landmark_pairs("inner")), len(landmark_pairs("all"))
    (1275, 2278)
    """
    if pairs not in get_args(Pairs):
        raise InputError(f"Expected pairs of {get_args(Pairs)}, got {pairs!r}.")
    points = np.arange(POINTS) if pairs == "all" else np.array(INNER_POINTS)
    first, second = np.triu_indices(len(points), k=1)
    return np.stack([points[first], points[second]], axis=1)


def landmark_distances(
    points: npt.NDArray[np.floating], pairs: Pairs = "inner"
) -> npt.NDArray[np.float32]:
    """Euclidean distances between points, in distances between the eyes (Liu et al. 2018).

    They do not change when a face is moved, turned in its plane (in space, where the points are
    3-D) or scaled. Liu et al. give the distances, not the list of pairs, hence the choice here.

    Args:
        points: (..., 68, 2) or (..., 68, 3), any unit.
        pairs: Which pairs are measured.

    Returns:
        (..., feature) float32, in the order of `landmark_pairs`.

    Raises:
        InputError: If the points have another shape.
    """
    if points.ndim < 2 or points.shape[-2] != POINTS or points.shape[-1] not in (2, 3):
        raise InputError(f"Expected points of shape (..., 68, 2 or 3), got {points.shape}.")
    chosen = landmark_pairs(pairs)
    faces = points.reshape(-1, *points.shape[-2:])
    distances = np.zeros((len(faces), len(chosen)), np.float32)
    # In portions: between the differences of a whole corpus there would be gigabytes.
    for start in range(0, len(faces), _FACES_PER_BATCH):
        batch = slice(start, start + _FACES_PER_BATCH)
        distances[batch] = _distances(faces[batch].astype(np.float64), chosen)
    return distances.reshape(*points.shape[:-2], len(chosen))


def _distances(
    faces: npt.NDArray[np.float64], pairs: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(face, 68, axis) and (feature, 2) → (face, feature)."""
    eyes = faces[:, _LEFT_EYE].mean(axis=1) - faces[:, _RIGHT_EYE].mean(axis=1)
    unit = np.maximum(np.linalg.norm(eyes, axis=1, keepdims=True), 1e-9)
    apart = np.linalg.norm(faces[:, pairs[:, 0]] - faces[:, pairs[:, 1]], axis=2)
    scaled: npt.NDArray[np.float64] = apart / unit
    return scaled
