"""Any server that speaks OpenAI's chat completions: vLLM, transformers serve, llama.cpp, Ollama."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, Final, cast
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from dialogue.affect import UserAffect
from dialogue.conditioning import condition
from dialogue.conversation import Message, as_messages, trim
from dialogue.errors import ModelError
from dialogue.persona import PERSONA

__all__ = ["RemoteModel", "RemoteSettings"]

KEY_VARIABLE: Final = "ATTUNE_API_KEY"
"""The environment is the only place a key is taken from."""
_CANCEL_CHECK_S: Final = 0.05
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
        first_wait_s: Before the second try; doubled each time.
    """

    temperature: float = 0.7
    most_tokens: int = 160
    context_tokens: int = 2048
    timeout_s: float = 60.0
    tries: int = 3
    first_wait_s: float = 0.5


class RemoteModel:
    """A model behind a URL.

    Args:
        url: Up to and with the version, such as `http://127.0.0.1:8000/v1`.
        name: Of the model; None asks the server for its first.
        settings: How the server is asked.
        wait: Waits so many seconds; a test gives its own.
    """

    def __init__(
        self,
        url: str,
        name: str | None = None,
        settings: RemoteSettings = RemoteSettings(),
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        self._settings = settings
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
        taken = as_messages(messages)
        kept = trim(condition(taken, affect), self._settings.context_tokens, _count)
        cancel = cancel or threading.Event()
        return _read_beside(self._answer(kept, cancel), cancel)

    def reply(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        affect: UserAffect | None = None,
    ) -> str:
        """Return the whole answer; see `DialogueModel.reply`."""
        return "".join(self.stream(messages, affect=affect))

    def _answer(self, messages: list[Message], cancel: threading.Event) -> Iterator[str]:
        asked = {
            "model": self._name,
            "messages": [m.to_dict() for m in (Message("system", PERSONA), *messages)],
            "temperature": self._settings.temperature,
            "max_tokens": self._settings.most_tokens,
            "stream": True,
        }
        answered = False
        try:
            with self._open("/chat/completions", asked, cancel) as response:
                for piece in _pieces(response):
                    if cancel.is_set():
                        return
                    answered = True
                    yield piece
        except _CancelledError:
            return
        except (OSError, HTTPException, ValueError) as error:
            raise ModelError(f"Expected an answer of {self._url}, got {error!r}.") from error
        if not answered and not cancel.is_set():
            raise ModelError(f"Expected an answer of {self._url}, got one without words.")

    def _first_model(self) -> str:
        with self._open("/models", None, threading.Event()) as response:
            try:
                return str(json.load(response)["data"][0]["id"])
            except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
                raise ModelError(f"Expected a list of models at {self._url}/models.") from error

    def _open(
        self, path: str, body: Mapping[str, Any] | None, cancel: threading.Event
    ) -> HTTPResponse:
        for number in range(1, self._settings.tries + 1):
            if cancel.is_set():
                raise _CancelledError
            try:
                request = self._request(path, body)
                return cast(HTTPResponse, _OPENER.open(request, timeout=self._settings.timeout_s))
            except (OSError, HTTPException, ValueError) as error:
                if number == self._settings.tries or not _may_pass(error):
                    raise ModelError(f"Expected an answer of {self._url}, got {error}.") from error
            self._wait(self._settings.first_wait_s * 2 ** (number - 1))
        raise ModelError(f"Expected at least one try, got {self._settings.tries}.")

    def _request(self, path: str, body: Mapping[str, Any] | None) -> Request:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE, "").strip():
            if not (key.isascii() and key.isprintable()):  # http.client would repeat it in an error
                raise ModelError(f"Expected a key of plain letters in {KEY_VARIABLE}, got others.")
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        return Request(f"{self._url}{path}", data, headers)


def _read_beside(pieces: Iterator[str], cancel: threading.Event) -> Iterator[str]:
    """Read in a thread, so that a silent server keeps nobody who cancelled waiting."""
    read: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
    gone = threading.Event()
    reader = threading.Thread(target=_read, args=(pieces, read, gone), daemon=True)
    reader.start()
    try:
        while not cancel.is_set():
            try:
                piece = read.get(timeout=_CANCEL_CHECK_S)
            except queue.Empty:
                continue
            if isinstance(piece, Exception):
                raise piece
            if piece is None or cancel.is_set():
                return
            yield piece
    finally:
        gone.set()


def _read(
    pieces: Iterator[str], read: queue.SimpleQueue[str | Exception | None], gone: threading.Event
) -> None:
    try:
        for piece in pieces:
            if gone.is_set():
                break  # the response is closed with its generator
            read.put(piece)
    except Exception as error:
        read.put(error)
    read.put(None)


class _CancelledError(Exception):
    """The reader wants no answer any more."""


class _NoRedirects(HTTPRedirectHandler):
    """Follows nobody elsewhere: the key is meant for the host that was named."""

    def redirect_request(self, *_: Any) -> None:
        """Return no new request, so that the answer stays the error it is."""


_OPENER: Final = build_opener(_NoRedirects)


def _count(text: str) -> int:
    return len(text) // 3 + 1


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HTTPError):
        return error.code in _PASSING
    return isinstance(error, OSError)


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
