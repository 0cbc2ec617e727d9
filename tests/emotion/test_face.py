import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from emotion.errors import InputError
from emotion.face.crop import CROP_SIDE, aligned_crop, crop_quality
from emotion.face.detector import DetectedFace, FaceDetector
from emotion.face.second_opinion import SecondOpinion
from emotion.face.tracker import FaceTracker, intersection_over_union


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


def face_at(left, top, side=60.0, score=0.99):
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * side
    return DetectedFace(
        (left, top, left + side, top + side),
        (points + np.array([left, top])).astype(np.float32),
        score,
    )


@pytest.mark.parametrize("side", [160, 300, 512])
@pytest.mark.parametrize("turn_deg", [-20, 0, 20])
@pytest.mark.parametrize("exposure", [0.5, 1.0])
def test_one_face_is_found_and_framed_alike(astronaut, on_canvas, side, turn_deg, exposure):
    picture = ImageEnhance.Brightness(astronaut).enhance(exposure)
    picture = picture.rotate(turn_deg, Image.Resampling.BICUBIC).resize((side, side))
    frame = np.asarray(picture)
    (face,) = FaceDetector(max_side=512, min_face=20).detect(frame)[:1]
    crop = aligned_crop(frame, face)
    (again,) = FaceDetector(max_side=288, min_face=60).detect(
        on_canvas(Image.fromarray(crop).resize((192, 192)), 288, 288, 48, 48)
    )
    eyes = (again.landmarks[:2] - 48) / 192
    level_deg = np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
    assert abs(level_deg) < 8
    # FER2013's eyes lie around (0.32, 0.39) and (0.69, 0.39) of the photograph.
    assert eyes.mean(axis=0) == pytest.approx([0.5, 0.39], abs=0.09)


def test_the_last_stage_alone_follows_a_moving_face(astronaut, on_canvas, detector):
    picture = astronaut.resize((400, 400))
    box = detector.detect(on_canvas(picture, left=100, top=50))[0].box
    for step in range(12):
        frame = on_canvas(picture, left=100 + 8 * step, top=50 + 3 * step)
        (face,) = detector.refine(frame, [box])
        assert face is not None
        box = face.box
    full = detector.detect(frame)[0]
    assert intersection_over_union(box, full.box) > 0.75
    assert np.abs(face.landmarks - full.landmarks).max() < 6


def test_what_is_no_face_is_neither_found_nor_followed(detector):
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    assert detector.detect(noise) == []
    assert detector.refine(noise, [(100.0, 80.0, 160.0, 150.0)]) == [None]
    assert detector.detect(np.zeros((10, 10, 3), np.uint8)) == []
    assert detector.refine(noise, []) == []


@pytest.mark.parametrize("frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_a_frame_of_another_shape_or_type_is_refused_in_words(detector, frame):
    with pytest.raises(InputError, match=r"\(height, width, 3\)"):
        detector.detect(frame)


def test_a_crop_over_the_border_is_black_outside():
    frame = np.full((100, 100, 3), 200, np.uint8)
    crop = aligned_crop(frame, face_at(70.0, 70.0))
    assert crop.shape == (CROP_SIDE, CROP_SIDE, 3)
    assert crop[5, 5].tolist() == [200] * 3
    assert crop[-5, -5].tolist() == [0] * 3


def test_quality_falls_with_blur_and_size(astronaut, detector):
    frame = np.asarray(astronaut)
    face = detector.detect(frame)[0]
    crop = aligned_crop(frame, face)
    blurred = np.asarray(
        Image.fromarray(crop).resize((12, 12)).resize((CROP_SIDE, CROP_SIDE), Image.BILINEAR)
    )
    assert crop_quality(crop, face) > 0.9
    assert crop_quality(blurred, face) < 0.5
    assert crop_quality(crop, face_at(0, 0, side=20)) < 0.3


@pytest.mark.parametrize("side", [48, 96, 200])
def test_a_second_look_finds_what_the_first_one_does_and_no_more_in_noise(astronaut, side):
    frame = np.asarray(astronaut.resize((side, side)))
    first, second = (
        FaceDetector(max_side=960, min_face=20, second_look=again).detect(frame)
        for again in (False, True)
    )
    assert [face.box for face in first] == [face.box for face in second][: len(first)]
    noise = np.random.default_rng(side).integers(0, 255, (side, side, 3), np.uint8)
    assert FaceDetector(max_side=960, min_face=20, second_look=True).detect(noise) == []


@pytest.mark.parametrize("name", ["coffee", "rocket", "chelsea", "page", "text", "moon", "brick"])
def test_a_picture_without_a_face_has_none_on_a_second_look(thorough, name):
    picture = getattr(pytest.importorskip("skimage.data"), name)()
    frame = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1)
    assert thorough.detect(frame[..., :3]) == []


@pytest.fixture(scope="module")
def thorough():
    """The detector of photographs."""
    return FaceDetector(max_side=960, min_face=20, second_look=True)


