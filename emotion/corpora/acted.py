"""Corpora whose files tell by their path what is felt, by whom, one emotion a recording.

- RAVDESS: Livingstone & Russo, PLOS ONE 13(5), 2018. `Actor_XX/MM-VV-EE-II-SS-RR-AA`, modality 01
  film with sound, 02 film without, 03 sound; its calm counts as neutral, its song is left out. The
  official zips of one actor each may lie together in one folder.
- EMO-DB: Burkhardt et al., Interspeech 2005. `wav/SSTTTEV.wav`; its boredom is none of our seven
  and is left out.
- TESS: Pichora-Fuller & Dupuis, 2020. `<OAF|YAF>_<emotion>/*.wav`; its licence (no derivatives)
  keeps it out of training: it is for cross-corpus scores.
- CREMA-D: Cao et al., IEEE TAC 5(4), 2014. `AudioWAV/AAAA_SSS_EEE_LL.wav` and the same name in
  `VideoFlash/*.flv`; six emotions, no surprise.
- SAVEE: Haq & Jackson, AVSP 2009. `<speaker>/<a|d|f|h|n|sa|su>NN.wav`, `.avi` beside it.
- eNTERFACE'05: Martin et al., ICDE workshops 2006. `subject N/<emotion>/sentence M/*.avi`; some
  subjects lack the folders of sentences and some have one folder more, so any depth will do.
- AFEW: Dhall et al., IEEE MultiMedia 19(3), 2012. `Train|Val|Test/<Emotion>/<clip>.avi`; a part
  without folders of emotions has no labels and gives no clips.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from emotion.corpora.archive import Archive
from emotion.corpora.clip import Clip
from emotion.corpora.corpus import Corpus, Counts, Labels, Split, known_emotion
from emotion.labels import Emotion

__all__ = ["AFEW", "CREMAD", "EMODB", "ENTERFACE", "RAVDESS", "SAVEE", "TESS", "movie_of"]

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3")
VIDEO_SUFFIXES = (".avi", ".mp4", ".flv", ".mov", ".mkv", ".mpg")


@dataclass(frozen=True)
class Take:
    """What a path tells of a recording, which may have several files.

    Attributes:
        key: What its files share.
        code: Emotion, as the corpus writes it.
        speaker: Who speaks.
        split: Official part.
        silent: Whether this film has no sound.
    """

    key: str
    code: str
    speaker: str
    split: Split | None = None
    silent: bool = False


Parse = Callable[[PurePosixPath], Take | None]


def _read(archive: Archive, labels: Labels, *, corpus: str, parse: Parse) -> Iterator[Clip]:
    """Join the files of each take and give one clip each."""
    takes: dict[str, dict[str, Take]] = {}
    for name in archive.names:
        path = PurePosixPath(name)
        known = path.suffix.lower() in (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES)
        if known and (take := parse(path)) is not None:
            takes.setdefault(take.key, {})[name] = take
    for files in takes.values():
        name, take = next(iter(files.items()))
        emotion = known_emotion(take.code, labels, name)
        if emotion is not None:
            yield _clip(corpus, emotion, files)


def _clip(corpus: str, emotion: Emotion, files: dict[str, Take]) -> Clip:
    """Choose of a take's files, by their paths, the best film and the best sound."""
    films = [n for n in files if PurePosixPath(n).suffix.lower() in VIDEO_SUFFIXES]
    films.sort(key=lambda n: files[n].silent)
    sounds = [n for n in files if n not in films]
    sounds.sort(key=lambda n: AUDIO_SUFFIXES.index(PurePosixPath(n).suffix.lower()))
    sounds += [n for n in films if not files[n].silent]
    video, audio = next(iter(films), None), next(iter(sounds), None)
    take = next(iter(files.values()))
    return Clip(
        corpus,
        audio or video or "",
        emotion,
        f"{corpus}:{take.speaker}",
        split=take.split,
        video=video,
        audio=audio,
    )


def _ravdess(path: PurePosixPath) -> Take | None:
    match = re.fullmatch(r"(0[123])-01-((\d\d)-\d\d-\d\d-\d\d-(\d\d))", path.stem)  # 02 is song
    return Take(match[2], match[3], match[4], silent=match[1] == "02") if match else None


