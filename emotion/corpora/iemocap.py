"""IEMOCAP: ten actors in five sessions of two, a label and a stretch of time each turn.

Busso et al., "IEMOCAP: interactive emotional dyadic motion capture database", Language Resources
and Evaluation 42 (2008). `SessionN/dialog/EmoEvaluation/<dialog>.txt` holds one line a turn,
`[start - end]`, turn, emotion and `[valence, activation, dominance]` parted by tabs. The usual four
classes are read: angry, happy with excited, neutral and sad; other classes by other labels:
`dataclasses.replace(IEMOCAP, labels={...})`.

The films show both actors side by side. Whom the dialogue's name calls, who wore the markers, sits
on the left: public readers of the corpus agree on it, it was not looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from emotion.corpora.archive import Archive
from emotion.corpora.clip import Clip
from emotion.corpora.corpus import Corpus, Counts, Labels, known_emotion
from emotion.errors import CorpusError

__all__ = ["IEMOCAP"]

_TURN = re.compile(r"\[(\d+\.?\d*) - (\d+\.?\d*)\]\t(\S+)\t(\S+)\t\[.*\]")
_NAME = re.compile(r"Ses(\d\d)([FM])_\w+_([FM])\w+")


def _read(archive: Archive, labels: Labels) -> Iterator[Clip]:
    tables = [n for n in archive.names if re.search(r"dialog/EmoEvaluation/[^/]+\.txt$", n)]
    _check_annotated(archive, tables)
    names = frozenset(archive.names)
    for table in tables:
        # The release has lines in it that are not UTF-8, in comments of the annotators.
        for line in archive.read(table).decode("latin-1").splitlines():
            if line.startswith("[") and (clip := _clip(line, table, names, labels)) is not None:
                yield clip


def _check_annotated(archive: Archive, tables: list[str]) -> None:
    """Refuse a dialogue with recordings but no evaluation."""
    annotated = {PurePosixPath(table).stem for table in tables}
    for name in archive.names:
        match = re.search(r"(.*)sentences/wav/(Ses[^/]+)/", name)
        if match and match[2] not in annotated:
            wanted = f"{match[1]}dialog/EmoEvaluation/{match[2]}.txt"
            raise CorpusError(f"Expected {wanted} in {archive.path} beside {name}, found none.")


def _clip(line: str, table: str, names: frozenset[str], labels: Labels) -> Clip | None:
    """Read one turn; None where its emotion is left out."""
    if line.startswith("[START_TIME"):  # the heading
        return None
    turn = _TURN.fullmatch(line.strip())
    who = _NAME.fullmatch(turn[3]) if turn else None
    if not turn or not who:
        raise CorpusError(
            f"Expected a turn '[start - end] name emotion [v, a, d]' in {table}, got {line!r}."
        )
    emotion = known_emotion(turn[4], labels, f"{table} at {turn[3]}")
    if emotion is None:
        return None
    prefix, dialog = table.partition("dialog/EmoEvaluation/")[0], PurePosixPath(table).stem
    sounds = (f"sentences/wav/{dialog}/{turn[3]}.wav", f"dialog/wav/{dialog}.wav")
    audio = next((prefix + name for name in sounds if prefix + name in names), None)
    video = f"{prefix}dialog/avi/DivX/{dialog}.avi"
    if audio is None and video not in names:
        raise CorpusError(f"Expected {' or '.join(sounds)} for {table}, found neither.")
    return Clip(
        "iemocap",
        turn[3],
        emotion,
        f"iemocap:ses{who[1]}{who[3]}",
        session=f"iemocap:ses{who[1]}",
        video=video if video in names else None,
        audio=audio,
        span_s=(float(turn[1]), float(turn[2])),
        half="left" if who[2] == who[3] else "right",
    )


IEMOCAP = Corpus(
    "iemocap",
    "IEMOCAP",
    "research, by agreement with the University of Southern California",
    "https://sail.usc.edu/iemocap/",
    ("iemocap", "IEMOCAP", "IEMOCAP_full_release", "iemocap.zip", "IEMOCAP_full_release.zip"),
    ("face", "voice"),
    Counts(
        10039,
        10,
        emotions={"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084},
        source="Busso et al. 2008; the four classes as most papers count them, 5531 turns",
    ),
    {
        "ang": "angry",
        "hap": "happy",
        "exc": "happy",
        "neu": "neutral",
        "sad": "sad",
        "fru": None,
        "fea": None,
        "sur": None,
        "dis": None,
        "oth": None,
        "xxx": None,  # the annotators did not agree
    },
    _read,
    note="speaker by the turn's last letter; leave one session out",
)
