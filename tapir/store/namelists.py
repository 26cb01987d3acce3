"""Lists of names that EDM looks up, DAWG files: copied first, and only the copy is looked at, all of it.

The file may be replaced or cut at any time, and a mapped file that gets shorter ends the process. The copy lies in the
staging folder for as long as it is read; it has no name there that anyone else could open afterwards. Blocking: for a
worker, which may hang with the file system.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

import attrs

from tapir.codec.dawg import Dawg, DawgError, parse_dawg
from tapir.store.errors import StoreError
from tapir.store.staging import Incoming, receive

SIZE_LIMIT: Final = 1 << 28
"""octets of a file: to check one takes ten octets of memory for each of these at most"""

_BLOCK: Final = 1 << 20


class NameListUnusable(StoreError):
    """The file cannot be read, or is no DAWG; what was in effect before still is."""


@attrs.frozen(kw_only=True, eq=False)
class NameList:
    """A list that was checked; `digest` is the SHA-256 of its octets, which says whether it is another than before."""

    dawg: Dawg
    digest: str


def read_name_list(path: Path, *, staging: Path) -> NameList | None:
    """The list in the file at `path`; None when that is empty. Raises NameListUnusable."""
    try:
        with receive(staging) as copy:
            digest = _copy(path, copy)
            octets = copy.octets()
            return NameList(dawg=parse_dawg(octets), digest=digest) if len(octets) else None
    except DawgError as exc:
        raise NameListUnusable(path=path, reason=f"is no DAWG: {exc}") from exc
    except OSError as exc:
        where = "" if exc.filename in (None, str(path)) else f" ({exc.filename})"
        raise NameListUnusable(path=path, reason=f"{exc.strerror or exc}{where}") from exc


def _copy(path: Path, copy: Incoming) -> str:
    """Copy the file; the SHA-256 of its octets. Raises OSError, and NameListUnusable where it changes meanwhile."""
    digest = hashlib.sha256()
    # Not to wait for a writer, should the file be a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        before = os.fstat(descriptor)
        if before.st_size > SIZE_LIMIT:
            raise NameListUnusable(path=path, reason=f"has {before.st_size} octets, {SIZE_LIMIT} are allowed")
        left = before.st_size
        while left > 0 and (block := os.read(descriptor, min(_BLOCK, left))):
            copy.write(block)
            digest.update(block)
            left -= len(block)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if left or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise NameListUnusable(path=path, reason="changed while it was read")
    return digest.hexdigest()
