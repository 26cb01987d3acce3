"""Private copies of files that are mapped rather than read: nobody truncates or rewrites them under the reader.

A copy is called after the SHA-256 of its octets, so a path stands for one content for as long as it exists, and two
sources with the same file share a copy. It is written aside, made durable and renamed; what is being written has a name
that begins with a dot. Blocking: for a worker.
"""

import contextlib
import hashlib
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tapir.store.files import sync_folder, write_all

_SUFFIX: Final = ".dawg"
_TEMPORARY: Final = ".incoming-"
_ABANDONED: Final = 3600.0
"""seconds after which what is still being written has no writer any more"""


class Incoming:
    """A copy that is being written; made by `receive` only."""

    def __init__(self, folder: Path, descriptor: int, path: Path) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._path = path

    def write(self, block: bytes) -> None:
        """Append `block`. Raises OSError."""
        with _naming(self._folder):
            write_all(self._descriptor, block)

    def octets(self) -> memoryview:
        """What was written, mapped; it may be used for as long as it is held. Raises OSError."""
        with _naming(self._folder):
            return _mapped(self._descriptor)

    def keep(self, digest: str) -> Path:
        """Make the copy durable under the name of its digest; returns the path. Raises OSError."""
        path = self._folder / f"{digest}{_SUFFIX}"
        with _naming(self._folder):
            os.fsync(self._descriptor)
            self._path.replace(path)
            sync_folder(self._folder)
        return path


@contextlib.contextmanager
def receive(folder: Path) -> Iterator[Incoming]:
    """A new copy in `folder`, which is made when there is none; gone at the end unless it was kept.

    Raises OSError, as its methods do, whose `filename` is the folder: a file that has another name at each attempt
    would make another failure of each.
    """
    with _naming(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)  # mode 0600
    try:
        yield Incoming(folder, descriptor, Path(name))
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def map_copy(path: Path) -> memoryview:
    """The octets of a copy, valid for as long as the view is held, also when the file is removed. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return _mapped(descriptor)
    finally:
        os.close(descriptor)


def has_copy(path: Path, *, digest: str) -> bool:
    """Whether there is a copy at `path` of which every octet is as `digest` says."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def sweep(folder: Path, *, keep: Iterable[Path], now: float) -> int:
    """Remove all copies but `keep`, and what was begun an hour before `now`, seconds since the epoch; how many.

    Raises OSError.
    """
    kept = {path.name for path in keep}
    removed = 0
    if not folder.is_dir():
        return removed
    for path in folder.iterdir():
        if path.name in kept:
            continue
        with contextlib.suppress(FileNotFoundError):
            if path.name.startswith(_TEMPORARY):
                if now - path.stat().st_mtime < _ABANDONED:
                    continue
            elif path.suffix != _SUFFIX:
                continue
            path.unlink()
            removed += 1
    return removed


@contextlib.contextmanager
def _naming(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(folder)) from exc


def _mapped(descriptor: int) -> memoryview:
    size = os.fstat(descriptor).st_size
    return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ) if size else b"")
