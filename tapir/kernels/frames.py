"""Cuts the octets of a Frame Stream at the ends of its data frames, a buffer at a time.

A data frame is four octets of length, big-endian, and as many octets. A length of 0 is none: it announces a control
frame, which is for the caller to read. Nothing is copied, and no frame becomes an object.
"""

from typing import Final

import cython

# Why the cutting ended, as the second figure of `cut` says it.
PARTIAL: Final = 0
"""the frame at the position is not all there, or none is"""
CONTROL: Final = 1
"""a control frame is at the position"""
TOO_LONG: Final = 2
"""the frame at the position has more than `limit` octets"""
ROOM: Final = 3
"""`ends` has no room for the end of the frame at the position"""


def cut(
    data: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    base: cython.Py_ssize_t,
    limit: cython.Py_ssize_t,
    ends: cython.uint[::1],
    count: cython.Py_ssize_t,
) -> tuple[int, int, int]:
    """Cut `data[at:end]`, which begins with a frame; gives the position reached, why it ended there, and the new count.

    `ends[count]` and on become the ends of the frames, as distances from `base`.
    """
    length: cython.Py_ssize_t
    room: cython.Py_ssize_t = len(ends)
    why: cython.int = 0
    if at < base or base < 0 or count < 0 or end > len(data) or end - base > 0x7FFFFFFF:
        raise ValueError("the positions are not within the data")
    with cython.nogil:
        while at + 4 <= end:
            length = (
                cython.cast(cython.Py_ssize_t, data[at]) << 24
                | cython.cast(cython.Py_ssize_t, data[at + 1]) << 16
                | cython.cast(cython.Py_ssize_t, data[at + 2]) << 8
                | data[at + 3]
            )
            if length == 0:
                why = 1
                break
            if length > limit:
                why = 2
                break
            if length > end - at - 4:
                break
            if count >= room:
                why = 3
                break
            at += 4 + length
            ends[count] = cython.cast(cython.uint, at - base)
            count += 1
    return at, why, count
