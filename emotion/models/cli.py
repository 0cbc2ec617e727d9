"""`attune convert`: published weights into checkpoints of this package."""

from __future__ import annotations

import argparse
from pathlib import Path

from emotion.arguments import check_writable

__all__ = ["add_commands"]

KINDS = ("vgg-face", "alexnet", "resnet50", "inception-v3", "inception-resnet-v1", "soundnet")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `convert` to the parser of `attune`."""
    convert = commands.add_parser(
        "convert",
        help="bring weights that others published into a checkpoint",
        description="Read a published PyTorch file once, tensors only, check every name and shape, "
        "and write a checkpoint that training can start from. Files that would run code are "
        "refused.",
    )
    convert.add_argument("kind", choices=KINDS)
    convert.add_argument("file", metavar="FILE", help="the file, or hub:OWNER/REPOSITORY/FILE")
    convert.add_argument("out", metavar="OUT", help="folder of the checkpoint")
    convert.add_argument(
        "--layer",
        help="whose output is the vector: pool5, fc6 or fc7 of vgg-face; conv3 to conv7 or pool5 "
        "of soundnet",
    )
    convert.set_defaults(run=_convert)


def _convert(args: argparse.Namespace) -> int:
    from emotion.models.published import convert, with_layer

    check_writable(Path(args.out) / "config.json")
    model = convert(args.kind, args.file, args.out, config=with_layer(args.kind, args.layer))
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"{args.out}: {type(model).__name__}, {weights:,} weights")
    return 0
