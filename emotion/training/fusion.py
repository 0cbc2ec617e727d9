"""Trains the fusion on label-paired faces and voices, over frozen encoders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.calibration import fit_temperature
from emotion.corpora.fer2013 import Faces, load_faces
from emotion.corpora.speech import load_voices
from emotion.labels import EMOTIONS
from emotion.models.face_cnn import CROP_SIDE, standardise
from emotion.models.fusion import AttentionFBP, FusionOutput
from emotion.training.augmentation import FaceAugmentation, augment_faces
from emotion.training.face import split_faces
from emotion.training.loop import Figures, device_of, fit, initialised, step_generator
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.recipes import FusionRecipe
from emotion.training.voice import voice_outputs

__all__ = [
    "FusionTask",
    "PairedClips",
    "Photographs",
    "VoicePool",
    "encode_photographs",
    "make_clips",
    "train_fusion",
]

NEUTRAL = EMOTIONS.index("neutral")


@dataclass(frozen=True)
class Photographs:
    """Features of single photographs.

    Attributes:
        views: (view, image, feature), the same photograph changed in several ways.
        blurred: (image, feature), each blurred until little is left to see.
        labels: (image,).
    """

    views: Tensor
    blurred: Tensor
    labels: Tensor

    def take(self, chosen: Tensor) -> Photographs:
        """Pick the photographs at `chosen`, indices (photo,) or a mask (image,)."""
        return Photographs(self.views[:, chosen], self.blurred[chosen], self.labels[chosen])


@dataclass(frozen=True)
class VoicePool:
    """Features (clip, feature) and labels (clip,) of voices, and how far each may be moved."""

    features: Tensor
    labels: Tensor
    reach: float = 0.0

    def draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Pick a voice (clip, feature) of each label (clip,), moved towards another of any label.

        The part of the way is uniform in [0, reach].
        """
        chosen = self.features[_one_of_each(self.labels, labels, generator)]
        others = torch.randint(len(self.labels), (len(labels),), generator=generator)
        part = self.reach * torch.rand(len(labels), 1, generator=generator)
        return chosen.lerp(self.features[others], part)


@dataclass(frozen=True)
class PairedClips:
    """Clips of a face and a voice that share nothing but their label.

    Attributes:
        frames: (clip, frame, feature).
        frame_mask: (clip, frame) bool.
        expressive: (clip, frame) bool, true for sharp photographs of the clip's label.
        voice: (clip, feature).
        voice_mask: (clip,) bool.
        labels: (clip,).
    """

    frames: Tensor
    frame_mask: Tensor
    expressive: Tensor
    voice: Tensor
    voice_mask: Tensor
    labels: Tensor


