"""One process at a time in a folder: held until it is given back, or until the process ends in whatever way."""

import contextlib
import fcntl
import os
from pathlib import Path

from tapir.store.errors import FolderInUse

_MODE = 0o750


class FolderHold:
    """A folder that is ours. Nothing is written for it, so a full disk holds as well as any other."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> "FolderHold":
        """Hold the folder at `path`, made with its parents (mode 0750) when there is none. Blocks.

        Raises FolderInUse while another holds it. A folder that cannot be made or opened is not held: who uses it
        finds that out, says so, and can write nothing there.
        """
        with contextlib.suppress(OSError):
            path.mkdir(mode=_MODE, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return cls(None)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FolderInUse(path=path) from None
        except OSError:
            # A file system without locks.
            os.close(descriptor)
            return cls(None)
        return cls(descriptor)

    def close(self) -> None:
        """Give it back; closing twice is fine."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
