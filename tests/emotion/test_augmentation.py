"""Augmentation of faces and voices."""

import math

import numpy as np
import pytest
import torch

from emotion.models.face_cnn import standardise
from emotion.speech.spectrogram import AMPLITUDE_FLOOR
from emotion.training.augmentation import (
    FaceAugmentation,
    VoiceAugmentation,
    augment_faces,
    augment_levels,
    augment_voices,
    mixup,
)
from emotion.training.loop import step_generator


def test_faces_unchanged_by_no_augmentation_but_for_the_flip():
    nothing = FaceAugmentation(0, 0, (1, 1), 0, 0, 0)
    levels = 255 * torch.rand(16, 1, 48, 48, generator=step_generator(1))
    changed = augment_faces(levels, 48, nothing, step_generator(2))
    standard = (levels - levels.mean((1, 2, 3), True)) / levels.std((1, 2, 3), keepdim=True)
    same = (changed - standard).abs().amax((1, 2, 3)) < 0.01
    flipped = (changed - standard.flip(3)).abs().amax((1, 2, 3)) < 0.01
    assert (same ^ flipped).all()
    assert 0 < same.sum() < 16


@pytest.mark.parametrize("side", [40, 48])
def test_augmented_faces_are_finite_and_repeatable(side):
    levels = 255 * torch.rand(8, 1, 48, 48, generator=step_generator(1))
    levels[0] = 0
    first = augment_faces(levels, side, FaceAugmentation(), step_generator(2))
    second = augment_faces(levels, side, FaceAugmentation(), step_generator(2))
    assert first.shape == (8, 1, side, side)
    assert torch.equal(first, second)
    assert first.isfinite().all()


def test_voices_keep_their_lengths_and_stay_finite():
    clips = torch.randn(6, 250, 200, generator=step_generator(1))
    clips[0] = math.log(AMPLITUDE_FLOOR)
    lengths = torch.tensor([250, 1, 40, 200, 250, 250])
    how = VoiceAugmentation(reverberant=1.0)
    changed, left = augment_voices(clips, lengths, 120, how, step_generator(2))
    assert changed.shape == (6, 120, 200)
    assert changed.isfinite().all()
    assert left.max() <= 120
    assert left.min() >= 1
    assert ((lengths / 1.25).long().clamp(1, 120) <= left).all()


def test_voices_unchanged_by_no_augmentation():
    nothing = VoiceAugmentation((1, 1), (1, 1), (200, 200), 0.0, 0, 0)
    clips = torch.randn(3, 100, 200, generator=step_generator(1))
    changed, left = augment_voices(clips, torch.full((3,), 100), 100, nothing, step_generator(2))
    torch.testing.assert_close(changed, clips, atol=1e-3, rtol=0)
    assert left.tolist() == [100, 100, 100]


def test_mixup_shares_lie_between_nothing_and_all():
    shares = [mixup(4, 0.2, step_generator(i))[1] for i in range(200)]
    assert all(0 <= share <= 1 for share in shares)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1)


def test_light_from_a_side_darkens_and_noise_only_disturbs():
    from emotion.training.augmentation import DARKEST, _disturb_some, _light_some

    grey = torch.full((64, 1, 48, 48), 128.0)
    lit = _light_some(grey, 1.0, step_generator(1))
    assert lit.min() >= 128 * DARKEST - 1e-3
    assert lit.max() <= 128 + 1e-3
    assert (lit.flatten(1).std(1) > 1).float().mean() > 0.8
    noisy = _disturb_some(grey, 0.5, step_generator(2))
    disturbed = noisy.flatten(1).std(1) > 0
    assert 0.3 < disturbed.float().mean() < 0.7
    assert noisy.mean() == pytest.approx(128, abs=0.5)


def test_levels_are_changed_as_faces_are_but_not_standardised():
    nothing = FaceAugmentation(0, 0, (1, 1), 0, 0, 0)
    levels = 255 * torch.rand(16, 1, 48, 48, generator=step_generator(1))
    changed = augment_levels(levels, 48, nothing, step_generator(2))
    standard = augment_faces(levels, 48, nothing, step_generator(2))
    torch.testing.assert_close(standardise(changed), standard)
    assert changed.min() >= 0
    assert changed.max() <= 255
