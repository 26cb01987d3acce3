"""A keeper, and whoever it speaks with as probes, on the virtual clock."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from actors import ActorRef, ActorSpec, ActorSystem, ManualClock, Request, Strategy, SupervisorSpec, SystemSettings
from actors.testing import Probe, probe, run_system
from tapir.model.actions import Action
from tapir.model.blocks import NOTHING_PASSED, PassedDelta, RecordBlock, RecordDelta
from tapir.model.messages.lists import StreamPosition
from tapir.model.messages.zone import GetZone, ZoneChange, ZoneContent, ZoneStatus
from tapir.model.names import parse_name
from tapir.services.authority.keeper import MAILBOX, KeeperSettings, ZoneKeeper
from tapir.store.zones import ZoneStore
from tapir.zone.settings import ZoneSettings

ZONE = "rpz.test."


def block(*names: str, action: Action = Action.NXDOMAIN) -> RecordBlock:
    """Records of one action."""
    return RecordBlock.of((parse_name(name), action) for name in names)


def numbered(start: int, end: int) -> RecordBlock:
    """Records of made-up names."""
    return block(*(f"n{number}.example" for number in range(start, end)))


class Stream:
    """What an evaluator would send: contents and changes, each at the right position."""

    def __init__(self, epoch: str = "a") -> None:
        self._epoch = epoch
        self._sequence = -1

    def content(self, records: RecordBlock, passed: tuple[bytes, ...] = ()) -> ZoneContent:
        return ZoneContent(zone=ZONE, position=self._next(), records=records, passed=passed)

    def change(
        self,
        *,
        removed: RecordBlock | None = None,
        added: RecordBlock | None = None,
        passed: PassedDelta = NOTHING_PASSED,
    ) -> ZoneChange:
        delta = RecordDelta(removed=removed or block(), added=added or block(), passed=passed)
        return ZoneChange(zone=ZONE, position=self._next(), delta=delta)

    def _next(self) -> StreamPosition:
        self._sequence += 1
        return StreamPosition(epoch=self._epoch, sequence=self._sequence)


@attrs.frozen(kw_only=True)
class Rig:
    """A running keeper between probes."""

    system: ActorSystem
    keeper: ActorRef[Any]
    policy: Probe
    server: Probe
    notifier: Probe
    health: Probe
    stream: Stream

    async def tell(self, *messages: Any) -> None:
        for message in messages:
            await self.keeper.tell(message)

    async def ask(self, request: Request[Any]) -> Any:
        return await self.keeper.ask(request)

    async def status(self) -> ZoneStatus:
        status: ZoneStatus = await self.keeper.ask(GetZone())
        return status

    async def published(self) -> Any:
        """The view that the server is told of next."""
        return (await self.server.next()).view


RunKeeper = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def settings(tmp_path: Path) -> KeeperSettings:
    return KeeperSettings(
        zone=ZoneSettings(name=parse_name(ZONE)),
        store_path=tmp_path / "zone.db",
        serial_cache=tmp_path / "rpz-serial.yaml",
        brake_minimum=10,
    )


@pytest.fixture
def run_keeper(settings: KeeperSettings) -> RunKeeper:
    """`async with run_keeper() as rig`; `settings`, `open_store` and the notifier's spec may be others."""
    default = settings

    @asynccontextmanager
    async def run(
        *,
        settings: KeeperSettings = default,
        open_store: Callable[[Path], ZoneStore] = ZoneStore.open,
        notifier_spec: Callable[[Probe], ActorSpec[Any]] = lambda notifier: notifier.spec("notifier"),
    ) -> AsyncIterator[Rig]:
        system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0, inline_workers=True))
        policy, server, notifier, health = probe(), probe(), probe(), probe()

        def make() -> ZoneKeeper:
            return ZoneKeeper(
                settings,
                policy=system.ref("policy"),
                server=system.ref("server"),
                notifier=system.ref("notifier"),
                health=system.ref("health"),
                open_store=open_store,
            )

        keeper = ActorSpec(name="keeper", factory=make, mailbox=MAILBOX)
        probes = {"policy": policy, "server": server, "health": health}
        children = (keeper, notifier_spec(notifier), *(each.spec(name) for name, each in probes.items()))
        tree = SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children)
        async with run_system(tree, system=system):
            yield Rig(
                system=system,
                keeper=system.ref("keeper"),
                policy=policy,
                server=server,
                notifier=notifier,
                health=health,
                stream=Stream(),
            )

    return run


@pytest.fixture
def make_block() -> Callable[..., RecordBlock]:
    return block


@pytest.fixture
def make_numbered() -> Callable[[int, int], RecordBlock]:
    return numbered


@pytest.fixture
def make_stream() -> type[Stream]:
    return Stream
