"""What stands before every route: Gradio brings many that this page never asks for."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.handlers import same_origin

__all__ = ["POLICY", "Guard"]

PAGES: Final = frozenset(
    {"/", "/favicon.ico", "/manifest.json", "/theme.css", "/gradio_api/run/predict"}
)
FOLDERS: Final = (
    "/assets/",
    "/attune/",
    "/attune-export/",
    "/gradio_api/heartbeat/",
    "/media/",
    "/static/",
)

POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        # Gradio compiles what its buttons run in the browser, and starts from inline scripts
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""Content security policy: the browser itself refuses whatever would leave this server."""

HEADERS: Final = {
    "content-security-policy": POLICY,
    "permissions-policy": "camera=(self), microphone=(self), geolocation=(), display-capture=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

HASHED: Final = "/assets/"
KEEPS: Final = "private, max-age=31536000, immutable"
"""Gradio's sixty files have their hash in their names: a reload need not ask for them again."""

MAX_BODY_BYTES: Final = 64 * 1024
"""Of a request; the longest text that can be typed is far shorter."""

WRONG_GUESS_S: Final = 0.5
"""Wrong passwords are answered one after the other, each after this long."""

ASKS: Final = {"www-authenticate": 'Basic realm="Attune", charset="UTF-8"'}


class Guard:
    """Answers 404 for whatever the page does not use, and 403 for what a foreign page asks.

    Gradio's other routes write uploads to a disk, read files from it, and fetch addresses.

    Args:
        app: The server behind.
        hosts: Names it may be called by, so that a foreign name that was made to lead here is of
            no use; None for any.
        login: "name:password" that a browser must give (RFC 7617), or None for nobody. Sockets are
            not asked: each knows the token of a page that was.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str] | None = None, login: str | None = None
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._login = None if login is None else login.encode()
        self._guessing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        refusal = None if scope["type"] == "lifespan" else self._refusal(scope)
        if scope["type"] == "http":
            send = _dressed(send, scope["path"])
            if refusal is None and not self._knows_login(scope):
                refusal = await self._asking(scope)
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
        if not _is_short(headers):
            return PlainTextResponse("Too long.", 413)
        return None

    def _knows_login(self, scope: Scope) -> bool:
        if self._login is None:
            return True
        given = _basic(Headers(scope=scope).get("authorization", ""))
        return hmac.compare_digest(given, self._login)

    async def _asking(self, scope: Scope) -> PlainTextResponse:
        if "authorization" in Headers(scope=scope):
            async with self._guessing:
                await asyncio.sleep(WRONG_GUESS_S)
        return PlainTextResponse("A name and a password are needed.", 401, ASKS)


def _dressed(send: Send, path: str) -> Send:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            if path.startswith(HASHED) and message["status"] == 200:
                headers["cache-control"] = KEEPS
        await send(message)

    return dressed


def _is_short(headers: Headers) -> bool:
    """Whether a body says, as browsers do, how long it is, and is not too long."""
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not (length.isdecimal() and len(length) < 9):
        return False
    return int(length) <= MAX_BODY_BYTES


def _basic(authorization: str) -> bytes:
    """Read the "name:password" of an Authorization header; empty where it holds none."""
    kind, _, given = authorization.partition(" ")
    try:
        return base64.b64decode(given, validate=True) if kind.lower() == "basic" else b""
    except binascii.Error:
        return b""


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
