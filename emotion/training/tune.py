"""Searches hyper-parameters of a recipe: seeded, resumable after a kill, bad trials cut short.

Tree-structured Parzen estimator (Bergstra et al., NIPS 2011) by Optuna. What is searched is a table
of places in recipes; a recipe is searched along those it has. What is maximised is the held-out
figure its training reports, on speakers or faces that are neither trained on nor tested.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emotion.errors import CheckpointError, InputError
from emotion.training.loop import Figures, watching

__all__ = ["DIMENSIONS", "Dimension", "changed", "development_speakers", "space_of", "tune"]

TRIALS_FILE = "trials.journal"
BEST_FILE = "best.json"


@dataclass(frozen=True)
class Dimension:
    """One hyper-parameter and where it is searched.

    Attributes:
        place: Names of fields from the recipe down, with dots.
        low: Least value; of a relative one, times the recipe's own.
        high: Greatest value, likewise.
        scale: "linear", or "log" for a search by order of magnitude.
        whole: Whether it is a whole number.
        choices: Instead of a range, the only values there are.
        relative: Whether low and high are factors of the recipe's own value.
        unless: A place and the value there with which this one changes nothing.
    """

    place: str
    low: float = 0.0
    high: float = 1.0
    scale: str = "linear"
    whole: bool = False
    choices: tuple[int, ...] = ()
    relative: bool = False
    unless: tuple[str, str] = ("", "")

    def suggested(self, trial: Any, own: Any) -> Any:
        """Let an Optuna trial choose a value, `own` being the recipe's."""
        if self.choices:
            return trial.suggest_categorical(self.place, self.choices)
        low, high = self._range(own)
        if self.whole:
            return trial.suggest_int(self.place, int(low), int(high), log=self.scale == "log")
        return trial.suggest_float(self.place, low, high, log=self.scale == "log")

    def holds(self, own: Any) -> bool:
        """Whether the recipe's own value is one that could be chosen."""
        low, high = self._range(own)
        return own in self.choices if self.choices else bool(low <= own <= high)

    def _range(self, own: Any) -> tuple[float, float]:
        times = own if self.relative else 1
        return self.low * times, self.high * times


DIMENSIONS = (
    Dimension("config.factors", 1, 8, whole=True),
    Dimension("config.outputs", choices=(32, 64, 128, 256, 512)),
    Dimension("config.dropout", 0.0, 0.6),
    Dimension("config.sharpness", 0.1, 3.0, "log", unless=("config.pooling", "average")),
    Dimension("schedule.learning_rate", 0.1, 10.0, "log", relative=True),
)
"""FBP's k, o and dropout, attention's λ, and the learning rate, whichever a recipe has."""


def space_of(recipe: Any) -> tuple[Dimension, ...]:
    """Those of DIMENSIONS that the recipe has.

    Raises:
        InputError: If it has none.
    """
    space = tuple(
        d
        for d in DIMENSIONS
        if _at(recipe, d.place) is not None and _at(recipe, d.unless[0]) != d.unless[1]
    )
    if not space:
        places = ", ".join(d.place for d in DIMENSIONS)
        raise InputError(f"Expected a recipe with one of {places}, got {type(recipe).__name__}.")
    return space


def changed(recipe: Any, values: Mapping[str, Any]) -> Any:
    """Change a recipe at some places, such as "config.dropout".

    Raises:
        InputError: If it has no such place.
    """
    for place, value in values.items():
        if _at(recipe, place) is None:
            raise InputError(f"Expected a recipe with {place}, got {type(recipe).__name__}.")
        recipe = _replaced(recipe, place.split("."), value)
    return recipe


def _at(recipe: Any, place: str) -> Any:
    for name in place.split("."):
        recipe = getattr(recipe, name, None)
    return recipe


def _replaced(part: Any, names: list[str], value: Any) -> Any:
    name, *rest = names
    return replace(part, **{name: _replaced(getattr(part, name), rest, value) if rest else value})


