"""The zone's records: packing names into chunks, merging changes into them, comparing, taking apart and finding.

A record is the labels of its owner, then a tail that is the same for all records of one action and begins with a
compression pointer. So the labels of a record are read like those of a name: they end at an octet over 63 where a
name's end at the root. Names are compared label by label from the right, which is canonical order (RFC 4034 §6.1).
Columns are as in `tapir.model.blocks` and `tapir.zone.chunk`; `marks` is scratch of 256 octets wherever it is asked.
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


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _add(
    data: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    action: cython.Py_ssize_t,
    tails: cython.const[cython.uchar][::1],
    tail_starts: cython.const[cython.uint][::1],
    longest: cython.Py_ssize_t,
    out: cython.uchar[::1],
    starts: cython.uint[::1],
    actions: cython.uchar[::1],
    count: cython.Py_ssize_t,
) -> cython.int:
    """Put the record of a name behind the `count` that are there; 1 if it is put, 0 if no record says this."""
    position: cython.Py_ssize_t = starts[count]
    tail: cython.Py_ssize_t
    if action + 1 >= len(tail_starts) or not 1 < size <= longest:
        return 0
    tail = cython.cast(cython.Py_ssize_t, tail_starts[action + 1]) - tail_starts[action]
    if tail == 0:
        return 0
    _copy(data, at, size - 1, out, position)
    _copy(tails, tail_starts[action], tail, out, position + size - 1)
    actions[count] = action
    starts[count + 1] = position + size - 1 + tail
    return 1


def pack(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    order: cython.const[cython.uint][::1],
    wanted: cython.const[cython.uchar][::1],
    first: cython.Py_ssize_t,
    tails: cython.const[cython.uchar][::1],
    tail_starts: cython.const[cython.uint][::1],
    longest: cython.Py_ssize_t,
    out: cython.uchar[::1],
    starts: cython.uint[::1],
    actions: cython.uchar[::1],
    count: cython.Py_ssize_t,
    room: cython.Py_ssize_t,
) -> tuple[int, int]:
    """Put records behind the `count` that are in `out`, until less than `room` octets or no place is left there.

    They are those of `order` (empty: as they are given) from its place `first` on. Returns the place of the first one
    that is not put, and how many are in `out` then; -1 - place and the same for one that no record says.
    """
    number: cython.Py_ssize_t
    end: cython.Py_ssize_t = len(offsets) - 1
    size: cython.Py_ssize_t
    with cython.nogil:
        while first < end and count < len(actions) and len(out) - starts[count] >= room:
            number = order[first] if len(order) else first
            size = cython.cast(cython.Py_ssize_t, offsets[number + 1]) - offsets[number]
            if not _add(
                data,
                offsets[number],
                size,
                wanted[number],
                tails,
                tail_starts,
                longest,
                out,
                starts,
                actions,
                count,
            ):
                first = -1 - first
                break
            first += 1
            count += 1
    return first, count


def cut(
    starts: cython.const[cython.uint][::1], count: cython.Py_ssize_t, fill: cython.Py_ssize_t, cuts: cython.uint[::1]
) -> int:
    """Where to cut `count` records into chunks that reach `fill` octets, while twice as many are left.

    The number of the first record behind each chunk goes into `cuts`; returns how many there are.
    """
    index: cython.Py_ssize_t = 0
    begin: cython.Py_ssize_t = starts[0]
    found: cython.Py_ssize_t = 0
    with cython.nogil:
        while found < len(cuts) and starts[count] - begin >= 2 * fill:
            while starts[index] - begin < fill:
                index += 1
            cuts[found] = index
            found += 1
            begin = starts[index]
    return found


def merge(
    wire: cython.const[cython.uchar][::1],
    starts: cython.const[cython.ushort][::1],
    actions: cython.const[cython.uchar][::1],
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    before: cython.const[cython.uchar][::1],
    after: cython.const[cython.uchar][::1],
    until: cython.Py_ssize_t,
    tails: cython.const[cython.uchar][::1],
    tail_starts: cython.const[cython.uint][::1],
    longest: cython.Py_ssize_t,
    out: cython.uchar[::1],
    out_starts: cython.uint[::1],
    out_actions: cython.uchar[::1],
    state: cython.longlong[::1],
    room: cython.Py_ssize_t,
    marks: cython.uchar[::1],
) -> int:
    """Put the records of a chunk behind those in `out`, with the changes before `until` made.

    `state` is how far it came, to be given back as it is after making room: the record, the change, how many records
    are in `out`, and the action that was found. Returns 0 when all is done, 1 when less than `room` octets are left,
    2 for a change whose action before is another than the one found, 3 for one that no record says.
    """
    record: cython.Py_ssize_t = state[0]
    change: cython.Py_ssize_t = state[1]
    count: cython.Py_ssize_t = state[2]
    end: cython.Py_ssize_t
    size: cython.Py_ssize_t
    shift: cython.Py_ssize_t
    index: cython.Py_ssize_t
    found: cython.Py_ssize_t
    result: cython.int = 0
    with cython.nogil:
        while True:
            found = 0
            end = len(actions)
            if change < until:
                found = _seek(wire, starts, record, data, offsets[change], marks)
                end = found >> 1
                found &= 1
            # As many of the records before the change as there is room for.
            size = len(out) - cython.cast(cython.Py_ssize_t, out_starts[count])
            if size < room:
                result = 1
                break
            index = record
            if cython.cast(cython.Py_ssize_t, starts[end]) - starts[record] <= size:
                index = end
            else:
                while cython.cast(cython.Py_ssize_t, starts[index + 1]) - starts[record] <= size:
                    index += 1
            if index - record > len(out_actions) - count:
                index = record + len(out_actions) - count
            shift = cython.cast(cython.Py_ssize_t, out_starts[count]) - starts[record]
            _copy(
                wire,
                starts[record],
                cython.cast(cython.Py_ssize_t, starts[index]) - starts[record],
                out,
                out_starts[count],
            )
            _copy(actions, record, index - record, out_actions, count)
            while record < index:
                record += 1
                count += 1
                out_starts[count] = starts[record] + shift
            if record < end or (
                change < until
                and (count == len(out_actions) or len(out) - cython.cast(cython.Py_ssize_t, out_starts[count]) < room)
            ):
                result = 1
                break
            if change >= until:
                break
            state[3] = actions[record] if found else 0
            if state[3] != before[change]:
                result = 2
                break
            if after[change]:
                size = cython.cast(cython.Py_ssize_t, offsets[change + 1]) - offsets[change]
                if not _add(
                    data,
                    offsets[change],
                    size,
                    after[change],
                    tails,
                    tail_starts,
                    longest,
                    out,
                    out_starts,
                    out_actions,
                    count,
                ):
                    result = 3
                    break
                count += 1
            record += found
            change += 1
    state[0] = record
    state[1] = change
    state[2] = count
    return result


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _seek(
    wire: cython.const[cython.uchar][::1],
    starts: cython.const[cython.ushort][::1],
    low: cython.Py_ssize_t,
    name: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    marks: cython.uchar[::1],
) -> cython.Py_ssize_t:
    """Twice the number of the first record from `low` on not before the name at `at`; 1 more if it is its own."""
    labels: cython.Py_ssize_t = _labels(name, at, marks)
    high: cython.Py_ssize_t = len(starts) - 1
    step: cython.Py_ssize_t = 1
    middle: cython.Py_ssize_t
    order: cython.int
    own: cython.Py_ssize_t = 0
    # Changes often lie close together: double the stride first, then halve it.
    while low < high:
        middle = low + step - 1
        if middle >= high:
            break
        order = _compare(
            wire, starts[middle], marks[128:], _labels(wire, starts[middle], marks[128:]), name, at, marks, labels
        )
        if order >= 0:
            high = middle
            own = order == 0
            break
        low = middle + 1
        step *= 2
    while low < high:
        middle = (low + high) >> 1
        order = _compare(
            wire, starts[middle], marks[128:], _labels(wire, starts[middle], marks[128:]), name, at, marks, labels
        )
        if order >= 0:
            high = middle
            own = order == 0
        else:
            low = middle + 1
    return 2 * high + own


def seek(
    wire: cython.const[cython.uchar][::1],
    starts: cython.const[cython.ushort][::1],
    name: cython.const[cython.uchar][::1],
    marks: cython.uchar[::1],
) -> int:
    """Twice the number of the first record of a chunk that is not before `name`; 1 more if it is the name's own."""
    return _seek(wire, starts, 0, name, 0, marks)


