"""The MQTT session against real brokers, in real time and on 127.0.0.1: mosquitto, and amqtt embedded."""

import contextlib
import itertools
import logging
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import amqtt_broker
import attrs
import pytest
import trio
from certificates import Authority, Pair
from mosquitto import Broker

from actors import (
    Actor,
    ActorRef,
    ActorSpec,
    ActorSystem,
    Context,
    Intensity,
    MailboxSpec,
    Overflow,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)
from actors import Backoff as RestartBackoff
from actors.testing import run_system
from tapir.codec.mqtt.packets import Version
from tapir.model.messages.mqtt import ConsumeAgain, GetMqtt, MqttBlock, MqttSettled, MqttStatus
from tapir.services.uplink.session import MqttSession
from tapir.services.uplink.session_settings import BrokerSettings, MqttSettings, MqttSubscription
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.dial import broker_dial
from tapir.transport.mqtt.settings import Backoff, ClientSettings

SOON = Backoff(first=0.05, factor=1.5, maximum=0.5)
FAST = RestartBackoff(first=0.01, factor=1.0)
MANY = Intensity(restarts=1000, period=60)
MAILBOX = MailboxSpec(capacity=64, overflow=Overflow.WAIT)


class Consumer(Actor[MqttBlock]):
    """Settles all that it gets, and crashes now and then when it is told to."""

    def __init__(self, life: "Life") -> None:
        self._life = life

    async def started(self, ctx: Context[MqttBlock]) -> None:
        await self._life.session.tell(ConsumeAgain(consumer="x"))

    async def receive(self, ctx: Context[MqttBlock], message: MqttBlock) -> None:
        life = self._life
        if life.crash_every and next(life.blocks) % life.crash_every == 0:
            raise RuntimeError("as it was told")
        life.got += message.payloads
        life.news.set()
        life.news = trio.Event()
        await life.session.tell(MqttSettled(consumer="x", blocks=(message.id,)))


@attrs.define(kw_only=True)
class Life:
    """A session in a system of its own, and what its consumer has got."""

    session: ActorRef[Any]
    got: list[bytes] = attrs.field(factory=list)
    news: trio.Event = attrs.field(factory=trio.Event)
    blocks: Any = attrs.field(factory=lambda: itertools.count(1))
    crash_every: int = 0

    async def status(self) -> MqttStatus:
        return await self.session.ask(GetMqtt())

    async def until(self, condition: Callable[[MqttStatus], bool], seconds: float = 60) -> MqttStatus:
        with trio.fail_after(seconds):
            while True:
                if condition(status := await self.status()):
                    return status
                await trio.sleep(0.02)  # nobody tells of a state; the deadline is above

    async def wait_got(self, wanted: set[bytes], seconds: float = 60) -> None:
        with trio.fail_after(seconds):
            while not wanted <= set(self.got):
                await self.news.wait()


@contextlib.asynccontextmanager
async def session(folder: Path, port: int, *filters: str, tls: Any = None, **keys: Any) -> AsyncIterator[Life]:
    """A session with a broker on 127.0.0.1 (`localhost` over TLS)."""
    crash_every = keys.pop("crash_every", 0)
    settings = MqttSettings(
        broker=BrokerSettings(
            host="localhost" if tls else "127.0.0.1", port=port, backoff=SOON, **(tls or {}), **keys.pop("broker", {})
        ),
        subscriptions=tuple(MqttSubscription(filter=each, consumer="x") for each in filters or ("a/#",)),
        state_path=folder / "mqtt.json",
        **{"tick": 0.1, "file_interval": 0.1, "reconnect_interval": 0.5, **keys},
    )
    system = ActorSystem(settings=SystemSettings(seed=0))
    life = Life(session=system.ref("session"), crash_every=crash_every)
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(
                name="session",
                factory=MqttSession.factory(lambda: settings, consumer=lambda name: system.ref(name)),
                mailbox=MAILBOX,
            ),
            ActorSpec(name="x", factory=partial(Consumer, life), mailbox=MAILBOX, backoff=FAST),
        ),
        intensity=MANY,
    )
    async with run_system(tree, system=system):
        yield life


