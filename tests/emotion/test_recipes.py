"""What recipes may hold."""

from emotion.training.recipes import FaceRecipe, VoiceRecipe, WordsRecipe


def test_recipes_hold_only_what_may_be_shipped():
    from emotion.corpora.speech import SPEECH_CORPORA

    assert all(SPEECH_CORPORA[name].trains for name in VoiceRecipe().corpora)
    assert FaceRecipe().stages[0].begins == 0.0
    assert set(WordsRecipe().feelings) <= set(WordsRecipe().dialogues)
    assert not {"sgd_accentor", "emobank"} & set(WordsRecipe().dialogues)  # CC BY-SA