def names(
    wire: cython.const[cython.uchar][::1],
    starts: cython.const[cython.ushort][::1],
    actions: cython.const[cython.uchar][::1],
    tail_starts: cython.const[cython.uint][::1],
    numbers: cython.const[cython.ushort][::1],
    out: cython.uchar[::1],
    offsets: cython.uint[::1],
    count: cython.Py_ssize_t,
) -> int:
    """Put the names of a chunk's records `numbers` (empty: of all) behind the `count` in `out`; returns their count."""
    index: cython.Py_ssize_t
    record: cython.Py_ssize_t
    size: cython.Py_ssize_t
    position: cython.Py_ssize_t = offsets[count]
    with cython.nogil:
        for index in range(len(numbers) if len(numbers) else len(actions)):
            record = numbers[index] if len(numbers) else index
            size = cython.cast(cython.Py_ssize_t, starts[record + 1]) - starts[record]
            size -= cython.cast(cython.Py_ssize_t, tail_starts[actions[record] + 1]) - tail_starts[actions[record]]
            _copy(wire, starts[record], size, out, position)
            position += size
            out[position] = 0
            position += 1
            count += 1
            offsets[count] = position
    return count


def differ(
    wire: cython.const[cython.uchar][::1],
    starts: cython.const[cython.ushort][::1],
    actions: cython.const[cython.uchar][::1],
    tail_starts: cython.const[cython.uint][::1],
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    order: cython.const[cython.uint][::1],
    wanted: cython.const[cython.uchar][::1],
    removed: cython.ushort[::1],
    added: cython.uint[::1],
    state: cython.longlong[::1],
    marks: cython.uchar[::1],
) -> int:
    """Compare a chunk with the names of a block in `order` (empty: as they are given), from place `state[0]` on.

    Returns how many records are not wanted, their numbers in `removed`. The names that are wanted and not there go
    behind the `state[1]` in `added`; `state` says how far it came.
    """
    record: cython.Py_ssize_t
    size: cython.Py_ssize_t
    place: cython.Py_ssize_t = state[0]
    new: cython.Py_ssize_t = state[1]
    gone: cython.Py_ssize_t = 0
    number: cython.Py_ssize_t
    labels: cython.Py_ssize_t
    end: cython.Py_ssize_t = len(offsets) - 1
    sign: cython.int
    with cython.nogil:
        for record in range(len(actions)):
            size = cython.cast(cython.Py_ssize_t, starts[record + 1]) - starts[record]
            size -= cython.cast(cython.Py_ssize_t, tail_starts[actions[record] + 1]) - tail_starts[actions[record]]
            labels = -1
            sign = 1
            while place < end:
                number = order[place] if len(order) else place
                if _same(
                    wire,
                    starts[record],
                    size,
                    data,
                    offsets[number],
                    cython.cast(cython.Py_ssize_t, offsets[number + 1]) - offsets[number] - 1,
                ):
                    sign = 0
                    break
                if labels < 0:
                    labels = _labels(wire, starts[record], marks)
                sign = _compare(
                    wire,
                    starts[record],
                    marks,
                    labels,
                    data,
                    offsets[number],
                    marks[128:],
                    _labels(data, offsets[number], marks[128:]),
                )
                if sign < 0:
                    break
                added[new] = number
                new += 1
                place += 1
            if sign == 0:
                if wanted[number] != actions[record]:
                    removed[gone] = record
                    gone += 1
                    added[new] = number
                    new += 1
                place += 1
            else:
                removed[gone] = record
                gone += 1
    state[0] = place
    state[1] = new
    return gone
