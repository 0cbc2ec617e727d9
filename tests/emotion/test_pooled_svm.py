"""Support vector machines against scikit-learn's own, and the ensemble of Knyazev 2017."""

import numpy as np
import pytest

from emotion import EMOTIONS, CheckpointError, CorpusError, InputError
from emotion.models.pooled_svm import PooledSVM, PooledSVMConfig, pool_frames
from emotion.models.svm import SVM, SVMConfig, normalised

sklearn_svm = pytest.importorskip("sklearn.svm")
CLASSES = (0, 3, 4, 6)


@pytest.fixture(scope="module")
def samples():
    """Features of four emotions by six speakers, none of them easy."""
    generator = np.random.default_rng(1)
    labels = np.array(CLASSES)[np.arange(96) % 4]
    centres = 0.6 * generator.standard_normal((7, 12))
    rows = (generator.standard_normal((96, 12)) + centres[labels]) * np.geomspace(0.1, 100, 12)
    return rows, labels, [f"s{i // 4 % 6}" for i in range(96)]


def reference(kernel, cost, rows, labels):
    """scikit-learn's own way from features to decisions."""
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    machine = (
        sklearn_svm.LinearSVC(
            C=cost, class_weight="balanced", dual="auto", max_iter=10_000, random_state=1
        )
        if kernel == "linear"
        else sklearn_svm.SVC(C=cost, class_weight="balanced", gamma="scale")
    )
    return make_pipeline(StandardScaler(), OneVsRestClassifier(machine)).fit(rows, labels)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_decisions_are_those_of_scikit_learn(kernel, samples):
    rows, labels, groups = samples
    machine = SVM.fit(SVMConfig(kernel, costs=(0.5,)), rows, labels, groups)
    new = rows[::3] + 0.5
    wanted = reference(kernel, 0.5, rows, labels).decision_function(new)
    np.testing.assert_allclose(machine.decisions(new), wanted, atol=1e-6)
    assert machine.probabilities(new).shape == (32, len(EMOTIONS))


def test_probabilities_are_those_of_scikit_learns_calibration(samples):
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GroupKFold

    rows, labels, groups = samples
    machine = SVM.fit(SVMConfig(costs=(0.01,)), rows, labels, groups)
    folds = list(GroupKFold(5).split(rows, labels, groups))
    wanted = CalibratedClassifierCV(
        reference("linear", 0.01, rows, labels), cv=folds, ensemble=False
    ).fit(rows, labels)
    said = machine.probabilities(rows)
    np.testing.assert_allclose(said[:, CLASSES], wanted.predict_proba(rows), atol=1e-4)
    np.testing.assert_allclose(said.sum(axis=1), 1)
    absent = [i for i in range(7) if i not in CLASSES]
    assert not said[:, absent].any()
    assert machine.held_out.shape == said.shape


def test_calibration_looks_at_speakers_the_machine_does_not_know():
    """Features that name the speaker tell all of the clips known and nothing of new speakers."""
    speakers = np.arange(80) // 8
    labels = speakers % 2
    rows = np.eye(10)[speakers] + 0.1 * np.random.default_rng(1).standard_normal((80, 10))
    machine = SVM.fit(SVMConfig(costs=(0.1, 10.0)), rows, labels, [f"s{s}" for s in speakers])
    assert (machine.decisions(rows).argmax(axis=1) == labels).all()
    assert (machine.held_out.argmax(axis=1) == labels).mean() < 0.7


def test_two_machines_are_opposite_where_there_are_two_emotions(samples):
    rows, labels, groups = samples
    two = np.where(labels < 4, 1, 5)
    machine = SVM.fit(SVMConfig(costs=(0.01,)), rows, two, groups)
    said = machine.probabilities(rows)
    np.testing.assert_allclose(said[:, 1] + said[:, 5], 1)
    np.testing.assert_allclose(*machine.decisions(rows).T * [[1], [-1]], atol=1e-3)


def test_an_emotion_of_one_speaker_is_learnt_though_a_fold_lacks_it(samples):
    rows, labels, groups = samples
    labels = labels.copy()
    labels[[i for i, g in enumerate(groups) if g == "s0"][:3]] = 1
    machine = SVM.fit(SVMConfig(costs=(0.01,)), rows, labels, groups)
    assert 1 in machine.arrays["classes"]
    assert np.isfinite(machine.probabilities(rows)).all()


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_machine_is_the_same_after_a_checkpoint(kernel, samples, tmp_path):
    rows, labels, groups = samples
    config = SVMConfig(kernel, costs=(0.1, 1.0), chain=("minmax", "l1", "root"))
    machine = SVM.fit(config, rows, labels, groups)
    machine.save(tmp_path, training={"seed": 1})
    loaded = SVM.load(tmp_path)
    assert loaded.config == config
    assert loaded.cost == machine.cost
    np.testing.assert_array_equal(loaded.probabilities(rows), machine.probabilities(rows))


