"""What stands before every route: Gradio brings many that this page never asks for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.handlers import same_origin

__all__ = ["LOCAL_NAMES", "Guard"]

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})

PAGES: Final = frozenset(
    {"/", "/favicon.ico", "/manifest.json", "/theme.css", "/gradio_api/run/predict"}
)
FOLDERS: Final = ("/assets/", "/attune/", "/gradio_api/heartbeat/", "/media/", "/static/")


class Guard:
    """Answers 404 for whatever the page does not use, and 403 for what a foreign page asks.

    Gradio's other routes write uploads to a disk, read files from it, and fetch addresses.

    Args:
        app: The server behind.
        hosts: Names it may be called by, so that a foreign name that was made to lead here is of
            no use; None for any.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None = None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        refusal = None if scope["type"] == "lifespan" else self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._hosts is not None and _name(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse(
                "Not a name of this server; see attune chat --public-name.", 403
            )
        if path not in PAGES and not path.startswith(FOLDERS):
            return PlainTextResponse("Not found.", 404)
        # browsers name the origin of every POST; a socket is asked for it by its own handler
        if scope.get("method", "GET") not in ("GET", "HEAD") and not same_origin(headers):
            return PlainTextResponse("Not a page of this server.", 403)
        return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
