"""Core as an EDM sees it: a broker behind TLS that takes events, and a receiver of aggregates, in a thread of its own.

Every event is verified when it comes; what does not verify is a failure of the test that looks at `events`.
"""

import contextlib
import json
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
from aggregate_receiver import AggregateReceiver, Answer
from certificates import Authority, Pair
from edm import Edm
from http_servers import Exchange, serving
from mosquitto import Broker
from observing import make_key
from peers import wait_until

from tapir.codec.jose import SigningKey, parse_keystore, verify_jws
from tapir.codec.mqtt.packets import Subscription
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.dial import broker_dial
from tapir.transport.mqtt.settings import Backoff, ClientSettings
from tapir.transport.mqtt.states import Connected, State
from tapir.transport.tls import client_context

KID: Final = "edge.example"
TOPIC: Final = f"events/up/{KID}/new_qname"
_SOON: Final = Backoff(first=0.05, factor=1.5, maximum=0.5)
_MARK: Final = "test/mark"


@attrs.define(kw_only=True)
class Core:
    """What came from an EDM, and how its uploads are answered."""

    key: SigningKey
    receiver: AggregateReceiver
    broker: Broker
    authority: Authority
    mine: Pair
    folder: Path
    messages: list[tuple[str, bytes]] = attrs.field(factory=list)
    """topic and payload of all that was published, in its order"""
    requests: list[bytes] = attrs.field(factory=list)
    """every upload as it came, with its head"""
    mood: Callable[[Exchange], Any] | None = None
    """what to do with an upload instead of taking it"""
    url: str = ""
    _ending: Callable[[], None] | None = None
    _publish: Callable[[bytes], None] | None = None
    _marks: Counter[bytes] = attrs.field(factory=Counter)
    _ready: Callable[[], None] | None = None

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event, verified. Raises JwsRejected."""
        document = {**self.key.public_key().jwk.to_json(), "kid": KID}
        keystore = parse_keystore(json.dumps(document).encode())
        found = []
        for topic, payload in list(self.messages):
            if topic == TOPIC:
                verified = verify_jws(payload, keystore, allowed=[KID])
                assert verified.signers == (KID,)
                found.append(json.loads(verified.payload))
        return found

    def names(self) -> Counter[str]:
        """How many events came of each name, in lower case."""
        return Counter(event["qname"].lower() for event in self.events)

    def catch_up(self) -> None:
        """Return when all is in `messages` that the broker has acknowledged by now: it comes before what we publish."""
        assert self._publish is not None
        mark = b"%d" % (sum(self._marks.values()) + 1)
        self._publish(mark)
        wait_until(lambda: self._marks[mark], what="what the broker has for us")

    def serve(self, edm: Edm) -> None:
        """Have `edm` send to us."""
        keyfile = self.folder / "signer.json"
        keyfile.write_text(json.dumps({**_private(self.key), "kid": KID}))
        theirs = self.authority.issue("edm.example")
        for part in ("mqtt", "http"):
            edm.keys |= {
                f"{part}-signing-key-file": str(keyfile),
                f"{part}-client-cert-file": str(theirs.certificate),
                f"{part}-client-key-file": str(theirs.key),
                f"{part}-ca-file": str(self.authority.ca),
            }
        edm.keys |= {
            "mqtt-server": f"tls://127.0.0.1:{self.broker.port}",
            "http-url": self.url,
            "disable-mqtt": False,
            "disable-histogram-sender": False,
        }

    # -- within the thread

    async def run(self, started: threading.Event) -> None:
        """Serve until ended."""
        token = trio.lowlevel.current_trio_token()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(self.mine.certificate, self.mine.key)
        server.load_verify_locations(self.authority.ca)
        server.verify_mode = ssl.CERT_REQUIRED
        self._ready = started.set
        async with trio.open_nursery() as nursery, serving(self._take, server) as http, self._client() as client:
            self.url = f"https://{http.address}"

            def end() -> None:
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(nursery.cancel_scope.cancel)

            def publish(payload: bytes) -> None:
                trio.from_thread.run(client.publish, _MARK, payload, trio_token=token)

            self._ending, self._publish = end, publish
            while True:
                for delivery in await client.receive_batch(100):
                    if delivery.topic == _MARK:
                        self._marks[bytes(delivery.payload)] += 1
                    else:
                        self.messages.append((delivery.topic, bytes(delivery.payload)))
                    client.acknowledge([delivery])

    def end(self) -> None:
        """Stop serving."""
        if self._ending is not None:
            self._ending()

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[MqttClient]:
        client = MqttClient(
            ClientSettings(client_id="core", backoff=_SOON, keepalive=300),
            dial=broker_dial("127.0.0.1", self.broker.port, make_context=self._context),
            random=random.Random(1),
            subscriptions=[Subscription(topic_filter="#", qos=1)],
            report=self._hear,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            yield client
            nursery.cancel_scope.cancel()

    def _hear(self, state: State) -> None:
        if isinstance(state, Connected) and self._ready is not None:
            assert not state.refused
            self._ready()

    def _context(self) -> ssl.SSLContext:
        return client_context(ca=self.authority.ca, certificate=self.mine.certificate, key=self.mine.key)

    async def _take(self, exchange: Exchange) -> None:
        asked = exchange.asked
        head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
        self.requests.append(f"{asked.method} {asked.path}\r\n{head}\r\n".encode() + asked.body)
        if self.mood is not None:
            await self.mood(exchange)
        else:
            await self.receiver.script(exchange)


def refuse(status: int) -> Callable[[Exchange], Any]:
    """Answers each upload so."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(Answer(status).status)

    return answer


async def say_nothing(exchange: Exchange) -> None:
    """Hears it, and never answers."""
    await trio.sleep_forever()


async def say_half(exchange: Exchange) -> None:
    """Answers half, and hangs up."""
    await exchange.send(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf")
    await trio.aclose_forcefully(exchange.stream)


def _private(key: SigningKey) -> dict[str, Any]:
    document: dict[str, Any] = key.jwk.to_json()
    return document


@pytest.fixture
def core(make_broker: Callable[..., Broker], tmp_path: Path) -> Iterator[Core]:
    """A Core with a mosquitto behind TLS, both of which want a certificate of their clients."""
    authority = Authority(tmp_path)
    mine = authority.issue("core.example")
    broker = make_broker(
        "allow_anonymous true",
        f"cafile {authority.ca}",
        f"certfile {mine.certificate}",
        f"keyfile {mine.key}",
        "require_certificate true",
    )
    key = make_key(KID)
    receiver = AggregateReceiver({KID: key.public_key().jwk.key}, time.time)
    made = Core(key=key, receiver=receiver, broker=broker, authority=authority, mine=mine, folder=tmp_path)

    started = threading.Event()
    failed: list[Exception] = []

    def live() -> None:
        try:
            trio.run(broker.start)
            trio.run(made.run, started)
        except Exception as exc:  # noqa: BLE001 - the fixture tells
            failed.append(exc)
        finally:
            started.set()

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    assert started.wait(120)
    assert not failed, failed
    wait_until(lambda: made.url, what="Core to serve")
    yield made
    made.end()
    thread.join(30)
