"""Readers, on small corpora written here in the official layouts, and on the real ones."""

import gzip
import io
import json
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from emotion import EMOTIONS, CorpusError
from emotion.corpora.archive import Archive, cached_arrays, decode_audio
from emotion.corpora.clip import Clip, check_speakers, split_by_speaker
from emotion.corpora.dialogues import utterances
from emotion.corpora.fer2013 import load_faces
from emotion.corpora.goemotions import EKMAN, FINE, load_comments
from emotion.corpora.speech import SPEECH_CORPORA, load_voices

HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
)


def picture(level, side=48):
    buffer = io.BytesIO()
    Image.new("L", (side, side), level).save(buffer, "PNG")
    return buffer.getvalue()


def sound(seconds=0.5, rate=16_000, container="flac"):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream({"wav": "pcm_s16le"}.get(container, container), rate=rate)
        t = np.arange(round(seconds * rate)) / rate
        samples = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return buffer.getvalue()


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


# ------------------------------------------------------------------------------ speech

RAVDESS = {
    "Actor_01/03-01-01-01-01-01-01.wav": "neutral",
    "Actor_01/03-01-02-01-01-01-01.wav": "neutral",
    "Actor_01/03-01-06-01-01-01-01.wav": "fear",
    "Actor_02/03-01-08-02-02-02-02.wav": "surprise",
}
EMODB = {"wav/03a01Wa.wav": "angry", "wav/11b03Tc.wav": "sad", "wav/08a02Ed.wav": "disgust"}
TESS = {
    "OAF_Pleasant_surprise/OAF_back_ps.wav": "surprise",
    "YAF_neutral/YAF_back_neutral.wav": "neutral",
}


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize(
    ("corpus", "files"), [("ravdess", RAVDESS), ("emodb", EMODB), ("tess", TESS)]
)
def test_official_layouts_are_read(tmp_path, write, corpus, files):
    place = f"{corpus}.zip" if write is write_zip else corpus
    write(tmp_path / place, dict.fromkeys(files, b"") | {"README.txt": b""})
    clips = SPEECH_CORPORA[corpus].clips(tmp_path)
    assert {clip.name: clip.emotion for clip in clips} == files
    assert all(clip.speaker.startswith(f"{corpus}:") for clip in clips)


def test_speakers_and_what_is_left_out(tmp_path):
    song, boredom = "Actor_01/03-02-03-01-01-01-01.wav", "wav/03a01Lb.wav"
    write_folder(tmp_path / "ravdess", dict.fromkeys([*RAVDESS, song], b""))
    write_folder(tmp_path / "emodb", dict.fromkeys([*EMODB, boredom], b""))
    ravdess = SPEECH_CORPORA["ravdess"].clips(tmp_path)
    emodb = SPEECH_CORPORA["emodb"].clips(tmp_path)
    assert {clip.speaker for clip in ravdess} == {"ravdess:01", "ravdess:02"}
    assert {clip.speaker for clip in emodb} == {"emodb:03", "emodb:08", "emodb:11"}
    assert not {song, boredom} & {clip.name for clip in [*ravdess, *emodb]}


def test_voices_are_decoded_and_cached(tmp_path):
    write_zip(tmp_path / "ravdess.zip", dict.fromkeys(RAVDESS, sound(rate=48_000)))
    cache = tmp_path / "cache"
    voices = load_voices(tmp_path, ["ravdess"], cache)
    assert [len(w) for w in voices.waveforms] == pytest.approx([8000] * 4, abs=20)
    assert np.abs(voices.waveforms[0]).max() == pytest.approx(8000 / 32768, rel=0.05)
    assert voices.labels.tolist() == [EMOTIONS.index(c.emotion) for c in voices.clips]
    assert len(voices.of(["ravdess:02"])) == 1
    assert len(list(cache.iterdir())) == 1
    again = load_voices(tmp_path, ["ravdess"], cache)
    np.testing.assert_array_equal(voices.waveforms[0], again.waveforms[0])


@pytest.mark.parametrize("container", ["wav", "flac"])
def test_any_rate_is_decoded_to_ours(container):
    waveform = decode_audio(sound(rate=48_000, container=container), 16_000)
    assert waveform.dtype == np.float32
    assert len(waveform) == pytest.approx(8000, abs=20)


