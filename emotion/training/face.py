"""Trains the face CNN on FER2013 and FER+, and the papers' face networks on FER2013."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from emotion import checkpoint
from emotion.calibration import fit_temperature, majority
from emotion.corpora.fer2013 import Faces, load_faces
from emotion.errors import CheckpointError, CorpusError, InputError
from emotion.labels import EMOTIONS
from emotion.models.face_backbones import FaceEncoder
from emotion.models.face_cnn import FaceCNN, FaceLabels, standardise
from emotion.models.published import load_weights
from emotion.training.augmentation import augment_faces, augment_levels, mixup
from emotion.training.loop import (
    Figures,
    device_of,
    fit,
    initialised,
    mixed_precision,
    step_generator,
)
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.recipes import FaceBackboneRecipe, FaceRecipe

__all__ = [
    "FaceBackboneTask",
    "FaceTask",
    "face_logits",
    "split_faces",
    "train_face",
    "train_face_backbone",
]

_HEADS = get_args(FaceLabels)


def train_face(
    recipe: FaceRecipe,
    root: Path,
    out: Path,
    *,
    cache: Path | None,
    init: Path | None = None,
    teachers: Sequence[Path] = (),
    resume: bool = False,
) -> FaceCNN:
    """Train on `Training` of FER2013 under `root`; after each epoch `out` holds a checkpoint.

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the checkpoint.
        cache: Folder for decoded arrays, or None.
        init: Checkpoint of a network of this shape to start from; None starts from nothing.
        teachers: Checkpoints of `FaceCNN` whose mean opinion is learnt too; the faces held out by
            the recipe should be held out by theirs.
        resume: Go on where a killed training stopped.

    Raises:
        CheckpointError: If `init` has not the weights of this network, or a teacher is none.
        InputError: If the recipe ends between `init` and what is learnt, and there is no `init`.
    """
    faces = load_faces(root, "Training", cache)
    train, held_out = split_faces(faces, recipe.held_out, recipe.split_seed)
    task = FaceTask(recipe, train, held_out, out, teachers, init)
    fit(task, recipe.schedule, out, resume=resume)
    model: FaceCNN = checkpoint.load(out)
    return model


def train_face_backbone(
    recipe: FaceBackboneRecipe,
    root: Path,
    out: Path,
    *,
    cache: Path | None,
    init: Path | None = None,
    resume: bool = False,
) -> FaceEncoder:
    """Train on `Training` of FER2013 under `root`; after each epoch `out` holds a checkpoint.

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the checkpoint.
        cache: Folder for decoded arrays, or None.
        init: Checkpoint to start from, such as published weights brought by `attune convert`;
            None starts from nothing.
        resume: Go on where a killed training stopped.

    Raises:
        CheckpointError: If `init` has not the weights of this network.
    """
    faces = load_faces(root, "Training", cache)
    train, held_out = split_faces(faces, recipe.held_out, recipe.schedule.seed)
    task = FaceBackboneTask(recipe, train, held_out, out)
    if init is not None:
        load_weights(task.model, init)
        task.facts["init"] = checkpoint.digest(init)
    fit(task, recipe.schedule, out, resume=resume)
    model: FaceEncoder = checkpoint.load(out)
    return model


def split_faces(faces: Faces, per_thousand: int, seed: int) -> tuple[Faces, Faces]:
    """Part faces into those to train on and so many of each thousand held out, alike in emotions.

    FER2013 names no people, so the parts may share some.

    Raises:
        CorpusError: If some should be held out and there are too few.
    """
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(faces), dtype=bool)
    for emotion in range(len(EMOTIONS)):
        (members,) = np.nonzero(faces.labels == emotion)
        wanted = len(members) * per_thousand // 1000
        held_out[generator.permutation(members)[:wanted]] = True
    if per_thousand and not held_out.any():
        raise CorpusError(
            f"Expected at least {math.ceil(1000 / per_thousand)} faces of some emotion, as "
            f"{per_thousand} of a thousand are held out, got {len(faces)} in all."
        )
    return faces.take(~held_out), faces.take(held_out)


class FaceTask:
    """FER2013's labels and FER+'s votes, learnt by two heads on one backbone.

    Both are noisy, so teachers help: they see the same augmented and mixed picture (Beyer et al.,
    "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022).
    """

    def __init__(
        self,
        recipe: FaceRecipe,
        train: Faces,
        held_out: Faces,
        out: Path,
        teachers: Sequence[Path] = (),
        init: Path | None = None,
    ) -> None:
        if recipe.of_init > 0 and init is None:
            raise InputError("Expected a checkpoint to start from (--init), got none.")
        self.recipe, self.held_out, self.out = recipe, held_out, out
        self.model: nn.Module = initialised(lambda: FaceCNN(recipe.config), recipe.schedule.seed)
        self.levels = torch.from_numpy(train.images)[:, None]
        self.targets = torch.stack(
            [
                smoothed(torch.from_numpy(train.labels), recipe.smoothing),
                torch.from_numpy(train.votes),
            ]
        )
        self.teachers = nn.ModuleList(_teacher(folder) for folder in teachers)
        self.facts: dict[str, Any] = {
            "recipe": "face taught" if teachers else "face",
            "corpora": ["fer2013 Training", "ferplus Training"],
            "held_out_per_thousand": recipe.held_out,
            "split_seed": recipe.split_seed,
            "seed": recipe.schedule.seed,
        }
        if teachers:
            self.facts["teachers"] = [checkpoint.digest(folder) for folder in teachers]
        if init is not None:
            load_weights(self.model, init)
            self.facts |= {"init": checkpoint.digest(init), "of_init": recipe.of_init}
        self.start = copy.deepcopy(self.model.state_dict()) if recipe.of_init > 0 else {}

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """List every face (example,) once, shuffled; the last incomplete batch is left out."""
        return _shuffled(len(self.levels), batch, generator)

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Sum the two heads' cross-entropies on the faces (example,), augmented and mixed."""
        stage = next(s for s in reversed(self.recipe.stages) if s.begins <= progress)
        levels = self.levels[indices].float()
        crops = augment_faces(levels, stage.side, stage.augmentation, generator)
        targets = self.targets[:, indices]
        if self.recipe.mixup > 0:
            partners, share = mixup(len(indices), self.recipe.mixup, generator)
            crops = crops.lerp(crops[partners], 1 - share)
            targets = targets.lerp(targets[:, partners], 1 - share)
        device = device_of(self.model)
        crops, targets = crops.to(device), targets.to(device)
        if self.teachers:
            targets = targets.lerp(self._taught(crops), self.recipe.taught)
        with mixed_precision(self.model):
            logits = self.model(crops)
        return torch.stack(
            [cross_entropy(logits[name], t) for name, t in zip(_HEADS, targets, strict=True)]
        ).sum()

    @torch.no_grad()
    def _taught(self, crops: Tensor) -> Tensor:
        """Mean opinion (head, image, emotion) of the teachers on crops (image, 1, side, side)."""
        self.teachers.to(crops.device)
        with mixed_precision(self.model):
            said = [teacher(crops) for teacher in self.teachers]
        opinions = [torch.stack([one[name] for name in _HEADS]).softmax(-1) for one in said]
        return torch.stack(opinions).mean(0)

    def epoch_done(self, averaged: nn.Module, epoch: int) -> Figures:
        """Fit the temperatures on the held-out faces and write the checkpoint."""
        if self.recipe.of_init > 0 and epoch + 1 == self.recipe.schedule.epochs:
            averaged = self._between(averaged)
        with mixed_precision(averaged):
            logits = face_logits(averaged, self.held_out)
        labels = np.eye(len(EMOTIONS))[self.held_out.labels]
        temperatures = {
            "fer2013": fit_temperature(logits["fer2013"], labels),
            "ferplus": _majority_temperature(logits["ferplus"], self.held_out.votes),
        }
        accuracy = float((logits["fer2013"].argmax(1) == self.held_out.labels).mean())
        facts = self.facts | {
            "held_out_accuracy": round(accuracy, 4),
            "epochs": epoch + 1,
            "temperature": temperatures,
        }
        config, bits = self.recipe.config, self.recipe.bits
        checkpoint.save(self.out, averaged, config, training=facts, bits=bits)
        return {"held-out accuracy": accuracy}

    def _between(self, learnt: nn.Module) -> nn.Module:
        """Make the network between where training started and what it learnt."""
        between = copy.deepcopy(learnt)
        device = device_of(between)
        with torch.no_grad():
            for name, weights in between.named_parameters():
                weights.lerp_(self.start[name].to(device), self.recipe.of_init)
        # neither end's running statistics are those of what lies between
        with mixed_precision(between):
            update_bn(self._some_crops(), between, device)
        return between

    def _some_crops(self) -> Iterator[Tensor]:
        """Yield batches of crops (image, 1, 48, 48) of faces drawn from those trained on."""
        generator = step_generator(self.recipe.schedule.seed, 4)
        drawn = torch.randperm(len(self.levels), generator=generator)[:_FACES_FOR_STATISTICS]
        for indices in torch.split(drawn, self.recipe.schedule.batch):
            yield standardise(self.levels[indices].float())


_FACES_FOR_STATISTICS = 8192


def _teacher(folder: Path) -> nn.Module:
    """Load a face network to learn from; its mirrored view would not be worth the time.

    Raises:
        CheckpointError: If it is another network.
    """
    loaded = checkpoint.load(folder)
    if not isinstance(loaded, FaceCNN):
        raise CheckpointError(f"Expected a FaceCNN in {folder}, got {type(loaded).__name__}.")
    teacher = FaceCNN(replace(loaded.config, mirrored=False))
    teacher.load_state_dict(loaded.state_dict())
    return teacher.eval().requires_grad_(False)


class FaceBackboneTask:
    """FER2013's labels, learnt by one of the papers' networks."""

    def __init__(
        self, recipe: FaceBackboneRecipe, train: Faces, held_out: Faces, out: Path
    ) -> None:
        self.recipe, self.held_out, self.out = recipe, held_out, out
        self.model: nn.Module = initialised(
            lambda: FaceEncoder(recipe.config), recipe.schedule.seed
        )
        self.levels = torch.from_numpy(train.images)[:, None]
        self.targets = smoothed(torch.from_numpy(train.labels), recipe.smoothing)
        self.facts: dict[str, Any] = {
            "recipe": f"face backbone {recipe.config.kind}",
            "corpora": ["fer2013 Training"],
            "held_out_per_thousand": recipe.held_out,
            "seed": recipe.schedule.seed,
        }

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """List every face (example,) once, shuffled; the last incomplete batch is left out."""
        return _shuffled(len(self.levels), batch, generator)

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Cross-entropy on the faces (example,), augmented and mixed."""
        recipe, levels, targets = self.recipe, self.levels[indices].float(), self.targets[indices]
        crops = augment_levels(levels, levels.shape[-1], recipe.augmentation, generator)
        if recipe.mixup > 0:
            partners, share = mixup(len(indices), recipe.mixup, generator)
            crops = crops.lerp(crops[partners], 1 - share)
            targets = targets.lerp(targets[partners], 1 - share)
        device = device_of(self.model)
        with mixed_precision(self.model):
            logits = self.model(crops.to(device))
        return cross_entropy(logits, targets.to(device))

    def epoch_done(self, averaged: nn.Module, epoch: int) -> Figures:
        """Fit the temperature on the held-out faces and write the checkpoint."""
        logits = face_logits(averaged, self.held_out)["fer2013"]
        accuracy = float((logits.argmax(1) == self.held_out.labels).mean())
        temperature = fit_temperature(logits, np.eye(len(EMOTIONS))[self.held_out.labels])
        facts = self.facts | {"epochs": epoch + 1, "held_out_accuracy": round(accuracy, 4)}
        facts["temperature"] = {"fer2013": temperature}
        checkpoint.save(self.out, averaged, self.recipe.config, training=facts)
        return {"held-out accuracy": accuracy}


def _majority_temperature(logits: Any, votes: Any) -> float:
    """Temperature of (image, emotion) logits by which a probability is the chance to be right."""
    labels, certain = majority(votes)
    return fit_temperature(logits[certain], np.eye(len(EMOTIONS))[labels[certain]])


def _shuffled(examples: int, batch: int, generator: torch.Generator) -> list[Tensor]:
    """List steps of indices (example,), each example once, without the last incomplete batch."""
    batch = max(1, min(batch, examples))  # of fewer than one batch, all are one
    order = torch.randperm(examples, generator=generator)
    return list(torch.split(order[: examples // batch * batch], batch))


@torch.inference_mode()
def face_logits(model: nn.Module, faces: Faces, batch: int = 64) -> dict[str, Any]:
    """Logits (image, emotion) of every head, as float32 arrays by the head's name.

    Args:
        model: `FaceCNN`, or `FaceEncoder`, whose only head is "fer2013".
        faces: What to classify.
        batch: How many at once.
    """
    pieces: dict[str, list[Tensor]] = {}
    device = device_of(model)
    for levels in torch.split(torch.from_numpy(faces.images)[:, None], batch):
        given = levels.float().to(device)
        own = isinstance(model, FaceEncoder)
        said = {"fer2013": model(given)} if own else model(standardise(given))
        for name, logits in said.items():
            pieces.setdefault(name, []).append(logits.cpu())
    return {name: torch.cat(parts).numpy() for name, parts in pieces.items()}
