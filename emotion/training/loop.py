"""One training loop for every recipe: seeded, resumable, on one device or on several processes.

All randomness of a step comes from (seed, step) and the order of an epoch from (seed, epoch), so
the state on disk is weights, optimiser and the number of the step: training that was killed and
resumed ends with the weights of training that was not, to the bit on one CPU.

Under `accelerate launch` or `torchrun` the examples of a step are dealt over the processes and
their gradients are summed, each process weighing as many examples as it had: the batch of the
recipe is the batch of all processes together, whatever their number. Batch normalisation sees the
examples of its own process; its running figures are averaged. The first process alone writes.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from emotion.checkpoint import CONFIG_FILE
from emotion.errors import CheckpointError

__all__ = [
    "Figures",
    "Schedule",
    "Task",
    "device_of",
    "fit",
    "initialised",
    "is_finished",
    "is_main_process",
    "learning_rate",
    "mixed_precision",
    "step_generator",
    "watching",
]

STATE_FILE = "state.safetensors"
LOG_FOLDER = "tensorboard"
SAVE_EVERY_S = 60.0
LOG_EVERY_STEPS = 20

Figures = Mapping[str, float]
"""What an epoch reached on what was held out, by name; the first counts, and more is better."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the data.
        batch: Examples a step, of all processes together.
        learning_rate: Its peak; it rises linearly and falls along a half cosine to nearly 0.
        warmup: Part of all steps spent rising, in [0, 1).
        weight_decay: On matrices; vectors are left alone.
        optimiser: SGD with Nesterov momentum 0.9, or AdamW.
        average: Decay a step of the exponential moving average of the weights.
        clip_norm: Gradients longer than this are shortened to it.
        sharpness: How far around the weights the loss shall be low as well, the rho of Foret et
            al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR
            2021; a step then takes twice as long. 0 for the loss at the weights alone.
        seed: Of everything random.
        parts: A step's examples are gone through in so many parts, for a device whose memory does
            not hold all at once; their gradients add up to those of the whole.
    """

    epochs: int
    batch: int
    learning_rate: float
    warmup: float = 0.05
    weight_decay: float = 5e-4
    optimiser: Literal["sgd", "adamw"] = "adamw"
    average: float = 0.998
    clip_norm: float = 5.0
    sharpness: float = 0.0
    seed: int = 1
    parts: int = 1

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.parts) < 1 or not self.learning_rate > 0:
            raise ValueError(
                f"Expected positive epochs, batch, parts and learning rate, got {self}."
            )
        if not (0 <= self.warmup < 1 and 0 <= self.average < 1):
            raise ValueError(f"Expected warmup and average in [0, 1), got {self}.")
        if not self.sharpness >= 0:
            raise ValueError(f"Expected sharpness of at least 0, got {self}.")


class Task(Protocol):
    """What is trained: the loop knows nothing of faces or voices.

    The loop puts `model` on the device of its process; `loss` brings the examples to
    `device_of(self.model)`.
    """

    model: nn.Module

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """List the indices (example,) of each step of one epoch, equally many every epoch."""

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Mean loss of examples (example,); `progress` in [0, 1] is how much is behind."""

    def epoch_done(self, averaged: nn.Module, epoch: int) -> Figures | str:
        """Keep the averaged model; return its held-out figures, or words for the progress bar.

        Called in the first process only.
        """


def fit(task: Task, schedule: Schedule, folder: Path, *, resume: bool = False) -> nn.Module:
    """Train `task.model` and return the averaged model.

    Args:
        task: What to train.
        schedule: How long and how fast.
        folder: Where the state lies, written each minute and each epoch; and, where the extra
            `training` is installed, TensorBoard's logs of loss, learning rate and figures.
        resume: Go on from the state in `folder`, where there is one.

    Raises:
        CheckpointError: If that state belongs to another model.
    """
    run = _Run(task, schedule, folder)
    if resume:
        run.restore()
    with _log(folder, run.step) as log:
        for epoch in range(run.reported, schedule.epochs):
            run.one_epoch(epoch, log)
    run.processes.wait_for_everyone()
    if run.processes.is_main_process:
        (folder / STATE_FILE).unlink(missing_ok=True)
    return run.averaged


