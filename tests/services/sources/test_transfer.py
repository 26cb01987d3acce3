"""A feed: asked for by its timers and on NOTIFY, told so that nothing is blocked that it lets through, and expired."""

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
from tapir.codec.transfer import RecordKind
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.messages.events import ClearEvent, EventKind, HoldExpiry, RaiseEvent
from tapir.model.messages.feeds import FeedNotified, FeedStatus, GetFeed, TransferWhole
from tapir.model.messages.lists import (
    RefreshSource,
    SourceChanged,
    SourceFailed,
    SourceLoaded,
    SourceUnchanged,
)
from tapir.model.names import Name, format_name, parse_name
from tapir.services.sources.feedstate import FeedIdentity
from tapir.services.sources.transfer import EXPIRY_GRACE, LEAST_INTERVAL, TransferSource
from tapir.services.sources.transferprimary import PrimarySettings, TransferRequest
from tapir.services.sources.transfersettings import TransferSettings
from tapir.transport.transfer import PrimaryFailed
from tapir.zone.collecting import OpaqueDelta
from tapir.zone.faults import Fault, TransferError
from tapir.zone.inbound import Transferred
from tapir.zone.schedule import Timers
from tapir.zone.serial import is_newer

ZONE = parse_name("feed.example")
ONE, TWO = PrimarySettings(host="192.0.2.1"), PrimarySettings(host="192.0.2.2")
TIMERS = Timers(refresh=60, retry=20, expire=3600, minimum=60)
BLOCK, PASS = Action.NXDOMAIN, Action.PASSTHRU


def block(rules: dict[str, Action]) -> RecordBlock:
    return RecordBlock.of((parse_name(name), action) for name, action in rules.items())


