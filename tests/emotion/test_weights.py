"""The bundled checkpoints, and that every figure of their card is one a command has written."""

import json
import re

import pytest

from emotion import EMOTIONS, checkpoint

WEIGHTS = checkpoint.bundled("face").parent
CARD = WEIGHTS / "MODEL_CARD.md"
NETWORKS = ("face", "voice", "fusion", "heldout/voice", "heldout/fusion")
PARTS = (*NETWORKS, "words")

ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<value>[\d.]+) \| (?P<interval>[^|]+) \| `(?P<source>[^`]+)` \|$",
    re.MULTILINE,
)


def rows():
    return [match.groupdict() for match in ROW.finditer(CARD.read_text())]


def looked_up(source):
    file, _, path = source.partition("#")
    found = json.loads((WEIGHTS / "scores" / file).read_text())
    for key in path.split("."):
        found = found[key]
    return found


@pytest.mark.parametrize("part", NETWORKS)
def test_a_bundled_network_loads(part):
    model = checkpoint.load(WEIGHTS / part)
    assert sum(p.numel() for p in model.parameters()) < 3e6


@pytest.mark.parametrize("part", PARTS)
def test_a_checkpoint_says_how_it_was_trained(part):
    facts = checkpoint.read(WEIGHTS / part).training
    assert facts["recipe"] == part.split("/")[-1]
    assert facts["corpora"]
    assert not any("tess" in corpus for corpus in facts["corpora"])
    assert facts["temperature"]


@pytest.mark.parametrize("folder", [WEIGHTS, WEIGHTS / "heldout"], ids=["bundled", "heldout"])
def test_a_fusion_stands_on_the_encoders_beside_it(folder):
    wanted = checkpoint.read(folder / "fusion").training["encoders"]
    assert wanted["voice"] == checkpoint.digest(folder / "voice")
    assert wanted["face"] == checkpoint.digest(WEIGHTS / "face")


def test_what_is_shipped_and_what_was_scored_share_a_recipe():
    shipped, scored = (checkpoint.read(WEIGHTS / p) for p in ("voice", "heldout/voice"))
    assert shipped.config == scored.config
    for fact in ("recipe", "corpora", "seed", "epochs", "temperature"):
        assert shipped.training[fact] == scored.training[fact]
    held_out = scored.training["held_out_speakers"]
    assert sorted([*scored.training["speakers"], *held_out]) == shipped.training["speakers"]
    assert shipped.training["held_out_speakers"] == []


def test_the_card_has_a_row_for_every_score_file():
    files = {path.name for path in (WEIGHTS / "scores").glob("*.json")}
    assert {row["source"].partition("#")[0] for row in rows()} == files
    assert len(rows()) > 12


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["source"])
def test_a_figure_of_the_card_is_the_one_measured(row):
    found = looked_up(row["source"])
    if isinstance(found, dict):
        low, high = (f"{100 * found[side]:.1f}" for side in ("low", "high"))
        assert row["interval"] == f"{low} to {high}"
        found = found["value"]
    assert row["value"] == f"{100 * found:.1f}"


def test_recalls_of_the_card_are_those_measured():
    table = re.search(r"^\| recall \|.+?\n\n", CARD.read_text(), re.MULTILINE | re.DOTALL)
    header, _, *lines = table[0].strip().splitlines()
    assert [cell.strip() for cell in header.split("|")[2:-1]] == list(EMOTIONS)
    for line in lines:
        name, *cells = [cell.strip() for cell in line.split("|")[1:-1]]
        recall = looked_up(name.strip("`"))
        assert cells == [f"{100 * recall[e]:.0f}" for e in EMOTIONS]


def test_every_score_file_has_the_command_that_wrote_it():
    text = CARD.read_text()
    for path in (WEIGHTS / "scores").glob("*.json"):
        assert re.search(rf"attune score .+ --json \S*{re.escape(path.name)}", text), path.name


def test_the_networks_beat_what_they_have_to_beat():
    voice = looked_up("ravdess_heldout.json#uar")["value"]
    assert voice > looked_up("ravdess_heldout.json#egemaps_svm.uar")["value"]
    assert looked_up("fer2013.json#wa")["value"] > 0.6
    fused = looked_up("paired_heldout.json#fusion.uar")["value"]
    for alone in ("fusion_without_voice", "fusion_without_face", "average_of_the_two_heads"):
        assert fused > looked_up(f"paired_heldout.json#{alone}.uar")["value"]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpus", "model", "file"),
    [
        ("fer2013", None, "fer2013"),
        ("ferplus", None, "ferplus"),
        ("goemotions", None, "goemotions"),
        ("paired", WEIGHTS / "heldout", "paired_heldout"),
        ("tess", None, "tess"),
    ],
)
def test_a_command_gives_the_figures_again(data_root, corpus, model, file):
    from emotion.corpora.archive import default_cache
    from emotion.scoring import score

    found = score(corpus, data_root, model=model, cache=default_cache())
    assert_alike(found, json.loads((WEIGHTS / "scores" / f"{file}.json").read_text()))


def assert_alike(found, wanted):
    """Counts may differ where another processor rounds another way, figures hardly."""
    if isinstance(wanted, dict):
        assert set(found) == set(wanted)
        for key in wanted:
            assert_alike(found[key], wanted[key])
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=0.01)
