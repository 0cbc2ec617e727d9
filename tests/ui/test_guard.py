import base64
import time
from concurrent.futures import Future

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ui.access import LOOPBACK_NAMES, Access
from ui.app import build_app
from ui.guard import Guard
from ui.handlers import MAX_TEXT
from ui.rooms import Rooms

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
    order = {"fn_index": 0, "data": [""], "session_hash": "s"}
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
        order = {"fn_index": 0, "data": [""], "session_hash": "s"}
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
    app.add_middleware(Guard, hosts=LOOPBACK_NAMES)
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


def basic(login):
    return {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


@pytest.fixture(scope="module")
def closed_rooms():
    return Rooms.of(Future())


@pytest.fixture(scope="module")
def closed_client(closed_rooms):
    access = Access(login="me:pass:wörd")
    with TestClient(
        build_app(Future(), rooms=closed_rooms, access=access), base_url="http://127.0.0.1"
    ) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/", "/theme.css", "/attune/page.js", "/manifest.json", "/assets/x.js"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("me:wrong"),
        basic(""),
        basic("me"),
        {"authorization": "Basic ???"},
        {"authorization": "Bearer x"},
    ],
)
def test_without_the_password_there_is_nothing(closed_client, monkeypatch, path, headers):
    monkeypatch.setattr("ui.guard.WRONG_GUESS_S", 0)
    refused = closed_client.get(path, headers=headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")


def test_the_password_opens_the_page_and_its_buttons(closed_client, closed_rooms):
    login = basic("me:pass:wörd")
    assert closed_client.get("/", headers=login).status_code == 200
    order = {"fn_index": 0, "data": [""], "session_hash": "s"}
    own = {"origin": "http://127.0.0.1"}
    press = "/gradio_api/run/predict"
    assert closed_client.post(press, json=order, headers=own).status_code == 401
    assert len(closed_rooms) == 0
    assert closed_client.post(press, json=order, headers=own | login).status_code == 200
    assert len(closed_rooms) == 1


def test_a_wrong_password_is_answered_late(closed_client):
    begun = time.perf_counter()
    closed_client.get("/", headers=basic("me:guess"))
    assert time.perf_counter() - begun >= 0.4


@pytest.mark.parametrize("path", ["/", "/attune/page.js", "/nowhere"])
def test_every_answer_tells_the_browser_to_stay_here(client, path):
    headers = client.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["permissions-policy"].startswith("camera=(self), microphone=(self)")


def test_a_talk_is_saved_for_its_own_page_alone(client, rooms):
    token = rooms.open()
    rooms.find(token).consent(camera=False, microphone=False)
    rooms.find(token).say("my words")
    saved = client.post(f"/attune-export/{token}/text", headers=OWN)
    assert "my words" in saved.text
    assert saved.headers["cache-control"] == "no-store"
    assert 'filename="attune-talk.txt"' in saved.headers["content-disposition"]
    assert client.post(f"/attune-export/{token}/json", headers=OWN).json()["turns"]
    assert client.post(f"/attune-export/{token}/xml", headers=OWN).status_code == 404
    assert client.post("/attune-export/guess/json", headers=OWN).status_code == 404
    assert client.get(f"/attune-export/{token}/json").status_code == 404
    for foreign in ({}, {"origin": "http://evil.example"}):
        refused = client.post(f"/attune-export/{token}/json", headers=foreign)
        assert refused.status_code == 403


def test_a_body_that_is_far_too_long_is_refused_unread(client):
    path, data = "/gradio_api/run/predict", b"x" * 70_000
    assert client.post(path, content=data, headers=OWN).status_code == 413
    assert client.post(path, content=iter([data]), headers=OWN).status_code == 413


def test_a_full_house_is_told_in_words():
    rooms = Rooms.of(Future(), most=1)
    order = {"fn_index": 0, "data": [""], "session_hash": "s"}
    with TestClient(build_app(Future(), rooms=rooms)) as client:
        pressed = [
            client.post("/gradio_api/run/predict", json=order, headers=OWN).json()["data"]
            for _ in range(2)
        ]
    assert pressed[0][1]
    assert pressed[1][1] == ""
    assert "Too many people" in pressed[1][2]["value"]
