"""The zone server: UDP, TCP and TLS on every configured address, one immutable view behind them.

Each UDP socket has one task, which answers in batches. Each connection has one task (`conversation`). Whoever neither
asks nor reads is closed by a deadline, whoever opens too many connections gets no more of them, and on a TLS address
who may not ask is not even shaken hands with.
"""

from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, MailboxSpec, Overflow, StopReason
from tapir.codec.tsig import TsigKey
from tapir.model.messages.feeds import FeedNotified
from tapir.model.messages.zone import GetServer, ServerStatus
from tapir.services.authority.access import AccessRule, Secured
from tapir.services.authority.connections import ConnectionLedger
from tapir.services.authority.conversation import PROTOCOL, Patience, TlsTerms, converse
from tapir.services.authority.feeds import Bell, FeedAccess
from tapir.services.authority.messages import GetView, Publish, SecondarySeen
from tapir.services.authority.responder import KEY, Responder
from tapir.transport.dns import BindError, Endpoint, TcpListener, bind_endpoints, bind_listeners
from tapir.transport.streams import Address, TcpStream, format_address
from tapir.transport.tls import TlsError, digest_authorities, server_context
from tapir.zone.replies import Reply
from tapir.zone.settings import ZoneSettings

MAILBOX: Final = MailboxSpec(capacity=16, overflow=Overflow.COALESCE, key=type)
"""of two views, the later one counts; `key=type` because a ConfigureServer replaces an earlier one, too"""

_BATCH: Final = 64


@attrs.frozen(kw_only=True)
class TlsSettings:
    """Where to listen for transfers over TLS (RFC 9103), and by which files, which are read anew with each reload."""

    addresses: tuple[Address, ...]
    certificate: Path
    key: Path
    client_ca: Path | None = None
    """whose client certificates are good; without it none is asked for"""
    require_client_certificate: bool = False
    require_alpn: bool = True


@attrs.frozen(kw_only=True)
class ServerSettings:
    """Where to listen, who may ask, and how much one may hold; times in seconds."""

    zone: ZoneSettings
    addresses: tuple[Address, ...]
    allow: tuple[IPv4Network | IPv6Network, ...]
    """who may ask everything, signed or not; `rules` come first"""
    rules: tuple[AccessRule, ...] = ()
    keys: tuple[TsigKey, ...] = ()
    feeds: tuple[FeedAccess, ...] = ()
    """of whose NOTIFY which source is told"""
    tls: TlsSettings | None = None
    max_connections: int = 512
    max_connections_per_address: int = 64
    idle_timeout: float = 10.0
    """how long a connection may be without a whole query"""
    write_timeout: float = 30.0
    """how long a peer may take nothing of what it asked for"""
    handshake_timeout: float = 5.0

    @property
    def access(self) -> tuple[AccessRule, ...]:
        """All rules, in the order in which they are tried."""
        return (*self.rules, AccessRule(label=KEY, networks=self.allow))


@attrs.frozen(kw_only=True)
class ConfigureServer:
    """These `settings` hold from now on; addresses only after a restart."""

    settings: ServerSettings


ServerMessage = Publish | ConfigureServer | GetServer


