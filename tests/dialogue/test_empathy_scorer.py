"""The scorer of EPITOME's mechanisms."""

import argparse
import csv
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
)

from dialogue import cli
from dialogue.empathy import scorer_card
from dialogue.empathy.agreement import (
    accuracy,
    calibration_error,
    confusion_of,
    kappa,
    macro_f1,
    paired_differences,
)
from dialogue.empathy.annotations import (
    MECHANISMS,
    AnnotatedPair,
    levels_of,
    post_folds,
    read_epitome,
)
from dialogue.empathy.baseline import tuned_baseline
from dialogue.empathy.network import NetworkShape, Teaching
from dialogue.empathy.reading import TrunkShape, pretrained
from dialogue.empathy.scorer import WEIGHTS, StackedScorer, load_scorer
from dialogue.empathy.scorer_training import EmpathyRecipe, EmpathyRun, run_with_bar
from dialogue.empathy.sentences import CUES, cues_of, sentence_levels, split_sentences
from dialogue.empathy.stack import Strengths, temperature_of
from dialogue.errors import CorpusError, InputError, ModelError
from dialogue.models.bundled import WEIGHTS as TRUNK
from ui.cli import main

WARM = "I am so sorry to hear that, friend"
KNOWING = "I went through the very same thing"
ASKING = "What happened to you today?"
ASKED = "Why did they let you go? Do you have anyone at home to talk to about it?"
COLUMNS = ["sp_id", "rp_id", "seeker_post", "response_post", "level", "rationales"]
PAIRS = [
    ("My dog died.", "I am so sorry. He was a good dog. How long did you have him?"),
    ("I failed again.", "Just try harder"),
    ("Nobody likes me.", "I felt the same for years.\nIt got better " + "and better " * 200),
    ("", "?"),
]


def told(number, mechanisms):
    """A pair whose levels are 2 or 1 where it shows a mechanism, 0 elsewhere."""
    said = [WARM + ".", KNOWING + ".", ASKING]
    shown = [text for text, level in zip(said, mechanisms, strict=True) if level]
    words = [f"Go for a walk number {number}.", *shown]
    rationales = tuple(
        (text,) if level else () for text, level in zip(said, mechanisms, strict=True)
    )
    return AnnotatedPair(
        f"post{number // 2}", f"I feel bad {number}", " ".join(words), mechanisms, rationales
    )


