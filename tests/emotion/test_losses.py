"""Losses."""

import pytest
import torch
from torch import nn

from emotion import EMOTIONS
from emotion.training.loop import step_generator
from emotion.training.losses import cross_entropy, smoothed


def test_smoothing_and_cross_entropy():
    labels = torch.tensor([0, 3])
    targets = smoothed(labels, 0.07)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(2))
    assert targets[0, 0] == pytest.approx(0.94)
    logits = torch.randn(2, len(EMOTIONS), generator=step_generator(1))
    reference = nn.functional.cross_entropy(logits, labels, label_smoothing=0.07)
    torch.testing.assert_close(cross_entropy(logits, targets), reference)


def test_a_sample_without_votes_costs_nothing():
    logits = torch.randn(2, len(EMOTIONS), generator=step_generator(1))
    targets = torch.stack([smoothed(torch.tensor([1]), 0.0)[0], torch.zeros(len(EMOTIONS))])
    torch.testing.assert_close(
        cross_entropy(logits, targets), cross_entropy(logits[:1], targets[:1])
    )
    assert cross_entropy(logits, torch.zeros_like(logits)) == 0
