"""What the console is told of the MQTT connection."""

from typing import Any

from trio.testing import MockClock

from actors import ActorSystem, ManualClock, Request, Strategy, SupervisorSpec, SystemSettings
from actors.testing import probe, run_system
from tapir.model.messages.mqtt import GetGlobalConfig, GetMqtt
from tapir.services.control.broker import describe_broker


async def ask(ref: Any, question: Request[Any]) -> object:
    return await ref.ask(question)


def one_for_one(name: str, *children: Any) -> SupervisorSpec:
    return SupervisorSpec(name=name, strategy=Strategy.ONE_FOR_ONE, children=children)


async def test_what_runs_is_asked(autojump_clock: MockClock) -> None:
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    session, keeper = probe({GetMqtt: "status"}), probe({GetGlobalConfig: "configuration"})
    tree = one_for_one("tapir", one_for_one("uplink", session.spec("mqtt"), keeper.spec("global")))
    async with run_system(tree, system=system):
        assert await describe_broker(system, ask) == {"mqtt": "status", "global": "configuration", "edm": None}
        await system.supervisor("uplink").stop_child("global")
        assert await describe_broker(system, ask) == {"mqtt": "status", "global": None, "edm": None}


async def test_what_does_not_run_is_none(autojump_clock: MockClock) -> None:
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    async with run_system(one_for_one("tapir", probe().spec("else")), system=system):
        assert await describe_broker(system, ask) == {"mqtt": None, "global": None, "edm": None}


async def test_edm_has_a_session_of_its_own(autojump_clock: MockClock) -> None:
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    session = probe({GetMqtt: "status"})
    async with run_system(one_for_one("tapir", one_for_one("edm-uplink", session.spec("mqtt"))), system=system):
        assert await describe_broker(system, ask) == {"mqtt": None, "global": None, "edm": "status"}
