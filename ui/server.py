"""Serves the page first and loads the models then, so that the page is there at once."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future

import uvicorn

from integration.parts import Parts
from integration.settings import Settings, load_in_background
from ui.access import Access
from ui.app import build_app
from ui.media import MAX_MESSAGE_BYTES

__all__ = ["serve"]

GOODBYE_S = 2

CONNECTIONS_A_TALK = 10
"""A browser opens six for the page's files, its socket, and one that shows it is there."""

SPARE_CONNECTIONS = 40
"""For those who find the house full, and are told so."""


def serve(
    settings: Settings,
    listener: socket.socket,
    announce: Callable[[], None],
    access: Access,
) -> None:
    """Serve until the process is told to end.

    Args:
        settings: Which models to load.
        listener: A bound socket.
        announce: Called once the page can be opened.
        access: Who may open the page, and how.

    Raises:
        EmotionError: If the recogniser cannot be loaded; the server has ended by then.
        DialogueError: If the dialogue model cannot be loaded.
        IntegrationError: If the speech recognition cannot be loaded.
    """
    loaded: Future[Parts] = Future()
    config = uvicorn.Config(
        build_app(loaded, words_go_to=settings.words_go_to, access=access),
        log_level="warning",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # pictures are packed already
        timeout_graceful_shutdown=GOODBYE_S,
        limit_concurrency=CONNECTIONS_A_TALK * access.talks + SPARE_CONNECTIONS,
        server_header=False,
        ssl_certfile=access.certificate,
        ssl_keyfile=access.key,
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