@pytest.mark.parametrize(
    ("corpus", "files", "message"),
    [
        ("ravdess", {}, "Expected clips of RAVDESS"),
        ("ravdess", {"Actor_01/03-01-09-01-01-01-01.wav": b""}, "got '09'"),
        ("emodb", {"wav/03a01Xa.wav": b""}, "among A, E, F, L, N, T, W .+ got 'X'"),
    ],
)
def test_wrong_names_are_told(tmp_path, corpus, files, message):
    write_zip(tmp_path / f"{corpus}.zip", files)
    with pytest.raises(CorpusError, match=message):
        SPEECH_CORPORA[corpus].clips(tmp_path)


def test_missing_and_broken_corpora_are_told(tmp_path):
    with pytest.raises(
        CorpusError, match=r"Expected .+ or speech/ravdess\.zip in .+ found neither"
    ):
        load_voices(tmp_path, ["ravdess"])
    with pytest.raises(CorpusError, match=r"among afew, .+, cremad, got crema\."):
        load_voices(tmp_path, ["crema"])
    (tmp_path / "ravdess.zip").write_bytes(b"PK, but no zip")
    with pytest.raises(CorpusError, match="Expected a zip archive"):
        load_voices(tmp_path, ["ravdess"])
    write_zip(tmp_path / "emodb.zip", {"wav/03a01Wa.wav": sound()[:60]})
    with pytest.raises(CorpusError, match=r"Unreadable clip wav/03a01Wa\.wav"):
        load_voices(tmp_path, ["emodb"])
    with pytest.raises(CorpusError, match=r"Expected nothing\.wav"):
        Archive(tmp_path / "emodb.zip").read("nothing.wav")


# ------------------------------------------------------------------------------- split


def test_a_split_never_parts_a_speakers_clips():
    clips = [Clip("x", str(i), "happy", f"x:{i % 3}") for i in range(9)]
    rest, held_out = split_by_speaker(clips, ["x:1"])
    assert {c.speaker for c in held_out} == {"x:1"}
    assert {c.speaker for c in rest} == {"x:0", "x:2"}
    assert len(rest) + len(held_out) == 9
    with pytest.raises(CorpusError, match="among x:0, x:1, x:2, got x:7"):
        split_by_speaker(clips, ["x:7"])


# ------------------------------------------------------------------------------- faces


@pytest.fixture
def faces(tmp_path):
    write_zip(
        tmp_path / "fer2013" / "fer2013.zip",
        {
            "Training/happy/fer0000001.png": picture(10),
            "Training/angry/fer0000000.png": picture(20),
            "PublicTest/sad/fer0000002.png": picture(30),
        },
    )
    (tmp_path / "fer2013" / "fer2013new.csv").write_text(
        HEADER
        + "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\n"
        + "Training,fer0000001.png,0,0,0,0,0,0,0,9,1,0\n"
    )
    return tmp_path


@pytest.mark.parametrize("cached", [False, True])
def test_faces_come_in_the_order_of_their_names(faces, cached):
    cache = faces / "cache" if cached else None
    for _ in range(2):
        train = load_faces(faces, "Training", cache)
        assert train.images[:, 0, 0].tolist() == [20, 10]
        assert [EMOTIONS[i] for i in train.labels] == ["angry", "happy"]
        np.testing.assert_allclose(train.votes[0], [0.3, 0.2, 0, 0, 0.4, 0.1, 0], atol=1e-7)
        assert not train.votes[1].any()  # contempt and unknown are none of ours
        assert len(load_faces(faces, "PublicTest", cache)) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Training/joy/fer1.png", picture(1), "got joy"),
        ("Training/sad/fer1.png", b"no picture", "Expected a picture"),
        ("Training/sad/fer1.png", picture(1, side=40), "48 x 48"),
        ("PublicTest/sad/fer1.png", picture(1), "Expected Training/<emotion>"),
    ],
)
def test_wrong_faces_are_told(tmp_path, name, content, message):
    write_zip(tmp_path / "fer2013.zip", {name: content})
    with pytest.raises(CorpusError, match=message):
        load_faces(tmp_path, "Training")


