import json
from dataclasses import replace

import numpy as np
import pytest

from emotion import CorpusError, InputError
from emotion.corpora.clip import Clip
from emotion.corpora.speech import Voices
from emotion.models.attention_fcn import AttentionFCNConfig, ConvLayer
from emotion.training import cross_validation
from emotion.training.cross_validation import cross_validate, deal_speakers
from emotion.training.loop import Schedule
from emotion.training.recipes import VoiceRecipe

RECIPE = replace(
    VoiceRecipe(),
    config=AttentionFCNConfig((ConvLayer(4, 5, 4),), attention_hidden=4),
    schedule=Schedule(epochs=1, batch=8, learning_rate=1e-3),
    corpora=("ravdess",),
    frames=40,
)


def voices(**speakers):
    clips = [
        Clip(corpus, f"{corpus}{number}-{i}.wav", "sad", f"{corpus}:{number:02}")
        for corpus, numbers in speakers.items()
        for number in numbers
        for i in range(3)
    ]
    return Voices(tuple(clips), (np.zeros(9, np.float32),) * len(clips))


def test_speakers_of_each_corpus_are_dealt_evenly():
    fold_of = deal_speakers(voices(ravdess=range(18), emodb=range(5)), 6)
    assert len(fold_of) == 23
    ravdess = [fold for name, fold in fold_of.items() if name.startswith("ravdess")]
    emodb = [fold for name, fold in fold_of.items() if name.startswith("emodb")]
    assert np.bincount(ravdess).tolist() == [3] * 6
    assert len(set(emodb)) == 5
    with pytest.raises(CorpusError, match="got 1"):
        deal_speakers(voices(ravdess=range(3)), 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory, write_ravdess):
    return write_ravdess(tmp_path_factory.mktemp("corpora"), actors=(1, 2, 3, 4))


def test_everybody_is_left_out_once_and_nobody_is_scored_who_was_heard(root, tmp_path, monkeypatch):
    trained = []
    original = cross_validation.train_voice

    def train(*args, without_speakers, **options):
        trained.append(set(without_speakers))
        return original(*args, without_speakers=without_speakers, **options)

    monkeypatch.setattr(cross_validation, "train_voice", train)
    found = cross_validate(RECIPE, root, tmp_path, folds=2, seeds=(1, 2))
    assert json.loads(json.dumps(found)) == found
    assert len(trained) == 4
    assert trained[0] | trained[1] == {f"ravdess:0{i}" for i in range(1, 5)}
    assert not trained[0] & trained[1]
    ravdess = found["ravdess"]
    assert ravdess["samples"] == 32
    assert {sex: own["samples"] for sex, own in ravdess["by_sex"].items()} == {
        "women": 16,
        "men": 16,
    }
    assert [set(fold["left_out"]) for fold in ravdess["each_fold"]] == trained[:2]
    assert len(ravdess["spread"]["uar"]["values"]) == 2
    again = cross_validate(RECIPE, root, tmp_path, folds=2, seeds=(1, 2))
    assert len(trained) == 4, "what is finished is not trained again"
    assert again == found


def test_no_seed_is_refused(root, tmp_path):
    with pytest.raises(InputError, match="at least one seed"):
        cross_validate(RECIPE, root, tmp_path, folds=2, seeds=())


def test_the_command_takes_whole_numbers_as_seeds(attune, root, tmp_path):
    with pytest.raises(InputError, match="whole numbers as seeds, got x"):
        attune("cross-validate", "voice", "--data", root, "--out", tmp_path, "--seeds", "x")
