import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion.calibration import UNCLEAR_BELOW
from emotion.estimate import FaceSighting
from emotion.labels import CIRCUMPLEX, EMOTIONS
from integration.evidence import Evidence, SeenFace
from ui import plots
from ui.plots import Mark, Trace
from ui.texts import EMOTION_NAMES

STATIC = Path(plots.__file__).parent / "static"
HOSTILE = '"><script>alert(1)</script>'


def text_of(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split()).replace("\u202f", " ")


def numbers(pattern, html):
    return [float(found) for found in re.findall(pattern, html)]


def even():
    return dict.fromkeys(EMOTIONS, 1 / 7)


# -- seven probabilities --------------------------------------------------------------------------


def test_every_bar_is_as_long_as_its_number_says(make_reading):
    p = make_reading("fear", 0.64).probabilities
    html = plots.bars(p, "fear")
    widths = numbers(r"width:([\d.]+)%", html)
    assert widths == pytest.approx([100 * p[e] for e in EMOTIONS], abs=0.05)
    assert "Fear 64 %" in text_of(html)
    assert html.count('class="is"') == 1


def test_unclear_is_a_row_of_its_own():
    html = plots.bars(even(), None)
    assert 'class="ring is"' in html
    assert f"Unclear none reaches {UNCLEAR_BELOW:.0%}".replace("%", " %") in text_of(html)
    assert 'class="ring is"' not in plots.bars(even(), "sad")
    assert f"--clear:{100 * UNCLEAR_BELOW:.0f}%" in html


def test_without_a_face_the_bars_are_empty():
    html = plots.bars(None, None)
    assert numbers(r"width:([\d.]+)%", html) == [0.0] * 7
    assert 'class="ring is"' not in html
    assert "0 %" not in text_of(html)


def test_columns_name_and_number_all_seven(make_reading):
    words = text_of(plots.columns(make_reading("sad", 0.7).probabilities, "sad"))
    for emotion, name in EMOTION_NAMES.items():
        assert f"{70 if emotion == 'sad' else 5} % {name}" in words


def test_a_strip_leaves_out_what_nobody_could_see():
    p = dict.fromkeys(EMOTIONS, 0.0) | {"happy": 0.995, "sad": 0.005}
    assert plots.strip(p).count("--hue") == 1


def test_a_face_keeps_its_number():
    face = FaceSighting(4, (10.0, 20.0, 110.0, 150.0), even())
    html = plots.face_box(face, "sad")
    assert "Face 5 · Sad" in html
    assert 'x="10"' in html
    assert 'width="100"' in html
    assert "stroke-dasharray" not in html
    assert "stroke-dasharray" in plots.face_box(face, None)  # unclear, not only by its colour


# -- valence and arousal --------------------------------------------------------------------------


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_sure_emotion_lies_at_its_own_place(emotion):
    p = {e: float(e == emotion) for e in EMOTIONS}
    assert plots.place(p) == pytest.approx(CIRCUMPLEX[emotion])


def test_a_place_is_the_same_as_an_estimate_says(make_estimate):
    estimate = make_estimate("happy", "sad")
    expected = (estimate.valence, estimate.arousal)
    assert plots.place(estimate.probabilities) == pytest.approx(expected)


def test_the_dot_lies_right_where_it_is_pleasant_and_up_where_it_is_excited():
    html = plots.plane([Trace(0.0, 0, 0.5, -0.25)])
    (x,), (y,) = numbers(r'cx="([\d.]+)"', html), numbers(r'cy="([\d.]+)"', html)
    middle = plots.PLANE_SIDE / 2
    assert x == pytest.approx(middle + 0.5 * plots.PLANE_REACH)
    assert y == pytest.approx(middle + 0.25 * plots.PLANE_REACH)
    assert 'aria-label="pleasant +0.50 · calm −0.25"' in html
    assert "pleasant +0.50 calm −0.25" in text_of(html)


def test_the_trail_fades_with_age():
    html = plots.plane([Trace(i / 5, 0, i / 10, 0.0) for i in range(4)])
    opacities = numbers(r"opacity:([\d.]+)", html)
    assert len(opacities) == 3
    assert opacities == sorted(opacities)


def test_the_middle_of_the_plane_is_neither_pleasant_nor_not():
    assert plots.lean(-0.01, 0.04) == "even −0.01 · even +0.04"
    assert plots.lean(-0.05, 0.05) == "unpleasant −0.05 · excited +0.05"


def test_an_empty_plane_says_so():
    html = plots.plane([])
    assert "<circle" not in html
    assert 'aria-label="no face in sight"' in html


# -- the talk so far ------------------------------------------------------------------------------


@pytest.fixture
def marks():
    return [
        Mark(0, "happy", "80\u202f% sure", 0.7, "good news"),
        Mark(3, None, "not sure enough to say", 0.0, "hm"),
        Mark(4, None, "nothing read", None, HOSTILE),
    ]


