"""What was committed is what is loaded, whatever came in between."""

import contextlib
import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from tapir.codec.passed import make
from tapir.model.actions import Action
from tapir.model.blocks import EMPTY_RECORDS, PassedDelta, RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import Name, parse_name
from tapir.store import passed, zones
from tapir.store.errors import StoreCorrupt, StoreFormatUnknown, StoreFull, StoreOutOfStep
from tapir.store.packing import pack_version_delta
from tapir.store.zones import StoredZone, ZoneStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "zone.db"


def load(store: ZoneStore) -> StoredZone:
    stored = store.load()
    assert stored is not None
    return stored


def step(serial: int, *, size: int = 1) -> VersionDelta:
    """A delta that adds names of its own, `size` of them that do not compress."""
    names = ((Name(b"\x20" + os.urandom(32).lower() + b"\0"), Action.DROP) for _ in range(size))
    return VersionDelta(
        from_serial=serial, to_serial=(serial + 1) % 2**32, at=serial, delta=RecordDelta(added=RecordBlock.of(names))
    )


def test_a_new_store_has_nothing(path: Path) -> None:
    store = ZoneStore.open(path)
    assert store.load() is None
    assert not store.held()
    store.close()
    store.close()


def test_commits_are_loaded_again(path: Path, oracle) -> None:
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 5)
    for serial in range(1, 60):
        store.commit(oracle.delta(serial))
        store.tidy()
        if serial % 20 == 0:
            store.close()
            store = ZoneStore.open(path)
        stored = load(store)
        assert stored.serial == serial + 1
        assert stored.committed_at == serial * 1_000_000
        assert dict(stored.records) == oracle.records(serial + 1)
        assert sorted(stored.passed) == sorted(oracle.passed(serial + 1))
        assert [delta.from_serial for delta in stored.deltas] == list(range(1, serial + 1))
    store.close()


def test_a_delta_that_does_not_follow_is_refused(path: Path, oracle) -> None:
    store = ZoneStore.open(path)
    with pytest.raises(StoreOutOfStep, match="serial None"):
        store.commit(oracle.delta(1))
    store.reset(1, EMPTY_RECORDS, 0)
    store.commit(oracle.delta(1))
    with pytest.raises(StoreOutOfStep, match="serial 2"):
        store.commit(oracle.delta(1))
    assert load(store).serial == 2
    store.close()


def test_a_malformed_delta_is_the_callers_mistake(path: Path) -> None:
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0)
    bad = RecordBlock(names=EMPTY_RECORDS.names, actions=b"\4")
    with pytest.raises(ValueError, match="number of actions"):
        store.commit(VersionDelta(from_serial=1, to_serial=2, at=0, delta=RecordDelta(added=bad)))
    with pytest.raises(ValueError, match="number of actions"):
        store.reset(9, bad, 0)
    with pytest.raises(ValueError, match="not a serial"):
        store.reset(2**32, EMPTY_RECORDS, 0)
    assert load(store).serial == 1
    store.close()


def test_the_base_moves_up_and_the_journal_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "_SMALL", 2000)
    store = ZoneStore.open(path)
    store.reset(7, EMPTY_RECORDS, 0)
    size_of_log = []
    for serial in range(7, 107):
        store.commit(step(serial, size=5))
        store.tidy()
        with sqlite3.connect(path) as reader:
            (base_octets,) = reader.execute("SELECT length(sealed) FROM item WHERE key = 'base/0'").fetchone()
        reader.close()
        size_of_log.append(base_octets)
    stored = load(store)
    assert len(set(size_of_log)) in range(3, 20), "the base moves, but rarely"
    assert len(stored.records) == 500
    assert [delta.from_serial for delta in stored.deltas] == list(range(7, 107))
    store.close()


def test_parts_of_the_base_stay_of_a_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "_SMALL", 500)
    monkeypatch.setattr(zones, "_PART", 16)
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0)
    for serial in range(1, 60):
        store.commit(step(serial, size=7))
        store.tidy()
        with sqlite3.connect(path) as reader:
            (parts,) = reader.execute("SELECT count(*) FROM item WHERE key LIKE 'base/%'").fetchone()
        reader.close()
        assert parts <= 1 + serial * 7 // 8, "no heap of small parts"
    stored = load(store)
    assert len(stored.records) == 59 * 7
    assert max(len(part) for part in stored.parts) <= 64
    store.close()


def test_pruned_deltas_are_gone_and_the_content_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "_SMALL", 2000)
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0)
    for serial in range(1, 101):
        store.commit(step(serial, size=5))
        store.tidy()
        assert store.prune(max(1, serial - 3)) == (1 if serial > 4 else 0)
        stored = load(store)
        assert len(stored.records) == serial * 5
        assert stored.deltas[0].from_serial == max(1, serial - 3)
    with sqlite3.connect(path) as reader:
        (entries,) = reader.execute("SELECT count(*) FROM log").fetchone()
    reader.close()
    assert entries < 60, "what neither base nor journal needs is gone"
    assert store.prune(55) == 0, "a serial that no delta starts from changes nothing"
    assert store.prune(101) == 4
    assert load(store).deltas == ()
    store.commit(step(101))
    assert [delta.from_serial for delta in load(store).deltas] == [101]
    store.close()


