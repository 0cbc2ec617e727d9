"""The tables of this package that people read and mend: TOML beside the code that follows them."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["read_table"]


@cache
def read_table(name: str) -> dict[str, Any]:
    """Read a table of this package by the name of its file."""
    return tomllib.loads((files("dialogue") / name).read_text(encoding="utf-8"))
