"""Readers of conversations, and what is wrong with a broken file."""

import json
from collections import Counter
from itertools import product

import pytest

from dialogue.affect import FEELINGS
from dialogue.empathy.conversations import (
    affect_named,
    affect_of_estimate,
    load_exchanges,
    read_csv,
    read_jsonl,
)
from dialogue.empathy.evaluation import sampled
from dialogue.errors import CorpusError, InputError


def talk(*turns, **more):
    spoken = [{"speaker": s, "text": t, **extra} for s, t, extra in turns]
    return json.dumps({"turns": spoken, **more})


def write(tmp_path, *lines, name="talks.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(lines))
    return path


ASKED = (("A", "My dog died.", {}), ("B", "Oh no.", {}), ("A", "On Sunday.", {}))


def test_a_talk_is_cut_before_its_last_reply(tmp_path):
    path = write(tmp_path, talk(*ASKED, ("B", "I am sorry.", {}), id="x", emotion="sad"))
    (exchange,) = read_jsonl(path)
    assert [(t.side, t.text) for t in exchange.turns] == [
        ("user", "My dog died."),
        ("assistant", "Oh no."),
        ("user", "On Sunday."),
    ]
    assert (exchange.id, exchange.reply) == ("x", "I am sorry.")
    assert exchange.affect.label == "sad"


def test_last_words_that_nobody_answered_are_to_be_answered(tmp_path):
    (exchange,) = read_jsonl(write(tmp_path, talk(*ASKED)))
    assert (exchange.said, exchange.reply, exchange.affect) == ("On Sunday.", None, None)


def test_a_sampled_reply_is_the_same_in_every_run_and_not_always_the_last(tmp_path):
    turns = [("A" if n % 2 == 0 else "B", f"Turn {n}.", {}) for n in range(10)]
    path = write(tmp_path, *(talk(*turns, id=f"t{n}") for n in range(20)))
    replies = [exchange.reply for exchange in read_jsonl(path, "sampled")]
    assert len(set(replies)) > 2
    assert replies == [exchange.reply for exchange in read_jsonl(path, "sampled")]


def test_roles_by_name_and_turns_in_a_row_are_joined(tmp_path):
    path = write(
        tmp_path,
        talk(
            ("assistant", "Hello.", {}),
            ("user", "Hi.", {"emotion": "happy"}),
            ("user", "I won!", {}),
            ("assistant", "Congratulations.", {}),
        ),
    )
    (exchange,) = read_jsonl(path)
    assert [t.side for t in exchange.turns] == ["assistant", "user"]
    assert exchange.said == "Hi. I won!"
    assert exchange.affect.label == "happy"


def test_estimates_in_short_and_in_full_are_understood():
    short = affect_of_estimate(
        {"label": "fear", "confidence": 0.7, "face": "joy", "voice": "afraid", "agreement": 0.2}
    )
    assert (short.label, short.accord, short.channels) == ("afraid", "conflict", ("face", "voice"))
    probabilities = {"sad": 0.8, "happy": 0.2}
    full = affect_of_estimate(
        {
            "label": "sad",
            "probabilities": probabilities,
            "face": {"probabilities": probabilities, "quality": 0.9},
            "voice": None,
            "agreement": None,
            "attention": {"frames": [1.0]},
            "valence": -0.4,
        }
    )
    assert (full.confidence, full.by_channel, full.valence) == (0.8, {"face": "sad"}, -0.4)


def test_an_estimate_as_the_recogniser_writes_it_is_understood(make_estimate):
    written = json.loads(json.dumps(make_estimate("sad", "happy", top=0.9).to_dict()))
    affect = affect_of_estimate(written)
    assert affect.by_channel == {"face": "sad", "voice": "happy"}
    assert affect.confidence == pytest.approx(0.9)
    assert affect.accord == "conflict"


def test_a_label_is_what_is_true_and_an_estimate_beside_it_what_was_read(tmp_path):
    guess = {"label": "happy", "confidence": 0.9}
    turn = ("A", "Fine.", {"emotion": "sad", "estimate": guess})
    alone = ("A", "Fine.", {"estimate": guess})
    both, one = read_jsonl(write(tmp_path, talk(turn), talk(alone)))
    assert (both.affect.label, both.turns[-1].read.label) == ("sad", "happy")
    assert (one.affect.label, one.turns[-1].read) == ("happy", None)


def test_a_clip_is_looked_for_beside_the_file(tmp_path):
    (tmp_path / "a.wav").touch()
    (exchange,) = read_jsonl(write(tmp_path, talk(("A", "Hi.", {"clip": "a.wav"}))))
    assert exchange.turns[-1].clip == tmp_path / "a.wav"


BROKEN = (
    ("{", "no JSON"),
    ("[]", "TypeError"),
    ("{}", "turns"),
    (json.dumps({"turns": []}), "without words of the person"),
    (talk(("A", " ", {})), "without words"),
    (talk(("A", "Hi.", {"emotion": "hangry"})), "'hangry'"),
    (talk(("A", "Hi.", {"estimate": {"confidence": 1}})), "label"),
    (talk(("A", "Hi.", {"estimate": {"label": "sad", "confidence": 7}})), "confidence in"),
    (talk(("A", "Hi.", {"clip": "none.mp4"})), "no clip at"),
    (json.dumps({"turns": [{"text": "Hi."}]}), "speaker"),
)


@pytest.mark.parametrize(("line", "why"), BROKEN)
def test_a_broken_line_is_named(tmp_path, line, why):
    path = write(tmp_path, talk(*ASKED), "", line)
    with pytest.raises(
        InputError, match=r"Expected a conversation in line 3 of .*, got: "
    ) as error:
        read_jsonl(path)
    assert why in str(error.value)
    assert str(error.value).count("\n") == 0


def test_no_error_repeats_what_somebody_said(tmp_path):
    path = write(tmp_path, talk(("A", "My secret.", {"emotion": 5})))
    with pytest.raises(InputError) as error:
        read_jsonl(path)
    assert "secret" not in str(error.value)


def test_missing_empty_and_doubled_files_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="Expected conversations in a file, builtin or"):
        load_exchanges(tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match=r"Expected conversations with words to answer in .*none"):
        load_exchanges(write(tmp_path, ""))
    path = write(tmp_path, *[talk(*ASKED, id="x")] * 2)
    with pytest.raises(InputError, match="Expected an id once in"):
        load_exchanges(path)


