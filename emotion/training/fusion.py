"""Trains the fusion on label-paired faces and voices, over frozen encoders."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.calibration import EVIDENCE, fit_temperature, majority
from emotion.corpora.fer2013 import Faces, load_faces
from emotion.corpora.speech import Voices, load_voices
from emotion.errors import CorpusError
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall
from emotion.models.face_cnn import CROP_SIDE, standardise
from emotion.models.fusion import FusionOutput, GatedFBP
from emotion.training.augmentation import FaceAugmentation, augment_faces
from emotion.training.face import split_faces
from emotion.training.loop import device_of, fit, initialised, is_finished, step_generator
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.recipes import FusionRecipe
from emotion.training.spoiling import blurred, coloured_noise, noise_pictures, noisy
from emotion.training.voice import voice_outputs

__all__ = [
    "FusionTask",
    "PairedClips",
    "Photographs",
    "VoicePool",
    "alone",
    "as_people_see",
    "cross_calibrated",
    "encode_photographs",
    "encode_voices",
    "face_features",
    "make_clips",
    "train_fusion",
    "untouched",
]

NEUTRAL = EMOTIONS.index("neutral")

CALIBRATION_CLIPS = 2
"""Clips a voice, of each part of the faces, on which the temperatures are fitted."""

_FOLDS = "folds"

BLURS = (3.0, 4.5, 6.0)
"""Deviations in pixels of the Gaussians that blur a face of 48 x 48 pixels."""


@dataclass(frozen=True)
class Photographs:
    """Features of single photographs.

    Attributes:
        views: (view, image, feature), the same photograph changed in several ways.
        blurred: (image, feature), each blurred until little is left to see.
        labels: (image,).
        spoilt: (picture, feature), black pictures and noise, in which there is no face.
    """

    views: Tensor
    blurred: Tensor
    labels: Tensor
    spoilt: Tensor = field(default_factory=lambda: torch.zeros(0))

    def take(self, chosen: Tensor) -> Photographs:
        """Pick the photographs at `chosen`, indices (photo,) or a mask (image,)."""
        kept = (self.views[:, chosen], self.blurred[chosen], self.labels[chosen])
        return Photographs(*kept, self.spoilt)


@dataclass(frozen=True)
class VoicePool:
    """Features of voices.

    Attributes:
        features: (clip, feature).
        labels: (clip,).
        reach: How far each may be moved towards another one.
        noisy: (view, clip, feature), the same voices in noise.
        spoilt: (sound, feature), silence and noise without a voice.
    """

    features: Tensor
    labels: Tensor
    reach: float = 0.0
    noisy: Tensor = field(default_factory=lambda: torch.zeros(0))
    spoilt: Tensor = field(default_factory=lambda: torch.zeros(0))

    def draw(
        self, labels: Tensor, generator: torch.Generator, in_noise: Tensor | None = None
    ) -> Tensor:
        """Pick a voice (clip, feature) of each label (clip,), moved towards another of any label.

        The part of the way is uniform in [0, reach]; those of `in_noise` (clip,) bool are noisy.
        """
        index = _one_of_each(self.labels, labels, generator)
        chosen = self.features[index]
        if in_noise is not None and in_noise.any():
            view = torch.randint(len(self.noisy), (len(labels),), generator=generator)
            chosen = torch.where(in_noise[:, None], self.noisy[view, index], chosen)
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
        trust: (clip, 2), how far the face and the voice deserve trust: 1 as they are, 0 where they
            say nothing, nan where that is not told, as of a voice in noise.
    """

    frames: Tensor
    frame_mask: Tensor
    expressive: Tensor
    voice: Tensor
    voice_mask: Tensor
    labels: Tensor
    trust: Tensor


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
    pool = _as_they_are(encoder, unheard) if len(unheard) else None
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


