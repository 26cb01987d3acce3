"""A feed's rules are what was committed, and what is damaged is never taken for them."""

import contextlib
import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tapir.codec.passed import make
from tapir.model.actions import Action
from tapir.model.blocks import PassedDelta, RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import Name, parse_name
from tapir.store import feeds
from tapir.store.blobs import BlobKind
from tapir.store.database import STATE
from tapir.store.errors import StoreCorrupt, StoreFull, StoreOutOfStep
from tapir.store.feeds import FeedStanding, FeedStore
from tapir.store.zones import ZoneStore

SAID = [Action.NXDOMAIN, Action.PASSTHRU, Action.DROP]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.db"


def standing(serial: int, **fields) -> FeedStanding:
    return FeedStanding(
        **{
            "zone": "feed.example.",
            "serial": serial,
            "timers": (60, 20, 3600, 60),
            "refreshed_at": 7,
            "changed_at": 5,
            "primary": "192.0.2.1:53",
            "epoch": "abc",
            "digests": (("feed:allow", "abc:1/x"), ("feed", "abc:2/x")),
            "unevaluated": (("rpz_ip", 3),),
            "refused": (("too_broad", 1),),
            **fields,
        }
    )


def block(rules: dict[Name, Action]) -> RecordBlock:
    """The rules in canonical order."""
    return RecordBlock.of(sorted(rules.items(), key=lambda rule: list(reversed(labels(rule[0])))))


def labels(name: Name) -> list[bytes]:
    found = []
    while name[0]:
        found.append(name[1 : 1 + name[0]])
        name = Name(name[1 + name[0] :])
    return found


def rules_of(store: FeedStore) -> dict[Name, Action]:
    stored = store.load()
    assert stored is not None
    return {name: action for part in stored.parts for name, action in part}


def run(path: Path, statement: str, *parameters) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, parameters).fetchall()


def delta(before: dict[Name, Action], after: dict[Name, Action]) -> RecordDelta:
    return RecordDelta(
        removed=block({name: action for name, action in before.items() if after.get(name) != action}),
        added=block({name: action for name, action in after.items() if before.get(name) != action}),
    )


FIRST = {parse_name(f"n{i}.example"): SAID[i % 3] for i in range(50)}


def test_nothing_is_stored_at_first(path: Path) -> None:
    store = FeedStore.open(path)
    assert store.load() is None
    store.close()
    store.close()


def test_all_that_is_said_of_a_feed_is_kept(path: Path) -> None:
    store = FeedStore.open(path)
    store.replace(standing(3), (block(FIRST),))
    store.close()
    store = FeedStore.open(path)
    stored = store.load()
    assert stored is not None
    assert stored.standing == standing(3)
    assert rules_of(store) == FIRST
    noted = standing(3, refreshed_at=99, withdrawn=True)
    store.note(noted)
    assert store.load().standing == noted
    assert rules_of(store) == FIRST


