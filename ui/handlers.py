"""From the page to the pipeline and back: what its buttons do, and its one socket.

The socket carries pictures, sound and switches in, and what is to be shown out. Handlers append
and return; nothing here waits for a model.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import WebSocket, WebSocketDisconnect

from integration.errors import IntegrationError
from integration.events import Frame
from integration.pipeline import Pipeline
from integration.session import Session
from ui.media import read_media
from ui.rooms import GoneError, Rooms, Visit
from ui.texts import CANNOT_OPEN, SWITCHES
from ui.view import Page, render

__all__ = ["MAX_TEXT", "Screen", "obey", "same_origin", "serve_socket", "take_media"]

_LOG = logging.getLogger(__name__)

REFRESH_S: Final = 0.08
"""How often the page is brought up to date, when there is something new."""

PROMPT_S: Final = 0.02
"""How often what the agent's voice must follow at once is looked at."""

LOOK_S: Final = 0.25
"""How often a page with nothing new is asked whether it is still the newest."""

MAX_TEXT: Final = 2000
"""Longest typed turn, in characters."""

MAX_ORDER_BYTES: Final = 4 * MAX_TEXT
UNKNOWN_TOKEN: Final = 4404
FOREIGN_ORIGIN: Final = 4403
ELSEWHERE: Final = 4409
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
    connection, and so does another page that takes the talk over, such as a copy of the tab.
    """
    await socket.accept()
    if not same_origin(socket.headers):
        await socket.close(FOREIGN_ORIGIN)
        return
    try:
        visit = rooms.enter(token)
    except GoneError:
        await socket.close(UNKNOWN_TOKEN)
        return
    visit.pipeline.spoke(False)  # a page that was reloaded, or lost its way here, fell silent
    showing = asyncio.create_task(_show(socket, rooms, visit))
    try:
        await _listen(socket, rooms, visit)
    except WebSocketDisconnect:
        pass  # the page has gone
    except IntegrationError:
        await _close(socket, NOT_UNDERSTOOD)
    finally:
        showing.cancel()
        rooms.leave(visit)


async def _listen(socket: WebSocket, rooms: Rooms, visit: Visit) -> None:
    # a page that comes back counts its media time from 0 again
    offset_s = visit.pipeline.media_end_s
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if not rooms.is_newest(visit):
            continue
        if message.get("bytes") is not None:
            take_media(visit.pipeline, message["bytes"], offset_s)
        else:
            obey(visit.pipeline, message.get("text") or "")


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
    """Do what the page's script says: `{"kind": "switch" | "correct" | "edit" | …, …}`.

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
            case "edit":
                _edit(pipeline, int(order["turn"]), order["text"])
            case "spoke":
                pipeline.spoke(bool(order["on"]))
            case "skipped":
                pipeline.skip(int(order["frames"]))
            case kind:
                raise IntegrationError(
                    f"Expected an order to switch, correct, edit, speak or skip, got {kind!r}."
                )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IntegrationError("Expected an order this page knows, got another message.") from error


def _switch(pipeline: Pipeline, order: Mapping[str, Any]) -> None:
    channel = order["channel"]
    if channel not in SWITCHES:
        raise IntegrationError(f"Expected one of {', '.join(SWITCHES)}, got {channel!r}.")
    problem = order.get("problem")
    reason = CANNOT_OPEN[problem][channel] if problem else None
    pipeline.switch(channel, bool(order["on"]), reason)


def _edit(pipeline: Pipeline, turn: int, text: Any) -> None:
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise IntegrationError(f"Expected words of at most {MAX_TEXT} characters, got others.")
    if text.strip():  # without any words the transcript stays as it was
        pipeline.edit(turn, text.encode(errors="replace").decode())  # half a character is none


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
        speech = session.speech
        change = {
            "screen": page.screen,
            "devices": dict(page.devices),
            "answering": page.answering,
            "order": list(page.turns),
            "fragments": _changed(before.fragments if before else {}, page.fragments),
            "turns": _changed(before.turns if before else {}, page.turns),
            "speech": None if speech is None else asdict(speech),
            "ducked": session.ducked,
            "hushed_turn": session.hushed_turn,
            "hearing": session.hearing,
        }
        return json.dumps(change)


def _changed(before: Mapping[Any, str], after: Mapping[Any, str]) -> dict[Any, str]:
    return {key: html for key, html in after.items() if before.get(key) != html}


async def _show(socket: WebSocket, rooms: Rooms, visit: Visit) -> None:
    screen = Screen()
    changed = asyncio.Event()
    unwatch = visit.pipeline.watch(_from_any_thread(changed))
    try:
        while rooms.is_newest(visit):
            changed.clear()
            shown = visit.pipeline.session
            if not await _shown(socket, screen, shown):
                return
            await _pause(changed, visit.pipeline, shown)
    finally:
        unwatch()
    await _close(socket, ELSEWHERE)


def _from_any_thread(event: asyncio.Event) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def tell() -> None:
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(event.set)

    return tell


async def _pause(changed: asyncio.Event, pipeline: Pipeline, shown: Session) -> None:
    """Wait for something new; for what the voice must follow, no longer than that takes."""
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(changed.wait(), LOOK_S)
    for _ in range(round(REFRESH_S / PROMPT_S)):
        await asyncio.sleep(PROMPT_S)
        if _voice(pipeline.session) != _voice(shown):
            return


def _voice(session: Session) -> tuple[bool, int | None]:
    return session.ducked, session.hushed_turn


async def _shown(socket: WebSocket, screen: Screen, session: Session) -> bool:
    """Bring the page up to date; False where it has gone or cannot be drawn."""
    try:
        change = screen.update(session)
    except Exception as error:
        # else the page would stand still and not say why; the message may quote the talk
        _LOG.error("The page could not be drawn (%s)", type(error).__name__)
        await _close(socket, NOT_DRAWN)
        return False
    return change is None or await _sent(socket, change)


async def _sent(socket: WebSocket, change: str) -> bool:
    try:
        await socket.send_text(change)
    except (WebSocketDisconnect, RuntimeError):
        return False  # the page has gone, which the listening side learns as well
    return True


async def _close(socket: WebSocket, code: int) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # the page has gone already
        await socket.close(code)
