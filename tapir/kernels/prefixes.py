"""Addresses in columns: cut out of frames, in one form, their prefixes for Crypto-PAn, and whether a list covers them.

A column has 16 octets and a size each; an IPv4 address stands in the first four. In the canonical form IPv4 is mapped
into IPv6 (::ffff:a.b.c.d), and the size says what it was.
"""

import cython


def gather(
    data: cython.const[cython.uchar][::1],
    starts: cython.const[cython.uint][::1],
    lengths: cython.const[cython.uint][::1],
    octets: cython.uchar[::1],
    sizes: cython.uchar[::1],
) -> None:
    """Copy the addresses that lie in `data` into a column; what is longer than 16 octets comes without any, as 255."""
    index: cython.Py_ssize_t
    place: cython.Py_ssize_t
    start: cython.Py_ssize_t
    size: cython.Py_ssize_t
    with cython.nogil:
        for index in range(len(starts)):
            start = starts[index]
            size = lengths[index]
            if size > 16:
                size = 0
                sizes[index] = 255
            else:
                sizes[index] = cython.cast(cython.uchar, size)
            for place in range(size):
                octets[16 * index + place] = data[start + place]
            for place in range(size, 16):
                octets[16 * index + place] = 0


def canonical(
    octets: cython.const[cython.uchar][::1],
    sizes: cython.const[cython.uchar][::1],
    out: cython.uchar[::1],
    out_sizes: cython.uchar[::1],
) -> int:
    """Each address in canonical form, and of size 4 or 16 as it is IPv4, mapped or not, or IPv6.

    What has another size keeps that, and comes as zeroes. Returns how many there are of those, the empty ones not
    counted.
    """
    index: cython.Py_ssize_t
    place: cython.Py_ssize_t
    at: cython.Py_ssize_t
    odd: cython.Py_ssize_t = 0
    with cython.nogil:
        for index in range(len(sizes)):
            at = 16 * index
            out_sizes[index] = sizes[index]
            if sizes[index] == 16:
                for place in range(16):
                    out[at + place] = octets[at + place]
                place = 0
                while place < 10 and octets[at + place] == 0:
                    place += 1
                if place == 10 and octets[at + 10] == 0xFF and octets[at + 11] == 0xFF:
                    out_sizes[index] = 4
                continue
            for place in range(16):
                out[at + place] = 0
            if sizes[index] == 4:
                out[at + 10] = 0xFF
                out[at + 11] = 0xFF
                for place in range(4):
                    out[at + 12 + place] = octets[at + place]
            elif sizes[index]:
                odd += 1
    return odd


def spread(
    words: cython.const[cython.ulonglong][::1],
    masks: cython.const[cython.ulonglong][::1],
    pads: cython.const[cython.ulonglong][::1],
    out: cython.ulonglong[::1],
) -> None:
    """Every prefix of every address, the rest of each filled from the pad: what Crypto-PAn encrypts.

    An address is two words, and so is each of `masks` and of `pads`, one a length of prefix; all lie as the octets do.
    """
    index: cython.Py_ssize_t
    bit: cython.Py_ssize_t
    at: cython.Py_ssize_t = 0
    first: cython.ulonglong
    second: cython.ulonglong
    with cython.nogil:
        if len(out) < len(masks) * (len(words) // 2) or len(pads) != len(masks):
            with cython.gil:
                raise IndexError("no room for all prefixes")
        for index in range(len(words) // 2):
            first = words[2 * index]
            second = words[2 * index + 1]
            for bit in range(0, len(masks) - 1, 2):
                out[at] = (first & masks[bit]) | pads[bit]
                out[at + 1] = (second & masks[bit + 1]) | pads[bit + 1]
                at += 2


def fold(
    blocks: cython.const[cython.uchar][::1],
    octets: cython.const[cython.uchar][::1],
    out: cython.uchar[::1],
) -> None:
    """Flip each bit of `octets` whose block, 16 octets, begins with a bit set."""
    index: cython.Py_ssize_t
    bit: cython.Py_ssize_t
    flips: cython.uint
    with cython.nogil:
        for index in range(len(octets)):
            flips = 0
            for bit in range(8):
                flips = (flips << 1) | (blocks[16 * (8 * index + bit)] >> 7)
            out[index] = cython.cast(cython.uchar, octets[index] ^ flips)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1, check=True)
def _number(octets: cython.const[cython.uchar][::1], at: cython.Py_ssize_t) -> cython.ulonglong:
    """Eight octets, the first of them the highest."""
    value: cython.ulonglong = 0
    place: cython.Py_ssize_t
    for place in range(8):
        value = (value << 8) | octets[at + place]
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _within(high: cython.ulonglong, low: cython.ulonglong, bounds: cython.const[cython.ulonglong][::1]) -> cython.int:
    """Whether a number of two words lies in one of `bounds`: first and last of each, in order, none overlapping."""
    left: cython.Py_ssize_t = 0
    right: cython.Py_ssize_t = len(bounds) // 4
    middle: cython.Py_ssize_t
    at: cython.Py_ssize_t
    while left < right:  # the first that ends at or after the number
        middle = (left + right) >> 1
        at = 4 * middle + 2
        if bounds[at] < high or (bounds[at] == high and bounds[at + 1] < low):
            left = middle + 1
        else:
            right = middle
    if left == len(bounds) // 4:
        return 0
    at = 4 * left
    return bounds[at] < high or (bounds[at] == high and bounds[at + 1] <= low)


def covered(
    octets: cython.const[cython.uchar][::1],
    sizes: cython.const[cython.uchar][::1],
    short: cython.const[cython.ulonglong][::1],
    long: cython.const[cython.ulonglong][::1],
    out: cython.uchar[::1],
) -> None:
    """For each address of a column 1 if `short` (IPv4, mapped) or `long` (IPv6) covers it, else 0; 2 for no address.

    What is IPv4 mapped into IPv6 is looked for in both.
    """
    index: cython.Py_ssize_t
    at: cython.Py_ssize_t
    high: cython.ulonglong
    low: cython.ulonglong
    mapped: cython.ulonglong = 0xFFFF00000000
    found: cython.int
    with cython.nogil:
        for index in range(len(sizes)):
            at = 16 * index
            if sizes[index] == 4:
                found = _within(0, mapped | (_number(octets, at) >> 32), short)
            elif sizes[index] == 16:
                high = _number(octets, at)
                low = _number(octets, at + 8)
                found = _within(high, low, long)
                if not found and high == 0 and (low >> 32) == 0xFFFF:
                    found = _within(high, low, short)
            else:
                found = 2
            out[index] = cython.cast(cython.uchar, found)