def test_differences_are_loaded_again_also_once_they_are_folded(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(feeds, "_SMALL", 2000)
    monkeypatch.setattr(feeds, "_PART", 16)
    rng = random.Random(5)
    rules = dict(FIRST)
    store = FeedStore.open(path)
    store.replace(standing(1), (block(rules),))
    sizes = []
    for serial in range(1, 120):
        after = dict(rules)
        for _ in range(3):
            name = parse_name(f"n{rng.randrange(90)}.example")
            if rng.random() < 0.4:
                after.pop(name, None)
            else:
                after[name] = rng.choice(SAID)
        store.commit(serial, standing(serial + 1), delta(rules, after))
        rules = after
        if serial % 10 == 0:
            store.close()
            store = FeedStore.open(path)
            assert rules_of(store) == rules
            sizes.append(run(path, "SELECT count(*) FROM log")[0][0])
    assert max(sizes) < 60


def test_an_empty_feed_is_a_feed(path: Path) -> None:
    store = FeedStore.open(path)
    store.replace(standing(1), ())
    assert rules_of(store) == {}
    store.commit(1, standing(2), delta({}, FIRST))
    assert rules_of(store) == FIRST
    store.commit(2, standing(3), delta(FIRST, {}))
    assert rules_of(store) == {}


@pytest.mark.parametrize("serial", [0, 2**32 - 1])
def test_what_does_not_follow_is_refused(path: Path, serial: int) -> None:
    store = FeedStore.open(path)
    with pytest.raises(StoreOutOfStep):
        store.commit(0, standing(1), RecordDelta())
    with pytest.raises(StoreOutOfStep):
        store.note(standing(1))
    store.replace(standing(5), (block(FIRST),))
    with pytest.raises(StoreOutOfStep):
        store.commit(serial, standing(6), RecordDelta())
    with pytest.raises(StoreOutOfStep):
        store.note(standing(serial))
    assert rules_of(store) == FIRST


def test_every_flipped_octet_of_a_blob_is_found(path: Path) -> None:
    store = FeedStore.open(path)
    store.replace(standing(1), (block(FIRST),))
    store.commit(1, standing(2), delta(FIRST, {}))
    store.close()
    rng = random.Random(3)
    for read, write in (
        ("SELECT key, sealed FROM item", "UPDATE item SET sealed = ? WHERE key = ?"),
        ("SELECT number, sealed FROM log", "UPDATE log SET sealed = ? WHERE number = ?"),
    ):
        for key, sealed in run(path, read):
            for _ in range(10):
                broken = bytearray(sealed)
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
                run(path, write, bytes(broken), key)
                store = FeedStore.open(path)
                with pytest.raises(StoreCorrupt):
                    store.load()
                store.close()
            run(path, write, sealed, key)
    store = FeedStore.open(path)
    assert rules_of(store) == {}


@pytest.mark.parametrize("statement", ["DELETE FROM log", "DELETE FROM item WHERE key = 'base/0'"])
def test_what_is_missing_is_found(path: Path, statement: str) -> None:
    store = FeedStore.open(path)
    store.replace(standing(1), (block(FIRST),))
    store.commit(1, standing(2), delta(FIRST, {}))
    store.close()
    run(path, statement)
    store = FeedStore.open(path)
    with pytest.raises(StoreCorrupt):
        store.load()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state | {"records": 7},
        lambda state: state | {"standing": state["standing"] | {"serial": 9}},
        lambda state: state | {"standing": {"zone": "x"}},
        lambda state: state | {"unknown": 1},
        lambda state: [],
    ],
)
def test_a_state_that_contradicts_the_rest_is_found(path: Path, spoil) -> None:
    """Such as a mistake of ours would write: its seal is good."""
    store = FeedStore.open(path)
    store.replace(standing(1), (block(FIRST),))
    store.commit(1, standing(2), delta(FIRST, {}))
    database = store._database
    with database.writing():
        state = json.loads(database.get(BlobKind.STATE, STATE))
        database.put(BlobKind.STATE, STATE, json.dumps(spoil(state)).encode())
    with pytest.raises(StoreCorrupt):
        store.load()


def test_a_difference_that_does_not_fit_is_found(path: Path) -> None:
    store = FeedStore.open(path)
    store.replace(standing(1), (block(FIRST),))
    store.commit(1, standing(2), RecordDelta(removed=RecordBlock.of([(parse_name("never.there"), Action.DROP)])))
    with pytest.raises(StoreCorrupt):
        store.load()


def test_entries_that_do_not_follow_each_other_are_found(path: Path, monkeypatch) -> None:
    store = FeedStore.open(path)
    store.replace(standing(1), (block(FIRST),))
    store.commit(1, standing(2), RecordDelta())
    real = VersionDelta
    monkeypatch.setattr(feeds, "VersionDelta", lambda **fields: real(**{**fields, "from_serial": 7}))
    store.commit(2, standing(3), RecordDelta())
    with pytest.raises(StoreCorrupt, match="does not follow"):
        store.load()


def test_a_snapshot_that_cannot_be_written_does_not_undo_the_commit(path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(feeds, "_SMALL", 0)
    store = FeedStore.open(path)
    store.replace(standing(1), ())

    def full(*args):
        raise StoreFull(path=path, reason="disk full")

    with monkeypatch.context() as patch:
        patch.setattr(feeds, "_put_base", full)
        store.commit(1, standing(2), delta({}, FIRST))
    assert "its log goes on growing" in caplog.text
    assert rules_of(store) == FIRST
    store.commit(2, standing(3), RecordDelta())
    assert rules_of(store) == FIRST


def test_another_database_is_not_taken_for_a_feed(path: Path) -> None:
    ZoneStore.open(path).close()
    with pytest.raises(StoreCorrupt):
        FeedStore.open(path)


def test_what_is_passed_through_is_kept_beside_the_rules(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_SMALL", 0)
    one, two = (make(parse_name(f"{name}.example"), 1, 60, bytes(4)) for name in ("one", "two"))
    store = FeedStore.open(path)
    store.replace(standing(1, kept=True), [], [one])
    for serial, removed, added in ((2, (), (two,)), (3, (one,), ()), (4, (two,), (one,))):
        change = RecordDelta(passed=PassedDelta(removed=removed, added=added))
        store.commit(serial - 1, standing(serial, kept=True, surplus=serial), change)
        stored = store.load()
        assert stored is not None
        assert (stored.standing.kept, stored.standing.surplus) == (True, serial)
        assert set(stored.passed) == {1: {one}, 2: {one, two}, 3: {two}, 4: {one}}[serial]
    store.replace(standing(5), [])
    stored = store.load()
    assert stored is not None
    assert stored.passed == ()
    store.close()
