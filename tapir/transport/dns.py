"""DNS over UDP and TCP (RFC 1035 §4.2, RFC 7766): sockets, framing, deadlines; not a word on what is asked.

Messages over TCP and TLS come behind two octets of length. A `MessageStream` holds at most one message and one read
of input, and hands out each `send` to the kernel before it asks for the next: what a peer does not read is never
kept here. UDP goes through the kernel's sockets directly: one wake-up reads a batch, no task a datagram.
"""

import errno
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs
import trio

from tapir.model.errors import TapirError
from tapir.transport.streams import Address, Buffer, ByteStream, TcpStream, format_address, unmap_address

MAX_MESSAGE: Final = 65535
# No query is larger; what is longer arrives cut, and is then no message.
_DATAGRAM: Final = 4096
_BACKLOG: Final = 512
_UNSENT: Final = 128 * 1024
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_BIND_TRIES: Final = 16

# Linux; Python 3.11 does not name it. The kernel fills in which of our addresses a datagram was sent to.
_IP_PKTINFO: Final = 8


class BindError(TapirError):
    """An address cannot be listened on; nothing else was bound, either."""

    def __init__(self, *, address: Address, protocol: str, reason: str) -> None:
        super().__init__(f"cannot listen on {format_address(address)} ({protocol}): {reason}")
        self.address = address
        self.protocol = protocol
        self.reason = reason


def frame(message: bytes) -> bytes:
    """`message` behind its two octets of length (RFC 1035 §4.2.2)."""
    return struct.pack("!H", len(message)) + message


class Deframer:
    """Cuts a TCP stream into messages; holds at most an unfinished message and one read."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> None:
        """Take what the stream said next."""
        self._buffer += octets

    def next_message(self) -> bytes | None:
        """The next whole message, or None when more octets are needed."""
        if len(self._buffer) < 2:
            return None
        end = 2 + int.from_bytes(self._buffer[:2], "big")
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[2:end])
        del self._buffer[:end]
        return message

    @property
    def pending(self) -> int:
        """Octets of a message that is not whole yet."""
        return len(self._buffer)


class MessageStream:
    """DNS messages over one connection; one task reads and writes it."""

    def __init__(self, stream: ByteStream) -> None:
        self.peer = stream.peer
        self._stream = stream
        self._deframer = Deframer()

    async def receive(self) -> bytes | None:
        """The next whole message, or None at the end of the stream.

        A deadline around it is for the whole message, so that a peer that trickles octets holds nothing open;
        when it is cancelled, what was read so far is kept. Raises PeerGone when the connection breaks.
        """
        while (message := self._deframer.next_message()) is None:
            octets = await self._stream.receive()
            if not octets:
                return None
            self._deframer.feed(octets)
        return message

    async def send(self, pieces: Sequence[Buffer], *, patience: float) -> None:
        """Write `pieces` (framed already); `patience` is for how many seconds the peer may take none of them.

        Raises PeerStalled and PeerGone; the stream is of no use after either.
        """
        await self._stream.send(pieces, patience=patience)

    async def end(self) -> None:
        """Say that nothing more comes, and close."""
        await self._stream.end()

    def close(self) -> None:
        """Close the connection; what the kernel holds is still delivered."""
        self._stream.close()

    def abort(self) -> None:
        """Reset the connection, so that what the peer never read does not linger in the kernel."""
        self._stream.abort()


@attrs.frozen(kw_only=True)
class Datagram:
    """A UDP message, who sent it, and what `sendmsg` needs so that the answer leaves from the address asked."""

    payload: bytes
    peer: Address
    sender: tuple[object, ...]
    """the peer as the kernel names it, with the scope of a link-local IPv6 address"""
    control: tuple[tuple[int, int, bytes], ...] = ()


class UdpSocket:
    """A bound UDP socket that is read in batches; errors that the network reports are counted, never raised."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.address = _address_of(sock)
        self.errors = 0
        """times the kernel reported an error (an ICMP message, a firewall) for a read or a write"""
        self.unsent = 0
        """answers that the kernel had no room for"""

    async def wait_readable(self) -> None:
        """Return once there may be something to read."""
        await trio.lowlevel.wait_readable(self._socket)

    def receive_batch(self, limit: int) -> Iterator[Datagram]:
        """At most `limit` datagrams that wait in the kernel."""
        for _ in range(limit):
            try:
                payload, control, _, sender = self._socket.recvmsg(_DATAGRAM, 128)
            except BlockingIOError:
                return
            except OSError:
                # Linux hands a queued ICMP error to the next call, whoever caused it: the socket is well.
                self.errors += 1
                continue
            yield Datagram(
                payload=payload,
                peer=(unmap_address(sender[0]), sender[1]),
                sender=sender,
                control=_reply_control(control),
            )

    def send(self, payload: bytes, to: Datagram) -> None:
        """Answer `to` from the address that it was sent to; a full buffer loses the answer, as UDP may."""
        try:
            self._socket.sendmsg([payload], to.control, 0, to.sender)
        except BlockingIOError:
            self.unsent += 1
        except OSError:
            self.errors += 1

    def close(self) -> None:
        """Close the socket; whoever waits for it gets trio.ClosedResourceError."""
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()


