"""One SQLite database of sealed blobs: how it is made, opened, checked, and how its failures are told.

A database is built beside its place and renamed into it, so a file that is empty or lacks its tables is never the
trace of an interrupted start: it is corrupt. It has two tables, `item` (a blob under a name) and `log`
(a blob under a series and a number), and every blob is sealed for its place (see `blobs`).

A file that is removed or replaced while it is open is found out before the next write: SQLite would go on writing to
the one that nobody can open again, and say that all is durable.

Opening writes nothing, so that a full disk does not keep a restarted process from what it stored. When SQLite cannot
even make its shared-memory file for want of space, the database is opened in exclusive mode, which needs none.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np

from tapir.codec.columns import concatenated, filled
from tapir.store.blobs import BlobError, BlobKind, seal, sealed_parts, unseal
from tapir.store.errors import StoreCorrupt, StoreError, StoreFormatUnknown, StoreFull
from tapir.store.files import sync_folder

FORMAT: Final = 2
_WITHOUT_ROWS: Final = 1
_PIECE: Final = 1 << 17
_PAGE: Final = 4096
STATE: Final = "state"
"""The item that says which other items and log entries there must be; never missing."""
SIDE_FILES: Final = ("-wal", "-shm", "-journal")

_MAGIC: Final = b"SQLite format 3\0"
_LOG: Final = (
    "CREATE TABLE log (series INTEGER NOT NULL, number INTEGER NOT NULL, mark INTEGER NOT NULL, "
    "sealed BLOB NOT NULL, PRIMARY KEY (series, number))",
    "CREATE INDEX log_by_mark ON log (series, mark)",
)
# In a table without row ids SQLite reads each blob that it passes on its way to a key, all of it: with megabytes beside
# it, a state of a few octets took milliseconds to write. Databases of format 1 are like that, and are used as they are.
_SCHEMAS: Final = {
    FORMAT: ("CREATE TABLE item (key TEXT NOT NULL PRIMARY KEY, sealed BLOB NOT NULL)", *_LOG),
    _WITHOUT_ROWS: ("CREATE TABLE item (key TEXT NOT NULL PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID", *_LOG),
}
# What SQLite says when the file's content is at fault; reading errors count, since a block that the disk does not
# give back will not come back. Everything else that it says of a file is that it cannot be written now.
_CORRUPT: Final = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_INTERNAL,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)
_UNREADABLE: Final = frozenset(
    {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
)


class Database:
    """An open database. One call at a time, from any thread; every failure is a StoreError."""

    def __init__(self, connection: sqlite3.Connection, path: Path, identity: tuple[int, int], version: int) -> None:
        self._connection = connection
        self._format = version
        self._identity = identity
        self._failed = False
        self.path = path

    @classmethod
    def open(cls, path: Path, *, application_id: int, state: bytes) -> "Database":
        """The database at `path`, made with `state` as its state item if there is none, with its structure checked.

        Raises StoreCorrupt, StoreFormatUnknown or StoreFull.
        """
        with translated(path):
            if not path.exists():
                _create(path, application_id, state)
            _check_header(path)
            try:
                connection = _connect(path, exclusive=False)
            except sqlite3.OperationalError as exc:
                if _is_corrupt(exc):
                    raise
                connection = _connect(path, exclusive=True)
            try:
                version = _check_structure(connection, path, application_id)
                identity = _identity(path)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path, identity, version)

    @classmethod
    def open_reading(cls, path: Path, *, application_id: int) -> "Database":
        """The database at `path` to be looked into, whether or not a process has it open; nothing is ever written.

        Only that it is ours is checked here: what is read from it is sealed. A process that begins or ends while we
        look can make that fail; look again then. Raises StoreCorrupt, StoreFormatUnknown or StoreFull.
        """
        with translated(path):
            _check_header(path)
            # A log that is there is read through the index that the other process keeps, which one that cannot write
            # it takes over into memory when nobody does. Where there is none, all is in the file itself.
            log = path.with_name(f"{path.name}-wal").exists()
            query = "mode=ro&readonly_shm=1" if log else "mode=ro&immutable=1"
            connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?{query}", uri=True, isolation_level=None, check_same_thread=False
            )
            try:
                version = _check_identity(connection, path, application_id)
                identity = _identity(path)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path, identity, version)

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        with translated(self.path):
            self._connection.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read within is of one moment."""
        with translated(self.path), self._transaction("BEGIN"):
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """All that is written within is durable when the block ends, or not there at all when it raises.

        Raises StoreCorrupt, before anything is written, when the file is no longer where it was opened.
        """
        with translated(self.path):
            self._check_place()
            with self._transaction("BEGIN IMMEDIATE"):
                yield

    def _check_place(self) -> None:
        try:
            found = _identity(self.path)
        except FileNotFoundError:
            raise StoreCorrupt(path=self.path, reason="the file was removed while it was in use") from None
        if found != self._identity:
            raise StoreCorrupt(path=self.path, reason="the file was replaced while it was in use")

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._connection.execute(begin)
        self._failed = False
        try:
            yield
            self._check_whole()
            self._connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself (disk full), and a connection that is beyond that says so
            # itself at the next call; what must be told is the first failure.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _execute(self, statement: str, parameters: tuple[object, ...]) -> sqlite3.Cursor:
        self._check_whole()
        try:
            return self._connection.execute(statement, parameters)
        except sqlite3.Error:
            self._failed = True
            raise

    def _check_whole(self) -> None:
        """Raise StoreFull when a step of this transaction failed and the caller went on all the same.

        On a full disk SQLite may have undone that step only, or have left the transaction, so that every further step
        would be committed by itself.
        """
        if self._failed:
            raise StoreFull(path=self.path, reason="an earlier step of the transaction failed")

    def get(self, kind: BlobKind, key: str) -> bytes:
        """The content of item `key`. Raises BlobError when it is missing."""
        if self._format == _WITHOUT_ROWS:
            row = self._execute("SELECT 0, sealed FROM item WHERE key = ?", (key,)).fetchone()
        else:
            select = "SELECT rowid, CASE WHEN length(sealed) <= ? THEN sealed END FROM item WHERE key = ?"
            row = self._execute(select, (_PIECE, key)).fetchone()
        if row is None:
            raise BlobError(f"the item {key} is missing")
        number, sealed = row
        return unseal(kind, key.encode(), self._read_blob("item", number) if sealed is None else _octets(sealed))

    def put(self, kind: BlobKind, key: str, content: bytes) -> int:
        """Item `key` holds `content` from now on; returns how many octets that takes."""
        parts = sealed_parts(kind, key.encode(), content)
        octets = sum([len(part) for part in parts])
        # In its place, which touches no index: a commit that writes fewer pages is quicker, and fits a fuller disk.
        update = "UPDATE item SET sealed = ? WHERE key = ?"
        if octets <= _PAGE and self._execute(update, (b"".join(parts), key)).rowcount:
            return octets
        # Deleted first, so that what the old one took is used again and the file does not double.
        self._execute("DELETE FROM item WHERE key = ?", (key,))
        if octets <= _PIECE or self._format == _WITHOUT_ROWS:
            self._execute("INSERT INTO item (key, sealed) VALUES (?, ?)", (key, concatenated(parts)))
            return octets
        row = self._execute("INSERT INTO item (key, sealed) VALUES (?, zeroblob(?))", (key, octets)).lastrowid
        self._write_blob("item", row or 0, parts)
        return octets

    def drop(self, key: str) -> None:
        """Forget item `key`, if there is one."""
        self._execute("DELETE FROM item WHERE key = ?", (key,))

    def append(self, kind: BlobKind, series: int, number: int, content: bytes, *, mark: int = 0) -> int:
        """Entry `number` of the log `series` is `content`, to be found by `mark`; returns how many octets it takes."""
        parts = sealed_parts(kind, _log_key(series, number), content)
        octets = sum([len(part) for part in parts])
        insert = "INSERT INTO log (series, number, mark, sealed) VALUES (?, ?, ?, ?)"
        if octets <= _PIECE:
            self._execute(insert, (series, number, mark, b"".join(parts)))
            return octets
        # SQLite copies what it is handed, and holds the interpreter for it; piece by piece it does not.
        insert = "INSERT INTO log (series, number, mark, sealed) VALUES (?, ?, ?, zeroblob(?))"
        row = self._execute(insert, (series, number, mark, octets)).lastrowid
        self._write_blob("log", row or 0, parts)  # none only where nothing was inserted
        return octets

    def _write_blob(self, table: str, row: int, parts: Iterable[bytes]) -> None:
        """Put `parts` into the blob of this row, which has their size."""
        try:
            with self._connection.blobopen(table, "sealed", row) as blob:
                for part in parts:
                    octets = memoryview(part)
                    for start in range(0, len(octets), _PIECE):
                        blob.write(octets[start : start + _PIECE])
        except sqlite3.Error:
            self._failed = True
            raise

    def find(self, series: int, mark: int) -> int | None:
        """The number of the entry with `mark`, None when there is none; the mark is not sealed, so look inside."""
        row = self._execute("SELECT number FROM log WHERE series = ? AND mark = ?", (series, mark)).fetchone()
        return None if row is None else int(row[0])

    def entries(self, kind: BlobKind, series: int, *, first: int, last: int) -> list[bytes]:
        """Entries `first` to `last` of a log, in order. Raises BlobError when one of them is missing."""
        rows = self._execute(
            "SELECT number, rowid, CASE WHEN length(sealed) <= ? THEN sealed END FROM log "
            "WHERE series = ? AND number BETWEEN ? AND ? ORDER BY number",
            (_PIECE, series, first, last),
        ).fetchall()
        if [number for number, _, _ in rows] != list(range(first, last + 1)):
            raise BlobError("entries of the log are missing")
        return [
            unseal(kind, _log_key(series, number), self._read_blob("log", row) if sealed is None else _octets(sealed))
            for number, row, sealed in rows
        ]

    def _read_blob(self, table: str, row: int) -> bytes:
        """The blob in this row, piece by piece: SQLite hands out a whole one with the interpreter held."""
        with self._connection.blobopen(table, "sealed", row, readonly=True) as blob:
            size = len(blob)

            def fill(out: memoryview) -> None:
                whole = np.frombuffer(out, dtype=np.uint8)
                for start in range(0, size, _PIECE):
                    whole[start : start + _PIECE] = np.frombuffer(blob.read(_PIECE), dtype=np.uint8)

            return filled(size, fill)

    def trim(self, series: int, *, below: int) -> None:
        """Forget all entries of a log that come before number `below`."""
        self._execute("DELETE FROM log WHERE series = ? AND number < ?", (series, below))

    def cut(self, series: int, *, first: int) -> int:
        """Forget all entries of a log from number `first` on; returns how many octets they took."""
        cursor = self._execute("SELECT sum(length(sealed)) FROM log WHERE series = ? AND number >= ?", (series, first))
        (octets,) = cursor.fetchone()
        self._execute("DELETE FROM log WHERE series = ? AND number >= ?", (series, first))
        return int(octets or 0)

    def drop_log(self, series: int) -> None:
        """Forget a log."""
        self._execute("DELETE FROM log WHERE series = ?", (series,))


