"""A model behind a URL, against a real HTTP server of the test's own."""

import json
import threading
import time
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


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ('data: {"error": {"message": "out of memory"}}\n\n', "got its error 'out of memory'"),
        ("data: [DONE]\n\n", "got one without words"),
        ("data: []\n\n", "an event of type list"),
        ('data: {"choices": [{"delta": null}]}\n\n', "got one without words"),
    ],
)
def test_a_stream_without_an_answer_is_one_sentence(model, monkeypatch, sent, said):
    monkeypatch.setattr(Handler, "do_POST", lambda self: self._send(sent))
    with pytest.raises(ModelError, match=said):
        model.reply(TALK)


def test_a_long_talk_is_sent_from_its_newest_turns(model, server):
    talk = [{"role": ("user", "assistant")[i % 2], "content": f"{i} " * 300} for i in range(41)]
    model.reply(talk)
    sent = server.asked[0][0]["messages"][1:]
    assert [m["content"] for m in sent] == [m["content"] for m in talk[-len(sent) :]]
    assert 1 < len(sent) < 12


def test_the_key_follows_nobody_to_another_host(model, server, monkeypatch):
    def redirect(self):
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{server.server_port}/elsewhere")
        self.end_headers()

    followed = []
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    monkeypatch.setattr(Handler, "do_POST", redirect)
    monkeypatch.setattr(Handler, "do_GET", lambda self: followed.append(self.path))
    with pytest.raises(ModelError, match="got HTTP Error 302"):
        model.reply(TALK)
    assert followed == []


def test_a_key_that_is_no_header_is_not_repeated(model, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "sec\nret")
    with pytest.raises(ModelError, match="Expected a key of plain letters") as caught:
        model.reply(TALK)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://[bad", "http://x:abc/v1", "http://a b/v1"])
def test_a_broken_url_is_one_sentence(url, waits):
    with pytest.raises(ModelError, match="Expected an answer of http"):
        RemoteModel(url, wait=waits.append)
    assert waits == []


def test_cancelling_does_not_wait_for_a_silent_server(model, monkeypatch):
    cancel, release = threading.Event(), threading.Event()

    def fall_silent(self):
        cancel.set()
        release.wait(20)

    monkeypatch.setattr(Handler, "do_POST", fall_silent)
    begun = time.monotonic()
    assert list(model.stream(TALK, cancel=cancel)) == []
    took_s = time.monotonic() - begun
    release.set()
    assert took_s < 5


def test_cancelling_ends_the_tries(server):
    cancel = threading.Event()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    model = RemoteModel(url, wait=lambda _: cancel.set())
    server.failures = [503, 503, 503]
    assert list(model.stream(TALK, cancel=cancel)) == []
    assert len(server.asked) == 1


def test_a_url_is_loaded_by_name(server):
    assert load_model(f"http://127.0.0.1:{server.server_port}/v1").reply(TALK) == "I am here."
