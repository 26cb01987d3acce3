"""Trying until it worked, or is not wanted any more; on virtual time."""

import logging
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from tapir.model.blocks import ObservationBlock
from tapir.services.sources.bootstrap import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    BootstrapFailed,
    BootstrapResult,
    keep_trying,
)

LOG = logging.LoggerAdapter(logging.getLogger("test"), {})
RESULT = BootstrapResult(
    server="192.0.2.1:5455", form="gob", fetched_at=0, observations=ObservationBlock.of(()), expired=2, refused=1
)


class Scripted:
    """Fails so many times, then succeeds."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.at: list[float] = []

    async def fetch(self) -> BootstrapResult:
        await trio.lowlevel.checkpoint()
        self.at.append(trio.current_time())
        if len(self.at) <= self.failures:
            raise BootstrapFailed("no server has the list dns-tapir for us: none is configured")
        return RESULT


async def run(scripted: Scripted, wanted: Callable[[], bool] = lambda: True) -> list[BootstrapResult | BootstrapFailed]:
    told: list[BootstrapResult | BootstrapFailed] = []

    async def deliver(end: BootstrapResult | BootstrapFailed) -> None:
        await trio.lowlevel.checkpoint()
        told.append(end)

    await keep_trying(scripted, deliver, wanted, LOG)
    return told


async def test_the_first_success_is_the_end(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert await run(Scripted(0)) == [RESULT]
    assert caplog.messages == ["bootstrap: 0 names from 192.0.2.1:5455 (gob); 2 had ended, 1 are no names"]


async def test_a_failure_is_told_once_however_often_it_repeats(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scripted = Scripted(12)
    failed, result = await run(scripted)
    assert isinstance(failed, BootstrapFailed)
    assert result is RESULT
    assert len(caplog.messages) == 2
    assert caplog.messages[0].endswith("none is configured; what is held stays, and it is tried again later")
    pauses = [after - before for before, after in zip(scripted.at, scripted.at[1:], strict=False)]
    assert FIRST_PAUSE * 0.5 <= pauses[0] <= FIRST_PAUSE * 1.5
    assert FIRST_PAUSE <= pauses[1] <= FIRST_PAUSE * 3
    assert max(pauses) <= LONGEST_PAUSE * 1.5
    assert pauses[-1] >= LONGEST_PAUSE * 0.5


async def test_it_ends_when_it_is_not_wanted_any_more(autojump_clock: MockClock) -> None:
    scripted = Scripted(100)
    assert len(await run(scripted, lambda: False)) == 1
    assert len(scripted.at) == 1
    scripted = Scripted(100)
    await run(scripted, lambda: trio.current_time() - scripted.at[0] < 5)
    assert len(scripted.at) == 1