def test_a_talk_is_drawn_turn_by_turn(marks):
    html = plots.time_line(marks)
    assert re.findall(r'data-goto="(\d+)"', html) == ["0", "3", "4"]
    words = text_of(html)
    assert "Happy good news Happy, 80 % sure" in words
    assert "Unclear hm Unclear, not sure enough to say" in words
    heights = numbers(r"--y:([\d.]+)px", html)
    middle = plots.LANE_HEIGHT / 2
    assert heights == [middle - 0.7 * plots.LANE_REACH, middle, middle]


def test_unclear_and_unread_turns_differ_by_shape(marks):
    html = plots.time_line(marks)
    assert re.findall(r'<i class="([\w ]+)"', html) == ["point", "point unclear", "point unread"]


def test_words_on_the_time_line_are_escaped(marks):
    assert "<script" not in plots.time_line(marks)


def test_words_are_no_part_of_a_repr(marks):
    assert "good news" not in repr(marks)


# -- why ------------------------------------------------------------------------------------------


@pytest.fixture
def evidence():
    faces = tuple(
        SeenFace(time_s, weight, np.full((48, 48, 3), 120, np.uint8))
        for time_s, weight in ((0.2, 0.1), (0.9, 0.4), (1.5, 0.2))
    )
    spectrogram = np.full((50, 80), 255, np.uint8)
    regions = ((0.0, 0.0, 0.0, 0.1), (0.0, 0.0, 0.9, 0.0))
    return Evidence(faces, spectrogram, regions, 2.0)


def pictures_in(html):
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_why_is_told_in_words_too(evidence):
    words = text_of(plots.pictures(evidence))
    assert "Your face weighed most at 0.9 s and 1.5 s." in words
    # the heaviest of 2 × 4 regions: upper half, third quarter
    assert "Your voice weighed most around 1.2 s, at 2 to 4 kHz" in words
    assert "0.9 s · 40 %" in words


def test_every_picture_has_a_text_and_lies_in_the_page_itself(evidence):
    html = plots.pictures(evidence)
    assert html.count("<img") == html.count('src="data:image/jpeg;base64,') == 4
    assert len(re.findall(r'<img [^>]*alt="[^"]+"', html)) == 4
    assert numbers(r"<span style=\"width:(\d+)%", html) == [25, 100, 50]


def test_the_spectrogram_is_bright_where_it_weighed_most(evidence):
    lit = pictures_in(plots.pictures(evidence))[-1].astype(float).mean(axis=2)
    assert lit.shape == (50, 80)
    # high frequencies are on top: the heaviest region is the upper half's third quarter
    assert lit[:25, 40:60].mean() > 2 * lit[25:, :40].mean()


def test_a_single_picture_is_not_called_the_heaviest(evidence):
    words = text_of(plots.pictures(Evidence(evidence.faces[:1], duration_s=2.0)))
    assert words.startswith("Only one picture of your face was there")


def test_a_face_alone_and_a_voice_alone(evidence):
    assert "voice" not in plots.pictures(Evidence(faces=evidence.faces, duration_s=2.0))
    voice = Evidence((), evidence.spectrogram, evidence.regions, 2.0)
    assert "face" not in text_of(plots.pictures(voice))
    assert plots.pictures(Evidence()) == ""


def test_weights_of_nothing_do_not_divide_by_it(evidence):
    nothing = tuple(SeenFace(f.time_s, 0.0, f.rgb) for f in evidence.faces)
    flat = Evidence(nothing, evidence.spectrogram, ((0.0, 0.0),), 2.0)
    assert "nan" not in plots.pictures(flat)


# -- the style sheet ------------------------------------------------------------------------------


def colours(selector):
    css = (STATIC / "page.css").read_text()
    block = css.split(f"\n{selector} {{", 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def contrast(a, b):
    """Contrast of two colours; WCAG 2.2, relative luminance."""

    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_of_contrast_is_right():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("theme", [":root", ".dark"])
@pytest.mark.parametrize("ground", ["paper", "card", "mine"])
def test_words_and_charts_can_be_told_from_their_ground(theme, ground):
    shades = colours(theme)
    for ink in ("ink", "soft", "accent", "warn"):  # WCAG 2.2 AA: 4.5 for text
        assert contrast(shades[ink], shades[ground]) >= 4.5, ink
    for hue in (*EMOTIONS, "unclear"):  # and 3 for what is drawn
        assert contrast(shades[hue], shades[ground]) >= 3.0, hue
    assert contrast(shades["accent-ink"], shades["accent"]) >= 4.5


def test_what_the_page_is_made_of_asks_nobody_else():
    for path in STATIC.iterdir():
        if path.suffix in {".js", ".css"}:
            text = path.read_text()
            assert "http" not in re.sub(r'"https?:"', "", text), path.name
            assert "localStorage" not in text, path.name


def test_every_module_and_font_that_is_asked_for_is_there():
    for path in STATIC.glob("*.js"):
        for name in re.findall(r'from "\./([\w.]+)"', path.read_text()):
            assert (STATIC / name).is_file(), f"{path.name}: {name}"
    for name in re.findall(r'url\("([^"]+)"\)', (STATIC / "page.css").read_text()):
        assert (STATIC / name).is_file(), name
