"""Without the rights of root: what the daemon's own user may and may not do."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapir.store.errors import StateUnusable, StoreFull
from tapir.store.quarantine import quarantine
from tapir.store.serialcache import read_serialcache, write_serialcache
from tapir.store.state import StateDirectory
from tapir.store.zones import ZoneStore

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an ordinary user may reach; until the test ends, we are one."""
    path = Path(tempfile.mkdtemp(prefix="tapir-rights-"))
    was_root = os.geteuid() == 0
    if was_root:
        os.chown(path, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield path
    finally:
        if was_root:
            os.seteuid(0)
            os.setegid(0)
        for part in path.rglob("*"):
            if part.is_dir():
                part.chmod(0o700)
        shutil.rmtree(path)


def test_a_missing_right_is_named_with_its_user(folder: Path) -> None:
    (folder / "locked").mkdir(mode=0o500)
    for place in (folder / "locked", folder / "locked" / "below"):
        with pytest.raises(StateUnusable, match=rf"Permission denied .*writable by user {os.geteuid()}"):
            StateDirectory.open(place)


def test_a_folder_whose_zones_may_not_be_made_is_named(folder: Path) -> None:
    state = StateDirectory.open(folder)
    (folder / "zones").mkdir(mode=0o500)
    with pytest.raises(StateUnusable, match="Permission denied"):
        state.zone("rpz.example.")
    state.close()


def test_a_database_that_may_not_be_written_is_not_taken_for_corrupt(folder: Path) -> None:
    path = folder / "zone.db"
    ZoneStore.open(path).close()
    path.chmod(0)
    with pytest.raises(StoreFull, match="Permission denied"):
        ZoneStore.open(path)
    path.chmod(0o400)
    with pytest.raises(StoreFull, match="readonly"):
        ZoneStore.open(path).set_held(True)
    folder.chmod(0o500)
    with pytest.raises(StoreFull, match="Permission denied"):
        quarantine(path, 0)
    folder.chmod(0o700)


def test_a_serialcache_in_a_folder_of_root_is_written_in_place(folder: Path) -> None:
    path = folder / "etc" / "serialcache"
    path.parent.mkdir()
    path.write_bytes(b"")
    inode = path.stat().st_ino
    path.parent.chmod(0o555)
    assert read_serialcache(path).reason == "it is empty"
    write_serialcache(path, 4_000_000_000)
    write_serialcache(path, 7)
    assert path.read_text() == "current_serial: 7\n"
    assert path.stat().st_ino == inode
    path.chmod(0o444)
    with pytest.raises(StoreFull, match="Permission denied"):
        write_serialcache(path, 8)
    assert read_serialcache(path).serial == 7


def test_a_serialcache_that_may_not_be_read_has_a_reason(folder: Path) -> None:
    path = folder / "serialcache"
    path.write_text("current_serial: 7\n")
    path.chmod(0)
    assert read_serialcache(path).reason == "Permission denied"
