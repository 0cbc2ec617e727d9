"""The crop the face network sees: eyes level, framed as FER2013's photographs are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from emotion.face.detector import DetectedFace

__all__ = ["CROP_SIDE", "aligned_crop", "crop_quality"]

CROP_SIDE = 96
"""Side of a crop in pixels: the network's input twice, so that its own resize still antialiases."""

FER2013_SIDE_PER_BOX_HEIGHT = 0.948
"""Side of a FER2013 photograph over the height of MTCNN's box in it, both centred on one point:
medians over 461 photographs of PublicTest (48 pixels, 50.6 pixels; centres within a pixel)."""

_GOOD_HEIGHT_PX = 80.0
_GOOD_SHARPNESS = 60.0


def aligned_crop(frame: npt.NDArray[np.uint8], face: DetectedFace) -> npt.NDArray[np.uint8]:
    """Cut one face out, turned so that the eyes are level.

    Args:
        frame: (height, width, 3) RGB uint8.
        face: Where it is.

    Returns:
        (CROP_SIDE, CROP_SIDE, 3) RGB uint8; black where the crop reaches over the border.
    """
    left, top, right, bottom = face.box
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    half = face.height * FER2013_SIDE_PER_BOX_HEIGHT / 2
    along_eyes = face.landmarks[1] - face.landmarks[0]
    roll = np.arctan2(along_eyes[1], along_eyes[0])
    across = np.array([np.cos(roll), np.sin(roll)]) * half
    down = np.array([-np.sin(roll), np.cos(roll)]) * half
    corners = [centre - across - down, centre - across + down, centre + across + down]
    corners.append(centre + across - down)
    return _cut(frame, np.array(corners), 2 * half)


def crop_quality(crop: npt.NDArray[np.uint8], face: DetectedFace) -> float:
    """How much a crop can tell, in [0, 1]: detector's score × size × sharpness.

    Size saturates at a face 80 pixels high, sharpness at a variance of the Laplacian of 60
    (Pech-Pacheco et al., ICPR 2000).

    Args:
        crop: (height, width, 3) RGB uint8.
        face: What the detector said of it.
    """
    grey = crop.mean(axis=2)
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    size = min(face.height / _GOOD_HEIGHT_PX, 1.0)
    sharpness = min(float(laplacian.var()) / _GOOD_SHARPNESS, 1.0)
    return float(np.clip(face.score * size * sharpness, 0.0, 1.0))


def _cut(
    frame: npt.NDArray[np.uint8], corners: npt.NDArray[np.floating], side: float
) -> npt.NDArray[np.uint8]:
    """Map the quadrilateral (corner, xy), from top left counter-clockwise, to a square."""
    origin = np.floor(corners.min(axis=0)) - 1
    edge = np.ceil(corners.max(axis=0)) + 1
    picture = Image.fromarray(frame).crop((*origin.astype(int), *edge.astype(int)))
    # PIL's transform does not antialias, so large faces are reduced before they are turned.
    factor = max(1, int(side / CROP_SIDE))
    quad = tuple(((corners - origin) / factor).ravel())
    turned = picture.reduce(factor).transform(
        (CROP_SIDE, CROP_SIDE), Image.Transform.QUAD, quad, Image.Resampling.BILINEAR
    )
    return np.asarray(turned)
