"""What came lately, held to a list of lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.kernels import recent

WAYS = 8


class Oracle:
    """The same by Python's lists, the one that came last first."""

    def __init__(self, rows: int) -> None:
        self.rows: list[list[int]] = [[] for _ in range(rows)]
        self.evicted = 0

    def row(self, value: int) -> list[int]:
        return self.rows[((value >> 32) * len(self.rows)) >> 32]

    def sift(self, values: list[int]) -> list[int]:
        fresh = []
        for number, value in enumerate(values):
            row = self.row(value)
            if value not in row:
                fresh.append(number)
            elif value:
                row.remove(value)
            if value:
                row.insert(0, value)
                self.evicted += len(row) - len(row[:WAYS])
                del row[WAYS:]
        return fresh

    def forget(self, values: list[int]) -> None:
        for value in values:
            if value in self.row(value):
                self.row(value).remove(value)

    def table(self) -> list[int]:
        return [value for row in self.rows for value in row + [0] * (WAYS - len(row))]


def sift(table: "np.ndarray[tuple[int], np.dtype[np.uint64]]", values: list[int]) -> list[int]:
    fresh = np.empty(len(values), np.uint32)
    count, _ = recent.sift(table.data, np.array(values, np.uint64).data, fresh.data)
    found: list[int] = fresh[:count].tolist()
    return found


def evicted_by(table: "np.ndarray[tuple[int], np.dtype[np.uint64]]", values: list[int]) -> int:
    return recent.sift(table.data, np.array(values, np.uint64).data, np.empty(len(values), np.uint32).data)[1]


# Few different upper halves, so that rows fill.
HASHES = st.builds(
    lambda high, low: high << 32 | low,
    st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
    st.integers(0, 6),
)


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.lists(HASHES | st.integers(0, 2**64 - 1), max_size=40))))
def test_it_remembers_what_the_lists_do(rows: int, steps: list[tuple[bool, list[int]]]) -> None:
    oracle = Oracle(rows)
    table = np.zeros(WAYS * rows, np.uint64)
    for forgets, values in steps:
        if forgets:
            recent.forget(table.data, np.array(values, np.uint64).data)
            oracle.forget(values)
        else:
            evicted = evicted_by(table.copy(), values)
            before = oracle.evicted
            assert sift(table, values) == oracle.sift(values)
            assert evicted == oracle.evicted - before
        assert table.tolist() == oracle.table()


def test_a_row_forgets_the_one_that_came_longest_ago() -> None:
    table = np.zeros(WAYS, np.uint64)
    assert sift(table, [1, 2, 3, 4, 5, 6, 7, 8, 1, 9]) == [0, 1, 2, 3, 4, 5, 6, 7, 9]
    assert sift(table, [1, 3, 4, 5, 6, 7, 8, 9]) == []
    assert evicted_by(table, [1, 9, 0]) == 0
    assert evicted_by(table, [2]) == 1
    assert sift(table, [2]) == []


@pytest.mark.parametrize("size", [0, 7])
def test_a_table_without_a_row_is_refused(size: int) -> None:
    table = np.zeros(size, np.uint64)
    with pytest.raises(ValueError, match="no row"):
        sift(table, [1])
    with pytest.raises(ValueError, match="no row"):
        recent.forget(table.data, np.array([1], np.uint64).data)


def test_numbers_that_have_no_room_are_not_written() -> None:
    table = np.zeros(WAYS, np.uint64)
    with pytest.raises(IndexError):
        recent.sift(table.data, np.array([1, 2], np.uint64).data, np.empty(1, np.uint32).data)
