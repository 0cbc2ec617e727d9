"""Trains the fusion on label-paired faces and voices, over frozen encoders."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.calibration import EVIDENCE, fit_temperature
from emotion.corpora.fer2013 import load_faces
from emotion.corpora.speech import load_voices
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall
from emotion.models.fusion import FusionOutput, GatedFBP
from emotion.training.face import split_faces
from emotion.training.label_pairs import PairedClips, alone, make_clips, untouched
from emotion.training.loop import device_of, fit, initialised, is_finished, step_generator
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.pools import (
    Photographs,
    VoicePool,
    as_people_see,
    encode_photographs,
    encode_voices,
    fit_reach,
    voices_as_they_are,
)
from emotion.training.recipes import FusionRecipe

__all__ = ["FusionTask", "cross_calibrated", "train_fusion"]

CALIBRATION_CLIPS = 2
"""Clips a voice, of each part of the faces, on which the temperatures are fitted."""

_FOLDS = "folds"


def train_fusion(
    recipe: FusionRecipe,
    root: Path,
    out: Path,
    *,
    face: Path,
    voice: Path,
    cache: Path | None,
    temperature_from: Path | None = None,
    resume: bool = False,
) -> GatedFBP:
    """Train on the faces that `face` held out and the voices that `voice` was trained on.

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the checkpoint.
        face: Checkpoint of the face model.
        voice: Checkpoint of the voice model. Temperatures are fitted on speakers it held out.
        cache: Folder for decoded corpora, or None.
        temperature_from: Where it held nobody out, a fusion of the same recipe over a voice model
            that did, whose temperatures are taken over, and how well voices are known there.
        resume: Go on where a killed training stopped.
    """
    photographs = _photographs(recipe, face, root, cache)
    facts, encoder = checkpoint.read(voice).training, checkpoint.load(voice)
    heard = load_voices(root, facts["corpora"], cache)
    unheard = heard.of(facts["held_out_speakers"])
    known = {} if temperature_from is None else checkpoint.read(temperature_from).training
    pool = voices_as_they_are(encoder, unheard) if len(unheard) else None
    if pool is not None:
        known = {"voice_accuracy": _uar(pool, encoder.classify)}
    voices = encode_voices(encoder, heard.of(facts["speakers"]), recipe)
    recipe = _fitted(recipe, photographs, voices, known)
    task = FusionTask(recipe, photographs, voices, encoder.classify, out)
    task.facts |= {
        "encoders": {"face": checkpoint.digest(face), "voice": checkpoint.digest(voice)},
        "corpora": ["fer2013 Training (held-out part)", *facts["corpora"]],
        "speakers": facts["speakers"],
        "held_out_speakers": facts["held_out_speakers"],
    }
    if "temperature" in known:
        task.facts["temperature"] = known["temperature"]
    else:
        task.facts |= cross_calibrated(task, pool, unheard.speakers, resume=resume)
    fit(task, recipe.schedule, out, resume=resume)
    shutil.rmtree(out / _FOLDS, ignore_errors=True)
    model: GatedFBP = checkpoint.load(out)
    return model


def _photographs(recipe: FusionRecipe, face: Path, root: Path, cache: Path | None) -> Photographs:
    """Features of the faces that the face model in that folder held out."""
    seen = checkpoint.read(face).training
    faces = load_faces(root, "Training", cache)
    _, held_out = split_faces(faces, seen["held_out_per_thousand"], seen.get("split_seed", 1))
    return encode_photographs(checkpoint.load(face), as_people_see(held_out), recipe)


def _fitted(
    recipe: FusionRecipe, photographs: Photographs, voices: VoicePool, known: Mapping[str, Any]
) -> FusionRecipe:
    """Fit a recipe to the sizes of the features, and to how well voices are known unheard."""
    config = replace(
        recipe.config,
        frame_features=photographs.views.shape[-1],
        voice_features=voices.features.shape[-1],
    )
    accuracy = known.get("voice_accuracy", recipe.voice_accuracy)
    return replace(recipe, config=config, voice_accuracy=accuracy)


@torch.inference_mode()
def _uar(voices: VoicePool, head: nn.Module) -> float:
    """Mean recall of what the voice model itself says of voices."""
    said = head(voices.features).argmax(1)
    confusion = confusion_matrix(voices.labels.numpy(), said.numpy())
    return round(unweighted_average_recall(confusion), 4)


class FusionTask:
    """Clips made anew at every step from photographs and voices of the same label."""

    def __init__(
        self,
        recipe: FusionRecipe,
        photographs: Photographs,
        voices: VoicePool,
        voice_head: nn.Module,
        out: Path,
    ) -> None:
        self.recipe, self.photographs, self.out = recipe, photographs, out
        self.voice_head = voice_head
        generator = step_generator(recipe.schedule.seed, 3)
        reach = fit_reach(voices, voice_head, recipe.voice_accuracy, generator)
        self.voices = replace(voices, reach=reach)
        self.facts: dict[str, Any] = {
            "recipe": "fusion",
            "pairing": "label-paired: faces and voices share nothing but their label",
            "seed": recipe.schedule.seed,
            "voice_accuracy": recipe.voice_accuracy,
            "voice_reach": round(reach, 3),
        }
        self.model: nn.Module = initialised(self._fresh, recipe.schedule.seed)

    def _fresh(self) -> GatedFBP:
        model = GatedFBP(self.recipe.config)
        faces = self.photographs.views.flatten(0, 1)
        model.frame_mean.copy_(faces.mean(0))
        model.frame_deviation.copy_(faces.std(0).clamp_min(1e-3))
        model.voice_mean.copy_(self.voices.features.mean(0))
        model.voice_deviation.copy_(self.voices.features.std(0).clamp_min(1e-3))
        return model

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """List the labels (clip,) of each step, every emotion equally often."""
        labels = torch.arange(self.recipe.clips) % len(EMOTIONS)
        shuffled = labels[torch.randperm(len(labels), generator=generator)]
        return list(torch.split(shuffled[: len(labels) // batch * batch], batch))

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Cross-entropy on fresh clips of the labels (clip,), and of the attention they get."""
        clips = make_clips(self.recipe, self.photographs, self.voices, indices, generator)
        device = device_of(self.model)
        targets = smoothed(clips.labels, self.recipe.smoothing).to(device)
        said = _said(self.model, clips)
        seen = _attention_loss(said.frame_attention, clips.expressive.to(device))
        trusted = _trust_loss(said.trust, clips.trust.to(device))
        aside = self.recipe.attention * seen + self.recipe.trust * trusted
        return cross_entropy(said.logits, targets) + aside

    def epoch_done(self, averaged: nn.Module, epoch: int) -> str:
        """Write the checkpoint."""
        facts = self.facts | {"epochs": epoch + 1}
        checkpoint.save(self.out, averaged, self.recipe.config, training=facts)
        return "kept"


