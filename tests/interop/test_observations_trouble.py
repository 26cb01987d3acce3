"""Brokers, networks and files that fail while observations arrive, and `kill -9`: nothing valid is lost by it."""

import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import amqtt_broker
import pytest
import trio
from certificates import Authority
from mosquitto import Broker
from observed_pop import (
    TOPIC,
    Oracle,
    Proxy,
    Watcher,
    configure,
    core,
    counters,
    microseconds,
    mqtt,
    observed,
    publish_all,
    removed,
    status,
    until,
)
from observing import CORE, STRANGER, make_key, write_keystore
from peers import Pop, free_port, transfer

from tapir.transport.mqtt.client import MqttClient


async def holds(pop: Pop, oracle: Oracle, seconds: float = 120) -> None:
    """Wait until the zone is what it must be."""

    def there() -> bool:
        return set(transfer(pop.port)[1]) == oracle.names()

    try:
        await until(there, "the zone to be what was observed", seconds)
    except BaseException:
        found, wanted = set(transfer(pop.port)[1]), oracle.names()
        print(f"missing {sorted(wanted - found)[:20]}, too many {sorted(found - wanted)[:20]}")
        raise


def _cut_since(proxy: Proxy, before: int) -> bool:
    return proxy.cuts > before


async def connected(pop: Pop) -> dict[str, Any]:
    await until(lambda: mqtt(pop)["state"] == "connected", "the session")
    return await trio.to_thread.run_sync(mqtt, pop)


def some(count: int, first: int, oracle: Oracle, *, seconds: int = 86_400) -> Iterator[bytes]:
    """So many messages, with a removal now and then, and with one that nobody believes."""
    for number in range(first, first + count):
        at, name = microseconds(), f"n{number}.example"
        if number % 10 == 3:
            yield observed(f"wrong{number}.example", at, key=STRANGER)
        elif number % 10 == 7 and number - 5 >= first:
            oracle.remove(f"n{number - 5}.example", at)
            yield removed(f"n{number - 5}.example", at=at)
        else:
            oracle.add(name, at, seconds)
            yield observed(name, at, seconds=seconds)


@pytest.fixture
async def broker(make_broker: Callable[..., Broker]) -> Broker:
    broker = make_broker()
    await broker.start()
    return broker


