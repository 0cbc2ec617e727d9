"""What each arm is told, and replies that are generated once."""

import dataclasses
import json
from collections import Counter

import pytest

from dialogue.affect import UserAffect
from dialogue.conversation import Message
from dialogue.empathy.arms import ARMS, CONTRASTS, MEANINGS, tell, told_by_arm
from dialogue.empathy.conversations import Exchange, Spoken
from dialogue.empathy.generation import Speaker, prompt_digest, speaker_of
from dialogue.empathy.journal import Journal, key_of
from dialogue.errors import InputError


@pytest.fixture
def told(exchanges, empathy_fakes):
    return told_by_arm(exchanges, ARMS, empathy_fakes.reader, seed=0)


def test_every_arm_is_there_and_every_contrast_is_of_arms(told):
    assert tuple(told.by_arm) == ARMS
    assert tuple(MEANINGS) == ARMS
    assert {name for c in CONTRASTS for name in (c.row, c.other)} <= set(ARMS)


def test_none_is_told_nothing_and_neutral_the_same_to_all(told):
    assert set(told.by_arm["none"]) == {(None,)}
    assert {affects[0].label for affects in told.by_arm["neutral"]} == {"neutral"}


def test_oracle_is_the_label_and_predicted_what_the_words_tell(told, exchanges):
    assert [affects[0] for affects in told.by_arm["oracle"]] == [e.affect for e in exchanges]
    assert [a[0].label for a in told.by_arm["predicted"]] == ["sad", "happy", "neutral"] * 4
    assert told.sources == {"words": 12}


def test_shuffled_tells_everybody_anothers_feeling_and_each_of_them_once(exchanges, empathy_fakes):
    labelled = [
        dataclasses.replace(e, turns=(dataclasses.replace(e.turns[0], read=affect),))
        for e, affect in zip(exchanges, map(unique, range(12)), strict=True)
    ]
    told = told_by_arm(labelled, ARMS, empathy_fakes.reader, seed=5)
    own = [a[0].confidence for a in told.by_arm["predicted"]]
    others = [a[0].confidence for a in told.by_arm["shuffled"]]
    assert Counter(own) == Counter(others)
    assert all(a != b for a, b in zip(own, others, strict=True))
    assert told.sources == {"given": 12}
    again = told_by_arm(labelled, ARMS, empathy_fakes.reader, seed=5)
    assert again.by_arm["shuffled"] == told.by_arm["shuffled"]


def unique(n):
    return UserAffect("sad", confidence=0.5 + n / 100)


def test_a_talk_is_told_a_feeling_at_each_of_the_persons_turns(empathy_fakes):
    long = Exchange(
        "long", (Spoken("user", "So sorry."), Spoken("assistant", "Oh."), Spoken("user", "Glad."))
    )
    short = Exchange("short", (Spoken("user", "I am mad."),))
    told = told_by_arm([long, short], ["predicted", "shuffled"], empathy_fakes.reader, seed=0)
    assert [a.label for a in told.by_arm["predicted"][0]] == ["sad", "happy"]
    assert [a.label for a in told.by_arm["shuffled"][0]] == ["angry", "angry"]
    assert [a.label for a in told.by_arm["shuffled"][1]] == ["happy"]
    messages = tell(long, told.by_arm["predicted"][0])
    assert [m.affect.label if m.affect else None for m in messages] == ["sad", None, "happy"]


def test_a_clip_prevails_over_the_words(tmp_path, empathy_fakes):
    clip = tmp_path / "a.wav"
    seen = Exchange("a", (Spoken("user", "So sorry.", clip=clip),))
    told = told_by_arm([seen], ["predicted"], empathy_fakes.reader, seed=0)
    assert told.by_arm["predicted"][0][0].label == "happy"
    assert told.sources == {"clip": 1}


def test_without_labels_the_oracle_is_left_out_and_the_reason_said(empathy_fakes):
    bare = [Exchange(f"e{n}", (Spoken("user", "Hello."),)) for n in range(2)]
    told = told_by_arm(bare, ARMS, empathy_fakes.reader, seed=0)
    assert "oracle" not in told.by_arm
    assert told.left_out["oracle"] == "2 conversations have no emotion, the first is e0"


def test_an_unknown_arm_is_one_sentence(exchanges, empathy_fakes):
    with pytest.raises(InputError, match=r"Expected arms out of .*, got 'both'"):
        told_by_arm(exchanges, ["both"], empathy_fakes.reader, seed=0)