def is_main_process() -> bool:
    """Whether this process may write and print; of one process, always."""
    return os.environ.get("RANK", "0") == "0"


def device_of(model: nn.Module) -> torch.device:
    """Device of a model's first parameter."""
    return next(model.parameters()).device


def mixed_precision(model: nn.Module) -> torch.autocast:
    """Let a model compute in bfloat16 where that is safe, and its device can do so itself."""
    device = device_of(model).type
    able = device != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device, dtype=torch.bfloat16, enabled=able)


@contextmanager
def watching(watch: Callable[[int, Figures], None]) -> Iterator[None]:
    """Let `watch(epoch, figures)` hear of every epoch trained inside; it may raise to stop it."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


_watch: ContextVar[Callable[[int, Figures], None] | None] = ContextVar("watch", default=None)


def is_finished(folder: Path) -> bool:
    """Tell whether a training ended here: there is a checkpoint, and no state to go on from."""
    return (folder / CONFIG_FILE).exists() and not (folder / STATE_FILE).exists()


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
        self.processes = _processes()
        task.model.to(self.processes.device)
        self.averaged = copy.deepcopy(task.model).eval().requires_grad_(False)
        self.optimiser = _optimiser(task.model, schedule)
        self.steps_an_epoch = len(task.order(schedule.batch, step_generator(schedule.seed, 0, 0)))
        self.step = self.reported = 0
        self.saved_at = time.monotonic()

    def one_epoch(self, epoch: int, log: Any) -> None:
        order = self.task.order(self.schedule.batch, step_generator(self.schedule.seed, 0, epoch))
        done = self.step - epoch * self.steps_an_epoch
        title = f"epoch {epoch + 1}/{self.schedule.epochs}"
        hidden = not self.processes.is_main_process
        self.task.model.train()
        with tqdm(
            total=len(order), initial=done, desc=title, mininterval=2.0, disable=hidden
        ) as bar:
            for indices in order[done:]:
                loss = self._one_step(indices)
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()
                if log is not None and self.step % LOG_EVERY_STEPS == 0:
                    log.add_scalar("loss", loss, self.step)
                    log.add_scalar("learning rate", self._rate, self.step)
            bar.set_postfix_str(self._report(epoch, log))
        self.save()

    @property
    def _rate(self) -> float:
        done = self.step / (self.steps_an_epoch * self.schedule.epochs)
        return learning_rate(self.schedule, done)

    def _report(self, epoch: int, log: Any) -> str:
        """Let the first process keep the averaged model, and say how good it is."""
        said: Figures | str = ""
        if self.processes.is_main_process:
            said = self.task.epoch_done(self.averaged, epoch)
        self.processes.wait_for_everyone()
        self.reported = epoch + 1
        if isinstance(said, str):
            return said
        for name, figure in said.items() if log is not None else ():
            log.add_scalar(name, figure, self.step)
        watch = _watch.get()
        if watch is not None and said:
            watch(epoch, said)
        return ", ".join(f"{name} {figure:.3f}" for name, figure in said.items())

    def _one_step(self, indices: Tensor) -> float:
        """Learn from the examples (example,), and return their loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate
        self.optimiser.zero_grad()
        loss = self._backward(indices)
        if self.schedule.sharpness > 0:
            self._look_uphill(indices)
        nn.utils.clip_grad_norm_(self.task.model.parameters(), self.schedule.clip_norm)
        self.optimiser.step()
        self.step += 1
        self._average()
        if time.monotonic() - self.saved_at > SAVE_EVERY_S:
            self.save()
        return loss

    def _backward(self, indices: Tensor) -> float:
        """Gradients of the mean loss of (example,), this process going through its parts of it."""
        progress = self.step / (self.steps_an_epoch * self.schedule.epochs)
        parts, processes = self.schedule.parts, self.processes.num_processes
        own = torch.tensor_split(indices, parts * processes)[
            self.processes.process_index :: processes
        ]
        total = 0.0
        for number, part in enumerate(own):
            if not len(part):
                continue
            path = (self.step, number * processes + self.processes.process_index)
            generator = step_generator(self.schedule.seed, 1, *path[: 1 + (path[1] > 0)])
            with _torch_random_from(generator, self.processes.device):
                loss = self.task.loss(part, progress, generator)
                if len(part) < len(indices):
                    loss = loss * (len(part) / len(indices))
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return self._summed(total) if processes > 1 else total

    def _look_uphill(self, indices: Tensor) -> None:
        """Take the gradients of (example,) where the loss nearby is highest, eq. 2 of the paper."""
        learnt = [p for p in self.task.model.parameters() if p.grad is not None]
        gradients = [p.grad for p in learnt if p.grad is not None]
        away = self.schedule.sharpness / (nn.utils.get_total_norm(gradients) + _TINY)
        with torch.no_grad():
            here = [p.clone() for p in learnt]
            for parameter, gradient in zip(learnt, gradients, strict=True):
                parameter.add_(gradient * away)
        self.optimiser.zero_grad()
        with _running_figures_kept(self.task.model):
            self._backward(indices)
        with torch.no_grad():
            for parameter, own in zip(learnt, here, strict=True):
                parameter.copy_(own)

    @torch.no_grad()
    def _summed(self, loss: float) -> float:
        """Add the gradients of all processes up, average running figures, and add up the loss."""
        from accelerate.utils import reduce

        model, processes = self.task.model, self.processes.num_processes
        learning = [p for p in model.parameters() if p.requires_grad]
        for parameter in learning:
            if parameter.grad is None:  # this process had no example that needed it
                parameter.grad = torch.zeros_like(parameter)
        running = [b for b in model.buffers() if b.is_floating_point()]
        shared = [p.grad for p in learning if p.grad is not None] + running
        sizes = [tensor.numel() for tensor in shared]
        flat = torch.cat([*(t.flatten() for t in shared), torch.tensor([loss]).to(shared[0])])
        *pieces, total = torch.split(reduce(flat, "sum"), [*sizes, 1])
        for tensor, piece in zip(shared, pieces, strict=True):
            tensor.copy_(piece.view_as(tensor))
        for tensor in running:
            tensor.div_(processes)
        return float(total)

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
        self.saved_at = time.monotonic()
        if not self.processes.is_main_process:
            return
        tensors = {f"model.{k}": v for k, v in self.task.model.state_dict().items()}
        tensors |= {f"averaged.{k}": v for k, v in self.averaged.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors |= {"step": torch.tensor(self.step), "reported": torch.tensor(self.reported)}
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{STATE_FILE}.partial"
        save_file({k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}, partial)
        partial.replace(self.folder / STATE_FILE)

    def restore(self) -> None:
        path = self.folder / STATE_FILE
        if not path.exists():
            return
        tensors = load_file(path)
        self.processes.wait_for_everyone()  # before the first process writes the next one
        try:
            self.task.model.load_state_dict(_under("model", tensors))
            self.averaged.load_state_dict(_under("averaged", tensors))
            self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": _slots(tensors)})
            self.step, self.reported = int(tensors["step"]), int(tensors["reported"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} belongs to another recipe: {error}") from error


def _processes() -> Any:
    """Who trains along, and where: Accelerate's state, which `accelerate launch` decides."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    return PartialState(cpu=on_cpu)


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


_TINY = 1e-12


@contextmanager
def _running_figures_kept(model: nn.Module) -> Iterator[None]:
    """Let batch normalisation learn no running figures, as of weights that are not to stay."""
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    usual = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, usual, strict=True):
            layer.momentum = momentum


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
def _torch_random_from(
    generator: torch.Generator, device: torch.device | None = None
) -> Iterator[None]:
    """Let what knows only torch's own generators (dropout) draw from ours, then put them back."""
    cuda = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.random.set_rng_state(generator.get_state())
        if cuda:
            torch.cuda.manual_seed(generator.initial_seed())
        yield


@contextmanager
def _log(folder: Path, step: int) -> Iterator[Any]:
    """TensorBoard's writer, going on at `step`; None without the extra or in other processes."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield None
        return
    if not is_main_process():
        yield None
        return
    writer = SummaryWriter(folder / LOG_FOLDER, purge_step=step or None, flush_secs=30)
    try:
        yield writer
    finally:
        writer.close()
