"""One primary of a feed: where it is, how it is spoken to, and what it is asked."""

import random
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import attrs

from tapir.codec.tsig import TsigKey
from tapir.model.errors import TapirError
from tapir.model.names import Name
from tapir.services.sources.worker import FileWorker, Worker
from tapir.transport.dns import UdpExchange
from tapir.transport.streams import Address
from tapir.transport.tls import TlsError, client_context
from tapir.transport.transfer import (
    DNS_OVER_TLS,
    Connector,
    InThread,
    Patience,
    PrimaryFailed,
    TcpConnector,
    TlsConnector,
    any_thread,
    ask,
    fetch,
)
from tapir.zone.asking import SoaQuestion
from tapir.zone.faults import TransferError, TransferLimits
from tapir.zone.inbound import Inbound, Transferred

Clock = Callable[[], int]

_ids: Final = random.SystemRandom()


@attrs.frozen(kw_only=True)
class PrimaryTls:
    """How a primary is spoken to over TLS; the files are read again for each connection."""

    hostname: str
    ca: Path | None = None
    """None: what the system trusts"""
    certificate: Path | None = None
    key: Path | None = None
    require_alpn: bool = True


@attrs.frozen(kw_only=True)
class PrimarySettings:
    """One primary; `host` is an IP literal or a name, which is looked up again for each connection."""

    host: str
    port: int = 53
    key: TsigKey | None = None
    tls: PrimaryTls | None = None

    @property
    def label(self) -> str:
        """The address as people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def secured(self) -> str:
        """`no`, `tsig`, `tls` or `tls+tsig`."""
        if self.tls is not None:
            return "tls" if self.key is None else "tls+tsig"
        return "no" if self.key is None else "tsig"


class PrimaryUnusable(TapirError):
    """A primary could not even be asked: its name, or the files for TLS; `reason` is a word for a counter."""

    def __init__(self, *, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def reason_of(exc: TapirError) -> str:
    """The word by which the failure of a primary is counted."""
    if isinstance(exc, TransferError):
        return str(exc.fault)
    return exc.reason if isinstance(exc, PrimaryFailed | PrimaryUnusable) else "other"


@attrs.frozen(kw_only=True)
class TransferRequest:
    """What is wanted of `zone`: what has changed since the serial `held`, or with `whole` all of it."""

    zone: Name
    held: int | None
    whole: bool = False
    limits: TransferLimits = TransferLimits()
    keep: bool = False
    """whether what POP does not evaluate is wanted, too"""


class Primaries(Protocol):
    """Asks primaries; `NetworkPrimaries` is the real one. Methods raise TapirError when nothing comes of it.

    `clock` tells microseconds since the epoch.
    """

    async def serial(self, primary: PrimarySettings, zone: Name, *, clock: Clock) -> int:
        """The serial of `zone` there."""
        ...

    async def transfer(
        self, primary: PrimarySettings, request: TransferRequest, *, clock: Clock, in_thread: InThread
    ) -> Transferred:
        """What it transfers."""
        ...


class NetworkPrimaries:
    """Asks primaries over UDP, TCP and TLS; over TLS, nothing at all goes by another way.

    Names are looked up and files read in a thread of its own, which nobody waits for when the source stops.
    """

    def __init__(self, *, patience: Patience, worker: Worker | None = None) -> None:
        self._patience = patience
        self._worker = worker if worker is not None else FileWorker()
        self._udp = UdpExchange()

    async def serial(self, primary: PrimarySettings, zone: Name, *, clock: Clock) -> int:
        """The serial of `zone` there. Raises PrimaryFailed, PrimaryUnusable and TransferError."""
        connector = await self._connector(primary)
        question = SoaQuestion.of(zone, id_=_ids.getrandbits(16), key=primary.key, now=clock())
        answer = await ask(
            connector,
            question.wire,
            is_answer=lambda wire: question.is_answered_by(wire, now=clock()),
            on_stream=question.is_meant_by,
            patience=self._patience,
            udp=self._udp if primary.tls is None else None,
        )
        return question.serial_of(answer, now=clock())

    async def transfer(
        self,
        primary: PrimarySettings,
        request: TransferRequest,
        *,
        clock: Clock,
        in_thread: InThread = any_thread,
    ) -> Transferred:
        """What it transfers, by IXFR or AXFR. Raises PrimaryFailed, PrimaryUnusable and TransferError."""
        connector = await self._connector(primary)
        exchange = Inbound(
            request.zone,
            held=request.held,
            id_=_ids.getrandbits(16),
            key=primary.key,
            now=clock(),
            whole=request.whole,
            keep=request.keep,
            limits=request.limits,
        )
        return await fetch(connector, exchange, patience=self._patience, clock=clock, in_thread=in_thread)

    async def _connector(self, primary: PrimarySettings) -> Connector:
        address = await self._worker.run(_resolve, primary.host, primary.port)
        tcp = TcpConnector(peer=address)
        if primary.tls is None:
            return tcp
        tls = primary.tls
        try:
            context = await self._worker.run(_context_of, tls)
        except TlsError as exc:
            raise PrimaryUnusable(reason="tls", detail=f"{primary.label}: {exc}") from exc
        return TlsConnector(tcp=tcp, context=context, hostname=tls.hostname, require_alpn=tls.require_alpn)


def _context_of(tls: PrimaryTls) -> ssl.SSLContext:
    return client_context(ca=tls.ca, certificate=tls.certificate, key=tls.key, protocols=(DNS_OVER_TLS,))


def _resolve(host: str, port: int) -> Address:
    """The first address of `host`. Raises PrimaryUnusable."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        said = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise PrimaryUnusable(reason="name", detail=f"{host} cannot be looked up: {said}") from exc
    return str(found[0][4][0]), port
