"""A voice against its speaker's usual one: statistics, histories, training, and the live system."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion import checkpoint
from emotion.calibration import calibrated_probabilities
from emotion.checkpoint import BUNDLED
from emotion.corpora.clip import Clip
from emotion.corpora.speech import Voices
from emotion.labels import EMOTIONS
from emotion.models.adaptive_voice import (
    AdaptiveVoice,
    AdaptiveVoiceConfig,
    StatisticsHead,
    VoiceHistory,
)
from emotion.models.attention_fcn import AttentionFCNConfig, ConvLayer
from emotion.perception import Perception
from emotion.speech.spectrogram import SAMPLE_RATE_HZ, log_spectrogram
from emotion.speech.statistics import (
    BANDS,
    CEPSTRA,
    LOUDNESS,
    STATISTICS,
    gain_of_statistics,
    utterance_statistics,
)
from emotion.training import adaptive_voice as training
from emotion.training.histories import histories, same_speaker, statistics_of
from emotion.training.loop import Schedule, initialised, step_generator, watching
from emotion.training.recipes import AdaptiveVoiceRecipe
from emotion.training.voice import train_voice, voice_outputs

TINY = AttentionFCNConfig(layers=(ConvLayer(4, 5, 4, pool=(2, 2)),), attention_hidden=4)
SMALL = AdaptiveVoiceConfig(fcn=TINY, hidden=5, members=2)
PITCH = (BANDS + CEPSTRA) * 10
"""Where the mean pitch stands among the statistics; its harmonicity follows."""


def harmonics(pitch_hz, seconds=1.0, loudness=0.1):
    """A voice-like tone (sample,): harmonics up to 4 kHz, getting weaker."""
    time = np.arange(int(SAMPLE_RATE_HZ * seconds)) / SAMPLE_RATE_HZ
    numbers = np.arange(1, int(3900 / pitch_hz))
    tones = np.sin(2 * np.pi * pitch_hz * np.outer(numbers, time)) / numbers[:, None]
    return (loudness * tones.sum(0)).astype(np.float32)


def described(waveform):
    spectrogram = log_spectrogram(torch.from_numpy(waveform)[None])
    return utterance_statistics(spectrogram, torch.tensor([spectrogram.shape[1]]))[0]


def voices_of(speakers=2, each=7, nameless=False):
    generator = np.random.default_rng(1)
    clips, sounds = [], []
    for speaker in range(speakers):
        for number in range(each):
            name = "x:None" if nameless else f"x:{speaker}"
            clips.append(Clip("x", f"{speaker}-{number}", EMOTIONS[number % 7], name))
            tone = harmonics(90 + 60 * speaker + 12 * number, generator.uniform(0.4, 0.8))
            noise = 0.01 * generator.standard_normal(len(tone))
            sounds.append((tone + noise).astype(np.float32))
    return Voices(tuple(clips), tuple(sounds))


def small_model(config=SMALL):
    model = initialised(lambda: AdaptiveVoice(config), 1).eval()
    model.head.mean.normal_(generator=step_generator(3))
    return model


@pytest.mark.parametrize("pitch_hz", [90.0, 157.0, 240.0, 390.0])
def test_the_pitch_of_a_tone_is_found_and_it_is_harmonic(pitch_hz):
    found = described(harmonics(pitch_hz))
    assert found[PITCH] == pytest.approx(12 * np.log2(pitch_hz / 27.5), abs=0.15)
    noise = np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
    assert found[PITCH + 1] > described(0.1 * noise)[PITCH + 1] + 5


def test_a_louder_microphone_moves_the_statistics_by_their_gain():
    tone = harmonics(150.0) + 0.01 * np.random.default_rng(1).standard_normal(16_000)
    quiet, loud = described(tone.astype(np.float32)), described((3 * tone).astype(np.float32))
    moved = np.log(3) * gain_of_statistics(torch.device("cpu"))
    torch.testing.assert_close(loud - quiet, moved, atol=2e-3, rtol=1e-3)
    assert moved[LOUDNESS] > 1


def test_statistics_do_not_depend_on_the_batch_nor_on_silence_around():
    generator = torch.Generator().manual_seed(1)
    clips = [torch.randn(n, 200, generator=generator) for n in (40, 90)]
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=5.0)
    together = utterance_statistics(padded, torch.tensor([40, 90]))
    alone = [utterance_statistics(c[None], torch.tensor([len(c)]))[0] for c in clips]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-3, rtol=1e-3)
    silence = torch.full((30, 200), -11.5)
    around = torch.cat([silence, clips[0], silence])[None]
    same = utterance_statistics(around, torch.tensor([100]))[0]
    torch.testing.assert_close(same, alone[0], atol=1e-2, rtol=1e-3)
    assert same.shape == (STATISTICS,)


def test_silence_can_be_described():
    assert described(np.zeros(8000, np.float32)).isfinite().all()
    assert described(np.zeros(640, np.float32)).isfinite().all()


def test_bands_have_the_mean_and_the_quantiles_of_numpy():
    spectrogram = torch.randn(1, 60, 200, generator=torch.Generator().manual_seed(1))
    found = utterance_statistics(spectrogram, torch.tensor([60]))[0].double().numpy()
    from torchaudio.functional import melscale_fbanks

    banks = melscale_fbanks(401, 20.0, 4000.0, BANDS, 16_000)[:200].double().numpy()
    levels = 0.5 * np.log(np.exp(2 * spectrogram[0].double().numpy()) @ banks)
    np.testing.assert_allclose(found[:BANDS], levels.mean(0), atol=1e-3)
    np.testing.assert_allclose(found[BANDS : 2 * BANDS], levels.std(0), atol=1e-3)
    wanted = np.quantile(levels, [0.05, 0.2, 0.5, 0.8, 0.95], axis=0).ravel()
    np.testing.assert_allclose(found[2 * BANDS : 7 * BANDS], wanted, atol=1e-3)


def test_of_a_well_known_speaker_statistics_are_standardised():
    heard = 7 + 3 * torch.randn(500, STATISTICS, generator=torch.Generator().manual_seed(1))
    head = StatisticsHead(replace(SMALL, prior=1e-6))
    known = VoiceHistory.among(heard, torch.ones(500, 500, dtype=torch.bool))
    wanted = ((heard - heard.mean(0)) / heard.std(0, correction=0)).clamp(-5, 5)
    torch.testing.assert_close(head.relative(heard, known), wanted, atol=2e-3, rtol=1e-3)


def test_of_a_stranger_the_gain_is_not_believed_and_the_average_speaker_stands_in():
    head = StatisticsHead(SMALL)
    one = torch.randn(1, STATISTICS, generator=torch.Generator().manual_seed(1))
    one[:, LOUDNESS] = 0
    louder = one + 2 * gain_of_statistics(one.device)
    relative = [head.relative(x, VoiceHistory.of(x)) for x in (one, louder)]
    torch.testing.assert_close(*relative, atol=1e-4, rtol=1e-4)
    share = SMALL.prior / (1 + SMALL.prior)  # mean 0, variance 1 and this one
    spread = (SMALL.prior + (share * one).square()) / (1 + SMALL.prior)
    expected = (share * one / spread.sqrt()).clamp(-5, 5)
    torch.testing.assert_close(relative[0], expected)


def test_a_history_can_be_added_up_as_it_comes():
    heard = torch.randn(4, STATISTICS, generator=torch.Generator().manual_seed(1))
    so_far = VoiceHistory.of(heard[:1])
    for row in heard[1:]:
        so_far = so_far.plus(VoiceHistory.of(row[None]))
    whole = VoiceHistory.among(heard, torch.ones(1, 4, dtype=torch.bool))
    for ours, wanted in zip(so_far, whole, strict=True):
        torch.testing.assert_close(ours, wanted)


def test_logits_are_the_weighted_sum_of_both_parts():
    model = small_model()
    spectrogram = torch.randn(3, 50, 200, generator=torch.Generator().manual_seed(1))
    output = model(spectrogram)
    statistics = model.statistics(spectrogram)
    members = model.head(model.head.relative(statistics, VoiceHistory.of(statistics)))
    wanted = SMALL.share * model.fcn(spectrogram).logits + members.mean(1)
    torch.testing.assert_close(output.logits, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.classify(output.feature), output.logits)
    assert output.feature.shape == (3, SMALL.features)


@pytest.mark.parametrize(
    "wrong", [{"members": 0}, {"prior": 0.0}, {"share": -1.0}, {"dropout": 1.0}]
)
def test_an_impossible_shape_is_refused(wrong):
    with pytest.raises(ValueError, match="Expected"):
        AdaptiveVoiceConfig(**wrong)


def test_what_is_known_of_a_speaker():
    voices = voices_of()
    statistics = statistics_of(voices)
    alone, earlier, whole = (histories(voices, k) for k in ("none", "earlier", "all"))
    torch.testing.assert_close(alone.total, statistics)
    assert whole.utterances.tolist() == [7.0] * 14
    assert (
        sorted(earlier.utterances[:7].tolist())
        == sorted(earlier.utterances[7:].tolist())
        == [*range(1, 8)]
    )
    torch.testing.assert_close(whole.total[0], statistics[:7].sum(0))
    nobody = same_speaker(voices_of(nameless=True))
    assert torch.equal(nobody, torch.eye(14, dtype=torch.bool))


def test_voices_are_read_in_batches_as_alone():
    voices, model = voices_of(), small_model()
    for known in ("all", "earlier", "none"):
        together, features = voice_outputs(model, voices, known=known)
        alone, _ = voice_outputs(model, voices, batch=1, known=known)
        np.testing.assert_allclose(together, alone, atol=1e-4)
    assert features.shape == (14, SMALL.features)


@pytest.fixture
def recipe():
    schedule = Schedule(epochs=1, batch=8, learning_rate=1e-3, average=0.5)
    return AdaptiveVoiceRecipe(
        TINY,
        schedule,
        ("ravdess",),
        frames=40,
        adaptive=SMALL,
        judging=replace(schedule, epochs=2),
        views=2,
    )


def test_both_parts_are_trained_into_one_checkpoint(tmp_path, write_ravdess, recipe):
    root, out = write_ravdess(tmp_path, actors=(1, 2, 3)), tmp_path / "voice"
    options = {"cache": None, "without_speakers": ["ravdess:03"], "resume": True}
    figures = []
    with watching(lambda epoch, said: figures.extend(said.values())):
        model = train_voice(recipe, root, out, **options)
    stored = checkpoint.read(out)
    assert len(figures) == 2
    assert (stored.architecture, stored.config["hidden"]) == ("AdaptiveVoice", 5)
    assert stored.training["held_out_speakers"] == ["ravdess:03"]
    assert stored.training["temperature"] > 0
    assert figures[-1] == stored.training["held_out_uar"]  # of both, not of the network alone
    spectrogram = torch.randn(1, 60, 200, generator=torch.Generator().manual_seed(1))
    alone = checkpoint.load(out / "fcn")(spectrogram).logits
    torch.testing.assert_close(model.fcn(spectrogram).logits, alone, atol=1e-2, rtol=1e-2)
    before = (out / "fcn" / "model.safetensors").stat().st_mtime_ns
    train_voice(recipe, root, out, **options)
    assert (out / "fcn" / "model.safetensors").stat().st_mtime_ns == before


def test_in_training_a_clip_itself_is_always_known_and_never_another_speaker(recipe):
    voices = voices_of()
    task = training.StatisticsTask(recipe, small_model().fcn, voices, None, lambda _: {})
    known = task._known(torch.arange(14).repeat(50), step_generator(2))
    assert known[torch.arange(700), torch.arange(14).repeat(50)].all()
    assert not (known & ~same_speaker(voices).repeat(50, 1)).any()
    counts = known.sum(1)
    assert {1, 7} <= set(counts.tolist())
    loss = task.loss(torch.arange(14), 0.0, step_generator(1))
    loss.backward()
    assert all(p.grad is not None for p in task.model.parameters())


def test_the_loss_is_computed_where_the_model_is(recipe):
    """Statistics stay in main memory; PyTorch's device without data stands in for a GPU."""
    task = training.StatisticsTask(recipe, small_model().fcn, voices_of(), None, lambda _: {})
    task.model.to("meta")
    assert task.loss(torch.arange(14), 0.0, step_generator(1)).device.type == "meta"


