"""What an observation source stores: the same book after every restart, put together, folded or not; or corrupt."""

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.blocks import NameBlock
from tapir.model.names import Name, parse_name
from tapir.model.observed import DIGEST, NOTHING_REMEMBERED, RememberedBlock, RememberedStep, Standing
from tapir.policy.observed import ObservationBook
from tapir.store import observations
from tapir.store.blobs import BlobError
from tapir.store.errors import StoreCorrupt, StoreFull
from tapir.store.observations import GROUP, ObservationStore
from tapir.store.observed_packing import coalesced, pack_steps, unpack_steps

NAMES = [parse_name(f"n{number}.example") for number in range(8)]

Row = tuple[Name, int, int, int, int, int]


def block_of(*rows: Row) -> RememberedBlock:
    def column(index: int, dtype: type) -> bytes:
        return np.array([row[index] for row in rows], dtype).tobytes()

    return RememberedBlock(
        names=NameBlock.of(row[0] for row in rows),
        tags=column(1, np.uint32),
        stamps=column(2, np.int64),
        deadlines=column(3, np.int64),
        horizons=column(4, np.int64),
        standings=column(5, np.uint8),
    )


def live(name: Name, tags: int = 1, stamp: int = 1, deadline: int = 1000) -> Row:
    return (name, tags, stamp, deadline, deadline, Standing.LIVE)


def adding(*names: Name, tags: int = 1, deadline: int = 1000) -> RememberedStep:
    return RememberedStep(entries=block_of(*(live(name, tags, deadline=deadline) for name in names)))


def content(store: ObservationStore, now: int = 0) -> dict[Name, int]:
    book = ObservationBook()
    book.restore(store.load(), now=now)
    return dict(book.content())


def opened(path: Path) -> contextlib.closing[ObservationStore]:
    return contextlib.closing(ObservationStore.open(path))


times = st.integers(-(1 << 63), (1 << 63) - 1)
rows = st.tuples(st.sampled_from(NAMES), st.integers(0, (1 << 32) - 1), times, times, times, st.sampled_from([1, 2, 3]))
steps = st.builds(
    lambda found, digests, ended: RememberedStep(entries=block_of(*found), digests=digests, ended_by=ended),
    st.lists(rows, max_size=4),
    st.integers(0, 3).map(lambda count: bytes(range(count)) * DIGEST),
    st.none() | times,
)


def told(step: RememberedStep) -> tuple[object, ...]:
    entries = step.entries
    columns = (entries.tags, entries.stamps, entries.deadlines, entries.horizons, entries.standings)
    return list(entries.names), columns, step.digests, step.ended_by


@given(st.lists(steps, max_size=5))
def test_steps_survive_packing(found: list[RememberedStep]) -> None:
    assert [told(step) for step in unpack_steps(pack_steps(found))] == [told(step) for step in found]


@given(st.lists(steps, max_size=8))
def test_put_together_they_come_to_the_same(found: list[RememberedStep]) -> None:
    one, other = ObservationBook(), ObservationBook()
    fewer = coalesced(found)
    one.restore(found, now=-(1 << 63))
    other.restore(fewer, now=-(1 << 63))
    assert dict(one.content()) == dict(other.content())
    assert [one.known(name) for name in NAMES] == [other.known(name) for name in NAMES]
    assert b"".join(step.digests for step in fewer) == b"".join(step.digests for step in found)


@given(st.binary(max_size=200))
def test_what_cannot_be_unpacked_is_damage(octets: bytes) -> None:
    with contextlib.suppress(BlobError):
        unpack_steps(octets)
    whole = pack_steps([adding(*NAMES)])
    with pytest.raises(BlobError):
        unpack_steps(whole[:-1])


def test_what_is_no_step_is_not_written() -> None:
    for broken in (
        RememberedStep(digests=b"short"),
        RememberedStep(entries=block_of((NAMES[0], 1, 1, 1, 1, 0))),
        RememberedStep(entries=block_of((NAMES[0], 1, 1, 1, 1, 9))),
    ):
        with pytest.raises(ValueError, match=r"step|stands"):
            pack_steps([broken])


def test_a_new_store_is_empty_and_has_a_digest_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as one, opened(tmp_path / "b.db") as other:
        assert (content(one), one.load()) == ({}, ())
        assert one.digest != other.digest
        assert one.digest.endswith(":0")


