"""Names in wire form and canonical order (RFC 4034 §6.1): whether they stand in it, merging, finding, keys.

Compared are labels from the right. `marks` is scratch of 256 octets wherever it is asked for.

The keys are those of `tapir.zone.order.order_key`, back to back in one buffer, to be sorted by their octets.
"""

import cython


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _labels(
    data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, marks: cython.uchar[::1]
) -> cython.Py_ssize_t:
    """The number of labels of the name at `at`; where each begins, counted from there, goes into `marks`."""
    count: cython.Py_ssize_t = 0
    place: cython.Py_ssize_t = 0
    length: cython.Py_ssize_t = data[at]
    while 0 < length <= 63:
        marks[count] = place
        count += 1
        place += 1 + length
        length = data[at + place]
    return count


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _compare(
    left: cython.const[cython.uchar][::1],
    left_at: cython.Py_ssize_t,
    left_marks: cython.uchar[::1],
    left_count: cython.Py_ssize_t,
    right: cython.const[cython.uchar][::1],
    right_at: cython.Py_ssize_t,
    right_marks: cython.uchar[::1],
    right_count: cython.Py_ssize_t,
) -> cython.int:
    """-1, 0 or 1 as the left name stands before, at or after the right one."""
    a: cython.Py_ssize_t
    b: cython.Py_ssize_t
    a_size: cython.Py_ssize_t
    b_size: cython.Py_ssize_t
    shorter: cython.Py_ssize_t
    place: cython.Py_ssize_t
    while left_count > 0 and right_count > 0:
        left_count -= 1
        right_count -= 1
        a = left_at + left_marks[left_count]
        b = right_at + right_marks[right_count]
        a_size = left[a]
        b_size = right[b]
        shorter = a_size if a_size < b_size else b_size
        for place in range(1, shorter + 1):
            if left[a + place] != right[b + place]:
                return -1 if left[a + place] < right[b + place] else 1
        if a_size != b_size:
            return -1 if a_size < b_size else 1
    if left_count == right_count:
        return 0
    return -1 if left_count < right_count else 1


def disorder(
    data: cython.const[cython.uchar][::1], offsets: cython.const[cython.uint][::1], marks: cython.uchar[::1]
) -> int:
    """The number of the first name that does not stand after the one before it; how many names there are, if none.

    `marks` is 256 octets of scratch.
    """
    count: cython.Py_ssize_t = len(offsets) - 1
    half: cython.Py_ssize_t = 128
    index: cython.Py_ssize_t
    before: cython.Py_ssize_t
    now: cython.Py_ssize_t
    if count < 1:
        return 0
    with cython.nogil:
        before = _labels(data, offsets[0], marks)
        for index in range(1, count):
            if index & 1:
                now = _labels(data, offsets[index], marks[half:])
                if _compare(data, offsets[index - 1], marks, before, data, offsets[index], marks[half:], now) >= 0:
                    break
            else:
                now = _labels(data, offsets[index], marks)
                if _compare(data, offsets[index - 1], marks[half:], before, data, offsets[index], marks, now) >= 0:
                    break
            before = now
        else:
            index = count
    return index


def weave(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    split: cython.Py_ssize_t,
    order: cython.uint[::1],
    marks: cython.uchar[::1],
) -> None:
    """Put the numbers of all names into `order`, where those before `split` and those from it on are in order each."""
    left: cython.Py_ssize_t = 0
    right: cython.Py_ssize_t = split
    end: cython.Py_ssize_t = len(offsets) - 1
    index: cython.Py_ssize_t
    with cython.nogil:
        for index in range(end):
            if left < split and (
                right >= end
                or _compare(
                    data,
                    offsets[left],
                    marks,
                    _labels(data, offsets[left], marks),
                    data,
                    offsets[right],
                    marks[128:],
                    _labels(data, offsets[right], marks[128:]),
                )
                <= 0
            ):
                order[index] = left
                left += 1
            else:
                order[index] = right
                right += 1


def reach(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    low: cython.Py_ssize_t,
    wire: cython.const[cython.uchar][::1],
    marks: cython.uchar[::1],
) -> int:
    """The number of the first name from `low` on, in a block in order, not before the first record of `wire`."""
    high: cython.Py_ssize_t = len(offsets) - 1
    step: cython.Py_ssize_t = 1
    middle: cython.Py_ssize_t
    labels: cython.Py_ssize_t
    strides: cython.bint = True
    with cython.nogil:
        labels = _labels(wire, 0, marks)
        while low < high:
            middle = low + step - 1 if strides else (low + high) >> 1
            if middle >= high:
                strides = False
                continue
            if (
                _compare(
                    data,
                    offsets[middle],
                    marks[128:],
                    _labels(data, offsets[middle], marks[128:]),
                    wire,
                    0,
                    marks,
                    labels,
                )
                < 0
            ):
                low = middle + 1
                step *= 2
            else:
                high = middle
                strides = False
    return high


def key_octets(data: cython.const[cython.uchar][::1], offsets: cython.const[cython.uint][::1]) -> int:
    """How many octets the keys of all names take."""
    index: cython.Py_ssize_t
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    length: cython.Py_ssize_t
    total: cython.Py_ssize_t = 0
    with cython.nogil:
        for index in range(len(offsets) - 1):
            at = offsets[index]
            length = data[at]
            while length:
                total += length + 1
                end = at + length
                while at < end:
                    at += 1
                    if data[at] <= 1:
                        total += 1
                at += 1
                length = data[at]
    return total


def make_keys(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    marks: cython.uchar[::1],
    keys: cython.uchar[::1],
    starts: cython.uint[::1],
) -> None:
    """Write the keys of all names back to back into `keys`; key i is `keys[starts[i]:starts[i + 1]]`."""
    index: cython.Py_ssize_t
    count: cython.Py_ssize_t
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    out: cython.Py_ssize_t = 0
    octet: cython.uchar
    with cython.nogil:
        for index in range(len(offsets) - 1):
            starts[index] = out
            count = _labels(data, offsets[index], marks)
            while count > 0:
                count -= 1
                at = offsets[index] + marks[count]
                end = at + data[at]
                while at < end:
                    at += 1
                    octet = data[at]
                    if octet <= 1:
                        keys[out] = 1
                        out += 1
                        octet += 1
                    keys[out] = octet
                    out += 1
                keys[out] = 0
                out += 1
        starts[len(offsets) - 1] = out
