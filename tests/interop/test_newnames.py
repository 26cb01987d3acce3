"""Events of new names at a real broker that is away for an hour: each arrives, and none is forgotten on the way.

The sockets are real and the hour is not: the clock goes on by itself, and jumps where nobody has done anything for a
while. A jump that comes too early makes somebody wait in vain, which is one more thing that must lose nothing.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
from mosquitto import Broker
from sightings import MAY, named, sightings_of
from trio.testing import MockClock

from actors import ActorSpec, ActorSystem, MailboxSpec, Overflow, Strategy, SupervisorSpec
from actors.testing import run_system
from tapir.codec.jose import Keystore, parse_signing_key, verify_jws
from tapir.codec.mqtt.packets import Subscription
from tapir.model.messages.newnames import EventsQueued
from tapir.services.uplink.newnames import NewNames, NewNamesSettings
from tapir.services.uplink.session import MqttSession
from tapir.services.uplink.session_settings import BrokerSettings, MqttSettings
from tapir.store.seen import SeenStore
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.dial import broker_dial
from tapir.transport.mqtt.settings import ClientSettings

HOUR = 3600
BOX = MailboxSpec(capacity=256, overflow=Overflow.WAIT)
TOPIC = "events/up/edge.example/new_qname"
KEY = (
    b'{"kty":"OKP","crv":"Ed25519","kid":"edge.example","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",'
    b'"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
)
PUBLIC = Keystore((parse_signing_key(KEY).public_key(),))


@pytest.fixture
def jumping_clock() -> MockClock:
    return MockClock(rate=1.0, autojump_threshold=0.015)


@attrs.define(kw_only=True)
class Edge:
    """EDM's uplink of events over a store that outlives it."""

    folder: Path
    port: int
    store: SeenStore
    names: int = 0

    def tree(self, system: ActorSystem) -> SupervisorSpec:
        session = MqttSettings(
            broker=BrokerSettings(host="127.0.0.1", port=self.port),
            state_path=self.folder / "edm-mqtt.json",
            role="edm",
            tick=60.0,
        )
        sending = NewNamesSettings(key=self.folder / "key.json", rate=10_000, interval=60.0)
        return SupervisorSpec(
            name="edm-uplink",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                ActorSpec(name="mqtt", factory=MqttSession.factory(lambda: session, consumer=system.ref), mailbox=BOX),
                ActorSpec(
                    name="newnames",
                    factory=lambda: NewNames(sending, store=lambda: self.store, mqtt=system.ref("mqtt")),
                    mailbox=BOX,
                ),
            ),
        )

    async def see(self, count: int, system: ActorSystem | None = None) -> None:
        """So many names are new."""
        labels = [f"n{number}" for number in range(self.names, self.names + count)]
        self.names += count
        self.store.report(sightings_of([named(label) for label in labels]), now=MAY)
        if system is not None:
            await system.ref("newnames").tell(EventsQueued())

    @property
    def waiting(self) -> int:
        return self.store.statistics().events


class Core:
    """Takes events from the broker, verifies them, and counts names."""

    def __init__(self, port: int) -> None:
        self.names: Counter[str] = Counter()
        self._client = MqttClient(
            ClientSettings(client_id="core"),
            dial=broker_dial("127.0.0.1", port),
            random=random.Random(1),
            subscriptions=(Subscription(topic_filter="events/up/+/new_qname"),),
        )

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._client.run)
            while True:
                delivery = await self._client.receive()
                assert delivery.topic == TOPIC
                verified = verify_jws(delivery.payload, PUBLIC)
                assert verified.signers == ("edge.example",)
                self.names[json.loads(verified.payload)["qname"]] += 1
                self._client.acknowledge([delivery])


async def until(condition: Callable[[], bool], what: str) -> None:
    with trio.move_on_after(HOUR) as scope:
        while not condition():  # noqa: ASYNC110 - the broker and the store tell nobody
            await trio.sleep(2)
    assert not scope.cancelled_caught, what


async def test_an_hour_without_the_broker_and_a_restart_within_it(
    make_broker: Callable[..., Broker], tmp_path: Path, jumping_clock: MockClock
) -> None:
    (tmp_path / "key.json").write_bytes(KEY)
    broker = make_broker()
    await broker.start()
    store = SeenStore.open(tmp_path / "seen.mdb")
    edge, core = Edge(folder=tmp_path, port=broker.port, store=store), Core(broker.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(core.run)
        system = ActorSystem()
        async with run_system(edge.tree(system), system=system):
            await edge.see(100, system)
            await until(lambda: not edge.waiting and len(core.names) == 100, "the first events")
            broker.stop()
            began = trio.current_time()
            while trio.current_time() - began < HOUR / 2:
                await edge.see(10, system)
                await trio.sleep(100)
            assert edge.waiting == edge.names - 100
        # It stops, and starts again, and the broker is still away.
        system = ActorSystem()
        async with run_system(edge.tree(system), system=system):
            while trio.current_time() - began < HOUR:
                await edge.see(10, system)
                await trio.sleep(100)
            assert edge.waiting == edge.names - 100 >= 350
            assert len(core.names) == 100
            await broker.start()
            await until(lambda: not edge.waiting, "the outbox to be emptied")
            await until(lambda: len(core.names) == edge.names, "all events to arrive")
        nursery.cancel_scope.cancel()
    # Once: what was in hand when the broker left it had acknowledged.
    assert set(core.names) == {f"n{number}.example." for number in range(edge.names)}
    assert core.names.total() - edge.names <= 100, "more was sent twice than is on its way at once"
    store.close()
