"""Sound, pictures and ratings of clips, from small recordings in the official layouts."""

import io
import wave
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from emotion import CorpusError
from emotion.corpora.archive import Archive
from emotion.corpora.clip import Clip
from emotion.corpora.media import clip_pictures, clip_sound, ratings
from emotion.corpora.registry import CORPORA
from emotion.corpora.speech import load_voices

RATE_HZ = 16_000
PICTURES_HZ = 25
SIDE = 32
CODECS = {
    "avi": ("mpeg4", "pcm_s16le", RATE_HZ),
    "flv": ("flv1", "mp3", 44_100),
    "mp4": ("mpeg4", "aac", RATE_HZ),
}

EVALUATION = (
    "[0.4000 - 0.8000]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
    "[1.0000 - 1.6000]\tSes01F_impro01_M000\tang\t[2.5000, 2.5000, 2.5000]\n"
)


def tone(seconds, rate_hz=RATE_HZ, height=0.25):
    """Of 440 Hz; its loudness rises with time, so that a stretch of it tells where it lay."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (32767 * height * t * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


def wav(samples, rate_hz=RATE_HZ):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(samples.tobytes())
    return buffer.getvalue()


def encode(out, stream, samples, rate_hz):
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = rate_hz
    out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def film(container="avi", seconds=0.6, sound=True, left_is_dark=False):
    """Grey pictures, each brighter than the one before, and a tone."""
    buffer = io.BytesIO()
    video_codec, audio_codec, rate_hz = CODECS[container]
    with av.open(buffer, "w", format=container) as out:
        video = out.add_stream(video_codec, rate=PICTURES_HZ)
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        audio = out.add_stream(audio_codec, rate=rate_hz) if sound else None
        for level in levels(seconds):
            picture = np.full((SIDE, SIDE, 3), level, np.uint8)
            picture[:, : SIDE // 2 * left_is_dark] = 16
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode(None))
        if audio is not None:
            encode(out, audio, tone(seconds, rate_hz), rate_hz)
    return buffer.getvalue()


def levels(seconds):
    return np.linspace(20, 230, round(seconds * PICTURES_HZ))


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def clip_of(root, corpus, index=0):
    found = CORPORA[corpus]
    return found.archive(root), found.clips(root)[index]


# ------------------------------------------------------------------- whole recordings


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    ("corpus", "name", "container"),
    [
        ("afew", "Train/Angry/000046280.avi", "avi"),
        ("enterface", "subject 1/anger/sentence 1/s1_an_1.avi", "avi"),
        ("cremad", "VideoFlash/1001_DFA_ANG_XX.flv", "flv"),
        ("ravdess", "Actor_01/01-01-06-01-02-01-01.mp4", "mp4"),
    ],
)
def test_films_are_heard_and_seen(tmp_path, corpus, name, container, as_zip):
    if as_zip:
        zipped(tmp_path / f"{corpus}.zip", {name: film(container)})
    else:
        write(tmp_path / corpus, {name: film(container)})
    before = sorted(tmp_path.rglob("*"))
    archive, clip = clip_of(tmp_path, corpus)
    sound = clip_sound(archive, clip)
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(0.6 * RATE_HZ, abs=1700)  # AAC and MP3 add a frame or two
    assert 0.05 < np.abs(sound).max() < 0.3
    pictures = list(clip_pictures(archive, clip))
    assert [p.time_s for p in pictures] == pytest.approx(np.arange(15) / PICTURES_HZ, abs=2e-3)
    seen = [p.rgb.mean() for p in pictures]
    np.testing.assert_allclose(seen, levels(0.6), atol=12)
    assert pictures[0].rgb.shape == (SIDE, SIDE, 3)
    assert sorted(tmp_path.rglob("*")) == before  # nothing of it was written to the disk


def test_fewer_pictures_when_asked_for(tmp_path):
    write(tmp_path / "afew", {"Val/Sad/1.avi": film()})
    archive, clip = clip_of(tmp_path, "afew")
    times = [p.time_s for p in clip_pictures(archive, clip, 5.0)]
    assert times == pytest.approx([0.0, 0.2, 0.4])


def test_savee_sound_comes_from_the_wav(tmp_path):
    files = {"DC/a01.wav": wav(tone(0.5, 44_100), 44_100), "DC/a01.avi": film(seconds=0.4)}
    write(tmp_path / "savee", files)
    archive, clip = clip_of(tmp_path, "savee")
    assert len(clip_sound(archive, clip)) == pytest.approx(0.5 * RATE_HZ, abs=20)
    assert len(list(clip_pictures(archive, clip))) == 10


def test_a_photograph_is_a_clip_of_one_picture(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (48, 48), 77).save(buffer, "PNG")
    write(tmp_path / "fer2013", {"Training/happy/fer1.png": buffer.getvalue()})
    archive, clip = clip_of(tmp_path, "fer2013")
    (picture,) = clip_pictures(archive, clip)
    assert picture.time_s == 0.0
    assert (picture.rgb == 77).all()


def test_voices_of_any_corpus_with_sound(tmp_path):
    write(tmp_path / "savee", {"DC/a01.wav": wav(tone(0.5)), "JE/h01.wav": wav(tone(0.3))})
    write(tmp_path / "iemocap", dialogue())
    voices = load_voices(tmp_path, ["savee", "iemocap"], tmp_path / "cache")
    assert voices.speakers == ("savee:DC", "savee:JE", "iemocap:ses01F", "iemocap:ses01M")
    assert [len(w) / RATE_HZ for w in voices.waveforms] == pytest.approx([0.5, 0.3, 0.4, 0.6])
    assert "waveforms" not in repr(voices)
    with pytest.raises(CorpusError, match=r"among afew, .+ got recola"):
        load_voices(tmp_path, ["recola"])


# ------------------------------------------------------------------------------ spans


def dialogue(cut=()):
    session = "Session1"
    return {
        f"{session}/dialog/EmoEvaluation/Ses01F_impro01.txt": EVALUATION.encode(),
        f"{session}/dialog/wav/Ses01F_impro01.wav": wav(tone(2.0)),
        f"{session}/dialog/avi/DivX/Ses01F_impro01.avi": film(seconds=2.0),
    } | {f"{session}/sentences/wav/Ses01F_impro01/{turn}.wav": wav(tone(0.4)) for turn in cut}


@pytest.mark.parametrize("index", [0, 1])
def test_a_turn_is_cut_out_of_its_dialogue(tmp_path, index):
    write(tmp_path / "IEMOCAP", dialogue())
    archive, clip = clip_of(tmp_path, "iemocap", index)
    start_s, end_s = clip.span_s
    whole = tone(2.0).astype(np.float32) / 32768
    wanted = whole[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    np.testing.assert_allclose(clip_sound(archive, clip), wanted, atol=1e-4)
    pictures = list(clip_pictures(archive, clip))
    first, last = round(start_s * PICTURES_HZ), round(end_s * PICTURES_HZ)
    wanted_times = np.arange(last - first) / PICTURES_HZ
    assert [p.time_s for p in pictures] == pytest.approx(wanted_times, abs=2e-3)
    seen = [p.rgb.mean() for p in pictures]
    np.testing.assert_allclose(seen, levels(2.0)[first:last], atol=12)


def test_of_two_people_the_speaker_is_seen(tmp_path):
    name = "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    write(tmp_path / "iemocap", dialogue() | {name: film(seconds=2.0, left_is_dark=True)})
    archive = CORPORA["iemocap"].archive(tmp_path)
    she, he = ([*clip_pictures(archive, c)][-1] for c in CORPORA["iemocap"].clips(tmp_path))
    assert she.rgb.shape == he.rgb.shape == (SIDE, SIDE // 2, 3)
    assert she.rgb.mean() < 30 < 100 < he.rgb.mean()


def test_a_sentence_that_was_cut_by_the_corpus_is_whole(tmp_path):
    write(tmp_path / "iemocap", dialogue(cut=["Ses01F_impro01_F000"]))
    archive, clip = clip_of(tmp_path, "iemocap")
    np.testing.assert_allclose(clip_sound(archive, clip), tone(0.4) / 32768, atol=1e-4)
    assert len(list(clip_pictures(archive, clip))) == 10


def test_a_span_behind_the_end_is_told(tmp_path):
    files = dialogue() | {"Session1/dialog/wav/Ses01F_impro01.wav": wav(tone(1.2))}
    write(tmp_path / "iemocap", files)
    archive, clip = clip_of(tmp_path, "iemocap", 1)
    with pytest.raises(CorpusError, match=r"from 1 to 1\.6 s in .+\.wav, got it up to 1\.2 s"):
        clip_sound(archive, clip)


# ---------------------------------------------------------------------- broken recordings


def half(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("corpus", "name", "content", "message"),
    [
        ("afew", "Train/Sad/1.avi", half(film()), r"Expected \d+ bytes in Train/Sad/1\.avi .+ got"),
        ("savee", "DC/a01.wav", half(wav(tone(0.5))), r"Expected \d+ bytes in DC/a01\.wav"),
        ("savee", "DC/a01.wav", wav(tone(0)), r"Expected sound in DC/a01\.wav .+ got 0 samples"),
        ("savee", "DC/a01.wav", b"", r"Unreadable clip DC/a01\.wav .+ fail with"),
        ("ravdess", "A/01-01-06-01-02-01-01.mp4", half(film("mp4")), r"Unreadable clip .+\.mp4"),
        ("afew", "Val/Sad/1.avi", b"not a film", r"Unreadable clip Val/Sad/1\.avi"),
        ("afew", "Val/Sad/1.avi", film(sound=False), r"Unreadable clip Val/Sad/1\.avi"),
        ("cremad", "VideoFlash/1001_DFA_ANG_XX.flv", half(film("flv"))[:40], "Unreadable clip"),
        ("cremad", "AudioWAV/1001_DFA_ANG_XX.wav", b"version https://git-lfs.x", "git lfs pull"),
    ],
)
def test_broken_sound_is_told(tmp_path, corpus, name, content, message):
    write(tmp_path / corpus, {name: content})
    archive, clip = clip_of(tmp_path, corpus)
    with pytest.raises(CorpusError, match=message) as raised:
        clip_sound(archive, clip)
    assert name in str(raised.value)


@pytest.mark.parametrize(
    ("corpus", "name", "content", "message"),
    [
        ("afew", "Train/Sad/1.avi", half(film()), "the file is cut off"),
        ("afew", "Train/Sad/1.avi", film()[:200], r"Expected \d+ bytes .+ got 200"),
        ("ravdess", "A/01-01-06-01-02-01-01.mp4", half(film("mp4")), "Unreadable clip"),
        ("afew", "Train/Sad/1.avi", wav(tone(0.1)), "Expected a video stream in .+ found none"),
    ],
)
def test_broken_pictures_are_told(tmp_path, corpus, name, content, message):
    write(tmp_path / corpus, {name: content})
    archive, clip = clip_of(tmp_path, corpus)
    with pytest.raises(CorpusError, match=message) as raised:
        list(clip_pictures(archive, clip))
    assert name in str(raised.value)


def test_what_a_clip_does_not_have_is_told(tmp_path):
    write(tmp_path / "savee", {"DC/a01.wav": wav(tone(0.2))})
    archive, clip = clip_of(tmp_path, "savee")
    with pytest.raises(CorpusError, match=r"Expected pictures in DC/a01\.wav of savee, found none"):
        list(clip_pictures(archive, clip))
    with pytest.raises(CorpusError, match="Expected a clip with continuous ratings"):
        ratings(archive, clip)
    (tmp_path / "savee/DC/a01.wav").unlink()
    with pytest.raises(CorpusError, match=r"Expected DC/a01\.wav in .+ got: .+No such file"):
        clip_sound(archive, clip)


def test_a_zip_with_a_password_is_told(tmp_path):
    zipped(tmp_path / "afew.zip", {"Val/Sad/1.avi": film(seconds=0.1)})
    content = bytearray((tmp_path / "afew.zip").read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 8] |= 1  # the flag 'encrypted' of its only file, in both of its headings
    content[content.index(b"PK\x03\x04") + 6] |= 1
    (tmp_path / "afew.zip").write_bytes(content)
    archive, clip = clip_of(tmp_path, "afew")
    with pytest.raises(CorpusError, match=r"Expected Val/Sad/1\.avi in .+ password"):
        clip_sound(archive, clip)


# ---------------------------------------------------------------------------- ratings

ARFF = """@relation GOLDSTANDARD
% a comment
@attribute Instance_name string
@attribute frameTime numeric
@attribute GoldStandard numeric

