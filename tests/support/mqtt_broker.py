"""A broker that a test plays by hand, over streams in memory; and the client that it is played to."""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
import mqtt5
import trio
import trio.testing

from tapir.codec.mqtt.packets import Subscription
from tapir.transport.mqtt.client import MqttClient
from tapir.transport.mqtt.settings import ClientSettings
from tapir.transport.mqtt.states import Connected, Connecting, Lost, State
from tapir.transport.streams import Address, Buffer, PeerGone, PeerStalled

P = TypeVar("P", bound=mqtt5.Packet)
BROKER: Address = ("192.0.2.7", 1883)


class MemoryStream:
    """The client's end, a `ByteStream`."""

    def __init__(self, stream: Any) -> None:
        self.peer = BROKER
        self._stream = stream
        self.aborted = False

    async def receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(65536))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise PeerGone("192.0.2.7:1883: reset") from exc

    async def send(self, pieces: Sequence[Buffer], *, patience: float) -> None:
        with trio.move_on_after(patience) as deadline:
            try:
                await self._stream.send_all(b"".join(pieces))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise PeerGone("192.0.2.7:1883: reset") from exc
        if deadline.cancelled_caught:
            raise PeerStalled(f"192.0.2.7:1883 read nothing for {patience:g} s")

    async def end(self) -> None:
        self.close()

    def close(self) -> None:
        self._stream.send_stream.close()
        self._stream.receive_stream.close()

    def abort(self) -> None:
        self.aborted = True
        self.close()


class BrokerSide:
    """The broker's end of one connection."""

    def __init__(self, stream: trio.abc.Stream, ours: MemoryStream) -> None:
        self._stream = stream
        self._buffer = b""
        self.ours = ours

    async def send(self, *packets: Any) -> None:
        await self._stream.send_all(b"".join(p if isinstance(p, bytes) else p.write() for p in packets))

    async def octets(self) -> bytes:
        """What the client says next, undecoded; nothing at its end."""
        if self._buffer:
            octets, self._buffer = self._buffer, b""
            return octets
        try:
            return bytes(await self._stream.receive_some())
        except trio.BrokenResourceError:
            return b""

    async def next(self) -> Any:
        """The next packet that the client says; None at its end."""
        while True:
            try:
                packet, length = mqtt5.read(memoryview(self._buffer))
            except IndexError:
                more = bytes(await self._stream.receive_some())
                if not more:
                    return None
                self._buffer += more
            else:
                self._buffer = self._buffer[length:]
                return packet

    async def expect(self, kind: type[P]) -> P:
        packet = await self.next()
        assert isinstance(packet, kind), packet
        return packet

    async def welcome(self, *, session_present: bool = False, subscribe: bool = False, **limits: Any) -> None:
        """CONNECT and CONNACK; SUBSCRIBE and SUBACK too, everything granted."""
        await self.expect(mqtt5.ConnectPacket)
        await self.send(mqtt5.ConnAckPacket(session_present=session_present, **limits))
        if subscribe:
            await self.grant()

    async def grant(self) -> mqtt5.SubscribePacket:
        asked = await self.expect(mqtt5.SubscribePacket)
        codes = [mqtt5.SubAckReasonCode(int(f.max_qos)) for f in asked.topic_filters]
        await self.send(mqtt5.SubAckPacket(asked.packet_id, codes))
        return asked

    async def hang_up(self) -> None:
        await self._stream.aclose()


@attrs.define(kw_only=True)
class Stage:
    """A client, what it told and when, and the connections that it makes."""

    client: MqttClient
    states: list[tuple[float, State]] = attrs.field(factory=list)
    news: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _connections: trio.MemoryReceiveChannel[BrokerSide]

    async def accept(self) -> BrokerSide:
        return await self._connections.receive()

    def report(self, state: State) -> None:
        self.states.append((trio.current_time(), state))
        self.news.set()

    async def run(self) -> None:
        with self.scope:
            await self.client.run()

    def of(self, *kinds: type[Lost] | type[Connected] | type[Connecting]) -> list[Any]:
        return [state for _, state in self.states if isinstance(state, kinds)]

    async def lost(self) -> Lost:
        """The next loss."""
        seen = len(self.of(Lost))
        while len(self.of(Lost)) == seen:
            self.news = trio.Event()
            await self.news.wait()
        state = self.of(Lost)[-1]
        assert isinstance(state, Lost)
        return state

    def lost_at(self) -> float:
        return [at for at, state in self.states if isinstance(state, Lost)][-1]


def make_stage(
    *topics: str,
    qos: int = 1,
    pair: Callable[[], tuple[Any, Any]] = trio.testing.memory_stream_pair,
    dial: Any = None,
    former: Sequence[str] = (),
    **keys: Any,
) -> Stage:
    """A client that is not running yet: `nursery.start_soon(stage.run)`."""
    send, receive = trio.open_memory_channel[BrokerSide](100)

    async def dialling() -> MemoryStream:
        ours, theirs = pair()
        stream = MemoryStream(ours)
        send.send_nowait(BrokerSide(theirs, stream))
        return stream

    stage: Stage
    client = MqttClient(
        ClientSettings(**{"client_id": "pop", **keys}),
        dial=dial or dialling,
        random=random.Random(7),
        subscriptions=[Subscription(topic_filter=topic, qos=qos) for topic in topics],
        former_filters=former,
        report=lambda state: stage.report(state),
    )
    stage = Stage(client=client, connections=receive)
    return stage
