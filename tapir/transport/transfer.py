"""Taking a transfer from a primary: connecting, asking, reading as fast as it sends; not a word on what it says.

Knot drops a reader that stalls for half a second, and the primary must not wait for our decoding. So one task does
nothing but read, into a few megabytes at most, while a worker takes what was read before. Every wait has an end: for
the connection, for the next octets, for the whole; and a primary that sends a little now and then does not pass for one
that sends.
"""

import errno
import functools
import ssl
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import attrs
import trio
import trio.lowlevel

from tapir.codec.dnswire import TC
from tapir.model.errors import TapirError
from tapir.transport.dns import MessageStream, UdpExchange, frame
from tapir.transport.streams import (
    READ_OCTETS,
    Address,
    Buffer,
    ByteStream,
    PeerGone,
    PeerStalled,
    TcpStream,
    format_address,
)
from tapir.transport.tls import HandshakeFailed, TlsStream

DNS_OVER_TLS: Final = "dot"
"""the ALPN name of transfers over TLS (RFC 9103 §7.1)"""

_BLOCK: Final = 1 << 20
_BLOCKS: Final = 4
# Less is not worth the way to a worker and back, some 100 us: it takes less than that itself.
_AT_ONCE: Final = 32 * 1024
# A read that is far from full has emptied the kernel's buffer. A primary writes message by message, and to be woken for
# each takes as long as all the rest; so more is let come for a moment, far shorter than any primary would notice.
_SMALL_READ: Final = READ_OCTETS // 2
_BREATH: Final = 0.001

T = TypeVar("T")
Result_co = TypeVar("Result_co", covariant=True)
Clock = Callable[[], int]


class InThread(Protocol):
    """Runs what takes long where the event loop does not wait for it."""

    async def __call__(self, fn: Callable[..., T], *args: object) -> T: ...


async def any_thread(fn: Callable[..., T], *args: object) -> T:
    """A thread that is like any other."""
    return await trio.to_thread.run_sync(functools.partial(fn, *args))


class PrimaryFailed(TapirError):
    """No answer could be had from the primary; `reason` is a word for a counter."""

    def __init__(self, *, peer: Address, reason: str, detail: str) -> None:
        # What a connection says of itself begins with the address as well.
        address = f"{format_address(peer)}: "
        super().__init__(address + detail.removeprefix(address))
        self.peer = peer
        self.reason = reason


@attrs.frozen(kw_only=True)
class Patience:
    """How long a primary may take, in seconds."""

    connect: float = 5.0
    """for TCP, and again for TLS"""
    idle: float = 20.0
    """without one octet"""
    overall: float = 3600.0
    window: float = 30.0
    """in each such time at least `least_octets` must come"""
    least_octets: int = 16 * 1024
    udp: float = 2.0
    """for one answer over UDP"""
    udp_tries: int = 3


class Exchange(Protocol[Result_co]):
    """One question, and what becomes of its answer; `tapir.zone.inbound.Inbound` is one."""

    @property
    def request(self) -> bytes:
        """The message to send, without its length."""
        ...

    def feed(self, octets: Buffer, *, now: int) -> bool:
        """Take what the stream said next; whether the answer is complete. May be called in a worker."""
        ...

    def end(self) -> None:
        """The stream ended; raises if the answer is not complete."""
        ...

    def result(self) -> Result_co:
        """What the answer came to. May be called in a worker."""
        ...

    def instead(self, error: TapirError, *, now: int) -> "Exchange[Result_co] | None":
        """What to ask after `error`; None for nothing."""
        ...


class Connector(Protocol):
    """A way to a primary."""

    @property
    def peer(self) -> Address:
        """The primary's address."""
        ...

    async def connect(self, *, patience: Patience) -> ByteStream:
        """A new connection. Raises PrimaryFailed."""
        ...


