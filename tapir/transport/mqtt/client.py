"""An MQTT client that keeps its session over connections, for as long as `run` runs.

    client = MqttClient(settings, dial=broker_dial("broker.example", 8883, make_context=...), ...)
    nursery.start_soon(client.run)
    while True:
        batch = await client.receive_batch(100)
        ...commit what they say...
        client.acknowledge(batch)

`run` never raises for what a broker or a network does: it tells the state to `report`, waits, and tries again. A
message of QoS 1 or 2 that is not acknowledged is sent again by the broker, on the next connection at the latest; and
a message of ours at QoS 1 is sent until the broker acknowledged it. So both may come twice.
"""

import random
from collections.abc import Callable, Iterable
from typing import Final

import trio

from tapir.codec.mqtt import v311
from tapir.codec.mqtt.packets import Codec, Subscription, Version
from tapir.transport.mqtt import v5
from tapir.transport.mqtt.connection import Connection, Tally
from tapir.transport.mqtt.dial import Dial
from tapir.transport.mqtt.inbound import Delivery, Inbox
from tapir.transport.mqtt.outbound import Outbox, Publication
from tapir.transport.mqtt.settings import ClientSettings
from tapir.transport.mqtt.states import Connecting, ConnectionLost, Lost, State, Statistics, Trouble
from tapir.transport.mqtt.subscriptions import Subscriptions
from tapir.transport.streams import ByteStream, PeerGone, PeerStalled

_CODECS: Final[dict[Version, Codec]] = {Version.V5: v5.CODEC, Version.V3_1_1: v311.CODEC}
# An old broker says that it does not know the version, or (against its standard) goes without a word, or waits for
# octets that never come, since it takes the properties of MQTT 5 for a length (amqtt).
_TRY_OLDER: Final = frozenset({Trouble.VERSION, Trouble.CLOSED, Trouble.BROKEN, Trouble.SILENT})
# How a takeover looks where the broker does not name it (3.1.1 cannot, mosquitto 2.0 does not); over TLS it is a cut.
_WORDLESS: Final = frozenset({Trouble.CLOSED, Trouble.BROKEN})
# A broker that is restarted twice in a row looks the same; three times is somebody else.
_TELLING: Final = 3


def _ignore(_: State) -> None:
    pass


