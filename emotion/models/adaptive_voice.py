"""A voice heard against what its speaker sounded like before.

What tells sadness from calm is how far somebody is from their own usual voice (Busso et al.,
"Iterative Feature Normalization Scheme for Automatic Emotion Detection from Speech", IEEE
Transactions on Affective Computing 2013). So statistics of the utterance are normalised by those of
the same speaker's utterances so far, of which no label is known, and are judged beside the
attention-based fully convolutional network, which hears the utterance alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emotion.labels import EMOTIONS
from emotion.models.attention_fcn import COMPACT, AttentionFCN, AttentionFCNConfig, VoiceOutput
from emotion.speech.statistics import (
    LOUDNESS,
    STATISTICS,
    gain_of_statistics,
    utterance_statistics,
)

__all__ = ["AdaptiveVoice", "AdaptiveVoiceConfig", "StatisticsHead", "VoiceHistory"]


class VoiceHistory(NamedTuple):
    """What is known of a speaker's voice: sums over utterances, not the utterances.

    Attributes:
        utterances: (batch,) how many.
        total: (batch, statistic) sum of their statistics.
        squares: (batch, statistic) sum of the squares of these.
    """

    utterances: Tensor
    total: Tensor
    squares: Tensor

    @staticmethod
    def of(statistics: Tensor) -> VoiceHistory:
        """Take each utterance (batch, statistic) for all that is known of its speaker."""
        return VoiceHistory(torch.ones_like(statistics[:, 0]), statistics, statistics.square())

    @staticmethod
    def among(statistics: Tensor, known: Tensor) -> VoiceHistory:
        """Sum utterances (utterance, statistic) of which known (batch, utterance) are true."""
        chosen = known.to(statistics)
        return VoiceHistory(chosen.sum(1), chosen @ statistics, chosen @ statistics.square())

    def to(self, device: torch.device) -> VoiceHistory:
        """Move to a device."""
        return VoiceHistory(*(part.to(device) for part in self))

    def plus(self, other: VoiceHistory) -> VoiceHistory:
        """Know both."""
        return VoiceHistory(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class AdaptiveVoiceConfig:
    """Everything that decides the network's shape.

    Attributes:
        fcn: The network that hears the utterance alone.
        hidden: Features of each member that judges the statistics.
        members: How many judge them, from different first weights; their logits are averaged.
        share: Weight of the first network's logits beside theirs.
        prior: A new speaker counts as having been heard so many times, as the average speaker.
        dropout: On the members' features, in [0, 1).
        input_dropout: On the statistics, in [0, 1).
    """

    fcn: AttentionFCNConfig = COMPACT
    hidden: int = 96
    members: int = 3
    share: float = 0.5
    prior: float = 4.0
    dropout: float = 0.5
    input_dropout: float = 0.2

    def __post_init__(self) -> None:
        if isinstance(self.fcn, dict):
            object.__setattr__(self, "fcn", AttentionFCNConfig(**self.fcn))
        if min(self.hidden, self.members) < 1 or not (self.share >= 0 and self.prior > 0):
            raise ValueError(f"Expected positive sizes and prior and share >= 0, got {self}.")
        if not (0 <= self.dropout < 1 and 0 <= self.input_dropout < 1):
            raise ValueError(f"Expected dropouts in [0, 1), got {self}.")

    @property
    def features(self) -> int:
        """Size of the utterance's vector."""
        return self.fcn.features + self.hidden * self.members


