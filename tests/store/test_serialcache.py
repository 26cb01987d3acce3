"""The serial cache is read tolerantly, as the reference implementation writes it, and written in one step."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.store import serialcache
from tapir.store.errors import StoreFull
from tapir.store.serialcache import CachedSerial, read_serialcache, write_serialcache


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "serialcache.yaml"


@pytest.mark.parametrize(
    ("text", "serial"),
    [
        ("current_serial: 5\n", 5),
        ("current_serial: 4294967295", 2**32 - 1),
        ("# kept by dnstapir-pop\r\ncurrent_serial:   17\r\n", 17),
        ("---\ncurrent_serial: 0\nother: x\n", 0),
    ],
)
def test_a_good_file_is_read(path: Path, text: str, serial: int) -> None:
    path.write_text(text)
    assert read_serialcache(path) == CachedSerial(serial=serial)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"current_serial: 4294967296", "not a serial"),
        (b"current_serial: -1", "not a serial"),
        (b"current_serial: true", "no current_serial with a number"),
        (b"current_serial: '7'", "no current_serial with a number"),
        (b"current_serial:", "no current_serial with a number"),
        (b"serial: 7", "no current_serial with a number"),
        (b"7", "no current_serial with a number"),
        (b"current_serial: [", "not YAML"),
        (b"\xff\xfe\xff", "not YAML"),
        (b"[" * 5000, "not YAML"),
        (b"current_serial: 2024-99-99", "not YAML"),
        (b"#" * 70_000, "too long"),
    ],
)
def test_a_bad_file_has_no_serial_and_a_reason(path: Path, octets: bytes, reason: str) -> None:
    path.write_bytes(octets)
    found = read_serialcache(path)
    assert found.serial is None
    assert reason in found.reason


@given(octets=st.binary(max_size=80))
def test_garbage_is_no_error(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.yaml"
    path.write_bytes(octets)
    found = read_serialcache(path)
    assert (found.serial is None) == bool(found.reason)


def test_what_cannot_be_opened_has_a_reason(tmp_path: Path) -> None:
    assert read_serialcache(tmp_path / "missing").reason == "there is no such file"
    assert read_serialcache(tmp_path).reason == "Is a directory"


def test_a_new_file_is_as_the_old_daemon_made_it(path: Path) -> None:
    write_serialcache(path, 12)
    assert path.read_bytes() == b"current_serial: 12\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_mode_and_links_stay(path: Path) -> None:
    path.write_text("current_serial: 11\n")
    path.chmod(0o660)
    link = path.with_name("link")
    link.symlink_to(path.name)
    write_serialcache(link, 12)
    assert link.is_symlink()
    assert path.read_text() == "current_serial: 12\n"
    assert path.stat().st_mode & 0o777 == 0o660


def test_where_only_the_file_may_be_written_it_is_written_in_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serialcache, "replace_file", refuse)
    path.write_text("current_serial: 4294967295 # and more\n")
    inode = path.stat().st_ino
    write_serialcache(path, 1)
    assert path.read_text() == "current_serial: 1\n"
    assert path.stat().st_ino == inode


def test_what_is_no_serial_is_not_written(path: Path) -> None:
    for serial in (-1, 2**32):
        with pytest.raises(ValueError, match="not a serial"):
            write_serialcache(path, serial)
    assert not path.exists()


def test_a_failure_leaves_the_old_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_serialcache(path, 1)

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(StoreFull, match="Input/output error"):
        write_serialcache(path, 2)
    assert read_serialcache(path).serial == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreFull, match="No such file"):
        write_serialcache(tmp_path / "missing" / "serialcache", 1)
