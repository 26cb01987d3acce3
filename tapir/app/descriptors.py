"""How many files and connections the process may have open at once."""

import resource
from typing import Final

RESERVE: Final = 256
"""descriptors for everything that is no sender of dnstap: databases, lists, files, the broker, the console, a POP"""
_MOST: Final = 1 << 20
"""as many as anybody needs; no more, since some systems allow billions, and keep a table of them"""


def allow_descriptors() -> int:
    """Take as many as the administrator allows, which is often more than what a shell starts with; how many it are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MOST if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def connections_within(wanted: int, descriptors: int) -> int:
    """How many of the `wanted` connections there may be, so that the rest of the process never lacks a descriptor."""
    return max(1, min(wanted, descriptors - RESERVE))
