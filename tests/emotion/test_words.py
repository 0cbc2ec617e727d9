import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from emotion import EMOTIONS, CheckpointError, CorpusError, InputError, checkpoint
from emotion.corpora.dialogues import Utterance
from emotion.corpora.goemotions import FINE, Comments
from emotion.models.word_gru import WordGRU, WordGRUConfig
from emotion.training.recipes import WordsRecipe
from emotion.training.word_vectors import WINDOW, word_vectors
from emotion.training.words import (
    ReaderTask,
    feelings_of,
    fit_linear,
    fit_thresholds,
    known_words,
    shares,
)
from emotion.words import Vocabulary, WordFeatures, WordReader, WordsConfig, WordsModel, words_of

CONFIG = WordsConfig(words=256, letters=512, width=8, hidden=6)


def little_reader():
    vocabulary = Vocabulary(["one", "two", "don't", "\u00e4"])
    torch.manual_seed(1)
    network = WordGRU(WordGRUConfig(vocabulary.rows, CONFIG.width, CONFIG.hidden))
    return WordReader(vocabulary, network.eval())


def little_model():
    generator = np.random.default_rng(1)
    weights = generator.standard_normal((768, 7)).astype(np.float32)
    bias = generator.standard_normal(7).astype(np.float32)
    return WordsModel(CONFIG, weights, bias, np.ones(768, np.float32), 1.3, little_reader())


def comments(texts, emotions):
    """Each text with one emotion, whose first fine one it has."""
    labels = np.array([[e == emotion for e in EMOTIONS] for emotion in emotions])
    fine = np.zeros((len(texts), len(FINE)), bool)
    return Comments(tuple(texts), labels, fine)


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
        ("I got the job!", "happy"),
        ("I'm scared about tomorrow", "fear"),
        ("hello", "neutral"),
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
    assert loaded.reader.vocabulary.words == model.reader.vocabulary.words


def test_what_is_rounded_once_stays(tmp_path):
    little_model().save(tmp_path / "once", {})
    once = WordsModel.load(tmp_path / "once")
    once.save(tmp_path / "twice", {})
    texts = ["one two three", "four"]
    np.testing.assert_allclose(
        WordsModel.load(tmp_path / "twice").logits(texts), once.logits(texts), atol=1e-5
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "FaceCNN"}, "Expected WordsModel .+ got 'FaceCNN'"),
        ({"config": {"words": 255, "letters": 512}}, "Expected arrays of shapes"),
        ({"config": {"words": 256, "letters": 512, "width": 9}}, "Unusable network of words"),
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


def test_without_its_network_the_linear_part_speaks_alone(tmp_path):
    replace(little_model(), reader=None).save(tmp_path, {})
    alone, both = WordsModel.load(tmp_path), little_model()
    assert alone.reader is None
    apart = both.reader.logits(["one two"])
    np.testing.assert_allclose(
        both.logits(["one two"]), (alone.logits(["one two"]) + apart) / 2, atol=0.05
    )


def test_words_get_the_rows_of_the_vocabulary():
    assert words_of("DON\u2019T go [NAME], ok? 42") == [
        *("don't", "go", "[name]", ",", "ok", "?", "42")
    ]
    vocabulary = Vocabulary(["one", "two"])
    known = vocabulary.numbers(["two", "one"])
    unknown = vocabulary.numbers(["three", "four", "three"])
    assert known == [2, 1]
    assert unknown[0] == unknown[2]
    assert all(3 <= number < vocabulary.rows for number in unknown + vocabulary.numbers([]))


def test_the_network_reads_each_text_by_itself():
    network = little_reader().network
    words = torch.tensor([[1, 2, 3], [2, 0, 0], [3, 1, 0]])
    together = network(words)
    for row, length in enumerate((3, 1, 2)):
        torch.testing.assert_close(network(words[row : row + 1, :length])[0], together[row])
    assert not torch.allclose(network(torch.tensor([[1, 2]])), network(torch.tensor([[2, 1]])))


@pytest.mark.parametrize("wrong", [torch.ones(3, dtype=int), torch.zeros(2, 2, dtype=int)])
def test_the_network_refuses_what_is_no_text(wrong):
    with pytest.raises(InputError, match=r"Expected words .+, got \("):
        little_reader().network(wrong)


