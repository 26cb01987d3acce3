"""One process configures one zone today; keepers, stores and messages carry the zone, so two live side by side."""

from pathlib import Path
from typing import Any

from trio.testing import MockClock

from actors import ActorSpec, ActorSystem, ManualClock, Strategy, SupervisorSpec, SystemSettings
from actors.testing import Probe, probe, run_system
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.messages.lists import StreamPosition
from tapir.model.messages.zone import GetZone, HoldZone, ZoneChange, ZoneContent
from tapir.model.names import parse_name
from tapir.services.authority.keeper import MAILBOX, KeeperSettings, ZoneKeeper
from tapir.services.authority.messages import GetView
from tapir.store.state import StateDirectory
from tapir.zone.settings import ZoneSettings

ZONES = ("one.rpz.", "two.rpz.")


def block(*names: str) -> RecordBlock:
    return RecordBlock.of((parse_name(name), Action.NXDOMAIN) for name in names)


def keeper(system: ActorSystem, state: StateDirectory, zone: str, parties: dict[str, Probe]) -> ActorSpec[Any]:
    settings = KeeperSettings(
        zone=ZoneSettings(name=parse_name(zone)),
        store_path=state.zone(zone),
        serial_cache=state.path / f"{zone}yaml",
    )
    refs = {name: system.ref(name) for name in parties}
    return ActorSpec(
        name=zone,
        factory=lambda: ZoneKeeper(
            settings, policy=refs["policy"], server=refs[f"server-{zone}"], notifier=refs["notifier"]
        ),
        mailbox=MAILBOX,
    )


def tree(system: ActorSystem, state: StateDirectory) -> tuple[SupervisorSpec, dict[str, Probe]]:
    parties = {name: probe() for name in ("policy", "notifier", *(f"server-{zone}" for zone in ZONES))}
    children = (
        *(party.spec(name) for name, party in parties.items()),
        *(keeper(system, state, zone, parties) for zone in ZONES),
    )
    return SupervisorSpec(name="test", strategy=Strategy.ONE_FOR_ONE, children=children), parties


async def test_two_zones_keep_apart_what_they_hold_and_how_they_stand(tmp_path: Path, autojump_clock: MockClock):
    state = StateDirectory.open(tmp_path)
    first = StreamPosition(epoch="e", sequence=0)
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    spec, parties = tree(system, state)
    async with run_system(spec, system=system):
        one, two = (system.ref(zone) for zone in ZONES)
        await one.tell(ZoneContent(zone="one.rpz.", position=first, records=block("a.example", "b.example")))
        await two.tell(ZoneContent(zone="two.rpz.", position=first, records=block("c.example")))
        for zone in ZONES:
            await parties[f"server-{zone}"].next()
        await one.ask(HoldZone())
        for zone, added in (("one.rpz.", "held.example"), ("two.rpz.", "d.example")):
            change = ZoneChange(
                zone=zone,
                position=StreamPosition(epoch="e", sequence=1),
                delta=RecordDelta(added=block(added)),
            )
            await system.ref(zone).tell(change)
        await parties["server-two.rpz."].next()
        statuses = [await ref.ask(GetZone()) for ref in (one, two)]
        assert [(status.zone, status.serial, status.records, status.state) for status in statuses] == [
            ("one.rpz.", 1, 2, "held"),
            ("two.rpz.", 2, 2, "serving"),
        ]

    # Both come back from stores of their own.
    assert sorted(path.name for path in (tmp_path / "zones").iterdir()) == ["one.rpz", "two.rpz"]
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    spec, _ = tree(system, state)
    async with run_system(spec, system=system):
        views = [await system.ref(zone).ask(GetView()) for zone in ZONES]
        assert [view.serial for view in views] == [1, 2]
        assert [dict(view.version) for view in views] == [
            dict(block("a.example", "b.example")),
            dict(block("c.example", "d.example")),
        ]
        assert (await system.ref("one.rpz.").ask(GetZone())).state == "held"
    state.close()
