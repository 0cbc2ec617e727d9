"""A face is found, framed as in training and read alike, however the picture was taken."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from emotion.corpora.fer2013 import Faces
from emotion.face.crop import aligned_crop
from emotion.face.detector import DetectedFace
from emotion.face.tracker import intersection_over_union
from emotion.perception import FaceView, Perception
from emotion.training import photographs
from emotion.training.photographs import found_again

HEADS = ("fer2013", "ferplus")


def resized(side):
    resampling = Image.Resampling.BOX if side < 512 else Image.Resampling.BICUBIC
    return lambda picture: picture.resize((side, side), resampling)


def turned(degrees):
    return lambda picture: picture.rotate(degrees, Image.Resampling.BICUBIC)


def brightness(factor):
    return lambda picture: ImageEnhance.Brightness(picture).enhance(factor)


def contrast(factor):
    return lambda picture: ImageEnhance.Contrast(picture).enhance(factor)


def gamma(exponent):
    return lambda picture: Image.fromarray(
        (255 * (np.asarray(picture) / 255) ** exponent).astype(np.uint8)
    )


def noise(deviation):
    def change(picture):
        levels = np.asarray(picture)
        added = np.random.default_rng(1).normal(0, deviation, levels.shape)
        return Image.fromarray(np.clip(levels + added, 0, 255).astype(np.uint8))

    return change


def jpeg(quality):
    def change(picture):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return change


def blur(deviation):
    return lambda picture: picture.filter(ImageFilter.GaussianBlur(deviation))


# what is done to the picture, how far it is turned, and whether the live detector sees it too
CHANGES = {
    **{f"{side} pixels": (resized(side), 0, True) for side in (128, 256, 384, 1024)},
    **{f"turned by {d}": (turned(d), d, True) for d in (-40, -20, 20, 40)},
    **{f"{k} as bright": (brightness(k), 0, True) for k in (0.15, 0.5, 1.5)},
    "contrast 0.15": (contrast(0.15), 0, False),
    **{f"contrast {k}": (contrast(k), 0, True) for k in (0.3, 1.5)},
    **{f"gamma {k}": (gamma(k), 0, True) for k in (0.4, 2.5)},
    **{f"noise {k}": (noise(k), 0, True) for k in (10, 40)},
    **{f"JPEG {q}": (jpeg(q), 0, True) for q in (20, 5)},
    **{f"blurred {k}": (blur(k), 0, True) for k in (1, 3)},
}


@pytest.fixture(scope="module")
def perception():
    return Perception()


@pytest.fixture(scope="module")
def reference(perception, astronaut):
    """Box, crop and probabilities of the picture as it is."""
    frame = np.asarray(astronaut)
    (face,) = perception.thorough_detector.detect(frame)
    crop = aligned_crop(frame, face)
    return face.box, crop, read(perception, crop)


def read(perception, crop):
    return {head: perception.faces([crop], head).probabilities[0] for head in HEADS}


def moved(box, degrees, scale, centre=256):
    """The box where the middle of its face has gone."""
    angle = np.radians(degrees)
    x, y = (box[0] + box[2]) / 2 - centre, (box[1] + box[3]) / 2 - centre
    across = x * np.cos(angle) + y * np.sin(angle) + centre
    down = y * np.cos(angle) - x * np.sin(angle) + centre
    half = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    edges = (across - half[0], down - half[1], across + half[0], down + half[1])
    return tuple(scale * edge for edge in edges)


@pytest.mark.parametrize("change", CHANGES)
def test_a_face_is_found_framed_and_read_alike(perception, reference, astronaut, change):
    alter, degrees, seen_live = CHANGES[change]
    box, crop, probabilities = reference
    frame = np.asarray(alter(astronaut))
    expected = moved(box, degrees, len(frame) / 512)
    detectors = [perception.thorough_detector] + [perception.detector] * seen_live
    for detector in detectors:
        (face,) = detector.detect(frame)
        assert intersection_over_union(face.box, expected) > 0.7
        again = aligned_crop(frame, face)
        assert np.corrcoef(again.mean(2).ravel(), crop.mean(2).ravel())[0, 1] > 0.6
        for head, said in read(perception, again).items():
            # total variation: no event's probability moves by more
            assert 0.5 * np.abs(said - probabilities[head]).sum() < 0.15, head


def test_the_crop_found_again_is_the_crop_that_was_given(perception, reference):
    """The frame of FER2013: its own photographs come back as they were."""
    _, crop, _ = reference
    grey = np.asarray(Image.fromarray(crop).convert("L").resize((48, 48)))
    again = found_again(perception.thorough_detector, grey, margin=100)
    small = np.asarray(Image.fromarray(again).convert("L").resize((48, 48)))
    inner = (slice(6, 42), slice(6, 42))
    assert np.corrcoef(small[inner].ravel(), grey[inner].ravel())[0, 1] > 0.8


class MiddleFinder:
    """Sees a face in the middle of every picture that is not black."""

    def detect(self, frame):
        side = len(frame)
        box = tuple(side * np.array([0.3, 0.3, 0.7, 0.7]))
        points = side * np.array([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.42, 0.6], [0.58, 0.6]])
        return [DetectedFace(box, points.astype(np.float32), 0.99)] if frame.any() else []

    def refine(self, frame, boxes):
        return [None] * len(boxes)


class FakePerception:
    """Says of every crop the emotion whose number its middle shows."""

    thorough_detector = MiddleFinder()

    def faces(self, crops, labels):
        said = [int(np.asarray(crop)[len(crop) // 2, len(crop) // 2].max()) // 30 for crop in crops]
        return FaceView(np.zeros((len(said), 1)), np.eye(7, dtype=np.float32)[said])


def test_photographs_are_counted_and_scored_by_margin_and_head(tmp_path, monkeypatch):
    labels = np.arange(7)
    images = np.repeat(30 * labels + 15, 48 * 48).reshape(7, 48, 48).astype(np.uint8)
    faces = Faces(images, labels, np.eye(7, dtype=np.float32))
    monkeypatch.setattr(photographs, "load_faces", lambda *_: faces)
    views = photographs.photograph_views(FakePerception(), tmp_path, "PublicTest", None, every=2)
    assert views.faces.labels.tolist() == [0, 2, 4, 6]
    assert all(found.all() for found in views.found.values())
    for said in (views.as_given, *views.through_path.values()):
        assert said["ferplus"].argmax(axis=1).tolist() == [0, 2, 4, 6]