@pytest.mark.parametrize("change", [{"rows": 1}, {"width": 0}, {"dropout": 1.0}])
def test_a_bad_network_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected two rows"):
        WordGRUConfig(**({"rows": 9} | change))


def test_the_linear_part_separates_what_can_be_separated():
    train = comments(["glad", "sorrow"] * 10, ["happy", "sad"] * 10)
    everything = replace(train, labels=train.labels | np.eye(7, dtype=bool)[[0, 1, 2, 4, 6] * 4])
    model = fit_linear(everything, WordsRecipe(config=CONFIG, strength=100.0))
    said = model.logits(["glad", "sorrow"])[:, [EMOTIONS.index("happy"), EMOTIONS.index("sad")]]
    assert np.sign(said).tolist() == [[1, -1], [-1, 1]]
    with pytest.raises(CorpusError, match="Expected comments with and without angry"):
        fit_linear(train, WordsRecipe(config=CONFIG))


def test_words_in_like_company_are_alike():
    """1 and 2 stand beside 3 and 4, 5 and 6 beside 7 and 8, never both."""
    generator = np.random.default_rng(1)
    texts = []
    for _ in range(400):
        group = 4 * int(generator.integers(2))
        texts += [*(group + generator.permutation([1, 2, 3, 4])), *[0] * WINDOW]
    vectors = word_vectors(np.array(texts, np.int32), rows=10, width=4, seed=1)
    alike = vectors @ vectors.T
    assert alike[1, 2] > 0.3 > alike[1, 5]
    np.testing.assert_allclose(vectors[[0, 9]], 0, atol=1e-6)


def test_the_vocabulary_is_what_comments_use():
    recipe = replace(WordsRecipe(), vocabulary=3, least_spoken=3)
    chosen = known_words([["a", "b"], ["a", "b", "rare"]], [["c"] * 3, ["b", "d"]], recipe)
    assert chosen.words == ("b", "a", "c")


def test_no_feeling_is_heard_too_often():
    said = [Utterance(str(i), "joy" if i % 10 else "fear") for i in range(100)] + [Utterance("x")]
    chosen = feelings_of(said, replace(WordsRecipe(), most_of_one=30))
    assert chosen.count == 2
    assert np.bincount(chosen.labels).tolist() == [10, 30]  # fear, joy
    assert max(int(text) for text in chosen.texts) > 90


def test_the_network_learns_from_every_corpus():
    recipe = WordsRecipe(config=CONFIG, others_share=0.5)
    train = comments(["glad one", "sorrow"] * 4, ["happy", "sad"] * 4)
    others = feelings_of((Utterance(f"dark {i}", str(i % 3)) for i in range(12)), recipe)
    task = ReaderTask(recipe, Vocabulary(["glad", "sorrow", "dark"]), train, [others], train)
    generator = torch.Generator().manual_seed(1)
    seen = torch.cat(task.order(4, generator)).tolist()
    assert sorted(i for i in seen if i < 8) == list(range(8))
    assert sum(i >= 8 for i in seen) == 6
    task.loss(torch.arange(20), 0.0, generator).backward()
    assert all(p.grad is not None and p.grad.any() for p in task.model.parameters())


def test_thresholds_are_those_of_the_best_f1():
    labels = np.array([[1], [1], [0], [0]], dtype=bool)
    said = np.array([[0.6], [0.4], [0.35], [0.1]])
    assert fit_thresholds(labels, said, smoothed=0)[0] == pytest.approx(0.375)


def test_no_other_threshold_is_better():
    generator = np.random.default_rng(1)
    labels = generator.random((300, 1)) < 0.3
    said = 0.3 * labels + generator.random((300, 1))
    (found,) = fit_thresholds(labels, said, smoothed=0)
    best = max(f1_score(labels, said > t) for t in np.linspace(0, 1.3, 100))
    assert f1_score(labels, said > found) >= best - 1e-12


def test_labels_share_a_target():
    both = Comments(("a",), np.array([[True, True, False]]), np.zeros((1, 28), bool))
    assert shares(both).tolist() == [[0.5, 0.5, 0.0]]


def test_no_text_is_shown_by_accident():
    assert "weights" not in repr(little_model())
    assert "secret" not in repr(comments(["secret"], ["sad"]))
    assert "don't" not in repr(little_model())
