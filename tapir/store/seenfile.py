"""The LMDB environment of the names that were seen: opened, grown, checked, and how its failures are told.

It is built beside its place and renamed into it, so that an empty file is not the trace of an interrupted start. One
process has it open; the state folder's lock sees to that. After a failed transaction it is opened anew: some failures
LMDB does not go on after, and after the others that does no harm.
"""

import contextlib
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import lmdb

from tapir.store.errors import StoreCorrupt, StoreError, StoreFormatUnknown, StoreFull
from tapir.store.files import sync_folder
from tapir.store.seencheck import BusyMark, find_damage

if TYPE_CHECKING:
    from lmdb import Transaction, _Database

FORMAT: Final = b"1"

_LOCK: Final = "-lock"
_MODE: Final = 0o600
_FIRST_MAP: Final = 256 << 20
_SLACK: Final = 32 << 20
"""more than the largest transaction writes beside what it is counted for"""
_PAGES_A_CHANGE: Final = 4
_SECRET: Final = 32
_DATABASES: Final = (b"about", b"seen", b"outbox")
_OTHER_FORMAT: Final = "LMDB data format"
_CORRUPT: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.IncompatibleError,
    lmdb.NotFoundError,
)


class View(NamedTuple):
    """A transaction, and the two databases."""

    transaction: "Transaction[bytes]"
    seen: "_Database"
    outbox: "_Database"


class SeenFile:
    """The environment at `path`, within `call` only, which serves one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.secret = b""
        """that the digests are made with"""
        self.sync = True
        """whether every transaction outlives a power cut; without it the last one may be undone, as a whole, for half
        of the waiting. A process that is killed loses nothing either way. Holds from the next call on"""
        self._lock = threading.Lock()
        self._mark = BusyMark(path)
        self._environment: lmdb.Environment | None = None
        self._closed = False

    def open(self) -> None:
        """Have it open, made if there is none. Raises StoreCorrupt, StoreFormatUnknown or StoreFull."""
        with self._lock, _told(self.path):
            if not self.path.exists():
                _create(self.path)
                self._mark.clear()
            self._check_ends()
            with self._mark.held():
                self._attach()

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        with self._lock:
            self._closed = True
            self._detach()
            self._mark.close()

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Whoever is within is alone, and its failures are StoreErrors."""
        with self._lock, _told(self.path):
            if self._closed:
                raise StoreError(path=self.path, reason="it was closed")
            if self._environment is not None and self._synced != self.sync:
                self._detach()
            with self._mark.held():
                yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[View]:
        """All that is read within is of one moment."""
        with self._attach().begin() as transaction:
            yield View(transaction, self._seen, self._outbox)

    @contextlib.contextmanager
    def writing(self, changes: int) -> Iterator[View]:
        """All that is written within is durable when the block ends, or not there at all when it raises.

        `changes` is how many entries at most are written.
        """
        environment = self._attach()
        self._check_place(environment)
        _grow(environment, changes)
        try:
            with environment.begin(write=True) as transaction:
                yield View(transaction, self._seen, self._outbox)
        except BaseException:
            self._detach()
            raise

    def _check_ends(self) -> None:
        """Raise StoreCorrupt when processes end by what is stored here."""
        if self._mark.is_hopeless:
            raise StoreCorrupt(path=self.path, reason="one process after the other ended while it was used")
        if self._mark.ends and (damage := find_damage(self.path)) is not None:
            raise StoreCorrupt(path=self.path, reason=damage)

    def _check_place(self, environment: lmdb.Environment) -> None:
        """Raise StoreCorrupt when the file is not the one that we opened, or shorter than what is in it."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            raise StoreCorrupt(path=self.path, reason="the file was removed while it was in use") from None
        if (status.st_dev, status.st_ino) != self._identity:
            raise StoreCorrupt(path=self.path, reason="the file was replaced while it was in use")
        _check_size(environment, self.path, status.st_size)

    def _attach(self) -> lmdb.Environment:
        if self._environment is not None:
            return self._environment
        status = self.path.stat()
        if status.st_size < 2 * os.sysconf("SC_PAGE_SIZE"):
            raise StoreCorrupt(path=self.path, reason="it is not an LMDB environment")
        synced = self.sync
        environment = _open(self.path, sync=synced)
        try:
            _check_size(environment, self.path, status.st_size)
            about, self._seen, self._outbox = (environment.open_db(name, create=False) for name in _DATABASES)
            with environment.begin() as transaction:
                self.secret = _read_about(transaction, about, self.path)
        except BaseException:
            environment.close()
            raise
        self._identity = (status.st_dev, status.st_ino)
        self._synced = synced
        self._environment = environment
        return environment

    def _detach(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell every failure of LMDB or a file as a StoreError about `path`."""
    try:
        yield
    except StoreError:
        raise
    except lmdb.VersionMismatchError as exc:
        raise StoreFormatUnknown(path=path, reason=str(exc)) from exc
    except _CORRUPT as exc:
        raise StoreCorrupt(path=path, reason=str(exc)) from exc
    except lmdb.Error as exc:
        if _OTHER_FORMAT in str(exc):  # py-lmdb's own error, of no class of its own
            raise StoreFormatUnknown(path=path, reason=str(exc)) from exc
        raise StoreFull(path=path, reason=str(exc)) from exc
    except OSError as exc:
        raise StoreFull(path=path, reason=exc.strerror or str(exc)) from exc


