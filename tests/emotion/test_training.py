"""The loop, the recipes' data, augmentation and losses."""

import math
import shutil
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from accelerate import PartialState, debug_launcher
from safetensors.torch import load_file, save_file
from torch import nn

from emotion import EMOTIONS, CheckpointError, CorpusError, InputError, checkpoint
from emotion.corpora.clip import Clip
from emotion.corpora.fer2013 import Faces
from emotion.corpora.speech import Voices
from emotion.models.attention_fcn import AttentionFCN, AttentionFCNConfig, ConvLayer
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig
from emotion.models.face_cnn import FaceCNN, FaceCNNConfig, standardise
from emotion.models.fusion import GatedFBPConfig
from emotion.speech.spectrogram import AMPLITUDE_FLOOR
from emotion.training.augmentation import (
    FaceAugmentation,
    VoiceAugmentation,
    augment_faces,
    augment_levels,
    augment_voices,
    mixup,
)
from emotion.training.face import (
    FaceBackboneTask,
    FaceTask,
    face_logits,
    split_faces,
    train_face_backbone,
)
from emotion.training.fusion import (
    FusionTask,
    Photographs,
    VoicePool,
    cross_calibrated,
    fit_reach,
    make_clips,
)
from emotion.training.loop import (
    Schedule,
    device_of,
    fit,
    initialised,
    learning_rate,
    step_generator,
    watching,
)
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.recipes import (
    FACE_BACKBONES,
    FaceBackboneRecipe,
    FaceRecipe,
    FusionRecipe,
    VoiceRecipe,
    WordsRecipe,
    face_restarted,
)
from emotion.training.sampling import balanced
from emotion.training.voice import VoiceTask, train_voice, voice_outputs

SCHEDULE = Schedule(epochs=3, batch=4, learning_rate=0.01, average=0.5)
FLAT = replace(SCHEDULE, sharpness=0.1)


# -------------------------------------------------------------------------------- loop


@dataclass
class Killed(Exception):  # noqa: N818
    """What a kill looks like from inside."""


class Line:
    """Learns y = 3x with dropout, so that a resumed run must get the same random numbers."""

    def __init__(self, killed_at=None, killed_after=None, dropout=0.5, noise=0.1):
        self.model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(dropout), nn.Linear(8, 1))
        for parameter in self.model.parameters():
            nn.init.constant_(parameter, 0.1)
        self.x = torch.linspace(-1, 1, 20)[:, None]
        self.steps, self.killed_at, self.killed_after = 0, killed_at, killed_after
        self.noise, self.epochs = noise, []

    def order(self, batch, generator):
        return list(torch.randperm(20, generator=generator).split(batch))

    def loss(self, indices, progress, generator):
        if self.steps == self.killed_at:
            raise Killed
        self.steps += 1
        noise = torch.randn(len(indices), 1, generator=generator)
        wanted = (3 * self.x[indices] - self.noise * noise).to(device_of(self.model))
        return (self.model(self.x[indices].to(wanted)) - wanted).square().mean()

    def epoch_done(self, averaged, epoch):
        if epoch == self.killed_after:
            raise Killed
        self.epochs.append(epoch)
        return {"figure": 0.1 * epoch}


def still(killed_at=None):
    """Learn without chance, and with unequal weights, so that every gradient counts."""
    line = Line(killed_at, dropout=0.0, noise=0.0)
    for number, parameter in enumerate(line.model.parameters()):
        nn.init.normal_(parameter, generator=step_generator(number))
    return line


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("killed_at", [0, 5, 7, 12])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, optimiser, killed_at, monkeypatch):
    monkeypatch.setattr("emotion.training.loop.SAVE_EVERY_S", 0.0)
    schedule = replace(SCHEDULE, optimiser=optimiser)
    whole = fit(Line(), schedule, tmp_path / "whole")
    with pytest.raises(Killed):
        fit(Line(killed_at), schedule, tmp_path / "cut")
    second = Line()
    resumed = fit(second, schedule, tmp_path / "cut", resume=True)
    assert second.steps == 15 - killed_at
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    left = [path.name for path in (tmp_path / "cut").iterdir()]
    assert set(left) <= {"tensorboard"}  # nothing is left to resume


def test_a_run_killed_while_an_epoch_is_scored_scores_it_again(tmp_path, monkeypatch):
    monkeypatch.setattr("emotion.training.loop.SAVE_EVERY_S", 0.0)
    with pytest.raises(Killed):
        fit(Line(killed_after=2), SCHEDULE, tmp_path)
    again = Line()
    fit(again, SCHEDULE, tmp_path, resume=True)
    assert (again.steps, again.epochs) == (0, [2])