def test_all_of_it_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    with opened(path) as store:
        store.append([adding(*NAMES[:3])], changes_list=True)
        store.append([RememberedStep(digests=b"d" * DIGEST)], changes_list=False)
        store.append([adding(NAMES[3], deadline=5), RememberedStep(ended_by=5)], changes_list=True)
        digest = store.digest
        assert digest.endswith(":3")
    with opened(path) as store:
        assert store.digest == digest
        assert content(store) == dict.fromkeys(NAMES[:3], 1)
        assert b"".join(step.digests for step in store.load()) == b"d" * DIGEST


def test_a_step_that_does_not_change_the_list_leaves_its_digest(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as store:
        store.append([adding(NAMES[0])], changes_list=True)
        digest = store.digest
        store.append([adding(NAMES[0], deadline=2000)], changes_list=False)
        assert store.digest == digest
        store.append([adding(NAMES[1])], changes_list=True)
        assert store.digest != digest


@pytest.mark.parametrize("count", [GROUP - 1, GROUP, GROUP + 1, 3 * GROUP + 7])
def test_many_steps_are_few_to_read(tmp_path: Path, count: int) -> None:
    path = tmp_path / "o.db"
    names = [parse_name(f"m{number}.example") for number in range(count)]
    with opened(path) as store:
        for number, name in enumerate(names):
            store.append([adding(name, tags=number)], changes_list=True)
        digest = store.digest
    with opened(path) as store:
        assert len(store.load()) == -(-count // GROUP)
        assert content(store) == {name: number for number, name in enumerate(names)}
        assert store.digest == digest
    with sqlite3.connect(path) as database:
        (rows,) = database.execute("SELECT count(*) FROM log").fetchone()
        assert rows == count // GROUP + count % GROUP
    database.close()


def test_a_snapshot_takes_the_place_of_all_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observations, "_SMALL", 1000)
    path = tmp_path / "o.db"
    with opened(path) as store:
        assert not store.outweighed
        for _ in range(3 * GROUP):
            store.append([adding(NAMES[0])], changes_list=True)
        assert store.outweighed
        digest = store.digest
        store.replace(block_of(live(NAMES[1])), b"x" * DIGEST)
        assert not store.outweighed
        assert store.digest == digest
        assert content(store) == {NAMES[1]: 1}
        store.append([adding(NAMES[2])], changes_list=True)
    with opened(path) as store:
        assert content(store) == {NAMES[1]: 1, NAMES[2]: 1}
        assert store.load()[0].digests == b"x" * DIGEST
        store.replace(NOTHING_REMEMBERED, b"", changes_list=True)
        assert content(store) == {}
        assert int(store.digest.partition(":")[2]) == 3 * GROUP + 2


def test_what_fails_has_written_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "o.db"
    with opened(path) as store:
        store.append([adding(NAMES[0])], changes_list=True)
        before = store.digest
        real = store._database.put

        def full(*args: object) -> int:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(store._database, "put", full)
        with pytest.raises((StoreFull, StoreCorrupt)):
            store.append([adding(NAMES[1])], changes_list=True)
        assert (store.digest, content(store)) == (before, {NAMES[0]: 1})
        monkeypatch.setattr(store._database, "put", real)
        store.append([adding(NAMES[2])], changes_list=True)
    with opened(path) as store:
        assert content(store) == {NAMES[0]: 1, NAMES[2]: 1}


def test_a_damaged_store_says_so_or_what_it_said(tmp_path: Path, campaign: object) -> None:
    path, copy = tmp_path / "o.db", tmp_path / "copy.db"
    states: list[dict[Name, int]] = [{}]
    with opened(path) as store:
        for number in range(GROUP + 20):
            store.append([adding(NAMES[number % 8], tags=number)], changes_list=True)
            states.append({**states[-1], NAMES[number % 8]: number})
    generator = random.Random(7)
    size = path.stat().st_size
    found = set()
    for _ in range(campaign.rounds(4000)):  # type: ignore[attr-defined]
        shutil.copy(path, copy)
        for side in ("-wal", "-shm"):
            copy.with_name(copy.name + side).unlink(missing_ok=True)
        with copy.open("r+b") as file:
            position = generator.randrange(size)
            file.seek(position)
            octet = file.read(1)[0]
            file.seek(position)
            file.write(bytes([octet ^ (1 << generator.randrange(8))]))
        try:
            with opened(copy) as store:
                assert content(store) in states
                assert content(store) == states[-1]
            found.add("whole")
        except StoreCorrupt:
            found.add("corrupt")
    assert found == {"whole", "corrupt"}
