"""Serves the page first and loads the models then, so that the page is there at once."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from concurrent.futures import Future

import uvicorn

from integration.pipeline import Parts
from integration.settings import Settings, load_in_background
from ui.app import build_app
from ui.guard import LOCAL_NAMES
from ui.media import MAX_MESSAGE_BYTES

__all__ = ["serve"]

GOODBYE_S = 2


def serve(
    settings: Settings,
    listener: socket.socket,
    announce: Callable[[], None],
    public_name: str | None = None,
) -> None:
    """Serve until the process is told to end.

    Args:
        settings: Which models to load.
        listener: A bound socket.
        announce: Called once the page can be opened.
        public_name: Name by which a proxy on this machine serves the page, if any does.

    Raises:
        EmotionError: If the recogniser cannot be loaded; the server has ended by then.
        DialogueError: If the dialogue model cannot be loaded.
        IntegrationError: If the speech recognition cannot be loaded.
    """
    loaded: Future[Parts] = Future()
    config = uvicorn.Config(
        build_app(loaded, words_go_to=settings.words_go_to, hosts=_hosts(listener, public_name)),
        log_level="warning",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # pictures are packed already
        timeout_graceful_shutdown=GOODBYE_S,
    )

    def begin() -> None:
        announce()
        load_in_background(settings, loaded)

    server = _Server(config, begin)
    loaded.add_done_callback(server.end_on_failure)
    try:
        server.run(sockets=[listener])
    finally:
        _close(loaded)
    if loaded.done():
        loaded.result()


def _hosts(listener: socket.socket, public_name: str | None) -> frozenset[str] | None:
    # To an address of this machine alone no other name leads honestly, but that of a proxy.
    address = ipaddress.ip_address(listener.getsockname()[0])
    if not address.is_loopback:
        return None
    return LOCAL_NAMES.union({str(address)}, {public_name.lower()} if public_name else ())


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    def end_on_failure(self, loaded: Future[Parts]) -> None:
        self.should_exit |= loaded.exception() is not None


def _close(loaded: Future[Parts]) -> None:
    if loaded.done() and loaded.exception() is None:
        loaded.result().transcriber.close()