def test_a_sharpness_aware_step_descends_from_where_the_loss_nearby_is_highest(tmp_path):
    class Bowl(Line):
        """Loss w0² + 10 w1², whose gradient is (2 w0, 20 w1)."""

        def __init__(self):
            super().__init__()
            self.model = nn.ParameterList([torch.tensor([1.0, -0.5])])

        def loss(self, indices, progress, generator):
            return (torch.tensor([1.0, 10.0]) * self.model[0].square()).sum()

    bowl = Bowl()
    schedule = Schedule(
        1, 20, 0.01, warmup=0.0, weight_decay=0.0, optimiser="sgd", clip_norm=1e9, sharpness=0.3
    )
    fit(bowl, schedule, tmp_path)
    here, steepness = np.array([1.0, -0.5]), np.array([2.0, 20.0])
    uphill = here + 0.3 * (here * steepness) / np.linalg.norm(here * steepness)
    momentum = 1.9  # Nesterov's first step: the gradient and 0.9 of it again
    expected = here - 0.01 * momentum * steepness * uphill
    np.testing.assert_allclose(bowl.model[0].detach().numpy(), expected, rtol=1e-6)


def test_a_look_uphill_sees_the_same_chance_and_leaves_no_running_figures(tmp_path):
    class Watched(Line):
        def __init__(self):
            super().__init__()
            self.model.insert(1, nn.BatchNorm1d(8))
            self.chances, self.figures = [], []

        def loss(self, indices, progress, generator):
            self.chances.append(torch.rand((), generator=generator).item())
            loss = super().loss(indices, progress, generator)
            self.figures.append(self.model[1].running_mean.clone())
            return loss

    watched = Watched()
    fit(watched, replace(FLAT, epochs=1), tmp_path)
    assert len(watched.chances) == 10  # five steps, each at the weights and uphill
    assert watched.chances[::2] == watched.chances[1::2]
    assert len(set(watched.chances)) == 5
    for at_weights, uphill in zip(watched.figures[::2], watched.figures[1::2], strict=True):
        assert torch.equal(at_weights, uphill)
    assert not torch.equal(watched.figures[0], watched.figures[2])
    assert watched.model[1].momentum == 0.1


def test_a_killed_sharpness_aware_run_resumes_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("emotion.training.loop.SAVE_EVERY_S", 0.0)
    whole = fit(Line(), FLAT, tmp_path / "whole")
    with pytest.raises(Killed):
        fit(Line(killed_at=13), FLAT, tmp_path / "cut")  # uphill, in the middle of a step
    second = Line()
    resumed = fit(second, FLAT, tmp_path / "cut", resume=True)
    assert second.steps == 2 * 15 - 12
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_negative_sharpness_is_refused():
    with pytest.raises(ValueError, match="sharpness"):
        replace(SCHEDULE, sharpness=-0.1)


def test_a_batch_in_parts_is_the_batch_at_once(tmp_path):
    def trained(parts):
        line = still()
        fit(line, replace(SCHEDULE, batch=5, parts=parts), tmp_path / str(parts))
        return torch.cat([p.flatten() for p in line.model.parameters()])

    torch.testing.assert_close(trained(1), trained(2))
    torch.testing.assert_close(trained(1), trained(7))  # more parts than examples


def test_epochs_can_be_watched_and_stopped(tmp_path):
    heard = []

    def watch(epoch, figures):
        heard.append((epoch, figures["figure"]))
        if epoch == 1:
            raise Killed

    with watching(watch), pytest.raises(Killed):
        fit(Line(), SCHEDULE, tmp_path)
    assert heard == [(0, 0.0), (1, 0.1)]
    fit(Line(), SCHEDULE, tmp_path)  # nobody listens any more
    assert len(heard) == 2


