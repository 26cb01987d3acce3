"""MurmurHash3 x64-128, first half, seed 0: what a client's address counts as in a sketch (after Austin Appleby).

The seed is fixed, so that sketches of different edges can be merged: strangers can choose what an address hashes to.
Nothing here keeps a hash table in order; tables that hold these hashes hash them again, with a key.
"""

import cython


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _mix(value: cython.ulonglong) -> cython.ulonglong:
    all_ones: cython.ulonglong = 0xFFFFFFFF
    all_ones |= all_ones << 32
    first: cython.ulonglong = 0xFF51AFD7
    first_low: cython.ulonglong = 0xED558CCD
    second: cython.ulonglong = 0xC4CEB9FE
    second_low: cython.ulonglong = 0x1A85EC53
    value ^= value >> 33
    value = (value * ((first << 32) | first_low)) & all_ones
    value ^= value >> 33
    value = (value * ((second << 32) | second_low)) & all_ones
    return value ^ (value >> 33)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _turn(value: cython.ulonglong, left: cython.int, all_ones: cython.ulonglong) -> cython.ulonglong:
    return ((value << left) | (value >> (64 - left))) & all_ones


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-1, check=True)
def _word(data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.ulonglong:
    """`size` octets, at most 8, the first of them the lowest."""
    value: cython.ulonglong = 0
    place: cython.Py_ssize_t
    for place in range(size):
        value |= cython.cast(cython.ulonglong, data[at + place]) << (8 * place)
    return value


@cython.cfunc
@cython.nogil
@cython.exceptval(-1, check=True)
def _hash(data: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.ulonglong:
    """The first half of the hash of the `size` octets from `at`."""
    all_ones: cython.ulonglong = 0xFFFFFFFF
    all_ones |= all_ones << 32
    c1: cython.ulonglong = 0x87C37B91
    c2: cython.ulonglong = 0x4CF5AD432745937F
    c3: cython.ulonglong = 0x52DCE729
    c4: cython.ulonglong = 0x38495AB5
    c1_low: cython.ulonglong = 0x114253D5
    c1 = (c1 << 32) | c1_low
    h1: cython.ulonglong = 0
    h2: cython.ulonglong = 0
    k1: cython.ulonglong
    k2: cython.ulonglong
    left: cython.Py_ssize_t = size
    while left >= 16:
        k1 = (_word(data, at, 8) * c1) & all_ones
        h1 ^= (_turn(k1, 31, all_ones) * c2) & all_ones
        h1 = (_turn(h1, 27, all_ones) + h2) & all_ones
        h1 = (h1 * 5 + c3) & all_ones
        k2 = (_word(data, at + 8, 8) * c2) & all_ones
        h2 ^= (_turn(k2, 33, all_ones) * c1) & all_ones
        h2 = (_turn(h2, 31, all_ones) + h1) & all_ones
        h2 = (h2 * 5 + c4) & all_ones
        at += 16
        left -= 16
    if left > 8:
        k2 = (_word(data, at + 8, left - 8) * c2) & all_ones
        h2 ^= (_turn(k2, 33, all_ones) * c1) & all_ones
        left = 8
    if left > 0:
        k1 = (_word(data, at, left) * c1) & all_ones
        h1 ^= (_turn(k1, 31, all_ones) * c2) & all_ones
    h1 ^= cython.cast(cython.ulonglong, size)
    h2 ^= cython.cast(cython.ulonglong, size)
    h1 = (h1 + h2) & all_ones
    h2 = (h2 + h1) & all_ones
    return (_mix(h1) + _mix(h2)) & all_ones


def hashes(
    data: cython.const[cython.uchar][::1],
    starts: cython.const[cython.uint][::1],
    sizes: cython.const[cython.uchar][::1],
    out: cython.ulonglong[::1],
) -> None:
    """The hash of each run of octets: `sizes[i]` of them from `starts[i]` on. Raises IndexError past the data."""
    index: cython.Py_ssize_t
    with cython.nogil:
        for index in range(len(starts)):
            out[index] = _hash(data, starts[index], sizes[index])


def clients(
    octets: cython.const[cython.uchar][::1],
    sizes: cython.const[cython.uchar][::1],
    out: cython.ulonglong[::1],
    families: cython.uchar[::1],
) -> None:
    """What each client counts as: its hash into `out`, and into `families` 4 or 6, or 0 for what is no address.

    `octets` has 16 for each. An IPv4 address mapped into IPv6 is of family 4, but hashes as its 16 octets.
    """
    index: cython.Py_ssize_t
    at: cython.Py_ssize_t
    place: cython.Py_ssize_t
    with cython.nogil:
        for index in range(len(sizes)):
            at = 16 * index
            if sizes[index] == 4:
                families[index] = 4
            elif sizes[index] == 16:
                place = 0
                while place < 10 and octets[at + place] == 0:
                    place += 1
                families[index] = 4 if place == 10 and octets[at + 10] == 0xFF and octets[at + 11] == 0xFF else 6
            else:
                families[index] = 0
                out[index] = 0
                continue
            out[index] = _hash(octets, at, sizes[index])
