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
    LONGEST_WAIT,
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
    assert caplog.messages[0].endswith("none is configured; what is held stays, and it is tried again in a while")
    pauses = [after - before for before, after in zip(scripted.at, scripted.at[1:], strict=False)]
    assert FIRST_PAUSE * 0.5 <= pauses[0] <= FIRST_PAUSE * 1.5
    assert FIRST_PAUSE <= pauses[1] <= FIRST_PAUSE * 3
    assert max(pauses) <= LONGEST_PAUSE * 1.5
    assert pauses[-1] >= LONGEST_PAUSE * 0.5


async def test_a_list_that_has_something_is_asked_for_once(autojump_clock: MockClock) -> None:
    scripted = Scripted(100)
    (told,) = await run(scripted, lambda: False)
    assert isinstance(told, BootstrapFailed)
    assert len(scripted.at) == 1


async def test_an_empty_list_is_wanted_also_when_something_came_meanwhile(autojump_clock: MockClock) -> None:
    scripted = Scripted(3)
    assert (await run(scripted, lambda: not scripted.at))[-1] is RESULT


async def test_nobody_waits_for_a_slow_server(autojump_clock: MockClock) -> None:
    class Slow(Scripted):
        async def fetch(self) -> BootstrapResult:
            await trio.sleep(2 * LONGEST_WAIT)
            return await super().fetch()

    told = await run(Slow(0))
    assert str(told[0]) == "bootstrap takes longer than 30 s, and goes on"
    assert told[1:] == [RESULT]
    first, second, result = await run(Slow(1))
    assert isinstance(first, BootstrapFailed)
    assert isinstance(second, BootstrapFailed)
    assert result is RESULT
