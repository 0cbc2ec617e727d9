"""Habits of the whole tree, kept by test."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("emotion", "dialogue", "integration", "ui")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MEDIA = {".wav", ".flac", ".mp3", ".mp4", ".avi", ".mov", ".y4m", ".webm", ".jpg", ".jpeg"}

# Each call would change the whole process of whoever imports us.
FORBIDDEN_CALLS = {
    "print": "library code does not print",
    "basicConfig": "logging is set up by the application",
    "manual_seed_all": "randomness is passed in",
    "pickle.load": "no pickle is read",
    "pickle.loads": "no pickle is read",
}


def tracked():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).is_file()]


def called(node):
    parts = []
    function = node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        parts.append(function.id)
    return ".".join(reversed(parts))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_library_code_leaves_the_process_alone(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        for forbidden, reason in FORBIDDEN_CALLS.items():
            if name == forbidden or name.endswith(f".{forbidden}"):
                assert path.name == "cli.py", f"{path}:{node.lineno}: {name}: {reason}"
        if name == "torch.load":
            safe = [k for k in node.keywords if k.arg == "weights_only"]
            assert safe, f"{path}:{node.lineno}: torch.load without weights_only=True"
            assert safe[0].value.value is True


def test_this_distribution_alone_owns_its_generic_import_names():
    owners = packages_distributions()
    for package in PACKAGES:
        # An editable install lists no files, so it is no owner here; any other one would be.
        assert set(owners.get(package) or ()) <= {"attune"}
        assert Path(find_spec(package).origin).parent == ROOT / package


def test_every_dependency_is_pinned_by_name_version_and_marker_only():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pin = re.compile(r'^[\w.\-]+==[\w.+!]+(; python_version [!=]= "3\.\d+")?$')
    assert [line for line in lines if not pin.match(line)] == []
    pinned = {normal(line.split("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    assert {normal(re.split(r"[<>=;\[ ]", line)[0]) for line in wanted} - pinned == set()


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_tree_is_small_and_holds_no_recording():
    files = tracked()
    assert sum(path.stat().st_size for path in files) < 50e6
    assert [path for path in files if path.suffix.lower() in MEDIA] == []


def test_bundled_weights_keep_their_budgets():
    def size(folder):
        return sum(f.stat().st_size for f in (ROOT / folder).rglob("*") if f.is_file())

    assert size("emotion/weights") < 12e6
    assert size("emotion/weights/words") < 3e6
    assert size("dialogue/weights") < 26e6
    shards = [f for f in ROOT.glob("*/weights/**/*.safetensors") if f.stat().st_size > 15e6]
    assert shards == []


def test_the_wheel_carries_the_weights_and_their_cards(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for part in ("face", "voice", "fusion", "words"):
        assert f"emotion/weights/{part}/model.safetensors" in names
    assert {"emotion/weights/MODEL_CARD.md", "dialogue/weights/MODEL_CARD.md"} <= names
    assert "dialogue/weights/model.safetensors" in names
    assert {"dialogue/empathy/builtin.jsonl", "dialogue/empathy/report.css"} <= names
    packages = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert packages == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_docstring_examples_run(package):
    import doctest
    from importlib import import_module

    for path in sorted((ROOT / package).rglob("*.py")):
        if ">>>" not in path.read_text():
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        results = doctest.testmod(import_module(module), optionflags=doctest.ELLIPSIS)
        assert results.failed == 0, module
