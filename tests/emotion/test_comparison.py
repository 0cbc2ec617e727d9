"""The comparison: folds, resumption, differences with intervals, the table and the pictures."""

import json
import zipfile
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import recall_score

from emotion import checkpoint
from emotion.comparison import faces, pairs, voices
from emotion.comparison.arena import Arena, Cost, Fold, Majority, folds_by_group, state_folder
from emotion.comparison.compare import run_arena, run_system
from emotion.comparison.plots import plot_confusions
from emotion.comparison.report import ARENAS
from emotion.comparison.system import Options, System
from emotion.comparison.table import arena_figures, difference, markdown
from emotion.comparison.voices import VoiceSamples
from emotion.corpora.clip import Clip
from emotion.corpora.fer2013 import Faces
from emotion.corpora.paired import PairedFeatures, load_paired
from emotion.corpora.speech import Voices
from emotion.errors import CorpusError, InputError
from emotion.labels import EMOTIONS
from emotion.metrics import confusion_matrix, unweighted_average_recall
from emotion.models import hub
from emotion.training.loop import Schedule

PEOPLE = tuple(f"p{i % 5}" for i in range(70))
LABELS = np.arange(70) // 10


def arena(folds=5):
    samples = np.arange(70)
    return Arena(
        name="made-up",
        title="Made up",
        protocol="70 clips",
        labels=LABELS,
        groups=PEOPLE,
        folds=folds_by_group(PEOPLE, folds),
        take=lambda indices: samples[indices],
    )


@dataclass(frozen=True)
class Knowing:
    """Names the sample rightly, but for those of which the index divides by `wrong`."""

    wrong: int = 3
    fails_after: int = 99
    calls: tuple = ()

    def fit(self, train, labels, groups, folder):
        COUNTED.append(len(train))
        if len(COUNTED) > self.fails_after:
            raise KeyboardInterrupt
        return Answers(self.wrong)


COUNTED = []


@dataclass(frozen=True)
class Answers:
    wrong: int
    cost: Cost = field(default_factory=lambda: Cost(parameters=12_345, macs=None))

    def probabilities(self, samples):
        said = np.where(samples % self.wrong == 0, 6 - LABELS[samples], LABELS[samples])
        return np.eye(7, dtype=np.float32)[said]


@pytest.fixture(autouse=True)
def nothing_counted():
    COUNTED.clear()


@pytest.mark.parametrize("count", [2, 3, 5, None])
def test_folds_part_people_and_test_every_sample_once(count):
    folds = folds_by_group(PEOPLE, count)
    tested = np.sort(np.concatenate([fold.test for fold in folds]))
    assert tested.tolist() == list(range(70))
    for fold in folds:
        assert not {PEOPLE[i] for i in fold.train} & {PEOPLE[i] for i in fold.test}
        assert len(fold.train) + len(fold.test) == 70
    assert len(folds) == (count or 5)


@pytest.mark.parametrize("count", [1, 6])
def test_more_folds_than_people_are_refused(count):
    with pytest.raises(CorpusError, match=f"2 to 5 folds, one speaker each, got {count}"):
        folds_by_group(PEOPLE, count)


def test_an_arena_with_a_person_on_both_sides_is_refused():
    every = np.arange(70)
    with pytest.raises(CorpusError, match=r"other people .* got p0"):
        replace(arena(), folds=(Fold(every[:40], every[40:]),))


def test_majority_says_the_frequencies_of_training(tmp_path):
    labels = np.array([0, 0, 0, 1])
    said = Majority().fit(None, labels, [], tmp_path).probabilities(np.zeros(2))
    assert said[1].tolist() == [0.75, 0.25, 0, 0, 0, 0, 0]


def test_what_is_said_is_in_the_order_of_the_samples(tmp_path):
    system = System("knowing", "nobody", lambda _: Knowing())
    said = run_system(arena(), system, Knowing(), tmp_path)
    assert said.tested.tolist() == list(range(70))
    assert np.array_equal(said.probabilities, Answers(3).probabilities(np.arange(70)))
    assert said.cost.parameters == 12_345


def test_a_killed_comparison_goes_on_with_the_folds_that_are_left(tmp_path):
    system = System("knowing", "nobody", lambda _: Knowing())
    with pytest.raises(KeyboardInterrupt):
        run_system(arena(), system, Knowing(fails_after=2), tmp_path)
    assert len(COUNTED) == 3
    COUNTED.clear()
    run_system(arena(), system, Knowing(fails_after=99), tmp_path)
    assert len(COUNTED) == 5  # another setting is another system: nothing is taken over
    COUNTED.clear()
    run_system(arena(), system, Knowing(fails_after=99), tmp_path)
    assert not COUNTED


