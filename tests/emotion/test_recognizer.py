import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from emotion import (
    EMOTIONS,
    SIX,
    CheckpointError,
    EmotionRecognizer,
    InputError,
    MediaError,
    checkpoint,
)
from emotion.checkpoint import BUNDLED
from emotion.models.fusion import AttentionFBP, AttentionFBPConfig


def test_a_still_picture_gives_one_estimate_of_the_face(recognizer, astronaut, tmp_path):
    astronaut.save(tmp_path / "face.png")
    (estimate,) = recognizer.recognize(tmp_path / "face.png")
    assert estimate.voice is None
    assert estimate.agreement is None
    assert estimate.start_s == estimate.end_s == 0.0
    # She smiles for her portrait.
    assert estimate.face.label == "happy"


def test_a_sound_file_gives_one_estimate_an_utterance(recognizer, buzz, hush, tmp_path):
    wave = np.concatenate([hush(0.5), buzz(1.0), hush(1.0), buzz(1.0), hush(0.5)])
    soundfile.write(tmp_path / "voice.wav", wave, 16_000)
    first, second = recognizer.recognize(tmp_path / "voice.wav")
    assert first.face is None
    assert first.person is None
    assert first.end_s < second.start_s


def test_neither_face_nor_voice_is_an_error_in_one_sentence(recognizer, tmp_path):
    Image.new("RGB", (320, 240)).save(tmp_path / "black.png")
    with pytest.raises(InputError, match="found neither"):
        recognizer.recognize(tmp_path / "black.png")
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000, np.float32), 16_000)
    with pytest.raises(InputError, match="found neither"):
        recognizer.recognize(tmp_path / "silence.wav")
    with pytest.raises(MediaError):
        recognizer.recognize(tmp_path / "none.mp4")


def test_a_batch_gives_what_one_by_one_gives(recognizer, astronaut, tmp_path):
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    astronaut.save(paths[0])
    astronaut.resize((300, 300)).save(paths[1])
    assert recognizer.recognize_batch(paths) == [recognizer.recognize(path) for path in paths]


@pytest.mark.parametrize("labels", ["fer2013", "ferplus"])
def test_faces_of_any_size_and_colour_in_one_batch(recognizer, astronaut, labels):
    face = astronaut.crop((177, 65, 274, 162))
    images = [
        np.asarray(face),
        np.asarray(face.convert("L")),
        np.asarray(face.resize((48, 48))),
        np.asarray(face.resize((200, 220))),
    ]
    together = recognizer.recognize_faces(images, labels=labels)
    assert together.shape == (4, 7)
    assert together.dtype == np.float32
    assert together.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    alone = [recognizer.recognize_faces([image], labels=labels)[0] for image in images]
    assert np.allclose(together, alone, atol=1e-5)
    assert (together.argmax(axis=1) == EMOTIONS.index("happy")).all()


def test_speech_and_words_give_probabilities(recognizer, buzz):
    for probabilities in (
        recognizer.recognize_speech(buzz(1.0), 16_000),
        recognizer.recognize_speech(np.repeat(buzz(1.0), 3), 48_000),
        recognizer.recognize_words("I miss my grandmother so much, I keep crying."),
    ):
        assert probabilities.shape == (7,)
        assert probabilities.dtype == np.float32
        assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("I miss my grandmother so much, I keep crying.", "sad"),
        ("This is disgusting, it makes me sick.", "disgust"),
        ("Thank you, I love it, this is wonderful!", "happy"),
        ("I am so angry at him, I hate this.", "angry"),
        ("I am terrified of what will happen.", "fear"),
    ],
)
def test_plain_words_are_read_as_people_read_them(recognizer, text, emotion):
    assert EMOTIONS[recognizer.recognize_words(text).argmax()] == emotion


def test_six_emotions_drop_surprise_and_renormalise(astronaut, recognizer):
    six = EmotionRecognizer.from_pretrained(device="cpu", emotions=SIX)
    seven = recognizer.recognize(frames=[np.asarray(astronaut)], frame_rate_hz=1)
    (estimate,) = six.recognize(frames=[np.asarray(astronaut)], frame_rate_hz=1)
    assert tuple(estimate.probabilities) == SIX
    assert sum(estimate.probabilities.values()) == pytest.approx(1.0)
    rest = 1 - seven[0].probabilities["surprise"]
    happy = seven[0].probabilities["happy"] / rest
    assert estimate.probabilities["happy"] == pytest.approx(happy, abs=1e-6)
    words = six.recognize_words("What a surprise!")
    assert words[EMOTIONS.index("surprise")] == 0


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda r: r.recognize(), "path, or frames or a waveform"),
        (lambda r: r.recognize("a.mp4", frames=[]), "got both or none"),
        (lambda r: r.recognize(waveform=np.zeros(9, np.float32)), "sample_rate_hz"),
        (lambda r: r.recognize(frames=[np.zeros((9, 9, 3), np.uint8)]), "frame_rate_hz"),
        (lambda r: r.recognize_speech(np.zeros(100, np.float32), 16_000), "0.25 s"),
        (lambda r: r.recognize_words("  "), "empty"),
        (lambda r: r.recognize_faces([np.zeros((9, 9), np.uint8)], labels="rafdb"), "rafdb"),
        (lambda r: EmotionRecognizer.from_pretrained("no/such/folder"), "no/such/folder"),
        (lambda r: EmotionRecognizer.from_pretrained(device="tpu"), "tpu"),
        (lambda r: EmotionRecognizer.from_pretrained(emotions=("joy",)), "joy"),
    ],
)
def test_wrong_arguments_get_one_sentence_with_the_value(recognizer, call, wanted):
    with pytest.raises((InputError, CheckpointError), match=wanted):
        call(recognizer)


def test_a_folder_without_weights_is_refused_in_words(tmp_path):
    with pytest.raises(CheckpointError, match="face"):
        EmotionRecognizer.from_pretrained(tmp_path)


def test_a_fusion_of_another_kind_is_refused_before_anything_is_read(tmp_path):
    for part in ("face", "voice", "words"):
        (tmp_path / part).symlink_to(BUNDLED / part)
    fusion = AttentionFBP(AttentionFBPConfig())
    checkpoint.save(tmp_path / "fusion", fusion, fusion.config, training={"temperature": 1.0})
    with pytest.raises(CheckpointError, match=r"checkpoint of GatedFBP .+ 'AttentionFBP'"):
        EmotionRecognizer.from_pretrained(tmp_path, device="cpu")


@pytest.mark.data
def test_the_real_clip_gives_face_and_voice(recognizer, data_root):
    (estimate,) = recognizer.recognize(data_root / "clips" / "01-01-06-01-02-01-09.mp4")
    assert estimate.face is not None
    assert estimate.voice is not None
    assert 0.5 < estimate.start_s < estimate.end_s < 3.2


def test_importing_the_package_loads_no_framework():
    code = "import sys, emotion; print([m for m in ('torch', 'av', 'numpy') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cpu_and_gpu_agree(recognizer, astronaut, buzz):
    gpu = EmotionRecognizer.from_pretrained(device="cuda")
    faces = [np.asarray(astronaut.crop((177, 65, 274, 162)).rotate(5 * i)) for i in range(8)]
    assert np.allclose(gpu.recognize_faces(faces), recognizer.recognize_faces(faces), atol=1e-3)
    voice = buzz(2.0)
    assert np.allclose(
        gpu.recognize_speech(voice, 16_000), recognizer.recognize_speech(voice, 16_000), atol=1e-3
    )
