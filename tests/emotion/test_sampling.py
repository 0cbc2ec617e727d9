"""Which samples a step draws."""

import numpy as np
import pytest
import torch

from emotion import CorpusError
from emotion.training.sampling import balanced


def test_fewer_clips_than_a_batch_are_one_step():
    generator = torch.Generator().manual_seed(1)
    assert [len(step) for step in balanced(np.arange(7), 32, generator)] == [32]
    with pytest.raises(CorpusError, match="everybody is held out"):
        balanced(np.zeros(0, np.int64), 32, generator)


@pytest.mark.parametrize(("power", "small"), [(1.0, 0.1), (0.5, 0.25), (0.0, 0.5)])
def test_corpora_share_the_draws_of_an_emotion_by_their_size_to_a_power(power, small):
    labels, corpora = np.repeat([2, 5], [1000, 500]), ["small"] * 100 + ["large"] * 1400
    generator = torch.Generator().manual_seed(1)
    steps = [
        torch.cat(balanced(labels, 50, generator, corpora=corpora, corpus_power=power))
        for _ in range(20)
    ]
    drawn = torch.cat(steps)
    first = drawn[drawn < 1000]
    assert len(first) / len(drawn) == pytest.approx(0.5, abs=0.02)
    assert float((first < 100).float().mean()) == pytest.approx(small, abs=0.02)
