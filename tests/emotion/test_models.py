"""One contract for every network: see CONTRACT."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion import EMOTIONS, InputError, checkpoint
from emotion.models.attention_fcn import COMPACT, ORIGINAL, AttentionFCN, AttentionFCNConfig
from emotion.models.face_cnn import FaceCNN, FaceCNNConfig, prepare_crops
from emotion.models.fusion import AttentionFBP, AttentionFBPConfig
from emotion.training.losses import cross_entropy, smoothed

BATCH = 8
LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])


def still(model):
    """The same model without dropout."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


class Voice:
    def __init__(self, config):
        self.make = lambda: AttentionFCN(config)
        self.inputs = (3 * torch.randn(BATCH, 90, 200),)
        self.wrong = (torch.zeros(2, 90, 199),)

    def logits(self, model, inputs):
        return [model(*inputs).logits]


class Face:
    make = staticmethod(lambda: FaceCNN(FaceCNNConfig(stem=8, widths=(16, 32), blocks=(1, 1))))
    inputs = (torch.randn(BATCH, 1, 48, 48),)
    wrong = (torch.zeros(2, 3, 48, 48),)

    def logits(self, model, inputs):
        return list(model(*inputs).values())


class Fusion:
    config = AttentionFBPConfig(frame_features=12, voice_features=10, outputs=16)
    make = staticmethod(lambda: AttentionFBP(Fusion.config))
    # one clip without a face and one without a voice, so the learnt vectors are at work
    inputs = (
        torch.randn(BATCH, 5, 12),
        torch.arange(BATCH)[:, None].expand(-1, 5) > 0,
        torch.randn(BATCH, 10),
        torch.arange(BATCH) < BATCH - 1,
    )
    wrong = (torch.zeros(2, 5, 11), None, torch.zeros(2, 10))

    def logits(self, model, inputs):
        return [model(*inputs).logits]


