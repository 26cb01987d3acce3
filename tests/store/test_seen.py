"""A name is seen when its event is in the outbox, and never otherwise."""

import json
import tempfile
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sightings import MAY, named, sightings_of

from tapir.codec.newqname import encode_events
from tapir.store import seenfile
from tapir.store.errors import StoreCorrupt, StoreError, StoreFormatUnknown, StoreFull
from tapir.store.quarantine import quarantine
from tapir.store.seen import Retention, SeenStore
from tapir.store.seencheck import find_damage, read_all

DAY = 86_400_000_000
MINUTE = 60_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seen.mdb"


def report(store: SeenStore, *labels: str, now: int = MAY) -> list[int]:
    """The rows that were new."""
    new: list[int] = store.report(sightings_of([named(label) for label in labels]), now=now).new.tolist()
    return new


def waiting(store: SeenStore) -> list[str]:
    """The first labels of what is in the outbox."""
    return [json.loads(each.event)["qname"].removesuffix(".example.") for each in store.waiting(10_000)]


def test_a_name_is_new_once_in_any_case(path: Path) -> None:
    store = SeenStore.open(path)
    assert report(store, "a", "B", "A", "c") == [0, 1, 3]
    assert report(store, "b", "d", "C", "D", "e") == [1, 4]
    assert report(store) == []
    first = store.waiting(1)[0]
    assert first.event == encode_events(sightings_of([named("a")]))[0]
    assert (first.number, first.since) == (1, MAY)
    assert waiting(store) == ["a", "B", "c", "d", "e"]
    store.close()
    store.close()
    store = SeenStore.open(path)
    assert report(store, "a", "f") == [1]
    assert waiting(store)[-1] == "f"
    statistics = store.statistics()
    assert (statistics.names, statistics.events, statistics.oldest) == (6, 6, MAY)
    assert statistics.octets == path.stat().st_size
    store.close()


def test_names_can_be_seen_without_an_event(path: Path) -> None:
    store = SeenStore.open(path)
    report(store, "a")
    assert store.report(sightings_of([named("a"), named("b")]), now=MAY, queue=False).new.tolist() == [1]
    assert report(store, "b", "c") == [1]
    assert waiting(store) == ["a", "c"]
    assert store.statistics().names == 3
    store.close()


def test_the_second_flush_can_be_left_out_and_taken_up_again(path: Path) -> None:
    store = SeenStore.open(path)

    def flushes_twice() -> bool:
        store.statistics()
        environment = store._file._environment
        assert environment is not None
        return bool(environment.flags()["metasync"])

    assert flushes_twice()
    store.sync = False
    assert not flushes_twice()
    assert report(store, "a") == [0]
    store.sync = True
    assert flushes_twice()
    assert report(store, "a", "b") == [1]
    store.close()


def test_events_leave_when_they_are_acknowledged(path: Path) -> None:
    store = SeenStore.open(path)
    assert store.waiting(5) == ()
    assert store.statistics().oldest is None
    report(store, *"abcdef")
    first = store.waiting(3)
    rest = store.waiting(10, after=first[-1].number)
    assert [each.number for each in (*first, *rest)] == [1, 2, 3, 4, 5, 6]
    assert store.acknowledge([each.number for each in rest]) == 3
    assert waiting(store) == ["a", "b", "c"]
    assert store.acknowledge([2, 9, 2]) == 1
    assert store.acknowledge([]) == 0
    assert waiting(store) == ["a", "c"]
    store.acknowledge([1, 3])
    assert report(store, *"abcdef") == []
    assert report(store, "g") == [0]
    assert [each.number for each in store.waiting(5)] == [7]
    store.close()


def test_numbers_go_on_after_a_restart(path: Path) -> None:
    store = SeenStore.open(path)
    report(store, "a", "b")
    store.acknowledge([1])
    store.close()
    store = SeenStore.open(path)
    report(store, "c")
    assert [each.number for each in store.waiting(5)] == [2, 3]
    store.close()