def cross_calibrated(
    task: FusionTask, unheard: VoicePool | None, speakers: Sequence[str], *, resume: bool = False
) -> dict[str, Any]:
    """Temperatures for a fusion that will be trained on all faces.

    Fusions of the same recipe are trained without one part of the faces after the other, and
    answer clips of the part they do not know: of a few faces kept out once, three would be disgust.

    Args:
        task: What will be trained; its folder holds the parts' fusions meanwhile.
        unheard: Voices that the encoder never heard; None takes its own, moved as in training.
        speakers: (clip,) who speaks in `unheard`.
        resume: Keep what a killed call has finished.

    Returns:
        "temperature" by the evidence, "temperature_without" each speaker, and the part of the
        clips rightly named from both, as "calibration_accuracy".
    """
    recipe, photographs = task.recipe, task.photographs
    part = _dealt(photographs.labels, recipe.folds, step_generator(recipe.schedule.seed, 4))
    logits: dict[str, list[Tensor]] = {name: [] for name in EVIDENCE}
    labels: list[Tensor] = []
    for number in range(recipe.folds):
        folder = task.out / _FOLDS / str(number + 1)
        without = photographs.take(part != number)
        fold = FusionTask(recipe, without, task.voices, task.voice_head, folder)
        if not (resume and is_finished(folder)):
            fit(fold, recipe.schedule, folder, resume=resume)
        clips = _unknown_clips(recipe, photographs.take(part == number), task.voices, unheard)
        labels.append(clips.labels)
        with torch.inference_mode():
            for name, said in logits.items():
                said.append(_said(checkpoint.load(folder), alone(clips, name)).logits.cpu())
    known = {name: torch.cat(said) for name, said in logits.items()}
    people = np.array(speakers if unheard is not None else [""])
    return _fit_temperatures(known, torch.cat(labels), people)


