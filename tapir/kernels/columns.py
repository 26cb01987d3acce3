"""Blocks of names and columns beside them: checking, gathering, and what changes come to.

Columns are as in `tapir.model.blocks`; `marks` is scratch of 256 octets wherever it is asked for.
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


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _same(
    left: cython.const[cython.uchar][::1],
    left_at: cython.Py_ssize_t,
    left_size: cython.Py_ssize_t,
    right: cython.const[cython.uchar][::1],
    right_at: cython.Py_ssize_t,
    right_size: cython.Py_ssize_t,
) -> cython.int:
    """Whether two runs of octets are equal."""
    place: cython.Py_ssize_t
    if left_size != right_size:
        return 0
    for place in range(left_size):
        if left[left_at + place] != right[right_at + place]:
            return 0
    return 1


def check(data: cython.const[cython.uchar][::1], offsets: cython.const[cython.uint][::1]) -> int:
    """0 if all are names in lower-case wire form; else what the first one is that is not.

    1: empty or longer than 255 octets, 2: with an upper-case letter, 3: with a label longer than 63, 4: ending before
    its length does, 5: not ending in the root.
    """
    index: cython.Py_ssize_t
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    label: cython.Py_ssize_t
    problem: cython.int = 0
    with cython.nogil:
        for index in range(len(offsets) - 1):
            at = offsets[index]
            end = offsets[index + 1]
            if not 1 <= end - at <= 255:
                problem = 1
                break
            label = data[at]
            while 0 < label <= 63 and at + 1 + label < end:
                label += at
                while at < label:
                    at += 1
                    if 0x41 <= data[at] <= 0x5A:
                        problem = 2
                at += 1
                label = data[at]
            if problem == 0:
                if label > 63:
                    problem = 3
                elif label:
                    problem = 5
                elif at + 1 != end:
                    problem = 4
            if problem:
                break
    return problem


def net(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    order: cython.const[cython.uint][::1],
    adds: cython.const[cython.uchar][::1],
    actions: cython.const[cython.uchar][::1],
    heads: cython.uint[::1],
    before: cython.uchar[::1],
    after: cython.uchar[::1],
) -> int:
    """What steps, each of which removes or `adds` a name, come to; `order` has equal names together, oldest first.

    Returns how many names there are, with the number of the first step of each in `heads` and its action `before` and
    `after` all of them, 0 for no record; or -1 - n for step n that does not follow the one before it.
    """
    index: cython.Py_ssize_t
    count: cython.Py_ssize_t = 0
    number: cython.Py_ssize_t
    previous: cython.Py_ssize_t = 0
    state: cython.int = 0
    action: cython.int
    with cython.nogil:
        for index in range(len(order)):
            number = order[index]
            action = actions[number]
            if index == 0 or not _same(
                data,
                offsets[previous],
                cython.cast(cython.Py_ssize_t, offsets[previous + 1]) - offsets[previous],
                data,
                offsets[number],
                cython.cast(cython.Py_ssize_t, offsets[number + 1]) - offsets[number],
            ):
                state = 0 if adds[number] else action
                heads[count] = number
                before[count] = state
                count += 1
            if state != (0 if adds[number] else action):
                count = -1 - number
                break
            state = action if adds[number] else 0
            after[count - 1] = state
            previous = number
    return count


def take(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    numbers: cython.const[cython.uint][::1],
    out: cython.uchar[::1],
    out_offsets: cython.uint[::1],
) -> None:
    """Copy the names of these `numbers` back to back into `out`, their offsets into `out_offsets`."""
    index: cython.Py_ssize_t
    number: cython.Py_ssize_t
    size: cython.Py_ssize_t
    position: cython.Py_ssize_t = 0
    with cython.nogil:
        out_offsets[0] = 0
        for index in range(len(numbers)):
            number = numbers[index]
            size = cython.cast(cython.Py_ssize_t, offsets[number + 1]) - offsets[number]
            _copy(data, offsets[number], size, out, position)
            position += size
            out_offsets[index + 1] = position


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _seek(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    low: cython.Py_ssize_t,
    name: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    marks: cython.uchar[::1],
) -> cython.Py_ssize_t:
    """Twice the number of the first name from `low` on not before the one at `at`; 1 more if it is the same."""
    labels: cython.Py_ssize_t = _labels(name, at, marks)
    high: cython.Py_ssize_t = len(offsets) - 1
    step: cython.Py_ssize_t = 1
    middle: cython.Py_ssize_t
    order: cython.int
    own: cython.Py_ssize_t = 0
    strides: cython.bint = True
    while low < high:
        middle = low + step - 1 if strides else (low + high) >> 1
        if middle >= high:
            strides = False
            continue
        order = _compare(
            data, offsets[middle], marks[128:], _labels(data, offsets[middle], marks[128:]), name, at, marks, labels
        )
        if order < 0:
            low = middle + 1
            step *= 2
        else:
            high = middle
            own = order == 0
            strides = False
    return 2 * high + own


def amend(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    actions: cython.const[cython.uchar][::1],
    names: cython.const[cython.uchar][::1],
    name_offsets: cython.const[cython.uint][::1],
    before: cython.const[cython.uchar][::1],
    after: cython.const[cython.uchar][::1],
    out: cython.uchar[::1],
    out_offsets: cython.uint[::1],
    out_actions: cython.uchar[::1],
    marks: cython.uchar[::1],
) -> int:
    """Write records with changes made, both in canonical order; returns how many records that makes.

    -1 - n for change n, whose action before is another than the one found (0: none).
    """
    record: cython.Py_ssize_t = 0
    change: cython.Py_ssize_t
    count: cython.Py_ssize_t = 0
    until: cython.Py_ssize_t
    size: cython.Py_ssize_t
    found: cython.Py_ssize_t
    position: cython.Py_ssize_t = 0
    end: cython.Py_ssize_t = len(name_offsets) - 1
    with cython.nogil:
        out_offsets[0] = 0
        for change in range(end + 1):
            until = len(offsets) - 1
            found = 0
            if change < end:
                until = _seek(data, offsets, record, names, name_offsets[change], marks)
                found = until & 1
                until >>= 1
            _copy(actions, record, until - record, out_actions, count)
            if until > record:
                size = cython.cast(cython.Py_ssize_t, offsets[until]) - offsets[record]
                _copy(data, offsets[record], size, out, position)
            while record < until:
                position += cython.cast(cython.Py_ssize_t, offsets[record + 1]) - offsets[record]
                record += 1
                count += 1
                out_offsets[count] = position
            if change == end:
                break
            if before[change] != (actions[record] if found else 0):
                count = -1 - change
                break
            record += found
            if after[change]:
                size = cython.cast(cython.Py_ssize_t, name_offsets[change + 1]) - name_offsets[change]
                _copy(names, name_offsets[change], size, out, position)
                position += size
                out_actions[count] = after[change]
                count += 1
                out_offsets[count] = position
    return count
