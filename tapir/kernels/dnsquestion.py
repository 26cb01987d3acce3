"""Reads the questions of DNS messages, a block at a time: the names, in lower case and as sent, and their hashes.

As the DNS library of the existing EDM reads them (edm.md §3.4): a message has twelve octets at least and every question
that it counts, of which the last may end before its class, or its type. One of twelve octets has no questions, however
many it counts. Names have at most 255 octets and follow 126 pointers at most, to wherever in the message.

Nothing outside of the message is read. Names may cost sixteen steps, labels or pointers, for each octet of the message:
a hostile one could otherwise keep us busy a hundred times as long as its size says.
"""

import cython

# Outcomes of a row; one that is not OK is not looked at.
OK = cython.declare(cython.int, 0)
UNPARSABLE = cython.declare(cython.int, 5)
NO_QUESTION = cython.declare(cython.int, 6)

# Columns of `numbers`, each as long as there are rows.
FLAGS = cython.declare(cython.int, 0)
RCODE = cython.declare(cython.int, 1)
QTYPE = cython.declare(cython.int, 2)
QCLASS = cython.declare(cython.int, 3)
QUESTIONS = cython.declare(cython.int, 4)
NUMBERS = cython.declare(cython.int, 8)

# Columns of `places`.
NAME_AT = cython.declare(cython.int, 0)
NAME_LENGTH = cython.declare(cython.int, 1)
SENT_AT = cython.declare(cython.int, 2)
BEHIND = cython.declare(cython.int, 3)
PLACES = cython.declare(cython.int, 4)


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

    `state[0]` are the steps that are left, `state[1]` gets its length.
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
    state[1] = size
    return at if behind < 0 else behind


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _copy(
    data: cython.const[cython.uchar][::1],
    begin: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
    out: cython.uchar[::1],
    to: cython.Py_ssize_t,
    lower: cython.bint,
) -> cython.int:
    """Put the name at `at`, which is good, into `out`; whether it has a letter in upper case."""
    length: cython.Py_ssize_t
    place: cython.Py_ssize_t
    octet: cython.uchar
    upper: cython.int = 0
    while True:
        length = data[at]
        if length >= 192:
            at = begin + ((length & 63) << 8 | data[at + 1])
            continue
        out[to] = length
        if length == 0:
            return upper
        for place in range(1, length + 1):
            octet = data[at + place]
            if 65 <= octet <= 90:
                upper = 1
                if lower:
                    octet += 32
            out[to + place] = octet
        at += length + 1
        to += length + 1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1, check=True)
def _hash(
    octets: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    first: cython.ulonglong,
    second: cython.ulonglong,
) -> cython.ulonglong:
    """SipHash-1-3 of `size` octets."""
    mask: cython.ulonglong = 0x7FFFFFFFFFFFFFFF
    a: cython.ulonglong = 0x736F6D6570736575
    b: cython.ulonglong = 0x646F72616E646F6D
    c: cython.ulonglong = 0x6C7967656E657261
    d: cython.ulonglong = 0x7465646279746573
    word: cython.ulonglong
    last: cython.ulonglong = size & 255
    place: cython.Py_ssize_t
    number: cython.Py_ssize_t
    rounds: cython.Py_ssize_t = (size >> 3) + 4
    mask = mask << 1 | 1
    a ^= first
    b ^= second
    c ^= first
    d ^= second
    last <<= 56
    for place in range(size & 7):
        word = octets[at + (size & -8) + place]
        last |= word << (8 * place)
    for number in range(rounds):
        word = 0
        if number < rounds - 4:
            for place in range(7, -1, -1):
                word = word << 8 | octets[at + place]
            at += 8
        elif number == rounds - 4:
            word = last
        elif number == rounds - 3:
            c ^= 255
        d ^= word
        a = (a + b) & mask
        b = (b << 13 | b >> 51) & mask
        b ^= a
        a = (a << 32 | a >> 32) & mask
        c = (c + d) & mask
        d = (d << 16 | d >> 48) & mask
        d ^= c
        a = (a + d) & mask
        d = (d << 21 | d >> 43) & mask
        d ^= a
        c = (c + b) & mask
        b = (b << 17 | b >> 47) & mask
        b ^= c
        c = (c << 32 | c >> 32) & mask
        a ^= word
    return a ^ b ^ c ^ d


