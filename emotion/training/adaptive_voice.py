"""Trains what judges an utterance against its speaker's history, beside a trained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emotion import checkpoint
from emotion.corpora.speech import Voices
from emotion.labels import EMOTIONS
from emotion.models.adaptive_voice import AdaptiveVoice, StatisticsHead, VoiceHistory
from emotion.models.attention_fcn import AttentionFCN
from emotion.speech.spectrogram import log_spectrogram
from emotion.speech.statistics import gain_of_statistics, utterance_statistics
from emotion.training.augmentation import augment_voices, mixup
from emotion.training.histories import same_speaker, statistics_of
from emotion.training.loop import Figures, device_of, fit, initialised, step_generator
from emotion.training.losses import cross_entropy, smoothed
from emotion.training.recipes import AdaptiveVoiceRecipe
from emotion.training.sampling import balanced

__all__ = ["StatisticsTask", "train_statistics"]

_MOSTLY_NEUTRAL = 0.5
"""Where one emotion prevails, how often it is neutral, as in everyday speech."""

Facts = Callable[[nn.Module], dict[str, Any]]


def train_statistics(
    recipe: AdaptiveVoiceRecipe,
    fcn: AttentionFCN,
    train: Voices,
    out: Path,
    facts: Facts,
    *,
    resume: bool = False,
) -> None:
    """Train the statistics' part and write the checkpoint of both to `out`.

    Args:
        recipe: What to do.
        fcn: The network that hears an utterance alone, trained.
        train: Who is learned from.
        out: Folder of the checkpoint.
        facts: Makes the facts of the training, the temperature among them, of the model.
        resume: Go on where a killed training stopped.
    """
    task = StatisticsTask(recipe, fcn, train, out, facts)
    fit(task, task.schedule, out, resume=resume)


class StatisticsTask:
    """Clips drawn so that every emotion is heard equally often, with histories of any length."""

    def __init__(
        self,
        recipe: AdaptiveVoiceRecipe,
        fcn: AttentionFCN,
        train: Voices,
        out: Path,
        facts: Facts,
    ) -> None:
        self.recipe, self.fcn, self.out, self.facts = recipe, fcn, out, facts
        self.labels, self.corpora = train.labels, [clip.corpus for clip in train.clips]
        self.config = replace(recipe.adaptive, fcn=fcn.config)
        self.schedule = replace(recipe.judging, seed=recipe.schedule.seed)
        self.together = same_speaker(train)
        self.targets = smoothed(torch.from_numpy(train.labels), recipe.smoothing)
        self.statistics = self._views(train)
        self.model: nn.Module = initialised(self._fresh, self.schedule.seed)

    def _views(self, train: Voices) -> Tensor:
        """Statistics (view, clip, statistic) of the clips as they are and changed."""
        views = [statistics_of(train)]
        for view in range(1, self.recipe.views):
            generator = step_generator(self.schedule.seed, 3, view)
            changed = [self._changed(torch.from_numpy(w), generator) for w in train.waveforms]
            views.append(torch.cat(changed))
        return torch.stack(views)

    def _changed(self, waveform: Tensor, generator: torch.Generator) -> Tensor:
        """Statistics (1, statistic) of a clip (sample,) changed at random."""
        spectrogram = log_spectrogram(waveform[None])
        frames = torch.tensor([spectrogram.shape[1]])
        longest = int(frames / self.recipe.noisy.speed[0])
        return utterance_statistics(
            *augment_voices(spectrogram, frames, longest, self.recipe.noisy, generator)
        )

    def _fresh(self) -> StatisticsHead:
        """Make a head that knows the average speaker."""
        head = StatisticsHead(self.config)
        means, variances = [], []
        for own in torch.unique(self.together, dim=0):
            heard = self.statistics[0, own]
            means.append(heard.mean(0))
            variances.append(heard.var(0, correction=0))
        usual = torch.stack(means)
        gain = gain_of_statistics(usual.device)
        head.mean.copy_((usual - usual[:, -1:] * gain).mean(0))
        head.variance.copy_(torch.stack(variances).mean(0))
        return head

    def order(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """Draw clips (example,), as many as there are, every emotion equally often."""
        power = self.recipe.corpus_power
        return balanced(self.labels, batch, generator, corpora=self.corpora, corpus_power=power)

    def loss(self, indices: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of the members on clips (example,), their statistics mixed."""
        known = self._known(indices, generator)
        view = torch.randint(len(self.statistics), (len(indices),), generator=generator)
        device = device_of(self.model)
        relative = torch.zeros(len(indices), self.statistics.shape[2], device=device)
        for number, statistics in enumerate(self.statistics):
            own = view == number
            history = VoiceHistory.among(statistics, known[own]).to(device)
            heard = statistics[indices[own]].to(device)
            relative[own] = self.model.relative(heard, history)  # type: ignore[operator]
        targets = self.targets[indices]
        partners, share = mixup(len(indices), self.recipe.judging_mixup, generator)
        relative = relative.lerp(relative[partners], 1 - share)
        targets = targets.lerp(targets[partners], 1 - share).to(device)
        logits = self.model(relative).flatten(0, 1)
        return cross_entropy(logits, targets.repeat_interleave(self.config.members, 0))

    def _known(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Which clips (example, clip) of each one's speaker are known, itself always."""
        least = torch.tensor(self.recipe.fewest)
        part = least ** torch.rand(len(indices), 1, generator=generator)
        whole = torch.rand(len(indices), 1, generator=generator) >= self.recipe.incomplete
        chance = torch.where(whole, 1.0, part) * self._moods(len(indices), generator)
        known = torch.rand(len(indices), len(self.labels), generator=generator) < chance
        known &= self.together[indices]
        known[torch.arange(len(indices)), indices] = True
        return known

    def _moods(self, examples: int, generator: torch.Generator) -> Tensor:
        """How likely each clip (example, clip) is known by its emotion, relative to the others.

        People are not heard equally often in every emotion: one may be all there is.
        """
        moods = torch.randint(len(EMOTIONS), (examples, 1), generator=generator)
        calm = torch.rand(examples, 1, generator=generator) < _MOSTLY_NEUTRAL
        moods = torch.where(calm, EMOTIONS.index("neutral"), moods)
        uneven = torch.rand(examples, 1, generator=generator) < self.recipe.uneven
        others = torch.where(uneven, torch.rand(examples, 1, generator=generator) ** 2, 1.0)
        return torch.where(torch.from_numpy(self.labels)[None] == moods, 1.0, others)

    def epoch_done(self, averaged: nn.Module, epoch: int) -> Figures:
        """After the last epoch join both parts and write the checkpoint."""
        if epoch + 1 < self.schedule.epochs:
            return {}
        model = AdaptiveVoice(self.config).eval()
        model.fcn.load_state_dict(self.fcn.state_dict())
        model.head.load_state_dict(averaged.state_dict())
        facts = self.facts(model)
        checkpoint.save(self.out, model, self.config, training=facts)
        known = facts.get("held_out_uar")
        return {} if known is None else {"held-out UAR": known}