def test_a_full_outbox_gives_up_its_oldest(path: Path) -> None:
    store = SeenStore.open(path, Retention(events=3))
    assert store.report(sightings_of([named(label) for label in "abcde"]), now=MAY).dropped == 2
    assert waiting(store) == ["c", "d", "e"]
    assert store.report(sightings_of([named("f")]), now=MAY).dropped == 1
    assert waiting(store) == ["d", "e", "f"]
    assert store.statistics().dropped == 3
    assert report(store, *"abcdef") == []
    store.retention = Retention(events=1)
    report(store, "g")
    assert waiting(store) == ["g"]
    store.close()


def test_a_name_that_is_no_longer_in_use_is_forgotten(path: Path) -> None:
    store = SeenStore.open(path, Retention(age=8 * DAY))
    report(store, "old", "used")
    assert report(store, "used", now=MAY + 4 * DAY) == []
    assert store.sweep(now=MAY + 8 * DAY) == 0
    assert store.sweep(now=MAY + 8 * DAY + MINUTE) == 1
    assert store.statistics().forgotten == 1
    assert report(store, "old", "used", now=MAY + 9 * DAY) == [0]
    store.close()


def test_use_is_noted_when_it_is_news(path: Path) -> None:
    store = SeenStore.open(path, Retention(age=8 * DAY))
    report(store, "a")
    report(store, "a", now=MAY + DAY)
    assert store.sweep(now=MAY + 8 * DAY + MINUTE) == 1
    report(store, "a")
    report(store, "a", now=MAY + DAY + MINUTE)
    assert store.sweep(now=MAY + 8 * DAY + 2 * MINUTE) == 0
    store.close()


def test_names_may_be_kept_for_ever(path: Path) -> None:
    store = SeenStore.open(path, Retention(age=None))
    report(store, "a", "b")
    assert report(store, "a", now=MAY + 31 * DAY) == []
    assert store.sweep(now=MAY + 100_000 * DAY) == 0
    store.retention = Retention(age=30 * DAY)
    assert store.sweep(now=MAY + 60 * DAY) == 1
    assert report(store, "a", "b", now=MAY + 60 * DAY) == [1]
    store.close()


def test_steps_of_a_sweep_come_around(path: Path) -> None:
    store = SeenStore.open(path, Retention(age=DAY))
    report(store, *(f"n{number}" for number in range(100)))
    assert [store.sweep(now=MAY + 2 * DAY, limit=40) for _ in range(4)] == [40, 40, 20, 0]
    report(store, "a", now=MAY + 2 * DAY)
    assert store.sweep(now=MAY + 2 * DAY) == 0
    store.close()


def test_too_many_names_make_room(path: Path) -> None:
    store = SeenStore.open(path, Retention(names=50))
    for day in range(10):
        new = report(store, *(f"n{day}-{number}" for number in range(20)), now=MAY + day * DAY)
        assert len(new) == 20
        assert store.statistics().names <= 50
    # Of four that are looked at the oldest goes, so most of what came last is there.
    assert len(report(store, *(f"n9-{number}" for number in range(20)), now=MAY + 9 * DAY)) <= 5
    assert store.statistics().forgotten >= 150
    store.retention = Retention(names=5)
    assert len(report(store, *"abcdefgh")) == 8
    assert store.statistics().names == 8
    store.close()


