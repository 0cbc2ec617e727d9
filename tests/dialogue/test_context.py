"""What of a long talk is read: whole turns, a beginning that stays, and facts of the rest."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue.affect import UserAffect
from dialogue.conditioning import condition
from dialogue.context import LEFT_OUT, cut_text, first_kept, fit
from dialogue.conversation import Message


def words(text):
    return len(text.split())


def talk_of(turns):
    """So many turns of the user, each answered but the last."""
    lines = [
        (Message("user", f"user {i} says these seven words"), Message("assistant", "I see."))
        for i in range(turns)
    ]
    return list(itertools.chain(*lines))[:-1]


def fitted(messages, budget, count=words):
    return fit(messages, condition(messages), budget, count)


def test_a_talk_that_fits_is_left_alone():
    talk = [Message("system", "Be kind."), *talk_of(3)]
    result = fitted(talk, 1000)
    assert (result.messages, result.cut) == (talk, False)


@pytest.mark.parametrize("budget", [1, 10, 20, 50, 100])
@pytest.mark.parametrize("turns", [1, 2, 5, 30])
def test_whole_turns_are_kept_from_a_users_on_and_the_newest_always(turns, budget):
    talk = [Message("system", "Be kind."), *talk_of(turns)]
    kept = fitted(talk, budget).messages
    assert kept[0] == talk[0]
    assert kept[1].role == "user"
    if budget >= 20:
        assert kept[1:] == talk[-len(kept) + 1 :]
        assert sum(words(message.content) for message in kept) <= budget
    else:
        assert len(kept) == 2


def test_the_beginning_stays_while_the_talk_grows_so_that_a_cache_holds():
    begins = [fitted(talk_of(turns), 100).messages[0].content for turns in range(1, 40)]
    runs = [len(list(run)) for _, run in itertools.groupby(begins)]
    assert len(runs) > 2
    assert min(runs[:-1]) >= 4  # trimming to the brim would change it at every turn


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30).filter(lambda x: len(x) % 2),
    budget=st.integers(1, 120),
)
def test_what_is_kept_fits_and_never_comes_back(lengths, budget):
    roles = [("user", "assistant")[i % 2] for i in range(len(lengths))]
    starts = [first_kept(roles[:n], lengths[:n], budget) for n in range(1, len(roles) + 1, 2)]
    assert starts == sorted(starts)
    for n, start in zip(range(1, len(roles) + 1, 2), starts, strict=True):
        assert roles[start] == "user"
        assert sum(lengths[start:n]) <= budget or start == n - 1


def test_dropped_turns_leave_facts_before_the_first_that_is_kept():
    sad = UserAffect("sad", valence=-0.5)
    talk = [Message("user", "My name is Anna and my dog died.", sad), *talk_of(30)[1:]]
    kept = fitted(talk, 120).messages
    first, _, rest = kept[0].content.partition("\n")
    assert first == '[Earlier: their name is Anna; "my dog died"; seemed sad]'
    assert rest in {message.content for message in talk}
    assert sum(words(message.content) for message in kept) <= 120


@pytest.mark.parametrize(
    ("budget", "facts"),
    [(120, "their name is Anna; their dog is Bruno"), (70, "their name is Anna"), (20, None)],
)
def test_facts_that_do_not_fit_are_left_out(budget, facts):
    talk = [Message("user", "My name is Anna. My dog is called Bruno."), *talk_of(30)[1:]]
    first = fitted(talk, budget).messages[0].content
    assert first.partition("\n")[0] == (f"[Earlier: {facts}]" if facts else first)


def test_a_message_that_is_too_long_keeps_its_end_and_its_note():
    long = Message("user", "word " * 500 + "the end", UserAffect("sad", confidence=0.9))
    result = fitted([long], 200)
    (message,) = result.messages
    assert result.cut
    assert message.content.startswith(LEFT_OUT)
    assert "the end\n[Perceived" in message.content
    assert 100 < words(message.content) <= 200


@settings(deadline=None)
@given(st.text(), st.integers(12, 60))
def test_a_cut_text_fits_and_is_the_end_of_what_was_said(text, most):
    cut = cut_text(text, most, len)
    assert cut == text or (cut.startswith(LEFT_OUT) and text.endswith(cut[len(LEFT_OUT) :]))


@settings(deadline=None)
@given(st.lists(st.sampled_from(("a", "bb", "ccc")), max_size=300), st.integers(14, 60))
def test_words_are_never_torn(said, most):
    text = " ".join(said)
    cut = cut_text(text, most, words)
    assert words(cut) <= most
    assert set(cut.removeprefix(LEFT_OUT).split()) <= {"a", "bb", "ccc"}


def test_a_huge_text_is_not_counted_whole():
    counted = []

    def count(text):
        counted.append(len(text))
        return words(text)

    cut_text("word " * 1_000_000, 100, count)
    assert max(counted) <= 1600