def test_tensorboard_is_told_losses_rates_and_figures(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="the extra training is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("emotion.training.loop.LOG_EVERY_STEPS", 5)
    fit(Line(), SCHEDULE, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == [5, 10, 15]
    assert events.Scalars("learning rate")[-1].value == pytest.approx(0)
    assert [e.value for e in events.Scalars("figure")] == pytest.approx([0.0, 0.1, 0.2])


def test_without_tensorboard_there_are_no_logs_and_no_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    fit(Line(), SCHEDULE, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def train_in_one_of_several(folder):
    PartialState._reset_state()  # what the tests' own process made of itself
    whole = fit(still(), SCHEDULE, folder / "whole")
    with pytest.raises(Killed):
        fit(still(7), SCHEDULE, folder / "cut")
    PartialState().wait_for_everyone()
    line = still()
    resumed = fit(line, SCHEDULE, folder / "cut", resume=True)
    assert line.steps == 15 - 7
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    flat = fit(still(), FLAT, folder / "flat")
    rank = PartialState().process_index
    save_file(dict(whole.state_dict()), folder / f"{rank}.safetensors")
    save_file(dict(flat.state_dict()), folder / f"flat{rank}.safetensors")
    (folder / f"{rank}.epochs").write_text(str(line.epochs))


def test_two_processes_train_as_one_and_resume(tmp_path, monkeypatch):
    """Batches of 4 are dealt over two CPU processes, which agree through gloo."""
    monkeypatch.setattr("emotion.training.loop.SAVE_EVERY_S", 0.0)
    debug_launcher(train_in_one_of_several, (tmp_path,), num_processes=2)
    for schedule, prefix in ((SCHEDULE, ""), (FLAT, "flat")):
        alone = fit(still(), schedule, tmp_path / f"alone{prefix}").state_dict()
        for rank in range(2):
            for name, weights in load_file(tmp_path / f"{prefix}{rank}.safetensors").items():
                torch.testing.assert_close(weights, alone[name])
    # the first process alone scores and writes
    assert [(tmp_path / f"{rank}.epochs").read_text() for rank in range(2)] == ["[1, 2]", "[]"]
    assert not (tmp_path / "whole" / "state.safetensors").exists()


@pytest.mark.gpu
def test_training_uses_a_gpu_and_resumes_on_it(tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    monkeypatch.setattr("emotion.training.loop.SAVE_EVERY_S", 0.0)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    PartialState._reset_state()
    try:
        whole = fit(Line(), SCHEDULE, tmp_path / "whole")
        with pytest.raises(Killed):
            fit(Line(7), SCHEDULE, tmp_path / "cut")
        resumed = fit(Line(), SCHEDULE, tmp_path / "cut", resume=True)
    finally:
        PartialState._reset_state()
    assert device_of(whole).type == "cuda"
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_training_leaves_torchs_own_generator_alone(tmp_path):
    line = Line()
    before = torch.random.get_rng_state()
    fit(line, SCHEDULE, tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_state_of_another_model_is_refused(tmp_path):
    with pytest.raises(Killed):
        fit(Line(6), SCHEDULE, tmp_path)
    other = Line()
    other.model = nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match="belongs to another recipe"):
        fit(other, SCHEDULE, tmp_path, resume=True)


def test_the_learning_rate_rises_and_falls():
    schedule = Schedule(epochs=1, batch=1, learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(schedule, i / 100) for i in range(101)]
    assert rates[0] == 0
    assert rates[10] == 1
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0)
    assert rates == [*sorted(rates[:11]), *sorted(rates[11:], reverse=True)]


@pytest.mark.parametrize("change", [{"epochs": 0}, {"learning_rate": 0.0}, {"warmup": 1.0}])
def test_a_bad_schedule_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        replace(SCHEDULE, **change)


def test_generators_depend_on_seed_and_place_alone():
    def first(*path):
        return torch.rand(1, generator=step_generator(*path)).item()

    assert first(1, 2, 3) == first(1, 2, 3)
    assert len({first(s, a, b) for s in range(3) for a in range(3) for b in range(20)}) == 180


# ------------------------------------------------------------------------------ losses


def test_smoothing_and_cross_entropy():
    labels = torch.tensor([0, 3])
    targets = smoothed(labels, 0.07)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(2))
    assert targets[0, 0] == pytest.approx(0.94)
    logits = torch.randn(2, len(EMOTIONS), generator=step_generator(1))
    reference = nn.functional.cross_entropy(logits, labels, label_smoothing=0.07)
    torch.testing.assert_close(cross_entropy(logits, targets), reference)


def test_a_sample_without_votes_costs_nothing():
    logits = torch.randn(2, len(EMOTIONS), generator=step_generator(1))
    targets = torch.stack([smoothed(torch.tensor([1]), 0.0)[0], torch.zeros(len(EMOTIONS))])
    torch.testing.assert_close(
        cross_entropy(logits, targets), cross_entropy(logits[:1], targets[:1])
    )
    assert cross_entropy(logits, torch.zeros_like(logits)) == 0


# ------------------------------------------------------------------------ augmentation


def test_faces_unchanged_by_no_augmentation_but_for_the_flip():
    nothing = FaceAugmentation(0, 0, (1, 1), 0, 0, 0)
    levels = 255 * torch.rand(16, 1, 48, 48, generator=step_generator(1))
    changed = augment_faces(levels, 48, nothing, step_generator(2))
    standard = (levels - levels.mean((1, 2, 3), True)) / levels.std((1, 2, 3), keepdim=True)
    same = (changed - standard).abs().amax((1, 2, 3)) < 0.01
    flipped = (changed - standard.flip(3)).abs().amax((1, 2, 3)) < 0.01
    assert (same ^ flipped).all()
    assert 0 < same.sum() < 16


@pytest.mark.parametrize("side", [40, 48])
def test_augmented_faces_are_finite_and_repeatable(side):
    levels = 255 * torch.rand(8, 1, 48, 48, generator=step_generator(1))
    levels[0] = 0
    first = augment_faces(levels, side, FaceAugmentation(), step_generator(2))
    second = augment_faces(levels, side, FaceAugmentation(), step_generator(2))
    assert first.shape == (8, 1, side, side)
    assert torch.equal(first, second)
    assert first.isfinite().all()


def test_voices_keep_their_lengths_and_stay_finite():
    clips = torch.randn(6, 250, 200, generator=step_generator(1))
    clips[0] = math.log(AMPLITUDE_FLOOR)
    lengths = torch.tensor([250, 1, 40, 200, 250, 250])
    how = VoiceAugmentation(reverberant=1.0)
    changed, left = augment_voices(clips, lengths, 120, how, step_generator(2))
    assert changed.shape == (6, 120, 200)
    assert changed.isfinite().all()
    assert left.max() <= 120
    assert left.min() >= 1
    assert ((lengths / 1.25).long().clamp(1, 120) <= left).all()


def test_voices_unchanged_by_no_augmentation():
    nothing = VoiceAugmentation((1, 1), (1, 1), (200, 200), 0.0, 0, 0)
    clips = torch.randn(3, 100, 200, generator=step_generator(1))
    changed, left = augment_voices(clips, torch.full((3,), 100), 100, nothing, step_generator(2))
    torch.testing.assert_close(changed, clips, atol=1e-3, rtol=0)
    assert left.tolist() == [100, 100, 100]


def test_mixup_shares_lie_between_nothing_and_all():
    shares = [mixup(4, 0.2, step_generator(i))[1] for i in range(200)]
    assert all(0 <= share <= 1 for share in shares)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1)


def test_light_from_a_side_darkens_and_noise_only_disturbs():
    from emotion.training.augmentation import DARKEST, _disturb_some, _light_some

    grey = torch.full((64, 1, 48, 48), 128.0)
    lit = _light_some(grey, 1.0, step_generator(1))
    assert lit.min() >= 128 * DARKEST - 1e-3
    assert lit.max() <= 128 + 1e-3
    assert (lit.flatten(1).std(1) > 1).float().mean() > 0.8
    noisy = _disturb_some(grey, 0.5, step_generator(2))
    disturbed = noisy.flatten(1).std(1) > 0
    assert 0.3 < disturbed.float().mean() < 0.7
    assert noisy.mean() == pytest.approx(128, abs=0.5)


# ----------------------------------------------------------------------------- recipes


def test_recipes_hold_only_what_may_be_shipped():
    from emotion.corpora.speech import SPEECH_CORPORA

    assert all(SPEECH_CORPORA[name].trains for name in VoiceRecipe().corpora)
    assert FaceRecipe().stages[0].begins == 0.0
    assert set(WordsRecipe().feelings) <= set(WordsRecipe().dialogues)
    assert not {"sgd_accentor", "emobank"} & set(WordsRecipe().dialogues)  # CC BY-SA


def little_faces(count=140):
    generator = np.random.default_rng(1)
    labels = np.arange(count) % 7
    images = generator.integers(0, 256, (count, 48, 48)).astype(np.uint8)
    return Faces(images, labels, np.eye(7, dtype=np.float32)[labels])


def test_faces_held_out_are_alike_in_emotions_and_the_same_every_time():
    train, held_out = split_faces(little_faces(), 100, 1)
    assert (len(train), len(held_out)) == (126, 14)
    assert np.bincount(held_out.labels).tolist() == [2] * 7
    np.testing.assert_array_equal(split_faces(little_faces(), 100, 1)[1].images, held_out.images)


def test_too_few_faces_to_hold_any_out_are_refused():
    with pytest.raises(CorpusError, match="at least 1000 faces of some emotion"):
        split_faces(little_faces(), 1, 1)


def test_the_face_recipe_writes_a_checkpoint(tmp_path):
    recipe = replace(
        FaceRecipe(),
        config=FaceCNNConfig(stem=4, widths=(8,), blocks=(1,)),
        schedule=replace(SCHEDULE, epochs=2, batch=32),
        held_out=100,
    )
    task = FaceTask(recipe, *split_faces(little_faces(), 100, 1), tmp_path)
    averaged = fit(task, recipe.schedule, tmp_path)
    stored = checkpoint.read(tmp_path)
    assert stored.training["epochs"] == 2
    assert set(stored.training["temperature"]) == {"fer2013", "ferplus"}
    crops = torch.randn(2, 1, 48, 48, generator=step_generator(1))
    loaded = checkpoint.load(tmp_path)
    torch.testing.assert_close(loaded(crops), averaged(crops), atol=5e-3, rtol=0)


def test_a_taught_face_learns_what_its_teachers_say_of_the_same_picture(tmp_path):
    config = FaceCNNConfig(stem=4, widths=(8,), blocks=(1,), dropout=0.0)
    parts = split_faces(little_faces(), 100, 1)
    folders = [tmp_path / "one", tmp_path / "two"]
    for seed, folder in enumerate(folders, start=1):
        checkpoint.save(folder, initialised(lambda: FaceCNN(config), seed), config, training={})
    recipe = replace(FaceRecipe(), config=config, mixup=0.0, taught=1.0)
    task = FaceTask(recipe, *parts, tmp_path / "pupil", folders)
    crops = torch.randn(3, 1, 48, 48, generator=step_generator(1))
    taught = task._taught(crops)
    opinions = [checkpoint.load(folder)(crops) for folder in folders]
    for place, name in enumerate(("fer2013", "ferplus")):
        mean = sum(opinion[name].softmax(1) for opinion in opinions) / 2
        torch.testing.assert_close(taught[place], mean, atol=2e-2, rtol=0)  # in bfloat16
    # wholly taught, the labels do not matter
    losses = []
    for targets in (task.targets, task.targets.roll(1, dims=2)):
        task.targets = targets
        losses.append(task.loss(torch.arange(8), 0.0, step_generator(3)).item())
    assert losses[0] == losses[1]


def test_a_restarted_face_ends_between_its_start_and_what_it_learnt(tmp_path):
    start = tmp_path / "start"
    config = FaceCNNConfig(stem=4, widths=(8,), blocks=(1,), dropout=0.0)
    checkpoint.save(start, initialised(lambda: FaceCNN(config), 5), config, training={})
    recipe = replace(
        FaceRecipe(),
        config=config,
        schedule=replace(SCHEDULE, epochs=2, batch=32),
        held_out=100,
        of_init=0.25,
    )
    task = FaceTask(recipe, *split_faces(little_faces(), 100, 1), tmp_path / "out", init=start)
    learnt = fit(task, recipe.schedule, tmp_path / "out")
    begun, ended = checkpoint.load(start), checkpoint.load(tmp_path / "out")
    for name, weights in ended.named_parameters():
        expected = 0.25 * begun.get_parameter(name) + 0.75 * learnt.get_parameter(name)
        torch.testing.assert_close(weights, expected, atol=1e-3, rtol=1e-3)  # as float16
    # its statistics are its own: those of the first convolution over all faces it was shown
    convolution, normalisation = ended.backbone[0][0], ended.backbone[0][1]
    with torch.no_grad():
        variance = convolution(standardise(task.levels.float())).var((0, 2, 3))
    torch.testing.assert_close(normalisation.running_var, variance, atol=0, rtol=0.03)


def test_a_face_that_ends_near_its_start_has_to_be_given_one(tmp_path):
    recipe = replace(face_restarted(), held_out=100)
    with pytest.raises(InputError, match="--init"):
        FaceTask(recipe, *split_faces(little_faces(), 100, 1), tmp_path)


def test_a_face_may_be_read_with_its_mirror_image():
    config = FaceCNNConfig(stem=4, widths=(8,), blocks=(1,))
    plain = FaceCNN(config).eval()
    both = FaceCNN(replace(config, mirrored=True)).eval()
    both.load_state_dict(plain.state_dict())
    crops = torch.randn(3, 1, 48, 48, generator=step_generator(1))
    torch.testing.assert_close(both.features(crops), both.features(crops.flip(3)))
    mean = (plain.features(crops) + plain.features(crops.flip(3))) / 2
    torch.testing.assert_close(both.features(crops), mean)


def test_the_recipe_of_a_backbone_writes_a_checkpoint(tmp_path):
    config = FaceEncoderConfig("compact", shrink=16)
    recipe = FaceBackboneRecipe(config, replace(SCHEDULE, epochs=2, batch=32), held_out=100)
    task = FaceBackboneTask(recipe, *split_faces(little_faces(), 100, 1), tmp_path)
    averaged = fit(task, recipe.schedule, tmp_path)
    stored = checkpoint.read(tmp_path)
    assert stored.training["epochs"] == 2
    assert set(stored.training["temperature"]) == {"fer2013"}
    logits = face_logits(averaged, little_faces())["fer2013"]
    np.testing.assert_allclose(
        face_logits(checkpoint.load(tmp_path), little_faces())["fer2013"], logits, atol=5e-3
    )


@pytest.mark.parametrize("name", FACE_BACKBONES)
def test_every_backbone_takes_a_step(tmp_path, name):
    recipe = FACE_BACKBONES[name]
    recipe = replace(recipe, config=replace(recipe.config, side=75, shrink=16), held_out=0)
    task = FaceBackboneTask(recipe, *split_faces(little_faces(14), 0, 1), tmp_path)
    loss = task.loss(torch.arange(4), 0.0, step_generator(1))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in task.model.parameters())


