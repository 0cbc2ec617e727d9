"""The commands of this package: `attune train-dialogue` and `attune train-empathy`."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    parser.add_argument(
        "--model",
        metavar="FOLDER",
        help="train an emotion prefix for this model instead, and the model with it",
    )
    parser.add_argument(
        "--prefix-only",
        action="store_true",
        help="with --model: leave the model as it is, to the bit",
    )
    parser.add_argument("--steps", type=int, help="of a prefix's training (default: the recipe's)")
    parser.add_argument(
        "--heard",
        type=Path,
        metavar="FILE",
        help="with --model: feelings read in the words of the corpora, to learn from as well",
    )
    parser.set_defaults(run=train_dialogue)
    _add_train_empathy(subparsers)


def _add_train_empathy(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "train-empathy",
        help="train the scorer of how empathetic replies are",
        description="Train the scorer of EPITOME's three mechanisms, and measure it on posts that "
        "were held out. The defaults are the recipe that made the bundled one.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("ATTUNE_DATA"),
        help="folder with empathy/*-reddit.csv (default: $ATTUNE_DATA)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/empathy"),
        help="folder for what the folds found and the scorer (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="keep the folds that are done")
    parser.add_argument(
        "--folds", type=int, default=5, help="of posts, each held out once (default: %(default)s)"
    )
    parser.set_defaults(run=train_empathy)


def train_empathy(args: argparse.Namespace) -> int:
    """Train and measure the empathy scorer, or go on; returns the exit code.

    Raises:
        CorpusError: If there is no data folder, a file is missing, or posts are too few.
        InputError: If the out folder is a file, or holds a run that was not to be resumed.
        ModelError: If the bundled model cannot be read.
    """
    from dialogue.empathy.annotations import MECHANISMS, read_epitome
    from dialogue.empathy.reading import pretrained
    from dialogue.empathy.scorer_training import EmpathyRecipe, EmpathyRun, run_with_bar
    from dialogue.errors import InputError
    from dialogue.models.base import pick_device
    from dialogue.models.bundled import WEIGHTS

    _check_folders(args)
    recipe, pairs = EmpathyRecipe(folds=args.folds), read_epitome(Path(args.data))
    reader, network = pretrained(WEIGHTS, pick_device("auto"))
    run = EmpathyRun(pairs, reader, network, args.out, recipe)
    if run.is_begun and not args.resume:
        raise InputError(f"Expected --resume or a new --out, got {args.out}, which holds a run.")
    run.begin()
    if run.done:
        print(f"Going on from fold {run.done} of {recipe.folds}.")
    scores = run_with_bar(run, args.out / "model")
    print(f"Wrote {args.out / 'model'}; on held-out posts, TF-IDF's figure in brackets:")
    for mechanism in MECHANISMS:
        figures = (
            f"{name} {found['scorer']:.3f} ({found['baseline']:.3f})"
            for name, found in scores[mechanism].items()
            if isinstance(found, dict)
        )
        print(f"  {mechanism}: {', '.join(figures)}")
    return 0


def _check_folders(args: argparse.Namespace) -> None:
    """Refuse a run without data, or whose out folder could not be made.

    Raises:
        CorpusError: If there is no data folder.
        InputError: If there is a file where the out folder is to be.
    """
    from dialogue.errors import CorpusError, InputError

    if args.data is None:
        raise CorpusError("Expected --data FOLDER or the environment's ATTUNE_DATA, got neither.")
    there = next(path for path in (args.out, *args.out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"Expected a folder for --out, got {args.out}, where {there} is a file.")


def train_dialogue(args: argparse.Namespace) -> int:
    """Train the bundled model or a prefix, or go on; returns the exit code.

    Raises:
        CorpusError: If there is no data folder or a corpus is missing.
        InputError: If the out folder is a file, or holds a run that was not to be resumed, or
            there is no model to train a prefix for.
        ModelError: If the model cannot be had.
    """
    from dialogue.errors import InputError
    from dialogue.models.base import pick_device
    from dialogue.training import Recipe, Run, export, prepare

    _check_folders(args)
    if args.model is not None:
        return _train_prefix(args)
    if args.prefix_only or args.steps is not None or args.heard is not None:
        raise InputError(
            "Expected --model FOLDER with --prefix-only, --steps or --heard, got none."
        )
    recipe = Recipe()
    prepared = prepare(Path(args.data), args.out / "cache", recipe)
    run = Run(prepared, recipe, args.out, pick_device("auto"))
    if run.is_begun and not args.resume:
        raise InputError(f"Expected --resume or a new --out, got {args.out}, which holds a run.")
    if args.resume and run.resume():
        print(f"Going on from step {run.step} of {run.steps}.")
    tokens_a_step = recipe.batch_rows * recipe.row_tokens
    _learn_with_bar(run, lambda now: {"tokens": f"{now.step * tokens_a_step / 1e6:.1f}M"})
    export(run, args.out / "model")
    _write_learned_text(args.data, args.out / "model")
    last = run.curve[-1]["valid_loss"] if run.curve else float("nan")
    print(f"Wrote {args.out / 'model'}; validation loss {last} nats a token.")
    return 0


def _train_prefix(args: argparse.Namespace) -> int:
    """Train an emotion prefix for a model of transformers."""
    from dialogue.data import read_felt
    from dialogue.errors import InputError
    from dialogue.models.base import pick_device
    from dialogue.models.local import PLAIN_TEMPLATE, load_pretrained
    from dialogue.prefix_training import FROZEN, TOGETHER, PrefixRun

    heard = None if args.heard is None else _read_heard(args.heard)
    model, tokenizer = load_pretrained(args.model, pick_device("auto"))
    model = model.float()
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    recipe = FROZEN if args.prefix_only else TOGETHER
    recipe = recipe if args.steps is None else replace(recipe, steps=args.steps)
    talks, valid = read_felt(args.data, "train"), read_felt(args.data, "valid")
    run = PrefixRun(model, tokenizer, talks, valid, recipe, args.out, heard)
    if run.is_begun and not args.resume:
        raise InputError(f"Expected --resume or a new --out, got {args.out}, which holds a run.")
    if args.resume and run.resume():
        print(f"Going on from step {run.step} of {recipe.steps}.")
    _learn_with_bar(run, lambda now: {})
    loss = run.validation_loss()
    run.export(args.out / "prefix")
    if recipe.together:
        _write_learned_text(args.data, args.out / "prefix")
    print(
        f"Wrote {args.out / 'prefix'}; "
        + ("lay its two files beside the model" if args.prefix_only else "the model is beside it")
        + f". Validation loss {loss:.4f} nats a token."
    )
    return 0


def _write_learned_text(data: Path, folder: Path) -> None:
    """Let a model that learnt from the corpora know what not to repeat."""
    from dialogue.data import learned_texts
    from dialogue.learned_text import LearnedText

    LearnedText.of(learned_texts(data)).save(folder)


def _read_heard(path: Path) -> Any:
    """Read which feelings were heard in the words; see `dialogue.prefix_training.Heard`."""
    from dialogue.errors import InputError

    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"Expected feelings heard in words in {path}, got {error}.") from error


def _learn_with_bar(run: Any, more: Callable[[Any], dict[str, str]]) -> None:
    from tqdm import tqdm

    from dialogue.learning import learn

    bar = tqdm(total=run.steps, initial=run.step, desc="training", unit="step", mininterval=10)

    def show(now: Any, loss: float) -> None:
        valid = now.curve[-1]["valid_loss"] if now.curve else "-"
        bar.set_postfix({"loss": f"{loss:.3f}", "valid": valid, **more(now)}, refresh=False)
        bar.update()

    with bar:
        learn(run, progress=show)