def _grow(environment: lmdb.Environment, changes: int) -> None:
    """Have room for as many changes in the map, which costs addresses and no memory."""
    information = environment.info()
    page = environment.stat()["psize"]
    wanted = (information["last_pgno"] + 1 + _PAGES_A_CHANGE * changes) * page + _SLACK
    if wanted > information["map_size"]:
        environment.set_mapsize(max(wanted, 2 * information["map_size"]))


def _check_size(environment: lmdb.Environment, path: Path, size: int) -> None:
    # What is mapped beyond the end of the file ends the process.
    if size < (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]:
        raise StoreCorrupt(path=path, reason="the file is shorter than what is in it")


def _open(path: Path, *, sync: bool = True) -> lmdb.Environment:
    return lmdb.open(
        str(path),
        subdir=False,
        map_size=_FIRST_MAP,
        max_dbs=len(_DATABASES),
        mode=_MODE,
        # What is written is flushed in any case; this is the second flush, of the page that makes it count.
        metasync=sync,
        # Digests are looked for all over the file: what lies next to one is not worth reading.
        readahead=False,
    )


def _create(path: Path) -> None:
    """Build an environment beside `path` and rename it into place, so that an empty file is never ours."""
    building = path.with_name(f".{path.name}.new")
    for side in ("", _LOCK):
        building.with_name(building.name + side).unlink(missing_ok=True)
    with _open(building) as environment:
        about, *_ = (environment.open_db(name) for name in _DATABASES)
        with environment.begin(write=True, db=about) as transaction:
            secret = os.urandom(_SECRET)
            transaction.put(b"format", FORMAT)
            transaction.put(b"secret", secret + zlib.crc32(secret).to_bytes(4))
    building.replace(path)
    building.with_name(building.name + _LOCK).unlink(missing_ok=True)
    sync_folder(path.parent)


def _read_about(transaction: "Transaction[bytes]", about: "_Database", path: Path) -> bytes:
    """The secret. Raises StoreCorrupt or StoreFormatUnknown."""
    version = transaction.get(b"format", db=about)
    if version != FORMAT:
        raise StoreFormatUnknown(path=path, reason=f"it has format {version!r}, this tapir knows {FORMAT!r}")
    sealed = transaction.get(b"secret", db=about) or b""
    secret = sealed[:_SECRET]
    if len(secret) != _SECRET or zlib.crc32(secret).to_bytes(4) != sealed[_SECRET:]:
        raise StoreCorrupt(path=path, reason="the secret of its digests is damaged")
    return secret