def test_serials_wrap(path: Path) -> None:
    store = ZoneStore.open(path)
    store.reset(2**32 - 2, EMPTY_RECORDS, 0)
    for serial in (2**32 - 2, 2**32 - 1, 0):
        store.commit(step(serial))
    stored = load(store)
    assert stored.serial == 1
    assert store.prune(2**32 - 1) == 1
    assert [delta.from_serial for delta in load(store).deltas] == [2**32 - 1, 0]
    store.close()


def test_a_reset_begins_anew_and_may_bring_its_journal(path: Path, oracle) -> None:
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0)
    store.commit(oracle.delta(1))
    store.set_held(True)
    chain = [oracle.delta(serial) for serial in range(5, 9)]
    store.reset(9, RecordBlock.of(oracle.records(9).items()), 77, passed=oracle.passed(9), deltas=chain)
    store.commit(oracle.delta(9))
    stored = load(store)
    assert (stored.serial, stored.held) == (10, True)
    assert [delta.from_serial for delta in stored.deltas] == [5, 6, 7, 8, 9]
    assert dict(stored.records) == oracle.records(10)
    assert set(stored.passed) == set(oracle.passed(10))
    with pytest.raises(ValueError, match="does not follow"):
        store.reset(9, EMPTY_RECORDS, 0, deltas=chain[::2])
    with pytest.raises(ValueError, match="lead to serial 9"):
        store.reset(10, EMPTY_RECORDS, 0, deltas=chain)
    store.close()


def test_hold_and_extra_survive(path: Path, oracle) -> None:
    store = ZoneStore.open(path)
    store.set_held(True)
    store.close()
    store = ZoneStore.open(path)
    assert store.held()
    store.reset(1, EMPTY_RECORDS, 0, extra={"decided_by": "policy 1"})
    store.commit(oracle.delta(1))
    assert load(store).extra == {"decided_by": "policy 1"}
    store.commit(oracle.delta(2), extra={"decided_by": "policy 2"})
    store.set_held(False)
    assert load(store).extra == {"decided_by": "policy 2"}
    assert not load(store).held
    store.close()


def test_a_store_may_be_opened_again_beside_a_forgotten_one(path: Path, oracle) -> None:
    forgotten = ZoneStore.open(path)
    forgotten.reset(1, EMPTY_RECORDS, 0)
    store = ZoneStore.open(path)
    store.commit(oracle.delta(1))
    with pytest.raises(StoreOutOfStep):
        forgotten.commit(oracle.delta(1))
    assert load(store).serial == load(forgotten).serial == 2
    forgotten.close()
    store.close()


def test_calls_may_come_from_any_thread(path: Path, oracle) -> None:
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0)
    for serial in range(1, 6):
        thread = threading.Thread(target=store.commit, args=(oracle.delta(serial),))
        thread.start()
        thread.join()
    assert dict(load(store).records) == oracle.records(6)
    store.close()


def test_a_newer_format_is_refused(path: Path) -> None:
    ZoneStore.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=3")
    connection.close()
    with pytest.raises(StoreFormatUnknown, match="format 3, this tapir knows 1 and 2"):
        ZoneStore.open(path)


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(StoreCorrupt, match="something else"):
        ZoneStore.open(path)


def test_an_interrupted_creation_leaves_nothing_behind(path: Path) -> None:
    path.with_name(".zone.db.new").write_bytes(b"half a database")
    path.with_name("zone.db-wal").write_bytes(b"a log without its database")
    store = ZoneStore.open(path)
    store.reset(1, RecordBlock.of([(parse_name("a.example"), Action.DROP)]), 0)
    store.close()
    assert [file.name for file in path.parent.iterdir()] == ["zone.db"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_missing_is_no_corruption(tmp_path: Path) -> None:
    with pytest.raises(StoreFull, match=r"unable to open|No such"):
        ZoneStore.open(tmp_path / "missing" / "zone.db")


def tamper(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE log SET mark = mark + 1", "wrong mark"),
        ("DELETE FROM log WHERE number = 3", "missing"),
        ("DELETE FROM log WHERE number = 5", "missing"),
        ("UPDATE log SET sealed = (SELECT sealed FROM log WHERE number = 4) WHERE number = 3", "another blob's place"),
        ("UPDATE log SET sealed = 'text'", "something else"),
        ("DELETE FROM item WHERE key = 'base/0'", "base/0 is missing"),
        ("DELETE FROM item WHERE key = 'state'", "state is missing"),
        ("UPDATE item SET sealed = zeroblob(100)", "does not begin like one"),
        ("CREATE TABLE more (x)", "not ours"),
        ("DROP INDEX log_by_mark", "not ours"),
    ],
)
def test_what_sqlite_finds_sound_and_is_not_is_corrupt(path: Path, oracle, statement: str, reason: str) -> None:
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0)
    for serial in range(1, 6):
        store.commit(oracle.delta(serial))
        store.tidy()
    store.close()
    tamper(path, statement)

    def use() -> None:
        store = ZoneStore.open(path)
        try:
            store.prune(3)
            store.load()
        finally:
            store.close()

    with pytest.raises(StoreCorrupt, match=reason):
        use()


