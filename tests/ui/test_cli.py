import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from ui import cli

COMMAND = [sys.executable, "-m", "ui.cli"]


def run(*arguments, timeout_s=120):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )


def one_sentence(text):
    return text.startswith("attune: ") and text.count("\n") == 1 and "Traceback" not in text


@pytest.mark.parametrize(
    "command", ["chat", "recognize", "train", "score", "train-dialogue", "evaluate"]
)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert command in capsys.readouterr().out


def test_the_version_is_the_distributions(capsys):
    from importlib.metadata import version

    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"attune {version('attune')}\n"


@pytest.mark.parametrize("wrong", [[], ["sing"], ["chat", "--port", "many"], ["recognize"]])
def test_a_command_line_that_is_not_understood_exits_with_2(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(wrong)
    assert ended.value.code == 2
    assert "usage: attune" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys, ui.cli; ui.cli.parser().format_help();"
        "print([m for m in ('torch', 'gradio', 'transformers', 'av', 'fastapi')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_is_there_at_once():
    def seconds():
        begun = time.perf_counter()
        assert run("--help").returncode == 0
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(3)) <= 0.3


def test_a_missing_file_is_one_sentence(tmp_path, capfd):
    assert cli.main(["recognize", str(tmp_path / "nowhere.mp4")]) == 2
    error = capfd.readouterr().err
    assert "nowhere.mp4" in error
    assert error.count("\n") == 1


def test_a_file_that_is_no_media_is_one_sentence(tmp_path, capfd):
    letter = tmp_path / "letter.mp4"
    letter.write_text("Dear friend, this is no video.")
    assert cli.main(["recognize", str(letter)]) == 2
    error = capfd.readouterr().err
    assert "letter.mp4" in error
    assert error.count("\n") == 1


def test_an_unknown_dialogue_model_ends_the_server_with_one_sentence(tmp_path):
    done = run("chat", "--port", "0", "--model", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert one_sentence(done.stderr), done.stderr
    assert "nowhere" in done.stderr


def test_missing_emotion_weights_are_one_sentence(tmp_path, capsys):
    assert cli.main(["chat", "--emotion-weights", str(tmp_path / "nowhere")]) == 2
    assert one_sentence(capsys.readouterr().err)


def test_conversations_that_are_not_there_are_one_sentence(tmp_path, capsys):
    nowhere = str(tmp_path / "nowhere.jsonl")
    assert cli.main(["evaluate", "--conversations", nowhere, "--out", str(tmp_path)]) == 2
    assert one_sentence(capsys.readouterr().err)


def test_a_model_url_that_cannot_be_read_is_one_sentence(capsys):
    assert cli.main(["chat", "--model", "http://[bad"]) == 2
    error = capsys.readouterr().err
    assert one_sentence(error)
    assert "http://[bad" in error


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_file_name_that_is_not_text_is_printed_all_the_same(tmp_path):
    picture = os.fsencode(tmp_path) + b"/face\xff.png"
    with Path(os.fsdecode(picture)).open("wb") as file:
        Image.fromarray(data.astronaut()).save(file, "PNG")
    done = subprocess.run(
        [*COMMAND, "recognize", picture],
        capture_output=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.returncode == 0, done.stderr
    assert b"face\\udcff.png" in done.stdout


def test_a_port_in_use_is_one_sentence(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["chat", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert one_sentence(error)
    assert str(port) in error


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_port_that_cannot_be_is_one_sentence(port, capsys):
    assert cli.main(["chat", f"--port={port}"]) == 2
    assert one_sentence(capsys.readouterr().err)


def test_an_interrupted_command_says_nothing_more(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_chat", interrupted)
    assert cli.main(["chat"]) == 130
    assert capsys.readouterr().err == ""


def test_serving_ends_quietly_on_ctrl_c():
    process = subprocess.Popen(
        [*COMMAND, "chat", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if "http://127.0.0.1:" in line:
            break
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "deleted" in out
    assert error == ""


@pytest.fixture
def unserved(monkeypatch):
    """Announce the page and end at once; yields how it would have been served."""
    served = []

    def serve(settings, listener, announce, access):
        served.append(access)
        announce()

    monkeypatch.setattr("ui.server.serve", serve)
    return served


def test_an_address_others_can_reach_needs_a_login(unserved, capsys):
    assert cli.main(["chat", "--host", "0.0.0.0", "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert one_sentence(error)
    assert "--auth" in error
    assert unserved == []


def test_an_address_others_can_reach_is_said_to_be_one(unserved, capsys):
    assert cli.main(["chat", "--host", "0.0.0.0", "--port", "0", "--auth", "me"]) == 0
    out = capsys.readouterr().out
    assert "--tls-cert" in out
    assert f"The login is {unserved[0].login}" in out
    assert cli.main(["chat", "--port", "0"]) == 0
    out = capsys.readouterr().out
    assert "login" not in out
    assert "http://127.0.0.1:" in out
    assert unserved[1].login is None


def test_a_certificate_that_is_none_is_one_sentence(unserved, tmp_path, capsys):
    nowhere = str(tmp_path / "cert.pem")
    assert cli.main(["chat", "--port", "0", "--tls-cert", nowhere]) == 2
    error = capsys.readouterr().err
    assert one_sentence(error)
    assert nowhere in error


def test_gradio_is_told_to_send_nothing():
    code = "import ui.app, os; print(os.environ['GRADIO_ANALYTICS_ENABLED'])"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRADIO")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "False"


def test_a_reader_that_has_enough_gets_no_traceback(tmp_path):
    Image.fromarray(data.astronaut()).save(tmp_path / "face.png")
    process = subprocess.Popen(
        [*COMMAND, "recognize", str(tmp_path / "face.png"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141
