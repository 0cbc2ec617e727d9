"""Training of the voice models."""

from dataclasses import replace

import numpy as np
import torch

from emotion import EMOTIONS, checkpoint
from emotion.corpora.clip import Clip
from emotion.corpora.speech import Voices
from emotion.models.attention_fcn import AttentionFCN, AttentionFCNConfig, ConvLayer
from emotion.training.loop import Schedule, fit, initialised
from emotion.training.recipes import VoiceRecipe
from emotion.training.voice import VoiceTask, train_voice, voice_outputs

SCHEDULE = Schedule(epochs=3, batch=4, learning_rate=0.01, average=0.5)


def little_voices(speakers=3):
    generator = np.random.default_rng(1)
    clips = [Clip("x", f"{s}-{e}", e, f"x:{s}") for s in range(speakers) for e in EMOTIONS]
    lengths = generator.integers(1000, 9000, len(clips))
    return Voices(
        tuple(clips),
        tuple(0.1 * generator.standard_normal(n).astype(np.float32) for n in lengths),
    )


TINY = AttentionFCNConfig(layers=(ConvLayer(4, 5, 4, pool=(2, 2)),), attention_hidden=4)


def test_the_voice_recipe_writes_a_checkpoint_that_names_its_speakers(tmp_path):
    voices = little_voices()
    recipe = replace(
        VoiceRecipe(), config=TINY, schedule=replace(SCHEDULE, epochs=1, batch=7), frames=60
    )
    task = VoiceTask(recipe, voices.of(["x:0", "x:1"]), voices.of(["x:2"]), tmp_path)
    fit(task, recipe.schedule, tmp_path)
    facts = checkpoint.read(tmp_path).training
    assert facts["speakers"] == ["x:0", "x:1"]
    assert facts["held_out_speakers"] == ["x:2"]
    assert facts["temperature"] > 0


def test_a_voice_starts_from_other_convolutions(tmp_path, write_ravdess):
    start = initialised(lambda: AttentionFCN(TINY), 9)
    checkpoint.save(tmp_path / "start", start, TINY, training={})
    schedule = replace(SCHEDULE, epochs=1, batch=8, learning_rate=1e-9)
    recipe = VoiceRecipe(replace(TINY, attention_hidden=5), schedule, ("ravdess",), frames=40)
    root = write_ravdess(tmp_path)
    trained = train_voice(recipe, root, tmp_path / "out", cache=None, init=tmp_path / "start")
    kernels = [model.blocks[0][0].weight for model in (start, trained)]
    torch.testing.assert_close(*kernels, atol=1e-3, rtol=0)


def test_voices_are_read_in_batches_as_alone():
    voices = little_voices()
    recipe = replace(VoiceRecipe(), config=TINY)
    model = VoiceTask(recipe, voices, voices, None).model.eval()
    together, features = voice_outputs(model, voices, batch=16)
    alone, _ = voice_outputs(model, voices, batch=1)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert features.shape == (len(voices), 4)