def test_the_chain_is_scikit_learns():
    from sklearn.preprocessing import MinMaxScaler, Normalizer

    rows = np.random.default_rng(1).standard_normal((20, 6))
    scaler = MinMaxScaler().fit(rows[:15])
    lengths = Normalizer("l1").fit_transform(scaler.transform(rows))
    wanted = np.sign(lengths) * np.abs(lengths) ** 0.5
    found = normalised(rows, ("minmax", "l1", "root"), rows[:15].min(axis=0), rows[:15].max(axis=0))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda r, y, g: (r[:, 0], y, g), InputError, r"got shape \(96,\)"),
        (lambda r, y, g: (np.full_like(r, np.nan), y, g), InputError, "finite features"),
        (lambda r, y, g: (r, np.zeros_like(y), g), CorpusError, "two emotions and two speakers"),
        (lambda r, y, g: (r, y, ["s"] * 96), CorpusError, "got 96 clips of 4 and 1"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(change, error, message, samples):
    with pytest.raises(error, match=message):
        SVM.fit(SVMConfig(), *change(*samples))


@pytest.mark.parametrize(
    "change",
    [{"kernel": "cubic"}, {"costs": ()}, {"costs": (0.0,)}, {"folds": 1}, {"chain": ("l3",)}],
)
def test_a_bad_configuration_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        SVMConfig(**change)


def test_other_features_than_it_knows_are_refused(samples):
    machine = SVM.fit(SVMConfig(costs=(0.1,)), *samples)
    with pytest.raises(InputError, match=r"\(sample, 12\), got shape \(2, 11\)"):
        machine.decisions(np.zeros((2, 11)))


def test_arrays_that_are_missing_are_named(samples):
    machine = SVM.fit(SVMConfig(costs=(0.1,)), *samples)
    with pytest.raises(CheckpointError, match="the array dual"):
        SVM(SVMConfig("rbf"), machine.arrays)


# ---------------------------------------------------------------------------------- ensemble


@pytest.fixture(scope="module")
def clips():
    """Frames by two networks, of which only the second sees anything; one clip has no face."""
    generator = np.random.default_rng(2)
    labels = np.arange(60) % 3
    blind = [generator.standard_normal((4, 6)).astype(np.float32) for _ in labels]
    seeing = [
        (generator.standard_normal((4, 5)) + 3 * np.eye(5)[y]).astype(np.float16) for y in labels
    ]
    blind[7], seeing[7] = np.zeros((0, 6), np.float32), np.zeros((0, 5), np.float16)
    return {"blind": blind, "seeing": seeing}, labels, [f"s{i // 3 % 5}" for i in range(60)]


CONFIG = PooledSVMConfig(
    ("blind", "seeing"),
    svm=SVMConfig(chain=("minmax", "l1", "root"), costs=(0.01, 0.1)),
    weighting="fitted",
)


def test_frames_are_pooled_by_mean_deviation_and_minimum():
    frames = np.random.default_rng(1).standard_normal((7, 3)).astype(np.float16)
    exact = frames.astype(np.float64)
    spread = np.sqrt(((exact - exact.sum(axis=0) / 7) ** 2).sum(axis=0) / 7)
    wanted = [*exact.sum(axis=0) / 7, *spread, *np.sort(exact, axis=0)[0]]
    np.testing.assert_allclose(pool_frames(frames), wanted, atol=1e-12)
    with pytest.raises(InputError, match=r"got shape \(0, 3\)"):
        pool_frames(frames[:0])


def test_the_ensemble_trusts_the_network_that_sees(clips):
    frames, labels, groups = clips
    model = PooledSVM.fit(CONFIG, frames, labels, groups)
    assert model.weights[1] > 0.5
    said = model.probabilities(frames)
    np.testing.assert_allclose(said.sum(axis=1), 1)
    seen = np.arange(60) != 7
    assert (said.argmax(axis=1) == labels)[seen].mean() > 0.95
    np.testing.assert_allclose(said[7], np.bincount(labels, minlength=7) / 60)


def test_an_even_ensemble_is_the_mean_of_its_machines(clips):
    frames, labels, groups = clips
    config = PooledSVMConfig(CONFIG.networks, ("mean", "max"), CONFIG.svm)  # as in the paper
    model = PooledSVM.fit(config, frames, labels, groups)
    each = [
        machine.probabilities(np.stack([pool_frames(frames[name][0], config.statistics)]))
        for name, machine in zip(config.networks, model.machines, strict=True)
    ]
    np.testing.assert_allclose(model.probabilities(frames)[0], np.mean(each, axis=0)[0])


def test_the_ensemble_is_the_same_after_a_checkpoint(clips, tmp_path):
    frames, labels, groups = clips
    model = PooledSVM.fit(CONFIG, frames, labels, groups)
    model.save(tmp_path, training={})
    loaded = PooledSVM.load(tmp_path)
    assert loaded.config == CONFIG
    np.testing.assert_array_equal(loaded.probabilities(frames), model.probabilities(frames))
    with pytest.raises(CheckpointError, match="Expected an SVM"):
        SVM.load(tmp_path)


def test_no_face_anywhere_is_told(clips):
    frames, labels, groups = clips
    nobody = {name: [rows[:0] for rows in each] for name, each in frames.items()}
    with pytest.raises(CorpusError, match="got none among 60"):
        PooledSVM.fit(CONFIG, nobody, labels, groups)
    with pytest.raises(InputError, match="got none of seeing"):
        PooledSVM.fit(CONFIG, {"blind": frames["blind"]}, labels, groups)


@pytest.mark.parametrize(
    "change",
    [{"networks": ()}, {"statistics": ("median",)}, {"statistics": ()}, {"weighting": "guessed"}],
)
def test_a_bad_ensemble_is_refused_at_birth(change):
    with pytest.raises(ValueError, match="Expected"):
        PooledSVMConfig(**change)
