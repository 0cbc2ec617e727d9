"""A tiny talk corpus, written for these tests, and the smallest model that can learn it."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from dialogue.data import Source
from dialogue.training import ModelShape, Prepared, Recipe, prepare

EXCHANGES = (
    ("i lost my keys today", "Oh no! Did you find them?", "sad"),
    ("my sister had a baby", "That is wonderful! How are they?", "joyful"),
    ("somebody scratched my car", "That is so rude. What did you do?", "furious"),
    ("i have to give a talk tomorrow", "You will do well. What is it about?", "anxious"),
)


def record(number, split, telling, answer, emotion):
    turns = [{"speaker": "A", "text": telling}, {"speaker": "B", "text": answer}]
    return {"id": str(number), "split": split, "emotion": emotion, "turns": turns}


def write_corpus(root, name, records):
    folder = root / "dialogue"
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in records)


TINY = Recipe(
    shape=ModelShape(vocabulary=400, width=32, layers=2, heads=2, feed_forward=64, positions=128),
    row_tokens=64,
    batch_rows=2,
    warm_up_steps=2,
)
TINY_SOURCES = (Source("chat", 1), Source("empathetic_dialogues", 2, passes=3))


@dataclass(frozen=True)
class Corpus:
    root: Path
    cache: Path
    recipe: Recipe
    sources: tuple[Source, ...]
    prepared: Prepared


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Matrices this small are slower on two threads, and far slower on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    told = [record(i, "train", *exchange) for i, exchange in enumerate(EXCHANGES)]
    told += [record(9, "valid", "my dog ran away", "I am sorry. Is he back?", "sad")]
    write_corpus(root, "empathetic_dialogues", told * 2)
    write_corpus(root, "chat", [record(i, "train", *EXCHANGES[i % 4]) for i in range(12)])
    cache = root / "cache"
    prepared = prepare(root, cache, TINY, TINY_SOURCES)
    return Corpus(root, cache, TINY, TINY_SOURCES, prepared)


@pytest.fixture(scope="session")
def bundled():
    """The weights that ship, read once."""
    from dialogue.models.bundled import BundledModel

    return BundledModel.load(device="cpu", seed=0)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


class CountingReader:
    """Reads feelings off single words; knows one clip."""

    name = "counting"
    SHOWN = {"sorry": 5, "glad": 3, "mad": 0}  # noqa: RUF012

    def affects(self, texts):
        from dialogue.affect import FEELINGS, UserAffect

        rows = self.distributions(texts)
        return [
            UserAffect(FEELINGS[row.argmax()], confidence=float(row.max()), channels=("words",))
            for row in rows
        ]

    def clip(self, path, said):
        from dialogue.affect import UserAffect

        return UserAffect("happy", confidence=0.9, channels=("face", "voice"), agreement=0.9)

    def distributions(self, texts):
        import numpy as np

        rows = np.full((len(texts), 7), 0.05)
        for row, text in zip(rows, texts, strict=True):
            row[next((n for word, n in self.SHOWN.items() if word in text.lower()), 4)] = 0.7
        return rows


class CountingScorer:
    """Levels by plain words, so that a test can say beforehand what they are."""

    name = "counting"

    def score(self, pairs):
        import numpy as np

        marks = (("sorry", "glad"), ("must", "sounds"), ("?",))
        rows = [
            [2 * any(m in reply.lower() for m in words) for words in marks] for _, reply in pairs
        ]
        return np.eye(3)[np.array(rows, int).reshape(-1, 3)]


class EchoModel:
    """Says how the person seems to feel and a word of theirs; counts what it is asked."""

    def __init__(self, die_after=None):
        self.asked = 0
        self.die_after = die_after

    def reply(self, messages, *, affect=None):
        self.asked += 1
        if self.die_after is not None and self.asked > self.die_after:
            raise KeyboardInterrupt
        felt = messages[-1].affect
        word = messages[-1].content.split()[-1].strip(".?!")
        opening = {None: "I see", "sad": "I am sorry", "happy": "I am glad"}
        label = felt.label if felt else None
        return f"{opening.get(label, 'Well')}, {word}." + ("?" if label == "neutral" else "")

    def surprise(self, messages, reply):
        self.asked += 1
        return len(reply) * (0.1 if messages[-1].affect else 0.2)


@pytest.fixture
def empathy_fakes():
    """Hand-written reader, scorer and model for `dialogue.empathy`."""
    from types import SimpleNamespace

    return SimpleNamespace(reader=CountingReader(), scorer=CountingScorer(), model=EchoModel)


TELLINGS = ("My dog died, so sorry.", "I am glad about the job.", "I went to the shop.")


@pytest.fixture
def exchanges():
    """Twelve short exchanges with labels and replies, one with conflicting cues."""
    from dialogue.affect import UserAffect
    from dialogue.empathy.conversations import Exchange, Spoken

    made = []
    for n in range(12):
        feeling = ("sad", "happy", "neutral")[n % 3]
        face = {"by_channel": {"face": "happy", "words": "sad"}, "agreement": 0.2} if n == 0 else {}
        affect = UserAffect(feeling, confidence=0.7, channels=("face", "words"), **face)
        turn = Spoken("user", f"{TELLINGS[n % 3]} It was number{n}.", affect)
        made.append(Exchange(f"t{n}", (turn,), f"Oh, number {n}! I am sorry?", "ordinary", False))
    return made
