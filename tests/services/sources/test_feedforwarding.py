"""A feed's source and what of the feed is passed through: kept, told after its lists, and taken whole where it must."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors import ActorRef, ActorSpec, ActorSystem, ManualClock, Strategy, SupervisorSpec, SystemSettings
from actors.testing import ROOMY, Probe, run_system
from tapir.codec.passed import make, parts_of
from tapir.codec.transfer import RecordKind
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.messages.feeds import FeedNotified, GetFeed, PassedJudged, PassedRecords, PassedUnchanged, SendPassed
from tapir.model.messages.lists import GetSources, SourceLoaded, SourcesStatus
from tapir.model.names import Name, format_name, parse_name
from tapir.services.sources import feedpassing
from tapir.services.sources.feedstate import FeedIdentity
from tapir.services.sources.transfer import EXPIRY_GRACE, REPORT_INTERVAL, TransferSource
from tapir.services.sources.transferprimary import PrimarySettings, TransferRequest
from tapir.services.sources.transfersettings import TransferSettings
from tapir.transport.transfer import PrimaryFailed
from tapir.zone.collecting import OpaqueDelta, OpaqueRecord
from tapir.zone.inbound import Transferred
from tapir.zone.schedule import Timers

ZONE = parse_name("feed.example")
RULES = RecordBlock.of([(parse_name("bad.example"), Action.NXDOMAIN)])


def local(name: str, last: int = 1) -> bytes:
    return make(parse_name(name), 1, 60, bytes((192, 0, 2, last)))


def opaque(record: bytes) -> OpaqueRecord:
    owner, rdtype, ttl, rdata = parts_of(record)
    return OpaqueRecord(kind=RecordKind.LOCAL_DATA, owner=owner, rdtype=rdtype, ttl=ttl, rdata=rdata)


A, B, C = (local(f"{name}.example") for name in "abc")
BROAD = local("com")


@attrs.define(kw_only=True)
class World:
    """A primary that has one rule, and local data as the test wants it."""

    serial: int = 1
    said: tuple[bytes, ...] = (A, B)
    versions: dict[int, tuple[bytes, ...]] = attrs.field(factory=dict)
    wrong: tuple[bytes, ...] = ()
    """what the next difference removes besides"""
    down: bool = False
    asked: list[str] = attrs.field(factory=list)

    def publish(self, *said: bytes) -> None:
        self.versions[self.serial] = self.said
        self.serial += 1
        self.said = said

    async def serial_of(self) -> int:
        if self.down:
            raise PrimaryFailed(peer=("192.0.2.1", 53), reason="connect", detail="nobody is there")
        return self.serial

    async def transfer(self, request: TransferRequest) -> Transferred:
        await self.serial_of()
        whole = request.whole or request.held is None
        self.asked.append(("whole" if whole else f"since {request.held}") + (" keep" if request.keep else ""))
        before = () if whole else self.versions[request.held or 0]
        added = tuple(opaque(record) for record in self.said if record not in before)
        removed = tuple(opaque(record) for record in (*before, *self.wrong) if record not in self.said)
        self.wrong = ()
        left_out = max(0, len(added) - request.limits.opaque)
        return Transferred(
            serial=self.serial,
            timers=Timers(refresh=60, retry=20, expire=3600, minimum=60),
            held=request.held,
            content=(RULES,) if whole else None,
            delta=None if whole else RecordDelta(),
            opaque=OpaqueDelta(removed=removed, added=added) if request.keep else OpaqueDelta(),
            left_out=left_out,
            counts={},
            unevaluated={RecordKind.LOCAL_DATA: len(added) - len(removed)},
            octets=1,
        )


class Primaries:
    def __init__(self, world: World) -> None:
        self.world = world

    async def serial(self, primary: PrimarySettings, zone: Name, *, clock: Any) -> int:
        return await self.world.serial_of()

    async def transfer(
        self, primary: PrimarySettings, request: TransferRequest, *, clock: Any, in_thread: Any
    ) -> Transferred:
        return await self.world.transfer(request)


@attrs.frozen(kw_only=True)
class Rig:
    ref: ActorRef[Any]
    lists: Probe
    policy: Probe
    clock: ManualClock
    order: list[str]

    def told(self) -> list[tuple[bytes, ...]]:
        return [message.records for message in self.policy.messages if isinstance(message, PassedRecords)]

    async def counters(self) -> dict[str, int]:
        return dict((await self.ref.ask(GetFeed())).counters)

    async def notify(self, world: World) -> None:
        await self.ref.tell(FeedNotified(zone=ZONE, serial=world.serial, primary="192.0.2.1"))
        await trio.sleep(1)


RunFeed = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def run_feed(tmp_path: Path, world: World) -> RunFeed:
    @contextlib.asynccontextmanager
    async def run(*, forward: bool = True, kind: ListKind = ListKind.DENY, at: int = 0) -> AsyncIterator[Rig]:
        order: list[str] = []

        def sources(_: object) -> SourcesStatus:
            order.append("fence")
            return SourcesStatus(sources=(), publishing=True, waiting_for=())

        lists, policy = Probe({GetSources: sources}), Probe()
        clock = ManualClock(1_700_000_000_000_000 + at)
        system = ActorSystem(clock=clock, settings=SystemSettings(seed=0))
        settings = TransferSettings(
            feed=FeedIdentity(source="feed", zone=ZONE, kind=kind, output=parse_name("rpz.example"), forward=forward),
            primaries=(PrimarySettings(host="192.0.2.1"),),
            store_path=tmp_path / "feeds" / "feed.db",
        )
        source: ActorSpec[Any] = ActorSpec(
            name="feed",
            factory=lambda: TransferSource(
                settings,
                lists=system.ref("lists"),
                policy=system.ref("policy"),
                primaries=Primaries(world),
                chance=lambda: 0.0,
            ),
            mailbox=ROOMY,
        )
        children = (lists.spec("lists"), policy.spec("policy"), source)
        async with run_system(
            SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children), system=system
        ):
            await trio.sleep(0.1)
            yield Rig(ref=system.ref("feed"), lists=lists, policy=policy, clock=clock, order=order)

    return run


async def test_it_speaks_at_once_and_then_of_what_it_has(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    world.said = (A, BROAD)
    async with run_feed() as rig:
        assert world.asked == ["whole keep"]
        assert rig.told() == [(), (A,)]
        assert (await rig.counters())["passed.refused.too_broad"] == 1
        digest = rig.policy.messages[-1].digest
        await rig.ref.tell(PassedJudged(digest=digest, passed=0, refused=(("too_broad", 1), ("ruled", 1))))
        counters = await rig.counters()
        assert [counters[f"passed{word}"] for word in ("", ".refused.too_broad", ".refused.ruled")] == [0, 2, 1]
        await rig.ref.tell(PassedJudged(digest="of something else", passed=7, refused=()))
        assert "passed" not in await rig.counters()


async def test_a_difference_is_told_after_the_lists(run_feed: RunFeed, world: World, autojump_clock: MockClock) -> None:
    async with run_feed() as rig:
        world.publish(B, C)
        await rig.notify(world)
        assert world.asked == ["whole keep", "since 1 keep"]
        assert set(rig.told()[-1]) == {B, C}
        assert [type(message) for message in rig.lists.messages] == [SourceLoaded, SourceLoaded, GetSources, GetSources]
        assert len(rig.order) == 2, "each time the list keeper was heard before"
        # Nothing of it changes: nothing is told.
        told = len(rig.told())
        world.publish(B, C)
        await rig.notify(world)
        assert len(rig.told()) == told
        await rig.ref.tell(SendPassed())
        await trio.sleep(1)
        assert set(rig.told()[told]) == {B, C}


async def test_nothing_is_told_before_the_list_keeper_was_heard(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        answer = rig.lists._answers.pop(GetSources)
        told = rig.told()
        world.publish(B, C)
        await rig.notify(world)
        await trio.sleep(3 * REPORT_INTERVAL)
        assert rig.told() == told, "what the lists let through is not known"
        rig.lists._answers[GetSources] = answer
        await trio.sleep(2 * REPORT_INTERVAL)
        assert [set(records) for records in rig.told()[len(told) :]] == [{B, C}]


async def test_what_it_told_is_named_again_now_and_then(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        told = rig.policy.messages[-1]
        await trio.sleep(REPORT_INTERVAL + 1)
        assert rig.policy.messages[-1] == PassedUnchanged(source="feed", digest=told.digest)


async def test_a_restart_goes_on_with_what_was_kept(run_feed: RunFeed, world: World, autojump_clock: MockClock) -> None:
    async with run_feed() as rig:
        world.publish(A, B, C)
        await rig.notify(world)
    asked = len(world.asked)
    async with run_feed() as rig:
        assert set(rig.told()[0]) == {A, B, C}
        world.publish(C)
        await rig.notify(world)
        assert rig.told()[-1] == (C,)
        assert world.asked[asked:] == ["since 2 keep"]


async def test_what_was_not_kept_is_had_whole(run_feed: RunFeed, world: World, autojump_clock: MockClock) -> None:
    async with run_feed(forward=False) as rig:
        assert world.asked == ["whole"]
        assert rig.policy.messages == []
        assert not any(word.startswith("passed") for word in await rig.counters())
    async with run_feed() as rig:
        assert world.asked == ["whole", "whole keep"], "also where the serial is the same"
        assert [set(told) for told in rig.told()] == [set(), {A, B}]
    async with run_feed(forward=False) as rig:
        world.publish(C)
        await rig.notify(world)
        assert world.asked[2:] == ["since 1"]
    async with run_feed() as rig:
        assert world.asked[3:] == ["whole keep"], "what is stored is out of date"
        assert rig.told()[-1] == (C,)
    async with run_feed() as rig:
        assert rig.told() == [(C,)]


async def test_what_does_not_fit_is_had_whole(run_feed: RunFeed, world: World, autojump_clock: MockClock) -> None:
    async with run_feed() as rig:
        world.publish(A)
        world.wrong = (C,)
        await rig.notify(world)
        assert world.asked == ["whole keep", "since 1 keep", "whole keep"]
        assert rig.told()[-1] == (A,)


async def test_an_expired_feed_passes_nothing_until_it_is_back(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.down = True
        rig.clock.advance(4000 * 1_000_000)
        await trio.sleep(EXPIRY_GRACE + 2 * REPORT_INTERVAL)
        assert rig.told()[-1] == ()
    async with run_feed(at=4100 * 1_000_000) as rig:
        assert rig.told() == [()]
        world.down = False
        await trio.sleep(60)
        assert set(rig.told()[-1]) == {A, B}


async def test_of_too_many_some_are_kept_and_all_when_there_is_room(
    run_feed: RunFeed, world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedpassing, "MOST_RECORDS", 4)
    world.said = tuple(local(f"n{number}.example") for number in range(6))
    async with run_feed() as rig:
        assert rig.told()[-1] == world.said[:4]
        assert (await rig.counters())["passed.refused.surplus"] == 2
        first = world.said
        world.publish(*first[2:])
        await rig.notify(world)
        await trio.sleep(61)
        assert set(rig.told()[-1]) == set(first[2:])
        assert world.asked == ["whole keep", "since 1 keep", "whole keep"]
        assert "passed.refused.surplus" not in await rig.counters()


async def test_an_allowlist_passes_only_what_lets_through(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    trigger = make(parse_name("32.1.2.0.192.rpz-ip"), 5, 60, b"\x0crpz-passthru\0")
    world.said = (A, trigger)
    async with run_feed(kind=ListKind.ALLOW) as rig:
        assert rig.told()[-1] == (trigger,)
        assert (await rig.counters())["passed.refused.kind"] == 1
        assert format_name(parts_of(trigger)[0]) == "32.1.2.0.192.rpz-ip."
