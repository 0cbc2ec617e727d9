"""One contract for every network, in a table: add a line to CASES and every test asks it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from emotion import EMOTIONS, InputError, checkpoint
from emotion.models.adaptive_voice import AdaptiveVoice, AdaptiveVoiceConfig
from emotion.models.attention_fcn import COMPACT, ORIGINAL, TORCHVISION, AttentionFCN
from emotion.models.decision import (
    ConcatFusion,
    ConcatFusionConfig,
    LearntDecision,
    LearntDecisionConfig,
)
from emotion.models.deep_fusion import (
    AMFBP,
    AMFBPConfig,
    AudioVisualFBP,
    AudioVisualFBPConfig,
)
from emotion.models.end_to_end import EndToEnd, EndToEndConfig
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig
from emotion.models.face_cnn import FaceCNN, FaceCNNConfig
from emotion.models.frames import (
    FrameAverage,
    FrameAverageConfig,
    FrameConcat,
    FrameConcatConfig,
    FrameLSTM,
    FrameLSTMConfig,
)
from emotion.models.fusion import AttentionFBP, AttentionFBPConfig, GatedFBP, GatedFBPConfig
from emotion.models.multi_level_fbp import MultiLevelFBP, MultiLevelFBPConfig
from emotion.models.soundnet import SoundNet, SoundNetConfig
from emotion.training.losses import concordance_loss, cross_entropy, smoothed

BATCH = 8
LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])


@dataclass(frozen=True)
class Case:
    """A network and what the contract asks it.

    Attributes:
        name: Of the case.
        make: Builds the network, small.
        inputs: Builds the arguments of its forward, tensors (batch, ...) or None, `BATCH` clips.
        wrong: Arguments whose shape the network must refuse.
        outputs: Takes the tensors (batch, output) out of what forward gives.
        loss: Of those outputs, low when the batch is known by heart.
        rate: Learning rate of Adam for learning the batch by heart.
        steps: At most so many.
        padded: From the inputs, the same clips with rubbish behind a mask; None where clips have
            no length.
    """

    name: str
    make: Callable[[], Any]
    inputs: Callable[[], tuple[Any, ...]]
    wrong: tuple[Any, ...]
    outputs: Callable[[Any], list[torch.Tensor]] = lambda output: [output.logits]
    loss: Callable[[list[torch.Tensor]], torch.Tensor] | None = None
    rate: float = 2e-3
    steps: int = 300
    padded: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None = None

    def run(self, model, inputs):
        return self.outputs(model(*inputs))

    def loss_of(self, model, inputs):
        outputs = self.run(model, inputs)
        if self.loss is not None:
            return self.loss(outputs)
        return sum(cross_entropy(logits, smoothed(LABELS, 0.0)) for logits in outputs)


def longer(tensor, more=3, dim=1):
    """The tensor with rubbish appended along one axis."""
    shape = list(tensor.shape)
    shape[dim] = more
    return torch.cat([tensor, torch.full(shape, 3.0)], dim=dim)


def everywhere(tensor, more=3):
    """A mask (batch, position) of a tensor made `more` longer: true where it was before."""
    true = torch.ones(tensor.shape[:2], dtype=torch.bool)
    return torch.cat([true, torch.zeros(len(tensor), more, dtype=torch.bool)], dim=1)


def voice(name, config, **changes):
    return Case(
        name,
        lambda: AttentionFCN(config),
        lambda: (3 * torch.randn(BATCH, 90, 200),),
        wrong=(torch.zeros(2, 90, 199),),
        padded=lambda x: (longer(x[0], 40), torch.full((BATCH,), 90)),
        **changes,
    )


def narrow(config, by):
    return replace(
        config, layers=tuple(replace(x, channels=x.channels // by) for x in config.layers)
    )


def face(kind, side, **changes):
    config = FaceEncoderConfig(kind=kind, side=side, shrink=16)
    return Case(
        f"face_backbones {kind}",
        lambda: FaceEncoder(config),
        lambda: (255 * torch.rand(BATCH, 3, side, side),),
        wrong=(torch.zeros(2, 2, side, side),),
        outputs=lambda output: [output],
        **changes,
    )


def fusion(name, config):
    return Case(
        name,
        lambda: (GatedFBP if isinstance(config, GatedFBPConfig) else AttentionFBP)(config),
        # one clip without a face and one without a voice, so the learnt vectors are at work
        lambda: (
            torch.randn(BATCH, 5, 12),
            torch.arange(BATCH)[:, None].expand(-1, 5) > 0,
            torch.randn(BATCH, 10),
            torch.arange(BATCH) < BATCH - 1,
        ),
        wrong=(torch.zeros(2, 5, 11), None, torch.zeros(2, 10)),
        padded=lambda x: (longer(x[0]), everywhere(x[0]) & longer(x[1]).bool(), *x[2:]),
    )


def audio_visual(name, make, *masks):
    return Case(
        name,
        make,
        # one clip without a face
        lambda: (
            255 * torch.rand(BATCH, 4, 1, 16, 16),
            torch.arange(BATCH)[:, None].expand(-1, 4) > 0,
            3 * torch.randn(BATCH, 60, 200),
            torch.full((BATCH,), 60),
            *masks,
        ),
        wrong=(torch.zeros(2, 4, 16, 16), None, torch.zeros(2, 60, 200)),
        padded=lambda x: (
            longer(x[0]),
            everywhere(x[0]) & longer(x[1]).bool(),
            longer(x[2], 30),
            *x[3:],
        ),
    )


def frames(name, make, *voices):
    return Case(
        name,
        make,
        # clips of one to five frames
        lambda: (
            torch.randn(BATCH, 5, 40),
            torch.arange(5) <= torch.arange(BATCH)[:, None],
            *voices,
        ),
        wrong=(torch.zeros(2, 5, 39), None, *voices),
        padded=lambda x: (longer(x[0]), everywhere(x[0]) & longer(x[1]).bool(), *x[2:]),
        rate=1e-2,
    )


FUSION = AttentionFBPConfig(frame_features=12, voice_features=10, outputs=16)
MULTI_LEVEL = MultiLevelFBPConfig(first=(10,), second=(12,), outputs=16)
SMALL_VOICE = replace(narrow(COMPACT, 2), attention_hidden=8)
SMALL_FACE = FaceEncoderConfig(kind="compact", side=16, shrink=16)
AUDIO_VISUAL = AudioVisualFBPConfig(
    voice=SMALL_VOICE, face=SMALL_FACE, factors=2, outputs=16, attention_hidden=8
)
AM_FBP = AMFBPConfig(
    voice=SMALL_VOICE, face=SMALL_FACE, trunks=2, factors=2, outputs=16, attention_hidden=8
)
END_TO_END = EndToEndConfig(
    filters=4, map_pool=4, kernels=(8, 8), side=16, stem=4, widths=(4, 8), blocks=(1, 1), hidden=16
)
RATED = torch.linspace(-1, 1, BATCH * 3 * 2).view(2, 3, BATCH).permute(2, 1, 0)

CASES = [
    voice("attention_fcn", COMPACT),
    voice("attention_fcn average", replace(COMPACT, pooling="average")),
    voice("attention_fcn original", narrow(ORIGINAL, 8)),
    voice("attention_fcn torchvision", narrow(TORCHVISION, 8)),
    replace(
        voice("adaptive voice", COMPACT),
        make=lambda: AdaptiveVoice(AdaptiveVoiceConfig(hidden=16, members=2)),
    ),
    Case(
        "face_cnn",
        lambda: FaceCNN(FaceCNNConfig(stem=8, widths=(16, 32), blocks=(1, 1))),
        lambda: (torch.randn(BATCH, 1, 48, 48),),
        wrong=(torch.zeros(2, 3, 48, 48),),
        outputs=lambda output: list(output.values()),
    ),
    fusion("fusion", FUSION),
    fusion("fusion average", replace(FUSION, pooling="average")),
    fusion("fusion gated", GatedFBPConfig(frame_features=12, voice_features=10, outputs=16)),
    Case(
        "multi-level FBP",
        lambda: MultiLevelFBP(MULTI_LEVEL),
        lambda: (torch.randn(BATCH, 10), torch.randn(BATCH, 12)),
        wrong=(torch.zeros(2, 10), torch.zeros(2, 11)),
        outputs=lambda output: [output],
    ),
    audio_visual(
        "audio-visual FBP", lambda: AudioVisualFBP(AUDIO_VISUAL), torch.arange(BATCH) < BATCH - 1
    ),
    audio_visual("AM-FBP", lambda: AMFBP(AM_FBP)),
    Case(
        "concatenation",
        lambda: ConcatFusion(ConcatFusionConfig(features=(10, 12), hidden=(16,))),
        lambda: (torch.randn(BATCH, 10), torch.randn(BATCH, 12)),
        wrong=(torch.zeros(2, 10), torch.zeros(2, 11)),
        outputs=lambda output: [output],
    ),
    Case(
        "learnt decision",
        lambda: LearntDecision(LearntDecisionConfig(views=3)),
        lambda: (torch.randn(BATCH, 3, 7).softmax(dim=2),),
        wrong=(torch.zeros(2, 2, 7),),
        outputs=lambda output: [output],
        rate=0.1,
    ),
    frames("frame LSTM", lambda: FrameLSTM(FrameLSTMConfig(40, 16))),
    frames("frame average", lambda: FrameAverage(FrameAverageConfig(40))),
    frames(
        "frame concatenation",
        lambda: FrameConcat(FrameConcatConfig(40, 10)),
        torch.randn(BATCH, 10, generator=torch.Generator().manual_seed(1)),
        torch.arange(BATCH) < BATCH - 1,
    ),
    face("vgg-face", 32),
    face("resnet50", 32),
    face("inception-resnet-v1", 75, rate=5e-3),
    face("inception-v3", 75),
    face("compact", 32),
    Case(
        "soundnet",
        lambda: SoundNet(SoundNetConfig(shrink=8)),
        lambda: (0.1 * torch.randn(BATCH, 8000),),
        wrong=(torch.zeros(2, 1, 8000),),
        outputs=lambda output: [output],
        padded=lambda x: (longer(x[0], 4000), torch.full((BATCH,), 8000)),
    ),
    Case(
        "end-to-end",
        lambda: EndToEnd(END_TO_END),
        lambda: (torch.randn(BATCH, 3, 640), torch.rand(BATCH, 3, 3, 16, 16)),
        wrong=(torch.zeros(2, 3, 639), torch.zeros(2, 3, 3, 16, 16)),
        outputs=lambda output: [output.ratings],
        loss=lambda ratings: concordance_loss(ratings[0], RATED),
        rate=5e-3,
        padded=lambda x: (*map(longer, x), everywhere(x[0])),
    ),
]


def only(applies):
    cases = [case for case in CASES if applies(case)]
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


contract = only(lambda case: True)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch.Generator().manual_seed(2).get_state())
        yield


def still(model):
    """The same model, training without dropout."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        if isinstance(module, torch.nn.RNNBase):
            module.dropout = 0.0
    return model.train()


