"""How the C library is to treat memory that was given back."""

import contextlib
import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE: Final = 128 * 1024
_ARENAS: Final = 2


def give_memory_back() -> None:
    """Let what was freed go back to the system at once, and not stay for a next time. Elsewhere than on glibc, nothing.

    By itself glibc raises its limit for blocks of their own to the largest that was ever freed, so that after one
    large list what was made of it stays with the process, and keeps it in an arena for each thread.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_ARENA_MAX, _ARENAS)
