"""The official layouts: which clips a corpus has, by the names of its files alone."""

import os
import pickle
import zipfile
from dataclasses import replace

import pytest

from emotion import EMOTIONS, CorpusError
from emotion.corpora.acted import movie_of
from emotion.corpora.archive import Archive
from emotion.corpora.registry import CORPORA, corpus_named
from emotion.corpora.splits import leave_one_out, official

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()

[10.0100 - 11.3925]\tSes01F_impro01_F001\texc\t[2.5000, 2.5000, 2.5000]
[14.8872 - 18.0175]\tSes01F_impro01_M000\tfru\t[2.5000, 2.5000, 2.5000]
[19.2900 - 20.7875]\tSes01F_impro01_M001\tang\t[2.5000, 3.5000, 2.5000]
"""


def write(folder, files):
    """Write empty files, or those with the text given."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(files[name] if isinstance(files, dict) else "")
    return folder


def found(root, name):
    return {clip.name: clip for clip in CORPORA[name].clips(root)}


# ---------------------------------------------------------------------------- registry


def test_the_ten_corpora_are_there_and_described():
    names = "afew enterface savee fer2013 iemocap recola ravdess emodb tess cremad"
    assert " ".join(CORPORA) == names
    for name, corpus in CORPORA.items():
        assert corpus.name == name
        assert corpus.licence
        assert corpus.url.startswith("http")
        assert corpus.counts.source
        assert set(corpus.modalities) <= {"face", "voice"}
        assert {e for e in corpus.labels.values() if e} == set(corpus.counts.emotions)
        assert set(corpus.counts.emotions) <= set(EMOTIONS)


def test_official_counts_are_consistent():
    for corpus in CORPORA.values():
        counts = corpus.counts
        if counts.splits:
            assert sum(counts.splits.values()) == counts.clips
        if counts.clips and counts.emotions:
            assert sum(counts.emotions.values()) <= counts.clips
    afew = CORPORA["afew"].counts
    assert afew.splits == {"train": 773, "valid": 383, "test": 653}
    assert sum(afew.emotions.values()) == 773 + 383  # the test part's labels are not given out
    assert sum(CORPORA["iemocap"].counts.emotions.values()) == 5531


def test_an_unknown_corpus_is_told():
    assert corpus_named("afew") is CORPORA["afew"]
    with pytest.raises(CorpusError, match=r"among afew, enterface, .+ got 'crema'"):
        corpus_named("crema")


@pytest.mark.parametrize("name", CORPORA)
def test_an_empty_folder_is_told(tmp_path, name):
    corpus = CORPORA[name]
    with pytest.raises(CorpusError, match=r"Expected .+ found neither\."):
        corpus.clips(tmp_path)
    place = next(place for place in corpus.places if not place.endswith(".zip"))
    (tmp_path / place).mkdir()
    with pytest.raises(CorpusError, match=r"Expected clips of .+ found none\."):
        corpus.clips(tmp_path)


# --------------------------------------------------------------------- named recordings


def test_afew_has_official_parts_and_no_speakers(tmp_path):
    write(
        tmp_path / "AFEW",
        [
            "Train/Angry/000046280.avi",
            "Train/Happy/010138240.avi",
            "Val/Surprise/000046280.avi",
            "Test/003055040.avi",
            "Test/Test_vid_Distribute/003055041.avi",
            "Train/Angry/readme.txt",
        ],
    )
    clips = found(tmp_path, "afew")
    assert {name: (c.emotion, c.split) for name, c in clips.items()} == {
        "Train/Angry/000046280.avi": ("angry", "train"),
        "Train/Happy/010138240.avi": ("happy", "train"),
        "Val/Surprise/000046280.avi": ("surprise", "valid"),
    }
    assert {c.speaker for c in clips.values()} == {"afew:train", "afew:valid"}
    assert all(c.video == c.audio == c.name for c in clips.values())
    fold = official(list(clips.values()), "valid")
    assert (len(fold.train), len(fold.test)) == (2, 1)


