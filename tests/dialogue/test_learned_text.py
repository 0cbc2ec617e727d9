"""What a model learnt from is known again, without keeping it."""

import random

import numpy as np
import pytest
from safetensors.numpy import save_file

from dialogue.errors import ModelError
from dialogue.learned_text import RUN_WORDS, LearnedText, has_learned_text

RNG = random.Random(0)
WORDS = ["".join(RNG.choices("abcdefghij", k=5)) for _ in range(2000)]
TEXTS = [" ".join(RNG.choices(WORDS, k=30)) for _ in range(500)]


@pytest.fixture(scope="module")
def learned():
    return LearnedText.of(TEXTS)


@pytest.mark.parametrize("length", [RUN_WORDS, 14, 30])
def test_no_run_of_what_was_learnt_is_missed(learned, length):
    pieces = (text.split()[3 : 3 + length] if length < 30 else text.split() for text in TEXTS)
    assert all(learned.holds(" ".join(piece).upper() + "!") for piece in pieces)


def test_other_texts_are_rarely_taken_for_learnt(learned):
    others = [" ".join(RNG.choices(WORDS, k=RUN_WORDS)) for _ in range(4000)]
    share = sum(map(learned.holds, others)) / len(others)
    expected = (1 - 2.718281828 ** (-4 / 6)) ** 4  # Bloom 1970, of 4 hashes and 6 bits a run
    assert share == pytest.approx(expected, abs=0.015)


def test_a_text_that_goes_on_differently_is_not_a_copy(learned):
    assert not learned.holds(f"{TEXTS[0]} {' '.join(WORDS[:12])}")


@pytest.mark.parametrize(
    "text", ["", "I am so sorry.", " ".join(TEXTS[0].split()[: RUN_WORDS - 1])]
)
def test_a_short_text_is_anybodys(learned, text):
    assert not learned.holds(text)


def test_it_is_read_as_it_was_written(learned, tmp_path):
    assert not has_learned_text(tmp_path)
    learned.save(tmp_path)
    assert has_learned_text(tmp_path)
    read = LearnedText.load(tmp_path)
    others = [" ".join(RNG.choices(WORDS, k=RUN_WORDS)) for _ in range(500)]
    assert list(map(read.holds, [*TEXTS, *others])) == list(map(learned.holds, [*TEXTS, *others]))


def test_nothing_learnt_holds_nothing():
    assert not LearnedText.of([]).holds(TEXTS[0])


@pytest.mark.parametrize("damage", [lambda raw: raw[:40], lambda raw: raw.replace(b'"4"', b'"5"')])
def test_a_damaged_file_is_refused_in_one_sentence(learned, tmp_path, damage):
    learned.save(tmp_path)
    path = tmp_path / "learned_text.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=r"Expected .* got "):
        LearnedText.load(tmp_path)


def test_a_file_without_facts_is_refused(tmp_path):
    save_file({"bits": np.zeros(8, np.uint8)}, tmp_path / "learned_text.safetensors")
    with pytest.raises(ModelError, match="Expected runs of 9 words"):
        LearnedText.load(tmp_path)