def test_nothing_holds_for_certain_because_only_one_person_was_tested():
    said = LABELS.copy()
    said[:35:2] = 6
    found = difference(LABELS, said, LABELS, np.array(["afew:valid"] * 70))
    assert found["low"] < found["value"] < found["high"]


@dataclass(frozen=True)
class Remembering:
    """Keeps whom it first learnt from in its state, as a network that is trained does."""

    def fit(self, train, labels, groups, folder):
        own = state_folder(self, folder, labels, groups)
        state = own / "learnt.json"
        if not state.exists():
            state.write_text(json.dumps(sorted(set(groups))))
        assert json.loads(state.read_text()) == sorted(set(groups)), "somebody tested was learnt"
        COUNTED.append(len(train))
        return Answers(3)


def test_where_nobody_is_named_each_clip_is_its_own_group(write_ravdess, tmp_path):
    """The two parts of AFEW are not two people: their intervals would be next to nothing."""
    root = write_ravdess(tmp_path)
    with zipfile.ZipFile(root / "ravdess.zip") as archive:
        sound = archive.read(archive.namelist()[0])
    for place in ("Train/Angry/1.wav", "Train/Sad/2.wav", "Val/Angry/3.wav", "Val/Sad/4.wav"):
        (root / "afew" / place).parent.mkdir(parents=True)
        (root / "afew" / place).write_bytes(sound)
    crossed = voices.crossed_arena(("ravdess",), "afew", root, None)
    (fold,) = crossed.folds
    assert len(set(crossed.people(fold.test))) == 4
    assert set(crossed.people(fold.train)) == {"ravdess:01", "ravdess:02"}


@dataclass(frozen=True)
class Lacking:
    def fit(self, train, labels, groups, folder):
        raise InputError("Expected openSMILE from the extra functionals, found none.")


def test_a_system_that_lacks_an_extra_does_not_cost_the_others(tmp_path):
    systems = [
        System("lacking", "here", lambda _: Lacking(), "by openSMILE"),
        System("knowing", "here", lambda _: Knowing()),
    ]
    rows = list(run_arena(arena(), systems, Options(), tmp_path))
    first, second = arena_figures(arena(), rows)["systems"]
    assert first["untrained"]
    assert "extra functionals" in first["note"]
    assert second["wa"]["value"] > 0.5


def test_a_state_of_other_people_is_not_gone_on_with(tmp_path):
    system = System("remembering", "here", lambda _: Remembering())
    run_system(arena(), system, Remembering(), tmp_path)
    again = replace(arena(), folds=folds_by_group(PEOPLE, 5, seed=2))
    run_system(again, system, Remembering(), tmp_path)
    assert len(COUNTED) > 5
    folders = list(tmp_path.glob("made-up/fold*/Remembering-*"))
    assert len(folders) == 5


def test_difference_is_that_of_the_recalls_and_resamples_people():
    draw = np.random.default_rng(0)
    first = np.where(draw.random(70) < 0.8, LABELS, 0)
    second = np.where(draw.random(70) < 0.4, LABELS, 0)
    found = difference(first, second, LABELS, np.array(PEOPLE))
    recalls = [recall_score(LABELS, said, average="macro") for said in (first, second)]
    assert found["value"] == pytest.approx(recalls[0] - recalls[1], abs=1e-4)
    assert found["low"] <= found["value"] <= found["high"]

    _, group_of = np.unique(PEOPLE, return_inverse=True)
    gains = []
    for counts in np.random.default_rng(1).multinomial(5, np.full(5, 0.2), size=1000):
        rows = np.repeat(np.arange(70), counts[group_of])
        uars = [
            unweighted_average_recall(confusion_matrix(LABELS[rows], said[rows]))
            for said in (first, second)
        ]
        gains.append(uars[0] - uars[1])
    assert np.percentile(gains, [2.5, 97.5]) == pytest.approx(
        [found["low"], found["high"]], abs=1e-4
    )
    assert difference(first, first, LABELS, np.array(PEOPLE)) == {"value": 0, "low": 0, "high": 0}


@pytest.fixture
def figures(tmp_path):
    systems = (
        System("attentive", "them", lambda _: Knowing(7), "with attention"),
        System("average", "them", lambda _: Knowing(2), "without", ablation_of="attentive"),
        System("absent", "others", lambda _: None, "needs a corpus"),
    )
    here = arena()
    return arena_figures(here, list(run_arena(here, systems, Options(), tmp_path)))


