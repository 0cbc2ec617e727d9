"""The end-to-end network, its loss and its post-processing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from scipy.ndimage import median_filter

from emotion import InputError
from emotion.metrics import concordance
from emotion.models.end_to_end import EndToEnd, EndToEndConfig, FaceResNet, WaveformCNN
from emotion.training.losses import concordance_loss
from emotion.training.postprocessing import (
    PostProcessing,
    PostProcessingSearch,
    choose_postprocessing,
)

SMALL = EndToEndConfig(
    filters=10,
    kernels=(8, 16),
    map_pool=5,
    side=32,
    stem=4,
    widths=(2, 4),
    blocks=(1, 1),
    hidden=8,
)
PAPER = EndToEndConfig()


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch.Generator().manual_seed(2).get_state())
        yield


def inputs(config, batch=2, steps=7):
    waveform = torch.randn(batch, steps, 640) if config.hears else None
    faces = torch.rand(batch, steps, 3, config.side, config.side) if config.sees else None
    return waveform, faces


def small(modalities="both"):
    config = replace(SMALL, modalities=modalities)
    return EndToEnd(config).eval(), *inputs(config)


# ------------------------------------------------------------------------ the network


def test_the_papers_arithmetic():
    assert (PAPER.audio_features, PAPER.video_features, PAPER.features) == (1280, 2048, 3328)
    assert WaveformCNN(PAPER)(torch.zeros(2, 640)).shape == (2, 1280)
    assert (PAPER.hidden, PAPER.layers) == (256, 2)


def test_feature_maps_share_a_pool_and_neighbours_in_time_do_not():
    cnn = WaveformCNN(SMALL).eval()
    wave = torch.randn(1, 640)
    # the literal form: padded as TensorFlow's SAME, pooled by two in time, then over ten maps
    padded = torch.nn.functional.pad(wave[:, None], (3, 4))
    first = torch.relu(torch.nn.functional.conv1d(padded, *cnn.first.parameters()))
    halved = first.unflatten(2, (320, 2)).amax(3)
    padded = torch.nn.functional.pad(halved, (7, 8))
    second = torch.relu(torch.nn.functional.conv1d(padded, *cnn.second.parameters()))
    wanted = second.unflatten(1, (2, 5)).amax(2)  # (1, group, time)
    torch.testing.assert_close(cnn(wave), wanted.transpose(1, 2).flatten(1))


def test_the_face_branch_is_torchvisions_resnet_50():
    reference = torchvision.models.resnet50()
    reference.fc = torch.nn.Identity()
    ours = FaceResNet(PAPER).eval()
    ours.load_state_dict(reference.state_dict())
    faces = torch.rand(1, 3, 96, 96)
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    standardised = (faces - mean[:, None, None]) / deviation[:, None, None]
    with torch.inference_mode():
        torch.testing.assert_close(ours(faces), reference.eval()(standardised))


@pytest.mark.parametrize("modalities", ["audio", "video", "both"])
def test_pieces_with_the_state_carried_equal_one_pass(modalities):
    model, waveform, faces = small(modalities)
    with torch.inference_mode():
        whole = model(waveform, faces)
        state, ratings = None, []
        for piece in (slice(0, 3), slice(3, 4), slice(4, 7)):
            sound, pictures = (x if x is None else x[:, piece] for x in (waveform, faces))
            output = model(sound, pictures, None, state)
            state = output.state
            ratings.append(output.ratings)
    assert whole.ratings.shape == (2, 7, 2)
    torch.testing.assert_close(torch.cat(ratings, 1), whole.ratings)
    torch.testing.assert_close(state, whole.state)


def test_padding_changes_neither_ratings_nor_state_nor_batch_statistics():
    config = replace(SMALL, waveform_dropout=0.0, feature_dropout=0.0)
    model, other = EndToEnd(config).train(), EndToEnd(config).train()
    other.load_state_dict(model.state_dict())
    waveform, faces = inputs(config, batch=1)
    padded = [torch.cat([x, torch.full_like(x, 9.0)], dim=1) for x in (waveform, faces)]
    mask = torch.arange(14)[None] < 7
    plain, output = model(waveform, faces), other(*padded, mask)
    torch.testing.assert_close(output.ratings[:, :7], plain.ratings)
    assert not output.ratings[:, 7:].any()
    torch.testing.assert_close(output.state, plain.state)
    torch.testing.assert_close(other.state_dict(), model.state_dict())


@pytest.mark.parametrize(
    ("modalities", "change", "words"),
    [
        ("audio", lambda w, f, m: (w, torch.zeros(2, 7, 3, 32, 32), m), "Expected no faces"),
        ("video", lambda w, f, m: (w, None, m), "Expected faces, got none"),
        ("both", lambda w, f, m: (w[:, :6], f, m), "as many steps of sound as of faces"),
        ("both", lambda w, f, m: (w, f, ~m), "before its padding"),
        ("both", lambda w, f, m: (w, f, m[:, :3]), r"bools of shape \(2, 7\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_words(modalities, change, words):
    model, waveform, faces = small(modalities)
    mask = torch.arange(7).expand(2, 7) < 5
    with pytest.raises(InputError, match=words):
        model(*change(waveform, faces, mask))


@pytest.mark.parametrize(
    "change",
    [
        {"modalities": "smell"},
        {"dimensions": ()},
        {"filters": 41},
        {"widths": (4,)},
        {"hidden": 0},
        {"feature_dropout": 1.0},
    ],
)
def test_a_bad_configuration_is_refused(change):
    with pytest.raises(ValueError, match="Expected"):
        replace(SMALL, **change)


# --------------------------------------------------------------------------- the loss


def lin(x, y):
    """Lin's concordance as his paper writes it, for one row."""
    n = len(x)
    mx, my = sum(x) / n, sum(y) / n
    sxy = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / n
    sx = sum((a - mx) ** 2 for a in x) / n
    sy = sum((b - my) ** 2 for b in y) / n
    return 2 * sxy / (sx + sy + (mx - my) ** 2)


