import numpy as np
import pytest

from emotion.errors import InputError
from emotion.speech.vad import UtteranceDetector, VadConfig, voice_quality

RATE = 16_000


def detect(wave, chunk=None, config=None, start_s=0.0):
    detector, found = UtteranceDetector(config), []
    step = chunk or len(wave)
    for i in range(0, len(wave), step):
        found += detector.push(start_s + i / RATE, wave[i : i + step])
    return found + detector.flush()


def test_two_utterances_are_found_where_they_are(buzz, hush):
    wave = np.concatenate([hush(1), buzz(1.5), hush(1), buzz(1.0), hush(1)])
    first, second = detect(wave)
    assert first.start_s == pytest.approx(0.9, abs=0.15)
    assert first.end_s == pytest.approx(2.6, abs=0.25)
    assert second.start_s == pytest.approx(3.4, abs=0.15)
    assert len(first.samples) == round((first.end_s - first.start_s) * RATE)


@pytest.mark.parametrize("chunk", [1, 100, 320, 4_800, 48_000])
def test_the_size_of_chunks_changes_nothing(buzz, hush, chunk):
    wave = np.concatenate([hush(0.7), buzz(0.8), hush(0.9), buzz(0.5)])
    whole, pieces = detect(wave), detect(wave, chunk)
    assert [(u.start_s, u.end_s, u.quality) for u in whole] == [
        (u.start_s, u.end_s, u.quality) for u in pieces
    ]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(whole, pieces, strict=True))


def test_a_short_pause_does_not_end_an_utterance_and_a_long_one_does(buzz, hush):
    held = np.concatenate([hush(0.5), buzz(0.8), hush(0.4), buzz(0.8), hush(1)])
    ended = np.concatenate([hush(0.5), buzz(0.8), hush(1.2), buzz(0.8), hush(1)])
    assert len(detect(held)) == 1
    assert len(detect(ended)) == 2


def test_under_a_quarter_second_of_voice_is_no_utterance(buzz, hush):
    assert detect(np.concatenate([hush(1), buzz(0.1), hush(1)])) == []
    assert detect(hush(3)) == []


def test_a_monologue_is_cut_so_that_memory_stays_bounded(buzz):
    spans = detect(buzz(12.0), config=VadConfig(max_utterance_s=5.0))
    assert [round(u.end_s - u.start_s) for u in spans] == [5, 5, 2]


def test_lost_sound_ends_the_utterance_and_the_time_line_goes_on(buzz):
    detector = UtteranceDetector()
    assert detector.push(0.0, buzz(1.0)) == []
    (first,) = detector.push(5.0, buzz(1.0))
    (second,) = detector.flush()
    assert first.end_s == pytest.approx(1.0, abs=0.15)
    assert second.start_s == pytest.approx(5.0, abs=0.05)


def test_silence_after_lost_sound_is_silence(buzz, hush):
    detector = UtteranceDetector()
    detector.push(0.0, buzz(1.0))
    detector.push(5.0, hush(0.2))
    assert not detector.speaking
    assert detector.silent_s == pytest.approx(4.2, abs=0.05)


@pytest.mark.parametrize("chunk", [1, 320, 5_000])
def test_a_voice_stirs_before_an_utterance_is_open(buzz, hush, chunk):
    detector = UtteranceDetector()
    wave = np.concatenate([hush(0.5), buzz(0.6), hush(0.5)])
    stirred, opened, silences = [], [], []
    for start in range(0, len(wave), chunk):
        for _ in detector.steps(start / RATE, wave[start : start + chunk]):
            stirred += [detector.judged_s] if detector.stirring else []
            opened += [detector.judged_s] if detector.speaking else []
            silences.append(detector.silent_s)
    assert stirred[0] == pytest.approx(0.56, abs=0.021)
    assert stirred[0] < opened[0]
    assert silences[0] == np.inf
    assert silences[-1] == pytest.approx(0.5, abs=0.2)


def test_the_sound_of_an_utterance_can_be_had_while_it_lasts(buzz, hush):
    wave = np.concatenate([hush(0.5), buzz(1.0)])
    detector = UtteranceDetector()
    assert len(detector.sound_since(0)) == 0
    detector.push(0.0, wave)
    first = round(detector.open_since_s * RATE)
    assert np.array_equal(detector.sound_since(0), wave[first:])
    assert np.array_equal(detector.sound_since(1000), wave[first + 1000 :])


def test_quality_rises_with_the_ratio_of_voice_to_noise():
    frames = [np.full(320, 0.1, np.float32)]
    assert voice_quality(frames, 0.1) == pytest.approx(0.0, abs=1e-6)
    assert voice_quality(frames, 0.0316) == pytest.approx(0.5, abs=0.01)
    assert voice_quality(frames, 0.001) == 1.0
    assert voice_quality([], 0.1) == 0.0


@pytest.mark.parametrize("values", [{"aggressiveness": 4}, {"onset_ratio": 0.0}, {"pause_s": 0.0}])
def test_a_bad_config_is_refused_at_birth(values):
    with pytest.raises(InputError, match="Expected"):
        VadConfig(**values)
