"""Reads zone transfers, a million records at a time: from the octets of a stream into columns of records.

A stream is DNS messages, each behind two octets of length. Owners are decompressed, in lower case and without the
zone's name; the target of a CNAME becomes the action that it says. What cannot be read is counted and left out where
the message goes on behind it, else the reading ends. All pointers must lead back, and a name may take a hundred of
them: without that bound a message of 64 KiB could cost as much as a thousand.
"""

import cython

RULE: int = 0
SOA: int = 1
APEX: int = 2
NO_POLICY: int = 3
LOCAL_DATA: int = 4
OTHER_TARGET: int = 5
TRIGGER: int = 6
"""the first of `triggers`; the others follow"""
OUT_OF_ZONE: int = 12
MALFORMED: int = 13
OTHER_CLASS: int = 14
KINDS: int = 16

# How a call of `read` ended.
HUNGRY: int = 0
"""the octets do not hold another whole message"""
FULL: int = 1
"""the columns may have no room for the next message: come again with empty ones"""
BROKEN: int = 2
"""the message at the position is not what it should be; `state[3]` says which fault it has"""

SHORT: int = 1
OTHER_ID: int = 2
NO_ANSWER: int = 3
TRUNCATED: int = 4
RCODE: int = 5
QUESTION: int = 6
CUT: int = 7
BAD_SOA: int = 8
BAD_TSIG: int = 9


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _skip(data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the name at `at` ends, -1 when it does not by `end`."""
    length: cython.Py_ssize_t
    while at < end:
        length = data[at]
        if length == 0:
            return at + 1
        if length >= 192:
            return at + 2 if at + 2 <= end else -1
        if length > 63:
            return -1
        at += 1 + length
    return -1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _copy_name(
    data: cython.const[cython.uchar][::1],
    begin: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    stop: cython.Py_ssize_t,
    out: cython.uchar[::1],
    to: cython.Py_ssize_t,
    marks: cython.longlong[::1],
) -> cython.Py_ssize_t:
    """Put the name at `at`, in lower case and with the root's octet, into `out`; returns its length, -1 if it is none.

    Where it comes to the octet `stop` it is taken for done. `marks` gets whether it did so, whether a pointer was
    followed, and where the last label begins.
    """
    size: cython.Py_ssize_t = 0
    limit: cython.Py_ssize_t = at
    length: cython.Py_ssize_t
    place: cython.Py_ssize_t
    last: cython.Py_ssize_t = 0
    hops: cython.int = 0
    octet: cython.uchar
    marks[0] = 0
    while at < end:
        if at == stop:
            marks[0] = 1
            break
        length = data[at]
        if length == 0:
            break
        if length >= 192:
            if at + 2 > end or hops == 100:
                return -1
            hops += 1
            at = begin + ((length & 63) << 8 | data[at + 1])
            if at >= limit:
                return -1
            limit = at
            continue
        if length > 63 or at + 1 + length >= end or size + 2 + length > 255:
            return -1
        last = size
        out[to + size] = length
        for place in range(1, length + 1):
            octet = data[at + place]
            if 65 <= octet <= 90:
                octet += 32
            out[to + size + place] = octet
        size += 1 + length
        at += 1 + length
    else:
        return -1
    out[to + size] = 0
    marks[1] = hops
    marks[2] = last
    return size + 1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _below(
    name: cython.uchar[::1],
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    apex: cython.const[cython.uchar][::1],
    marks: cython.longlong[::1],
) -> cython.Py_ssize_t:
    """How many octets of the name, which ends in the root, come before `apex`; -1 when it does not end so.

    `marks[2]` gets where the last label before it begins.
    """
    rest: cython.Py_ssize_t = size - len(apex)
    place: cython.Py_ssize_t = 0
    marks[2] = 0
    while place < rest:
        marks[2] = place
        place += 1 + name[at + place]
    if place != rest:
        return -1
    for place in range(len(apex)):
        if name[at + rest + place] != apex[place]:
            return -1
    return rest


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _trigger(
    name: cython.uchar[::1], at: cython.Py_ssize_t, triggers: cython.const[cython.uchar][::1]
) -> cython.Py_ssize_t:
    """Which of the labels `triggers` the one at `at` is, -1 for none."""
    place: cython.Py_ssize_t = 0
    number: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t
    while place < len(triggers):
        i = 0
        while i <= triggers[place] and triggers[place + i] == name[at + i]:
            i += 1
        if i > triggers[place]:
            return number
        number += 1
        place += 1 + triggers[place]
    return -1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _action(
    target: cython.uchar[::1],
    size: cython.Py_ssize_t,
    targets: cython.const[cython.uchar][::1],
    target_actions: cython.const[cython.uchar][::1],
) -> cython.int:
    """The action that the `target` says, 0 for none of `targets`."""
    place: cython.Py_ssize_t = 0
    next_: cython.Py_ssize_t
    number: cython.Py_ssize_t
    i: cython.Py_ssize_t
    for number in range(len(target_actions)):
        next_ = place
        while targets[next_] != 0:
            next_ += 1 + targets[next_]
        next_ += 1
        if next_ - place == size:
            i = 0
            while i < size and targets[place + i] == target[i]:
                i += 1
            if i == size:
                return target_actions[number]
        place = next_
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _layout(rdtype: cython.int) -> cython.int:
    """Of a type whose rdata may hold compressed names (RFC 3597 §4): 4 x the octets before them + how many; else 0."""
    if rdtype in (2, 3, 4, 5, 7, 8, 9, 12, 39):
        return 1
    if rdtype in (6, 14, 17):
        return 2
    if rdtype in (15, 18, 21, 36):
        return 9
    if rdtype == 26:
        return 10
    if rdtype == 33:
        return 25
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _copy_rdata(
    data: cython.const[cython.uchar][::1],
    begin: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    layout: cython.int,
    out: cython.uchar[::1],
    to: cython.Py_ssize_t,
    marks: cython.longlong[::1],
) -> cython.Py_ssize_t:
    """Put the rdata between `at` and `end` into `out`, its names decompressed; returns its length, -1 if it is none."""
    start: cython.Py_ssize_t = to
    fixed: cython.Py_ssize_t = at + (layout >> 2)
    size: cython.Py_ssize_t
    _number: cython.int
    if layout == 0:
        fixed = end
    if fixed > end:
        return -1
    while at < fixed:
        out[to] = data[at]
        to += 1
        at += 1
    for _number in range(layout & 3):
        size = _copy_name(data, begin, at, end, -1, out, to, marks)
        # A pointer leads back to before the rdata, where other names may go on up to its end, but not past it.
        if size < 0:
            return -1
        to += size
        at = _skip(data, at, end)
    while at < end:
        out[to] = data[at]
        to += 1
        at += 1
    return to - start


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _equal(
    left: cython.uchar[::1], right: cython.uchar[::1], at: cython.Py_ssize_t, size: cython.Py_ssize_t
) -> cython.bint:
    """Whether `size` octets at the beginning of `left` and at `at` in `right` are equal."""
    place: cython.Py_ssize_t = 0
    while place < size and left[place] == right[at + place]:
        place += 1
    return place == size


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _is_soa(rdata: cython.uchar[::1], at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.bint:
    """Whether these are two names, which end themselves, and twenty octets."""
    end: cython.Py_ssize_t = at + size - 20
    _number: cython.int
    if size < 22:
        return False
    for _number in range(2):
        while at < end and rdata[at] != 0:
            at += 1 + rdata[at]
        at += 1
    return at == end


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _is_no_policy(rdtype: cython.int) -> cython.bint:
    """Whether no policy is said by this type: delegations, and all that DNSSEC has put there."""
    return rdtype in (2, 39, 43, 46, 47, 48, 50, 51, 59, 60, 63)


def read(
    data: cython.const[cython.uchar][::1],
    start: cython.Py_ssize_t,
    apex: cython.const[cython.uchar][::1],
    targets: cython.const[cython.uchar][::1],
    target_actions: cython.const[cython.uchar][::1],
    triggers: cython.const[cython.uchar][::1],
    expected: cython.const[cython.longlong][::1],
    names: cython.uchar[::1],
    offsets: cython.uint[::1],
    kinds: cython.uchar[::1],
    actions: cython.uchar[::1],
    types: cython.ushort[::1],
    ttls: cython.uint[::1],
    rdata: cython.uchar[::1],
    rdata_offsets: cython.uint[::1],
    messages: cython.longlong[::1],
    counts: cython.longlong[::1],
    state: cython.longlong[::1],
    marks: cython.longlong[::1],
    scratch: cython.uchar[::1],
) -> int:
    """Read the whole messages from `start` on into the columns, which are filled from their beginning.

    `expected` is the ID, the type asked for, and whether what POP does not evaluate (LOCAL_DATA and what follows it) is
    put there, too, beside being counted. Rules have no rdata there. `messages` gets four numbers a message: where it
    begins, behind its length, where it ends, where its TSIG record is (0: none), and how many records are before it.
    `state` gets the position, the number of records and of messages, and the fault; a message with a fault leaves no
    records. It keeps how many records of any kind came since the last SOA, whose action is 1 if that is none.
    Returns HUNGRY, FULL or BROKEN.
    """
    at: cython.Py_ssize_t = start
    total: cython.Py_ssize_t = len(data)
    size: cython.Py_ssize_t
    row: cython.Py_ssize_t = 0
    message: cython.Py_ssize_t = 0
    others: cython.longlong = state[4]
    keep: cython.bint = expected[2] != 0
    room: cython.Py_ssize_t = len(kinds)
    begin: cython.Py_ssize_t
    end: cython.Py_ssize_t
    place: cython.Py_ssize_t
    fixed: cython.Py_ssize_t
    body: cython.Py_ssize_t
    next_: cython.Py_ssize_t
    apex_at: cython.Py_ssize_t
    length: cython.Py_ssize_t
    name_at: cython.Py_ssize_t
    rdata_at: cython.Py_ssize_t
    first_row: cython.Py_ssize_t
    number: cython.Py_ssize_t
    answers: cython.Py_ssize_t
    records: cython.Py_ssize_t
    tsig: cython.Py_ssize_t
    questions: cython.int
    rdtype: cython.int
    kind: cython.int
    action: cython.int
    fault: cython.int = 0
    result: cython.int = 0
    if room > len(offsets) - 1 or room > len(actions) or room > len(types) or room > len(ttls):
        raise ValueError("the columns are not of one length")
    if len(rdata_offsets) <= room or len(scratch) < 256:
        raise ValueError("the columns are not of one length")
    offsets[0] = 0
    rdata_offsets[0] = 0
    with cython.nogil:
        while True:
            if at + 2 > total:
                break
            begin = at + 2
            end = begin + (cython.cast(cython.Py_ssize_t, data[at]) << 8 | data[at + 1])
            if end > total:
                break
            length = end - begin
            if length < 12:
                fault = 1
                break
            answers = cython.cast(cython.Py_ssize_t, data[begin + 6]) << 8 | data[begin + 7]
            # No record has less than eleven octets, no name more than 255, no rdata more than two of them and what
            # lies in the message.
            number = min(answers, length // 11)
            if (
                4 * message + 4 > len(messages)
                or row + number > room
                or number * 256 + 256 > len(names) - cython.cast(cython.Py_ssize_t, offsets[row])
                or number * 512 + length + 512 > len(rdata) - cython.cast(cython.Py_ssize_t, rdata_offsets[row])
            ):
                result = 1
                break
            if (cython.cast(cython.Py_ssize_t, data[begin]) << 8 | data[begin + 1]) != expected[0]:
                fault = 2
                break
            if data[begin + 2] & 0xF8 != 0x80:
                fault = 3
                break
            if data[begin + 2] & 2:
                fault = 4
                break
            if data[begin + 3] & 15:
                fault = 5
                break
            questions = cython.cast(cython.int, data[begin + 4]) << 8 | data[begin + 5]
            place = begin + 12
            apex_at = -1
            if questions > 1:
                fault = 6
                break
            if questions == 1:
                next_ = _copy_name(data, begin, place, end, -1, scratch, 0, marks)
                if next_ != len(apex) or marks[1] or _below(scratch, 0, next_, apex, marks) != 0:
                    fault = 6
                    break
                apex_at = place
                place += next_
                if place + 4 > end:
                    fault = 7
                    break
                rdtype = cython.cast(cython.int, data[place]) << 8 | data[place + 1]
                if rdtype != expected[1] or data[place + 2] != 0 or data[place + 3] != 1:
                    fault = 6
                    break
                place += 4
            records = answers + (cython.cast(cython.Py_ssize_t, data[begin + 8]) << 8 | data[begin + 9])
            records += cython.cast(cython.Py_ssize_t, data[begin + 10]) << 8 | data[begin + 11]
            first_row = row
            tsig = 0
            for number in range(records):
                if tsig != 0:
                    fault = 9
                    break
                fixed = _skip(data, place, end)
                if fixed < 0 or fixed + 10 > end:
                    fault = 7
                    break
                body = fixed + 10
                next_ = body + (cython.cast(cython.Py_ssize_t, data[fixed + 8]) << 8 | data[fixed + 9])
                if next_ > end:
                    fault = 7
                    break
                rdtype = cython.cast(cython.int, data[fixed]) << 8 | data[fixed + 1]
                if rdtype == 250:
                    # Only the last record of a message may be its signature (RFC 8945 §5.1).
                    if number + 1 != records or (data[begin + 10] | data[begin + 11]) == 0:
                        fault = 9
                        break
                    tsig = place
                    place = next_
                    continue
                if number >= answers:
                    place = next_
                    continue
                others += 1
                if data[fixed + 2] != 0 or data[fixed + 3] != 1:
                    counts[14] += 1
                    place = next_
                    continue
                name_at = offsets[row]
                length = _copy_name(data, begin, place, end, apex_at, names, name_at, marks)
                if length > 0 and marks[0]:
                    length -= 1
                    if length + len(apex) > 255:
                        length = -1
                elif length > 0:
                    length = _below(names, name_at, length, apex, marks)
                    if length < 0:
                        counts[12] += 1
                        place = next_
                        continue
                    if apex_at < 0 and marks[1] == 0:
                        apex_at = place + length
                if length < 0 or (length > 0 and rdtype == 6):
                    counts[13] += 1
                    place = next_
                    continue
                names[name_at + length] = 0
                action = 0
                rdata_at = rdata_offsets[row]
                if length == 0:
                    kind = 1 if rdtype == 6 else 2
                else:
                    kind = 6 + cython.cast(cython.int, _trigger(names, name_at + marks[2], triggers))
                    if kind < 6:
                        kind = 3 if _is_no_policy(rdtype) else 4
                        if rdtype == 5:
                            kind = 0
                if rdtype == 5 and kind != 2:
                    # Most targets are the root, which needs no looking.
                    if next_ - body == 1 and data[body] == 0:
                        scratch[0] = 0
                        size = 1
                    else:
                        size = _copy_name(data, begin, body, next_, -1, scratch, 0, marks)
                        if size < 0 or _skip(data, body, next_) != next_:
                            counts[13] += 1
                            place = next_
                            continue
                    action = _action(scratch, size, targets, target_actions)
                    if action == 0 and size == length + 1 and _equal(scratch, names, name_at, size):
                        # The old way to say PASSTHRU (draft-vixie-dnsop-dns-rpz-00 §3.5): the trigger's own name.
                        action = 1
                    if action == 0 and kind == 0:
                        kind = 5
                if kind == 1 or (keep and kind > 3):
                    size = _copy_rdata(data, begin, body, next_, _layout(rdtype), rdata, rdata_at, marks)
                    if kind == 1 and not _is_soa(rdata, rdata_at, size):
                        fault = 8
                        break
                    if size < 0:
                        counts[13] += 1
                        place = next_
                        continue
                    rdata_at += size
                counts[kind] += 1
                if kind == 1:
                    action = 1 if others == 1 else 0
                    others = 0
                if kind <= 1 or (keep and kind > 3):
                    kinds[row] = kind
                    actions[row] = action
                    types[row] = rdtype
                    ttls[row] = (
                        cython.cast(cython.uint, data[fixed + 4]) << 24
                        | cython.cast(cython.uint, data[fixed + 5]) << 16
                        | cython.cast(cython.uint, data[fixed + 6]) << 8
                        | data[fixed + 7]
                    )
                    row += 1
                    offsets[row] = cython.cast(cython.uint, name_at + length + 1)
                    rdata_offsets[row] = cython.cast(cython.uint, rdata_at)
                place = next_
            if fault == 0 and place != end:
                fault = 7
            if fault != 0:
                row = first_row
                break
            messages[4 * message] = begin
            messages[4 * message + 1] = end
            messages[4 * message + 2] = tsig
            messages[4 * message + 3] = first_row
            message += 1
            at = end
    state[4] = others
    state[0] = at
    state[1] = row
    state[2] = message
    state[3] = fault
    return 2 if fault else result
