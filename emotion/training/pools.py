"""Features of photographs and of voices, from which label-paired clips are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emotion.calibration import majority
from emotion.corpora.fer2013 import Faces
from emotion.corpora.speech import Voices
from emotion.errors import CorpusError
from emotion.labels import EMOTIONS
from emotion.models.face_cnn import CROP_SIDE, standardise
from emotion.training.augmentation import FaceAugmentation, augment_faces
from emotion.training.loop import step_generator
from emotion.training.recipes import FusionRecipe
from emotion.training.spoiling import blurred, coloured_noise, noise_pictures, noisy
from emotion.training.voice import voice_outputs

__all__ = [
    "Photographs",
    "VoicePool",
    "as_people_see",
    "encode_photographs",
    "encode_voices",
    "face_features",
    "fit_reach",
    "voices_as_they_are",
]

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
        voices_as_they_are(model, voices),
        noisy=torch.from_numpy(np.stack(noisy_views)) if noisy_views else torch.zeros(0),
        spoilt=torch.from_numpy(np.concatenate(spoilt)),
    )


def voices_as_they_are(model: nn.Module, voices: Voices) -> VoicePool:
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


@torch.inference_mode()
def face_features(model: Any, crops: Tensor) -> Tensor:
    """Features (image, feature) of crops (image, 1, height, width)."""
    return torch.cat([model.features(part) for part in torch.split(crops, 256)])


def _one_of_each(pool: Tensor, wanted: Tensor, generator: torch.Generator) -> Tensor:
    """Index of a random member of `pool` (member,) for each label of `wanted` (clip,)."""
    weights = (pool[None] == torch.arange(len(EMOTIONS))[:, None]).float()
    return torch.multinomial(weights[wanted], 1, generator=generator)[:, 0]
