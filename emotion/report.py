"""Figures of what was said of a corpus, with intervals, as plain JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emotion.calibration import UNCLEAR_BELOW
from emotion.labels import EMOTIONS, Emotion
from emotion.metrics import (
    accuracy_of_surest,
    calibration_errors_by_chance,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    recalls,
    unweighted_average_recall,
    weighted_accuracy,
)

if TYPE_CHECKING:
    from emotion.training.histories import Known

__all__ = [
    "RESAMPLES",
    "SEED",
    "Predictions",
    "bootstrap_interval",
    "by_sex",
    "report",
    "resampled",
    "rounded",
    "spread",
    "voice_figures",
]

RESAMPLES = 1000

SEED = 1

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Where the trade of coverage for accuracy is looked at."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Predictions:
    """What was true and what was said of some samples.

    Attributes:
        truth: (sample,) index into EMOTIONS.
        probabilities: (sample, emotion), calibrated.
        groups: (sample,) whom each is of; resampling draws whole groups.
    """

    truth: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    groups: npt.NDArray[Any]

    def take(self, kept: npt.NDArray[np.bool_]) -> Predictions:
        """Keep the samples where a mask (sample,) is true."""
        return Predictions(self.truth[kept], self.probabilities[kept], self.groups[kept])


def report(predictions: Predictions, emotions: Sequence[Emotion] = EMOTIONS) -> dict[str, Any]:
    """Figures of some predictions as plain JSON.

    WA, UAR and macro-F1 with 95 % bootstrap intervals; the calibration error over 15 bins, what it
    would be of exact probabilities for want of samples, and how often theirs would be as large; WA
    on the half that is surest; the part of the samples that is not 'unclear', and WA on these, also
    by other thresholds; recall of each emotion; and the confusion (rows true, columns said).

    Args:
        predictions: What was true and said.
        emotions: The classes to speak of.
    """
    kept = [EMOTIONS.index(emotion) for emotion in emotions]
    inside = np.isin(predictions.truth, kept)
    truth = np.searchsorted(kept, predictions.truth[inside])
    probabilities = predictions.probabilities[inside][:, kept].astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    said = probabilities.argmax(axis=1)
    groups = predictions.groups[inside]
    confusion = confusion_matrix(truth, said, len(kept))
    figures: dict[str, Any] = {"samples": len(truth), "groups": len(set(groups.tolist()))}
    for name, metric in (
        ("wa", weighted_accuracy),
        ("uar", unweighted_average_recall),
        ("macro_f1", macro_f1),
    ):
        low, high = bootstrap_interval(truth, said, groups, metric, len(kept))
        figures[name] = {"value": rounded(metric(confusion)), "low": low, "high": high}
    error = expected_calibration_error(truth, probabilities)
    by_chance = calibration_errors_by_chance(probabilities, np.random.default_rng(SEED))
    figures["ece"], figures["ece_by_chance"] = rounded(error), rounded(by_chance.mean())
    figures["ece_p"] = rounded(float((by_chance >= error).mean()))
    figures["wa_of_surest_half"] = rounded(accuracy_of_surest(truth, probabilities))
    figures |= _when_clear(truth, probabilities)
    figures["by_threshold"] = {
        f"{least:g}": _when_clear(truth, probabilities, least) for least in THRESHOLDS
    }
    by_class = zip(emotions, recalls(confusion), strict=True)
    figures["recall"] = {e: None if np.isnan(r) else rounded(r) for e, r in by_class}
    return figures | {"emotions": list(emotions), "confusion": confusion.tolist()}


def bootstrap_interval(
    truth: npt.NDArray[np.int64],
    said: npt.NDArray[np.int64],
    groups: npt.NDArray[Any],
    metric: Callable[[npt.NDArray[np.int64]], float],
    classes: int,
) -> Interval:
    """95 % percentile interval over 1000 resamples of whole groups.

    Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.

    Args:
        truth: (sample,) class indices.
        said: (sample,) class indices.
        groups: (sample,) whom each sample is of; of a single group its samples are drawn.
        metric: Of a confusion matrix.
        classes: How many classes there are.
    """
    group_of = resampled(groups)
    confusions = np.zeros((group_of.max() + 1, classes, classes), dtype=np.int64)
    np.add.at(confusions, (group_of, truth, said), 1)
    generator = np.random.default_rng(SEED)
    drawn = generator.multinomial(
        len(confusions), np.full(len(confusions), 1 / len(confusions)), size=RESAMPLES
    )
    flat = drawn @ confusions.reshape(len(confusions), -1)
    values = [metric(counts) for counts in flat.reshape(RESAMPLES, classes, classes)]
    low, high = np.percentile(values, [2.5, 97.5])
    return rounded(low), rounded(high)


def resampled(groups: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Give numbers to what a resample draws whole: groups, or of a single one its samples.

    Whole resamples of one group would all be the same, and everything would look certain.

    Args:
        groups: (sample,) whom each sample is of.

    Returns:
        (sample,) from 0 without gaps.
    """
    found, group_of = np.unique(groups, return_inverse=True)
    return group_of if len(found) > 1 else np.arange(len(groups))