def tiny_corpus(count=48):
    return [told(n, (2 * (n % 2), 2 * (n // 2 % 2), 2 * (n // 4 % 2))) for n in range(count)]


def write_corpus(root, pairs):
    folder = root / "empathy"
    folder.mkdir(parents=True)
    for m, mechanism in enumerate(MECHANISMS):
        path = folder / f"{mechanism.replace('_', '-')}-reddit.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["sp_id", "rp_id", "seeker_post", "response_post", "level", "rationales"]
            )
            for n, pair in enumerate(pairs):
                rationale = "|".join(pair.rationales[m])
                row = [pair.post_id, n, pair.post, pair.response, pair.levels[m], rationale]
                writer.writerow(row)
    return root


@pytest.fixture(scope="module")
def scorer():
    return load_scorer(device="cpu")


@pytest.fixture(scope="module")
def untaught():
    return pretrained(TRUNK)


@pytest.fixture(scope="module")
def reader(untaught):
    return untaught[0]


@pytest.fixture(scope="module")
def run(untaught, tmp_path_factory):
    folder = tmp_path_factory.mktemp("empathy")
    free = Strengths(sentences=1e3, vectors=1.0, responses=1e3, combination=1e3)
    recipe = EmpathyRecipe(
        folds=2, inner_folds=2, strengths=free, teaching=Teaching(epochs=6), resamples=20
    )
    run = EmpathyRun(tiny_corpus(), *untaught, folder, recipe)
    run.begin()
    run_with_bar(run, folder / "model")
    return run


# ---------------------------------------------------------------------------------- contract


def test_probabilities_are_of_three_levels_of_three_mechanisms(scorer):
    found = scorer.score(PAIRS)
    assert found.shape == (len(PAIRS), 3, 3)
    assert found.dtype == np.float64
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-12)
    assert scorer.score([]).shape == (0, 3, 3)


def test_a_batch_is_scored_as_one_by_one(scorer):
    apart = np.concatenate([scorer.score([pair]) for pair in PAIRS])
    np.testing.assert_allclose(scorer.score(PAIRS), apart, atol=1e-5)


def test_what_people_would_say_is_likeliest(scorer):
    replies = ["Buy bread.", WARM + ". I hope it gets better soon.", KNOWING + ".", ASKED]
    levels = scorer.score([("I lost my job and I am so down.", r) for r in replies]).argmax(-1)
    assert levels[0].tolist() == [0, 0, 0]
    assert (levels[1, 0], levels[2, 1], levels[3, 2]) == (2, 2, 2)


@pytest.mark.parametrize("pair", [("a", " "), ("a",), ("a", None)])
def test_a_response_without_words_is_refused(scorer, pair):
    with pytest.raises(InputError, match=r"Expected .* at 1\."):
        scorer.score([("a", "b"), pair])


# -------------------------------------------------------------------------------- checkpoint


def test_a_scorer_is_read_back_to_the_bit(run, tmp_path):
    first = StackedScorer.load(run.folder / "model")
    first.save(tmp_path / "again")
    again = load_scorer(tmp_path / "again", "cpu")
    assert (again.score(PAIRS) == first.score(PAIRS)).all()
    both = [
        (folder / "model.safetensors").read_bytes()
        for folder in (run.folder / "model", tmp_path / "again")
    ]
    assert both[0] == both[1]


def test_what_was_measured_is_what_is_read_back(run):
    kept = run.learnt({}).score(PAIRS)
    np.testing.assert_allclose(
        load_scorer(run.folder / "model", "cpu").score(PAIRS), kept, atol=1e-6
    )


def edited(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    if value is None:
        del config[key]
    else:
        config[key] = value
    (folder / "config.json").write_text(json.dumps(config))


DAMAGES = {
    "no tensors": lambda f: (f / "model.safetensors").unlink(),
    "no config": lambda f: (f / "config.json").unlink(),
    "no tokenizer": lambda f: (f / "tokenizer.json").unlink(),
    "cut tensors": lambda f: (f / "model.safetensors").write_bytes(b"short"),
    "no json": lambda f: (f / "config.json").write_text("{"),
    "a list": lambda f: (f / "config.json").write_text("[]"),
    "other mechanisms": lambda f: edited(f, "mechanisms", ["warmth"]),
    "other levels": lambda f: edited(f, "levels", [0, 1]),
    "no shape": lambda f: edited(f, "trunk", None),
    "no network": lambda f: edited(f, "network", None),
    "another shape": lambda f: edited(f, "trunk", {"vocabulary": 3}),
    "sizes that do not fit": lambda f: edited(
        f, "trunk", {"vocabulary": 8, "width": 8, "layers": 1, "heads": 1, "feed_forward": 8}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_folder_is_refused_in_one_sentence(run, tmp_path, damage):
    folder = tmp_path / "model"
    shutil.copytree(run.folder / "model", folder)
    DAMAGES[damage](folder)
    with pytest.raises(ModelError, match=r"^Expected ") as refused:
        load_scorer(folder, "cpu")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("source", ["no/such/folder", "not an id", ""])
def test_what_is_no_scorer_is_refused(source):
    with pytest.raises(ModelError, match="Expected a scorer's folder or hub id, got"):
        load_scorer(source, "cpu")


# ------------------------------------------------------------------------------ transformers


def classifier(folder, labels):
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "am", "sorry"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8, id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)


def test_one_classifier_of_nine_labels_is_a_scorer(tmp_path):
    labels = [f"{m}_{level}" for level in (2, 0, 1) for m in MECHANISMS]
    classifier(tmp_path / "nine", labels)
    found = load_scorer(tmp_path / "nine", "cpu")
    scores = found.score(PAIRS)
    np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-12)
    apart = np.concatenate([found.score([pair]) for pair in PAIRS])
    np.testing.assert_allclose(scores, apart, atol=1e-5)


def test_three_classifiers_of_three_levels_are_a_scorer(tmp_path):
    for mechanism in MECHANISMS:
        classifier(tmp_path / "three" / mechanism, ["none", "weak", "strong"])
    assert load_scorer(tmp_path / "three", "cpu").score(PAIRS).shape == (4, 3, 3)


def test_a_classifier_of_other_labels_is_refused(tmp_path):
    classifier(tmp_path / "two", ["good", "bad"])
    with pytest.raises(ModelError, match="Expected labels such as emotional_reactions_0"):
        load_scorer(tmp_path / "two", "cpu")
    classifier(tmp_path / "three" / MECHANISMS[0], ["good", "bad"])
    with pytest.raises(ModelError, match="Expected 3 labels of emotional_reactions"):
        load_scorer(tmp_path / "three", "cpu")


# ---------------------------------------------------------------------------------- training


def test_a_tiny_corpus_is_learnt_by_heart(run):
    pairs = [(pair.post, pair.response) for pair in run.pairs]
    said = load_scorer(run.folder / "model", "cpu").score(pairs).argmax(-1)
    assert (said == levels_of(run.pairs)).all()


def test_a_level_that_nobody_has_is_never_likely(run):
    assert (load_scorer(run.folder / "model", "cpu").score(PAIRS)[..., 1] < 0.01).all()


@given(st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=40), st.integers(2, 4))
def test_folds_never_share_a_post(posts, folds):
    posts = [*posts, *"abcd"]
    dealt = post_folds(posts, folds, seed=0)
    assert set(dealt) == set(range(folds))
    for post in set(posts):
        assert len({fold for fold, own in zip(dealt, posts, strict=True) if own == post}) == 1


def test_the_folds_of_a_run_never_share_a_post(run):
    for fold in range(2):
        held_out = json.loads((run.folder / f"fold-{fold}.json").read_text())["pairs"]
        inside = {run.posts[pair] for pair in held_out}
        assert not inside & {p for n, p in enumerate(run.posts) if n not in set(held_out)}


def test_nothing_of_the_held_out_fold_is_learnt(untaught, run, tmp_path):
    """Other levels in the held-out fold change nothing in what is said of it."""
    changed = [
        told(n, (2, 2, 2)) if run.folds[n] == 0 else pair for n, pair in enumerate(run.pairs)
    ]
    other = EmpathyRun(changed, *untaught, tmp_path, run.recipe)
    other._views = run.views
    seen = np.flatnonzero(run.folds != 0)
    held_out = run.views.take(np.flatnonzero(run.folds == 0))
    ours, theirs = (r.fit(seen).log_probabilities(held_out) for r in (run, other))
    assert (ours == theirs).all()
    ours, theirs = (r.taught(seen).log_probabilities(held_out.windows) for r in (run, other))
    assert (ours == theirs).all()


def test_a_killed_run_goes_on_and_ends_the_same(run, untaught, tmp_path):
    killed = EmpathyRun(run.pairs, *untaught, tmp_path, run.recipe)
    killed.begin()
    killed.measure(0)
    (tmp_path / "fold-1.partial").write_text("[half")
    again = EmpathyRun(run.pairs, *untaught, tmp_path, run.recipe)
    again.begin()
    assert again.done == 1
    before = (tmp_path / "fold-0.json").stat().st_mtime_ns
    run_with_bar(again, tmp_path / "model")
    assert (tmp_path / "fold-0.json").stat().st_mtime_ns == before
    assert again.scores() == run.scores()


def test_a_run_of_another_recipe_is_not_gone_on_with(run, untaught):
    other = EmpathyRun(run.pairs, *untaught, run.folder, EmpathyRecipe(folds=3))
    with pytest.raises(InputError, match="Expected a run of this recipe and data"):
        other.begin()


# ----------------------------------------------------------------------------------- command


def command(*arguments):
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    args = parser.parse_args(["train-empathy", *map(str, arguments)])
    return args.run(args)


def test_the_command_trains_measures_and_resumes(tmp_path, capsys):
    root = write_corpus(tmp_path / "data", tiny_corpus(24))
    given = ("--data", root, "--out", tmp_path / "run", "--folds", 2)
    assert command(*given) == 0
    assert "emotional_reactions: accuracy" in capsys.readouterr().out
    with pytest.raises(InputError, match="Expected --resume or a new --out"):
        command(*given)
    (tmp_path / "run" / "fold-1.json").unlink()
    assert command(*given, "--resume") == 0
    assert "Going on from fold 1 of 2." in capsys.readouterr().out
    card = (tmp_path / "run" / "model" / "MODEL_CARD.md").read_text()
    assert "| 24 | `pairs` |" in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "{tmp}/nowhere"), "Expected annotated replies at"),
        (("--data", "{data}", "--folds", "99"), "Expected 2 to 4 folds"),
        (("--data", "{data}", "--out", "{data}/empathy/explorations-reddit.csv"), "a file"),
    ],
)
def test_a_wrong_command_ends_with_code_2_and_one_sentence(tmp_path, capsys, arguments, message):
    root = write_corpus(tmp_path / "data", tiny_corpus(8))
    shown = [a.format(tmp=tmp_path, data=root) for a in arguments]
    if "--out" not in shown:
        shown += ["--out", str(tmp_path / "run")]
    assert main(["train-empathy", *shown]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().count("\n") == 0


def test_files_of_other_pairs_or_levels_are_refused(tmp_path):
    root = write_corpus(tmp_path / "data", tiny_corpus(8))
    path = root / "empathy" / "explorations-reddit.csv"
    whole = path.read_text()
    path.write_text(whole.rsplit("\n", 2)[0] + "\n")
    with pytest.raises(CorpusError, match="Expected the same pairs in all files"):
        read_epitome(root)
    path.write_text(whole.replace(",2,", ",5,"))
    with pytest.raises(CorpusError, match=r"Expected levels 0, 1 or 2 in .*, got '5'"):
        read_epitome(root)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(CorpusError, match="Expected columns"):
        read_epitome(root)


# ----------------------------------------------------------------------------------- reading


def test_rationales_mark_the_sentences_they_lie_in():
    pair = told(0, (2, 0, 1))
    assert sentence_levels(pair).tolist() == [[0, 0, 0], [2, 0, 0], [0, 0, 1]]
    alone = AnnotatedPair("a", "b", "So sorry", (1, 0, 0), ((), (), ()))
    assert sentence_levels(alone).tolist() == [[1, 0, 0]]


@given(st.text())
def test_any_text_has_a_sentence_and_finite_cues(text):
    assert len(split_sentences(text)) >= 1
    cues = cues_of(text, text)
    assert cues.shape == (len(CUES),)
    assert np.isfinite(cues).all()


def test_a_long_reply_is_read_whole(reader):
    pieces = ["This is one of many sentences.", "And how are you?"] * 60
    (read,) = reader.read(["Hello"], [" ".join(pieces)])
    assert read.vectors.shape == (120, reader.features)
    assert np.abs(read.vectors).sum(1).min() > 0
    assert len(read.windows) > 1
    numbers = np.concatenate([window.sentence_of for window in read.windows])
    assert set(numbers) == set(range(-1, 120))


def test_shapes_whose_heads_do_not_divide_the_width_are_refused():
    with pytest.raises(ModelError, match="Expected positive sizes"):
        TrunkShape(8, 6, 1, 4, 8)
    with pytest.raises(ModelError, match="Expected positive sizes"):
        NetworkShape(6, 1, 4, 8)


def test_every_weight_of_the_network_learns_and_global_randomness_stays(untaught, run):
    before = torch.get_rng_state()
    untaught_weights, taught = untaught[1].state_dict(), run.taught(np.arange(12)).state_dict()
    assert all(not torch.equal(taught[name], old) for name, old in untaught_weights.items())
    assert torch.equal(torch.get_rng_state(), before)


# --------------------------------------------------------------------------------- agreement


@pytest.fixture
def judged():
    generator = np.random.default_rng(0)
    levels = generator.integers(0, 3, 500)
    said = np.where(generator.random(500) < 0.6, levels, generator.integers(0, 3, 500))
    return levels, said


def test_agreement_is_what_scikit_learn_says(judged):
    confusion = confusion_of(*judged)
    assert abs(accuracy(confusion) - accuracy_score(*judged)) < 1e-12
    assert abs(macro_f1(confusion) - f1_score(*judged, average="macro")) < 1e-12
    assert abs(kappa(confusion) - cohen_kappa_score(*judged, weights="quadratic")) < 1e-12


def test_a_planted_difference_is_found_and_none_is_not(judged):
    levels, said = judged
    generator = np.random.default_rng(1)
    posts = np.arange(500) // 2
    worse = np.where(generator.random(500) < 0.5, said, generator.integers(0, 3, 500))
    found = paired_differences(levels, said, worse, posts, resamples=400, generator=generator)
    assert all(0 < d["low"] < d["value"] < d["high"] for d in found.values())
    same = paired_differences(levels, said, said, posts, resamples=50, generator=generator)
    assert all(d == {"value": 0, "low": 0, "high": 0} for d in same.values())


def test_calibration_error_is_none_where_confidence_is_the_share_that_is_right():
    levels = np.array([0, 0, 0, 1])
    sure = np.tile([0.75, 0.25, 0.0], (4, 1))
    assert calibration_error(sure, levels) == pytest.approx(0)
    assert calibration_error(np.tile([1.0, 0, 0], (4, 1)), levels) == pytest.approx(0.25)


def test_a_temperature_undoes_what_was_multiplied():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 3))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    levels = np.array([generator.choice(3, p=row) for row in chances])
    assert temperature_of(2 * logits, levels) == pytest.approx(2, rel=0.1)


