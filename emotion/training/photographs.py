"""The whole face path tried on photographs: found, turned upright, cut out and read.

FER2013's faces are cut out already, so each is enlarged and set into a larger grey picture, in
which the detector has to find it again and the crop has to be the one the network was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from emotion.corpora.fer2013 import Faces, load_faces
from emotion.face.crop import aligned_crop
from emotion.face.tracker import FaceFinder
from emotion.perception import Perception

__all__ = ["EVERY", "MARGINS", "PhotographViews", "found_again", "photograph_views"]

SIDE = 200
"""Side in pixels to which a face is enlarged."""

MARGINS = {"with_margin": 100, "tight": 0}
"""Pixels of grey around it: as in a picture of a person, and where the picture ends with it."""

EVERY = 8
"""One photograph in so many is tried."""

_GREY = 127


@dataclass(frozen=True)
class PhotographViews:
    """What the face path makes of photographs.

    Attributes:
        faces: Those tried.
        found: (image,) bool by margin.
        through_path: (found image, emotion) probabilities by margin and head.
        as_given: (image, emotion) probabilities by head, of FER2013's own crops.
    """

    faces: Faces
    found: dict[str, npt.NDArray[np.bool_]]
    through_path: dict[str, dict[str, npt.NDArray[np.float32]]]
    as_given: dict[str, npt.NDArray[np.float32]]


def photograph_views(
    perception: Perception, root: Path, split: str, cache: Path | None, every: int = EVERY
) -> PhotographViews:
    """Look at photographs through the whole face path.

    Args:
        perception: Its detector of photographs and its face network are tried.
        root: Folder of corpora.
        split: Part of FER2013.
        cache: Folder for decoded corpora, or None.
        every: One photograph in so many is tried.

    Raises:
        CorpusError: If the corpus or the part is missing.
    """
    faces = load_faces(root, split, cache)
    faces = faces.take(np.arange(0, len(faces), every))
    heads = ("fer2013", "ferplus")
    given = {head: perception.faces(list(faces.images), head).probabilities for head in heads}
    found, through = {}, {}
    for name, margin in MARGINS.items():
        crops = [found_again(perception.thorough_detector, i, margin) for i in faces.images]
        seen = [crop for crop in crops if crop is not None]
        found[name] = np.array([crop is not None for crop in crops])
        through[name] = {head: perception.faces(seen, head).probabilities for head in heads}
    return PhotographViews(faces, found, through, given)


def found_again(
    finder: FaceFinder, image: npt.NDArray[np.uint8], margin: int
) -> npt.NDArray[np.uint8] | None:
    """Set a face into a larger picture, and find it and cut it out again; None where it is missed.

    Args:
        finder: Detects faces.
        image: (height, width) grey levels.
        margin: Pixels of grey around the face, which is enlarged to `SIDE`.
    """
    enlarged = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    framed = np.pad(np.asarray(enlarged), margin, constant_values=_GREY)
    picture = np.repeat(framed[:, :, None], 3, axis=2)
    faces = finder.detect(picture)
    return aligned_crop(picture, faces[0]) if faces else None
