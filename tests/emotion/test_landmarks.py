import numpy as np
import pytest
from PIL import Image

from emotion.errors import InputError
from emotion.face.alignment import ARCFACE, Template, align, enlarged_box, similarity
from emotion.face.detector import FaceDetector
from emotion.face.landmarks import (
    INNER_POINTS,
    LandmarkPredictor,
    crop_landmarks,
    landmark_box,
    landmark_distances,
    landmark_pairs,
)


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


@pytest.fixture(scope="module")
def predictor(detector):
    pytest.importorskip("dlib", reason="the extra landmarks is not installed")
    return LandmarkPredictor(detector)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def turned(points, rng):
    """The same shape elsewhere: a random rotation, scale and shift of (68, axis)."""
    axes = points.shape[-1]
    rotation, _ = np.linalg.qr(rng.standard_normal((axes, axes)))
    if np.linalg.det(rotation) < 0:
        rotation[0] *= -1
    return 3.7 * points @ rotation.T + rng.standard_normal(axes) * 50


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("pairs", ["inner", "all"])
def test_distances_do_not_change_with_place_turn_and_scale(rng, axes, pairs):
    points = rng.standard_normal((68, axes)) * 20
    before, after = (landmark_distances(p, pairs) for p in (points, turned(points, rng)))
    assert before.dtype == np.float32
    assert after == pytest.approx(before, rel=1e-5)
    stretched = points * np.array([1.0, 1.2, 1.0][:axes])
    assert np.abs(landmark_distances(stretched, pairs) - before).max() > 0.05


def test_each_distance_is_that_of_its_pair_in_distances_between_the_eyes(rng):
    points = rng.standard_normal((2, 68, 2))
    distances = landmark_distances(points)
    pairs = landmark_pairs()
    assert distances.shape == (2, len(pairs)) == (2, 51 * 50 // 2)
    for face in range(2):
        left, right = points[face, 36:42].mean(axis=0), points[face, 42:48].mean(axis=0)
        for feature in (0, 77, 1274):
            a, b = pairs[feature]
            assert {a, b} <= set(INNER_POINTS)
            wanted = np.hypot(*(points[face, a] - points[face, b])) / np.hypot(*(left - right))
            assert distances[face, feature] == pytest.approx(wanted, rel=1e-5)


def test_many_faces_give_what_each_gives(rng):
    points = rng.standard_normal((3, 200, 68, 3)).astype(np.float32)
    together = landmark_distances(points)
    assert together.shape == (3, 200, 1275)
    assert np.array_equal(together[2, 199], landmark_distances(points[2, 199]))


@pytest.mark.parametrize("shape", [(68,), (5, 2), (68, 4), (10, 67, 2)])
def test_points_of_another_shape_are_refused_in_words(shape):
    with pytest.raises(InputError, match=r"\(\.\.\., 68, 2 or 3\)"):
        landmark_distances(np.zeros(shape))


def test_an_unknown_choice_of_pairs_is_refused_in_words():
    with pytest.raises(InputError, match="some"):
        landmark_pairs("some")


def five_of(points):
    """Eyes, nose tip and corners of the mouth among 68 points."""
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return np.stack([*eyes, points[30], points[48], points[54]])


@pytest.mark.parametrize("side", [160, 300, 512])
@pytest.mark.parametrize("turn_deg", [-20, 0, 20])
def test_the_68_points_agree_with_the_five_of_mtcnn(astronaut, predictor, side, turn_deg):
    picture = astronaut.rotate(turn_deg, Image.Resampling.BICUBIC).resize((side, side))
    frame = np.asarray(picture)
    face = FaceDetector(max_side=512, min_face=20).detect(frame)[0]
    (points,) = predictor.predict(frame, [face])
    assert points.shape == (68, 2)
    assert points.dtype == np.float32
    between_eyes = np.linalg.norm(face.landmarks[1] - face.landmarks[0])
    apart = np.linalg.norm(five_of(points) - face.landmarks, axis=1) / between_eyes
    assert apart.mean() < 0.15
    # The chin is below the mouth and the brows are above the eyes, along the line of the face.
    down = face.landmarks[3:].mean(axis=0) - face.landmarks[:2].mean(axis=0)
    heights = points @ down
    assert heights[17:27].mean() < heights[36:48].mean() < heights[48:].mean() < heights[8]


def test_crops_of_two_sizes_give_the_same_points(astronaut, predictor):
    grey = astronaut.crop((177, 65, 274, 162)).convert("L")
    small, large = (
        crop_landmarks(np.asarray(grey.resize((side, side)))[None], predictor)[0] / side
        for side in (48, 96)
    )
    assert np.linalg.norm(small - large, axis=1).mean() < 0.04
    assert 0.2 < small[36:48, 1].mean() < 0.5
    assert 0.6 < small[48:, 1].mean() < 0.9


def test_colour_and_grey_crops_and_none_at_all_are_taken(astronaut, predictor):
    crop = np.asarray(astronaut.crop((177, 65, 274, 162)))
    assert crop_landmarks(np.stack([crop, crop]), predictor).shape == (2, 68, 2)
    assert crop_landmarks(np.zeros((0, 48, 48), np.uint8), predictor).shape == (0, 68, 2)
    assert predictor.predict(crop, []).shape == (0, 68, 2)


@pytest.mark.parametrize(
    "images", [np.zeros((48, 48), np.uint8), np.zeros((2, 48, 48), np.float32)]
)
def test_crops_of_another_shape_or_type_are_refused_in_words(predictor, images):
    with pytest.raises(InputError, match=r"\(image, height, width\)"):
        crop_landmarks(images, predictor)
    with pytest.raises(InputError, match=r"\(height, width, 3\)"):
        predictor.predict_in(np.zeros((4, 4, 2), np.uint8), [(0.0, 0.0, 4.0, 4.0)])


def test_without_the_extra_its_name_is_said(monkeypatch):
    monkeypatch.setattr("emotion.face.extra.find_spec", lambda name: None)
    with pytest.raises(InputError, match="extra landmarks"):
        LandmarkPredictor()


@pytest.mark.data
def test_real_crops_have_eyes_above_mouths(predictor, data_root):
    from emotion.corpora.archive import Archive
    from emotion.corpora.fer2013 import PLACES

    archive = Archive.find(data_root, PLACES)
    names = [n for n in archive.names if "PublicTest" in n and n.endswith(".png")][::60]
    images = np.stack([decoded(archive.read(name)) for name in names])
    points = crop_landmarks(images, predictor)
    eyes, mouth = points[:, 36:48, 1].mean(axis=1), points[:, 48:, 1].mean(axis=1)
    assert ((mouth - eyes) > 8).mean() > 0.95
    assert ((points > -8) & (points < 56)).mean() > 0.98


def decoded(data):
    import io

    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("L"))