def by_sex(
    predictions: Predictions, emotions: Sequence[Emotion] = EMOTIONS
) -> dict[str, dict[str, Any]]:
    """Figures of the women and of the men among RAVDESS's actors; of other people none.

    Args:
        predictions: What was true and said; groups such as "ravdess:21", odd numbers being men.
        emotions: The classes to speak of.
    """
    actors = [re.fullmatch(r"ravdess:(\d+)", str(group)) for group in predictions.groups]
    numbers = np.array([int(found[1]) if found else -1 for found in actors])
    figures = {}
    for name, own in (("women", numbers % 2 == 0), ("men", (numbers > 0) & (numbers % 2 == 1))):
        if own.any():
            found = report(predictions.take(own), emotions)
            figures[name] = {key: found[key] for key in _BY_SEX}
    return figures


_BY_SEX = ("samples", "groups", "wa", "uar", "macro_f1", "ece", "ece_by_chance", "recall")


def voice_figures(
    probabilities: Callable[[Known], npt.NDArray[np.float32]],
    truth: npt.NDArray[np.int64],
    speakers: npt.NDArray[Any],
    adaptive: bool,
    emotions: Sequence[Emotion] = EMOTIONS,
) -> dict[str, Any]:
    """Figures of voices, and of both sexes among RAVDESS's actors.

    A model that gets to know its speakers is scored as it runs, after some of the same speaker's
    clips, without their labels; and beside that hearing each clip alone, and knowing all of them.

    Args:
        probabilities: Gives (clip, emotion) by what is known of the speakers.
        truth: (clip,) index into EMOTIONS.
        speakers: (clip,) who speaks.
        adaptive: Whether the model gets to know them.
        emotions: The classes to speak of.
    """
    said = Predictions(truth, probabilities("earlier"), speakers)
    figures = report(said, emotions)
    if sexes := by_sex(said, emotions):
        figures["by_sex"] = sexes
    for name, known in _HEARD.items() if adaptive else ():
        own = report(Predictions(truth, probabilities(known), speakers), emotions)
        figures[name] = {key: own[key] for key in _BY_SEX}
    return figures


_HEARD: dict[str, Known] = {"each_clip_alone": "none", "knowing_all_clips_of_a_speaker": "all"}


def spread(reports: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """How far figures of the same recipe lie apart when it is trained from other seeds.

    Args:
        reports: Of `report`, one a seed.

    Returns:
        By figure its values, their mean and the standard deviation of one seed (n - 1).
    """
    figures = {}
    for name in ("wa", "uar", "macro_f1", "ece", "macro_f1_with_thresholds"):
        each = [found[name] for found in reports if name in found]
        values = [value["value"] if isinstance(value, dict) else value for value in each]
        if len(values) > 1:
            deviation = float(np.std(values, ddof=1))
            summary = {"mean": rounded(np.mean(values)), "deviation": rounded(deviation)}
            figures[name] = {"values": values} | summary
    return figures


def _when_clear(
    truth: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    least: float = UNCLEAR_BELOW,
) -> dict[str, float | None]:
    """Part of (sample, emotion) probabilities that name an emotion, and how often rightly."""
    clear = probabilities.max(axis=1) >= least
    right = probabilities.argmax(axis=1) == truth
    return {
        "clear": rounded(clear.mean()),
        "wa_when_clear": rounded(right[clear].mean()) if clear.any() else None,
    }


def rounded(value: float) -> float:
    """Round as all figures of reports are: to a hundredth of a percent."""
    return round(float(value), 4)