def cut(inputs, start, stop):
    return tuple(x if x is None else x[start:stop] for x in inputs)


@contract
def test_every_parameter_learns(case):
    model = still(case.make())
    case.loss_of(model, case.inputs()).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@contract
def test_clips_in_a_batch_do_not_mix(case):
    model, inputs = case.make().eval(), case.inputs()
    with torch.inference_mode():
        together = case.run(model, inputs)
        for i in range(BATCH):
            alone = case.run(model, cut(inputs, i, i + 1))
            for one, all_ in zip(alone, together, strict=True):
                assert one.shape == (1, *all_.shape[1:])
                torch.testing.assert_close(one[0], all_[i], atol=1e-5, rtol=1e-4)


@only(lambda case: case.loss is None)
def test_the_logits_are_one_an_emotion(case):
    for logits in case.run(case.make().eval(), case.inputs()):
        assert logits.shape == (BATCH, len(EMOTIONS))
        assert logits.dtype == torch.float32


@contract
def test_one_batch_is_learnt_by_heart(case):
    model, inputs = still(case.make()), case.inputs()
    optimiser = torch.optim.Adam(model.parameters(), case.rate)
    for _ in range(case.steps):
        optimiser.zero_grad()
        loss = case.loss_of(model, inputs)
        loss.backward()
        optimiser.step()
        if loss.item() < 0.05:
            break
    assert loss.item() < 0.1