def test_afew_with_labels_of_the_test_part_or_names_of_movies(tmp_path):
    names = ["Train/Sad/Terminal_014601640.avi", "Train/Sad/000046280.avi", "Test/Sad/1.avi"]
    write(tmp_path / "afew", names)
    clips = found(tmp_path, "afew")
    assert clips["Train/Sad/Terminal_014601640.avi"].speaker == "afew:Terminal"
    assert clips["Train/Sad/000046280.avi"].speaker == "afew:train"
    assert clips["Test/Sad/1.avi"].split == "test"
    # nine digits are a time of day in the movie, and two movies have the same one
    assert movie_of("014601640") is None


def test_afew_as_zips_of_its_parts(tmp_path):
    (tmp_path / "AFEW").mkdir()
    for part in ("Train", "Val"):
        with zipfile.ZipFile(tmp_path / "AFEW" / f"{part}_AFEW.zip", "w") as archive:
            archive.writestr("Sad/000046280.avi", b"")
    assert [c.split for c in CORPORA["afew"].clips(tmp_path)] == ["train", "valid"]


def test_enterface_is_read_at_any_depth(tmp_path):
    write(
        tmp_path / "enterface database",
        [
            "subject 1/anger/sentence 1/s1_an_1.avi",
            "subject 1/happiness/sentence 2/s1_ha_2.avi",
            "subject 6/sadness/s6_sa_1.avi",
            "subject 7/fear/sentence 1/fear/s7_fe_1.avi",
            "subject-42/disgust/sentence 1/s_42_di_1.avi",
            "subject 1/anger/sentence 1/Thumbs.db",
        ],
    )
    clips = found(tmp_path, "enterface")
    assert {(c.speaker, c.emotion) for c in clips.values()} == {
        ("enterface:1", "angry"),
        ("enterface:1", "happy"),
        ("enterface:6", "sad"),
        ("enterface:7", "fear"),
        ("enterface:42", "disgust"),
    }
    assert all(c.video == c.audio for c in clips.values())


def test_savee_joins_sound_and_film(tmp_path):
    write(tmp_path / "SAVEE", ["DC/a01.wav", "DC/a01.avi", "JE/su15.wav", "Info.txt"])
    clips = found(tmp_path, "savee")
    assert (clips["DC/a01.wav"].video, clips["DC/a01.wav"].audio) == ("DC/a01.avi", "DC/a01.wav")
    assert clips["JE/su15.wav"].emotion == "surprise"
    assert clips["JE/su15.wav"].video is None
    apart = ["AudioData/DC/sa01.wav", "AudioVisualClip/DC/sa1.avi"]  # as it is given out
    write(tmp_path / "apart" / "savee", apart)
    (clip,) = found(tmp_path / "apart", "savee").values()
    assert (clip.audio, clip.video, clip.emotion) == (*apart, "sad")


def test_cremad_joins_sound_and_film(tmp_path):
    write(
        tmp_path / "CREMA-D",
        [
            "AudioWAV/1001_DFA_ANG_XX.wav",
            "AudioMP3/1001_DFA_ANG_XX.mp3",
            "VideoFlash/1001_DFA_ANG_XX.flv",
            "VideoFlash/1002_ITH_SAD_X.flv",
        ],
    )
    clips = found(tmp_path, "cremad")
    first = clips["AudioWAV/1001_DFA_ANG_XX.wav"]
    assert (first.emotion, first.speaker) == ("angry", "cremad:1001")
    assert first.video == "VideoFlash/1001_DFA_ANG_XX.flv"
    only = clips["VideoFlash/1002_ITH_SAD_X.flv"]
    assert only.video == only.audio == only.name


