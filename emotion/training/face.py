"""Trains the face CNN on FER2013 and FER+."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.calibration import fit_temperature
from emotion.corpora.fer2013 import Faces, load_faces
from emotion.labels import EMOTIONS
from emotion.models.face_cnn import FaceCNN, standardise
from emotion.training.augmentation import augment_faces, mixup
from emotion.training.loop import fit, initialised
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.recipes import FaceRecipe

__all__ = ["FaceTask", "split_faces", "train_face"]


def train_face(
    recipe: FaceRecipe, root: Path, out: Path, *, cache: Path | None, resume: bool = False
) -> FaceCNN:
    """Train on `Training` of FER2013 under `root`; after each epoch `out` holds a checkpoint."""
    faces = load_faces(root, "Training", cache)
    train, held_out = split_faces(faces, recipe.held_out, recipe.schedule.seed)
    task = FaceTask(recipe, train, held_out, out)
    fit(task, recipe.schedule, out, resume=resume)
    model: FaceCNN = checkpoint.load(out)
    return model


def split_faces(faces: Faces, per_thousand: int, seed: int) -> tuple[Faces, Faces]:
    """Part faces into those to train on and so many of each thousand held out, alike in emotions.

    FER2013 names no people, so the parts may share some.
    """
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(faces), dtype=bool)
    for emotion in range(len(EMOTIONS)):
        (members,) = np.nonzero(faces.labels == emotion)
        wanted = len(members) * per_thousand // 1000
        held_out[generator.permutation(members)[:wanted]] = True
    return faces.take(~held_out), faces.take(held_out)


class FaceTask:
    """FER2013's labels and FER+'s votes, learnt by two heads on one backbone."""

    def __init__(self, recipe: FaceRecipe, train: Faces, held_out: Faces, out: Path) -> None:
        self.recipe, self.held_out, self.out = recipe, held_out, out
        self.model: nn.Module = initialised(lambda: FaceCNN(recipe.config), recipe.schedule.seed)
        self.levels = torch.from_numpy(train.images)[:, None]
        self.targets = torch.stack(
            [
                smoothed(torch.from_numpy(train.labels), recipe.smoothing),
                torch.from_numpy(train.votes),
            ]
        )

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """List every face (example,) once, shuffled; the last incomplete batch is left out."""
        order = torch.randperm(len(self.levels), generator=generator)
        return list(torch.split(order[: len(order) // batch * batch], batch))

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
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.model(crops)
        return cross_entropy(logits["fer2013"], targets[0]) + cross_entropy(
            logits["ferplus"], targets[1]
        )

    def epoch_done(self, averaged: nn.Module, epoch: int) -> str:
        """Fit the temperatures on the held-out faces and write the checkpoint."""
        logits = face_logits(averaged, self.held_out)
        labels = np.eye(len(EMOTIONS))[self.held_out.labels]
        temperatures = {
            "fer2013": fit_temperature(logits["fer2013"], labels),
            "ferplus": fit_temperature(logits["ferplus"], self.held_out.votes),
        }
        accuracy = float((logits["fer2013"].argmax(1) == self.held_out.labels).mean())
        facts: dict[str, Any] = {
            "recipe": "face",
            "corpora": ["fer2013 Training", "ferplus Training"],
            "held_out_per_thousand": self.recipe.held_out,
            "held_out_accuracy": round(accuracy, 4),
            "seed": self.recipe.schedule.seed,
            "epochs": epoch + 1,
            "temperature": temperatures,
        }
        checkpoint.save(self.out, averaged, self.recipe.config, training=facts)
        return f"held-out accuracy {accuracy:.3f}"


@torch.inference_mode()
def face_logits(model: nn.Module, faces: Faces, batch: int = 256) -> dict[str, Any]:
    """Logits (image, emotion) of every head, as float32 arrays by the head's name."""
    pieces: dict[str, list[Tensor]] = {}
    for levels in torch.split(torch.from_numpy(faces.images)[:, None], batch):
        for name, logits in model(standardise(levels.float())).items():
            pieces.setdefault(name, []).append(logits)
    return {name: torch.cat(parts).numpy() for name, parts in pieces.items()}
