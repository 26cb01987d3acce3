"""Wall time as a value: microseconds since the epoch. Timers use Trio's clock instead."""

import sys
import time
from typing import Protocol

import trio


class Clock(Protocol):
    """Tells the wall time."""

    def now(self) -> int:
        """Microseconds since the epoch."""
        ...


def is_virtual() -> bool:
    """Whether this Trio run is on a MockClock, which jumps over the time that a thread works."""
    testing = sys.modules.get("trio.testing")  # not imported: a program that has no tests has no use for it
    return testing is not None and isinstance(trio.lowlevel.current_clock(), testing.MockClock)


class SystemClock:
    """The machine's wall time."""

    def now(self) -> int:
        return time.time_ns() // 1000


class ManualClock:
    """A wall time for tests: begins at `start`, when made or first used in Trio, and goes on with Trio's."""

    def __init__(self, start: int = 1_700_000_000_000_000) -> None:
        self._start = start
        self._origin = trio.current_time() if trio.lowlevel.in_trio_run() else None

    def now(self) -> int:
        here = trio.current_time()
        if self._origin is None:
            self._origin = here
        return self._start + round((here - self._origin) * 1_000_000)

    def advance(self, microseconds: int) -> None:
        """Step the wall time (also back), as an administrator or NTP would; Trio's clock stays."""
        self._start += microseconds
