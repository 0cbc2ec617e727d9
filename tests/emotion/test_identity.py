import io
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from emotion import EmotionRecognizer, checkpoint
from emotion.errors import CheckpointError, InputError
from emotion.face.detector import DetectedFace, FaceDetector
from emotion.face.identity import (
    MAX_PEOPLE,
    Album,
    CheckpointIdentity,
    DlibIdentity,
    descriptor_distances,
    same_person,
)
from emotion.face.tracker import FaceTracker


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(max_side=640)


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("dlib", reason="the extra landmarks is not installed")
    return DlibIdentity()


@pytest.fixture(scope="module")
def describe(detector, network):
    """Descriptors (picture, dimension) of the largest face of each picture that has one."""

    def describe_faces(pictures):
        frames = [np.asarray(picture) for picture in pictures]
        found = [(frame, faces[0]) for frame in frames if (faces := detector.detect(frame))]
        assert len(found) >= 0.8 * len(frames)
        return network.embed([network.crop(frame, face) for frame, face in found])

    return describe_faces


@pytest.fixture(scope="module")
def her(astronaut, describe):
    """The astronaut in several sizes, turns and exposures."""
    looks = [(512, 0, 1.0), (160, 0, 1.0), (300, 20, 0.6), (300, -20, 1.4), (220, 10, 0.5)]
    return describe(
        ImageEnhance.Brightness(astronaut)
        .enhance(exposure)
        .rotate(turn_deg, Image.Resampling.BICUBIC)
        .resize((side, side))
        for side, turn_deg, exposure in looks
    )


@pytest.fixture(scope="module")
def clip_frames(data_root):
    """Five frames (height, width, 3) of one actor, over three seconds."""
    from emotion.media import Picture, read_media

    events = read_media(data_root / "clips" / "01-01-06-01-02-01-09.mp4", 10)
    frames = [event.rgb for event in events if isinstance(event, Picture)]
    return [np.asarray(Image.fromarray(frame).resize((640, 360))) for frame in frames[::6]]


@pytest.fixture(scope="module")
def strangers(data_root):
    """Twenty-five of FER2013's faces, each of somebody else, enlarged."""
    from emotion.corpora.archive import Archive
    from emotion.corpora.fer2013 import PLACES

    archive = Archive.find(data_root, PLACES)
    names = [n for n in archive.names if "PublicTest" in n and n.endswith(".png")][::141][:25]
    pictures = []
    for name in names:
        with Image.open(io.BytesIO(archive.read(name))) as picture:
            canvas = Image.new("RGB", (300, 300), (127, 127, 127))
            canvas.paste(picture.convert("RGB").resize((200, 200)), (50, 50))
        pictures.append(canvas)
    return pictures


def test_one_person_is_the_same_at_every_size_turn_and_exposure(her, network):
    assert her.shape == (5, 128)
    assert her.dtype == np.float32
    assert network.threshold == 0.6
    assert all(same_person(a, b, network.threshold) for a, b in combinations(her, 2))


@pytest.mark.data
def test_one_person_is_the_same_throughout_a_clip_and_not_another(
    her, describe, clip_frames, network
):
    actor = describe(clip_frames)
    assert descriptor_distances(actor, actor).max() < 0.4
    assert descriptor_distances(actor, her).min() > network.threshold


@pytest.mark.data
def test_strangers_are_rarely_taken_for_one_another(her, describe, strangers):
    others = describe(strangers)
    apart = descriptor_distances(others, others)[np.triu_indices(len(others), k=1)]
    assert (apart <= 0.6).mean() < 0.06
    assert (apart <= 0.5).mean() < 0.02
    assert (descriptor_distances(her, others) <= 0.5).mean() < 0.02


def face_of(who, left=50.0, side=60.0):
    """A face that `NamedIdentity` knows by its score."""
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * side
    box = (left, 50.0, left + side, 50.0 + side)
    return DetectedFace(box, (points + np.array([left, 50.0])).astype(np.float32), 0.7 + who / 100)


class NamedIdentity:
    """Describes a face by the number in its score."""

    threshold = 0.5

    def __init__(self):
        self.described = 0

    def crop(self, frame, face):
        return np.full((2, 2, 3), round((face.score - 0.7) * 100), np.uint8)

    def embed(self, crops):
        self.described += len(crops)
        return np.array([[crop[0, 0, 0]] for crop in crops], np.float32).reshape(-1, 1)


class FilmFinder:
    """Finds what the film shows in the frame whose pixels are its scene and number."""

    def __init__(self, film):
        self.film = film

    def detect(self, frame):
        return list(self.film[int(frame[0, 0, 1])][1])

    def refine(self, frame, boxes):
        seen = {face.box: face for face in self.detect(frame)}
        return [seen.get(box) for box in boxes]


def ids(film, identity=None):
    """Track a film, [(scene, faces)] at 10 frames a second: the ids seen in each frame."""
    tracker = FaceTracker(FilmFinder(film), identity)
    frames = [
        np.full((90, 160, 3), (scene, i, scene), np.uint8) for i, (scene, _) in enumerate(film)
    ]
    seen = [tracker.update(i / 10, frame) for i, frame in enumerate(frames)]
    return [[t.person for t in tracked] for tracked in seen]


def scene(level, *faces, frames=8):
    return [(level, faces)] * frames