@pytest.mark.data
def test_a_face_is_found_in_more_photographs_on_a_second_look(thorough, data_root):
    from emotion.corpora.archive import Archive
    from emotion.corpora.fer2013 import PLACES

    archive = Archive.find(data_root, PLACES)
    names = [n for n in archive.names if "PublicTest" in n and n.endswith(".png")][::70]
    found = {margin: [] for margin in (0, 100)}
    for name in names:
        with Image.open(io.BytesIO(archive.read(name))) as picture:
            enlarged = picture.convert("RGB").resize((200, 200), Image.Resampling.BICUBIC)
        for margin, faces in found.items():
            around = ((margin, margin), (margin, margin), (0, 0))
            frame = np.pad(enlarged, around, constant_values=127)
            faces.append(bool(thorough.detect(frame)))
    assert np.mean(found[100]) >= 0.94
    assert np.mean(found[0]) >= 0.9


class BlindDetector(FaceDetector):
    """Finds nobody, and still follows."""

    def detect(self, frame):
        return []


@pytest.mark.parametrize("side", [64, 300])
def test_a_second_opinion_finds_the_face_where_it_is(astronaut, detector, side):
    pytest.importorskip("dlib", reason="the extra landmarks is not installed")
    frame = np.asarray(astronaut.crop((130, 30, 330, 230)).resize((side, side)))
    (face,) = SecondOpinion(BlindDetector()).detect(frame)
    seen = FaceDetector(max_side=960, min_face=20).detect(frame)[0]
    assert intersection_over_union(face.box, seen.box) > 0.6
    assert np.abs(face.landmarks - seen.landmarks).max() < 0.06 * side
    assert SecondOpinion(detector).detect(frame)[0].box == detector.detect(frame)[0].box


def test_a_second_opinion_sees_no_face_in_noise():
    pytest.importorskip("dlib", reason="the extra landmarks is not installed")
    noise = np.random.default_rng(0).integers(0, 255, (100, 150, 3), np.uint8)
    opinion = SecondOpinion(BlindDetector())
    assert opinion.detect(noise) == []
    assert opinion.refine(noise, []) == []


class ScriptedFinder:
    """Finds the faces a script holds for the frame whose first pixel names it."""

    def __init__(self, script):
        self.script = script
        self.searches = 0

    def detect(self, frame):
        self.searches += 1
        return list(self.script[int(frame[0, 0, 0])])

    def refine(self, frame, boxes):
        found = self.script[int(frame[0, 0, 0])]
        return [
            max(
                (f for f in found if intersection_over_union(f.box, box) > 0),
                key=lambda f: intersection_over_union(f.box, box),
                default=None,
            )
            for box in boxes
        ]


def track(script, rate_hz=10):
    finder = ScriptedFinder(script)
    tracker = FaceTracker(finder)
    frames = [np.full((2, 2, 3), i, np.uint8) for i in range(len(script))]
    return [tracker.update(i / rate_hz, f) for i, f in enumerate(frames)], finder


def test_two_people_keep_their_ids_while_they_move():
    script = [[face_at(10 + 3 * i, 50), face_at(300 - 3 * i, 50)] for i in range(25)]
    seen, finder = track(script)
    assert all([t.person for t in tracked] == [0, 1] for tracked in seen)
    assert seen[-1][0].face.box[0] < seen[-1][1].face.box[0]
    assert finder.searches <= 4


def test_a_short_loss_keeps_the_id_and_a_long_one_does_not():
    here = [face_at(50, 50)]
    short, _ = track([here] * 5 + [[]] * 6 + [here] * 8)
    assert {t.person for tracked in short for t in tracked} == {0}
    assert short[-1]
    long, _ = track([here] * 5 + [[]] * 25 + [here] * 8)
    assert long[-1][0].person == 1


def test_one_of_three_people_is_lost_for_a_moment_and_all_keep_their_ids():
    def frame(i):
        people = [face_at(10 + 2 * i, 50), face_at(200, 60), face_at(400 - 2 * i, 50)]
        return people[:1] + people[2:] if 8 <= i < 16 else people

    seen, _ = track([frame(i) for i in range(30)])
    ids = [[t.person for t in tracked] for tracked in seen]
    assert ids[0] == ids[7] == ids[-1] == [0, 1, 2]
    assert ids[12] == [0, 2]
    assert seen[-1][1].face.box[0] == 200


def test_people_who_pass_each_other_without_touching_are_not_swapped():
    script = [[face_at(10 + 12 * i, 30), face_at(370 - 12 * i, 120)] for i in range(30)]
    seen, _ = track(script)
    assert [round(t.face.box[1]) for t in seen[-1]] == [30, 120]


def test_a_frame_that_is_none_is_refused_by_the_tracker_too():
    with pytest.raises(InputError, match=r"\(height, width, 3\)"):
        FaceTracker(ScriptedFinder([])).update(0.0, np.zeros((4, 4), np.uint8))
