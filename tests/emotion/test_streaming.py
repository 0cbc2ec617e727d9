import json

import numpy as np
import pytest

from emotion import EmotionRecognizer, InputError
from emotion.errors import EmotionError
from emotion.media import SAMPLE_RATE_HZ
from emotion.speech.vad import Utterance
from emotion.streaming import MAX_PEOPLE

FRAME_RATE_HZ = 12


@pytest.fixture(scope="module")
def clip(astronaut, on_canvas, buzz, hush):
    """Six seconds of a moving face with two utterances."""
    wave = np.concatenate([hush(0.6), buzz(1.6), hush(1.1), buzz(1.2), hush(1.5)])
    picture = astronaut.resize((300, 300))
    frames = [on_canvas(picture, left=80 + 2 * i, top=60) for i in range(6 * FRAME_RATE_HZ)]
    return frames, wave


def live_estimates(recognizer, frames, wave, chunk, ahead_s=0.0):
    """Push as a browser would: sound in chunks, frames when the sound has come this far."""
    live = recognizer.stream()
    estimates, next_frame = [], 0
    for start in range(0, len(wave), chunk):
        live.push_audio(start / SAMPLE_RATE_HZ, wave[start : start + chunk], SAMPLE_RATE_HZ)
        now_s = (start + chunk) / SAMPLE_RATE_HZ + ahead_s
        while next_frame < len(frames) and next_frame / FRAME_RATE_HZ <= now_s:
            live.push_frame(next_frame / FRAME_RATE_HZ, frames[next_frame])
            next_frame += 1
        estimates += live.poll()
    return estimates + live.close()


def plain(estimates):
    return json.loads(
        json.dumps([e.to_dict() for e in estimates]), parse_float=lambda x: round(float(x), 6)
    )


@pytest.fixture(scope="module")
def offline(recognizer, clip):
    frames, wave = clip
    return recognizer.recognize(
        frames=frames, frame_rate_hz=FRAME_RATE_HZ, waveform=wave, sample_rate_hz=SAMPLE_RATE_HZ
    )


@pytest.mark.parametrize(("chunk", "ahead_s"), [(160, 0.0), (1_601, 0.2), (8_000, -0.3)])
def test_live_equals_offline_whatever_the_size_of_chunks(recognizer, clip, offline, chunk, ahead_s):
    assert plain(live_estimates(recognizer, *clip, chunk, ahead_s)) == plain(offline)


def test_each_utterance_gives_one_estimate_with_face_and_voice(offline):
    first, second = offline
    assert first.start_s < first.end_s < second.start_s < second.end_s
    for estimate in offline:
        assert estimate.person == 0
        assert sum(estimate.probabilities.values()) == pytest.approx(1.0, abs=1e-5)
        assert sum(estimate.face.probabilities.values()) == pytest.approx(1.0, abs=1e-5)
        assert sum(estimate.voice.probabilities.values()) == pytest.approx(1.0, abs=1e-5)
        assert 0 <= estimate.agreement <= 1
        assert 0 < estimate.face.quality <= 1
        assert 0 < estimate.voice.quality <= 1
        times = estimate.attention.frame_times_s
        assert estimate.start_s <= min(times) <= max(times) <= estimate.end_s
        assert sum(estimate.attention.frame_weights) == pytest.approx(1.0, abs=1e-5)
        assert np.sum(estimate.attention.spectrogram_weights) == pytest.approx(1.0, abs=1e-5)


def test_an_estimate_is_ready_a_pause_after_the_utterance_ended(recognizer, clip):
    frames, wave = clip
    live = recognizer.stream()
    ready_s = None
    for tick in range(600):
        if tick % 8 == 0:
            live.push_frame(tick / 100, frames[0])
        live.push_audio(tick / 100, wave[tick * 160 : (tick + 1) * 160], SAMPLE_RATE_HZ)
        if live.poll() and ready_s is None:
            ready_s = tick / 100
    assert ready_s == pytest.approx(2.2 + 0.6, abs=0.3)


