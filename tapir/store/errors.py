"""What can go wrong with stored state, split by what the caller can still count on."""

from pathlib import Path

from tapir.model.errors import TapirError


class StoreError(TapirError):
    """Stored state could not be read or written; `path` says where, `reason` what."""

    def __init__(self, *, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class StoreFull(StoreError):
    """The store takes nothing now (disk full, quota, read-only, I/O error); what it held is intact.

    The call that raised this wrote nothing. The same call may succeed later.
    """


class StoreCorrupt(StoreError):
    """What is stored cannot be trusted or read; it is to be quarantined, and a new store begun."""


class StoreFormatUnknown(StoreCorrupt):
    """The store was written in a format that this version of tapir does not know."""


class StoreOutOfStep(StoreError):
    """The caller's change does not follow what is stored; nothing was written."""


class StateUnusable(StoreError):
    """The state folder cannot be used: permissions, not a folder, or the format of a newer tapir."""


class StateLocked(StoreError):
    """Another process has the state folder; `pid` is its process id, None when it has not said so yet."""

    def __init__(self, *, path: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(path=path, reason=f"the state folder is in use by {holder}")
        self.pid = pid


class FolderInUse(StoreError):
    """Another process writes into the folder, and two would spoil each other's files."""

    def __init__(self, *, path: Path) -> None:
        super().__init__(path=path, reason="the folder is in use by another process")