def _fit_temperatures(
    logits: Mapping[str, Tensor], labels: Tensor, people: npt.NDArray[np.str_]
) -> dict[str, Any]:
    """Facts of logits (clip, emotion) by the evidence; `people` speak in turns, "" is nobody."""
    accuracy = (logits["both"].argmax(1) == labels).float().mean().item()
    speakers = np.resize(people, len(labels))
    everybody = np.ones(len(speakers), dtype=bool)
    return {
        "calibration_accuracy": round(accuracy, 4),
        "temperature": _temperatures(logits, labels, everybody),
        "temperature_without": {
            speaker: _temperatures(logits, labels, speakers != speaker)
            for speaker in sorted(set(speakers.tolist()) - {""})
        },
    }


def _dealt(labels: Tensor, parts: int, generator: torch.Generator) -> Tensor:
    """Part (image,) of each image of these labels (image,), each emotion dealt evenly."""
    order = torch.randperm(len(labels), generator=generator)
    order = order[labels[order].argsort(stable=True)]
    part = torch.empty_like(labels)
    part[order] = torch.arange(len(labels)) % parts
    return part


def _unknown_clips(
    recipe: FusionRecipe, photographs: Photographs, voices: VoicePool, unheard: VoicePool | None
) -> PairedClips:
    """Clips of photographs and, in order and again, of voices the encoder never heard."""
    recipe = untouched(recipe)
    generator = step_generator(recipe.schedule.seed, 4)
    if unheard is None:
        labels = torch.arange(2100) % len(EMOTIONS)
        return make_clips(recipe, photographs, voices, labels, generator)
    index = torch.arange(len(unheard.labels)).repeat(CALIBRATION_CLIPS)
    clips = make_clips(recipe, photographs, unheard, unheard.labels[index], generator)
    return replace(clips, voice=unheard.features[index])


def _temperatures(
    logits: Mapping[str, Tensor], labels: Tensor, kept: npt.NDArray[np.bool_]
) -> dict[str, float]:
    """Temperatures by the evidence, of logits (clip, emotion) of the clips kept (clip,)."""
    chosen = kept if kept.any() else ~kept  # nobody else: a single speaker is fitted on himself
    targets = nn.functional.one_hot(labels, len(EMOTIONS)).numpy()[chosen]
    return {name: fit_temperature(own.numpy()[chosen], targets) for name, own in logits.items()}


def _said(model: nn.Module, clips: PairedClips) -> FusionOutput:
    """Ask the model about clips, on its device."""
    parts = (clips.frames, clips.frame_mask, clips.voice, clips.voice_mask)
    output: FusionOutput = model(*(part.to(device_of(model)) for part in parts))
    return output


def _attention_loss(weights: Tensor, expressive: Tensor) -> Tensor:
    """Mean of -log of the attention (clip, frame) on the expressive frames, where there are any."""
    told = (weights * expressive).sum(dim=1)[expressive.any(dim=1)]
    return -told.clamp_min(1e-6).log().mean() if len(told) else weights.sum() * 0.0


def _trust_loss(said: Tensor | None, wanted: Tensor) -> Tensor:
    """Mean cross-entropy of the gates (clip, 2) where it is told what they should be."""
    told = ~wanted.isnan()
    if said is None or not told.any():
        return wanted.new_zeros(())
    return nn.functional.binary_cross_entropy(said[told], wanted[told])