def _emodb(path: PurePosixPath) -> Take | None:
    match = re.fullmatch(r"(\d\d)[a-z]\d\d([A-Z])[a-z]", path.stem)
    return Take(path.stem, match[2], match[1]) if match else None


def _tess(path: PurePosixPath) -> Take | None:
    match = re.fullmatch(r"([OY]AF)_(\w+)", path.parent.name, re.IGNORECASE)
    key = path.stem.lower()
    return Take(key, match[2].lower(), match[1].upper()) if match else None


def _cremad(path: PurePosixPath) -> Take | None:
    match = re.fullmatch(r"(\d{4})_[A-Z]{3}_([A-Z]{3})_[A-Z]{1,2}", path.stem)
    return Take(path.stem, match[2], match[1]) if match else None


def _savee(path: PurePosixPath) -> Take | None:
    whole = f"{path.parent.name}_{path.stem}"
    match = re.fullmatch(r"(?:.*_)?(DC|JE|JK|KL)_([a-z]{1,2})(\d{1,2})", whole)
    if not match:
        return None
    return Take(f"{match[1]}{match[2]}{int(match[3])}", match[2], match[1])


def _enterface(path: PurePosixPath) -> Take | None:
    folders = path.parent.parts
    for place, folder in enumerate(folders):
        match = re.fullmatch(r"subject[ _-]?(\d+)", folder.strip(), re.IGNORECASE)
        if match and place + 1 < len(folders):
            code = folders[place + 1].strip().lower()
            return Take(str(path.with_suffix("")), code, str(int(match[1])))
    return None


_AFEW_SPLITS: dict[str, Split] = {"train": "train", "val": "valid", "test": "test"}


def movie_of(stem: str) -> str | None:
    """Name of the movie a clip's name tells, or None.

    AFEW's own names are nine digits, and these are the clip's time in its movie, HHMMSSmmm, not the
    movie: SFEW, whose pictures were taken from AFEW, writes the movie before such nine digits,
    `Terminal_014601640_00000037.png`, and in the 65 names that were looked at minutes and
    seconds are all under 60. So only a name of that longer form tells the movie.
    """
    match = re.fullmatch(r"(.+)_\d{9}", stem)
    return match[1] if match else None


def _afew(path: PurePosixPath, movie: Callable[[str], str | None]) -> Take | None:
    parts = path.parts[-3:-1]
    match = re.fullmatch(r"(train|val|test)(?:[_.].*)?", parts[0].lower()) if parts[1:] else None
    if not match:
        return None
    split, code = _AFEW_SPLITS[match[1]], parts[1].lower()
    if split == "test" and code not in AFEW.labels:
        return None  # the organisers kept these labels
    # Nobody is named, but the organisers keep a movie and its actors in one part (remembered,
    # unchecked): so the part stands for its people.
    return Take(str(path), code, movie(path.stem) or split, split)


def _reader(corpus: str, parse: Parse) -> Callable[[Archive, Labels], Iterator[Clip]]:
    return partial(_read, corpus=corpus, parse=parse)


