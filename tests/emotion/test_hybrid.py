"""The hybrid of networks and machines (Liu 2018), member by member and together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion import EMOTIONS, CheckpointError, InputError, checkpoint
from emotion.models.frames import (
    FrameAverage,
    FrameAverageConfig,
    FrameConcat,
    FrameConcatConfig,
    FrameLSTM,
    FrameLSTMConfig,
    shuffled_frames,
)
from emotion.models.hybrid import Hybrid, HybridConfig, NetworkMember, distance_statistics
from emotion.models.svm import SVM, SVMConfig
from emotion.speech.functionals import COMPARE_FEATURES, compare
from emotion.training.loop import initialised

LITTLE = FrameLSTMConfig(features=4, hidden=8, dropout=0.0)


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------- networks


def test_the_lstm_reads_the_frames_that_count_in_their_order():
    model = initialised(lambda: FrameLSTM(LITTLE), 1).eval()
    frames, holes = drawn(1, 5, 4), torch.tensor([[True, False, True, False, True]])
    plain = model(frames[:, [0, 2, 4]]).logits
    torch.testing.assert_close(model(frames, holes).logits, plain)
    backwards = model(frames[:, [4, 2, 0]]).logits
    assert not torch.allclose(backwards, plain, atol=1e-3)


def test_a_clip_without_a_face_still_gets_logits_and_slopes():
    nobody = torch.zeros(2, 3, dtype=torch.bool)
    for model in (FrameLSTM(LITTLE), FrameAverage(FrameAverageConfig(4, 0.0))):
        frames = drawn(2, 3, 4).requires_grad_()
        logits = model(frames, nobody).logits
        logits.square().sum().backward()
        assert torch.equal(logits[0], logits[1])
        assert frames.grad.isfinite().all()


def test_the_average_is_that_of_the_frames_softmax():
    model = initialised(lambda: FrameAverage(FrameAverageConfig(4, 0.0)), 1).eval()
    frames, mask = drawn(1, 6, 4), torch.tensor([[True, True, False, True, False, False]])
    weight, bias = (p.detach().double().numpy() for p in model.classify.parameters())
    scores = np.exp(frames[0].double().numpy() @ weight.T + bias)
    each = scores / scores.sum(axis=1, keepdims=True)
    said = model(frames, mask).logits.softmax(dim=1)[0].detach().double().numpy()
    np.testing.assert_allclose(said, each[[0, 1, 3]].mean(axis=0), atol=1e-6)


def test_what_concatenation_misses_counts_as_the_mean():
    model = FrameConcat(FrameConcatConfig(4, 3)).eval()
    model.frame_mean.copy_(drawn(4, seed=2))
    model.voice_mean.copy_(drawn(3, seed=3))
    mean = model.frame_mean.expand(1, 2, 4)
    silent = model(mean, None, drawn(1, 3), torch.tensor([False])).logits
    faceless = model(drawn(1, 2, 4), torch.zeros(1, 2, dtype=torch.bool), model.voice_mean[None])
    torch.testing.assert_close(silent, faceless.logits)


def test_shuffling_moves_frames_within_their_clip_alone():
    frames = torch.arange(24.0).view(2, 6, 2)
    mask = torch.arange(6) < torch.tensor([[6], [3]])
    mixed = shuffled_frames(frames, mask, torch.Generator().manual_seed(1))
    again = shuffled_frames(frames, mask, torch.Generator().manual_seed(1))
    assert torch.equal(mixed, again)
    assert not torch.equal(mixed[0], frames[0])
    for clip, count in enumerate((6, 3)):
        rows = {tuple(row) for row in mixed[clip, :count].tolist()}
        assert rows == {tuple(row) for row in frames[clip, :count].tolist()}


@pytest.mark.parametrize(
    "make",
    [
        lambda: FrameLSTMConfig(hidden=0),
        lambda: FrameAverageConfig(dropout=1.0),
        lambda: FrameConcatConfig(voice_features=0),
        lambda: HybridConfig(("a",), ("a",)),
        lambda: HybridConfig((), ()),
    ],
)
def test_a_bad_configuration_is_refused_at_birth(make):
    with pytest.raises(ValueError, match="Expected"):
        make()


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"mask \(1, 5\), got shape \(1, 4\)"):
        FrameLSTM(LITTLE)(drawn(1, 5, 4), torch.ones(1, 4, dtype=torch.bool))


# --------------------------------------------------------------------------------- landmarks


def test_distances_are_pooled_over_frames():
    distances = np.random.default_rng(1).random((5, 3)).astype(np.float32)
    pooled = distance_statistics(distances)
    columns = [[float(x) for x in column] for column in distances.T]
    means = [sum(c) / 5 for c in columns]
    spreads = [
        (sum((x - m) ** 2 for x in c) / 5) ** 0.5 for c, m in zip(columns, means, strict=True)
    ]
    np.testing.assert_allclose(pooled, [*means, *spreads, *map(max, columns)], atol=1e-12)
    with pytest.raises(InputError, match=r"got shape \(0, 3\)"):
        distance_statistics(np.zeros((0, 3)))


# --------------------------------------------------------------------------------- acoustics


def test_compare_is_opensmiles():
    opensmile = pytest.importorskip("opensmile")
    t = np.arange(8000) / 16_000
    sounds = [(0.3 * np.sin(2 * np.pi * f * t)).astype(np.float32) for f in (150, 400)]
    smile = opensmile.Smile(opensmile.FeatureSet.ComParE_2016, opensmile.FeatureLevel.Functionals)
    found = compare(sounds)
    assert found.shape == (2, COMPARE_FEATURES)
    for row, sound in zip(found, sounds, strict=True):
        wanted = smile.process_signal(sound, 16_000).to_numpy()[0].astype(np.float32)
        np.testing.assert_array_equal(row, np.nan_to_num(wanted))
    assert compare([]).shape == (0, COMPARE_FEATURES)


# ---------------------------------------------------------------------------------- together


def recall(said, truth):
    return np.mean([(said[truth == c] == c).mean() for c in np.unique(truth)])


@pytest.fixture
def clips():
    """Clips of three emotions; the first has no face and the second no sound."""
    generator = np.random.default_rng(1)
    truth = np.arange(24) % 3
    frames = [generator.standard_normal((3, 4)).astype(np.float32) + label for label in truth]
    sounds = [generator.standard_normal(5) + 2 * np.eye(5)[label] for label in truth]
    frames[0], sounds[1] = np.zeros((0, 4), np.float32), np.zeros(0)
    return {"lstm": frames, "functionals": sounds}, truth


@pytest.fixture
def hybrid(clips):
    looked, truth = clips
    machine = SVM.fit(
        SVMConfig(costs=(0.1, 1.0)),
        np.stack([x for x in looked["functionals"] if len(x)]),
        np.delete(truth, 1),
        [f"s{i % 4}" for i in range(23)],
    )
    network = NetworkMember(initialised(lambda: FrameLSTM(LITTLE), 1).eval(), 1.5)
    return Hybrid(
        HybridConfig(("lstm",), ("functionals",)), {"lstm": network}, {"functionals": machine}
    )


def test_every_clip_is_judged_by_those_who_see_or_hear_it(hybrid, clips):
    looked, _ = clips
    views, said = hybrid.views(looked), hybrid.probabilities(looked)
    assert views.shape == (2, 24, len(EMOTIONS))
    assert np.isnan(views[0, 0]).all()
    assert np.isnan(views[1, 1]).all()
    np.testing.assert_allclose(said.sum(axis=1), 1)
    np.testing.assert_allclose(said[0], views[1, 0])
    np.testing.assert_allclose(said[2], views[:, 2].mean(axis=0))


def test_weighing_trusts_who_knows(hybrid, clips):
    looked, truth = clips
    hybrid.weigh(looked, truth)
    assert hybrid.weights[1] > hybrid.weights[0]  # the network was never trained
    assert recall(hybrid.probabilities(looked)[2:].argmax(axis=1), truth[2:]) > 0.8


def test_it_says_the_same_after_a_checkpoint(hybrid, clips, tmp_path):
    looked, truth = clips
    hybrid.weigh(looked, truth)
    hybrid.save(tmp_path, training={"seed": 1})
    loaded = Hybrid.load(tmp_path)
    np.testing.assert_array_equal(loaded.weights, hybrid.weights)
    np.testing.assert_allclose(
        loaded.probabilities(looked), hybrid.probabilities(looked), atol=2e-3
    )
    loaded.save(tmp_path / "again", training={"seed": 1})
    again = Hybrid.load(tmp_path / "again")
    np.testing.assert_array_equal(again.probabilities(looked), loaded.probabilities(looked))
    assert checkpoint.read(tmp_path / "lstm").training["temperature"] == 1.5


def test_a_member_that_is_missing_is_named(hybrid):
    with pytest.raises(InputError, match="got no soundnet"):
        Hybrid(replace(hybrid.config, machines=("soundnet",)), hybrid.networks, {})


def test_another_checkpoint_is_refused(hybrid, tmp_path):
    hybrid.machines["functionals"].save(tmp_path, training={})
    with pytest.raises(CheckpointError, match="Expected a Hybrid"):
        Hybrid.load(tmp_path)
