"""The whole experiment on stand-ins, and the files it leaves."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html import escape

import pytest

from dialogue.empathy import comparison
from dialogue.empathy.document import Exchanged, Fold, Grid, Lead, Text, to_html, to_markdown
from dialogue.empathy.evaluation import Instruments, Request, evaluate
from dialogue.empathy.generation import Speaker
from dialogue.empathy.journal import Journal
from dialogue.empathy.report import answer, sections, write_report
from dialogue.errors import InputError


@pytest.fixture
def run(exchanges, empathy_fakes):
    def run_(journal=None, model=None, **request):
        given = {"source": "tiny", "exchanges": exchanges, "resamples": 500} | request
        instruments = Instruments(
            empathy_fakes.reader,
            empathy_fakes.scorer,
            "counting",
            Speaker(model or empathy_fakes.model(), {"kind": "Echo"}, batch=1),
        )
        return evaluate(Request(**given), instruments, Journal() if journal is None else journal)

    return run_


def contrast_of(report, row, other):
    return next(c for c in report["contrasts"] if (c["row"], c["other"]) == (row, other))


def test_an_effect_that_is_there_is_found_and_one_that_is_not_is_not(run, monkeypatch):
    monkeypatch.setattr(comparison, "LEAST_TESTED", 12)
    report = run().report
    found = contrast_of(report, "predicted", "none")["measures"]
    assert found["emotional_reactions"]["value"] == pytest.approx(2 * 8 / 12)
    assert found["emotional_reactions"]["p_holm"] < 0.05
    assert found["interpretations"]["p_holm"] == 1
    assert found["nats_a_token"]["value"] < 0
    costs = contrast_of(report, "oracle", "predicted")["measures"]
    assert all(one["value"] == 0 for one in costs.values())
    assert "**Better: emotional reactions" in answer(report)


def test_nothing_is_claimed_from_a_handful(run):
    report = run().report
    for contrast in report["contrasts"]:
        found = contrast["measures"].values()
        assert all("p_holm" not in one and one["detectable"] is None for one in found)
    assert "**Too few to tell" in answer(report)
    assert "▲" not in to_markdown("", list(sections(report)))[200:].split("does not.")[1]


def test_rows_of_reference_stand_beside_the_arms(run):
    rows = {row["name"]: row for row in run().report["rows"]}
    arms = ["none", "predicted", "oracle", "shuffled", "neutral"]
    assert list(rows) == [*arms, "human", "canned"]
    assert rows["canned"]["means"]["emotional_reactions"]["value"] == 2
    assert rows["canned"]["whole"]["variety"]["distinct_replies"] == pytest.approx(1 / 12, abs=1e-6)
    assert rows["none"]["whole"]["perplexity"] > rows["oracle"]["whole"]["perplexity"]
    assert "perplexity" not in rows["human"]["whole"]
    assert "bleu" not in rows["human"]["whole"]


def test_two_runs_give_the_same_bytes_also_when_one_was_killed(run, tmp_path, empathy_fakes):
    counted = empathy_fakes.model()
    whole = json.dumps(run(model=counted).report)
    killed = empathy_fakes.model(die_after=30)
    with pytest.raises(KeyboardInterrupt):
        run(Journal(tmp_path / "j"), killed)
    fresh = empathy_fakes.model()
    assert json.dumps(run(Journal(tmp_path / "j"), fresh).report) == whole
    assert fresh.asked == counted.asked - 30
    assert json.dumps(run().report) == whole
    assert json.dumps(run(seed=1).report) != whole


def test_the_report_freezes_what_was_tested(run, exchanges):
    report = run().report
    assert report["set"]["items"] == [[e.id, e.sha256] for e in exchanges]
    settings = report["settings"]
    assert settings["model"] == {"kind": "Echo"}
    assert set(settings["prompts_sha256"]) == set(settings["arms"])
    assert settings["predicted_from"] == {"words": 12}
    assert (settings["seed"], settings["resamples"]) == (0, 500)


def test_ready_made_replies_of_other_systems_are_judged(run):
    systems = {"warm": ["I am so sorry?"] * 12, "cold": ["Next."] * 12}
    report = run(arms=(), systems=systems).report
    assert [row["name"] for row in report["rows"]] == ["warm", "cold", "human", "canned"]
    (contrast,) = report["contrasts"]
    assert (contrast["row"], contrast["other"]) == ("cold", "warm")
    assert contrast["measures"]["emotional_reactions"]["value"] == -2
    assert report["missing"]["nats_a_token"] == "ready-made replies, no model"
    assert report["settings"]["model"] is None


def test_systems_beside_arms_are_held_against_predicted(run):
    report = run(systems={"warm": ["I am sorry."] * 12}).report
    assert contrast_of(report, "warm", "predicted")["measures"]["words"]["value"] != 0


@pytest.mark.parametrize("name", ["none", "human", "canned"])
def test_a_system_needs_a_name_of_its_own(run, name):
    with pytest.raises(InputError, match=f"Expected a system not called {name}"):
        run(systems={name: ["Oh."] * 12})


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(9)</script>",
        'x"><img src=http://elsewhere.test/a onerror=alert(8)>',
        r"C:\models\llama",
        "costs $5_{ and $6",
        "half a \ufffd",
    ],
)
def test_a_system_may_be_called_anything(run, tmp_path, name):
    """What is drawn names it too, as text alone."""
    result = run(arms=(), systems={name: ["Oh."] * 12, "two": ["I see."] * 12})
    write_report(result, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert escape(name) in page
    assert not re.search(r"<(?:script|img|link|iframe)\b", page)
    for drawn in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawn)


def test_one_system_alone_is_compared_with_nothing(run, tmp_path):
    result = run(arms=(), systems={"one": ["Oh."] * 12})
    assert "Nothing is compared" in answer(result.report)
    write_report(result, tmp_path)
    with pytest.raises(InputError, match="got neither"):
        run(arms=())


def test_equal_lengths_are_compared_apart(run):
    systems = {"a": ["Oh my."] * 12, "b": ["Oh no."] * 6 + ["I am really very sorry for you."] * 6}
    contrast = run(arms=(), systems=systems).report["contrasts"][0]
    assert contrast["length_matched"] == 6
    found = contrast["measures"]["emotional_reactions"]
    assert found["value"] == 1
    assert found["length_matched"]["value"] == 0


def test_groups_are_looked_at_apart(run):
    groups = {(g["split"], g["group"]): g for g in run().report["groups"]}
    assert groups["kind", "ordinary"]["dialogues"] == 12
    assert ("feeling", "sad") not in groups  # four are too few


# -- files ----------------------------------------------------------------------------------------


@pytest.fixture
def written(run, tmp_path):
    write_report(run(), tmp_path)
    return tmp_path


def test_the_page_needs_nothing_else(written):
    page = (written / "report.html").read_text()
    loaded = re.findall(r"""(?:src|href)=["']([^"'#][^"']*)|url\(["']?([^#"')][^)]*)""", page)
    assert loaded == []
    assert not re.search(r"<(?:script|link|iframe|img|object)\b|@import", page)
    outside = set(re.findall(r"https?://[^\"'\s<]+", page))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_page_is_well_formed_and_its_ids_are_unique(written):
    page = (written / "report.html").read_text()
    body = page[page.index("<main>") : page.index("</main>") + len("</main>")]
    ElementTree.fromstring(body.replace("&nbsp;", " "))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 10
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_the_page_serves_those_who_do_not_see_it(written):
    page = (written / "report.html").read_text()
    assert page.count("<svg") == page.count('role="img" aria-label=') > 5
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert "▲" in page
    assert not re.search(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]\b", page)  # every colour is the page's


def test_markdown_says_the_same(written):
    text = (written / "report.md").read_text()
    report = json.loads((written / "report.json").read_text())
    for contrast in report["contrasts"]:
        assert f"{contrast['row']} − {contrast['other']}: {contrast['question']}" in text
    value = contrast_of(report, "predicted", "none")["measures"]["emotional_reactions"]["value"]
    assert f"+{value:.3f}" in text
    assert "A scorer of words can be gamed" in text
    assert "predicted from words in 12 dialogues" in text


def test_every_reply_is_kept(written):
    records = [json.loads(line) for line in (written / "replies.jsonl").read_text().splitlines()]
    assert len(records) == 6 * 12
    assert records[0] == {
        "id": "t0",
        "system": "none",
        "reply": "I see, number0.",
        "epitome": [0, 0, 0],
    }


def test_texts_can_be_left_out_of_everything(run, tmp_path):
    write_report(run(omit_texts=True), tmp_path)
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert "My dog died" not in text
        assert "Oh, number" not in text
        assert "I am sorry, number0" in text or path.suffix != ".jsonl"


def test_a_folder_that_cannot_be_written_is_one_sentence(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Expected a folder that can be written"):
        write_report(run(), tmp_path / "file")


def test_words_of_people_are_never_markup():
    nasty = '<script>alert("x")</script> | `code`'
    blocks = [
        Text(nasty),
        Lead(nasty, [("1", nasty)]),
        Grid(nasty, [nasty], [[nasty, nasty]]),
        Fold(nasty, [Exchanged(nasty, [("Person", nasty)], [("none", nasty)])]),
    ]
    page = to_html(nasty, blocks)
    assert "<script" not in page
    assert "\\|" in to_markdown("title", blocks)


@pytest.mark.browser
def test_the_page_fits_a_telephone_and_loads_nothing(written):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium")
    loaded = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 800})
        page.on("request", lambda request: loaded.append(request.url))
        page.goto((written / "report.html").as_uri())
        for summary in page.locator("summary").all():
            summary.click()
        wide = page.evaluate("document.documentElement.scrollWidth")
        letters = page.evaluate(
            "Math.min(...[...document.querySelectorAll('svg text')]"
            ".map(text => text.getBoundingClientRect().height))"
        )
        browser.close()
    assert wide == 360
    assert letters > 9  # pixels
    assert loaded == [(written / "report.html").as_uri()]