def development_speakers(speakers: Collection[str], seed: int, one_in: int = 5) -> tuple[str, ...]:
    """Choose the speakers to judge trials by: of each corpus one in so many, and at least one.

    Args:
        speakers: Ids as "<corpus>:<id>" of all that may be trained on; never those to be tested.
        seed: Of the choice.
        one_in: See above.
    """
    chosen: list[str] = []
    generator = np.random.default_rng(seed)
    for corpus in sorted({speaker.partition(":")[0] for speaker in speakers}):
        own = sorted({s for s in speakers if s.partition(":")[0] == corpus})
        chosen += generator.permutation(own)[: max(1, len(own) // one_in)].tolist()
    return tuple(sorted(chosen))


def tune(
    name: str,
    recipe: Any,
    train: Callable[[Any, Path], object],
    out: Path,
    *,
    trials: int,
    seed: int = 1,
) -> dict[str, Any]:
    """Train by variations of a recipe and keep which was best.

    The first trial is the recipe as it is. Trials lie in `out`, a folder each; a search that was
    killed goes on where it was, its last trial from its last saved step, and ends as it would have.

    Args:
        name: Of the recipe.
        recipe: What to vary.
        train: Trains by a recipe into a folder, going on from what is there, with
            `emotion.training.loop.fit`.
        out: Folder of the trials and of best.json. One search at a time may use it.
        trials: How many there should be in the end, those of earlier calls included.
        seed: Of the search.

    Returns:
        What best.json holds: recipe, figure (its name), value, parameters by place, folder, and how
        many trials there were and were cut short.

    Raises:
        InputError: If Optuna is missing, the recipe has nothing to vary or no held-out figure, or
            `out` holds a search of something else.
    """
    search = _Search(name, recipe, out, seed)
    search.revive()
    while search.finished < trials:
        search.one_trial(train)
    return search.best()


class _Search:
    def __init__(self, name: str, recipe: Any, out: Path, seed: int) -> None:
        self.optuna = _optuna()
        self.name, self.recipe, self.out, self.seed = name, recipe, out, seed
        self.space = space_of(recipe)
        self.figure = ""
        out.mkdir(parents=True, exist_ok=True)
        journal = self.optuna.storages.journal
        self.study = self.optuna.create_study(
            study_name="attune",
            storage=journal.JournalStorage(journal.JournalFileBackend(str(out / TRIALS_FILE))),
            pruner=self.optuna.pruners.MedianPruner(n_startup_trials=4, n_min_trials=3),
            direction="maximize",
            load_if_exists=True,
        )
        self._claim()

    def _claim(self) -> None:
        """Write down what is searched, or check that it is the same as before."""
        wanted = {"recipe": self.name, "seed": self.seed, "of": repr(self.recipe)}
        found = self.study.user_attrs.get("search")
        if found is None:
            self.study.set_user_attr("search", wanted)
            own = {d.place: _at(self.recipe, d.place) for d in self.space}
            self.study.enqueue_trial(
                {d.place: own[d.place] for d in self.space if d.holds(own[d.place])}
            )
        elif found != wanted:
            differing = ", ".join(key for key in wanted if wanted[key] != found.get(key))
            raise InputError(
                f"Expected the trials of this search in {self.out}, got those of another "
                f"{differing} (recipe {found['recipe']}, seed {found['seed']})."
            )

    @property
    def finished(self) -> int:
        states = self.optuna.trial.TrialState
        return len(self.study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED)))

    def revive(self) -> None:
        """Ask again for what a killed search was at."""
        states = self.optuna.trial.TrialState
        for trial in self.study.get_trials(states=(states.RUNNING,)):
            self.study.tell(trial.number, state=states.FAIL)
            self.study.enqueue_trial(trial.params)

    def one_trial(self, train: Callable[[Any, Path], object]) -> None:
        number = self.finished
        # the sampler starts anew each time, so that it goes on after a kill as it would have
        self.study.sampler = self.optuna.samplers.TPESampler(seed=self.seed * 100_003 + number)
        trial = self.study.ask()
        values = {d.place: d.suggested(trial, _at(self.recipe, d.place)) for d in self.space}
        folder = self.out / f"trial-{number:03}"
        trial.set_user_attr("folder", folder.name)
        heard: dict[int, float] = {}

        def watch(epoch: int, figures: Figures) -> None:
            self.figure, value = next(iter(figures.items()))
            # what is trained after something else counts its epochs from 0 again
            step = max([epoch, *(before + 1 for before in heard)])
            heard[step] = value
            trial.report(value, step)
            if math.isnan(value) or trial.should_prune():
                raise self.optuna.TrialPruned

        states = self.optuna.trial.TrialState
        try:
            with watching(watch):
                train(changed(self.recipe, values), folder)
        except self.optuna.TrialPruned:
            self.study.tell(trial, state=states.PRUNED)
            return
        if not heard:
            raise InputError(f"Expected held-out figures from the recipe {self.name}, got none.")
        trial.set_user_attr("figure", self.figure)
        self.study.tell(trial, heard[max(heard)])

    def best(self) -> dict[str, Any]:
        """Write best.json."""
        states = self.optuna.trial.TrialState
        if not self.study.get_trials(deepcopy=False, states=(states.COMPLETE,)):
            raise CheckpointError(
                f"Expected a trial that trained to its end in {self.out}, got none."
            )
        trial = self.study.best_trial
        found = {
            "recipe": self.name,
            "figure": trial.user_attrs["figure"],
            "value": trial.value,
            "parameters": trial.params,
            "folder": trial.user_attrs["folder"],
            "trials": self.finished,
            "cut_short": len(self.study.get_trials(deepcopy=False, states=(states.PRUNED,))),
            "seed": self.seed,
        }
        (self.out / BEST_FILE).write_text(json.dumps(found, indent=2) + "\n")
        return found


def _optuna() -> Any:
    try:
        import optuna
        from optuna.storages import journal  # noqa: F401  # not there until it is imported
    except ImportError as error:
        raise InputError(
            "Expected the extra `training` (Optuna) for tuning, found none."
        ) from error
    return optuna
