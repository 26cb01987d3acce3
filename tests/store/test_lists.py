"""What the sources said survives: content, refusals, and what the brake holds back."""

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from stores import entries_of

from tapir.model.blocks import EMPTY_NAMES, ListBlock, LookupList, NameBlock
from tapir.model.messages.lists import Refusal
from tapir.model.names import Name, parse_name
from tapir.store import lists
from tapir.store.errors import StoreCorrupt
from tapir.store.listed import StoredList, StoredPending
from tapir.store.lists import ListStore

Entries = dict[Name, int]
REFUSALS = (Refusal(reason="malformed", count=12, lines=(1, 2, 3)), Refusal(reason="too_broad", count=1, lines=(9,)))
A, B, C = (parse_name(f"{label}.example") for label in "abc")


def block(entries: Entries) -> ListBlock:
    return ListBlock.of(entries.items())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists.db"


def test_a_new_store_knows_no_source(path: Path) -> None:
    store = ListStore.open(path)
    assert store.path == path
    assert store.load_all() == ()
    with pytest.raises(KeyError):
        store.load("feed")
    store.close()
    store.close()


def test_all_that_status_shows_survives(path: Path) -> None:
    store = ListStore.open(path)
    store.replace("feed", content=block({A: 1, B: 0}), digest="d1", loaded_at=11, refusals=REFUSALS)
    store.set_pending("feed", content=block({C: 7}), reason="it shrinks", digest="d2", loaded_at=12, refusals=REFUSALS)
    store.close()
    store = ListStore.open(path)
    pending = StoredPending(reason="it shrinks", digest="d2", loaded_at=12, refusals=REFUSALS)
    assert store.load_all() == (
        StoredList(source="feed", digest="d1", loaded_at=11, refusals=REFUSALS, pending=pending),
    )
    assert entries_of(store.load("feed")) == {A: 1, B: 0}
    assert entries_of(store.load_pending("feed")) == {C: 7}
    store.close()


def test_what_is_accepted_becomes_the_content(path: Path) -> None:
    store = ListStore.open(path)
    store.replace("feed", content=block({A: 1}), digest="d1", loaded_at=11)
    store.set_pending("feed", content=block({C: 7}), reason="it shrinks", digest="d2", loaded_at=12, refusals=REFUSALS)
    store.accept_pending("feed")
    assert store.load_all() == (StoredList(source="feed", digest="d2", loaded_at=12, refusals=REFUSALS),)
    assert entries_of(store.load("feed")) == {C: 7}
    with pytest.raises(KeyError):
        store.load_pending("feed")
    with pytest.raises(KeyError):
        store.accept_pending("feed")
    store.close()


def test_a_source_may_have_nothing_but_what_is_held_back(path: Path) -> None:
    store = ListStore.open(path)
    store.set_pending("feed", content=block({C: 7}), reason="too large", digest="d", loaded_at=1)
    (stored,) = store.load_all()
    assert (stored.digest, stored.loaded_at) == (None, None)
    with pytest.raises(KeyError):
        store.load("feed")
    with pytest.raises(KeyError):
        store.change("feed", removed=EMPTY_NAMES, upserted=block({A: 1}), digest="d", loaded_at=2)
    store.accept_pending("feed")
    assert entries_of(store.load("feed")) == {C: 7}
    store.close()


def test_an_empty_list_is_a_list(path: Path) -> None:
    store = ListStore.open(path)
    store.replace("feed", content=block({}), digest="empty", loaded_at=1)
    assert len(store.load("feed")) == 0
    store.close()


def test_several_sources_change_together_or_not_at_all(path: Path) -> None:
    store = ListStore.open(path)
    store.replace("one", content=block({A: 1}), digest="d1", loaded_at=1)
    before = store.load_all()

    def fail_in_the_end() -> None:
        with store.transaction() as transaction:
            transaction.change("one", removed=NameBlock.of([A]), upserted=block({B: 2}), digest="d2", loaded_at=2)
            transaction.replace("two", content=block({C: 3}), digest="d3", loaded_at=3)
            transaction.accept_pending("two")

    with pytest.raises(KeyError):
        fail_in_the_end()
    assert store.load_all() == before
    assert entries_of(store.load("one")) == {A: 1}
    with store.transaction() as transaction:
        transaction.change("one", removed=NameBlock.of([A]), upserted=block({B: 2}), digest="d2", loaded_at=2)
        transaction.replace("two", content=block({C: 3}), digest="d3", loaded_at=3)
    assert {stored.source: stored.digest for stored in store.load_all()} == {"one": "d2", "two": "d3"}
    assert entries_of(store.load("one")) == {B: 2}
    store.close()


