"""One training loop for every recipe: seeded, resumable to the bit, averaged weights.

All randomness of a step comes from (seed, step) and the order of an epoch from (seed, epoch), so
the state on disk is weights, optimiser and the number of the step: training that was killed and
resumed ends with the weights of training that was not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from emotion.errors import CheckpointError

__all__ = ["Schedule", "Task", "fit", "initialised", "learning_rate", "step_generator"]

STATE_FILE = "state.safetensors"
SAVE_EVERY_S = 60.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the data.
        batch: Examples a step.
        learning_rate: Its peak; it rises linearly and falls along a half cosine to nearly 0.
        warmup: Part of all steps spent rising, in [0, 1).
        weight_decay: On matrices; vectors are left alone.
        optimiser: SGD with Nesterov momentum 0.9, or AdamW.
        average: Decay a step of the exponential moving average of the weights.
        clip_norm: Gradients longer than this are shortened to it.
        seed: Of everything random.
    """

    epochs: int
    batch: int
    learning_rate: float
    warmup: float = 0.05
    weight_decay: float = 5e-4
    optimiser: Literal["sgd", "adamw"] = "adamw"
    average: float = 0.998
    clip_norm: float = 5.0
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or not self.learning_rate > 0:
            raise ValueError(f"Expected positive epochs, batch and learning rate, got {self}.")
        if not (0 <= self.warmup < 1 and 0 <= self.average < 1):
            raise ValueError(f"Expected warmup and average in [0, 1), got {self}.")


class Task(Protocol):
    """What is trained: the loop knows nothing of faces or voices."""

    model: nn.Module

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """List the indices (example,) of each step of one epoch, equally many every epoch."""

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Mean loss of examples (example,); `progress` in [0, 1] is how much is behind."""

    def epoch_done(self, averaged: nn.Module, epoch: int) -> str:
        """Keep the averaged model; return what the progress bar should say of it."""


def fit(task: Task, schedule: Schedule, folder: Path, *, resume: bool = False) -> nn.Module:
    """Train `task.model` and return the averaged model.

    Args:
        task: What to train.
        schedule: How long and how fast.
        folder: Where the state lies, written each minute and each epoch.
        resume: Go on from the state in `folder`, where there is one.

    Raises:
        CheckpointError: If that state belongs to another model.
    """
    run = _Run(task, schedule, folder)
    if resume:
        run.restore()
    for epoch in range(run.epoch, schedule.epochs):
        run.one_epoch(epoch)
    (folder / STATE_FILE).unlink(missing_ok=True)
    return run.averaged


def learning_rate(schedule: Schedule, progress: float) -> float:
    """Learning rate when a part `progress` in [0, 1] of training is behind.

    >>> learning_rate(Schedule(1, 1, learning_rate=2.0, warmup=0.5), 0.25)
    1.0
    """
    if progress < schedule.warmup:
        return schedule.learning_rate * progress / schedule.warmup
    fallen = (progress - schedule.warmup) / (1 - schedule.warmup)
    return schedule.learning_rate * (0.5 + 0.5 * math.cos(math.pi * fallen))


def step_generator(seed: int, *path: int) -> torch.Generator:
    """Make a generator that depends on the seed and a position in training alone."""
    state = 1 + (seed - 1) * _SPREAD  # neighbouring seeds must not meet in neighbouring places
    for part in path:
        state = ((state ^ part) * _SPREAD + 0x632BE59BD9B4E019) % 2**63
    return torch.Generator().manual_seed(state % 2**63)


def initialised(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Make a network whose first weights depend on the seed alone."""
    with _torch_random_from(step_generator(seed, 2)):
        return make()


_SPREAD = 0x9E3779B97F4A7C15  # splitmix64's


class _Run:
    def __init__(self, task: Task, schedule: Schedule, folder: Path) -> None:
        self.task, self.schedule, self.folder = task, schedule, folder
        self.averaged = copy.deepcopy(task.model).eval().requires_grad_(False)
        self.optimiser = _optimiser(task.model, schedule)
        self.steps_an_epoch = len(task.order(schedule.batch, step_generator(schedule.seed, 0, 0)))
        self.step = 0
        self.saved_at = time.monotonic()

    @property
    def epoch(self) -> int:
        return self.step // self.steps_an_epoch

    def one_epoch(self, epoch: int) -> None:
        order = self.task.order(self.schedule.batch, step_generator(self.schedule.seed, 0, epoch))
        done = self.step - epoch * self.steps_an_epoch
        title = f"epoch {epoch + 1}/{self.schedule.epochs}"
        self.task.model.train()
        with tqdm(total=len(order), initial=done, desc=title, mininterval=2.0) as bar:
            for indices in order[done:]:
                bar.set_postfix(loss=f"{self._one_step(indices):.3f}", refresh=False)
                bar.update()
            bar.set_postfix_str(self.task.epoch_done(self.averaged, epoch))
        self.save()

    def _one_step(self, indices: Tensor) -> float:
        """Learn from the examples (example,), and return their loss."""
        progress = self.step / (self.steps_an_epoch * self.schedule.epochs)
        generator = step_generator(self.schedule.seed, 1, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.schedule, progress)
        with _torch_random_from(generator):
            loss = self.task.loss(indices, progress, generator)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.task.model.parameters(), self.schedule.clip_norm)
        self.optimiser.step()
        self.step += 1
        self._average()
        if time.monotonic() - self.saved_at > SAVE_EVERY_S:
            self.save()
        return loss.item()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.schedule.average, self.step / (self.step + 10))
        new = self.task.model.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - decay)
            else:
                value.copy_(new[name])

    def save(self) -> None:
        tensors = {f"model.{k}": v for k, v in self.task.model.state_dict().items()}
        tensors |= {f"averaged.{k}": v for k, v in self.averaged.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors["step"] = torch.tensor(self.step)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{STATE_FILE}.partial"
        save_file({k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}, partial)
        partial.replace(self.folder / STATE_FILE)
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        path = self.folder / STATE_FILE
        if not path.exists():
            return
        tensors = load_file(path)
        try:
            self.task.model.load_state_dict(_under("model", tensors))
            self.averaged.load_state_dict(_under("averaged", tensors))
            self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": _slots(tensors)})
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} belongs to another recipe: {error}") from error
        self.step = int(tensors["step"])


def _optimiser(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if schedule.optimiser == "sgd":
        return torch.optim.SGD(groups, schedule.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, schedule.learning_rate)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _slots(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimiser", tensors).items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = value
    return slots


@contextmanager
def _torch_random_from(generator: torch.Generator) -> Iterator[None]:
    """Let what knows only torch's own generator (dropout) draw from ours, then put it back."""
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(generator.get_state())
        yield
