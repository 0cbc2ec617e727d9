"""Models of the hub as branches: small random ones, saved to a folder as the hub has them."""

import numpy as np
import pytest
import torch
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2Model,
)

from emotion import EMOTIONS, CheckpointError, InputError
from emotion.corpora.clip import Clip
from emotion.corpora.speech import Voices
from emotion.models.hub import SYNONYMS, emotion_of, load_hub_face, load_hub_voice
from emotion.scoring import score
from emotion.training.loop import Schedule, fit, step_generator
from emotion.training.recipes import HubVoiceRecipe
from emotion.training.voice_hub import HubVoiceTask, train_voice_hub

OURS = ("ang", "calm", "contempt", "hap", "neu", "sad")  # calm and neutral are both neutral


def numbered(labels):
    return {"id2label": dict(enumerate(labels)), "label2id": {x: i for i, x in enumerate(labels)}}


def wav2vec2(labels):
    return Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_kernel=(10, 8),
        conv_stride=(5, 4),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        **numbered(labels),
    )


def saved(folder, model_class, config, prepare):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = model_class(config).eval()
    model.save_pretrained(folder)
    prepare.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voice")
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=16_000)
    return folder, saved(folder, Wav2Vec2ForSequenceClassification, wav2vec2(OURS), extractor)


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    folder = tmp_path_factory.mktemp("face")
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        **numbered(("Anger", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")),
    )
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    return folder, saved(folder, ViTForImageClassification, config, processor)


def sounds(*lengths):
    generator = np.random.default_rng(1)
    return [0.1 * generator.standard_normal(n).astype(np.float32) for n in lengths]


def test_the_voice_is_what_transformers_says_summed_into_ours(voice):
    folder, model = voice
    branch = load_hub_voice(folder)
    clips = sounds(8000, 16_000)
    found = branch.probabilities(clips)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    for row, clip in zip(found, clips, strict=True):
        inputs = extractor(clip, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            ang, calm, _, hap, neu, sad = model(**inputs).logits.softmax(-1)[0].tolist()
        wanted = np.array([ang, 0, 0, hap, calm + neu, sad, 0])
        np.testing.assert_allclose(row, wanted / wanted.sum(), atol=1e-6)
    assert branch.emotions == ("angry", "happy", "neutral", "sad")
    assert branch.parameters == sum(p.numel() for p in model.parameters())


def test_the_face_is_what_transformers_says(face):
    folder, model = face
    generator = np.random.default_rng(1)
    images = [generator.integers(0, 256, (40, 30, 3)).astype(np.uint8) for _ in range(3)]
    found = load_hub_face(folder).probabilities(images, batch=2)
    inputs = ViTImageProcessor.from_pretrained(folder)(images=images, return_tensors="pt")
    with torch.inference_mode():
        wanted = model(**inputs).logits.softmax(-1)
    np.testing.assert_allclose(found, wanted, atol=1e-5)  # the labels are in our order


def test_grey_pictures_are_read_as_grey_colours(face):
    branch = load_hub_face(face[0])
    grey = np.random.default_rng(1).integers(0, 256, (48, 48)).astype(np.uint8)
    coloured = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(*(branch.probabilities([x]) for x in (grey, coloured)))
    tiny = branch.probabilities([coloured[:3, :3]])  # as wide as a picture has colours
    assert tiny.sum() == pytest.approx(1)


def test_a_sound_of_a_moment_is_padded_and_no_sound_is_no_row(voice):
    branch = load_hub_voice(voice[0])
    assert branch.probabilities(sounds(3)).sum() == pytest.approx(1)
    assert branch.probabilities([]).shape == (0, 7)


def test_models_over_spectrograms_at_another_rate_are_branches_too(tmp_path):
    extractor = ASTFeatureExtractor(sampling_rate=8000, max_length=64, num_mel_bins=16)
    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=64,
        num_mel_bins=16,
        **numbered(EMOTIONS),
    )
    saved(tmp_path, ASTForAudioClassification, config, extractor)
    found = load_hub_voice(tmp_path).probabilities(sounds(16_000, 4000))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_wrong_sounds_and_pictures_are_refused(voice, face):
    with pytest.raises(InputError, match=r"\(sample,\), got shape \(2, 100\)"):
        load_hub_voice(voice[0]).probabilities([np.zeros((2, 100), np.float32)])
    with pytest.raises(InputError, match="got float32 of shape"):
        load_hub_face(face[0]).probabilities([np.zeros((4, 4), np.float32)])


# ------------------------------------------------------------------------------ labels


def test_the_table_knows_every_emotion_and_no_name_twice():
    assert set(SYNONYMS) == set(EMOTIONS)
    names = [name for theirs in SYNONYMS.values() for name in theirs]
    assert len(names) == len(set(names))
    assert all(emotion_of(emotion) == emotion for emotion in EMOTIONS)


@pytest.mark.parametrize(
    ("label", "emotion"),
    [
        ("ANG", "angry"),
        ("Pleasant Surprise", "surprise"),
        ("male_calm", "neutral"),
        ("other", None),
    ],
)
def test_labels_are_read_in_any_writing(label, emotion):
    assert emotion_of(label) == emotion


def nameless(folder, labels):
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=16_000)
    saved(folder, Wav2Vec2ForSequenceClassification, wav2vec2(labels), extractor)