def test_a_malformed_block_is_the_callers_mistake(path: Path) -> None:
    store = ListStore.open(path)
    with pytest.raises(ValueError, match="number of tags"):
        store.replace("feed", content=ListBlock(names=EMPTY_NAMES, tags=b"1234"), digest="d", loaded_at=1)
    assert store.load_all() == ()
    store.close()


def test_a_store_without_its_state_is_corrupt(path: Path) -> None:
    ListStore.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DELETE FROM item")
    connection.close()
    with pytest.raises(StoreCorrupt, match="state is missing"):
        ListStore.open(path)


def test_many_changes_do_not_grow_the_file_without_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_SMALL", 5_000)
    store = ListStore.open(path)
    store.replace("feed", content=block({}), digest="0", loaded_at=0)
    expected: Entries = {}
    for round_number in range(300):
        # One that stays comes as often as one that goes, from a window of a hundred names that do not compress.
        name = Name(b"\x20" + os.urandom(32).lower() + b"\0")
        gone = [next(iter(expected))] if len(expected) >= 100 else []
        for old in gone:
            del expected[old]
        expected[name] = round_number
        store.change(
            "feed",
            removed=NameBlock.of(gone),
            upserted=block({name: round_number}),
            digest=str(round_number),
            loaded_at=round_number,
        )
    assert entries_of(store.load("feed")) == expected
    store.close()
    assert path.stat().st_size < 100_000
    store = ListStore.open(path)
    assert entries_of(store.load("feed")) == expected
    store.close()


def test_many_small_changes_make_few_entries(path: Path) -> None:
    store = ListStore.open(path)
    names = [parse_name(f"n{index}.example") for index in range(600)]
    store.replace("feed", content=block({}), digest="0", loaded_at=0)
    for number, name in enumerate(names):
        gone = NameBlock.of(names[number - 1 : number] if number % 3 == 0 else [])
        store.change("feed", removed=gone, upserted=block({name: number}), digest=str(number), loaded_at=number)
    expected = {name: number for number, name in enumerate(names) if (number + 1) % 3 or number == len(names) - 1}
    assert entries_of(store.load("feed")) == expected
    store.close()
    with sqlite3.connect(path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM log").fetchone()
    connection.close()
    assert count == 2 + 5 + 8  # of 256, of 16, of 1: 600 changes
    store = ListStore.open(path)
    assert entries_of(store.load("feed")) == expected
    store.change("feed", removed=NameBlock.of(names), upserted=block({}), digest="last", loaded_at=1)
    assert entries_of(store.load("feed")) == {}
    store.close()


def test_another_digest_for_the_same_names_is_kept_without_an_entry(path: Path) -> None:
    store = ListStore.open(path)
    store.replace("feed", content=block({A: 1}), digest="1", loaded_at=1)
    store.change("feed", removed=EMPTY_NAMES, upserted=block({}), digest="2", loaded_at=2)
    store.close()
    store = ListStore.open(path)
    assert [(stored.digest, stored.loaded_at) for stored in store.load_all()] == [("2", 2)]
    assert entries_of(store.load("feed")) == {A: 1}
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (0,)
    connection.close()


def test_a_log_that_is_folded_is_not_read_back_where_its_maker_knows_better(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "_SMALL", 0)
    store = ListStore.open(path)
    store.replace("feed", content=block({}), digest="0", loaded_at=0)
    monkeypatch.setattr(lists, "_read_content", None)
    whole = {Name(b"\x20" + os.urandom(32).lower() + b"\0"): 7 for _ in range(20)}
    store.change(
        "feed", removed=EMPTY_NAMES, upserted=block(whole), digest="1", loaded_at=1, whole=lambda: block(whole)
    )
    monkeypatch.undo()
    assert entries_of(store.load("feed")) == whole
    store.close()


NAMES = [parse_name(f"{label}.example") for label in "abcdefgh"]
ENTRIES = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 5))
SOURCES = st.sampled_from(["one", "two", "three"])


