"""Published weights come in by name and shape, and nothing else does."""

import os
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import nn

from emotion import CheckpointError, checkpoint
from emotion.models import published
from emotion.models.attention_fcn import TORCHVISION, AttentionFCN
from emotion.models.cli import KINDS as OFFERED
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig, own_config
from emotion.models.published import KINDS, convert, load_weights, with_layer
from emotion.models.soundnet import SoundNet, SoundNetConfig
from ui.cli import main

VGG = ((3, 4, 2), (4, 8, 2), (8, 16, 3), (16, 32, 3), (32, 32, 3))
VGG_SMALL = FaceEncoderConfig(kind="vgg-face", side=64, shrink=16)


def tensor(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def vgg_face(full_layers_as_convolutions):
    """The names of vgg_face_dag.pth, narrow, for pictures of 64 pixels."""
    weights = OrderedDict()
    for block, (width, out, count) in enumerate(VGG, start=1):
        for index in range(1, count + 1):
            weights[f"conv{block}_{index}.weight"] = tensor(out, width if index == 1 else out, 3, 3)
            weights[f"conv{block}_{index}.bias"] = tensor(out)
    for name, out, width, side in (("fc6", 256, 32, 2), ("fc7", 256, 256, 1), ("fc8", 30, 256, 1)):
        kernel = tensor(out, width, side, side)
        weights[f"{name}.weight"] = kernel if full_layers_as_convolutions else kernel.flatten(1)
        weights[f"{name}.bias"] = tensor(out)
    return weights


def soundnet(sequential=False):
    """The names of soundnet8_final.pth, or of the port that keeps a layer in a Sequential."""
    weights = OrderedDict()
    widths = (1, 2, 4, 8, 16, 32, 64, 128)
    for index, kernel in enumerate((64, 32, 16, 8, 4, 4, 4), start=1):
        convolution = f"conv{index}.0" if sequential else f"conv{index}"
        norm = f"conv{index}.1" if sequential else f"batchnorm{index}"
        weights[f"{convolution}.weight"] = tensor(widths[index], widths[index - 1], kernel, 1)
        weights[f"{convolution}.bias"] = tensor(widths[index])
        for name in ("weight", "bias", "running_mean"):
            weights[f"{norm}.{name}"] = tensor(widths[index])
        weights[f"{norm}.running_var"] = tensor(widths[index]).abs() + 0.5
    for name in ("conv8.0", "conv8_2.0") if sequential else ("conv8_objs", "conv8_scns"):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = tensor(9, 128, 8, 1), tensor(9)
    return weights


@pytest.fixture
def store(tmp_path):
    def make(content, name="published.pth"):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return make


def half(weights):
    """As a checkpoint keeps matrices."""
    return weights.half().float() if weights.ndim > 1 else weights


def test_the_command_offers_every_kind():
    assert set(OFFERED) == set(KINDS)


# ---------------------------------------------------------------------------------- VGG-Face


@pytest.mark.parametrize("convolutions", [True, False], ids=["convolutions", "full layers"])
def test_vgg_face_is_what_the_published_network_computes(convolutions, store, tmp_path):
    weights = vgg_face(convolutions)
    convert("vgg-face", store(weights), tmp_path / "out", config=VGG_SMALL)
    model = checkpoint.load(tmp_path / "out")
    picture = 255 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    mean = torch.tensor([129.186279296875, 104.76238250732422, 93.59396362304688])
    x = picture - mean[:, None, None]
    for block, (_, _, count) in enumerate(VGG, start=1):
        for index in range(1, count + 1):
            name = f"conv{block}_{index}"
            kernel, bias = half(weights[f"{name}.weight"]), weights[f"{name}.bias"]
            x = nn.functional.conv2d(x, kernel, bias, padding=1).relu()
        x = nn.functional.max_pool2d(x, 2)
    x = x.flatten(1)
    for name in ("fc6", "fc7"):
        kernel = half(weights[f"{name}.weight"]).flatten(1)
        x = nn.functional.linear(x, kernel, weights[f"{name}.bias"]).relu()
    with torch.inference_mode():
        torch.testing.assert_close(model.features(picture), x, rtol=1e-4, atol=1e-3)


def test_the_facts_say_where_the_weights_came_from(store, tmp_path):
    convert("vgg-face", store(vgg_face(True)), tmp_path / "out", config=VGG_SMALL)
    facts = checkpoint.read(tmp_path / "out").training
    assert facts["recipe"] == "convert vgg-face"
    assert facts["file"] == "published.pth"
    assert len(facts["file_sha256"]) == 64
    assert facts["left_out"] == ["fc8.weight", "fc8.bias"]


def test_names_with_underscores_and_a_wrapped_state_dict_are_known_too(store, tmp_path):
    weights = vgg_face(False)
    other = {
        f"module.features.{n.replace('conv', 'conv_')}" if "conv" in n else f"module.fc.{n}": w
        for n, w in weights.items()
    }
    for name, content in (("a", weights), ("b", {"state_dict": other, "epoch": 3})):
        convert("vgg-face", store(content), tmp_path / name, config=VGG_SMALL)
    assert checkpoint.digest(tmp_path / "a") == checkpoint.digest(tmp_path / "b")


def test_an_earlier_layer_leaves_the_later_ones_out(store, tmp_path):
    config = replace(VGG_SMALL, layer="fc6")
    convert("vgg-face", store(vgg_face(True)), tmp_path / "out", config=config)
    left_out = checkpoint.read(tmp_path / "out").training["left_out"]
    assert {name.split(".")[0] for name in left_out} == {"fc7", "fc8"}


# ------------------------------------------------------------------- networks of libraries


@pytest.mark.parametrize("kind", ["resnet50", "inception-v3", "inception-resnet-v1"])
def test_a_librarys_network_keeps_every_weight(kind, store, tmp_path):
    config = FaceEncoderConfig(kind=kind, side=80, shrink=16)
    theirs = FaceEncoder(config).backbone
    for weights in theirs.state_dict().values():
        if weights.is_floating_point():
            weights.copy_(tensor(*weights.shape).abs() / 10)
    heads = {"fc.weight": tensor(9, 4), "AuxLogits.conv0.conv.weight": tensor(3, 3, 1, 1)}
    file = store({**theirs.state_dict(), **heads, "logits.bias": tensor(8)})
    ours = convert(kind, file, tmp_path / "out", config=config)
    for name, weights in theirs.state_dict().items():
        if not name.endswith("_tracked"):
            assert torch.equal(ours.state_dict()[f"backbone.{name}"], weights), name
    assert len(checkpoint.read(tmp_path / "out").training["left_out"]) == 3


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("resnet50", lambda: __import__("torchvision").models.resnet50(weights=None)),
        (
            "inception-v3",
            lambda: __import__("torchvision").models.inception_v3(weights=None, init_weights=False),
        ),
        (
            "inception-resnet-v1",
            lambda: __import__("facenet_pytorch").InceptionResnetV1(
                pretrained=None, classify=True, num_classes=8631
            ),
        ),
        ("alexnet", lambda: __import__("torchvision").models.alexnet(weights=None)),
    ],
)
def test_the_librarys_own_names_and_shapes_fit(kind, make):
    """Every weight the library's whole network has is taken or left out on purpose."""
    with torch.device("meta"):
        theirs, ours = make(), KINDS[kind].model(KINDS[kind].config)
    mine, taken = ours.state_dict(), set()
    for name, weights in theirs.state_dict().items():
        renamed = published._renamed(name, KINDS[kind], "file")
        if renamed is not None:
            fitted = published._fitted(weights, mine[renamed], name, "file")
            assert fitted.shape == mine[renamed].shape
            taken.add(renamed)
    assert taken == {name for name in mine if name.startswith(KINDS[kind].ours)}


