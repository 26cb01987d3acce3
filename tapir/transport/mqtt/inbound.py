"""Messages on their way in: a bounded queue to the caller, and whose acknowledgement is due.

An identifier of QoS 1 or 2 goes

    PUBLISH in ─▶ held ──(caller acknowledges, and all held before it are)──▶ PUBACK, free
                       └─────────── at QoS 2 ───────────▶ PUBREC, released ──PUBREL in──▶ PUBCOMP, free

Acknowledgements leave in the order in which the messages came (§4.6), whatever the caller's. What is held belongs to
one connection: on the next the broker sends it again. What is released belongs to the session: it was handed over, and
is not handed over again. It is kept in memory only, so over a restart of ours QoS 2 is at least once.
"""

from collections import deque

import attrs
import trio

from tapir.codec.mqtt.packets import Acknowledge, Kind, Publish
from tapir.transport.mqtt.settings import ClientSettings
from tapir.transport.mqtt.states import ClientStopped, ConnectionLost, Trouble


@attrs.frozen(kw_only=True, eq=False)
class Delivery:
    """A message from the broker, which sends it again until it is acknowledged (at QoS 1 and 2)."""

    topic: str
    payload: bytes = attrs.field(repr=False)
    qos: int
    retain: bool
    duplicate: bool
    """the broker may have sent it before"""
    packet_id: int
    connection: int
    """of which of our connections; with the identifier it says what to acknowledge"""


class Inbox:
    """Deliveries between one reader and the caller; not a word to the broker but what it returns."""

    def __init__(self, settings: ClientSettings) -> None:
        self._most = settings.receive_maximum
        self._most_octets = settings.receive_octets
        self._queue: deque[Delivery] = deque()
        self._octets = 0
        self._connection = 0
        self._limited = False
        self._live = False
        self._held: dict[int, Delivery] = {}
        # In the order of arrival, one for each QoS: PUBACKs and PUBRECs have orders of their own (§4.6).
        self._order: tuple[deque[int], deque[int]] = (deque(), deque())
        self._settled: set[int] = set()
        self._released: set[int] = set()
        self._something = trio.Event()
        self._room = trio.Event()
        self._stopped = False
        self.received = 0
        self.repeated = 0
        self.late = 0

    # -- the connection's side

    def begin(self, connection: int, *, session_present: bool, limited: bool) -> None:
        """A connection begins; `limited`: its broker knows our receive maximum (3.1.1 does not)."""
        self._connection = connection
        self._limited = limited
        self._live = True
        self._held.clear()
        for order in self._order:
            order.clear()
        self._settled.clear()
        if session_present:
            # What the caller has not seen yet comes again. Without a session it would not, so then it stays.
            self._queue = deque(delivery for delivery in self._queue if not delivery.qos)
            self._octets = sum(map(_size, self._queue))
        else:
            self._released.clear()

    def end(self) -> None:
        """The connection is gone: PUBACKs come too late. PUBRECs do not, what they say is remembered."""
        self._live = False

    def take(self, message: Publish) -> Acknowledge | None:
        """Queue `message`, or say what answers it at once. Raises ConnectionLost for what is not its turn."""
        self.repeated += message.duplicate
        if message.qos:
            packet_id = message.packet_id
            if packet_id in self._released:
                return Acknowledge(kind=Kind.PUBREC, packet_id=packet_id)
            if packet_id in self._held:
                if message.duplicate:
                    return None
                raise ConnectionLost(
                    Trouble.PROTOCOL, f"a second message {packet_id} before the first was acknowledged", reason=0x82
                )
        delivery = Delivery(
            topic=message.topic,
            payload=message.payload,
            qos=message.qos,
            retain=message.retain,
            duplicate=message.duplicate,
            packet_id=message.packet_id,
            connection=self._connection,
        )
        if message.qos:
            self._held[message.packet_id] = delivery
            self._order[message.qos - 1].append(message.packet_id)
        self.received += 1
        self._queue.append(delivery)
        self._octets += _size(delivery)
        self._something.set()
        return None

    def release(self, packet_id: int) -> Acknowledge:
        """The answer to PUBREL."""
        known = packet_id in self._released
        self._released.discard(packet_id)
        self._wake_reader()
        # Not found is no error while a session is resumed (§3.6.2.1): the PUBCOMP before was lost.
        return Acknowledge(kind=Kind.PUBCOMP, packet_id=packet_id, reason=0 if known else 0x92)

    @property
    def full(self) -> bool:
        """Nothing more is to be read until the caller has taken or acknowledged something."""
        return (
            len(self._queue) >= self._most
            or self._octets >= self._most_octets
            # PUBREL frees what is released, and is read from the broker: that alone never stops the reading. A broker
            # that knows our maximum may be past it all the same: mosquitto 2.0 is, while acknowledgements are under
            # way, and would send the same again after a disconnect. So it is read on, a little, and then let wait.
            or len(self._held) >= (2 if self._limited else 1) * self._most
        )

    async def wait_room(self) -> None:
        """Return once it is not `full`."""
        while self.full:
            self._room = trio.Event()
            await self._room.wait()

    # -- the caller's side

    def acknowledge(self, delivery: Delivery) -> list[Acknowledge]:
        """`delivery` is dealt with; what may be said to the broker now, in this order."""
        if not delivery.qos:
            return []
        packet_id = delivery.packet_id
        if self._held.get(packet_id) is not delivery:
            self.late += 1
            return []
        self._settled.add(packet_id)
        order = self._order[delivery.qos - 1]
        due: list[Acknowledge] = []
        while order and order[0] in self._settled:
            done = order.popleft()
            self._settled.discard(done)
            del self._held[done]
            if delivery.qos == 1:
                self.late += not self._live
                due.append(Acknowledge(kind=Kind.PUBACK, packet_id=done))
            else:
                self._released.add(done)
                due.append(Acknowledge(kind=Kind.PUBREC, packet_id=done))
        if due:
            self._wake_reader()
        return due

    async def receive(self, limit: int) -> tuple[Delivery, ...]:
        """At least one delivery, `limit` at most. Raises ClientStopped once none is left and none will come."""
        while not self._queue:
            if self._stopped:
                raise ClientStopped("the MQTT client has stopped")
            self._something = trio.Event()
            await self._something.wait()
        batch = tuple(self._queue.popleft() for _ in range(min(limit, len(self._queue))))
        self._octets -= sum(map(_size, batch))
        self._wake_reader()
        return batch

    def stop(self) -> None:
        """Nothing more will come; whoever waits is told."""
        self._stopped = True
        self._held.clear()
        self._something.set()

    @property
    def queued(self) -> int:
        """Deliveries that wait for the caller."""
        return len(self._queue)

    @property
    def unacknowledged(self) -> int:
        """Messages that the broker waits for us with."""
        return len(self._held) + len(self._released)

    def _wake_reader(self) -> None:
        if not self.full:
            self._room.set()


def _size(delivery: Delivery) -> int:
    # Something for the objects around them, so that empty messages weigh, too.
    return len(delivery.payload) + len(delivery.topic) + 200
