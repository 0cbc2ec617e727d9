"""Reads a corpus from its folder or straight from its zip, and keeps decoded arrays in a cache."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
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
    """The files of a corpus by their path inside it: a folder, a zip, or a folder with zips in it.

    A zip inside a folder counts as a folder of its name, so that corpora that come as one zip an
    actor are read as they were downloaded. What macOS adds (`__MACOSX`, `._name`) is left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened_by: tuple[int, dict[str, zipfile.ZipFile]] | None = None

    def __reduce__(self) -> tuple[type[Archive], tuple[Path]]:
        """Another process opens the files itself."""
        return Archive, (self.path,)

    @classmethod
    def find(cls, root: Path, places: Sequence[str]) -> Archive:
        """Open the first of `places` (files or folders relative to `root`) that exists.

        Raises:
            CorpusError: If none does, or `root` may not be looked into.
        """
        place = cls.place(root, places)
        if place is None:
            raise CorpusError(f"Expected {' or '.join(places)} in {root}, found neither.")
        return cls(place)

    @staticmethod
    def place(root: Path, places: Sequence[str]) -> Path | None:
        """Look for the first of `places` that exists; None if none does.

        Raises:
            CorpusError: If `root` may not be looked into.
        """
        try:
            return next((root / place for place in places if (root / place).exists()), None)
        except OSError as error:
            raise CorpusError(f"Expected a readable folder at {root}, got: {error}") from error

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Paths of all files, sorted."""
        found = [name for name in self._files if not name.lower().endswith(".zip")]
        for prefix, opened in self._zips.items():
            found += [prefix + n for n in opened.namelist() if not n.endswith("/")]
        return tuple(sorted(name for name in found if not _junk(name)))

    def read(self, name: str) -> bytes:
        """Content of one file.

        Raises:
            CorpusError: If it is missing or damaged, or a zip asks for a password.
        """
        try:
            prefix = self._prefix(name)
            if prefix is None:
                return (self.path / name).read_bytes()
            return self._zips[prefix].read(name.removeprefix(prefix))
        except _UNREADABLE as error:
            raise CorpusError(f"Expected {name} in {self.path}, got: {error}") from error

    @cached_property
    def fingerprint(self) -> str:
        """Changes when a file's name, size or content (in a zip) or date (in a folder) does."""
        if self.path.is_dir():
            stats = ((name, (self.path / name).stat()) for name in self._files)
            facts = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
        else:
            facts = [f"{i.filename} {i.file_size} {i.CRC}" for i in self._zips[""].infolist()]
        return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()[:16]

    @cached_property
    def _files(self) -> tuple[str, ...]:
        """Paths of the files on the disk, none where the corpus is one zip."""

        def refuse(error: OSError) -> None:
            raise error  # rglob would leave out in silence what may not be read

        try:
            if not self.path.is_dir():
                return ()
            walked = os.walk(self.path, onerror=refuse)
            found = (Path(folder, name) for folder, _, names in walked for name in names)
            return tuple(p.relative_to(self.path).as_posix() for p in found if p.is_file())
        except OSError as error:
            raise CorpusError(f"Expected folders that may be read, got: {error}") from error

    @property
    def _zips(self) -> dict[str, zipfile.ZipFile]:
        """Opened zips by what stands before the names of their files."""
        # A process that was forked off shares its place in a file with its parent.
        if self._opened_by is None or self._opened_by[0] != os.getpid():
            self._opened_by = os.getpid(), self._open_zips()
        return self._opened_by[1]

    def _open_zips(self) -> dict[str, zipfile.ZipFile]:
        if not self.path.is_dir():
            return {"": _opened(self.path)}
        inner = [name for name in self._files if name.lower().endswith(".zip") and not _junk(name)]
        return {f"{name}/": _opened(self.path / name) for name in inner}

    def _prefix(self, name: str) -> str | None:
        """Which of the zips holds a file; None for one on the disk."""
        return next((prefix for prefix in self._zips if name.startswith(prefix)), None)


# A zip with a password raises RuntimeError, one of an unknown compression NotImplementedError.
_UNREADABLE = (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise CorpusError(f"Expected a zip archive at {path}, got: {error}") from error


def _junk(name: str) -> bool:
    return "__MACOSX/" in name or name.rpartition("/")[2].startswith("._")


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

    Raises:
        CorpusError: If the folder cannot be written, or what lies there is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    if cache is None:
        return make()
    path = cache / f"{key}.safetensors"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
        raise CorpusError(f"Expected a folder to write at {cache}, got: {reason}.") from error
    if not path.exists():
        arrays = {k: np.array(v, order="C") for k, v in make().items()}
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            save_file(arrays, partial)
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            raise CorpusError(f"Expected room to write {path}, got: {error}") from error
    try:
        kept: Arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorpusError(f"Expected whole arrays in {path}, got: {error}; delete it.") from error
    return kept
