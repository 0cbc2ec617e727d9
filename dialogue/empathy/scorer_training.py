"""Trains the bundled empathy scorer, and measures it on posts that it did not learn from.

Every fold holds out a fifth of the posts with all their replies; regressions, their combination and
the network learn from the others. A temperature for each mechanism, which changes no decision, is
fitted to what was said of all other folds when they were held out. The scorer that is written is
made by the same recipe from all posts, its temperatures from all folds.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dialogue.empathy import scorer_card
from dialogue.empathy.agreement import (
    AGREEMENTS,
    calibration_error,
    confusion_of,
    f1_by_level,
    paired_differences,
)
from dialogue.empathy.annotations import (
    LEVELS,
    MECHANISMS,
    AnnotatedPair,
    levels_of,
    post_folds,
)
from dialogue.empathy.baseline import tuned_baseline
from dialogue.empathy.network import (
    ReplyNetwork,
    Teaching,
    restored_network,
    stored_network,
    teach,
)
from dialogue.empathy.reading import SentenceReader
from dialogue.empathy.scorer import NETWORK_SHARE, WEIGHTS, StackedScorer
from dialogue.empathy.sentences import sentence_levels
from dialogue.empathy.stack import (
    STRENGTHS,
    Stack,
    Strengths,
    Views,
    fit_stack,
    log_softmax,
    mixed,
    temperature_of,
    views_of,
)
from dialogue.errors import InputError

__all__ = ["EmpathyRecipe", "EmpathyRun"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Progress = Callable[[float], None]
"""Called with the share of a network's teaching that is done."""
_RUN: Final = "run.json"
TEACHING: Final = Teaching()


@dataclass(frozen=True)
class EmpathyRecipe:
    """Everything that decides the scorer, beside the data and the trunk.

    Attributes:
        folds: Of posts, each held out once.
        inner_folds: Within the training part, for the combination.
        strengths: Of the regressions.
        teaching: Of the network.
        resamples: Of the posts, for intervals.
        seed: Of the folds and the resamples.

    Raises:
        InputError: If there are fewer than two folds or no resamples.
    """

    folds: int = 5
    inner_folds: int = 4
    strengths: Strengths = STRENGTHS
    teaching: Teaching = TEACHING
    resamples: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.folds, self.inner_folds) < 2 or self.resamples < 1:
            raise InputError(f"Expected two folds or more and resamples, got {self}.")