def test_a_backbone_can_start_from_another_ones_weights(tmp_path, write_fer2013):
    config = FaceEncoderConfig("compact", shrink=16)
    first = initialised(lambda: FaceEncoder(config), 9)
    checkpoint.save(tmp_path / "start", first, config, training={})
    still = replace(SCHEDULE, epochs=1, batch=8, learning_rate=1e-9)
    recipe = FaceBackboneRecipe(config, still, held_out=200)
    root = write_fer2013(tmp_path)
    options = {"cache": None, "init": tmp_path / "start"}
    trained = train_face_backbone(recipe, root, tmp_path / "out", **options)
    started = checkpoint.load(tmp_path / "start")
    torch.testing.assert_close(trained.classify.weight, started.classify.weight)
    assert checkpoint.read(tmp_path / "out").training["init"] == checkpoint.digest(
        tmp_path / "start"
    )
    wider = replace(recipe, config=replace(config, shrink=8))
    with pytest.raises(CheckpointError, match="of shape"):
        train_face_backbone(wider, root, tmp_path / "out", **options)


def test_levels_are_changed_as_faces_are_but_not_standardised():
    nothing = FaceAugmentation(0, 0, (1, 1), 0, 0, 0)
    levels = 255 * torch.rand(16, 1, 48, 48, generator=step_generator(1))
    changed = augment_levels(levels, 48, nothing, step_generator(2))
    standard = augment_faces(levels, 48, nothing, step_generator(2))
    torch.testing.assert_close(standardise(changed), standard)
    assert changed.min() >= 0
    assert changed.max() <= 255


