"""Messages, conversations, and what is kept of a long one."""

import json
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue.affect import CHANNELS, FEELINGS, UserAffect
from dialogue.conversation import _KINDS, Conversation, Message, as_messages, trim
from dialogue.errors import InputError


def words(text):
    return len(text.split())


TALK = [
    Message("system", "Be kind."),
    Message("user", "one two three"),
    Message("assistant", "four five"),
    Message("user", "six seven"),
    Message("assistant", "eight"),
    Message("user", "nine ten"),
]


@pytest.mark.parametrize(("budget", "kept"), [(99, 6), (9, 4), (6, 2), (1, 2)])
def test_trimming_keeps_system_and_the_newest_whole_turns(budget, kept):
    trimmed = trim(TALK, budget, words)
    assert len(trimmed) == kept
    assert trimmed[0] == TALK[0]
    assert trimmed[-1] == TALK[-1]
    assert trimmed[1].role == "user"


def test_a_trimmed_talk_never_begins_with_an_answer():
    assert [m.role for m in trim(TALK[1:], 3, words)] == ["user"]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused(text):
    with pytest.raises(InputError, match="Expected words from the user, got an empty text"):
        Message("user", text)


def test_an_unknown_role_is_refused():
    with pytest.raises(InputError, match="got 'robot'"):
        Message("robot", "Beep.")


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "got no message"),
        ([{"role": "assistant", "content": "Hi."}], "got one of the assistant"),
        ([{"content": "Hi."}], "got another form"),
        (["Hi."], "got another form"),
    ],
)
def test_what_is_no_talk_is_refused(messages, message):
    with pytest.raises(InputError, match=message):
        as_messages(messages)


def test_a_conversation_remembers_its_replies_and_forgets_on_demand():
    talk = Conversation().said("user", "Hi.").said("assistant", "Hello!")
    assert talk.replies == ("Hello!",)
    talk.forget()
    assert talk.messages == []


def test_words_never_show_in_a_repr():
    assert "secret" not in repr(Conversation().said("user", "my secret"))


# -- saved and opened again -----------------------------------------------------------------------

SHARES = st.floats(0, 1)
AFFECTS = st.builds(
    UserAffect,
    label=st.none() | st.sampled_from(FEELINGS),
    probabilities=st.dictionaries(st.sampled_from(FEELINGS), SHARES),
    confidence=SHARES,
    valence=st.floats(-1, 1),
    arousal=st.floats(-1, 1),
    channels=st.lists(st.sampled_from(CHANNELS), unique=True).map(tuple),
    agreement=st.none() | SHARES,
    by_channel=st.dictionaries(st.sampled_from(CHANNELS), st.none() | st.sampled_from(FEELINGS)),
)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(("system", "user", "assistant")),
    content=st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip),
    affect=st.none() | AFFECTS,
)


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=5))
def test_a_saved_talk_is_the_same_talk(messages):
    talk = Conversation(messages)
    assert Conversation.from_json(talk.to_json()) == talk


def test_every_field_of_a_feeling_has_its_kind():
    assert set(_KINDS) == {field.name for field in fields(UserAffect)}


def saved(**changes):
    affect = {**json.loads(Conversation().said("user", "Hi.", UserAffect("sad")).to_json())}
    message = affect["messages"][0]
    for name, value in changes.items():
        place = message["affect"] if name in _KINDS else message if name in message else affect
        place[name] = value
    return json.dumps(affect)


def test_what_the_next_test_changes_is_a_talk_to_begin_with():
    assert Conversation.from_json(saved()).messages[0].affect == UserAffect("sad")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "Expected a talk of version 1, got version 2"),
        ({"version": True}, "got version True"),
        ({"more": 1}, "Expected a talk with messages, version, got messages, more, version"),
        ({"messages": {}}, "Expected a list of messages, got one of type dict"),
        ({"messages": ["Hi."]}, "Expected a message with affect, content, role, got one of type"),
        ({"role": "robot"}, "Expected a role out of .*, got 'robot'"),
        ({"role": ["user"]}, "Expected a role in words, got one of type list"),
        ({"content": ""}, "got an empty text"),
        ({"content": 7}, "Expected words from the user"),
        ({"affect": "sad"}, "Expected a feeling with agreement, .*, got one of type str"),
        ({"label": "hungry"}, "Expected a feeling out of .*, got 'hungry'"),
        ({"label": 3}, "Expected another kind of label, got one of type int"),
        ({"probabilities": {"sad": "much"}}, "Expected another kind of probabilities"),
        ({"probabilities": {"sad": 1.5}}, "Expected another kind of probabilities"),
        ({"confidence": True}, "Expected another kind of confidence, got one of type bool"),
        ({"confidence": 2}, r"Expected confidence in \[0, 1\], got 2"),
        ({"valence": float("nan")}, r"Expected valence in \[-1, 1\], got nan"),
        ({"channels": "face"}, "Expected another kind of channels, got one of type str"),
        ({"channels": ["nose"]}, "Expected a channel out of .*, got 'nose'"),
        ({"agreement": []}, "Expected another kind of agreement"),
        ({"by_channel": {"face": 1}}, "Expected another kind of by_channel"),
    ],
)
def test_what_is_no_saved_talk_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Conversation.from_json(saved(**changes))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "my secret"])
def test_what_is_no_json_is_refused_and_not_repeated(text):
    with pytest.raises(InputError, match="Expected a talk as JSON, got other text") as caught:
        Conversation.from_json(text)
    assert "secret" not in str(caught.value)


def test_a_talk_goes_through_a_file_that_its_owner_alone_may_read(tmp_path):
    talk = Conversation().said("user", "Grüß Gott 🙂", UserAffect("happy", confidence=0.7))
    talk.save(tmp_path / "talk.json")
    assert Conversation.open(tmp_path / "talk.json") == talk
    assert (tmp_path / "talk.json").stat().st_mode & 0o077 == 0


def test_a_path_that_cannot_be_used_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"Expected a talk in a file, got .*No such file"):
        Conversation.open(tmp_path / "none.json")
    with pytest.raises(InputError, match="Expected a file that can be written, got"):
        Conversation().save(tmp_path / "none" / "talk.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="Expected a talk in a file, got"):
        Conversation.open(tmp_path / "binary")
