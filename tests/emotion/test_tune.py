"""The search for hyper-parameters: its space, that it finds, and that a killed one goes on."""

import json
import sys
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from emotion import InputError
from emotion.training.cli import RECIPES
from emotion.training.loop import Schedule, fit
from emotion.training.recipes import FaceRecipe, FusionRecipe, VoiceRecipe, voice_average
from emotion.training.tune import changed, development_speakers, space_of, tune


@dataclass(frozen=True)
class Config:
    dropout: float = 0.5
    factors: int = 7


@dataclass(frozen=True)
class Recipe:
    config: Config = field(default_factory=Config)
    schedule: Schedule = field(default_factory=lambda: Schedule(4, 1, 0.1, average=0.0))


class Killed(Exception):  # noqa: N818
    """What a kill looks like from inside."""


class Bowl:
    """Reports how near dropout is to 0.2 and factors are to 3; more epochs help a little."""

    def __init__(self, recipe, counter):
        self.recipe, self.counter = recipe, counter
        self.model = nn.Linear(1, 1)

    def order(self, batch, generator):
        return [torch.zeros(1, dtype=torch.long)]

    def loss(self, indices, progress, generator):
        self.counter["steps"] += 1
        if self.counter["steps"] == self.counter.get("killed_at"):
            raise Killed
        return self.model(torch.ones(1, 1)).square().mean()

    def epoch_done(self, averaged, epoch):
        config = self.recipe.config
        far = (config.dropout - 0.2) ** 2 + 0.01 * (config.factors - 3) ** 2
        return {"nearness": 1 - far + 0.001 * epoch, "other": 0.0}


def trainer(counter, seen):
    def train(recipe, folder):
        seen.append((folder.name, recipe))
        fit(Bowl(recipe, counter), recipe.schedule, folder, resume=True)

    return train


@pytest.fixture
def optuna():
    optuna = pytest.importorskip("optuna", reason="the extra training is not installed")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def test_the_first_trial_is_the_recipe_and_later_ones_are_better(tmp_path, optuna):
    seen = []
    best = tune("bowl", Recipe(), trainer({"steps": 0}, seen), tmp_path, trials=16)
    assert seen[0] == ("trial-000", Recipe())
    assert best["figure"] == "nearness"
    assert best["value"] > 0.97 > 1 - 0.09 - 0.16
    assert best["trials"] == 16
    assert best["cut_short"] > 0
    assert best["parameters"]["config.dropout"] == pytest.approx(0.2, abs=0.2)
    assert json.loads((tmp_path / "best.json").read_text()) == best
    rates = [recipe.schedule.learning_rate for _, recipe in seen]
    assert 0.01 <= min(rates) < 0.05 < 0.2 < max(rates) <= 1


def test_a_killed_search_ends_as_it_would_have(tmp_path, optuna, monkeypatch):
    monkeypatch.setattr("emotion.training.loop.SAVE_EVERY_S", 0.0)
    whole, cut = [], []
    wanted = tune("bowl", Recipe(), trainer({"steps": 0}, whole), tmp_path / "whole", trials=7)
    counter = {"steps": 0, "killed_at": 10}  # in the third epoch of the third trial
    with pytest.raises(Killed):
        tune("bowl", Recipe(), trainer(counter, cut), tmp_path / "cut", trials=7)
    found = tune("bowl", Recipe(), trainer(counter, cut), tmp_path / "cut", trials=7)
    assert found == wanted
    assert cut[2] == cut[3]  # the third was begun twice, in the same folder
    assert [*cut[:2], *cut[3:]] == whole
    more = tune("bowl", Recipe(), trainer(counter, cut), tmp_path / "cut", trials=9)
    assert more["trials"] == 9


def test_a_search_of_something_else_is_refused(tmp_path, optuna):
    tune("bowl", Recipe(), trainer({"steps": 0}, []), tmp_path, trials=1)
    with pytest.raises(InputError, match="of another seed"):
        tune("bowl", Recipe(), trainer({"steps": 0}, []), tmp_path, trials=1, seed=2)
    with pytest.raises(InputError, match="of another recipe"):
        tune("jar", Recipe(), trainer({"steps": 0}, []), tmp_path, trials=1)


def test_a_recipe_without_held_out_figures_is_told(tmp_path, optuna):
    with pytest.raises(InputError, match="held-out figures from the recipe bowl"):
        tune("bowl", Recipe(), lambda recipe, folder: None, tmp_path, trials=1)


def test_a_missing_optuna_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match="extra `training`"):
        tune("bowl", Recipe(), trainer({"steps": 0}, []), tmp_path, trials=1)


# ----------------------------------------------------------------------------- the space


@pytest.mark.parametrize(
    ("recipe", "places"),
    [
        (FusionRecipe(), {"factors", "outputs", "dropout", "sharpness", "learning_rate"}),
        (VoiceRecipe(), {"dropout", "sharpness", "learning_rate"}),
        (voice_average(), {"dropout", "learning_rate"}),  # no attention, no λ
        (FaceRecipe(), {"dropout", "learning_rate"}),
    ],
)
def test_a_recipe_is_searched_along_what_it_has(recipe, places):
    space = space_of(recipe)
    assert {d.place.split(".")[-1] for d in space} == places
    # a search that could not choose what the recipe has would start from nowhere
    for dimension in space:
        part, name = dimension.place.split(".")
        assert dimension.holds(getattr(getattr(recipe, part), name))


def test_what_has_nothing_to_search_is_refused():
    with pytest.raises(InputError, match="got SVRRecipe"):
        space_of(RECIPES["svr-audio"].load("svr-audio"))


def test_recipes_are_changed_at_a_place():
    recipe = changed(VoiceRecipe(), {"config.sharpness": 0.7, "schedule.epochs": 3})
    wanted = VoiceRecipe()
    assert recipe == replace(
        wanted,
        config=replace(wanted.config, sharpness=0.7),
        schedule=replace(wanted.schedule, epochs=3),
    )
    with pytest.raises(InputError, match=r"config\.smell"):
        changed(VoiceRecipe(), {"config.smell": 1})


def test_trials_are_judged_by_some_speakers_of_every_corpus():
    speakers = [f"a:{i}" for i in range(15)] + ["b:1", "b:2"]
    chosen = development_speakers(speakers, seed=1)
    assert [s.partition(":")[0] for s in chosen] == ["a", "a", "a", "b"]
    assert set(chosen) < set(speakers)
    assert chosen == development_speakers(speakers[::-1] * 2, seed=1)
    assert chosen != development_speakers(speakers, seed=2)
