"""The zone server: UDP and TCP on every configured address, one immutable view behind them.

Each UDP socket has one task, which answers in batches. Each TCP connection has one task, which answers query after
query, and writes a transfer message by message: what a secondary does not read is never kept here. Whoever neither
asks nor reads is closed by a deadline, whoever opens too many connections gets no more of them.
"""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, MailboxSpec, Overflow, StopReason
from tapir.model.messages.zone import GetServer, ServerStatus
from tapir.services.authority.connections import ConnectionLedger
from tapir.services.authority.messages import GetView, Publish, SecondarySeen
from tapir.services.authority.responder import Responder
from tapir.transport.dns import (
    Address,
    Endpoint,
    MessageStream,
    PeerGone,
    PeerStalled,
    bind_endpoints,
    format_address,
    frame,
)
from tapir.zone.answers import Answer
from tapir.zone.replies import Reply, TransferReply
from tapir.zone.settings import ZoneSettings

MAILBOX: Final = MailboxSpec(capacity=16, overflow=Overflow.COALESCE, key=type)
"""of two views, the later one counts; `key=type` because a ConfigureServer replaces an earlier one, too"""

_BATCH: Final = 64


@attrs.frozen(kw_only=True)
class ServerSettings:
    """Where to listen, who may ask, and how much one may hold; times in seconds."""

    zone: ZoneSettings
    addresses: tuple[Address, ...]
    allow: tuple[IPv4Network | IPv6Network, ...]
    max_connections: int = 512
    max_connections_per_address: int = 64
    idle_timeout: float = 10.0
    """how long a connection may be without a whole query"""
    write_timeout: float = 30.0
    """how long a peer may take nothing of what it asked for"""


@attrs.frozen(kw_only=True)
class ConfigureServer:
    """These `settings` hold from now on; addresses only after a restart."""

    settings: ServerSettings


ServerMessage = Publish | ConfigureServer | GetServer


class ZoneServer(Actor[ServerMessage]):
    """Answers secondaries. Raises BindError from `started` when an address cannot be listened on."""

    def __init__(self, settings: ServerSettings, *, keeper: ActorRef[Any], notifier: ActorRef[Any]) -> None:
        self._settings = settings
        self._keeper = keeper
        self._notifier = notifier
        self._endpoints: tuple[Endpoint, ...] = ()
        self._ledger = ConnectionLedger(
            total=settings.max_connections, per_address=settings.max_connections_per_address
        )

    async def started(self, ctx: Context[ServerMessage]) -> None:
        """Listen, and answer from what the keeper has published."""
        settings = self._settings
        self._responder = Responder(settings.zone, settings.allow, log=ctx.log, now=ctx.now, seen=self._tell_notifier)
        self._responder.view = await self._keeper.ask(GetView())
        self._endpoints = bind_endpoints(settings.addresses)
        for endpoint in self._endpoints:
            ctx.start_soon(self._serve_datagrams, endpoint)
            ctx.start_soon(self._accept, ctx, endpoint)
        ctx.log.info("listening on %s", ", ".join(self._listening()))

    async def receive(self, ctx: Context[ServerMessage], message: ServerMessage) -> None:
        """Take a new view or new settings; answer who asks."""
        match message:
            case Publish():
                self._responder.view = message.view
            case ConfigureServer():
                self._configure(ctx, message.settings)
            case GetServer():
                ctx.reply(self._status())

    async def stopping(self, ctx: Context[ServerMessage], reason: StopReason) -> None:
        """Stop listening; connections end with their tasks."""
        for endpoint in self._endpoints:
            endpoint.close()

    def _configure(self, ctx: Context[ServerMessage], settings: ServerSettings) -> None:
        before, self._settings = self._settings, settings
        if settings.allow != before.allow:
            self._responder.allow(settings.allow)
        self._ledger.total = settings.max_connections
        self._ledger.per_address = settings.max_connections_per_address
        if settings.addresses != before.addresses:
            ctx.log.warning(
                "other addresses are listened on only after a restart; now: %s", ", ".join(self._listening())
            )

    def _tell_notifier(self, seen: SecondarySeen) -> None:
        self._notifier.tell_nowait(seen)

    # -- UDP

    async def _serve_datagrams(self, endpoint: Endpoint) -> None:
        udp = endpoint.udp
        try:
            while True:
                await udp.wait_readable()
                for datagram in udp.receive_batch(_BATCH):
                    answer = self._responder.respond_datagram(datagram.payload, datagram.peer[0])
                    if isinstance(answer, Reply):
                        udp.send(answer.wire, datagram)
        except trio.ClosedResourceError:
            return  # `stopping` did it
        finally:
            # Also where `stopping` is not called: when the whole run is cancelled.
            udp.close()

    # -- TCP

    async def _accept(self, ctx: Context[ServerMessage], endpoint: Endpoint) -> None:
        try:
            while True:
                self._admit(ctx, await endpoint.tcp.accept())
        except trio.ClosedResourceError:
            return
        finally:
            endpoint.tcp.close()

    def _admit(self, ctx: Context[ServerMessage], stream: MessageStream) -> None:
        stranger = not self._responder.allows(stream.peer[0])
        limit = self._ledger.admit(stream.peer[0], stranger=stranger)
        if limit is not None:
            self._responder.refusals[limit.value] += 1
            stream.abort()
            return
        self._responder.counters["connections"] += 1
        ctx.start_soon(self._serve_stream, ctx, stream, stranger, name=f"{ctx.path} {format_address(stream.peer)}")

    async def _serve_stream(self, ctx: Context[ServerMessage], stream: MessageStream, stranger: bool) -> None:
        counters = self._responder.counters
        try:
            await self._converse(ctx, stream)
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
            self._ledger.release(stream.peer[0], stranger=stranger)

    async def _converse(self, ctx: Context[ServerMessage], stream: MessageStream) -> None:
        host = stream.peer[0]

        async def run_blocking(make: Callable[[], Answer]) -> Answer:
            return await ctx.run_blocking(make)

        while True:
            message: bytes | None = None
            with trio.move_on_after(self._settings.idle_timeout) as idle:
                message = await stream.receive()
            if message is None:
                if idle.cancelled_caught:
                    self._responder.counters["connections_idle"] += 1
                return
            answer = await self._responder.respond_stream(message, host, run_blocking)
            match answer:
                case Reply():
                    await stream.send(frame(answer.wire), patience=self._settings.write_timeout)
                case TransferReply():
                    await self._transfer(stream, answer)
                    self._responder.note_transferred(answer, host)
                case _:
                    # What is not answered takes no time: others have their turn all the same.
                    await trio.lowlevel.checkpoint()

    async def _transfer(self, stream: MessageStream, reply: TransferReply) -> None:
        for message in reply.messages():
            await stream.send(frame(message), patience=self._settings.write_timeout)

    # -- how it stands

    def _listening(self) -> tuple[str, ...]:
        return tuple(format_address(endpoint.address) for endpoint in self._endpoints)

    def _status(self) -> ServerStatus:
        counters = self._responder.counters.copy()
        for endpoint in self._endpoints:
            counters["udp_errors"] += endpoint.udp.errors
            counters["udp_unsent"] += endpoint.udp.unsent
            counters["accept_exhausted"] += endpoint.tcp.exhausted
        return ServerStatus(
            listening=self._listening(),
            counters=tuple(sorted(counters.items())),
            refusals=tuple(sorted(self._responder.refusals.items())),
            connections=len(self._ledger),
        )
