"""When to look for what is over."""

from hypothesis import given
from hypothesis import strategies as st

from tapir.services.sources.expiry import boundary_after, seconds_to_boundary

SECOND = 1_000_000


@given(st.integers(0, 10**16), st.integers(1, 86_400))
def test_it_is_looked_for_within_the_interval_and_never_early(deadline: int, interval: int) -> None:
    boundary = boundary_after(deadline, interval)
    assert 0 <= boundary - deadline < interval * SECOND
    assert boundary % (interval * SECOND) == 0


def test_what_is_over_is_looked_for_at_once_and_nothing_waits_for_long() -> None:
    assert seconds_to_boundary(5 * SECOND, interval=1, now=9 * SECOND) == 0
    assert seconds_to_boundary(5 * SECOND, interval=60, now=9 * SECOND) == 51
    assert seconds_to_boundary(10**15, interval=60, now=0) == 300
