"""A corrupt store goes aside, with its side files; three are kept."""

import resource
from pathlib import Path

import pytest

from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock
from tapir.model.names import parse_name
from tapir.store.errors import StoreCorrupt
from tapir.store.quarantine import KEPT, quarantine
from tapir.store.zones import ZoneStore

NOW = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z


def test_a_corrupt_store_makes_room_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "zone.db"
    path.write_bytes(b"not a database")
    path.with_name("zone.db-wal").write_bytes(b"log")
    with pytest.raises(StoreCorrupt, match="not a SQLite database"):
        ZoneStore.open(path)
    aside = quarantine(path, NOW + 42)
    assert aside == tmp_path / "zone.db.corrupt-20260101T000000.000042Z"
    assert aside.read_bytes() == b"not a database"
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"log"
    store = ZoneStore.open(path)
    assert store.load() is None
    store.close()


def test_a_log_that_was_left_behind_does_not_reach_the_new_store(tmp_path: Path) -> None:
    path = tmp_path / "zone.db"
    store = ZoneStore.open(path)
    store.reset(7, RecordBlock.of([(parse_name("a.example"), Action.DROP)]), 0)
    left = path.with_name("zone.db-wal").read_bytes()
    store.close()
    path.unlink()
    path.with_name("zone.db-wal").write_bytes(left)
    store = ZoneStore.open(path)
    assert store.load() is None
    store.close()


def test_the_newest_three_stay(tmp_path: Path) -> None:
    path = tmp_path / "zone.db"
    moved = []
    for index in range(KEPT + 3):
        path.write_bytes(bytes([index]))
        path.with_name("zone.db-shm").write_bytes(b"")
        moved.append(quarantine(path, NOW + index))
    assert sorted(tmp_path.iterdir()) == sorted(
        aside.with_name(aside.name + side) for aside in moved[-KEPT:] for side in ("", "-shm")
    )
    assert [aside.read_bytes() for aside in moved[-KEPT:]] == [b"\3", b"\4", b"\5"]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("lists.db", "lists.db.corrupt-1", "zone.db.bak"):
        (tmp_path / name).write_bytes(b"")
    for index in range(KEPT + 1):
        quarantine(tmp_path / "zone.db", NOW + index)
    assert {file.name for file in tmp_path.iterdir()} == {"lists.db", "lists.db.corrupt-1", "zone.db.bak"}


def test_a_full_disk_does_not_keep_it_from_moving(tmp_path: Path) -> None:
    path = tmp_path / "zone.db"
    path.write_bytes(b"not a database")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        aside = quarantine(path, NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert aside.exists()
