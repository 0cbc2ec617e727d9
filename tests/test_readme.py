"""What the README shows is run."""

import re
import shlex
from pathlib import Path

import pytest

from ui.cli import parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("attune ")]


@pytest.mark.parametrize("command", commands())
def test_every_command_shown_is_one_attune_understands(command):
    parser().parse_args(shlex.split(command)[1:])


def test_there_are_commands_and_examples():
    assert len(commands()) >= 5
    assert len(blocks("python")) >= 2


@pytest.mark.data
@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_example_runs(code, data_root, monkeypatch, tmp_path):
    clip = data_root / "clips" / "01-01-06-01-02-01-09.mp4"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").symlink_to(clip)
    exec(compile(code, "README.md", "exec"), {})


def test_every_file_the_readme_links_to_exists():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert links


def test_every_score_of_the_readme_is_in_the_card():
    card = (ROOT / "emotion" / "weights" / "MODEL_CARD.md").read_text()
    rows = [
        line.split("|")[2]
        for line in README.splitlines()
        if line.startswith(("| faces", "| voice", "| words"))
    ]
    figures = [figure for row in rows for figure in re.findall(r"\d+\.\d", row)]
    assert len(figures) == 13
    assert [figure for figure in figures if figure not in card] == []


def test_every_figure_of_the_comparison_is_in_its_table():
    table = (ROOT / "benchmarks" / "compare.md").read_text()
    section = README.split("### What the comparison shows")[1].split("\n## ")[0]
    figures = re.findall(r"[+−]?\d+\.\d", section)
    assert len(figures) > 15
    assert [f for f in figures if f.replace("−", "-") not in table] == []


def test_every_interval_of_the_evaluation_is_in_its_report():
    section = README.split("## Does knowing the emotion help?")[1].split("\n## ")[0]
    found = re.findall(r"[+−]\d\.\d+ \[[^]]+\]", section)
    reports = (ROOT / "benchmarks" / "evaluate").glob("*/report.md")
    told = "".join(path.read_text() for path in reports).replace(" | [", " [")
    assert len(found) == 6
    assert [figure for figure in found if figure not in told] == []
