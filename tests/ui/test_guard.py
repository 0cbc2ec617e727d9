import socket
from concurrent.futures import Future

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ui.app import build_app
from ui.guard import LOCAL_NAMES, Guard
from ui.handlers import MAX_TEXT
from ui.rooms import Rooms
from ui.server import _hosts

OWN = {"origin": "http://testserver"}


@pytest.fixture(scope="module")
def rooms():
    return Rooms.of(Future())


@pytest.fixture(scope="module")
def client(rooms):
    with TestClient(build_app(Future(), rooms=rooms)) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/gradio_api/upload", "/gradio_api/upload/", "//gradio_api/upload"]
)
@pytest.mark.parametrize("headers", [{}, OWN, {"origin": "http://evil.example"}])
def test_nobody_can_upload_a_file(client, tmp_path, monkeypatch, path, headers):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    letter = {"files": ("letter.txt", b"a secret")}
    assert client.post(path, files=letter, headers=headers).status_code == 404
    assert list(tmp_path.rglob("*.*")) == []


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=pyproject.toml",
        "/gradio_api/file/pyproject.toml",
        "/gradio_api/proxy=http://evil.example/",
        "/gradio_api/deep_link",
        "/gradio_api/stream/a/1/2/playlist.m3u8",
        "/gradio_api/queue/data",
        "/gradio_api/info",
        "/config",
        "/monitoring",
        "/openapi.json",
        "/%67radio_api/file=pyproject.toml",
    ],
)
def test_what_the_page_does_not_use_is_not_there(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/", "/attune/page.js", "/attune/page.css", "/theme.css", "/manifest.json"]
)
def test_what_the_page_uses_is_there(client, path):
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://[bad"])
def test_only_this_servers_own_page_may_press_its_buttons(client, rooms, origin):
    headers = {} if origin is None else {"origin": origin}
    order = {"fn_index": 0, "data": [], "session_hash": "s"}
    before = len(rooms)
    refused = client.post("/gradio_api/run/predict", json=order, headers=headers)
    assert refused.status_code == 403
    assert len(rooms) == before
    assert client.post("/gradio_api/run/predict", json=order, headers=OWN).status_code == 200
    assert len(rooms) == before + 1


def press_send(client, page, token, text):
    """Send a text as the page does, past the bound that only the browser keeps."""
    say = next(d["id"] for d in page["dependencies"] if len(d["inputs"]) == 2)
    order = {"fn_index": say, "data": [token, text], "session_hash": "s"}
    return client.post("/gradio_api/run/predict", json=order, headers=OWN)


def test_a_text_that_is_too_long_is_refused_in_words():
    rooms = Rooms.of(Future())
    with TestClient(build_app(Future(), rooms=rooms)) as client:
        order = {"fn_index": 0, "data": [], "session_hash": "s"}
        opened = client.post("/gradio_api/run/predict", json=order, headers=OWN).json()
        token = opened["data"][1]
        rooms.find(token).consent(camera=False, microphone=False)
        page = client.app.routes[-1].app.blocks.config
        said = press_send(client, page, token, "x" * (MAX_TEXT + 1))
        assert rooms.find(token).session.turns == ()
        assert str(MAX_TEXT) in said.text
        press_send(client, page, token, "x" * MAX_TEXT)
        assert len(rooms.find(token).session.turns) == 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:7860", 200),
        ("127.0.0.1:7860", 200),
        ("[::1]:7860", 200),
        ("evil.example:7860", 403),
        ("127.0.0.1.evil.example", 403),
        ("[bad", 403),
        ("", 403),
    ],
)
def test_a_local_server_answers_to_local_names_only(host, status):
    app = FastAPI()
    app.add_middleware(Guard, hosts=LOCAL_NAMES)
    app.get("/")(lambda: "hello")
    app.websocket("/media/x")(lambda socket: socket.accept())
    client = TestClient(app)
    assert client.get("/", headers={"host": host}).status_code == status
    if status == 403:
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/media/x", headers={"host": host}),
        ):
            pass


@pytest.mark.parametrize(("address", "local"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_local_server_has_the_name_of_its_proxy_and_one_for_others_any(address, local):
    with socket.socket() as listener:
        listener.bind((address, 0))
        hosts = _hosts(listener, "Talk.example")
    assert hosts == (LOCAL_NAMES | {"talk.example"} if local else None)
