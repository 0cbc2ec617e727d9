"""The training loop: kills, several processes, sharpness, schedules."""

import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from accelerate import PartialState, debug_launcher
from safetensors.torch import load_file, save_file
from torch import nn

from emotion import CheckpointError
from emotion.training.loop import Schedule, device_of, fit, learning_rate, step_generator, watching

SCHEDULE = Schedule(epochs=3, batch=4, learning_rate=0.01, average=0.5)
FLAT = replace(SCHEDULE, sharpness=0.1)


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
