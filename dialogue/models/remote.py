"""Any server that speaks OpenAI's chat completions: vLLM, transformers serve, llama.cpp, Ollama."""

from __future__ import annotations

import json
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from itertools import chain
from typing import Any, Final, cast
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from dialogue.affect import UserAffect
from dialogue.conditioning import condition, lean_note
from dialogue.context import READ_ONLY_THE_END, fit
from dialogue.conversation import Message, as_messages
from dialogue.errors import ModelError
from dialogue.models.base import require
from dialogue.persona import PERSONA

__all__ = ["RemoteModel", "RemoteSettings"]

KEY_VARIABLE: Final = "ATTUNE_API_KEY"
"""The environment is the only place a key is taken from."""
CANCEL_CHECK_S: Final = 0.02
AT_ONCE: Final = 8
"""Answers of a batch that are asked for side by side."""
LONGEST_WAIT_S: Final = 30.0
"""Between two tries, whatever the server asks for."""
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class RemoteSettings:
    """How a server is asked.

    Attributes:
        temperature: Of the softmax.
        most_tokens: Longest answer.
        context_tokens: Most tokens of the talk that are sent, at about three letters a token.
        timeout_s: Longest silence of the server.
        tries: How often an answer that has not begun is asked for.
        first_wait_s: Before the second try; doubled each time, and as long as a server that is
            too busy asks for.

    Raises:
        ModelError: If a number is out of its range.
    """

    temperature: float = 0.7
    most_tokens: int = 160
    context_tokens: int = 4096
    timeout_s: float = 60.0
    tries: int = 3
    first_wait_s: float = 0.5

    def __post_init__(self) -> None:
        require("a temperature of at least 0", self.temperature, self.temperature >= 0)
        require("most_tokens of at least 1", self.most_tokens, self.most_tokens >= 1)
        require("context_tokens of at least 1", self.context_tokens, self.context_tokens >= 1)
        require("timeout_s above 0", self.timeout_s, self.timeout_s > 0)
        require("tries of at least 1", self.tries, self.tries >= 1)
        require("first_wait_s of at least 0", self.first_wait_s, self.first_wait_s >= 0)


def _wait(seconds: float, cancel: threading.Event) -> None:
    cancel.wait(seconds)


class RemoteModel:
    """A model behind a URL.

    Args:
        url: Up to and with the version, such as `http://127.0.0.1:8000/v1`.
        name: Of the model; None asks the server for its first.
        settings: How the server is asked.
        wait: Waits so many seconds, or until the answer is cancelled; a test gives its own.
        persona: Who answers, told in front of every talk.

    Raises:
        ModelError: If the URL holds a password, or nobody answers there.
    """

    def __init__(
        self,
        url: str,
        name: str | None = None,
        settings: RemoteSettings = RemoteSettings(),
        wait: Callable[[float, threading.Event], None] = _wait,
        persona: str = PERSONA,
    ) -> None:
        self._url = url.rstrip("/")
        if "@" in url:  # every error repeats the URL
            raise ModelError(
                f"Expected a key in {KEY_VARIABLE}, got a URL with a name or password."
            )
        self._settings = settings
        self._persona = persona
        self._wait = wait
        self._name = name or self._first_model()

    def stream(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[str]:
        """Yield the answer as it comes; see `DialogueModel.stream`."""
        said = as_messages(messages)
        fitted = fit(
            said, condition(said, affect, lean_note), self._settings.context_tokens, _count
        )
        line = _Line(cancel or threading.Event())
        opening = [READ_ONLY_THE_END] if fitted.cut else []
        return _read_beside(chain(opening, self._answer(fitted.messages, line)), line)

    def reply(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
    ) -> str:
        """Return the whole answer; see `DialogueModel.reply`."""
        return "".join(self.stream(messages, affect=affect))

    def reply_batch(self, talks: Sequence[Sequence[Message]]) -> list[str]:
        """Ask for several answers at once; see `dialogue.models.base.reply_batch`."""
        with ThreadPoolExecutor(AT_ONCE) as asking:
            return list(asking.map(self.reply, talks))

    def facts(self) -> dict[str, Any]:
        """Say which model this is; see `dialogue.models.base.facts_of`."""
        return {
            "kind": type(self).__name__,
            "server": self._url,
            "name": self._name,
            "decoding": asdict(self._settings),
            "persona": self._persona,
            "weights_sha256": None,  # a server does not show them
        }

    def _answer(self, messages: list[Message], line: _Line) -> Iterator[str]:
        asked = {
            "model": self._name,
            "messages": [m.to_dict() for m in (Message("system", self._persona), *messages)],
            "temperature": self._settings.temperature,
            "max_tokens": self._settings.most_tokens,
            "stream": True,
        }
        answered = False
        for piece in self._ask("/chat/completions", asked, line, _pieces):
            answered = True
            yield piece
        if not answered and not line.is_down:
            raise ModelError(f"Expected an answer of {self._url}, got one without words.")

    def _first_model(self) -> str:
        line = _Line(threading.Event())
        return next(self._ask("/models", None, line, _first_id))

    def _ask(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        line: _Line,
        read: Callable[[HTTPResponse], Iterator[str]],
    ) -> Iterator[str]:
        """Yield what is read, and try again where nothing came and the failure may pass."""
        for number in range(1, self._settings.tries + 1):
            begun = False
            try:
                with line.open(self._request(path, body), self._settings.timeout_s) as response:
                    for piece in read(response):
                        begun = True
                        yield piece
                return
            except (OSError, HTTPException, ValueError) as error:
                if isinstance(error, HTTPError):
                    error.close()
                last = begun or number == self._settings.tries or not _may_pass(error)
                if last and not line.is_down:
                    raise self._failure(error) from error
                pause_s = self._pause_s(number, error)
            if not line.is_down:
                self._wait(pause_s, line.cancel)
            if line.is_down:
                return

    def _pause_s(self, number: int, error: Exception) -> float:
        asked = error.headers.get("Retry-After", "") if isinstance(error, HTTPError) else ""
        doubled = self._settings.first_wait_s * 2.0 ** (number - 1)
        return min(LONGEST_WAIT_S, max(doubled, float(asked) if asked.isdecimal() else 0.0))

    def _failure(self, error: Exception) -> ModelError:
        return ModelError(f"Expected an answer of {self._url}, got {str(error) or repr(error)}.")

    def _request(self, path: str, body: Mapping[str, Any] | None) -> Request:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE, "").strip():
            if not (key.isascii() and key.isprintable()):  # http.client would repeat it in an error
                raise ModelError(f"Expected a key of plain letters in {KEY_VARIABLE}, got others.")
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        return Request(f"{self._url}{path}", data, headers)