def little_voices(speakers=3):
    generator = np.random.default_rng(1)
    clips = [Clip("x", f"{s}-{e}", e, f"x:{s}") for s in range(speakers) for e in EMOTIONS]
    lengths = generator.integers(1000, 9000, len(clips))
    return Voices(
        tuple(clips),
        tuple(0.1 * generator.standard_normal(n).astype(np.float32) for n in lengths),
    )


TINY = AttentionFCNConfig(layers=(ConvLayer(4, 5, 4, pool=(2, 2)),), attention_hidden=4)


def test_the_voice_recipe_writes_a_checkpoint_that_names_its_speakers(tmp_path):
    voices = little_voices()
    recipe = replace(
        VoiceRecipe(), config=TINY, schedule=replace(SCHEDULE, epochs=1, batch=7), frames=60
    )
    task = VoiceTask(recipe, voices.of(["x:0", "x:1"]), voices.of(["x:2"]), tmp_path)
    fit(task, recipe.schedule, tmp_path)
    facts = checkpoint.read(tmp_path).training
    assert facts["speakers"] == ["x:0", "x:1"]
    assert facts["held_out_speakers"] == ["x:2"]
    assert facts["temperature"] > 0


def test_a_voice_starts_from_other_convolutions(tmp_path, write_ravdess):
    start = initialised(lambda: AttentionFCN(TINY), 9)
    checkpoint.save(tmp_path / "start", start, TINY, training={})
    schedule = replace(SCHEDULE, epochs=1, batch=8, learning_rate=1e-9)
    recipe = VoiceRecipe(replace(TINY, attention_hidden=5), schedule, ("ravdess",), frames=40)
    root = write_ravdess(tmp_path)
    trained = train_voice(recipe, root, tmp_path / "out", cache=None, init=tmp_path / "start")
    kernels = [model.blocks[0][0].weight for model in (start, trained)]
    torch.testing.assert_close(*kernels, atol=1e-3, rtol=0)