def test_ravdess_as_zips_of_one_actor_each(tmp_path):
    (tmp_path / "RAVDESS").mkdir()
    for actor, names in {
        "Video_Speech_Actor_01.zip": [
            "Actor_01/01-01-06-01-02-01-01.mp4",
            "Actor_01/02-01-06-01-02-01-01.mp4",
            "Actor_01/02-01-03-01-02-01-01.mp4",
        ],
        "Video_Song_Actor_01.zip": ["Actor_01/01-02-06-01-02-01-01.mp4"],
        "Audio_Speech_Actors_01-24.zip": [
            "Actor_01/03-01-06-01-02-01-01.wav",
            "__MACOSX/Actor_01/._03-01-05-01-02-01-01.wav",
        ],
    }.items():
        with zipfile.ZipFile(tmp_path / "RAVDESS" / actor, "w") as archive:
            for name in names:
                archive.writestr(name, b"")
    clips = found(tmp_path, "ravdess")
    both = clips["Audio_Speech_Actors_01-24.zip/Actor_01/03-01-06-01-02-01-01.wav"]
    assert both.video == "Video_Speech_Actor_01.zip/Actor_01/01-01-06-01-02-01-01.mp4"
    assert (both.emotion, both.speaker) == ("fear", "ravdess:01")
    silent = clips["Video_Speech_Actor_01.zip/Actor_01/02-01-03-01-02-01-01.mp4"]
    assert (silent.emotion, silent.audio) == ("happy", None)
    assert len(clips) == 2


def test_a_film_with_sound_needs_no_other_file(tmp_path):
    write(tmp_path / "ravdess", ["Actor_01/01-01-06-01-02-01-01.mp4"])
    (clip,) = found(tmp_path, "ravdess").values()
    assert clip.video == clip.audio == clip.name


@pytest.mark.parametrize(
    ("corpus", "place", "file", "message"),
    [
        ("afew", "afew", "Train/Bored/1.avi", r"among angry, .+Train/Bored/1\.avi, got 'bored'"),
        ("enterface", "enterface", "subject 3/joy/s3.avi", "got 'joy'"),
        ("savee", "savee", "DC/x01.wav", "among a, d, f, h, n, sa, su .+ got 'x'"),
        ("cremad", "cremad", "AudioWAV/1001_DFA_SUR_XX.wav", "got 'SUR'"),
        ("ravdess", "ravdess", "Actor_01/01-01-09-01-01-01-01.mp4", "got '09'"),
        ("fer2013", "fer2013", "Training/joy/fer1.png", "got 'joy'"),
    ],
)
def test_unknown_labels_are_told(tmp_path, corpus, place, file, message):
    write(tmp_path / place, [file])
    with pytest.raises(CorpusError, match=message):
        CORPORA[corpus].clips(tmp_path)


def test_fer2013_is_listed_with_its_parts(tmp_path):
    write(tmp_path / "fer2013", ["Training/happy/a.png", "PublicTest/sad/b.png"])
    clips = found(tmp_path, "fer2013")
    assert clips["Training/happy/a.png"].split == "train"
    assert clips["PublicTest/sad/b.png"].speaker == "fer2013:valid"
    assert clips["PublicTest/sad/b.png"].audio is None


def test_other_classes_are_other_labels(tmp_path):
    write(tmp_path / "emodb", ["wav/03a01Lb.wav", "wav/03a01Wa.wav"])
    bored = replace(CORPORA["emodb"], labels=CORPORA["emodb"].labels | {"L": "neutral"})
    assert [clip.emotion for clip in bored.clips(tmp_path)] == ["neutral", "angry"]


# ------------------------------------------------------------------------------ iemocap


@pytest.fixture
def iemocap(tmp_path):
    folder = write(
        tmp_path / "IEMOCAP_full_release",
        {
            "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": EVALUATION,
            "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt": "of macOS",
            "Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e1_cat.txt": "one rater's",
            "Session1/dialog/avi/DivX/Ses01F_impro01.avi": "",
            "Session1/dialog/wav/Ses01F_impro01.wav": "",
            "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav": "",
        },
    )
    return tmp_path, folder / "Session1"


