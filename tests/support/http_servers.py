"""HTTP servers on 127.0.0.1 that say what a test has them say, octet for octet."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import trio


@attrs.define
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Exchange:
    """What a script does with one request."""

    def __init__(self, stream: trio.abc.Stream, asked: Asked) -> None:
        self.stream = stream
        self.asked = asked

    async def send(self, octets: bytes) -> None:
        """These octets, as they are."""
        await self.stream.send_all(octets)

    async def answer(self, status: int, body: bytes = b"", *, kind: str = "text/plain", head: str = "") -> None:
        """A whole answer with its length; `head` are further lines, each with its CRLF."""
        lines = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{head}\r\n"
        await self.send(lines.encode())
        await self.send(body)


Script = Callable[[Exchange], Awaitable[None]]


@attrs.define
class HttpServer:
    """Where it listens (`127.0.0.1:port`), and what it was asked."""

    address: str
    asked: list[Asked] = attrs.field(factory=list)

    @property
    def lines(self) -> list[str]:
        """The requests, as `METHOD path`."""
        return [f"{asked.method} {asked.path}" for asked in self.asked]


@contextlib.asynccontextmanager
async def serving(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[HttpServer]:
    """A server that runs `script` for each request; a script that returns without an answer hangs up."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        address, port = listener.socket.getsockname()
        server = HttpServer(f"{address}:{port}")

        async def serve(stream: trio.SocketStream) -> None:
            talking: trio.abc.Stream = stream
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if context is not None:
                    talking = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
                while (asked := await _read(talking)) is not None:
                    server.asked.append(asked)
                    exchange = Exchange(talking, asked)
                    await script(exchange)
            await trio.aclose_forcefully(talking)

        await nursery.start(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def _read(stream: trio.abc.Stream) -> Asked | None:
    """The next request; None when the client is done."""
    octets = b""
    while b"\r\n\r\n" not in octets:
        piece = await stream.receive_some(65536)
        if not piece:
            return None
        octets += piece
    head, _, body = octets.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += await stream.receive_some(65536)
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, bytes(body))
