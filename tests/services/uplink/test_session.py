"""The MQTT session with brokers played by hand and consumers that are probes, on the virtual clock."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import mqtt5
import pytest
import trio
from mqtt_broker import BrokerSide, MemoryStream
from trio.testing import MockClock, memory_stream_pair

from actors import (
    Actor,
    ActorRef,
    ActorSpec,
    ActorSystem,
    AskFailed,
    Context,
    MailboxSpec,
    ManualClock,
    Overflow,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)
from actors.testing import Probe, run_system
from tapir.model.messages.mqtt import (
    ConsumeAgain,
    GetMqtt,
    MqttBlock,
    MqttSettled,
    MqttStatus,
    PublishMessage,
    SetMqttActive,
)
from tapir.services.uplink.session import MqttSession
from tapir.services.uplink.session_messages import ConfigureSession
from tapir.services.uplink.session_settings import BrokerSettings, MqttSettings, MqttSubscription
from tapir.store.broker import read_session
from tapir.transport.mqtt.settings import Backoff

ONE = mqtt5.QoS.AT_LEAST_ONCE
MAILBOX = MailboxSpec(capacity=64, overflow=Overflow.WAIT)


def message(number: int, topic: str = "a", payload: bytes = b"x", **keys: Any) -> mqtt5.PublishPacket:
    return mqtt5.PublishPacket(topic, payload, qos=ONE, packet_id=number, **keys)


@attrs.define(kw_only=True)
class Play:
    """A session in a tree with its consumers `a` and `b`, which are probes unless told otherwise."""

    settings: MqttSettings
    system: Any
    session: ActorRef[Any]
    a: Any
    b: Any
    connections: trio.MemoryReceiveChannel[BrokerSide]

    async def accept(self, **keys: Any) -> BrokerSide:
        broker = await self.connections.receive()
        await broker.welcome(**{"subscribe": True, **keys})
        return broker

    async def settle(self, block: MqttBlock, consumer: str = "a") -> None:
        await self.session.tell(MqttSettled(consumer=consumer, blocks=(block.id,)))

    async def status(self) -> MqttStatus:
        return await self.session.ask(GetMqtt())

    async def counter(self, name: str) -> int:
        return dict((await self.status()).counters)[name]


Start = Callable[..., contextlib.AbstractAsyncContextManager[Play]]


@pytest.fixture
def play(tmp_path: Path, autojump_clock: MockClock) -> Start:
    @contextlib.asynccontextmanager
    async def start(
        *filters: tuple[str, str], a: Any = None, b: Any = None, broker: Any = None, **keys: Any
    ) -> AsyncIterator[Play]:
        send, receive = trio.open_memory_channel[BrokerSide](100)

        def make_dial(_: BrokerSettings) -> Any:
            async def dial() -> MemoryStream:
                ours, theirs = memory_stream_pair()
                stream = MemoryStream(ours)
                send.send_nowait(BrokerSide(theirs, stream))
                return stream

            return dial

        subscriptions = [MqttSubscription(filter=f, consumer=consumer) for f, consumer in filters or (("a", "a"),)]
        settings = MqttSettings(
            broker=BrokerSettings(
                host="broker.example", port=1883, backoff=Backoff(first=1, maximum=8, jitter=0), **(broker or {})
            ),
            subscriptions=tuple(subscriptions),
            state_path=tmp_path / "mqtt.json",
            **keys,
        )
        a, b = a or Probe(), b or Probe()
        refs: dict[str, ActorRef[Any]] = {}
        tree = SupervisorSpec(
            name="test",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                ActorSpec(
                    name="session",
                    factory=MqttSession.factory(lambda: settings, consumer=refs.__getitem__, dial=make_dial),
                    mailbox=MAILBOX,
                ),
                *(
                    ActorSpec(
                        name=name,
                        factory=(lambda actor=actor: actor) if isinstance(actor, Probe) else actor,
                        mailbox=MAILBOX,
                    )
                    for name, actor in (("a", a), ("b", b))
                ),
            ),
        )
        system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
        refs |= {name: system.ref(name) for name in ("a", "b", "gone")}
        async with run_system(tree, system=system):
            yield Play(settings=settings, system=system, session=system.ref("session"), a=a, b=b, connections=receive)

    return start


async def test_a_message_is_acknowledged_when_it_is_settled(play: Start) -> None:
    async with play() as it:
        broker = await it.accept()
        await broker.send(message(1), message(2), message(3))
        block = await it.a.next()
        assert (block.topics, block.payloads) == (("a", "a", "a"), (b"x",) * 3)
        status = await it.status()
        assert (status.state, status.version, status.unacknowledged, status.trouble) == ("connected", "5", 3, "")
        await it.settle(block)
        assert [(await broker.expect(mqtt5.PubAckPacket)).packet_id for _ in range(3)] == [1, 2, 3]
        (topic,) = (await it.status()).topics
        assert (topic.granted, topic.messages, topic.octets, topic.consumer) == (True, 3, 3, "a")


async def test_what_comes_meanwhile_is_the_next_block(play: Start) -> None:
    async with play() as it:
        broker = await it.accept()
        await broker.send(message(1))
        first = await it.a.next()
        for number in range(2, 6):
            await broker.send(message(number, payload=b"%d" % number))
        await trio.testing.wait_all_tasks_blocked()
        assert len(it.a.messages) == 1
        await it.settle(first)
        assert (await it.a.next()).payloads == (b"2", b"3", b"4", b"5")
