"""Puts the names of a block in order of their octets, takes some of them out, and compares two blocks in order.

Names are in wire form, back to back, with uint32 offsets; which of them is a uint32, too.
"""

import cython

# Of the keys that kernels/order makes; a name has at most 255.
LONGEST = cython.declare(cython.Py_ssize_t, 512)


def sort_names(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    which: cython.uint[::1],
    keys: cython.ulonglong[::1],
    spare: cython.uint[::1],
    spare_keys: cython.ulonglong[::1],
    counts: cython.uint[::1],
) -> None:
    """Put `which` in order of the names' octets; equal names stay as they were. Or of keys, by their octets:

    one may be the beginning of another, which then has no 0 next.

    The others are working space, as long as `which`, and 2048 `counts`. The time is that of looking at each octet a
    few times, whatever the names. Raises IndexError for offsets past `data`, and for what no name can be.
    """
    with cython.nogil:
        _sort(data, offsets, which, keys, spare, spare_keys, counts, 0, len(which), 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _sort(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    which: cython.uint[::1],
    keys: cython.ulonglong[::1],
    spare: cython.uint[::1],
    spare_keys: cython.ulonglong[::1],
    counts: cython.uint[::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
    depth: cython.Py_ssize_t,
) -> cython.int:
    """Sort the names from `first` to `last`, which agree in `depth` octets: by the next eight, then each tie again."""
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    at: cython.Py_ssize_t
    more: cython.bint
    if depth > LONGEST:
        with cython.gil:
            raise IndexError("a name is longer than names are")  # and each eight octets are a call in a call
    for i in range(first, last):
        keys[i] = _key(data, offsets[which[i]] + depth, offsets[which[i] + 1])
    if last - first > 64:
        _sort_by_digits(which, keys, spare, spare_keys, counts, first, last)
    else:
        _sort_by_insertion(which, keys, first, last)
    i = first
    while i < last:
        j = i + 1
        while j < last and keys[j] == keys[i]:
            j += 1
        # No name is the beginning of another, but a key may be: of those that agree so far, some may go on.
        more = False
        if j - i > 1:
            for at in range(i, j):
                more = more or offsets[which[at]] + depth + 8 < offsets[which[at] + 1]
        if more:
            _sort(data, offsets, which, keys, spare, spare_keys, counts, i, j, depth + 8)
        i = j
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(1, check=True)
def _key(data: cython.const[cython.uchar][::1], first: cython.Py_ssize_t, last: cython.Py_ssize_t) -> cython.ulonglong:
    """Eight octets as a number; past the end they count as zeros."""
    key: cython.ulonglong = 0
    i: cython.Py_ssize_t
    for i in range(first, first + 8):
        key <<= 8
        if i < last:
            key |= data[i]
    return key


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _sort_by_insertion(
    which: cython.uint[::1], keys: cython.ulonglong[::1], first: cython.Py_ssize_t, last: cython.Py_ssize_t
) -> cython.int:
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    key: cython.ulonglong
    one: cython.uint
    for i in range(first + 1, last):
        key = keys[i]
        one = which[i]
        j = i
        while j > first and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            which[j] = which[j - 1]
            j -= 1
        keys[j] = key
        which[j] = one
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _sort_by_digits(
    which: cython.uint[::1],
    keys: cython.ulonglong[::1],
    spare: cython.uint[::1],
    spare_keys: cython.ulonglong[::1],
    counts: cython.uint[::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
) -> cython.int:
    """Octet by octet from the last (LSD radix sort); an octet in which all agree costs nothing."""
    i: cython.Py_ssize_t
    place: cython.Py_ssize_t
    key: cython.ulonglong
    total: cython.uint
    here: cython.uint
    moved: cython.bint = False
    for i in range(2048):
        counts[i] = 0
    for i in range(first, last):
        key = keys[i]
        for place in range(8):
            counts[256 * place + cython.cast(cython.Py_ssize_t, key & 0xFF)] += 1
            key >>= 8
    for place in range(8):
        key = spare_keys[first] if moved else keys[first]
        if counts[256 * place + cython.cast(cython.Py_ssize_t, (key >> (8 * place)) & 0xFF)] == last - first:
            continue
        total = 0
        for i in range(256 * place, 256 * place + 256):
            here = counts[i]
            counts[i] = total
            total += here
        if moved:
            _scatter(spare, spare_keys, which, keys, counts, first, last, place)
        else:
            _scatter(which, keys, spare, spare_keys, counts, first, last, place)
        moved = not moved
    if moved:
        for i in range(first, last):
            which[i] = spare[i]
            keys[i] = spare_keys[i]
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _scatter(
    which: cython.uint[::1],
    keys: cython.ulonglong[::1],
    to: cython.uint[::1],
    to_keys: cython.ulonglong[::1],
    counts: cython.uint[::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
    place: cython.Py_ssize_t,
) -> cython.int:
    i: cython.Py_ssize_t
    digit: cython.Py_ssize_t
    target: cython.Py_ssize_t
    for i in range(first, last):
        digit = 256 * place + cython.cast(cython.Py_ssize_t, (keys[i] >> (8 * place)) & 0xFF)
        target = first + counts[digit]
        counts[digit] += 1
        to[target] = which[i]
        to_keys[target] = keys[i]
    return 0


def drop_repeats(
    data: cython.const[cython.uchar][::1], offsets: cython.const[cython.uint][::1], which: cython.uint[::1]
) -> int:
    """Leave of equal neighbours in `which` the last, at its beginning; how many are left."""
    i: cython.Py_ssize_t
    kept: cython.Py_ssize_t = 0
    with cython.nogil:
        for i in range(len(which)):
            if i + 1 < len(which) and _compare(data, offsets, which[i], data, offsets, which[i + 1]) == 0:
                continue
            which[kept] = which[i]
            kept += 1
    return kept


def gather(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    which: cython.const[cython.uint][::1],
    position: cython.Py_ssize_t,
    out: cython.uchar[::1],
) -> tuple[int, int]:
    """Copy the names `which` from `position` on until `out` has no room; the position reached, and the octets."""
    size: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t
    first: cython.Py_ssize_t
    last: cython.Py_ssize_t
    with cython.nogil:
        while position < len(which):
            first = offsets[which[position]]
            last = offsets[which[position] + 1]
            if size + last - first > len(out):
                break
            for i in range(first, last):
                out[size] = data[i]
                size += 1
            position += 1
    return position, size


def is_ordered(data: cython.const[cython.uchar][::1], offsets: cython.const[cython.uint][::1]) -> bool:
    """Whether the names are in order of their octets, each there once."""
    i: cython.Py_ssize_t
    ordered: cython.bint = True
    with cython.nogil:
        for i in range(len(offsets) - 2):
            if _compare(data, offsets, i, data, offsets, i + 1) >= 0:
                ordered = False
                break
    return ordered


def compare_blocks(
    old: cython.const[cython.uchar][::1],
    old_offsets: cython.const[cython.uint][::1],
    old_tags: cython.const[cython.uint][::1],
    new: cython.const[cython.uchar][::1],
    new_offsets: cython.const[cython.uint][::1],
    new_tags: cython.const[cython.uint][::1],
    gone: cython.uint[::1],
    come: cython.uint[::1],
) -> tuple[int, int]:
    """Which names of `old` are not in `new`, and which of `new` are not in `old` with the same tag, both in order.

    They are written to `gone` and `come`, as long as the blocks; how many they are is given back. No tags are all 0.
    """
    i: cython.Py_ssize_t = 0
    j: cython.Py_ssize_t = 0
    olds: cython.Py_ssize_t = len(old_offsets) - 1
    news: cython.Py_ssize_t = len(new_offsets) - 1
    removed: cython.Py_ssize_t = 0
    added: cython.Py_ssize_t = 0
    order: cython.int
    before: cython.uint
    after: cython.uint
    with cython.nogil:
        while i < olds or j < news:
            if i == olds:
                order = 1
            elif j == news:
                order = -1
            else:
                order = _compare(old, old_offsets, i, new, new_offsets, j)
            if order < 0:
                gone[removed] = cython.cast(cython.uint, i)
                removed += 1
                i += 1
            elif order > 0:
                come[added] = cython.cast(cython.uint, j)
                added += 1
                j += 1
            else:
                before = old_tags[i] if len(old_tags) > 0 else 0
                after = new_tags[j] if len(new_tags) > 0 else 0
                if before != after:
                    come[added] = cython.cast(cython.uint, j)
                    added += 1
                i += 1
                j += 1
    return removed, added


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _compare(
    left: cython.const[cython.uchar][::1],
    left_offsets: cython.const[cython.uint][::1],
    i: cython.Py_ssize_t,
    right: cython.const[cython.uchar][::1],
    right_offsets: cython.const[cython.uint][::1],
    j: cython.Py_ssize_t,
) -> cython.int:
    """-1, 0 or 1: how name `i` of one block stands to name `j` of the other, by their octets."""
    first: cython.Py_ssize_t = left_offsets[i]
    last: cython.Py_ssize_t = left_offsets[i + 1]
    other: cython.Py_ssize_t = right_offsets[j]
    end: cython.Py_ssize_t = right_offsets[j + 1]
    while first < last and other < end:
        if left[first] != right[other]:
            return -1 if left[first] < right[other] else 1
        first += 1
        other += 1
    return 0 if first == last and other == end else -1 if first == last else 1