NARROW = replace(
    ORIGINAL, layers=tuple(replace(x, channels=x.channels // 4) for x in ORIGINAL.layers)
)
torch_state = torch.random.get_rng_state()
torch.random.set_rng_state(torch.Generator().manual_seed(1).get_state())
CONTRACT = {
    "attention_fcn": Voice(COMPACT),
    "attention_fcn average": Voice(replace(COMPACT, pooling="average")),
    "attention_fcn original": Voice(NARROW),
    "face_cnn": Face(),
    "fusion": Fusion(),
}
torch.random.set_rng_state(torch_state)

contract = pytest.mark.parametrize("case", CONTRACT.values(), ids=CONTRACT)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.random.set_rng_state(torch.Generator().manual_seed(2).get_state())
        yield


def loss_of(case, model):
    targets = smoothed(LABELS, 0.0)
    return sum(cross_entropy(logits, targets) for logits in case.logits(model, case.inputs))


@contract
def test_every_parameter_learns(case):
    model = still(case.make()).train()
    loss_of(case, model).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@contract
def test_clips_in_a_batch_do_not_mix(case):
    model = case.make().eval()
    with torch.inference_mode():
        together = case.logits(model, case.inputs)
        for i in range(BATCH):
            alone = case.logits(model, tuple(x[i : i + 1] for x in case.inputs))
            for one, all_ in zip(alone, together, strict=True):
                assert one.shape == (1, len(EMOTIONS))
                torch.testing.assert_close(one[0], all_[i], atol=1e-5, rtol=1e-4)


@contract
def test_one_batch_is_learnt_by_heart(case):
    model = still(case.make()).train()
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(300):
        optimiser.zero_grad()
        loss = loss_of(case, model)
        loss.backward()
        optimiser.step()
        if loss.item() < 0.05:
            break
    assert loss.item() < 0.1


@contract
def test_the_checkpoint_round_trips_bit_for_bit(case, tmp_path):
    checkpoint.save(tmp_path / "a", case.make(), case.make().config, training={})
    first = checkpoint.load(tmp_path / "a")
    checkpoint.save(tmp_path / "b", first, first.config, training={})
    second = checkpoint.load(tmp_path / "b")
    assert checkpoint.digest(tmp_path / "a") == checkpoint.digest(tmp_path / "b")
    assert first.config == second.config
    for one, other in zip(
        case.logits(first, case.inputs), case.logits(second, case.inputs), strict=True
    ):
        assert torch.equal(one, other)


@contract
def test_a_wrong_shape_is_refused_in_words(case):
    with pytest.raises(InputError, match=r"Expected .+, got (shape )?\("):
        case.logits(case.make(), case.wrong)


@contract
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_says_the_same(case):
    model = case.make().eval()
    with torch.inference_mode():
        here = case.logits(model, case.inputs)
        there = case.logits(model.cuda(), tuple(x.cuda() for x in case.inputs))
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other.cpu(), atol=1e-3, rtol=1e-3)


# ------------------------------------------------------------------------------- voice


@pytest.mark.parametrize("config", [COMPACT, ORIGINAL], ids=["compact", "original"])
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


def test_the_original_layout_gives_the_papers_positions():
    model = AttentionFCN(ORIGINAL).eval()
    output = model(torch.randn(1, 300, 200))
    assert output.attention.shape == (1, 5, 8)
    assert output.feature.shape == (1, 256)
    assert ORIGINAL.shortest_frames == 67


def test_a_voice_does_not_depend_on_the_microphones_gain():
    model = AttentionFCN(COMPACT).eval()
    clip = torch.randn(1, 120, 200)
    torch.testing.assert_close(model(clip).logits, model(clip + 2.5).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lengths", [[0, 90], [91, 90], [90]])
def test_lengths_must_fit(lengths):
    with pytest.raises(InputError, match="Expected 2 lengths from 1 to 90, got"):
        AttentionFCN(COMPACT)(torch.zeros(2, 90, 200), torch.tensor(lengths))


@pytest.mark.parametrize(
    "change", [{"layers": ()}, {"normalisation": "x"}, {"sharpness": 0.0}, {"dropout": 1.0}]
)
def test_a_bad_voice_configuration_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        replace(COMPACT, **change)


def test_a_configuration_survives_json():
    from dataclasses import asdict
    from json import dumps, loads

    for config in (COMPACT, ORIGINAL):
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


def test_bilinear_pooling_is_the_formula():
    """z = L2(signed-sqrt(SumPool_k(Ũᵀa ∘ Ṽᵀv))), a 1 appended to a and v, literally in float64."""
    model = AttentionFBP(Fusion.config).eval()
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
        root = [np.sign(x) * np.sqrt(abs(x)) for x in z]
        length = np.sqrt(sum(x * x for x in root))
        rows.append([x / length for x in root])
    with torch.inference_mode():
        ours = pooling(a, v).numpy()
    np.testing.assert_allclose(ours, rows, atol=1e-6)


def test_a_missing_modality_may_be_left_out_or_masked():
    model = AttentionFBP(Fusion.config).eval()
    frames, _, voice, _ = Fusion.inputs
    nobody, silent = torch.zeros(BATCH, 5, dtype=torch.bool), torch.zeros(BATCH, dtype=torch.bool)
    torch.testing.assert_close(model(None, None, voice).logits, model(frames, nobody, voice).logits)
    torch.testing.assert_close(model(frames).logits, model(frames, None, voice, silent).logits)
    assert not model(frames, nobody, voice).frame_attention.any()


def test_masked_frames_do_not_count():
    model = AttentionFBP(Fusion.config).eval()
    frames, _, voice, _ = Fusion.inputs
    mask = torch.arange(5).expand(BATCH, -1) < 3
    some, cut = model(frames, mask, voice), model(frames[:, :3], None, voice)
    torch.testing.assert_close(some.logits, cut.logits)
    torch.testing.assert_close(some.frame_attention.sum(dim=1), torch.ones(BATCH))
    assert not some.frame_attention[:, 3:].any()


def test_nothing_at_all_is_refused():
    with pytest.raises(InputError, match="got neither"):
        AttentionFBP(Fusion.config)(None)


@pytest.mark.parametrize("change", [{"factors": 0}, {"dropout": 1.0}, {"sharpness": -1.0}])
def test_a_bad_fusion_configuration_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        AttentionFBPConfig(**change)
