"""Charts as markup: pure functions from probabilities to HTML or SVG, always with text beside.

Colours are custom properties of the style sheet (`--angry` …), so that one markup serves light and
dark.
"""

from __future__ import annotations

from collections.abc import Mapping

from emotion.estimate import FaceSighting, Probabilities
from emotion.labels import EMOTIONS, Emotion
from ui.texts import EMOTION_NAMES, UNCLEAR, percent

__all__ = ["bars", "chip", "columns", "face_box", "strip"]


def chip(label: Emotion | None) -> str:
    """Draw an emotion as a dot and its name; 'unclear' as a ring of its own."""
    if label is None:
        return f'<span class="chip unclear"><i></i>{UNCLEAR}</span>'
    return f'<span class="chip"><i style="--hue:var(--{label})"></i>{EMOTION_NAMES[label]}</span>'


def bars(probabilities: Probabilities | None, label: Emotion | None) -> str:
    """Draw one horizontal bar an emotion; without probabilities, empty ones.

    Args:
        probabilities: Of this moment, or None where nothing is seen.
        label: The emotion to stress; None where it is unclear, which greys all of them.
    """
    return f'<ul class="bars">{"".join(_bar(e, probabilities, label) for e in EMOTIONS)}</ul>'


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
    """Draw a face's box in pixels of its frame, for an SVG that is mirrored like a mirror is."""
    left, top, right, bottom = face.box
    hue = "--unclear" if label is None else f"--{label}"
    name = UNCLEAR if label is None else EMOTION_NAMES[label]
    return (
        f'<g style="--hue:var({hue})"><rect x="{left:.0f}" y="{top:.0f}" rx="14" '
        f'width="{max(right - left, 0):.0f}" height="{max(bottom - top, 0):.0f}"/>'
        f'<text transform="translate({right - 6:.0f} {max(top - 10, 16):.0f}) scale(-1 1)">'
        f"{name}</text></g>"
    )
