"""Any server that speaks OpenAI's chat completions: vLLM, transformers serve, llama.cpp, Ollama."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, Final, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from dialogue.affect import UserAffect
from dialogue.conditioning import condition
from dialogue.conversation import Message, as_messages
from dialogue.errors import ModelError
from dialogue.persona import PERSONA

__all__ = ["RemoteModel", "RemoteSettings"]

KEY_VARIABLE: Final = "ATTUNE_API_KEY"
"""The environment is the only place a key is taken from."""
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class RemoteSettings:
    """How a server is asked.

    Attributes:
        temperature: Of the softmax.
        most_tokens: Longest answer.
        timeout_s: Longest silence of the server.
        tries: How often an answer that has not begun is asked for.
        first_wait_s: Before the second try; doubled each time.
    """

    temperature: float = 0.7
    most_tokens: int = 160
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
        return self._answer(condition(taken, affect), cancel or threading.Event())

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
        try:
            with self._open("/chat/completions", asked) as response:
                for piece in _pieces(response):
                    if cancel.is_set():
                        return
                    yield piece
        except (OSError, HTTPException, ValueError) as error:
            raise ModelError(f"Expected an answer of {self._url}, got {error!r}.") from error

    def _first_model(self) -> str:
        with self._open("/models", None) as response:
            try:
                return str(json.load(response)["data"][0]["id"])
            except (ValueError, LookupError, TypeError) as error:
                raise ModelError(f"Expected a list of models at {self._url}/models.") from error

    def _open(self, path: str, body: Mapping[str, Any] | None) -> HTTPResponse:
        for number in range(1, self._settings.tries + 1):
            try:
                return cast(
                    HTTPResponse,
                    urlopen(self._request(path, body), timeout=self._settings.timeout_s),
                )
            except OSError as error:
                if number == self._settings.tries or not _may_pass(error):
                    raise ModelError(f"Expected an answer of {self._url}, got {error}.") from error
            self._wait(self._settings.first_wait_s * 2 ** (number - 1))
        raise ModelError(f"Expected at least one try, got {self._settings.tries}.")

    def _request(self, path: str, body: Mapping[str, Any] | None) -> Request:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        return Request(f"{self._url}{path}", data, headers)


def _may_pass(error: OSError) -> bool:
    return error.code in _PASSING if isinstance(error, HTTPError) else True


def _pieces(response: HTTPResponse) -> Iterator[str]:
    """Read server-sent events: lines of `data: {…}`, the last `data: [DONE]`."""
    for line in response:
        field, _, value = line.decode().strip().partition(":")
        if field != "data":
            continue
        if value.strip() == "[DONE]":
            return
        for choice in json.loads(value).get("choices", []):
            if piece := choice.get("delta", {}).get("content"):
                yield piece
