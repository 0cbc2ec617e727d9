"""Spelling."""

import pytest

from dialogue.text import bare, tidy


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        ("i dont know", "I don't know."),
        ("That is good .  Really ?", "That is good. Really?"),
        ("hello,how are you", "Hello, how are you."),
        ("no way!!!!!! im done", "No way!!! I'm done."),
        ("it was great.I loved it", "It was great. I loved it."),
        ("IM is a protocol", "IM is a protocol."),
        ("I’m at 3.5 km", "I'm at 3.5 km."),
        ("", ""),
    ],
)
def test_tidy(written, spelt):
    assert tidy(written) == spelt


def test_tidy_is_idempotent():
    once = tidy("well ,i cant say that its  alot")
    assert tidy(once) == once


def test_bare_ignores_case_and_punctuation():
    assert bare("Oh NO! I'm sorry...") == bare("oh no im sorry")
