"""Signed observations from mosquitto to NOTIFY on the wire, beside a list of a million names.

Two figures: how long one message takes until its NOTIFY is there, and how many a second are verified, decided,
committed and published when as many come as the broker takes. None may be lost: the zone holds every one in the end.
"""

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest
import trio
from benching import NAMES, count_transfer, make_names
from mosquitto import Broker
from observing import CORE, payload, signed, write_keystore
from peers import ZONE, Daemon, Pop, free_port

from tapir.model.actions import ListKind
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.dial import broker_dial
from tapir.transport.mqtt.settings import ClientSettings

TOPIC = "observations/down/tapir-pop"
SINGLE = 300
MANY = 120_000 if os.environ.get("TAPIR_CAMPAIGN") == "full" else 12_000
REACH_SECONDS = 0.1
REACH_RATE = 2000.0


@pytest.fixture
def pop(tmp_path: Path) -> Iterator[Pop]:
    pop = Pop(directory=tmp_path, port=free_port())
    yield pop
    if pop.daemon is not None:
        pop.stop()


def configure(pop: Pop, broker: Broker, notified: int) -> None:
    pop.add_source("bulk", "denylist", make_names(NAMES))
    pop.sources["core"] = {
        "active": True,
        "name": "dns-tapir",
        "type": "denylist",
        "source": "mqtt",
        "format": "tapir-msg-v1",
        "topic": TOPIC,
    }
    pop.extra = {
        "tapir": {"mqtt": {"server": f"mqtt://127.0.0.1:{broker.port}", "qos": 1}},
        "keystore": {"path": str(write_keystore(pop.directory / "keys.json", CORE))},
    }
    pop.downstreams = [notified]


def observing(name: str, number: int) -> bytes:
    now = time.time_ns() // 1000
    return signed(payload([(name, 1 << number % 8, now, 86_400)], at=now, kind=ListKind.DENY))


async def holds(pop: Pop, name: str) -> bool:
    """Whether the zone blocks `name`."""
    query = dns.message.make_query(f"{name}.{ZONE}.", "CNAME")
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as socket:
        await socket.connect(("127.0.0.1", pop.port))
        await socket.send(query.to_wire())
        with trio.move_on_after(1):
            answer = dns.message.from_wire(await socket.recv(4096))
            return answer.rcode() is dns.rcode.NOERROR and bool(answer.answer)
    return False


async def wait_for_zone(pop: Pop, name: str, seconds: float) -> None:
    with trio.fail_after(seconds):
        while not await holds(pop, name):  # noqa: ASYNC110  the zone tells nobody of one name
            await trio.sleep(0.01)


class Notified:
    """A secondary that takes NOTIFY and asks for nothing."""

    def __init__(self) -> None:
        self.socket = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        self.count = 0
        self.news = trio.Event()

    async def run(self) -> None:
        while True:
            octets, address = await self.socket.recvfrom(4096)
            query = dns.message.from_wire(octets)
            await self.socket.sendto(dns.message.make_response(query).to_wire(), address)
            self.count += 1
            self.news.set()
            self.news = trio.Event()

    async def wait(self, count: int) -> None:
        while self.count < count:
            await self.news.wait()


async def test_from_the_broker_to_notify(
    pop: Pop, tmp_path: Path, daemons: list[Daemon], require_peer: Callable[[str], str]
) -> None:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Broker(folder=folder, port=free_port(), program=require_peer("mosquitto"), daemons=daemons)
    await broker.start()
    notified = Notified()
    await notified.socket.bind(("127.0.0.1", 0))
    configure(pop, broker, notified.socket.getsockname()[1])
    await trio.to_thread.run_sync(pop.start)
    sender = MqttClient(
        ClientSettings(client_id="core"),
        dial=broker_dial("127.0.0.1", broker.port),
        random=random.Random(1),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        nursery.start_soon(notified.run)
        await sender.publish(TOPIC, observing("first.example", 0))
        await wait_for_zone(pop, "first.example", 120)
        await trio.sleep(1)
        took = []
        for number in range(SINGLE):
            message, before = observing(f"single{number}.example", number), notified.count
            began = time.perf_counter()
            await sender.submit(TOPIC, message)
            with trio.fail_after(30):
                await notified.wait(before + 1)
            took.append(time.perf_counter() - began)
            await trio.sleep(0.01)
        took.sort()
        p99 = took[int(len(took) * 0.99)]
        print(
            f"\nobservation to NOTIFY beside {NAMES} names: p50 {statistics.median(took) * 1000:.1f} ms, "
            f"p99 {p99 * 1000:.1f} ms, most {took[-1] * 1000:.1f} ms (reach {REACH_SECONDS * 1000:.0f})"
        )
        messages = [observing(f"many{number}.example", number) for number in range(MANY)]
        began = time.perf_counter()
        for message in messages:
            await sender.submit(TOPIC, message)
        await wait_for_zone(pop, f"many{MANY - 1}.example", 300)
        rate = MANY / (time.perf_counter() - began)
        print(f"observations from the broker into the zone: {rate:.0f} a second of {MANY} (reach {REACH_RATE:.0f})")
        await trio.to_thread.run_sync(lambda: count_transfer(pop.port, records=NAMES + 1 + SINGLE + MANY))
        nursery.cancel_scope.cancel()
    notified.socket.close()
    began = time.perf_counter()
    await trio.to_thread.run_sync(pop.kill)
    await trio.to_thread.run_sync(pop.start)
    print(f"restart after kill -9 with {NAMES + 1 + SINGLE + MANY} names: {time.perf_counter() - began:.2f} s to ready")
    assert await holds(pop, f"many{MANY - 1}.example")
    assert p99 <= REACH_SECONDS
    assert rate >= REACH_RATE