def test_labels_without_names_are_refused_until_they_are_told(tmp_path):
    nameless(tmp_path, ("LABEL_0", "LABEL_1", "LABEL_2"))
    with pytest.raises(InputError, match=r"got LABEL_0, .+ --labels"):
        load_hub_voice(tmp_path)
    told = load_hub_voice(tmp_path, labels=("sad", "-", "joy"))
    assert told.emotions == ("happy", "sad")
    with pytest.raises(InputError, match=r"Expected 3 labels, .+ got 2"):
        load_hub_voice(tmp_path, labels=("sad", "joy"))


def test_a_model_of_other_things_is_refused(tmp_path):
    nameless(tmp_path, ("dog", "cat"))
    with pytest.raises(InputError, match=r"Expected labels for angry, .+ got dog, cat"):
        load_hub_voice(tmp_path)


def test_a_model_without_a_trained_classifier_is_refused(tmp_path):
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=16_000)
    saved(tmp_path, Wav2Vec2Model, wav2vec2(OURS), extractor)
    with pytest.raises(CheckpointError, match=r"trained classifier in .+ found no classifier"):
        load_hub_voice(tmp_path)


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nowhere", "nothing"])
def test_what_is_neither_folder_nor_hub_id_is_told_without_the_network(name):
    with pytest.raises(CheckpointError, match="folder or hub id"):
        load_hub_voice(name)


def test_pickled_weights_are_not_read(voice, tmp_path):
    folder, model = voice
    for file in ("config.json", "preprocessor_config.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        load_hub_voice(tmp_path)


# ------------------------------------------------------------------------- fine-tuning


def test_a_pretrained_encoder_is_fine_tuned_into_a_branch(tmp_path, write_ravdess):
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=16_000)
    saved(tmp_path / "start", Wav2Vec2Model, wav2vec2(OURS), extractor)
    schedule = Schedule(epochs=2, batch=8, learning_rate=1e-3, average=0.5)
    recipe = HubVoiceRecipe(schedule, ("ravdess",), piece_s=0.6)
    options = {"cache": None, "init": tmp_path / "start", "without_speakers": ["ravdess:02"]}
    root = write_ravdess(tmp_path)
    branch = train_voice_hub(recipe, root, tmp_path / "out", **options)
    assert branch.emotions == EMOTIONS
    assert branch.training["speakers"] == ["ravdess:01"]
    assert branch.training["held_out_speakers"] == ["ravdess:02"]
    assert branch.training["epochs"] == 2
    files = {path.name for path in (tmp_path / "out").iterdir()} - {"tensorboard"}
    assert files == {"config.json", "model.safetensors", "preprocessor_config.json"}
    # what is scored leaves out whom it was trained on
    assert score("ravdess", root, voice_model=str(tmp_path / "out"))["speakers"] == ["ravdess:02"]


def test_a_fine_tuned_model_learns_a_batch_by_heart(tmp_path, voice):
    clips = [Clip("x", str(i), emotion, "x:1") for i, emotion in enumerate(EMOTIONS)]
    t = np.arange(8000) / 16_000
    tones = [np.sin(2 * np.pi * 100 * 2**i * t).astype(np.float32) for i in range(7)]
    schedule = Schedule(epochs=1, batch=7, learning_rate=3e-2, average=0.5, weight_decay=0.0)
    recipe = HubVoiceRecipe(schedule, piece_s=0.5, smoothing=0.0)
    task = HubVoiceTask(
        recipe, Voices(tuple(clips), tuple(tones)), Voices((), ()), tmp_path, voice[0]
    )
    before = task.loss(torch.arange(7), 0.0, step_generator(1)).item()
    task.order = lambda batch, generator: 40 * [torch.arange(7)]
    task.epoch_done = lambda averaged, epoch: {}
    task.model = fit(task, schedule, tmp_path).train()
    assert task.loss(torch.arange(7), 1.0, step_generator(1)).item() < before / 4


def test_fine_tuning_needs_something_to_start_from(tmp_path):
    with pytest.raises(InputError, match="--init"):
        train_voice_hub(HubVoiceRecipe(), tmp_path, tmp_path, cache=None)
