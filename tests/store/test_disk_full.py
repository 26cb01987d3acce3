"""A disk that takes nothing more is StoreFull, and what was stored stays as it was.

Three kinds of full: SQLite's own limit on the pages of a file, the kernel's limit on the size of a file, and a file
system without room.
"""

import contextlib
import itertools
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from stores import entries_of

from tapir.model.actions import Action
from tapir.model.blocks import EMPTY_RECORDS, ListBlock, RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import Name
from tapir.store import zones
from tapir.store.errors import StoreFull
from tapir.store.lists import ListStore
from tapir.store.serialcache import read_serialcache, write_serialcache
from tapir.store.state import StateDirectory
from tapir.store.zones import ZoneStore


def names(count: int) -> list[Name]:
    """Names that do not compress."""
    return [Name(b"\x20" + os.urandom(32).lower() + b"\0") for _ in range(count)]


def step(serial: int, size: int = 200) -> VersionDelta:
    added = RecordBlock.of((name, Action.DROP) for name in names(size))
    return VersionDelta(from_serial=serial, to_serial=serial + 1, at=serial, delta=RecordDelta(added=added))


def limit_pages(store: ZoneStore | ListStore, pages: int) -> None:
    store._database._connection.execute(f"PRAGMA max_page_count={pages}")


def loaded(store: ZoneStore) -> tuple[int, dict[Name, Action]]:
    stored = store.load()
    assert stored is not None
    return stored.serial, dict(stored.records)


def commit_until_full(store: ZoneStore) -> int:
    """The serial that could still be committed."""
    for serial in itertools.count(1):
        before = loaded(store)
        try:
            store.commit(step(serial))
            store.tidy()
        except StoreFull:
            assert loaded(store) == before
            return serial
    raise AssertionError


def test_a_commit_to_a_full_file_changes_nothing(tmp_path: Path) -> None:
    store = ZoneStore.open(tmp_path / "zone.db")
    store.reset(1, EMPTY_RECORDS, 0)
    limit_pages(store, 10)
    serial = commit_until_full(store)
    before = loaded(store)
    assert before[0] == serial
    with pytest.raises(StoreFull):
        store.reset(900, RecordBlock.of((name, Action.DROP) for name in names(5000)), 0)
    assert loaded(store) == before
    limit_pages(store, 10_000)
    store.commit(step(serial))
    store.tidy()
    assert loaded(store)[0] == serial + 1
    store.close()


def test_a_base_that_cannot_move_up_keeps_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = ZoneStore.open(tmp_path / "zone.db")
    store.reset(1, EMPTY_RECORDS, 0)
    store.commit(step(1))
    with sqlite3.connect(store.path) as reader:
        (pages,) = reader.execute("PRAGMA page_count").fetchone()
    reader.close()
    # Room for one more small delta, but not for a base.
    limit_pages(store, pages)
    monkeypatch.setattr(zones, "_SMALL", 1000)
    store.commit(step(2, size=1))
    store.tidy()
    assert "could not be moved up" in caplog.text
    assert loaded(store)[0] == 3
    limit_pages(store, 10_000)
    store.commit(step(3, size=1))
    assert loaded(store)[0] == 4
    store.close()


def test_a_list_that_does_not_fit_leaves_all_lists_as_they_were(tmp_path: Path) -> None:
    store = ListStore.open(tmp_path / "lists.db")
    (first,) = names(1)
    store.replace("one", content=ListBlock.of([(first, 1)]), digest="d1", loaded_at=1)
    limit_pages(store, 10)
    before = store.load_all()
    too_much = ListBlock.of((name, 1) for name in names(5000))

    def replace_both() -> None:
        with store.transaction() as transaction:
            transaction.replace("two", content=ListBlock.of([(first, 2)]), digest="d2", loaded_at=2)
            transaction.replace("one", content=too_much, digest="d3", loaded_at=3)

    def swallow_the_failure_of_a_step() -> None:
        with store.transaction() as transaction:
            transaction.replace("two", content=ListBlock.of([(first, 2)]), digest="d2", loaded_at=2)
            with contextlib.suppress(sqlite3.Error):
                transaction.replace("one", content=too_much, digest="d3", loaded_at=3)

    for attempt in (replace_both, swallow_the_failure_of_a_step):
        with pytest.raises(StoreFull):
            attempt()
        assert store.load_all() == before
    assert entries_of(store.load("one")) == {first: 1}
    store.close()


