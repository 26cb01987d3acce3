"""The state folder: one process at a time, a known format, and where everything in it lies.

<folder>/lock                       flock, with the process id of its holder
<folder>/FORMAT                     the version of this layout
<folder>/lists.db                   tapir.store.lists
<folder>/staging/                   tapir.store.staging: copies of files that are mapped
<folder>/overrides.db               tapir.store.overrides
<folder>/feeds/<source>.db          tapir.store.feeds
<folder>/zones/<zone>/zone.db       tapir.store.zones
<folder>/zones/<zone>/serial        the serial once more, as in serialcache
<folder>/events.json                the last exceptional events, see tapir.store.documents
<folder>/clock.json                 the latest time that was known to be right
<folder>/mqtt.json                  tapir.store.broker
<folder>/edm-mqtt.json              the same for EDM, which has a session of its own
<folder>/global.json                tapir.store.learned
<folder>/console.sock               the console's Unix socket
"""

import contextlib
import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Final

from tapir.store.errors import StateLocked, StateUnusable, StoreFull
from tapir.store.files import replace_file, sync_folder, write_all

FORMAT: Final = 1
_MODE: Final = 0o750
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
# Wide enough for any process id: the line is overwritten in place, so it takes no new block on a full disk.
_PID_WIDTH: Final = 20
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_MAX_FILE_NAME: Final = 200


def console_path(folder: Path) -> Path:
    """The console's socket in a state folder; its clients do not take the lock."""
    return folder / "console.sock"


def lists_path(folder: Path) -> Path:
    """The database of the lists in a state folder."""
    return folder / "lists.db"


def overrides_path(folder: Path) -> Path:
    """The database of the operator's own lists in a state folder."""
    return folder / "overrides.db"


def zone_path(folder: Path, name: str) -> Path:
    """The database of the zone `name` (text, trailing dot optional) in a state folder."""
    return folder / "zones" / _file_name(name) / "zone.db"


def feed_path(folder: Path, source: str) -> Path:
    """The database of the feed `source` in a state folder; its folder is made when there is something to keep."""
    return folder / "feeds" / f"{_file_name(source)}.db"


def observations_path(folder: Path, source: str) -> Path:
    """The database of what the source `source` observed, of the state folder `folder`."""
    return folder / "observations" / f"{_file_name(source)}.db"


def staging_path(folder: Path) -> Path:
    """Where copies of files go that are mapped; made when the first one comes."""
    return folder / "staging"


class StateDirectory:
    """A state folder that is ours until `close`, or until the process ends in whatever way."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def open(cls, path: Path) -> "StateDirectory":
        """Lock the folder at `path`, made with its parents (mode 0750) when there is none.

        Raises StateLocked naming the other process, StateUnusable when the folder is not ours to use or has
        the format of a newer tapir, StoreFull when the disk has no room for a new one.
        """
        try:
            _make_folder(path)
            descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o640)
        except OSError as exc:
            raise _unusable(path, exc) from exc
        try:
            _take_lock(path, descriptor)
            _check_format(path)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def close(self) -> None:
        """Give the folder back; closing twice is fine."""
        if self._descriptor is not None:
            # The file stays: removing it would let two processes lock two files of the same name.
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def lists(self) -> Path:
        """The database of the lists."""
        return lists_path(self.path)

    @property
    def overrides(self) -> Path:
        """The database of the operator's own lists."""
        return overrides_path(self.path)

    @property
    def staging(self) -> Path:
        """The folder of copies of files that are mapped."""
        return staging_path(self.path)

    @property
    def events(self) -> Path:
        """The document of the exceptional events."""
        return self.path / "events.json"

    @property
    def clock(self) -> Path:
        """The document of what is known of the wall clock."""
        return self.path / "clock.json"

    @property
    def mqtt(self) -> Path:
        """How the broker knows us."""
        return self.path / "mqtt.json"

    @property
    def edm_mqtt(self) -> Path:
        """How the broker knows our EDM."""
        return self.path / "edm-mqtt.json"

    @property
    def learned(self) -> Path:
        """The global configuration that was accepted last."""
        return self.path / "global.json"

    @property
    def console(self) -> Path:
        """The console's socket."""
        return console_path(self.path)

    def feed(self, source: str) -> Path:
        """The database of the feed `source`."""
        return feed_path(self.path, source)

    def observations(self, source: str) -> Path:
        """The database of what the source `source` observed; its folder need not be there."""
        return observations_path(self.path, source)

    def zone(self, name: str) -> Path:
        """The database of the zone `name` (text, trailing dot optional); its folder is made.

        Raises StateUnusable or StoreFull.
        """
        path = zone_path(self.path, name)
        try:
            _make_folder(path.parent)
        except OSError as exc:
            raise _unusable(path.parent, exc) from exc
        return path


def _make_folder(folder: Path) -> None:
    missing = [folder, *folder.parents]
    while missing and missing[-1].exists():
        missing.pop()
    for part in reversed(missing):
        with contextlib.suppress(FileExistsError):
            part.mkdir(mode=_MODE)
            sync_folder(part.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", str(folder))


def _take_lock(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateLocked(path=path, pid=_read_pid(descriptor)) from None
    except OSError as exc:
        raise _unusable(path, exc) from exc
    try:
        write_all(descriptor, f"{os.getpid():>{_PID_WIDTH}}\n".encode())
        os.ftruncate(descriptor, _PID_WIDTH + 1)
    except OSError as exc:
        # The lock holds without its text, and a full disk must not keep a restarted process from serving.
        if exc.errno not in _NO_SPACE:
            raise _unusable(path, exc) from exc


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 64, 0).strip()
    return int(text) if text.isdigit() else None


def _check_format(path: Path) -> None:
    file = path / "FORMAT"
    try:
        text = file.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        try:
            replace_file(file, f"{FORMAT}\n".encode(), mode=0o640)
        except OSError as exc:
            raise _unusable(path, exc) from exc
        return
    except OSError as exc:
        raise _unusable(path, exc) from exc
    if text != str(FORMAT):
        raise StateUnusable(
            path=path,
            reason=f"FORMAT says {text[:20]!r}, this tapir knows {FORMAT}: use the one that wrote it or another folder",
        )


def _unusable(path: Path, exc: OSError) -> StateUnusable | StoreFull:
    what = f"{exc.filename}: {exc.strerror}" if exc.filename is not None else exc.strerror or str(exc)
    if exc.errno in _NO_SPACE:
        return StoreFull(path=path, reason=what)
    if exc.errno in (errno.EACCES, errno.EPERM):
        what += f" (the folder must be writable by user {os.geteuid()})"
    return StateUnusable(path=path, reason=f"the state folder cannot be used: {what}")


def _file_name(zone: str) -> str:
    """`zone` as the name of a folder: the same for the same zone, another for another, never `.` or a path."""
    text = zone.lower().removesuffix(".")
    name = "".join(char if char in _PLAIN else "".join(f"%{octet:02x}" for octet in char.encode()) for char in text)
    if not name or name.startswith("."):
        name = "%2e" + name[1:]
    if len(name) > _MAX_FILE_NAME:
        name = f"{name[:100]}%-{hashlib.sha256(name.encode()).hexdigest()}"
    return name
