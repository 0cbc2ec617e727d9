"""Conversations to learn from: which corpora, which of their parts, and how they become tokens."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from dialogue.affect import Feeling, Strength
from dialogue.conditioning import MIXED, UNCLEAR, brief_note
from dialogue.errors import CorpusError
from dialogue.text import bare, tidy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = [
    "FEELING_OF",
    "SOURCES",
    "Felt",
    "Rows",
    "Source",
    "Talk",
    "annotate",
    "encode_talk",
    "learned_texts",
    "pack",
    "read_felt",
    "read_source",
    "windows",
]

Part = Literal["train", "valid"]
Felt = tuple[Feeling, Strength]
"""A feeling, and how strongly it is meant."""


@dataclass(frozen=True)
class Source:
    """One corpus in the recipe.

    Attributes:
        name: Of its file, `dialogue/<name>.jsonl.gz` under the data root.
        stage: 1 for talk of any kind, 2 for listening.
        passes: How often stage 2 reads it, each time with other notes; stage 1 reads all once.
        most_words: Turns longer than this end a conversation, for replies are to be short.
        felt: Whether it says what its people feel: of a whole talk, or turn by turn.
    """

    name: str
    stage: Literal[1, 2]
    passes: int = 1
    most_words: int = 60
    felt: bool = False


SOURCES: Final[tuple[Source, ...]] = (
    Source("self_dialogue", 1),
    Source("dailydialog", 1, felt=True),
    Source("topical_chat", 1),
    Source("persona_chat", 1),
    Source("synthetic_persona_chat", 1),
    Source("commonsense_dialogues", 1),
    Source("dream", 1),
    Source("dailydialog_pp", 1),
    Source("empathetic_dialogues", 2, passes=2, felt=True),
    Source("esconv", 2, passes=2, felt=True),
    Source("counsel_chat", 2, passes=2, most_words=90),
)
"""Share-alikes exclude each other, so CC BY-SA corpora (sgd_accentor, emobank) are not here."""

FEELING_OF: Final[Mapping[str, Felt]] = {
    # EmpatheticDialogues' 32
    "afraid": ("afraid", "clearly"),
    "angry": ("angry", "clearly"),
    "annoyed": ("angry", "slightly"),
    "anticipating": ("happy", "slightly"),
    "anxious": ("afraid", "clearly"),
    "apprehensive": ("afraid", "slightly"),
    "ashamed": ("sad", "clearly"),
    "caring": ("neutral", "clearly"),
    "confident": ("happy", "slightly"),
    "content": ("happy", "slightly"),
    "devastated": ("sad", "very"),
    "disappointed": ("sad", "clearly"),
    "disgusted": ("disgusted", "very"),
    "embarrassed": ("sad", "slightly"),
    "excited": ("happy", "very"),
    "faithful": ("neutral", "clearly"),
    "furious": ("angry", "very"),
    "grateful": ("happy", "clearly"),
    "guilty": ("sad", "clearly"),
    "hopeful": ("happy", "slightly"),
    "impressed": ("surprised", "slightly"),
    "jealous": ("angry", "slightly"),
    "joyful": ("happy", "very"),
    "lonely": ("sad", "clearly"),
    "nostalgic": ("sad", "slightly"),
    "prepared": ("neutral", "clearly"),
    "proud": ("happy", "clearly"),
    "sad": ("sad", "clearly"),
    "sentimental": ("sad", "slightly"),
    "surprised": ("surprised", "clearly"),
    "terrified": ("afraid", "very"),
    "trusting": ("neutral", "clearly"),
    # ESConv's
    "anger": ("angry", "clearly"),
    "anxiety": ("afraid", "clearly"),
    "depression": ("sad", "very"),
    "disgust": ("disgusted", "clearly"),
    "fear": ("afraid", "clearly"),
    "nervousness": ("afraid", "slightly"),
    "sadness": ("sad", "clearly"),
    "shame": ("sad", "clearly"),
    # DailyDialog's, of single turns
    "happiness": ("happy", "clearly"),
    "neutral": ("neutral", "clearly"),
    "surprise": ("surprised", "clearly"),
}
"""What a corpus calls the speaker's emotion → our feeling and how strongly it is meant."""


