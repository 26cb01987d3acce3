"""Every failure of SQLite and of the file system is told as what the caller can still count on."""

import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tapir.model.blocks import EMPTY_RECORDS
from tapir.store import database
from tapir.store.blobs import BlobError, BlobKind
from tapir.store.database import Database, translated
from tapir.store.errors import StoreCorrupt, StoreError, StoreFull
from tapir.store.zones import ZoneStore

PATH = Path("/var/lib/dnstapir/tapir/lists.db")


def fail_with(exc: Exception) -> None:
    with translated(PATH):
        raise exc


def sqlite_error(code: int) -> sqlite3.Error:
    exc = sqlite3.OperationalError("what SQLite says")
    exc.sqlite_errorcode = code
    return exc


@pytest.mark.parametrize(
    "exc",
    [
        sqlite_error(sqlite3.SQLITE_CORRUPT),
        sqlite_error(sqlite3.SQLITE_CORRUPT_INDEX),
        sqlite_error(sqlite3.SQLITE_NOTADB),
        sqlite_error(sqlite3.SQLITE_ERROR),
        sqlite_error(sqlite3.SQLITE_IOERR_READ),
        sqlite_error(sqlite3.SQLITE_IOERR_SHORT_READ),
        sqlite3.OperationalError("Could not decode to UTF-8 column"),
        BlobError("a blob's checksum is wrong"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=repr,
)
def test_what_cannot_be_trusted_is_corrupt(exc: Exception) -> None:
    with pytest.raises(StoreCorrupt, match=r"lists\.db: ") as caught:
        fail_with(exc)
    assert caught.value.__cause__ is exc
    assert caught.value.path == PATH


@pytest.mark.parametrize(
    "exc",
    [
        sqlite_error(sqlite3.SQLITE_FULL),
        sqlite_error(sqlite3.SQLITE_IOERR_WRITE),
        sqlite_error(sqlite3.SQLITE_IOERR_FSYNC),
        sqlite_error(sqlite3.SQLITE_READONLY),
        sqlite_error(sqlite3.SQLITE_CANTOPEN),
        sqlite_error(sqlite3.SQLITE_BUSY),
        sqlite_error(sqlite3.SQLITE_NOMEM),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.EIO, "Input/output error"),
    ],
    ids=repr,
)
def test_what_cannot_be_written_is_full(exc: Exception) -> None:
    with pytest.raises(StoreFull, match=r"lists\.db: ") as caught:
        fail_with(exc)
    assert caught.value.__cause__ is exc


def test_a_told_failure_and_a_mistake_pass() -> None:
    for exc in (StoreError(path=PATH, reason="told"), sqlite3.ProgrammingError("closed"), KeyError("feed")):
        with pytest.raises(type(exc)) as caught:
            fail_with(exc)
        assert caught.value is exc


def test_without_room_for_shared_memory_the_database_opens_in_exclusive_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    connect = database._connect

    def refuse_shared(path: Path, *, exclusive: bool) -> sqlite3.Connection:
        asked.append(exclusive)
        if not exclusive:
            raise sqlite_error(sqlite3.SQLITE_IOERR_SHMSIZE)
        return connect(path, exclusive=exclusive)

    monkeypatch.setattr(database, "_connect", refuse_shared)
    opened = Database.open(tmp_path / "a.db", application_id=1, state=b"{}")
    with opened.writing():
        opened.put(BlobKind.LIST, "key", b"content")
    with opened.reading():
        assert opened.get(BlobKind.LIST, "key") == b"content"
    assert asked == [False, True]
    assert [file.name for file in tmp_path.glob("*-shm")] == []
    opened.close()


def test_a_log_with_a_gap_is_corrupt(tmp_path: Path) -> None:
    opened = Database.open(tmp_path / "a.db", application_id=1, state=b"{}")
    with opened.writing():
        for number in (1, 2, 4):
            opened.append(BlobKind.LIST_CHANGE, 0, number, b"entry", mark=number)
    with opened.reading():
        assert opened.find(0, 4) == 4
        assert opened.find(0, 3) is None
        assert opened.entries(BlobKind.LIST_CHANGE, 0, first=1, last=2) == [b"entry"] * 2

    def read_across_the_gap() -> None:
        with opened.reading():
            opened.entries(BlobKind.LIST_CHANGE, 0, first=1, last=4)

    with pytest.raises(StoreCorrupt, match="missing"):
        read_across_the_gap()
    opened.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_database_that_was_removed_or_replaced_takes_nothing(tmp_path: Path, replaced: bool) -> None:
    """SQLite goes on writing to the file that nobody can open again, and says that all is durable."""
    path = tmp_path / "zone.db"
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0)
    if replaced:
        (tmp_path / "copy").write_bytes(path.read_bytes())
        (tmp_path / "copy").replace(path)
    else:
        path.unlink()
    with pytest.raises(StoreCorrupt, match="replaced" if replaced else "removed"):
        store.set_held(True)
    assert not store.held()
    store.close()


