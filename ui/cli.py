"""`attune`: the chat, and the commands of the other packages."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dialogue.cli
import dialogue.empathy.cli
import emotion.cli
from dialogue.errors import DialogueError
from emotion.errors import EmotionError
from integration.errors import IntegrationError

if TYPE_CHECKING:
    from dialogue.empathy.arms import EmotionReader
    from integration.settings import Settings
    from ui.access import Access

__all__ = ["main", "parser"]

USER_ERRORS = (EmotionError, DialogueError, IntegrationError)
LOOPBACK = "127.0.0.1"
NOT_SECRET = (
    "Without --tls-cert the password and all that is said travel in the clear, and browsers give "
    "camera and microphone only to a page on the same machine."
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
    dialogue.empathy.cli.add_evaluate(commands, _emotion_reader)
    return attune


def _emotion_reader(device: str) -> EmotionReader:
    from integration.evaluation import RecognizerReader

    return RecognizerReader.load(device)


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
    chat.add_argument(
        "--quantize", choices=("int8",), help="eight-bit weights for --model on a processor"
    )
    chat.add_argument(
        "--region", metavar="CODE", help="name this country's lines of help in danger, as US or DE"
    )
    chat.add_argument("--host", default=LOOPBACK, help="address to serve on (default: %(default)s)")
    chat.add_argument("--port", type=int, default=7860, help="0 for any (default: %(default)s)")
    chat.add_argument(
        "--public-name", metavar="NAME", help="name by which a proxy on this machine serves it"
    )
    chat.add_argument(
        "--auth",
        metavar="NAME[:PASSWORD]",
        help="ask for a login; without PASSWORD one is made up and printed",
    )
    chat.add_argument("--tls-cert", metavar="FILE", type=Path, help="serve HTTPS with this (PEM)")
    chat.add_argument("--tls-key", metavar="FILE", type=Path, help="its private key, where apart")
    chat.add_argument(
        "--talks", metavar="N", type=int, default=8, help="most at once (default: %(default)s)"
    )
    chat.set_defaults(run=_chat)


def _chat(args: argparse.Namespace) -> int:
    from integration.settings import Settings

    threads = max(1, (os.cpu_count() or 2) // 2)  # face and answer are computed side by side
    settings = Settings(
        args.model,
        args.asr,
        args.emotion_weights,
        args.device,
        threads,
        args.quantize,
        args.region,
    )
    access = _access(args)
    with _listening(args.host, args.port) as listener:
        return _serve(settings, listener, access)


def _access(args: argparse.Namespace) -> Access:
    from ui.access import Access, login_of

    return Access(
        host=args.host,
        login=None if args.auth is None else login_of(args.auth),
        certificate=args.tls_cert,
        key=args.tls_key,
        public_name=args.public_name,
        talks=args.talks,
    )


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


def _serve(settings: Settings, listener: socket.socket, access: Access) -> int:
    print("Starting …", flush=True)
    from ui.server import serve  # takes two seconds

    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    address = f"{access.scheme}://{shown}:{port}"

    def announce() -> None:
        if not access.is_local and access.certificate is None:
            print(NOT_SECRET)
        if access.login is not None:
            print(f"The login is {access.login}")
        print(f"Attune is at {address}  (Ctrl+C ends it)", flush=True)

    # a server that was still starting ends without an exception
    with contextlib.suppress(KeyboardInterrupt):
        serve(settings, listener, announce, access)
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
