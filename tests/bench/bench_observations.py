"""Signed observations from mosquitto to NOTIFY on the wire, beside a list of a million names; and a restart with many.

How long one message takes until its NOTIFY is there, whether so many a second are verified, decided, committed and
published for a minute, and how many when as many come as the broker takes. None may be lost: the zone holds every one
in the end. After a restart all is served at once, and a secondary transfers nothing.
"""

import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest
import trio
from benching import NAMES, ask_soa, count_transfer, make_names, wait_for_zone
from mosquitto import Broker
from observed_pop import configure, core, counters, status, until
from observing import payload, signed
from peers import ZONE, Daemon, Pop, free_port
from relay import Relay, notify

from tapir.model.actions import ListKind
from tapir.transport.mqtt.client import MqttClient

SINGLE = 300
RATE = 2200
SECONDS = int(os.environ.get("TAPIR_BENCH_SECONDS", "60"))
BURST = 20_000
REACH_SECONDS = 0.1
REACH_RATE = 2000.0
REACH_RESTART = 2.0


@pytest.fixture
def pop(tmp_path: Path) -> Iterator[Pop]:
    pop = Pop(directory=tmp_path, port=free_port())
    yield pop
    if pop.daemon is not None:
        pop.stop()


@pytest.fixture
async def broker(tmp_path: Path, daemons: list[Daemon], require_peer: Callable[[str], str]) -> Broker:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Broker(folder=folder, port=free_port(), program=require_peer("mosquitto"), daemons=daemons)
    await broker.start()
    return broker


def observing(names: list[str], number: int) -> bytes:
    """A message that adds `names`."""
    now = time.time_ns() // 1000
    added = [(name, 1 << number % 8, now, 86_400) for name in names]
    return signed(payload(added, at=now, kind=ListKind.DENY))


def many(what: str, count: int) -> list[bytes]:
    """So many messages, each of a name."""
    return [observing([f"{what}{number}.example"], number) for number in range(count)]


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


async def wait_for_name(pop: Pop, name: str, seconds: float) -> None:
    with trio.fail_after(seconds):
        while not await holds(pop, name):  # noqa: ASYNC110  the zone tells nobody of one name
            await trio.sleep(0.01)


class Notified:
    """A secondary that takes NOTIFY and asks for nothing; `serial` is of the last one."""

    def __init__(self) -> None:
        self.socket = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        self.serial = 0
        self.news = trio.Event()

    async def run(self) -> None:
        while True:
            octets, address = await self.socket.recvfrom(4096)
            query = dns.message.from_wire(octets)
            await self.socket.sendto(dns.message.make_response(query).to_wire(), address)
            if query.answer:  # without, it is the question which version we have
                self.serial = query.answer[0][0].serial
            self.news.set()
            self.news = trio.Event()

    async def wait(self, before: int) -> None:
        """Return once there is another serial."""
        while self.serial == before:
            await self.news.wait()


@pytest.fixture
async def notified() -> AsyncIterator[Notified]:
    notified = Notified()
    with notified.socket:
        await notified.socket.bind(("127.0.0.1", 0))
        yield notified


async def measure_single(sender: MqttClient, notified: Notified, topic: str) -> float:
    """The time from an observation to its NOTIFY within which 99 of 100 come."""
    took = []
    for number in range(SINGLE):
        message, before = observing([f"single{number}.example"], number), notified.serial
        began = time.perf_counter()
        await sender.submit(topic, message)
        with trio.fail_after(30):
            await notified.wait(before)
        took.append(time.perf_counter() - began)
        await trio.sleep(0.05)
    took.sort()
    p99 = took[int(len(took) * 0.99)]
    print(
        f"\nobservation to NOTIFY beside {NAMES} names: p50 {statistics.median(took) * 1000:.1f} ms, "
        f"p99 {p99 * 1000:.1f} ms, most {took[-1] * 1000:.1f} ms (reach {REACH_SECONDS * 1000:.0f})"
    )
    return p99


async def measure_rate(pop: Pop, sender: MqttClient, topic: str, what: str, messages: list[bytes], pace: int) -> float:
    """How many a second there were from the first until all were in the zone, sent so many a second; 0: at will."""
    began = time.perf_counter()
    for number, message in enumerate(messages):
        if pace and number % 20 == 0:
            await trio.sleep(max(0.0, began + number / pace - time.perf_counter()))
        await sender.submit(topic, message)
    sent = time.perf_counter() - began
    await wait_for_name(pop, f"{what}{len(messages) - 1}.example", 300)
    took = time.perf_counter() - began
    print(
        f"{len(messages)} observations sent in {sent:.1f} s, in the zone {took - sent:.2f} s later: "
        f"{len(messages) / took:.0f} a second (reach {REACH_RATE:.0f})"
    )
    return len(messages) / took


