import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import ActorSpec, ActorSystem, AskFailed, MailboxSpec, ManualClock, Overflow, Strategy, SupervisorSpec
from actors.testing import Probe, probe
from tapir.model.messages.events import (
    AcceptClock,
    ClearEvent,
    ClockStatus,
    EventKind,
    GetClock,
    HoldExpiry,
    RaiseEvent,
)
from tapir.services.control.clock import ClockKeeper, ClockSettings

BOX = MailboxSpec(capacity=64, overflow=Overflow.REJECT)
HOUR = 3600 * 1_000_000
HOLD, GO_ON = HoldExpiry(held=True), HoldExpiry(held=False)
CLEAR = ClearEvent(kind=EventKind.CLOCK_STEP, subject="clock")


class Running:
    """A clock keeper whose wall clock the test sets, with one source and what it tells of events."""

    def __init__(self, path: Path, wall: ManualClock) -> None:
        self.wall = wall
        self.system = ActorSystem(clock=wall)
        self.source: Probe = probe()
        self.events: Probe = probe()
        self.clock = self.system.ref("clock")
        self.gone = False
        settings = ClockSettings(store_path=path)
        self.tree = SupervisorSpec(
            name="test",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                self.events.spec("events"),
                ActorSpec(
                    name="clock",
                    factory=lambda: ClockKeeper(
                        settings,
                        events=self.system.ref("events"),
                        sources=lambda: () if self.gone else (self.system.ref("source"),),
                    ),
                    mailbox=BOX,
                ),
                self.source.spec("source", MailboxSpec(capacity=2, overflow=Overflow.REJECT)),
            ),
        )

    async def status(self) -> ClockStatus:
        found: ClockStatus = await self.clock.ask(GetClock())
        return found


@asynccontextmanager
async def running(path: Path, wall: ManualClock | None = None) -> AsyncIterator[Running]:
    here = Running(path, wall or ManualClock())
    async with trio.open_nursery() as nursery:
        await nursery.start(here.system.run, here.tree)
        yield here
        here.system.request_stop()


def damage(path: Path, octets: bytes) -> None:
    path.write_bytes(octets)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clock.json"


async def test_an_even_clock_says_nothing(path: Path, autojump_clock: Any):
    async with running(path) as here:
        await trio.sleep(7200)
        assert not (await here.status()).held
        assert here.source.messages == []
        assert here.events.messages == [CLEAR]


@pytest.mark.parametrize("step", [-HOUR, 400 * 24 * HOUR])
async def test_a_step_holds_until_ten_minutes_are_even(path: Path, autojump_clock: Any, step: int):
    async with running(path) as here:
        await trio.sleep(100.5)
        here.wall.advance(step)
        await trio.sleep(1)
        assert here.source.messages == [HOLD]
        raised = here.events.messages[-1]
        assert isinstance(raised, RaiseEvent)
        assert (raised.kind, raised.subject) == (EventKind.CLOCK_STEP, "clock")
        assert "tapir accept clock" in raised.text
        assert ("back by 1 h" if step < 0 else "forward by 400 days") in raised.text
        status = await here.status()
        assert status.held
        assert status.stepped_by == step
        assert status.released_at == pytest.approx(here.wall.now() + 600_000_000, abs=2_000_000)
        await trio.sleep(598)
        assert set(here.source.messages) == {HOLD}
        await trio.sleep(3)
        assert here.source.messages[-1] == GO_ON
        assert here.events.messages[-1] == CLEAR
        assert not (await here.status()).held
        count = len(here.source.messages)
        await trio.sleep(100)
        assert len(here.source.messages) == count


async def test_the_operator_ends_it(path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with running(path) as here:
        here.wall.advance(HOUR)
        await trio.sleep(1.5)
        text = await here.clock.ask(AcceptClock(user="alice"))
        assert "the clock is right" in text
        assert here.source.messages[-1] == GO_ON
        assert here.events.messages[-1] == CLEAR
        assert "alice says that the clock is right" in caplog.text
        with pytest.raises(AskFailed) as refused:
            await here.clock.ask(AcceptClock(user="alice"))
        assert "nothing is held" in str(refused.value.__cause__)


async def test_who_asks_hears_of_a_step_at_once(path: Path, autojump_clock: Any):
    """A source asks before it lets names go: a step between two looks must not lose any."""
    async with running(path) as here:
        await trio.sleep(0.5)
        here.wall.advance(HOUR)
        assert (await here.status()).held
        assert trio.current_time() < 1


async def test_a_source_is_reminded_and_told_the_end_when_it_has_room(path: Path, autojump_clock: Any):
    async with running(path) as here:
        source = here.system.ref("source")
        here.wall.advance(HOUR)
        await trio.sleep(45.2)
        assert here.source.messages == [HOLD] * 5  # once, and every ten seconds
        while source.tell_nowait("filler").value == "delivered":
            pass  # no checkpoint in here: its mailbox is full
        before = len(here.source.messages)
        await here.clock.ask(AcceptClock())
        await trio.sleep(2.5)
        assert here.source.messages[before:].count(GO_ON) >= 1


async def test_a_source_that_is_gone_is_told_no_more(path: Path, autojump_clock: Any):
    async with running(path) as here:
        here.wall.advance(HOUR)
        await trio.sleep(1.5)
        here.gone = True
        count = len(here.source.messages)
        await trio.sleep(1000)
        assert len(here.source.messages) == count


async def test_a_clock_behind_what_was_stored_is_a_step_back(path: Path, autojump_clock: Any):
    async with running(path) as here:
        await trio.sleep(10)
        later = here.wall.now()
    async with running(path, ManualClock(later - HOUR)) as here:
        status = await here.status()
        assert status.held
        assert status.stepped_by == pytest.approx(-HOUR, abs=2_000_000)
        assert here.source.messages == [HOLD]
        assert isinstance(here.events.messages[0], RaiseEvent)


async def test_a_hold_outlives_a_restart(path: Path, autojump_clock: Any):
    async with running(path) as here:
        here.wall.advance(1000 * HOUR)
        await trio.sleep(1.5)
        later = here.wall.now()
    async with running(path, ManualClock(later)) as here:
        assert (await here.status()).held
        await trio.sleep(602)
        assert not (await here.status()).held
    async with running(path, ManualClock(later + 602_000_000)) as here:
        assert not (await here.status()).held


@pytest.mark.parametrize("octets", [b"no", b'{"format":1}'])
async def test_a_damaged_document_is_said_and_written_anew(
    path: Path, octets: bytes, autojump_clock: Any, caplog: pytest.LogCaptureFixture
):
    damage(path, octets)
    async with running(path) as here:
        assert not (await here.status()).held
    assert "a clock that is set back while tapir stands still is not noticed" in caplog.text
    async with running(path):
        pass
    assert caplog.text.count("is not noticed") == 1


async def test_a_store_that_fails_is_said_once(tmp_path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    path = tmp_path / "later" / "clock.json"
    async with running(path) as here:
        await trio.sleep(200)
        assert caplog.text.count("is not noticed") == 1
        path.parent.mkdir()
        await trio.sleep(61)
        assert "the time is stored again" in caplog.text
        assert not (await here.status()).held
