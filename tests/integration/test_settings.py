import re
import socket
from concurrent.futures import Future

import pytest

from dialogue.errors import DialogueError, ModelError
from integration.errors import IntegrationError
from integration.settings import Settings, load_in_background

PATIENCE_S = 120.0


@pytest.mark.parametrize("bad", [{"device": "tpu"}, {"threads": 0}, {"model": "http://[bad"}])
def test_a_bad_value_is_refused_by_name(bad):
    with pytest.raises(IntegrationError, match=re.escape(str(next(iter(bad.values()))))):
        Settings(**bad)


def test_a_folder_of_weights_must_exist(tmp_path):
    with pytest.raises(IntegrationError, match="nowhere"):
        Settings(emotion_weights=tmp_path / "nowhere")


def test_the_bundled_models_load_in_the_background():
    loaded = Future()
    load_in_background(Settings(device="cpu"), loaded)
    parts = loaded.result(PATIENCE_S)
    assert parts.recognizer.recognize_words("I am so happy!").argmax() == 3
    reply = "".join(parts.responder.stream([{"role": "user", "content": "My dog ran away."}]))
    assert reply.strip()
    parts.transcriber.close()


def test_a_server_is_sent_nothing_before_somebody_speaks():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        loaded = Future()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1#some"
        load_in_background(Settings(model=url, device="cpu"), loaded)
        loaded.result(PATIENCE_S).transcriber.close()
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_region_reaches_the_answer_in_danger():
    loaded = Future()
    load_in_background(Settings(device="cpu", region="DE"), loaded)
    parts = loaded.result(PATIENCE_S)
    parts.transcriber.close()
    said = "".join(parts.responder.stream([{"role": "user", "content": "I want to kill myself."}]))
    assert "0800 111 0 111" in said
    assert "988" not in said


@pytest.mark.parametrize("bad", [{"region": "XX"}, {"quantize": "int8"}])
def test_what_the_model_cannot_do_is_an_error_of_the_loading(bad):
    loaded = Future()
    load_in_background(Settings(device="cpu", **bad), loaded)
    with pytest.raises(DialogueError, match=next(iter(bad.values()))):
        loaded.result(PATIENCE_S)


def test_an_unknown_model_is_an_error_of_the_loading(tmp_path):
    loaded = Future()
    load_in_background(Settings(model=str(tmp_path / "nowhere"), device="cpu"), loaded)
    with pytest.raises(ModelError, match="nowhere"):
        loaded.result(PATIENCE_S)


@pytest.mark.parametrize(
    ("model", "host"),
    [
        (None, None),
        ("organisation/model", None),
        ("http://127.0.0.1:8000/v1", None),
        ("http://localhost:8000/v1", None),
        ("https://llm.example.org/v1", "llm.example.org"),
    ],
)
def test_a_remote_model_is_known_to_be_one(model, host):
    assert Settings(model=model).words_go_to == host
