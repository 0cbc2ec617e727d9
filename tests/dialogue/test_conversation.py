"""Messages, conversations, and what is kept of a long one."""

import pytest

from dialogue.conversation import Conversation, Message, as_messages, trim
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
