"""One connection with a broker, from CONNECT to the end; what outlives it is in the boxes that it is given.

Four tasks share it: one reads, one writes, one watches that the broker is alive, one subscribes; a fifth waits for the
caller's wish to have another connection. The first that finds
the connection lost says why, and ends the others. Nothing here is unbounded: a read brings at most 64 KiB, a packet is
limited, acknowledgements that the broker does not take stop the reading, and so does a caller that takes no messages.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NoReturn

import attrs
import trio

from tapir.codec.mqtt.framing import PacketSplitter
from tapir.codec.mqtt.packets import (
    TAKEN_OVER,
    UNSUPPORTED_VERSION,
    Acknowledge,
    Codec,
    Connect,
    ConnectAck,
    Disconnect,
    Kind,
    MalformedPacket,
    PacketTooLarge,
    PingRequest,
    PingResponse,
    Publish,
    Subscribe,
    SubscribeAck,
    Subscription,
    ToServer,
    Unsubscribe,
    Version,
    describe,
)
from tapir.transport.mqtt.inbound import Inbox
from tapir.transport.mqtt.outbound import Outbox
from tapir.transport.mqtt.settings import ClientSettings
from tapir.transport.mqtt.states import Connected, ConnectionLost, Trouble
from tapir.transport.mqtt.subscriptions import Step, Subscriptions
from tapir.transport.streams import ByteStream, PeerGone, PeerStalled, format_address

_MOST_CONTROL: Final = 256 * 1024
"""octets of acknowledgements that wait to be written, before nothing more is read"""
_LAST_WORDS: Final = 1.0
"""seconds that the reader has to find out why, once nothing can be written any more"""
_HOPELESS: Final = frozenset({Trouble.BROKEN, Trouble.KEEPALIVE, Trouble.STALLED})


@attrs.define
class Tally:
    """What is counted over all connections of a client."""

    connections: int = 0
    octets_in: int = 0
    octets_out: int = 0
    pings: int = 0


class Connection:
    """A connection; `greet`, then `serve`, then `close`, whatever happened."""

    def __init__(
        self,
        stream: ByteStream,
        codec: Codec,
        settings: ClientSettings,
        *,
        inbox: Inbox,
        outbox: Outbox,
        subscriptions: Subscriptions,
        tally: Tally,
        renew: trio.Event,
    ) -> None:
        """`renew` ends it, in order."""
        self._renew = renew
        self._stream = stream
        self._codec = codec
        self._settings = settings
        self._inbox = inbox
        self._outbox = outbox
        self._subscriptions = subscriptions
        self._tally = tally
        self._splitter = PacketSplitter(settings.maximum_packet)
        self._packets: Iterator[memoryview] = iter(())
        self._limits = ConnectAck()
        self._keepalive = settings.keepalive
        self._control: list[bytes] = []
        self._control_octets = 0
        self._sending = False
        self._kick = trio.Event()
        self._written = trio.Event()
        self._paused = False
        self._last_sent = self._last_packet = 0.0
        self._asked = (Kind.SUBACK, 0)
        self._answer: SubscribeAck | None = None
        self._answered = trio.Event()
        self._lost: ConnectionLost | None = None

    # -- the client's side

    async def greet(self) -> ConnectAck:
        """CONNECT, and the CONNACK that welcomes us. Raises ConnectionLost."""
        patience = self._settings.connect_patience
        settings = self._settings
        greeting = Connect(
            client_id=settings.client_id,
            keepalive=settings.keepalive,
            session_expiry=settings.session_expiry,
            receive_maximum=settings.receive_maximum,
            maximum_packet=settings.maximum_packet,
            username=settings.username,
            password=settings.password,
        )
        answer: ConnectAck | None = None
        with trio.move_on_after(patience), self._named():
            await self._send((self._codec.encode(greeting),))
            answer = await self._first_packet()
        if answer is None:
            raise ConnectionLost(Trouble.SILENT, f"{self._where}: no CONNACK within {patience:g} s")
        if answer.reason:
            unable = answer.reason == UNSUPPORTED_VERSION
            raise ConnectionLost(
                Trouble.VERSION if unable else Trouble.REFUSED,
                f"{self._where} refuses the connection: {describe(answer.reason, answer.text)}",
            )
        self._limits = answer
        if answer.keepalive:
            self._keepalive = min(self._keepalive, answer.keepalive)
        self._last_sent = self._last_packet = trio.current_time()
        return answer

    async def serve(self, connected: Callable[[Connected], None]) -> NoReturn:
        """Carry messages; `connected` is told once the broker answered the subscriptions, and when they change.

        Raises ConnectionLost, sooner or later.
        """
        async with trio.open_nursery() as nursery:

            async def guard(task: Callable[[], Awaitable[None]], patience: float) -> None:
                try:
                    with self._named():
                        await task()
                except ConnectionLost as exc:
                    if exc.trouble is Trouble.BROKEN:
                        await trio.sleep(patience)
                    if self._lost is None:
                        self._lost = exc
                    nursery.cancel_scope.cancel()

            # The end of a connection is often noticed by the writer, while the reader still has the DISCONNECT to read.
            nursery.start_soon(guard, self._write, _LAST_WORDS)
            nursery.start_soon(guard, self._read, 0)
            nursery.start_soon(guard, self._keep_alive, 0)
            nursery.start_soon(guard, lambda: self._subscribe(connected), 0)
            nursery.start_soon(guard, self._give_way, 0)
        assert self._lost is not None  # noqa: S101 - no task ends otherwise
        raise self._lost

    async def close(self, lost: ConnectionLost | None) -> None:
        """Say the last acknowledgements, and why we go, where the broker may still listen; then close."""
        if self._sending or (lost is not None and lost.trouble in _HOPELESS):
            self._stream.abort()
            return
        if lost is not None and lost.trouble is Trouble.RENEWED:
            lost = None
        last: list[bytes] = []
        # To the server of 3.1.1 DISCONNECT always says that all is well: not when it is not.
        if lost is None or (lost.reason and self._codec.version is Version.V5):
            reason = lost.reason if lost is not None else 0
            last = [*self._control, self._codec.encode(Disconnect(reason=reason))]
        try:
            if last:
                await self._stream.send((b"".join(last),), patience=self._settings.goodbye_patience)
            await self._stream.end()
        except (PeerGone, PeerStalled):
            pass
        finally:
            self._stream.close()

    def say(self, packets: list[Acknowledge]) -> None:
        """Write these next."""
        for packet in packets:
            self._say(packet)

    def kick(self) -> None:
        """There may be something to write."""
        self._kick.set()

    # -- the four tasks

    async def _read(self) -> None:
        while True:
            now = trio.current_time()
            for packet in self._packets:
                self._last_packet = now
                self._take(self._codec.decode(packet))
            # All of a read is taken, then the caller may have to catch up.
            if self._inbox.full:
                self._paused = True
                await self._inbox.wait_room()
                self._paused = False
                self._last_packet = trio.current_time()
            while self._control_octets > _MOST_CONTROL:
                await self._wait_written()
            self._packets = self._splitter.feed(await self._receive())

    async def _write(self) -> None:
        while True:
            # Cancelled here, what waits is said by `close`; cancelled within a write, nobody knows what was said.
            await trio.lowlevel.checkpoint_if_cancelled()
            pieces, self._control, self._control_octets = self._control, [], 0
            messages, unacknowledged = self._outbox.take(self._codec.encode)
            if not pieces and not messages:
                self._kick = trio.Event()
                await self._kick.wait()
                continue
            try:
                await self._send((*pieces, *messages))
            except BaseException:
                self._outbox.lost(unacknowledged)
                raise
            self._outbox.sent(unacknowledged)
            self._written.set()

    async def _keep_alive(self) -> None:
        pinged: float | None = None
        patience = self._settings.ping_patience
        while True:
            now = trio.current_time()
            # While we do not read, silence says nothing of the broker.
            if pinged is not None and (self._paused or self._last_packet >= pinged):
                pinged = None
            silent_since = min(self._last_sent, self._last_packet)
            if pinged is not None and now >= pinged + patience:
                raise ConnectionLost(
                    Trouble.KEEPALIVE,
                    f"{self._where} has not answered for {now - self._last_packet:.0f} s",
                    reason=0x8D,
                )
            if pinged is None and now >= silent_since + self._keepalive:
                pinged = now
                self._tally.pings += 1
                self._say(PingRequest())
            await trio.sleep_until(pinged + patience if pinged is not None else silent_since + self._keepalive)

    async def _subscribe(self, connected: Callable[[Connected], None]) -> None:
        answers: dict[Subscription, int] = {}
        told: Connected | None = None
        kept = self._limits.session_expiry
        while True:
            self._subscriptions.changed = trio.Event()
            for step in self._subscriptions.steps(answers):
                reasons = await self._ask(step)
                answers.update(zip(step.subscribe, reasons, strict=False))
                self._subscriptions.done(step)
            if self._subscriptions.changed.is_set():
                continue
            now = Connected(
                peer=self._stream.peer,
                version=self._codec.version,
                session_present=self._limits.session_present,
                keepalive=self._keepalive,
                session_expiry=self._settings.session_expiry if kept is None else kept,
                answers=tuple((sub, answers[sub]) for sub in self._subscriptions.wanted if sub in answers),
            )
            if now != told:
                connected(now)
                told = now
            patience = self._settings.subscription_retry if now.refused else float("inf")
            with trio.move_on_after(patience):
                await self._subscriptions.changed.wait()

    async def _wait_written(self) -> None:
        if self._written.is_set():
            self._written = trio.Event()
        await self._written.wait()

    async def _give_way(self) -> None:
        await self._renew.wait()
        # Cut within a write, nobody would know what was said.
        with trio.move_on_after(self._settings.goodbye_patience):
            while self._sending or self._control:
                await self._wait_written()
        raise ConnectionLost(Trouble.RENEWED, f"{self._where}: the connection is made anew, as we want it")

    # -- packets

    def _take(self, packet: object) -> None:
        match packet:
            case Publish():
                answer = self._inbox.take(packet)
                if answer is not None:
                    self._say(answer)
            case Acknowledge(kind=Kind.PUBACK):
                if self._outbox.acknowledge(packet.packet_id, packet.reason, packet.text):
                    self._kick.set()
            case Acknowledge(kind=Kind.PUBREL):
                self._say(self._inbox.release(packet.packet_id))
            case SubscribeAck():
                if self._asked != (packet.kind, packet.packet_id):
                    raise self._out_of_turn(f"{packet.kind.name} {packet.packet_id}, for which nobody asked")
                self._answer = packet
                self._answered.set()
            case PingResponse():
                pass
            case Disconnect():
                why = describe(packet.reason, packet.text)
                if packet.reason == TAKEN_OVER:
                    raise ConnectionLost(
                        Trouble.TAKEN_OVER,
                        f"{self._where}: another client came with our client identifier, {self._settings.client_id}",
                    )
                raise ConnectionLost(Trouble.DISCONNECTED, f"{self._where} ends the connection: {why}")
            case Acknowledge():
                raise self._out_of_turn(f"{packet.kind.name}, while we publish nothing at QoS 2")
            case _:
                raise self._out_of_turn("a second CONNACK")

    async def _ask(self, step: Step) -> tuple[int, ...]:
        packet_id = self._outbox.reserve_identifier()
        packet: Subscribe | Unsubscribe
        if step.subscribe:
            kind, asked = Kind.SUBACK, len(step.subscribe)
            packet = Subscribe(packet_id=packet_id, subscriptions=step.subscribe)
        else:
            kind, asked = Kind.UNSUBACK, len(step.unsubscribe)
            packet = Unsubscribe(packet_id=packet_id, topic_filters=step.unsubscribe)
        self._answer, self._answered, self._asked = None, trio.Event(), (kind, packet_id)
        self._say(packet)
        patience = self._settings.connect_patience
        while self._answer is None:
            with trio.move_on_after(patience):
                await self._answered.wait()
            if self._answer is None and not self._paused:
                raise ConnectionLost(Trouble.TIMEOUT, f"{self._where}: no {kind.name} within {patience:g} s")
        self._asked = (kind, 0)
        self._outbox.free_identifier(packet_id)
        reasons = self._answer.reasons
        if len(reasons) != asked and (reasons or kind is Kind.SUBACK):
            raise self._out_of_turn(f"{kind.name} with {len(reasons)} reason codes for {asked} topic filters")
        return reasons

    def _say(self, packet: ToServer) -> None:
        octets = self._codec.encode(packet)
        self._control.append(octets)
        self._control_octets += len(octets)
        self._kick.set()

    async def _first_packet(self) -> ConnectAck:
        while True:
            self._packets = self._splitter.feed(await self._receive())
            for packet in self._packets:
                answer = self._codec.decode(packet)
                if not isinstance(answer, ConnectAck):
                    raise self._out_of_turn(f"{type(answer).__name__} before CONNACK")
                return answer

    # -- octets

    async def _receive(self) -> bytes:
        octets = await self._stream.receive()
        if not octets:
            raise ConnectionLost(Trouble.CLOSED, f"{self._where} closed the connection without a word")
        self._tally.octets_in += len(octets)
        return octets

    async def _send(self, pieces: tuple[bytes, ...]) -> None:
        octets = b"".join(pieces)
        self._sending = True
        await self._stream.send((octets,), patience=self._settings.write_patience)
        self._sending = False
        self._last_sent = trio.current_time()
        self._tally.octets_out += len(octets)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Whatever goes wrong with the stream or its octets, as a ConnectionLost."""
        try:
            yield
        except PeerStalled as exc:
            raise ConnectionLost(Trouble.STALLED, str(exc)) from exc
        except PeerGone as exc:
            raise ConnectionLost(Trouble.BROKEN, str(exc)) from exc
        except MalformedPacket as exc:
            raise ConnectionLost(Trouble.MALFORMED, f"{self._where} sent {exc}", reason=0x81) from exc
        except PacketTooLarge as exc:
            raise ConnectionLost(Trouble.TOO_LARGE, f"{self._where} sent {exc}", reason=0x95) from exc

    def _out_of_turn(self, what: str) -> ConnectionLost:
        return ConnectionLost(Trouble.PROTOCOL, f"{self._where} sent {what}", reason=0x82)

    @property
    def _where(self) -> str:
        return format_address(self._stream.peer)