def test_the_table_names_the_untrained_and_compares_attention_with_its_twin(figures):
    text = markdown(
        {"command": "attune compare", "commit": "c", "seed": 1, "machine": "m", "arenas": [figures]}
    )
    attentive, average, absent = figures["systems"]
    truth, indices = LABELS, np.arange(70)
    for row, wrong in ((attentive, 7), (average, 2)):
        said = Answers(wrong).probabilities(indices).argmax(1)
        assert row["uar"]["value"] == pytest.approx(
            recall_score(truth, said, average="macro"), abs=1e-4
        )
        assert np.trace(row["confusion"]) == (said == truth).sum()
    assert absent["untrained"] is True
    assert "| absent | others | *untrained* |" in text
    assert "| attentive − average | +" in text
    assert "12.3 k" in text
    assert json.loads(json.dumps(figures)) == figures


def test_confusions_are_drawn(figures, tmp_path):
    plot_confusions(figures, tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (480, 240)
        levels = np.asarray(picture.convert("L"))
    assert levels.std() > 20


def test_nothing_is_drawn_of_systems_that_are_all_untrained(figures, tmp_path):
    plot_confusions(figures | {"systems": figures["systems"][-1:]}, tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_no_two_systems_of_an_arena_share_a_name_and_every_twin_exists():
    for kind in ARENAS.values():
        systems = kind.systems
        names = [system.name for system in systems]
        assert len(names) == len(set(names))
        assert all(s.ablation_of in names for s in systems if s.ablation_of)
        assert all(s.note for s in systems)


def complementary(seed, clips=12):
    """Clips of which the voice tells only the first three emotions apart, the face the others."""
    draw = np.random.default_rng(seed)
    labels = np.tile(np.arange(7), clips)
    told = np.eye(7)[labels]
    noise = 0.15 * draw.standard_normal((2, len(labels), 7))
    actors = tuple(f"a{i // 7 % 9}" for i in range(len(labels)))
    voice = np.where(np.arange(7) < 3, told, 0) + noise[0]
    face = np.where(np.arange(7) < 3, 0, told) + noise[1]
    face[0, 0] = np.nan
    return PairedFeatures(voice, face, labels, actors)


@pytest.mark.parametrize("system", pairs.SYSTEMS[1:], ids=lambda system: system.name)
def test_every_fusion_learns_what_neither_half_tells(system, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "STEPS", (100, 100))
    monkeypatch.setattr(pairs, "DROPOUTS", (0.1,))
    monkeypatch.setattr(pairs, "SEEDS", (1,))
    train, test = complementary(1), complementary(2)
    fitted = system.make(Options()).fit(train, train.labels, train.actors, tmp_path)
    right = (fitted.probabilities(test).argmax(1) == test.labels).mean()
    assert fitted.cost.parameters > 0
    if system.name.endswith("-alone"):
        assert 0.35 < right < 0.75
    else:
        assert right > 0.75


def test_learners_are_known_again_in_another_process():
    for kind in ARENAS.values():
        for system in kind.systems:
            assert " at 0x" not in repr(system.make(Options()))


def test_other_bundled_weights_are_another_system(monkeypatch):
    (system,) = (s for s in faces.SYSTEMS if s.name == "face-cnn")
    before = repr(system.make(Options()))
    monkeypatch.setattr(checkpoint, "digest", lambda folder: "other")
    assert repr(system.make(Options())) != before


def test_a_model_of_the_hub_sees_faces(monkeypatch, tmp_path):
    class Branch:
        parameters = 42

        def probabilities(self, images):
            return np.full((len(images), 7), len(images[0]) / 7 / 48, np.float32)

    monkeypatch.setattr(hub, "load_hub_face", lambda name: Branch())
    (system,) = (s for s in faces.SYSTEMS if s.name == "face-hub")
    assert system.make(Options()) is None
    photographs = Faces(np.zeros((3, 48, 48), np.uint8), LABELS[:3], np.zeros((3, 7), np.float32))
    fitted = system.make(Options(face_model="a/b")).fit(None, LABELS, PEOPLE, tmp_path)
    assert fitted.cost == Cost(42)
    said = fitted.probabilities(faces.FaceSamples(photographs, None))
    np.testing.assert_allclose(said, np.full((3, 7), 1 / 7))


def test_a_model_of_the_hub_is_not_scored_on_those_it_knows(monkeypatch, tmp_path):
    class Branch:
        parameters, training = 42, {"speakers": ["x:2"]}

        def probabilities(self, waveforms):
            return np.full((len(waveforms), 7), 1 / 7, np.float32)

    def said_of(speaker):
        clips = (Clip("x", "a", "sad", speaker),)
        return fitted.probabilities(VoiceSamples(Voices(clips, (np.zeros(9),)), None))

    monkeypatch.setattr(hub, "load_hub_voice", lambda name: Branch())
    fitted = voices.HubVoiceModel("a/b").fit(None, LABELS, PEOPLE, tmp_path)
    assert said_of("x:1").shape == (1, 7)
    with pytest.raises(InputError, match="got one that knows x:2"):
        said_of("x:2")


def test_the_command_trains_writes_the_table_and_goes_on(
    attune, write_ravdess, tmp_path, monkeypatch, capsys
):
    root = write_ravdess(tmp_path, actors=(1, 2, 3, 4))
    little = replace(voices.VoiceRecipe(), schedule=Schedule(1, 8, 1e-3))
    monkeypatch.setattr(voices, "VoiceRecipe", lambda: little)
    command = (
        *("compare", "--data", root, "--out", tmp_path / "out", "--cache", tmp_path / "cache"),
        *("--arenas", "ravdess-voice,clips,continuous", "--epochs", 1),
    )
    assert attune(*command, "--systems", "majority,attention-fcn-compact,voice-hub,hybrid") == 0
    shown = capsys.readouterr().out
    assert "| voice-hub | baseline | *untrained* |" in shown
    assert "found none" in shown  # no corpus of films, so what competes there is untrained
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    trained = found["arenas"][0]["systems"][1]
    assert trained["system"] == "attention-fcn-compact"
    assert trained["samples"] == 32
    assert trained["parameters"] > 200_000
    assert trained["macs"] > 10_000_000
    assert (tmp_path / "out" / "confusions-ravdess-voice.png").exists()

    monkeypatch.setattr(voices.VoiceNetwork, "fit", None)  # a second run must not need it
    assert attune(*command, "--resume", "--systems", "majority,attention-fcn-compact") == 0
    again = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert again["arenas"][0]["systems"][1] == trained


def test_one_corpus_against_another(attune, write_ravdess, tmp_path, capsys):
    root = write_ravdess(tmp_path)
    for name, emotion in (("OAF_angry", "angry"), ("YAF_sad", "sad")):
        (root / "tess" / name).mkdir(parents=True)
        with zipfile.ZipFile(root / "ravdess.zip") as archive:
            sound = archive.read(archive.namelist()[0])
        (root / "tess" / name / f"a_{emotion}.wav").write_bytes(sound)
    out = ("--out", tmp_path / "out", "--cache", tmp_path / "cache", "--systems", "egemaps-svm")
    command = ("compare", "--data", root, "--train", "ravdess", *out)
    assert attune(*command, "--test", "emodb,tess") == 0
    said = capsys.readouterr().out
    assert "trained on 16 clips of ravdess, scored on 2 of tess" in said
    assert "*untrained*: `egemaps-svm`" in said
    assert "Expected speech/emodb.zip" in said
    with pytest.raises(InputError, match="both --train and --test"):
        attune(*command)
    with pytest.raises(InputError, match="got ravdess in both"):
        attune(*command, "--test", "ravdess")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--arenas", "nowhere"), "Expected arenas among .*, got nowhere"),
        (("--systems", "nobody"), "Expected systems among .*, got nobody"),
        (("--train", "savee", "--test", "fer2013"), "Expected corpora among .*, got fer2013"),
        (("--epochs", "0"), "Expected at least one epoch, got 0"),
    ],
)
def test_unknown_names_are_refused(attune, option, message, tmp_path):
    with pytest.raises(InputError, match=message):
        attune("compare", "--data", tmp_path, "--out", tmp_path / "out", *option)


@pytest.mark.data
def test_the_real_pairs_are_read(data_root):
    features = load_paired(data_root)
    assert features.voice.shape == (270, 69)
    assert features.face.shape == (270, 56)
    assert len(set(features.actors)) == 18
    counts = np.bincount(features.labels, minlength=7)
    assert dict(zip(EMOTIONS, counts, strict=True))["neutral"] == 54  # calm and neutral
    assert np.isnan(features.voice).sum() > 0
    assert not np.isnan(features.face).any()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1.0,x,2.0,delighted,1,3,male", "Unreadable row"),
        ("much,x,2.0,angry,1,3,male", "Unreadable row"),
    ],
)
def test_a_broken_table_of_pairs_is_refused(row, message, tmp_path):
    path = tmp_path / "ravdess_paired_features.csv"
    path.write_text(f"f0,file,AU01,emotion,intensity,actor,gender\n{row}\n")
    with pytest.raises(CorpusError, match=message):
        load_paired(tmp_path)
    path.write_text("f0,AU01\n1,2\n")
    with pytest.raises(CorpusError, match="column file"):
        load_paired(tmp_path)
    path.unlink()
    with pytest.raises(CorpusError, match="found neither"):
        load_paired(tmp_path)
