import json

import pytest

from emotion import InputError
from emotion.card import looked_up, places, refresh, refreshed

CARD = """# Card

| what | bar | % | 95 % | reached | place |
|---|---|---|---|---|---|
| Voice, UAR | ≥ 70 | ? | ? | ? | `a.json#voice.uar` |
| Error | ≤ 4 | ? | ? | ? | `a.json#ece` |
| Spread | | ? | ? | ? | `a.json#spread.uar` |

| recall | angry | sad |
|---|---|---|
| `a.json#voice.recall` | ? | ? |

| `a.json#voice.confusion` | angry | sad |
|---|---|---|
| angry | ? | ? |
| sad | ? | ? |

Words.
"""
REPORT = {
    "voice": {
        "uar": {"value": 0.7012, "low": 0.68, "high": 0.7249},
        "recall": {"angry": 0.806, "sad": None},
        "confusion": [[3, 1], [0, 2]],
    },
    "ece": 0.0409,
    "spread": {"uar": {"values": [0.5, 0.6, 0.7], "mean": 0.6, "deviation": 0.1}},
}


@pytest.fixture
def scores(tmp_path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "a.json").write_text(json.dumps(REPORT))
    (tmp_path / "MODEL_CARD.md").write_text(CARD)
    return tmp_path / "scores"


def test_every_figure_is_filled_in_and_nothing_else_changes(scores):
    refresh(scores.parent)
    text = (scores.parent / "MODEL_CARD.md").read_text()
    assert "| Voice, UAR | ≥ 70 | 70.1 | 68.0 to 72.5 | yes | `a.json#voice.uar` |\n" in text
    assert "| Error | ≤ 4 | 4.1 | - | **no** | `a.json#ece` |\n" in text
    assert "| Spread |  | 60.0 | ± 10.0, 3 seeds |  | `a.json#spread.uar` |\n" in text
    assert "| `a.json#voice.recall` | 81 | - |\n" in text
    assert "| angry | 3 | 1 |\n| sad | 0 | 2 |\n\nWords.\n" in text
    assert "?" not in text
    assert refreshed(text, scores) == text
    assert len(places(text)) == 5


def test_rows_are_found_by_number_or_name(scores):
    rows = [{"system": "svm", "uar": 0.5}, {"system": "network", "uar": 0.7}]
    (scores / "b.json").write_text(json.dumps({"rows": rows}))
    assert looked_up("b.json#rows.1.uar", scores) == looked_up("b.json#rows.network.uar", scores)
    with pytest.raises(InputError, match="nobody"):
        looked_up("b.json#rows.nobody.uar", scores)


@pytest.mark.parametrize("place", ["b.json#ece", "a.json#voice.nothing", "a.json#ece.more"])
def test_a_place_in_no_report_is_told(scores, place):
    with pytest.raises(InputError, match=place):
        refreshed(CARD.replace("a.json#ece", place), scores)


def test_a_confusion_of_another_size_is_told(scores):
    with pytest.raises(InputError, match=r"Expected 2 rows of .+ got angry"):
        refreshed(CARD.replace("| sad | ? | ? |\n", "", 1), scores)
