"""When an interval ends: at each whole minute of the wall clock, whatever that clock does meanwhile.

An interval is told by the clock that it began under. Where the wall clock is set, the interval lasts as long as it
really did, and the next one begins at the new time: no interval ends before it began, none lasts for the hours that a
clock was wrong by.
"""

from typing import Final

import attrs

from tapir.codec.edmnames import MINUTE, until_next_minute

_STEP: Final = 2_000_000
"""microseconds by which the clocks may come apart within a minute without one of them having been set"""
_EARLY: Final = 1_000_000
"""by how much a timer may be early: the wall clock may be slowed meanwhile, and is never set by so little"""


@attrs.frozen(kw_only=True)
class IntervalClock:
    """When the running interval began: by the wall clock, and by one that nobody sets. All are microseconds."""

    start: int
    tick: int

    def stop(self, now: int, tick: int) -> int:
        """When the interval ends that ends now."""
        expected = self.start + max(0, tick - self.tick)
        return expected if abs(now - expected) > _STEP else max(self.start, now)


def is_early(start: int, now: int) -> bool:
    """Whether who waits for a whole minute, in an interval that began at `start`, comes a moment before it."""
    return until_next_minute(now) < _EARLY and now // MINUTE == start // MINUTE