def as_people_see(faces: Faces) -> Faces:
    """Name faces by what most of FER+'s annotators chose, and leave ties out.

    The live face is read by FER+'s votes; a fusion taught by FER2013's own labels, which agree with
    them on 65 % of the faces, would contradict a face that it and everybody sees as neutral.

    Raises:
        CorpusError: If nobody voted.
    """
    seen, clearly = majority(faces.votes)
    if not clearly.any():
        raise CorpusError(f"Expected FER+'s votes for {len(faces)} faces of FER2013, got none.")
    return Faces(faces.images, seen, faces.votes).take(clearly)


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
    fate = _Fate.draw(recipe, len(labels), generator)
    mask &= ~fate.no_face[:, None]
    voice = voices.draw(labels, generator, fate.noisy_voice)
    if fate.spoilt_face.any():
        frames[fate.spoilt_face] = _nothing_to_see(photographs, frames[fate.spoilt_face], generator)
        expressive[fate.spoilt_face] = False
    if fate.spoilt_voice.any():
        voice[fate.spoilt_voice] = _any_of(voices.spoilt, voice[fate.spoilt_voice], generator)
    return PairedClips(frames, mask, expressive & mask, voice, ~fate.no_voice, labels, fate.trust)


def untouched(recipe: FusionRecipe) -> FusionRecipe:
    """Change a recipe so that of its clips nothing is missing or spoilt."""
    return replace(
        recipe, no_face=0.0, no_voice=0.0, spoilt_face=0.0, spoilt_voice=0.0, noisy_voice=0.0
    )


def alone(clips: PairedClips, name: str) -> PairedClips:
    """Keep the "face" or the "voice" of clips alone, or "both"."""
    if name == "voice":
        return replace(clips, frame_mask=torch.zeros_like(clips.frame_mask))
    return replace(clips, voice_mask=clips.voice_mask & (name == "both"))


def _temperatures(
    logits: Mapping[str, Tensor], labels: Tensor, kept: npt.NDArray[np.bool_]
) -> dict[str, float]:
    """Temperatures by the evidence, of logits (clip, emotion) of the clips kept (clip,)."""
    chosen = kept if kept.any() else ~kept  # nobody else: a single speaker is fitted on himself
    targets = nn.functional.one_hot(labels, len(EMOTIONS)).numpy()[chosen]
    return {name: fit_temperature(own.numpy()[chosen], targets) for name, own in logits.items()}


@dataclass(frozen=True)
class _Fate:
    """What is done to clips, each (clip,) bool; never to face and voice of one clip."""

    no_face: Tensor
    spoilt_face: Tensor
    no_voice: Tensor
    spoilt_voice: Tensor
    noisy_voice: Tensor

    @classmethod
    def draw(cls, recipe: FusionRecipe, clips: int, generator: torch.Generator) -> _Fate:
        chance, noise = torch.rand(2, clips, generator=generator)
        edges = torch.tensor([recipe.no_face, recipe.spoilt_face, recipe.no_voice]).cumsum(0)
        which = torch.bucketize(
            chance, torch.cat([edges, edges[-1:] + recipe.spoilt_voice]), right=True
        )
        no_face, spoilt_face, no_voice, spoilt_voice = (which == kind for kind in range(4))
        noisy_voice = ~no_voice & ~spoilt_voice & (noise < recipe.noisy_voice)
        return cls(no_face, spoilt_face, no_voice, spoilt_voice, noisy_voice)

    @property
    def trust(self) -> Tensor:
        """(clip, 2) as in `PairedClips`."""
        face = (~self.spoilt_face).float().masked_fill(self.no_face, torch.nan)
        voice = (~self.spoilt_voice).float()
        voice = voice.masked_fill(self.no_voice | self.noisy_voice, torch.nan)
        return torch.stack([face, voice], dim=1)


def _nothing_to_see(photographs: Photographs, like: Tensor, generator: torch.Generator) -> Tensor:
    """Frames (clip, frame, feature): all of a clip blurred, or none a face."""
    noise = _any_of(photographs.spoilt, like, generator)
    faint = _any_of(photographs.blurred, like, generator)
    return torch.where(torch.rand(len(like), 1, 1, generator=generator) < 0.5, noise, faint)


@torch.inference_mode()
def encode_photographs(model: nn.Module, faces: Faces, recipe: FusionRecipe) -> Photographs:
    """Features of faces as they are, slightly changed, and blurred; and of pictures of nobody."""
    levels = torch.from_numpy(faces.images)[:, None].float()
    generator = step_generator(recipe.schedule.seed, 5)
    mild = FaceAugmentation(rotation_deg=8.0, shift=0.04, zoom=(0.9, 1.06), blurred=0, erased=0)
    views = [standardise(levels)] + [
        augment_faces(levels, CROP_SIDE, mild, generator) for _ in range(recipe.views - 1)
    ]
    features = [face_features(model, crops) for crops in (*views, _blurred(levels, generator))]
    labels = torch.from_numpy(faces.labels)
    spoilt = face_features(model, standardise(_nobody(levels, recipe.spoilt, generator)))
    return Photographs(torch.stack(features[:-1]), features[-1], labels, spoilt)


