"""What a POP says of itself, as a subscriber of a real broker gets it."""

import base64
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
from cryptography.hazmat.primitives.asymmetric import ed25519
from mosquitto import Broker
from peers import Pop

from tapir.codec.functionstatus import parse_function_status
from tapir.codec.jose import parse_keystore, verify_jws
from tapir.codec.mqtt.packets import Subscription
from tapir.model.messages.events import EventKind
from tapir.model.messages.telemetry import ComponentState, FunctionStatus
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.dial import broker_dial
from tapir.transport.mqtt.settings import Backoff, ClientSettings

NAMES = [f"n{number}.example" for number in range(2000)]


def write_key(path: Path) -> bytes:
    """An Ed25519 JWK as enrolment makes it."""
    key = ed25519.Ed25519PrivateKey.generate()

    def text(octets: bytes) -> str:
        return base64.urlsafe_b64encode(octets).decode().rstrip("=")

    document = {
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": "edge.example",
        "alg": "EdDSA",
        "x": text(key.public_key().public_bytes_raw()),
        "d": text(key.private_bytes_raw()),
    }
    path.write_text(json.dumps(document))
    return path.read_bytes()


async def test_the_status_is_signed_and_brings_events(
    make_broker: Callable[..., Broker], make_pop: Callable[..., Pop], tmp_path: Path
) -> None:
    broker = make_broker()
    key = write_key(tmp_path / "datakey-priv.json")
    pop = make_pop()
    pop.extra["tapir"] = {
        "mqtt": {"server": f"mqtt://127.0.0.1:{broker.port}"},
        "status": {
            "active": True,
            "topic": "status/up/{EdgeId}/pop",
            "signingkey": str(tmp_path / "datakey-priv.json"),
            "interval": 5,
        },
    }
    pop.add_source("deny", "denylist", NAMES)
    await broker.start()
    client = MqttClient(
        ClientSettings(client_id="core", backoff=Backoff(first=0.05)),
        dial=broker_dial("127.0.0.1", broker.port),
        random=random.Random(1),
        subscriptions=(Subscription(topic_filter="status/up/#"),),
    )

    async def next_status() -> FunctionStatus:
        delivery = await client.receive()
        client.acknowledge([delivery])
        assert delivery.topic == "status/up/edge.example/pop"
        verified = verify_jws(delivery.payload, parse_keystore(key))
        assert verified.payload.endswith(b"}\n")
        return parse_function_status(verified.payload)

    with trio.fail_after(180):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            await trio.to_thread.run_sync(pop.start)
            status = await next_status()
            assert (status.function, status.id) == ("tapir-pop", "edge.example")
            components = dict(status.components)
            assert components["rpz"].state is ComponentState.OK
            assert components["mqtt-event"].state is ComponentState.OK
            assert dict(status.counters)["zone.records-now"] == len(NAMES)
            assert status.events == ()

            await trio.to_thread.run_sync(partial(pop.write_list, "deny", NAMES[:10]))
            while not status.events:
                status = await next_status()
            (event,) = status.events
            assert (event.kind, event.subject) == (EventKind.SOURCE_HELD, "deny")
            shown = json.loads((await trio.to_thread.run_sync(partial(pop.command, "events", "--json"))).stdout)
            assert [each["id"] for each in shown] == [event.id]

            await trio.to_thread.run_sync(partial(pop.command, "accept", "deny"))
            while status.events == (event,) or not status.events:
                status = await next_status()
            assert status.events[0].id == event.id
            assert status.events[0].cleared_at is not None
            nursery.cancel_scope.cancel()
    assert pop.daemon is not None
    assert event.id in pop.daemon.output()
