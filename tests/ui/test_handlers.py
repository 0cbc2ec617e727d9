import io
import json
import struct

import numpy as np
import pytest
from fastapi import FastAPI, WebSocket
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from integration.errors import IntegrationError
from integration.pipeline import Pipeline
from ui.handlers import Screen, obey, same_origin, serve_socket
from ui.rooms import Rooms

HOST = {"origin": "http://testserver", "host": "testserver"}


@pytest.fixture
def pipeline(models, clock):
    pipeline = Pipeline(models.parts(), clock=clock)
    pipeline.consent(camera=True, microphone=True)
    yield pipeline
    pipeline.close()


@pytest.fixture
def rooms(models, clock):
    rooms = Rooms(lambda: Pipeline(models.parts(), clock=clock), clock=clock)
    yield rooms
    rooms.close()


@pytest.fixture
def client(rooms):
    app = FastAPI()

    @app.websocket("/media/{token}")
    async def media(socket: WebSocket, token: str):
        await serve_socket(socket, rooms, token)

    with TestClient(app) as client:
        yield client


def packed(kind, payload, time_s=0.0):
    return struct.pack("<B3xId", kind, 16000, time_s) + payload


def jpeg():
    picture = io.BytesIO()
    Image.new("RGB", (64, 48)).save(picture, "JPEG")
    return picture.getvalue()


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"origin": "http://127.0.0.1:7860", "host": "127.0.0.1:7860"}, True),
        ({"origin": "https://talk.example", "host": "talk.example"}, True),
        ({"origin": "http://evil.example", "host": "127.0.0.1:7860"}, False),
        ({"origin": "http://127.0.0.1:9999", "host": "127.0.0.1:7860"}, False),
        ({"origin": "http://[bad", "host": "127.0.0.1:7860"}, False),
        ({"origin": "null", "host": "127.0.0.1:7860"}, False),
        ({"host": "127.0.0.1:7860"}, False),
        ({}, False),
    ],
)
def test_only_this_servers_own_page_may_open_a_socket(headers, same):
    assert same_origin(headers) is same


