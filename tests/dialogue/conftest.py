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