def test_two_people_cut_against_each_other_at_one_place_keep_their_ids():
    ann, bob = face_of(1), face_of(2)
    film = scene(20, ann) + scene(200, bob) + scene(20, ann) + scene(200, bob)
    assert ids(film, NamedIdentity()) == [[0]] * 8 + [[1]] * 8 + [[0]] * 8 + [[1]] * 8
    # By place alone they are one.
    assert ids(film) == [[0]] * 32


def test_a_face_that_returns_elsewhere_after_a_long_absence_is_known():
    film = scene(20, face_of(1)) + scene(20, frames=30) + scene(20, face_of(1, left=90.0))
    assert ids(film, NamedIdentity())[-1] == [0]
    assert ids(film)[-1] == [1]


def test_people_in_one_frame_are_never_one():
    film = scene(20, face_of(1), face_of(1, left=300.0)) + scene(
        200, face_of(1, left=200.0), face_of(2, left=400.0)
    )
    seen = ids(film, NamedIdentity())
    assert seen[7] == [0, 1]
    assert seen[-1] == [0, 2]


def test_faces_too_small_to_tell_are_followed_by_place_alone():
    film = scene(20, face_of(1, side=30.0)) + scene(200, face_of(2, side=30.0))
    assert ids(film, NamedIdentity())[-1] == [0]


def test_nobody_is_described_while_one_person_stays():
    identity = NamedIdentity()
    ids(scene(20, face_of(1), frames=60), identity)
    assert identity.described == 0


def test_an_album_forgets_whom_it_has_not_seen_for_longest():
    identity = NamedIdentity()
    album = Album(identity)
    frame = np.zeros((90, 160, 3), np.uint8)
    for person in range(MAX_PEOPLE + 3):
        album.note(person, frame, face_of(person))
        album.note(0, frame, face_of(0))
    assert 0 in album
    assert sum(person in album for person in range(MAX_PEOPLE + 3)) == MAX_PEOPLE
    assert 1 not in album
    assert album.recognize(frame, [face_of(0), face_of(25)], in_sight=[]) == {0: 0}
    assert album.recognize(frame, [face_of(0)], in_sight=[0]) == {}


@pytest.mark.data
def test_real_people_get_their_ids_back_across_cuts(astronaut, on_canvas, clip_frames, network):
    shots = [on_canvas(astronaut.resize((300, 300)), 640, 360, left=180 + 40 * i) for i in range(2)]
    film = [shots[0], clip_frames[0], shots[1], clip_frames[-1]]
    tracker = FaceTracker(FaceDetector(), network)
    seen = [
        [t.person for t in tracker.update((5 * cut + i) / 10, frame)]
        for cut, frame in enumerate(film)
        for i in range(5)
    ]
    assert seen == [[0]] * 5 + [[1]] * 5 + [[0]] * 5 + [[1]] * 5


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """A small Inception-ResNet-v1 with random weights, as `attune convert` would leave it."""
    backbones = pytest.importorskip("emotion.models.face_backbones")
    torch.manual_seed(0)
    config = backbones.FaceEncoderConfig("inception-resnet-v1", side=80, shrink=16)
    folder = tmp_path_factory.mktemp("encoder")
    checkpoint.save(folder, backbones.FaceEncoder(config).eval(), config, training={})
    return folder


def test_a_checkpoint_describes_faces_by_vectors_of_length_one(astronaut, detector, encoder_folder):
    network = CheckpointIdentity(encoder_folder, threshold=0.9)
    frame = np.asarray(astronaut)
    face = detector.detect(frame)[0]
    crop = network.crop(frame, face)
    assert crop.shape == (80, 80, 3)
    described = network.embed([crop, crop[:, ::-1].copy()])
    assert described.shape == (2, 32)
    assert np.linalg.norm(described, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert network.embed([]).shape == (0, 32)
    assert same_person(described[0], network.embed([crop])[0], network.threshold)


def test_a_folder_of_weights_may_bring_its_own_network(encoder_folder, tmp_path):
    from emotion.perception import Perception

    for part in checkpoint.BUNDLED.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "identity").symlink_to(encoder_folder)
    assert isinstance(Perception(tmp_path, identity=True).identity, CheckpointIdentity)


def test_nobody_is_recognised_unless_that_was_asked_for(astronaut):
    from emotion.perception import Perception

    perception = Perception()
    assert perception.identity is None
    (estimate,) = EmotionRecognizer(perception).recognize(
        frames=[np.asarray(astronaut)] * 2, frame_rate_hz=5
    )
    assert estimate.person == 0


def test_without_the_extra_recognition_is_refused_in_words(monkeypatch):
    monkeypatch.setattr("emotion.face.extra.find_spec", lambda name: None)
    with pytest.raises(InputError, match="landmarks"):
        EmotionRecognizer.from_pretrained(identity=True)


def test_what_cannot_recognise_is_refused_in_words(encoder_folder):
    with pytest.raises(CheckpointError, match="FaceCNN"):
        CheckpointIdentity(checkpoint.bundled("face"))
    with pytest.raises(InputError, match="-1"):
        CheckpointIdentity(encoder_folder, threshold=-1)


def test_without_the_extra_its_name_is_said(monkeypatch):
    monkeypatch.setattr("emotion.face.extra.find_spec", lambda name: None)
    with pytest.raises(InputError, match="extra landmarks"):
        DlibIdentity()
