"""A zone is asked for by its own timers, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.zone.errors import ZoneError
from tapir.zone.schedule import Schedule, TimerBounds, Timers

SECOND = 1_000_000
BOUNDS = TimerBounds()
TIMERS = Timers(refresh=60, retry=20, expire=86400, minimum=5)


def test_asks_by_refresh_and_again_by_retry_until_it_expires():
    schedule = Schedule.first(now=7)
    assert schedule.is_due(now=7)
    assert not schedule.is_expired(now=10**18)
    schedule = schedule.succeeded(TIMERS, BOUNDS, now=0, jitter=0.0)
    assert (schedule.due, schedule.expires) == (60 * SECOND, 86400 * SECOND)
    schedule = schedule.failed(BOUNDS, now=60 * SECOND, jitter=0.5)
    assert (schedule.due, schedule.failures) == (79 * SECOND, 1)
    assert schedule.wakes() == 79 * SECOND
    assert not schedule.is_due(now=78 * SECOND)
    assert schedule.is_expired(now=86400 * SECOND)
    assert schedule.failed(BOUNDS, now=86399 * SECOND, jitter=0).wakes() == 86400 * SECOND
    assert schedule.notified(now=61 * SECOND).due == 61 * SECOND
    assert schedule.succeeded(TIMERS, BOUNDS, now=0, jitter=1.0).due == 54 * SECOND


def test_without_a_zone_it_asks_ever_less_often():
    schedule = Schedule.first(now=0)
    waits = []
    for _ in range(40):
        schedule = schedule.failed(BOUNDS, now=0, jitter=0.0)
        waits.append(schedule.due // SECOND)
    assert waits[:4] == [15, 30, 60, 120]
    assert waits[-1] == 7200
    assert schedule.wakes() == schedule.due


def test_a_restart_does_not_put_off_when_it_expires():
    schedule = Schedule.restored(TIMERS, BOUNDS, refreshed_at=5, now=100 * SECOND)
    assert (schedule.due, schedule.expires) == (100 * SECOND, 86400 * SECOND + 5)
    assert Schedule.restored(TIMERS, BOUNDS, refreshed_at=10**18, now=0).expires == 86400 * SECOND


@given(
    st.builds(
        Timers,
        refresh=st.integers(0, 2**32 - 1),
        retry=st.integers(0, 2**32 - 1),
        expire=st.integers(0, 2**32 - 1),
        minimum=st.integers(0, 2**32 - 1),
    ),
    st.floats(0, 1),
)
def test_no_timer_makes_a_nuisance_of_us(timers, jitter):
    schedule = Schedule.first(now=0).succeeded(timers, BOUNDS, now=0, jitter=jitter)
    assert 27 * SECOND <= schedule.due <= 86400 * SECOND
    assert schedule.expires is not None
    again = schedule.failed(BOUNDS, now=schedule.due, jitter=jitter)
    assert schedule.due < again.due <= schedule.expires <= 28 * 86400 * SECOND


def test_bounds_are_ranges():
    for bad in ((0, 1), (2, 1)):
        with pytest.raises(ZoneError, match="no range"):
            TimerBounds(refresh=bad)