# -- one connection an answer ---------------------------------------------------------------------


class _Line:
    """The connection of one answer, which another thread can hang up.

    Args:
        cancel: Set by whoever wants the answer no more.
    """

    def __init__(self, cancel: threading.Event) -> None:
        self.cancel = cancel
        self._hung_up = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    @property
    def is_down(self) -> bool:
        """Whether nobody listens any more."""
        return self._hung_up or self.cancel.is_set()

    def open(self, request: Request, timeout_s: float) -> HTTPResponse:
        """Send a request, and return the answer as it begins."""
        opener = build_opener(_NoRedirects, _Noting(self))
        return cast(HTTPResponse, opener.open(request, timeout=timeout_s))

    def take(self, connected: socket.socket) -> None:
        """Note the connection."""
        with self._lock:
            self._socket = connected
        if self.is_down:
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection at once: whoever reads from it finds its end."""
        with self._lock:
            self._hung_up = True
            if self._socket is not None:
                with suppress(OSError):  # it has ended by itself
                    self._socket.shutdown(socket.SHUT_RDWR)


class _PlainConnection(HTTPConnection):
    def __init__(self, line: _Line, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._line = line

    def connect(self) -> None:
        super().connect()
        self._line.take(self.sock)


class _SecureConnection(_PlainConnection, HTTPSConnection):
    """Notes its socket as the plain one does, once the other side has shown who it is."""


class _Noting(HTTPHandler, HTTPSHandler):
    """Opens connections that a line can hang up."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_PlainConnection, self._line), req)

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_SecureConnection, self._line), req)


class _NoRedirects(HTTPRedirectHandler):
    """Follows nobody elsewhere: the key is meant for the host that was named."""

    def redirect_request(self, *_: Any) -> None:
        """Return no new request, so that the answer stays the error it is."""


def _read_beside(pieces: Iterator[str], line: _Line) -> Iterator[str]:
    """Read in a thread, so that a silent server keeps nobody who cancelled waiting."""
    read: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
    done = threading.Event()
    for work, args in ((_read, (pieces, read)), (_watch, (line, read, done))):
        threading.Thread(target=work, args=args, daemon=True).start()
    try:
        while (piece := read.get()) is not None and not line.is_down:
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        done.set()
        line.hang_up()


def _read(pieces: Iterator[str], read: queue.SimpleQueue[str | Exception | None]) -> None:
    try:
        for piece in pieces:
            read.put(piece)
    except Exception as error:
        read.put(error)
    read.put(None)


def _watch(
    line: _Line, read: queue.SimpleQueue[str | Exception | None], done: threading.Event
) -> None:
    """Let go of the connection as soon as the answer is cancelled."""
    while not done.wait(CANCEL_CHECK_S):
        if line.cancel.is_set():
            line.hang_up()
            read.put(None)
            return


# -- what comes over it ---------------------------------------------------------------------------


def _count(text: str) -> int:
    return len(text) // 3 + 1


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HTTPError):
        return error.code in _PASSING
    return isinstance(error, OSError)


def _first_id(response: HTTPResponse) -> Iterator[str]:
    try:
        yield str(json.load(response)["data"][0]["id"])
    except (LookupError, TypeError) as error:
        raise ValueError("no list of models") from error


def _pieces(response: HTTPResponse) -> Iterator[str]:
    """Read server-sent events: lines of `data: {…}`, the last `data: [DONE]`."""
    for line in response:
        field, _, value = line.decode().strip().partition(":")
        if field != "data":
            continue
        if value.strip() == "[DONE]":
            return
        yield from _words(json.loads(value))


def _words(event: Any) -> Iterator[str]:
    if not isinstance(event, dict):
        raise ValueError(f"an event of type {type(event).__name__}")
    if error := event.get("error"):
        said = error.get("message", error) if isinstance(error, dict) else error
        raise ModelError(f"Expected an answer of the server, got its error {str(said)[:200]!r}.")
    for choice in event.get("choices") or []:
        if piece := (choice.get("delta") or {}).get("content"):
            yield piece
