"""What the empathy scorer is made of."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from dialogue.empathy.network import (
    NetworkShape,
    ReplyNetwork,
    Teaching,
    Window,
    dequantized,
    quantized,
    restored_network,
    stored_network,
    teach,
)
from dialogue.empathy.ngrams import HashedNgrams, hashed_counts
from dialogue.empathy.reading import pretrained
from dialogue.empathy.stack import (
    Linear,
    Stack,
    Strengths,
    fit_linear,
    fit_stack,
    log_softmax,
    mixed,
    views_of,
)
from dialogue.errors import ModelError
from dialogue.models.bundled import WEIGHTS

PAIRS = [
    ("I failed.", "So sorry. What happened?"),
    ("Nobody cares.", "I care!"),
    ("I am tired.", "Sleep. Eat. Walk.\nSleep again"),
]
TINY = NetworkShape(width=8, layers=2, heads=2, feed_forward=16)


@pytest.fixture(scope="module")
def views():
    return views_of(PAIRS * 8, pretrained(WEIGHTS)[0])


@pytest.fixture
def replies():
    generator = np.random.default_rng(0)

    def window(*sentences):
        numbers = np.array([-1, -1, *(n for n in sentences for _ in range(3))])
        return Window(generator.normal(size=(len(numbers), 8)).astype(np.float32), numbers)

    return [(window(0, 1),), (window(0),), (window(0, 1), window(2))] * 4


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ReplyNetwork(TINY).eval()


# ------------------------------------------------------------------------------------ linear


@pytest.fixture
def told():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 5)) * [1, 1, 1, 1, 40] + 3
    noise = generator.normal(size=(200, 3))
    return features, np.digitize(features[:, :3] + noise, [2, 4])


def test_a_linear_is_what_scikit_learn_fits(told):
    features, levels = told
    ours = fit_linear(features, levels, strength=1.0).log_probabilities(features)
    for mechanism, own in enumerate(levels.T):
        theirs = LogisticRegression(max_iter=1000).fit(features, own)
        expected = theirs.predict_proba(features)
        np.testing.assert_allclose(np.exp(ours[:, mechanism]), expected, atol=0.02)


def test_scaling_is_undone_in_the_weights(told):
    features, levels = told
    moved = features * [1, 100, 1, 0.01, 1] + [5, 0, -3, 0, 0]
    found, expected = (
        fit_linear(own, levels, strength=1.0, scaled=True).log_probabilities(own)
        for own in (moved, features)
    )
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_each_mechanism_may_have_features_of_its_own(told):
    features, levels = told
    same = np.repeat(features[:, None], 3, axis=1)
    apart = fit_linear(same, levels, strength=1.0).log_probabilities(same)
    together = fit_linear(features, levels, strength=1.0).log_probabilities(features)
    np.testing.assert_allclose(apart, together, atol=1e-4)


@pytest.mark.parametrize("known", [[0], [2], [0, 2], [1, 2]])
def test_levels_that_were_never_seen_are_all_but_impossible(known):
    features = np.arange(8.0)[:, None]
    levels = np.repeat(np.resize(sorted(known), 8)[:, None], 3, axis=1)
    found = np.exp(fit_linear(features, levels, strength=1.0).log_probabilities(features))
    np.testing.assert_allclose(found.sum(-1), 1)
    unknown = [level for level in range(3) if level not in known]
    assert found[..., unknown].max() < 1e-4


def test_sparse_and_dense_features_are_the_same(told):
    features, levels = told
    model = fit_linear(features, levels, strength=1.0)
    dense = model.log_probabilities(features)
    np.testing.assert_allclose(model.log_probabilities(sparse.csr_matrix(features)), dense)
    rounded = model.rounded()
    assert (Linear.of(rounded.arrays(np.float16)).weights == rounded.weights).all()


def test_log_softmax_bears_large_numbers():
    found = np.exp(log_softmax(np.array([[1e5, 1e5, 0.0], [-1e5, 0.0, 0.0]])))
    np.testing.assert_allclose(found, [[0.5, 0.5, 0], [0, 0.5, 0.5]])


def test_a_mixture_lies_between_its_parts():
    one, other = log_softmax(np.array([[[2.0, 0, 0]]])), log_softmax(np.array([[[0.0, 2, 0]]]))
    assert (mixed(one, other, 0.0) == one).all()
    np.testing.assert_allclose(mixed(one, other, 1.0), other)
    even = mixed(one, other, 0.5)
    np.testing.assert_allclose(even[..., 0], even[..., 1])


# ------------------------------------------------------------------------------- n-grams, views


def test_ngrams_of_one_text_alone_are_dropped():
    texts = ["how are you", "how is it", "how ?"]
    counts = hashed_counts(texts, longest=1)
    kept = HashedNgrams.fit(counts)
    assert len(kept.buckets) == 1
    vectors = kept.vectors(counts).toarray()
    np.testing.assert_allclose(vectors, np.ones((3, 1)))
    assert kept.vectors(hashed_counts(["nothing known"], 1)).sum() == 0


def test_case_does_not_matter_and_signs_do():
    upper, lower, asked = hashed_counts(["SO IT IS", "so it is", "so it is?"], longest=2)
    assert (upper != lower).nnz == 0
    assert (asked != lower).nnz > 0


def test_views_of_some_pairs_are_those_of_the_pairs_alone(views):
    some = views.take(np.array([2, 0]))
    alone = views_of([PAIRS[2], PAIRS[0]], pretrained(WEIGHTS)[0])
    assert some.starts.tolist() == alone.starts.tolist() == [0, 4, 6]
    assert (some.cues == alone.cues).all()
    assert (some.sentences != alone.sentences).nnz == 0
    np.testing.assert_allclose(some.vectors, alone.vectors, atol=1e-4)
    assert [len(reply) for reply in some.windows] == [1, 1]


def test_a_stack_is_rebuilt_from_its_arrays(views):
    levels = np.tile([[0, 2, 0], [2, 0, 0], [0, 0, 1]], (8, 1))
    sentence_levels = np.repeat(levels, np.diff(views.starts), axis=0)
    stack = fit_stack(views, levels, sentence_levels, np.arange(24) // 12, Strengths())
    arrays = stack.arrays()
    again = Stack.of(arrays)
    assert (again.log_probabilities(views) == stack.log_probabilities(views)).all()
    del arrays["combination.bias"]
    with pytest.raises(KeyError):
        Stack.of(arrays)


# ----------------------------------------------------------------------------------- network


def test_replies_in_a_batch_do_not_mix(network, replies):
    together = network.log_probabilities(replies)
    apart = np.concatenate([network.log_probabilities([reply]) for reply in replies])
    np.testing.assert_allclose(together, apart, atol=1e-5)
    np.testing.assert_allclose(np.exp(together).sum(-1), 1, atol=1e-9)


def test_one_batch_is_learnt_by_heart(network, replies):
    replies = replies[:3]
    levels = np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0]])
    sentences = [np.repeat(own[None], n, 0) for own, n in zip(levels, (2, 1, 3), strict=True)]
    how = Teaching(epochs=150, batch_pairs=3, layer_rate=3e-3, head_rate=1e-2, smoothing=0.0)
    shares = []
    teach(network, replies, levels, sentences, how, shares.append)
    assert (network.log_probabilities(replies).argmax(-1) == levels).all()
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert not network.training


def test_teaching_repeats_by_its_seed(replies):
    levels, sentences = np.zeros((3, 3), np.int64), [np.zeros((n, 3), np.int64) for n in (2, 1, 3)]

    def taught(seed):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            network = ReplyNetwork(TINY)
        teach(network, replies[:3], levels, sentences, Teaching(epochs=2, seed=seed))
        return network.log_probabilities(replies)

    assert (taught(0) == taught(0)).all()
    assert (taught(0) != taught(1)).any()


def test_a_network_is_restored_from_what_is_stored(network, replies):
    stored = stored_network(network)
    assert stored["sentences.weight"].dtype == np.int8
    first = restored_network(stored, TINY, "cpu")
    again = restored_network(stored_network(first), TINY, "cpu")
    assert (first.log_probabilities(replies) == again.log_probabilities(replies)).all()
    np.testing.assert_allclose(
        first.log_probabilities(replies), network.log_probabilities(replies), atol=0.1
    )
    with pytest.raises(ModelError, match="Expected weights of"):
        restored_network(stored, replace(TINY, layers=1), "cpu")


def test_eight_bits_are_off_by_half_a_step_at_most():
    weights = {
        "w": np.random.default_rng(0).normal(size=(4, 9)),
        "b": np.ones(3),
        "z": np.zeros((2, 2)),
    }
    back = dequantized(quantized(weights))
    step = np.abs(weights["w"]).max(1, keepdims=True) / 127
    assert (np.abs(back["w"].numpy() - weights["w"]) <= step * 0.501).all()
    assert back["b"].tolist() == [1, 1, 1]
    assert back["z"].abs().max() == 0


def test_the_whole_language_model_is_in_the_two_parts():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reader, network = pretrained(WEIGHTS)
    (read,) = reader.read(["I failed."], ["So sorry. What happened?"])
    (window,) = read.windows
    with torch.inference_mode():
        states = torch.from_numpy(window.states)[None]
        ours = network.layers(inputs_embeds=states).last_hidden_state[0]
        tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
        text = "<|start|><|user|>I failed.<|end|><|agent|>So sorry. What happened?"
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        whole = AutoModelForCausalLM.from_pretrained(WEIGHTS).float().model
        theirs = whole(input_ids=ids).last_hidden_state[0]
    assert ours.shape == theirs.shape
    assert torch.cosine_similarity(ours, theirs, dim=-1).min() > 0.99
