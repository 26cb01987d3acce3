"""Reads dnstap frames, a block at a time: from the octets of a Frame Stream into columns.

A frame is a protobuf message `Dnstap` (proto2, by dnstap.proto), decoded as the libraries do it: fields that are not
known, and known ones of another wire type, are passed over, the last of several wins, and a `message` that comes in
parts is put together. The enums that decide, the two `type`, are closed: a number that they do not have is passed over,
too. Family and protocol are taken as they come. The DNS message inside is not looked at here; see `dnsquestion`
and `dnsrecords`.

The octets are hostile: nothing is read outside of a frame, and groups nest no deeper than a hundred.
"""

import cython

# Where a row stands after this kernel.
OK = cython.declare(cython.int, 0)
MALFORMED = cython.declare(cython.int, 1)
"""no protobuf, or a type is missing"""
NO_MESSAGE = cython.declare(cython.int, 2)
QUERY = cython.declare(cython.int, 3)
NO_DNS = cython.declare(cython.int, 4)
"""no response_message, or an empty one"""

# Columns of `words`, each as long as there are frames: where the client's address begins in the block, and its length;
# the same of the server's; both ports; and the same again of the DNS message and of the identity.
WORDS = cython.declare(cython.int, 10)

# Columns of `octets`: outcome, type of the message, family, protocol, marks.
OCTETS = cython.declare(cython.int, 5)

