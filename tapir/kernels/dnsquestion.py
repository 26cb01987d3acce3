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

# Columns of `numbers`, each as long as there are rows: flags, response code, type, class, how many questions; and three
# that `dnsrecords` fills.
NUMBERS = cython.declare(cython.int, 8)

# Columns of `places`: where the name begins in `names`, its length, where it begins as it was sent, and where in the
# block the questions end.
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
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _copy(
    data: cython.const[cython.uchar][::1],
    begin: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
    out: cython.uchar[::1],
    to: cython.Py_ssize_t,
) -> cython.int:
    """Put the name at `at`, which is good, into `out` as it is."""
    length: cython.Py_ssize_t
    place: cython.Py_ssize_t
    while True:
        length = data[at]
        if length >= 192:
            at = begin + ((length & 63) << 8 | data[at + 1])
            continue
        for place in range(length + 1):
            out[to + place] = data[at + place]
        if length == 0:
            return 0
        at += length + 1
        to += length + 1


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _lower(
    data: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    out: cython.uchar[::1],
    to: cython.Py_ssize_t,
    secret: cython.const[cython.ulonglong][::1],
    hashes: cython.ulonglong[::1],
    row: cython.Py_ssize_t,
) -> cython.bint:
    """Put `size` octets into `out` in lower case, their SipHash-1-3 into `hashes[row]`; whether one was in upper case.

    Eight octets are looked at as one word: as lengths of labels are no letters, nobody has to know which ones they are.
    """
    mask: cython.ulonglong = 0x7FFFFFFFFFFFFFFF
    low: cython.ulonglong = 0x7F7F7F7F7F7F7F7F
    to_a: cython.ulonglong = 0x3F3F3F3F3F3F3F3F
    beyond_z: cython.ulonglong = 0x2525252525252525
    a: cython.ulonglong = 0x736F6D6570736575
    b: cython.ulonglong = 0x646F72616E646F6D
    c: cython.ulonglong = 0x6C7967656E657261
    d: cython.ulonglong = 0x7465646279746573
    length: cython.ulonglong = size & 255
    word: cython.ulonglong
    letters: cython.ulonglong
    upper: cython.ulonglong = 0
    place: cython.Py_ssize_t
    last: cython.int = 4
    mask = mask << 1 | 1
    a ^= secret[0]
    b ^= secret[1]
    c ^= secret[0]
    d ^= secret[1]
    while last != 0:
        # The words of the name; one of what is left and the length; and three of nothing.
        word = 0
        if last == 4:
            if size >= 8:
                for place in range(7, -1, -1):
                    word = word << 8 | data[at + place]
            else:
                for place in range(size - 1, -1, -1):
                    word = word << 8 | data[at + place]
            # The highest bit of each octet from A to Z (the sums do not spill over into the next).
            letters = word & low
            letters = ((letters + to_a) ^ (letters + beyond_z)) & (word ^ mask) & (low ^ mask)
            upper |= letters
            word |= letters >> 2
            if size >= 8:
                for place in range(8):
                    out[to + place] = word >> (8 * place) & 255
                at += 8
                to += 8
                size -= 8
            else:
                for place in range(size):
                    out[to + place] = word >> (8 * place) & 255
                word |= length << 56
                last = 3
        else:
            if last == 3:
                c ^= 255
            last -= 1
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
    hashes[row] = a ^ b ^ c ^ d
    return upper != 0


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

    `numbers` and `places` hold their columns one after the other. A row's `outcome` becomes UNPARSABLE, with columns of
    zeros, or NO_QUESTION if it is so. The columns are of the first question; the response code is the header's. The
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
    to: cython.Py_ssize_t = 0
    questions: cython.int
    number: cython.int
    upper: cython.bint
    place: cython.Py_ssize_t
    name_at: cython.Py_ssize_t
    sent_at: cython.Py_ssize_t
    qtype: cython.int
    qclass: cython.int
    if len(secret) != 2:
        raise ValueError("the key of the hashes is not of two words")
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
            at = begin + 12
            questions = 0 if at == end else _word(data, begin + 4)
            state[0] = 16 * (end - begin)
            size = 0
            name_at = to
            sent_at = to
            qtype = 0
            qclass = 0
            for number in range(questions):
                start = at
                at = _walk(data, begin, start, end, state)
                if at < 0 or end - at == 1 or end - at == 3:
                    at = -1
                    break
                if number == 0:
                    size = state[1]
                    if at - start == size:
                        upper = _lower(data, start, size, names, to, secret, hashes, row)
                    else:
                        _copy(data, begin, start, names, to + size)
                        upper = _lower(names, to + size, size, names, to, secret, hashes, row)
                    to += size
                    if upper:
                        _copy(data, begin, start, names, to)
                        sent_at = to
                        to += size
                    if end - at >= 2:
                        qtype = _word(data, at)
                    if end - at >= 4:
                        qclass = _word(data, at + 2)
                at = min(at + 4, end)
            if at < 0:
                outcomes[row] = UNPARSABLE
                to = name_at
                continue
            if questions == 0:
                outcomes[row] = NO_QUESTION
            # Column after column, in the order above.
            place = row
            numbers[place] = _word(data, begin + 2)
            place += count
            numbers[place] = data[begin + 3] & 15
            place += count
            numbers[place] = qtype
            place += count
            numbers[place] = qclass
            place += count
            numbers[place] = questions
            place = row
            places[place] = name_at
            place += count
            places[place] = size
            place += count
            places[place] = sent_at
            place += count
            places[place] = at
    return to


def hash_names(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    secret: cython.const[cython.ulonglong][::1],
    out: cython.uchar[::1],
    hashes: cython.ulonglong[::1],
) -> None:
    """The hashes that `read` gives to these names, which become lower case first; `out` is scratch, 255 octets."""
    row: cython.Py_ssize_t
    at: cython.Py_ssize_t
    with cython.nogil:
        for row in range(len(offsets) - 1):
            at = offsets[row]
            _lower(data, at, offsets[row + 1] - at, out, 0, secret, hashes, row)
