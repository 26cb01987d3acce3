"""The global configuration in a whole POP beside mosquitto: where observations come from changes, and stays changed."""

import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from mosquitto import Broker
from observing import CORE, LIST, STRANGER, payload, signed, write_keystore
from peers import Pop, wait_until

from tapir.codec.globalconfig import GlobalConfiguration, TopicSettings, encode_global_configuration
from tapir.codec.jose import SigningKey
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.dial import broker_dial
from tapir.transport.mqtt.settings import ClientSettings

TAGS = 0b111
CONFIG = "config/down/tapir-pop"


@asynccontextmanager
async def core(port: int) -> AsyncIterator[MqttClient]:
    """A client that publishes what Core would."""
    client = MqttClient(ClientSettings(client_id="core"), dial=broker_dial("127.0.0.1", port), random=random.Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()


def configuration(version: str, topic: str, key: SigningKey = CORE) -> bytes:
    found = GlobalConfiguration(version=version, observation_topics=(TopicSettings(topic=topic),))
    return signed(encode_global_configuration(found), key)


def observed(name: str) -> bytes:
    return signed(payload([(name, TAGS, time.time_ns() // 1000, 3600)]))


def mqtt(pop: Pop) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(pop.command("mqtt", "--json").stdout)
    return document


def granted(pop: Pop) -> set[str]:
    return {topic["filter"] for topic in mqtt(pop)["mqtt"]["topics"] if topic["granted"]}


async def in_thread(condition: Callable[[], object], what: str) -> None:
    await trio.to_thread.run_sync(lambda: wait_until(condition, what=what))


async def test_the_topic_of_the_global_configuration_holds_over_a_restart(
    make_broker: Callable[..., Broker], pop: Pop, tmp_path: Path
) -> None:
    broker = make_broker()
    await broker.start()
    pop.sources["core"] = {
        "active": True,
        "name": LIST,
        "description": "observations",
        "type": "doubtlist",
        "source": "mqtt",
        "format": "tapir-msg-v1",
        "topic": "observations/down/old",
    }
    pop.extra["keystore"] = {"path": str(write_keystore(tmp_path / "keys.json", CORE))}
    pop.extra["tapir"] = {
        "mqtt": {"server": f"mqtt://127.0.0.1:{broker.port}", "qos": 1},
        "config": {"active": True, "topic": CONFIG},
    }
    async with core(broker.port) as client:
        await trio.to_thread.run_sync(pop.start)
        await in_thread(lambda: mqtt(pop)["mqtt"]["state"] == "connected", "the broker to be there")
        await client.publish("observations/down/old", observed("one.example."))
        await in_thread(lambda: "one.example." in pop.axfr()[1], "the first name")
        await client.publish(CONFIG, configuration("9", "observations/down/forged", STRANGER))
        await client.publish(CONFIG, configuration("2", "observations/down/new"))
        await in_thread(lambda: mqtt(pop)["global"]["version"] == "2", "the global configuration")
        # What is published before the broker has granted the new topic is for nobody.
        await in_thread(lambda: "observations/down/new" in granted(pop), "its topic to be granted")
        await client.publish("observations/down/new", observed("two.example."))
        await in_thread(lambda: "two.example." in pop.axfr()[1], "the second name")
        assert "one.example." in pop.axfr()[1]
        await trio.to_thread.run_sync(pop.stop)
        await client.publish("observations/down/new", observed("three.example."))
        await trio.to_thread.run_sync(pop.start)
        await in_thread(lambda: "three.example." in pop.axfr()[1], "what came meanwhile")
        assert {"one.example.", "two.example."} < set(pop.axfr()[1])
        await client.publish(CONFIG, configuration("1", "observations/down/old"))
        await in_thread(lambda: dict(mqtt(pop)["global"]["refused"]).get("replayed"), "the refusal")
        found = mqtt(pop)
        assert [topic["filter"] for topic in found["mqtt"]["topics"]] == ["observations/down/new", CONFIG]
        assert all(topic["granted"] for topic in found["mqtt"]["topics"])
        assert "version 2" in pop.command("mqtt").stdout
    assert await trio.to_thread.run_sync(pop.stop) == 0
