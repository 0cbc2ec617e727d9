"""Reads a corpus from its folder or straight from its zip, and keeps decoded arrays in a cache."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from emotion.errors import CorpusError

__all__ = ["Archive", "cached_arrays", "decode_audio", "default_cache"]

Arrays = Mapping[str, npt.NDArray[Any]]


class Archive:
    """The files of a corpus, in a zip or in a folder, by their path inside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def find(cls, root: Path, places: Sequence[str]) -> Archive:
        """Open the first of `places` (files or folders relative to `root`) that exists.

        Raises:
            CorpusError: If none does.
        """
        for place in places:
            if (root / place).exists():
                return cls(root / place)
        raise CorpusError(f"Expected {' or '.join(places)} in {root}, found neither.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Paths of all files, sorted."""
        if self._zip is not None:
            return tuple(sorted(n for n in self._zip.namelist() if not n.endswith("/")))
        found = (p for p in self.path.rglob("*") if p.is_file())
        return tuple(sorted(p.relative_to(self.path).as_posix() for p in found))

    def read(self, name: str) -> bytes:
        """Content of one file.

        Raises:
            CorpusError: If it is missing or damaged.
        """
        try:
            return (self.path / name).read_bytes() if self._zip is None else self._zip.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise CorpusError(f"Expected {name} in {self.path}, got: {error}") from error

    @cached_property
    def fingerprint(self) -> str:
        """Changes when a file's name, size or content (in a zip) or date (in a folder) does."""
        if self._zip is not None:
            facts = [f"{i.filename} {i.file_size} {i.CRC}" for i in self._zip.infolist()]
        else:
            stats = ((name, (self.path / name).stat()) for name in self.names)
            facts = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
        return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()[:16]

    @cached_property
    def _zip(self) -> zipfile.ZipFile | None:
        if self.path.is_dir():
            return None
        try:
            return zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise CorpusError(f"Expected a zip archive at {self.path}, got: {error}") from error


def decode_audio(content: bytes, sample_rate_hz: int) -> npt.NDArray[np.float32]:
    """Decode an audio file to mono at a rate.

    Args:
        content: Bytes of a file in any container FFmpeg reads.
        sample_rate_hz: Wanted rate.

    Returns:
        (sample,) in [-1, 1].

    Raises:
        CorpusError: If it holds no sound that can be decoded.
    """
    resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate_hz)
    try:
        with av.open(io.BytesIO(content)) as container:
            decoded = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
            decoded += resampler.resample(None)
    except (av.FFmpegError, IndexError) as error:
        raise CorpusError(f"Expected an audio file, got bytes that fail with: {error}") from error
    pieces = [frame.to_ndarray()[0] for frame in decoded]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def default_cache() -> Path:
    """Folder of decoded corpora: attune inside $XDG_CACHE_HOME, or inside ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attune"


def cached_arrays(key: str, cache: Path | None, make: Callable[[], Arrays]) -> Arrays:
    """Arrays made once and read from a file afterwards.

    Args:
        key: Names content and settings; a change of either must change it.
        cache: Folder of the files, or None to make the arrays every time.
        make: Makes the arrays.
    """
    from safetensors.numpy import load_file, save_file

    if cache is None:
        return make()
    path = cache / f"{key}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        save_file({k: np.array(v, order="C") for k, v in make().items()}, partial)
        partial.replace(path)
    arrays: Arrays = load_file(path)
    return arrays
