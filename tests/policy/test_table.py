"""The name table against one that keeps whole names in a dictionary."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tapir.model.blocks import NameBlock
from tapir.model.names import MAX_NAME, ROOT, Name, is_wildcard, parent_of, parse_name, split_labels
from tapir.policy import table as table_module
from tapir.policy.table import NameTable, Nodes, TableFullError


class DictTable:
    """What a table does, said with names: those entered, those above them, and which may not go."""

    def __init__(self) -> None:
        self.names = {ROOT}

    def enter(self, name: Name) -> None:
        base = base_of(name)
        while base not in self.names:
            self.names.add(base)
            base = parent_of(base)

    def release(self, candidates: list[Name], in_use: set[Name]) -> None:
        for name in candidates:
            while name != ROOT and name in self.names and name not in in_use and not self.below(name):
                self.names.discard(name)
                name = parent_of(name)

    def below(self, name: Name) -> set[Name]:
        return {each for each in self.names if each != name and name in above(each)}


def base_of(name: Name) -> Name:
    return parent_of(name) if is_wildcard(name) else name


def above(name: Name) -> Iterator[Name]:
    while name != ROOT:
        name = parent_of(name)
        yield name


def nodes_of(table: NameTable) -> dict[Name, int]:
    """Every node's number, by its name."""
    nodes = np.flatnonzero(table.lengths).astype(np.int32)
    return dict(zip(table.names_of(2 * nodes), nodes.tolist(), strict=True))


def join(labels: list[bytes]) -> Name:
    while len(b"".join(labels)) + len(labels) + 1 > MAX_NAME:
        labels = labels[1:]
    return Name(b"".join(bytes((len(label),)) + label for label in labels) + ROOT)


few_labels = st.sampled_from([b"*", b"a", b"b", b"ab", b"abc", b"abcd", b"\x00", b"\x01*", b"z" * 63])
labels = st.one_of(few_labels, st.binary(min_size=1, max_size=63))
names = st.one_of(
    st.lists(few_labels, max_size=4).map(join),
    st.lists(labels, max_size=6).map(join),
    st.just(join([b"x"] * 127)),
)
blocks = st.lists(names, max_size=12)


class Tables(RuleBasedStateMachine):
    """Any history of entering, asking and releasing."""

    @initialize(key=st.binary(max_size=16))
    def start(self, key: bytes) -> None:
        self.table = NameTable(key=key)
        self.oracle = DictTable()
        self.heard: set[Name] | None = None
        self.kept = table_module._GARBAGE
        setattr(table_module, "_GARBAGE", 0)  # noqa: B010 - labels move at once

    def teardown(self) -> None:
        if hasattr(self, "kept"):
            setattr(table_module, "_GARBAGE", self.kept)  # noqa: B010

    @rule(block=blocks)
    def enter(self, block: list[Name]) -> None:
        before = set(self.oracle.names)
        slots = self.table.slots_of(NameBlock.of(block))
        assert list(self.table.names_of(slots)) == block
        for name in block:
            self.oracle.enter(name)
        if self.heard is not None:
            self.heard |= self.oracle.names - before

    @rule(block=blocks)
    def find(self, block: list[Name]) -> None:
        known = [name for name in block if base_of(name) in self.oracle.names]
        assert list(self.table.names_of(self.table.known_slots_of(NameBlock.of(block)))) == known

    @rule(name=names)
    def govern(self, name: Name) -> None:
        base = base_of(name)
        if base in self.oracle.names:
            expected = name
        else:
            expected = Name(b"\x01*" + next(each for each in above(base) if each in self.oracle.names))
        slot = self.table.governing_slot(name)
        assert self.table.name_of(slot) == expected
        path = [self.table.name_of(each) for each in self.table.path(slot)]
        assert path == [expected, *(Name(b"\x01*" + each) for each in above(base_of(expected)) if each != ROOT)]

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        known = nodes_of(self.table)
        candidates = data.draw(st.lists(st.sampled_from(sorted(known)), max_size=10))
        in_use = data.draw(st.sets(st.sampled_from(sorted(known)), max_size=3))
        held = np.zeros(self.table.extent, np.bool_)
        held[[known[name] for name in in_use]] = True
        self.table.release(np.array([known[name] for name in candidates], np.int32), lambda nodes: held[nodes])
        self.oracle.release(candidates, in_use)

    @rule(data=st.data())
    def walk(self, data: st.DataObject) -> None:
        known = nodes_of(self.table)
        picked = data.draw(st.lists(st.tuples(st.sampled_from(sorted(known)), st.booleans()), max_size=4))
        picked = [(name, star and name != ROOT) for name, star in picked]  # nothing can be said of `*.`
        expected = set()
        for name, star in picked:
            expected |= {name, *above(name)} | (self.oracle.below(name) if star else set())
        found = self.table.affected(np.array([2 * known[name] + star for name, star in picked], np.int32))
        listed = list(self.table.names_of(2 * found))
        assert len(listed) == len(set(listed))
        assert set(listed) == expected - {ROOT}
        counts = [len(split_labels(name)) for name in listed]
        assert counts == sorted(counts)

    @rule()
    def stop_walking(self) -> None:
        self.table.forget_links()

    @rule()
    def listen(self) -> None:
        if self.heard is None:
            self.table.watch()
        else:
            nodes = self.table.entered()
            told = set(self.table.names_of(2 * nodes[self.table.lengths[nodes] != 0]))
            assert told >= self.heard & self.oracle.names
            assert told <= self.oracle.names
        self.heard = set()

    @invariant()
    def the_same_names(self) -> None:
        if not hasattr(self, "table"):
            return
        known = nodes_of(self.table)
        assert known.keys() == self.oracle.names
        assert len(self.table) == len(known)
        assert known[ROOT] == 0
        parents, depths = self.table.parents, self.table.depths
        for name, node in known.items():
            assert parents[node] == known[parent_of(name)]
            assert depths[node] == len(split_labels(name))
        assert not parents[self.table.lengths == 0].any()


