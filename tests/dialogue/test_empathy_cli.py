"""`attune evaluate`, with the parts it is mounted with."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dialogue.empathy import cli, scorer
from dialogue.errors import InputError, ModelError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch, empathy_fakes, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"some")
    monkeypatch.setattr(scorer, "load_scorer", lambda source, device: empathy_fakes.scorer)
    monkeypatch.setattr(scorer, "WEIGHTS", tmp_path / "weights")

    def run(*arguments):
        parser = argparse.ArgumentParser()
        cli.add_evaluate(parser.add_subparsers(), lambda device: empathy_fakes.reader)
        given = ["evaluate", "--out", str(tmp_path / "out"), "--device", "cpu"]
        args = parser.parse_args([*given, *map(str, arguments)])
        return args.run(args)

    return run


@pytest.fixture
def talks(tmp_path):
    path = tmp_path / "talks.jsonl"
    lines = []
    for n, (text, emotion) in enumerate((("My dog died.", "sad"), ("I got the job!", "joyful"))):
        turns = [{"speaker": "A", "text": text}, {"speaker": "B", "text": "Oh, tell me?"}]
        lines.append(json.dumps({"id": f"t{n}", "emotion": emotion, "turns": turns}))
    path.write_text("\n".join(lines))
    return path


def test_the_bundled_model_is_evaluated_and_nothing_is_generated_twice(
    command, talks, tmp_path, capsys, monkeypatch
):
    given = ("--conversations", talks, "--resamples", 200, "--arms", "none,oracle")
    assert command(*given) == 0
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {
        "report.html", "report.md", "report.json", "replies.jsonl", "journal.jsonl",
    }  # fmt: skip
    assert capsys.readouterr().out.count("Wrote ") == 4
    first, known = (out / "report.json").read_bytes(), (out / "journal.jsonl").read_bytes()
    assert command(*given) == 0
    assert (out / "journal.jsonl").read_bytes() == known
    assert (out / "report.json").read_bytes() == first
    report = json.loads(first)
    assert report["settings"]["model"]["kind"] == "BundledModel"
    assert report["rows"][0]["whole"]["perplexity"] > 1
    assert report["set"]["name"] == "talks.jsonl"
    assert report["settings"]["scorer"] == "bundled (sha256 of weights a6b46dd0d1ae5e86)"


def test_arms_that_no_conversation_allows_are_one_sentence(command, talks):
    lines = [json.loads(line) for line in talks.read_text().splitlines()]
    talks.write_text("\n".join(json.dumps({**line, "emotion": None}) for line in lines))
    with pytest.raises(InputError, match=r"Expected an arm .*, got oracle \("):
        command("--conversations", talks, "--arms", "oracle")


def test_ready_made_replies_load_no_model(command, talks, tmp_path, monkeypatch):
    from dialogue.models import base

    monkeypatch.setattr(base, "load_model", lambda *a, **k: pytest.fail("loaded a model"))
    path = tmp_path / "replies.jsonl"
    lines = [{"id": f"t{n}", "reply": "Oh?", "system": s} for n in range(2) for s in ("a", "b")]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert command("--conversations", talks, "--responses", path, "--resamples", 200) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["settings"]["systems"] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "Expected replies in .*, got none"),
        ("{", "Expected replies as JSON in line 1"),
        ('{"id": "t0"}', "Expected an id and a reply in line 1"),
        ('{"id": "t0", "reply": " "}', "Expected an id and a reply in line 1"),
        ('{"id": "t0", "reply": "Oh."}', "to all 2 conversations .* the first is t1"),
        ('{"id": "t0", "reply": "Oh."}\n{"id": "t0", "reply": "No."}', "Expected one reply to t0"),
    ],
)
def test_broken_replies_are_one_sentence(command, talks, tmp_path, line, why):
    path = tmp_path / "replies.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=why):
        command("--conversations", talks, "--responses", path)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("--conversations", "nowhere.jsonl"), "Expected conversations in a file"),
        (("--arms", "none,both"), "Expected arms out of .*, got 'both'"),
        (("--limit", "0"), "got a limit of 0"),
        (("--arms", ""), "Expected arms or ready-made replies"),
        (("--resamples", "3"), "at least 100 resamples, got 3"),
        (("--responses", "nowhere.jsonl"), "Expected replies in a file"),
        (("--judge-labels", "nowhere.jsonl"), "Expected judgements in a file"),
    ],
)
def test_a_mistake_is_one_sentence(command, given, why):
    with pytest.raises(InputError, match=why):
        command(*given)


def test_a_wrong_model_or_judge_is_one_sentence(command):
    with pytest.raises(ModelError, match="Expected a model's folder"):
        command("--model", "no such thing")
    with pytest.raises(ModelError, match="Expected an answer of"):
        command("--judge", "http://127.0.0.1:1/v1#x")


def test_labels_of_people_are_read(tmp_path):
    from dialogue.empathy.responses import read_labels

    path = tmp_path / "labels.jsonl"
    path.write_text('{"id": 1, "pair": ["a", "b"], "preferred": "tie"}\n')
    assert read_labels(path) == [("1", "a", "b", "tie")]
    path.write_text('{"id": 1, "pair": ["a", "b"], "preferred": "c"}\n')
    with pytest.raises(InputError, match="in line 1 of"):
        read_labels(path)


def test_help_names_the_arms(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        command("--help")
    shown = capsys.readouterr().out
    assert "none,predicted,oracle,shuffled,neutral" in shown
    assert "empathetic-dialogues" in shown.replace("-\n" + " " * 24, "-")


KILLED = """
import sys, types
import numpy as np
scorer = types.ModuleType("dialogue.empathy.scorer")
class Scorer:
    name = "even"
    def score(self, pairs):
        return np.full((len(pairs), 3, 3), 1 / 3)
scorer.WEIGHTS = "nowhere"
scorer.load_scorer = lambda source=None, device="auto": Scorer()
sys.modules[scorer.__name__] = scorer
from ui.cli import main
sys.exit(main(sys.argv[1:]))
"""


def started(out):
    arguments = ["evaluate", "--limit", "6", "--resamples", "200", "--device", "cpu", "--out", out]
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = started(killed)
    journal = killed / "journal.jsonl"
    until = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = journal.read_bytes()
    assert not (killed / "report.json").exists()
    assert started(killed).wait() == 0
    assert started(whole).wait() == 0
    kept = before[: before.rfind(b"\n") + 1]
    assert journal.read_bytes().startswith(kept)
    assert sorted(journal.read_bytes().splitlines()) == sorted(
        (whole / "journal.jsonl").read_bytes().splitlines()
    )
    for name in ("report.json", "report.md", "report.html", "replies.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
