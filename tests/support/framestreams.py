"""Senders of Frame Streams for tests: over memory, over real sockets, and as files.

`python framestreams.py SOCKET FRAMES TIMES` sends so many frames of some 150 octets so many times, as fast as they are
taken, and prints the seconds.
"""

import functools
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import trio
from trio.testing import memory_stream_pair

from tapir.codec.framestream import DNSTAP, Sender
from tapir.model.blocks import FrameBlock
from tapir.transport.frameinput import ANONYMOUS
from tapir.transport.streams import Address, Buffer, PeerGone

_PIECE: Final = 1 << 20


def file_octets(frames: Iterable[bytes], *, content_type: bytes = DNSTAP) -> bytes:
    """A `.fstrm` file of `frames`."""
    sender = Sender(bidirectional=False, content_type=content_type)
    return sender.start() + FrameBlock.of(frames).data + sender.stop()


def write_file(path: Path, frames: Iterable[bytes]) -> None:
    """Write `frames` as a `.fstrm` file."""
    path.write_bytes(file_octets(frames))


class MemoryStream:
    """A `ByteStream` over an end of Trio's memory streams."""

    def __init__(self, stream: trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]):
        self._stream = stream

    @property
    def peer(self) -> Address:
        return ANONYMOUS

    async def receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise PeerGone("the memory is closed") from None

    async def send(self, pieces: Sequence[Buffer], *, patience: float) -> None:
        try:
            for piece in pieces:
                await self._stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise PeerGone("the memory is closed") from None

    async def end(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self._stream.send_stream.close()
        self._stream.receive_stream.close()

    def abort(self) -> None:
        self.close()


class TestSender:
    """A sender on any stream of Trio, which does as it is told."""

    __test__ = False

    def __init__(self, stream: trio.abc.Stream, *, bidirectional: bool = True, content_type: bytes = DNSTAP) -> None:
        self.stream = stream
        self._bidirectional = bidirectional
        self._machine = Sender(bidirectional=bidirectional, content_type=content_type)

    async def open(self) -> None:
        """Begin the stream, and return once frames may be sent."""
        await self.stream.send_all(self._machine.start())
        while not self._machine.open:
            await self._hear()

    async def send(self, frames: Iterable[bytes]) -> None:
        """Send `frames`."""
        await self.stream.send_all(FrameBlock.of(frames).data)

    async def stop(self) -> None:
        """Say STOP, wait for FINISH if that is due, and close."""
        await self.stream.send_all(self._machine.stop())
        while self._bidirectional and not self._machine.finished:
            await self._hear()
        await self.stream.aclose()

    async def _hear(self) -> None:
        octets = bytes(await self.stream.receive_some())
        if not octets:
            raise PeerGone("the receiver closed")
        if answer := self._machine.feed(octets):
            await self.stream.send_all(answer)


def memory_sender(*, bidirectional: bool = True, content_type: bytes = DNSTAP) -> tuple[TestSender, MemoryStream]:
    """A sender and the stream that its receiver reads."""
    ours, theirs = memory_stream_pair()
    return TestSender(ours, bidirectional=bidirectional, content_type=content_type), MemoryStream(theirs)


def send_prepared(connect: Callable[[], socket.socket], octets: bytes, *, times: int) -> float:
    """From a thread or process of one's own: handshake, `octets` of frames so many times, FINISH; seconds of that."""
    sender = Sender(bidirectional=True)
    with connect() as sock:
        sock.setblocking(True)
        sock.sendall(sender.start())
        while not sender.open:
            sock.sendall(sender.feed(sock.recv(4096)))
        began = time.perf_counter()
        view = memoryview(octets)
        for _ in range(times):
            for start in range(0, len(view), _PIECE):
                sock.sendall(view[start : start + _PIECE])
        sock.sendall(sender.stop())
        while not sender.finished:
            heard = sock.recv(4096)
            if not heard:
                raise ConnectionError("no FINISH")
            sender.feed(heard)
        return time.perf_counter() - began


def connect_unix(path: Path | str) -> socket.socket:
    """A blocking connection to a Unix socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(str(path))
    return sock


if __name__ == "__main__":
    prepared = FrameBlock.of(bytes(110 + number % 81) for number in range(int(sys.argv[2])))
    print(send_prepared(functools.partial(connect_unix, sys.argv[1]), prepared.data, times=int(sys.argv[3])))
