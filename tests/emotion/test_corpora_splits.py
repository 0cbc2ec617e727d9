"""No split ever has a speaker on both sides, whatever the clips."""

from collections import Counter

import numpy as np
import pytest

from emotion import CorpusError
from emotion.corpora.clip import Clip
from emotion.corpora.registry import CORPORA
from emotion.corpora.splits import k_fold, leave_one_out, official


def some_clips(seed, speakers=7, sessions=3):
    """Between 1 and 12 clips of each speaker, in any order; speakers share sessions."""
    generator = np.random.default_rng(seed)
    clips = []
    for speaker in range(speakers):
        for i in range(generator.integers(1, 13)):
            session = f"x:s{speaker % sessions}"
            name = f"{speaker}-{i}"
            clips.append(Clip("x", name, "happy", f"x:{speaker}", session=session, audio=name))
    order = generator.permutation(len(clips))
    return [clips[i] for i in order]


def assert_parted(folds, clips):
    """Each clip is tested once, and never by who was trained on."""
    tested = Counter(clip.name for fold in folds for clip in fold.test)
    assert tested == Counter(clip.name for clip in clips)
    for fold in folds:
        assert fold.train
        assert fold.test
        assert not {c.speaker for c in fold.train} & {c.speaker for c in fold.test}
        assert len(fold.train) + len(fold.test) == len(clips)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by", ["speaker", "session"])
def test_leave_one_out(seed, by):
    clips = some_clips(seed)
    folds = list(leave_one_out(clips, by=by))
    assert_parted(folds, clips)
    assert [fold.name for fold in folds] == sorted({getattr(clip, by) for clip in clips})
    for fold in folds:
        assert {getattr(clip, by) for clip in fold.test} == {fold.name}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 3, 7])
def test_k_fold(seed, count):
    clips = some_clips(seed)
    folds = list(k_fold(clips, count, seed))
    assert len(folds) == count
    assert_parted(folds, clips)
    sizes = [len(fold.test) for fold in folds]
    most = max(Counter(clip.speaker for clip in clips).values())
    assert max(sizes) - min(sizes) <= most
    again = [[c.name for c in fold.test] for fold in k_fold(clips, count, seed)]
    assert again == [[c.name for c in fold.test] for fold in folds]


def test_folds_of_equal_speakers_are_equal_and_follow_the_seed():
    clips = [Clip("x", f"{i}-{j}", "sad", f"x:{i}") for i in range(10) for j in range(6)]
    assert [len(fold.test) for fold in k_fold(clips, 5, seed=1)] == [12] * 5
    first, second = ([{c.speaker for c in f.test} for f in k_fold(clips, 5, s)] for s in (1, 2))
    assert first != second


@pytest.mark.parametrize("by", ["clip", "emotion"])
def test_a_split_by_clip_is_refused_with_the_reason(by):
    with pytest.raises(CorpusError, match=f"by speaker or session, got '{by}'") as raised:
        list(leave_one_out(some_clips(1), by=by))
    assert ("95.8" in str(raised.value) and "48.1" in str(raised.value)) == (by == "clip")


@pytest.mark.parametrize("folds", [0, 1, 8])
def test_a_wrong_number_of_folds_is_told(folds):
    with pytest.raises(CorpusError, match=f"Expected 2 to 7 folds, .+ got {folds}"):
        list(k_fold(some_clips(1), folds, seed=1))


def test_what_cannot_be_left_out_is_told():
    one = [Clip("x", "a", "sad", "x:1"), Clip("x", "b", "sad", "x:1")]
    with pytest.raises(CorpusError, match="at least two speakers to leave one out, got x:1"):
        list(leave_one_out(one))
    with pytest.raises(CorpusError, match="at least two speakers to leave one out, got none"):
        list(leave_one_out([]))
    with pytest.raises(CorpusError, match="Expected a session for each clip, got none for a"):
        list(leave_one_out(one, by="session"))


def test_a_speaker_in_two_sessions_is_told():
    clips = [Clip("x", str(i), "sad", "x:1", session=f"x:s{i}") for i in range(2)]
    with pytest.raises(CorpusError, match=r"no speaker on both sides of x:s0, got x:1"):
        list(leave_one_out(clips, by="session"))


def parts(**speakers):
    return [Clip("x", f"{s}{i}", "sad", i, split=s) for s, who in speakers.items() for i in who]


def test_official_parts():
    clips = parts(train=["a", "b"], valid=["c"], test=["d"])
    fold = official(clips)
    assert (len(fold.train), [c.speaker for c in fold.test]) == (3, ["d"])
    fold = official(clips, "valid")
    assert ([c.speaker for c in fold.train], len(fold.test)) == (["a", "b"], 1)


@pytest.mark.parametrize(
    ("clips", "test", "message"),
    [
        (some_clips(1), "test", "'train' and 'test' to test on, got none"),
        (parts(train=["a"], valid=["b"]), "test", r"got train, valid\."),
        (parts(train=["a"], valid=["b"]), "train", "'train' to test on"),
        (parts(test=["a"]), "test", r"got test\."),
        (parts(train=["a"], test=["a"]), "test", "no speaker on both sides of test, got a"),
    ],
)
def test_wrong_official_parts_are_told(clips, test, message):
    with pytest.raises(CorpusError, match=message):
        official(clips, test)


@pytest.mark.data
def test_real_corpora_in_folds(data_root):
    ravdess = CORPORA["ravdess"].clips(data_root)
    folds = list(k_fold(ravdess, 6, seed=1))
    assert_parted(folds, ravdess)
    assert {len(fold.test) for fold in folds} == {180}
    emodb = CORPORA["emodb"].clips(data_root)
    assert_parted(list(leave_one_out([*ravdess, *emodb])), [*ravdess, *emodb])
    fer2013 = official(CORPORA["fer2013"].clips(data_root), "valid")
    assert (len(fer2013.train), len(fer2013.test)) == (27_866, 3_533)
