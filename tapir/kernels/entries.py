"""Finds names in a block, changes blocks, and looks for some of a block's names; all in order of their octets.

Names are in wire form, back to back, with uint32 offsets, in order and each there once.
"""

import cython


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _compare(
    left: cython.const[cython.uchar][::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
    right: cython.const[cython.uchar][::1],
    other: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
) -> cython.int:
    """-1, 0 or 1: how the one name stands to the other, by their octets."""
    while first < last and other < end:
        if left[first] != right[other]:
            return -1 if left[first] < right[other] else 1
        first += 1
        other += 1
    return 0 if first == last and other == end else -1 if first == last else 1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _copy(
    source: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    target: cython.uchar[::1],
    to: cython.Py_ssize_t,
) -> cython.int:
    """Copy `size` octets; the four ends are checked here, and so not once an octet."""
    if size > 0:
        if at < 0 or to < 0 or size > len(source) - at or size > len(target) - to:
            with cython.gil:
                raise IndexError("a copy reaches past a buffer")
        _copy_unchecked(source, at, size, target, to)
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.boundscheck(False)
@cython.exceptval(check=False)
def _copy_unchecked(
    source: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    target: cython.uchar[::1],
    to: cython.Py_ssize_t,
) -> cython.void:
    place: cython.Py_ssize_t
    for place in range(size):
        target[to + place] = source[at + place]


def seek(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    names: cython.const[cython.uchar][::1],
    name_offsets: cython.const[cython.uint][::1],
    places: cython.uint[::1],
    same: cython.uchar[::1],
) -> None:
    """Where each of `names`, in order, stands in a block: at the first name that is not before it.

    That goes into `places`, and into `same` whether the two are the same name.
    """
    index: cython.Py_ssize_t
    low: cython.Py_ssize_t = 0
    high: cython.Py_ssize_t
    step: cython.Py_ssize_t
    middle: cython.Py_ssize_t
    order: cython.int
    own: cython.uchar
    strides: cython.bint
    with cython.nogil:
        for index in range(len(name_offsets) - 1):
            high = len(offsets) - 1
            step = 1
            own = 0
            strides = True  # ever wider, until past it; from there by halves
            while low < high:
                middle = low + step - 1 if strides else (low + high) >> 1
                if middle >= high:
                    strides = False
                    continue
                order = _compare(
                    data, offsets[middle], offsets[middle + 1], names, name_offsets[index], name_offsets[index + 1]
                )
                if order < 0:
                    low = middle + 1
                    step *= 2
                else:
                    high = middle
                    own = order == 0
                    strides = False
            places[index] = cython.cast(cython.uint, high)
            same[index] = own
            low = high


def splice(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    names: cython.const[cython.uchar][::1],
    name_offsets: cython.const[cython.uint][::1],
    places: cython.const[cython.uint][::1],
    same: cython.const[cython.uchar][::1],
    put: cython.const[cython.uchar][::1],
    out: cython.uchar[::1],
    out_offsets: cython.uint[::1],
) -> None:
    """Write a block without the names that are the `same` as one of `names`, and with those of `names` to `put`.

    `places` and `same` are what `seek` says. Raises IndexError for what is not.
    """
    number: cython.Py_ssize_t = 0
    count: cython.Py_ssize_t = 0
    position: cython.Py_ssize_t = 0
    index: cython.Py_ssize_t
    until: cython.Py_ssize_t
    size: cython.Py_ssize_t
    end: cython.Py_ssize_t = len(name_offsets) - 1
    with cython.nogil:
        out_offsets[0] = 0
        for index in range(end + 1):
            until = places[index] if index < end else len(offsets) - 1
            if until > number:
                size = cython.cast(cython.Py_ssize_t, offsets[until]) - offsets[number]
                _copy(data, offsets[number], size, out, position)
            while number < until:
                position += cython.cast(cython.Py_ssize_t, offsets[number + 1]) - offsets[number]
                number += 1
                count += 1
                out_offsets[count] = cython.cast(cython.uint, position)
            if index == end:
                break
            number += same[index]
            if put[index]:
                size = cython.cast(cython.Py_ssize_t, name_offsets[index + 1]) - name_offsets[index]
                _copy(names, name_offsets[index], size, out, position)
                position += size
                count += 1
                out_offsets[count] = cython.cast(cython.uint, position)


def select(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    first: cython.Py_ssize_t,
    suffix: cython.const[cython.uchar][::1],
    part: cython.const[cython.uchar][::1],
    text: cython.uchar[::1],
    out: cython.uint[::1],
) -> tuple[int, int]:
    """Which names from number `first` on are at or below the name `suffix` and have `part` in their text.

    The text of a name is the octets of its labels, a dot after each; `text` is scratch of 256 octets. The numbers go
    into `out` until that is full. Returns how many there are, and the number to go on from.
    """
    count: cython.Py_ssize_t = 0
    end: cython.Py_ssize_t = len(offsets) - 1
    with cython.nogil:
        while first < end and count < len(out):
            if _matches(data, offsets[first], offsets[first + 1], suffix, part, text):
                out[count] = cython.cast(cython.uint, first)
                count += 1
            first += 1
    return count, first


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _matches(
    data: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    suffix: cython.const[cython.uchar][::1],
    part: cython.const[cython.uchar][::1],
    text: cython.uchar[::1],
) -> cython.int:
    """Whether the name from `at` to `end` is one that `select` looks for."""
    root: cython.Py_ssize_t = end - len(suffix)
    below: cython.bint = len(suffix) == 0
    size: cython.Py_ssize_t = 0
    label: cython.Py_ssize_t
    place: cython.Py_ssize_t
    start: cython.Py_ssize_t
    if not below:
        if root < at:
            return 0
        for place in range(len(suffix)):
            if data[root + place] != suffix[place]:
                return 0
    while at < end:
        below = below or at == root
        label = at + 1 + data[at]
        at += 1
        while at < label and at < end:
            text[size] = data[at]
            size += 1
            at += 1
        if at < end:
            text[size] = 0x2E
            size += 1
    if not below:
        return 0
    for start in range(size - len(part) + 1):
        place = 0
        while place < len(part) and text[start + place] == part[place]:
            place += 1
        if place == len(part):
            return 1
    return 0
