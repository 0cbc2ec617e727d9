import pytest

from dialogue.errors import InputError
from integration import EmotionAwareAgent


def test_the_agent_is_called_at_once_and_its_answer_returned(make_estimate):
    asked = []

    def reply(messages):
        asked.append(messages)
        return "There, there."

    agent = EmotionAwareAgent(reply=reply)
    assert agent.respond("My dog ran away.", make_estimate("sad", "sad")) == "There, there."
    (messages,) = asked
    assert [m["role"] for m in messages] == ["user"]
    assert messages[0]["content"].startswith("My dog ran away.")
    assert "sad" in messages[0]["content"]


def test_without_an_estimate_the_words_stay_as_they_are():
    agent = EmotionAwareAgent(reply=lambda messages: messages[-1]["content"])
    assert agent.respond("Good morning.", None) == "Good morning."


def test_notes_of_earlier_turns_stay_where_they_were(make_estimate):
    asked = []
    agent = EmotionAwareAgent(reply=lambda messages: asked.append(messages) or "Yes.")
    agent.respond("One.", make_estimate("sad"))
    agent.respond("Two.", make_estimate("happy"))
    assert [m["role"] for m in asked[1]] == ["user", "assistant", "user"]
    assert asked[1][0] == asked[0][0]
    assert asked[1][1]["content"] == "Yes."
    assert "happy" in asked[1][2]["content"]


def test_an_iterator_comes_back_as_one_and_is_remembered_when_read_to_its_end():
    agent = EmotionAwareAgent(reply=lambda messages: iter(["I ", "hear ", "you."]))
    pieces = agent.respond("Hello.", None)
    assert next(pieces) == "I "
    assert [m["role"] for m in agent.messages] == ["user"]
    assert list(pieces) == ["hear ", "you."]
    assert agent.messages[-1] == {"role": "assistant", "content": "I hear you."}


def test_the_agent_is_called_before_its_iterator_is_read():
    called = []

    def reply(messages):
        called.append(len(messages))
        return iter(())

    EmotionAwareAgent(reply=reply).respond("Hello.", None)
    assert called == [1]


def test_any_other_answer_is_returned_untouched():
    answer = {"choices": []}
    assert EmotionAwareAgent(reply=lambda messages: answer).respond("Hello.", None) is answer


def test_an_agent_that_fails_leaves_the_talk_as_it_was():
    def reply(messages):
        raise ConnectionError("the server is away")

    agent = EmotionAwareAgent(reply=reply, system="Be kind.")
    with pytest.raises(ConnectionError):
        agent.respond("Hello.", None)
    assert agent.messages == [{"role": "system", "content": "Be kind."}]


def test_empty_words_are_refused():
    agent = EmotionAwareAgent(reply=lambda messages: "?")
    with pytest.raises(InputError, match="empty"):
        agent.respond("  ", None)


def test_the_function_cannot_change_the_talk():
    def reply(messages):
        messages.clear()
        return "Done."

    agent = EmotionAwareAgent(reply=reply)
    agent.respond("Hello.", None)
    assert [m["role"] for m in agent.messages] == ["user", "assistant"]


def test_of_an_answer_that_is_given_up_what_was_heard_is_remembered():
    agent = EmotionAwareAgent(reply=lambda messages: iter(["I ", "hear ", "you."]))
    for _ in agent.respond("Hello.", None):
        break
    assert [m["content"] for m in agent.messages] == ["Hello.", "I "]


def test_an_answer_still_open_ends_with_the_next_call():
    asked = []

    def reply(messages):
        asked.append(messages)
        return iter(["I ", "hear ", "you."])

    agent = EmotionAwareAgent(reply=reply)
    open_still = agent.respond("One.", None)
    next(open_still)
    next(open_still)
    agent.respond("Two.", None)
    assert [(m["role"], m["content"]) for m in asked[1]] == [
        ("user", "One."),
        ("assistant", "I hear "),
        ("user", "Two."),
    ]
    assert list(open_still) == []
    assert len(agent.messages) == 3


def test_an_iterator_that_fails_leaves_what_was_heard():
    def pieces():
        yield "I "
        raise ConnectionError("the server is away")

    agent = EmotionAwareAgent(reply=lambda messages: pieces())
    with pytest.raises(ConnectionError):
        list(agent.respond("Hello.", None))
    assert [m["content"] for m in agent.messages] == ["Hello.", "I "]
