"""Splits names into ten columns of labels, from the right, as text; and takes octets out of a buffer into another.

Text is that of the field's tools in Go, escapes included. Names are in wire form; one that does not end where its
labels do is read as far as they go.
"""

import cython

COLUMNS = cython.declare(cython.int, 10)
DOT = cython.declare(cython.int, 46)


def measure(
    names: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    wild: cython.const[cython.uchar][::1],
    ends: cython.int[::1],
    valid: cython.uchar[::1],
) -> cython.Py_ssize_t:
    """Say where the labels go that `split` writes; how many names could be taken before a column was too long.

    Name i is `names[offsets[i]:offsets[i + 1]]`; where `wild[i]` is not 0 its first label, a star, is the empty text. A
    column has len(wild) + 1 items of `ends`, offsets from the column's own beginning, and len(wild) of `valid`, 1 where
    there is a label. From the tenth label on all are in the last column with dots between, still from the right.
    """
    count: cython.Py_ssize_t = len(wild)
    stride: cython.Py_ssize_t = count + 1
    i: cython.Py_ssize_t
    at: cython.Py_ssize_t
    to: cython.Py_ssize_t
    labels: cython.int
    column: cython.int
    star: cython.bint
    full: cython.bint = False
    done: cython.Py_ssize_t = 0
    with cython.nogil:
        for column in range(COLUMNS):
            ends[column * stride] = 0
        for i in range(count):
            labels = _count_labels(names, offsets[i], offsets[i + 1])
            for column in range(COLUMNS):
                to = column * stride + i
                # No label has more than 255 escapes of four, so nothing overflows before it is noticed.
                full = full or ends[to] > 0x7FFFF000
                ends[to + 1] = ends[to]
                valid[to - column] = 1 if column < labels else 0
            if full:
                break
            at = offsets[i]
            star = wild[i] != 0
            column = labels
            while column > 0:
                column -= 1
                to = min(column, COLUMNS - 1) * stride + i + 1
                if not star:
                    ends[to] += _text_size(names, at)
                if column >= COLUMNS:
                    ends[to] += 1
                star = False
                at += 1 + names[at]
            done += 1
    return done


def split(
    names: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    wild: cython.const[cython.uchar][::1],
    ends: cython.const[cython.int][::1],
    bases: cython.const[cython.longlong][::1],
    text: cython.uchar[::1],
) -> None:
    """Write the labels where `measure` says, each column from its `bases` on."""
    stride: cython.Py_ssize_t = len(wild) + 1
    i: cython.Py_ssize_t
    at: cython.Py_ssize_t
    to: cython.Py_ssize_t
    back: cython.Py_ssize_t
    column: cython.int
    star: cython.bint
    with cython.nogil:
        for i in range(len(wild)):
            at = offsets[i]
            star = wild[i] != 0
            column = _count_labels(names, at, offsets[i + 1])
            # What shares the last column comes here in the other order, so that it is filled from its end.
            back = bases[COLUMNS - 1] + ends[(COLUMNS - 1) * stride + i + 1]
            while column > 0:
                column -= 1
                if column >= COLUMNS - 1:
                    back -= 0 if star else _text_size(names, at)
                    to = back
                else:
                    to = bases[column] + ends[column * stride + i]
                if not star:
                    _write(names, at, text, to)
                if column >= COLUMNS:
                    back -= 1
                    text[back] = DOT
                star = False
                at += 1 + names[at]


def gather(
    data: cython.const[cython.uchar][::1],
    starts: cython.const[cython.uint][::1],
    lengths: cython.const[cython.uint][::1],
    out: cython.uchar[::1],
    at: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Copy each `data[starts[i]:starts[i] + lengths[i]]` to `out` from `at`, back to back; where they end."""
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    start: cython.Py_ssize_t
    size: cython.Py_ssize_t
    with cython.nogil:
        for i in range(len(starts)):
            start = starts[i]
            size = lengths[i]
            for j in range(size):
                out[at + j] = data[start + j]
            at += size
    return at


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _count_labels(names: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    """How many whole labels there are before the root's, or before `end`."""
    count: cython.int = 0
    while at < end and names[at]:
        at += 1 + names[at]
        if at > end:
            break
        count += 1
    return count


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _text_size(names: cython.const[cython.uchar][::1], at: cython.Py_ssize_t) -> cython.int:
    """How many characters the label at `at` has as text."""
    size: cython.int = 0
    i: cython.Py_ssize_t
    for i in range(at + 1, at + 1 + names[at]):
        size += _spelling(names[i])
    return size


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _write(
    names: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, text: cython.uchar[::1], to: cython.Py_ssize_t
) -> cython.int:
    """Write the label at `at` as text."""
    i: cython.Py_ssize_t
    octet: cython.int
    spelling: cython.int
    for i in range(at + 1, at + 1 + names[at]):
        octet = names[i]
        spelling = _spelling(octet)
        if spelling == 4:
            text[to + 1] = cython.cast(cython.uchar, 48 + octet // 100)
            text[to + 2] = cython.cast(cython.uchar, 48 + octet // 10 % 10)
            text[to + 3] = cython.cast(cython.uchar, 48 + octet % 10)
        else:
            text[to + spelling - 1] = cython.cast(cython.uchar, octet)
        if spelling > 1:
            text[to] = 92
        to += spelling
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _spelling(octet: cython.int) -> cython.int:
    """How many characters spell `octet`: 1 itself, 2 behind a backslash, 4 in digits."""
    if 97 <= octet <= 122:
        return 1
    if octet < 32 or octet > 126:
        return 4
    if octet == 46 or octet == 32 or octet == 39 or octet == 64 or octet == 59 or octet == 40 or octet == 41:
        return 2
    return 2 if octet == 34 or octet == 92 else 1