@contextlib.asynccontextmanager
async def giver(port: int, *versions: Version) -> AsyncIterator[MqttClient]:
    """A client that publishes."""
    client = MqttClient(
        ClientSettings(client_id="giver", backoff=SOON, versions=versions or (Version.V5,)),
        dial=broker_dial("127.0.0.1", port),
        random=random.Random(1),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()


def secured(authority: Authority, served: Pair) -> tuple[str, ...]:
    return (
        f"cafile {authority.ca}",
        f"certfile {served.certificate}",
        f"keyfile {served.key}",
        "require_certificate true",
        "use_identity_as_username true",
        "tls_version tlsv1.3",
        "allow_anonymous true",
    )


async def test_nothing_is_lost_over_restarts_of_either_side_and_crashes_between(
    make_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    broker = make_broker()
    await broker.start()
    sent: set[bytes] = set()
    got: set[bytes] = set()
    names = set()

    async def give(client: MqttClient, start: int) -> None:
        for number in range(start, start + 500):
            await client.submit(f"a/{number % 7}", b"%d" % number)
            sent.add(b"%d" % number)

    async with giver(broker.port) as client:
        async with session(tmp_path, broker.port, crash_every=5) as life:
            names.add((await life.until(lambda status: status.state == "connected")).client_id)
            await give(client, 0)
            await trio.to_thread.run_sync(broker.stop)
            await life.until(lambda status: status.state == "waiting")
            await give(client, 500)
            await broker.start()
            await life.wait_got(set(sent))
            got |= set(life.got)
        await give(client, 1000)  # while we are away
        async with session(tmp_path, broker.port) as life:
            names.add((await life.until(lambda status: status.state == "connected")).client_id)
            await life.wait_got(sent - got)
            await life.until(lambda status: not status.unacknowledged)
    assert len(names) == 1


async def test_mutual_tls_names_us_by_our_certificate_and_follows_its_renewal(
    make_broker: Callable[..., Broker], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    authority = Authority(tmp_path)
    served, pair = authority.issue("localhost"), authority.issue("pop.example")
    broker = make_broker(*secured(authority, served))
    await broker.start()
    tls = {"tls": True, "ca": authority.ca, "certificate": pair.certificate, "key": pair.key}
    async with session(tmp_path, broker.port, tls=tls) as life:
        status = await life.until(lambda status: status.state == "connected")
        assert status.client_id.startswith("pop.example-pop-")
        good = pair.certificate.read_bytes(), pair.key.read_bytes()
        # One that goes with no key of ours: the connection stays.
        pair.certificate.write_bytes(served.certificate.read_bytes())
        await life.until(lambda _: "cannot be used" in caplog.text)
        await trio.sleep(0.5)
        assert caplog.text.count("cannot be used") == 1
        assert (await life.status()).connections == 1
        # A good one again, and another one.
        renewed = authority.issue("pop.example", file="renewed")
        pair.key.write_bytes(renewed.key.read_bytes())
        pair.certificate.write_bytes(renewed.certificate.read_bytes())
        status = await life.until(lambda status: status.connections == 2 and status.state == "connected")
        assert status.trouble == ""
        # Touched, and as it was: nothing.
        pair.certificate.touch()
        await trio.sleep(1)
        assert (await life.status()).connections == 2
        pair.certificate.write_bytes(good[0])
        pair.key.write_bytes(good[1])
        await life.until(lambda status: status.connections == 3 and status.state == "connected")
    assert "made anew" in caplog.text
    assert caplog.text.count("cannot be used") == 1


async def test_a_certificate_that_comes_late_is_waited_for(make_broker: Callable[..., Broker], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    served, pair = authority.issue("localhost"), authority.issue("pop.example")
    broker = make_broker(*secured(authority, served))
    await broker.start()
    good = pair.certificate.read_bytes()
    pair.certificate.unlink()
    tls = {"tls": True, "ca": authority.ca, "certificate": pair.certificate, "key": pair.key}
    async with session(tmp_path, broker.port, tls=tls) as life:
        status = await life.until(lambda status: status.state == "waiting")
        assert str(pair.certificate) in status.trouble
        pair.certificate.write_bytes(good)
        await life.until(lambda status: status.state == "connected")


async def test_a_cut_within_a_packet_loses_nothing(make_broker: Callable[..., Broker], tmp_path: Path) -> None:
    broker = make_broker()
    await broker.start()
    cut_after = iter((300, 2500, 7001, 1 << 30, 1 << 30))

    async def serve(ours: trio.SocketStream) -> None:
        """Carry octets to the broker and back, and cut the way back somewhere."""
        left = next(cut_after)
        theirs = await trio.open_tcp_stream("127.0.0.1", broker.port)
        async with theirs, trio.open_nursery() as nursery:

            async def forth() -> None:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    async for octets in ours:
                        await theirs.send_all(octets)
                nursery.cancel_scope.cancel()

            nursery.start_soon(forth)
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async for octets in theirs:
                    await ours.send_all(octets[:left])
                    left -= len(octets)
                    if left <= 0:
                        break
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(ours)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        async with giver(broker.port) as client, session(tmp_path, port) as life:
            await life.until(lambda status: status.connections > 0)
            wanted = {b"%04d" % number + bytes(90) for number in range(200)}
            for payload in sorted(wanted):
                await client.submit("a/b", payload)
            await life.wait_got(wanted)
            assert (await life.status()).connections == 4
        nursery.cancel_scope.cancel()


async def test_a_broker_that_accepts_and_never_speaks(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:

        async def silent(stream: trio.SocketStream) -> None:
            async for _ in stream:
                pass

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, silent, listeners)
        began = trio.current_time()
        async with session(tmp_path, listeners[0].socket.getsockname()[1]) as life:
            assert trio.current_time() - began < 1
            await life.until(lambda status: status.state == "connecting")
            stopping = trio.current_time()
        assert trio.current_time() - stopping < 2
        nursery.cancel_scope.cancel()


async def test_with_amqtt_by_mqtt_3_1_1(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    async with (
        amqtt_broker.embedded(port),
        giver(port, Version.V3_1_1) as client,
        session(tmp_path, port, broker={"connect_patience": 1.0}) as life,
    ):
        status = await life.until(lambda status: status.state == "connected")
        assert status.version == "3.1.1"
        wanted = {b"%d" % number for number in range(50)}
        for payload in wanted:
            await client.publish("a/b", payload)
        await life.wait_got(wanted)
        await life.until(lambda status: not status.unacknowledged)