async def test_from_the_broker_to_notify(pop: Pop, broker: Broker, notified: Notified) -> None:
    pop.add_source("bulk", "denylist", make_names(NAMES))
    configure(pop, f"mqtt://127.0.0.1:{broker.port}")
    topic = pop.sources["core"]["topic"]
    pop.downstreams = [notified.socket.getsockname()[1]]
    await trio.to_thread.run_sync(pop.start)
    async with trio.open_nursery() as nursery, core(broker.port) as sender:
        nursery.start_soon(notified.run)
        await sender.publish(topic, observing(["first.example"], 0))
        await wait_for_name(pop, "first.example", 120)
        await trio.sleep(1)
        p99 = await measure_single(sender, notified, topic)
        minute = await trio.to_thread.run_sync(many, "paced", RATE * SECONDS)
        rate = await measure_rate(pop, sender, topic, "paced", minute, RATE)
        burst = await trio.to_thread.run_sync(many, "burst", BURST)
        await measure_rate(pop, sender, topic, "burst", burst, 0)
        total = 1 + SINGLE + len(minute) + len(burst)
        await trio.to_thread.run_sync(lambda: count_transfer(pop.port, records=NAMES + total))
        found = await trio.to_thread.run_sync(counters, pop)
        assert found == {"messages": total, "added": total, "removed": 0}
        nursery.cancel_scope.cancel()
    assert p99 <= REACH_SECONDS
    assert rate >= REACH_RATE


async def test_a_restart_with_many_observations(
    pop: Pop, broker: Broker, tmp_path: Path, daemons: list[Daemon], require_peer: Callable[[str], str]
) -> None:
    observations = NAMES // 5
    pop.add_source("bulk", "denylist", make_names(NAMES - observations))
    configure(pop, f"mqtt://127.0.0.1:{broker.port}")
    topic, knot = pop.sources["core"]["topic"], free_port()
    pop.downstreams = [knot]
    rng = random.Random(5359)
    names = [f"o{number:06x}-{rng.randrange(1000)}.example" for number in range(observations)]
    with Relay(target=pop.port) as relay:
        daemons.append(start_knot(tmp_path, require_peer("knotd"), port=knot, primary=relay.port))
        await trio.to_thread.run_sync(pop.start)
        async with core(broker.port) as sender:
            for start in range(0, observations, 1000):
                await sender.publish(topic, observing(names[start : start + 1000], start))
        await until(lambda: status(pop)["entries"] == observations, "the observations")
        await wait_for_name(pop, names[-1], 120)
        await trio.to_thread.run_sync(lambda: count_transfer(pop.port, records=NAMES))
        serial = ask_soa(pop.port)
        assert serial is not None
        await until(lambda: ask_soa(knot) == serial, "the secondary")
        took = []
        for end in (pop.stop, pop.kill, pop.kill):
            await trio.to_thread.run_sync(end)
            relay.transferred = relay.asked = 0
            began = time.perf_counter()
            pop.start(wait=False)
            assert pop.daemon is not None
            wait_for_zone(pop.port, pop.daemon)
            took.append(time.perf_counter() - began)
            assert ask_soa(pop.port) == serial
            await until(lambda: status(pop)["entries"] == observations, "the observations")
            notify(knot, serial=serial + 1)  # it asks, whether it was told by us or not
            await until(lambda: relay.asked, "the secondary to ask")
            await trio.sleep(2)
            assert ask_soa(pop.port) == serial
            assert relay.transferred == 0
        await trio.to_thread.run_sync(lambda: count_transfer(pop.port, records=NAMES))
    print(
        f"\nrestart with {NAMES} names, {observations} of them observed: "
        f"{', '.join(f'{each:.2f}' for each in took)} s to serving, 0 octets transferred (reach {REACH_RESTART})"
    )
    assert statistics.median(took) <= REACH_RESTART


def start_knot(folder: Path, program: str, *, port: int, primary: int) -> Daemon:
    """A knotd on `port` that takes the zone from `primary`."""
    directory = folder / "knot"
    directory.mkdir()
    (directory / "knot.conf").write_text(
        f"server:\n    rundir: {directory}\n    listen: 127.0.0.1@{port}\n"
        f"database:\n    storage: {directory}\n"
        "log:\n  - target: stderr\n    any: info\n"
        f"remote:\n  - id: pop\n    address: 127.0.0.1@{primary}\n"
        "acl:\n  - id: pop\n    address: 127.0.0.1\n    action: notify\n"
        f"zone:\n  - domain: {ZONE}.\n    storage: {directory}\n    master: pop\n    acl: pop\n    zonefile-sync: -1\n"
    )
    return Daemon.start("knotd", [program, "-c", "knot.conf"], directory=directory)
