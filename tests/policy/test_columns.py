"""Who is on which list, in columns as narrow as they can be, and what a change costs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import ListKind
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock
from tapir.model.messages.lists import ListChange, ListContent, ListDescription
from tapir.model.names import ROOT, Name, parse_name
from tapir.policy import compile as compile_module
from tapir.policy.columns import Columns, Evidence
from tapir.policy.rules import Actions, decide_rows
from tapir.policy.settings import PolicySettings
from tapir.policy.state import PolicyState
from tapir.policy.table import NameTable

ZONE = parse_name("dnstapir.")
NAMES = [parse_name(text) for text in ("a.", "*.a.", "b.a.", "*.b.a.", "c.b.a.", "d.", "*.d.", ".", "e.d.")]
NAMES.append(Name(b"\x01*" + ROOT))


@pytest.mark.parametrize("count", [1, 8, 9, 16, 17, 33, 64, 65, 130])
def test_every_list_has_its_bit(count: int) -> None:
    described = [ListDescription(source=f"s{i}", name=f"s{i}", kind=ListKind.DOUBT) for i in range(count)]
    table = NameTable()
    columns = Columns(described, table)
    name, star = parse_name("a."), parse_name("*.a.")
    for each in described:
        columns.put(each.source, ListBlock.of([(name, 0), (star, 0)]))
    slots = table.slots_of(NameBlock.of([name, star]))
    assert columns.gather(slots).doubts.tolist() == [count, count]
    for each in described:
        assert columns.holds(each.source, int(slots[0]))
        columns.take(each.source, NameBlock.of([name]))
        assert not columns.holds(each.source, int(slots[0]))
    assert columns.held(slots).tolist() == [False, True]
    assert columns.stars == 1


sources = st.sampled_from(["s0", "s1", "s2"])
steps = st.lists(st.tuples(sources, st.booleans(), st.lists(st.sampled_from(NAMES), max_size=5)), max_size=10)


@given(steps)
def test_membership_is_a_set_of_names_a_list(steps: list[tuple[str, bool, list[Name]]]) -> None:
    table = NameTable()
    columns = Columns([ListDescription(source=f"s{i}", name=f"s{i}", kind=ListKind.DENY) for i in range(3)], table)
    held: dict[str, set[Name]] = {"s0": set(), "s1": set(), "s2": set()}
    for source, puts, some in steps:
        proper = [name for name in some if name not in {ROOT, NAMES[-1]}]
        if puts:
            slots = columns.put(source, ListBlock.of((name, 7) for name in some))
            assert list(table.names_of(slots)) == proper
            held[source] |= set(proper)
        else:
            columns.take(source, NameBlock.of(some))
            held[source] -= set(some)
        columns.grow()
        everywhere = set().union(*held.values())
        assert columns.stars == sum(name.startswith(b"\x01*") for name in everywhere)
        entries = [name for part in columns.entry_parts() for name in table.names_of(part)]
        assert len(entries) == len(set(entries))
        assert set(entries) == everywhere
        nodes = np.arange(1, table.extent, dtype=np.int32)
        on_a_list = set(table.names_of(2 * nodes[columns.held_nodes(nodes)]))
        assert on_a_list == {name[2:] if name.startswith(b"\x01*") else name for name in everywhere}


def numbered(first: int, last: int, *, width: int = 8) -> NameBlock:
    """Names `<number>.example.`, made without an object for each."""
    numbers = np.arange(first, last)
    digits = (numbers[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)
    tail = np.frombuffer(b"\x07example\x00", np.uint8)
    rows = np.hstack((np.full((len(numbers), 1), width, np.uint8), digits, np.tile(tail, (len(numbers), 1))))
    offsets = np.arange(len(numbers) + 1, dtype=np.uint32) * rows.shape[1]
    return NameBlock(data=rows.tobytes(), offsets=offsets.astype(np.uint32).tobytes())


DENY = ListDescription(source="deny", name="deny", kind=ListKind.DENY)


def test_distinct_names_in_any_number_leave_memory_flat(campaign) -> None:
    """20,000,000 distinct names through 100,000 live ones, in full; a wildcard comes and goes beside them."""
    live, part, times = (100_000, 10_000, 200) if campaign.full else (2_000, 200, 50)
    state = PolicyState(PolicySettings(), zone=ZONE)
    state.set_lists([ListContent(description=DENY, content=ListBlock(names=EMPTY_NAMES))])
    rng = campaign.random()
    standing: list[NameBlock] = []
    steps = times * live // part
    first = resident = 0
    octets: list[int] = []
    for step in range(steps):
        # Labels of other lengths come all the time: what frees a label does not fit the next one.
        standing.append(numbered(first, first + part, width=rng.randint(8, 40)))
        first += part
        gone = standing.pop(0) if len(standing) > live // part else EMPTY_NAMES
        changes = [ListChange(source="deny", removed=gone, upserted=ListBlock(names=standing[-1]))]
        wildcard = ListBlock.of([(parse_name(f"*.x{step}."), 0)])
        if step % 50 == 0:
            changes.append(ListChange(source="deny", removed=EMPTY_NAMES, upserted=wildcard))
        if step % 50 == 1:
            before = ListBlock.of([(parse_name(f"*.x{step - 1}."), 0)])
            changes.append(ListChange(source="deny", removed=before.names, upserted=ListBlock(names=EMPTY_NAMES)))
        state.apply(changes)
        assert state.record_count == sum(len(each) for each in standing) + (step % 50 == 0)
        octets.append(state.octets)
        if step == steps // 2:
            resident = anonymous()
    assert first == times * live
    assert state.node_count <= live + 4
    assert max(octets[steps // 2 :]) < 1.3 * max(octets[: steps // 2])
    # An octet kept of each name that was ever seen would be 20 MB.
    assert anonymous() - resident < 10_000_000


def anonymous() -> int:
    """How much memory of its own this process has, in octets."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Anonymous"))


