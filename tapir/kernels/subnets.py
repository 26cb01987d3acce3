"""Blanks what a DNS message tells of the client in EDNS options (RFC 7871), in place: their addresses become zeroes.

For messages that were checked, so names are passed over and not followed. Whatever is there, nothing outside a message
is read or written.
"""

import cython

OPT = cython.declare(cython.int, 41)
CLIENT_SUBNET = cython.declare(cython.int, 8)
# Octets of the option before its address: family and the two lengths.
FIXED = cython.declare(cython.int, 4)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _word(data: cython.uchar[::1], at: cython.Py_ssize_t) -> cython.int:
    return cython.cast(cython.int, data[at]) << 8 | data[at + 1]


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _behind(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the name at `at` ends, at its zero or its first pointer; -1 when that is not before `end`."""
    length: cython.Py_ssize_t
    while at < end:
        length = data[at]
        if length >= 192:
            return at + 2 if at + 2 <= end else -1
        if length == 0:
            return at + 1
        if length > 63:
            return -1
        at += 1 + length
    return -1


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _blank_options(data: cython.uchar[::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    code: cython.int
    size: cython.Py_ssize_t
    place: cython.Py_ssize_t
    while at + 4 <= end:
        code = _word(data, at)
        size = _word(data, at + 2)
        at += 4
        if size > end - at:
            size = end - at
        if code == CLIENT_SUBNET:
            for place in range(at + FIXED, at + size):
                data[place] = 0
        at += size
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _blank_message(data: cython.uchar[::1], begin: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    """1 when all of the message was gone through, 0 when it is none."""
    at: cython.Py_ssize_t = begin + 12
    _number: cython.Py_ssize_t
    records: cython.Py_ssize_t
    size: cython.Py_ssize_t
    rdtype: cython.int
    if at > end:
        return 0
    if at == end:
        return 1
    for _number in range(_word(data, begin + 4)):
        at = _behind(data, at, end)
        if at < 0:
            return 0
        at = at + 4 if at + 4 < end else end  # the last question may lack what it asks for
    records = _word(data, begin + 6)
    records += _word(data, begin + 8)
    records += _word(data, begin + 10)
    for _number in range(records):
        if at == end:
            return 1  # records that are not there are not missed
        at = _behind(data, at, end)
        if at < 0 or end - at < 10:
            return 0
        rdtype = _word(data, at)
        size = _word(data, at + 8)
        at += 10
        if size > end - at:
            return 0
        if rdtype == OPT:
            _blank_options(data, at, at + size)
        at += size
    return 1


def blank(
    data: cython.uchar[::1],
    wire_at: cython.const[cython.uint][::1],
    wire_length: cython.const[cython.uint][::1],
) -> int:
    """Blank the messages that lie at these places of `data`; returns how many were gone through.

    It ends before the first that is no message, which may be blanked in part. Raises IndexError, and does nothing, for
    one that does not lie in `data`.
    """
    index: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    end: cython.Py_ssize_t
    for index in range(len(wire_at)):
        begin = wire_at[index]
        if begin + cython.cast(cython.Py_ssize_t, wire_length[index]) > len(data):
            raise IndexError("a message does not lie in the data")
    with cython.nogil:
        for index in range(len(wire_at)):
            begin = wire_at[index]
            end = begin + wire_length[index]
            if _blank_message(data, begin, end) == 0:
                break
        else:
            index = len(wire_at)
    return index
