"""`attune train` and `attune score`, from the arguments to the files."""

import gzip
import inspect
import json
from dataclasses import is_dataclass, replace

import pytest

from emotion import EMOTIONS, CorpusError, EmotionError, InputError, checkpoint
from emotion.corpora.goemotions import EKMAN
from emotion.models.adaptive_voice import AdaptiveVoiceConfig
from emotion.models.attention_fcn import AttentionFCNConfig, ConvLayer
from emotion.training import cli, recipes
from emotion.training.cli import RECIPES
from emotion.training.loop import Schedule
from emotion.words import WordsConfig


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
    little = recipes.WordsRecipe(
        config=WordsConfig(512, 512, width=8, hidden=8),
        schedule=replace(recipes.WordsRecipe().schedule, epochs=5, batch=8, average=0.9),
        strength=100.0,
        dialogues=(),
        feelings=(),
    )
    monkeypatch.setattr(recipes, "WordsRecipe", lambda: little)
    assert attune("train", "words", "--data", comments, "--out", tmp_path / "words") == 0
    out = tmp_path / "scores" / "words.json"
    model = tmp_path / "words"
    assert attune("score", "goemotions", "--data", comments, "--model", model, "--json", out) == 0
    found = json.loads(out.read_text())
    assert found["macro_f1_with_thresholds"] == pytest.approx(1.0)
    assert "macro_f1" in capsys.readouterr().out
    facts = checkpoint.read(model).training
    assert (facts["corpora"], facts["seed"]) == (["goemotions train"], 1)


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
        (
            ("train", "svr-audio", "--seed", "2", "--data", "."),
            InputError,
            "no --seed for svr-audio, got 2",
        ),
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


def test_a_failed_score_leaves_no_report(attune, tmp_path):
    with pytest.raises(CorpusError):
        attune("score", "tess", "--data", tmp_path, "--json", tmp_path / "scores.json")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- the table of recipes


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_found_and_takes_what_the_table_says(name):
    entry = RECIPES[name]
    recipe = entry.load(name)
    assert is_dataclass(recipe)
    taken = inspect.signature(entry.train_with()).parameters
    assert set(entry.options) - {"epochs", "seed", "corpora"} <= set(taken)
    if "epochs" in entry.options:
        changed = entry.load(name, epochs=3, seed=5)
        assert (changed.schedule.epochs, changed.schedule.seed) == (3, 5)
        assert replace(changed, schedule=recipe.schedule) == recipe
    if "corpora" in entry.options:
        assert entry.load(name, corpora=("emodb",)).corpora == ("emodb",)


def test_help_lists_every_recipe_with_its_line(attune, capsys):
    with pytest.raises(SystemExit):
        attune("train", "--help")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {f"{name} {entry.help}" for name, entry in RECIPES.items()} <= set(lines)


def test_figures_are_shown_as_what_they_are():
    shown = cli._lines(
        {
            "uar": {"value": 0.5, "low": 0.4, "high": 0.6},
            "raw": {"arousal": {"value": 0.7891, "low": None, "high": None}},
        }
    )
    assert [" ".join(line.split()) for line in shown] == [
        "uar 50.0 % [40.0, 60.0]",
        "raw",
        "arousal 0.789 [?, ?]",
    ]


@pytest.fixture
def little_voice(monkeypatch):
    schedule = Schedule(epochs=1, batch=8, learning_rate=1e-3, average=0.5)
    config = AttentionFCNConfig((ConvLayer(4, 5, 4),), attention_hidden=4, sharpness=0.5)
    small = AdaptiveVoiceConfig(hidden=4, members=1)
    recipe = recipes.AdaptiveVoiceRecipe(
        config, schedule, ("emodb",), 40, adaptive=small, judging=schedule, views=1
    )
    monkeypatch.setattr(recipes, "AdaptiveVoiceRecipe", lambda: recipe)


def test_a_voice_is_tuned_on_speakers_that_are_not_tested(
    attune, little_voice, tmp_path, write_ravdess, capsys
):
    pytest.importorskip("optuna", reason="the extra training is not installed")
    write_ravdess(tmp_path, actors=(1, 2, 3))
    given = ("voice", "--data", tmp_path, "--cache", tmp_path / "cache", "--corpora", "ravdess")
    asked = (*given, "--out", tmp_path / "tune", "--without-speakers", "ravdess:02")
    assert attune("tune", *asked, "--trials", "2") == 0
    best = json.loads((tmp_path / "tune" / "best.json").read_text())
    assert "held-out UAR" in capsys.readouterr().out
    assert (best["figure"], best["trials"]) == ("held-out UAR", 2)
    facts = checkpoint.read(tmp_path / "tune" / best["folder"]).training
    assert {*facts["speakers"], *facts["held_out_speakers"]} == {"ravdess:01", "ravdess:03"}
    tuned = ("--tuned", tmp_path / "tune" / "best.json", "--out", tmp_path / "voice")
    assert attune("train", *given, *tuned) == 0
    stored = checkpoint.read(tmp_path / "voice")
    assert stored.config["fcn"]["sharpness"] == best["parameters"]["config.sharpness"]
    assert len(stored.training["speakers"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "voice", "--corpora", "goemotions"), "speech among .+ got goemotions"),
        (("train", "face", "--corpora", "ravdess"), "no --corpora for face, got "),
        (("train", "voice", "--tuned", "nowhere.json"), "best.json of `attune tune` at nowhere"),
        (("tune", "voice", "--trials", "0"), "at least one trial, got 0"),
        (("tune", "svr-audio"), "a recipe with one of config.factors"),
        (("tune", "hybrid"), "a recipe to tune among .*, got hybrid"),
    ],
)
def test_what_a_recipe_cannot_do_is_told(attune, tmp_path, arguments, message):
    pytest.importorskip("optuna", reason="the extra training is not installed")
    with pytest.raises(EmotionError, match=message):
        attune(*arguments, "--data", tmp_path, "--out", tmp_path / "out")


def test_help_is_not_formatted_twice(attune, capsys):
    with pytest.raises(SystemExit):
        attune("score", "--help")
    assert "95 % bootstrap" in " ".join(capsys.readouterr().out.split())