def test_now_says_who_is_seen_where_and_whether_somebody_speaks(recognizer, clip):
    frames, wave = clip
    live = recognizer.stream()
    assert live.now().faces == ()
    live.push_frame(0.0, frames[0])
    live.push_audio(0.0, wave[: 2 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
    moment = live.now()
    (face,) = moment.faces
    left, top, right, bottom = face.box
    assert 80 < left < right < 380
    assert 60 < top < bottom < 360
    assert sum(face.probabilities.values()) == pytest.approx(1.0, abs=1e-5)
    assert moment.speaking
    assert moment.time_s == pytest.approx(2.0)


def test_a_typed_turn_gets_the_face_of_the_recent_seconds(recognizer, clip):
    live = recognizer.stream()
    assert live.recent(0.0) is None
    for i, frame in enumerate(clip[0]):
        live.push_frame(i / FRAME_RATE_HZ, frame)
    recent = live.recent(4.0)
    assert recent.voice is None
    assert recent.start_s >= 4.0
    assert recent.person == 0


def test_an_utterances_sound_can_be_taken_for_transcription(recognizer, clip):
    _, wave = clip
    live = recognizer.stream()
    for start in range(0, len(wave), 777):
        live.push_audio(start / SAMPLE_RATE_HZ, wave[start : start + 777], SAMPLE_RATE_HZ)
    taken = live.take_audio(0.5, 2.0)
    assert np.array_equal(taken, wave[8_000:32_000])


def test_the_faces_that_were_looked_at_can_be_shown(recognizer, clip):
    live = recognizer.stream()
    for i, frame in enumerate(clip[0][:24]):
        live.push_frame(i / FRAME_RATE_HZ, frame)
    first, last = live.take_faces(0, [0.0, 2.0])
    assert first.shape == last.shape == (48, 48, 3)
    assert first.dtype == np.uint8
    assert live.take_faces(7, [0.0]) == []
    assert live.take_faces(0, []) == []


def said(live, person, samples):
    return live._heard(person, Utterance(0.0, 1.0, samples, 1.0)).probabilities


def test_a_voice_is_heard_against_that_persons_own_and_in_this_stream_alone(recognizer, buzz):
    calm, loud = 0.2 * buzz(1.0), np.tanh(9 * buzz(1.0)).astype(np.float32)
    live = recognizer.stream()
    stranger = said(live, 0, loud)
    known = said(live, 0, calm)
    other = said(live, 1, calm)
    assert not np.allclose(known, other, atol=1e-3)
    assert np.array_equal(other, said(recognizer.stream(), 0, calm))
    assert np.array_equal(stranger, said(recognizer.stream(), None, loud))


def test_no_more_voices_are_remembered_than_people(recognizer, buzz):
    live, samples = recognizer.stream(), buzz(0.3)
    for person in range(MAX_PEOPLE + 3):
        said(live, person, samples)
    assert list(live._voices) == list(range(3, MAX_PEOPLE + 3))


def test_without_video_an_utterance_does_not_wait_for_it(recognizer, clip):
    live = recognizer.stream()
    live.push_audio(0.0, clip[1][: round(3.0 * SAMPLE_RATE_HZ)], SAMPLE_RATE_HZ)
    (estimate,) = live.poll()
    assert estimate.face is None
    assert estimate.person is None
    assert estimate.voice is not None


@pytest.fixture(scope="module")
def film(astronaut, on_canvas, buzz, hush):
    """Five seconds of one face, of it and its mirrored double, and of it again elsewhere."""
    wave = np.concatenate([hush(0.4), buzz(1.2), hush(0.8), buzz(1.2), hush(1.4)])
    small = astronaut.resize((200, 200))
    alone = on_canvas(small, 320, 240, left=0, top=20)
    both = alone.copy()
    both[20:220, 170:] = np.asarray(small.transpose(0))[:, 25:175]
    elsewhere = on_canvas(small, 320, 240, left=110, top=20)
    shots = [alone] * 20 + [both] * 20 + [elsewhere] * 20
    return shots, wave


def test_live_equals_offline_with_several_people_and_cuts(recognizer, film):
    frames, wave = film
    offline = recognizer.recognize(
        frames=frames, frame_rate_hz=FRAME_RATE_HZ, waveform=wave, sample_rate_hz=SAMPLE_RATE_HZ
    )
    assert len({e.person for e in offline}) > 1
    assert plain(live_estimates(recognizer, *film, 1_601, 0.2)) == plain(offline)


def test_of_two_people_who_do_the_same_the_larger_one_is_given_the_voice(
    recognizer, astronaut, on_canvas, buzz, hush
):
    picture = on_canvas(astronaut.resize((300, 300)), left=0, top=60)
    small = astronaut.resize((200, 200))
    frame = np.array(picture)
    frame[100:300, 400:600] = np.asarray(small)
    wave = np.concatenate([hush(0.3), buzz(1.0), hush(0.8)])
    speaker, other = recognizer.recognize(
        frames=[frame] * 25, frame_rate_hz=12.0, waveform=wave, sample_rate_hz=16_000
    )
    assert speaker.voice is not None
    assert other.voice is None
    assert {speaker.person, other.person} == {0, 1}


@pytest.mark.parametrize(
    ("samples", "rate_hz", "wanted"),
    [
        (np.zeros((2, 160), np.float32), 16_000, r"\(sample,\)"),
        (np.zeros(160, np.int16), 16_000, "floats"),
        (np.full(160, np.nan, np.float32), 16_000, "finite"),
        (np.zeros(160, np.float32), 12, "12 Hz"),
    ],
)
def test_sound_that_is_none_is_refused_in_words(recognizer, samples, rate_hz, wanted):
    with pytest.raises(InputError, match=wanted):
        recognizer.stream().push_audio(0.0, samples, rate_hz)


def test_errors_are_of_one_tree():
    assert issubclass(InputError, EmotionError)
    assert issubclass(InputError, ValueError)


@pytest.mark.slow
def test_ten_minutes_of_stream_run_in_constant_memory(recognizer, clip):
    import tracemalloc

    frames, wave = clip
    live = recognizer.stream()
    sizes = []
    tracemalloc.start()
    for second in range(600):
        part = np.roll(wave, -second * 4_000)[:SAMPLE_RATE_HZ]
        live.push_audio(second, part, SAMPLE_RATE_HZ)
        live.push_frame(second, frames[second % len(frames)])
        live.poll()
        if second in (120, 599):
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[1] < sizes[0] * 1.1 + 200_000


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), 4.0])
def test_a_time_that_does_not_go_on_is_refused(recognizer, clip, time_s):
    frames, wave = clip
    live = recognizer.stream()
    live.push_frame(5.0, frames[0])
    live.push_audio(5.0, wave[:160], SAMPLE_RATE_HZ)
    with pytest.raises(InputError, match=r"from 5 s on"):
        live.push_frame(time_s, frames[0])
    with pytest.raises(InputError, match=r"from 5 s on"):
        live.push_audio(time_s, wave[:160], SAMPLE_RATE_HZ)
    assert live.now().time_s == pytest.approx(5.01)


