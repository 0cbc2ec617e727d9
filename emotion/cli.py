"""Commands of this package: `attune recognize`, `train` and `score`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from emotion.errors import InputError
from emotion.labels import EMOTIONS, SIX

if TYPE_CHECKING:
    from emotion.estimate import EmotionEstimate, Reading
    from emotion.recognizer import EmotionRecognizer

__all__ = ["add_commands"]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this package's commands to the parser of `attune`."""
    from emotion.comparison.cli import add_commands as add_comparison_commands
    from emotion.corpora.cli import add_commands as add_corpora_commands
    from emotion.models.cli import add_commands as add_model_commands
    from emotion.training.cli import add_commands as add_training_commands

    recognize = commands.add_parser(
        "recognize",
        help="read the emotion in videos, sound files or pictures",
        description="Read the emotion in videos, sound files or pictures: one estimate an "
        "utterance and person, or one for the whole where nobody speaks.",
    )
    recognize.add_argument("paths", nargs="+", metavar="PATH", help="a video, sound or picture")
    recognize.add_argument("--json", action="store_true", help="print a JSON list of estimates")
    recognize.add_argument("--model", metavar="FOLDER|HUB_ID", help="weights (default: bundled)")
    recognize.add_argument("--emotions", choices=("seven", "six"), default="seven")
    recognize.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    recognize.add_argument(
        "--identity",
        action="store_true",
        help="recognise people across cuts by their faces (extra `landmarks`); ask them first",
    )
    recognize.set_defaults(run=_recognize)
    add_corpora_commands(commands)
    add_training_commands(commands)
    add_model_commands(commands)
    add_comparison_commands(commands)


def _recognize(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from emotion.recognizer import EmotionRecognizer

    emotions = SIX if args.emotions == "six" else EMOTIONS
    recognizer = EmotionRecognizer.from_pretrained(
        args.model, device=args.device, emotions=emotions, identity=args.identity
    )
    found: list[tuple[str, EmotionEstimate]] = []
    failed = False
    bar = tqdm(args.paths, unit="file", disable=len(args.paths) == 1 or not sys.stderr.isatty())
    for path in bar:
        # One broken file must not cost the results of the others.
        estimates = _try(recognizer, path)
        failed |= estimates is None
        found += [(path, estimate) for estimate in estimates or []]
    if args.json:
        print(json.dumps([{"path": path} | e.to_dict() for path, e in found], indent=2))
    else:
        for path, estimate in found:
            print(_line(path, estimate))
    return 2 if failed else 0


def _try(recognizer: EmotionRecognizer, path: str) -> list[EmotionEstimate] | None:
    try:
        return recognizer.recognize(path)
    except InputError as error:
        print(f"attune: {error}", file=sys.stderr)
        return None


def _line(path: str, estimate: EmotionEstimate) -> str:
    span = f"{estimate.start_s:.2f}-{estimate.end_s:.2f} s"
    person = "" if estimate.person is None else f"  person {estimate.person}"
    label = estimate.label or "unclear"
    views = f"face {_view(estimate.face)}, voice {_view(estimate.voice)}"
    return f"{path}  {span}{person}  {label} {estimate.confidence:.0%}  ({views})"


def _view(reading: Reading | None) -> str:
    return "-" if reading is None else f"{reading.label} {max(reading.probabilities.values()):.0%}"
