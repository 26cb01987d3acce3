"""Counts responses by name: which type was asked, and what was answered.

An interval numbers the names it meets as they come, so that what is asked often lies together and nothing is as large
as the list that is only asked for in part.
"""

import cython

A = cython.declare(cython.int, 1)
NS = cython.declare(cython.int, 2)
MX = cython.declare(cython.int, 15)
AAAA = cython.declare(cython.int, 28)
IN = cython.declare(cython.int, 1)

SERVFAIL = cython.declare(cython.int, 2)
NXDOMAIN = cython.declare(cython.int, 3)


def count(
    rows: cython.const[cython.int][::1],
    qtypes: cython.const[cython.ushort][::1],
    qclasses: cython.const[cython.ushort][::1],
    rcodes: cython.const[cython.ushort][::1],
    numbers: cython.uint[::1],
    met: cython.uint[::1],
    known: cython.Py_ssize_t,
    counters: cython.ulonglong[::1],
    places: cython.int[::1],
) -> cython.Py_ssize_t:
    """Count the responses whose row is not -1; returns how many rows have been met, of which `known` were before.

    `numbers` has an item a row of the list: 0, or one more than its number in this interval; `met` has the rows by
    their numbers, `counters` ten items for each, in the order of the histogram's columns: A, AAAA, MX, NS, other
    types, other classes, NOERROR, NXDOMAIN, SERVFAIL, other RCODEs. Both have room for a new row with each response.
    `places` takes the number of each response's row, -1 where it has none.
    """
    i: cython.Py_ssize_t
    row: cython.Py_ssize_t
    at: cython.Py_ssize_t
    with cython.nogil:
        for i in range(len(rows)):
            row = rows[i]
            if row < 0:
                places[i] = -1
                continue
            if numbers[row] == 0:
                met[known] = cython.cast(cython.uint, row)
                known += 1
                numbers[row] = cython.cast(cython.uint, known)
            at = numbers[row] - 1
            places[i] = cython.cast(cython.int, at)
            at *= 10
            counters[at + _column_of_type(qclasses[i], qtypes[i])] += 1
            counters[at + _column_of_rcode(rcodes[i])] += 1
    return known


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _column_of_type(qclass: cython.int, qtype: cython.int) -> cython.int:
    if qclass != IN:
        return 5
    if qtype == A:
        return 0
    if qtype == AAAA:
        return 1
    if qtype == MX:
        return 2
    if qtype == NS:
        return 3
    return 4


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _column_of_rcode(rcode: cython.int) -> cython.int:
    if rcode == 0:
        return 6
    if rcode == NXDOMAIN:
        return 7
    if rcode == SERVFAIL:
        return 8
    return 9