# ----------------------------------------------------------------------------------- AlexNet

ALEXNET_SMALL = replace(
    TORCHVISION,
    layers=tuple(replace(x, channels=x.channels // 32) for x in TORCHVISION.layers),
    attention_hidden=4,
)


@pytest.fixture
def alexnet(store):
    weights = OrderedDict()
    width = 3
    for place, layer in zip((0, 3, 6, 8, 10), ALEXNET_SMALL.layers, strict=True):
        side = layer.kernel
        weights[f"features.{place}.weight"] = tensor(layer.channels, width, side, side)
        weights[f"features.{place}.bias"] = tensor(layer.channels)
        width = layer.channels
    weights["classifier.1.weight"], weights["classifier.1.bias"] = tensor(5, 5), tensor(5)
    return weights, store(weights)


def test_alexnet_hears_grey_as_it_saw_equal_colours(alexnet, tmp_path):
    weights, file = alexnet
    model = convert("alexnet", file, tmp_path / "out", config=ALEXNET_SMALL)
    grey = torch.rand(1, 1, 60, 70, generator=torch.Generator().manual_seed(1))
    first = (weights["features.0.weight"], weights["features.0.bias"])
    colour = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), *first, stride=4, padding=2)
    torch.testing.assert_close(model.blocks[0][0](grey), colour, rtol=1e-4, atol=1e-4)