_SEVEN: tuple[Emotion, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


RAVDESS = Corpus(
    "ravdess",
    "RAVDESS",
    "CC BY-NC-SA 4.0",
    "https://zenodo.org/records/1188976",
    ("ravdess", "RAVDESS", "ravdess.zip", "speech/ravdess.zip"),
    ("face", "voice"),
    Counts(
        1440,
        24,
        emotions=dict.fromkeys(_SEVEN, 192) | {"neutral": 288},
        source="Livingstone & Russo 2018, speech; neutral 96 and calm 192",
    ),
    {
        "01": "neutral",
        "02": "neutral",  # calm
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fear",
        "07": "disgust",
        "08": "surprise",
    },
    _reader("ravdess", _ravdess),
    trains=True,
)
EMODB = Corpus(
    "emodb",
    "EMO-DB",
    "CC0",
    "http://emodb.bilderbar.info",
    ("speech/emodb.zip", "emodb.zip", "emodb", "EMO-DB"),
    ("voice",),
    Counts(
        535,
        10,
        emotions={"angry": 127, "disgust": 46, "fear": 69, "happy": 71, "neutral": 79, "sad": 62},
        source="as its names count; 81 of boredom are none of ours",
    ),
    {
        "A": "fear",
        "E": "disgust",
        "F": "happy",
        "L": None,  # boredom
        "N": "neutral",
        "T": "sad",
        "W": "angry",
    },
    _reader("emodb", _emodb),
    trains=True,
)
TESS = Corpus(
    "tess",
    "TESS",
    "CC BY-NC-ND 4.0",
    "https://doi.org/10.5683/SP2/E8H2MF",
    ("speech/tess.zip", "tess.zip", "tess", "TESS"),
    ("voice",),
    Counts(
        2800, 2, emotions=dict.fromkeys(_SEVEN, 400), source="its dataset page: 200 words x 7 x 2"
    ),
    {
        "angry": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
        "pleasant_surprise": "surprise",
        "pleasant_surprised": "surprise",
        "surprise": "surprise",
        "surprised": "surprise",
    },
    _reader("tess", _tess),
)
CREMAD = Corpus(
    "cremad",
    "CREMA-D",
    "Open Database License",
    "https://github.com/CheyneyComputerScience/CREMA-D",
    ("cremad", "CREMA-D", "cremad.zip", "CREMA-D.zip"),
    ("face", "voice"),
    Counts(
        7442,
        91,
        emotions={
            "angry": 1271,
            "disgust": 1271,
            "fear": 1271,
            "happy": 1271,
            "neutral": 1087,
            "sad": 1271,
        },
        source="Cao et al. 2014; emotions as the names of its files count them",
    ),
    {
        "ANG": "angry",
        "DIS": "disgust",
        "FEA": "fear",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    },
    _reader("cremad", _cremad),
)
SAVEE = Corpus(
    "savee",
    "SAVEE",
    "free for research, on registration",
    "http://kahlan.eps.surrey.ac.uk/savee/",
    ("savee", "SAVEE", "savee.zip", "SAVEE.zip"),
    ("face", "voice"),
    Counts(
        480,
        4,
        emotions=dict.fromkeys(_SEVEN, 60) | {"neutral": 120},
        source="its makers: 15 sentences an emotion and speaker, 30 neutral",
    ),
    {
        "a": "angry",
        "d": "disgust",
        "f": "fear",
        "h": "happy",
        "n": "neutral",
        "sa": "sad",
        "su": "surprise",
    },
    _reader("savee", _savee),
)
ENTERFACE = Corpus(
    "enterface",
    "eNTERFACE'05",
    "free for research",
    "http://www.enterface.net/enterface05/",
    (
        "enterface",
        "enterface05",
        "eNTERFACE05",
        "enterface database",
        "enterface_database",
        "enterface.zip",
        "enterface_database.zip",
    ),
    ("face", "voice"),
    Counts(
        1293,
        44,
        emotions={
            "angry": 216,
            "disgust": 216,
            "fear": 216,
            "happy": 213,
            "sad": 216,
            "surprise": 216,
        },
        source="the archive as albanie/mcnDatasets counted it; Martin et al. 2006 say 1166 of 42",
    ),
    {
        "anger": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "happiness": "happy",
        "sadness": "sad",
        "surprise": "surprise",
    },
    _reader("enterface", _enterface),
)
AFEW = Corpus(
    "afew",
    "AFEW",
    "research, by agreement with the EmotiW organisers",
    "https://cs.anu.edu.au/few/AFEW.html",
    ("afew", "AFEW", "afew.zip", "AFEW.zip"),
    ("face", "voice"),
    Counts(
        1809,
        None,
        {"train": 773, "valid": 383, "test": 653},
        {
            "angry": 197,
            "disgust": 114,
            "fear": 127,
            "happy": 213,
            "neutral": 207,
            "sad": 178,
            "surprise": 120,
        },
        source="EmotiW 2017; emotions of train and valid as albanie/mcnDatasets counted them",
    ),
    {
        "angry": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
        "surprise": "surprise",
    },
    _reader("afew", partial(_afew, movie=movie_of)),
    note="names no speakers: use the official split; where a name tells the movie, that is the "
    "group",
)
