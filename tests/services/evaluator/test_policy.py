"""The policy evaluator between a list keeper and a zone keeper that are probes."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    ActorRef,
    ActorSpec,
    ActorSystem,
    AskFailed,
    Delivery,
    MailboxSpec,
    ManualClock,
    Overflow,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)
from actors.testing import Probe, run_system
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock, RecordBlock
from tapir.model.messages.lists import (
    GetLists,
    ListChange,
    ListContent,
    ListDescription,
    ListsChanged,
    ListsSnapshot,
    StreamPosition,
)
from tapir.model.messages.policy import Explain, GetPolicy, GetRecords
from tapir.model.messages.zone import SendContent, SourcesMissing, ZoneChange, ZoneContent
from tapir.model.names import NameSyntaxError, format_name, parse_name
from tapir.policy.settings import PolicySettings
from tapir.services.evaluator.policy import (
    ConfigurePolicy,
    EvaluatorSettings,
    NotDecidedError,
    PolicyEvaluator,
)

ZONE = "dnstapir."


def block(*names: str) -> ListBlock:
    return ListBlock.of((parse_name(name), 0) for name in names)


def records_of(records: RecordBlock) -> dict[str, str]:
    return {format_name(name): action.label for name, action in records}


class Lists:
    """What the list keeper would say, by hand."""

    def __init__(self) -> None:
        self.epoch = "e"
        self.sequence = 0
        self.publish = True
        self.waiting_for: tuple[str, ...] = ()
        self.contents: dict[str, ListContent] = {}
        self.put("deny", ListKind.DENY)
        self.put("allow", ListKind.ALLOW)

    def put(self, source: str, kind: ListKind, *names: str) -> None:
        description = ListDescription(source=source, name=source, kind=kind)
        self.contents[source] = ListContent(description=description, content=block(*names))

    @property
    def position(self) -> StreamPosition:
        return StreamPosition(epoch=self.epoch, sequence=self.sequence)

    def snapshot(self, _: object = None) -> ListsSnapshot:
        return ListsSnapshot(
            position=self.position,
            lists=tuple(self.contents.values()),
            publish=self.publish,
            waiting_for=self.waiting_for,
        )

    def change(self, source: str = "", *upserted: str, removed: tuple[str, ...] = ()) -> ListsChanged:
        """The next change; what a snapshot says is left to `put`."""
        self.sequence += 1
        changes = (
            ListChange(
                source=source,
                removed=NameBlock.of(parse_name(name) for name in removed) if removed else EMPTY_NAMES,
                upserted=block(*upserted),
            ),
        )
        return ListsChanged(
            position=self.position,
            changes=changes if source else (),
            publish=self.publish,
            waiting_for=self.waiting_for,
        )


@attrs.frozen(kw_only=True)
class Rig:
    system: ActorSystem
    says: Lists
    lists: Probe
    keeper: Probe
    policy: ActorRef[Any]


@contextlib.asynccontextmanager
async def running(says: Lists, *, with_lists: bool = True, **settings: Any) -> AsyncIterator[Rig]:
    lists, keeper = Probe({GetLists: says.snapshot}), Probe()
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    evaluator = EvaluatorSettings(zone=ZONE, policy=PolicySettings(**settings))
    spec: ActorSpec[Any] = ActorSpec(
        name="policy",
        factory=PolicyEvaluator.factory(evaluator, lists=system.ref("lists"), keeper=system.ref("keeper")),
        mailbox=MailboxSpec(16, Overflow.WAIT),
    )
    children = (keeper.spec("keeper"), *((lists.spec("lists"),) if with_lists else ()), spec)
    tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children)
    async with run_system(tree, system=system):
        yield Rig(system=system, says=says, lists=lists, keeper=keeper, policy=system.ref("policy"))


@pytest.fixture
def says() -> Lists:
    return Lists()


async def test_first_all_records_and_then_the_differences(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example", "b.example")
    says.put("allow", ListKind.ALLOW, "b.example")
    async with running(says) as rig:
        content = await rig.keeper.next()
        assert isinstance(content, ZoneContent)
        assert (content.zone, records_of(content.records)) == (ZONE, {"a.example.": "NODATA"})
        await rig.policy.tell(says.change("deny", "c.example", removed=("a.example",)))
        change = await rig.keeper.next()
        assert isinstance(change, ZoneChange)
        assert change.position.follows(content.position)
        assert records_of(change.delta.removed) == {"a.example.": "NODATA"}
        assert records_of(change.delta.added) == {"c.example.": "NODATA"}
        await rig.policy.tell(says.change("allow", "d.example"))
        await rig.policy.tell(says.change("deny", "d.example"))
        await wait_all_tasks_blocked()
        assert len(rig.keeper.messages) == 2, "an allowed name that is denied changes nothing"


async def test_nothing_but_who_is_missing_until_it_may_be_published(says: Lists, autojump_clock: MockClock) -> None:
    says.publish, says.waiting_for = False, ("deny", "allow")
    async with running(says) as rig:
        assert await rig.keeper.next() == SourcesMissing(zone=ZONE, waiting_for=("deny", "allow"))
        says.waiting_for = ("allow",)
        await rig.policy.tell(says.change("deny", "a.example"))
        assert await rig.keeper.next() == SourcesMissing(zone=ZONE, waiting_for=("allow",))
        await rig.policy.tell(says.change("deny", "b.example"))
        await rig.policy.tell(SendContent(zone=ZONE))
        assert await rig.keeper.next() == SourcesMissing(zone=ZONE, waiting_for=("allow",))
        says.publish, says.waiting_for = True, ()
        await rig.policy.tell(says.change("allow", "b.example"))
        content = await rig.keeper.next()
        assert isinstance(content, ZoneContent)
        assert records_of(content.records) == {"a.example.": "NODATA"}
        assert len(rig.keeper.messages) == 4


async def test_a_gate_that_closes_again_ends_with_all_records(says: Lists, autojump_clock: MockClock) -> None:
    async with running(says) as rig:
        await rig.keeper.next()
        says.publish, says.waiting_for = False, ("new",)
        await rig.policy.tell(says.change("deny", "a.example"))
        assert isinstance(await rig.keeper.next(), SourcesMissing)
        says.publish, says.waiting_for = True, ()
        await rig.policy.tell(says.change())
        content = await rig.keeper.next()
        assert isinstance(content, ZoneContent)
        assert records_of(content.records) == {"a.example.": "NODATA"}


async def test_the_keeper_gets_all_records_when_it_asks(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example")
    async with running(says) as rig:
        first = await rig.keeper.next()
        await rig.policy.tell(SendContent(zone=ZONE))
        second = await rig.keeper.next()
        assert isinstance(second, ZoneContent)
        assert second.position.follows(first.position)
        assert records_of(second.records) == {"a.example.": "NODATA"}


@pytest.mark.parametrize("gap", ["sequence", "epoch", "unknown list"])
async def test_where_a_change_is_missing_all_lists_are_asked_for(
    says: Lists, gap: str, autojump_clock: MockClock
) -> None:
    async with running(says) as rig:
        await rig.keeper.next()
        says.put("deny", ListKind.DENY, "a.example", "b.example")
        match gap:
            case "sequence":
                says.change("deny", "a.example")
                message = says.change("deny", "b.example")
            case "epoch":
                says.epoch, says.sequence = "f", 0
                message = says.change()
            case _:
                says.put("other", ListKind.DENY, "c.example")
                message = says.change("other", "c.example")
        await rig.policy.tell(message)
        change = await rig.keeper.next()
        assert isinstance(change, ZoneChange), "the base is new, the difference is not larger for that"
        added = records_of(change.delta.added)
        assert added.pop("c.example.", "") == ("NODATA" if gap == "unknown list" else "")
        assert added == {"a.example.": "NODATA", "b.example.": "NODATA"}
        assert sum(isinstance(message, GetLists) for message in rig.lists.messages) == 2


async def test_the_lists_are_asked_for_until_the_keeper_is_there(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example")
    async with running(says, with_lists=False) as rig:
        with pytest.raises(AskFailed) as failed:
            await rig.policy.ask(Explain(name="a.example"))
        assert isinstance(failed.value.__cause__, NotDecidedError)
        await rig.policy.tell(SendContent(zone=ZONE))
        await trio.sleep(3.5)
        await rig.system.supervisor("").start_child(rig.lists.spec("lists"))
        assert isinstance(await rig.keeper.next(), ZoneContent)
        assert trio.current_time() == 4.0
        assert len(rig.keeper.messages) == 1


async def test_lists_that_a_change_overtook_are_asked_for_again(says: Lists, autojump_clock: MockClock) -> None:
    """The change may be the last for a long time, so nothing else would mend it."""
    made = says.snapshot
    policy: list[ActorRef[Any]] = []

    def overtaken(_: object = None) -> ListsSnapshot:
        snapshot = made()
        if says.sequence == 0:
            says.put("deny", ListKind.DENY, "a.example")
            assert policy[0].tell_nowait(says.change("deny", "a.example")) is Delivery.DELIVERED
        return snapshot

    says.snapshot = overtaken  # type: ignore[method-assign]
    async with running(says, with_lists=False) as rig:
        policy.append(rig.policy)
        await rig.system.supervisor("").start_child(rig.lists.spec("lists"))
        content = await rig.keeper.next()
        assert isinstance(content, ZoneContent)
        assert records_of(content.records) == {"a.example.": "NODATA"}
        assert len(rig.lists.messages) == 2


async def test_a_restarted_evaluator_says_the_same(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example")
    async with running(says) as rig:
        first = await rig.keeper.next()
        broken: Any = object()
        await rig.policy.tell(
            ListsChanged(position=StreamPosition(epoch="e", sequence=1), changes=(broken,), publish=True)
        )
        second = await rig.keeper.next()
        assert isinstance(second, ZoneContent)
        assert records_of(second.records) == records_of(first.records)
        assert second.position.epoch != first.position.epoch


async def test_another_policy_is_one_difference(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example", "b.example")
    async with running(says) as rig:
        await rig.keeper.next()
        policy = PolicySettings(denylist_action=Action.DROP)
        for _ in range(2):
            await rig.policy.tell(ConfigurePolicy(settings=EvaluatorSettings(zone=ZONE, policy=policy)))
        change = await rig.keeper.next()
        assert isinstance(change, ZoneChange)
        assert records_of(change.delta.removed) == {"a.example.": "NODATA", "b.example.": "NODATA"}
        assert records_of(change.delta.added) == {"a.example.": "DROP", "b.example.": "DROP"}
        await wait_all_tasks_blocked()
        assert len(rig.keeper.messages) == 2


async def test_what_is_not_durable_yet_is_decided_on_and_not_told(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example")
    async with running(says, denylist_action=Action.NXDOMAIN) as rig:
        await rig.keeper.next()
        await rig.policy.tell(attrs.evolve(says.change("deny", "b.example", "c.example"), durable=False))
        await rig.policy.tell(attrs.evolve(says.change("deny", removed=("c.example",)), durable=False))
        assert (await rig.policy.ask(Explain(name="b.example"))).action is Action.NXDOMAIN
        settings = EvaluatorSettings(zone=ZONE, policy=PolicySettings(denylist_action=Action.NODATA))
        await rig.policy.ask(ConfigurePolicy(settings=settings))
        await wait_all_tasks_blocked()
        assert len(rig.keeper.messages) == 1
        await rig.policy.tell(says.change())
        content: dict[str, str] = {"a.example.": "NXDOMAIN"}
        while content != {"a.example.": "NODATA", "b.example.": "NODATA"}:
            change = await rig.keeper.next()
            assert isinstance(change, ZoneChange)
            for name, action in records_of(change.delta.removed).items():
                assert content.pop(name) == action
            added = records_of(change.delta.added)
            assert not added.keys() & content.keys()
            content |= added
        told = len(rig.keeper.messages)
        await wait_all_tasks_blocked()
        assert len(rig.keeper.messages) == told


async def test_a_keeper_that_asks_gets_nothing_that_is_not_durable(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example")
    async with running(says) as rig:
        await rig.keeper.next()
        await rig.policy.tell(attrs.evolve(says.change("deny", "b.example"), durable=False))
        await rig.policy.tell(SendContent(zone=ZONE))
        await wait_all_tasks_blocked()
        assert len(rig.keeper.messages) == 1
        await rig.policy.tell(says.change("deny", "c.example"))
        content = await rig.keeper.next()
        assert isinstance(content, ZoneContent)
        assert records_of(content.records).keys() == {"a.example.", "b.example.", "c.example."}
        await wait_all_tasks_blocked()
        assert len(rig.keeper.messages) == 2


async def test_lists_that_come_whole_end_the_wait(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example")
    async with running(says) as rig:
        await rig.keeper.next()
        await rig.policy.tell(attrs.evolve(says.change("deny", "b.example"), durable=False))
        says.put("deny", ListKind.DENY, "a.example", "b.example", "c.example")
        says.change()  # is lost, so that all lists are asked for
        await rig.policy.tell(says.change())
        added: set[str] = set()
        while added != {"b.example.", "c.example."}:
            change = await rig.keeper.next()
            assert isinstance(change, ZoneChange)
            assert not change.delta.removed
            added |= records_of(change.delta.added).keys()


async def test_everything_that_is_decided(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example", "b.example")
    says.put("allow", ListKind.ALLOW, "b.example")
    async with running(says) as rig:
        await rig.keeper.next()
        assert records_of(await rig.policy.ask(GetRecords())) == {"a.example.": "NODATA"}


async def test_nothing_is_decided_before_the_lists_are_there(says: Lists, autojump_clock: MockClock) -> None:
    async with running(says, with_lists=False) as rig:
        with pytest.raises(AskFailed) as failed:
            await rig.policy.ask(GetRecords())
        assert isinstance(failed.value.__cause__, NotDecidedError)


async def test_explain_and_status(says: Lists, autojump_clock: MockClock) -> None:
    says.put("deny", ListKind.DENY, "a.example", "b.example")
    says.put("allow", ListKind.ALLOW, "b.example")
    async with running(says) as rig:
        await rig.keeper.next()
        explanation = await rig.policy.ask(Explain(name="A.example."))
        assert (explanation.action, explanation.stage) == (Action.NODATA, "denylist")
        explanation = await rig.policy.ask(Explain(name="b.example"))
        assert (explanation.action, explanation.stage) == (Action.NONE, "allowlist")
        with pytest.raises(AskFailed) as failed:
            await rig.policy.ask(Explain(name="not a name"))
        assert isinstance(failed.value.__cause__, NameSyntaxError)
        status = await rig.policy.ask(GetPolicy())
        assert (status.names, status.lists, status.records) == (2, 2, 1)
        assert status.decided_at == 1_700_000_000_000_000
