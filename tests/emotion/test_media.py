from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from emotion.errors import InputError, MediaError
from emotion.media import Picture, Resampler, Sound, read_media


def tone(seconds=1.0, rate_hz=16_000, frequency_hz=440.0):
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def write_video(path, frames=25, rate=25, audio=True):
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16_000) if audio else None
        for index in range(frames):
            picture = np.full((48, 64, 3), index * 8 % 256, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if sound:
            pcm = (tone(frames / rate) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
            frame.sample_rate = 16_000
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        container.mux(video.encode(None))


def test_a_video_comes_as_pictures_and_sound_merged_in_order_of_time(tmp_path):
    write_video(tmp_path / "clip.mkv")
    events = list(read_media(tmp_path / "clip.mkv"))
    times = [event.time_s for event in events]
    assert times == sorted(times)
    pictures = [e for e in events if isinstance(e, Picture)]
    assert len(pictures) == 25
    assert pictures[10].time_s == pytest.approx(0.4, abs=0.005)
    assert pictures[10].rgb.shape == (48, 64, 3)
    samples = np.concatenate([e.samples for e in events if isinstance(e, Sound)])
    assert np.abs(samples[:15_000] - tone()[:15_000]).max() < 1e-3


def test_thinned_pictures_are_the_first_of_each_interval(tmp_path):
    write_video(tmp_path / "clip.mkv")
    times = [e.time_s for e in read_media(tmp_path / "clip.mkv", 10) if isinstance(e, Picture)]
    assert times == pytest.approx(
        [0.0, 0.12, 0.2, 0.32, 0.4, 0.52, 0.6, 0.72, 0.8, 0.92], abs=0.005
    )


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_414, 44_100, 48_000])
def test_sound_of_any_rate_arrives_at_16_khz(tmp_path, rate_hz):
    soundfile.write(tmp_path / "tone.wav", tone(1.0, rate_hz), rate_hz)
    samples = np.concatenate([e.samples for e in read_media(tmp_path / "tone.wav")])
    assert len(samples) == pytest.approx(16_000, abs=64)
    spectrum = np.abs(np.fft.rfft(samples[:16_000], n=16_000))
    assert spectrum.argmax() == pytest.approx(440, abs=1)


def test_a_still_picture_is_one_frame_and_a_large_one_is_reduced(tmp_path):
    Image.new("RGB", (3000, 1500), (200, 10, 10)).save(tmp_path / "large.png")
    (picture,) = list(read_media(tmp_path / "large.png"))
    assert picture.rgb.shape == (640, 1280, 3)
    assert abs(int(picture.rgb[0, 0, 0]) - 200) < 3


@pytest.mark.parametrize("chunk", [1, 7, 160, 4096])
def test_resampling_in_chunks_equals_resampling_the_whole(chunk):
    wave = tone(0.5, 44_100)
    whole, pieces = Resampler(44_100), Resampler(44_100)
    expected = np.concatenate([whole.push(wave), whole.flush()])
    got = [pieces.push(wave[i : i + chunk]) for i in range(0, len(wave), chunk)]
    assert np.array_equal(np.concatenate([*got, pieces.flush()]), expected)


def test_a_missing_file_and_one_that_is_no_media_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(MediaError, match="found none at"):
        read_media(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("this is no film")
    with pytest.raises(MediaError, match="could not decode"):
        list(read_media(tmp_path / "text.mp4"))


def test_a_truncated_video_is_read_up_to_where_it_breaks(tmp_path):
    write_video(tmp_path / "whole.mkv", frames=100, audio=False)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    pictures = [e for e in read_media(tmp_path / "cut.mkv") if isinstance(e, Picture)]
    assert 5 < len(pictures) < 100


@pytest.mark.parametrize("rate_hz", [0, -16_000, 100, 10**7])
def test_a_wrong_rate_is_refused_with_its_value(rate_hz):
    with pytest.raises(InputError, match=f"{rate_hz}"):
        Resampler(rate_hz)


def test_nothing_heard_or_seen_shows_in_a_repr():
    assert "0.3" not in repr(Sound(0.0, tone()))
    assert "array" not in repr(Picture(0.0, np.zeros((2, 2, 3), np.uint8)))


def test_a_gap_in_a_sound_track_stays_a_gap(tmp_path):
    with av.open(str(tmp_path / "gap.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        pcm = (tone(1.0) * 32767).astype(np.int16)
        for start_s in (0, 10):
            frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, start_s * 16_000
            frame.time_base = Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    sounds = list(read_media(tmp_path / "gap.mkv"))
    assert sum(len(s.samples) for s in sounds) == 32_000
    assert [s.time_s for s in sounds if 1.0 <= s.time_s < 10.0] == []
    assert sounds[-1].time_s + len(sounds[-1].samples) / 16_000 == pytest.approx(11.0, abs=0.01)


def test_a_picture_that_lies_on_its_side_is_set_upright(tmp_path):
    upright = Image.new("RGB", (60, 40))
    upright.paste((255, 0, 0), (0, 0, 30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show
    upright.rotate(90, expand=True).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    (picture,) = list(read_media(tmp_path / "phone.jpg"))
    assert picture.rgb.shape == (40, 60, 3)
    assert picture.rgb[5, 5, 0] > 200
    assert picture.rgb[35, 55, 0] < 50


def test_a_name_that_looks_like_an_address_is_a_file(tmp_path):
    soundfile.write(tmp_path / "voice.wav", tone(0.5), 16_000)
    (tmp_path / "voice.wav").rename(tmp_path / "12:30.wav")
    assert sum(len(s.samples) for s in read_media(tmp_path / "12:30.wav")) == 8_000
