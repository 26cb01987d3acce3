"""Messages of ours on their way out, over as many connections as it takes.

`submitted ─▶ queued ─(sent)─▶ in flight ─(PUBACK)─▶ settled`. When the connection is lost, what was in flight is sent
again on the next, first and in its old order, with its identifier, and marked as a duplicate if the broker kept the
session (§4.4). QoS 0 is settled once the kernel has it, and lost with its connection.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
import trio

from tapir.codec.mqtt.packets import (
    FAILURE,
    MOST_PACKET_ID,
    ConnectAck,
    MalformedPacket,
    PacketTooLarge,
    Publish,
    describe,
)
from tapir.transport.mqtt.settings import ClientSettings
from tapir.transport.mqtt.states import ClientStopped, PublishLost, PublishRefused

_BATCH: Final = 256 * 1024
"""octets after which a batch is written, before more messages are encoded"""


@attrs.define(eq=False, kw_only=True)
class Publication:
    """A message that was handed over to be published."""

    topic: str
    payload: bytes = attrs.field(repr=False)
    qos: int
    retain: bool
    packet_id: int = 0
    _error: Exception | None = None
    _settled: trio.Event = attrs.field(factory=trio.Event, repr=False)

    async def wait_acknowledged(self) -> None:
        """Return once the broker has acknowledged it (at QoS 0: once it was sent); however many connections it takes.

        Raises PublishRefused, PublishLost (QoS 0 only), ClientStopped. Cancelling the wait takes nothing back.
        """
        await self._settled.wait()
        if self._error is not None:
            raise self._error

    def settle(self, error: Exception | None = None) -> None:
        """It is over, well or not."""
        self._error = error
        self._settled.set()


class Outbox:
    """What is to be published, bounded in messages and octets."""

    def __init__(self, settings: ClientSettings) -> None:
        self._most = settings.publish_window
        self._most_octets = settings.publish_octets
        self._queue: deque[Publication] = deque()
        self._in_flight: dict[int, Publication] = {}
        self._again: deque[Publication] = deque()
        self._octets = 0
        self._count = 0
        self._limits = ConnectAck()
        self._duplicate = False
        self._identifier = 0
        self._reserved: set[int] = set()
        self._room = trio.Event()
        self._stopped = False
        self.submitted = 0
        self.acknowledged = 0
        self.refused = 0
        self.resent = 0
        self.unexpected = 0

    # -- the caller's side

    async def submit(self, publication: Publication) -> None:
        """Queue it, once there is room. Raises ClientStopped."""
        size = len(publication.payload)
        while not self._stopped and (
            self._count >= self._most or (self._count and self._octets + size > self._most_octets)
        ):
            self._room = self._room if not self._room.is_set() else trio.Event()
            await self._room.wait()
        if self._stopped:
            raise ClientStopped("the MQTT client has stopped")
        self._count += 1
        self._octets += size
        self.submitted += 1
        self._queue.append(publication)

    def stop(self) -> None:
        """Tell all who wait that nothing more is sent."""
        self._stopped = True
        for publication in (*self._in_flight.values(), *self._queue):
            self._settle(publication, ClientStopped("the MQTT client stopped before the broker acknowledged"))
        self._in_flight.clear()
        self._queue.clear()
        self._again.clear()
        self._room.set()

    @property
    def waiting(self) -> int:
        """Messages that are not settled."""
        return self._count

    # -- the connection's side

    def begin(self, limits: ConnectAck) -> None:
        """A connection begins, with what its broker can take."""
        self._limits = limits
        self._duplicate = limits.session_present
        self._reserved.clear()
        # A dictionary keeps the order in which they were first sent.
        self._again = deque(self._in_flight.values())

    def reserve_identifier(self) -> int:
        """A packet identifier for SUBSCRIBE, free again after `free_identifier` or with the next connection."""
        packet_id = self._next_identifier()
        self._reserved.add(packet_id)
        return packet_id

    def free_identifier(self, packet_id: int) -> None:
        """The answer has come."""
        self._reserved.discard(packet_id)

    def take(self, encode: Callable[[Publish], bytes]) -> tuple[list[bytes], list[Publication]]:
        """What may be written now, some 256 KiB at most; and those of QoS 0 in it, for `sent` or `lost`."""
        pieces: list[bytes] = []
        unacknowledged: list[Publication] = []
        octets = 0
        # What is sent again counts as in flight already: sent at most `receive_maximum` at a time like the rest.
        while octets < _BATCH:
            again = bool(self._again)
            if again:
                publication = self._again[0]
                unanswered = len(self._in_flight) - len(self._again)
            elif self._queue:
                publication = self._queue[0]
                unanswered = len(self._in_flight)
            else:
                break
            if publication.qos and unanswered >= self._limits.receive_maximum:
                break
            (self._again if again else self._queue).popleft()
            piece = self._encode(publication, encode, duplicate=again and self._duplicate)
            if piece is None:
                continue
            self.resent += again
            octets += len(piece)
            pieces.append(piece)
            if publication.qos:
                self._in_flight[publication.packet_id] = publication
            else:
                unacknowledged.append(publication)
        return pieces, unacknowledged

    def sent(self, publications: list[Publication]) -> None:
        """The kernel has these of QoS 0."""
        for publication in publications:
            self._settle(publication)

    def lost(self, publications: list[Publication]) -> None:
        """The connection broke while these of QoS 0 were written."""
        for publication in publications:
            self._settle(publication, PublishLost("the connection broke while the message was written"))

    def acknowledge(self, packet_id: int, reason: int, text: str) -> bool:
        """PUBACK came; whether there may be something to write now."""
        publication = self._in_flight.get(packet_id)
        if publication is None or publication in self._again:
            self.unexpected += 1
            return False
        del self._in_flight[packet_id]
        if reason >= FAILURE:
            self.refused += 1
            self._settle(publication, PublishRefused(f"the broker refuses the message: {describe(reason, text)}"))
        else:
            self.acknowledged += 1
            self._settle(publication)
        return bool(self._queue or self._again)

    # -- both

    def _encode(self, publication: Publication, encode: Callable[[Publish], bytes], *, duplicate: bool) -> bytes | None:
        """The octets, or None when the broker cannot take them, which the publication is then told."""
        limits = self._limits
        problem = ""
        piece = b""
        if publication.qos > limits.maximum_qos:
            problem = f"the broker takes QoS {limits.maximum_qos} at most"
        elif publication.retain and not limits.retain_available:
            problem = "the broker retains nothing"
        else:
            if publication.qos and not publication.packet_id:
                publication.packet_id = self._next_identifier()
            try:
                piece = encode(
                    Publish(
                        topic=publication.topic,
                        payload=publication.payload,
                        qos=publication.qos,
                        packet_id=publication.packet_id,
                        retain=publication.retain,
                        duplicate=duplicate,
                    )
                )
            except (MalformedPacket, PacketTooLarge) as exc:
                problem = str(exc)
            else:
                if len(piece) > limits.maximum_packet:
                    problem = f"a packet of {len(piece)} octets, where the broker takes {limits.maximum_packet}"
        if not problem:
            return piece
        self._in_flight.pop(publication.packet_id, None)
        self.refused += 1
        self._settle(publication, PublishRefused(problem))
        return None

    def _next_identifier(self) -> int:
        # The window is less than half of all there are, so that this ends, and soon.
        while True:
            self._identifier = self._identifier % MOST_PACKET_ID + 1
            if self._identifier not in self._in_flight and self._identifier not in self._reserved:
                return self._identifier

    def _settle(self, publication: Publication, error: Exception | None = None) -> None:
        self._count -= 1
        self._octets -= len(publication.payload)
        publication.settle(error)
        if not self._room.is_set():
            self._room.set()
