"""Names in wire form and canonical order (RFC 4034 §6.1): whether they stand in it, merging, finding, sorting.

Compared are labels from the right. `marks` is scratch of 256 octets wherever it is asked for.

The keys are those of `tapir.zone.order.order_key`, back to back in one buffer. They are sorted eight octets at a time
(multikey quicksort with the octets at hand cached as a number), by pivots drawn at random, so that nobody can prepare
names that take quadratic time. A key is padded with zeros: none holds two zeros in a row, so the padding is no key's
own octets, and a word that is zero stands behind a key's end.
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


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(1, check=True)
def _word(keys: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.ulonglong:
    """The eight octets from `at` on, those from `end` on taken as zero."""
    word: cython.ulonglong = 0
    place: cython.Py_ssize_t
    for place in range(at, at + 8):
        word = word << 8
        if place < end:
            word |= keys[place]
    return word


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _before(
    keys: cython.const[cython.uchar][::1],
    starts: cython.const[cython.uint][::1],
    left: cython.uint,
    right: cython.uint,
    depth: cython.longlong,
) -> cython.int:
    """Whether key `left` stands before key `right`, where the octets before `depth` are equal; equal ones by number."""
    word: cython.ulonglong
    other: cython.ulonglong
    a: cython.Py_ssize_t = starts[left] + depth
    b: cython.Py_ssize_t = starts[right] + depth
    a_end: cython.Py_ssize_t = starts[left + 1]
    b_end: cython.Py_ssize_t = starts[right + 1]
    while a < a_end or b < b_end:
        word = _word(keys, a, a_end)
        other = _word(keys, b, b_end)
        if word != other:
            return word < other
        a += 8
        b += 8
    return left < right


def sort(
    keys: cython.const[cython.uchar][::1],
    starts: cython.const[cython.uint][::1],
    order: cython.uint[::1],
    words: cython.ulonglong[::1],
    stack: cython.longlong[::1],
    seed: cython.ulonglong,
) -> None:
    """Put the numbers of the keys into `order`, in the order of the keys; of equal ones the smaller first.

    `words` is scratch of the length of `order`, `stack` of 384 numbers; `seed` is any number that nobody can foresee.
    """
    top: cython.Py_ssize_t = 3
    low: cython.Py_ssize_t
    high: cython.Py_ssize_t
    index: cython.Py_ssize_t
    less: cython.Py_ssize_t
    more: cython.Py_ssize_t
    depth: cython.longlong
    deeper: cython.longlong
    pivot: cython.ulonglong
    seed = seed % 0x7FFFFFFE + 1
    with cython.nogil:
        for index in range(len(order)):
            order[index] = index
            words[index] = _word(keys, starts[index], starts[index + 1])
        _put(stack, 0, 0, len(order), 0)
        while top:
            top -= 3
            low = stack[top]
            high = stack[top + 1]
            depth = stack[top + 2]
            if high - low <= 12:
                _sort_few(keys, starts, order, words, low, high, depth)
                continue
            # Three words drawn at random, the middle one of them.
            seed = seed * 48271 % 0x7FFFFFFF
            pivot = words[low + seed % (high - low)]
            seed = seed * 48271 % 0x7FFFFFFF
            less = low + seed % (high - low)
            seed = seed * 48271 % 0x7FFFFFFF
            more = low + seed % (high - low)
            pivot = max(min(pivot, words[less]), min(max(pivot, words[less]), words[more]))
            less = _part(order, words, low, high, pivot, False)
            more = _part(order, words, less, high, pivot, True)
            deeper = -1
            if depth >= 0 and pivot:
                deeper = depth + 8
                for index in range(less, more):
                    words[index] = _word(keys, starts[order[index]] + deeper, starts[order[index] + 1])
            elif depth >= 0:
                for index in range(less, more):
                    words[index] = order[index]
            elif more - less > 1:
                more = less + 1  # cannot be: no number is there twice
            # The largest undermost, so that the stack stays as short as the logarithm of the whole.
            _put(stack, top, low, less, depth)
            _put(stack, top + 3, less, more, deeper)
            _put(stack, top + 6, more, high, depth)
            _rank(stack, top, top + 3)
            _rank(stack, top + 3, top + 6)
            _rank(stack, top, top + 3)
            top += 9


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _put(
    stack: cython.longlong[::1],
    top: cython.Py_ssize_t,
    low: cython.Py_ssize_t,
    high: cython.Py_ssize_t,
    depth: cython.longlong,
) -> cython.int:
    stack[top] = low
    stack[top + 1] = high
    stack[top + 2] = depth
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _rank(stack: cython.longlong[::1], under: cython.Py_ssize_t, over: cython.Py_ssize_t) -> cython.int:
    """Let the larger of two ranges lie under the other."""
    place: cython.Py_ssize_t
    number: cython.longlong
    if stack[under + 1] - stack[under] < stack[over + 1] - stack[over]:
        for place in range(3):
            number = stack[under + place]
            stack[under + place] = stack[over + place]
            stack[over + place] = number
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _part(
    order: cython.uint[::1],
    words: cython.ulonglong[::1],
    low: cython.Py_ssize_t,
    high: cython.Py_ssize_t,
    pivot: cython.ulonglong,
    equal: cython.bint,
) -> cython.Py_ssize_t:
    """Bring the words before `pivot` (with `equal`: and those equal to it) to the front; returns their end."""
    word: cython.ulonglong
    number: cython.uint
    while True:
        while low < high and (words[low] < pivot or (equal and words[low] == pivot)):
            low += 1
        while low < high and (words[high - 1] > pivot or (not equal and words[high - 1] == pivot)):
            high -= 1
        if low >= high:
            return low
        high -= 1
        word = words[low]
        words[low] = words[high]
        words[high] = word
        number = order[low]
        order[low] = order[high]
        order[high] = number
        low += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _sort_few(
    keys: cython.const[cython.uchar][::1],
    starts: cython.const[cython.uint][::1],
    order: cython.uint[::1],
    words: cython.ulonglong[::1],
    low: cython.Py_ssize_t,
    high: cython.Py_ssize_t,
    depth: cython.longlong,
) -> cython.int:
    """Sort a short range by insertion."""
    index: cython.Py_ssize_t
    place: cython.Py_ssize_t
    word: cython.ulonglong
    number: cython.uint
    for index in range(low + 1, high):
        word = words[index]
        number = order[index]
        place = index
        while place > low and (
            words[place - 1] > word
            or (words[place - 1] == word and _before(keys, starts, number, order[place - 1], depth + 8))
        ):
            words[place] = words[place - 1]
            order[place] = order[place - 1]
            place -= 1
        words[place] = word
        order[place] = number
    return 0
