"""Wall time as a value: microseconds since the epoch. Timers use Trio's clock instead."""

import time
from typing import Protocol

import trio


class Clock(Protocol):
    """Tells the wall time."""

    def now(self) -> int:
        """Microseconds since the epoch."""
        ...


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
