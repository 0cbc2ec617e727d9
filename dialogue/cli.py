"""The commands of this package: `attune train-dialogue`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dialogue.training import Run

__all__ = ["add_commands"]


def add_commands(subparsers: Any) -> None:
    """Register the commands.

    Args:
        subparsers: What `ArgumentParser.add_subparsers` returned.
    """
    parser = subparsers.add_parser(
        "train-dialogue",
        help="train the bundled dialogue model",
        description="Train the small language model that answers where no other was chosen. The "
        "defaults are the recipe that made the bundled weights.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("ATTUNE_DATA"),
        help="folder with dialogue/*.jsonl.gz (default: $ATTUNE_DATA)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/dialogue"),
        help="folder for cache, checkpoints and the model (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.set_defaults(run=train_dialogue)


def train_dialogue(args: argparse.Namespace) -> int:
    """Train the bundled model, or go on; returns the exit code.

    Raises:
        CorpusError: If there is no data folder or a corpus is missing.
        InputError: If the out folder is a file, or holds a run that was not to be resumed.
    """
    from dialogue.errors import CorpusError, InputError
    from dialogue.models.base import pick_device
    from dialogue.training import Recipe, Run, export, prepare, train

    if args.data is None:
        raise CorpusError("Expected --data FOLDER or the environment's ATTUNE_DATA, got neither.")
    there = next(path for path in (args.out, *args.out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"Expected a folder for --out, got {args.out}, where {there} is a file.")
    recipe = Recipe()
    prepared = prepare(Path(args.data), args.out / "cache", recipe)
    run = Run(prepared, recipe, args.out, pick_device("auto"))
    if run.is_begun and not args.resume:
        raise InputError(f"Expected --resume or a new --out, got {args.out}, which holds a run.")
    if args.resume and run.resume():
        print(f"Going on from step {run.step} of {run.steps}.")
    _train_with_bar(run, train)
    export(run, args.out / "model")
    last = run.curve[-1]["valid_loss"] if run.curve else float("nan")
    print(f"Wrote {args.out / 'model'}; validation loss {last} nats a token.")
    return 0


def _train_with_bar(run: Run, train: Any) -> None:
    from tqdm import tqdm

    tokens_a_step = run.recipe.batch_rows * run.recipe.row_tokens
    bar = tqdm(total=run.steps, initial=run.step, desc="training", unit="step", mininterval=10)

    def show(now: Run, loss: float) -> None:
        bar.set_postfix(
            {
                "loss": f"{loss:.3f}",
                "valid": now.curve[-1]["valid_loss"] if now.curve else "-",
                "tokens": f"{now.step * tokens_a_step / 1e6:.1f}M",
            },
            refresh=False,
        )
        bar.update()

    with bar:
        train(run, progress=show)
