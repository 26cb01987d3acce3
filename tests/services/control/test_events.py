import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors import (
    Actor,
    ActorSpec,
    ActorSystem,
    Backoff,
    Context,
    Intensity,
    MailboxSpec,
    ManualClock,
    Overflow,
    Strategy,
    SupervisorSpec,
)
from actors.testing import Probe, probe
from tapir.model.messages.events import ClearEvent, EventKind, EventsChanged, ExceptionalEvent, GetEvents, RaiseEvent
from tapir.services.control.events import EventKeeper, EventSettings
from tapir.store.documents import read_document

BOX = MailboxSpec(capacity=64, overflow=Overflow.REJECT)
HELD = RaiseEvent(kind=EventKind.SOURCE_HELD, subject="deny", text="it shrinks from 9 to 1")
OVER = ClearEvent(kind=EventKind.SOURCE_HELD, subject="deny")


class Fragile(Actor[Any]):
    """Crashes on every message."""

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        raise RuntimeError("no")


class Running:
    """A system with an event keeper, a telemetry that hears of it, and an actor that can be crashed."""

    def __init__(self, path: Path) -> None:
        self.system = ActorSystem(clock=ManualClock())
        self.telemetry: Probe = probe()
        self.events = self.system.ref("events")
        self.fragile = self.system.ref("fragile/one")
        settings = EventSettings(store_path=path)
        self.tree = SupervisorSpec(
            name="test",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                self.telemetry.spec("telemetry"),
                ActorSpec(
                    name="events",
                    factory=lambda: EventKeeper(
                        settings,
                        system=self.system,
                        listeners=lambda: [self.system.ref("telemetry")],
                        randomness=lambda count: b"\x05" * count,
                    ),
                    mailbox=BOX,
                ),
                SupervisorSpec(
                    name="fragile",
                    strategy=Strategy.ONE_FOR_ONE,
                    intensity=Intensity(restarts=0, period=60),
                    children=(
                        ActorSpec(name="one", factory=Fragile, mailbox=BOX, stream=lambda m: m if m == "bad" else None),
                    ),
                ),
            ),
            backoff=Backoff(first=1, maximum=1, factor=1, jitter=0),
        )

    async def all(self) -> tuple[ExceptionalEvent, ...]:
        found: tuple[ExceptionalEvent, ...] = await self.events.ask(GetEvents())
        return found


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[Running]:
    here = Running(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(here.system.run, here.tree)
        yield here
        here.system.request_stop()


def damage(path: Path, octets: bytes) -> None:
    path.write_bytes(octets)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.json"


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level and "events" in record.name]


async def test_an_event_has_one_id_one_line_and_is_passed_on(
    path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
):
    async with running(path) as here:
        for _ in range(3):
            await here.events.tell(HELD)
        (event,) = await here.all()
        assert lines(caplog) == [f"event {event.id} source-held deny: it shrinks from 9 to 1"]
        assert here.telemetry.messages == [EventsChanged()]
        await here.events.tell(OVER)
        await here.events.tell(OVER)
        (over,) = await here.all()
        assert over.cleared_at is not None
        assert over.id == event.id
        assert here.telemetry.messages == [EventsChanged()] * 2
        await here.events.tell(HELD)
        assert len(await here.all()) == 2


async def test_what_lasts_over_a_restart_keeps_its_id(
    path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
):
    async with running(path) as here:
        await here.events.tell(HELD)
        (event,) = await here.all()
    caplog.clear()
    async with running(path) as here:
        assert await here.all() == (event,)
        await here.events.tell(HELD)
        assert await here.all() == (event,)
        assert lines(caplog) == [f"event {event.id} source-held deny still: it shrinks from 9 to 1"]
        await trio.sleep(3600)
        assert await here.all() == (event,)


async def test_what_nobody_says_again_is_over(path: Path, autojump_clock: Any):
    async with running(path) as here:
        await here.events.tell(HELD)
        await here.all()
    async with running(path) as here:
        await trio.sleep(890)
        assert (await here.all())[0].cleared_at is None
        await trio.sleep(20)
        assert (await here.all())[0].cleared_at is not None


