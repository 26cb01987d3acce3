"""A campaign: edits, a store that fails at random, keepers that end without a goodbye. What is seen never lies.

Held against an oracle: every published serial is after the one before it, also over restarts, and the zone in the
end is what the evaluator said last; a difference between any two published versions leads from one to the other.
"""

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.messages.lists import StreamPosition
from tapir.model.messages.zone import ZoneChange, ZoneContent
from tapir.model.names import Name, parse_name
from tapir.services.authority.keeper import KeeperSettings
from tapir.services.authority.messages import GetView
from tapir.store.errors import StoreCorrupt, StoreFull
from tapir.store.zones import ZoneStore
from tapir.zone.serial import is_newer

NAMES = [parse_name(f"n{number}.example") for number in range(30)]


class Gone(Exception):
    """The process is killed here."""


class Disk:
    """Opens stores that fail at random, before or after what they were asked to write."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self._rng = rng
        self.rate = rate

    def open(self, path: Path) -> Any:
        self._fail(path, "open")
        return _Flaky(ZoneStore.open(path), self)

    def _fail(self, path: Path, call: str) -> None:
        if self._rng.random() < self.rate:
            corrupt = call in {"commit", "reset"} and self._rng.random() < 0.3
            raise (StoreCorrupt if corrupt else StoreFull)(path=path, reason=f"{call} fails")


class _Flaky:
    def __init__(self, store: ZoneStore, disk: Disk) -> None:
        self._store = store
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in {"commit", "reset", "prune", "load"}:
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            self._disk._fail(self._store.path, name)
            return method(*args, **kwargs)

        return call


def content(records: dict[Name, Action]) -> RecordBlock:
    return RecordBlock.of(records.items())


async def test_serials_never_go_back_and_the_zone_is_what_was_said(
    autojump_clock: MockClock, run_keeper: Any, settings: KeeperSettings, campaign: Any
) -> None:
    settings = attrs.evolve(settings, brake_minimum=1000)
    rng = campaign.random()
    disk = Disk(rng, 0.0)
    desired: dict[Name, Action] = {}
    seen: list[Any] = []
    for life in range(campaign.rounds(400)):
        disk.rate = rng.choice([0.0, 0.2, 0.6])
        with suppress(Gone):
            async with run_keeper(settings=settings, open_store=disk.open) as rig:
                await _live(rig, rng, desired, str(life))
                if rng.random() < 0.7:
                    _check(rig, seen)
                    raise Gone
                disk.rate = 0.0
                for number in range(20):
                    await trio.sleep(10)
                    await _answer(rig, desired, f"{life}.{number}")
                _check(rig, seen)
                view = await rig.ask(GetView())
                assert view is not None
                assert dict(view.version) == desired
        if rng.random() < 0.1:
            size = settings.store_path.stat().st_size if settings.store_path.exists() else 0
            settings.store_path.write_bytes(rng.randbytes(size))


async def _live(rig: Any, rng: random.Random, desired: dict[Name, Action], epoch: str) -> None:
    """Say everything, then edit; what the keeper asks for is not answered but by saying everything again."""
    sequence = 0
    await rig.tell(_everything(desired, epoch, sequence))
    for _ in range(rng.randrange(15)):
        if rng.random() < 0.2:
            await trio.sleep(rng.random() * 5)
        if rig.policy.messages:
            epoch += "'"
            sequence = 0
            await _answer(rig, desired, epoch)
        sequence += 1
        before = dict(desired)
        for name in rng.sample(NAMES, rng.randrange(1, 4)):
            if rng.random() < 0.4:
                desired.pop(name, None)
            else:
                desired[name] = rng.choice([Action.NXDOMAIN, Action.DROP])
        delta = RecordDelta(
            removed=content({name: action for name, action in before.items() if desired.get(name) != action}),
            added=content({name: action for name, action in desired.items() if before.get(name) != action}),
        )
        position = StreamPosition(epoch=epoch, sequence=sequence)
        await rig.tell(ZoneChange(zone="rpz.test.", position=position, delta=delta))
    await wait_all_tasks_blocked()
    await _answer(rig, desired, epoch + "!")


async def _answer(rig: Any, desired: dict[Name, Action], epoch: str) -> None:
    """Say everything, if the keeper has asked for it."""
    if rig.policy.messages:
        rig.policy.messages.clear()
        await rig.tell(_everything(desired, epoch, 0))
        await wait_all_tasks_blocked()


def _everything(desired: dict[Name, Action], epoch: str, sequence: int) -> ZoneContent:
    position = StreamPosition(epoch=epoch, sequence=sequence)
    return ZoneContent(zone="rpz.test.", position=position, records=content(desired))


def _check(rig: Any, seen: list[Any]) -> None:
    """What this keeper published comes after all that was published before, and its differences hold."""
    for message in rig.server.messages:
        view = message.view
        if seen and view.serial == seen[-1].serial:
            # Served again after a restart.
            assert dict(view.version) == dict(seen[-1].version)
            continue
        if seen:
            assert is_newer(view.serial, than=seen[-1].serial)
        for earlier in seen[-5:]:
            net = view.journal.net(earlier.serial)
            if net is not None:
                assert dict(earlier.version.successor(net, view.serial)) == dict(view.version)
        seen.append(view)