def train_fusion(
    recipe: FusionRecipe,
    root: Path,
    out: Path,
    *,
    face: Path,
    voice: Path,
    cache: Path | None,
    resume: bool = False,
) -> AttentionFBP:
    """Train on the faces that `face` held out and the voices that `voice` was trained on.

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the checkpoint.
        face: Checkpoint of the face model.
        voice: Checkpoint of the voice model.
        cache: Folder for decoded corpora, or None.
        resume: Go on where a killed training stopped.
    """
    seen = checkpoint.read(face).training
    faces = load_faces(root, "Training", cache)
    _, held_out = split_faces(faces, seen["held_out_per_thousand"], seen.get("split_seed", 1))
    photographs = encode_photographs(checkpoint.load(face), held_out, recipe)
    facts = checkpoint.read(voice).training
    voices = encode_voices(voice, root, facts["corpora"], facts["speakers"], cache)
    task = FusionTask(recipe, photographs, voices, checkpoint.load(voice).classify, out)
    task.facts |= {
        "encoders": {"face": checkpoint.digest(face), "voice": checkpoint.digest(voice)},
        "corpora": ["fer2013 Training (held-out part)", *facts["corpora"]],
        "speakers": facts["speakers"],
        "held_out_speakers": facts["held_out_speakers"],
    }
    fit(task, recipe.schedule, out, resume=resume)
    model: AttentionFBP = checkpoint.load(out)
    return model


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
        self.recipe, self.out = recipe, out
        generator = step_generator(recipe.schedule.seed, 3)
        kept = torch.rand(len(photographs.labels), generator=generator) * 100 < recipe.calibration
        self.calibration, self.photographs = photographs.take(kept), photographs.take(~kept)
        reach = fit_reach(voices, voice_head, recipe.voice_accuracy, generator)
        self.voices = VoicePool(voices.features, voices.labels, reach)
        self.facts: dict[str, Any] = {
            "recipe": "fusion",
            "pairing": "label-paired: faces and voices share nothing but their label",
            "seed": recipe.schedule.seed,
            "voice_reach": round(reach, 3),
        }
        self.model: nn.Module = initialised(self._fresh, recipe.schedule.seed)

    def _fresh(self) -> AttentionFBP:
        model = AttentionFBP(self.recipe.config)
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
        """Cross-entropy on fresh clips of the labels (clip,), some without face or voice."""
        clips = make_clips(self.recipe, self.photographs, self.voices, indices, generator)
        targets = smoothed(clips.labels, self.recipe.smoothing)
        return cross_entropy(_logits(self.model, clips), targets.to(device_of(self.model)))

    def epoch_done(self, averaged: nn.Module, epoch: int) -> Figures:
        """Fit the temperature on clips of the faces kept back and write the checkpoint."""
        generator = step_generator(self.recipe.schedule.seed, 4)
        labels = torch.arange(2100) % len(EMOTIONS)
        clips = make_clips(self.recipe, self.calibration, self.voices, labels, generator)
        with torch.inference_mode():
            logits = _logits(averaged, clips).cpu()
        targets = nn.functional.one_hot(labels, len(EMOTIONS))
        temperature = fit_temperature(logits.numpy(), targets.numpy())
        accuracy = (logits.argmax(1) == labels).float().mean().item()
        facts = self.facts | {"epochs": epoch + 1, "temperature": temperature}
        checkpoint.save(self.out, averaged, self.recipe.config, training=facts)
        return {"calibration accuracy": accuracy}


def make_clips(
    recipe: FusionRecipe,
    photographs: Photographs,
    voices: VoicePool,
    labels: Tensor,
    generator: torch.Generator,
) -> PairedClips:
    """Make one clip of each label (clip,), no photograph twice in it."""
    plans = [_plan(recipe, int(label), photographs, generator) for label in labels]
    parts = [_frames(photographs, *plan, generator) for plan in plans]
    frames, expressive = (
        nn.utils.rnn.pad_sequence(list(rows), batch_first=True) for rows in zip(*parts, strict=True)
    )
    lengths = torch.tensor([len(f) for f, _ in parts])
    mask = torch.arange(frames.shape[1]) < lengths[:, None]
    chance = torch.rand(len(labels), generator=generator)
    mask &= (chance >= recipe.no_face)[:, None]
    voice_mask = chance < 1 - recipe.no_voice
    voice = voices.draw(labels, generator)
    return PairedClips(frames, mask, expressive & mask, voice, voice_mask, labels)


@torch.inference_mode()
def encode_photographs(model: nn.Module, faces: Faces, recipe: FusionRecipe) -> Photographs:
    """Features of faces as they are, slightly changed, and blurred."""
    levels = torch.from_numpy(faces.images)[:, None].float()
    generator = step_generator(recipe.schedule.seed, 5)
    mild = FaceAugmentation(rotation_deg=8.0, shift=0.04, zoom=(0.9, 1.06), blurred=0, erased=0)
    views = [standardise(levels)] + [
        augment_faces(levels, CROP_SIDE, mild, generator) for _ in range(recipe.views - 1)
    ]
    small = nn.functional.avg_pool2d(levels, 8)
    blurred = standardise(nn.functional.interpolate(small, (CROP_SIDE, CROP_SIDE), mode="bilinear"))
    features = [_features(model, crops) for crops in (*views, blurred)]
    labels = torch.from_numpy(faces.labels)
    return Photographs(torch.stack(features[:-1]), features[-1], labels)


