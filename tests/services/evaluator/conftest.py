"""A list keeper between probes, and lists that are written as words."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest

from actors import (
    Actor,
    ActorRef,
    ActorSpec,
    ActorSystem,
    Context,
    Intensity,
    MailboxSpec,
    ManualClock,
    Overflow,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)
from actors.testing import Probe, run_system
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock
from tapir.model.messages.lists import GetSources, Refusal, SourceLoaded, SourcesStatus, StreamPosition
from tapir.model.messages.zone import SendContent, SourcesMissing, ZoneChange, ZoneContent
from tapir.model.names import format_name, parse_name
from tapir.policy.admission import content_digest
from tapir.policy.settings import PolicySettings
from tapir.services.evaluator.lists import ListKeeper, ListKeeperSettings, stream_of
from tapir.services.evaluator.policy import EvaluatorSettings, PolicyEvaluator
from tapir.services.evaluator.roster import SourceSettings

STORE = Path("lists.db")


@attrs.frozen(kw_only=True)
class KeeperRig:
    system: ActorSystem
    lists: ActorRef[Any]
    policy: Probe
    source: Probe
    """stands for every source: what the keeper says to any"""

    async def sources(self) -> SourcesStatus:
        found: SourcesStatus = await self.lists.ask(GetSources())
        return found

    async def words(self) -> dict[str, str]:
        return {source.id: source.state for source in (await self.sources()).sources}


RunKeeper = Callable[..., AbstractAsyncContextManager[KeeperRig]]


def make_block(*names: str) -> ListBlock:
    return ListBlock.of((parse_name(name), 0) for name in sorted(names))


def make_loaded(source: str, *names: str, refusals: tuple[Refusal, ...] = (), at: int = 1) -> SourceLoaded:
    block = make_block(*names)
    return SourceLoaded(source=source, content=block, digest=content_digest(block), refusals=refusals, loaded_at=at)


def make_source(name: str, kind: ListKind = ListKind.DENY, **settings: Any) -> SourceSettings:
    return SourceSettings(id=name, name=name, kind=kind, **settings)


@contextlib.asynccontextmanager
async def _run_keeper(
    folder: Path, *sources: SourceSettings, wrap: Callable[[Any], Any] = lambda factory: factory, **settings: Any
) -> AsyncIterator[KeeperRig]:
    policy, source = Probe(), Probe()
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    keeper_settings = ListKeeperSettings(store_path=folder / STORE, sources=sources, **settings)
    spec: ActorSpec[Any] = ActorSpec(
        name="lists",
        factory=wrap(
            ListKeeper.factory(keeper_settings, policy=system.ref("policy"), source_ref=lambda _: system.ref("source"))
        ),
        mailbox=MailboxSpec(16, Overflow.WAIT),
        stream=stream_of,
    )
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(spec, policy.spec("policy"), source.spec("source")),
    )
    async with run_system(tree, system=system):
        yield KeeperRig(system=system, lists=system.ref("lists"), policy=policy, source=source)


@pytest.fixture
def run_keeper(tmp_path: Path) -> RunKeeper:
    """`async with run_keeper(*sources) as rig`; a second one in the same test finds what the first one stored."""

    def run(*sources: SourceSettings, **settings: Any) -> AbstractAsyncContextManager[KeeperRig]:
        return _run_keeper(tmp_path, *sources, **settings)

    return run


@pytest.fixture
def loaded() -> Callable[..., SourceLoaded]:
    """`loaded("feed", "a.example", …)` is what a source says."""
    return make_loaded


@pytest.fixture
def source() -> Callable[..., SourceSettings]:
    """`source("feed", ListKind.DENY, …)` is a source whose list has its id as its name."""
    return make_source


class ZoneStandIn(Actor[Any]):
    """A zone keeper without versions: what the zone would hold, and every state of it that was ever published.

    One object across restarts. It fails the test when a difference does not fit what it was told before.
    """

    def __init__(self, policy: Callable[[], ActorRef[Any]]) -> None:
        self.records: dict[str, str] | None = None
        self.published: list[dict[str, str]] = []
        self.missing: list[tuple[str, ...]] = []
        self.position: StreamPosition | None = None
        self._policy = policy

    async def started(self, ctx: Context[Any]) -> None:
        """Lack a base, and ask for it."""
        self.position = None
        self._policy().tell_nowait(SendContent(zone="dnstapir."))

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        """Follow the stream as the zone keeper does."""
        match message:
            case ZoneContent():
                self.records = {format_name(name): action.label for name, action in message.records}
                assert len(self.records) == len(message.records)
                self.position = message.position
            case ZoneChange() if message.position.follows(self.position) and self.records is not None:
                for name, action in message.delta.removed:
                    assert self.records.pop(format_name(name)) == action.label
                for name, action in message.delta.added:
                    assert self.records.setdefault(format_name(name), action.label) == action.label
                self.position = message.position
            case ZoneChange():
                self.position = None
                self._policy().tell_nowait(SendContent(zone="dnstapir."))
                return
            case SourcesMissing():
                self.missing.append(message.waiting_for)
                return
            case _:
                raise AssertionError(f"the zone keeper is told {message!r}")
        assert self.records is not None
        if not self.published or self.published[-1] != self.records:
            self.published.append(dict(self.records))


@attrs.frozen(kw_only=True)
class EvaluatorRig:
    system: ActorSystem
    lists: ActorRef[Any]
    policy: ActorRef[Any]
    zone: ZoneStandIn


RunEvaluator = Callable[..., AbstractAsyncContextManager[EvaluatorRig]]


@contextlib.asynccontextmanager
async def _run_evaluator(
    settings: ListKeeperSettings,
    policy: PolicySettings,
    *,
    wrap: Callable[[Any], Any] = lambda factory: factory,
    children: Callable[[ActorSystem], tuple[ActorSpec[Any], ...]] = lambda _: (),
) -> AsyncIterator[EvaluatorRig]:
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    lists, policy_ref = system.ref("evaluator/lists"), system.ref("evaluator/policy")
    zone = ZoneStandIn(lambda: policy_ref)
    evaluator = EvaluatorSettings(zone="dnstapir.", policy=policy)
    waiting = MailboxSpec(4, Overflow.WAIT)
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(name="keeper", factory=lambda: zone, mailbox=waiting),
            SupervisorSpec(
                name="evaluator",
                strategy=Strategy.REST_FOR_ONE,
                intensity=Intensity(1000, 60),
                children=(
                    ActorSpec(
                        name="lists",
                        factory=wrap(
                            ListKeeper.factory(
                                settings, policy=policy_ref, source_ref=lambda name: system.ref(f"sources/{name}")
                            )
                        ),
                        mailbox=waiting,
                        stream=stream_of,
                    ),
                    ActorSpec(
                        name="policy",
                        factory=wrap(PolicyEvaluator.factory(evaluator, lists=lists, keeper=system.ref("keeper"))),
                        mailbox=waiting,
                    ),
                ),
            ),
            SupervisorSpec(name="sources", strategy=Strategy.ONE_FOR_ONE, children=children(system)),
        ),
    )
    async with run_system(tree, system=system):
        yield EvaluatorRig(system=system, lists=lists, policy=policy_ref, zone=zone)


@pytest.fixture
def run_evaluator(tmp_path: Path) -> RunEvaluator:
    """List keeper, policy evaluator and a stand-in for the zone keeper; a second run finds what the first stored."""

    def run(
        *sources: SourceSettings, policy: PolicySettings | None = None, start_deadline: float = 60, **settings: Any
    ) -> AbstractAsyncContextManager[EvaluatorRig]:
        keeper = ListKeeperSettings(store_path=tmp_path / STORE, sources=sources, start_deadline=start_deadline)
        return _run_evaluator(keeper, policy or PolicySettings(), **settings)

    return run
