import dataclasses

import numpy as np
import pytest

from emotion.estimate import Attention
from integration.evidence import FACE_SIDE, MOST_FACES, gather


def crops(person, times_s):
    return [np.full((96, 96, 3), round(10 * time_s) % 256, np.uint8) for time_s in times_s]


@pytest.fixture
def seen(make_estimate):
    """An utterance of two seconds; the frame 1.5 s into it weighs most."""
    times_s = tuple(3.0 + i / 10 for i in range(20))
    weights = tuple(0.62 if i == 15 else 0.02 for i in range(20))
    estimate = make_estimate("sad", "fear", start_s=3.0, end_s=5.0)
    return dataclasses.replace(estimate, attention=Attention(times_s, weights, ((0.75, 0.25),)))


def tone(frequency_hz, seconds):
    time_s = np.arange(round(seconds * 16000)) / 16000
    return np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)


def test_the_heaviest_frames_are_shown_in_order_of_time(seen):
    faces = gather(seen, crops, None).faces
    assert len(faces) == MOST_FACES
    assert max(faces, key=lambda face: face.weight).time_s == pytest.approx(1.5)
    times_s = [face.time_s for face in faces]
    assert times_s == sorted(times_s)
    assert min(np.diff(times_s)) >= 2.0 / (2 * MOST_FACES)
    assert all(face.rgb.shape == (FACE_SIDE, FACE_SIDE, 3) for face in faces)
    assert [face.rgb[0, 0, 0] for face in faces] == [round(10 * (3 + t)) for t in times_s]


def test_a_tone_stands_where_its_frequency_is(seen):
    evidence = gather(seen, crops, tone(1000, 2.0))
    loudest = evidence.spectrogram.astype(int).sum(axis=1).argmax()
    # 50 rows of 80 Hz; 1000 Hz lies in row 12
    assert loudest == 12
    assert evidence.spectrogram.max() == 255
    assert evidence.regions == ((0.75, 0.25),)
    assert evidence.duration_s == pytest.approx(2.0)


def test_a_long_utterance_is_drawn_no_wider(seen):
    assert gather(seen, crops, tone(500, 20.0)).spectrogram.shape == (50, 160)


def test_what_was_switched_off_is_not_shown(seen):
    no_face = dataclasses.replace(seen, face=None)
    assert gather(no_face, crops, tone(500, 1.0)).faces == ()
    no_voice = dataclasses.replace(seen, voice=None)
    assert gather(no_voice, crops, tone(500, 1.0)).spectrogram is None
    assert gather(dataclasses.replace(no_face, voice=None), crops, tone(500, 1.0)) is None


def test_nothing_to_show(seen):
    assert gather(None, crops, None) is None
    assert gather(dataclasses.replace(seen, attention=Attention()), crops, tone(500, 1.0)) is None


def test_sound_too_short_to_draw(seen):
    assert gather(seen, crops, tone(500, 0.01)).spectrogram is None


def test_faces_that_are_gone_are_left_out(seen):
    assert gather(seen, lambda person, times_s: [], None) is None


def test_no_picture_in_a_repr(seen):
    shown = repr(gather(seen, crops, tone(500, 1.0)))
    assert shown == "Evidence(duration_s=2.0)"