def test_the_loss_is_one_minus_lins_concordance():
    said, truth = torch.randn(2, 3, 20, 2, dtype=torch.float64)
    mask = torch.rand(3, 20) < 0.7
    pairs = [(said[mask][:, d].tolist(), truth[mask][:, d].tolist()) for d in range(2)]
    loss = concordance_loss(said, truth, mask).item()
    assert loss == pytest.approx(1 - np.mean([lin(*pair) for pair in pairs]), abs=1e-12)
    assert loss == pytest.approx(1 - np.mean([concordance(*pair) for pair in pairs]), abs=1e-12)


def test_the_losss_gradient():
    said, truth = torch.randn(2, 4, 5, 2, dtype=torch.float64)
    mask = torch.rand(4, 5) < 0.6
    assert torch.autograd.gradcheck(
        lambda x: concordance_loss(x, truth, mask), said.requires_grad_()
    )


@pytest.mark.parametrize(("truth", "loss"), [(1.0, 0.0), (2.0, 1.0)])
def test_constants_give_no_nan(truth, loss):
    said = torch.ones(2, 5, 2, requires_grad=True)
    found = concordance_loss(said, torch.full((2, 5, 2), truth))
    found.backward()
    assert found.item() == loss
    assert torch.isfinite(said.grad).all()


def test_what_is_masked_does_not_count_and_nothing_costs_nothing():
    said, truth = torch.randn(2, 3, 8, 2)
    mask = torch.arange(8).expand(3, 8) < 5
    rubbish = said.masked_fill(~mask[..., None], torch.nan)
    assert concordance_loss(rubbish, truth, mask) == concordance_loss(said[:, :5], truth[:, :5])
    assert concordance_loss(said, truth, torch.zeros(3, 8, dtype=torch.bool)).item() == 0.0


