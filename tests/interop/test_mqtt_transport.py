"""The MQTT client against mosquitto, in real time and on 127.0.0.1."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import mqtt5
import pytest
import trio
from certificates import Authority
from mosquitto import Broker

from tapir.codec.mqtt.packets import Subscription, Version
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.dial import broker_dial
from tapir.transport.mqtt.settings import Backoff, ClientSettings
from tapir.transport.mqtt.states import Connected, ConnectionLost, Lost, PublishRefused, State, Trouble
from tapir.transport.tls import client_context

SOON = Backoff(first=0.05, factor=1.5, maximum=0.5)
VERSIONS = pytest.mark.parametrize("version", [Version.V5, Version.V3_1_1], ids=str)


@attrs.define(kw_only=True)
class Peer:
    """A client that runs, and what it told."""

    client: MqttClient
    states: list[State] = attrs.field(factory=list)
    news: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    done: trio.Event = attrs.field(factory=trio.Event)

    def report(self, state: State) -> None:
        self.states.append(state)
        self.news.set()

    async def wait_for(self, condition: Callable[[State], bool], *, after: int = 0, seconds: float = 60) -> State:
        """The first state from number `after` on that the condition is true of."""
        with trio.fail_after(seconds):
            while True:
                for state in self.states[after:]:
                    if condition(state):
                        return state
                self.news = trio.Event()
                await self.news.wait()

    async def connected(self, *, after: int = 0) -> Connected:
        state = await self.wait_for(lambda state: isinstance(state, Connected), after=after)
        assert isinstance(state, Connected)
        return state

    async def lost(self, *, after: int = 0) -> Lost:
        state = await self.wait_for(lambda state: isinstance(state, Lost), after=after)
        assert isinstance(state, Lost)
        return state

    async def run(self) -> None:
        with self.scope:
            await self.client.run()
        self.done.set()

    async def stop(self) -> None:
        self.scope.cancel()
        await self.done.wait()


Start = Callable[..., Peer]


@pytest.fixture
async def start(nursery: trio.Nursery) -> Start:
    """Starts a client of a broker; it ends with the test."""

    def starting(
        broker: Broker, name: str, *topics: str, qos: int = 1, seed: int = 1, dial: Any = None, **keys: Any
    ) -> Peer:
        versions = (keys.pop("version"),) if "version" in keys else (Version.V5, Version.V3_1_1)
        settings = ClientSettings(client_id=name, versions=versions, backoff=SOON, **keys)
        peer: Peer
        client = MqttClient(
            settings,
            dial=dial or broker_dial("127.0.0.1", broker.port),
            random=random.Random(seed),
            subscriptions=[Subscription(topic_filter=topic, qos=qos) for topic in topics],
            report=lambda state: peer.report(state),
        )
        peer = Peer(client=client)
        nursery.start_soon(peer.run)
        return peer

    return starting


async def publish_by_hand(broker: Broker, topic: str, payload: bytes) -> None:
    """Publish at QoS 2, which our client does not."""
    async with await trio.open_tcp_stream("127.0.0.1", broker.port) as stream:
        for packet in (
            mqtt5.ConnectPacket("by-hand", clean_start=True),
            mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=1),
            mqtt5.PubRelPacket(1),
        ):
            await stream.send_all(packet.write())
            assert await stream.receive_some()


@VERSIONS
async def test_messages_go_both_ways_at_every_qos(
    make_broker: Callable[..., Broker], start: Start, version: Version
) -> None:
    broker = make_broker()
    await broker.start()
    taker = start(broker, "taker", "a/#", qos=2, version=version)
    giver = start(broker, "giver", version=version)
    state = await taker.connected()
    assert (state.version, state.session_present, state.refused) == (version, False, ())
    assert [code for _, code in state.answers] == [2]
    with trio.fail_after(60):
        await giver.client.publish("a/0", b"zero", qos=0)
        await giver.client.publish("a/1", b"\0\xff" * 1000, qos=1)
        first, second = await taker.client.receive(), await taker.client.receive()
        assert (first.topic, first.payload, first.qos) == ("a/0", b"zero", 0)
        assert (second.topic, second.payload, second.qos) == ("a/1", b"\0\xff" * 1000, 1)
        taker.client.acknowledge((first, second))
        await publish_by_hand(broker, "a/2", b"once and only once")
        third = await taker.client.receive()
        assert (third.payload, third.qos) == (b"once and only once", 2)
        taker.client.acknowledge((third,))
        # PUBREL and PUBCOMP are between the broker and us; a few round trips later they are through.
        while taker.client.statistics().unacknowledged:
            await giver.client.publish("a/0", b"", qos=0)
            await taker.client.receive()
        await taker.stop()
        await giver.stop()


@VERSIONS
async def test_what_came_meanwhile_is_delivered(
    make_broker: Callable[..., Broker], start: Start, version: Version
) -> None:
    broker = make_broker()
    await broker.start()
    taker = start(broker, "taker", "a", version=version)
    giver = start(broker, "giver", version=version)
    await taker.connected()
    await taker.stop()
    with trio.fail_after(60):
        for number in range(50):
            await giver.client.publish("a", b"%d" % number)
        again = start(broker, "taker", "a", version=version)
        assert (await again.connected()).session_present
        got: list[bytes] = []
        while len(got) < 50:
            batch = await again.client.receive_batch(100)
            got += [delivery.payload for delivery in batch]
            again.client.acknowledge(batch)
    assert got == [b"%d" % number for number in range(50)]


@VERSIONS
async def test_what_is_not_acknowledged_comes_again(
    make_broker: Callable[..., Broker], start: Start, version: Version
) -> None:
    broker = make_broker()
    await broker.start()
    taker = start(broker, "taker", "a", version=version)
    giver = start(broker, "giver", version=version)
    await taker.connected()
    with trio.fail_after(60):
        for number in range(3):
            await giver.client.publish("a", b"%d" % number)
        held = [await taker.client.receive() for _ in range(3)]
        # Out of order: the broker hears of the second only with the first.
        taker.client.acknowledge(held[1:2])
        taker.client.acknowledge(held[:1])
        assert taker.client.statistics().unacknowledged == 1
        await taker.stop()
        again = start(broker, "taker", "a", version=version)
        repeated = await again.client.receive()
        assert (repeated.payload, repeated.duplicate) == (b"2", True)
        again.client.acknowledge(held)  # of another client: nothing
        again.client.acknowledge((repeated,))
        assert again.client.statistics().late == 3
        await again.stop()
        last = start(broker, "taker", "a", version=version)
        await last.connected()
        await giver.client.publish("a", b"end")
        assert (await last.client.receive()).payload == b"end"


async def test_a_broker_that_stops_and_starts_loses_nothing(make_broker: Callable[..., Broker], start: Start) -> None:
    broker = make_broker()
    await broker.start()
    taker = start(broker, "taker", "a")
    giver = start(broker, "giver")
    await taker.connected()
    await giver.connected()
    got: set[bytes] = set()
    number = 0
    with trio.fail_after(120):
        for _ in range(2):
            async with trio.open_nursery() as nursery:

                async def give() -> None:
                    nonlocal number
                    given = []
                    for _ in range(300):
                        number += 1
                        given.append(await giver.client.submit("a", b"%d" % number))
                    for publication in given:
                        await publication.wait_acknowledged()

                async def take(wanted: int) -> None:
                    while len(got) < wanted:
                        batch = await taker.client.receive_batch(50)
                        got.update(delivery.payload for delivery in batch)
                        taker.client.acknowledge(batch)

                nursery.start_soon(give)
                nursery.start_soon(take, number + 300)
                before = len(taker.states)
                await trio.to_thread.run_sync(broker.stop)
                state = await taker.lost(after=before)
                assert state.trouble in {Trouble.DISCONNECTED, Trouble.CLOSED, Trouble.BROKEN}
                await broker.start()
                assert (await taker.connected(after=before)).session_present
    assert got == {b"%d" % n for n in range(1, 601)}
    assert giver.client.statistics().waiting == 0


async def test_a_half_dead_broker_is_noticed(make_broker: Callable[..., Broker], start: Start) -> None:
    broker = make_broker()
    await broker.start()
    taker = start(broker, "taker", "a", keepalive=1, ping_patience=0.5, connect_patience=1)
    await taker.connected()
    broker.signal(signal.SIGSTOP)
    began = trio.current_time()
    state = await taker.lost()
    assert state.trouble is Trouble.KEEPALIVE
    assert trio.current_time() - began < 3
    before = len(taker.states)
    broker.signal(signal.SIGCONT)
    assert (await taker.connected(after=before)).session_present


@VERSIONS
async def test_a_takeover_is_named(make_broker: Callable[..., Broker], start: Start, version: Version) -> None:
    broker = make_broker()
    await broker.start()
    first = start(broker, "same", "a", version=version)
    await first.connected()
    second = start(broker, "same", "a", version=version)
    assert (await second.connected()).session_present
    # Mosquitto 2.0 closes without a word; that each of the two throws the other out again is what gives it away.
    with trio.fail_after(60):
        state = None
        while state is None:
            for peer in (first, second):
                state = next((s for s in peer.states if isinstance(s, Lost) and s.trouble is Trouble.TAKEN_OVER), state)
            first.news = second.news = trio.Event()
            if state is None:
                await first.news.wait()
    assert "identifier, same" in state.text
    # Politely slow from now on, else they would go on for ever at full speed.
    assert state.retry_in >= SOON.maximum * (1 - SOON.jitter)


async def test_certificates_are_read_anew_on_every_connection(
    make_broker: Callable[..., Broker], start: Start, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    served = authority.issue("localhost")
    pair = authority.issue("pop.example")
    broker = make_broker(
        f"cafile {authority.ca}",
        f"certfile {served.certificate}",
        f"keyfile {served.key}",
        "require_certificate true",
        "use_identity_as_username true",
        "tls_version tlsv1.3",
        "allow_anonymous true",
    )
    await broker.start()
    made = []

    def context() -> Any:
        made.append(1)
        return client_context(ca=authority.ca, certificate=pair.certificate, key=pair.key)

    good = pair.certificate.read_bytes()
    pair.certificate.write_text("not a certificate")
    dial = broker_dial("127.0.0.1", broker.port, make_context=context)
    taker = start(broker, "taker", "a", dial=dial)
    state = await taker.lost()
    assert state.trouble is Trouble.TLS
    assert str(pair.certificate) in state.text
    pair.certificate.write_bytes(good)
    await taker.connected()
    with trio.fail_after(60):
        await taker.client.publish("a", b"x" * 100_000)
        message = await taker.client.receive()
        assert message.payload == b"x" * 100_000
        taker.client.acknowledge((message,))
    assert len(made) >= 2

    # Without a certificate, and with a broker that another authority vouches for.
    nobody = broker_dial("127.0.0.1", broker.port, make_context=lambda: client_context(ca=authority.ca))
    refused = await start(broker, "nobody", dial=nobody).lost()
    assert refused.trouble in {Trouble.TLS, Trouble.BROKEN}
    other = Authority(tmp_path, "stranger")
    stranger = broker_dial("127.0.0.1", broker.port, make_context=lambda: client_context(ca=other.ca))
    refused = await start(broker, "stranger", dial=stranger).lost()
    assert refused.trouble is Trouble.TLS
    assert "certificate" in refused.text


@VERSIONS
async def test_who_may_not_is_told_so(
    make_broker: Callable[..., Broker], start: Start, tmp_path: Path, version: Version
) -> None:
    (tmp_path / "acl").write_text("topic readwrite mine/#\n")
    broker = make_broker("allow_anonymous true", f"acl_file {tmp_path}/acl", "max_packet_size 2000")
    await broker.start()
    taker = start(broker, "taker", "mine/#", version=version)
    await taker.connected()
    with trio.fail_after(60):
        if version is Version.V5:
            with pytest.raises(PublishRefused, match="2000"):
                await taker.client.publish("mine/a", b"x" * 2000)
        await taker.client.publish("mine/a", b"x")
        assert (await taker.client.receive()).payload == b"x"
    before = len(taker.states)
    taker.client.subscribe([Subscription(topic_filter="mine/b")])
    state = await taker.connected(after=before)
    assert [sub.topic_filter for sub, _ in state.answers] == ["mine/b"]
    with trio.fail_after(60):
        await taker.client.publish("mine/a", b"nobody listens any more")
        await taker.client.publish("mine/b", b"here")
        assert (await taker.client.receive()).payload == b"here"
        if version is Version.V5:
            # Mosquitto 2.0.11 says so, and then throws out who asked.
            with pytest.raises(PublishRefused, match="not authorized"):
                await taker.client.publish("other", b"x")


async def test_who_has_no_account_is_refused(make_broker: Callable[..., Broker], start: Start) -> None:
    broker = make_broker("allow_anonymous false")
    await broker.start()
    for version, words in ((Version.V5, "not authorized"), (Version.V3_1_1, "not authorized")):
        state = await start(broker, "nobody", version=version).lost()
        assert state.trouble is Trouble.REFUSED
        assert words in state.text


async def test_nobody_there_and_no_such_name(make_broker: Callable[..., Broker], start: Start) -> None:
    broker = make_broker()
    state = await start(broker, "early").lost()
    assert state.trouble is Trouble.CONNECT
    assert "refused" in state.text
    with trio.fail_after(120), pytest.raises(ConnectionLost) as caught:
        await broker_dial("no-such-broker.invalid", 1883)()
    assert caught.value.trouble is Trouble.RESOLVE


@VERSIONS
async def test_ten_thousand_messages(make_broker: Callable[..., Broker], start: Start, version: Version) -> None:
    broker = make_broker("allow_anonymous true", "max_inflight_messages 1000")
    await broker.start()
    taker = start(broker, "taker", "a/+", version=version)
    giver = start(broker, "giver", version=version)
    await taker.connected()
    await giver.connected()
    got: list[bytes] = []
    began, cpu = trio.current_time(), time.process_time()
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:

            async def take() -> None:
                while len(got) < 10_000:
                    batch = await taker.client.receive_batch(256)
                    got.extend(delivery.payload for delivery in batch)
                    taker.client.acknowledge(batch)

            nursery.start_soon(take)
            payload = bytes(248)
            last = [await giver.client.submit("a/b", b"%08d" % n + payload) for n in range(10_000)]
            for publication in last:
                await publication.wait_acknowledged()
    assert [int(payload[:8]) for payload in got] == list(range(10_000))
    spent = (time.process_time() - cpu) / 10_000 * 1e6
    print(f"{10_000 / (trio.current_time() - began):.0f} messages/s out and in, {spent:.1f} us of ours a message")
