import numpy as np
import pytest
from PIL import Image

from emotion.errors import InputError
from emotion.face.crop import CROP_SIDE, aligned_crop
from emotion.face.detector import FaceDetector
from emotion.face.speaker import likely_speaker, mouth_motion, mouth_patch, sound_level
from emotion.media import SAMPLE_RATE_HZ, Picture, read_media

RATE_HZ = 10


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def voice(rng):
    """Level of two seconds of syllables after a second of silence, in decibels."""
    return np.concatenate([np.full(10, -75.0), -50 + 4 * rng.standard_normal(20)])


def mouths(voice, rng):
    """Motions of one who speaks, one who chews out of step and one who is still."""
    noise = 0.02 * rng.standard_normal((3, len(voice)))
    heard = (voice - voice.min()) / np.ptp(voice)
    return {
        3: 0.15 + 0.15 * heard + noise[0],
        1: 0.25 - 0.1 * heard + noise[1],
        2: 0.1 + noise[2],
    }


def test_the_mouth_in_step_with_the_voice_speaks(voice, rng):
    person, confidence = likely_speaker(mouths(voice, rng), voice)
    assert person == 3
    assert confidence > 0.8


@pytest.mark.parametrize("lag", [-1, 1])
def test_a_frame_of_lag_does_not_matter(voice, rng, lag):
    motions = mouths(voice, rng)
    motions[3] = np.roll(motions[3], lag)
    person, confidence = likely_speaker(motions, voice)
    assert person == 3
    assert confidence > 0.7


def test_mouths_that_do_the_same_leave_it_open(voice, rng):
    still = {0: np.zeros(len(voice)), 1: np.zeros(len(voice))}
    assert likely_speaker(still, voice)[1] == pytest.approx(0.5)
    same = mouths(voice, rng)[3]
    assert likely_speaker({0: same, 1: same, 2: same}, voice)[1] == pytest.approx(1 / 3)


def test_frames_without_a_mouth_are_left_out(voice, rng):
    motions = mouths(voice, rng)
    motions[3][::3] = np.nan
    motions[1][:] = np.nan
    assert likely_speaker(motions, voice)[0] == 3
    assert likely_speaker({4: np.full(len(voice), np.nan)}, voice) is None
    assert likely_speaker({}, voice) is None


def test_an_even_voice_tells_nothing(rng, voice):
    person, confidence = likely_speaker(mouths(voice, rng), np.zeros(len(voice)))
    assert confidence == pytest.approx(1 / 3)
    assert person in (1, 2, 3)


def test_other_lengths_and_shapes_are_refused_in_words(voice):
    with pytest.raises(InputError, match=r"\(30,\)"):
        likely_speaker({0: np.zeros(4)}, voice)
    with pytest.raises(InputError, match=r"\(9, 9, 3\)"):
        mouth_patch(np.zeros((9, 9, 3), np.uint8))


def test_the_level_of_a_sound_is_read_at_its_time():
    sound = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
    sound[SAMPLE_RATE_HZ:] = 0.1
    level = sound_level(sound, 5.0, np.array([4.0, 5.5, 6.5, 9.0]))
    assert level == pytest.approx([-80, -80, -20, -80], abs=0.02)
    for time_s in (5.5, 6.0, 6.52):
        start = round((time_s - 5.05) * SAMPLE_RATE_HZ)
        window = sound[start : start + SAMPLE_RATE_HZ // 10].astype(np.float64)
        wanted = 20 * np.log10(np.sqrt(np.mean(window**2)) + 1e-4)
        assert sound_level(sound, 5.0, np.array([time_s])) == pytest.approx(wanted, abs=0.02)


@pytest.fixture(scope="module")
def crop(astronaut):
    frame = np.asarray(astronaut)
    return aligned_crop(frame, FaceDetector().detect(frame)[0])


def opened(crop, height):
    """Draw an open mouth so many pixels high."""
    picture = crop.copy()
    rows, columns = np.ogrid[:CROP_SIDE, :CROP_SIDE]
    inside = ((rows - 76) / max(height / 2, 1)) ** 2 + ((columns - 48) / 12) ** 2 <= 1
    picture[inside] = (40, 15, 20)
    return picture


def test_a_mouth_that_opens_moves_and_one_that_is_shifted_or_lit_does_not(crop):
    still = mouth_patch(crop)
    opening = mouth_motion(mouth_patch(opened(crop, 2)), mouth_patch(opened(crop, 14)))
    nodding = mouth_motion(still, mouth_patch(np.roll(crop, (4, -2), axis=(0, 1))))
    lit = mouth_motion(still, mouth_patch((crop * 0.6).astype(np.uint8)))
    assert mouth_motion(still, still) == 0
    assert max(nodding, lit) < 0.05
    assert opening > 4 * max(nodding, lit)


@pytest.fixture(scope="module")
def clip(data_root):
    """The real clip at 10 frames a second, reduced: frames (height, width, 3) and its sound."""
    pictures, sounds = [], []
    for event in read_media(data_root / "clips" / "01-01-06-01-02-01-09.mp4", RATE_HZ):
        if isinstance(event, Picture):
            small = Image.fromarray(event.rgb).resize((480, 270))
            pictures.append(np.asarray(small.crop((110, 20, 350, 270))))
        else:
            sounds.append(event.samples)
    return pictures, np.concatenate(sounds)


@pytest.mark.data
@pytest.mark.parametrize("other", ["still", "late"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_of_two_real_faces_the_one_that_moves_with_the_sound_has_the_voice(
    recognizer, clip, other, side
):
    pictures, sound = clip
    late = pictures[17:] + pictures[:17]
    frames = []
    for speaking, beside in zip(
        pictures, late if other == "late" else pictures[:1] * 99, strict=False
    ):
        # The other face is larger, which decided before.
        beside = np.asarray(Image.fromarray(beside).resize((288, 300)))[:250]
        frames.append(np.hstack([speaking, beside] if side == "left" else [beside, speaking]))
    estimates = recognizer.recognize(
        frames=frames, frame_rate_hz=RATE_HZ, waveform=sound, sample_rate_hz=SAMPLE_RATE_HZ
    )
    speaker = next(e for e in estimates if e.voice is not None)
    assert len(estimates) == 2
    live = recognizer.stream()
    live.push_frame(0.0, frames[0])
    left, right = sorted(live.now().faces, key=lambda face: face.box[0])
    assert speaker.person == (left if side == "left" else right).person