@pytest.mark.parametrize(
    ("token", "headers", "code"),
    [
        ("guess", HOST, 4404),
        (None, HOST | {"origin": "http://evil.example"}, 4403),
    ],
)
def test_strangers_are_refused(client, rooms, token, headers, code):
    path = f"/media/{token or rooms.open()}"
    with (
        client.websocket_connect(path, headers=headers) as socket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        socket.receive_text()
    assert closed.value.code == code


def test_media_goes_in_and_what_is_to_be_shown_comes_out(client, rooms, models):
    token = rooms.open()
    pipeline = rooms.find(token)
    with client.websocket_connect(f"/media/{token}", headers=HOST) as socket:
        assert json.loads(socket.receive_text())["screen"] == "consent"
        pipeline.consent(camera=True, microphone=True)
        shown = json.loads(socket.receive_text())
        assert shown["screen"] == "talk"
        assert shown["devices"] == {"camera": True, "microphone": True}
        socket.send_bytes(packed(1, jpeg(), 0.5))
        socket.send_bytes(packed(2, np.zeros(1600, "<i2").tobytes(), 0.5))
        pipeline.wait(lambda s: s.moment is not None and bool(models.live.sounds))
    assert [time_s for time_s, _ in models.live.frames] == [0.5]
    assert pipeline.media_end_s == pytest.approx(0.6)


def test_a_page_that_comes_back_goes_on_where_its_media_ended(client, rooms, models):
    token = rooms.open()
    pipeline = rooms.find(token)
    pipeline.consent(camera=True, microphone=True)
    for number in (1, 2):
        with client.websocket_connect(f"/media/{token}", headers=HOST) as socket:
            socket.send_bytes(packed(2, np.zeros(16000, "<i2").tobytes()))
            pipeline.wait(lambda s, number=number: len(models.live.sounds) == number)
    assert [time_s for time_s, _, _ in models.live.sounds] == [0.0, 1.0]


@pytest.mark.parametrize("nonsense", [b"nonsense", packed(1, b"no jpeg at all")])
def test_a_message_that_is_no_media_ends_the_connection(client, rooms, nonsense):
    with client.websocket_connect(f"/media/{rooms.open()}", headers=HOST) as socket:
        socket.receive_text()
        socket.send_bytes(nonsense)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert closed.value.code == 1008


def test_switches_and_corrections_are_obeyed(pipeline):
    obey(pipeline, '{"kind": "switch", "channel": "camera", "on": false}')
    assert not pipeline.session.camera
    pipeline.say("hello")
    obey(pipeline, '{"kind": "correct", "turn": 0, "emotion": "sad"}')
    assert pipeline.session.turns[0].correction == "sad"


def test_words_are_edited_and_the_agents_voice_is_noted(pipeline):
    pipeline.say("the doc runaway")
    pipeline.wait(lambda s: s.turns[0].status == "answered")
    obey(pipeline, '{"kind": "spoke", "on": true}')
    assert pipeline.session.agent_speaking
    obey(pipeline, '{"kind": "spoke", "on": false}')
    assert not pipeline.session.agent_speaking
    obey(pipeline, '{"kind": "edit", "turn": 0, "text": "  "}')
    assert not pipeline.session.turns[0].edited
    obey(pipeline, '{"kind": "edit", "turn": 0, "text": "the dog ran away \\ud800"}')
    assert pipeline.session.turns[0].text == "the dog ran away ?"
    obey(pipeline, '{"kind": "edit", "turn": 9, "text": "nobody said this"}')
    assert len(pipeline.session.turns) == 1


def test_pictures_that_the_browser_left_out_are_counted(pipeline):
    for frames in (3, 4):
        obey(pipeline, json.dumps({"kind": "skipped", "frames": frames}))
    assert pipeline.session.dropped_frames == 7


def test_a_device_that_could_not_be_opened_is_off_and_says_why(pipeline):
    order = {"kind": "switch", "channel": "microphone", "on": False, "problem": "missing"}
    obey(pipeline, json.dumps(order))
    assert not pipeline.session.microphone
    assert pipeline.session.notice == "No microphone was found; you can type instead."


@pytest.mark.parametrize(
    "order",
    [
        "",
        "[]",
        "{}",
        '{"kind": "forget"}',
        '{"kind": "switch", "channel": "printer", "on": true}',
        '{"kind": "switch", "channel": "camera", "on": false, "problem": "<script>"}',
        '{"kind": "correct", "turn": "x", "emotion": "sad"}',
        '{"kind": "edit", "turn": 0}',
        '{"kind": "edit", "turn": 0, "text": ["words"]}',
        '{"kind": "edit", "turn": 0, "text": "' + "x" * 2001 + '"}',
        '{"kind": "spoke"}',
        '{"kind": "skipped", "frames": 0}',
        '{"kind": "skipped", "frames": 1e999}',
        '{"kind": "correct", "turn": 0, "emotion": "bored"}',
        '{"kind": "correct", "turn": 1e999, "emotion": "sad"}',
        "[" * 1000,
        "9" * 2000,
    ],
)
def test_any_other_order_is_refused(pipeline, order):
    with pytest.raises(IntegrationError, match="Expected"):
        obey(pipeline, order)


def test_another_page_of_the_same_talk_pushes_the_first_one_out(client, rooms, models):
    token = rooms.open()
    pipeline = rooms.find(token)
    pipeline.consent(camera=True, microphone=True)
    path = f"/media/{token}"
    with client.websocket_connect(path, headers=HOST) as first:
        first.receive_text()
        with client.websocket_connect(path, headers=HOST) as second:
            second.receive_text()
            first.send_text('{"kind": "switch", "channel": "camera", "on": false}')
            message = {}
            while message.get("type") != "websocket.close":
                message = first.receive()
            assert message["code"] == 4409
            second.send_bytes(packed(2, np.zeros(16000, "<i2").tobytes()))
            pipeline.wait(lambda s: len(models.live.sounds) == 1)
    assert pipeline.session.camera


def test_the_agent_is_silent_when_a_page_comes_back(client, rooms):
    token = rooms.open()
    pipeline = rooms.find(token)
    pipeline.consent(camera=False, microphone=True)
    pipeline.say("hello")
    pipeline.wait(lambda s: bool(s.turns) and s.turns[0].status == "answered")
    pipeline.spoke(True)
    with client.websocket_connect(f"/media/{token}", headers=HOST):
        pipeline.wait(lambda s: not s.agent_speaking)


def test_what_the_voice_must_follow_is_sent(pipeline):
    screen = Screen()
    first = json.loads(screen.update(pipeline.session))
    assert (first["speech"], first["ducked"], first["hushed_turn"]) == (None, False, None)
    assert first["hearing"] == ""
    pipeline.say("hello")
    session = pipeline.wait(lambda s: bool(s.turns) and s.turns[0].status == "answered")
    speech = json.loads(screen.update(session))["speech"]
    assert speech["sentences"] == ["I see."]
    assert speech["turn"] == 0
    assert speech["ended"]
    assert {"answer", "rate", "pitch"} <= speech.keys()


def test_only_what_has_changed_is_sent(pipeline):
    screen = Screen()
    first = json.loads(screen.update(pipeline.session))
    assert {"status", "now", "switches"} <= set(first["fragments"])
    assert screen.update(pipeline.session) is None
    pipeline.switch("camera", False)
    second = json.loads(screen.update(pipeline.session))
    assert "status" not in second["fragments"]
    assert "switches" in second["fragments"]
    assert second["turns"] == {}


def test_a_new_turn_is_sent_alone(pipeline):
    pipeline.say("one")
    pipeline.wait(lambda s: s.turns[0].status == "answered")
    screen = Screen()
    screen.update(pipeline.session)
    pipeline.say("two")
    session = pipeline.wait(lambda s: len(s.turns) == 2 and s.turns[1].status == "answered")
    change = json.loads(screen.update(session))
    assert change["order"] == [0, 1]
    assert "two" in change["turns"]["1"]
    assert "one" in change["turns"]["0"]  # folds itself up


def test_a_page_that_cannot_be_drawn_ends_its_socket(client, rooms, monkeypatch, caplog):
    def broken(session, before):
        raise RuntimeError("a secret cannot be drawn")

    monkeypatch.setattr("ui.handlers.render", broken)
    with (
        client.websocket_connect(f"/media/{rooms.open()}", headers=HOST) as socket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        socket.receive_text()
    assert closed.value.code == 1011
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text
