"""New names: the front in memory against a Python set, and the store against SQLite doing the same, both durable."""

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from benching import ROUNDS, Ratios
from sightings import MAY, sightings_of

from tapir.codec.newqname import Sightings, encode_events
from tapir.kernels import compiled, recent
from tapir.store.seen import Retention, SeenStore

NAMES = 1_000_000
BATCH = 5000
FRONT_REACH, NEW_REACH, KNOWN_REACH = 0.5, 1.0, 0.5

pytestmark = pytest.mark.skipif(not compiled(recent), reason="the kernels are not compiled")


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def batches(first: int, count: int) -> list[Sightings]:
    return [
        # In no order, as names come.
        sightings_of([b"\x08%08x\7example\3com\0" % (n * 2654435761 % 2**32) for n in range(start, start + BATCH)])
        for start in range(first, first + count * BATCH, BATCH)
    ]


def test_the_front() -> None:
    hashes = np.random.default_rng(1).integers(1, 2**64 - 1, NAMES, dtype=np.uint64)
    parts = [hashes[at : at + BATCH] for at in range(0, NAMES, BATCH)]
    fresh = np.empty(BATCH, np.uint32)
    table = np.zeros(2 * NAMES, np.uint64)
    plain: set[int] = set()
    numbers = [part.tolist() for part in parts]

    def ours() -> None:
        for part in parts:
            recent.sift(table.data, part.data, fresh.data)

    def python() -> None:
        for part in numbers:
            for number in part:
                if number not in plain:
                    plain.add(number)

    ours()
    python()
    ratios = Ratios("names that came lately, ours / a set")
    for _ in range(ROUNDS):
        ratios.add(seconds(ours) / NAMES * 1e9, seconds(python) / NAMES * 1e9)
    ratios.show("ns", reach=f"{FRONT_REACH}")
    assert ratios.median < FRONT_REACH


class Plain:
    """The same in SQLite, names as they are."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("CREATE TABLE seen (name BLOB PRIMARY KEY, at INTEGER) WITHOUT ROWID")
        self.connection.execute("CREATE TABLE outbox (number INTEGER PRIMARY KEY, event BLOB)")

    def report(self, sightings: Sightings, *, now: int) -> None:
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        new = [
            row
            for row, name in enumerate(sightings.names)
            if execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (name.lower(), now)).rowcount
        ]
        for event in encode_events(sightings.rows(np.array(new, np.uint32))):
            execute("INSERT INTO outbox (event) VALUES (?)", (event,))
        execute("COMMIT")


def report_all(report: Callable[..., object], parts: list[Sightings]) -> None:
    for part in parts:
        report(part, now=MAY)


def test_the_store(tmp_path: Path) -> None:
    store, plain = SeenStore.open(tmp_path / "seen.mdb", Retention(events=NAMES * 100)), Plain(tmp_path / "plain.db")
    for part in batches(0, NAMES // BATCH // 4):
        store.report(part, now=MAY)
        plain.report(part, now=MAY)
    new, known = Ratios("new names, ours / SQLite"), Ratios("known names, ours / SQLite")
    for number in range(ROUNDS):
        parts = batches((number + 1) * NAMES, 10)
        for ratios in (new, known):
            own = seconds(partial(report_all, store.report, parts))
            other = seconds(partial(report_all, plain.report, parts))
            ratios.add(own / 10 / BATCH * 1e6, other / 10 / BATCH * 1e6)
    new.show("us", reach=f"{NEW_REACH}")
    known.show("us", reach=f"{KNOWN_REACH}")
    statistics = store.statistics()
    print(f"{statistics.octets / statistics.names:.0f} octets a name with its event")
    store.close()
    plain.connection.close()
    assert new.median < NEW_REACH
    assert known.median < KNOWN_REACH
