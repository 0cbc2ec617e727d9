"""A model behind a URL, against a real HTTP server of the test's own."""

import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dialogue.affect import UserAffect
from dialogue.context import READ_ONLY_THE_END
from dialogue.errors import ModelError
from dialogue.models.base import load_model
from dialogue.models.remote import KEY_VARIABLE, RemoteModel, RemoteSettings

TALK = [{"role": "user", "content": "Hello."}]
PATIENCE_S = 20.0
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
    """The pauses between tries, in seconds; nobody waits for them."""
    return []


@pytest.fixture
def model(server, waits):
    return RemoteModel(
        f"http://127.0.0.1:{server.server_port}/v1", wait=lambda pause_s, _: waits.append(pause_s)
    )


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
        RemoteModel(
            "http://127.0.0.1:9/v1",
            settings=RemoteSettings(tries=2),
            wait=lambda pause_s, _: waits.append(pause_s),
        )
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
        RemoteModel(url, wait=lambda pause_s, _: waits.append(pause_s))
    assert waits == []


def event_of(text):
    return f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\n"


class Silence:
    """A server that says something, or nothing, and then waits until its client hangs up."""

    def __init__(self, monkeypatch, *said, headers=True):
        self.asked = threading.Event()
        self.left_s = queue.SimpleQueue()
        silence = self

        def fall_silent(handler):
            if headers:
                handler.send_response(200)
                handler.end_headers()
            for text in said:
                handler.wfile.write(event_of(text).encode())
            silence.asked.set()
            handler.connection.settimeout(PATIENCE_S)
            handler.rfile.read(int(handler.headers["Content-Length"]))
            assert handler.rfile.read(1) == b""
            silence.left_s.put(time.monotonic())

        monkeypatch.setattr(Handler, "do_POST", fall_silent)


@pytest.mark.parametrize("headers", [True, False])
def test_cancelling_a_silent_server_lets_go_of_its_connection_at_once(model, monkeypatch, headers):
    silence, cancel, answer = Silence(monkeypatch, headers=headers), threading.Event(), []
    reader = threading.Thread(target=lambda: answer.extend(model.stream(TALK, cancel=cancel)))
    reader.start()
    assert silence.asked.wait(PATIENCE_S)
    cancelled_s = time.monotonic()
    cancel.set()
    assert silence.left_s.get(timeout=PATIENCE_S) - cancelled_s < 2
    reader.join(PATIENCE_S)
    assert answer == []


def test_a_reader_who_does_not_ask_for_more_lets_go_as_well(model, monkeypatch):
    silence, cancel = Silence(monkeypatch, "I "), threading.Event()
    stream = model.stream(TALK, cancel=cancel)
    assert next(stream) == "I "
    cancel.set()  # and nobody calls next
    assert silence.left_s.get(timeout=PATIENCE_S)


def test_a_reader_who_goes_away_lets_go_as_well(model, monkeypatch):
    silence = Silence(monkeypatch, "I ")
    stream = model.stream(TALK)
    assert next(stream) == "I "
    stream.close()
    assert silence.left_s.get(timeout=PATIENCE_S)


def test_a_server_that_falls_silent_is_given_up(server, monkeypatch):
    url = f"http://127.0.0.1:{server.server_port}/v1"
    model = RemoteModel(url, settings=RemoteSettings(timeout_s=0.2, tries=1))
    Silence(monkeypatch, "I ")
    stream = model.stream(TALK)
    assert next(stream) == "I "
    with pytest.raises(ModelError, match=r"Expected an answer of http://.*timed out"):
        next(stream)


def test_an_answer_that_never_began_is_asked_for_again(model, server, waits, monkeypatch):
    answer = Handler.do_POST

    def break_off_once(self):
        monkeypatch.setattr(Handler, "do_POST", answer)
        self.close_connection = True

    monkeypatch.setattr(Handler, "do_POST", break_off_once)
    assert model.reply(TALK) == "I am here."
    assert waits == [0.5]


def test_an_answer_that_has_begun_is_never_asked_for_again(model, waits, monkeypatch):
    def break_off(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(event_of("I ").encode() + b"data: {bro")

    monkeypatch.setattr(Handler, "do_POST", break_off)
    stream = model.stream(TALK)
    assert next(stream) == "I "
    with pytest.raises(ModelError, match="Expected an answer of"):
        next(stream)
    assert waits == []


@pytest.mark.parametrize(
    ("asked", "waited_s"), [("7", 7.0), ("0", 0.5), ("9999", 30.0), ("tomorrow", 0.5)]
)
def test_a_busy_server_is_given_the_time_it_asks_for(model, waits, monkeypatch, asked, waited_s):
    answer = Handler.do_POST

    def be_busy_once(self):
        monkeypatch.setattr(Handler, "do_POST", answer)
        self.send_response(429)
        self.send_header("Retry-After", asked)
        self.end_headers()

    monkeypatch.setattr(Handler, "do_POST", be_busy_once)
    assert model.reply(TALK) == "I am here."
    assert waits == [waited_s]


def test_what_is_too_long_is_cut_with_notice_to_the_person_and_to_the_model(model, server):
    assert model.reply([{"role": "user", "content": "word " * 9000}]).startswith(READ_ONLY_THE_END)
    sent = server.asked[0][0]["messages"][-1]["content"]
    assert sent.startswith("[The beginning of this message was too long to be read.]")
    assert len(sent) < 3.2 * RemoteSettings().context_tokens


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1/v1", "https://secret@host/v1"])
def test_a_password_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(ModelError, match="Expected a key in ATTUNE_API_KEY") as caught:
        RemoteModel(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("temperature", -1.0),
        ("most_tokens", 0),
        ("context_tokens", 0),
        ("timeout_s", 0.0),
        ("tries", 0),
        ("first_wait_s", -0.5),
    ],
)
def test_a_setting_out_of_its_range_is_refused_at_birth(setting, value):
    with pytest.raises(ModelError, match=rf"Expected .*{setting} .*, got {value}"):
        RemoteSettings(**{setting: value})


def test_one_of_several_models_is_named_after_the_url(server):
    load_model(f"http://127.0.0.1:{server.server_port}/v1#other").reply(TALK)
    assert server.asked[0][0]["model"] == "other"


def test_cancelling_ends_the_tries(server):
    cancel = threading.Event()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    model = RemoteModel(url, wait=lambda *_: cancel.set())
    server.failures = [503, 503, 503]
    assert list(model.stream(TALK, cancel=cancel)) == []
    assert len(server.asked) == 1


def test_a_url_is_loaded_by_name(server):
    assert load_model(f"http://127.0.0.1:{server.server_port}/v1").reply(TALK) == "I am here."