def test_iemocap_turns(iemocap):
    clips = found(iemocap[0], "iemocap")
    assert {name: clip.emotion for name, clip in clips.items()} == {
        "Ses01F_impro01_F000": "neutral",
        "Ses01F_impro01_F001": "happy",  # excited
        "Ses01F_impro01_M001": "angry",
    }
    first, second = clips["Ses01F_impro01_F000"], clips["Ses01F_impro01_M001"]
    assert first.audio == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert second.audio == "Session1/dialog/wav/Ses01F_impro01.wav"
    assert first.video == "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    assert first.span_s == (6.2901, 8.2357)
    assert (first.speaker, second.speaker) == ("iemocap:ses01F", "iemocap:ses01M")
    assert first.session == second.session == "iemocap:ses01"
    assert (first.half, second.half) == ("left", "right")  # Ses01F: she sits on the left
    assert len({first, second}) == 2


def test_iemocap_with_other_classes(iemocap):
    labels = {**CORPORA["iemocap"].labels, "exc": None, "fru": "angry"}
    clips = replace(CORPORA["iemocap"], labels=labels).clips(iemocap[0])
    assert [clip.emotion for clip in clips] == ["neutral", "angry", "angry"]


def test_sessions_are_left_out_as_a_whole(iemocap):
    root, session = iemocap
    text = EVALUATION.replace("Ses01F", "Ses02M")
    write(session.parent, {"Session2/dialog/EmoEvaluation/Ses02M_impro01.txt": text})
    write(session.parent, ["Session2/dialog/wav/Ses02M_impro01.wav"])
    folds = list(leave_one_out(CORPORA["iemocap"].clips(root), by="session"))
    assert [fold.name for fold in folds] == ["iemocap:ses01", "iemocap:ses02"]
    assert {clip.session for clip in folds[0].train} == {"iemocap:ses02"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\texc\t", "\tjoy\t", r"impro01\.txt at Ses01F_impro01_F001, got 'joy'"),
        ("\texc\t[2.5000, 2.5000, 2.5000]", "", "Expected a turn .+ in Session1/dialog/"),
        ("[10.0100 - 11.3925]", "[10.01 to 11.39]", r"got '\[10\.01 to"),
    ],
)
def test_a_broken_evaluation_is_told(iemocap, old, new, message):
    root, session = iemocap
    file = session / "dialog/EmoEvaluation/Ses01F_impro01.txt"
    file.write_text(EVALUATION.replace(old, new))
    with pytest.raises(CorpusError, match=message):
        CORPORA["iemocap"].clips(root)


def test_a_missing_evaluation_or_recording_is_told(iemocap):
    root, session = iemocap
    write(session, ["sentences/wav/Ses01F_impro02/Ses01F_impro02_F000.wav"])
    wanted = r"Expected Session1/dialog/EmoEvaluation/Ses01F_impro02\.txt in .+ found none"
    with pytest.raises(CorpusError, match=wanted):
        CORPORA["iemocap"].clips(root)
    (session / "sentences/wav/Ses01F_impro02/Ses01F_impro02_F000.wav").unlink()
    for name in ("dialog/avi/DivX/Ses01F_impro01.avi", "dialog/wav/Ses01F_impro01.wav"):
        (session / name).unlink()
    with pytest.raises(CorpusError, match=r"Expected sentences/wav/.+F001\.wav or dialog/wav/"):
        CORPORA["iemocap"].clips(root)


# ------------------------------------------------------------------------------- recola

RECOLA = [
    f"{folder}/{take}.{suffix}"
    for take in ("train_1", "dev_1")
    for folder, suffix in (
        ("recordings_audio", "wav"),
        ("recordings_video", "mp4"),
        ("ratings_gold_standard/arousal", "arff"),
        ("ratings_gold_standard/valence", "csv"),
        ("ratings_individual/arousal", "csv"),
    )
]