# -------------------------------------------------------------------- post-processing


def walk(seed, steps=600):
    """Gold standard as smooth as people's ratings are, within about [-1, 1]."""
    noise = np.random.default_rng(seed).standard_normal(steps + 50)
    return np.convolve(noise, np.hanning(51) / 5, mode="valid")[:steps]


TRUTH = [walk(1), walk(2)]


def agreement(chain, said):
    return concordance(np.concatenate(TRUTH), np.concatenate([chain.applied(s) for s in said]))


@pytest.mark.parametrize("delay", [-20, -5, 0, 10, 40])
def test_a_delayed_prediction_is_found_and_moved_back(delay):
    said = [PostProcessing(shift=delay).applied(t) for t in TRUTH]
    chain = choose_postprocessing(said, TRUTH, replace(PostProcessingSearch(), windows=()))
    assert chain.shift == -delay


def test_bias_and_scale_are_found_and_undone():
    said = [0.25 * t + 0.7 for t in TRUTH]
    chain = choose_postprocessing(said, TRUTH, PostProcessingSearch(windows=(), shifts=()))
    assert chain.scale == pytest.approx(4)
    assert agreement(chain, said) == pytest.approx(1)
    for one, truth in zip(said, TRUTH, strict=True):
        np.testing.assert_allclose(chain.applied(one), truth, atol=1e-12)


def test_spikes_are_filtered():
    generator = np.random.default_rng(3)
    said = [np.where(generator.random(t.size) < 0.1, 3.0, t) for t in TRUTH]
    chain = choose_postprocessing(said, TRUTH)
    assert chain.window > 1
    assert agreement(chain, said) > agreement(PostProcessing(), said) + 0.2


@pytest.mark.parametrize("seed", range(5))
def test_a_link_is_kept_only_where_it_helps(seed):
    generator = np.random.default_rng(seed)
    said = [t * generator.uniform(0.2, 2) + generator.standard_normal(t.size) for t in TRUTH]
    chain = choose_postprocessing(said, TRUTH)
    off = {"window": 1, "centre": 0.0, "scale": 1.0, "shift": 0}
    assert agreement(chain, said) >= agreement(PostProcessing(), said)
    last = [name for name in ("scale", "shift") if getattr(chain, name) != off[name]][-1:]
    for name in last:
        assert agreement(chain, said) > agreement(replace(chain, **{name: off[name]}), said)


def test_perfect_ratings_are_left_as_they_are():
    chain = choose_postprocessing(TRUTH, TRUTH)
    assert replace(chain, mean=0.0) == PostProcessing()
    assert choose_postprocessing(TRUTH, TRUTH) == chain


def test_constant_ratings_are_left_finite():
    chain = choose_postprocessing([np.zeros(600), np.zeros(600)], TRUTH)
    assert np.isfinite(chain.applied(np.zeros(10))).all()


def test_the_chain_is_these_four_steps_in_this_order():
    said = walk(4, 50)
    chain = PostProcessing(window=5, mean=0.1, centre=0.3, scale=2.0, shift=3)
    wanted = (median_filter(said, 5, mode="nearest") - 0.1) * 2.0 + 0.1 + 0.3
    assert np.array_equal(chain.applied(said)[3:], wanted[:-3])
    assert (chain.applied(said)[:3] == wanted[0]).all()


@pytest.mark.parametrize("figures", [{"window": 4}, {"scale": 0.0}, {"centre": np.nan}])
def test_a_chain_that_makes_no_sense_is_refused(figures):
    with pytest.raises(ValueError, match="Expected"):
        PostProcessing(**figures)


def test_recordings_without_their_gold_standard_are_refused():
    with pytest.raises(InputError, match=r"got \[600, 600\] and \[600\] steps"):
        choose_postprocessing(TRUTH, TRUTH[:1])
