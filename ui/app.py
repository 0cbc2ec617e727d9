"""The page: Gradio for its layout, buttons and text box, one socket for everything that flows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

# Set before Gradio is imported: it asks once, and the page makes no request nobody asked for.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from fastapi import FastAPI, Response, WebSocket
from fastapi.staticfiles import StaticFiles

from integration.errors import IntegrationError
from integration.parts import Parts
from ui import view
from ui.access import Access
from ui.export import FORMS
from ui.guard import Guard
from ui.handlers import MAX_TEXT, serve_socket
from ui.rooms import FullHouseError, GoneError, Rooms
from ui.texts import TOO_LONG

__all__ = ["build_app"]

STATIC: Final = Path(__file__).parent / "static"
SWEEP_EVERY_S: Final = 5.0
FONTS: Final = ("ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "sans-serif")

HEAD: Final = (
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="stylesheet" href="attune/page.css">'
    '<script src="attune/page.js" defer></script>'
)


def build_app(
    parts: Future[Parts],
    *,
    rooms: Rooms | None = None,
    words_go_to: str | None = None,
    access: Access | None = None,
) -> FastAPI:
    """Build the server: the page at `/`, its socket at `/media/{token}`, and the talk as a file.

    Args:
        parts: The models, possibly still loading; the page can be used meanwhile.
        rooms: Where the talks are kept; new ones by default.
        words_go_to: Host that a remote dialogue model runs on, or None where it runs here.
        access: Who may open the page; None for whoever reaches the server, by any name.
    """
    most = (access or Access()).talks
    kept = Rooms.of(parts, most=most) if rooms is None else rooms  # empty ones are false
    app = FastAPI(lifespan=_sweeping(kept), docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, **({} if access is None else _asked_for(access)))
    app.mount("/attune", StaticFiles(directory=STATIC))

    @app.websocket("/media/{token}")
    async def media(socket: WebSocket, token: str) -> None:
        await serve_socket(socket, kept, token)

    @app.post("/attune-export/{token}/{form}")
    async def export(token: str, form: str) -> Response:
        return _exported(kept, token, form)

    return gr.mount_gradio_app(  # type: ignore[no-any-return]
        app,
        _blocks(kept, words_go_to),
        path="/",
        theme=gr.themes.Base(font=FONTS, font_mono=("ui-monospace", "monospace")),
        head=HEAD,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=True,
    )


def _asked_for(access: Access) -> dict[str, Any]:
    return {"hosts": access.names, "login": access.login}


def _exported(rooms: Rooms, token: str, form: str) -> Response:
    """Give a talk to the page that has it; it goes from memory to the browser."""
    try:
        session = rooms.find(token).session
        chosen = FORMS[form]
    except (GoneError, KeyError):
        return Response("Not found.", 404)
    name = f'attachment; filename="{chosen.name}"'
    headers = {"content-disposition": name, "cache-control": "no-store"}
    return Response(chosen.write(session), media_type=chosen.media_type, headers=headers)


def _sweeping(rooms: Rooms) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        sweeper = asyncio.create_task(_sweep(rooms))
        yield
        sweeper.cancel()
        rooms.close()

    return lifespan


async def _sweep(rooms: Rooms) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        rooms.sweep()


def _blocks(rooms: Rooms, words_go_to: str | None) -> gr.Blocks:
    with gr.Blocks(title="Attune", analytics_enabled=False, fill_width=True) as page:
        token = gr.State("")
        ticket = gr.Textbox(visible=False)  # carries the token to the page's script, once
        _html(view.header())
        with gr.Column(elem_id="consent"):
            _html(view.consent(words_go_to))
            full = gr.HTML(visible=False, apply_default_css=False)
            with gr.Row():
                both = gr.Button("Start with camera and microphone", variant="primary", scale=3)
                typing = gr.Button("Start with typing only", scale=2)
        with gr.Row(elem_id="room"):
            with gr.Column(elem_id="stage"):
                _html(view.stage())
            with gr.Column(elem_id="talk"):
                _html(view.talk())
                with gr.Row(elem_id="composer"):
                    text = gr.Textbox(
                        placeholder="Type here …",
                        label="Your words",
                        show_label=False,
                        container=False,
                        lines=1,
                        max_lines=5,
                        max_length=MAX_TEXT,
                        elem_id="words",
                        scale=1,
                    )
                    send = gr.Button("Send", variant="primary", elem_id="send", scale=0)
                with gr.Row(elem_id="tools"):
                    stop = gr.Button("Stop the answer", size="sm", elem_id="stop")
                    forget = gr.Button("Forget everything", size="sm", elem_id="forget")

        quiet: dict[str, Any] = {
            "queue": False,
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        actions = _Actions(rooms)
        page.load(
            actions.open, ticket, [token, ticket, full, both, typing], js=_REMEMBERS, **quiet
        ).then(None, ticket, js=_CONNECTS, **quiet)
        both.click(actions.start, token, js=_STARTS, **quiet)
        typing.click(actions.start_typing, token, **quiet)
        gr.on([send.click, text.submit], actions.say, [token, text], text, **quiet)
        stop.click(actions.stop, token, **quiet)
        forget.click(actions.forget, token, **quiet)
    return page


def _html(markup: str) -> gr.HTML:
    return gr.HTML(markup, apply_default_css=False)


# A page that was reloaded knows the token of its talk; see static/main.js.
_REMEMBERS: Final = "() => sessionStorage.getItem('attune.token') ?? ''"

# Gradio puts the page's script in by a script of its own, possibly later.
_CONNECTS: Final = """async (token) => {
    while (!window.attune) await new Promise(requestAnimationFrame);
    attune.connect(token);
}"""

# A sound context may only start while a click is handled.
_STARTS: Final = "(token) => { attune.wake(); return token; }"


class _Actions:
    """What the buttons do."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def open(self, remembered: str) -> tuple[str, str, Any, Any, Any]:
        """Go on with the talk of a page that was reloaded, or begin one."""
        try:
            token = self._rooms.resume(remembered)
        except FullHouseError as error:
            said = gr.update(value=view.full(str(error)), visible=True)
            shut = gr.update(interactive=False)
            return "", "", said, shut, shut
        return token, token, *[gr.skip()] * 3

    def start(self, token: str) -> None:
        self._pipeline(token).consent(camera=True, microphone=True)

    def start_typing(self, token: str) -> None:
        self._pipeline(token).consent(camera=False, microphone=False)

    def say(self, token: str, text: str) -> str:
        if len(text) > MAX_TEXT:  # only the browser keeps to the text box's own bound
            raise gr.Error(TOO_LONG.format(most=MAX_TEXT, got=len(text)), print_exception=False)
        if text.strip():
            self._pipeline(token).say(text)
        return ""

    def stop(self, token: str) -> None:
        self._pipeline(token).stop()

    def forget(self, token: str) -> None:
        self._pipeline(token).forget()

    def _pipeline(self, token: str) -> Any:
        try:
            return self._rooms.find(token)
        except IntegrationError as error:
            raise gr.Error(str(error), print_exception=False) from error