def _log_key(series: int, number: int) -> bytes:
    return b"%d/%d" % (series, number)


def _octets(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise BlobError("a blob has turned into something else")
    return value


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Tell every failure of a database or a file as a StoreError about `path`."""
    try:
        yield
    except StoreError:
        raise
    except sqlite3.ProgrammingError:
        raise  # the caller's mistake: a closed database, wrong parameters
    except sqlite3.Error as exc:
        if _is_corrupt(exc):
            raise StoreCorrupt(path=path, reason=str(exc)) from exc
        raise StoreFull(path=path, reason=str(exc)) from exc
    except (BlobError, UnicodeDecodeError) as exc:
        # Python fails to decode SQLite's message when that quotes a damaged table definition.
        raise StoreCorrupt(path=path, reason=str(exc)) from exc
    except OSError as exc:
        raise StoreFull(path=path, reason=exc.strerror or str(exc)) from exc


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_corrupt(exc: sqlite3.Error) -> bool:
    # An error that Python's module raises itself (text that is not UTF-8) has no code, and is about the content.
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code in _UNREADABLE or code & 0xFF in _CORRUPT


def _create(path: Path, application_id: int, state: bytes) -> None:
    """Build a database beside `path` and rename it into place."""
    building = path.with_name(f".{path.name}.new")
    _remove(building)
    # A log without its database belongs to one that was moved away; SQLite would play it into the new one.
    _remove(path, SIDE_FILES)
    try:
        _build(building, application_id, state)
        building.chmod(0o640)
        building.rename(path)
    except BaseException:
        _remove(building)
        raise
    sync_folder(path.parent)


def _build(path: Path, application_id: int, state: bytes) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMAS[FORMAT]:
            connection.execute(statement)
        sealed = seal(BlobKind.STATE, STATE.encode(), state)
        connection.execute("INSERT INTO item (key, sealed) VALUES (?, ?)", (STATE, sealed))
        connection.execute(f"PRAGMA application_id={application_id}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
        connection.execute("COMMIT")
    finally:
        connection.close()  # the last connection puts the log into the database and removes it


def _remove(path: Path, sides: tuple[str, ...] = ("", *SIDE_FILES)) -> None:
    for side in sides:
        path.with_name(path.name + side).unlink(missing_ok=True)


def _check_header(path: Path) -> None:
    """Raise StoreCorrupt for what SQLite would silently take for an empty or a read-only database."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise StoreCorrupt(path=path, reason="it is not a SQLite database")
    # Write and read version, both WAL; any other write version would make the database read-only.
    if header[18:20] != b"\2\2":
        raise StoreCorrupt(path=path, reason="its header is damaged")


def _connect(path: Path, *, exclusive: bool) -> sqlite3.Connection:
    # Autocommit: transactions begin and end where `_transaction` says. Connections move between worker threads, one
    # call at a time.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if exclusive:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA journal_size_limit=1048576")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _check_identity(connection: sqlite3.Connection, path: Path, application_id: int) -> int:
    """The format of the database. Raises StoreCorrupt or StoreFormatUnknown."""
    (stored_id,) = connection.execute("PRAGMA application_id").fetchone()
    if stored_id != application_id:
        raise StoreCorrupt(path=path, reason="it is a database of something else")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in _SCHEMAS:
        known = " and ".join(map(str, sorted(_SCHEMAS)))
        raise StoreFormatUnknown(path=path, reason=f"it has format {version}, this tapir knows {known}")
    return int(version)


def _check_structure(connection: sqlite3.Connection, path: Path, application_id: int) -> int:
    """The format of the database. Raises StoreCorrupt or StoreFormatUnknown."""
    version = _check_identity(connection, path, application_id)
    statements = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    if tuple(statement for (statement,) in statements) != _SCHEMAS[version]:
        raise StoreCorrupt(path=path, reason="its tables are not ours")
    # Every page is used once, by one table or the list of free ones: else a later write would overwrite what
    # is still needed. (That the content is right, the seals of the blobs say.)
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise StoreCorrupt(path=path, reason=str(finding))
    return version
