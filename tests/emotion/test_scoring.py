import json
import zipfile

import pytest
import torch

from emotion import EMOTIONS, SIX, CheckpointError, CorpusError, InputError, checkpoint
from emotion.models.attention_fcn import AttentionFCN, AttentionFCNConfig, ConvLayer
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig
from emotion.models.face_cnn import FaceCNN, FaceCNNConfig
from emotion.scoring import scorable, score


@pytest.fixture(scope="module")
def root(tmp_path_factory, write_ravdess, write_fer2013):
    root = write_ravdess(tmp_path_factory.mktemp("corpora"))
    return write_fer2013(root, "PublicTest", pictures=14)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        face = FaceCNN(FaceCNNConfig(stem=4, widths=(8,), blocks=(1,)))
        voice = AttentionFCN(AttentionFCNConfig((ConvLayer(4, 5, 4),), attention_hidden=4))
        encoder = FaceEncoder(FaceEncoderConfig("compact", shrink=16))
    facts = {"temperature": {"fer2013": 1.0, "ferplus": 1.0}}
    checkpoint.save(folder / "face", face, face.config, training=facts)
    facts = {"temperature": {"fer2013": 1.0}}
    checkpoint.save(folder / "encoder", encoder, encoder.config, training=facts)
    facts = {
        "temperature": 1.0,
        "corpora": ["ravdess"],
        "speakers": ["ravdess:01"],
        "held_out_speakers": ["ravdess:02"],
    }
    checkpoint.save(folder / "voice", voice, voice.config, training=facts)
    facts |= {"speakers": ["ravdess:01", "ravdess:02"], "held_out_speakers": []}
    checkpoint.save(folder / "everybody", voice, voice.config, training=facts)
    return folder


def test_faces_are_scored(root, models):
    found = score("fer2013", root, model=models)
    assert (found["split"], found["samples"], found["seen_in_training"]) == (
        "PublicTest",
        14,
        False,
    )


def test_the_papers_face_networks_are_scored_on_the_labels_they_know(root, models):
    found = score("fer2013", root, model=models / "encoder", seeds=[models / "encoder"])
    assert found["samples"] == 14
    assert found["spread"]["wa"]["deviation"] == 0
    with pytest.raises(InputError, match="Expected fer2013 for this model, got ferplus"):
        score("ferplus", root, model=models / "encoder")


def test_only_unseen_speakers_are_scored(root, models):
    found = score("ravdess", root, model=models)
    assert found["speakers"] == ["ravdess:02"]
    assert found["samples"] == 8
    assert found["temperature"] == "fitted on the other speakers"


@pytest.mark.parametrize(
    ("corpus", "places", "options"),
    [
        ("savee", ["savee/DC/a01.wav", "savee/KL/sa07.wav"], {}),
        ("cremad", ["cremad/AudioWAV/1001_DFA_ANG_XX.wav"] * 2, {}),
        ("afew", ["AFEW/Train/Angry/1.avi", "AFEW/Val/Sad/2.avi"], {"split": "valid"}),
    ],
)
def test_a_corpus_in_its_official_layout_is_scored(models, tmp_path, root, corpus, places, options):
    with zipfile.ZipFile(root / "ravdess.zip") as archive:
        sound = archive.read(archive.namelist()[0])
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(sound)
    found = score(corpus, tmp_path, model=models, **options)
    assert found["samples"] == len(set(places)) - len(options)
    with pytest.raises((CorpusError, InputError), match="got 'nothing'"):
        score(corpus, tmp_path, model=models, split="nothing")


def test_a_model_that_heard_everybody_is_not_scored(root, models):
    with pytest.raises(CorpusError, match=r"not trained on, got none: .+ --without-speakers"):
        score("ravdess", root, model=models / "everybody")


@pytest.mark.parametrize(
    ("corpus", "kind", "message"),
    [
        ("crema", "face", "Expected a corpus among .+ got 'crema'"),
        ("emodb", "voice", "found neither"),
    ],
)
def test_unknown_and_missing_corpora_are_told(root, models, corpus, kind, message):
    with pytest.raises(CorpusError, match=message):
        score(corpus, root, model=models / kind)


def test_a_checkpoint_of_another_kind_is_told(root, models):
    with pytest.raises(CheckpointError, match=r"checkpoint of AttentionFCN .+ 'FaceCNN'"):
        score("ravdess", root, model=models / "face")


def test_the_baseline_is_scored_beside(root, models):
    pytest.importorskip("opensmile", reason="the extra functionals is not installed")
    found = score("ravdess", root, model=models, baseline=True)
    assert found["egemaps_svm"]["samples"] == 8
    assert "ece" not in found["egemaps_svm"]


# ---------------------------------------------------------------------- models of the hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A small random audio classifier and an image classifier, as the hub has them."""
    import transformers as tf

    folder = tmp_path_factory.mktemp("hub")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    sizes |= {"intermediate_size": 8, "id2label": dict(enumerate(EMOTIONS))}
    audio = tf.Wav2Vec2Config(
        conv_dim=(4,), conv_kernel=(40,), conv_stride=(20,), num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=1, **sizes,
    )  # fmt: skip
    with torch.random.fork_rng():
        heard = tf.Wav2Vec2ForSequenceClassification(audio)
        seen = tf.ViTForImageClassification(tf.ViTConfig(image_size=16, patch_size=8, **sizes))
    heard.save_pretrained(folder / "voice")
    tf.Wav2Vec2FeatureExtractor().save_pretrained(folder / "voice")
    seen.save_pretrained(folder / "face")
    tf.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder / "face")
    return folder


def test_a_model_of_the_hub_is_scored_on_everybody(root, hub):
    found = score("ravdess", root, voice_model=str(hub / "voice"))
    assert found["speakers"] == ["ravdess:01", "ravdess:02"]
    assert (found["samples"], found["says"]) == (16, list(EMOTIONS))
    assert json.loads(json.dumps(found)) == found
    faces = score("fer2013", root, face_model=str(hub / "face"), emotions=SIX)
    assert faces["samples"] == 12
    told = score("ravdess", root, voice_model=str(hub / "voice"), labels=["sad", *"-----", "joy"])
    assert told["says"] == ["happy", "sad"]


@pytest.mark.parametrize(
    ("corpus", "options", "message"),
    [
        ("fer2013", {"voice_model": "x"}, "corpus of voices for --voice-model, got 'fer2013'"),
        ("ravdess", {"face_model": "x"}, "corpus of faces for --face-model, got 'ravdess'"),
        ("ravdess", {"voice_model": "x", "baseline": True}, "neither --model nor --baseline"),
        ("ravdess", {"labels": ["sad"]}, "--voice-model or --face-model for --labels"),
        ("paired", {"split": "x"}, "no split for paired"),
    ],
)
def test_what_does_not_fit_together_is_told(root, corpus, options, message):
    with pytest.raises(InputError, match=message):
        score(corpus, root, **options)


def test_every_corpus_with_sound_and_labels_can_be_scored():
    from emotion.corpora.registry import CORPORA

    sounding = {n for n, c in CORPORA.items() if "voice" in c.modalities and c.labels}
    assert set(scorable()) == sounding | {
        *("fer2013", "ferplus", "goemotions", "paired", "photographs", "recola")
    }
    assert {"savee", "enterface", "cremad", "iemocap"} <= sounding


def test_ratings_ask_for_a_model(tmp_path):
    with pytest.raises(InputError, match="Expected --model for recola"):
        score("recola", tmp_path)