def read(
    data: cython.const[cython.uchar][::1],
    wires_at: cython.const[cython.uint][::1],
    wires_length: cython.const[cython.uint][::1],
    secret: cython.const[cython.ulonglong][::1],
    outcomes: cython.uchar[::1],
    numbers: cython.ushort[::1],
    places: cython.uint[::1],
    hashes: cython.ulonglong[::1],
    names: cython.uchar[::1],
    state: cython.longlong[::1],
) -> int:
    """Read the messages, of which number i lies from `wires_at[i]` on, into the columns; returns how many octets of
    `names` are filled.

    `numbers` and `places` hold their columns one after the other. A row's `outcome` becomes UNPARSABLE or NO_QUESTION
    if it is so. The columns are of the first question; RCODE is that of the header, BEHIND where the questions end. The
    name in lower case lies in `names`, and behind it as it was sent if that differs: `names` needs 510 octets for each
    row that has one. Hashes are of the name in lower case, keyed with `secret`, two words. `state` is scratch, two.
    """
    count: cython.Py_ssize_t = len(wires_at)
    row: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    end: cython.Py_ssize_t
    at: cython.Py_ssize_t
    start: cython.Py_ssize_t
    size: cython.Py_ssize_t
    hashed: cython.Py_ssize_t
    to: cython.Py_ssize_t = 0
    questions: cython.int
    number: cython.int
    first: cython.ulonglong = secret[0]
    second: cython.ulonglong = secret[1]
    if len(numbers) < NUMBERS * count or len(places) < PLACES * count or len(hashes) < count:
        raise ValueError("the columns are shorter than the block")
    with cython.nogil:
        for row in range(count):
            if outcomes[row] != OK:
                continue
            begin = wires_at[row]
            end = begin + wires_length[row]
            if end - begin < 12:
                outcomes[row] = UNPARSABLE
                continue
            numbers[FLAGS * count + row] = _word(data, begin + 2)
            numbers[RCODE * count + row] = data[begin + 3] & 15
            at = begin + 12
            questions = 0 if at == end else _word(data, begin + 4)
            state[0] = 16 * (end - begin)
            for number in range(questions):
                start = at
                at = _walk(data, begin, start, end, state)
                if at < 0 or end - at == 1 or end - at == 3:
                    at = -1
                    break
                if number == 0:
                    size = state[1]
                    places[NAME_AT * count + row] = to
                    places[SENT_AT * count + row] = to
                    places[NAME_LENGTH * count + row] = size
                    hashed = to
                    if _copy(data, begin, start, names, to, True):
                        places[SENT_AT * count + row] = to + size
                        _copy(data, begin, start, names, to + size, False)
                        to += size
                    to += size
                    hashes[row] = _hash(names, hashed, size, first, second)
                    if end - at >= 2:
                        numbers[QTYPE * count + row] = _word(data, at)
                    if end - at >= 4:
                        numbers[QCLASS * count + row] = _word(data, at + 2)
                at = min(at + 4, end)
            if at < 0:
                outcomes[row] = UNPARSABLE
                continue
            if questions == 0:
                outcomes[row] = NO_QUESTION
            numbers[QUESTIONS * count + row] = questions
            places[BEHIND * count + row] = at
    return to


def hash_names(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    secret: cython.const[cython.ulonglong][::1],
    hashes: cython.ulonglong[::1],
) -> None:
    """The hashes that `read` gives to these names, which are in lower case."""
    index: cython.Py_ssize_t
    size: cython.Py_ssize_t
    first: cython.ulonglong = secret[0]
    second: cython.ulonglong = secret[1]
    with cython.nogil:
        for index in range(len(offsets) - 1):
            size = cython.cast(cython.Py_ssize_t, offsets[index + 1]) - offsets[index]
            hashes[index] = _hash(data, offsets[index], size, first, second)
