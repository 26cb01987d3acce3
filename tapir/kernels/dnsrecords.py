"""Checks the records of DNS messages, a block at a time: are they well formed, and how many are there.

As the DNS library of the existing EDM does (edm.md §3.4): any record that is malformed spoils the message. Its rdata is
as long as it says, and made of what its type is made of; it may be empty, or end between any two fields. Counts beyond
the data are tolerated where the data ends between two records, and so is what comes behind the last. For names, see
`dnsquestion`; they may lead to wherever before the end of their record.
"""

import cython

# Outcomes of a row; others are not looked at. A bit of its marks.
OK = cython.declare(cython.int, 0)
UNPARSABLE = cython.declare(cython.int, 5)
NO_QUESTION = cython.declare(cython.int, 6)
CLIENT_SUBNET = cython.declare(cython.int, 16)

# Columns of `numbers`, each as long as there are rows.
RCODE = cython.declare(cython.int, 1)
ANSWERS = cython.declare(cython.int, 5)
NUMBERS = cython.declare(cython.int, 8)

# What rdata is made of, in `layouts`, as tapir/codec/rdata.py has it; 1 to 16 are so many octets, 0 is the end.
NAME = cython.declare(cython.int, 32)
STRING = cython.declare(cython.int, 33)
STRINGS = cython.declare(cython.int, 34)
REST = cython.declare(cython.int, 35)
BITMAP = cython.declare(cython.int, 36)
OPTIONS = cython.declare(cython.int, 37)
PARAMETERS = cython.declare(cython.int, 38)
PREFIXES = cython.declare(cython.int, 39)
GATEWAY = cython.declare(cython.int, 40)
COUNTED = cython.declare(cython.int, 41)
COUNTED_LONG = cython.declare(cython.int, 42)
HOST_IDENTITY = cython.declare(cython.int, 43)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _word(data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t) -> cython.int:
    return cython.cast(cython.int, data[at]) << 8 | data[at + 1]


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _walk(
    data: cython.const[cython.uchar][::1],
    begin: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    state: cython.longlong[::1],
) -> cython.Py_ssize_t:
    """Where the name at `at` ends, not counting what it points to; -1 when it is none.

    `state[0]` are the steps that are left.
    """
    behind: cython.Py_ssize_t = -1
    size: cython.Py_ssize_t = 1
    hops: cython.int = 0
    length: cython.Py_ssize_t
    steps: cython.longlong = state[0]
    while True:
        if at >= end or steps == 0:
            return -1
        steps -= 1
        length = data[at]
        at += 1
        if length == 0:
            break
        if length < 64:
            size += length + 1
            if size > 255 or length > end - at:
                return -1
            at += length
        elif length >= 192:
            if at >= end or hops == 126:
                return -1
            hops += 1
            if behind < 0:
                behind = at + 1
            at = begin + ((length & 63) << 8 | data[at])
        else:
            return -1
    state[0] = steps
    return at if behind < 0 else behind


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _are_options(
    data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t, state: cython.longlong[::1]
) -> cython.bint:
    """Whether these are EDNS options, each as its code wants it."""
    code: cython.int
    size: cython.Py_ssize_t
    widest: cython.int
    while at < end:
        if end - at < 4:
            return False
        code = _word(data, at)
        size = _word(data, at + 2)
        at += 4
        if size > end - at:
            return False
        # LLQ, Update Lease, EXPIRE, TCP Keepalive, Extended Error, Zone Version
        if (
            (code == 1 and size < 18)
            or (code == 2 and size != 4 and size != 8)
            or (code == 9 and 0 < size < 4)
            or (code == 11 and size != 0 and size != 2)
            or ((code == 15 or code == 19) and size < 2)
        ):
            return False
        if code == 8:  # Client Subnet (RFC 7871)
            if size < 4:
                return False
            state[4] = 1
            widest = _word(data, at)
            if widest > 2 or (widest == 0 and data[at + 2] != 0):
                return False
            widest = 32 if widest == 1 else 128
            if _word(data, at) != 0 and (data[at + 2] > widest or data[at + 3] > widest):
                return False
        elif code == 18 and _walk(data, at, at, at + size, state) < 0:  # Report-Channel: pointers stay within it
            return False
        at += size
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _are_parameters(
    data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.bint:
    """Whether these are SvcParams (RFC 9460 §2.2), each as its key wants it."""
    previous: cython.int = -1
    key: cython.int
    size: cython.Py_ssize_t
    place: cython.Py_ssize_t
    number: cython.int
    while at < end:
        if end - at < 4:
            return False
        key = _word(data, at)
        size = _word(data, at + 2)
        at += 4
        if size > end - at or key <= previous or key == 65535:
            return False
        previous = key
        # mandatory, no-default-alpn and ohttp, port, ipv4hint, ipv6hint
        if (
            (key == 0 and size & 1)
            or ((key == 2 or key == 8) and size != 0)
            or (key == 3 and size != 2)
            or (key == 4 and (size == 0 or size & 3))
            or (key == 6 and (size == 0 or size & 15))
        ):
            return False
        if key == 1:  # alpn
            place = at
            while place < at + size:
                place += 1 + cython.cast(cython.Py_ssize_t, data[place])
            if place != at + size:
                return False
        elif key == 6:  # holds no IPv4 address
            for place in range(at, at + size, 16):
                number = 0
                while number < 12 and data[place + number] == (255 if number > 9 else 0):
                    number += 1
                if number == 12:
                    return False
        at += size
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _are_prefixes(data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
    """Whether these are address prefixes (RFC 3123 §4)."""
    width: cython.int
    size: cython.int
    while at < end:
        if end - at < 4:
            return False
        width = _word(data, at)
        if width != 1 and width != 2:
            return False
        width = 4 if width == 1 else 16
        size = data[at + 3] & 127
        if data[at + 2] > 8 * width or size > width or size > end - at - 4:
            return False
        at += 4 + size
        if size != 0 and data[at - 1] == 0:
            return False
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _is_bitmap(data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
    """Whether these are the blocks of a type bitmap (RFC 4034 §4.1.2)."""
    window: cython.int = -1
    size: cython.int
    while at < end:
        if end - at < 2 or data[at] <= window:
            return False
        window = data[at]
        size = data[at + 1]
        at += 2
        if not 1 <= size <= 32 or size > end - at:
            return False
        at += size
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _is_rdata(
    data: cython.const[cython.uchar][::1],
    begin: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    layouts: cython.const[cython.uchar][::1],
    field: cython.Py_ssize_t,
    state: cython.longlong[::1],
) -> cython.bint:
    """Whether the octets from `at` to `end`, which are some, are made of the fields from `field` on in `layouts`."""
    start: cython.Py_ssize_t = at
    kind: cython.int
    size: cython.Py_ssize_t
    while True:
        kind = layouts[field]
        field += 1
        size = kind
        if kind == 0:
            return at == end
        if kind == NAME:
            at = _walk(data, begin, at, end, state)
            if at < 0:
                return False
            size = 0
        elif kind == STRING:
            size = 1 + cython.cast(cython.Py_ssize_t, data[at])
        elif kind == STRINGS:
            while at < end:
                at += 1 + cython.cast(cython.Py_ssize_t, data[at])
            return at == end
        elif kind == REST:
            return True
        elif kind == BITMAP:
            return _is_bitmap(data, at, end)
        elif kind == OPTIONS:
            return _are_options(data, at, end, state)
        elif kind == PARAMETERS:
            return _are_parameters(data, at, end)
        elif kind == PREFIXES:
            return _are_prefixes(data, at, end)
        elif kind == GATEWAY:
            size = 0
            if data[start + 1] == 1:
                size = 4
            elif data[start + 1] == 2:
                size = 16
            elif data[start + 1] == 3:
                at = _walk(data, begin, at, end, state)
                if at < 0:
                    return False
        elif kind == COUNTED:
            size = data[at - 1]
        elif kind == COUNTED_LONG:
            size = _word(data, at - 2)
        elif kind == HOST_IDENTITY:
            at += cython.cast(cython.Py_ssize_t, data[start]) + _word(data, start + 2)
            if at > end:
                return False
            while at < end:
                at = _walk(data, begin, at, end, state)
                if at < 0:
                    return False
            return True
        if size > end - at:
            return False
        at += size
        # Fields that end with the data may be the last, but for those that are counted.
        if at == end and kind != COUNTED and kind != COUNTED_LONG:
            return True


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _records(
    data: cython.const[cython.uchar][::1],
    begin: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    count: cython.int,
    starts: cython.const[cython.ushort][::1],
    layouts: cython.const[cython.uchar][::1],
    state: cython.longlong[::1],
) -> cython.Py_ssize_t:
    """Where `count` records from `at` on end, -1 when one is malformed.

    `state[1]` gets how many there are, `state[2]` the upper eight bits of the response code of the last OPT.
    """
    number: cython.int
    rdtype: cython.int
    size: cython.Py_ssize_t
    field: cython.Py_ssize_t
    behind: cython.Py_ssize_t
    state[1] = count
    state[2] = 0
    for number in range(count):
        if at == end:
            state[1] = number
            break
        # Most owners are the name of the first question, which was found good.
        if end - at > 1 and data[at] == 192 and data[at + 1] == 12 and state[3] != 0:
            at += 2
        else:
            at = _walk(data, begin, at, end, state)
        if at < 0 or end - at < 10:
            return -1
        rdtype = _word(data, at)
        size = _word(data, at + 8)
        if rdtype == 41:
            state[2] = data[at + 4]
        at += 10
        behind = at + size
        if behind > end:
            return -1
        if size != 0:
            if rdtype == 32768 or rdtype == 32769:
                rdtype = 43  # TA and DLV, which look like DS
            field = starts[rdtype] if rdtype < len(starts) else 0
            if field != 0 and not _is_rdata(data, begin, at, behind, layouts, field, state):
                return -1
        at = behind
    return at


def check(
    data: cython.const[cython.uchar][::1],
    wires_at: cython.const[cython.uint][::1],
    wires_length: cython.const[cython.uint][::1],
    behind: cython.const[cython.uint][::1],
    starts: cython.const[cython.ushort][::1],
    layouts: cython.const[cython.uchar][::1],
    outcomes: cython.uchar[::1],
    marks: cython.uchar[::1],
    numbers: cython.ushort[::1],
    state: cython.longlong[::1],
) -> None:
    """Check the messages whose questions were read, of which number i has its records from `behind[i]` on.

    The fields of type t's rdata are in `layouts` from `starts[t]` on; 0 is for a type of which nothing is known.
    Of `numbers`, which holds its columns one after the other, RCODE is extended, and the three from ANSWERS on are
    filled. A row's `outcome` becomes UNPARSABLE if it is so, and its `marks` get CLIENT_SUBNET if an OPT record has
    that option. `state` is scratch, five words.
    """
    count: cython.Py_ssize_t = len(wires_at)
    row: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    end: cython.Py_ssize_t
    at: cython.Py_ssize_t
    section: cython.int
    records: cython.int
    if len(wires_length) < count or len(outcomes) < count or len(numbers) < NUMBERS * count:
        raise ValueError("the columns are shorter than the block")
    with cython.nogil:
        for row in range(count):
            if outcomes[row] != OK and outcomes[row] != NO_QUESTION:
                continue
            begin = wires_at[row]
            end = begin + wires_length[row]
            at = behind[row]
            state[0] = 16 * (end - begin)
            state[3] = outcomes[row] == OK
            state[4] = 0
            for section in range(3):
                records = _word(data, begin + 6 + 2 * section)
                if records == 0 or at == end:
                    continue
                at = _records(data, begin, at, end, records, starts, layouts, state)
                if at < 0:
                    outcomes[row] = UNPARSABLE
                    break
                numbers[(ANSWERS + section) * count + row] = cython.cast(cython.int, state[1])
                if section == 2:
                    numbers[RCODE * count + row] |= cython.cast(cython.int, state[2]) << 4
            if state[4] != 0:
                marks[row] |= CLIENT_SUBNET