def test_the_baseline_is_chosen_within_the_training_part():
    texts = ["it is so ?", "it is so ."] * 20
    levels = np.array([1, 0] * 20)
    said, best = tuned_baseline(texts, levels, np.arange(40) // 10, ["so it is ?", "so it is ."])
    assert best.signs
    assert said.tolist() == [1, 0]


# -------------------------------------------------------------------------------------- card


def test_the_card_has_the_figures_of_its_scores():
    card = (WEIGHTS / scorer_card.CARD).read_text()
    scores = json.loads((WEIGHTS / scorer_card.SCORES).read_text())
    assert scorer_card.refreshed(card, scores) == card
    wanted = {f"{m}.{a}" for m in MECHANISMS for a in ("accuracy", "macro_f1", "kappa")}
    assert wanted <= set(scorer_card.places(card))
    with pytest.raises(InputError, match="Expected a figure at pairs, got none"):
        scorer_card.refreshed(card, {})


@pytest.mark.parametrize(
    ("mechanism", "accuracy_bar", "f1_bar"),
    [
        ("emotional_reactions", 0.775, 0.714),
        ("interpretations", 0.810, 0.0),  # its level 1 cannot be learnt; see the card
        ("explorations", 0.914, 0.679),
    ],
)
def test_the_scorer_agrees_better_than_tf_idf(mechanism, accuracy_bar, f1_bar):
    scores = json.loads((WEIGHTS / scorer_card.SCORES).read_text())[mechanism]
    assert scores["accuracy"]["scorer"] > accuracy_bar
    assert scores["macro_f1"]["scorer"] > f1_bar
    assert scores["accuracy"]["difference"]["value"] > 0
    assert scores["calibration_error"] < 0.05


def test_the_weights_are_small_and_trained_by_the_default_recipe():
    assert sum(f.stat().st_size for f in WEIGHTS.iterdir()) < 7.5e6
    config = json.loads((WEIGHTS / "config.json").read_text())
    assert config["training"]["recipe"]["folds"] == EmpathyRecipe().folds