# ------------------------------------------------------------------------------- words


def write_comments(path, comments):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as out:
        for split, text, emotions in comments:
            turn = {"speaker": "A", "text": text, "emotion": emotions}
            out.write(json.dumps({"split": split, "turns": [turn]}) + "\n")


def test_comments_are_grouped_as_ekman_did(tmp_path):
    comments = [("train", "a", ["annoyance", "joy"]), ("test", "b", ["neutral"])]
    write_comments(tmp_path / "goemotions.jsonl.gz", comments)
    train = load_comments(tmp_path, "train")
    assert train.texts == ("a",)
    assert [e for e, on in zip(EMOTIONS, train.labels[0], strict=True) if on] == ["angry", "happy"]
    assert [f for f, on in zip(FINE, train.fine[0], strict=True) if on] == ["annoyance", "joy"]


def test_conversations_give_what_was_said_and_felt(tmp_path):
    conversations = [
        {"emotion": "afraid", "situation": "dark", "turns": [{"text": "boo"}, {"text": "oh"}]},
        {"split": "train", "turns": [{"text": "no", "emotion": "anger"}, {"text": "why"}]},
        {"split": "test", "turns": [{"text": "secret", "emotion": "anger"}]},
    ]
    (tmp_path / "dialogue").mkdir()
    with gzip.open(tmp_path / "dialogue" / "talk.jsonl.gz", "wt") as out:
        out.writelines(json.dumps(one) + "\n" for one in conversations)
    said = list(utterances(tmp_path, "talk"))
    wanted = [("dark", "afraid"), ("boo", "afraid"), ("oh", None), ("no", "anger"), ("why", None)]
    assert [(one.text, one.feeling) for one in said] == wanted
    assert "dark" not in repr(said[0])


def test_wrong_conversations_are_told(tmp_path):
    with pytest.raises(CorpusError, match=r"Expected talk.jsonl.gz in .+ found neither"):
        next(utterances(tmp_path, "talk"))
    with gzip.open(tmp_path / "talk.jsonl.gz", "wt") as out:
        out.write('{"turns": [{"text": "a"}]}\n{"turns": [{}]}\n')
    with pytest.raises(CorpusError, match="Unreadable conversation after 1"):
        list(utterances(tmp_path, "talk"))


def test_the_grouping_is_complete():
    assert set(EKMAN) == set(EMOTIONS)
    fine = [name for names in EKMAN.values() for name in names]
    assert len(fine) == len(set(fine)) == 28


def test_wrong_comments_are_told(tmp_path):
    with pytest.raises(CorpusError, match="found neither"):
        load_comments(tmp_path, "train")
    path = tmp_path / "goemotions.jsonl.gz"
    write_comments(path, [("train", "a", ["joy"]), ("train", "b", ["envy"])])
    with pytest.raises(CorpusError, match="Unreadable comment after 2"):
        load_comments(tmp_path, "train")
    write_comments(path, [("train", "a", ["joy"])])
    with pytest.raises(CorpusError, match="part 'dev'"):
        load_comments(tmp_path, "dev")


# ------------------------------------------------------------------------------- cache


@pytest.mark.parametrize(("cached", "times"), [(True, 1), (False, 2)])
def test_what_is_cached_is_made_once(tmp_path, cached, times):
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(3), "b": np.array([2.0])}

    for _ in range(2):
        arrays = cached_arrays("key", tmp_path if cached else None, make)
        assert arrays["a"].tolist() == [0, 1, 2]
    assert len(made) == times


def test_a_cache_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match=r"Expected a folder to write at .*file"):
        cached_arrays("key", tmp_path / "file", dict)
    (tmp_path / "key.safetensors").write_bytes(b"cut off")
    with pytest.raises(CorpusError, match=r"Expected whole arrays in .*delete it\."):
        cached_arrays("key", tmp_path, dict)


# ---------------------------------------------------------------------------- real data


@pytest.mark.data
def test_the_real_comments_are_all_there(data_root):
    assert len(load_comments(data_root, "test").texts) == 5404


def test_a_speaker_nobody_knows_is_refused():
    with pytest.raises(CorpusError, match="got ravdess:99"):
        check_speakers(["ravdess:99"], ["ravdess:01"])
