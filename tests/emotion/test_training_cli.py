"""`attune train` and `attune score`, from the arguments to the files."""

import argparse
import gzip
import json

import pytest

from emotion import EMOTIONS, CorpusError, EmotionError, InputError, checkpoint
from emotion.corpora.goemotions import EKMAN
from emotion.training import recipes
from emotion.training.cli import add_commands
from emotion.words import WordsConfig


@pytest.fixture
def attune(monkeypatch):
    monkeypatch.delenv("ATTUNE_DATA", raising=False)

    def run(*arguments):
        parser = argparse.ArgumentParser()
        add_commands(parser.add_subparsers(required=True))
        args = parser.parse_args([str(a) for a in arguments])
        return args.run(args)

    return run


@pytest.fixture
def comments(tmp_path):
    with gzip.open(tmp_path / "goemotions.jsonl.gz", "wt") as out:
        for i in range(210):
            emotion = EMOTIONS[i % 7]
            turn = {"text": f"{emotion} word{i % 3}", "emotion": [EKMAN[emotion][0]]}
            split = ("train", "valid", "test")[i // 7 % 3]
            out.write(json.dumps({"split": split, "turns": [turn]}) + "\n")
    return tmp_path


def test_words_are_trained_and_scored(attune, comments, tmp_path, monkeypatch, capsys):
    little = recipes.WordsRecipe(config=WordsConfig(512, 512), iterations=20)
    monkeypatch.setattr(recipes, "WordsRecipe", lambda: little)
    assert attune("train", "words", "--data", comments, "--out", tmp_path / "words") == 0
    out = tmp_path / "scores" / "words.json"
    model = tmp_path / "words"
    assert attune("score", "goemotions", "--data", comments, "--model", model, "--json", out) == 0
    found = json.loads(out.read_text())
    assert found["macro_f1_with_thresholds"] == pytest.approx(1.0)
    assert "macro_f1" in capsys.readouterr().out
    assert checkpoint.read(model).training["corpora"] == ["goemotions train"]


def test_the_folder_may_come_from_the_environment(attune, comments, monkeypatch, capsys):
    monkeypatch.setenv("ATTUNE_DATA", str(comments))
    assert attune("score", "goemotions", "--emotions", "six") == 0
    assert "surprise" in capsys.readouterr().out  # F1 is of all; the single labels of six


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("score", "ravdess"), CorpusError, "--data or ATTUNE_DATA, got none"),
        (("score", "ravdess", "--data", "/nowhere"), CorpusError, "corpora at /nowhere"),
        (("train", "voice", "--epochs", "0"), InputError, "at least one epoch, got 0"),
        (("train", "words", "--seed", "2", "--data", "."), InputError, "no --epochs or --seed"),
    ],
)
def test_wrong_arguments_are_told(attune, arguments, error, message):
    with pytest.raises(error, match=message):
        attune(*arguments)


def test_an_unknown_recipe_exits_with_two(attune, capsys):
    with pytest.raises(SystemExit) as exit_:
        attune("train", "smell")
    assert exit_.value.code == 2
    assert "smell" in capsys.readouterr().err


@pytest.mark.data
def test_unknown_speakers_are_told(attune, data_root, tmp_path):
    with pytest.raises(CorpusError, match="got ravdess:99"):
        attune(
            "train", "voice", "--data", data_root, "--out", tmp_path,
            "--without-speakers", "ravdess:99", "--cache", tmp_path / "cache",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["score", "fer2013", "--baseline"], "corpus of voices"),
        (["score", "tess", "--split", "Nope"], "no split for tess"),
        (["score", "fer2013", "--json", "FILE/x.json"], "file to write"),
        (["score", "fer2013", "--model", "FILE"], "checkpoint file"),
        (["train", "words", "--out", "FILE"], "folder to write"),
    ],
)
def test_what_cannot_be_done_is_said_before_it_is_begun(tmp_path, attune, arguments, wanted):
    (tmp_path / "FILE").write_text("in the way")
    (tmp_path / "root").mkdir()
    given = [a.replace("FILE", str(tmp_path / "FILE")) for a in arguments]
    with pytest.raises(EmotionError, match=wanted):
        attune(*given, "--data", tmp_path / "root")


def test_help_is_not_formatted_twice(attune, capsys):
    with pytest.raises(SystemExit):
        attune("score", "--help")
    assert "95 % bootstrap" in " ".join(capsys.readouterr().out.split())