@attrs.define(kw_only=True)
class World:
    """Primaries that have the feed as the test wants it, and what they were asked."""

    serial: int = 1
    rules: dict[str, Action] = attrs.field(factory=dict)
    versions: dict[int, dict[str, Action]] = attrs.field(factory=dict)
    timers: Timers = TIMERS
    others: dict[RecordKind, int] = attrs.field(factory=dict)
    incremental: bool = True
    down: set[str] = attrs.field(factory=set)
    takes: float = 0.0
    asked: list[str] = attrs.field(factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def publish(self, rules: dict[str, Action], serial: int | None = None) -> None:
        self.versions[self.serial] = self.rules
        self.serial = self.serial + 1 if serial is None else serial
        self.rules = rules
        self.versions[self.serial] = rules

    async def _visit(self, what: str, primary: PrimarySettings) -> None:
        self.asked.append(f"{what} {primary.host}")
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await trio.sleep(self.takes)
        finally:
            self.at_once -= 1
        if primary.host in self.down:
            raise PrimaryFailed(peer=(primary.host, 53), reason="connect", detail="nobody is there")

    async def transfer(
        self, primary: PrimarySettings, request: TransferRequest, *, clock: Any, in_thread: Any
    ) -> Transferred:
        await self._visit("whole" if request.whole or request.held is None else f"since {request.held}", primary)
        held, serial = request.held, self.serial
        if held is not None and held != serial and not is_newer(serial, held):
            raise TransferError(zone=ZONE, fault=Fault.ROLLBACK, detail=f"{serial} is not newer than {held}")
        content: tuple[RecordBlock, ...] | None = (block(self.rules),)
        delta: RecordDelta | None = None
        if held == serial and not request.whole:
            content = None
        elif held is not None and not request.whole and self.incremental and held in self.versions:
            old, new = self.versions[held], self.rules
            gone = {name: action for name, action in old.items() if new.get(name) != action}
            come = {name: action for name, action in new.items() if old.get(name) != action}
            content, delta = None, RecordDelta(removed=block(gone), added=block(come))
        return Transferred(
            serial=serial,
            timers=self.timers,
            held=held,
            content=content,
            delta=delta,
            opaque=OpaqueDelta(),
            counts={RecordKind.RULE: len(self.rules)},
            unevaluated=self.others,
            octets=100,
        )


class Primaries:
    def __init__(self, world: World) -> None:
        self.world = world

    async def serial(self, primary: PrimarySettings, zone: Name, *, clock: Any) -> int:
        await self.world._visit("serial", primary)
        return self.world.serial

    async def transfer(
        self, primary: PrimarySettings, request: TransferRequest, *, clock: Any, in_thread: Any
    ) -> Transferred:
        return await self.world.transfer(primary, request, clock=clock, in_thread=in_thread)


@attrs.frozen(kw_only=True)
class Rig:
    ref: ActorRef[Any]
    lists: Probe
    events: Probe
    clock: ManualClock

    async def status(self) -> FeedStatus:
        return await self.ref.ask(GetFeed())

    async def counters(self) -> dict[str, int]:
        return dict((await self.status()).counters)

    def contents(self) -> dict[str, set[str]]:
        """What the list keeper holds after all that it was told; each change fits what it held."""
        held: dict[str, tuple[str, set[str]]] = {}
        for message in self.lists.messages:
            match message:
                case SourceLoaded():
                    held[message.source] = message.digest, {format_name(name) for name, _ in message.content}
                case SourceChanged():
                    digest, names = held[message.source]
                    assert message.base == digest
                    names = names - {format_name(name) for name in message.removed}
                    held[message.source] = message.digest, names | {format_name(name) for name, _ in message.upserted}
                case _:
                    pass
        return {source: names for source, (_, names) in held.items()}

    def failures(self) -> list[str]:
        return [each.reason for each in self.lists.messages if isinstance(each, SourceFailed)]


RunFeed = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def world() -> World:
    return World(rules={"a.example": BLOCK, "b.example": Action.DROP, "good.example": PASS})


@pytest.fixture
def run_feed(tmp_path: Path, world: World) -> RunFeed:
    """`async with run_feed() as rig`; a second one in the same test finds what the first one stored."""

    @contextlib.asynccontextmanager
    async def run(
        start: int = 1_700_000_000_000_000,
        kind: ListKind = ListKind.DENY,
        primaries: tuple[PrimarySettings, ...] = (ONE,),
        zone: Name = ZONE,
        **fields: Any,
    ) -> AsyncIterator[Rig]:
        lists, events = Probe(), Probe()
        clock = ManualClock(start)
        system = ActorSystem(clock=clock, settings=SystemSettings(seed=0))
        settings = TransferSettings(
            feed=FeedIdentity(source="feed", zone=zone, kind=kind, output=parse_name("rpz.example")),
            primaries=primaries,
            store_path=tmp_path / "feeds" / "feed.db",
            **fields,
        )
        source: ActorSpec[Any] = ActorSpec(
            name="feed",
            factory=lambda: TransferSource(
                settings,
                lists=system.ref("lists"),
                events=system.ref("events"),
                primaries=Primaries(world),
                chance=lambda: 0.0,
            ),
            mailbox=ROOMY,
        )
        children = (lists.spec("lists"), events.spec("events"), source)
        tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children)
        async with run_system(tree, system=system):
            await trio.sleep(0.1)
            yield Rig(ref=system.ref("feed"), lists=lists, events=events, clock=clock)

    return run


def notify(serial: int | None = None, primary: str = "192.0.2.1") -> FeedNotified:
    return FeedNotified(zone=ZONE, serial=serial, primary=primary)


# -- what is told


