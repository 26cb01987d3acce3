"""Accepts Frame Streams on any number of listeners, and serves every connection in a task of its own.

A connection that breaks, lies or says nothing is counted by its reason and disturbs no other. Running out of
descriptors or memory is waited out. A stop takes what the kernel holds before it closes.
"""

import errno
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs
import trio

from tapir.transport.frameinput import ANONYMOUS, FrameInput, SocketInput, StreamInput
from tapir.transport.framelisteners import FrameListener, ListenError, prepare_accepted
from tapir.transport.framestream import (
    ConnectionSummary,
    Deliver,
    FrameCounters,
    FrameStreamSettings,
    serve_connection,
)
from tapir.transport.streams import TcpStream
from tapir.transport.tls import TlsStream

CONNECTION_LIMIT: Final = 256
# As upstream; what waits in the backlog meanwhile is not lost.
_FIRST_DELAY: Final = 0.005
_LONGEST_DELAY: Final = 1.0
# What accept(2) says of the listening socket itself; all else is about one connection, or passes.
_FATAL: Final = frozenset({errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})

Report = Callable[[str, ConnectionSummary], None]
"""Hears of each connection that ended: the listener's name, and how it went"""


@attrs.frozen(kw_only=True)
class FrameInputStatistics:
    """What came in so far. The connections accepted are those open, those ended and those failed."""

    open: int
    accepted: int
    refused: int
    """connections closed at once, for there were as many as may be"""
    ended: Mapping[str, int]
    """connections that went as they may, by their `Ending`"""
    failed: Mapping[str, int]
    """connections given up, by their `Failure` or `Refusal`"""
    accept_errors: Mapping[str, int]
    """by the error's name (EMFILE)"""
    frames: int
    octets: int
    control_frames: int
    blocks: int
    abandoned: int


class Listeners:
    """Serves `listeners`, which it closes at the end; `serve` runs once."""

    def __init__(
        self,
        listeners: Sequence[FrameListener],
        deliver: Deliver,
        settings: FrameStreamSettings,
        *,
        connection_limit: int = CONNECTION_LIMIT,
        report: Report | None = None,
    ) -> None:
        self._listeners = tuple(listeners)
        self._deliver = deliver
        self._settings = settings
        self._limit = connection_limit
        self._report = report
        self._pool = settings.pool()
        self._counters = FrameCounters()
        self._open: set[FrameInput] = set()
        self._stopping = trio.Event()
        self._accepted = 0
        self._refused = 0
        self._ended = Counter[str]()
        self._failed = Counter[str]()
        self._accept_errors = Counter[str]()

    async def serve(self, *, drain: float = 1.0) -> None:
        """Until `stop`, and then for at most `drain` seconds more, while connections are read to their end.

        Raises what `deliver` raises, and ListenError when a listening socket is of no use any more.
        """
        try:
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    for listener in self._listeners:
                        accepting.start_soon(self._accept, listener, connections)
                    await self._stopping.wait()
                    accepting.cancel_scope.cancel()
                for stream in self._open:
                    stream.stop_reading()
                connections.cancel_scope.deadline = trio.current_time() + drain
        finally:
            for listener in self._listeners:
                listener.close()

    def stop(self) -> None:
        """Accept no more; senders hear at once that nothing more is read, where the kernel can tell them."""
        self._stopping.set()

    def statistics(self) -> FrameInputStatistics:
        """What came in so far."""
        return FrameInputStatistics(
            open=len(self._open),
            accepted=self._accepted,
            refused=self._refused,
            ended=MappingProxyType(dict(self._ended)),
            failed=MappingProxyType(dict(self._failed)),
            accept_errors=MappingProxyType(dict(self._accept_errors)),
            **attrs.asdict(self._counters),
        )

    async def _accept(self, listener: FrameListener, connections: trio.Nursery) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                sock, _ = listener.sock.accept()  # who that is, is nobody's business
            except BlockingIOError:
                listener.check()
                await trio.lowlevel.wait_readable(listener.sock)
                continue
            except OSError as exc:
                if exc.errno in _FATAL:
                    raise ListenError(listener.name, exc.strerror or str(exc)) from exc
                self._accept_errors[errno.errorcode.get(exc.errno or 0, "unknown")] += 1
                # Accepting again at once would spin: the connection stays in the backlog.
                await trio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
                continue
            delay = _FIRST_DELAY
            if len(self._open) >= self._limit:
                self._refused += 1
                sock.close()
            elif (stream := self._prepare(sock, listener)) is not None:
                self._accepted += 1
                self._open.add(stream)
                connections.start_soon(self._serve_one, listener.name, stream)
            await trio.lowlevel.checkpoint()

    def _prepare(self, sock: socket.socket, listener: FrameListener) -> FrameInput | None:
        try:
            prepare_accepted(sock)
        except OSError as exc:
            # It was reset before it was looked at.
            self._accept_errors[errno.errorcode.get(exc.errno or 0, "unknown")] += 1
            sock.close()
            return None
        if listener.tls is None:
            return SocketInput(sock)
        below = TcpStream(trio.socket.from_stdlib_socket(sock), ANONYMOUS)
        return StreamInput(TlsStream(below, listener.tls, server_side=True))

    async def _serve_one(self, name: str, stream: FrameInput) -> None:
        try:
            summary = await serve_connection(
                stream, self._deliver, self._settings, pool=self._pool, counters=self._counters
            )
        finally:
            self._open.discard(stream)
        if summary.failure is None:
            self._ended[summary.ending.value] += 1
        else:
            self._failed[summary.failure.value] += 1
        if self._report is not None:
            self._report(name, summary)