class ZoneServer(Actor[ServerMessage]):
    """Answers secondaries. Raises BindError from `started` when an address cannot be listened on."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        keeper: ActorRef[Any],
        notifier: ActorRef[Any],
        source: Callable[[str], ActorRef[Any]],
    ) -> None:
        """Serve by `settings`; `source` gives the actor of a source, which is told of NOTIFYs."""
        self._settings = settings
        self._source = source
        self._keeper = keeper
        self._notifier = notifier
        self._endpoints: tuple[Endpoint, ...] = ()
        self._tls_listeners: tuple[TcpListener, ...] = ()
        self._tls: TlsTerms | None = None
        """for new connections; None while there is no good certificate"""
        self._ledger = ConnectionLedger(
            total=settings.max_connections, per_address=settings.max_connections_per_address
        )

    async def started(self, ctx: Context[ServerMessage]) -> None:
        """Listen, and answer from what the keeper has published."""
        settings = self._settings
        self._responder = Responder(
            settings.zone,
            settings.access,
            keys=settings.keys,
            feeds=settings.feeds,
            log=ctx.log,
            now=ctx.now,
            seen=self._tell_notifier,
            notified=self._ring,
        )
        self._bell = Bell(self._source, self._responder.counters)
        self._responder.view = await self._keeper.ask(GetView())
        await self._load_certificate(ctx)
        self._endpoints = bind_endpoints(settings.addresses)
        try:
            self._tls_listeners = bind_listeners(settings.tls.addresses if settings.tls else ())
        except BindError:
            self._close()
            raise
        ctx.start_soon(self._bell.run)
        for endpoint in self._endpoints:
            ctx.start_soon(self._serve_datagrams, endpoint)
            ctx.start_soon(self._accept, ctx, endpoint.tcp)
        for listener in self._tls_listeners:
            ctx.start_soon(self._accept_tls, ctx, listener)
        ctx.log.info("listening on %s", ", ".join(self._listening()))

    async def receive(self, ctx: Context[ServerMessage], message: ServerMessage) -> None:
        """Take a new view or new settings; answer who asks."""
        match message:
            case Publish():
                self._responder.view = message.view
            case ConfigureServer():
                await self._configure(ctx, message.settings)
            case GetServer():
                ctx.reply(self._status())

    async def stopping(self, ctx: Context[ServerMessage], reason: StopReason) -> None:
        """Stop listening; connections end with their tasks."""
        self._close()

    def _close(self) -> None:
        for endpoint in self._endpoints:
            endpoint.close()
        for listener in self._tls_listeners:
            listener.close()

    async def _configure(self, ctx: Context[ServerMessage], settings: ServerSettings) -> None:
        before, self._settings = self._settings, settings
        # Also where they are the same: who is refused after a reload, for a renewed certificate, say, is told anew.
        self._responder.configure(settings.access, settings.keys, settings.feeds)
        self._bell.forget_all_but(frozenset(feed.source for feed in settings.feeds))
        self._ledger.total = settings.max_connections
        self._ledger.per_address = settings.max_connections_per_address
        await self._load_certificate(ctx)
        tls = settings.tls.addresses if settings.tls else ()
        tls_before = before.tls.addresses if before.tls else ()
        if (settings.addresses, tls) != (before.addresses, tls_before):
            ctx.log.warning(
                "other addresses are listened on only after a restart; now: %s", ", ".join(self._listening())
            )

    async def _load_certificate(self, ctx: Context[ServerMessage]) -> None:
        """Read the files of TLS, also when the settings are the same: certificates are renewed in place."""
        tls = self._settings.tls
        if tls is None:
            return
        try:
            self._tls = await ctx.run_blocking(partial(_read_terms, tls))
        except TlsError as exc:
            kept = (
                "the one before stays in use" if self._tls else "nobody is served over TLS until a reload finds it good"
            )
            ctx.log.error("dnsengine.tls: %s; %s", exc, kept)

    def _tell_notifier(self, seen: SecondarySeen) -> None:
        self._notifier.tell_nowait(seen)

    def _ring(self, source: str, said: FeedNotified) -> None:
        self._bell.ring(source, said)

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

    # -- TCP and TLS

    async def _accept(self, ctx: Context[ServerMessage], listener: TcpListener) -> None:
        try:
            while True:
                stream = await listener.accept()
                self._admit(ctx, stream, stranger=not self._responder.covers(stream.peer[0]), tls=None)
        except trio.ClosedResourceError:
            return
        finally:
            listener.close()

    async def _accept_tls(self, ctx: Context[ServerMessage], listener: TcpListener) -> None:
        try:
            while True:
                stream = await listener.accept()
                if self._tls is None:
                    self._responder.counters["tls_without_certificate"] += 1
                    stream.abort()
                elif not self._responder.covers(stream.peer[0], secured=Secured.CLIENT_CERTIFICATE):
                    # A handshake costs as much as a hundred queries, and could only end with a refusal.
                    self._responder.refuse_stranger(stream.peer[0])
                    stream.abort()
                else:
                    self._admit(ctx, stream, stranger=False, tls=self._tls)
        except trio.ClosedResourceError:
            return
        finally:
            listener.close()

    def _admit(self, ctx: Context[ServerMessage], stream: TcpStream, *, stranger: bool, tls: TlsTerms | None) -> None:
        limit = self._ledger.admit(stream.peer[0], stranger=stranger)
        if limit is not None:
            self._responder.refusals[limit.value] += 1
            stream.abort()
            return
        self._responder.counters["connections" if tls is None else "connections_tls"] += 1
        name = f"{ctx.path} {format_address(stream.peer)}"
        ctx.start_soon(self._converse, ctx, stream, stranger, tls, name=name)

    async def _converse(
        self, ctx: Context[ServerMessage], stream: TcpStream, stranger: bool, tls: TlsTerms | None
    ) -> None:
        try:
            await converse(
                stream,
                tls=tls,
                present=lambda: self._tls,
                responder=self._responder,
                ctx=ctx,
                patience=self._patience,
            )
        finally:
            self._ledger.release(stream.peer[0], stranger=stranger)

    def _patience(self) -> Patience:
        settings = self._settings
        return Patience(idle=settings.idle_timeout, write=settings.write_timeout, handshake=settings.handshake_timeout)

    # -- how it stands

    def _listening(self) -> tuple[str, ...]:
        return (
            *(format_address(endpoint.address) for endpoint in self._endpoints),
            *(f"{format_address(listener.address)} (TLS)" for listener in self._tls_listeners),
        )

    def _status(self) -> ServerStatus:
        counters = self._responder.counters.copy()
        for endpoint in self._endpoints:
            counters["udp_errors"] += endpoint.udp.errors
            counters["udp_unsent"] += endpoint.udp.unsent
            counters["accept_exhausted"] += endpoint.tcp.exhausted
        for listener in self._tls_listeners:
            counters["accept_exhausted"] += listener.exhausted
        return ServerStatus(
            listening=self._listening(),
            counters=tuple(sorted(counters.items())),
            refusals=tuple(sorted(self._responder.refusals.items())),
            connections=len(self._ledger),
        )


def _read_terms(tls: TlsSettings) -> TlsTerms:
    """Blocks. Raises TlsError."""
    context = server_context(
        certificate=tls.certificate,
        key=tls.key,
        client_ca=tls.client_ca,
        require_client_certificate=tls.require_client_certificate,
        protocols=(PROTOCOL,),
    )
    trusted = digest_authorities(tls.client_ca) if tls.client_ca is not None else b""
    return TlsTerms(
        context=context, clients=(trusted, tls.require_client_certificate), require_protocol=tls.require_alpn
    )