class Oracle:
    """The store as a set and a list."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.seen: set[str] = set()
        self.outbox: list[tuple[int, str]] = []
        self.next = 1

    def report(self, labels: list[str]) -> list[int]:
        new = []
        for row, label in enumerate(labels):
            if label.lower() not in self.seen:
                self.seen.add(label.lower())
                self.outbox.append((self.next, label))
                self.next += 1
                new.append(row)
        del self.outbox[: max(0, len(self.outbox) - self.events)]
        return new

    def acknowledge(self, numbers: list[int]) -> int:
        before = len(self.outbox)
        self.outbox = [each for each in self.outbox if each[0] not in numbers]
        return before - len(self.outbox)


LABELS = st.lists(st.from_regex(r"[abAB][01]?", fullmatch=True), max_size=12)
NUMBERS = st.lists(st.integers(1, 20), max_size=5)
STEPS = st.lists(st.tuples(LABELS, NUMBERS, st.booleans()), max_size=12)
"""what is reported, then acknowledged, and whether it starts anew after that"""


@given(STEPS, st.integers(1, 20))
def test_it_is_a_set_and_a_list(steps: list[tuple[list[str], list[int], bool]], events: int) -> None:
    oracle = Oracle(events)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seen.mdb"
        store = SeenStore.open(path, Retention(events=events))
        for labels, numbers, again in steps:
            assert report(store, *labels) == oracle.report(labels)
            assert waiting(store) == [label for _, label in oracle.outbox]
            assert store.acknowledge(numbers) == oracle.acknowledge(numbers)
            if again:
                oracle.next = oracle.outbox[-1][0] + 1 if oracle.outbox else 1
                store.close()
                store = SeenStore.open(path, Retention(events=events))
            assert [each.number for each in store.waiting(99)] == [number for number, _ in oracle.outbox]
        statistics = store.statistics()
        assert (statistics.names, statistics.events) == (len(oracle.seen), len(oracle.outbox))
        store.close()


# -- what goes wrong


def test_the_map_grows_before_it_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seenfile, "_FIRST_MAP", 1 << 16)
    monkeypatch.setattr(seenfile, "_SLACK", 1 << 16)
    store = SeenStore.open(path)
    for part in range(20):
        assert len(report(store, *(f"n{part}-{number}" for number in range(500)))) == 500
    assert store.statistics().octets > 1 << 20
    store.close()
    store = SeenStore.open(path)
    assert len(waiting(store)) == 10_000
    store.close()


def test_a_failed_write_changes_nothing_and_the_next_one_works(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SeenStore.open(path)
    report(store, "a")
    with monkeypatch.context() as patch:
        patch.setattr(seenfile, "_grow", lambda environment, changes: None)
        environment = store._file._environment
        assert environment is not None
        environment.set_mapsize(1 << 16)
        with pytest.raises(StoreFull, match="MAP_FULL"):
            report(store, *(f"n{number}" for number in range(5000)))
    assert waiting(store) == ["a"]
    assert report(store, "a", "n1") == [1]
    assert [each.number for each in store.waiting(5)] == [1, 2]
    store.close()


@pytest.mark.parametrize("content", [b"", b"x", bytes(8192), b"x" * 20000])
def test_what_is_no_environment_is_corrupt(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match=r"seen\.mdb"):
        SeenStore.open(path)
    assert path.read_bytes() == content


def test_a_file_that_was_cut_is_corrupt_and_can_be_moved_aside(path: Path) -> None:
    store = SeenStore.open(path)
    report(store, *(f"n{number}" for number in range(1000)))
    store.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(StoreCorrupt, match="shorter"):
        SeenStore.open(path)
    aside = quarantine(path, MAY)
    store = SeenStore.open(path)
    assert report(store, "n1") == [0]
    store.close()
    assert aside.exists()


def test_a_file_that_is_cut_or_replaced_while_it_is_open_is_corrupt(path: Path) -> None:
    store = SeenStore.open(path)
    report(store, "a")
    other = path.with_name("other.mdb")
    SeenStore.open(other).close()
    other.replace(path)
    with pytest.raises(StoreCorrupt, match="replaced"):
        report(store, "b")
    path.unlink()
    with pytest.raises(StoreCorrupt, match="removed"):
        report(store, "b")
    store.close()
    store = SeenStore.open(path)
    report(store, "a")
    with path.open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(StoreCorrupt, match="shorter"):
        store.acknowledge([1])
    store.close()


def alter(path: Path, name: bytes, key: bytes, value: bytes) -> None:
    with lmdb.open(str(path), subdir=False, max_dbs=3) as environment:
        database = environment.open_db(name, create=False)
        with environment.begin(write=True, db=database) as transaction:
            transaction.put(key, value)


def test_other_formats_and_damaged_values_are_told(path: Path) -> None:
    store = SeenStore.open(path)
    report(store, "a")
    store.close()
    alter(path, b"outbox", (1).to_bytes(8), b"x" * 40)
    store = SeenStore.open(path)
    with pytest.raises(StoreCorrupt, match="event in the outbox"):
        store.waiting(1)
    store.close()
    alter(path, b"about", b"secret", b"x" * 36)
    with pytest.raises(StoreCorrupt, match="secret"):
        SeenStore.open(path)
    alter(path, b"about", b"format", b"2")
    with pytest.raises(StoreFormatUnknown, match="format"):
        SeenStore.open(path)


def test_an_environment_of_something_else_is_corrupt(path: Path) -> None:
    with lmdb.open(str(path), subdir=False, max_dbs=3):
        pass
    with pytest.raises(StoreCorrupt):
        SeenStore.open(path)


def test_a_file_of_another_lmdb_is_of_an_unknown_format(path: Path) -> None:
    SeenStore.open(path).close()
    octets = bytearray(path.read_bytes())
    for page in (0, 4096):  # behind the head of the page and the magic number
        octets[page + 20 : page + 24] = (7).to_bytes(4, "little")
    path.write_bytes(octets)
    with pytest.raises(StoreFormatUnknown):
        SeenStore.open(path)


def test_a_folder_that_is_not_there_is_full(path: Path) -> None:
    with pytest.raises(StoreFull):
        SeenStore.open(path / "deeper" / "seen.mdb")


def test_a_closed_store_is_the_callers_mistake(path: Path) -> None:
    store = SeenStore.open(path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.waiting(1)


def test_only_we_may_read_it(path: Path) -> None:
    store = SeenStore.open(path)
    report(store, "a")
    store.close()
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


# -- damage that ends the process


def damage(path: Path) -> None:
    """Make the leaves of `seen` pages of nothing."""
    octets = bytearray(path.read_bytes())
    for page in range(2 * 4096, len(octets), 4096):
        flags = int.from_bytes(octets[page + 10 : page + 12], "little")
        if flags & 2 and page % 3 == 0:
            octets[page : page + 4096] = bytes(4096)
    path.write_bytes(octets)


def filled(path: Path) -> None:
    store = SeenStore.open(path)
    report(store, *(f"n{number}" for number in range(5000)))
    store.close()


def mark(path: Path, ends: int) -> None:
    path.with_name(path.name + "-busy").write_bytes(bytes((ends,)))


def test_damage_is_looked_for_after_a_process_ended_within_a_call(path: Path) -> None:
    filled(path)
    assert find_damage(path) is None
    read_all(path)
    mark(path, 1)
    store = SeenStore.open(path)
    assert len(report(store, "n1", "new")) == 1
    store.close()
    damage(path)
    mark(path, 1)
    with pytest.raises(StoreCorrupt, match=r"signal 6|page"):
        SeenStore.open(path)
    quarantine(path, MAY)
    store = SeenStore.open(path)
    assert report(store, "n1") == [0]
    store.close()


def test_three_processes_that_ended_in_a_row_are_enough(path: Path) -> None:
    filled(path)
    mark(path, 3)
    with pytest.raises(StoreCorrupt, match="one process after the other"):
        SeenStore.open(path)
    quarantine(path, MAY)
    SeenStore.open(path).close()
    mark(path, 0)
    SeenStore.open(path).close()


def test_a_mark_that_cannot_be_written_is_borne(path: Path) -> None:
    path.with_name(path.name + "-busy").mkdir()
    store = SeenStore.open(path)
    assert report(store, "a") == [0]
    store.close()
