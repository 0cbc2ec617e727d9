"""Conversations to reply to, from files of several formats, cut where a reply is wanted.

JSONL holds a conversation a line:

    {"id"?, "emotion"?, "kind"?, "danger"?, "turns": [{"speaker", "text", "emotion"?, "estimate"?,
    "clip"?}, …]}

Speakers are `user` and `assistant`; under other names, whoever speaks first is the person and
everybody else listens. `emotion` is a label, of a turn or of the whole talk; `estimate` is what a
recogniser said, in the form of `attune recognize --json` or shorter, with the name of a feeling
for each channel: {"label": "sad", "confidence": 0.7, "face": "happy", "voice": "sad",
"agreement": 0.2}. Where a turn has one of both, that is what the arm `oracle` tells; where it has
both, the label is, and the estimate is what the arm `predicted` tells. `clip` is a video or sound,
relative to the file. `kind` and `danger` (do the last words speak of danger?) split the report.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from dialogue.affect import CHANNELS, Accord, Channel, Feeling, UserAffect
from dialogue.data import FEELING_OF, Felt, Source, read_source
from dialogue.errors import CorpusError, InputError
from dialogue.prefix_training import TOLD_CONFIDENCE

__all__ = [
    "BUILTIN",
    "EMPATHETIC_DIALOGUES",
    "Cut",
    "Exchange",
    "Spoken",
    "affect_named",
    "affect_of_estimate",
    "load_exchanges",
    "read_csv",
    "read_jsonl",
    "whole_characters",
]

BUILTIN: Final = "builtin"
EMPATHETIC_DIALOGUES: Final = "empathetic-dialogues"
BUILTIN_FILE: Final = Path(__file__).with_name("builtin.jsonl")

Cut = Literal["last", "sampled"]
"""Which reply of a talk is wanted: the last one, or one drawn by the talk's id."""
Side = Literal["user", "assistant"]
Read = TypeVar("Read")

_NAMED: Final[Mapping[str, Felt]] = {
    **FEELING_OF,
    "happy": ("happy", "clearly"),
    "joy": ("happy", "clearly"),
}
"""Every name of a feeling that is understood; MELD's joy with those of `dialogue.data`."""


@dataclass(frozen=True)
class Spoken:
    """One turn of a talk to be judged.

    Attributes:
        side: The person is the `user`.
        text: The words.
        affect: How the person is labelled to feel, or None.
        read: What a recogniser read before, or None.
        clip: Video or sound of the turn, or None.
    """

    side: Side
    text: str = field(repr=False)
    affect: UserAffect | None = field(default=None, repr=False)
    read: UserAffect | None = field(default=None, repr=False)
    clip: Path | None = None


@dataclass(frozen=True)
class Exchange:
    """What was said, and what somebody answered.

    Attributes:
        id: Unique in its set.
        turns: In order of time; the last is the person's.
        reply: What was answered then, or None.
        kind: A name that reports are split by, or empty.
        danger: Whether the last words speak of danger; None where nobody said.
    """

    id: str
    turns: tuple[Spoken, ...] = field(repr=False)
    reply: str | None = field(default=None, repr=False)
    kind: str = ""
    danger: bool | None = None

    @property
    def said(self) -> str:
        """The words to be answered."""
        return self.turns[-1].text

    @property
    def affect(self) -> UserAffect | None:
        """How the person is labelled to feel while saying them."""
        return self.turns[-1].affect

    @property
    def accord(self) -> Accord | None:
        """Whether the labelled channels tell the same story; None without a label."""
        return self.affect.accord if self.affect else None

    @property
    def sha256(self) -> str:
        """Names everything that was said, and the reply, without repeating them."""
        spoken = [[turn.side, turn.text] for turn in self.turns]
        return hashlib.sha256(json.dumps([self.id, spoken, self.reply]).encode()).hexdigest()


