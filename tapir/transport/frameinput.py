"""Connections as Frame Streams reads them: straight from the kernel into its buffer, or from any stream of octets.

Whoever reads asks for what is there, and waits only when nothing is: so a sender at full rate costs one system call for
some hundred kilobytes, and no turn of the event loop. No text here has an address of a peer.
"""

from socket import SHUT_RD, socket
from typing import Final, Protocol

import trio

from tapir.transport.streams import ByteStream, PeerGone, PeerStalled
from tapir.transport.tls import TlsStream

ANONYMOUS: Final = ("peer", 0)
"""stands for the address of a peer where a stream wants one, since an error of it shows that"""


class FrameInput(Protocol):
    """What `serve_connection` needs of a connection; PeerGone from any of them means that it broke."""

    async def handshake(self, *, patience: float) -> None:
        """Come to terms below Frame Streams, where that is needed. Raises HandshakeFailed."""
        ...

    def receive_nowait(self, room: memoryview) -> int:
        """Put what is there into `room`; how many octets, 0 at the end. Raises trio.WouldBlock."""
        ...

    async def wait_readable(self) -> None:
        """Return once there may be something to receive."""
        ...

    async def send(self, octets: bytes, *, patience: float) -> None:
        """Write `octets`. Raises PeerStalled."""
        ...

    def stop_reading(self) -> None:
        """Let the stream end after what has come already."""
        ...

    async def end(self) -> None:
        """Close, with a word to the peer where there is one; never raises."""
        ...

    def close(self) -> None:
        """Close without a word."""
        ...


class SocketInput:
    """A connected stream socket in clear, Unix or TCP."""

    def __init__(self, sock: socket) -> None:
        sock.setblocking(False)
        self._socket = sock

    async def handshake(self, *, patience: float) -> None:
        """There is nothing to agree about."""
        await trio.lowlevel.checkpoint()

    def receive_nowait(self, room: memoryview) -> int:
        """Put what the kernel has into `room`."""
        try:
            return self._socket.recv_into(room)
        except BlockingIOError:
            raise trio.WouldBlock from None
        except OSError as exc:
            raise PeerGone(exc.strerror or "the connection broke") from None

    async def wait_readable(self) -> None:
        """Wait for the kernel to have something."""
        await trio.lowlevel.wait_readable(self._socket)

    async def send(self, octets: bytes, *, patience: float) -> None:
        """Write control frames, which nearly always go out at once."""
        with trio.move_on_after(patience) as deadline:
            while octets:
                try:
                    octets = octets[self._socket.send(octets) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._socket)
                except OSError as exc:
                    raise PeerGone(exc.strerror or "the connection broke") from None
        if deadline.cancelled_caught:
            raise PeerStalled(f"the sender read nothing for {patience:g} s")

    def stop_reading(self) -> None:
        """The writer at the other end of a Unix socket fails at once, and what it wrote can still be read."""
        try:
            self._socket.shutdown(SHUT_RD)
        except OSError:
            return  # it is gone already

    async def end(self) -> None:
        """Close; a socket has no word for it."""
        self.close()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def close(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class StreamInput:
    """Any `ByteStream`, which is read one step ahead."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._held = memoryview(b"")
        self._ended = False
        self._reading: trio.CancelScope | None = None

    async def handshake(self, *, patience: float) -> None:
        """Shake hands if this is TLS."""
        if isinstance(self._stream, TlsStream):
            await self._stream.handshake(patience=patience)

    def receive_nowait(self, room: memoryview) -> int:
        """Put what was read into `room`."""
        count = min(len(room), len(self._held))
        if not count and not self._ended:
            raise trio.WouldBlock
        room[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    async def wait_readable(self) -> None:
        """Read what comes next, unless something is left."""
        if self._held or self._ended:
            await trio.lowlevel.checkpoint()
            return
        with trio.CancelScope() as self._reading:
            self._held = memoryview(await self._stream.receive())
        self._ended = self._ended or not self._held

    async def send(self, octets: bytes, *, patience: float) -> None:
        """Write `octets`."""
        await self._stream.send((octets,), patience=patience)

    def stop_reading(self) -> None:
        """End after what was read already: what is not decrypted yet cannot be told from what is not there yet."""
        self._ended = True
        if self._reading is not None:
            self._reading.cancel()

    async def end(self) -> None:
        """Say that nothing more comes, and close."""
        await self._stream.end()

    def close(self) -> None:
        """Close without a word."""
        self._stream.close()