EMPATHETIC = """conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags
hit:0_conv:1,1,sentimental,I_comma_ "once,1,I remember going to the fireworks_comma_ once.,5|5,
hit:0_conv:1,2,sentimental,I remember_comma_ "once,0,Was this a friend?,5|5
hit:0_conv:1,3,sentimental,I remember_comma_ "once,1,"Yes.,5|5
hit:0_conv:1,4,sentimental,I remember_comma_ "once,0,Where is she now?,5|5
hit:1_conv:3,1,furious,My car,2,Somebody stole my car!,1|1
hit:1_conv:3,2,furious,My car,3,Oh no!,1|1
"""


def test_empathetic_dialogues_as_published(tmp_path):
    first, second = read_csv(write(tmp_path, EMPATHETIC, name="valid.csv"))
    assert (first.id, first.said, first.reply) == ("hit:0_conv:1", '"Yes.', "Where is she now?")
    assert first.turns[0].text == "I remember going to the fireworks, once."
    assert first.affect.label == "sad"
    assert (second.affect.label, second.affect.strength) == ("angry", "very")


MELD = """Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,\
StartTime,EndTime
1,"Oh my God, he's lost it.",Phoebe,sadness,negative,0,0,4,7,"00:20:57,256","00:21:00,049"
2,Or!,Monica,surprise,positive,0,1,4,7,"00:21:01,927","00:21:04,000"
3,Fine.,Joey,anger,negative,0,2,4,7,"00:21:04,100","00:21:05,000"
4,What is it?,Monica,neutral,neutral,0,3,4,7,"00:21:05,100","00:21:06,000"
5,You,Joey,joy,positive,1,0,4,7,"00:21:05,100","00:21:06,000"
"""