def test_the_similarity_equals_that_of_scikit_image(rng):
    transform = pytest.importorskip("skimage.transform")
    source = rng.standard_normal((5, 2)) * 30
    target = turned(source, rng) + rng.standard_normal((5, 2))
    try:
        wanted = transform.SimilarityTransform.from_estimate(source, target).params
    except AttributeError:
        wanted = transform.estimate_transform("similarity", source, target).params
    assert similarity(source, target) == pytest.approx(wanted[:2], abs=1e-8)


def test_a_mirrored_shape_is_turned_never_reflected(rng):
    source = rng.standard_normal((5, 2))
    found = similarity(source, source * [-1, 1])
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize(
    ("source", "target"),
    [(np.zeros((5, 2)), np.ones((5, 2))), (np.ones((5, 2)), np.ones((4, 2)))],
)
def test_points_that_name_no_similarity_are_refused(source, target):
    with pytest.raises(InputError):
        similarity(source, target)


@pytest.mark.parametrize("by", [0.0, 0.3])
@pytest.mark.parametrize(("side", "turn_deg"), [(200, 15), (500, -15)])
def test_an_aligned_crop_has_its_points_on_the_template(astronaut, detector, side, turn_deg, by):
    frame = np.asarray(astronaut.rotate(turn_deg, Image.Resampling.BICUBIC).resize((side, side)))
    face = FaceDetector(max_side=512, min_face=20).detect(frame)[0]
    template = Template(ARCFACE.points, 112).enlarged(by)
    crop = align(frame, face.landmarks, template)
    assert crop.shape == (112, 112, 3)
    seen = detector.detect(np.pad(crop, ((40, 40), (40, 40), (0, 0))))[0].landmarks - 40
    assert np.abs(seen / 112 - np.array(template.points)).mean() < 0.05


def test_a_template_refuses_what_is_none():
    with pytest.raises(InputError, match="5 points"):
        Template(ARCFACE.points[:4], 112)
    with pytest.raises(InputError, match="-2"):
        ARCFACE.enlarged(-2)


def test_an_enlarged_box_keeps_its_centre():
    left, top, right, bottom = enlarged_box((10.0, 20.0, 30.0, 60.0), 0.3)
    assert (left + right, top + bottom) == pytest.approx((40.0, 80.0))
    assert (right - left, bottom - top) == pytest.approx((26.0, 52.0))


def test_the_box_of_the_trees_follows_the_points():
    five = np.array([[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]])
    left, top, right, bottom = landmark_box(five)
    assert (left + right) / 2 == 50
    assert right - left == bottom - top == pytest.approx(84)