@attrs.frozen(kw_only=True)
class TcpConnector:
    """Over TCP, from the address `source` if one is given."""

    peer: Address
    source: str | None = None

    async def connect(self, *, patience: Patience) -> ByteStream:
        """A new connection. Raises PrimaryFailed."""
        with trio.move_on_after(patience.connect):
            return await self._connect()
        raise PrimaryFailed(peer=self.peer, reason="connect", detail=f"no connection within {patience.connect:g} s")

    async def _connect(self) -> TcpStream:
        family = trio.socket.AF_INET6 if ":" in self.peer[0] else trio.socket.AF_INET
        sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        try:
            sock.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
            if self.source is not None:
                await sock.bind((self.source, 0))
            await sock.connect(self.peer)
        except OSError as exc:
            sock.close()
            detail = exc.strerror or errno.errorcode.get(exc.errno or 0, str(exc))
            raise PrimaryFailed(peer=self.peer, reason="connect", detail=detail) from exc
        except BaseException:
            sock.close()
            raise
        return TcpStream(sock, self.peer)


@attrs.frozen(kw_only=True)
class TlsConnector:
    """Over TLS (RFC 9103); `context` offers `dot` by ALPN, and the primary must take it unless that is waived."""

    tcp: TcpConnector
    context: ssl.SSLContext
    hostname: str
    require_alpn: bool = True

    @property
    def peer(self) -> Address:
        """The primary's address."""
        return self.tcp.peer

    async def connect(self, *, patience: Patience) -> ByteStream:
        """A new connection, after the handshake. Raises PrimaryFailed."""
        transport = await self.tcp.connect(patience=patience)
        stream = TlsStream(transport, self.context, server_side=False, server_hostname=self.hostname)
        try:
            await stream.handshake(patience=patience.connect)
            if self.require_alpn and stream.protocol != DNS_OVER_TLS:
                raise PrimaryFailed(peer=self.peer, reason="alpn", detail="it does not name DNS over TLS by ALPN")
        except HandshakeFailed as exc:
            stream.abort()
            raise PrimaryFailed(peer=self.peer, reason="tls", detail=f"no TLS: {exc}") from exc
        except BaseException:
            stream.abort()
            raise
        return stream


# -- transfers


async def fetch(
    connector: Connector,
    exchange: Exchange[Result_co],
    *,
    patience: Patience,
    clock: Clock,
    in_thread: InThread = any_thread,
) -> Result_co:
    """What the primary answers to `exchange`, or to what it wants to ask instead, each over a connection of its own.

    `clock` tells microseconds since the epoch. Raises PrimaryFailed, and what the exchange raises.
    """
    with trio.move_on_after(patience.overall):
        while True:
            try:
                return await _fetch_once(connector, exchange, patience, clock, in_thread)
            except TapirError as exc:
                other = exchange.instead(exc, now=clock())
                if other is None:
                    raise
                exchange = other
    detail = f"the transfer took more than {patience.overall:g} s"
    raise PrimaryFailed(peer=connector.peer, reason="overall", detail=detail)


async def _fetch_once(
    connector: Connector, exchange: Exchange[Result_co], patience: Patience, clock: Clock, in_thread: InThread
) -> Result_co:
    stream = await connector.connect(patience=patience)
    try:
        await stream.send((frame(exchange.request),), patience=patience.idle)
        large = await _Reading(stream, exchange, patience, clock, in_thread).run()
        # With a goodbye: a reset is an error in the log of NSD.
        await stream.end()
    except PeerGone as exc:
        raise PrimaryFailed(peer=connector.peer, reason="gone", detail=str(exc)) from exc
    except PeerStalled as exc:
        raise PrimaryFailed(peer=connector.peer, reason="idle", detail=str(exc)) from exc
    finally:
        # What more it would send, where that went wrong, is of no interest, and there may be much of it.
        stream.abort()
    return await in_thread(exchange.result) if large else exchange.result()