@data

'train_1',0.00,-0.01
'train_1',0.04,0.02
'train_1',0.08,0.05
"""


@pytest.mark.parametrize(
    "text",
    [
        ARFF,
        ARFF.replace("\n", "\r\n").replace("'", "").replace("@attribute", "@ATTRIBUTE"),
        "name;timeStamp;GoldStandard\ntrain_1;0.00;-0.01\ntrain_1;0.04;0.02\ntrain_1;0.08;0.05\n",
        "time, arousal, valence\n0, -0.01, 9\n0.04, 0.02, 9\n0.08, 0.05, 9\n",
        "0.00,-0.01\n0.04,0.02\n0.08,0.05\n",
        "train_1;0.00;-0.01\ntrain_1;0.04;0.02\ntrain_1;0.08;0.05",
    ],
    ids=["arff", "arff-windows", "semicolons", "by-dimension", "bare", "bare-named"],
)
def test_ratings_in_every_form(tmp_path, text):
    write(tmp_path, {"a.x": text.encode()})
    times_s, values = ratings(Archive(tmp_path), rated(arousal="a.x"))["arousal"]
    np.testing.assert_allclose(times_s, [0.0, 0.04, 0.08])
    np.testing.assert_allclose(values, [-0.01, 0.02, 0.05])


def rated(**files):
    return Clip("recola", "train_1", None, "recola:train_1", ratings=files)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"Expected times and arousal in a\.x: "),
        (ARFF.replace("0.02", "loud"), "could not convert string to float: 'loud'"),
        (ARFF.replace("0.04,", ""), r"Expected times and arousal in a\.x: "),
        (ARFF.replace("0.04", "0.00"), "Expected rising times"),
        (ARFF.replace("0.02", "nan"), "finite ratings"),
        ("time;FM1;FM2\n0;0.1;0.2\n", "got the columns time, fm1, fm2"),
        ("arousal\n0.1\n", "got the columns arousal"),
    ],
)
def test_broken_ratings_are_told(tmp_path, text, message):
    write(tmp_path, {"a.x": text.encode()})
    with pytest.raises(CorpusError, match=message):
        ratings(Archive(tmp_path), rated(arousal="a.x"))


def test_recola_as_a_whole(tmp_path):
    ratings_file = ARFF.encode()
    write(
        tmp_path / "RECOLA",
        {
            "recordings_audio/train_1.wav": wav(tone(0.12)),
            "recordings_video/train_1.mp4": film("mp4", 0.12),
            "ratings_gold_standard/arousal/train_1.arff": ratings_file,
            "ratings_gold_standard/valence/train_1.arff": ratings_file,
        },
    )
    archive, clip = clip_of(tmp_path, "recola")
    found = ratings(archive, clip)
    assert set(found) == {"arousal", "valence"}
    # one picture and 640 samples a rating
    assert len(clip_sound(archive, clip)) == 3 * 640
    assert len(list(clip_pictures(archive, clip))) == len(found["arousal"][0]) == 3


# ---------------------------------------------------------------------------- real data


@pytest.mark.data
def test_a_real_film_of_ravdess(data_root):
    name = "01-01-06-01-02-01-09.mp4"
    archive = Archive(data_root / "clips")
    clip = Clip("ravdess", name, "fear", "ravdess:09", video=name, audio=name)
    pictures = list(clip_pictures(archive, clip, 5.0))
    assert pictures[0].rgb.shape == (720, 1280, 3)
    seconds = len(clip_sound(archive, clip)) / RATE_HZ
    assert seconds == pytest.approx(pictures[-1].time_s + 0.2, abs=0.3)
