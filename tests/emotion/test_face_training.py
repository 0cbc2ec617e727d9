"""Training of the face models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion import CheckpointError, CorpusError, InputError, checkpoint
from emotion.corpora.fer2013 import Faces
from emotion.models.face_backbones import FaceEncoder, FaceEncoderConfig
from emotion.models.face_cnn import FaceCNN, FaceCNNConfig, standardise
from emotion.training.face import (
    FaceBackboneTask,
    FaceTask,
    face_logits,
    split_faces,
    train_face_backbone,
)
from emotion.training.loop import Schedule, fit, initialised, step_generator
from emotion.training.recipes import FACE_BACKBONES, FaceBackboneRecipe, FaceRecipe, face_restarted

SCHEDULE = Schedule(epochs=3, batch=4, learning_rate=0.01, average=0.5)


def little_faces(count=140):
    generator = np.random.default_rng(1)
    labels = np.arange(count) % 7
    images = generator.integers(0, 256, (count, 48, 48)).astype(np.uint8)
    return Faces(images, labels, np.eye(7, dtype=np.float32)[labels])


def test_faces_held_out_are_alike_in_emotions_and_the_same_every_time():
    train, held_out = split_faces(little_faces(), 100, 1)
    assert (len(train), len(held_out)) == (126, 14)
    assert np.bincount(held_out.labels).tolist() == [2] * 7
    np.testing.assert_array_equal(split_faces(little_faces(), 100, 1)[1].images, held_out.images)


def test_too_few_faces_to_hold_any_out_are_refused():
    with pytest.raises(CorpusError, match="at least 1000 faces of some emotion"):
        split_faces(little_faces(), 1, 1)


def test_the_face_recipe_writes_a_checkpoint(tmp_path):
    recipe = replace(
        FaceRecipe(),
        config=FaceCNNConfig(stem=4, widths=(8,), blocks=(1,)),
        schedule=replace(SCHEDULE, epochs=2, batch=32),
        held_out=100,
    )
    task = FaceTask(recipe, *split_faces(little_faces(), 100, 1), tmp_path)
    averaged = fit(task, recipe.schedule, tmp_path)
    stored = checkpoint.read(tmp_path)
    assert stored.training["epochs"] == 2
    assert set(stored.training["temperature"]) == {"fer2013", "ferplus"}
    crops = torch.randn(2, 1, 48, 48, generator=step_generator(1))
    loaded = checkpoint.load(tmp_path)
    torch.testing.assert_close(loaded(crops), averaged(crops), atol=5e-3, rtol=0)


def test_a_taught_face_learns_what_its_teachers_say_of_the_same_picture(tmp_path):
    config = FaceCNNConfig(stem=4, widths=(8,), blocks=(1,), dropout=0.0)
    parts = split_faces(little_faces(), 100, 1)
    folders = [tmp_path / "one", tmp_path / "two"]
    for seed, folder in enumerate(folders, start=1):
        checkpoint.save(folder, initialised(lambda: FaceCNN(config), seed), config, training={})
    recipe = replace(FaceRecipe(), config=config, mixup=0.0, taught=1.0)
    task = FaceTask(recipe, *parts, tmp_path / "pupil", folders)
    crops = torch.randn(3, 1, 48, 48, generator=step_generator(1))
    taught = task._taught(crops)
    opinions = [checkpoint.load(folder)(crops) for folder in folders]
    for place, name in enumerate(("fer2013", "ferplus")):
        mean = sum(opinion[name].softmax(1) for opinion in opinions) / 2
        torch.testing.assert_close(taught[place], mean, atol=2e-2, rtol=0)  # in bfloat16
    # wholly taught, the labels do not matter
    losses = []
    for targets in (task.targets, task.targets.roll(1, dims=2)):
        task.targets = targets
        losses.append(task.loss(torch.arange(8), 0.0, step_generator(3)).item())
    assert losses[0] == losses[1]


def test_a_restarted_face_ends_between_its_start_and_what_it_learnt(tmp_path):
    start = tmp_path / "start"
    config = FaceCNNConfig(stem=4, widths=(8,), blocks=(1,), dropout=0.0)
    checkpoint.save(start, initialised(lambda: FaceCNN(config), 5), config, training={})
    recipe = replace(
        FaceRecipe(),
        config=config,
        schedule=replace(SCHEDULE, epochs=2, batch=32),
        held_out=100,
        of_init=0.25,
    )
    task = FaceTask(recipe, *split_faces(little_faces(), 100, 1), tmp_path / "out", init=start)
    learnt = fit(task, recipe.schedule, tmp_path / "out")
    begun, ended = checkpoint.load(start), checkpoint.load(tmp_path / "out")
    for name, weights in ended.named_parameters():
        expected = 0.25 * begun.get_parameter(name) + 0.75 * learnt.get_parameter(name)
        torch.testing.assert_close(weights, expected, atol=1e-3, rtol=1e-3)  # as float16
    # its statistics are its own: those of the first convolution over all faces it was shown
    convolution, normalisation = ended.backbone[0][0], ended.backbone[0][1]
    with torch.no_grad():
        variance = convolution(standardise(task.levels.float())).var((0, 2, 3))
    torch.testing.assert_close(normalisation.running_var, variance, atol=0, rtol=0.03)


def test_a_face_that_ends_near_its_start_has_to_be_given_one(tmp_path):
    recipe = replace(face_restarted(), held_out=100)
    with pytest.raises(InputError, match="--init"):
        FaceTask(recipe, *split_faces(little_faces(), 100, 1), tmp_path)


def test_a_face_may_be_read_with_its_mirror_image():
    config = FaceCNNConfig(stem=4, widths=(8,), blocks=(1,))
    plain = FaceCNN(config).eval()
    both = FaceCNN(replace(config, mirrored=True)).eval()
    both.load_state_dict(plain.state_dict())
    crops = torch.randn(3, 1, 48, 48, generator=step_generator(1))
    torch.testing.assert_close(both.features(crops), both.features(crops.flip(3)))
    mean = (plain.features(crops) + plain.features(crops.flip(3))) / 2
    torch.testing.assert_close(both.features(crops), mean)


def test_the_recipe_of_a_backbone_writes_a_checkpoint(tmp_path):
    config = FaceEncoderConfig("compact", shrink=16)
    recipe = FaceBackboneRecipe(config, replace(SCHEDULE, epochs=2, batch=32), held_out=100)
    task = FaceBackboneTask(recipe, *split_faces(little_faces(), 100, 1), tmp_path)
    averaged = fit(task, recipe.schedule, tmp_path)
    stored = checkpoint.read(tmp_path)
    assert stored.training["epochs"] == 2
    assert set(stored.training["temperature"]) == {"fer2013"}
    logits = face_logits(averaged, little_faces())["fer2013"]
    np.testing.assert_allclose(
        face_logits(checkpoint.load(tmp_path), little_faces())["fer2013"], logits, atol=5e-3
    )


@pytest.mark.parametrize("name", FACE_BACKBONES)
def test_every_backbone_takes_a_step(tmp_path, name):
    recipe = FACE_BACKBONES[name]
    recipe = replace(recipe, config=replace(recipe.config, side=75, shrink=16), held_out=0)
    task = FaceBackboneTask(recipe, *split_faces(little_faces(14), 0, 1), tmp_path)
    loss = task.loss(torch.arange(4), 0.0, step_generator(1))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in task.model.parameters())


def test_a_backbone_can_start_from_another_ones_weights(tmp_path, write_fer2013):
    config = FaceEncoderConfig("compact", shrink=16)
    first = initialised(lambda: FaceEncoder(config), 9)
    checkpoint.save(tmp_path / "start", first, config, training={})
    still = replace(SCHEDULE, epochs=1, batch=8, learning_rate=1e-9)
    recipe = FaceBackboneRecipe(config, still, held_out=200)
    root = write_fer2013(tmp_path)
    options = {"cache": None, "init": tmp_path / "start"}
    trained = train_face_backbone(recipe, root, tmp_path / "out", **options)
    started = checkpoint.load(tmp_path / "start")
    torch.testing.assert_close(trained.classify.weight, started.classify.weight)
    assert checkpoint.read(tmp_path / "out").training["init"] == checkpoint.digest(
        tmp_path / "start"
    )
    wider = replace(recipe, config=replace(config, shrink=8))
    with pytest.raises(CheckpointError, match="of shape"):
        train_face_backbone(wider, root, tmp_path / "out", **options)
