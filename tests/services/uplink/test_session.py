"""The MQTT session with brokers played by hand and consumers that are probes, on the virtual clock."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import mqtt5
import pytest
import trio
from certificates import Authority
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
    MqttHolding,
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


def _itself(actor: Probe) -> Probe:
    return actor


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
def play(tmp_path: Path) -> Start:
    @contextlib.asynccontextmanager
    async def start(
        *filters: tuple[str, str], a: Any = None, b: Any = None, broker: Any = None, **keys: Any
    ) -> AsyncIterator[Play]:
        send, receive = trio.open_memory_channel[BrokerSide](100)

        def make_dial(_: BrokerSettings, make_context: Any) -> Any:
            async def dial() -> MemoryStream:
                if make_context is not None:
                    make_context()
                ours, theirs = memory_stream_pair()
                stream = MemoryStream(ours)
                send.send_nowait(BrokerSide(theirs, stream))
                return stream

            return dial

        subscriptions = [MqttSubscription(filter=f, consumer=consumer) for f, consumer in filters or (("a", "a"),)]
        settings = MqttSettings(
            broker=BrokerSettings(
                host="broker.example",
                port=1883,
                backoff=Backoff(first=1, maximum=8, jitter=0),
                # What is played here answers no pings.
                **{"keepalive": 60_000, **(broker or {})},
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
                        factory=partial(_itself, actor) if isinstance(actor, Probe) else actor,
                        mailbox=MAILBOX,
                    )
                    for name, actor in (("a", a), ("b", b))
                ),
            ),
        )
        system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
        refs |= {name: system.ref(name) for name in ("a", "b", "gone", "session")}
        start.refs = refs  # type: ignore[attr-defined]
        async with run_system(tree, system=system):
            yield Play(settings=settings, system=system, session=system.ref("session"), a=a, b=b, connections=receive)

    return start


async def test_a_message_is_acknowledged_when_it_is_settled(play: Start, autojump_clock: MockClock) -> None:
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


async def test_what_comes_meanwhile_is_the_next_block(play: Start, autojump_clock: MockClock) -> None:
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


class Poisoned(Actor[Any]):
    """Settles every block, and crashes on those with a payload `poison`; what it settled is shared by incarnations."""

    def __init__(self, session: ActorRef[Any], shared: Any) -> None:
        self._session = session
        self._shared = shared

    async def started(self, ctx: Context[Any]) -> None:
        await self._session.tell(ConsumeAgain(consumer="a"))

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        if b"poison" in message.payloads:
            self._shared.crashes += 1
            raise RuntimeError("poisoned")
        self._shared.seen += message.payloads
        self._shared.news.set()
        await self._session.tell(MqttSettled(consumer="a", blocks=(message.id,)))


@attrs.define
class Shared:
    seen: list[bytes] = attrs.field(factory=list)
    crashes: int = 0
    news: trio.Event = attrs.field(factory=trio.Event)


async def test_a_message_that_crashes_its_consumer_is_dropped_and_nothing_else(
    play: Start, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    shared = Shared()
    async with play(a=lambda: Poisoned(play.refs["session"], shared)) as it:  # type: ignore[attr-defined]
        broker = await it.accept()
        payloads = [b"%d" % number for number in range(20)]
        payloads[7] = b"poison"
        await broker.send(*(message(number + 1, payload=payload) for number, payload in enumerate(payloads)))
        acknowledged = [(await broker.expect(mqtt5.PubAckPacket)).packet_id for _ in range(20)]
        assert acknowledged == list(range(1, 21))
        assert set(shared.seen) == set(payloads) - {b"poison"}
        assert shared.crashes == 3
        assert await it.counter("poison") == 1
        assert [record.levelname for record in caplog.records if "crashed a twice" in record.getMessage()] == ["ERROR"]


async def test_wildcards_and_several_consumers_of_one_topic(play: Start, autojump_clock: MockClock) -> None:
    async with play(("a/+", "a"), ("a/b", "b"), ("a/+", "b")) as it:
        broker = await it.accept()
        await broker.send(message(1, "a/b"), message(2, "a/c"), message(3, "z"))
        a, b = await it.a.next(), await it.b.next()
        assert (a.topics, b.topics) == (("a/b", "a/c"), ("a/b", "a/c"))
        await it.settle(a)
        await trio.testing.wait_all_tasks_blocked()
        await it.settle(b, "b")
        # In the broker's order; the one that nobody wants comes behind, and is counted.
        assert [(await broker.expect(mqtt5.PubAckPacket)).packet_id for _ in range(3)] == [1, 2, 3]
        assert await it.counter("unwanted") == 1


async def test_who_starts_again_gets_what_it_has_not_settled(play: Start, autojump_clock: MockClock) -> None:
    async with play() as it:
        broker = await it.accept()
        await broker.send(message(1))
        block = await it.a.next()
        await it.session.tell(ConsumeAgain(consumer="a"))
        again = await it.a.next()
        assert again is block
        await it.settle(block)
        await it.settle(again)
        await broker.expect(mqtt5.PubAckPacket)
        assert (await it.status()).unacknowledged == 0


async def test_an_absent_consumer_holds_nobody_up_for_ever(
    play: Start, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with play(("a", "a"), ("g", "gone"), broker={"receive_maximum": 10}, hold=300.0) as it:
        broker = await it.accept()
        await broker.send(*(message(number, "g") for number in range(1, 10)), message(10, "a"))
        await it.settle(await it.a.next())
        began = trio.current_time()
        # PUBACKs have an order: the one of `a` waits for those before it, and the window is full.
        assert [(await broker.expect(mqtt5.PubAckPacket)).packet_id for _ in range(10)] == list(range(1, 11))
        assert 300 <= trio.current_time() - began <= 302
        assert await it.counter("abandoned") == 9
        assert "are given up" in caplog.text


async def test_a_consumer_that_waits_for_its_keys_loses_nothing(play: Start, autojump_clock: MockClock) -> None:
    async with play(("a", "a"), ("g", "gone"), broker={"receive_maximum": 10}, hold=300.0) as it:
        broker = await it.accept()
        await broker.send(*(message(number, "g") for number in range(1, 10)), message(10, "a"))
        await it.settle(await it.a.next())
        for _ in range(40):
            await trio.sleep(30)
            await it.session.tell(MqttHolding(consumer="gone"))
        assert (await it.status()).unacknowledged == 10
        assert await it.counter("abandoned") == 0


async def test_a_consumer_whose_mailbox_is_full_is_tried_again(play: Start, autojump_clock: MockClock) -> None:
    class Slow(Actor[Any]):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            await trio.sleep(5 if isinstance(message, str) else 0)
            if isinstance(message, MqttBlock):
                taken.append(message)
                done.set()

    taken: list[MqttBlock] = []
    done = trio.Event()
    async with play(a=Slow) as it:
        for _ in range(65):
            it.system.ref("a").tell_nowait("busy")
        broker = await it.accept()
        await broker.send(message(1))
        with trio.fail_after(1000):
            await done.wait()
        assert len(taken) == 1


async def test_after_a_lost_connection_what_was_not_settled_comes_again(play: Start, autojump_clock: MockClock) -> None:
    async with play() as it:
        broker = await it.accept()
        await broker.send(message(1))
        block = await it.a.next()
        await broker.hang_up()
        second = await it.accept(session_present=True)
        await second.send(message(1, duplicate=True))
        await it.settle(block)
        again = await it.a.next()
        assert again.payloads == block.payloads
        await it.settle(again)
        await second.expect(mqtt5.PubAckPacket)


# -- out


async def test_publishing(play: Start, autojump_clock: MockClock) -> None:
    async with play() as it:
        broker = await it.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.session.ask, PublishMessage(topic="s", payload=b"status"))
            packet = await broker.expect(mqtt5.PublishPacket)
            assert (packet.topic, packet.payload) == ("s", b"status")
            await broker.send(mqtt5.PubAckPacket(packet.packet_id or 0))
        assert (await it.status()).published == 1
        await it.session.ask(SetMqttActive(active=False))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AskFailed, match="MQTT is off"):
            await it.session.ask(PublishMessage(topic="s", payload=b""))


async def test_what_the_broker_refuses_is_told(play: Start, autojump_clock: MockClock) -> None:
    async with play() as it:
        broker = await it.accept()
        async with trio.open_nursery() as nursery:

            async def publish() -> None:
                with pytest.raises(AskFailed, match="not authorized"):
                    await it.session.ask(PublishMessage(topic="s", payload=b""))

            nursery.start_soon(publish)
            packet = await broker.expect(mqtt5.PublishPacket)
            refusal = mqtt5.PubAckReasonCode.NOT_AUTHORIZED
            await broker.send(mqtt5.PubAckPacket(packet.packet_id or 0, reason_code=refusal))


# -- on, off, other settings


async def test_it_is_switched_off_and_on(play: Start, autojump_clock: MockClock) -> None:
    async with play() as it:
        broker = await it.accept()
        assert "already" in await it.session.ask(SetMqttActive(active=True))
        assert "off until" in await it.session.ask(SetMqttActive(active=False))
        await broker.expect(mqtt5.DisconnectPacket)
        await trio.sleep(1000)
        assert (await it.status()).state == "off"
        assert await it.session.ask(SetMqttActive(active=True)) == "MQTT is on"
        second = await it.accept(session_present=True)
        assert "restarted" in await it.session.ask(SetMqttActive(active=True, restart=True))
        await second.expect(mqtt5.DisconnectPacket)
        await it.accept(session_present=True)
        await trio.testing.wait_all_tasks_blocked()
        assert (await it.status()).state == "connected"


async def test_other_topics_are_subscribed_to_on_the_same_connection(play: Start, autojump_clock: MockClock) -> None:
    async with play() as it:
        broker = await it.accept()
        other = attrs.evolve(it.settings, subscriptions=(MqttSubscription(filter="new", consumer="a"),))
        await it.session.ask(ConfigureSession(settings=other))
        gone = await broker.expect(mqtt5.UnsubscribePacket)
        assert gone.patterns == ["a"]
        await broker.send(mqtt5.UnsubAckPacket(gone.packet_id, [mqtt5.UnsubAckReasonCode.SUCCESS]))
        assert [f.pattern for f in (await broker.grant()).topic_filters] == ["new"]
        await broker.send(message(1, "new"))
        assert (await it.a.next()).topics == ("new",)
        await trio.testing.wait_all_tasks_blocked()
        stored = read_session(it.settings.state_path)
        assert stored is not None
        assert stored.filters == ("new",)


async def test_another_broker_takes_another_connection(play: Start, autojump_clock: MockClock) -> None:
    async with play() as it:
        broker = await it.accept()
        other = attrs.evolve(it.settings, broker=attrs.evolve(it.settings.broker, keepalive=99))
        await it.session.ask(ConfigureSession(settings=other))
        await broker.expect(mqtt5.DisconnectPacket)
        second = await it.connections.receive()
        assert (await second.expect(mqtt5.ConnectPacket)).keep_alive == 99


async def test_the_identifier_and_the_filters_outlive_a_restart(play: Start, autojump_clock: MockClock) -> None:
    names = []
    for filters in ((("old", "a"), ("both", "a")), (("both", "a"), ("new", "a"))):
        async with play(*filters) as it:
            broker = await it.connections.receive()
            names.append((await broker.expect(mqtt5.ConnectPacket)).client_id)
            await broker.send(mqtt5.ConnAckPacket(session_present=bool(names[1:])))
            if names[1:]:
                gone = await broker.expect(mqtt5.UnsubscribePacket)
                assert gone.patterns == ["old"]
                await broker.send(mqtt5.UnsubAckPacket(gone.packet_id, [mqtt5.UnsubAckReasonCode.SUCCESS]))
            await broker.grant()
            await trio.testing.wait_all_tasks_blocked()
    assert names[0] == names[1]
    assert names[0].startswith("tapir-pop-")
    assert len(names[0]) == len("tapir-pop-") + 8


async def test_a_damaged_state_file_means_another_identifier_and_no_more(
    play: Start, autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mqtt.json").write_text('{"format":1,"suffix":"../x","filters":[]}')
    async with play() as it:
        await it.accept()
        await trio.testing.wait_all_tasks_blocked()
        assert "under a new identifier" in caplog.text
        stored = read_session(it.settings.state_path)
        assert stored is not None
        assert stored.known


async def test_a_state_folder_that_takes_nothing_is_told_once(
    play: Start, autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mqtt.json").mkdir()
    async with play() as it:
        await it.accept()
        await trio.testing.wait_all_tasks_blocked()
        assert (await it.status()).state == "connected"
    assert len([record for record in caplog.records if "may not know us again" in record.getMessage()]) == 1


# -- what is said


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno > logging.DEBUG and "MQTT" in record.getMessage()
    ]


async def test_a_broker_that_is_away_for_a_night_is_two_lines(
    play: Start, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with play() as it:
        caplog.set_level(logging.INFO)
        broker = await it.accept()
        await trio.sleep(100)
        caplog.clear()
        await broker.hang_up()
        for _ in range(50):
            await (await it.connections.receive()).hang_up()
            await trio.testing.wait_all_tasks_blocked()
        status = await it.status()
        assert status.state == "waiting"
        assert "closed the connection" in status.trouble
        assert status.retry_at is not None
        assert len(lines(caplog)) <= 2  # closed, and reset: which one it is depends on who was first
        await it.accept(session_present=True)
        await trio.sleep(25)
        assert not any("works again" in line for line in lines(caplog))
        assert (await it.status()).trouble == ""
        await trio.sleep(10)
        assert sum("works again" in line for line in lines(caplog)) == 1


async def test_a_takeover_is_named(play: Start, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with play() as it:
        broker = await it.accept()
        await broker.send(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER))
        await trio.testing.wait_all_tasks_blocked()
        status = await it.status()
        assert "another client came with our client identifier, tapir-pop-" in status.trouble
        assert await it.counter("takeovers") == 1
    assert "another client came with our client identifier" in caplog.text


async def test_a_session_that_the_broker_forgot_is_told(
    play: Start, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with play() as it:
        broker = await it.accept()
        await broker.hang_up()
        await it.accept(session_present=False)
        await trio.testing.wait_all_tasks_blocked()
    assert "has forgotten our session" in caplog.text


async def test_a_refused_subscription_is_told_and_shown(
    play: Start, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with play() as it:
        broker = await it.accept(subscribe=False)
        asked = await broker.expect(mqtt5.SubscribePacket)
        await broker.send(mqtt5.SubAckPacket(asked.packet_id, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]))
        await trio.testing.wait_all_tasks_blocked()
        (topic,) = (await it.status()).topics
        assert (topic.granted, topic.refused) == (False, "not authorized")
        assert "refuses the subscription to a: not authorized" in caplog.text
        await broker.grant()
        await trio.testing.wait_all_tasks_blocked()
        assert (await it.status()).topics[0].granted


async def test_a_broker_that_never_speaks_holds_up_neither_start_nor_stop(
    play: Start, autojump_clock: MockClock
) -> None:
    began = trio.current_time()
    async with play() as it:
        assert trio.current_time() == began
        await it.connections.receive()
        await trio.sleep(5)
        assert (await it.status()).state == "connecting"
        stopping = trio.current_time()
    assert trio.current_time() - stopping <= 1.5


# -- certificates


async def test_a_certificate_that_changed_is_used_and_one_that_cannot_be_is_not(
    play: Start, autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    authority = Authority(tmp_path)
    pair, renewed = authority.issue("pop.example"), authority.issue("pop.example", file="renewed")
    tls = {"tls": True, "ca": authority.ca, "certificate": pair.certificate, "key": pair.key}
    good = pair.certificate.read_bytes()
    async with play(broker=tls) as it:
        broker = await it.accept()
        assert (await it.status()).client_id.startswith("pop.example-pop-")
        pair.certificate.touch()
        await trio.sleep(60)
        pair.certificate.write_bytes(renewed.certificate.read_bytes())  # and the old key
        await trio.sleep(600)
        assert (await it.status()).connections == 1
        assert len([line for line in caplog.messages if "cannot be used" in line]) == 1
        pair.key.write_bytes(renewed.key.read_bytes())
        began = trio.current_time()
        await broker.expect(mqtt5.DisconnectPacket)
        assert 10 <= trio.current_time() - began <= 30
        second = await it.accept(session_present=True)
        # Again at once: not more often than once a minute; and a reload has it looked at sooner.
        pair.certificate.write_bytes(good)
        pair.key.write_bytes(authority.issue("else").key.read_bytes())
        pair.certificate.write_bytes((tmp_path / "else.pem").read_bytes())
        began = trio.current_time()
        await it.session.ask(ConfigureSession(settings=it.settings))
        await second.expect(mqtt5.DisconnectPacket)
        assert 55 <= trio.current_time() - began <= 60
        await it.accept(session_present=True)
        await trio.testing.wait_all_tasks_blocked()
        assert (await it.status()).state == "connected"
    assert len([line for line in caplog.messages if "made anew" in line]) == 2


async def test_a_certificate_that_comes_late_is_waited_for(
    play: Start, autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("pop.example")
    good = pair.certificate.read_bytes()
    pair.certificate.unlink()
    tls = {"tls": True, "ca": authority.ca, "certificate": pair.certificate, "key": pair.key}
    async with play(broker=tls) as it:
        await trio.sleep(3600)
        status = await it.status()
        assert (status.state, status.client_id) == ("waiting", "")
        assert "pop.pem" in status.trouble
        pair.certificate.write_bytes(good)
        await it.accept()
    assert len([line for line in caplog.messages if "looked for again" in line]) == 1
