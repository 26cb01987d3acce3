"""Serves an ASGI application over HTTP/1.1 and, within TLS, HTTP/2: the one module that knows hypercorn.

Of hypercorn it takes what speaks the protocols on one connection (`TCPServer`), and nothing else: listening, TLS,
limits, logs and the end are ours. That leans on hypercorn's insides, so its minor version is pinned, and what is leant
on is looked at when this module loads.
"""

import inspect
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import attrs
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from tapir.transport.http.fence import Application, Fence, RequestLimits
from tapir.transport.http.guard import GuardedStream, greet
from tapir.transport.streams import unmap_address

log = logging.getLogger("tapir.http")

ALPN: Final = ("h2", "http/1.1")
"""What a TLS context for this server offers, the first one first"""

if [*inspect.signature(TCPServer).parameters] != ["app", "config", "context", "state", "stream"]:
    raise ImportError("this version of hypercorn is another than the one that tapir.transport.http.server leans on")


@attrs.frozen(kw_only=True)
class HttpLimits:
    """Connections in all and from one address; octets of a request's head; seconds that an idle client may keep one.

    The same seconds are what a client has for its request to come, TLS handshake apart, and for each piece of an answer
    to be taken.
    """

    connections: int = 64
    connections_per_address: int = 32
    head: int = 16 * 1024
    patience: float = 10.0
    body: int = 64 * 1024
    requests: int = 32


class _Silent(Logger):
    """hypercorn's logger that writes nowhere: its lines name clients, and what matters is counted and logged here."""

    def __init__(self, config: Config) -> None:
        self.access_log_format = ""
        self.access_logger = None
        self.error_logger = None

    async def access(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is kept of who asked what."""


class HttpServer:
    """Serves one application on any number of listeners, and ends in order."""

    def __init__(self, app: Application, limits: HttpLimits | None = None) -> None:
        self._limits = limits or HttpLimits()
        requests = RequestLimits(body=self._limits.body, requests=self._limits.requests, patience=self._limits.patience)
        self._fence = Fence(app, requests)
        self._config = _configure(self._limits)
        self._worker = WorkerContext(None)
        self._clients: Counter[str] = Counter()
        self._idle = trio.Event()
        self._idle.set()
        self._told = False
        self.counters: Counter[str] = Counter()
        """connections, by what became of them"""

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return self._clients.total()

    @property
    def requests(self) -> int:
        """How many requests came."""
        return self._fence.requests

    @property
    def refused(self) -> dict[str, int]:
        """Requests that got no answer of the application, by reason."""
        return self._fence.refused

    async def serve(
        self, listener: trio.SocketListener, context: Callable[[], ssl.SSLContext | None] = lambda: None
    ) -> None:
        """Accept clients until cancelled, and close `listener`; each gets TLS by the context that there is then."""
        async with listener, trio.open_nursery() as nursery:
            while not self._worker.terminated.is_set():
                try:
                    stream = await listener.accept()
                except OSError:
                    # Out of descriptors, most likely: the clients wait in the kernel.
                    await trio.sleep(0.1)
                    continue
                nursery.start_soon(partial(self._admit, stream, context()))

    async def finish(self, grace: float) -> None:
        """Answer what was asked, take nothing new, and wait until all clients are gone, for `grace` seconds."""
        await self._worker.terminated.set()
        with trio.move_on_after(grace):
            await self._idle.wait()

    async def _admit(self, stream: trio.SocketStream, context: ssl.SSLContext | None) -> None:
        try:
            host = unmap_address(str(stream.socket.getpeername()[0]))
        except OSError:
            stream.socket.close()
            return
        if self._worker.terminated.is_set() or not self._has_room(host):
            self.counters["refused"] += 1
            stream.socket.close()
            return
        self.counters["accepted"] += 1
        self._clients[host] += 1
        self._idle = trio.Event()
        try:
            await self._converse(stream, context)
        finally:
            self._clients[host] -= 1
            if not self._clients[host]:
                del self._clients[host]
            if not self._clients:
                self._idle.set()

    def _has_room(self, host: str) -> bool:
        return (
            self.connections < self._limits.connections and self._clients[host] < self._limits.connections_per_address
        )

    async def _converse(self, stream: trio.SocketStream, context: ssl.SSLContext | None) -> None:
        greeted = await greet(stream, context, patience=self._limits.patience)
        if greeted is None:
            self.counters["no-tls"] += 1
            return
        guard, peer = greeted
        state = ConnectionState({"guard": guard, "peer": peer})
        app = ASGIWrapper(cast("ASGIFramework", self._fence))
        connection = TCPServer(app, self._config, self._worker, state, cast("Any", guard))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_abort_at_the_end, guard)
                nursery.start_soon(_leave_with, guard, nursery.cancel_scope)
                await connection.run()
                nursery.cancel_scope.cancel()
        except* Exception as group:  # noqa: BLE001
            # hypercorn and what it stands on raise many things at what a client may say.
            self.counters["broken"] += 1
            if not self._told:
                self._told = True
                kinds = ", ".join(sorted({type(exc).__name__ for exc in group.exceptions}))
                log.warning("a client's HTTP broke its connection (%s); further ones are only counted", kinds)
        finally:
            guard.abort()


async def _abort_at_the_end(guard: GuardedStream) -> None:
    """Where hypercorn is under a shield when all is cancelled, its stream ends and so does it."""
    try:
        await trio.sleep_forever()
    finally:
        guard.abort()


async def _leave_with(guard: GuardedStream, scope: trio.CancelScope) -> None:
    """A client that has left holds no place: of hypercorn's tasks some would go on waiting for it."""
    await guard.over()
    scope.cancel()


def _configure(limits: HttpLimits) -> Config:
    config = Config()
    config.logger_class = _Silent
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.head
    config.h2_max_header_list_size = limits.head
    config.h2_max_concurrent_streams = 16
    config.keep_alive_timeout = limits.patience
    config.websocket_max_message_size = limits.head
    return config


def listen(host: str, port: int) -> trio.SocketListener:
    """A listener on an IP literal; raises OSError. Port 0 lets the system choose."""
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Ours alone: 0.0.0.0 and :: are two addresses of one configuration.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(64)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
