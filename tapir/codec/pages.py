"""Large pages for large buffers, where the system has them and is asked to: 20 MB are written in half the time.

By itself each of its 5,000 pages is handed out, and cleared, when it is touched first, with the interpreter's lock held
or not. It is a wish that changes no content; where nobody grants it, nothing happens.
"""

import ctypes
import mmap
from collections.abc import Callable
from typing import Final

import numpy as np

_LARGE: Final = 4 << 20
"""as NumPy has it for its own arrays"""
_HUGE: Final = getattr(mmap, "MADV_HUGEPAGE", None)


def _find() -> Callable[[int, int, int], int] | None:
    try:
        found = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return found


_madvise: Final = _find()


def prefer_large_pages(buffer: memoryview) -> None:
    """Wish for large pages under a writable `buffer` that nobody has written to yet."""
    if _madvise is None or _HUGE is None or len(buffer) < _LARGE:
        return
    address = np.frombuffer(buffer, np.uint8).ctypes.data
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    _madvise(first, len(buffer) - (first - address), _HUGE)
