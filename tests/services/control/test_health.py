import logging
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors import Actor, ActorSpec, ActorSystem, Context, MailboxSpec, Overflow, Strategy, SupervisorSpec
from tapir.model.actions import ListKind
from tapir.model.messages.control import GetHealth, HealthStatus, VersionPublished
from tapir.model.messages.lists import GetSources, SourcesStatus, SourceStatus
from tapir.model.messages.zone import GetServer, GetZone, ServerStatus, ZoneStatus
from tapir.services.control.health import Health, HealthSettings, judge

ZONE = ZoneStatus(
    zone="dnstapir.",
    serial=7,
    records=2,
    published_at=1,
    journal_from=1,
    journal_deltas=1,
    journal_octets=10,
    state="serving",
    held_change=None,
    store_error="",
)
SOURCE = SourceStatus(
    id="deny",
    name="deny",
    kind=ListKind.DENY,
    origin="file",
    active=True,
    required=True,
    state="fresh",
    names=2,
    pending_names=None,
    loaded_at=1,
    checked_at=1,
    refusals=(),
    error="",
)
SOURCES = SourcesStatus(sources=(SOURCE,), publishing=True, waiting_for=())
BOX = MailboxSpec(capacity=8, overflow=Overflow.COALESCE, key=lambda message: type(message).__name__)


def test_all_is_well():
    assert judge(ZONE, SOURCES) == HealthStatus(ready=True, reasons=(), warnings=())


@pytest.mark.parametrize(
    ("zone", "sources", "reason"),
    [
        (None, SOURCES, "the zone keeper does not answer"),
        (ZONE, None, "the list keeper does not answer"),
        (attrs.evolve(ZONE, serial=None), SOURCES, "no first version yet"),
        (ZONE, attrs.evolve(SOURCES, publishing=False, waiting_for=("allow", "b")), "allow, b"),
    ],
)
def test_what_keeps_it_from_being_ready_is_named(zone: ZoneStatus | None, sources: SourcesStatus | None, reason: str):
    health = judge(zone, sources)
    assert not health.ready
    assert reason in " ".join(health.reasons)


@pytest.mark.parametrize(
    ("zone", "source", "warning"),
    [
        (
            attrs.evolve(ZONE, state="braked", held_change=(9, 1)),
            SOURCE,
            "-9 +1 records is held back: tapir accept zone",
        ),
        (attrs.evolve(ZONE, state="held"), SOURCE, "tapir zone resume"),
        (attrs.evolve(ZONE, store_error="disk full"), SOURCE, "cannot be saved: disk full"),
        (
            ZONE,
            attrs.evolve(SOURCE, state="held", error="shrinks from 9 to 1"),
            "held back by the brake: it shrinks from 9 to 1; tapir accept deny",
        ),
        (ZONE, attrs.evolve(SOURCE, state="stale", error="no such file"), "source deny: no such file"),
        (ZONE, attrs.evolve(SOURCE, state="unsupported", origin="mqtt"), "does not run mqtt sources"),
    ],
)
def test_what_wants_a_hand_is_a_warning_and_still_ready(zone: ZoneStatus, source: SourceStatus, warning: str):
    health = judge(zone, attrs.evolve(SOURCES, sources=(source,)))
    assert health.ready
    assert warning in " ".join(health.warnings)