# Bits of the marks.
NO_TIME = cython.declare(cython.int, 1)
"""no response_time_sec"""
ABSURD_TIME = cython.declare(cython.int, 2)
"""a response time that microseconds of 63 bits cannot say"""
NO_QUERY_PORT = cython.declare(cython.int, 4)
NO_RESPONSE_PORT = cython.declare(cython.int, 8)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _behind(data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where a varint ends that has begun before `at`; -1 when it does not by `end`, or has more than 64 bits."""
    number: cython.int
    for number in range(9):
        if at >= end:
            return -1
        if data[at] < 128:
            return -1 if number == 8 and data[at] > 1 else at + 1
        at += 1
    return -1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1, check=True)
def _varint(data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.ulonglong:
    """What the octets from `at` to `end` of a varint say."""
    value: cython.ulonglong = 0
    while end > at:
        end -= 1
        value = value << 7 | data[end] & 127
    return value


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1)
def _fixed32(data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t) -> cython.longlong:
    value: cython.longlong = data[at + 3]
    value = value << 8 | data[at + 2]
    value = value << 8 | data[at + 1]
    return value << 8 | data[at]


def decode(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    words: cython.uint[::1],
    octets: cython.uchar[::1],
    times: cython.longlong[::1],
    groups: cython.uint[::1],
) -> None:
    """Decode the frames, of which number i lies from `offsets[i] + 4` to `offsets[i + 1]`, into the columns.

    `words` and `octets` hold their columns one after the other, and are all zeros, as `times` is, which gets the
    microseconds since the epoch. A row that is not well formed keeps its zeros but for the outcome. `groups` is
    scratch, as many as groups may nest.
    """
    count: cython.Py_ssize_t = len(offsets) - 1
    row: cython.Py_ssize_t
    place: cython.Py_ssize_t
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    limit: cython.Py_ssize_t
    next_: cython.Py_ssize_t
    tag: cython.ulonglong
    value: cython.ulonglong = 0
    wire_type: cython.int
    field: cython.uint
    depth: cython.Py_ssize_t
    inside: cython.bint
    good: cython.bint
    typed: cython.bint
    present: cython.bint
    kind: cython.int
    family: cython.uint
    protocol: cython.uint
    marks: cython.int
    query_at: cython.Py_ssize_t
    query_length: cython.Py_ssize_t
    response_at: cython.Py_ssize_t
    response_length: cython.Py_ssize_t
    query_port: cython.uint
    response_port: cython.uint
    wire_at: cython.Py_ssize_t
    wire_length: cython.Py_ssize_t
    identity_at: cython.Py_ssize_t
    identity_length: cython.Py_ssize_t
    seconds: cython.ulonglong
    nanoseconds: cython.longlong
    most: cython.ulonglong = 0xFFFFFFFF
    last_second: cython.ulonglong = 9223372036849
    if len(words) < WORDS * count or len(octets) < OCTETS * count or len(times) < count:
        raise ValueError("the columns are shorter than the block")
    with cython.nogil:
        for row in range(count):
            at = cython.cast(cython.Py_ssize_t, offsets[row]) + 4
            end = offsets[row + 1]
            limit = end
            depth = 0
            inside = False
            good = True
            typed = False
            present = False
            kind = 0
            family = 0
            protocol = 0
            marks = NO_TIME | NO_QUERY_PORT | NO_RESPONSE_PORT
            query_at = 0
            query_length = 0
            response_at = 0
            response_length = 0
            query_port = 0
            response_port = 0
            wire_at = 0
            wire_length = 0
            identity_at = 0
            identity_length = 0
            seconds = 0
            nanoseconds = 0
            while True:
                if at >= limit:
                    if depth != 0:
                        good = False
                        break
                    if not inside:
                        break
                    inside = False
                    limit = end
                    continue
                tag = data[at]
                at += 1
                if tag > 127:
                    next_ = _behind(data, at, limit)
                    if next_ < 0:
                        good = False
                        break
                    tag = (tag & 127) | _varint(data, at, next_) << 7
                    at = next_
                if tag < 8 or tag > most:
                    good = False
                    break
                wire_type = tag & 7
                field = tag >> 3
                if wire_type == 0 or wire_type == 2:
                    if at >= limit:
                        good = False
                        break
                    value = data[at]
                    at += 1
                    if value > 127:
                        next_ = _behind(data, at, limit)
                        if next_ < 0:
                            good = False
                            break
                        value = (value & 127) | _varint(data, at, next_) << 7
                        at = next_
                if wire_type == 0:
                    if depth != 0:
                        continue
                    if not inside:
                        if field == 15 and value == 1:
                            typed = True
                    elif field == 12:
                        seconds = value
                        marks &= ~NO_TIME
                    elif field == 6:
                        query_port = value & most
                        marks &= ~NO_QUERY_PORT
                    elif field == 7:
                        response_port = value & most
                        marks &= ~NO_RESPONSE_PORT
                    elif field == 1:
                        value &= most
                        if 1 <= value <= 14:
                            kind = value
                    elif field == 2:
                        family = value & most
                    elif field == 3:
                        protocol = value & most
                elif wire_type == 2:
                    if value > cython.cast(cython.ulonglong, limit - at):
                        good = False
                        break
                    next_ = at + cython.cast(cython.Py_ssize_t, value)
                    if depth != 0:
                        at = next_
                        continue
                    if inside:
                        if field == 14:
                            wire_at = at
                            wire_length = next_ - at
                        elif field == 4:
                            query_at = at
                            query_length = next_ - at
                        elif field == 5:
                            response_at = at
                            response_length = next_ - at
                    elif field == 14:
                        present = True
                        inside = True
                        limit = next_
                        continue
                    elif field == 1:
                        identity_at = at
                        identity_length = next_ - at
                    at = next_
                elif wire_type == 5:
                    if limit - at < 4:
                        good = False
                        break
                    if inside and field == 13 and depth == 0:
                        nanoseconds = _fixed32(data, at)
                    at += 4
                elif wire_type == 1:
                    if limit - at < 8:
                        good = False
                        break
                    at += 8
                elif wire_type == 3:
                    if depth >= len(groups):
                        good = False
                        break
                    groups[depth] = field
                    depth += 1
                elif wire_type == 4 and depth != 0 and groups[depth - 1] == field:
                    depth -= 1
                else:
                    good = False
                    break
            if not good or not typed or (present and kind == 0):
                octets[row] = MALFORMED
                continue
            if not present:
                octets[row] = NO_MESSAGE
            elif kind & 1:
                octets[row] = QUERY
            elif wire_length == 0:
                octets[row] = NO_DNS
            # Column after column, in the order above.
            place = row
            words[place] = query_at
            place += count
            words[place] = query_length
            place += count
            words[place] = response_at
            place += count
            words[place] = response_length
            place += count
            words[place] = query_port
            place += count
            words[place] = response_port
            place += count
            words[place] = wire_at
            place += count
            words[place] = wire_length
            place += count
            words[place] = identity_at
            place += count
            words[place] = identity_length
            place = count + row
            octets[place] = kind
            place += count
            octets[place] = min(family, 255)
            place += count
            octets[place] = min(protocol, 255)
            place += count
            if marks & NO_TIME == 0:
                # Of 2^63 - 1 microseconds; the fraction may be more than a second, up to some four.
                if seconds > last_second:
                    marks |= ABSURD_TIME
                else:
                    times[row] = cython.cast(cython.longlong, seconds) * 1000000 + nanoseconds // 1000
            octets[place] = marks
