"""Signed observations through the whole tree: into the zone, out of it when they end, over restarts and kills.

In the session's place is a broker that forgets a message only when it was told that it is durable.
"""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from observing import CORE, SECOND, STRANGER, payload, signed, write_keystore
from trio.testing import MockClock

from actors import Actor, Context
from tapir.model.messages.events import AcceptClock
from tapir.model.messages.mqtt import ConsumeAgain, MqttBlock, MqttSettled
from tapir.model.messages.observations import GetObservations, ObservationsStatus


@attrs.define
class Broker:
    """What was published and is not settled, over all lives of the process."""

    unsettled: dict[int, bytes] = attrs.field(factory=dict)
    blocks: dict[int, tuple[int, ...]] = attrs.field(factory=dict)
    published: int = 0
    sent: int = 0

    def publish(self, message: bytes) -> None:
        self.published += 1
        self.unsettled[self.published] = message


@attrs.frozen
class Publish:
    messages: tuple[bytes, ...]


class Session(Actor[Any]):
    """Stands in the session's place; there is one consumer."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        broker = self._broker
        match message:
            case ConsumeAgain():
                broker.blocks.clear()
                await self._send(ctx, tuple(broker.unsettled))
            case Publish():
                first = broker.published + 1
                for each in message.messages:
                    broker.publish(each)
                await self._send(ctx, tuple(range(first, broker.published + 1)))
            case MqttSettled():
                for block in message.blocks:
                    for number in broker.blocks.pop(block, ()):
                        broker.unsettled.pop(number, None)

    async def _send(self, ctx: Context[Any], numbers: tuple[int, ...]) -> None:
        if numbers:
            broker = self._broker
            broker.sent += 1
            broker.blocks[broker.sent] = numbers
            payloads = tuple(broker.unsettled[number] for number in numbers)
            block = MqttBlock(id=broker.sent, topics=("obs",) * len(payloads), payloads=payloads)
            await ctx.lookup("sources/core").tell(block)


@attrs.frozen(kw_only=True)
class Core:
    """The other side: it observes, and signs what it says."""

    pop: Any
    broker: Broker

    def run(self, **fields: Any) -> Any:
        return self.pop.run(wrap={"uplink/mqtt": lambda factory: lambda: Session(self.broker)}, **fields)

    def observes(self, name: str, *, seconds: int = 3600, tags: int = 4, at: int = 0, key: Any = CORE) -> bytes:
        observed = self.pop.clock.now() + at
        return signed(payload([(name, tags, observed, seconds)], at=observed), key)

    def removes(self, name: str) -> bytes:
        return signed(payload(removed=[name], at=self.pop.clock.now()))


async def status_of(life: Any) -> ObservationsStatus:
    status: ObservationsStatus = await life.ask("sources/core", GetObservations())
    return status


async def publish(life: Any, *messages: bytes) -> None:
    await life.system.ref("uplink/mqtt").tell(Publish(messages))


@pytest.fixture
def core(pop: Any, tmp_path: Path) -> Core:
    pop.policy["doubtlist"] = {
        "numsources": {"limit": 5, "action": "nodata"},
        "numtapirtags": {"limit": 5, "action": "nxdomain"},
        "denytapir": {"tags": ["badip"], "action": "drop"},
    }
    pop.top["keystore"] = {"path": str(write_keystore(tmp_path / "keys.json", CORE))}
    pop.top["tapir"] = {"mqtt": {"server": "mqtt://127.0.0.1:1"}}
    pop.sources["core"] = {
        "active": True,
        "name": "dns-tapir",
        "type": "doubtlist",
        "source": "mqtt",
        "format": "tapir-msg-v1",
        "topic": "obs",
    }
    return Core(pop=pop, broker=Broker())


async def test_an_observation_is_in_the_zone_until_it_ends(core: Core, autojump_clock: MockClock) -> None:
    async with core.run() as life:
        await life.until(1)
        await publish(
            life, core.observes("bad.example", seconds=100), core.observes("com"), core.observes("x", key=STRANGER)
        )
        await life.until(2)
        assert life.secondary.rules["bad.example."] == "DROP"
        assert core.broker.unsettled == {}
        await publish(life, core.observes("worse.example"), core.removes("bad.example"))
        await life.until(3)
        assert "bad.example." not in life.secondary.rules
        assert life.secondary.rules["worse.example."] == "DROP"
        await publish(life, core.observes("short.example", seconds=30))
        await life.until(4)
        assert "short.example." in life.secondary.rules
        await life.until(30 + 60)
        assert "short.example." not in life.secondary.rules


async def test_a_restart_goes_on_where_it_was(core: Core, autojump_clock: MockClock) -> None:
    async with core.run() as life:
        await life.until(1)
        message = core.observes("bad.example")
        await publish(life, message, core.observes("short.example", seconds=30))
        await life.until(2)
        serial = life.secondary.serial
        life.kill()
    core.pop.clock.advance(3600 * SECOND - 30 * SECOND)
    async with core.run() as life:
        await life.until(5)
        # What ended meanwhile is gone, by one step; the clock was not in doubt, we just were away.
        assert set(life.secondary.rules) >= {"bad.example."}
        assert "short.example." not in life.secondary.rules
        assert life.secondary.serial == (serial or 0) + 1
        await publish(life, message)
        await life.until(6)
        assert dict((await status_of(life)).counters)["duplicate"] == 1


async def test_while_the_clock_is_in_doubt_nothing_leaves_until_it_is_accepted(
    core: Core, autojump_clock: MockClock
) -> None:
    async with core.run() as life:
        await life.until(1)
        await publish(life, core.observes("bad.example", seconds=600))
        await life.until(2)
        core.pop.clock.advance(24 * 3600 * SECOND)
        await life.until(300)
        assert "bad.example." in life.secondary.rules
        assert (await status_of(life)).held
        await life.ask("control/clock", AcceptClock(user="ops"))
        await life.until(302)
        assert "bad.example." not in life.secondary.rules
        assert not (await status_of(life)).held


async def test_killed_in_a_storm_nothing_valid_is_lost(core: Core, autojump_clock: MockClock, campaign: Any) -> None:
    dice = campaign.random()
    wanted: set[str] = set()
    number = 0
    for _ in range(campaign.rounds(20) + 2):
        async with core.run() as life:
            await life.until(0.5)
            for _ in range(dice.randrange(1, 6)):
                messages = []
                for _ in range(dice.randrange(1, 40)):
                    number += 1
                    if number % 3 == 0:
                        messages.append(core.observes(f"wrong{number}.example", key=STRANGER))
                    else:
                        messages.append(core.observes(f"n{number}.example"))
                        wanted.add(f"n{number}.example.")
                await publish(life, *messages)
                for _ in range(dice.randrange(0, 30)):
                    await trio.lowlevel.checkpoint()
            life.kill()
    async with core.run() as life:
        await life.until(5)
        assert core.broker.unsettled == {}
        assert set(life.secondary.rules) == wanted
