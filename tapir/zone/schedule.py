"""When to ask a primary again: the timers of the zone's SOA (RFC 1035 §3.3.13, RFC 1912 §2.2), within bounds.

Times are microseconds since the epoch, timers seconds. Chance is an argument: `jitter` is between 0 and 1, and takes up
to a tenth off, so that many who began together do not stay so.
"""

from typing import Final

import attrs

from tapir.zone.errors import ZoneError

_SECOND: Final = 1_000_000
_JITTER: Final = 0.1


@attrs.frozen(kw_only=True)
class Timers:
    """The timers of an SOA record, in seconds."""

    refresh: int
    retry: int
    expire: int
    minimum: int


@attrs.frozen(kw_only=True)
class TimerBounds:
    """The seconds between which each timer stays, so that no zone makes a nuisance of us, or is never looked at again.

    Raises ZoneError. The zone never expires before it could have been refreshed and tried again once.
    """

    refresh: tuple[int, int] = (30, 86400)
    retry: tuple[int, int] = (15, 7200)
    expire: tuple[int, int] = (600, 28 * 86400)

    def __attrs_post_init__(self) -> None:
        for low, high in (self.refresh, self.retry, self.expire):
            if not 1 <= low <= high:
                raise ZoneError(f"from {low} to {high} seconds is no range for a timer")

    def applied(self, timers: Timers) -> Timers:
        """`timers` within these bounds."""
        refresh, retry = _clamp(timers.refresh, self.refresh), _clamp(timers.retry, self.retry)
        expire = max(_clamp(timers.expire, self.expire), refresh + retry)
        return Timers(refresh=refresh, retry=retry, expire=expire, minimum=timers.minimum)


def _clamp(value: int, bounds: tuple[int, int]) -> int:
    return min(max(value, bounds[0]), bounds[1])


@attrs.frozen(kw_only=True)
class Schedule:
    """When a zone is to be asked for, and from when on what is held of it is out of date.

    `timers` are within bounds; None until the zone was had once: then there is nothing that could expire.
    """

    due: int
    expires: int | None = None
    timers: Timers | None = None
    failures: int = 0
    """how often it failed since it last succeeded"""

    @classmethod
    def first(cls, *, now: int) -> "Schedule":
        """Of a zone that was never had: at once."""
        return cls(due=now)

    @classmethod
    def restored(cls, timers: Timers, bounds: TimerBounds, *, refreshed_at: int, now: int) -> "Schedule":
        """Of a zone that was had before a restart: it is asked for at once, and expires when it would have.

        `refreshed_at` in the future, from a clock that was wrong, counts as of now.
        """
        held = bounds.applied(timers)
        return cls(due=now, expires=min(refreshed_at, now) + held.expire * _SECOND, timers=held)

    def succeeded(self, timers: Timers, bounds: TimerBounds, *, now: int, jitter: float) -> "Schedule":
        """After the primary said that what is held is current, or gave what is."""
        held = bounds.applied(timers)
        return Schedule(due=now + _shortened(held.refresh, jitter), expires=now + held.expire * _SECOND, timers=held)

    def failed(self, bounds: TimerBounds, *, now: int, jitter: float) -> "Schedule":
        """After no primary could be had: again after `retry`, without a zone after twice as long each time."""
        if self.timers is not None:
            retry = self.timers.retry
        else:
            retry = min(bounds.retry[0] << min(self.failures, 20), bounds.retry[1])
        return attrs.evolve(self, due=now + _shortened(retry, jitter), failures=self.failures + 1)

    def notified(self, *, now: int) -> "Schedule":
        """After a NOTIFY that is news: at once."""
        return attrs.evolve(self, due=min(self.due, now))

    def is_due(self, *, now: int) -> bool:
        """Whether to ask now."""
        return now >= self.due

    def is_expired(self, *, now: int) -> bool:
        """Whether what is held may not be used any more."""
        return self.expires is not None and now >= self.expires

    def wakes(self) -> int:
        """When something is next to be done: to ask, or to expire."""
        return self.due if self.expires is None else min(self.due, self.expires)


def _shortened(seconds: int, jitter: float) -> int:
    return round(seconds * _SECOND * (1 - _JITTER * jitter))