def test_voices_are_read_in_batches_as_alone():
    voices = little_voices()
    recipe = replace(VoiceRecipe(), config=TINY)
    model = VoiceTask(recipe, voices, voices, None).model.eval()
    together, features = voice_outputs(model, voices, batch=16)
    alone, _ = voice_outputs(model, voices, batch=1)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert features.shape == (len(voices), 4)


# ------------------------------------------------------------------------------ fusion


@pytest.fixture
def pools():
    """Photographs and voices whose features tell their label and who they are."""
    labels = torch.arange(70) % 7
    features = nn.functional.one_hot(labels, 8).float()
    features[:, 7] = torch.arange(70)
    nobody, voice = torch.full((5, 8), -1.0), nn.functional.one_hot(labels, 7).float()
    photographs = Photographs(features[None], features + 1000, labels, nobody)
    return photographs, VoicePool(voice, labels, noisy=voice[None] + 10, spoilt=-torch.ones(3, 7))


def test_clips_pair_by_label_and_repeat_no_photograph(pools):
    photographs, voices = pools
    recipe = replace(FusionRecipe(), noisy_voice=0.0)
    wanted = torch.arange(400) % 7
    clips = make_clips(recipe, photographs, voices, wanted, step_generator(1))
    has_face = clips.frame_mask.any(dim=1)
    assert has_face.float().mean() == pytest.approx(1 - recipe.no_face, abs=0.07)
    assert clips.voice_mask.float().mean() == pytest.approx(1 - recipe.no_voice, abs=0.07)
    assert (has_face | clips.voice_mask).all()
    sound = clips.trust[:, 1] == 1
    assert torch.equal(clips.voice[sound].argmax(1), wanted[sound])
    for i in torch.where(clips.trust[:, 0] == 1)[0].tolist():
        label = wanted[i]
        seen = clips.frames[i][clips.frame_mask[i]]
        telling = clips.frames[i][clips.expressive[i]]
        assert (telling[:, label] == 1).all()
        photos = [int(f[7]) % 1000 for f in seen]
        assert len(photos) == len(set(photos))
        sharp = [f[:7].argmax().item() for f in seen if f[7] < 1000]
        assert set(sharp) <= {int(label), EMOTIONS.index("neutral")}
        assert int(label) in sharp


