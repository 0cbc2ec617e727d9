"""From the page to the pipeline and back: what its buttons do, and its one socket.

The socket carries pictures, sound and switches in, and what is to be shown out. Handlers append
and return; nothing here waits for a model.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import WebSocket, WebSocketDisconnect

from integration.errors import IntegrationError
from integration.events import Frame
from integration.pipeline import Pipeline
from integration.session import Session
from ui.media import read_media
from ui.rooms import GoneError, Rooms
from ui.texts import CANNOT_OPEN, SWITCHES
from ui.view import Page, render

__all__ = ["MAX_TEXT", "Screen", "obey", "same_origin", "serve_socket", "take_media"]

_LOG = logging.getLogger(__name__)

REFRESH_S: Final = 0.08
"""How often the page is brought up to date, when there is something new."""

MAX_TEXT: Final = 2000
"""Longest typed turn, in characters."""

MAX_ORDER_BYTES: Final = 1024
UNKNOWN_TOKEN: Final = 4404
FOREIGN_ORIGIN: Final = 4403
NOT_UNDERSTOOD: Final = 1008
NOT_DRAWN: Final = 1011


def same_origin(headers: Mapping[str, str]) -> bool:
    """Say whether a page of this very server asks, not a foreign one."""
    try:
        origin = urlsplit(headers.get("origin", ""))
    except ValueError:
        return False
    return bool(origin.netloc) and origin.netloc == headers.get("host")


async def serve_socket(socket: WebSocket, rooms: Rooms, token: str) -> None:
    """Serve one page until it goes.

    A foreign page and an unknown token are refused; a message that is not understood ends the
    connection.
    """
    await socket.accept()
    if not same_origin(socket.headers):
        await socket.close(FOREIGN_ORIGIN)
        return
    try:
        pipeline = rooms.enter(token)
    except GoneError:
        await socket.close(UNKNOWN_TOKEN)
        return
    showing = asyncio.create_task(_show(socket, pipeline))
    try:
        await _listen(socket, pipeline)
    except WebSocketDisconnect:
        pass  # the page has gone
    except IntegrationError:
        await socket.close(NOT_UNDERSTOOD)
    finally:
        showing.cancel()
        rooms.leave(token)


async def _listen(socket: WebSocket, pipeline: Pipeline) -> None:
    # a page that comes back counts its media time from 0 again
    offset_s = pipeline.media_end_s
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("bytes") is not None:
            take_media(pipeline, message["bytes"], offset_s)
        else:
            obey(pipeline, message.get("text") or "")


def take_media(pipeline: Pipeline, message: bytes, offset_s: float) -> None:
    """Pass a picture or sound on.

    Raises:
        IntegrationError: If it is neither.
    """
    media = read_media(message)
    time_s = media.time_s + offset_s
    if isinstance(media, Frame):
        pipeline.push_frame(time_s, media.rgb)
    else:
        pipeline.push_audio(time_s, media.samples, media.sample_rate_hz)


def obey(pipeline: Pipeline, message: str) -> None:
    """Do what the page's own switches say: `{"kind": "switch" | "correct", …}`.

    Raises:
        IntegrationError: If the order is not understood.
    """
    if len(message) > MAX_ORDER_BYTES:
        raise IntegrationError(
            f"Expected an order of {MAX_ORDER_BYTES} characters, got {len(message)}."
        )
    try:
        order = json.loads(message)
        match order["kind"]:
            case "switch":
                _switch(pipeline, order)
            case "correct":
                pipeline.correct(int(order["turn"]), order["emotion"])
            case kind:
                raise IntegrationError(f"Expected an order to switch or correct, got {kind!r}.")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IntegrationError("Expected an order this page knows, got another message.") from error


def _switch(pipeline: Pipeline, order: Mapping[str, Any]) -> None:
    channel = order["channel"]
    if channel not in SWITCHES:
        raise IntegrationError(f"Expected one of {', '.join(SWITCHES)}, got {channel!r}.")
    problem = order.get("problem")
    reason = CANNOT_OPEN[problem][channel] if problem else None
    pipeline.switch(channel, bool(order["on"]), reason)


class Screen:
    """Remembers what a browser shows, so that only what has changed is sent."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._page: Page | None = None

    def update(self, session: Session) -> str | None:
        """Return what to change, as JSON; None where nothing has changed."""
        if session is self._session:
            return None
        before, shown = self._page, self._session
        page = render(session, (shown, before) if shown and before else None)
        self._session, self._page = session, page
        change = {
            "screen": page.screen,
            "devices": dict(page.devices),
            "answering": page.answering,
            "order": list(page.turns),
            "fragments": _changed(before.fragments if before else {}, page.fragments),
            "turns": _changed(before.turns if before else {}, page.turns),
        }
        return json.dumps(change)


def _changed(before: Mapping[Any, str], after: Mapping[Any, str]) -> dict[Any, str]:
    return {key: html for key, html in after.items() if before.get(key) != html}


async def _show(socket: WebSocket, pipeline: Pipeline) -> None:
    screen = Screen()
    while True:
        try:
            change = screen.update(pipeline.session)
        except Exception as error:
            # else the page would stand still and not say why; the message may quote the talk
            _LOG.error("The page could not be drawn (%s)", type(error).__name__)
            await socket.close(NOT_DRAWN)
            return
        if change is not None and not await _sent(socket, change):
            return
        await asyncio.sleep(REFRESH_S)


async def _sent(socket: WebSocket, change: str) -> bool:
    try:
        await socket.send_text(change)
    except (WebSocketDisconnect, RuntimeError):
        return False  # the page has gone, which the listening side learns as well
    return True