async def test_an_actor_that_is_given_up_is_told_of_until_it_runs_again(
    path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
):
    async with running(path) as here:
        await here.fragile.tell("crash")
        await trio.sleep(5)
        (event,) = await here.all()
        assert (event.kind, event.subject) == (EventKind.RESTART_LIMIT, "fragile/one")
        assert "RuntimeError: no" in event.text
        assert [record.levelno for record in caplog.records if event.id in record.getMessage()] == [logging.ERROR]
        await trio.sleep(580)
        assert (await here.all())[0].cleared_at is None
        await trio.sleep(100)
        assert (await here.all())[0].cleared_at is not None


async def test_one_that_crashes_for_ever_and_is_never_given_up_is_told_of(
    path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
):
    here = Running(path)
    endless = attrs.evolve(
        here.tree.children[-1],
        intensity=Intensity(restarts=1000, period=60),  # as EDM's supervisors have it
    )
    here.tree = attrs.evolve(here.tree, children=(*here.tree.children[:-1], endless))
    async with trio.open_nursery() as nursery:
        await nursery.start(here.system.run, here.tree)
        for number in range(20):
            assert len(await here.all()) == (number >= 12), number
            await here.fragile.tell("again")
            await trio.sleep(40)
        (event,) = await here.all()
        assert (event.kind, event.subject, event.cleared_at) == (EventKind.RESTART_LIMIT, "fragile/one", None)
        assert len([text for text in lines(caplog) if event.id in text]) == 1
        await trio.sleep(680)
        assert (await here.all())[0].cleared_at is not None
        here.system.request_stop()


async def test_a_stream_that_is_suspended_is_told_of_for_as_long(path: Path, autojump_clock: Any):
    async with running(path) as here:
        await here.fragile.tell("bad")
        await trio.sleep(5)
        await here.fragile.tell("bad")
        await trio.sleep(5)
        (event,) = await here.all()
        assert event.subject == "fragile/one"
        assert "what bad says crashed it twice" in event.text
        await trio.sleep(3600)
        assert (await here.all())[0].cleared_at is None


async def test_an_actor_that_is_gone_is_no_longer_told_of(path: Path, autojump_clock: Any):
    async with running(path) as here:
        await here.events.tell(RaiseEvent(kind=EventKind.RESTART_LIMIT, subject="sources/gone", text="it crashed"))
        await trio.sleep(61)
        assert (await here.all())[0].cleared_at is not None


@pytest.mark.parametrize("octets", [b"not JSON", b'{"format":1,"events":3}'])
async def test_a_document_that_is_damaged_is_put_aside(
    path: Path, octets: bytes, autojump_clock: Any, caplog: pytest.LogCaptureFixture
):
    damage(path, octets)
    async with running(path) as here:
        assert await here.all() == ()
        await here.events.tell(HELD)
        await here.all()
        assert "they begin anew" in lines(caplog, logging.ERROR)[0]
    (aside,) = path.parent.glob("events.json.corrupt-*")
    assert aside.read_bytes() == octets
    assert len((read_document(path) or {})["events"]) == 1


async def test_a_store_that_fails_is_said_once_and_catches_up(
    tmp_path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    path = tmp_path / "later" / "events.json"
    async with running(path) as here:
        await here.events.tell(HELD)
        await here.events.tell(OVER)
        assert len(await here.all()) == 1
        await trio.sleep(200)
        assert len([line for line in lines(caplog, logging.ERROR) if "forgotten by a restart" in line]) == 1
        path.parent.mkdir()
        await trio.sleep(61)
        assert path.exists()
        assert "events are stored again" in lines(caplog, logging.INFO)


async def test_what_could_not_be_stored_is_tried_once_more_at_the_end(tmp_path: Path, autojump_clock: Any):
    path = tmp_path / "later" / "events.json"
    async with running(path) as here:
        await here.events.tell(HELD)
        await here.all()
        path.parent.mkdir()
    assert path.exists()


async def test_a_document_that_cannot_be_read_now_is_left_alone(
    tmp_path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "events.json"
    path.mkdir()
    async with running(path) as here:
        assert await here.all() == ()
        assert "they begin anew" in lines(caplog)[0]
    assert path.is_dir()