def test_prompts_are_named_by_what_is_read(told, exchanges):
    digests = {arm: prompt_digest(exchanges, told, arm) for arm in ARMS}
    assert len(set(digests.values())) == 5
    assert digests == {arm: prompt_digest(exchanges, told, arm) for arm in ARMS}


# -- the journal ----------------------------------------------------------------------------------


def test_a_journal_remembers(tmp_path):
    path = tmp_path / "deep" / "journal.jsonl"
    Journal(path).add({"a": "x", "b": 0.1})
    known = Journal(path)
    assert ("a" in known, known["b"], "c" in known) == (True, 0.1, False)


def test_a_line_that_a_kill_cut_short_counts_for_nothing(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal(path).add({"a": "x"})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"b": "y", "c"')
    known = Journal(path)
    assert ("a" in known, "b" in known) == (True, False)
    known.add({"b": "z"})
    assert path.read_bytes() == whole + b'{"b": "z"}\n'


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text("[1]\nmine\n")
    with pytest.raises(InputError, match="Expected results of an earlier run in line 1 of"):
        Journal(path)
    assert path.read_text() == "[1]\nmine\n"


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Expected a folder that can be written"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_keys_tell_everything_apart():
    keys = {key_of("reply", [1]), key_of("reply", [2]), key_of("judge", [1]), key_of("reply", [])}
    assert len(keys) == 4
    assert key_of("reply", {"a": 1, "b": 2}) == key_of("reply", {"b": 2, "a": 1})


# -- generation -----------------------------------------------------------------------------------


def talks_of(exchanges):
    return [tell(e, (e.affect,)) for e in exchanges]


def test_nothing_is_generated_twice(tmp_path, exchanges, empathy_fakes):
    talks = talks_of(exchanges)
    killed = empathy_fakes.model(die_after=5)
    with pytest.raises(KeyboardInterrupt):
        Speaker(killed, {"seed": 0}, batch=1).replies(talks, Journal(tmp_path / "j"))
    fresh = empathy_fakes.model()
    resumed = Speaker(fresh, {"seed": 0}, batch=1).replies(talks, Journal(tmp_path / "j"))
    assert fresh.asked == len(talks) - 5
    whole = Speaker(empathy_fakes.model(), {"seed": 0}, batch=1).replies(talks, Journal())
    assert resumed == whole


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path, exchanges, empathy_fakes):
    talks = talks_of(exchanges)
    killed = empathy_fakes.model(die_after=6)
    with pytest.raises(KeyboardInterrupt):
        Speaker(killed, {}, batch=4).replies(talks, Journal(tmp_path / "j"))
    fresh = empathy_fakes.model()
    Speaker(fresh, {}, batch=4).replies(talks, Journal(tmp_path / "j"))
    assert fresh.asked == 8


@pytest.mark.parametrize(
    "changed", [{"facts": {"seed": 1}}, {"text": "Other words."}, {"affect": None}]
)
def test_whatever_decides_a_reply_is_in_its_key(tmp_path, empathy_fakes, changed):
    journal = Journal()
    sad = UserAffect("sad", confidence=0.7)
    Speaker(empathy_fakes.model(), {"seed": 0}, 1).replies([[Message("user", "Hi.", sad)]], journal)
    model = empathy_fakes.model()
    message = Message("user", changed.get("text", "Hi."), changed.get("affect", sad))
    Speaker(model, changed.get("facts", {"seed": 0}), 1).replies([[message]], journal)
    assert model.asked == 1


def test_likelihoods_are_computed_once_and_only_of_what_was_replied(exchanges, empathy_fakes):
    journal, model = Journal(), empathy_fakes.model()
    talks, replies = talks_of(exchanges)[:3], ["Oh.", None, "I see."]
    speaker = Speaker(model, {})
    first = speaker.surprises(talks, replies, journal)
    assert first == speaker.surprises(talks, replies, journal)
    assert first[1] is None
    assert model.asked == 2


def test_a_journal_holds_no_word_of_the_person(tmp_path, exchanges, empathy_fakes):
    path = tmp_path / "j"
    Speaker(empathy_fakes.model(), {}).replies(talks_of(exchanges), Journal(path))
    assert "My dog died" not in path.read_text()
    assert len(json.loads(path.read_text().splitlines()[0])) == 8


def test_a_bundled_model_is_named_by_its_weights_and_the_code(bundled):
    facts = speaker_of(bundled).facts
    assert facts["seed"] == 0
    assert all(len(facts[name]) == 64 for name in ("weights_sha256", "code_sha256"))
    assert facts["decoding"]["candidates"] > 1
    json.dumps(facts)
    assert speaker_of(bundled).batch == 1