async def test_a_part_may_be_busy_for_a_while(autojump_clock: Any):
    """Saving a list of a million names takes longer than anybody waits for an answer, and nothing is wrong."""
    reports: list[tuple[float, HealthStatus]] = []

    async def report(status: HealthStatus) -> None:
        reports.append((trio.current_time(), status))

    world = World()
    world.zone, world.sources = ZONE, SOURCES
    system = ActorSystem()
    other = system.ref("world")
    settings = HealthSettings(interval=5, patience=1, silence=20)
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(name="world", factory=lambda: world, mailbox=BOX),
            ActorSpec(
                name="health",
                factory=lambda: Health(settings=settings, keeper=other, server=other, lists=other, report=report),
                mailbox=BOX,
            ),
        ),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run, tree)
        await trio.sleep(6)
        world.busy = 15
        await trio.sleep(30)
        assert [status.ready for _, status in reports] == [True]
        world.busy = 40
        began = trio.current_time()
        await trio.sleep(60)
        assert [status.ready for _, status in reports] == [True, False, True]
        assert 20 <= reports[1][0] - began <= 20 + 5 + 2
        assert reports[1][1].reasons == ("the zone keeper does not answer", "the list keeper does not answer")
        system.request_stop()


class World(Actor[Any]):
    """The zone keeper, the server and the list keeper in one; mute until it is told what to say."""

    zone: ZoneStatus = attrs.evolve(ZONE, serial=None)
    sources: SourcesStatus = SOURCES
    busy: float = 0.0
    """seconds that the next message takes"""

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        busy, self.busy = self.busy, 0.0
        await trio.sleep(busy)
        match message:
            case GetZone():
                ctx.reply(self.zone)
            case GetSources():
                ctx.reply(self.sources)
            case GetServer():
                ctx.reply(ServerStatus(listening=("127.0.0.1:53",), counters=(), refusals=(), connections=0))


async def test_it_says_once_that_the_service_is_ready(autojump_clock: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    reports: list[HealthStatus] = []

    faults: list[Exception] = []

    async def report(status: HealthStatus) -> None:
        if faults:
            raise faults.pop()
        reports.append(status)

    world = World()
    system = ActorSystem()
    other = system.ref("world")
    health = system.ref("health")
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(name="world", factory=lambda: world, mailbox=BOX),
            ActorSpec(
                name="health",
                factory=lambda: Health(
                    settings=HealthSettings(interval=5), keeper=other, server=other, lists=other, report=report
                ),
                mailbox=BOX,
            ),
        ),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run, tree)
        await trio.sleep(6)
        assert [status.ready for status in reports] == [False]
        await trio.sleep(60)
        assert len(reports) == 1
        # By now it is wrong not to be ready, whatever the reason becomes.
        world.sources = attrs.evolve(SOURCES, publishing=False, waiting_for=("allow",))
        await trio.sleep(6)
        (loud,) = [record for record in caplog.records if "these deliver: allow" in record.getMessage()]
        assert loud.levelno == logging.WARNING
        world.zone, world.sources = ZONE, SOURCES
        for serial in (7, 8):
            await health.tell(VersionPublished(zone="dnstapir.", serial=serial, records=2))
            await trio.testing.wait_all_tasks_blocked()
        assert (await health.ask(GetHealth())).ready
        assert [status.ready for status in reports] == [False, False, True]
        # A crash of the health actor is no news of the service: the line is not said again.
        faults.append(OSError("the service manager is gone"))
        world.zone = attrs.evolve(ZONE, state="held")
        await trio.sleep(30)
        assert system.statistics().find("health").restarts == 1
        assert (await health.ask(GetHealth())).warnings
        await health.tell(VersionPublished(zone="dnstapir.", serial=9, records=2))
        await trio.testing.wait_all_tasks_blocked()
        system.request_stop()
    records = [record for record in caplog.records if record.name == "actors.health"]
    lines = [record.getMessage() for record in records]
    assert [line for line in lines if line.startswith("ready zone")] == [
        "ready zone=dnstapir. serial=7 records=2 listening=127.0.0.1:53"
    ]
    assert lines[0].startswith("not ready: the zone dnstapir. has no first version yet")
    assert lines[1].startswith("still not ready: the zone dnstapir. has no first version yet")
    assert len(lines) == 4
    # A start that takes its time is no reason to wake anybody; one that does not end is.
    assert [record.levelname for record in records] == ["INFO", "WARNING", "WARNING", "INFO"]
