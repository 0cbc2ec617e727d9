"""A model behind a URL, against a real HTTP server of the test's own."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dialogue.affect import UserAffect
from dialogue.errors import ModelError
from dialogue.models.base import load_model
from dialogue.models.remote import KEY_VARIABLE, RemoteModel, RemoteSettings

TALK = [{"role": "user", "content": "Hello."}]
SAD = UserAffect("sad", confidence=0.9, channels=("face",))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._send(json.dumps({"data": [{"id": "tiny"}]}))

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.server.asked.append((json.loads(self.rfile.read(length)), dict(self.headers)))
        if self.server.failures:
            self.send_error(self.server.failures.pop(0))
            return
        events = [{"choices": [{"delta": {"content": w}}]} for w in self.server.words]
        lines = [": comment", 'data: {"choices": [{"delta": {"role": "assistant"}}]}']
        lines += [f"data: {json.dumps(event)}" for event in events]
        self._send("\n\n".join([*lines, "data: [DONE]", ""]))

    def _send(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.failures, server.words = [], [], ["I ", "am ", "here."]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def model(server, waits):
    return RemoteModel(f"http://127.0.0.1:{server.server_port}/v1", wait=waits.append)


def test_the_answer_streams(model):
    assert list(model.stream(TALK)) == ["I ", "am ", "here."]
    assert model.reply(TALK) == "I am here."


def test_the_servers_first_model_is_asked_with_note_and_persona(model, server):
    model.reply(TALK, affect=SAD)
    asked, _ = server.asked[0]
    assert asked["model"] == "tiny"
    assert [m["role"] for m in asked["messages"]] == ["system", "user"]
    assert "seems very sad" in asked["messages"][1]["content"]
    assert "sad" not in asked["messages"][0]["content"]


def test_a_passing_failure_is_tried_again_with_longer_waits(model, server, waits):
    server.failures = [503, 429]
    assert model.reply(TALK) == "I am here."
    assert waits == [0.5, 1.0]


@pytest.mark.parametrize(("failures", "tries"), [([400], 1), ([500, 500, 500], 3)])
def test_a_lasting_failure_is_one_sentence(model, server, failures, tries):
    server.failures = failures
    with pytest.raises(ModelError, match="Expected an answer of http"):
        model.reply(TALK)
    assert len(server.asked) == tries


def test_nobody_there_is_one_sentence(waits):
    with pytest.raises(ModelError, match=r"Expected an answer of http://127\.0\.0\.1:9"):
        RemoteModel("http://127.0.0.1:9/v1", settings=RemoteSettings(tries=2), wait=waits.append)
    assert waits == [0.5]


def test_cancelling_ends_the_stream(model):
    cancel = threading.Event()
    stream = model.stream(TALK, cancel=cancel)
    assert next(stream) == "I "
    cancel.set()
    assert list(stream) == []


def test_the_key_comes_from_the_environment_alone(model, server, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    model.reply(TALK)
    monkeypatch.delenv(KEY_VARIABLE)
    model.reply(TALK)
    keys = [headers.get("Authorization") for _, headers in server.asked]
    assert keys == ["Bearer secret", None]


def test_what_is_no_event_is_one_sentence(model, server, monkeypatch):
    monkeypatch.setattr(Handler, "do_POST", lambda self: self._send("data: {broken\n\n"))
    with pytest.raises(ModelError, match="Expected an answer of"):
        model.reply(TALK)


def test_a_url_is_loaded_by_name(server):
    assert load_model(f"http://127.0.0.1:{server.server_port}/v1").reply(TALK) == "I am here."