async def test_networks_and_brokers_that_fail(broker: Broker, pop: Pop, campaign: Any) -> None:
    dice = campaign.random()
    oracle, proxy = Oracle(), Proxy(target=broker.port, silent=True)
    async with trio.open_nursery() as nursery, core(broker.port) as client:
        await nursery.start(proxy.serve)
        configure(pop, f"mqtt://127.0.0.1:{proxy.port}")
        began = trio.current_time()
        await trio.to_thread.run_sync(pop.start)  # a broker that accepts and never speaks holds up nothing
        took = trio.current_time() - began
        assert took < 15, took
        nursery.start_soon(Watcher(pop.port).run)
        await until(lambda: proxy.connections, "a connection")
        assert mqtt(pop)["state"] == "connecting"
        proxy.silent = False
        proxy.cut()
        await connected(pop)
        total = 0
        for number in range(max(3, campaign.rounds(20))):  # a minute each, after some
            size = dice.randrange(50, 400)
            messages = list(some(size, total, oracle))
            total += size
            match number % 3:
                case 0:
                    proxy.cut_after = dice.randrange(200, 8_000)
                    proxy.cut()
                    before = proxy.cuts
                    await publish_all(client, messages)
                    await until(partial(_cut_since, proxy, before), "a cut in the midst of a packet")
                case 1:
                    async with trio.open_nursery() as publishing:
                        publishing.start_soon(publish_all, client, messages)
                        await trio.sleep(dice.random() * 0.2)
                        proxy.cut()
                case 2:
                    await publish_all(client, messages[: size // 2])
                    await trio.to_thread.run_sync(broker.stop)
                    async with trio.open_nursery() as publishing:
                        publishing.start_soon(publish_all, client, messages[size // 2 :])
                        await broker.start()
        await holds(pop, oracle)
        found = await trio.to_thread.run_sync(counters, pop)
        wrong = len(range(3, total, 10))
        assert found["unknown-kid"] >= wrong
        assert found["messages"] - found["duplicate"] - found["unknown-kid"] == total - wrong, found
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(pop.stop) == 0


async def test_mutual_tls_and_new_certificates_and_keys_while_messages_arrive(
    make_broker: Callable[..., Broker], pop: Pop, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    served, pair, plain = authority.issue("localhost"), authority.issue("pop.example"), free_port()
    broker = make_broker(
        f"cafile {authority.ca}",
        f"certfile {served.certificate}",
        f"keyfile {served.key}",
        "require_certificate true",
        "use_identity_as_username true",
        "tls_version tlsv1.3",
        "allow_anonymous true",
        f"listener {plain} 127.0.0.1",
    )
    await broker.start()
    keystore = configure(
        pop,
        f"mqtts://localhost:{broker.port}",
        CORE,
        mqtt={
            "cacert": str(authority.ca),
            "clientcert": str(pair.certificate),
            "clientkey": str(pair.key),
        },
    )
    await trio.to_thread.run_sync(pop.start)
    before = await connected(pop)
    assert before["client_id"].startswith("pop.example-pop-")
    oracle = Oracle()
    newer = make_key("core-2", 7)
    async with core(plain) as client:
        await publish_all(client, some(200, 0, oracle))

        async def arrive() -> None:
            for number in range(1000, 1600):
                at = microseconds()
                oracle.add(f"n{number}.example", at, 3600)
                # By a key of before and after, and by one that is there from some moment on.
                await client.submit(TOPIC, observed(f"n{number}.example", at, key=CORE))
                await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(arrive)
            await trio.sleep(0.3)
            keystore.write_bytes(b'{"keys": [')  # half written: everything waits, nothing is refused
            await trio.sleep(1)
            write_keystore(keystore, CORE, newer)
            renewed = authority.issue("pop.example", file="renewed")
            pair.key.write_bytes(renewed.key.read_bytes())
            pair.certificate.write_bytes(renewed.certificate.read_bytes())
        at = microseconds()
        oracle.add("newer.example", at, 3600)
        await publish_all(client, [observed("newer.example", at, key=newer)])
        await holds(pop, oracle)
        write_keystore(keystore, newer)
        await publish_all(client, [observed("older.example", microseconds(), key=CORE)])
        await until(lambda: counters(pop)["unknown-kid"] == 200 // 10 + 1, "the refusal of a key that is gone")
        await until(lambda: mqtt(pop)["connections"] >= 2 and mqtt(pop)["state"] == "connected", "a new connection")
        at = microseconds()
        oracle.add("last.example", at, 3600)
        await publish_all(client, [observed("last.example", at, key=newer)])
        await holds(pop, oracle)
        found = await trio.to_thread.run_sync(counters, pop)
        assert found["unknown-kid"] == 200 // 10 + 1
        assert mqtt(pop)["client_id"] == before["client_id"]
    # Who has no certificate is nobody.
    bare = ssl.create_default_context(cafile=str(authority.ca))
    with pytest.raises((ssl.SSLError, trio.BrokenResourceError, OSError)):  # noqa: PT012  it may be told late
        async with await trio.open_tcp_stream("localhost", broker.port) as tcp:
            stream = trio.SSLStream(tcp, bare, server_hostname="localhost")
            await stream.do_handshake()
            await stream.receive_some()
    assert await trio.to_thread.run_sync(pop.stop) == 0


async def test_amqtt(pop: Pop) -> None:
    port = free_port()
    oracle = Oracle()
    async with amqtt_broker.embedded(port), core(port) as client:
        configure(pop, f"mqtt://127.0.0.1:{port}")
        await trio.to_thread.run_sync(pop.start)
        found = await connected(pop)
        assert found["version"] == "3.1.1"
        await publish_all(client, some(100, 0, oracle))
        await holds(pop, oracle)
        assert counters(pop)["unknown-kid"] == 10
        assert await trio.to_thread.run_sync(pop.stop) == 0


async def flood(client: MqttClient, oracle: Oracle, first: int, pause: float) -> None:
    """Messages without end. What the oracle has is also sent: this ends between two of them."""
    while True:
        for message in some(100, first, oracle):
            with trio.CancelScope(shield=True):
                await client.submit(TOPIC, message)
            await trio.sleep(pause)
        first += 100


async def test_kill_9_in_a_storm(broker: Broker, pop: Pop, campaign: Any) -> None:
    dice, oracle = campaign.random(), Oracle()
    configure(pop, f"mqtt://127.0.0.1:{broker.port}")
    await trio.to_thread.run_sync(pop.start)
    await connected(pop)
    async with trio.open_nursery() as nursery, core(broker.port) as client:
        watcher = Watcher(pop.port)
        nursery.start_soon(watcher.run)
        for number in range(campaign.rounds(20) + 1):
            with trio.move_on_after(0.3 + dice.random()):
                await flood(client, oracle, number * 100_000, 0.0005)
            await trio.to_thread.run_sync(pop.kill)
            with trio.move_on_after(dice.random() * 0.5):  # while nobody is there
                await flood(client, oracle, number * 100_000 + 50_000, 0.0005)
            await trio.to_thread.run_sync(pop.start)
        await publish_all(client, some(10, 90_000_000, oracle))
        await holds(pop, oracle)
        print(f"{len(oracle.known)} names, serials {watcher.serials[0]} to {watcher.serials[-1]}")
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(pop.stop) == 0


async def test_kill_9_while_names_expire(broker: Broker, pop: Pop, campaign: Any) -> None:
    dice, oracle = campaign.random(), Oracle()
    configure(pop, f"mqtt://127.0.0.1:{broker.port}")
    pop.extra["services"] = {
        "rpz": {"zonename": "dnstapir.", "serialcache": str(pop.directory / "rpz-serial.yaml")},
        "reaper": {"interval": 1},
        "refreshengine": {"active": True},
    }
    await trio.to_thread.run_sync(pop.start)
    await connected(pop)
    first = 0
    async with trio.open_nursery() as nursery, core(broker.port) as client:
        watcher = Watcher(pop.port)
        nursery.start_soon(watcher.run)
        for _ in range(campaign.rounds(20) + 1):
            messages: list[bytes] = []
            for seconds in range(1, 9):
                messages += some(60, first, oracle, seconds=seconds)
                first += 60
            messages += some(20, first, oracle)
            first += 20
            await publish_all(client, messages)
            await trio.sleep(0.5 + 2 * dice.random())
            await trio.to_thread.run_sync(pop.kill)
            await trio.sleep(dice.random() * 2)
            ended = microseconds()
            await trio.to_thread.run_sync(pop.start)
            # What was over before the start is not served again, however shortly; all of it was acknowledged.
            served = set(transfer(pop.port)[1])
            expired = {name for name in served if name not in oracle.names(ended)}
            told = {name for name in served if name.startswith("wrong")}
            await until(lambda: not set(transfer(pop.port)[1]) - oracle.names(), "what is over to go", 15)
            print(f"{len(served)} served right after the start, {len(expired)} of them over")
            assert not told
        await trio.sleep(9)
        await holds(pop, oracle, 15)
        assert status(pop)["entries"] == len(oracle.names())
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(pop.stop) == 0
