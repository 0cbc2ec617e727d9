"""Fine-tunes an audio model of the Hugging Face hub on acted speech, speaker-independently."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torchaudio.functional import resample

from emotion.corpora.clip import check_speakers
from emotion.corpora.speech import Voices, load_voices
from emotion.errors import InputError
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall
from emotion.models.hub import HubVoice, load_hub_voice, load_to_fine_tune
from emotion.speech.spectrogram import SAMPLE_RATE_HZ
from emotion.training.loop import Figures, device_of, fit, initialised, mixed_precision
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.recipes import HubVoiceRecipe
from emotion.training.sampling import balanced
from emotion.training.voice import speakers_of

__all__ = ["HubVoiceTask", "train_voice_hub"]


def train_voice_hub(
    recipe: HubVoiceRecipe,
    root: Path,
    out: Path,
    *,
    cache: Path | None,
    init: str | Path | None = None,
    without_speakers: Collection[str] = (),
    development_speakers: Collection[str] = (),
    resume: bool = False,
) -> HubVoice:
    """Fine-tune a model on the corpora of the recipe under `root`.

    `out` holds what transformers reads, after every epoch: config.json with the facts of the
    training under "attune", model.safetensors, and what prepares sounds.

    Args:
        recipe: What to do.
        root: Folder of corpora.
        out: Folder of the model.
        cache: Folder for decoded arrays, or None.
        init: Folder or hub id of the model to start from; only a hub id uses the network.
        without_speakers: Speakers to hold out, such as "ravdess:21".
        development_speakers: Speakers not trained on either, for the figure of each epoch; with
            none it is taken on the speakers held out.
        resume: Go on where a killed training stopped.

    Raises:
        InputError: If there is no `init`.
        CorpusError: If a corpus or a speaker is not there.
        CheckpointError: If the model cannot be had.
    """
    if init is None:
        raise InputError("Expected --init with a model's folder or hub id to fine-tune, got none.")
    away = {*without_speakers, *development_speakers}
    check_speakers(away, speakers_of(recipe.corpora, root))
    voices = load_voices(root, recipe.corpora, cache)
    train = voices.of([s for s in voices.speakers if s not in away])
    held_out = voices.of(list(development_speakers or without_speakers))
    fit(HubVoiceTask(recipe, train, held_out, out, init), recipe.schedule, out, resume=resume)
    return load_hub_voice(out)


class HubVoiceTask:
    """Pieces of clips drawn so that every emotion is heard equally often."""

    def __init__(
        self, recipe: HubVoiceRecipe, train: Voices, held_out: Voices, out: Path, init: str | Path
    ) -> None:
        self.recipe, self.train, self.held_out, self.out = recipe, train, held_out, out
        self.model: nn.Module = initialised(lambda: self._loaded(init), recipe.schedule.seed)
        self.targets = smoothed(torch.from_numpy(train.labels), recipe.smoothing)
        self.facts: dict[str, Any] = {
            "recipe": "voice-hub",
            "init": Path(init).name if Path(init).is_dir() else str(init),
            "corpora": list(recipe.corpora),
            "speakers": sorted(set(train.speakers)),
            "held_out_speakers": sorted(set(held_out.speakers)),
            "seed": recipe.schedule.seed,
        }

    def _loaded(self, init: str | Path) -> nn.Module:
        model: Any
        model, self.prepare = load_to_fine_tune(init)
        if hasattr(model, "freeze_feature_encoder"):  # as its papers fine-tune wav2vec 2.0
            model.freeze_feature_encoder()
        if hasattr(model.config, "apply_spec_augment"):
            model.config.apply_spec_augment = False  # it draws from numpy, which is not seeded
        trained: nn.Module = model
        return trained

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """Draw clips (example,), as many as there are, an emotion's clips sharing one weight."""
        return balanced(self.train.labels, batch, generator)

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Cross-entropy on pieces of the clips (example,)."""
        pieces = [self._piece(self.train.waveforms[i], generator) for i in indices.tolist()]
        rate_hz, device = self.prepare.sampling_rate, device_of(self.model)
        inputs = self.prepare(pieces, sampling_rate=rate_hz, return_tensors="pt")
        with mixed_precision(self.model):
            logits = self.model(**{k: v.to(device) for k, v in inputs.items()}).logits
        return cross_entropy(logits.float(), self.targets[indices].to(device))

    def _piece(
        self, waveform: npt.NDArray[np.float32], generator: torch.Generator
    ) -> npt.NDArray[np.float32]:
        """Cut (sample,) at random, or repeat it, to the recipe's length, at the model's rate."""
        wanted = round(self.recipe.piece_s * SAMPLE_RATE_HZ)
        room = max(0, len(waveform) - wanted)
        start = int(torch.randint(room + 1, (), generator=generator))
        piece = torch.from_numpy(np.resize(waveform[start : start + wanted], wanted))
        heard: npt.NDArray[np.float32] = resample(
            piece, SAMPLE_RATE_HZ, self.prepare.sampling_rate
        ).numpy()
        return heard

    def epoch_done(self, averaged: Any, epoch: int) -> Figures:
        """Write what transformers reads, and judge it on the speakers held out."""
        averaged.config.attune = self.facts | {"epochs": epoch + 1}
        self.out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.out) as partial:
            averaged.save_pretrained(partial)
            self.prepare.save_pretrained(partial)
            for file in Path(partial).iterdir():
                file.replace(self.out / file.name)
        if not len(self.held_out):
            return {}
        branch = load_hub_voice(self.out, device=str(device_of(averaged)))
        said = branch.probabilities(self.held_out.waveforms).argmax(axis=1)
        confusion = confusion_matrix(self.held_out.labels, said, len(EMOTIONS))
        return {"held-out UAR": unweighted_average_recall(confusion)}
