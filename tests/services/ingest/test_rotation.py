"""Intervals last as long as they did, and end where the wall clock says, whatever it does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.edmnames import MINUTE, SECOND
from tapir.services.ingest.rotation import IntervalClock, is_early

NOON = 1_779_969_600 * SECOND
TIMES = st.integers(0, 1 << 52)


@pytest.mark.parametrize(
    ("now", "tick", "stop"),
    [
        (NOON + 60 * SECOND, 60 * SECOND, NOON + 60 * SECOND),
        (NOON + 60 * SECOND + 300_000, 60 * SECOND, NOON + 60 * SECOND + 300_000),  # a clock that is slewed
        (NOON - 3600 * SECOND, 40 * SECOND, NOON + 40 * SECOND),  # set back
        (NOON + 3600 * SECOND, 40 * SECOND, NOON + 40 * SECOND),  # set on
        (NOON - 1, 0, NOON),
    ],
)
def test_where_an_interval_ends(now: int, tick: int, stop: int) -> None:
    assert IntervalClock(start=NOON, tick=0).stop(now, tick) == stop


@given(TIMES, TIMES, TIMES, TIMES)
def test_none_ends_before_it_began_nor_lasts_longer_than_it_did(start: int, now: int, begun: int, tick: int) -> None:
    stop = IntervalClock(start=start, tick=begun).stop(now, tick)
    assert start <= stop <= start + max(0, tick - begun) + 2 * SECOND


@given(TIMES)
def test_a_timer_that_comes_too_soon_waits_for_the_minute(start: int) -> None:
    minute = start - start % MINUTE + MINUTE
    assert not is_early(start, minute)
    assert not is_early(start, start) or minute - start < SECOND
    assert is_early(start, max(start, minute - 1))
    assert not is_early(start, minute + MINUTE - 1)  # another minute already: it is late, not early
