import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from emotion import EMOTIONS, CheckpointError, checkpoint
from emotion.models.fusion import AttentionFBP, AttentionFBPConfig

CONFIG = AttentionFBPConfig(frame_features=3, voice_features=2, outputs=4, attention_hidden=2)


@pytest.fixture
def folder(tmp_path):
    model = AttentionFBP(CONFIG)
    checkpoint.save(tmp_path, model, CONFIG, training={"temperature": 1.5})
    return tmp_path


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_config_says_everything(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["architecture"] == "AttentionFBP"
    assert config["labels"] == list(EMOTIONS)
    assert config["training"] == {"temperature": 1.5}
    assert len(config["sha256"]) == 64


def test_matrices_are_half_on_disk_and_whole_in_memory(folder):
    stored = load_file(folder / "model.safetensors")
    assert {a.dtype for a in stored.values() if a.ndim > 1} == {np.dtype(np.float16)}
    assert {a.dtype for a in stored.values() if a.ndim <= 1} == {np.dtype(np.float32)}
    model = checkpoint.load(folder)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.training


def test_eight_bits_keep_every_weight_within_half_a_step(tmp_path):
    model = AttentionFBP(CONFIG)
    checkpoint.save(tmp_path, model, CONFIG, training={}, bits=8)
    stored = load_file(tmp_path / "model.safetensors")
    matrices = {k for k, v in model.state_dict().items() if v.ndim > 1}
    assert {k for k, v in stored.items() if v.dtype == np.int8} == matrices
    again = checkpoint.load(tmp_path).state_dict()
    for name, weight in model.state_dict().items():
        off = (again[name] - weight).abs()
        step = weight.abs().flatten(1).amax(1) / 127 if name in matrices else weight.new_zeros(())
        assert (off.flatten(1).amax(1) if name in matrices else off).le(step * 0.501).all(), name
    assert checkpoint.read(tmp_path).arrays.keys() == model.state_dict().keys()


def test_a_scale_that_does_not_fit_is_refused(tmp_path):
    arrays = {"weight": np.ones((2, 3), np.int8), "weight.scale": np.ones((4, 1), np.float32)}
    checkpoint.write(tmp_path, checkpoint.Stored("AttentionFBP", {}, {}, arrays))
    with pytest.raises(CheckpointError, match="Unreadable weights"):
        checkpoint.read(tmp_path)


def test_no_partial_file_is_left(folder):
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": list(reversed(EMOTIONS))}, "Expected the labels angry, .+ got surprise"),
        ({"sha256": "0" * 64}, "with sha256 0000"),
        ({"architecture": "Perceptron"}, "got 'Perceptron'"),
        ({"config": {"factors": 0}}, "Unusable configuration .+ Expected positive sizes"),
        ({"config": {"colour": "red"}}, "Unusable configuration .+colour"),
        (
            {"config": {"frame_features": 4}},
            r"Expected attention.project.bias of shape \(64,\) .+ got \(2,\)",
        ),
    ],
)
def test_what_does_not_belong_is_refused(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoint.load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["{", "[]", '{"labels": []}'])
def test_a_broken_config_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="Expected"):
        checkpoint.load(folder)


def test_damaged_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="sha256"):
        checkpoint.load(folder)