@dataclass(frozen=True)
class Talk:
    """One conversation, ready to learn from.

    Attributes:
        id: The corpus's own.
        turns: (said by the listener?, text), speakers alternating.
        feeling: Of the one who tells, where the corpus says it.
        stage: 1 for talk of any kind, 2 for listening.
        shown: The feeling of each turn, where the corpus tells them one by one; else empty.
    """

    id: str
    turns: tuple[tuple[bool, str], ...]
    feeling: Felt | None
    stage: int
    shown: tuple[Felt | None, ...] = ()


def read_source(root: Path, source: Source, part: Part) -> list[Talk]:
    """Read one part of one corpus.

    A corpus without a train part (its test parts excepted, which nothing here reads) trains with
    its valid part. Of dailydialog_pp's alternatives none are used.

    Raises:
        CorpusError: If the file is missing.
    """
    records = [r for r in _records(root, source.name) if not r.get("split", "").startswith("test")]
    has_train = any(record.get("split") == "train" for record in records)
    if part == "valid" and not has_train:
        return []
    kept = (r for r in records if not has_train or r.get("split") == part)
    return [talk for record in kept if (talk := _talk(record, source)) is not None]


def learned_texts(root: Path) -> Iterator[str]:
    """Yield every turn of the parts that are trained on."""
    for source in SOURCES:
        yield from (text for talk in read_source(root, source, "train") for _, text in talk.turns)


def read_held_out(root: Path, sources: Iterable[Source] = SOURCES) -> frozenset[str]:
    """Long turns of every test part, and of the valid parts that have a train part beside them.

    Corpora quote one another (dailydialog_pp quotes DailyDialog); a conversation with one of these
    turns in it is not trained on.
    """
    turns: set[str] = set()
    for source in sources:
        records = list(_records(root, source.name))
        splits = {record.get("split") for record in records}
        apart = {"test", "test_v1"} | ({"valid"} if "train" in splits else set())
        for record in records:
            if record.get("split") in apart:
                turns.update(bare(turn["text"]) for turn in record["turns"])
    return frozenset(turn for turn in turns if len(turn.split()) >= 8)


def read_felt(data: Path, part: Part) -> list[Talk]:
    """Read the talks a prefix is taught with: those that tell feelings, and those that listen."""
    sources = [source for source in SOURCES if source.felt or source.stage == 2]
    talks = [talk for source in sources for talk in read_source(data, source, part)]
    held_out = read_held_out(data, SOURCES) if part == "train" else frozenset()
    return [talk for talk in talks if not is_held_out(talk, held_out)]


def is_held_out(talk: Talk, held_out: frozenset[str]) -> bool:
    """Whether one of its turns is kept for testing."""
    return any(bare(text) in held_out for _, text in talk.turns)


def _records(root: Path, name: str) -> Iterator[dict[str, Any]]:
    path = root / "dialogue" / f"{name}.jsonl.gz"
    if not path.is_file():
        raise CorpusError(f"Expected conversations at {path}, got no such file.")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _talk(record: Mapping[str, Any], source: Source) -> Talk | None:
    # In the listening corpora B listens; elsewhere whoever answers first does.
    teller = "A" if source.stage == 2 else record["turns"][0]["speaker"]
    turns: list[tuple[bool, str]] = []
    shown: list[Felt | None] = []
    for turn in record["turns"]:
        text = tidy(turn["text"])
        if not text or len(text.split()) > source.most_words:
            break
        listens = turn["speaker"] != teller
        felt = FEELING_OF.get(turn.get("emotion", "")) if source.felt else None
        if turns and turns[-1][0] == listens:
            turns[-1] = (listens, f"{turns[-1][1]} {text}")
            shown[-1] = felt or shown[-1]
        else:
            turns.append((listens, text))
            shown.append(felt)
    if not any(listens for listens, _ in turns):
        return None
    feeling = FEELING_OF.get(record.get("emotion", "")) if source.stage == 2 else None
    by_turn = tuple(shown) if any(shown) else ()
    return Talk(str(record["id"]), tuple(turns), feeling, source.stage, by_turn)


