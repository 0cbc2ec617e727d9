"""`attune`: the chat, and the commands of the other packages."""

from __future__ import annotations

import argparse
import contextlib
import io
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dialogue.cli
import emotion.cli
from dialogue.errors import DialogueError
from emotion.errors import EmotionError
from integration.errors import IntegrationError

if TYPE_CHECKING:
    from integration.settings import Settings

__all__ = ["main", "parser"]

USER_ERRORS = (EmotionError, DialogueError, IntegrationError)
LOOPBACK = "127.0.0.1"
OPEN_TO_OTHERS = (
    "Everybody who reaches this address can talk here, and browsers give camera and microphone "
    "only to a page on the same machine or behind HTTPS."
)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # only here: it takes as long as all the rest

        print(f"attune {version('attune')}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Build the parser of `attune` with every package's commands."""
    attune = argparse.ArgumentParser(
        prog="attune",
        description="Reads emotion from face and voice, and answers with empathy.",
    )
    attune.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = attune.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_chat(commands)
    emotion.cli.add_commands(commands)
    dialogue.cli.add_commands(commands)
    return attune


def _add_chat(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    chat = commands.add_parser(
        "chat",
        help="talk with camera, microphone and keyboard in the browser",
        description="Serve the video chat as a page for the browser of this machine.",
    )
    chat.add_argument(
        "--model", metavar="HUB_ID|FOLDER|URL", help="dialogue model (default: the bundled one)"
    )
    chat.add_argument(
        "--asr",
        metavar="HUB_ID|FOLDER",
        help="speech recognition: a Whisper-type model (default: pocketsphinx, offline)",
    )
    chat.add_argument(
        "--emotion-weights", metavar="FOLDER", type=Path, help="recogniser (default: bundled)"
    )
    chat.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    chat.add_argument("--host", default=LOOPBACK, help="address to serve on (default: %(default)s)")
    chat.add_argument("--port", type=int, default=7860, help="0 for any (default: %(default)s)")
    chat.add_argument(
        "--public-name", metavar="NAME", help="name by which a proxy on this machine serves it"
    )
    chat.set_defaults(run=_chat)


def _chat(args: argparse.Namespace) -> int:
    from integration.settings import Settings

    threads = max(1, (os.cpu_count() or 2) // 2)  # face and answer are computed side by side
    settings = Settings(args.model, args.asr, args.emotion_weights, args.device, threads)
    with _listening(args.host, args.port) as listener:
        return _serve(settings, listener, args.public_name)


def _listening(host: str, port: int) -> socket.socket:
    """Take the port before anything is loaded, so that a taken one is known at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise IntegrationError(
            f"Expected a free address to serve on, got {host}:{port} ({reason}); "
            "choose another with --port."
        ) from error
    return listener


def _serve(settings: Settings, listener: socket.socket, public_name: str | None) -> int:
    print("Starting …", flush=True)
    from ui.server import serve  # takes two seconds

    if not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        print(OPEN_TO_OTHERS, flush=True)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    # a server that was still starting ends without an exception
    with contextlib.suppress(KeyboardInterrupt):
        serve(
            settings,
            listener,
            announce=lambda: print(
                f"Attune is at http://{shown}:{port}  (Ctrl+C ends it)", flush=True
            ),
            public_name=public_name,
        )
    print("\nEverything said is deleted. Goodbye.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `attune`; a user's mistake becomes one sentence and exit code 2.

    Args:
        arguments: Without the program's name; those of the process by default.
    """
    args = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be text
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has enough; Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except USER_ERRORS as error:
        print(f"attune: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
