"""The command `attune evaluate`."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from dialogue.empathy.arms import EmotionReader
    from dialogue.empathy.conversations import Exchange
    from dialogue.empathy.evaluation import Instruments, Request
    from dialogue.empathy.judge import Judge
    from dialogue.empathy.scorer import EmpathyScorer

__all__ = ["OpenReader", "add_evaluate"]

OpenReader = Callable[[str], "EmotionReader"]
"""Loads what reads feelings, onto a device."""

FORMAT = (
    'A line of JSONL is {"id", "turns": [{"speaker", "text", "emotion", "estimate", "clip"}, …], '
    '"emotion", "kind", "danger"}; all but turns, speaker and text may be left out. Whoever speaks '
    "first is the person, unless speakers are called user and assistant; the last reply is the one "
    "that is wanted. See dialogue/empathy/conversations.py."
)
ARMS = "none,predicted,oracle,shuffled,neutral"


def add_evaluate(subparsers: Any, open_reader: OpenReader) -> None:
    """Register the command.

    Args:
        subparsers: What `ArgumentParser.add_subparsers` returned.
        open_reader: Whoever mounts the command knows a recogniser; this package does not.
    """
    parser = subparsers.add_parser(
        "evaluate",
        help="measure whether knowing the emotion makes replies more empathetic",
        description="Let one model answer the same conversations, told the person's feeling in "
        "four ways or not at all, and measure what that changes. Writes report.html, report.md, "
        "report.json and replies.jsonl. Run again after a kill, it goes on where it was.",
        epilog=FORMAT,
    )
    _add_input(parser)
    _add_instruments(parser)
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    parser.add_argument(
        "--resamples", type=int, default=10_000, help="of the bootstrap (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=Path("runs/evaluate"),
        help="of the report, and of what a killed run goes on from (default: %(default)s)",
    )
    parser.add_argument(
        "--omit-texts",
        action="store_true",
        help="write nothing that people said or replied, so that the report may be shared",
    )
    parser.set_defaults(run=lambda args: evaluate_command(args, open_reader))


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--conversations",
        metavar="FILE",
        default="builtin",
        help="JSONL, or a CSV as EmpatheticDialogues or MELD publish theirs; or `builtin` "
        "(default), or `empathetic-dialogues`, the validation part of the corpus in --data",
    )
    parser.add_argument(
        "--data", metavar="ROOT", type=Path, help="folder of the corpora (default: $ATTUNE_DATA)"
    )
    parser.add_argument(
        "--turn",
        choices=("last", "sampled"),
        help="which reply of a conversation is wanted (default: last; of the corpus: sampled)",
    )
    parser.add_argument("--limit", metavar="N", type=int, help="so many conversations, by hash")
    parser.add_argument(
        "--responses",
        metavar="FILE",
        type=Path,
        help='ready-made replies of other systems: JSONL with "id", "reply" and "system"; without '
        "--arms they alone are judged",
    )
    parser.add_argument(
        "--arms",
        metavar="NAMES",
        help=f"what the model is told, separated by commas (default: {ARMS})",
    )


def _add_instruments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="HUB_ID|FOLDER|URL", help="dialogue model (default: the bundled one)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--scorer", metavar="HUB_ID|FOLDER", help="of EPITOME's mechanisms (default: bundled)"
    )
    parser.add_argument(
        "--bertscore", metavar="HUB_ID|FOLDER", help="encoder for BERTScore (default: none)"
    )
    parser.add_argument(
        "--judge",
        metavar="URL#NAME",
        help="also ask a large model behind an OpenAI-compatible server which reply is better",
    )
    parser.add_argument(
        "--judge-samples", metavar="N", type=int, default=3, help="a pair and order (default: 3)"
    )
    parser.add_argument(
        "--judge-labels",
        metavar="FILE",
        type=Path,
        help='what people preferred: JSONL with "id", "pair" and "preferred"',
    )


def evaluate_command(args: argparse.Namespace, open_reader: OpenReader) -> int:
    """Evaluate and write the report; returns the exit code.

    Raises:
        DialogueError: If something given is wrong, missing or fails.
    """
    from dialogue.empathy.evaluation import evaluate
    from dialogue.empathy.journal import Journal
    from dialogue.empathy.report import write_report

    request = _request(args, _exchanges(args))
    journal = Journal(args.out / "journal.jsonl")
    judge = _judge(args)  # reached before hours of work
    instruments = _instruments(args, request, open_reader, judge)
    result = evaluate(request, instruments, journal, _bar)
    for path in write_report(result, args.out):
        print(f"Wrote {path}")
    return 0


def _exchanges(args: argparse.Namespace) -> list[Exchange]:
    from dialogue.empathy.conversations import load_exchanges
    from dialogue.empathy.evaluation import sampled

    root = args.data or os.environ.get("ATTUNE_DATA")
    found = load_exchanges(args.conversations, data=Path(root) if root else None, cut=args.turn)
    return sampled(found, args.limit)


def _request(args: argparse.Namespace, exchanges: Sequence[Exchange]) -> Request:
    from dialogue.empathy.evaluation import Request
    from dialogue.empathy.responses import read_responses

    ids = [exchange.id for exchange in exchanges]
    systems = read_responses(args.responses, ids) if args.responses else {}
    wanted = args.arms if args.arms is not None else "" if systems else ARMS
    arms = [name.strip() for name in wanted.split(",") if name.strip()]
    return Request(
        source=Path(args.conversations).name,
        exchanges=exchanges,
        arms=_known(arms),
        systems=systems,
        seed=args.seed,
        resamples=args.resamples,
        omit_texts=args.omit_texts,
    )


def _known(arms: Sequence[str]) -> Sequence[str]:
    """Refuse an unknown arm before any model is loaded."""
    from dialogue.empathy.arms import Arm
    from dialogue.errors import InputError

    unknown = [arm for arm in arms if arm not in get_args(Arm)]
    if unknown:
        raise InputError(f"Expected arms out of {ARMS}, got {unknown[0]!r}.")
    return arms


def _judge(args: argparse.Namespace) -> Judge | None:
    from dialogue.empathy.judge import load_judge

    return load_judge(args.judge, args.judge_samples) if args.judge else None


def _instruments(
    args: argparse.Namespace, request: Request, open_reader: OpenReader, judge: Judge | None
) -> Instruments:
    from dialogue.empathy.evaluation import Instruments
    from dialogue.empathy.generation import speaker_of
    from dialogue.empathy.responses import read_labels
    from dialogue.models.base import load_model, pick_device

    labels = read_labels(args.judge_labels) if args.judge_labels else []
    scorer, name = _scorer(args)
    speaker = None
    if request.arms:
        speaker = speaker_of(load_model(args.model, device=args.device, seed=args.seed))
    bert = (args.bertscore, pick_device(args.device)) if args.bertscore else None
    return Instruments(open_reader(args.device), scorer, name, speaker, judge, labels, bert)


def _scorer(args: argparse.Namespace) -> tuple[EmpathyScorer, str]:
    """Load a scorer, and name it by its weights."""
    from dialogue.empathy import scorer as scorers

    scorer = scorers.load_scorer(args.scorer, args.device)
    folder = Path(args.scorer or scorers.WEIGHTS)
    files = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files]
    name = Path(args.scorer).name if folder.is_dir() and args.scorer else args.scorer or "bundled"
    return scorer, f"{name} (sha256 of weights {', '.join(digests) or 'unknown'})"


def _bar(items: Sequence[Any], what: str) -> Iterable[Any]:
    from tqdm import tqdm

    shown: Iterable[Any] = tqdm(items, desc=what, mininterval=1)
    return shown