def test_alexnets_convolutions_start_any_network_of_that_layout(alexnet, tmp_path):
    weights, file = alexnet
    convert("alexnet", file, tmp_path / "out", config=ALEXNET_SMALL)
    model = AttentionFCN(replace(ALEXNET_SMALL, pooling="average"))
    classifier = model.classify.weight.clone()
    assert len(load_weights(model, tmp_path / "out", only="blocks.")) == 10
    assert torch.equal(model.blocks[4][0].weight, half(weights["features.10.weight"]))
    assert torch.equal(model.classify.weight, classifier)


def test_weights_of_another_shape_are_not_copied(alexnet, tmp_path):
    convert("alexnet", alexnet[1], tmp_path / "out", config=ALEXNET_SMALL)
    with pytest.raises(
        CheckpointError, match=r"Expected blocks.0.0.bias of shape \(64,\).+ \(2,\)"
    ):
        load_weights(AttentionFCN(TORCHVISION), tmp_path / "out", only="blocks.")
    with pytest.raises(CheckpointError, match="Expected weights that start with 'x' shared with"):
        load_weights(AttentionFCN(ALEXNET_SMALL), tmp_path / "out", only="x")


def test_the_bundled_face_model_starts_an_encoder_of_its_kind():
    face = checkpoint.load(checkpoint.bundled("face")).train()  # without its mirrored view
    encoder = FaceEncoder(own_config(face.config)).eval()
    load_weights(encoder, checkpoint.bundled("face"))
    for layer in face.modules():
        layer.train(layer is face)
    grey = torch.randint(0, 256, (2, 1, 48, 48), generator=torch.Generator().manual_seed(1)).float()
    from emotion.models.face_cnn import standardise

    with torch.inference_mode():
        torch.testing.assert_close(encoder.features(grey), face.features(standardise(grey)))


