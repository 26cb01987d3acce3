"""Order, taking out and comparing of names, against `sorted` and dictionaries."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.ordering import in_order, take_names
from tapir.kernels import sorting
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.names import Name
from tapir.policy.difference import difference

# Few octets, NUL and 0xff among them, long common beginnings, and ends at and around the eight that are looked at once.
LABELS = st.one_of(
    st.lists(st.sampled_from([0, 1, 42, 97, 98, 255]), min_size=1, max_size=9).map(bytes),
    st.sampled_from([b"a" * 7, b"a" * 8, b"a" * 60, b"a" * 60 + b"\0", b"a" * 63]),
).map(lambda label: bytes((len(label),)) + label)
NAMES = st.lists(LABELS, max_size=4).map(lambda labels: Name((b"".join(labels) + b"\0")[-255:]))
WHOLE = NAMES.filter(lambda name: len(name) < 255)


def ordered(names: list[Name]) -> list[Name]:
    block = NameBlock.of(names)
    which = in_order(block, np.arange(len(names), dtype=np.uint32))
    return list(take_names(block, which))


@given(st.lists(WHOLE, max_size=40))
def test_names_come_in_order_and_once(names: list[Name]) -> None:
    assert ordered(names) == sorted(set(names))


@given(st.lists(WHOLE, min_size=1, max_size=20), st.integers(0, 2**32))
def test_many_names_come_in_order_and_once(names: list[Name], seed: int) -> None:
    # More than sixty-four that agree are sorted another way than few.
    prefixes = [b"", b"\x03www", b"\x08aaaaaaaa", b"\x01*"]
    many = [Name(prefix + name) for name in names for prefix in prefixes if len(name) < 200] * 6
    np.random.default_rng(seed).shuffle(many)
    assert ordered(many) == sorted(set(many))


def test_many_names_that_agree_in_all_but_their_ends() -> None:
    names = [Name(b"\x3f" + b"a" * 58 + b"%05d" % number + b"\x02se\0") for number in range(5000)]
    assert ordered(names[::-1]) == names


@given(st.lists(WHOLE, max_size=20), st.data())
def test_of_equal_names_the_last_is_kept(names: list[Name], data: st.DataObject) -> None:
    doubled = data.draw(st.permutations([*names, *names]))
    block = NameBlock.of(doubled)
    which = in_order(block, np.arange(len(doubled), dtype=np.uint32))
    assert [int(at) for at in which] == [
        max(index for index, name in enumerate(doubled) if name == wanted) for wanted in sorted(set(names))
    ]


@given(st.lists(WHOLE, max_size=12))
def test_order_is_known_when_seen(names: list[Name]) -> None:
    block = NameBlock.of(names)
    strictly = all(first < second for first, second in itertools.pairwise(names))
    assert sorting.is_ordered(block.data, np.frombuffer(block.offsets, np.uint32)) is strictly


@given(st.lists(WHOLE, max_size=30), st.integers(255, 600))
def test_names_are_copied_by_pieces(names: list[Name], room: int) -> None:
    block = NameBlock.of(names)
    offsets, which = np.frombuffer(block.offsets, np.uint32), np.arange(len(names), dtype=np.uint32)[::-1].copy()
    piece = bytearray(room)
    position, copied = 0, b""
    while position < len(names):
        before = position
        position, size = sorting.gather(block.data, offsets, which, position, piece)
        assert position > before
        copied += piece[:size]
    assert copied == b"".join(reversed(names))


CONTENTS = st.dictionaries(WHOLE, st.sampled_from([0, 1, 2**32 - 1]), max_size=20)


@given(CONTENTS, CONTENTS, st.booleans(), st.booleans())
def test_blocks_in_any_order_differ_as_dictionaries_do(
    before: dict[Name, int], after: dict[Name, int], first: bool, second: bool
) -> None:
    old = ListBlock.of(sorted(before.items()) if first else before.items())
    new = ListBlock.of(sorted(after.items()) if second else after.items())
    found = difference(old, new)
    assert list(found.removed) == sorted(before.keys() - after.keys())
    assert list(found.upserted) == sorted((name, tags) for name, tags in after.items() if before.get(name) != tags)


def test_what_lies_outside_of_a_block_is_not_looked_at() -> None:
    offsets = np.array([0, 2, 900], np.uint32)
    with pytest.raises(IndexError):
        sorting.is_ordered(b"\0\0", offsets)
    with pytest.raises(IndexError):
        sorting.gather(b"\0\0", offsets, np.array([1], np.uint32), 0, bytearray(2000))
    with pytest.raises(IndexError):
        take_names(NameBlock.of([Name(b"\0")]), np.array([1], np.uint32))


@pytest.mark.parametrize("end", [900, 0x7FFFFFFF, 0xFFFFFFFF])
def test_names_that_reach_past_the_end_are_not_sorted(end: int) -> None:
    """Each eight octets are a call in a call: what is no name must end that, not the stack."""
    for data in (b"\0\0", bytes(1 << 20)):
        offsets = np.array([0, end, 2 * end & 0xFFFFFFFF], np.uint32)
        for count in (2, 100):
            which = np.zeros(count, np.uint32)
            keys, spare_keys = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
            with pytest.raises(IndexError):
                sorting.sort_names(
                    data, offsets, which, keys, np.zeros(count, np.uint32), spare_keys, np.zeros(2048, np.uint32)
                )