def test_a_folder_that_was_removed_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "zones"
    folder.mkdir()
    store = ZoneStore.open(folder / "zone.db")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(StoreCorrupt, match="removed"):
        store.set_held(True)
    store.close()


def test_a_commit_is_on_the_disk_when_it_is_done(tmp_path: Path) -> None:
    # No killed process shows it, only a power cut would: each connection syncs its log at every commit.
    path = tmp_path / "zone.db"
    Database.open(path, application_id=1, state=b"").close()
    for exclusive in (False, True):
        connection = database._connect(path, exclusive=exclusive)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()


@pytest.mark.parametrize("size", [0, 1, 4000, 2**17 - 100, 2**17, 2**17 + 1, 3 * 2**17 + 5])
def test_entries_of_any_size_are_read_as_they_were_written(tmp_path: Path, size: int) -> None:
    path = tmp_path / "lists.db"
    content = bytes(number * 7 % 251 for number in range(size))
    opened = Database.open(path, application_id=1, state=b"{}")
    with opened.writing():
        octets = opened.append(BlobKind.VERSION_DELTA, 0, 1, content)
        opened.append(BlobKind.VERSION_DELTA, 0, 2, b"small")
    opened.close()
    opened = Database.open(path, application_id=1, state=b"{}")
    with opened.reading():
        assert opened.entries(BlobKind.VERSION_DELTA, 0, first=1, last=2) == [content, b"small"]
    opened.close()
    with sqlite3.connect(path) as reader:
        assert reader.execute("SELECT length(sealed) FROM log WHERE number = 1").fetchone() == (octets,)
    reader.close()


@pytest.mark.parametrize("damage", ["'x' || hex(zeroblob(200000))", "zeroblob(300000)", "7"])
@pytest.mark.parametrize(
    ("table", "read"),
    [
        ("log", lambda opened: opened.entries(BlobKind.VERSION_DELTA, 0, first=1, last=1)),
        ("item", lambda opened: opened.get(BlobKind.LIST, "feed")),
    ],
)
def test_what_is_large_and_no_blob_any_more_is_damage(
    tmp_path: Path, damage: str, table: str, read: Callable[[Database], object]
) -> None:
    path = tmp_path / "lists.db"
    opened = Database.open(path, application_id=1, state=b"{}")
    with opened.writing():
        opened.append(BlobKind.VERSION_DELTA, 0, 1, bytes(300_000))
        opened.put(BlobKind.LIST, "feed", bytes(300_000))
    opened.close()
    with sqlite3.connect(path) as writer:
        writer.execute(f"UPDATE {table} SET sealed = {damage}")  # noqa: S608 - our own words
    writer.close()
    opened = Database.open(path, application_id=1, state=b"{}")
    with pytest.raises(StoreCorrupt), opened.reading():
        read(opened)
    opened.close()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [0, 4096, 2**17 - 100, 2**17 + 1, 3 * 2**17 + 5])
def test_items_of_any_size_are_read_as_they_were_written_in_either_format(
    tmp_path: Path, size: int, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lists.db"
    content = bytes(number * 7 % 251 for number in range(size))
    with monkeypatch.context() as patch:
        patch.setattr(database, "FORMAT", version)  # as an earlier version made it
        Database.open(path, application_id=1, state=b"{}").close()
    octets = 0
    for former in (b"small", content[::-1], bytes(2 * size)):
        opened = Database.open(path, application_id=1, state=b"{}")
        with opened.writing():
            opened.put(BlobKind.LIST, "feed", former)
            octets = opened.put(BlobKind.LIST, "feed", content)
        opened.close()
        for again in (
            Database.open(path, application_id=1, state=b"{}"),
            Database.open_reading(path, application_id=1),
        ):
            with again.reading():
                assert again.get(BlobKind.LIST, "feed") == content
            again.close()
    with sqlite3.connect(path) as reader:
        assert reader.execute("PRAGMA user_version").fetchone() == (version,)
        assert reader.execute("SELECT length(sealed) FROM item WHERE key = 'feed'").fetchone() == (octets,)
    reader.close()