def test_what_is_spoilt_is_told_and_never_both_at_once(pools):
    recipe = FusionRecipe()
    clips = make_clips(recipe, *pools, torch.arange(700) % 7, step_generator(1))
    face, voice = clips.trust.T
    assert (face == 0).float().mean() == pytest.approx(recipe.spoilt_face, abs=0.05)
    assert (voice == 0).float().mean() == pytest.approx(recipe.spoilt_voice, abs=0.05)
    assert not ((face == 0) & ((voice == 0) | ~clips.voice_mask)).any()
    assert not ((voice == 0) & ~clips.frame_mask.any(dim=1)).any()
    assert not clips.expressive[face == 0].any()
    assert (clips.voice[voice == 0] == -1).all()
    faint = clips.frames[face == 0][clips.frame_mask[face == 0]]
    assert ((faint[:, 7] == -1) | (faint[:, 7] >= 1000)).all()
    noisy = clips.voice.max(dim=1).values > 5
    assert noisy[voice.isnan()].any()
    assert not noisy[~voice.isnan()].any()


def test_spoilt_parts_of_more_than_all_clips_are_refused():
    with pytest.raises(ValueError, match="at most 1 together, got"):
        replace(FusionRecipe(), spoilt_face=0.9)


def test_voices_are_moved_until_they_are_as_unsure_as_wanted(pools):
    _, voices = pools
    reach = fit_reach(voices, nn.Identity(), 0.6, step_generator(1))
    labels = voices.labels.repeat(30)
    moved = VoicePool(voices.features, voices.labels, reach).draw(labels, step_generator(2))
    assert (moved.argmax(1) == labels).float().mean() == pytest.approx(0.6, abs=0.05)


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """A fusion trained on features that tell their label, and what it was trained on."""
    folder = tmp_path_factory.mktemp("fusion")
    generator = step_generator(1)
    labels = torch.arange(210) % 7

    def noise(count, size=16):
        return torch.randn(count, size, generator=generator) * 0.3

    features = noise(210)
    features[torch.arange(210), labels] += 2.0
    blurred, nobody, silence = noise(210), noise(50) - 1, noise(50, 8) - 1
    voices = VoicePool(features[:, :8] + 0.0, labels, noisy=features[None, :, :8], spoilt=silence)
    recipe = replace(
        FusionRecipe(),
        config=GatedFBPConfig(frame_features=16, voice_features=8, outputs=32),
        schedule=Schedule(epochs=6, batch=64, learning_rate=5e-3, average=0.9),
        clips=1280,
    )
    photographs = Photographs(features[None], blurred, labels, nobody)
    task = FusionTask(recipe, photographs, voices, nn.Identity(), folder)
    return fit(task, recipe.schedule, folder), folder, task