def test_a_name_with_its_columns_takes_few_octets() -> None:
    lists = [
        ListDescription(source="core", name="dns-tapir", kind=ListKind.DOUBT),
        ListDescription(source="feed", name="feed", kind=ListKind.DOUBT),
    ]
    names = numbered(0, 100_000, width=14)
    state = PolicyState(PolicySettings(), zone=ZONE)
    tagged = ListBlock(names=names, tags=np.full(len(names), 7, np.uint32).tobytes())
    state.set_lists(
        [
            ListContent(description=lists[0], content=tagged),
            ListContent(description=lists[1], content=ListBlock(names=names)),
        ]
    )
    assert state.record_count == 100_000
    assert state.octets / 100_000 <= 42
    state.apply([ListChange(source="feed", removed=EMPTY_NAMES, upserted=ListBlock.of([(parse_name("*.a."), 0)]))])
    assert state.octets / 100_000 <= 42 + 12 + 4 + 3


@pytest.fixture
def rows_decided(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many slots were decided, a number a call."""
    counted: list[int] = []

    def counting(settings: PolicySettings, seen: Evidence) -> Actions:
        counted.append(len(seen.tags))
        return decide_rows(settings, seen)

    monkeypatch.setattr(compile_module, "decide_rows", counting)
    return counted


def test_a_change_of_one_name_decides_what_it_bears_on_and_no_more(rows_decided: list[int]) -> None:
    state = PolicyState(PolicySettings(), zone=ZONE)
    wildcards = ListBlock.of((parse_name(f"*.w{number}.invalid."), 0) for number in range(100))
    below = ListBlock.of((parse_name(f"n{number}.w7.invalid."), 0) for number in range(30))
    state.set_lists([ListContent(description=DENY, content=ListBlock(names=numbered(0, 20_000)))])

    def cost(removed: list[str], upserted: ListBlock) -> int:
        rows_decided.clear()
        names = NameBlock.of(parse_name(text) for text in removed)
        state.apply([ListChange(source="deny", removed=names, upserted=upserted)])
        return sum(rows_decided)

    assert cost([], ListBlock.of([(parse_name("one.more.example."), 0)])) == 1
    assert cost(["00000017.example."], ListBlock(names=EMPTY_NAMES)) == 1
    assert cost([], wildcards) == 2 * (100 + 1)
    assert cost([], below) == 2 * (30 + 2)
    assert cost([], ListBlock.of([(parse_name("another.one.more.example."), 0)])) == 2 * 4
    assert cost(["*.w7.invalid."], ListBlock(names=EMPTY_NAMES)) == 2 * (30 + 2)
    assert cost(["*.w8.invalid."], ListBlock(names=EMPTY_NAMES)) == 2 * 2
