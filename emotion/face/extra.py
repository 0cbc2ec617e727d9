"""What the extra `landmarks` brings: dlib and the files of its networks, found but not imported.

`face_recognition_models` is a folder of files; importing it needs pkg_resources, which newer
setuptools lack.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from emotion.errors import InputError

__all__ = ["dlib_file", "has_dlib", "import_dlib"]


def has_dlib() -> bool:
    """Whether the extra is installed, found out without loading it."""
    return find_spec("dlib") is not None and find_spec("face_recognition_models") is not None


def import_dlib() -> Any:
    """Import dlib.

    Raises:
        InputError: If the extra is not installed.
    """
    if not has_dlib():
        raise InputError("Expected dlib and its files from the extra landmarks, found none.")
    import dlib

    return dlib


def dlib_file(name: str) -> str:
    """Find one of the files that come with face_recognition_models.

    Args:
        name: Such as "shape_predictor_68_face_landmarks.dat".

    Raises:
        InputError: If the package or the file is not there.
    """
    spec = find_spec("face_recognition_models")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        file = Path(folder) / "models" / name
        if file.is_file():
            return str(file)
    raise InputError(f"Expected {name} from the extra landmarks, found none.")