class TcpListener:
    """A listening TCP socket; running out of descriptors is waited out, not raised."""

    def __init__(self, sock: socket.socket) -> None:
        self.address = _address_of(sock)
        self._socket = trio.socket.from_stdlib_socket(sock)
        self.exhausted = 0
        """times that no descriptor or memory was left for a connection"""

    async def accept(self) -> TcpStream:
        """The next connection."""
        while True:
            try:
                sock, peer = await self._socket.accept()
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    # Accepting again at once would spin: the connection stays in the backlog (as ranch does).
                    self.exhausted += 1
                    await trio.sleep(0.1)
                # Anything else is about that one connection, gone before it was taken (accept(2)).
                continue
            # Small answers go out at once: Nagle's algorithm would hold the end of each transfer back.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # What a peer does not take stays here, with the one who makes it, instead of in megabytes of the kernel.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
            return TcpStream(sock, (unmap_address(peer[0]), peer[1]))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@attrs.frozen(kw_only=True)
class Endpoint:
    """One address with both its sockets; they have the same port."""

    udp: UdpSocket
    tcp: TcpListener

    @property
    def address(self) -> Address:
        """The address bound, with the port that the kernel gave when 0 was asked for."""
        return self.tcp.address

    def close(self) -> None:
        """Close both sockets."""
        self.udp.close()
        self.tcp.close()


def bind_endpoints(addresses: Sequence[Address]) -> tuple[Endpoint, ...]:
    """UDP and TCP on each address, all or none; port 0 lets the kernel choose one port for both.

    Raises BindError, which names the address.
    """
    endpoints: list[Endpoint] = []
    try:
        for address in addresses:
            endpoints.append(_bind_endpoint(address))  # noqa: PERF401 - what is bound must be closed on error
    except BindError:
        for endpoint in endpoints:
            endpoint.close()
        raise
    return tuple(endpoints)


def bind_listeners(addresses: Sequence[Address]) -> tuple[TcpListener, ...]:
    """TCP alone on each address, all or none. Raises BindError, which names the address."""
    listeners: list[TcpListener] = []
    try:
        for address in addresses:
            listeners.append(TcpListener(_bind(address, socket.SOCK_STREAM)))  # noqa: PERF401 - closed on error
    except BindError:
        for listener in listeners:
            listener.close()
        raise
    return tuple(listeners)


def _bind_endpoint(address: Address) -> Endpoint:
    for remaining in reversed(range(_BIND_TRIES)):
        tcp = _bind(address, socket.SOCK_STREAM)
        try:
            udp = _bind((address[0], tcp.getsockname()[1]), socket.SOCK_DGRAM)
        except BindError:
            tcp.close()
            # The port that the kernel gave for TCP may be taken for UDP; one that was asked for stays taken.
            if address[1] or not remaining:
                raise
        else:
            return Endpoint(udp=UdpSocket(udp), tcp=TcpListener(tcp))
    raise AssertionError  # pragma: no cover - the last try returns or raises


def _bind(address: Address, kind: socket.SocketKind) -> socket.socket:
    protocol = "TCP" if kind == socket.SOCK_STREAM else "UDP"
    try:
        family, sockaddr = _resolve(address, kind)
        sock = socket.socket(family, kind)
    except OSError as exc:
        raise BindError(address=address, protocol=protocol, reason=exc.strerror or str(exc)) from exc
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            _ask_destination(sock, family)
        sock.bind(sockaddr)
        if kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        reason = exc.strerror or str(exc)
        if exc.errno == errno.EACCES and 0 < address[1] < 1024:
            reason += " (a port below 1024 needs the capability CAP_NET_BIND_SERVICE)"
        raise BindError(address=address, protocol=protocol, reason=reason) from exc
    return sock


def _resolve(address: Address, kind: socket.SocketKind) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    # Numeric only: a name could block on the network, and could be two addresses.
    found = socket.getaddrinfo(address[0], address[1], type=kind, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE)
    family, _, _, _, sockaddr = found[0]
    return family, sockaddr


def _ask_destination(sock: socket.socket, family: socket.AddressFamily) -> None:
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _reply_control(control: Sequence[tuple[int, int, bytes]]) -> tuple[tuple[int, int, bytes], ...]:
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            # struct in_pktinfo: interface, local address, destination. In a reply the local address is the
            # source, and interface 0 leaves the route to the kernel (ip(7)).
            local = data[4:8]
            return ((level, kind, struct.pack("@I4s4s", 0, local, bytes(4))),)
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return ((level, kind, data),)
    return ()


def _address_of(sock: socket.socket) -> Address:
    name = sock.getsockname()
    return (name[0], name[1])


class UdpExchange:
    """Sends a message to one address and waits for the answer to it, each time from a fresh port."""

    async def exchange(self, address: Address, message: bytes, *, is_answer: Callable[[bytes], bool]) -> bytes:
        """The first datagram from `address` that `is_answer` takes; waits until one comes.

        Raises OSError when the message cannot be sent, or when the peer says that nobody listens.
        """
        family, sockaddr = _resolve(address, socket.SOCK_DGRAM)
        # Connected, so that the kernel drops what others send, and hands over ICMP errors at once.
        with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect(sockaddr)
            await sock.send(message)
            while not is_answer(answer := await sock.recv(MAX_MESSAGE)):
                pass
            return answer