class MqttClient:
    """One client identifier at one broker: `run` once; the rest may be called from any task, at any time."""

    def __init__(
        self,
        settings: ClientSettings,
        *,
        dial: Dial,
        random: random.Random,
        subscriptions: Iterable[Subscription] = (),
        former_filters: Iterable[str] = (),
        report: Callable[[State], None] = _ignore,
    ) -> None:
        """`former_filters` were subscribed to before a restart, perhaps: what is not wanted now is unsubscribed.

        `report` must not raise. Raises MalformedPacket for what is no topic filter.
        """
        self._settings = settings
        self._dial = dial
        self._random = random
        self._report = report
        self._inbox = Inbox(settings)
        self._outbox = Outbox(settings)
        self._subscriptions = Subscriptions(subscriptions, former=former_filters)
        self._tally = Tally()
        self._connection: Connection | None = None
        self._renew = trio.Event()
        self._connected_at: float | None = None

    async def run(self) -> None:
        """Be connected as much as the broker allows, until cancelled; then say goodbye, within its patience.

        After it, whoever waits for this client gets ClientStopped.
        """
        failures = wordless = 0
        try:
            while True:
                self._report(Connecting(attempt=failures + 1))
                self._connected_at = None
                self._renew = trio.Event()
                lost = await self._attempt()
                if lost.trouble is Trouble.RENEWED:
                    failures = wordless = 0
                    self._report(Lost(trouble=lost.trouble, text=str(lost), retry_in=0.0))
                    continue
                since = self._connected_at
                stable = since is not None and trio.current_time() - since >= self._settings.stable_after
                failures = 1 if stable else failures + 1
                if stable or since is None or lost.trouble not in _WORDLESS:
                    wordless = 0
                wordless += since is not None and lost.trouble in _WORDLESS
                if wordless >= _TELLING:
                    lost = ConnectionLost(
                        Trouble.TAKEN_OVER,
                        f"{lost}, again and soon after it welcomed us: another client seems to use our client "
                        f"identifier, {self._settings.client_id}",
                    )
                # Who took us over would be taken over in turn, at once and for ever: as rarely as we ever try.
                steps = 64 if lost.trouble is Trouble.TAKEN_OVER else failures
                delay = self._settings.backoff.delay(steps, self._random)
                self._report(Lost(trouble=lost.trouble, text=str(lost), retry_in=delay))
                with trio.move_on_after(delay):
                    await self._renew.wait()
        finally:
            self._inbox.stop()
            self._outbox.stop()

    def reconnect(self) -> None:
        """Make the connection anew, at once: for certificates that changed. Nothing is lost by it.

        What is acknowledged is said first, and the session stays; while there is no connection, the wait for the next
        ends. How often that may be is for the caller to decide.
        """
        self._renew.set()

    # -- in

    async def receive(self) -> Delivery:
        """The next message. Raises ClientStopped. Safe to cancel: then none is lost."""
        return (await self._inbox.receive(1))[0]

    async def receive_batch(self, limit: int) -> tuple[Delivery, ...]:
        """All messages that wait, at least one, `limit` at most. Raises ClientStopped. Safe to cancel."""
        return await self._inbox.receive(limit)

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """These are dealt with for good; the broker is told, in the order in which they came.

        So one that is held back holds back those after it. For a connection that is gone it does nothing: the broker
        sends the message again. QoS 0 needs none.
        """
        for delivery in deliveries:
            due = self._inbox.acknowledge(delivery)
            if due and self._connection is not None:
                self._connection.say(due)

    def subscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Have exactly these subscriptions from now on; `Connected` is reported again with the broker's answers.

        Raises MalformedPacket for what is no topic filter; then nothing changed.
        """
        self._subscriptions.change(subscriptions)

    # -- out

    async def submit(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> Publication:
        """Have `payload` published at QoS 0 or 1, connected or not; waits while too many are on their way.

        Raises ClientStopped. Cancelled, nothing was submitted.
        """
        if qos not in (0, 1):
            raise ValueError(f"QoS {qos}: messages are published at 0 or 1")
        publication = Publication(topic=topic, payload=payload, qos=qos, retain=retain)
        await self._outbox.submit(publication)
        if self._connection is not None:
            self._connection.kick()
        return publication

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """`submit`, and wait until the broker acknowledged; see `Publication.wait_acknowledged`."""
        await (await self.submit(topic, payload, qos=qos, retain=retain)).wait_acknowledged()

    def statistics(self) -> Statistics:
        """Counters, and what is held now."""
        inbox, outbox, tally = self._inbox, self._outbox, self._tally
        return Statistics(
            connections=tally.connections,
            octets_in=tally.octets_in,
            octets_out=tally.octets_out,
            pings=tally.pings,
            received=inbox.received,
            repeated=inbox.repeated,
            queued=inbox.queued,
            unacknowledged=inbox.unacknowledged,
            late=inbox.late,
            submitted=outbox.submitted,
            acknowledged=outbox.acknowledged,
            refused=outbox.refused,
            resent=outbox.resent,
            waiting=outbox.waiting,
            unexpected=outbox.unexpected,
        )

    # -- one attempt

    async def _attempt(self) -> ConnectionLost:
        """Connect, by the first version that the broker takes, and stay; returns why that ended."""
        lost = ConnectionLost(Trouble.VERSION, "no version of MQTT to try")
        for version in self._settings.versions:
            try:
                await self._connect(_CODECS[version])
            except ConnectionLost as exc:
                lost = exc
            # Each time anew: a broker that was upgraded is noticed, and refusing costs it one round trip.
            if self._connected_at is not None or lost.trouble not in _TRY_OLDER:
                break
        return lost

    async def _connect(self, codec: Codec) -> None:
        stream = await self._reach()
        connection = Connection(
            stream,
            codec,
            self._settings,
            inbox=self._inbox,
            outbox=self._outbox,
            subscriptions=self._subscriptions,
            tally=self._tally,
            renew=self._renew,
        )
        lost: ConnectionLost | None = None
        try:
            welcome = await connection.greet()
            self._tally.connections += 1
            self._connected_at = trio.current_time()
            self._inbox.begin(
                self._tally.connections,
                session_present=welcome.session_present,
                limited=codec.version is Version.V5,
            )
            self._outbox.begin(welcome)
            self._subscriptions.begin(session_present=welcome.session_present)
            self._connection = connection
            await connection.serve(self._report)
        except ConnectionLost as exc:
            lost = exc
            raise
        finally:
            self._connection = None
            self._inbox.end()
            # Shielded, so that a client that stops still says what it acknowledged; bounded, whatever the broker does.
            with trio.move_on_after(self._settings.goodbye_patience, shield=True):
                await connection.close(lost)

    async def _reach(self) -> ByteStream:
        patience = self._settings.connect_patience
        stream: ByteStream | None = None
        with trio.move_on_after(patience):
            try:
                stream = await self._dial()
            except (OSError, PeerGone, PeerStalled) as exc:
                raise ConnectionLost(Trouble.CONNECT, str(exc)) from exc
        if stream is None:
            raise ConnectionLost(Trouble.TIMEOUT, f"no connection within {patience:g} s")
        return stream
