"""Files are whole when they have their names, no name is given twice, and what is old makes room."""

import errno
import os
from pathlib import Path

import pytest

from tapir.store.errors import StoreFull
from tapir.store.parquetfiles import ParquetFiles, Removed, Retention

SECOND = 1_000_000
NOON = 1_779_962_400 * SECOND  # 2026-05-28T10:00:00Z


@pytest.fixture
def files(tmp_path: Path) -> ParquetFiles:
    found = ParquetFiles(tmp_path / "parquet")
    assert found.prepare() == 0
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folders_and_files_are_for_the_owner_and_the_group(files: ParquetFiles) -> None:
    path = files.write_histogram([b"PAR1", memoryview(b"rest")], start=NOON, stop=NOON + 60 * SECOND)
    assert path == files.outbox / "dns_histogram-2026-05-28T10-00-00Z_2026-05-28T10-01-00Z.parquet"
    assert path.read_bytes() == b"PAR1rest"
    assert path.stat().st_mode & 0o777 & ~0o640 == 0
    for folder in (files.outbox, files.sent, files.sessions, files.outbox.parent):
        assert folder.stat().st_mode & 0o777 & ~0o750 == 0
    assert names(files.outbox) == [path.name]


def test_two_intervals_within_a_second_are_two_files(files: ParquetFiles) -> None:
    written = [files.write_histogram([bytes((n,))], start=NOON, stop=NOON + 5) for n in range(3)]
    assert [path.name.partition("_2026")[2] for path in written] == [f"-05-28T10-00-0{n}Z.parquet" for n in range(3)]
    # Nor does one that was sent lose its name to another.
    files.mark_sent(written[0])
    assert files.write_histogram([b"x"], start=NOON, stop=NOON).name.endswith("_2026-05-28T10-00-03Z.parquet")
    assert [path.read_bytes() for path in written[1:]] == [b"\1", b"\2"]


def test_an_interval_that_ends_before_it_begins_has_no_length(files: ParquetFiles) -> None:
    path = files.write_sessions([b""], start=NOON, stop=NOON - 60 * SECOND)
    assert path.name == "dns_session_block-2026-05-28T10-00-00Z_2026-05-28T10-00-00Z.parquet"


def test_what_a_crash_left_unfinished_is_removed(files: ParquetFiles) -> None:
    whole = files.write_histogram([b"whole"], start=NOON, stop=NOON)
    (files.outbox / (whole.name + ".tmp")).write_bytes(b"half")
    (files.sessions / (whole.name.replace("histogram", "session_block") + ".tmp")).write_bytes(b"half")
    (files.sessions / "notes.tmp").write_text("somebody else's")
    assert files.prepare() == 2
    assert names(files.outbox) == [whole.name]
    assert names(files.sessions) == ["notes.tmp"]


def test_the_oldest_waits_first_and_moves_when_it_is_sent(files: ParquetFiles) -> None:
    for minute in (3, 1, 2):
        files.write_histogram([bytes(minute)], start=NOON + minute * 60 * SECOND, stop=NOON + minute * 60 * SECOND)
    (files.outbox / "dns_histogram-bad.parquet").write_bytes(b"")
    (files.outbox / "dns_histogram-2026-05-28T10-00-00Z_2026-05-28T10-01-00Z.parquet").mkdir()
    waiting = files.waiting()
    assert [file.size for file in waiting] == [1, 2, 3]
    assert waiting[0].name.start == NOON + 60 * SECOND
    files.sent.rmdir()
    moved = files.mark_sent(waiting[0].path)
    assert (moved.parent, moved.read_bytes()) == (files.sent, b"\0")
    assert [file.size for file in files.waiting()] == [2, 3]


@pytest.mark.parametrize(("age", "kept"), [(25, False), (23, True), (24, True)])
def test_a_sent_file_is_kept_for_a_day(files: ParquetFiles, age: int, kept: bool) -> None:
    path = files.mark_sent(files.write_histogram([b"x"], start=NOON, stop=NOON))
    now = 1_780_000_000
    os.utime(path, (now - age * 3600, now - age * 3600))
    removed = files.clean_sent(Retention(seconds=24 * 3600), now=now)
    assert (path.exists(), removed) == (kept, Removed() if kept else Removed(files=1, octets=1))


def test_sessions_make_room_the_oldest_first(files: ParquetFiles) -> None:
    now = 1_780_000_000
    paths = [files.write_sessions([bytes(100)], start=NOON + n * SECOND, stop=NOON) for n in range(5)]
    for place, path in enumerate(paths):
        os.utime(path, (now - 10 + place, now - 10 + place))
    (files.sessions / "notes.parquet").write_bytes(bytes(10_000))
    assert files.clean_sessions(Retention(octets=250), now=now) == Removed(files=3, octets=300)
    assert [path.exists() for path in paths] == [False, False, False, True, True]
    assert files.clean_sessions(Retention(), now=now) == Removed()
    assert files.clean_sessions(Retention(seconds=6.5, octets=250), now=now) == Removed(files=1, octets=100)
    assert names(files.sessions) == [paths[4].name, "notes.parquet"]


def test_folders_that_are_not_there_hold_nothing(tmp_path: Path) -> None:
    files = ParquetFiles(tmp_path / "nowhere")
    assert files.waiting() == []
    assert files.clean_sent(Retention(seconds=0), now=0) == Removed()
    # And are made when they are needed.
    assert files.write_histogram([b"x"], start=NOON, stop=NOON).exists()


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_disk_that_does_not_take_it_leaves_nothing(
    files: ParquetFiles, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(StoreFull, match="No space left") as caught:
        files.write_histogram([b"x"], start=NOON, stop=NOON)
    assert caught.value.path == files.outbox
    assert names(files.outbox) == []


def test_a_link_in_the_way_is_not_followed(files: ParquetFiles, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    name = "dns_session_block-2026-05-28T10-00-00Z_2026-05-28T10-00-00Z.parquet.tmp"
    (files.sessions / name).symlink_to(target)
    with pytest.raises(StoreFull):
        files.write_sessions([b"x"], start=NOON, stop=NOON)
    assert target.read_text() == "untouched"
