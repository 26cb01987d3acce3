"""Streams of octets: what TCP and TLS have in common, and TCP itself.

A stream is read by one task and written by one task. What a peer does not take is never kept here: `send` returns once
the kernel has it all.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Final, Protocol

import trio

from tapir.model.errors import TapirError

READ_OCTETS: Final = 65536
# Linux takes 1024 pieces a call at most (IOV_MAX).
_MOST_PIECES: Final = 512

Address = tuple[str, int]
Buffer = bytes | bytearray | memoryview


class PeerStalled(TapirError):
    """The peer took nothing of what it was sent for the whole write timeout."""


class PeerGone(TapirError):
    """The connection broke, or was closed in the midst of a message."""


def format_address(address: Address) -> str:
    """`address` as logs and status show it: `192.0.2.1:53`, `[2001:db8::1]:53`."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unmap_address(host: str) -> str:
    """`host` without an interface scope, and an IPv4-mapped IPv6 address as the IPv4 address that it is."""
    host = host.partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


class ByteStream(Protocol):
    """A connection with `peer`, both ways."""

    @property
    def peer(self) -> Address:
        """Who is at the other end."""
        ...

    async def receive(self) -> bytes:
        """What the peer says next, or nothing at the end of it. Raises PeerGone."""
        ...

    async def send(self, pieces: Sequence[Buffer], *, patience: float) -> None:
        """Write `pieces`, one after the other; the peer may take none of them for `patience` seconds.

        Raises PeerStalled and PeerGone; the stream is of no use after either, nor when it is cancelled.
        """
        ...

    async def end(self) -> None:
        """Say that nothing more comes, where the protocol has a word for it, and close; never raises."""
        ...

    def close(self) -> None:
        """Close the connection; what the kernel holds is still delivered."""
        ...

    def abort(self) -> None:
        """Reset the connection, so that what the peer never read does not linger in the kernel."""
        ...


class TcpStream:
    """A `ByteStream` over a connected socket."""

    def __init__(self, sock: trio.socket.SocketType, peer: Address) -> None:
        self.peer = peer
        self._socket = sock

    async def receive(self) -> bytes:
        """What the peer says next, or nothing at the end of it. Raises PeerGone."""
        try:
            return await self._socket.recv(READ_OCTETS)
        except OSError as exc:
            raise PeerGone(f"{format_address(self.peer)}: {exc.strerror or exc}") from exc

    async def send(self, pieces: Sequence[Buffer], *, patience: float) -> None:
        """Write `pieces` as they lie in memory, as many in a call as the kernel takes."""
        done = 0
        rest = [memoryview(piece) for piece in pieces if piece]
        while done < len(rest):
            sent = -1
            with trio.move_on_after(patience):
                try:
                    sent = await self._socket.sendmsg(rest[done : done + _MOST_PIECES])
                except OSError as exc:
                    raise PeerGone(f"{format_address(self.peer)}: {exc.strerror or exc}") from exc
            if sent < 0:
                raise PeerStalled(f"{format_address(self.peer)} read nothing for {patience:g} s")
            while done < len(rest) and sent >= len(rest[done]):
                sent -= len(rest[done])
                done += 1
            if sent:
                rest[done] = rest[done][sent:]

    async def end(self) -> None:
        """Close: the end of a TCP stream is all there is to say."""
        self.close()

    def close(self) -> None:
        """Close the connection; what the kernel holds is still delivered."""
        self._socket.close()

    def abort(self) -> None:
        """Reset the connection, so that what the peer never read does not linger in the kernel."""
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()