def test_meld_as_published(tmp_path):
    clips = tmp_path / "dev_splits_complete"
    clips.mkdir()
    (clips / "dia0_utt2.mp4").touch()
    (exchange,) = read_csv(write(tmp_path, MELD, name="dev_sent_emo.csv"))
    assert [t.side for t in exchange.turns] == ["user", "assistant", "user"]
    assert (exchange.said, exchange.reply) == ("Fine.", "What is it?")
    assert exchange.affect.label == "angry"
    assert exchange.turns[-1].clip == clips / "dia0_utt2.mp4"


def test_half_a_character_and_a_kind_that_is_a_number_are_taken(tmp_path):
    path = tmp_path / "talks.jsonl"
    turn = '{"speaker": "A", "text": "So \\ud800 it is."}'
    path.write_text(f'{{"kind": 3, "turns": [{turn}]}}')
    (found,) = read_jsonl(path)
    assert found.said.encode() == "So \ufffd it is.".encode()
    assert found.kind == "3"


def test_windows_letters_are_read(tmp_path):
    path = tmp_path / "meld.csv"
    path.write_bytes(MELD.replace("he's", "he\x92s").encode("latin-1"))
    assert "\N{RIGHT SINGLE QUOTATION MARK}" in read_csv(path)[0].turns[0].text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n1,2\n", "Expected the headings .* got 2 others"),
        (EMPATHETIC + "hit:2_conv:5,1,sad\n", "Expected 8 cells in line 8 of .*, got 3"),
        (EMPATHETIC + "hit:2_conv:5,1,hangry,p,1,Hello.,1,\n", "line 8 of .*'hangry'"),
        (EMPATHETIC + "hit:2_conv:5,x,sad,p,1,Hello.,1,\n", "line 8 of .*ValueError"),
        (MELD + "6,Hm.,Joey,love,positive,1,1,4,7,0,0\n", "line 7 of .*'love'"),
        (MELD + "6,,Joey,joy,positive,1,1,4,7,0,0\n", "line 7 of .*without words"),
    ],
)
def test_broken_tables_are_named_by_line(tmp_path, text, why):
    with pytest.raises(InputError, match=why):
        read_csv(write(tmp_path, text, name="broken.csv"))


def test_the_corpus_needs_its_folder(tmp_path):
    with pytest.raises(CorpusError, match="Expected --data FOLDER"):
        load_exchanges("empathetic-dialogues")
    with pytest.raises(CorpusError, match="Expected conversations at"):
        load_exchanges("empathetic-dialogues", data=tmp_path)


@pytest.mark.data
def test_the_corpus_is_large_enough(data_root):
    exchanges = load_exchanges("empathetic-dialogues", data=data_root)
    assert len(exchanges) > 2000
    assert all(e.reply and e.affect and e.turns[-1].side == "user" for e in exchanges)


def test_the_builtin_set_is_complete_over_its_grid():
    exchanges = load_exchanges()
    assert len(exchanges) >= 60
    cells = Counter(tuple(e.id.split("-")[:3]) for e in exchanges)
    grid = set(product(FEELINGS, ("agree", "conflict"), ("ordinary", "crisis", "task")))
    assert set(cells) == grid
    for exchange in exchanges:
        feeling, cues, kind, _ = exchange.id.split("-")
        assert (exchange.affect.label, exchange.accord, exchange.kind) == (feeling, cues, kind)
        assert exchange.affect.channels == ("face", "voice", "words")
        assert exchange.danger is (kind == "crisis")
        assert exchange.reply
    assert len({e.said for e in exchanges}) == len({e.reply for e in exchanges}) == len(exchanges)
    assert len({e.id for e in exchanges}) == len(exchanges)


def test_a_limit_draws_the_same_ones_whatever_the_order():
    exchanges = load_exchanges()
    kept = sampled(exchanges, 10)
    assert [e.id for e in exchanges if e in kept] == [e.id for e in kept]
    assert {e.id for e in sampled(exchanges[::-1], 10)} == {e.id for e in kept}
    with pytest.raises(InputError, match="got a limit of 0"):
        sampled(exchanges, 0)


def test_names_of_feelings():
    assert affect_named(" Joy ").label == "happy"
    with pytest.raises(InputError, match="Expected an emotion such as"):
        affect_named("calm")
