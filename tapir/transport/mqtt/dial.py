"""The way to a broker: name resolution, TCP, TLS with files that are read anew each time."""

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from tapir.transport.mqtt.states import ConnectionLost, Trouble
from tapir.transport.streams import ByteStream, TcpStream, unmap_address
from tapir.transport.tls import HandshakeFailed, TlsError, TlsStream

Dial = Callable[[], Awaitable[ByteStream]]
"""Makes a connection. Raises ConnectionLost, OSError; whoever calls has a deadline, and may cancel."""
MakeContext = Callable[[], ssl.SSLContext]
InThread = Callable[[MakeContext], Awaitable[ssl.SSLContext]]

_FOREVER: Final = 3600.0


def broker_dial(
    host: str,
    port: int,
    *,
    make_context: MakeContext | None = None,
    server_name: str | None = None,
    in_thread: InThread = trio.to_thread.run_sync,
) -> Dial:
    """How to reach `host`, over TLS when `make_context` is there.

    `make_context` reads files: it is called before every connection, through `in_thread`, so that a certificate that
    was replaced is used by the next. `server_name` is what the certificate must be for, else `host`.
    """

    async def dial() -> ByteStream:
        context = await _context(make_context, in_thread) if make_context is not None else None
        tcp = await _connect(host, port)
        if context is None:
            return tcp
        stream = TlsStream(tcp, context, server_side=False, server_hostname=server_name or host)
        try:
            # The deadline is the caller's.
            await stream.handshake(patience=_FOREVER)
        except HandshakeFailed as exc:
            tcp.close()
            raise ConnectionLost(Trouble.TLS, str(exc)) from exc
        except BaseException:
            tcp.close()
            raise
        return stream

    return dial


async def _context(make_context: MakeContext, in_thread: InThread) -> ssl.SSLContext:
    try:
        return await in_thread(make_context)
    except (TlsError, OSError) as exc:
        raise ConnectionLost(Trouble.TLS, str(exc)) from exc


async def _connect(host: str, port: int) -> TcpStream:
    try:
        # Resolves in a thread of Trio's, and tries the addresses as RFC 8305 has it.
        connected = await trio.open_tcp_stream(host, port)
    except socket.gaierror as exc:
        raise ConnectionLost(Trouble.RESOLVE, f"{host}: {exc.strerror}") from exc
    except OSError as exc:
        raise ConnectionLost(Trouble.CONNECT, _describe(exc)) from exc
    peer = connected.socket.getpeername()
    return TcpStream(connected.socket, (unmap_address(peer[0]), peer[1]))


def _describe(exc: OSError) -> str:
    cause = exc.__cause__
    if isinstance(cause, ExceptionGroup):
        # One for each address; Trio's own text names none of the reasons.
        return "; ".join(sorted({str(one) for one in cause.exceptions}))
    return str(cause or exc)