def annotate(talk: Talk, random_: random.Random) -> list[tuple[bool, str]]:
    """Put notes beside the teller's turns as they stand there in a live talk.

    A third of the talks has none. A tenth of the other turns is unclear or mixed where the listener
    asks back, so that a model learns to ask when it does not know.
    """
    if talk.feeling is None or random_.random() < 1 / 3:
        return list(talk.turns)
    answers = [*(text for _, text in talk.turns[1:]), ""]
    return [
        (listens, text if listens else f"{text}\n{_note(talk.feeling, answer, random_)}")
        for (listens, text), answer in zip(talk.turns, answers, strict=True)
    ]


def _note(feeling: Felt, answer: str, random_: random.Random) -> str:
    doubt = random_.random()
    if doubt < 0.05:
        return UNCLEAR
    if "?" in answer and doubt < 0.2:
        return UNCLEAR if doubt < 0.12 else MIXED
    return brief_note(*feeling)


@dataclass(frozen=True)
class Rows:
    """Token rows of one length.

    Attributes:
        tokens: (row, position) uint16.
        learned: (row, position) bool: whether the token at this position is to be predicted.
    """

    tokens: npt.NDArray[np.uint16]
    learned: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens)


Encoded = tuple[list[int], list[bool]]
"""Token ids of one talk, and whether each is to be predicted."""


def encode_talk(
    turns: Sequence[tuple[bool, str]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    listener_only: bool,
) -> Encoded:
    """Write a talk as the chat template does, and mark what is to be predicted.

    Args:
        turns: (said by the listener?, text).
        tokenizer: The bundled one, or one made by the same recipe.
        listener_only: Whether to learn the listener's turns alone, and their ends.
    """
    start, user, agent, end = tokenizer.convert_tokens_to_ids(
        ["<|start|>", "<|user|>", "<|agent|>", "<|end|>"]
    )
    ids, learned = [start], [False]
    for listens, text in turns:
        body = [*tokenizer.encode(text, add_special_tokens=False), end]
        ids += [agent if listens else user, *body]
        learned += [not listener_only, *[listens or not listener_only] * len(body)]
    return ids, learned


def windows(turns: Sequence[tuple[bool, str]], most_words: int) -> list[list[tuple[bool, str]]]:
    """Cut a long talk between turns, into pieces of at most so many words each."""
    pieces: list[list[tuple[bool, str]]] = [[]]
    words = 0
    for turn in turns:
        words += len(turn[1].split())
        if pieces[-1] and words > most_words:
            pieces.append([])
            words = len(turn[1].split())
        pieces[-1].append(turn)
    return pieces


def pack(encoded: Iterable[Encoded], length: int, pad_id: int, open_rows: int = 200) -> Rows:
    """Pack talks into rows, each talk whole, best fit first.

    A talk longer than a row is cut at its end. Talks in one row see each other; each begins with
    the start token, which is how a model learns to look no further back.
    """
    full: list[Encoded] = []
    pool: list[Encoded] = []
    for talk_ids, talk_learned in encoded:
        ids, learned = talk_ids[:length], talk_learned[:length]
        fitting = [row for row in pool if len(row[0]) + len(ids) <= length]
        row = max(fitting, key=lambda r: len(r[0]), default=None)
        if row is None:
            row = ([], [])
            pool.append(row)
        row[0].extend(ids)
        row[1].extend(learned)
        if len(pool) > open_rows or len(row[0]) > length - 8:
            fullest = max(pool, key=lambda r: len(r[0]))
            pool.remove(fullest)
            full.append(fullest)
    return _as_rows([*full, *pool], length, pad_id)


def _as_rows(packed: Sequence[Encoded], length: int, pad_id: int) -> Rows:
    tokens = np.full((len(packed), length), pad_id, np.uint16)
    learned = np.zeros((len(packed), length), np.bool_)
    for row, (ids, marks) in enumerate(packed):
        tokens[row, : len(ids)] = ids
        learned[row, : len(marks)] = marks
    return Rows(tokens, learned)
