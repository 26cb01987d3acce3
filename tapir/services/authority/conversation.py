"""One connection with a secondary: its handshake, query after query, and transfers.

A transfer is written batch by batch: what a secondary does not read is never kept here, and between two batches others
have their turn.
"""

import ssl
from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from actors import Context
from tapir.services.authority.access import Secured
from tapir.services.authority.responder import Responder
from tapir.transport.dns import MessageStream, frame
from tapir.transport.streams import ByteStream, PeerGone, PeerStalled, format_address
from tapir.transport.tls import HandshakeFailed, TlsStream, Truncated
from tapir.zone.answers import Answer
from tapir.zone.replies import Reply, TransferReply

PROTOCOL: Final = "dot"
"""the ALPN name of DNS over TLS, transfers too (RFC 9103 §7.1)"""


@attrs.frozen(kw_only=True)
class Patience:
    """For how many seconds a peer may do nothing."""

    idle: float
    """without a whole query"""
    write: float
    """taking nothing of what it asked for"""
    handshake: float


@attrs.frozen(kw_only=True)
class TlsTerms:
    """On what terms TLS is spoken; connections keep those that they began with, while the same clients are good."""

    context: ssl.SSLContext
    clients: object
    """which clients are good: equal terms take the same"""
    require_protocol: bool
    """a client must name `dot`, as RFC 9103 has it; unbound (1.17) names nothing"""


async def converse(
    stream: ByteStream,
    *,
    tls: TlsTerms | None,
    present: Callable[[], TlsTerms | None],
    responder: Responder,
    ctx: Context[Any],
    patience: Callable[[], Patience],
) -> None:
    """Talk with the peer of `stream`, over TLS when there are terms for it, until it ends; closes the stream.

    `present` says the terms of now, which a reload may have changed. Nothing that a peer does makes this raise.
    """
    counters = responder.counters

    def is_outdated() -> bool:
        now = present()
        return tls is not None and now is not None and now.clients != tls.clients

    try:
        if tls is None:
            await _talk(MessageStream(stream), Secured.NO, responder, ctx, patience, is_outdated)
            return
        secure = TlsStream(stream, tls.context, server_side=True)
        await secure.handshake(patience=patience().handshake)
        if tls.require_protocol and secure.protocol != PROTOCOL:
            # TLS that is meant for something else, or a client from before RFC 9103.
            responder.refuse_protocol(stream.peer[0])
            await secure.end()
            return
        secured = Secured.CLIENT_CERTIFICATE if secure.peer_certificate else Secured.TLS
        await _talk(MessageStream(secure), secured, responder, ctx, patience, is_outdated)
    except HandshakeFailed as exc:
        responder.note_no_handshake(stream.peer[0], str(exc))
    except Truncated:
        # Between two queries as well: then nothing is lost, and many clients leave like that.
        counters["tls_truncated"] += 1
    except PeerGone:
        counters["connections_broken"] += 1
    except PeerStalled:
        counters["connections_stalled"] += 1
        # What it did not read would else wait in the kernel for as long as it likes.
        stream.abort()
    except Exception:
        # One connection never stops the server, see Responder.
        counters["connections_failed"] += 1
        ctx.log.exception("the connection with %s ended by a fault in tapir", format_address(stream.peer))
    finally:
        stream.close()


async def _talk(
    stream: MessageStream,
    secured: Secured,
    responder: Responder,
    ctx: Context[Any],
    patience: Callable[[], Patience],
    is_outdated: Callable[[], bool],
) -> None:
    host = stream.peer[0]

    async def run_blocking(make: Callable[[], Answer]) -> Answer:
        return await ctx.run_blocking(make)

    while True:
        message: bytes | None = None
        with trio.move_on_after(patience().idle) as idle:
            message = await stream.receive()
        if message is None:
            if idle.cancelled_caught:
                responder.counters["connections_idle"] += 1
            await stream.end()
            return
        if is_outdated():
            # Its certificate may be one that is good no longer; whose is, comes again.
            responder.counters["tls_outdated"] += 1
            await stream.end()
            return
        answer = await responder.respond_stream(message, host, run_blocking, secured=secured)
        match answer:
            case Reply():
                await stream.send((frame(answer.wire),), patience=patience().write)
            case TransferReply():
                for batch in answer.batches(now=ctx.now):
                    await stream.send(batch, patience=patience().write)
                responder.note_transferred(answer, host)
            case _:
                # What is not answered takes no time: others have their turn all the same.
                await trio.lowlevel.checkpoint()
