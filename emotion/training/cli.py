"""Commands `attune train` and `attune score`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from emotion.errors import CorpusError, InputError
from emotion.labels import EMOTIONS, SIX

__all__ = ["add_commands"]

RECIPES = ("face", "voice", "fusion", "words")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train` and `score` to the parser of `attune`."""
    _add_train(commands)
    _add_score(commands)


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    train = commands.add_parser(
        "train",
        help="train a recogniser's model by its recipe",
        description="Train one model by its recipe. The state is kept each minute, a checkpoint "
        "each few epochs; --resume goes on where a killed training stopped.",
    )
    train.add_argument("recipe", choices=RECIPES)
    _add_corpora(train)
    train.add_argument("--out", metavar="FOLDER", type=Path, help="default: runs/RECIPE")
    train.add_argument("--resume", action="store_true", help="go on from the state in --out")
    train.add_argument("--epochs", type=int, help="instead of the recipe's, for a trial")
    train.add_argument("--seed", type=int, help="instead of the recipe's")
    train.add_argument(
        "--without-speakers",
        metavar="ID,…",
        type=_names,
        default=(),
        help="voice: speakers to hold out, as ravdess:21,ravdess:22",
    )
    train.add_argument(
        "--temperature-from",
        metavar="FOLDER",
        type=Path,
        help="voice: with nobody held out, a checkpoint of the same recipe to take it from",
    )
    for part in ("face", "voice"):
        train.add_argument(
            f"--{part}",
            metavar="FOLDER",
            type=Path,
            help=f"fusion: checkpoint of the {part} model (default: bundled)",
        )
    train.set_defaults(run=_train)


def _add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    score = commands.add_parser(
        "score",
        help="score a model on a corpus",
        description="Score a model on a corpus, with 95 % bootstrap intervals. Voices are scored "
        "on speakers the model was not trained on, and on no others.",
    )
    score.add_argument(
        "corpus",
        metavar="CORPUS",
        help="fer2013, ferplus, ravdess, emodb, tess, goemotions or paired "
        "(label-paired faces and voices)",
    )
    _add_corpora(score)
    score.add_argument("--split", metavar="NAME", help="of fer2013, ferplus or goemotions")
    score.add_argument(
        "--model", metavar="FOLDER", type=Path, help="a checkpoint or a folder of them"
    )
    score.add_argument("--emotions", choices=("seven", "six"), default="seven")
    score.add_argument(
        "--baseline",
        action="store_true",
        help="voices: score openSMILE's eGeMAPS + SVM beside (extra `functionals`)",
    )
    score.add_argument("--json", metavar="FILE", type=Path, help="write the report as JSON")
    score.set_defaults(run=_score)


def _add_corpora(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="ROOT",
        type=Path,
        help="folder of the corpora (default: $ATTUNE_DATA)",
    )
    parser.add_argument(
        "--cache", metavar="FOLDER", type=Path, help="of decoded corpora (default: ~/.cache/attune)"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _root(args: argparse.Namespace) -> Path:
    root = args.data or os.environ.get("ATTUNE_DATA")
    if not root:
        raise CorpusError("Expected a folder of corpora in --data or ATTUNE_DATA, got none.")
    if not Path(root).is_dir():
        raise CorpusError(f"Expected a folder of corpora at {root}, found none.")
    return Path(root)


def _check_writable(file: Path) -> None:
    """Find out before an hour of work whether its result can be kept."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a"):
            pass
    except OSError as error:
        raise InputError(f"Expected a file to write at {file}, got: {error.strerror}.") from error


def _train(args: argparse.Namespace) -> int:
    from emotion.checkpoint import bundled
    from emotion.corpora.archive import default_cache

    if args.epochs is not None and args.epochs < 1:
        raise InputError(f"Expected at least one epoch, got {args.epochs}.")
    root, out = _root(args), args.out or Path("runs") / args.recipe
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Expected a folder to write at {out}, got: {error.strerror}.") from error
    common: dict[str, Any] = {"cache": args.cache or default_cache(), "resume": args.resume}
    if args.recipe == "face":
        from emotion.training.face import train_face

        train_face(_recipe(args), root, out, **common)
    elif args.recipe == "voice":
        from emotion.training.voice import train_voice

        held_out, temperature = args.without_speakers, args.temperature_from
        common |= {"without_speakers": held_out, "temperature_from": temperature}
        train_voice(_recipe(args), root, out, **common)
    elif args.recipe == "fusion":
        from emotion.training.fusion import train_fusion

        encoders: dict[str, Any] = {
            part: getattr(args, part) or bundled(part) for part in ("face", "voice")
        }
        train_fusion(_recipe(args), root, out, **encoders, **common)
    else:
        from emotion.training.words import train_words

        train_words(_recipe(args), root, out)
    print(f"{out}: trained by the recipe {args.recipe}")
    return 0


def _recipe(args: argparse.Namespace) -> Any:
    """Look up the recipe, with the schedule's figures that the command line changes."""
    from dataclasses import replace

    from emotion.training import recipes

    kinds = {
        "face": recipes.FaceRecipe,
        "voice": recipes.VoiceRecipe,
        "fusion": recipes.FusionRecipe,
        "words": recipes.WordsRecipe,
    }
    recipe: Any = kinds[args.recipe]()
    asked = {"epochs": args.epochs, "seed": args.seed}
    changes = {name: value for name, value in asked.items() if value is not None}
    if not changes:
        return recipe
    if args.recipe == "words":
        raise InputError("Expected no --epochs or --seed: words are trained without either.")
    return replace(recipe, schedule=replace(recipe.schedule, **changes))


def _score(args: argparse.Namespace) -> int:
    from emotion.corpora.archive import default_cache
    from emotion.scoring import score

    if args.json:
        _check_writable(args.json)
    found = score(
        args.corpus,
        _root(args),
        split=args.split,
        model=args.model,
        emotions=SIX if args.emotions == "six" else EMOTIONS,
        baseline=args.baseline,
        cache=args.cache or default_cache(),
    )
    print("\n".join(_lines(found)))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _lines(found: dict[str, Any], indent: str = "") -> list[str]:
    """Readable lines of a report: every figure, then the recalls; nested reports indented."""
    lines = []
    for name, value in found.items():
        if isinstance(value, dict) and "low" in value:
            low, high = 100 * value["low"], 100 * value["high"]
            lines.append(
                f"{indent}{name:<12} {100 * value['value']:5.1f} %  [{low:.1f}, {high:.1f}]"
            )
        elif isinstance(value, dict):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        elif name not in ("confusion", "emotions"):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{name:<12} {shown}")
    return lines