class ListStoreMachine(RuleBasedStateMachine):
    """The store against two dicts of dicts, opened anew now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="tapir-lists-"))
        self.store = ListStore.open(self.folder / "lists.db")
        self.content: dict[str, Entries] = {}
        self.pending: dict[str, Entries] = {}
        self.clock = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    @rule(source=SOURCES, entries=ENTRIES)
    def replace(self, source: str, entries: Entries) -> None:
        self.store.replace(source, content=block(entries), digest="d", loaded_at=self.tick())
        self.content[source] = dict(entries)
        self.pending.pop(source, None)

    @rule(source=SOURCES, removed=st.sets(st.sampled_from(NAMES)), upserted=ENTRIES)
    def change(self, source: str, removed: set[Name], upserted: Entries) -> None:
        if source not in self.content:
            return
        self.store.change(
            source, removed=NameBlock.of(removed), upserted=block(upserted), digest="d", loaded_at=self.tick()
        )
        kept = {name: tags for name, tags in self.content[source].items() if name not in removed}
        self.content[source] = kept | upserted
        self.pending.pop(source, None)

    @rule(source=SOURCES, entries=ENTRIES)
    def set_pending(self, source: str, entries: Entries) -> None:
        self.store.set_pending(source, content=block(entries), reason="r", digest="d", loaded_at=self.tick())
        self.pending[source] = dict(entries)

    @precondition(lambda self: self.pending)
    @rule()
    def accept_pending(self) -> None:
        source = sorted(self.pending)[0]
        self.store.accept_pending(source)
        self.content[source] = self.pending.pop(source)

    @precondition(lambda self: self.pending)
    @rule()
    def clear_pending(self) -> None:
        source = sorted(self.pending)[-1]
        self.store.clear_pending(source)
        del self.pending[source]

    @rule(source=SOURCES)
    def forget(self, source: str) -> None:
        self.store.forget(source)
        self.content.pop(source, None)
        self.pending.pop(source, None)

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = ListStore.open(self.folder / "lists.db")

    @invariant()
    def holds_what_it_was_told(self) -> None:
        stored = {entry.source: entry for entry in self.store.load_all()}
        assert {source for source, entry in stored.items() if entry.digest is not None} == set(self.content)
        assert {source for source, entry in stored.items() if entry.pending is not None} == set(self.pending)
        for source, entries in self.content.items():
            assert entries_of(self.store.load(source)) == entries
        for source, entries in self.pending.items():
            assert entries_of(self.store.load_pending(source)) == entries


@pytest.mark.parametrize(
    ("small", "merged"),
    [(0, 16), (64 * 1024, 16), (64 * 1024, 2)],
    ids=["folding at once", "folding late", "merging much"],
)
def test_the_store_is_two_dicts(small: int, merged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_SMALL", small)
    monkeypatch.setattr(lists, "_MERGED", merged)
    run_state_machine_as_test(
        ListStoreMachine, settings=settings(max_examples=settings().max_examples // 5, stateful_step_count=15)
    )


def test_a_list_that_is_looked_up_is_a_reference_also_while_it_is_held(path: Path) -> None:
    one = LookupList(path="/staging/one.dawg", digest="one", words=3, size=40)
    other = LookupList(path="/staging/other.dawg", digest="other", words=0, size=11)
    store = ListStore.open(path)
    store.replace("feed", content=block({A: 0}), digest="d1", loaded_at=1)
    store.replace("feed", content=other, digest="d2", loaded_at=2)
    with pytest.raises(KeyError):
        store.change("feed", removed=EMPTY_NAMES, upserted=block({B: 0}), digest="d3", loaded_at=3)
    store.set_pending("feed", content=one, reason="it grows", digest="d4", loaded_at=4)
    store.close()
    store = ListStore.open(path)
    assert (store.load("feed"), store.load_pending("feed")) == (other, one)
    store.accept_pending("feed")
    assert store.load("feed") == one
    store.set_pending("feed", content=block({A: 0, B: 0}), reason="it shrinks", digest="d5", loaded_at=5)
    store.accept_pending("feed")
    assert entries_of(store.load("feed")) == {A: 0, B: 0}
    store.change("feed", removed=NameBlock.of([A]), upserted=block({C: 0}), digest="d6", loaded_at=6)
    assert entries_of(store.load("feed")) == {B: 0, C: 0}
    store.close()