@contract
def test_the_checkpoint_round_trips_bit_for_bit(case, tmp_path):
    model = case.make()
    checkpoint.save(tmp_path / "a", model, model.config, training={})
    first = checkpoint.load(tmp_path / "a")
    checkpoint.save(tmp_path / "b", first, first.config, training={})
    second = checkpoint.load(tmp_path / "b")
    assert checkpoint.digest(tmp_path / "a") == checkpoint.digest(tmp_path / "b")
    assert model.config == first.config == second.config
    inputs = case.inputs()
    with torch.inference_mode():
        for one, other in zip(case.run(first, inputs), case.run(second, inputs), strict=True):
            assert torch.equal(one, other)


@only(lambda case: case.padded is not None)
def test_what_is_padded_does_not_count(case):
    model, inputs = case.make().eval(), case.inputs()
    with torch.inference_mode():
        plain, padded = case.run(model, inputs), case.run(model, case.padded(inputs))
    for one, other in zip(plain, padded, strict=True):
        torch.testing.assert_close(one, other[tuple(map(slice, one.shape))], atol=1e-5, rtol=1e-4)


@contract
def test_a_wrong_shape_is_refused_in_words(case):
    with pytest.raises(InputError, match=r"Expected .+, got (shape )?\("):
        case.make()(*case.wrong)


@contract
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_says_the_same(case):
    model, inputs = case.make().eval(), case.inputs()
    with torch.inference_mode():
        here = case.run(model, inputs)
        there = case.run(model.cuda(), tuple(x if x is None else x.cuda() for x in inputs))
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other.cpu(), atol=1e-3, rtol=1e-3)


def test_every_network_that_has_a_checkpoint_is_in_the_table():
    tested = {type(case.make()).__name__ for case in CASES}
    assert set(checkpoint._ARCHITECTURES) - tested == set()
