"""All questions of DNS messages: their names in lower case and wire form, without compression, back to back.

For messages that decoded (see `dnsquestion`), of which few have more than one question; it can stop wherever there is
no more room, and go on from there.
"""

import cython

LONGEST = cython.declare(cython.int, 255)
HOPS = cython.declare(cython.int, 126)

# Items of `state`: where it is, and where the last name ended.
INDEX = cython.declare(cython.int, 0)
NUMBER = cython.declare(cython.int, 1)
AT = cython.declare(cython.int, 2)
BEHIND = cython.declare(cython.int, 3)


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _unfold_name(
    data: cython.const[cython.uchar][::1],
    begin: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    names: cython.uchar[::1],
    filled: cython.Py_ssize_t,
    state: cython.longlong[::1],
) -> cython.Py_ssize_t:
    """Octets of the name at `at`, put to `names[filled:]`; -1 when it is none. Where it ends is in `state`."""
    behind: cython.Py_ssize_t = -1
    size: cython.Py_ssize_t = 0
    hops: cython.int = 0
    length: cython.Py_ssize_t
    place: cython.Py_ssize_t
    octet: cython.uchar
    while at < end:
        length = data[at]
        at += 1
        if length >= 192:
            if at >= end or hops == HOPS:
                return -1
            hops += 1
            if behind < 0:
                behind = at + 1
            at = begin + ((length & 63) << 8 | data[at])
            continue
        if length > 63 or size + length + 1 > LONGEST or length > end - at:
            return -1
        names[filled + size] = cython.cast(cython.uchar, length)
        size += 1
        if length == 0:
            state[BEHIND] = at if behind < 0 else behind
            return size
        for place in range(length):
            octet = data[at + place]
            if 65 <= octet <= 90:
                octet += 32
            names[filled + size + place] = octet
        size += length
        at += length
    return -1


def unfold(
    data: cython.const[cython.uchar][::1],
    wire_at: cython.const[cython.uint][::1],
    wire_length: cython.const[cython.uint][::1],
    state: cython.longlong[::1],
    names: cython.uchar[::1],
    offsets: cython.uint[::1],
    owners: cython.uint[::1],
) -> int:
    """The next names: how many, of which name i is `names[offsets[i]:offsets[i + 1]]`, of message number `owners[i]`.

    `state`, four items, is zeroes at first, and says where to go on; 0 names are the end. There is to be room for one
    name of 255 octets at least. -1 when a message is none.
    """
    index: cython.Py_ssize_t = state[INDEX]
    number: cython.Py_ssize_t = state[NUMBER]
    at: cython.Py_ssize_t = state[AT]
    begin: cython.Py_ssize_t
    end: cython.Py_ssize_t
    questions: cython.Py_ssize_t
    size: cython.Py_ssize_t
    filled: cython.Py_ssize_t = 0
    count: cython.Py_ssize_t = 0
    good: cython.bint = True
    full: cython.bint = False
    with cython.nogil:
        offsets[0] = 0
        while index < len(wire_at) and good and not full:
            begin = wire_at[index]
            end = begin + wire_length[index]
            # A header alone has no questions, whatever it says.
            questions = (
                cython.cast(cython.Py_ssize_t, data[begin + 4]) << 8 | data[begin + 5] if end - begin > 12 else 0
            )
            if number == 0:
                at = begin + 12
            while number < questions:
                if count == len(owners) or filled + LONGEST > len(names):
                    full = True
                    break
                size = _unfold_name(data, begin, at, end, names, filled, state)
                if size < 0:
                    good = False
                    break
                at = state[BEHIND] + 4
                if at > end:
                    at = end
                filled += size
                owners[count] = cython.cast(cython.uint, index)
                count += 1
                offsets[count] = cython.cast(cython.uint, filled)
                number += 1
            if good and not full:
                index += 1
                number = 0
        state[INDEX] = index
        state[NUMBER] = number
        state[AT] = at
    return count if good else -1
