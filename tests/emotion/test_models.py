"""What each network does beyond the contract of test_contracts.py."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion import InputError
from emotion.models.attention_fcn import (
    COMPACT,
    ORIGINAL,
    TORCHVISION,
    AttentionFCN,
    AttentionFCNConfig,
)
from emotion.models.decision import (
    ConcatFusionConfig,
    LearntDecision,
    LearntDecisionConfig,
    average_decisions,
    fit_decision_weights,
    weighted_decisions,
)
from emotion.models.deep_fusion import (
    AMFBP,
    AMFBPConfig,
    AudioVisualFBP,
    AudioVisualFBPConfig,
)
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig, own_config
from emotion.models.face_cnn import WIDE, FaceCNNConfig, prepare_crops
from emotion.models.fusion import AttentionFBP, AttentionFBPConfig
from emotion.models.multi_level_fbp import MultiLevelFBP, MultiLevelFBPConfig

BATCH = 8
CONFIG = AttentionFBPConfig(frame_features=12, voice_features=10, outputs=16)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch.Generator().manual_seed(2).get_state())
        yield


# ------------------------------------------------------------------------------- voice


@pytest.mark.parametrize(
    "config", [COMPACT, ORIGINAL, TORCHVISION], ids=["compact", "original", "torchvision"]
)
@pytest.mark.parametrize("frames", [1, 3, 40, 66, 67, 90, 131])
def test_a_short_clip_beside_a_long_one_is_as_alone(config, frames):
    model = AttentionFCN(config).eval()
    clips = torch.randn(2, 150, 200)
    with torch.inference_mode():
        together = model(clips, torch.tensor([150, frames]))
        alone = model(clips[1:, :frames])
    torch.testing.assert_close(alone.logits[0], together.logits[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone.feature[0], together.feature[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.attention.sum(dim=(1, 2)), torch.ones(2))
    time = alone.attention.shape[2]
    torch.testing.assert_close(alone.attention[0], together.attention[1, :, :time])


@pytest.mark.parametrize("pooling", ["attention", "average"])
@pytest.mark.parametrize(
    ("config", "shortest"), [(ORIGINAL, 67), (TORCHVISION, 63)], ids=["original", "torchvision"]
)
def test_both_alexnets_give_the_papers_positions(config, shortest, pooling):
    model = AttentionFCN(replace(config, pooling=pooling)).eval()
    output = model(torch.randn(1, 300, 200))
    assert output.attention.shape == (1, 5, 8)
    assert output.feature.shape == (1, 256)
    assert config.shortest_frames == shortest


def test_the_torchvision_layout_is_torchvisions():
    from torchvision.models import alexnet

    theirs, ours = alexnet(weights=None).features, AttentionFCN(TORCHVISION).eval()
    mine = [module for block in ours.blocks for module in block]
    assert [str(m).replace(", inplace=True", "") for m in mine][1:] == [
        str(m).replace("inplace=True", "") for m in theirs
    ][1:]


def test_a_voice_does_not_depend_on_the_microphones_gain():
    model = AttentionFCN(COMPACT).eval()
    clip = torch.randn(1, 120, 200)
    torch.testing.assert_close(model(clip).logits, model(clip + 2.5).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lengths", [[0, 90], [91, 90], [90]])
def test_lengths_must_fit(lengths):
    with pytest.raises(InputError, match="Expected 2 lengths from 1 to 90, got"):
        AttentionFCN(COMPACT)(torch.zeros(2, 90, 200), torch.tensor(lengths))


@pytest.mark.parametrize(
    "change",
    [
        {"layers": ()},
        {"normalisation": "x"},
        {"pooling": "max"},
        {"sharpness": 0.0},
        {"dropout": 1.0},
    ],
)
def test_a_bad_voice_configuration_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        replace(COMPACT, **change)


def test_a_configuration_survives_json():
    from dataclasses import asdict
    from json import dumps, loads

    for config in (COMPACT, ORIGINAL, TORCHVISION):
        assert AttentionFCNConfig(**loads(dumps(asdict(config)))) == config


# -------------------------------------------------------------------------------- face


def test_crops_of_any_size_become_standard_ones():
    generator = np.random.default_rng(1)
    sizes = [(48, 48), (100, 80, 3), (20, 31), (1, 1, 3)]
    crops = prepare_crops([generator.integers(0, 256, size).astype(np.uint8) for size in sizes])
    assert crops.shape == (4, 1, 48, 48)
    torch.testing.assert_close(crops.mean(dim=(1, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(crops[:2].std(dim=(1, 2, 3)), torch.ones(2), atol=1e-3, rtol=0)
    assert prepare_crops([]).shape == (0, 1, 48, 48)


def test_exposure_and_contrast_do_not_matter():
    image = np.random.default_rng(1).integers(60, 120, (48, 48)).astype(np.uint8)
    dark, bright = prepare_crops([image, image * 2 + 5])
    torch.testing.assert_close(dark, bright, atol=1e-4, rtol=0)


def test_grey_is_pillows():
    from PIL import Image

    image = np.random.default_rng(1).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    pillow = np.asarray(Image.fromarray(image).convert("L"))
    torch.testing.assert_close(*prepare_crops([image, pillow]), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_crop_is_refused(image):
    with pytest.raises(InputError, match="Expected a uint8 face crop"):
        prepare_crops([image])


@pytest.mark.parametrize("change", [{"widths": (8,)}, {"stem": 0}, {"dropout": -0.1}])
def test_a_bad_face_configuration_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        FaceCNNConfig(**change)


# ------------------------------------------------------------------------------ fusion


@pytest.mark.parametrize("signed_root", [True, False], ids=["both norms", "L2 only"])
def test_bilinear_pooling_is_the_formula(signed_root):
    """z = L2(signed-sqrt(SumPool_k(Ũᵀa ∘ Ṽᵀv))), a 1 appended to a and v, literally in float64."""
    model = AttentionFBP(replace(CONFIG, signed_root=signed_root)).eval()
    pooling = model.pooling
    a, v = torch.randn(3, 10), torch.randn(3, 12)
    weights = [p.detach().double().numpy() for p in pooling.parameters()]
    u, v_matrix = np.column_stack(weights[:2]), np.column_stack(weights[2:])
    rows = []
    for first, second in zip(a.double().numpy(), v.double().numpy(), strict=True):
        z = [0.0] * 16
        for i in range(16):
            for k in range(4):
                row = 4 * i + k
                z[i] += float(u[row] @ [*first, 1.0]) * float(v_matrix[row] @ [*second, 1.0])
        root = [np.sign(x) * np.sqrt(abs(x)) for x in z] if signed_root else z
        length = np.sqrt(sum(x * x for x in root))
        rows.append([x / length for x in root])
    with torch.inference_mode():
        ours = pooling(a, v).numpy()
    np.testing.assert_allclose(ours, rows, atol=1e-6)


def test_a_missing_modality_may_be_left_out_or_masked():
    model = AttentionFBP(CONFIG).eval()
    frames, voice = torch.randn(BATCH, 5, 12), torch.randn(BATCH, 10)
    nobody, silent = torch.zeros(BATCH, 5, dtype=torch.bool), torch.zeros(BATCH, dtype=torch.bool)
    torch.testing.assert_close(model(None, None, voice).logits, model(frames, nobody, voice).logits)
    torch.testing.assert_close(model(frames).logits, model(frames, None, voice, silent).logits)
    assert not model(frames, nobody, voice).frame_attention.any()


def test_masked_frames_do_not_count():
    model = AttentionFBP(CONFIG).eval()
    frames, voice = torch.randn(BATCH, 5, 12), torch.randn(BATCH, 10)
    mask = torch.arange(5).expand(BATCH, -1) < 3
    some, cut = model(frames, mask, voice), model(frames[:, :3], None, voice)
    torch.testing.assert_close(some.logits, cut.logits)
    torch.testing.assert_close(some.frame_attention.sum(dim=1), torch.ones(BATCH))
    assert not some.frame_attention[:, 3:].any()


def test_nothing_at_all_is_refused():
    with pytest.raises(InputError, match="got neither"):
        AttentionFBP(CONFIG)(None)


@pytest.mark.parametrize("change", [{"factors": 0}, {"dropout": 1.0}, {"sharpness": -1.0}])
def test_a_bad_fusion_configuration_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        AttentionFBPConfig(**change)


# ------------------------------------------------------------------- several levels, AM-FBP

LEVELS = MultiLevelFBPConfig(first=(3, 5), second=(4, 6), factors=2, outputs=4, signed_root=False)
SMALL_VOICE = replace(
    COMPACT,
    layers=tuple(replace(x, channels=x.channels // 4) for x in COMPACT.layers),
    attention_hidden=8,
)
SMALL_FACE = FaceEncoderConfig(kind="compact", side=16, shrink=16)


def literal_fbp(pooling, a, v):
    """L2(SumPool_k(Ũᵀ[a, 1] ∘ Ṽᵀ[v, 1])) of two vectors, in float64."""
    weights = [p.detach().double().numpy() for p in pooling.parameters()]
    u, w = np.column_stack(weights[:2]), np.column_stack(weights[2:])
    product = (u @ [*a, 1.0]) * (w @ [*v, 1.0])
    z = product.reshape(-1, 2).sum(axis=1)
    return z / np.linalg.norm(z)


@pytest.mark.parametrize("weighting", ["none", "norm", "gate"])
@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_levels_are_weighted_fused_and_combined(weighting, combine):
    model = MultiLevelFBP(replace(LEVELS, weighting=weighting, combine=combine)).eval()
    first, second = [torch.randn(2, 3), torch.randn(2, 5)], [torch.randn(2, 4), torch.randn(2, 6)]
    with torch.inference_mode():
        ours = model(first, second).double().numpy()
    classify = [p.detach().double().numpy() for p in model.classify.parameters()]
    for clip in range(2):
        vectors = []
        for level, one, other in zip(model.levels, first, second, strict=True):
            a, v = one[clip].double().numpy(), other[clip].double().numpy()
            scores = {
                "none": lambda a, v, level: [1.0, 1.0],
                "norm": lambda a, v, level: [np.sqrt(a @ a), np.sqrt(v @ v)],
                "gate": lambda a, v, level: [
                    np.exp(score.weight[0].detach().double().numpy() @ x + score.bias.item())
                    for score, x in ((level.score_first, a), (level.score_second, v))
                ],
            }[weighting](a, v, level)
            share = np.array(scores) / sum(scores)
            vectors.append(literal_fbp(level.pooling, 2 * share[0] * a, 2 * share[1] * v))
        joined = np.concatenate(vectors) if combine == "concat" else sum(vectors)
        wanted = model.scale.item() * (classify[0] @ joined + classify[1])
        np.testing.assert_allclose(ours[clip], wanted, atol=1e-5)


def test_even_weights_are_plain_bilinear_pooling():
    config = MultiLevelFBPConfig((3,), (4,), weighting="none")
    level = MultiLevelFBP(config).eval().levels[0]
    a, v = torch.randn(2, 3), torch.randn(2, 4)
    fused = level(a, v)
    torch.testing.assert_close(fused.vector, level.pooling(a, v))
    torch.testing.assert_close(fused.weights, torch.full((2, 2), 0.5))


def test_trunks_are_fused_alike_and_averaged():
    model = MultiLevelFBP(MultiLevelFBPConfig((3,), (4,), outputs=5)).eval()
    first, second = torch.randn(2, 3, 3), torch.randn(2, 3, 4)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    (fused,) = model.fuse(first, second, mask)
    alone = [model.fuse(first[:1, i], second[:1, i])[0] for i in (0, 2)]
    torch.testing.assert_close(fused.vector[:1], (alone[0].vector + alone[1].vector) / 2)
    assert not fused.vector[1].any()
    torch.testing.assert_close(fused.weights.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([torch.zeros(2, 3)], [torch.zeros(2, 4), torch.zeros(2, 6)]),
        ([], []),
        ([torch.zeros(2, 3), torch.zeros(1, 5)], [torch.zeros(2, 4), torch.zeros(1, 6)]),
        ([torch.zeros(2, 3), torch.zeros(2, 5)], [torch.zeros(2, 4), torch.zeros(2, 3, 6)]),
    ],
)
def test_levels_that_do_not_fit_are_refused(first, second):
    with pytest.raises(InputError, match="Expected levels"):
        MultiLevelFBP(LEVELS)(first, second)


@pytest.mark.parametrize(
    "change", [{"first": (3,)}, {"weighting": "x"}, {"combine": "x"}, {"dropout": 1.0}]
)
def test_a_bad_level_configuration_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        replace(LEVELS, **change)


@pytest.fixture
def am_fbp():
    return AMFBP(
        AMFBPConfig(SMALL_VOICE, SMALL_FACE, trunks=2, factors=2, outputs=8, attention_hidden=4)
    ).eval()


def test_the_trunks_of_a_recording_are_its_equal_parts_in_time(am_fbp):
    faces = torch.randn(2, 8, SMALL_FACE.features)
    mask = torch.tensor([[True] * 8, [True, False, True, True, False, False, False, False]])
    whole, parts, present, weights = am_fbp._face_levels(faces, mask)
    torch.testing.assert_close(parts[0, 1], am_fbp.attention(faces[:1, 4:]).context[0])
    torch.testing.assert_close(parts[1, 0], faces[1, 0])  # four frames' time: 0, 1 and 2, 3
    torch.testing.assert_close(parts[1, 1], am_fbp.attention(faces[1:, 2:4]).context[0])
    torch.testing.assert_close(whole[0], am_fbp.attention(faces[:1]).context[0])
    assert present.all()
    assert not weights[1, 4:].any()

    spectrogram = torch.randn(1, 128, 200)
    voice, voice_parts, spoken = am_fbp._voice_levels(spectrogram, None)
    maps, times = am_fbp.voice.maps(spectrogram)
    second = torch.arange(maps.shape[3])[None] >= times[:, None] / 2
    torch.testing.assert_close(voice_parts[:, 1], am_fbp.voice.pool(maps, second)[0])
    torch.testing.assert_close(voice, am_fbp.voice(spectrogram).feature)
    assert spoken.all()


def test_a_clip_without_a_face_leans_on_the_learnt_vector_and_has_no_trunk(am_fbp):
    frames, spectrogram = 255 * torch.rand(2, 3, 1, 16, 16), torch.randn(2, 60, 200)
    mask = torch.tensor([[False] * 3, [True] * 3])
    output = am_fbp(frames, mask, spectrogram)
    other = am_fbp(frames.flip(1), mask, spectrogram)
    torch.testing.assert_close(output.logits[0], other.logits[0])
    assert not output.frame_attention[0].any()
    torch.testing.assert_close(output.weights.sum(dim=2), torch.ones(2, 2))
    torch.testing.assert_close(output.weights[0, 1], torch.full((2,), 0.5))


def test_clips_of_pictures_and_sound_must_be_as_many(am_fbp):
    with pytest.raises(InputError, match="Expected as many spectrograms as clips of frames, got 1"):
        am_fbp(torch.zeros(2, 3, 1, 16, 16), None, torch.zeros(1, 60, 200))


def test_the_audio_visual_network_is_its_parts():
    config = AudioVisualFBPConfig(SMALL_VOICE, SMALL_FACE, outputs=8, attention_hidden=4)
    model = AudioVisualFBP(config).eval()
    frames, spectrogram = 255 * torch.rand(2, 3, 1, 16, 16), torch.randn(2, 60, 200)
    features = model.face.features(frames.flatten(0, 1)).view(2, 3, -1)
    voice = model.voice(spectrogram).feature
    both, heard = model.fusion(features, None, voice), model.fusion(None, voice=voice)
    torch.testing.assert_close(model(frames, None, spectrogram).logits, both.logits)
    torch.testing.assert_close(model(None, None, spectrogram).logits, heard.logits)
    with pytest.raises(InputError, match="got neither"):
        model(None)


# ------------------------------------------------------------------------------ decisions


def views_of(rng, clips=200):
    """Three views of seven emotions: a good one, a weak one, noise; and the truth."""
    truth = rng.integers(0, 7, clips)
    views = []
    for strength in (2.0, 0.7, 0.0):
        logits = rng.standard_normal((clips, 7)) + strength * np.eye(7)[truth]
        views.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    return views, truth


def test_decision_weights_are_the_likeliest_on_the_simplex():
    from scipy.optimize import minimize

    views, truth = views_of(np.random.default_rng(1))
    ours = fit_decision_weights(views, truth, rounds=5000)
    likelihood = np.array([view[np.arange(len(truth)), truth] for view in views])
    found = minimize(
        lambda w: -np.log(w @ likelihood).mean(),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(ours, found.x, atol=1e-3)
    assert ours.min() >= 0
    assert ours.sum() == pytest.approx(1)
    assert ours.argmax() == 0


def test_average_and_weights_mix_probabilities():
    views, _ = views_of(np.random.default_rng(1), 4)
    np.testing.assert_allclose(average_decisions(views), weighted_decisions(views, [1 / 3] * 3))
    np.testing.assert_allclose(weighted_decisions(views, [0, 1, 0]), views[1])
    np.testing.assert_allclose(average_decisions(views).sum(axis=1), 1)


def test_who_says_nothing_is_left_out_of_the_sum():
    views = np.array([[[0.9, 0.1], [np.nan] * 2], [[0.3, 0.7], [0.2, 0.8]]])
    said = weighted_decisions(views, np.array([0.5, 0.5]))
    np.testing.assert_allclose(said, [[0.6, 0.4], [0.2, 0.8]])
    nobody = weighted_decisions(views[:1], np.array([1.0]))
    np.testing.assert_allclose(nobody[1], [0.5, 0.5])


def test_weights_are_found_on_the_clips_of_which_every_view_says_something():
    views, truth = views_of(np.random.default_rng(1))
    wanted = fit_decision_weights(views, truth)
    silent = [np.concatenate([view, np.full((3, 7), 1 / 7)]) for view in views]
    silent[1][-3:] = np.nan
    np.testing.assert_array_equal(fit_decision_weights(silent, [*truth, 0, 1, 2]), wanted)
    assert fit_decision_weights(np.full((2, 3, 7), np.nan), [0, 1, 2]).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("weights", [[0.5, 0.5], [1.5, -0.5, 0.0], [0.2, 0.2, 0.2]])
def test_what_are_no_weights_is_refused(weights):
    views, _ = views_of(np.random.default_rng(1), 4)
    with pytest.raises(InputError, match="Expected 3 weights, none negative, summing to 1, got"):
        weighted_decisions(views, weights)


def test_views_of_other_clips_are_refused():
    for views in ([], [np.zeros((2, 7)), np.zeros((3, 7))], [np.zeros(7)]):
        with pytest.raises(InputError, match="Expected views"):
            average_decisions(views)
    with pytest.raises(InputError, match="Expected 2 labels under 7, got"):
        fit_decision_weights([np.full((2, 7), 1 / 7)], [0, 7])


def test_an_untrained_learnt_decision_is_the_product_of_the_views():
    views, _ = views_of(np.random.default_rng(1), 4)
    model = LearntDecision(LearntDecisionConfig(views=3)).eval()
    ours = model(torch.tensor(np.stack(views, axis=1)).float()).softmax(dim=1)
    product = np.prod(views, axis=0)
    wanted = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.detach().numpy(), wanted, atol=1e-5)


def test_a_bad_decision_configuration_is_refused_at_birth():
    for make in (
        lambda: LearntDecisionConfig(views=0),
        lambda: ConcatFusionConfig(features=()),
        lambda: ConcatFusionConfig(hidden=(0,)),
        lambda: ConcatFusionConfig(dropout=1.0),
    ):
        with pytest.raises(ValueError, match="Expected"):
            make()


# --------------------------------------------------------------------------- face networks


def test_pictures_are_brought_to_what_each_network_knows():
    """Against torchvision's own transforms and facenet-pytorch's."""
    from facenet_pytorch import fixed_image_standardization
    from torchvision.models import Inception3, Inception_V3_Weights, ResNet50_Weights
    from torchvision.transforms.functional import normalize

    pictures = torch.randint(0, 256, (2, 3, 80, 80), dtype=torch.uint8)
    resnet = ResNet50_Weights.IMAGENET1K_V1.transforms()
    inception = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    published = Inception3(aux_logits=False, transform_input=True, init_weights=False)
    wanted = {
        "resnet50": normalize(pictures / 255, resnet.mean, resnet.std),
        "inception-v3": published._transform_input(
            normalize(pictures / 255, inception.mean, inception.std)
        ),
        "inception-resnet-v1": fixed_image_standardization(pictures.float()),
    }
    for kind, standard in wanted.items():
        encoder = FaceEncoder(FaceEncoderConfig(kind=kind, side=80, shrink=16))
        torch.testing.assert_close(encoder._standard(pictures.float()), standard)


def test_a_face_network_of_no_known_shape_is_no_encoder():
    assert own_config(replace(WIDE, mirrored=True, dropout=0.1)).kind == "wide"
    with pytest.raises(InputError, match="of compact or wide shape, got"):
        own_config(replace(WIDE, blocks=(1, 1, 1)))


def test_the_compact_encoder_sees_what_the_face_model_sees():
    images = [np.random.default_rng(1).integers(0, 256, (60, 50, 3)).astype(np.uint8)]
    encoder = FaceEncoder(FaceEncoderConfig(kind="compact", shrink=16))
    crops = torch.from_numpy(images[0]).permute(2, 0, 1)[None]
    torch.testing.assert_close(
        encoder._standard(crops.float()), prepare_crops(images), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("kind", ["vgg-face", "resnet50", "compact", "wide"])
def test_grey_is_colour_with_equal_channels(kind):
    encoder = FaceEncoder(FaceEncoderConfig(kind=kind, side=32, shrink=16)).eval()
    grey = 255 * torch.rand(2, 1, 40, 37)
    with torch.inference_mode():
        one, other = encoder.features(grey), encoder.features(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    assert one.shape == (2, encoder.config.features)


@pytest.mark.parametrize(("layer", "features"), [("pool5", 32), ("fc6", 256), ("fc7", 256)])
def test_vgg_face_gives_the_layer_asked_for_and_builds_no_later_one(layer, features):
    config = FaceEncoderConfig(kind="vgg-face", side=32, shrink=16, layer=layer)
    encoder = FaceEncoder(config).eval()
    assert encoder.features(torch.zeros(1, 3, 32, 32)).shape == (1, features)
    built = {name.split(".")[1] for name in encoder.state_dict() if ".fc" in name}
    assert built == {"pool5": set(), "fc6": {"fc6"}, "fc7": {"fc6", "fc7"}}[layer]


@pytest.mark.parametrize(
    ("kind", "features", "millions"),
    [
        ("vgg-face", 4096, 134.3),  # its 145.0 without the 2,622 names of fc8
        ("resnet50", 2048, 23.5),
        ("inception-resnet-v1", 512, 23.5),
        ("inception-v3", 2048, 21.8),
        ("compact", 256, 2.7),
        ("wide", 320, 4.9),
    ],
)
def test_whole_networks_have_the_published_sizes(kind, features, millions):
    config = FaceEncoderConfig(kind=kind)
    assert config.features == features
    with torch.device("meta"):
        backbone = FaceEncoder(config).backbone
    found = sum(p.numel() for p in backbone.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "lenet"},
        {"layer": "fc8"},
        {"shrink": 3},
        {"side": 16},
        {"dropout": 1.0},
    ],
)
def test_a_bad_encoder_configuration_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        FaceEncoderConfig(**change)
