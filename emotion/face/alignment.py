"""Crops framed by a similarity: five points of a face laid on a template.

Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE
TPAMI 13 (1991). The bundled face network keeps its own crop, `emotion.face.crop`, on which it was
trained; these are for networks that were trained on aligned faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from emotion.errors import InputError
from emotion.face.detector import Box

__all__ = ["ARCFACE", "DLIB", "Template", "align", "enlarged_box", "similarity"]


@dataclass(frozen=True)
class Template:
    """Where the five points lie in a square crop.

    Attributes:
        points: Left eye, right eye, nose, left and right corner of the mouth as they appear in the
            picture: (x, y) in parts of the side, from the top left corner.
        side: Side of the crop in pixels.

    Raises:
        InputError: If there are not five points or the side is not positive.
    """

    points: tuple[tuple[float, float], ...]
    side: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple((x, y) for x, y in self.points))
        if len(self.points) != 5 or self.side < 1:
            raise InputError(
                f"Expected 5 points and a side of at least 1, got {len(self.points)}, {self.side}."
            )

    def enlarged(self, by: float) -> Template:
        """Show more around the face: `by` 0.3 frames a square 30 % larger.

        Raises:
            InputError: If nothing would be left.
        """
        if not by > -1:
            raise InputError(f"Expected an enlargement above -1, got {by}.")
        points = tuple(
            (0.5 + (x - 0.5) / (1 + by), 0.5 + (y - 0.5) / (1 + by)) for x, y in self.points
        )
        return Template(points, self.side)


ARCFACE = Template(
    tuple(
        (x / 112, y / 112)
        for x, y in (
            (38.2946, 51.6963),
            (73.5318, 51.5014),
            (56.0252, 71.7366),
            (41.5493, 92.3655),
            (70.7299, 92.2041),
        )
    ),
    112,
)
"""The template most networks for face recognition are trained with (Deng et al. 2019)."""

DLIB = Template(((0.319, 0.309), (0.681, 0.309), (0.5, 0.518), (0.35, 0.705), (0.65, 0.705)), 150)
"""The crop dlib's recognition network is trained on: where MTCNN's points lie in the one that dlib
cuts by its 68 points; medians over 282 faces of FER2013 and others, made symmetric."""


def similarity(
    source: npt.NDArray[np.floating], target: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Find the turn, scale and shift that lay points on others with the least squared error.

    Umeyama 1991, eq. 40-43; no reflection.

    Args:
        source: (point, axis).
        target: (point, axis).

    Returns:
        (axis, axis + 1): [scale · rotation | shift].

    Raises:
        InputError: If the shapes differ or all source points lie on one.
    """
    if source.shape != target.shape or source.ndim != 2:
        raise InputError(
            f"Expected two sets of points of one shape (point, axis), got {source.shape} and "
            f"{target.shape}."
        )
    mean_from, mean_to = source.mean(axis=0), target.mean(axis=0)
    centred_from, centred_to = source - mean_from, target - mean_to
    spread = float((centred_from**2).sum())
    if not spread > 0:
        raise InputError(f"Expected points that differ, got {len(source)} times {source[0]}.")
    left, values, right = np.linalg.svd(centred_to.T.astype(np.float64) @ centred_from)
    signs = np.ones(len(values))
    signs[-1] = np.sign(np.linalg.det(left) * np.linalg.det(right))
    turn = (left * signs) @ right
    scale = float(values @ signs) / spread
    shift = mean_to - scale * turn @ mean_from
    return np.column_stack([scale * turn, shift])


def align(
    frame: npt.NDArray[np.uint8], five: npt.NDArray[np.floating], template: Template = ARCFACE
) -> npt.NDArray[np.uint8]:
    """Cut one face out so that its five points lie on the template.

    Args:
        frame: (height, width, 3) RGB uint8.
        five: (5, 2), x and y in pixels, as `DetectedFace.landmarks`.
        template: How to frame it; `template.enlarged(0.3)` for a box 30 % larger (2012.13912).

    Returns:
        (side, side, 3) RGB uint8; black where the crop reaches over the border.
    """
    target = np.array(template.points) * template.side
    into_frame = similarity(target, five + 0.5)
    left, top = np.floor(_corners(into_frame, template.side).min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(_corners(into_frame, template.side).max(axis=0)).astype(int) + 1
    picture = Image.fromarray(frame).crop((left, top, right, bottom))
    # PIL's transform does not antialias, so large faces are reduced before they are turned.
    factor = max(1, int(np.linalg.norm(into_frame[:, 0])))
    into_frame[:, 2] -= (left, top)
    turned = picture.reduce(factor).transform(
        (template.side, template.side),
        Image.Transform.AFFINE,
        tuple((into_frame / factor).ravel()),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(turned)


def enlarged_box(box: Box, by: float = 0.3) -> Box:
    """Enlarge a box around its centre, by 30 % as in arXiv:2012.13912.

    Args:
        box: (left, top, right, bottom) in pixels.
        by: How much longer each side becomes, in parts of it.

    >>> enlarged_box((0, 0, 10, 20))
    (-1.5, -3.0, 11.5, 23.0)
    """
    left, top, right, bottom = box
    across, down = (right - left) * by / 2, (bottom - top) * by / 2
    return (left - across, top - down, right + across, bottom + down)


def _corners(transform: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    """Corners of the crop in the frame, (corner, xy)."""
    square = np.array([[0, 0], [side, 0], [0, side], [side, side]])
    corners: npt.NDArray[np.float64] = square @ transform[:, :2].T + transform[:, 2]
    return corners
