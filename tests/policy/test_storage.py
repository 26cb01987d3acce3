"""Memory that grows in place, and a value a slot in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.policy.storage import SlotColumn, Store, lazy_zeros


@given(st.lists(st.integers(0, 5000), max_size=8))
def test_resizing_keeps_what_fits_and_adds_zeros(sizes: list[int]) -> None:
    store = Store(np.int32, 3)
    expected = np.zeros(3, np.int32)
    for size in sizes:
        store.view[:] = expected = np.arange(1, len(expected) + 1, dtype=np.int32)
        store.resize(size)
        kept = expected[:size]
        expected = np.zeros(size, np.int32)
        expected[: len(kept)] = kept
        assert len(store) == size
        assert np.array_equal(store.view, expected)


def test_growing_leaves_room_for_more() -> None:
    store = Store(np.uint8, 100_000)
    store.grow(50)
    assert len(store) == 100_000
    store.grow(100_001)
    assert len(store) == 125_000


def test_nobody_is_cut_off_while_looking() -> None:
    store = Store(np.uint8, 10)
    view = store.view
    with pytest.raises(BufferError):
        store.resize(1 << 20)
    del view
    store.resize(1 << 20)


def test_zeros() -> None:
    zeros = lazy_zeros(100_000)
    assert len(zeros) == 100_000
    assert not zeros.any()


slots = st.lists(st.integers(0, 199), max_size=12)


@given(st.lists(st.tuples(slots, st.integers(1, 255), st.booleans()), max_size=6), slots, st.booleans())
def test_a_column_is_an_array_of_slots(
    steps: list[tuple[list[int], int, bool]], asked: list[int], without_stars: bool
) -> None:
    column = SlotColumn(np.uint8)
    column.grow(50)
    column.grow(100)
    oracle = np.zeros(200, np.uint8)
    for some, value, one in steps:
        where = np.array([slot & ~1 if without_stars else slot for slot in some], np.int32)
        values = np.uint8(value) if one else np.arange(value, value + len(where)).astype(np.uint8)
        column[where] = values
        oracle[where] = values
    if without_stars:
        assert column.stars is None
    assert np.array_equal(column[np.arange(200, dtype=np.int32)], oracle)
    assert np.array_equal(column[np.array(asked, np.int32)], oracle[asked])
    assert [column.at(slot) for slot in asked] == oracle[asked].tolist()
    assert np.array_equal(column.names[:100], oracle[::2])
    column.drop_stars()
    oracle[1::2] = 0
    assert np.array_equal(column[np.arange(200, dtype=np.int32)], oracle)
