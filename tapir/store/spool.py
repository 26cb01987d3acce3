"""Spools on disk: a file for the running interval, which only grows, and goes when the interval's own file is there.

A file is called by when its interval began, and just before the interval's own file gets its name, by that as well: who
finds both after a crash need not guess whether the one was made of the other.

    1779971660000000.spool
    1779971660000000.dns_histogram-2026-05-28T12-34-20Z_2026-05-28T12-35-00Z.parquet.spool

Blocking: for a worker, or for the thread whose blocks it keeps.
"""

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tapir.store.errors import StoreFull
from tapir.store.files import sync_folder, write_all

_SUFFIX: Final = ".spool"
_MODE: Final = 0o600


class SpoolFile:
    """The spool of the running interval; made by `SpoolFolder.begin`. Its methods raise StoreFull."""

    def __init__(self, path: Path, *, limit: int) -> None:
        self.path = path
        self._limit = limit
        self._size = 0
        self.short = False
        """whether something was left out: from then on nothing more is taken, for what follows would not open"""
        with _told(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, _MODE)

    def __repr__(self) -> str:
        return f"<SpoolFile {self.path.name}, {self._size} octets>"

    def append(self, octets: bytes) -> bool:
        """Add `octets` at the end; whether they were taken. What the disk does not take leaves nothing behind."""
        if self.short or self._size + len(octets) > self._limit:
            self.short = True
            return False
        try:
            with _told(self.path):
                write_all(self._descriptor, octets)
        except StoreFull:
            self.short = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(octets)
        return True

    def sync(self) -> None:
        """Make what was taken survive a power cut; a crash of the process it survives anyway."""
        with _told(self.path):
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Take no more; the file stays."""
        os.close(self._descriptor)


class SpoolFolder:
    """The folder of spools. Its methods raise StoreFull when the disk does not do it."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        """`limit` is how many octets a spool takes at most."""
        self._folder = folder
        self._limit = limit

    def begin(self, start: int) -> SpoolFile:
        """A new spool for the interval that begins at `start`, microseconds since the epoch."""
        with _told(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{start}{_SUFFIX}"
        number = 0
        while path.exists():
            number += 1
            path = self._folder / f"{start}-{number}{_SUFFIX}"
        spool = SpoolFile(path, limit=self._limit)
        with _told(self._folder):
            sync_folder(self._folder)
        return spool

    def left(self) -> list[Path]:
        """The spools that are there: before the first `begin`, those of intervals that have no file of their own."""
        with _told(self._folder), contextlib.suppress(FileNotFoundError):
            return sorted(path for path in self._folder.iterdir() if path.suffix == _SUFFIX and path.is_file())
        return []

    def octets(self, path: Path) -> memoryview:
        """What is in a spool, mapped; valid for as long as it is held."""
        with _told(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                size = os.fstat(descriptor).st_size
                return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ) if size else b"")
            finally:
                os.close(descriptor)

    def mark(self, path: Path, name: str) -> Path:
        """Say that the interval of the spool at `path` becomes the file of this name; where the spool is now."""
        marked = path.with_name(f"{path.name.partition('.')[0]}.{name}{_SUFFIX}")
        with _told(path):
            path.rename(marked)
        return marked

    def remove(self, path: Path) -> None:
        """Remove a spool, whose interval has its own file now."""
        with _told(path):
            path.unlink(missing_ok=True)


def marked_name(path: Path) -> str:
    """The name of the file that the interval of this spool was to become; empty as long as there was none."""
    return path.name.removesuffix(_SUFFIX).partition(".")[2]


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreFull(path=path, reason=exc.strerror or str(exc)) from exc