SIZE_LIMITED = """
import resource, sys
from pathlib import Path
import test_disk_full as t
from tapir.store.errors import StoreFull
store = t.ZoneStore.open(Path(sys.argv[1]))
store.reset(1, t.EMPTY_RECORDS, 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
serial = 1
try:
    while serial < 1000:
        store.commit(t.step(serial))
        store.tidy()
        serial += 1
except StoreFull as exc:
    assert t.loaded(store)[0] == serial
    print(serial, exc.reason)
"""

TINY_DISK = """
import os, sys
from pathlib import Path
import test_disk_full as t
from tapir.store.errors import StoreFull
from tapir.store.serialcache import read_serialcache, write_serialcache
folder = Path(sys.argv[1])
(folder / "spare").write_bytes(bytes(1 << 16))
state = t.StateDirectory.open(folder / "state")
path = state.zone("rpz.example.")
store = t.ZoneStore.open(path)
store.reset(1, t.EMPTY_RECORDS, 0)
write_serialcache(folder / "serialcache", 1)
serial = 1
try:
    while serial < 1000:
        store.commit(t.step(serial))
        store.tidy()
        serial += 1
except StoreFull as exc:
    print(serial, exc.reason)
assert t.loaded(store)[0] == serial
with (folder / "ballast").open("wb", buffering=0) as file:     # the last free block, too
    try:
        while True:
            file.write(bytes(512))
    except OSError:
        pass
try:
    write_serialcache(folder / "serialcache", 999)
except StoreFull:
    pass
assert read_serialcache(folder / "serialcache").serial == 1
assert t.loaded(store)[0] == serial
store.close()
state.close()
# A restart on the full disk still gets what was stored.
state = t.StateDirectory.open(folder / "state")
store = t.ZoneStore.open(path)
assert t.loaded(store)[0] == serial, t.loaded(store)[0]
try:
    t.ListStore.open(state.lists)
except StoreFull:
    print("no room for another database")
assert not list((folder / "state").glob("lists*"))
(folder / "ballast").unlink()
(folder / "spare").unlink()
store.prune(serial)
store.commit(t.step(serial, size=1))
store.tidy()
assert t.loaded(store)[0] == serial + 1
print("went on")
"""


def run(script: str, folder: Path, *, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-c", script, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_limit_on_the_file_is_full(tmp_path: Path) -> None:
    done = run(SIZE_LIMITED, tmp_path / "zone.db")
    assert done.returncode == 0, done.stderr
    serial = int(done.stdout.split()[0])
    assert serial > 2
    store = ZoneStore.open(tmp_path / "zone.db")
    assert loaded(store)[0] == serial
    store.close()


def test_a_disk_without_room_is_full_and_a_restart_serves_what_it_holds(tmp_path: Path) -> None:
    mount = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    script = f'mount -t tmpfs -o size=1m none "{tmp_path}" && exec "$@"'
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            [*mount, f'mount -t tmpfs -o size=1m none "{tmp_path}"'], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("this machine lets no test mount a file system")
    done = run(TINY_DISK, tmp_path, prefix=(*mount, script, "sh"))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "went on" in done.stdout


def test_a_serialcache_that_cannot_be_written_keeps_its_line(tmp_path: Path) -> None:
    path = tmp_path / "serialcache"
    write_serialcache(path, 41)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))
    try:
        with pytest.raises(StoreFull, match="too large"):
            write_serialcache(path, 42)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_serialcache(path).serial == 41
    assert [file.name for file in tmp_path.iterdir()] == ["serialcache"]


def test_an_empty_state_folder_on_a_full_disk_is_full(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        with pytest.raises(StoreFull, match="File too large"):
            StateDirectory.open(tmp_path / "state")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    StateDirectory.open(tmp_path / "state").close()