def test_a_silent_stream_forgets_faces_that_come_and_go(recognizer, astronaut, on_canvas):
    live = recognizer.stream()
    shown = on_canvas(astronaut.resize((200, 200)), 320, 240)
    blank = np.zeros((240, 320, 3), np.uint8)
    for visit in range(40):
        live.push_frame(100.0 * visit, shown)
        live.push_frame(100.0 * visit + 50, blank)
    assert 10 < len(live.close()) <= 17


def test_somebody_who_comes_back_elsewhere_is_the_same_person(astronaut, on_canvas):
    pytest.importorskip("dlib", reason="the extra landmarks is not installed")
    live = EmotionRecognizer.from_pretrained(device="cpu", identity=True).stream()
    small = astronaut.resize((200, 200))
    live.push_frame(0.0, on_canvas(small, 480, 240))
    live.push_frame(10.0, np.zeros((240, 480, 3), np.uint8))
    live.push_frame(20.0, on_canvas(small, 480, 240, left=240, top=30))
    (face,) = live.now().faces
    assert face.person == 0
    assert face.box[0] > 240


def test_sound_whose_time_stands_still_is_not_kept_for_ever(recognizer):
    live = recognizer.stream()
    for _ in range(120):
        live.push_audio(0.0, np.zeros(SAMPLE_RATE_HZ, np.float32), SAMPLE_RATE_HZ)
    assert len(live.take_audio(0.0, 1.0)) <= 32 * SAMPLE_RATE_HZ
