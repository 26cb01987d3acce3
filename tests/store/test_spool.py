"""A spool grows as far as it may, and is whole records or nothing."""

import errno
import os
from pathlib import Path

import pytest

from tapir.store.errors import StoreFull
from tapir.store.spool import SpoolFolder


def test_what_was_appended_is_there(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path / "a" / "spool", limit=100)
    assert folder.left() == []
    spool = folder.begin(4711)
    assert spool.append(b"one")
    assert spool.append(b"two")
    spool.sync()
    assert repr(spool) == "<SpoolFile 4711.spool, 6 octets>"
    spool.close()
    assert folder.left() == [spool.path]
    assert bytes(folder.octets(spool.path)) == b"onetwo"
    assert spool.path.stat().st_mode & 0o777 == 0o600
    folder.remove(spool.path)
    folder.remove(spool.path)
    assert folder.left() == []


def test_two_that_begin_at_once_are_two_files(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path, limit=100)
    spools = [folder.begin(1) for _ in range(3)]
    for spool in spools:
        spool.close()
    assert len({spool.path for spool in spools}) == 3
    assert bytes(folder.octets(spools[0].path)) == b""
    (tmp_path / "notes").write_text("not ours")
    assert len(folder.left()) == 3


def test_beyond_the_limit_nothing_is_taken_any_more(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path, limit=10)
    spool = folder.begin(1)
    assert [spool.append(b"12345678"), spool.append(b"123"), spool.append(b"1")] == [True, False, False]
    assert spool.short
    spool.close()
    assert bytes(folder.octets(spool.path)) == b"12345678"


def test_a_full_disk_leaves_whole_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SpoolFolder(tmp_path, limit=1000)
    spool = folder.begin(1)
    spool.append(b"whole")
    write = os.write

    def refuse(descriptor: int, octets: bytes) -> int:
        if len(octets) > 2:
            return write(descriptor, octets[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(StoreFull, match="No space left"):
        spool.append(b"half")
    monkeypatch.undo()
    # Something is missing now, so what came after it would not open.
    assert (spool.short, spool.append(b"more")) == (True, False)
    spool.close()
    assert bytes(folder.octets(spool.path)) == b"whole"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreFull):
        SpoolFolder(tmp_path / "file" / "spool", limit=1).begin(1)
    with pytest.raises(StoreFull):
        SpoolFolder(tmp_path, limit=1).octets(tmp_path / "nothing.spool")