def _blurred(levels: Tensor, generator: torch.Generator) -> Tensor:
    """Crops (image, 1, height, width) blurred one by one until little is left to see."""
    by = [blurred(levels, deviation) for deviation in BLURS]
    by.append(_small_and_back(levels))
    chosen = torch.randint(len(by), (len(levels),), generator=generator)
    return standardise(torch.stack(by)[chosen, torch.arange(len(levels))])


def _small_and_back(levels: Tensor) -> Tensor:
    """Reduce (image, 1, height, width) eightfold, and enlarge it again."""
    small = nn.functional.avg_pool2d(levels, 8)
    return nn.functional.interpolate(small, levels.shape[2:], mode="bilinear")


def _nobody(levels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Pictures (picture, 1, height, width): a third black, the others noise, over faces or not."""
    noise = noise_pictures(count, levels.shape[-1], generator)
    faint = torch.linspace(0, 0.3, count)[torch.randperm(count, generator=generator)]
    coarse = nn.functional.interpolate(nn.functional.avg_pool2d(noise, 4), noise.shape[2:])
    noise[::2] = coarse[::2]
    faces = levels[torch.randint(len(levels), (count,), generator=generator)]
    pictures = noise.lerp(faces, faint[:, None, None, None])
    pictures[::3] = 0
    return pictures


@torch.inference_mode()
def encode_voices(model: nn.Module, voices: Voices, recipe: FusionRecipe) -> VoicePool:
    """Features by a voice model of whole clips, as they are and in noise; and of noise alone."""
    generator = step_generator(recipe.schedule.seed, 6)
    noisy_views = [
        voice_outputs(model, _in_noise(voices, generator), known="earlier")[1]
        for _ in range(recipe.noisy_views)
    ]
    spoilt = [
        voice_outputs(model, _no_voices(voices, recipe.spoilt // 2, generator), known=known)[1]
        for known in ("none", "earlier")
    ]
    return replace(
        _as_they_are(model, voices),
        noisy=torch.from_numpy(np.stack(noisy_views)) if noisy_views else torch.zeros(0),
        spoilt=torch.from_numpy(np.concatenate(spoilt)),
    )


def _as_they_are(model: nn.Module, voices: Voices) -> VoicePool:
    """Features by a voice model of whole clips, each heard after some of its speaker's others."""
    _, features = voice_outputs(model, voices, known="earlier")
    return VoicePool(torch.from_numpy(features), torch.from_numpy(voices.labels))


def _in_noise(voices: Voices, generator: torch.Generator) -> Voices:
    """Put the clips into noise of any colour, from 25 dB under the voice to as loud."""
    draws = torch.rand(len(voices), 2, generator=generator).tolist()
    waveforms = [
        noisy(waveform, 25 * level, -6 * slope, generator)
        for waveform, (level, slope) in zip(voices.waveforms, draws, strict=True)
    ]
    return replace(voices, waveforms=tuple(waveforms))


def _no_voices(voices: Voices, count: int, generator: torch.Generator) -> Voices:
    """Make sounds as long as some clips: noise, or nothing; a third hide a voice far under it."""
    chosen = torch.randint(len(voices), (count,), generator=generator).tolist()
    draws = torch.rand(count, 3, generator=generator).tolist()
    sounds = []
    for number, (index, (level, slope, under)) in enumerate(zip(chosen, draws, strict=True)):
        own = voices.waveforms[index]
        if number % 3 == 0:
            sounds.append(noisy(own, -10 - 15 * under, -6 * slope, generator))
        else:
            loudness = np.float32(0 if number % 10 == 1 else 10 ** (-0.5 - 3.5 * level))
            sounds.append(loudness * coloured_noise(len(own), -6 * slope, generator))
    return Voices(tuple(voices.clips[i] for i in chosen), tuple(sounds))


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


def _any_of(pool: Tensor, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw members of a pool (member, feature) at random, as many as in (..., feature)."""
    return pool[torch.randint(len(pool), like.shape[:-1], generator=generator)]


@torch.inference_mode()
def face_features(model: Any, crops: Tensor) -> Tensor:
    """Features (image, feature) of crops (image, 1, height, width)."""
    return torch.cat([model.features(part) for part in torch.split(crops, 256)])