def test_the_fusion_learns_which_frames_to_look_at(fused):
    model, folder, task = fused
    photographs = task.photographs
    assert "label-paired" in checkpoint.read(folder).training["pairing"]
    happy, neutral = photographs.views[0, 3], photographs.views[0, 4]
    output = model(torch.stack([happy, neutral, photographs.blurred[0]])[None])
    assert EMOTIONS[output.logits.argmax()] == "happy"
    assert output.frame_attention.argmax() == 0


def test_what_says_nothing_changes_nothing(fused):
    model, _, task = fused
    photographs, voices = task.photographs, task.voices
    happy, heard = photographs.views[:, 3:4], voices.features[3:4]
    silence, nobody = voices.spoilt[:1], photographs.spoilt[None, :3]
    said = model(happy, None, silence)
    assert said.trust[0, 0] > 0.8
    assert said.trust[0, 1] < 0.08  # the gate is shut
    torch.testing.assert_close(said.logits, model(happy).logits)
    torch.testing.assert_close(model(nobody, None, heard).logits, model(None, None, heard).logits)
    assert model(happy).trust[0, 1] == 0


def test_temperatures_are_of_people_and_of_what_there_is_to_go_by(fused):
    _, _, task = fused
    unheard = VoicePool(task.voices.features[:28], task.voices.labels[:28])
    facts = cross_calibrated(task, unheard, ["a", "b"] * 14)
    assert set(facts["temperature"]) == {"face", "voice", "both"}
    assert set(facts["temperature_without"]) == {"a", "b"}
    assert facts["calibration_accuracy"] > 0.9


def test_faces_known_by_heart_do_not_make_the_temperature(fused, tmp_path):
    """Of faces that say nothing, exact probabilities are one in seven, however well learnt."""
    _, _, known = fused
    drawn = torch.randn(known.photographs.views.shape, generator=step_generator(2))
    photographs = replace(known.photographs, views=drawn)
    recipe = replace(known.recipe, folds=2)
    task = FusionTask(recipe, photographs, known.voices, nn.Identity(), tmp_path)
    temperature = cross_calibrated(task, None, [])["temperature"]
    assert temperature["face"] > 2 * temperature["voice"]


def test_a_killed_calibration_goes_on_where_it_stopped(fused, tmp_path, monkeypatch):
    _, _, known = fused
    task = FusionTask(known.recipe, known.photographs, known.voices, nn.Identity(), tmp_path)
    whole = cross_calibrated(task, None, [])
    shutil.rmtree(tmp_path / "folds" / "4")
    trained = []

    def counted(fold, schedule, folder, *, resume):
        trained.append(folder.name)
        return fit(fold, schedule, folder, resume=resume)

    monkeypatch.setattr("emotion.training.fusion.fit", counted)
    assert cross_calibrated(task, None, [], resume=True) == whole
    assert trained == ["4"]


def test_a_speaker_nobody_knows_is_refused():
    from emotion.corpora.clip import check_speakers

    with pytest.raises(CorpusError, match="got ravdess:99"):
        check_speakers(["ravdess:99"], ["ravdess:01"])


def test_fewer_clips_than_a_batch_are_one_step():
    generator = torch.Generator().manual_seed(1)
    assert [len(step) for step in balanced(np.arange(7), 32, generator)] == [32]
    with pytest.raises(CorpusError, match="everybody is held out"):
        balanced(np.zeros(0, np.int64), 32, generator)


@pytest.mark.parametrize(("power", "small"), [(1.0, 0.1), (0.5, 0.25), (0.0, 0.5)])
def test_corpora_share_the_draws_of_an_emotion_by_their_size_to_a_power(power, small):
    labels, corpora = np.repeat([2, 5], [1000, 500]), ["small"] * 100 + ["large"] * 1400
    generator = torch.Generator().manual_seed(1)
    steps = [
        torch.cat(balanced(labels, 50, generator, corpora=corpora, corpus_power=power))
        for _ in range(20)
    ]
    drawn = torch.cat(steps)
    first = drawn[drawn < 1000]
    assert len(first) / len(drawn) == pytest.approx(0.5, abs=0.02)
    assert float((first < 100).float().mean()) == pytest.approx(small, abs=0.02)
