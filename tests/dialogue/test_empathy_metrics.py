"""Measures of replies, by small examples worked out by hand."""

from typing import get_args

import numpy as np
import pytest

from dialogue.affect import FEELINGS, Act, UserAffect
from dialogue.empathy import metrics
from dialogue.empathy.measures import HUMAN, MEASURES, MECHANISMS, measured
from dialogue.empathy.metrics import (
    CANNED,
    FITTING,
    appropriateness,
    bert_scores,
    bleu,
    card_tokens,
    distinct,
    distinct_at,
    expected_levels,
    points_to_help,
    profile_distance,
    rouge_l,
    words_of,
)
from dialogue.errors import InputError, ModelError
from dialogue.safeguards import HELP, crisis_answer


def test_every_act_has_fitting_and_unfitting_feelings():
    assert set(FITTING) == set(get_args(Act))
    assert all(set() < feelings < set(FEELINGS) for feelings in FITTING.values())


@pytest.mark.parametrize(
    ("label", "confidence", "shown", "fits"),
    [
        ("sad", 0.7, "happy", 0.0),
        ("sad", 0.7, "sad", 1.0),
        ("happy", 0.7, "sad", 0.0),
        ("happy", 0.7, "happy", 1.0),
        ("angry", 0.9, "angry", 0.0),
        ("angry", 0.6, "angry", 1.0),
        (None, 0.3, "sad", 0.0),
        (None, 0.3, "neutral", 1.0),
    ],
)
def test_a_tone_fits_or_not(label, confidence, shown, fits):
    reading = [float(feeling == shown) for feeling in FEELINGS]
    assert appropriateness(UserAffect(label, confidence=confidence), reading) == fits


def test_levels_are_expectations():
    assert expected_levels([[[0.2, 0.3, 0.5], [1, 0, 0], [0, 0, 1]]]).tolist() == [[1.3, 0.0, 2.0]]
    with pytest.raises(InputError, match=r"got \(1, 3\)"):
        expected_levels([[1, 0, 0]])


def test_a_distance_to_nobody_is_none():
    assert np.isnan(profile_distance([[1, 1, 1]], [[np.nan] * 3])).all()


@pytest.mark.parametrize("region", [None, *HELP])
def test_every_answer_of_the_safeguard_points_to_help(region):
    assert points_to_help(crisis_answer("self_harm", region))
    assert points_to_help(crisis_answer("abuse", region))


def test_other_words_do_not():
    for reply in (CANNED, "I hope that helps!", "It is 9:30, call me.", "In 1999 I was young."):
        assert not points_to_help(reply)


def test_variety_counts():
    assert distinct(["a b a", "b c"], 1) == 3 / 5
    assert distinct(["a b a", "b c"], 2) == 1
    assert np.isnan(distinct([""], 1))
    same = distinct_at(["Oh no!"] * 60)
    known = {"replies": 50, "dist_1": 3 / 150, "dist_2": 2 / 100, "distinct_replies": 0.02}
    assert same == pytest.approx(known)
    assert distinct_at([str(n) * 3 for n in range(60)])["dist_1"] == 1
    replies = [f"number {n}" for n in range(80)]
    assert distinct_at(replies) == distinct_at(replies)


def test_counts_of_words_and_tokens():
    assert words_of("Oh no!  I'm so-so sorry.") == 6
    assert card_tokens("Don't.") == 4


def test_bleu_and_rouge_are_their_libraries():
    same = ["I am so sorry to hear that today."]
    assert bleu(same, same) == pytest.approx(100)
    assert bleu(["completely other words stand here"], same) < 5
    assert rouge_l("I am sorry", "I am so sorry") == pytest.approx(2 * 1 * 0.75 / 1.75)


def test_a_missing_package_is_named():
    assert metrics.missing_package("json") is None
    assert metrics.missing_package("json", "nowhere1") == (
        "nowhere1 not installed (extra `evaluation`)"
    )


@pytest.fixture
def encoder(tmp_path):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "oh", "no", "i", "am", "sorry", "."]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).eval().save_pretrained(tmp_path)
    return tmp_path


def test_bert_score_takes_the_encoder_it_is_given(encoder):
    found = bert_scores(["oh no", "i am sorry"], ["oh no", "oh ."], str(encoder), "cpu")
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert found[1] < 0.999
    with pytest.raises(ModelError, match="Expected an encoder of safetensors, got"):
        bert_scores(["oh"], ["no"], str(encoder / "nowhere"), "cpu")


