"""Remembers the hashes that came lately, in a table that never grows: what a row of it has no room for, it forgets.

A table is rows of eight hashes, zeros at first. A hash has one row, by its upper half; within it the one that came last
stands first, and the last one goes. So a look is one line of the processor's cache. Hashes are keyed, which keeps names
from being made to share a row. The hash 0 is remembered by nobody.
"""

import cython

WAYS = cython.declare(cython.int, 8)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _row(value: cython.ulonglong, rows: cython.ulonglong) -> cython.Py_ssize_t:
    """Where the row of a hash begins."""
    return cython.cast(cython.Py_ssize_t, (((value >> 32) * rows) >> 32) * 8)


def sift(
    table: cython.ulonglong[::1], hashes: cython.const[cython.ulonglong][::1], fresh: cython.uint[::1]
) -> tuple[int, int]:
    """Write the numbers of the hashes that are not remembered into `fresh`, and remember all.

    Returns how many those are, and how many others were forgotten for them. Of equal ones that are not remembered the
    first counts. `table` has fewer than 2^32 rows.
    """
    count: cython.Py_ssize_t = 0
    evicted: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t
    at: cython.Py_ssize_t
    way: cython.Py_ssize_t
    value: cython.ulonglong
    held: cython.ulonglong
    moved: cython.ulonglong
    rows: cython.ulonglong = len(table) // WAYS
    if rows == 0 or rows >> 32:
        raise ValueError("the table has no row, or too many")
    with cython.nogil:
        for i in range(len(hashes)):
            value = hashes[i]
            if value == 0:
                fresh[count] = cython.cast(cython.uint, i)
                count += 1
                continue
            at = _row(value, rows)
            moved = value
            for way in range(at, at + WAYS):
                held = table[way]
                table[way] = moved
                moved = held
                if held == value or held == 0:
                    break
            # What was pushed out last: the hash itself if it was there, and 0 or another if not.
            if moved != value:
                fresh[count] = cython.cast(cython.uint, i)
                count += 1
                if moved != 0:
                    evicted += 1
    return count, evicted


def forget(table: cython.ulonglong[::1], hashes: cython.const[cython.ulonglong][::1]) -> None:
    """Remember these no longer."""
    i: cython.Py_ssize_t
    at: cython.Py_ssize_t
    way: cython.Py_ssize_t
    end: cython.Py_ssize_t
    value: cython.ulonglong
    rows: cython.ulonglong = len(table) // WAYS
    if rows == 0 or rows >> 32:
        raise ValueError("the table has no row, or too many")
    with cython.nogil:
        for i in range(len(hashes)):
            value = hashes[i]
            if value == 0:
                continue
            at = _row(value, rows)
            end = at + WAYS
            for way in range(at, end):
                if table[way] == value:
                    # Those behind it move up, so that no zero stands before a hash.
                    while way + 1 < end:
                        table[way] = table[way + 1]
                        way += 1
                    table[end - 1] = 0
                    break
