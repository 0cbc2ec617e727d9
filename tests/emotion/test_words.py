import json

import numpy as np
import pytest

from emotion import EMOTIONS, CheckpointError, checkpoint
from emotion.corpora.goemotions import Comments
from emotion.training.recipes import WordsRecipe
from emotion.training.words import fit_softmax, fit_thresholds, shares
from emotion.words import WordFeatures, WordsConfig, WordsModel

CONFIG = WordsConfig(words=256, letters=512)


def little_model():
    generator = np.random.default_rng(1)
    weights = generator.standard_normal((768, 7)).astype(np.float32)
    bias = generator.standard_normal(7).astype(np.float32)
    return WordsModel(CONFIG, weights, bias, np.ones(768, np.float32), temperature=1.3)


@pytest.fixture(scope="module")
def bundled():
    return WordsModel.load(checkpoint.bundled("words"))


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("I am so angry about this", "angry"),
        ("That is disgusting and gross", "disgust"),
        ("I'm terrified, I am so scared", "fear"),
        ("Thank you so much, I love it!", "happy"),
        ("I miss her and feel so sad", "sad"),
        ("Wow, what a surprise, I did not expect that!", "surprise"),
    ],
)
def test_plain_sentences_are_understood(bundled, text, emotion):
    (row,) = bundled.probabilities([text])
    assert EMOTIONS[row.argmax()] == emotion


def test_rows_are_distributions_and_independent(bundled):
    texts = ["Good morning.", "", "ÄÖÜ 😀", "no " * 2000]
    together = bundled.probabilities(texts)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(bundled.probabilities([text])[0], row, atol=1e-6)
    assert bundled.probabilities([]).shape == (0, 7)


def test_eight_bits_are_enough(tmp_path):
    model = little_model()
    model.save(tmp_path, {"recipe": "words"})
    loaded = WordsModel.load(tmp_path)
    texts = ["one two three", "four"]
    np.testing.assert_allclose(loaded.probabilities(texts), model.probabilities(texts), atol=0.02)
    assert loaded.temperature == model.temperature


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "FaceCNN"}, "Expected WordsModel .+ got 'FaceCNN'"),
        ({"config": {"words": 255, "letters": 512}}, "Expected arrays of shapes"),
    ],
)
def test_another_model_is_refused(tmp_path, change, message):
    little_model().save(tmp_path, {})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        WordsModel.load(tmp_path)


@pytest.mark.parametrize("change", [{"words": 0}, {"longest_piece": 1}])
def test_a_bad_configuration_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected buckets"):
        WordsConfig(**change)


def test_features_are_the_formula():
    """One text by hand: each word and pair counted, 1 + log, idf, length 1."""
    features = WordFeatures(WordsConfig(words=2**16, letters=2**16))
    counts = features.counts(["no no yes"])
    words = sorted(counts[0, : 2**16].data.tolist())
    assert words == pytest.approx(sorted([1 + np.log(2), 1, 1, 1]))  # no, yes, "no no", "no yes"
    vectors = features.vectors(counts, np.ones(2**17, np.float32))
    assert np.square(vectors[0, : 2**16].data).sum() == pytest.approx(1)
    assert np.square(vectors[0, 2**16 :].data).sum() == pytest.approx(1)


def test_training_separates_what_can_be_separated():
    texts = ("glad", "sorrow") * 10
    labels = np.zeros((20, 7), dtype=bool)
    labels[::2, EMOTIONS.index("happy")] = True
    labels[1::2, EMOTIONS.index("sad")] = True
    features = WordFeatures(CONFIG)
    vectors = features.vectors(features.counts(texts), np.ones(768, np.float32))
    recipe = WordsRecipe(config=CONFIG, penalty=1e-4, iterations=40)
    weights = fit_softmax(vectors, shares(Comments(texts, labels)), recipe)
    model = WordsModel(CONFIG, weights[:-1], weights[-1], np.ones(768, np.float32))
    said = model.probabilities(["glad", "sorrow"])
    assert [EMOTIONS[i] for i in said.argmax(axis=1)] == ["happy", "sad"]


def test_thresholds_are_those_of_the_best_f1():
    labels = np.array([[1], [1], [0], [0]], dtype=bool)
    said = np.array([[0.6], [0.4], [0.35], [0.1]])
    assert 0.35 <= fit_thresholds(labels, said)[0] < 0.4


def test_no_text_is_shown_by_accident():
    assert "weights" not in repr(little_model())
    assert "secret" not in repr(Comments(("secret",), np.zeros((1, 7), bool)))