def test_recola_recordings(tmp_path):
    write(tmp_path / "RECOLA", [*RECOLA, "recordings_audio/test_1.wav"])
    clips = found(tmp_path, "recola")
    assert set(clips) == {"train_1", "dev_1"}
    dev = clips["dev_1"]
    assert (dev.emotion, dev.split, dev.speaker) == (None, "valid", "recola:dev_1")
    assert (dev.audio, dev.video) == ("recordings_audio/dev_1.wav", "recordings_video/dev_1.mp4")
    assert dev.ratings == {
        "arousal": "ratings_gold_standard/arousal/dev_1.arff",
        "valence": "ratings_gold_standard/valence/dev_1.csv",
    }


def test_a_missing_rating_or_recording_is_told(tmp_path):
    folder = write(tmp_path / "RECOLA", RECOLA)
    (folder / "recordings_audio/train_1.wav").unlink()
    assert found(tmp_path, "recola")["train_1"].audio is None
    (folder / "recordings_video/train_1.mp4").unlink()
    with pytest.raises(CorpusError, match=r"Expected recordings_audio/train_1\.wav or"):
        CORPORA["recola"].clips(tmp_path)
    (folder / "ratings_gold_standard/arousal/dev_1.arff").unlink()
    with pytest.raises(CorpusError, match=r"Expected ratings_gold_standard/arousal/dev_1\.arff or"):
        CORPORA["recola"].clips(tmp_path)


# ------------------------------------------------------------------------------ archives


def test_an_archive_can_be_sent_to_another_process(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as written:
        written.writestr("a/b.txt", "said")
    archive = Archive(tmp_path / "x.zip")
    assert archive.read("a/b.txt") == b"said"
    again = pickle.loads(pickle.dumps(archive))
    assert again.names == ("a/b.txt",)
    assert again.read("a/b.txt") == b"said"


def test_a_forked_process_opens_the_zip_for_itself(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as written:
        written.writestr("a.txt", "said")
    archive = Archive(tmp_path / "x.zip")
    assert archive.read("a.txt") == b"said"
    before = archive._zips[""]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert archive.read("a.txt") == b"said"
    assert archive._zips[""] is not before


def test_a_broken_zip_inside_a_folder_is_told(tmp_path):
    write(tmp_path / "ravdess", {"Actor_01.zip": "no zip"})
    with pytest.raises(CorpusError, match=r"Expected a zip archive at .+Actor_01\.zip"):
        CORPORA["ravdess"].clips(tmp_path)


def test_the_fingerprint_of_a_folder_changes_with_a_zip_in_it(tmp_path):
    before = Archive(tmp_path).fingerprint
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as written:
        written.writestr("a.txt", "said")
    after = Archive(tmp_path)
    assert after.fingerprint != before
    assert after.names == ("x.zip/a.txt",)


# ----------------------------------------------------------------------------- real data


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "clips", "speakers"),
    [("ravdess", 1080, 18), ("emodb", 208, 5), ("tess", 980, 2), ("fer2013", 31_399, 2)],
)
def test_the_real_corpora_hold_what_their_readme_counts(data_root, name, clips, speakers):
    listed = CORPORA[name].clips(data_root)
    assert (len(listed), len({clip.speaker for clip in listed})) == (clips, speakers)


@pytest.mark.data
def test_the_real_emodb_has_its_boredom_and_fer2013_its_parts(data_root):
    emodb = replace(CORPORA["emodb"], labels=CORPORA["emodb"].labels | {"L": "neutral"})
    assert len(emodb.clips(data_root)) == 243
    splits = [clip.split for clip in CORPORA["fer2013"].clips(data_root)]
    assert (splits.count("train"), splits.count("valid")) == (27_866, 3_533)
