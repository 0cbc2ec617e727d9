"""Charts as markup: pure functions from numbers to HTML or SVG, always with text beside.

Colours are custom properties of the style sheet (`--angry` …), so that one markup serves light and
dark. Pictures become data URIs: they never have an address of their own, nor a file.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from emotion.calibration import UNCLEAR_BELOW
from emotion.estimate import FaceSighting, Probabilities
from emotion.labels import CIRCUMPLEX, EMOTIONS, Emotion
from integration.evidence import Evidence, SeenFace
from ui.texts import EMOTION_NAMES, ONE_PICTURE, UNCLEAR, listed, percent, seconds

__all__ = [
    "Mark",
    "Trace",
    "bars",
    "chip",
    "columns",
    "face_box",
    "lean",
    "pictures",
    "place",
    "plane",
    "strip",
    "time_line",
]

PLANE_SIDE: Final = 160
PLANE_REACH: Final = 62
"""Pixels from the middle of the plane to a valence or arousal of 1."""

MIDDLE: Final = 0.05
"""Nearer to the middle than this, neither end of an axis is named."""

MARK_WIDTH: Final = 68
LANE_HEIGHT: Final = 56
LANE_REACH: Final = 20
"""Pixels from the middle of the time line to a valence of 1."""

SILENCE: Final = (18, 28, 31)
LOUD: Final = (255, 226, 178)
DIMMED: Final = 0.22
"""Brightness of a part of the spectrogram that weighed nothing."""


@dataclass(frozen=True)
class Trace:
    """Where one face was on the plane of valence and arousal.

    Attributes:
        time_s: Media time in seconds.
        person: Id of the face.
        valence: In [-1, 1].
        arousal: In [-1, 1].
    """

    time_s: float
    person: int
    valence: float
    arousal: float


@dataclass(frozen=True)
class Mark:
    """One turn on the time line.

    Attributes:
        turn: Its id.
        label: How it seemed, or what the person says they felt; None where it is unclear.
        note: How sure that is, in words.
        valence: In [-1, 1]; None where nothing was read.
        words: What was said; any text.
    """

    turn: int
    label: Emotion | None
    note: str
    valence: float | None
    words: str = field(repr=False)


def chip(label: Emotion | None) -> str:
    """Draw an emotion as a dot and its name; 'unclear' as a ring of its own."""
    if label is None:
        return f'<span class="chip unclear"><i></i>{UNCLEAR}</span>'
    return f'<span class="chip"><i style="--hue:var(--{label})"></i>{EMOTION_NAMES[label]}</span>'


# -- seven probabilities --------------------------------------------------------------------------


def bars(probabilities: Probabilities | None, label: Emotion | None) -> str:
    """Draw one horizontal bar an emotion, and 'unclear' as a row of its own.

    A tick on each bar shows where an emotion begins to be clear.

    Args:
        probabilities: Of this moment, or None where nothing is seen.
        label: The emotion to stress; None where it is unclear.
    """
    rows = "".join(_bar(e, probabilities, label) for e in EMOTIONS)
    unclear = bool(probabilities) and label is None
    note = f"none reaches {percent(UNCLEAR_BELOW)}" if unclear else ""
    return (
        f'<ul class="bars" style="--clear:{100 * UNCLEAR_BELOW:.0f}%">{rows}'
        f'<li class="ring{" is" if unclear else ""}"><span class="name">{UNCLEAR}</span>'
        f'<span class="note">{note}</span></li></ul>'
    )


def _bar(emotion: Emotion, probabilities: Mapping[Emotion, float] | None, label: str | None) -> str:
    p = (probabilities or {}).get(emotion, 0.0)
    number = percent(p) if probabilities else "–"
    stressed = ' class="is"' if emotion == label else ""
    return (
        f'<li{stressed}><span class="name">{EMOTION_NAMES[emotion]}</span>'
        f'<span class="track"><span style="--hue:var(--{emotion});width:{100 * p:.1f}%"></span>'
        f'</span><span class="number">{number}</span></li>'
    )


def columns(probabilities: Probabilities, label: Emotion | None) -> str:
    """Draw one small upright column an emotion, with its number above and its name below."""
    drawn = "".join(_column(e, probabilities.get(e, 0.0), e == label) for e in EMOTIONS)
    return f'<ul class="columns">{drawn}</ul>'


def _column(emotion: Emotion, p: float, stressed: bool) -> str:
    return (
        f'<li{" class=is" if stressed else ""}><span class="number">{percent(p)}</span>'
        f'<span class="track"><span style="--hue:var(--{emotion});height:{100 * p:.1f}%"></span>'
        f'</span><span class="name">{EMOTION_NAMES[emotion]}</span></li>'
    )


def strip(probabilities: Probabilities) -> str:
    """Draw a distribution as one bar of coloured pieces; the text beside it names the largest."""
    pieces = "".join(
        f'<span style="--hue:var(--{e});flex-grow:{p:.3f}"></span>'
        for e, p in probabilities.items()
        if p >= 0.01
    )
    return f'<span class="strip" aria-hidden="true">{pieces}</span>'


def face_box(face: FaceSighting, label: Emotion | None) -> str:
    """Draw a face's box in pixels of its frame, for an SVG that is mirrored like a mirror is.

    The number is the face's id, counted from 1: the same person keeps it.
    """
    left, top, right, bottom = face.box
    hue = "--unclear" if label is None else f"--{label}"
    name = UNCLEAR if label is None else EMOTION_NAMES[label]
    ring = ' stroke-dasharray="10 8"' if label is None else ""
    return (
        f'<g style="--hue:var({hue})"><rect x="{left:.0f}" y="{top:.0f}" rx="18"{ring} '
        f'width="{max(right - left, 0):.0f}" height="{max(bottom - top, 0):.0f}"/>'
        f'<text transform="translate({right - 4:.0f} {max(top - 12, 22):.0f}) scale(-1 1)">'
        f"Face {face.person + 1} · {name}</text></g>"
    )


# -- valence and arousal --------------------------------------------------------------------------


def place(probabilities: Probabilities) -> tuple[float, float]:
    """Return the valence and arousal to expect of a distribution, each in [-1, 1].

    >>> place({"happy": 1.0})
    (0.76, 0.48)
    """
    valence = sum(p * CIRCUMPLEX[e][0] for e, p in probabilities.items())
    arousal = sum(p * CIRCUMPLEX[e][1] for e, p in probabilities.items())
    return valence, arousal


def lean(valence: float, arousal: float) -> str:
    """Put a place on the plane in words.

    >>> lean(-0.3, 0.2)
    'unpleasant −0.30 · excited +0.20'
    """
    pleasant = _side(valence, "unpleasant", "pleasant")
    excited = _side(arousal, "calm", "excited")
    return f"{pleasant} {_signed(valence)} · {excited} {_signed(arousal)}"


def _side(value: float, low: str, high: str) -> str:
    if abs(value) < MIDDLE:
        return "even"
    return high if value > 0 else low


def plane(trail: Sequence[Trace]) -> str:
    """Draw the newest place on the plane of valence and arousal as a dot, with its way there.

    Args:
        trail: Places in order of time; empty where no face is seen.
    """
    points = [_point(trace.valence, trace.arousal) for trace in trail]
    ways = "".join(
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'style="opacity:{0.12 + 0.6 * number / len(points):.2f}"/>'
        for number, ((x1, y1), (x2, y2)) in enumerate(pairwise(points))
    )
    newest = trail[-1] if trail else None
    said = lean(newest.valence, newest.arousal) if newest else "no face in sight"
    caption = "".join(f"<span>{part}</span>" for part in said.split(" · ")) if newest else ""
    dot = f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="6"/>' if points else ""
    middle, end = PLANE_SIDE / 2, PLANE_SIDE
    return (
        f'<figure class="plane"><svg viewBox="0 0 {end} {end}" role="img" aria-label="{said}">'
        f'<path d="M{middle:.0f} 22V{end - 22}M16 {middle:.0f}H{end - 16}"/>'
        f'<text x="{middle:.0f}" y="13">excited</text>'
        f'<text x="{middle:.0f}" y="{end - 5}">calm</text>'
        f'<text x="{end - 3}" y="{middle - 6:.0f}" class="end">pleasant</text>'
        f'<text x="3" y="{middle - 6:.0f}" class="start">unpleasant</text>'
        f"{ways}{dot}</svg><figcaption>{caption}</figcaption></figure>"
    )


def _point(valence: float, arousal: float) -> tuple[float, float]:
    middle = PLANE_SIDE / 2
    return middle + PLANE_REACH * valence, middle - PLANE_REACH * arousal


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


# -- the talk so far ------------------------------------------------------------------------------


def time_line(marks: Sequence[Mark]) -> str:
    """Draw a talk: a point a turn, pleasant above and unpleasant below; its words on focus."""
    points = [(MARK_WIDTH * (n + 0.5), _height(mark)) for n, mark in enumerate(marks)]
    path = " ".join(f"{x:.0f},{y:.1f}" for x, y in points)
    drawn = "".join(_mark(mark, y) for mark, (_, y) in zip(marks, points, strict=True))
    width = MARK_WIDTH * len(marks)
    return (
        '<div class="lane"><span class="pole">pleasant</span><span class="pole">unpleasant</span>'
        f'<div class="scroller"><svg width="{width}" height="{LANE_HEIGHT}" aria-hidden="true">'
        f'<path d="M0 {LANE_HEIGHT / 2:.0f}H{width}"/><polyline points="{path}"/></svg>'
        f'<ol style="--width:{MARK_WIDTH}px">{drawn}</ol></div></div>'
    )


def _height(mark: Mark) -> float:
    return LANE_HEIGHT / 2 - LANE_REACH * (mark.valence or 0.0)


def _mark(mark: Mark, y: float) -> str:
    kind, hue = "point", "" if mark.label is None else f";--hue:var(--{mark.label})"
    name = UNCLEAR if mark.label is None else EMOTION_NAMES[mark.label]
    if mark.valence is None:
        kind, name = "point unread", "–"
    elif mark.label is None:
        kind = "point unclear"
    note = f"{name}, {mark.note}" if mark.valence is not None else mark.note
    return (
        f'<li><button type="button" data-goto="{mark.turn}">'
        f'<i class="{kind}" style="--y:{y:.1f}px{hue}"></i><span class="name">{name}</span>'
        f'<span class="tip"><q>{escape(mark.words)}</q> {note}</span></button></li>'
    )


# -- why ------------------------------------------------------------------------------------------


def pictures(evidence: Evidence) -> str:
    """Draw what weighed most in an utterance: frames of the face, regions of the spectrogram."""
    faces = _faces(evidence.faces) if evidence.faces else ""
    sound = evidence.spectrogram
    return faces + (_sound(sound, evidence) if sound is not None and evidence.regions else "")


def _faces(faces: Sequence[SeenFace]) -> str:
    heaviest = max(face.weight for face in faces)
    drawn = "".join(_face(face, heaviest) for face in faces)
    top = sorted(sorted(faces, key=lambda face: -face.weight)[:2], key=lambda face: face.time_s)
    times = listed([seconds(face.time_s) for face in top])
    said = f"Your face weighed most at {times}." if len(faces) > 1 else ONE_PICTURE
    return f'<figure class="faces"><figcaption>{said}</figcaption><ol>{drawn}</ol></figure>'


def _face(face: SeenFace, heaviest: float) -> str:
    share = face.weight / heaviest if heaviest > 0 else 0.0
    return (
        f'<li><img src="{_uri(face.rgb)}" alt="Your face at {seconds(face.time_s)}">'
        f'<span class="track"><span style="width:{100 * share:.0f}%"></span></span>'
        f"<span>{seconds(face.time_s)} · {percent(face.weight)}</span></li>"
    )


def _sound(spectrogram: npt.NDArray[np.uint8], evidence: Evidence) -> str:
    weights = np.asarray(evidence.regions, np.float64)
    where = _where(weights, evidence.duration_s)
    lit = _uri(_lit(spectrogram, weights))
    return (
        f'<figure class="sound"><figcaption>Your voice weighed most {where}: there it is bright.'
        f'</figcaption><div><span class="high">4\u202fkHz</span><img src="{lit}" alt="Spectrogram '
        f'of your voice, bright {where}"><span class="low">0</span></div>'
        f"<p><span>0\u202fs</span><span>{seconds(evidence.duration_s)}</span></p></figure>"
    )


def _where(weights: npt.NDArray[np.float64], duration_s: float) -> str:
    """Say in words which region of (frequency, time) is heaviest."""
    row, column = np.unravel_index(int(weights.argmax()), weights.shape)
    rows, columns = weights.shape
    low_khz, high_khz = 4.0 * int(row) / rows, 4.0 * (int(row) + 1) / rows
    middle_s = duration_s * (int(column) + 0.5) / columns
    return f"around {seconds(middle_s)}, at {low_khz:.2g} to {high_khz:.2g}\u202fkHz"


def _lit(
    spectrogram: npt.NDArray[np.uint8], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Light a spectrogram up where it weighed most: (height, width, colour), high on top."""
    rows, columns = spectrogram.shape
    peak = weights.max() or 1.0
    small = Image.fromarray((weights / peak).astype(np.float32))
    light = np.asarray(small.resize((columns, rows), Image.Resampling.BICUBIC)).clip(0, 1)
    bright = spectrogram / 255.0 * (DIMMED + (1 - DIMMED) * light)
    colours = np.array(SILENCE) + bright[::-1, :, None] * (np.array(LOUD) - np.array(SILENCE))
    return np.asarray(colours.round(), np.uint8)


def _uri(rgb: npt.NDArray[np.uint8]) -> str:
    packed = io.BytesIO()
    Image.fromarray(rgb).save(packed, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{b64encode(packed.getvalue()).decode()}"
