"""What feeds want passed through, between feeds, lists and a zone keeper that are probes."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import ActorRef, ActorSpec, ActorSystem, MailboxSpec, ManualClock, Overflow, Strategy, SupervisorSpec
from actors.testing import Probe, run_system
from tapir.codec.passed import make
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.messages.feeds import PassedJudged, PassedRecords, PassedUnchanged, SendPassed
from tapir.model.messages.lists import (
    GetLists,
    ListChange,
    ListContent,
    ListDescription,
    ListsChanged,
    ListsSnapshot,
    StreamPosition,
)
from tapir.model.messages.policy import Explain
from tapir.model.messages.zone import SendContent, SourcesMissing, ZoneChange, ZoneContent
from tapir.model.names import parse_name
from tapir.policy.settings import PolicySettings
from tapir.services.evaluator.policy import ConfigurePolicy, EvaluatorSettings, PolicyEvaluator

ZONE = "dnstapir."


def local(name: str, last: int = 1) -> bytes:
    return make(parse_name(name), 1, 60, bytes((192, 0, 2, last)))


A, B, C = (local(f"{name}.example") for name in "abc")


@attrs.define
class Lists:
    sequence: int = 0

    def snapshot(self, _: object = None) -> ListsSnapshot:
        described = (
            ListDescription(source="deny", name="deny", kind=ListKind.DENY),
            ListDescription(source="allow", name="allow", kind=ListKind.ALLOW),
        )
        lists = tuple(ListContent(description=each, content=ListBlock.of(())) for each in described)
        return ListsSnapshot(position=self.position, lists=lists, publish=True)

    @property
    def position(self) -> StreamPosition:
        return StreamPosition(epoch="e", sequence=self.sequence)

    def change(self, source: str, *added: str, removed: tuple[str, ...] = (), durable: bool = True) -> ListsChanged:
        self.sequence += 1
        change = ListChange(
            source=source,
            removed=NameBlock.of(map(parse_name, removed)),
            upserted=ListBlock.of((parse_name(name), 0) for name in added),
        )
        return ListsChanged(position=self.position, changes=(change,), publish=True, durable=durable)

    def nothing(self) -> ListsChanged:
        self.sequence += 1
        return ListsChanged(position=self.position, changes=(), publish=True)


@attrs.frozen(kw_only=True)
class Rig:
    policy: ActorRef[Any]
    keeper: Probe
    feed: Probe
    says: Lists

    async def passed(self) -> set[bytes]:
        """What the zone keeper was told to pass through so far, each difference fitting what was before."""
        await wait_all_tasks_blocked()
        held: set[bytes] = set()
        for message in self.keeper.messages:
            match message:
                case ZoneContent():
                    held = set(message.passed)
                case ZoneChange():
                    assert set(message.delta.passed.removed) <= held
                    held -= set(message.delta.passed.removed)
                    assert not held & set(message.delta.passed.added)
                    held |= set(message.delta.passed.added)
                case _:
                    pass
        return held

    def judged(self) -> PassedJudged:
        found = [message for message in self.feed.messages if isinstance(message, PassedJudged)]
        return found[-1]


def settings(*forwarding: str) -> EvaluatorSettings:
    return EvaluatorSettings(zone=ZONE, policy=PolicySettings(), forwarding=forwarding, patience=30)


@contextlib.asynccontextmanager
async def running(*forwarding: str) -> AsyncIterator[Rig]:
    says = Lists()
    lists, keeper, feed = Probe({GetLists: says.snapshot}), Probe(), Probe()
    system = ActorSystem(clock=ManualClock())
    spec: ActorSpec[Any] = ActorSpec(
        name="policy",
        factory=PolicyEvaluator.factory(
            settings(*forwarding),
            lists=system.ref("lists"),
            keeper=system.ref("keeper"),
            source_ref=lambda _: system.ref("feed"),
        ),
        mailbox=MailboxSpec(16, Overflow.WAIT),
    )
    children = (keeper.spec("keeper"), lists.spec("lists"), feed.spec("feed"), spec)
    async with run_system(SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children), system=system):
        await wait_all_tasks_blocked()
        yield Rig(policy=system.ref("policy"), keeper=keeper, feed=feed, says=says)


def records(source: str, *said: bytes, digest: str = "d") -> PassedRecords:
    return PassedRecords(source=source, digest=digest, records=said)


async def test_nothing_is_published_before_a_feed_has_spoken(autojump_clock: MockClock) -> None:
    async with running("one", "two") as rig:
        assert rig.keeper.messages == [SourcesMissing(zone=ZONE, waiting_for=("one", "two"))]
        await rig.policy.tell(records("two", B))
        await wait_all_tasks_blocked()
        assert rig.keeper.messages[-1] == SourcesMissing(zone=ZONE, waiting_for=("one",))
        await rig.policy.tell(records("one", A))
        assert await rig.passed() == {A, B}
        assert isinstance(rig.keeper.messages[-1], ZoneContent)
        assert len(rig.keeper.messages) == 3


async def test_a_feed_that_never_speaks_is_waited_for_so_long(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running("one") as rig:
        await trio.sleep(29)
        assert [type(message) for message in rig.keeper.messages] == [SourcesMissing]
        await trio.sleep(2)
        assert [type(message) for message in rig.keeper.messages] == [SourcesMissing, ZoneContent]
        assert "not waiting any longer for what feeds pass through: one" in caplog.text


async def test_what_passes_follows_feeds_lists_and_policy(autojump_clock: MockClock) -> None:
    async with running("one") as rig:
        await rig.policy.tell(records("one", A, B))
        assert await rig.passed() == {A, B}
        assert rig.judged() == PassedJudged(digest="d", passed=2, refused=())
        await rig.policy.tell(rig.says.change("allow", "a.example"))
        await rig.policy.tell(rig.says.change("deny", "b.example"))
        assert await rig.passed() == set()
        change = rig.keeper.messages[-1]
        assert (len(change.delta.added), change.delta.passed.removed) == (1, (B,)), "one change, or both would stand"
        assert rig.judged().refused == (("allowlisted", 1), ("ruled", 1))
        explained = await rig.policy.ask(Explain(name="a.example"))
        assert [(fact.source, fact.refused) for fact in explained.passed] == [("one", "allowlisted")]
        await rig.policy.tell(rig.says.change("allow", removed=("a.example",)))
        assert await rig.passed() == {A}
        await rig.policy.tell(records("one", C, digest="e"))
        assert await rig.passed() == {C}
        assert rig.judged() == PassedJudged(digest="e", passed=1, refused=())
        await rig.policy.tell(SendContent(zone=ZONE))
        assert await rig.passed() == {C}


async def test_what_is_not_durable_yet_is_told_with_the_rest(autojump_clock: MockClock) -> None:
    async with running("one") as rig:
        await rig.policy.tell(records("one", A))
        assert await rig.passed() == {A}
        await rig.policy.tell(rig.says.change("allow", "a.example", durable=False))
        await rig.policy.tell(records("one", A, B, digest="e"))
        await rig.policy.tell(PassedUnchanged(source="one", digest="e"))
        await rig.policy.tell(SendContent(zone=ZONE))
        assert await rig.passed() == {A}
        await rig.policy.tell(rig.says.nothing())
        assert await rig.passed() == {B}
        assert rig.judged() == PassedJudged(digest="e", passed=1, refused=(("allowlisted", 1),))


async def test_a_feed_that_speaks_of_what_is_not_known_is_asked(autojump_clock: MockClock) -> None:
    async with running("one") as rig:
        await rig.policy.tell(PassedUnchanged(source="one", digest="d"))
        await rig.policy.tell(PassedUnchanged(source="stranger", digest="d"))
        await rig.policy.tell(records("stranger", B))
        await wait_all_tasks_blocked()
        assert rig.feed.messages == [SendPassed()]
        await rig.policy.tell(records("one", A))
        assert await rig.passed() == {A}
        told = len(rig.feed.messages)
        await rig.policy.tell(PassedUnchanged(source="one", digest="d"))
        await wait_all_tasks_blocked()
        assert rig.feed.messages[told:] == [PassedJudged(digest="d", passed=1, refused=())]


async def test_a_feed_that_is_not_passed_through_any_more_takes_its_records_along(autojump_clock: MockClock) -> None:
    async with running("one", "two") as rig:
        await rig.policy.tell(records("one", A))
        await rig.policy.tell(records("two", A, B))
        assert await rig.passed() == {A, B}
        await rig.policy.ask(ConfigurePolicy(settings=settings("one", "three")))
        assert await rig.passed() == {A}
        await rig.policy.tell(records("three", C))
        assert await rig.passed() == {A, C}
        await rig.policy.ask(ConfigurePolicy(settings=settings()))
        assert await rig.passed() == set()


async def test_after_a_crash_feeds_are_asked_at_once(autojump_clock: MockClock) -> None:
    async with running("one") as rig:
        await rig.policy.tell(records("one", A))
        assert await rig.passed() == {A}
        await rig.policy.tell(PassedRecords(source="one", digest="bad", records=(b"no record",)))
        await trio.sleep(5)
        assert SendPassed() in rig.feed.messages
        assert await rig.passed() == {A}, "what is published stays"
        await rig.policy.tell(records("one", B))
        assert await rig.passed() == {B}
