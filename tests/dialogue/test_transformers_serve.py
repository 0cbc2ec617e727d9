"""The server that transformers brings, where its extra `serving` is installed."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.import_utils import is_serve_available

from dialogue.models.base import load_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_serve_available(), reason="transformers[serving] is not installed"),
]
TALK = [{"role": "user", "content": "Hello there."}]


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    tokenizer = corpus.prepared.tokenizer
    widths = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(vocab_size=len(tokenizer), eos_token_id=None, **widths, **heads)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder)]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--log-level", "info"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    said = iter(server.stderr.readline, "")
    assert any("Uvicorn running" in line for line in said), "the server ended"
    draining = threading.Thread(target=lambda: list(said), daemon=True)
    draining.start()
    yield f"http://127.0.0.1:{port}/v1"
    server.terminate()
    server.wait(20)


def test_it_answers_piece_by_piece(url, folder):
    pieces = list(load_model(f"{url}#{folder}").stream(TALK))
    assert len(pieces) > 1
    assert "".join(pieces).strip()


def test_a_cancelled_answer_ends(url, folder):
    cancel = threading.Event()
    stream = load_model(f"{url}#{folder}").stream(TALK, cancel=cancel)
    next(stream)
    cancel.set()
    assert list(stream) == []