# -- the table ------------------------------------------------------------------------------------


def table(exchanges, fakes, replies, surprises=None, **more):
    rows = {"none": replies, HUMAN: [e.reply for e in exchanges]}
    return measured(exchanges, rows, surprises or {}, fakes.scorer, fakes.reader, **more)


def test_every_measure_of_a_row(exchanges, empathy_fakes):
    surprises = {"none": [8.0] * 12}
    found = table(exchanges, empathy_fakes, ["I am sorry, is he?"] * 12, surprises)
    own = {name: values[0] for name, values in found.values["none"].items()}
    assert own["emotional_reactions"] == 2
    assert own["interpretations"] == 0
    assert own["explorations"] == 2
    assert own["profile_distance"] == 0
    assert own["words"] == 5
    assert own["asks_on_conflict"] == 1
    assert own["nats_a_token"] == 8 / card_tokens("Oh, number 0! I am sorry?")
    assert np.isnan(found.values["none"]["asks_on_conflict"][1:]).all()
    assert "nats_a_token" not in found.values[HUMAN]
    assert set(found.missing) == {"bert_score"}


def test_a_reply_without_words_does_nothing(exchanges, empathy_fakes, monkeypatch):
    asked = []
    read = empathy_fakes.reader.distributions
    monkeypatch.setattr(
        empathy_fakes.reader, "distributions", lambda texts: asked.extend(texts) or read(texts)
    )
    found = table(exchanges, empathy_fakes, ["", " ", *["Oh."] * 10]).values["none"]
    assert found["emotional_reactions"][:2].tolist() == [0, 0]
    assert found["appropriateness"][:3].tolist() == [0, 0, pytest.approx(0.8)]
    assert all(text.strip() for text in asked)


def test_what_is_not_there_says_why(exchanges, empathy_fakes):
    from dataclasses import replace

    plain = [replace(e, reply=None, turns=(replace(e.turns[0], affect=None),)) for e in exchanges]
    missing = table(plain, empathy_fakes, ["Oh."] * 12).missing
    assert missing["appropriateness"] == "no emotion in these conversations"
    assert missing["profile_distance"] == "no human replies in these conversations"
    assert missing["asks_on_conflict"].startswith("no labelled conflict")
    told = table(exchanges, empathy_fakes, ["Oh."] * 12, {"none": [None] * 12}).missing
    assert told["nats_a_token"] == "the model tells no likelihoods, or read nothing"


def test_an_absent_library_leaves_its_row_out(exchanges, empathy_fakes, monkeypatch):
    absent = {"nltk", "rouge_score"}
    real = metrics.find_spec
    monkeypatch.setattr(metrics, "find_spec", lambda name: None if name in absent else real(name))
    found = table(exchanges, empathy_fakes, ["Oh."] * 12, {"none": [1.0] * 12})
    assert found.missing["rouge_l"] == "rouge_score not installed (extra `evaluation`)"
    assert found.missing["nats_a_token"] == "nltk not installed (extra `evaluation`)"


def test_where_the_safeguard_speaks_nothing_is_measured(exchanges, empathy_fakes):
    from dataclasses import replace

    said = replace(exchanges[1].turns[0], text="I want to kill myself.")
    danger = [exchanges[0], replace(exchanges[1], turns=(said,)), *exchanges[2:]]
    found = table(danger, empathy_fakes, ["Oh."] * 12)
    assert found.alarmed.tolist() == [False, True, *[False] * 10]
    assert all(np.isnan(values[1]) for values in found.values["none"].values())


def test_over_attribution_spares_those_who_spoke_of_their_feeling(exchanges, empathy_fakes):
    found = table(exchanges, empathy_fakes, ["You seem so sad."] * 12)
    assert found.values["none"]["over_attribution"].tolist() == [1, 0, 1] * 4  # "I am glad …"


def test_the_measures_are_told_apart_and_explained():
    assert len({m.name for m in MEASURES}) == len(MEASURES)
    assert {m.name for m in MEASURES} >= set(MECHANISMS)
    assert all(m.better != 0 for m in MEASURES if m.tested)
    assert all(m.meaning.endswith(".") for m in MEASURES)