async def test_the_first_transfer_fills_both_lists_the_passing_one_first(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        assert [message.source for message in rig.lists.messages] == ["feed:allow", "feed"]
        assert rig.contents() == {"feed:allow": {"good.example."}, "feed": {"a.example.", "b.example."}}
        assert world.asked == ["whole 192.0.2.1"]
        status = await rig.status()
        assert (status.state, status.serial, status.zone) == ("current", 1, "feed.example.")
        assert (status.next_check_at, status.expires_at) == (
            rig.clock.now() + 59_900_000,
            rig.clock.now() + 3599_900_000,
        )


@pytest.mark.parametrize(
    ("kind", "lists"),
    [
        (ListKind.ALLOW, {"feed": {"good.example."}, "feed:doubt": {"a.example.", "b.example."}}),
        (ListKind.DOUBT, {"feed:allow": {"good.example."}, "feed": {"a.example.", "b.example."}}),
    ],
)
async def test_the_kind_of_the_source_says_where_rules_end(
    run_feed: RunFeed, kind: ListKind, lists: dict[str, set[str]], autojump_clock: MockClock
) -> None:
    async with run_feed(kind=kind) as rig:
        assert rig.contents() == lists


async def test_a_change_comes_by_ixfr_and_only_what_changed_is_told(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.publish({"a.example": Action.NODATA, "c.example": BLOCK, "good.example": PASS})
        await trio.sleep(60)
        assert world.asked[1:] == ["serial 192.0.2.1", "since 1 192.0.2.1"]
        (change,) = [message for message in rig.lists.messages if isinstance(message, SourceChanged)]
        # Another action is no change of the list.
        assert [format_name(name) for name in change.removed] == ["b.example."]
        assert [format_name(name) for name, _ in change.upserted] == ["c.example."]
        assert rig.contents()["feed"] == {"a.example.", "c.example."}


async def test_what_is_let_through_comes_before_and_goes_after_what_is_blocked(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.publish({"*.bad.example": BLOCK, "new.bad.example": PASS})
        await trio.sleep(60)
        changes = [message for message in rig.lists.messages if isinstance(message, SourceChanged)]
        assert [(each.source, len(each.removed), len(each.upserted)) for each in changes] == [
            ("feed:allow", 0, 1),
            ("feed", 2, 1),
            ("feed:allow", 1, 0),
        ]
        assert rig.contents() == {"feed:allow": {"new.bad.example."}, "feed": {"*.bad.example."}}


async def test_a_name_let_through_no_more_goes_last_also_alone(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.publish({"a.example": BLOCK})
        await trio.sleep(60)
        changes = [message for message in rig.lists.messages if isinstance(message, SourceChanged)]
        assert [each.source for each in changes] == ["feed", "feed:allow"]
        assert rig.contents() == {"feed:allow": set(), "feed": {"a.example."}}


async def test_a_primary_that_knows_no_differences_gives_the_whole_and_the_difference_is_told(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    world.incremental = False
    async with run_feed() as rig:
        world.publish({"a.example": BLOCK, "c.example": BLOCK, "good.example": PASS})
        await trio.sleep(60)
        (change,) = [message for message in rig.lists.messages if isinstance(message, SourceChanged)]
        assert (len(change.removed), len(change.upserted)) == (1, 1)
        assert (await rig.counters())["transfers.whole"] == 2


async def test_a_difference_that_does_not_fit_is_taken_whole(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.publish({"a.example": BLOCK})
        world.versions[1] = {"never.there": BLOCK}
        await trio.sleep(60)
        assert world.asked[1:] == ["serial 192.0.2.1", "since 1 192.0.2.1", "whole 192.0.2.1"]
        assert rig.contents()["feed"] == {"a.example."}
        assert (await rig.counters())["failures.misfit"] == 1


async def test_refused_rules_are_counted_as_they_come_and_go(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    world.rules |= {"com": BLOCK, "org": BLOCK}
    async with run_feed() as rig:
        loaded = rig.lists.messages[-1]
        assert [(each.reason, each.count) for each in loaded.refusals] == [("too_broad", 2)]
        world.publish({"com": BLOCK, "a.example": BLOCK, "b.example": Action.DROP, "good.example": PASS})
        await trio.sleep(60)
        changes = [message for message in rig.lists.messages if isinstance(message, SourceChanged)]
        assert [(each.reason, each.count) for each in changes[-1].refusals] == [("too_broad", 1)]
        assert (await rig.counters())["refused.too_broad"] == 1


async def test_what_is_not_evaluated_is_counted_over_differences_and_restarts(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    world.others = {RecordKind.RPZ_IP: 3, RecordKind.LOCAL_DATA: 1}
    async with run_feed() as rig:
        world.publish(world.rules)
        world.others = {RecordKind.RPZ_IP: -1, RecordKind.OTHER_TARGET: 2, RecordKind.LOCAL_DATA: -1}
        await trio.sleep(60)
    async with run_feed() as rig:
        counters = await rig.counters()
        assert {key: count for key, count in counters.items() if key.startswith("unevaluated")} == {
            "unevaluated.rpz_ip": 2,
            "unevaluated.other_target": 2,
        }


async def test_a_list_keeper_that_lacks_the_base_is_told_all(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        count = len(rig.lists.messages)
        await rig.ref.tell(RefreshSource())
        await trio.sleep(1)
        again = rig.lists.messages[count:]
        assert [type(message) for message in again] == [SourceLoaded, SourceLoaded]
        assert [message.digest for message in again] == [message.digest for message in rig.lists.messages[:count]]
        assert world.asked[-1] == "serial 192.0.2.1"


async def test_how_it_stands_is_said_again_and_again(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        digests = {message.source: message.digest for message in rig.lists.messages}
        await trio.sleep(11)
        said = [message for message in rig.lists.messages if isinstance(message, SourceUnchanged)]
        assert {message.source: message.digest for message in said} == digests


# -- NOTIFY


async def test_a_notify_that_is_news_asks_for_the_difference_at_once(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.publish({"a.example": BLOCK})
        await trio.sleep(1)
        await rig.ref.tell(notify(2))
        await trio.sleep(0.01)
        assert world.asked[1:] == ["since 1 192.0.2.1"]
        assert rig.contents()["feed"] == {"a.example."}


@pytest.mark.parametrize("serial", [1, 0, 2**32 - 5])
async def test_a_notify_of_what_is_held_or_older_asks_nobody(
    run_feed: RunFeed, world: World, autojump_clock: MockClock, serial: int
) -> None:
    async with run_feed() as rig:
        await rig.ref.tell(notify(serial))
        await trio.sleep(5)
        assert len(world.asked) == 1
        assert (await rig.counters())["notify.known"] == 1


async def test_the_primary_that_notified_is_asked_first(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed(primaries=(ONE, TWO)) as rig:
        await rig.ref.tell(notify(primary="192.0.2.2"))
        await trio.sleep(1)
        assert world.asked[1:] == ["serial 192.0.2.2"]


async def test_a_storm_of_notifies_is_one_check_at_a_time_and_few_of_them(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        await trio.sleep(1)
        world.takes = 0.2
        for _ in range(1000):
            rig.ref.tell_nowait(notify())
            await trio.sleep(0.003)
        await trio.sleep(5)
        assert world.most_at_once == 1
        checks = len(world.asked) - 1
        assert 3 <= checks <= 3 / LEAST_INTERVAL + 2
        counters = await rig.counters()
        assert counters["notify"] == 1000
        assert counters["notify.coalesced"] >= 900


async def test_a_notify_during_a_check_leads_to_another(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.takes = 2.0
        world.publish({"a.example": BLOCK})
        await rig.ref.tell(notify(2))
        await trio.sleep(1)
        world.publish({"c.example": BLOCK})
        await rig.ref.tell(notify(3))
        await trio.sleep(10)
        # The first check brought what the second NOTIFY told of: a check for it would bring nothing.
        assert world.asked[1:] == ["since 1 192.0.2.1"]
        assert rig.contents()["feed"] == {"c.example."}


# -- primaries that fail


async def test_one_that_fails_is_passed_over_and_said_once(
    run_feed: RunFeed, world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.down = {"192.0.2.1"}
    with caplog.at_level("INFO"):
        async with run_feed(primaries=(ONE, TWO)) as rig:
            await trio.sleep(300)
            status = await rig.status()
            assert status.state == "current"
            assert rig.failures() == []
            # The one that answered last is asked first from then on.
            assert world.asked[:2] == ["whole 192.0.2.1", "whole 192.0.2.2"]
            assert set(world.asked[2:]) == {"serial 192.0.2.2"}
            world.down = {"192.0.2.2"}
            await trio.sleep(120)
            assert (await rig.status()).primaries[0].failures == 0
    said = [record.getMessage() for record in caplog.records if "primary" in record.getMessage()]
    assert said == [
        "feed feed: primary 192.0.2.1:53 fails: 192.0.2.1:53: nobody is there",
        "feed feed: primary 192.0.2.2:53 fails: 192.0.2.2:53: nobody is there",
        "feed feed: primary 192.0.2.1:53 works again",
    ]


async def test_when_none_can_be_had_what_is_held_stays_and_is_asked_for_again(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.down = {"192.0.2.1"}
        await trio.sleep(80.5)
        assert world.asked[1:] == ["serial 192.0.2.1"] * 2
        assert set(rig.failures()) == {"192.0.2.1:53: nobody is there"}
        assert (await rig.status()).state == "retrying"
        world.down = set()
        await trio.sleep(20)
        assert (await rig.status()).state == "current"
        assert isinstance(rig.lists.messages[-1], SourceUnchanged)


async def test_a_feed_that_was_never_had_waits_and_says_why(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    world.down = {"192.0.2.1"}
    async with run_feed() as rig:
        assert rig.failures() == ["192.0.2.1:53: nobody is there"]
        assert (await rig.status()).serial is None
        await trio.sleep(100)
        assert len(world.asked) == 3  # after 15 and after 30 seconds more
        world.down = set()
        await trio.sleep(100)
        assert rig.contents()["feed"] == {"a.example.", "b.example."}


async def test_a_serial_that_went_back_is_refused_until_the_operator_wants_it(
    run_feed: RunFeed, world: World, tmp_path: Path, autojump_clock: MockClock
) -> None:
    world.serial = 50
    async with run_feed() as rig:
        world.publish({"old.example": BLOCK}, serial=40)
        await trio.sleep(60)
        (reason,) = set(rig.failures())
        assert "192.0.2.1:53 has serial 40, and 50 is held" in reason
        assert "tapir refresh feed --whole" in reason
        assert rig.contents()["feed"] == {"a.example.", "b.example."}
        assert "asked for whole" in await rig.ref.ask(TransferWhole())
        await trio.sleep(1)
        assert rig.contents()["feed"] == {"old.example."}
        assert (await rig.status()).serial == 40
    async with run_feed() as rig:
        assert (await rig.status()).serial == 40


# -- restarts


async def test_a_restart_shows_what_is_held_and_goes_on_by_ixfr(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.publish({"a.example": BLOCK, "good.example": PASS})
        await trio.sleep(60)
        digests = {message.source: message.digest for message in rig.lists.messages}
    world.asked.clear()
    world.publish({"a.example": BLOCK, "c.example": BLOCK, "good.example": PASS})
    async with run_feed() as rig:
        first, second = rig.lists.messages[:2]
        assert isinstance(first, SourceUnchanged)
        assert isinstance(second, SourceUnchanged)
        assert {first.source: first.digest, second.source: second.digest} == digests
        assert world.asked == ["serial 192.0.2.1", "since 2 192.0.2.1"]
        (change,) = [message for message in rig.lists.messages if isinstance(message, SourceChanged)]
        assert (change.base, len(change.removed), len(change.upserted)) == (digests["feed"], 0, 1)


async def test_another_kind_of_list_has_other_digests(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        digest = rig.lists.messages[-1].digest
    async with run_feed(kind=ListKind.DOUBT) as rig:
        assert digest not in {message.digest for message in rig.lists.messages}
        assert world.asked[1:] == ["serial 192.0.2.1"]


async def test_another_zone_is_another_feed(run_feed: RunFeed, world: World, autojump_clock: MockClock) -> None:
    async with run_feed():
        pass
    async with run_feed(zone=parse_name("other.example")) as rig:
        assert world.asked == ["whole 192.0.2.1"] * 2
        assert (await rig.status()).zone == "other.example."


async def test_a_damaged_store_is_put_aside_and_the_feed_transferred_again(
    run_feed: RunFeed, world: World, tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_feed():
        pass
    path = tmp_path / "feeds" / "feed.db"
    path.write_bytes(b"damage" * 1000)
    with caplog.at_level("ERROR"):
        async with run_feed() as rig:
            assert world.asked == ["whole 192.0.2.1"] * 2
            assert rig.contents()["feed"] == {"a.example.", "b.example."}
    assert "what was saved is lost" in caplog.text
    assert list(path.parent.glob("feed.db.corrupt-*"))


async def test_a_disk_that_takes_nothing_is_said_once_and_made_up_for(
    run_feed: RunFeed, world: World, tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "feeds").write_text("no folder")
    with caplog.at_level("INFO"):
        async with run_feed() as rig:
            for number in range(3):
                world.publish({f"n{number}.example": BLOCK})
                await trio.sleep(60)
            assert rig.contents()["feed"] == {"n2.example."}
            (tmp_path / "feeds").unlink()
            world.publish({"last.example": BLOCK})
            await trio.sleep(60)
    assert caplog.text.count("but not saved") == 1
    assert caplog.text.count("is saved again") == 1
    async with run_feed() as rig:
        assert world.asked[-1] == "serial 192.0.2.1"


# -- expiry


async def test_a_feed_that_nobody_vouches_for_is_withdrawn_and_comes_back(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.down = {"192.0.2.1"}
        await trio.sleep(3600 + EXPIRY_GRACE - 1)
        assert rig.contents()["feed"] == {"a.example.", "b.example."}
        await trio.sleep(11)
        assert rig.contents() == {"feed": set(), "feed:allow": set()}
        withdrawn = [each for each in rig.lists.messages if isinstance(each, SourceLoaded) and each.withdrawn]
        # What it lets through is taken back last.
        assert [message.source for message in withdrawn] == ["feed", "feed:allow"]
        assert (await rig.status()).state == "expired"
        assert "it expired" in rig.failures()[-1]
        raised = [each for each in rig.events.messages if isinstance(each, RaiseEvent)]
        assert [(each.kind, each.subject) for each in raised] == [(EventKind.SOURCE_EXPIRED, "feed")]
        world.down = set()
        await trio.sleep(21)
        assert rig.contents() == {"feed:allow": {"good.example."}, "feed": {"a.example.", "b.example."}}
        assert isinstance(rig.events.messages[-1], ClearEvent)
        assert (await rig.status()).state == "current"


async def test_expiry_counts_on_while_nothing_runs(run_feed: RunFeed, world: World, autojump_clock: MockClock) -> None:
    start = 1_700_000_000_000_000
    async with run_feed():
        pass
    world.down = {"192.0.2.1"}
    async with run_feed(start=start + 3000 * 1_000_000) as rig:
        await trio.sleep(500)
        assert rig.contents() == {}
        await trio.sleep(150)
        assert rig.contents() == {"feed": set(), "feed:allow": set()}
    # Once withdrawn, it does not come back for a moment with the next start.
    async with run_feed(start=start + 4000 * 1_000_000) as rig:
        assert rig.contents() == {"feed": set(), "feed:allow": set()}
        await trio.sleep(100)
        await rig.ref.tell(RefreshSource())
        await trio.sleep(1)
        assert rig.contents() == {"feed": set(), "feed:allow": set()}
        assert not [each for each in rig.lists.messages if isinstance(each, SourceUnchanged)]


async def test_nothing_expires_while_the_clock_is_in_doubt(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        world.down = {"192.0.2.1"}
        rig.clock.advance(10 * 86400 * 1_000_000)
        await trio.sleep(EXPIRY_GRACE - 3)
        await rig.ref.tell(HoldExpiry(held=True))
        await trio.sleep(1000)
        assert rig.contents()["feed"] == {"a.example.", "b.example."}
        await rig.ref.tell(HoldExpiry(held=False))
        await trio.sleep(EXPIRY_GRACE + 11)
        assert rig.contents()["feed"] == set()


async def test_a_clock_that_is_set_back_puts_no_check_off(
    run_feed: RunFeed, world: World, autojump_clock: MockClock
) -> None:
    async with run_feed() as rig:
        rig.clock.advance(-86400 * 1_000_000)
        await trio.sleep(30)
        assert world.asked[1:] == ["serial 192.0.2.1"]


async def test_a_slow_primary_keeps_nothing_waiting(run_feed: RunFeed, world: World, autojump_clock: MockClock) -> None:
    world.timers = attrs.evolve(TIMERS, expire=600)
    async with run_feed() as rig:
        world.takes = 3000
        await trio.sleep(60)
        assert (await rig.status()).state == "transferring"
        await trio.sleep(600)
        assert rig.contents()["feed"] == set()
