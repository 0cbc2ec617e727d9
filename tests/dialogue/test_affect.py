"""The feeling in dialogue's words, and the table of policies."""

from itertools import product

import pytest

from dialogue.affect import ACCORDS, FEELINGS, POLICIES, STRENGTHS, UserAffect, policy_for
from dialogue.errors import InputError


def test_every_feeling_strength_and_accord_has_a_policy():
    assert set(POLICIES) == set(product((*FEELINGS, None), STRENGTHS, ACCORDS))
    assert all(policy.guidance.endswith(".") for policy in POLICIES.values())


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("feeling", [*FEELINGS, None])
def test_a_conflict_or_an_unclear_feeling_is_asked_about(feeling, strength):
    assert POLICIES[feeling, strength, "conflict"].act == "ask"
    assert POLICIES[None, strength, "agree"].act == "ask"


def test_joy_is_shared_and_grief_comforted():
    assert policy_for(UserAffect("happy", confidence=0.9)).act == "celebrate"
    assert policy_for(UserAffect("sad", confidence=0.6)).act == "comfort"


@pytest.mark.parametrize(
    ("confidence", "strength"),
    [(0.49, "slightly"), (0.5, "clearly"), (0.79, "clearly"), (0.8, "very")],
)
def test_strength_follows_confidence(confidence, strength):
    assert UserAffect("sad", confidence=confidence).strength == strength


def test_face_and_voice_apart_are_a_conflict():
    apart = UserAffect("sad", channels=("face", "voice"), agreement=0.3)
    together = UserAffect("sad", channels=("face", "voice"), agreement=0.9)
    assert (apart.accord, together.accord) == ("conflict", "agree")


@pytest.mark.parametrize(
    ("words", "accord"), [("sad", "conflict"), ("neutral", "agree"), ("happy", "agree")]
)
def test_words_conflict_only_with_the_opposite_sign(words, accord):
    smiling = UserAffect("happy", channels=("face", "words"), by_channel={"words": words})
    assert smiling.accord == accord


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"label": "melancholic"}, "Expected a feeling out of .* got 'melancholic'"),
        ({"label": "sad", "confidence": 1.5}, r"confidence in \[0, 1\], got 1.5"),
        ({"label": "sad", "valence": -2.0}, r"valence in \[-1, 1\], got -2.0"),
        ({"label": "sad", "channels": ("nose",)}, "Expected a channel out of .* got 'nose'"),
    ],
)
def test_a_wrong_affect_is_refused_in_words(wrong, message):
    with pytest.raises(InputError, match=message):
        UserAffect(**wrong)


def test_a_feeling_never_shows_in_a_repr():
    assert "sad" not in repr(UserAffect("sad", probabilities={"sad": 1.0}))
