"""Sketches say where they run out of room, refuse what is no key, and stay whole in tables that are nearly full."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tapir.kernels.sketches import SLOT, Sketches

KEYS = 3


def attached(sketches: Sketches, entries: int, slots: int, *, keys: int = KEYS) -> NDArray[np.uint8]:
    registers = np.zeros(SLOT * slots, np.uint8)
    sketches.attach(
        np.zeros(keys, np.int32).data,
        np.zeros(keys, np.uint32).data,
        np.zeros(entries, np.uint64).data,
        np.zeros(entries, np.uint32).data,
        np.zeros(entries, np.uint32).data,
        np.zeros(2 * entries + 1, np.uint32).data,
        registers.data,
    )
    return registers


def add(sketches: Sketches, pairs: list[tuple[int, int]], first: int = 0, *, spill: bool = False) -> int:
    keys = np.array([key for key, _ in pairs], np.uint32)
    hashes = np.array([value for _, value in pairs], np.uint64)
    return int(sketches.add(keys.data, hashes.data, first, spill))


def counts(sketches: Sketches) -> list[int]:
    out = np.zeros(KEYS, np.uint32)
    room = np.zeros(KEYS, np.uint32), np.zeros(KEYS, np.uint16), np.zeros(KEYS, np.uint16)
    sketches.measure(np.arange(KEYS, dtype=np.uint32).data, out.data, *[each.data for each in room])
    return [int(count) for count in out]


def test_what_has_no_room_is_told() -> None:
    sketches = Sketches(2, 1, 2)
    attached(sketches, 3, 0)
    pairs = [(0, 11), (0, 12), (1, 11), (1, 11), (2, 11)]
    assert add(sketches, pairs) == 4
    assert add(sketches, pairs, 4) == 4
    assert add(sketches, [(0, 13)]) == 0  # no room for registers
    assert add(sketches, pairs[4:], spill=True) == 0
    assert (sketches.entries, sketches.slots, counts(sketches)) == (3, 0, [2, 1, 0])


@given(
    st.lists(st.tuples(st.integers(0, KEYS - 1), st.integers(1, 12)), max_size=60),
    st.integers(1, 5),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
)
def test_a_nearly_full_table_forgets_nothing(
    pairs: list[tuple[int, int]], threshold: int, secret: int, odd: int
) -> None:
    # Entries come and go as keys get their registers: the table closes the gaps.
    sketches = Sketches(threshold, secret, odd)
    attached(sketches, KEYS * threshold, KEYS)
    assert add(sketches, pairs) == len(pairs)
    distinct = [len({value for key, value in pairs if key == own}) for own in range(KEYS)]
    assert counts(sketches) == [count if count <= threshold else 0 for count in distinct]
    assert sketches.entries == sum(count for count in distinct if count <= threshold)
    assert sketches.slots == sum(count > threshold for count in distinct)


def test_keys_that_are_none_are_refused() -> None:
    sketches = Sketches(2, 1, 2)
    attached(sketches, 4, 1)
    with pytest.raises(IndexError):
        add(sketches, [(KEYS, 1)])
    with pytest.raises(IndexError):
        add(sketches, [(2**32 - 1, 1)])
    out = np.zeros(1, np.uint32).data, np.zeros(1, np.uint32).data, np.zeros(1, np.uint16).data
    with pytest.raises(IndexError):
        sketches.measure(np.array([KEYS], np.uint32).data, *out, np.zeros(1, np.uint16).data)


def test_buffers_that_do_not_fit_are_refused() -> None:
    sketches = Sketches(2, 1, 2)
    heads, numbers = np.zeros(2, np.int32).data, np.zeros(2, np.uint32).data
    hashes, index = np.zeros(2, np.uint64).data, np.zeros(4, np.uint32).data
    with pytest.raises(ValueError, match="too small"):
        sketches.attach(heads, numbers, hashes, numbers, numbers, index, bytearray())
    with pytest.raises(ValueError, match="do not fit"):
        sketches.attach(heads, np.zeros(3, np.uint32).data, hashes, numbers, numbers, index, bytearray())
