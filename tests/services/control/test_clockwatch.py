from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.services.control.clockwatch import AGREEMENT, SECOND, STEP, ClockWatch, pack_watch, restore_watch

NOON = 1_700_000_000 * SECOND


def looked(watch: ClockWatch, seconds: int, *, step: int = 0) -> ClockWatch:
    """The watch after a look a second, the wall clock having stepped by `step` s before the first."""
    for _ in range(seconds):
        watch = watch.look(wall=watch.wall + SECOND + step * SECOND, even=watch.even + SECOND)
        step = 0
    return watch


def test_an_even_clock_is_believed():
    watch = looked(ClockWatch.begin(wall=NOON, even=0), 4000)
    assert not watch.held
    assert watch.released_at is None


@pytest.mark.parametrize("step", [-301, 301, -86_400 * 400, 86_400 * 400])
def test_a_large_step_holds_for_ten_even_minutes(step: int):
    watch = looked(ClockWatch.begin(wall=NOON, even=0), 1, step=step)
    assert watch.held
    assert (watch.stepped_by, watch.stepped_at) == (step * SECOND, NOON + (step + 1) * SECOND)
    assert watch.released_at == watch.wall + AGREEMENT
    assert looked(watch, 599).held
    assert not looked(watch, 600).held
    assert looked(watch, 600).stepped_by == step * SECOND


@given(st.integers(-300, 300))
def test_a_small_step_is_nothing(step: int):
    assert not looked(ClockWatch.begin(wall=NOON, even=0), 2, step=step).held


def test_small_steps_add_up():
    watch = ClockWatch.begin(wall=NOON, even=0)
    for _ in range(5):
        watch = looked(watch, 60, step=50)
    assert not watch.held
    assert looked(watch, 60, step=60).held


def test_a_clock_that_is_slewed_for_weeks_is_believed():
    watch = ClockWatch.begin(wall=NOON, even=0)
    for _ in range(24 * 60 * 30):  # 500 ppm, a look a minute
        watch = watch.look(wall=watch.wall + 60 * SECOND + 30_000, even=watch.even + 60 * SECOND)
        assert not watch.held


def test_a_second_step_begins_the_ten_minutes_anew():
    watch = looked(ClockWatch.begin(wall=NOON, even=0), 500, step=1000)
    watch = looked(watch, 400, step=-1000)
    assert watch.held
    assert watch.stepped_by == -1000 * SECOND
    assert not looked(watch, 201).held


def test_the_operator_is_believed():
    watch = looked(ClockWatch.begin(wall=NOON, even=0), 1, step=1000).believe()
    assert not watch.held
    assert not looked(watch, 100).held


@given(behind=st.integers(0, 10**12), held=st.booleans())
def test_a_clock_behind_the_last_time_that_was_stored_has_gone_back(behind: int, held: bool):
    document = {"latest": NOON, "held": held, "stepped_by": 7, "stepped_at": 8}
    watch = restore_watch(document, wall=NOON - behind, even=5)
    assert watch.held == (held or behind > STEP)
    if behind > STEP:
        assert watch.stepped_by == -behind
    elif held:
        assert (watch.stepped_by, watch.stepped_at) == (7, 8)
        assert watch.held_since == 5


def test_a_long_stop_is_no_step():
    document = pack_watch(ClockWatch.begin(wall=NOON, even=0))
    assert not restore_watch(document, wall=NOON + 86_400 * 365 * SECOND, even=0).held
    assert not restore_watch(None, wall=NOON, even=0).held


def test_a_hold_outlives_a_restart():
    watch = looked(ClockWatch.begin(wall=NOON, even=0), 300, step=10**6)
    restored = restore_watch(pack_watch(watch), wall=watch.wall + SECOND, even=0)
    assert restored.held
    assert (restored.stepped_by, restored.stepped_at) == (watch.stepped_by, watch.stepped_at)
    assert not looked(restored, 600).held


GOOD: dict[str, Any] = {"latest": 1, "held": True, "stepped_by": 1, "stepped_at": None}


@pytest.mark.parametrize("wrong", [{"latest": "1"}, {"held": 1}, {"stepped_by": None}, {"stepped_at": "now"}])
def test_a_document_that_is_none_is_refused(wrong: dict[str, Any]):
    restore_watch(GOOD, wall=0, even=0)
    with pytest.raises(ValueError, match="no document of the clock"):
        restore_watch(GOOD | wrong, wall=0, even=0)
