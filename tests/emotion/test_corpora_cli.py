"""`attune corpora`, from the arguments to what is printed."""

import json
import os
from pathlib import Path

import pytest

from emotion import CorpusError
from emotion.corpora.registry import CORPORA


@pytest.fixture
def listed(attune, capsys):
    def run(*arguments):
        assert attune("corpora", *arguments) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def root(tmp_path):
    """A good corpus, one with an unknown label, and a broken zip."""
    for name in ("emodb/wav/03a01Wa.wav", "emodb/wav/11b03Tc.wav", "savee/DC/x01.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "tess.zip").write_bytes(b"no zip")
    return tmp_path


def rows(text):
    return {row["name"]: row for row in json.loads(text)}


def test_every_corpus_is_listed_without_data(listed):
    text = listed()
    for corpus in CORPORA.values():
        assert corpus.title in text
        assert corpus.licence in text
        assert corpus.url in text
    assert "train 773, valid 383, test 653" in text
    assert "found" not in text
    assert all(row["found"] is None for row in rows(listed("--json")).values())


def test_what_is_there_is_counted_beside_the_official_figures(listed, root):
    found = rows(listed("--data", root, "--json"))
    assert found["emodb"]["official"]["clips"] == 535
    assert found["emodb"]["found"] == {
        "path": str(root / "emodb"),
        "clips": 2,
        "speakers": 2,
        "splits": {},
        "emotions": {"angry": 1, "sad": 1},
        "with_face": 0,
        "with_voice": 2,
        "beside": None,
    }
    assert found["afew"]["found"] is None
    assert "error" not in found["afew"]


def test_a_damaged_corpus_does_not_end_the_list(listed, root):
    found = rows(listed("--data", root, "--json"))
    assert set(found) == set(CORPORA)
    assert "got 'x'" in found["savee"]["error"]
    assert "Expected a zip archive" in found["tess"]["error"]
    text = listed("--data", root)
    assert "  error     Expected an emotion among a, d, f, h, n, sa, su in DC/x01.wav" in text
    assert "  found     2 clips; 2 speakers; angry 1, sad 1" in text
    assert "  found     not found: afew or AFEW" in text


def test_what_may_not_be_read_is_an_error_of_that_corpus(listed, root, monkeypatch):
    scandir, exists = os.scandir, Path.exists

    def refusing(path):
        if Path(path).name == "wav":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def hidden(path, **options):
        if path.name == "SAVEE":
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path, **options)

    (root / "savee/DC/x01.wav").unlink()
    (root / "savee/DC").rmdir()
    (root / "savee").rmdir()
    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr(Path, "exists", hidden)
    found = rows(listed("--data", root, "--json"))
    assert "Permission denied" in found["emodb"]["error"]
    assert "Permission denied" in found["savee"]["error"]


def test_the_folder_may_come_from_the_environment(listed, root, monkeypatch):
    monkeypatch.setenv("ATTUNE_DATA", str(root))
    assert "angry 1, sad 1" in listed()


def test_a_wrong_folder_is_told(listed):
    with pytest.raises(CorpusError, match="Expected a folder of corpora at /nowhere, found none"):
        listed("--data", "/nowhere")


@pytest.mark.data
def test_the_real_corpora(listed, data_root):
    found = rows(listed("--data", data_root, "--json"))
    counts = {name: row["found"]["clips"] for name, row in found.items() if row["found"]}
    known = {"fer2013": 31_399, "ravdess": 1080, "emodb": 208, "tess": 980}
    assert counts.items() >= known.items()
    assert found["fer2013"]["found"]["speakers"] is None
    assert found["fer2013"]["found"]["beside"].endswith("fer2013new.csv")
    assert not any("error" in row for row in found.values())