def test_a_journal_that_was_given_up_does_not_come_back(path: Path, oracle) -> None:
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0)
    for serial in range(1, 10):
        store.commit(oracle.delta(serial))
        store.tidy()
    assert store.prune(8) == 7
    assert store.prune(3) == 0, "its delta is there for the base's sake only"
    assert [delta.from_serial for delta in load(store).deltas] == [8, 9]
    store.close()


def test_a_base_of_another_time_is_corrupt(path: Path, oracle) -> None:
    store = ZoneStore.open(path)
    bases = []
    for serial in (3, 9):
        records = RecordBlock.of(oracle.records(serial).items())
        store.reset(9, records, 0)
        with contextlib.closing(sqlite3.connect(path)) as other:
            bases += other.execute("SELECT sealed FROM item WHERE key = 'base/0'").fetchone()
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        assert other.execute("UPDATE item SET sealed = ? WHERE key = 'base/0'", (bases[0],)).rowcount == 1
    with pytest.raises(StoreCorrupt, match="records where"):
        store.load()
    store.close()


def test_what_is_passed_through_leaves_no_trace_where_there_is_none(path: Path) -> None:
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0)
    record = make(parse_name("p.example"), 1, 60, bytes(4))
    plain = step(1)
    store.commit(plain)
    assert len(pack_version_delta(plain)) == 2 * 4 + 8 + 2 * 12 + 36
    assert b"passed" not in zones._State().pack()
    for serial, change in ((2, PassedDelta(added=(record,))), (3, PassedDelta(removed=(record,)))):
        delta = RecordDelta(passed=change)
        store.commit(VersionDelta(from_serial=serial, to_serial=serial + 1, at=0, delta=delta))
        assert load(store).passed == change.added
    assert [len(delta.delta.passed) for delta in load(store).deltas] == [0, 1, 1]
    store.close()


@pytest.mark.parametrize("parts", [1, 2])
def test_what_is_passed_through_is_not_lost_unnoticed(path: Path, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    monkeypatch.setattr(passed, "_PART", 3 - parts)
    records = [make(parse_name(name), 1, 60, bytes(4)) for name in ("a.example", "b.example")]
    store = ZoneStore.open(path)
    store.reset(1, EMPTY_RECORDS, 0, passed=records)
    assert set(load(store).passed) == set(records)
    gone = VersionDelta(
        from_serial=1, to_serial=2, at=0, delta=RecordDelta(passed=PassedDelta(removed=(records[0][:-1] + b"x",)))
    )
    store.commit(gone)
    with pytest.raises(StoreCorrupt, match="passed through is removed where it is not"):
        store.load()
    store.close()
    tamper(path, "DELETE FROM item WHERE key = 'passed/0'")
    store = ZoneStore.open(path)
    with pytest.raises(StoreCorrupt, match="passed/0 is missing"):
        store.load()
    store.close()


@pytest.mark.parametrize(
    "record", [b"", b"\1a", b"\1a\0\0\1\0\1", b"\0" + bytes(10), make(Name(b"\1a\0"), 1, 1, b"x") + b"y"]
)
def test_a_malformed_record_is_not_written(path: Path, record: bytes) -> None:
    store = ZoneStore.open(path)
    with pytest.raises(ValueError, match="passed through"):
        store.reset(1, EMPTY_RECORDS, 0, passed=[record])
    store.close()


def test_what_the_operator_wants_is_remembered_with_the_version_it_led_to(path: Path, oracle) -> None:
    store = ZoneStore.open(path)
    assert (store.held(), store.steering()) == (False, "")
    store.set_held(True, steering="first")
    store.reset(1, EMPTY_RECORDS, 0)
    assert (load(store).held, load(store).steering) == (True, "first")
    store.commit(oracle.delta(1), held=False, steering="second")
    assert (load(store).held, load(store).steering) == (False, "second")
    store.commit(oracle.delta(2))
    store.reset(1, EMPTY_RECORDS, 0, held=True)
    store.close()
    store = ZoneStore.open(path)
    assert (store.held(), store.steering()) == (True, "second")
    store.close()


def test_a_store_from_before_wishes_were_remembered_still_opens(
    path: Path, oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = zones._State.pack

    def pack_as_before(state: Any) -> bytes:
        fields = json.loads(pack(state))
        del fields["steering"]
        return json.dumps(fields).encode()

    with monkeypatch.context() as patched:
        patched.setattr(zones._State, "pack", pack_as_before)
        store = ZoneStore.open(path)
        store.reset(1, EMPTY_RECORDS, 0)
        store.commit(oracle.delta(1))
        store.tidy()
        store.set_held(True)
        store.close()
    store = ZoneStore.open(path)
    assert (load(store).serial, load(store).held, load(store).steering) == (2, True, "")
    store.close()
