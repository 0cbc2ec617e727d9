"""`attune train-dialogue`."""

import argparse
import json
import shutil
from dataclasses import replace

import pytest
from transformers import AutoModelForCausalLM

from dialogue import cli, data, training
from dialogue.affect import UserAffect
from dialogue.errors import CorpusError, InputError, ModelError
from dialogue.learned_text import LearnedText
from dialogue.learning import learn
from dialogue.models.base import load_model
from dialogue.prefix import EmotionPrefix
from dialogue.prefix_training import digest


def run(*arguments):
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    args = parser.parse_args(["train-dialogue", *map(str, arguments)])
    return args.run(args)


@pytest.fixture
def small(corpus, monkeypatch):
    monkeypatch.setattr(training, "Recipe", lambda: corpus.recipe)
    monkeypatch.setattr(training, "SOURCES", corpus.sources)
    monkeypatch.setattr(data, "SOURCES", corpus.sources)
    monkeypatch.setattr(training.prepare, "__defaults__", (corpus.sources,))
    return corpus


def test_it_trains_and_writes_a_model(small, tmp_path, capsys):
    assert run("--data", small.root, "--out", tmp_path) == 0
    assert "Wrote" in capsys.readouterr().out
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model.config.vocab_size == small.recipe.shape.vocabulary


def test_resume_goes_on_from_the_checkpoint(small, tmp_path, capsys):
    begun = training.Run(small.prepared, small.recipe, tmp_path)
    learn(begun, until_step=3)
    assert run("--data", small.root, "--out", tmp_path, "--resume") == 0
    assert f"Going on from step 3 of {begun.steps}." in capsys.readouterr().out


def test_a_run_is_never_overwritten(small, tmp_path):
    training.Run(small.prepared, small.recipe, tmp_path).save()
    with pytest.raises(InputError, match="Expected --resume or a new --out, got"):
        run("--data", small.root, "--out", tmp_path)


@pytest.mark.parametrize("inner", ["", "below/it"])
def test_a_file_as_out_is_refused_before_any_work(tmp_path, inner):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(InputError, match=r"Expected a folder for --out, got .*notes\.txt"):
        run("--data", tmp_path / "nowhere", "--out", file / inner if inner else file)


def test_no_data_folder_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.delenv("ATTUNE_DATA", raising=False)
    with pytest.raises(CorpusError, match="Expected --data FOLDER"):
        run("--out", tmp_path)


def test_a_wrong_data_folder_is_one_sentence(tmp_path):
    with pytest.raises(CorpusError, match="Expected conversations at"):
        run("--data", tmp_path / "nowhere", "--out", tmp_path)


def test_help_says_what_it_needs(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    assert "--data" in capsys.readouterr().out


def test_recipes_are_checked_at_birth(corpus):
    with pytest.raises(InputError, match="Expected rows, got 0"):
        replace(corpus.recipe, batch_rows=0)


@pytest.fixture
def own_model(small, tmp_path):
    run_ = training.Run(small.prepared, small.recipe, tmp_path / "own")
    training.export(run_, tmp_path / "model")
    return tmp_path / "model"


def test_a_prefix_is_trained_for_a_model_that_stays_as_it_is(small, own_model, tmp_path, capsys):
    before = (own_model / "model.safetensors").read_bytes()
    asked = ("--prefix-only", "--model", own_model, "--data", small.root, "--steps", 3)
    assert run(*asked, "--out", tmp_path / "out") == 0
    assert "lay its two files beside the model" in capsys.readouterr().out
    for name in ("prefix.json", "prefix.safetensors"):
        shutil.copy(tmp_path / "out/prefix" / name, own_model)
    assert (own_model / "model.safetensors").read_bytes() == before
    model = load_model(str(own_model), device="cpu", seed=0)
    assert model.model._prefix is not None
    sad = UserAffect("sad", confidence=0.7)
    assert model.reply([{"role": "user", "content": "I lost my keys."}], affect=sad)


def test_a_prefix_and_its_model_are_trained_together(small, own_model, tmp_path):
    out = tmp_path / "out"
    assert run("--model", own_model, "--data", small.root, "--steps", 2, "--out", out) == 0
    with pytest.raises(ModelError, match="with its own model"):
        EmotionPrefix.load(out / "prefix", AutoModelForCausalLM.from_pretrained(own_model))
    changed = AutoModelForCausalLM.from_pretrained(out / "prefix")
    assert EmotionPrefix.load(out / "prefix", changed).shape.tokens == 4


def test_a_model_knows_what_it_learnt_from(small, own_model, tmp_path, monkeypatch):
    long = "there was nobody at home when we came back from the lake"
    monkeypatch.setattr(data, "learned_texts", lambda root: [long])
    assert run("--data", small.root, "--out", tmp_path / "new") == 0
    asked = ("--model", own_model, "--data", small.root, "--steps", 1)
    assert run(*asked, "--out", tmp_path / "changed") == 0
    for model in ("new/model", "changed/prefix"):
        assert LearnedText.load(tmp_path / model).holds(long)


def test_a_prefix_run_is_never_overwritten_and_goes_on(small, own_model, tmp_path, capsys):
    asked = ("--prefix-only", "--model", own_model, "--data", small.root, "--steps", 2)
    assert run(*asked, "--out", tmp_path / "out") == 0
    with pytest.raises(InputError, match="Expected --resume or a new --out, got"):
        run(*asked, "--out", tmp_path / "out")
    assert run(*asked, "--out", tmp_path / "out", "--resume") == 0
    assert "Going on from step 2 of 2." in capsys.readouterr().out


def test_a_prefix_needs_a_model(small, tmp_path):
    with pytest.raises(InputError, match="Expected --model FOLDER with --prefix-only"):
        run("--prefix-only", "--data", small.root, "--out", tmp_path)


def test_what_was_heard_is_learnt_from(small, own_model, tmp_path):
    heard = tmp_path / "heard.json"
    heard.write_text(json.dumps({digest("i lost my keys today"): [1 / 7] * 7}))
    asked = ("--model", own_model, "--data", small.root, "--steps", 1, "--heard", heard)
    assert run(*asked, "--out", tmp_path / "out") == 0


def test_a_broken_file_of_what_was_heard_is_one_sentence(small, own_model, tmp_path):
    heard = tmp_path / "heard.json"
    asked = ("--model", own_model, "--data", small.root, "--heard", heard, "--out", tmp_path)
    for write in (lambda: None, lambda: heard.write_text("{")):
        write()
        with pytest.raises(InputError, match="Expected feelings heard in words in"):
            run(*asked)