class EmpathyRun:
    """One training run; what its folds found is kept, so that it can be resumed.

    Args:
        pairs: All annotated pairs.
        reader: Frozen.
        network: Its layers as they were pretrained; it stays as it is.
        folder: Where folds and the scorer go.
        recipe: How.
    """

    def __init__(
        self,
        pairs: Sequence[AnnotatedPair],
        reader: SentenceReader,
        network: ReplyNetwork,
        folder: Path,
        recipe: EmpathyRecipe = EmpathyRecipe(),
    ) -> None:
        self.pairs = list(pairs)
        self.reader = reader
        self._untaught = network
        self.folder = folder
        self.recipe = recipe
        self.levels = levels_of(self.pairs)
        self.posts = [pair.post_id for pair in self.pairs]
        self.folds = post_folds(self.posts, recipe.folds, recipe.seed)
        self._views: Views | None = None

    @property
    def is_begun(self) -> bool:
        """Whether the folder holds a run."""
        return (self.folder / _RUN).is_file()

    @property
    def done(self) -> int:
        """Folds that were measured."""
        return sum(self._fold_file(fold).is_file() for fold in range(self.recipe.folds))

    def begin(self) -> None:
        """Note what is run, or see that it is this.

        Raises:
            InputError: If the folder holds a run of another recipe or other pairs.
        """
        facts = {"recipe": asdict(self.recipe), "data": self._data_digest()}
        path = self.folder / _RUN
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(facts))
        elif json.loads(path.read_text()) != facts:
            raise InputError(f"Expected a run of this recipe and data in {path}, got another.")

    def measure(self, fold: int, progress: Progress | None = None) -> None:
        """Hold one fold out, learn the others, and keep what is said of it; once only."""
        if self._fold_file(fold).is_file():
            return
        held_out = np.flatnonzero(self.folds == fold)
        seen = np.flatnonzero(self.folds != fold)
        unseen = self.views.take(held_out)
        network = self.taught(seen, progress).log_probabilities(unseen.windows)
        said = {
            "pairs": held_out.tolist(),
            "stack": self.fit(seen).log_probabilities(unseen).tolist(),
            "network": network.tolist(),
            "baseline": self._baseline(seen, held_out).tolist(),
        }
        partial = self._fold_file(fold).with_suffix(".partial")
        partial.write_text(json.dumps(said))
        partial.replace(self._fold_file(fold))

    def taught(self, pairs: Ints, progress: Progress | None = None) -> ReplyNetwork:
        """Teach a network some pairs, by number; rounded to eight bits as it is stored."""
        network = copy.deepcopy(self._untaught)
        teach(
            network,
            [self.views.windows[pair] for pair in pairs],
            self.levels[pairs],
            [sentence_levels(self.pairs[pair]) for pair in pairs],
            self.recipe.teaching,
            progress,
        )
        device = str(network.attention.weight.device)
        return restored_network(stored_network(network), network.shape, device)

    def fit(self, pairs: Ints) -> Stack:
        """Learn some pairs, by number."""
        return fit_stack(
            self.views.take(pairs),
            self.levels[pairs],
            np.concatenate([sentence_levels(self.pairs[pair]) for pair in pairs]),
            self._inner_folds(pairs),
            self.recipe.strengths,
        )

    @property
    def views(self) -> Views:
        """Of all pairs, looked at once."""
        if self._views is None:
            self._views = views_of([(p.post, p.response) for p in self.pairs], self.reader)
        return self._views

    def scores(self) -> dict[str, Any]:
        """Figures of all folds together, as `scores.json` has them."""
        stacked, network, baseline = self._said()
        facts = {
            "pairs": len(self.pairs),
            "posts": len(set(self.posts)),
            "folds": self.recipe.folds,
            "resamples": self.recipe.resamples,
        }
        whole = self._calibrated(mixed(stacked, network, NETWORK_SHARE))
        parts = {"stack": self._calibrated(stacked), "network": self._calibrated(network)}
        return facts | {
            mechanism: self._agreement(self.levels[:, m], whole[:, m], baseline[:, m])
            | {
                f"{name}_alone": self._alone(self.levels[:, m], probabilities[:, m])
                for name, probabilities in parts.items()
            }
            for m, mechanism in enumerate(MECHANISMS)
        }

    def _said(self) -> tuple[Floats, Floats, Ints]:
        """Read what stack, network and baseline said of all pairs when they were held out."""
        stacked, network = np.zeros((2, *self.levels.shape, len(LEVELS)))
        baseline = np.zeros_like(self.levels)
        for fold in range(self.recipe.folds):
            said = json.loads(self._fold_file(fold).read_text())
            stacked[said["pairs"]] = said["stack"]
            network[said["pairs"]] = said["network"]
            baseline[said["pairs"]] = said["baseline"]
        return stacked, network, baseline

    def _calibrated(self, logs: Floats) -> Floats:
        """Probabilities (pair, mechanism, level), each fold by temperatures of the others."""
        probabilities = np.zeros_like(logs)
        for fold in range(self.recipe.folds):
            own = self.folds == fold
            temperatures = self._temperatures(logs[~own], self.levels[~own])
            probabilities[own] = np.exp(log_softmax(logs[own] / temperatures[:, None]))
        return probabilities

    @staticmethod
    def _temperatures(logs: Floats, levels: Ints) -> npt.NDArray[np.float32]:
        """Temperatures (mechanism,) that make levels (pair, mechanism) likeliest."""
        own = [temperature_of(logs[:, m], levels[:, m]) for m in range(len(MECHANISMS))]
        return np.array(own, np.float32)

    def export(self, folder: Path, progress: Progress | None = None) -> dict[str, Any]:
        """Learn all pairs, write scorer, scores and card, and return the scores.

        Args:
            folder: Of the scorer.
            progress: Called after each step of the network's.
        """
        scores = self.scores()
        training = {"command": "attune train-empathy", "recipe": asdict(self.recipe)}
        training |= {"data": self._data_digest()}
        self.learnt(training, progress).save(folder)
        (folder / scorer_card.SCORES).write_text(json.dumps(scores, indent=2) + "\n")
        for name in (scorer_card.CARD, "LICENSE"):
            if (WEIGHTS / name).is_file():
                (folder / name).write_bytes((WEIGHTS / name).read_bytes())
        if (folder / scorer_card.CARD).is_file():
            scorer_card.refresh(folder)
        return scores

    def learnt(
        self, training: Mapping[str, Any], progress: Progress | None = None
    ) -> StackedScorer:
        """Learn all pairs; every fold must be measured, for the temperatures.

        Args:
            training: Facts to note.
            progress: Called after each step of the network's.
        """
        every = np.arange(len(self.pairs))
        stacked, network, _ = self._said()
        temperatures = self._temperatures(mixed(stacked, network, NETWORK_SHARE), self.levels)
        return StackedScorer(
            self.reader, self.fit(every), self.taught(every, progress), temperatures, training
        )

    @staticmethod
    def _alone(levels: Ints, probabilities: Floats) -> list[float]:
        """Accuracy, macro-F1, kappa and nats a pair, of levels (pair,) and (pair, level)."""
        confusion = confusion_of(levels, probabilities.argmax(-1))
        likelihoods = probabilities[np.arange(len(levels)), levels]
        agreements = [float(agreement(confusion)) for agreement in AGREEMENTS.values()]
        return [*agreements, float(-np.log(likelihoods).mean())]

    def _agreement(self, levels: Ints, probabilities: Floats, baseline: Ints) -> dict[str, Any]:
        said = probabilities.argmax(-1)
        ours, theirs = confusion_of(levels, said), confusion_of(levels, baseline)
        differences = paired_differences(
            levels,
            said,
            baseline,
            np.array(self.posts),
            resamples=self.recipe.resamples,
            generator=np.random.default_rng(self.recipe.seed),
        )
        compared = {
            name: {
                "baseline": float(agreement(theirs)),
                "scorer": float(agreement(ours)),
                "difference": differences[name],
            }
            for name, agreement in AGREEMENTS.items()
        }
        likelihoods = probabilities[np.arange(len(levels)), levels]
        return compared | {
            "f1_by_level": f1_by_level(ours).tolist(),
            "confusion": ours.astype(int).tolist(),
            "nats_a_pair": float(-np.log(likelihoods).mean()),
            "calibration_error": calibration_error(probabilities, levels),
        }

    def _baseline(self, seen: Ints, held_out: Ints) -> Ints:
        """Levels (pair, mechanism) that the tuned baseline says."""
        texts = [self.pairs[pair].response for pair in seen]
        others = [self.pairs[pair].response for pair in held_out]
        inner = self._inner_folds(seen)
        columns = [tuned_baseline(texts, own, inner, others)[0] for own in self.levels[seen].T]
        return np.stack(columns, axis=1)

    def _inner_folds(self, pairs: Ints) -> Ints:
        posts = [self.posts[pair] for pair in pairs]
        return post_folds(posts, self.recipe.inner_folds, self.recipe.seed + 1)

    def _fold_file(self, fold: int) -> Path:
        return self.folder / f"fold-{fold}.json"

    def _data_digest(self) -> str:
        told = json.dumps([asdict(pair) for pair in self.pairs]).encode()
        return hashlib.sha256(told).hexdigest()


def run_with_bar(run: EmpathyRun, folder: Path) -> dict[str, Any]:
    """Measure every fold that is yet to be measured and export, with a progress bar."""
    with tqdm(total=run.recipe.folds + 1, desc="folds and the whole", unit="part") as bar:

        def show(share: float) -> None:
            bar.set_postfix({"network": f"{share:.0%}"}, refresh=False)
            bar.update(0)

        for fold in range(run.recipe.folds):
            run.measure(fold, show)
            bar.update()
        scores = run.export(folder, show)
        bar.update()
    return scores