class StatisticsHead(nn.Module):
    """Statistics of utterances and their speakers' histories in, features and logits out."""

    mean: Tensor
    variance: Tensor

    def __init__(self, config: AdaptiveVoiceConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(STATISTICS))
        self.register_buffer("variance", torch.ones(STATISTICS))
        self.drop_inputs = nn.Dropout(config.input_dropout)
        self.describe = nn.Linear(STATISTICS, config.hidden * config.members)
        self.normalise = nn.BatchNorm1d(config.hidden * config.members)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.ModuleList(
            nn.Linear(config.hidden, len(EMOTIONS)) for _ in range(config.members)
        )

    def relative(self, statistics: Tensor, history: VoiceHistory) -> Tensor:
        """Deviations (batch, statistic) of an utterance from its speaker's usual voice, in [-5, 5].

        Means and variances of few utterances are shrunk towards those of the average speaker,
        whose microphone is taken to be this one.

        Args:
            statistics: (batch, statistic).
            history: Of each one's speaker, this utterance included.
        """
        prior, count = self.config.prior, history.utterances[:, None]
        loudness = history.total[:, LOUDNESS, None] / count
        usual = self.mean + loudness * gain_of_statistics(statistics.device)
        mean = (prior * usual + history.total) / (prior + count)
        spread = history.squares - 2 * mean * history.total + count * mean.square()
        variance = (prior * self.variance + spread.clamp_min(0)) / (prior + count)
        return ((statistics - mean) / variance.clamp_min(_LEAST_VARIANCE).sqrt()).clamp(
            -_FURTHEST, _FURTHEST
        )

    def features(self, relative: Tensor) -> Tensor:
        """Describe utterances (batch, feature), the members one after the other."""
        hidden = torch.relu(self.normalise(self.describe(self.drop_inputs(relative))))
        dropped: Tensor = self.dropout(hidden)
        return dropped

    def forward(self, relative: Tensor) -> Tensor:
        """Logits (batch, member, emotion) of deviations (batch, statistic)."""
        return self.judge(self.features(relative))

    def judge(self, features: Tensor) -> Tensor:
        """Logits (batch, member, emotion) of descriptions (batch, feature)."""
        each = features.chunk(self.config.members, 1)
        pairs = zip(self.classify, each, strict=True)
        return torch.stack([classify(own) for classify, own in pairs], 1)


_LEAST_VARIANCE = 1e-6
_FURTHEST = 5.0


class AdaptiveVoice(nn.Module):
    """Spectrogram of any length and the speaker's history in; logits, vector and attention out."""

    def __init__(self, config: AdaptiveVoiceConfig) -> None:
        super().__init__()
        self.config = config
        self.fcn = AttentionFCN(config.fcn)
        self.head = StatisticsHead(config)

    def forward(
        self,
        spectrogram: Tensor,
        lengths: Tensor | None = None,
        history: VoiceHistory | None = None,
        statistics: Tensor | None = None,
    ) -> VoiceOutput:
        """Classify clips; one clip's result does not depend on the others in its batch.

        Args:
            spectrogram: (batch, frame, bin) of `log_spectrogram`.
            lengths: (batch,) frames that count in each clip; None counts all.
            history: Of each clip's speaker, the clip included; None knows the clip alone.
            statistics: (batch, statistic) of `statistics`, where they are at hand already.

        Raises:
            InputError: If the axes, the bins or the lengths do not fit.
        """
        heard = self.fcn(spectrogram, lengths)
        if statistics is None:
            statistics = self.statistics(spectrogram, lengths)
        relative = self.head.relative(statistics, history or VoiceHistory.of(statistics))
        feature = torch.cat([heard.feature.float(), self.head.features(relative).float()], 1)
        return VoiceOutput(self.classify(feature).float(), feature, heard.attention)

    def statistics(self, spectrogram: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Describe clips (batch, statistic) for a history; arguments as of `forward`."""
        if lengths is None:
            lengths = torch.full((len(spectrogram),), spectrogram.shape[1])
        with torch.autocast(spectrogram.device.type, enabled=False):
            return utterance_statistics(spectrogram, lengths.to(spectrogram.device))

    def classify(self, feature: Tensor) -> Tensor:
        """Logits (batch, emotion) of vectors (batch, feature): the weighted sum of both parts'."""
        heard, described = feature.tensor_split([self.config.fcn.features], dim=1)
        alone: Tensor = self.fcn.classify(heard)
        return self.config.share * alone + self.head.judge(described).mean(1)
