"""Whether an LMDB environment can be used without its library ending the process.

LMDB does not check what it reads, and on some damage it ends the process. So a mark on disk says that a call is under
way. Who finds it set at the next start has another process read everything first (some seconds for 10 million names):
one that ends like that says that the environment is damaged, and so does a third process that ended within a call with
none completed in between.

    python -m tapir.store.seencheck PATH
"""

import contextlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import lmdb

SIDE_FILE: Final = "-busy"

_PATIENCE: Final = 3
_MODE: Final = 0o600


class BusyMark:
    """The mark beside the environment at `path`. That it cannot be written is borne: it serves only in misfortune."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        self.ends = 0
        """how many processes in a row ended within a call, before this one"""
        with contextlib.suppress(OSError):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path.with_name(path.name + SIDE_FILE), flags, _MODE)
            found = os.pread(self._descriptor, 1, 0)
            self.ends = found[0] if found else 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A call is under way; however it ends, it did not end the process."""
        self._write(min(self.ends + 1, 255))
        try:
            yield
        finally:
            self.ends = 0
            self._write(0)

    def clear(self) -> None:
        """The environment is a new one."""
        self.ends = 0
        self._write(0)

    @property
    def is_hopeless(self) -> bool:
        return self.ends >= _PATIENCE

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, value: int) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, bytes((value,)), 0)


def find_damage(path: Path) -> str | None:
    """Have another process read all of the environment; what it found, None for nothing."""
    command = [sys.executable, "-m", __name__, str(path)]
    # Ourselves, and a path of our own.
    result = subprocess.run(  # noqa: S603
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if result.returncode == 0:
        return None
    if result.returncode < 0:
        return f"reading all of it ended a process by signal {-result.returncode}"
    return result.stderr.decode(errors="replace").strip().rpartition("\n")[2] or "it cannot be read"


def read_all(path: Path) -> None:
    """Read every entry of every database; raises what LMDB raises."""
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False, max_dbs=16) as environment:
        with environment.begin() as transaction, transaction.cursor() as names:
            databases = [bytes(name) for name in names.iternext(keys=True, values=False)]
        for name in databases:
            database = environment.open_db(name, create=False)
            with environment.begin(db=database) as transaction, transaction.cursor() as cursor:
                deque(cursor.iternext(keys=False, values=True), maxlen=0)


if __name__ == "__main__":
    read_all(Path(sys.argv[1]))