TestTables = Tables.TestCase
TestTables.settings = settings(stateful_step_count=20, max_examples=max(settings().max_examples // 4, 1))


def numbered(first: int, last: int, *, width: int = 8) -> NameBlock:
    """Names `<number>.example.`, made without an object for each."""
    numbers = np.arange(first, last)
    digits = (numbers[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)
    tail = np.frombuffer(b"\x07example\x00", np.uint8)
    rows = np.hstack((np.full((len(numbers), 1), width, np.uint8), digits, np.tile(tail, (len(numbers), 1))))
    offsets = np.arange(len(numbers) + 1, dtype=np.uint32) * rows.shape[1]
    return NameBlock(data=rows.tobytes(), offsets=offsets.astype(np.uint32).tobytes())


def nobody(nodes: Nodes) -> np.ndarray:
    return np.zeros(len(nodes), np.bool_)


def test_thousands_of_names_come_and_go() -> None:
    table = NameTable()
    rng = np.random.default_rng(5359)
    block = numbered(0, 5000)
    slots = table.slots_of(block)
    assert len(set(slots.tolist())) == 5000
    for _ in range(6):
        gone = rng.random(5000) < 0.6
        table.release(slots[gone] >> 1, nobody)
        left = table.known_slots_of(block)
        assert sorted(left.tolist()) == sorted(slots[~gone].tolist())
        slots = table.slots_of(block)
        assert list(table.names_of(slots)) == list(block)
        assert table.extent == len(table) == 5002


def test_a_number_is_used_again_and_labels_move_together() -> None:
    table = NameTable()
    table.slots_of(numbered(0, 3000, width=40))
    before = table.octets
    for round_ in range(1, 12):
        slots = table.slots_of(numbered(round_ * 3000, round_ * 3000 + 3000, width=40))
        nodes = np.arange(1, table.extent, dtype=np.int32)
        mine = np.zeros(table.extent, np.bool_)
        mine[slots >> 1] = True
        table.release(nodes, lambda nodes, mine=mine: mine[nodes])  # type: ignore[misc]
        assert len(table) == 3002
    assert table.extent <= 6002
    assert table.octets < 3 * before


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\x01",
        b"\x01a",
        b"\x40" + b"a" * 64 + b"\x00",
        b"\xc0\x00",
        b"\x01a\x00\x00",
        b"\x00\x00",
        b"\x01a" * 127 + b"\x01\x00",
        b"\x01a" * 128 + b"\x00",
        b"\x3f" + b"a" * 20,
    ],
)
def test_what_is_no_name_is_refused(wrong: bytes) -> None:
    table = NameTable()
    block = NameBlock.of([parse_name("fine.example."), Name(wrong), parse_name("other.example.")])
    with pytest.raises(ValueError, match="name 1 of the block"):
        table.slots_of(block)
    with pytest.raises(ValueError, match="no name in wire form"):
        table.governing_slot(Name(wrong))
    assert list(table.names_of(table.known_slots_of(block))) == [parse_name("fine.example.")]


def test_offsets_that_lie_are_refused() -> None:
    table = NameTable()
    data = bytes(parse_name("fine.example."))
    for offsets in ([0, 1000], [1000, 1014], [5, 3], [3, 3]):
        with pytest.raises(ValueError, match="no name in wire form"):
            table.slots_of(NameBlock(data=data, offsets=np.array(offsets, np.uint32).tobytes()))
    assert len(table) == 1


@pytest.mark.parametrize(("limit", "value"), [("_MOST_NODES", 400), ("_MOST_OCTETS", 4000)])
def test_more_names_than_can_be_numbered(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    table = NameTable()
    monkeypatch.setattr(table_module, limit, value)
    with pytest.raises(TableFullError):
        table.slots_of(numbered(0, 2000))


def test_where_names_hash_to_depends_on_the_key() -> None:
    def layout(key: bytes) -> list[int]:
        table = NameTable(key=key)
        table.slots_of(numbered(0, 100))
        return np.flatnonzero(table._index.view).tolist()

    assert layout(b"one") == layout(b"one") != layout(b"two")
