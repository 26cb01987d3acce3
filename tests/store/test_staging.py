"""Copies that are mapped: whole or not there, private, and removed when nobody needs them."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tapir.store.staging import map_copy, receive, sweep


def test_a_copy_is_kept_under_its_digest_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    with receive(folder) as copy:
        copy.write(b"one ")
        copy.write(b"two")
        assert bytes(copy.octets()) == b"one two"
        path = copy.keep("abc")
    assert [each.name for each in folder.iterdir()] == ["abc.dawg"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    view = map_copy(path)
    with receive(folder) as copy:
        copy.write(b"anew")
        copy.keep("abc")
    path.unlink()
    assert bytes(view) == b"one two", "who has it mapped keeps it"


def test_a_copy_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    with receive(folder) as copy:
        assert bytes(copy.octets()) == b""
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link.dawg").symlink_to("secret")
    with pytest.raises(OSError, match=r"link\.dawg"):
        map_copy(tmp_path / "link.dawg")


def test_what_nobody_needs_is_swept_away(tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    assert sweep(folder, keep=(), now=0) == 0
    folder.mkdir()
    for name in ("a.dawg", "b.dawg", ".incoming-old", ".incoming-new", "notes.txt"):
        (folder / name).touch()
    os.utime(folder / ".incoming-old", (1000, 1000))
    os.utime(folder / ".incoming-new", (4000, 4000))
    assert sweep(folder, keep=[folder / "a.dawg"], now=5000) == 2
    assert {path.name for path in folder.iterdir()} == {"a.dawg", ".incoming-new", "notes.txt"}


@pytest.mark.parametrize("failing", ["write_all", "tempfile.mkstemp", "sync_folder"])
def test_what_fails_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Not a file with another name each time, and not the file that is copied."""
    folder = tmp_path / "staging"

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / ".incoming-x7f3"))

    monkeypatch.setattr(f"tapir.store.staging.{failing}", fail)

    def copy() -> None:
        with receive(folder) as incoming:
            incoming.write(b"one")
            incoming.keep("abc")

    with pytest.raises(OSError, match="No space left") as caught:
        copy()
    assert caught.value.filename == str(folder)
    assert caught.value.errno == errno.ENOSPC