class _Reading:
    """One answer: a task that reads, and one that hands what was read to the exchange."""

    def __init__(
        self, stream: ByteStream, exchange: Exchange[object], patience: Patience, clock: Clock, in_thread: InThread
    ) -> None:
        self._in_thread = in_thread
        self._stream = stream
        self._exchange = exchange
        self._patience = patience
        self._clock = clock
        self._pieces: list[bytes] = []
        self._held = 0
        self._ended = False
        self._failure: TapirError | None = None
        self._changed = trio.Event()
        self._taken = trio.Event()
        self._large = False

    async def run(self) -> bool:
        """Read until the exchange has its answer; returns whether that was worth a worker."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            try:
                await self._hand_over()
            except TapirError as exc:
                self._failure = exc
            nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        return self._large

    async def _read(self) -> None:
        patience = self._patience
        since, octets = trio.current_time(), 0
        total = 0
        try:
            while not self._ended:
                received: bytes | None = None
                with trio.move_on_after(patience.idle):
                    received = await self._stream.receive()
                if received is None:
                    raise self._failed("idle", f"it sent nothing for {patience.idle:g} s")
                octets += len(received)
                total += len(received)
                now = trio.current_time()
                if received and now - since >= patience.window:
                    if octets < patience.least_octets:
                        raise self._failed("slow", f"it sent {octets} octets in {now - since:.0f} s")
                    since, octets = now, 0
                self._ended = not received
                self._pieces.append(received)
                self._held += len(received)
                self._changed.set()
                if self._held >= _BLOCK * _BLOCKS:
                    # Only here does the primary wait for us; it is not held against it.
                    self._taken = trio.Event()
                    await self._taken.wait()
                    since, octets = trio.current_time(), 0
                elif total > _AT_ONCE and 0 < len(received) < _SMALL_READ:
                    await trio.sleep(_BREATH)
        except TapirError as exc:
            self._failure = exc
            self._ended = True
            self._changed.set()

    async def _hand_over(self) -> None:
        exchange = self._exchange
        done = False
        while not done:
            if not self._pieces:
                if self._ended:
                    break
                self._changed = trio.Event()
                await self._changed.wait()
                continue
            pieces, size = self._pieces, self._held
            self._pieces, self._held = [], 0
            self._taken.set()
            if size > _AT_ONCE:
                self._large = True
                done = await self._in_thread(self._feed, pieces)
            else:
                done = self._feed(pieces)
        if done:
            self._failure = None
        elif self._failure is None:
            exchange.end()

    def _feed(self, pieces: list[bytes]) -> bool:
        now = self._clock()
        return any(self._exchange.feed(piece, now=now) for piece in pieces)

    def _failed(self, reason: str, detail: str) -> PrimaryFailed:
        return PrimaryFailed(peer=self._stream.peer, reason=reason, detail=detail)


# -- single questions


async def ask(
    connector: Connector,
    message: bytes,
    *,
    is_answer: Callable[[bytes], bool],
    patience: Patience,
    udp: UdpExchange | None = None,
    on_stream: Callable[[bytes], bool] | None = None,
) -> bytes:
    """The answer to `message`: over UDP, if that is given, and where it is truncated or does not come, over a stream.

    On a stream nobody else can speak, so there `on_stream` may take what `is_answer` waits on for a better one.
    Raises PrimaryFailed.
    """
    if udp is not None:
        for _ in range(patience.udp_tries):
            answer = await _ask_udp(udp, connector.peer, message, is_answer, patience)
            if answer is not None:
                if not int.from_bytes(answer[2:4], "big") & TC:
                    return answer
                break
    stream = await connector.connect(patience=patience)
    try:
        with trio.move_on_after(patience.idle):
            await stream.send((frame(message),), patience=patience.idle)
            answer = await _read_answer(stream, on_stream if on_stream is not None else is_answer)
            await stream.end()
            return answer
    except (PeerGone, PeerStalled) as exc:
        raise PrimaryFailed(peer=connector.peer, reason="gone", detail=str(exc)) from exc
    finally:
        stream.abort()
    raise PrimaryFailed(peer=connector.peer, reason="idle", detail=f"no answer within {patience.idle:g} s")


async def _ask_udp(
    udp: UdpExchange, peer: Address, message: bytes, is_answer: Callable[[bytes], bool], patience: Patience
) -> bytes | None:
    with trio.move_on_after(patience.udp):
        try:
            return await udp.exchange(peer, message, is_answer=is_answer)
        except OSError:
            # Nobody listens there, or not now: TCP will say whether the primary is there at all.
            await trio.lowlevel.checkpoint()
    return None


async def _read_answer(stream: ByteStream, is_answer: Callable[[bytes], bool]) -> bytes:
    """The message that answers; the first on a connection of its own, so another is not waited for long."""
    messages = MessageStream(stream)
    while True:
        answer = await messages.receive()
        if answer is None:
            raise PeerGone(f"{format_address(stream.peer)}: the stream ended without an answer")
        if is_answer(answer):
            return answer
