"""What becomes of ordered blocks under changes is what becomes of dictionaries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.entries import EntryChange, apply_change, change_of, find, merge_changes, put_in_order, take_entries
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.names import Name

# Few octets, NUL and 0xff among them, so that names meet, and some that begin alike.
LABELS = st.lists(st.sampled_from([0, 97, 255]), min_size=1, max_size=3).map(
    lambda octets: bytes((len(octets), *octets))
)
NAMES = st.lists(LABELS, max_size=2).map(lambda labels: Name(b"".join(labels) + b"\0"))
CONTENTS = st.dictionaries(NAMES, st.sampled_from([0, 1, 2**32 - 1]), max_size=30)
STEPS = st.lists(st.tuples(st.sets(NAMES, max_size=8), CONTENTS), max_size=4)


def block(entries: dict[Name, int]) -> ListBlock:
    return put_in_order(ListBlock.of(entries.items()))


def change(steps: list[tuple[set[Name], dict[Name, int]]]) -> EntryChange:
    return change_of([(NameBlock.of(removed), ListBlock.of(upserted.items())) for removed, upserted in steps])


def after(base: dict[Name, int], steps: list[tuple[set[Name], dict[Name, int]]]) -> list[tuple[Name, int]]:
    held = dict(base)
    for removed, upserted in steps:
        for name in removed:
            held.pop(name, None)
        held.update(upserted)
    return sorted(held.items())


@given(CONTENTS, STEPS)
def test_a_change_does_what_its_steps_do(base: dict[Name, int], steps: list[tuple[set[Name], dict[Name, int]]]) -> None:
    assert list(apply_change(block(base), change(steps))) == after(base, steps)


@given(CONTENTS, STEPS, STEPS)
def test_two_changes_are_one(
    base: dict[Name, int], first: list[tuple[set[Name], dict[Name, int]]], then: list[tuple[set[Name], dict[Name, int]]]
) -> None:
    both = merge_changes(change(first), change(then))
    assert list(both.entries.names) == sorted(set(both.entries.names))
    assert list(apply_change(block(base), both)) == after(base, first + then)


@given(CONTENTS, CONTENTS)
def test_a_name_is_found_where_it_is_or_would_be(base: dict[Name, int], wanted: dict[Name, int]) -> None:
    places, same = find(block(base).names, block(wanted).names)
    ordered = sorted(base)
    for name, place, found in zip(sorted(wanted), places, same, strict=True):
        assert ordered[:place] == [each for each in ordered if each < name]
        assert bool(found) is (name in base)


def test_entries_without_tags_have_no_column_of_them() -> None:
    tagged = ListBlock.of([(Name(b"\1a\0"), 0), (Name(b"\1b\0"), 3)])
    assert take_entries(tagged, np.array([0], np.uint32)).tags == b""
    gone = change_of([(NameBlock.of([Name(b"\1b\0")]), ListBlock.of([]))])
    assert apply_change(tagged, gone).tags == b""


def test_a_part_of_a_block_is_a_block() -> None:
    whole = NameBlock.of([Name(b"\1a\0"), Name(b"\1b\0"), Name(b"\1d\0")])
    part = ListBlock(names=NameBlock(data=whole.data, offsets=whole.offsets[4:]))
    come = change_of([(NameBlock.of([]), ListBlock.of([(Name(b"\1c\0"), 0)]))])
    assert list(apply_change(part, come).names) == [Name(b"\1b\0"), Name(b"\1c\0"), Name(b"\1d\0")]