def whole_characters(text: str) -> str:
    """Replace halves of characters, which JSON can write and no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def load_exchanges(
    source: str | Path = BUILTIN, *, data: Path | None = None, cut: Cut | None = None
) -> list[Exchange]:
    """Read a set of conversations.

    Args:
        source: `builtin`, `empathetic-dialogues` (the validation part of the corpus), or a file:
            JSONL, or a CSV as EmpatheticDialogues or MELD publish theirs.
        data: Folder of the corpora, for `empathetic-dialogues`.
        cut: Which reply is wanted; default the last one, of the corpus a sampled one.

    Raises:
        InputError: If the file is missing, of another format or broken; it says in which line.
        CorpusError: If the corpus is not where it was said to be.
    """
    if str(source) == BUILTIN:
        return read_jsonl(BUILTIN_FILE, cut or "last")
    if str(source) == EMPATHETIC_DIALOGUES:
        return _read_corpus(data, cut or "sampled")
    path = Path(source)
    read = read_csv if path.suffix.lower() == ".csv" else read_jsonl
    return _unique(read(path, cut or "last"), path)


def _unique(exchanges: list[Exchange], path: Path) -> list[Exchange]:
    known: set[str] = set()
    for exchange in exchanges:
        if exchange.id in known:
            raise InputError(f"Expected an id once in {path}, got {exchange.id!r} twice.")
        known.add(exchange.id)
    if not exchanges:
        raise InputError(f"Expected conversations with words to answer in {path}, got none.")
    return exchanges


def _read_corpus(data: Path | None, cut: Cut) -> list[Exchange]:
    if data is None:
        raise CorpusError("Expected --data FOLDER or the environment's ATTUNE_DATA, got neither.")
    exchanges = []
    for talk in read_source(data, Source("empathetic_dialogues", 2), "valid"):
        affect = None if talk.feeling is None else _affect_of(talk.feeling)
        turns = [
            Spoken("assistant", text) if listens else Spoken("user", text, affect)
            for listens, text in talk.turns
        ]
        exchanges += _exchange(talk.id, turns, cut)
    return exchanges


# -- feelings -------------------------------------------------------------------------------------


def affect_named(name: str) -> UserAffect:
    """Say what the label of a corpus amounts to.

    >>> affect_named("devastated").strength
    'very'

    Raises:
        InputError: If no feeling has this name.
    """
    felt = _NAMED.get(name.strip().lower())
    if felt is None:
        raise InputError(f"Expected an emotion such as sad or devastated, got {name[:40]!r}.")
    return _affect_of(felt)


def _affect_of(felt: Felt) -> UserAffect:
    return UserAffect(felt[0], confidence=TOLD_CONFIDENCE[felt[1]])


def affect_of_estimate(estimate: Mapping[str, Any]) -> UserAffect:
    """Read an estimate of a recogniser, in full or in short; see the module.

    Raises:
        InputError: If a feeling has no such name, or a number is out of its range.
    """
    try:
        label, probabilities = estimate["label"], estimate.get("probabilities") or {}
        heard = {
            channel: _likeliest(estimate[channel])
            for channel in CHANNELS
            if estimate.get(channel) is not None
        }
        return UserAffect(
            label=None if label is None else _feeling(label),
            probabilities={_feeling(name): float(p) for name, p in probabilities.items()},
            confidence=float(estimate.get("confidence", max(probabilities.values(), default=0.0))),
            valence=float(estimate.get("valence") or 0.0),
            arousal=float(estimate.get("arousal") or 0.0),
            channels=_channels(heard),
            agreement=None if (a := estimate.get("agreement")) is None else float(a),
            by_channel=heard,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Expected an estimate with label and confidence, got {error!r}."
        ) from error


def _channels(heard: Mapping[Channel, object]) -> tuple[Channel, ...]:
    return tuple(channel for channel in CHANNELS if channel in heard)


def _feeling(name: str) -> Feeling:
    return affect_named(name).label or "neutral"  # a name always has a label


def _likeliest(reading: str | Mapping[str, Any]) -> Feeling:
    if isinstance(reading, str):
        return _feeling(reading)
    probabilities = reading["probabilities"]
    return _feeling(max(probabilities, key=probabilities.__getitem__))


# -- where a reply is wanted ----------------------------------------------------------------------


def _exchange(
    name: str,
    turns: Sequence[Spoken],
    cut: Cut,
    *,
    open_end: bool = False,
    kind: str = "",
    danger: bool | None = None,
) -> list[Exchange]:
    """Cut a talk before the wanted reply; empty where nobody is or could be answered.

    Args:
        name: Its id.
        turns: In order of time.
        cut: Which reply is wanted.
        open_end: Whether last words of the person that nobody answered are what is wanted.
        kind: Of the exchange.
        danger: The same.
    """
    merged = _merged(turns)
    answered = [n for n in range(1, len(merged)) if merged[n].side == "assistant"]
    if open_end and cut == "last" and merged and merged[-1].side == "user":
        return [Exchange(name, tuple(merged), None, kind, danger)]
    if not answered:
        return []
    drawn = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    at = answered[-1 if cut == "last" else drawn % len(answered)]
    return [Exchange(name, tuple(merged[:at]), merged[at].text, kind, danger)]


def _merged(turns: Sequence[Spoken]) -> list[Spoken]:
    """Join turns of one side that follow each other: many models know no others."""
    merged: list[Spoken] = []
    for turn in turns:
        if not merged or merged[-1].side != turn.side:
            merged.append(turn)
            continue
        last = merged[-1]
        merged[-1] = replace(
            turn,
            text=f"{last.text} {turn.text}",
            affect=turn.affect or last.affect,
            read=turn.read or last.read,
            clip=turn.clip or last.clip,
        )
    return merged


# -- JSONL ----------------------------------------------------------------------------------------


def read_jsonl(path: Path, cut: Cut = "last") -> list[Exchange]:
    """Read a conversation a line; see the module.

    Raises:
        InputError: If the file cannot be read, or a line is no conversation.
    """
    exchanges = []
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            exchanges += _Place(path, number).reads(partial(_record, line, number, path, cut))
    return exchanges


def _record(line: str, number: int, path: Path, cut: Cut) -> list[Exchange]:
    record = json.loads(line)
    sides = _sides([turn["speaker"] for turn in record["turns"]])
    whole = record.get("emotion")
    turns = [
        _spoken(side, turn, whole, path.parent)
        for side, turn in zip(sides, record["turns"], strict=True)
    ]
    name = str(record.get("id", number))
    danger = record.get("danger")
    kind = str(record.get("kind") or "")
    found = _exchange(name, turns, cut, open_end=True, kind=kind, danger=danger)
    if not found:
        raise InputError("a talk without words of the person to answer")
    return found


def _sides(speakers: Sequence[str]) -> list[Side]:
    if set(speakers) <= set(get_args(Side)):
        return list(speakers)  # type: ignore[arg-type]
    return ["user" if speaker == speakers[0] else "assistant" for speaker in speakers]


def _spoken(side: Side, turn: Mapping[str, Any], whole: str | None, folder: Path) -> Spoken:
    text = turn["text"]
    if not isinstance(text, str) or not text.strip():
        raise InputError("a turn without words")
    text = whole_characters(text)
    if side == "assistant":
        return Spoken(side, text.strip())
    label, estimate, clip = turn.get("emotion", whole), turn.get("estimate"), turn.get("clip")
    read = None if estimate is None else affect_of_estimate(estimate)
    if clip is not None and not (folder / clip).is_file():
        raise InputError(f"no clip at {folder / clip}")
    return Spoken(
        side,
        text.strip(),
        affect=read if label is None else affect_named(label),
        read=None if label is None else read,
        clip=None if clip is None else folder / clip,
    )


# -- CSV ------------------------------------------------------------------------------------------

Rows = list[tuple[int, dict[str, str]]]
"""(line, cells by lower-case heading)."""


def read_csv(path: Path, cut: Cut = "last") -> list[Exchange]:
    """Read a CSV as EmpatheticDialogues or MELD publish theirs, known by its headings.

    In MELD's talks of many, the one who spoke before the wanted reply is the person.

    Raises:
        InputError: If the file cannot be read, has other headings, or a row lacks a cell.
    """
    lines = _lines(path)
    headings = {name.strip().lower() for name in next(iter(lines), "").split(",")}
    for wanted, read in _LAYOUTS:
        if wanted <= headings:
            return list(read(lines, path, cut))
    known = " or ".join(", ".join(sorted(wanted)) for wanted, _ in _LAYOUTS)
    raise InputError(f"Expected the headings {known} in {path}, got {len(headings)} others.")


def _rows(lines: Sequence[str], path: Path, quoting: Literal[0, 3]) -> Rows:
    reader = csv.reader(lines, quoting=quoting)
    headings = [name.strip().lower() for name in next(reader)]
    rows = []
    for cells in filter(None, reader):
        if len(cells) < len(headings) - 2:  # the last two of EmpatheticDialogues are often absent
            raise InputError(
                f"Expected {len(headings)} cells in line {reader.line_num} of {path}, "
                f"got {len(cells)}."
            )
        rows.append((reader.line_num, dict(zip(headings, cells, strict=False))))
    return rows


def _read_empathetic(lines: Sequence[str], path: Path, cut: Cut) -> Iterator[Exchange]:
    # Its quotation marks are text: they need not be in pairs, and commas are spelt _comma_.
    rows = _rows(lines, path, csv.QUOTE_NONE)
    for name, talk in groupby(rows, key=lambda row: row[1]["conv_id"]):
        turns = [_Place(path, line).reads(partial(_empathetic_turn, cells)) for line, cells in talk]
        yield from _exchange(name, turns, cut)


def _empathetic_turn(cells: Mapping[str, str]) -> Spoken:
    text = cells["utterance"].replace("_comma_", ",").strip()
    if not text:
        raise InputError("an utterance without words")
    if int(cells["utterance_idx"]) % 2 == 0:
        return Spoken("assistant", text)
    return Spoken("user", text, affect_named(cells["context"]))


def _read_meld(lines: Sequence[str], path: Path, cut: Cut) -> Iterator[Exchange]:
    clips = {clip.stem: clip for clip in sorted(path.parent.rglob("dia*_utt*.mp4"))}
    rows = _rows(lines, path, csv.QUOTE_MINIMAL)
    for name, talk in groupby(rows, key=lambda row: row[1]["dialogue_id"]):
        spoken = [
            _Place(path, line).reads(partial(_meld_turn, cells, clips)) for line, cells in talk
        ]
        yield from _meld_exchange(name, spoken, cut)


def _meld_turn(cells: Mapping[str, str], clips: Mapping[str, Path]) -> tuple[str, Spoken]:
    clip = clips.get(f"dia{cells['dialogue_id']}_utt{cells['utterance_id']}")
    text = cells["utterance"].strip()
    if not text:
        raise InputError("an utterance without words")
    return cells["speaker"], Spoken("user", text, affect_named(cells["emotion"]), clip=clip)


def _meld_exchange(name: str, spoken: Sequence[tuple[str, Spoken]], cut: Cut) -> Iterator[Exchange]:
    """Cut where the speaker changes; who speaks then is the listener all along."""
    changes = [n for n in range(1, len(spoken)) if spoken[n][0] != spoken[n - 1][0]]
    if not changes:
        return
    drawn = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    at = changes[-1 if cut == "last" else drawn % len(changes)]
    listener = spoken[at][0]
    turns = [
        Spoken("assistant", turn.text) if speaker == listener else turn
        for speaker, turn in spoken[: at + 1]
    ]
    yield from _exchange(name, turns, "last")


_LAYOUTS: Final[tuple[tuple[frozenset[str], Callable[..., Iterator[Exchange]]], ...]] = (
    (frozenset({"conv_id", "utterance_idx", "context", "utterance"}), _read_empathetic),
    (
        frozenset({"dialogue_id", "utterance_id", "speaker", "emotion", "utterance"}),
        _read_meld,
    ),
)
"""Headings that a layout is known by → its reader."""


# -- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """A line of a file, which errors name."""

    path: Path
    line: int

    def reads(self, read: Callable[[], Read]) -> Read:
        """Call, and say where it failed.

        Raises:
            InputError: If it fails.
        """
        try:
            return read()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = str(error) if isinstance(error, InputError) else repr(error)[:200]
            if isinstance(error, json.JSONDecodeError):
                what = "no JSON"
            raise InputError(
                f"Expected a conversation in line {self.line} of {self.path}, got: "
                f"{what.removesuffix('.')}."
            ) from error


def _lines(path: Path) -> list[str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"Expected conversations in a file, {BUILTIN} or {EMPATHETIC_DIALOGUES}, got {error}."
        ) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")  # as some copies of MELD are
    return text.replace("\r\n", "\n").split("\n")