def encode_voices(
    folder: Path, root: Path, corpora: Sequence[str], speakers: Collection[str], cache: Path | None
) -> VoicePool:
    """Features by the voice model in `folder` of whole clips of some speakers."""
    voices = load_voices(root, corpora, cache).of(list(speakers))
    _, features = voice_outputs(checkpoint.load(folder), voices)
    return VoicePool(torch.from_numpy(features), torch.from_numpy(voices.labels))


@torch.inference_mode()
def fit_reach(
    voices: VoicePool, head: nn.Module, accuracy: float, generator: torch.Generator
) -> float:
    """Find how far voices must be moved for `head` to name that part of them rightly, in [0, 1.5].

    More reach, fewer right, so halving the interval finds it.
    """
    low, high = 0.0, 1.5
    labels = voices.labels.repeat(5)
    for _ in range(12):
        middle = (low + high) / 2
        drawn = VoicePool(voices.features, voices.labels, middle).draw(labels, generator)
        right = (head(drawn).argmax(1) == labels).float().mean().item()
        low, high = (middle, high) if right > accuracy else (low, middle)
    return (low + high) / 2


def _logits(model: nn.Module, clips: PairedClips) -> Tensor:
    """Logits (clip, emotion), on the model's device."""
    parts = (clips.frames, clips.frame_mask, clips.voice, clips.voice_mask)
    output: FusionOutput = model(*(part.to(device_of(model)) for part in parts))
    return output.logits


def _plan(
    recipe: FusionRecipe, label: int, photographs: Photographs, generator: torch.Generator
) -> tuple[Tensor, int, int]:
    """Choose a clip's photographs (frame,), all different.

    The first so many are expressive, the last so many blurred.
    """
    draw = torch.rand(3, generator=generator).tolist()
    fewest, most = recipe.expressive
    expressive = fewest + int(draw[0] * (most - fewest + 1))
    neutral = int(draw[1] * (recipe.neutral + 1))
    blurred = int(draw[2] * (recipe.blurred + 1))
    pools = [(photographs.labels == label, expressive)]
    if label != NEUTRAL:
        pools.append((photographs.labels == NEUTRAL, neutral))
    pools.append((torch.ones_like(photographs.labels, dtype=torch.bool), blurred))
    parts = [_some(torch.where(pool)[0], count, generator) for pool, count in pools]
    sharp = torch.cat(parts[:-1])
    other = parts[-1][~torch.isin(parts[-1], sharp)]
    return torch.cat([sharp, other]), len(parts[0]), len(other)


def _some(pool: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw (count,) different members of a pool (member,)."""
    return pool[torch.randperm(len(pool), generator=generator)[:count]]


def _frames(
    photographs: Photographs,
    chosen: Tensor,
    expressive: int,
    blurred: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Shuffle a clip's photographs: features (frame, feature), and which are expressive."""
    views = torch.randint(len(photographs.views), (len(chosen),), generator=generator)
    frames = photographs.views[views, chosen]
    if blurred:
        frames[-blurred:] = photographs.blurred[chosen[-blurred:]]
    order = torch.randperm(len(frames), generator=generator)
    return frames[order], order < expressive


def _one_of_each(pool: Tensor, wanted: Tensor, generator: torch.Generator) -> Tensor:
    """Index of a random member of `pool` (member,) for each label of `wanted` (clip,)."""
    weights = (pool[None] == torch.arange(len(EMOTIONS))[:, None]).float()
    return torch.multinomial(weights[wanted], 1, generator=generator)[:, 0]


def _features(model: Any, crops: Tensor) -> Tensor:
    """Features (image, feature) of crops (image, 1, height, width)."""
    return torch.cat([model.features(part) for part in torch.split(crops, 256)])
