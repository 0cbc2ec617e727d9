"""Trains the networks of the voice on acted speech, speaker-independently."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.calibration import fit_temperature
from emotion.corpora.clip import check_speakers
from emotion.corpora.speech import SPEECH_CORPORA, Voices, load_voices
from emotion.errors import CorpusError
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall
from emotion.models.adaptive_voice import AdaptiveVoice, VoiceHistory
from emotion.models.attention_fcn import AttentionFCN, VoiceOutput
from emotion.models.published import load_weights
from emotion.speech.spectrogram import BINS, log_spectrogram
from emotion.training.adaptive_voice import train_statistics
from emotion.training.augmentation import augment_voices, mixup
from emotion.training.histories import Known, histories
from emotion.training.loop import (
    Figures,
    device_of,
    fit,
    initialised,
    is_finished,
    mixed_precision,
)
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.recipes import AdaptiveVoiceRecipe, VoiceRecipe
from emotion.training.sampling import balanced

__all__ = ["VoiceTask", "speakers_of", "train_voice", "voice_outputs"]

CHECKPOINT_EPOCHS = 5


def train_voice(
    recipe: VoiceRecipe,
    root: Path,
    out: Path,
    *,
    cache: Path | None,
    without_speakers: Collection[str] = (),
    development_speakers: Collection[str] = (),
    temperature_from: Path | None = None,
    init: Path | None = None,
    resume: bool = False,
) -> AttentionFCN | AdaptiveVoice:
    """Train on the corpora of the recipe under `root`; each few epochs `out` gets a checkpoint.

    Where the recipe is of an `AdaptiveVoice`, its network is trained first, in `out`/fcn; the
    checkpoint of both comes at the end.

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the checkpoint.
        cache: Folder for decoded arrays, or None.
        without_speakers: Speakers to hold out, such as "ravdess:21". The temperature is fitted on
            them, unless there are development speakers: then they are left wholly alone.
        development_speakers: Speakers not trained on either, for the temperature and the figure
            of each epoch.
        temperature_from: With nobody held out, a checkpoint of the same recipe that has held-out
            speakers, whose temperature is taken over.
        init: Checkpoint of a network of this layout to start from, such as ImageNet's AlexNet
            brought by `attune convert`; what it does not hold starts from nothing.
        resume: Go on where a killed training stopped.

    Raises:
        CorpusError: If a corpus or a speaker is not there.
    """
    away = {*without_speakers, *development_speakers}
    check_speakers(away, speakers_of(recipe.corpora, root))
    voices = load_voices(root, recipe.corpora, cache)
    task = VoiceTask(
        recipe,
        voices.of([s for s in voices.speakers if s not in away]),
        voices.of(list(development_speakers or without_speakers)),
        out,
        checkpoint.read(temperature_from).training["temperature"] if temperature_from else 1.0,
    )
    alone = out / ALONE if isinstance(recipe, AdaptiveVoiceRecipe) else out
    task.out = alone
    if init is not None:
        load_weights(task.model, init, only="blocks.")
    if not (resume and is_finished(alone)):
        fit(task, recipe.schedule, alone, resume=resume)
    model: AttentionFCN | AdaptiveVoice = checkpoint.load(alone)
    if isinstance(recipe, AdaptiveVoiceRecipe) and isinstance(model, AttentionFCN):
        train_statistics(recipe, model, task.train, out, task.facts, resume=resume)
        model = checkpoint.load(out)
    return model


ALONE = "fcn"


def speakers_of(corpora: Sequence[str], root: Path) -> set[str]:
    """List who speaks in some corpora of speech under `root`.

    Raises:
        CorpusError: If a corpus is unknown or not there.
    """
    unknown = [name for name in corpora if name not in SPEECH_CORPORA]
    if unknown or not corpora:
        known = ", ".join(SPEECH_CORPORA)
        raise CorpusError(f"Expected corpora of speech among {known}, got {', '.join(unknown)}.")
    return {clip.speaker for name in corpora for clip in SPEECH_CORPORA[name].clips(root)}


class VoiceTask:
    """Clips drawn so that every emotion is heard equally often, each time changed anew."""

    def __init__(
        self,
        recipe: VoiceRecipe,
        train: Voices,
        held_out: Voices,
        out: Path,
        temperature: float = 1.0,
    ) -> None:
        self.recipe, self.train, self.held_out, self.out = recipe, train, held_out, out
        self.temperature = temperature
        self.model: nn.Module = initialised(
            lambda: AttentionFCN(recipe.config), recipe.schedule.seed
        )
        self.spectrograms = [_spectrogram(w).half() for w in train.waveforms]
        self.targets = smoothed(torch.from_numpy(train.labels), recipe.smoothing)

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """Draw clips (example,), as many as there are, an emotion's clips sharing one weight."""
        return balanced(self.train.labels, batch, generator)

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Cross-entropy on pieces of the clips (example,), augmented and mixed."""
        padded, lengths = _padded([self.spectrograms[i] for i in indices.tolist()])
        spectrograms, lengths = augment_voices(
            padded, lengths, self.recipe.frames, self.recipe.augmentation, generator
        )
        targets = self.targets[indices]
        if self.recipe.mixup > 0:
            partners, share = mixup(len(indices), self.recipe.mixup, generator)
            spectrograms = spectrograms.lerp(spectrograms[partners], 1 - share)
            targets = targets.lerp(targets[partners], 1 - share)
            lengths = torch.maximum(lengths, lengths[partners])
        device = device_of(self.model)
        with mixed_precision(self.model):
            logits = self.model(spectrograms.to(device), lengths.to(device)).logits
        return cross_entropy(logits, targets.to(device))

    def epoch_done(self, averaged: nn.Module, epoch: int) -> Figures:
        """Now and then fit the temperature on the speakers held out and write the checkpoint."""
        if (epoch + 1) % CHECKPOINT_EPOCHS and epoch + 1 < self.recipe.schedule.epochs:
            return {}
        facts = self.facts(averaged) | {"epochs": epoch + 1}
        checkpoint.save(self.out, averaged, self.recipe.config, training=facts)
        known = facts.get("held_out_uar")
        return {} if known is None else {"held-out UAR": known}

    def facts(self, model: nn.Module) -> dict[str, Any]:
        """Describe the training of a model, and fit its temperature on the speakers held out."""
        facts: dict[str, Any] = {
            "recipe": "voice",
            "corpora": list(self.recipe.corpora),
            "speakers": sorted(set(self.train.speakers)),
            "held_out_speakers": sorted(set(self.held_out.speakers)),
            "seed": self.recipe.schedule.seed,
            "epochs": self.recipe.schedule.epochs,
            "temperature": self.temperature,
        }
        if len(self.held_out):
            logits = voice_outputs(model, self.held_out, known="earlier")[0]
            truth = self.held_out.labels
            facts["temperature"] = fit_temperature(logits, np.eye(len(EMOTIONS))[truth])
            uar = unweighted_average_recall(confusion_matrix(truth, logits.argmax(1)))
            facts["held_out_uar"] = round(float(uar), 4)
        return facts


@torch.inference_mode()
def voice_outputs(
    model: nn.Module, voices: Voices, batch: int = 16, *, known: Known = "all"
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits (clip, emotion) and features (clip, feature) of whole clips, longest with longest.

    Args:
        model: An `AttentionFCN`, or an `AdaptiveVoice`.
        voices: The clips.
        batch: How many at once.
        known: What an `AdaptiveVoice` knows of each clip's speaker; labels are never known.
    """
    order = sorted(range(len(voices)), key=lambda i: len(voices.waveforms[i]))
    outputs: dict[int, tuple[Tensor, Tensor]] = {}
    device = device_of(model)
    history = histories(voices, known) if isinstance(model, AdaptiveVoice) else None
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        padded, lengths = _padded([_spectrogram(voices.waveforms[i]) for i in chosen])
        own = [VoiceHistory(*(x[chosen] for x in history)).to(device)] if history else []
        output: VoiceOutput = model(padded.to(device), lengths.to(device), *own)
        rows = zip(output.logits.cpu(), output.feature.float().cpu(), strict=True)
        outputs |= zip(chosen, rows, strict=True)
    logits, features = zip(*(outputs[i] for i in range(len(voices))), strict=True)
    return torch.stack(logits).numpy(), torch.stack(features).numpy()


def _spectrogram(waveform: npt.NDArray[np.float32]) -> Tensor:
    """Log spectrogram (frame, bin) of one clip (sample,)."""
    return log_spectrogram(torch.from_numpy(waveform)[None])[0]


def _padded(spectrograms: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(batch, frame, bin) float32 and lengths (batch,) of (frame, bin) clips."""
    lengths = torch.tensor([len(s) for s in spectrograms])
    padded = torch.zeros(len(spectrograms), int(lengths.max()), BINS)
    for row, spectrogram in zip(padded, spectrograms, strict=True):
        row[: len(spectrogram)] = spectrogram
    return padded, lengths
