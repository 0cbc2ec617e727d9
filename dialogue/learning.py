"""What every training run here shares: one loop, and checkpoints that a kill cannot break."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

__all__ = ["Learner", "learn", "optimizers_of", "read_checkpoint", "read_facts", "set_rates"]


class Learner(Protocol):
    """A training run at some step.

    Attributes:
        step: Steps taken.
        seconds: That they took.
        curve: Points on the way, each with its step and losses in nats a token.
    """

    step: int
    seconds: float
    curve: list[dict[str, float]]

    @property
    def steps(self) -> int:
        """Steps of the whole run."""

    def advance(self) -> float:
        """Take one step and return its loss in nats a token."""

    def validate(self) -> dict[str, float]:
        """Return losses in nats a token on talks that are not learnt, one of them `valid_loss`."""

    def save(self) -> None:
        """Write a checkpoint; the one before stays whole until this one is."""


LearnerT = TypeVar("LearnerT", bound=Learner)


def learn(
    run: LearnerT,
    *,
    save_every_s: float = 180.0,
    validate_every: int = 200,
    until_step: int | None = None,
    progress: Callable[[LearnerT, float], None] | None = None,
) -> None:
    """Go on with a run to its end, saving and validating on the way.

    Args:
        run: At any step.
        save_every_s: Seconds between checkpoints.
        validate_every: Steps between validations, each a point of `run.curve`.
        until_step: Stop there, as a kill would, but saved.
        progress: Called after each step with the run and its loss.
    """
    last = run.steps if until_step is None else min(until_step, run.steps)
    saved = time.monotonic()
    while run.step < last:
        begun = time.monotonic()
        loss = run.advance()
        run.seconds += time.monotonic() - begun
        if run.step % validate_every == 0 or run.step == run.steps:
            run.curve.append(_point(run, loss))
        if time.monotonic() - saved > save_every_s:
            run.save()
            saved = time.monotonic()
        if progress is not None:
            progress(run, loss)
    run.save()


def _point(run: Learner, loss: float) -> dict[str, float]:
    losses = {"train_loss": loss, **run.validate()}
    rounded = {name: round(value, 4) for name, value in losses.items()}
    return {"step": run.step, "seconds": round(run.seconds), **rounded}


# --------------------------------------------------------------------------------- optimizers


def optimizers_of(
    model: Any, matrix_rate: float, other_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Train matrices by Muon (Jordan et al. 2024), embeddings and all else by AdamW.

    Args:
        model: Any causal model of transformers.
        matrix_rate: Peak learning rate of Muon.
        other_rate: Of AdamW.
        weight_decay: Of the matrices, decoupled.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    head = model.get_output_embeddings()
    embeddings |= {id(head.weight)} if head is not None else set()
    learning = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in learning if p.ndim == 2 and id(p) not in embeddings]
    others = [p for p in learning if p.ndim != 2 or id(p) in embeddings]
    return [
        torch.optim.Muon(
            [{"params": matrices, "peak": matrix_rate}], weight_decay=weight_decay, momentum=0.95
        ),
        torch.optim.AdamW(
            [{"params": others, "peak": other_rate}],
            betas=(0.9, 0.95),
            weight_decay=0.0,
            eps=1e-10,
        ),
    ]


def set_rates(optimizers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """Give every group a share of its `peak` learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share


# -------------------------------------------------------------------------------- checkpoints


def write_checkpoint(
    path: Path,
    run: Learner,
    modules: Mapping[str, nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    facts: Mapping[str, Any],
) -> None:
    """Write modules, optimizers, step and curve as safetensors, with further facts beside them."""
    tensors = {
        f"{kind}.{name}": parameter.detach()
        for kind, module in modules.items()
        for name, parameter in module.named_parameters()
    }
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{k}": v for k, v in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"step": run.step, "seconds": run.seconds, "curve": run.curve, **facts}
    partial = path.with_suffix(".partial")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, partial, {"run": json.dumps(whole)})
    partial.replace(path)


def read_facts(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote beside the tensors."""
    with safe_open(path, "pt") as file:
        facts: dict[str, Any] = json.loads(file.metadata()["run"])
    return facts


def read_checkpoint(
    path: Path,
    run: Learner,
    modules: Mapping[str, nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Put a run, its modules and optimizers back to where a checkpoint has them."""
    facts = read_facts(path)
    run.step, run.seconds, run.curve = facts["step"], facts["seconds"], facts["curve"]
    tensors = load_file(path)
    with torch.no_grad():
        for kind, module in modules.items():
            for name, parameter in module.named_parameters():
                parameter.copy_(tensors[f"{kind}.{name}"])
    for number, optimizer in enumerate(optimizers):
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer" and rest.startswith(f"{number}."):
                _, index, key = rest.split(".", 2)
                states.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
