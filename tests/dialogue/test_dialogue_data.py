"""What is read for training, what is kept apart, and how it becomes rows."""

import gzip
import json
import random

import numpy as np
import pytest

from dialogue import data
from dialogue.affect import FEELINGS
from dialogue.data import (
    FEELING_OF,
    SOURCES,
    Source,
    Talk,
    annotate,
    encode_talk,
    is_held_out,
    pack,
    read_felt,
    read_held_out,
    read_source,
    windows,
)
from dialogue.errors import CorpusError
from dialogue.training import SPECIAL_TOKENS

ASKED = Talk("1", ((False, "I lost it."), (True, "What was it?")), ("sad", "very"), 2)


def write(root, name, records):
    (root / "dialogue").mkdir(exist_ok=True)
    with gzip.open(root / "dialogue" / f"{name}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in records)


def record(split, *texts, first="A"):
    speakers = ("AB" if first == "A" else "BA") * len(texts)
    turns = [{"speaker": s, "text": t} for s, t in zip(speakers, texts, strict=False)]
    return {"id": texts[0], "split": split, "turns": turns}


def test_parts_are_kept_apart(tmp_path):
    write(tmp_path, "chat", [record(s, f"In {s}", "Yes") for s in ("train", "valid", "test")])
    read = {p: read_source(tmp_path, Source("chat", 1), p) for p in ("train", "valid")}
    assert [talk.id for talk in read["train"]] == ["In train"]
    assert [talk.id for talk in read["valid"]] == ["In valid"]


def test_a_corpus_without_a_train_part_trains_with_its_valid_part(tmp_path):
    write(tmp_path, "chat", [record(s, f"In {s}", "Yes") for s in ("valid", "test", "test_v1")])
    assert [t.id for t in read_source(tmp_path, Source("chat", 1), "train")] == ["In valid"]
    assert read_source(tmp_path, Source("chat", 1), "valid") == []


def test_a_talk_that_quotes_a_held_out_turn_is_known(tmp_path):
    sentence = "This very sentence has more words than eight of them"
    write(tmp_path, "chat", [record("test", sentence, "Yes"), record("train", "Short", "Yes")])
    held_out = read_held_out(tmp_path, (Source("chat", 1),))
    quoting = Talk("2", ((False, "Hm."), (True, sentence.upper())), None, 1)
    assert is_held_out(quoting, held_out)
    assert not is_held_out(ASKED, held_out)


def test_b_listens_in_stage_2_and_whoever_answers_in_stage_1(tmp_path):
    write(tmp_path, "chat", [record("train", "Hello there", "I am sad", first="B")])
    first, second = (read_source(tmp_path, Source("chat", stage), "train")[0] for stage in (1, 2))
    assert [listens for listens, _ in first.turns] == [False, True]
    assert [listens for listens, _ in second.turns] == [True, False]


def test_feelings_told_turn_by_turn_stay_with_their_turns(tmp_path):
    told = record("train", "I won", "Great", "Then I lost", "Oh")
    for turn, emotion in zip(told["turns"], ("happiness", "neutral", "sadness", None), strict=True):
        turn["emotion"] = emotion
    told["turns"].insert(1, {"speaker": "A", "text": "A car", "emotion": None})
    write(tmp_path, "chat", [told])
    (talk,) = read_source(tmp_path, Source("chat", 1, felt=True), "train")
    assert talk.turns[0] == (False, "I won. A car.")
    assert talk.shown == (
        ("happy", "clearly"), ("neutral", "clearly"), ("sad", "clearly"), None,
    )  # fmt: skip
    assert read_source(tmp_path, Source("chat", 1), "train")[0].shown == ()


def test_a_prefix_is_taught_by_talks_that_feel_or_listen_and_quote_nothing_held_out(
    tmp_path, monkeypatch
):
    sentence = "This very sentence has more words than eight of them"
    write(tmp_path, "chat", [record("train", "Hello", "Hi")])
    write(tmp_path, "felt", [record("train", "I won", "Great"), record("test", sentence, "Yes")])
    write(tmp_path, "help", [record("train", "Hm", "Yes"), record("train", sentence, "Yes")])
    sources = (Source("chat", 1), Source("felt", 1, felt=True), Source("help", 2))
    monkeypatch.setattr(data, "SOURCES", sources)
    assert [talk.id for talk in read_felt(tmp_path, "train")] == ["I won", "Hm"]


def test_a_missing_corpus_is_one_sentence(tmp_path):
    with pytest.raises(CorpusError, match=r"Expected conversations at .*chat\.jsonl\.gz, got no"):
        read_source(tmp_path, Source("chat", 1), "train")


def test_share_alike_corpora_are_not_trained_on():
    assert not {"sgd_accentor", "emobank"} & {source.name for source in SOURCES}


@pytest.mark.data
def test_every_emotion_of_the_listening_corpora_has_a_feeling(data_root):
    named = set()
    for name in ("empathetic_dialogues", "esconv"):
        with gzip.open(data_root / f"dialogue/{name}.jsonl.gz", "rt") as lines:
            named |= {json.loads(line).get("emotion") for line in lines}
    assert named - {None} <= set(FEELING_OF)
    assert {feeling for feeling, _ in FEELING_OF.values()} == set(FEELINGS)


def test_a_third_of_the_talks_has_no_note_and_some_ask_in_doubt():
    random_ = random.Random(0)
    seen = [annotate(ASKED, random_)[0][1].partition("\n")[2] for _ in range(3000)]
    share = {note: seen.count(note) / len(seen) for note in set(seen)}
    assert share[""] == pytest.approx(1 / 3, abs=0.03)
    assert share["[feeling unclear]"] == pytest.approx(2 / 3 * 0.12, abs=0.02)
    assert share["[mixed feelings]"] == pytest.approx(2 / 3 * 0.08, abs=0.02)
    assert set(share) == {"", "[feeling unclear]", "[mixed feelings]", "[seems very sad]"}


def test_the_listener_never_gets_a_note():
    assert all(annotate(ASKED, random.Random(n))[1][1] == "What was it?" for n in range(20))


def test_windows_cut_between_turns():
    turns = [(bool(n % 2), "a b c") for n in range(5)]
    assert [len(piece) for piece in windows(turns, 6)] == [2, 2, 1]
    assert [turn for piece in windows(turns, 6) for turn in piece] == turns


def test_a_talk_is_written_as_the_chat_template_writes_it(corpus):
    tokenizer = corpus.prepared.tokenizer
    ids, _ = encode_talk(ASKED.turns, tokenizer, listener_only=True)
    messages = [
        {"role": "assistant" if listens else "user", "content": text}
        for listens, text in ASKED.turns
    ]
    assert ids == tokenizer.apply_chat_template(messages)["input_ids"]


def test_only_the_listener_and_the_end_are_learnt_in_stage_2(corpus):
    tokenizer = corpus.prepared.tokenizer
    ids, learned = encode_talk(ASKED.turns, tokenizer, listener_only=True)
    answer = [token for token, mark in zip(ids, learned, strict=True) if mark]
    assert tokenizer.decode(answer) == "What was it?<|end|>"


@pytest.mark.parametrize("text", ["Hello there!", "Ünïcode 漢字 🙂", "  spaces  ", "<|user|"])
def test_the_tokenizer_writes_any_text_back(corpus, text):
    tokenizer = corpus.prepared.tokenizer
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_special_tokens_come_first(corpus):
    ids = corpus.prepared.tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))
    assert ids == list(range(len(SPECIAL_TOKENS)))


def test_packing_loses_nothing_and_mixes_nothing():
    talks = [([9] * n, [bool(n % 2)] * n) for n in (3, 7, 5, 10, 2, 12)]
    rows = pack(talks, 10, pad_id=0, open_rows=2)
    assert rows.tokens.dtype == np.uint16
    assert (rows.tokens != 0).sum() == 3 + 7 + 5 + 10 + 2 + 10  # the last is cut to a row
    assert rows.learned.sum() == 3 + 7 + 5
