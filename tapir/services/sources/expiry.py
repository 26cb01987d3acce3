"""When to look for names whose time is over: at the ends of intervals, so that many leave together."""

from typing import Final

_SECOND: Final = 1_000_000
_LONGEST: Final = 300.0


def boundary_after(deadline: int, interval: int) -> int:
    """The first end of an interval (`interval` seconds, counted from the epoch) that is not before `deadline`."""
    return -(-deadline // (interval * _SECOND)) * interval * _SECOND


def seconds_to_boundary(deadline: int, *, interval: int, now: int) -> float:
    """In how many seconds to look for what ends at `deadline`.

    Never more than five minutes: the wall clock may be set meanwhile, and a timer does not notice.
    """
    return min(max(0.0, (boundary_after(deadline, interval) - now) / _SECOND), _LONGEST)
