"""Label-paired clips, and the fusion trained on them."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from emotion import EMOTIONS, checkpoint
from emotion.models.fusion import GatedFBPConfig
from emotion.training.fusion import FusionTask, cross_calibrated
from emotion.training.label_pairs import make_clips
from emotion.training.loop import Schedule, fit, step_generator
from emotion.training.pools import Photographs, VoicePool, fit_reach
from emotion.training.recipes import FusionRecipe


@pytest.fixture
def pools():
    """Photographs and voices whose features tell their label and who they are."""
    labels = torch.arange(70) % 7
    features = nn.functional.one_hot(labels, 8).float()
    features[:, 7] = torch.arange(70)
    nobody, voice = torch.full((5, 8), -1.0), nn.functional.one_hot(labels, 7).float()
    photographs = Photographs(features[None], features + 1000, labels, nobody)
    return photographs, VoicePool(voice, labels, noisy=voice[None] + 10, spoilt=-torch.ones(3, 7))


def test_clips_pair_by_label_and_repeat_no_photograph(pools):
    photographs, voices = pools
    recipe = replace(FusionRecipe(), noisy_voice=0.0)
    wanted = torch.arange(400) % 7
    clips = make_clips(recipe, photographs, voices, wanted, step_generator(1))
    has_face = clips.frame_mask.any(dim=1)
    assert has_face.float().mean() == pytest.approx(1 - recipe.no_face, abs=0.07)
    assert clips.voice_mask.float().mean() == pytest.approx(1 - recipe.no_voice, abs=0.07)
    assert (has_face | clips.voice_mask).all()
    sound = clips.trust[:, 1] == 1
    assert torch.equal(clips.voice[sound].argmax(1), wanted[sound])
    for i in torch.where(clips.trust[:, 0] == 1)[0].tolist():
        label = wanted[i]
        seen = clips.frames[i][clips.frame_mask[i]]
        telling = clips.frames[i][clips.expressive[i]]
        assert (telling[:, label] == 1).all()
        photos = [int(f[7]) % 1000 for f in seen]
        assert len(photos) == len(set(photos))
        sharp = [f[:7].argmax().item() for f in seen if f[7] < 1000]
        assert set(sharp) <= {int(label), EMOTIONS.index("neutral")}
        assert int(label) in sharp


def test_what_is_spoilt_is_told_and_never_both_at_once(pools):
    recipe = FusionRecipe()
    clips = make_clips(recipe, *pools, torch.arange(700) % 7, step_generator(1))
    face, voice = clips.trust.T
    assert (face == 0).float().mean() == pytest.approx(recipe.spoilt_face, abs=0.05)
    assert (voice == 0).float().mean() == pytest.approx(recipe.spoilt_voice, abs=0.05)
    assert not ((face == 0) & ((voice == 0) | ~clips.voice_mask)).any()
    assert not ((voice == 0) & ~clips.frame_mask.any(dim=1)).any()
    assert not clips.expressive[face == 0].any()
    assert (clips.voice[voice == 0] == -1).all()
    faint = clips.frames[face == 0][clips.frame_mask[face == 0]]
    assert ((faint[:, 7] == -1) | (faint[:, 7] >= 1000)).all()
    noisy = clips.voice.max(dim=1).values > 5
    assert noisy[voice.isnan()].any()
    assert not noisy[~voice.isnan()].any()


def test_spoilt_parts_of_more_than_all_clips_are_refused():
    with pytest.raises(ValueError, match="at most 1 together, got"):
        replace(FusionRecipe(), spoilt_face=0.9)


def test_voices_are_moved_until_they_are_as_unsure_as_wanted(pools):
    _, voices = pools
    reach = fit_reach(voices, nn.Identity(), 0.6, step_generator(1))
    labels = voices.labels.repeat(30)
    moved = VoicePool(voices.features, voices.labels, reach).draw(labels, step_generator(2))
    assert (moved.argmax(1) == labels).float().mean() == pytest.approx(0.6, abs=0.05)


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """A fusion trained on features that tell their label, and what it was trained on."""
    folder = tmp_path_factory.mktemp("fusion")
    generator = step_generator(1)
    labels = torch.arange(210) % 7

    def noise(count, size=16):
        return torch.randn(count, size, generator=generator) * 0.3

    features = noise(210)
    features[torch.arange(210), labels] += 2.0
    blurred, nobody, silence = noise(210), noise(50) - 1, noise(50, 8) - 1
    voices = VoicePool(features[:, :8] + 0.0, labels, noisy=features[None, :, :8], spoilt=silence)
    recipe = replace(
        FusionRecipe(),
        config=GatedFBPConfig(frame_features=16, voice_features=8, outputs=32),
        schedule=Schedule(epochs=6, batch=64, learning_rate=5e-3, average=0.9),
        clips=1280,
    )
    photographs = Photographs(features[None], blurred, labels, nobody)
    task = FusionTask(recipe, photographs, voices, nn.Identity(), folder)
    return fit(task, recipe.schedule, folder), folder, task


def test_the_fusion_learns_which_frames_to_look_at(fused):
    model, folder, task = fused
    photographs = task.photographs
    assert "label-paired" in checkpoint.read(folder).training["pairing"]
    happy, neutral = photographs.views[0, 3], photographs.views[0, 4]
    output = model(torch.stack([happy, neutral, photographs.blurred[0]])[None])
    assert EMOTIONS[output.logits.argmax()] == "happy"
    assert output.frame_attention.argmax() == 0


def test_what_says_nothing_changes_nothing(fused):
    model, _, task = fused
    photographs, voices = task.photographs, task.voices
    happy, heard = photographs.views[:, 3:4], voices.features[3:4]
    silence, nobody = voices.spoilt[:1], photographs.spoilt[None, :3]
    said = model(happy, None, silence)
    assert said.trust[0, 0] > 0.8
    assert said.trust[0, 1] < 0.08  # the gate is shut
    torch.testing.assert_close(said.logits, model(happy).logits)
    torch.testing.assert_close(model(nobody, None, heard).logits, model(None, None, heard).logits)
    assert model(happy).trust[0, 1] == 0


def test_temperatures_are_of_people_and_of_what_there_is_to_go_by(fused):
    _, _, task = fused
    unheard = VoicePool(task.voices.features[:28], task.voices.labels[:28])
    facts = cross_calibrated(task, unheard, ["a", "b"] * 14)
    assert set(facts["temperature"]) == {"face", "voice", "both"}
    assert set(facts["temperature_without"]) == {"a", "b"}
    assert facts["calibration_accuracy"] > 0.9


def test_faces_known_by_heart_do_not_make_the_temperature(fused, tmp_path):
    """Of faces that say nothing, exact probabilities are one in seven, however well learnt."""
    _, _, known = fused
    drawn = torch.randn(known.photographs.views.shape, generator=step_generator(2))
    photographs = replace(known.photographs, views=drawn)
    recipe = replace(known.recipe, folds=2)
    task = FusionTask(recipe, photographs, known.voices, nn.Identity(), tmp_path)
    temperature = cross_calibrated(task, None, [])["temperature"]
    assert temperature["face"] > 2 * temperature["voice"]


def test_a_killed_calibration_goes_on_where_it_stopped(fused, tmp_path, monkeypatch):
    _, _, known = fused
    task = FusionTask(known.recipe, known.photographs, known.voices, nn.Identity(), tmp_path)
    whole = cross_calibrated(task, None, [])
    shutil.rmtree(tmp_path / "folds" / "4")
    trained = []

    def counted(fold, schedule, folder, *, resume):
        trained.append(folder.name)
        return fit(fold, schedule, folder, resume=resume)

    monkeypatch.setattr("emotion.training.fusion.fit", counted)
    assert cross_calibrated(task, None, [], resume=True) == whole
    assert trained == ["4"]
