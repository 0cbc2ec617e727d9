"""Any sequence classifiers of transformers as an empathy scorer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dialogue.empathy.annotations import LEVELS, MECHANISMS
from dialogue.empathy.scorer import checked
from dialogue.errors import ModelError

__all__ = ["ClassifierScorer", "load_classifiers"]

Floats = npt.NDArray[np.float64]
_PAIRS_AT_ONCE: Final = 32
_MOST_TOKENS: Final = 512


class ClassifierScorer:
    """One classifier of nine labels, or one of three levels for each mechanism.

    Args:
        heads: Classifier, tokenizer and the columns of its logits as (mechanism, level): those of
            one mechanism each, or of all of them at once.
    """

    def __init__(self, heads: Sequence[tuple[Any, Any, npt.NDArray[np.int64]]]) -> None:
        self._heads = list(heads)

    @torch.inference_mode()
    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Say how likely levels are, (pair, mechanism, level); see `EmpathyScorer.score`.

        The softmax over the levels is given as it is: how well calibrated it is depends on whoever
        trained the classifiers.
        """
        taken = checked(pairs)
        found = np.zeros((len(taken), len(MECHANISMS), len(LEVELS)))
        order = sorted(range(len(taken)), key=lambda i: sum(map(len, taken[i])))
        for start in range(0, len(order), _PAIRS_AT_ONCE):
            batch = order[start : start + _PAIRS_AT_ONCE]
            own = [taken[i] for i in batch]
            parts = [_levels(*head, own) for head in self._heads]
            found[batch] = np.concatenate(parts, axis=1)
        return found


def _levels(
    model: Any, tokenizer: Any, columns: npt.NDArray[np.int64], pairs: Sequence[tuple[str, str]]
) -> Floats:
    """Probabilities (pair, mechanism, level) of one classifier's mechanisms."""
    longest = min(tokenizer.model_max_length, _MOST_TOKENS)
    encoded = tokenizer(
        [post for post, _ in pairs],
        [response for _, response in pairs],
        padding=True,
        truncation="longest_first",
        max_length=longest,
        return_tensors="pt",
    ).to(model.device)
    logits = model(**encoded).logits.double().cpu()[:, torch.from_numpy(columns)]
    levels: Floats = logits.softmax(-1).numpy()
    return levels


def load_classifiers(name: str, device: str) -> ClassifierScorer:
    """Load classifiers from a folder or the hub; see `dialogue.empathy.scorer.load_scorer`.

    Raises:
        ModelError: If they cannot be had or their labels are others.
    """
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        return ClassifierScorer([_one(name, mechanism, device) for mechanism in MECHANISMS])
    try:
        model, tokenizer = _load(name, "", device)
    except ModelError:
        if Path(name).is_dir():
            raise
        return ClassifierScorer([_one(name, mechanism, device) for mechanism in MECHANISMS])
    return ClassifierScorer([(model, tokenizer, _nine(name, model))])


def _one(name: str, mechanism: str, device: str) -> tuple[Any, Any, npt.NDArray[np.int64]]:
    model, tokenizer = _load(name, mechanism, device)
    if model.config.num_labels != len(LEVELS):
        got = model.config.num_labels
        raise ModelError(f"Expected {len(LEVELS)} labels of {mechanism} in {name}, got {got}.")
    return model, tokenizer, np.arange(len(LEVELS))[None]


def _nine(name: str, model: Any) -> npt.NDArray[np.int64]:
    """Columns of the logits as (mechanism, level), by the labels' names."""
    labels = {_plain(label): index for index, label in model.config.id2label.items()}
    wanted = [[f"{mechanism}_{level}" for level in LEVELS] for mechanism in MECHANISMS]
    missing = [label for row in wanted for label in row if label not in labels]
    if missing:
        got = ", ".join(map(str, model.config.id2label.values()))
        raise ModelError(f"Expected labels such as {missing[0]} in {name}, got {got}.")
    return np.array([[labels[label] for label in row] for row in wanted])


def _plain(label: str) -> str:
    return re.sub(r"\W+", "_", label.strip().lower())


def _load(name: str, subfolder: str, device: str) -> tuple[Any, Any]:
    load: Callable[[Any], Any] = lambda kind: kind.from_pretrained(  # noqa: E731
        name, subfolder=subfolder, local_files_only=Path(name).is_dir()
    )
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            name,
            subfolder=subfolder,
            local_files_only=Path(name).is_dir(),
            use_safetensors=True,
        )
        tokenizer = load(AutoTokenizer)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        where = f"{name}/{subfolder}" if subfolder else name
        first = str(error).strip().split("\n")[0]
        raise ModelError(f"Expected a sequence classifier at {where}, got: {first}") from error
    return model.to(device).eval(), tokenizer