# ---------------------------------------------------------------------------------- SoundNet


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("layer", ["conv5", "pool5", "conv7"])
def test_soundnet_is_what_the_port_computes(sequential, layer, store, tmp_path):
    weights = soundnet(sequential)
    config = SoundNetConfig(layer=layer, shrink=8, sample_rate_hz=22_050)
    convert("soundnet", store(weights), tmp_path / "out", config=config)
    sound = torch.rand(1, 30_000, generator=torch.Generator().manual_seed(1)) - 0.5

    x, plain = 256 * sound[:, None, :, None], soundnet()
    for index, kernel in enumerate((64, 32, 16, 8, 4, 4, 4)[: int(layer[-1])], start=1):
        norm = [plain[f"batchnorm{index}.{n}"] for n in ("running_mean", "running_var")]
        scale = [plain[f"batchnorm{index}.{n}"] for n in ("weight", "bias")]
        convolution = half(plain[f"conv{index}.weight"]), plain[f"conv{index}.bias"]
        x = nn.functional.conv2d(x, *convolution, stride=(2, 1), padding=(kernel // 2, 0))
        x = nn.functional.batch_norm(x, *norm, *scale).relu()
        if index in (1, 2) or (index == 5 and layer != "conv5"):
            x = nn.functional.max_pool2d(x, (4 if index == 5 else 8, 1))
    with torch.inference_mode():
        ours = checkpoint.load(tmp_path / "out").features(sound)
    torch.testing.assert_close(ours, x.mean(dim=(2, 3)), rtol=1e-3, atol=1e-3)


def test_soundnet_is_resampled_to_its_own_rate():
    torch.manual_seed(1)
    slow = SoundNet(SoundNetConfig(shrink=16, sample_rate_hz=11_025)).eval()
    fast = SoundNet(SoundNetConfig(shrink=16, sample_rate_hz=22_050)).eval()
    fast.load_state_dict(slow.state_dict())
    t = torch.arange(22_050) / 22_050
    tone = (0.5 * torch.sin(2 * torch.pi * 440 * t))[None]
    with torch.inference_mode():
        one, other = slow.features(tone[:, ::2]), fast.features(tone)
    torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("samples", [1, 500, 9000, 20_000])
def test_a_short_sound_beside_a_long_one_is_as_alone(samples):
    model = SoundNet(SoundNetConfig(shrink=16, layer="conv7")).eval()
    sounds = torch.rand(2, 20_000, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.inference_mode():
        together = model.features(sounds, torch.tensor([20_000, samples]))
        alone = model.features(sounds[1:, :samples])
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------- what is refused


class Code:
    def __reduce__(self):
        return os.system, ("touch it-has-run",)


def test_a_pickle_with_code_inside_is_refused_and_not_run(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = store({"conv1_1.weight": tensor(4, 3, 3, 3), "more": Code()})
    with pytest.raises(CheckpointError, match=r"^Expected tensors only in .+ runs code .+ read\.$"):
        convert("vgg-face", file, tmp_path / "out")
    assert not (tmp_path / "it-has-run").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([tensor(3)], "Expected a state dict in .+, got list"),
        ({"epoch": 3}, "Expected a state dict in .+, got dict"),
        ({"stem.weight": tensor(3)}, "Expected the names of published weights .+ 'stem.weight'"),
        ({"conv1_1.weight": tensor(4, 3, 5, 5)}, r"conv1_1.weight to fit \(4, 3, 3, 3\) .+ 5, 5\)"),
        ({"conv1_1.weight": tensor(4, 3, 3, 3)}, "weights for backbone.conv1_1.bias .+ missing"),
    ],
)
def test_what_is_not_the_published_file_is_refused(content, message, store, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        convert("vgg-face", store(content), tmp_path / "out", config=VGG_SMALL)


def test_a_damaged_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(CheckpointError, match=r"Expected a PyTorch state dict in .+ read"):
        convert("vgg-face", str(tmp_path / "damaged.pth"), tmp_path / "out")
    with pytest.raises(CheckpointError, match="No such file"):
        convert("vgg-face", str(tmp_path / "nowhere.pth"), tmp_path / "out")
    with pytest.raises(CheckpointError, match="Expected a kind among"):
        convert("lenet", "x", tmp_path / "out")


def test_a_layer_belongs_to_networks_that_have_layers():
    assert with_layer("soundnet", "conv5").layer == "conv5"
    with pytest.raises(CheckpointError, match="Expected no layer for alexnet, got 'fc7'"):
        with_layer("alexnet", "fc7")
    with pytest.raises(CheckpointError, match="Expected a layer among"):
        with_layer("soundnet", "fc7")


# ------------------------------------------------------------------------ the hub, the command


def test_a_file_of_the_hub_is_fetched_because_it_was_asked_for(store, tmp_path, monkeypatch):
    asked = []

    def fetch(repository, name):
        asked.append((repository, name))
        return store(vgg_face(True))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    convert("vgg-face", "hub:someone/faces/sub/vgg.pth", tmp_path / "out", config=VGG_SMALL)
    assert asked == [("someone/faces", "sub/vgg.pth")]
    with pytest.raises(CheckpointError, match="Expected hub:OWNER/REPOSITORY/FILE, got 'hub:x'"):
        convert("vgg-face", "hub:x", tmp_path / "out")


def test_safetensors_are_read_as_well(tmp_path):
    from safetensors.torch import save_file

    save_file(soundnet(), tmp_path / "soundnet.safetensors")
    config = SoundNetConfig(shrink=8)
    convert("soundnet", str(tmp_path / "soundnet.safetensors"), tmp_path / "out", config=config)
    assert checkpoint.load(tmp_path / "out").config == config


def test_the_command_says_what_it_wrote_and_what_is_wrong(store, tmp_path, monkeypatch, capsys):
    small = replace(KINDS["soundnet"], config=SoundNetConfig(layer="conv7", shrink=8))
    monkeypatch.setitem(KINDS, "soundnet", small)
    out = str(tmp_path / "out")
    assert main(["convert", "soundnet", store(soundnet()), out, "--layer", "pool5"]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: SoundNet, ")
    assert checkpoint.load(out).config.layer == "pool5"
    assert main(["convert", "soundnet", str(tmp_path / "no.pth"), out]) == 2
    assert "No such file" in capsys.readouterr().err