def test_in_training_some_speakers_are_known_in_one_mood_alone(recipe):
    voices = voices_of(speakers=1)
    whole = replace(recipe, incomplete=0.0, uneven=1.0)
    task = training.StatisticsTask(whole, small_model().fcn, voices, None, lambda _: {})
    known = task._known(torch.zeros(4000, dtype=torch.long), step_generator(2))
    neutral = voices.labels == EMOTIONS.index("neutral")
    others = ~neutral & (np.arange(7) > 0)
    assert known[:, neutral].float().mean() > known[:, others].float().mean() + 0.15
    balanced = replace(whole, uneven=0.0)
    task = training.StatisticsTask(balanced, small_model().fcn, voices, None, lambda _: {})
    assert task._known(torch.arange(7), step_generator(2)).all()


def test_what_is_made_while_inferring_bars_no_gradient_later():
    gain_of_statistics.cache_clear()
    model, spectrogram = small_model(), torch.randn(1, 50, 200, generator=step_generator(1))
    with torch.inference_mode():
        model(spectrogram)
    spectrogram.requires_grad_()
    model(spectrogram).logits.sum().backward()
    assert spectrogram.grad.isfinite().all()


def test_the_live_voice_is_the_offline_one(tmp_path):
    """Utterance after utterance, each with what came before: as `voice_outputs` does it."""
    for part in ("face", "fusion", "words"):
        (tmp_path / part).symlink_to(BUNDLED / part)
    model = small_model()
    checkpoint.save(tmp_path / "voice", model, SMALL, training={"temperature": 1.5})
    perception, voices = Perception(tmp_path), voices_of(speakers=1)
    known = histories(voices, "earlier")
    offline, _ = voice_outputs(checkpoint.load(tmp_path / "voice"), voices, known="earlier")
    history = None
    for index in known.utterances.argsort().tolist():
        view = perception.voice(voices.waveforms[index], history)
        wanted = calibrated_probabilities(offline[index], 1.5)
        np.testing.assert_allclose(view.probabilities, wanted, atol=1e-3)
        history = view.history
