"""Where the management API listens: opening, opening again, closing; none of it ever raises."""

import ssl
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actors import Context
from tapir.model.messages.control import ApiListener
from tapir.transport.http.server import ALPN, HttpServer, listen
from tapir.transport.streams import format_address
from tapir.transport.tls import TlsError, server_context

_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0


@attrs.frozen(kw_only=True)
class Endpoint:
    """An address to listen on, and which surface is reached there: `api` or `bootstrap`."""

    host: str
    port: int
    surface: str
    tls: bool = False

    def __str__(self) -> str:
        return format_address((self.host, self.port))


@attrs.frozen(kw_only=True)
class TlsFiles:
    """PEM files: what we show, and who may have signed what a client shows."""

    certificate: Path
    key: Path
    client_ca: Path | None


class Certificates:
    """The TLS context that new connections get; it follows its files."""

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self.error = ""
        self._files: TlsFiles | None = None
        self._seen: object = None

    async def look(self, ctx: Context[Any], files: TlsFiles | None) -> None:
        """Read the files where they are others than last time; what cannot be used leaves the old context."""
        if files is None:
            self.context, self.error, self._seen = None, "", None
            return
        state = await ctx.run_blocking(_state_of, files)
        if state == self._seen and not self.error:
            return
        try:
            self.context = await ctx.run_blocking(_read, files)
        except TlsError as exc:
            if str(exc) != self.error:
                kept = "the one before stays in use" if self.context is not None else "nothing is served over TLS"
                ctx.log.error("management API: %s; %s until the files are good", exc, kept)
            self.error = str(exc)
            return
        if self._seen is not None:
            ctx.log.info("management API: the certificate was read anew; connections from now on get it")
        self._seen, self.error = state, ""


def _state_of(files: TlsFiles) -> object:
    paths = [files.certificate, files.key, *([files.client_ca] if files.client_ca else ())]
    return files, tuple(_signature(path) for path in paths)


def _signature(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(files: TlsFiles) -> ssl.SSLContext:
    return server_context(certificate=files.certificate, key=files.key, client_ca=files.client_ca, protocols=ALPN)


@attrs.define
class _Place:
    scope: trio.CancelScope | None = None
    error: str = ""
    failures: int = 0
    retry_at: float = 0.0
    bound: str = ""


class Listeners:
    """The endpoints that are wanted, and those that are open."""

    def __init__(self, servers: Callable[[str], HttpServer], certificates: Certificates) -> None:
        self._servers = servers
        self._certificates = certificates
        self._places: dict[Endpoint, _Place] = {}

    @property
    def retry_at(self) -> float | None:
        """When the next one that could not be opened is to be tried again, by Trio's clock."""
        return min((place.retry_at for place in self._places.values() if place.scope is None), default=None)

    def want(self, ctx: Context[Any], endpoints: Sequence[Endpoint]) -> None:
        """Close what is not wanted any more, and open the rest."""
        for endpoint in set(self._places) - set(endpoints):
            place = self._places.pop(endpoint)
            if place.scope is not None:
                place.scope.cancel()
        for endpoint in endpoints:
            self._places.setdefault(endpoint, _Place())
        self.open(ctx)

    def open(self, ctx: Context[Any]) -> None:
        """Open what is not, and whose turn it is; what fails is said once, and once again when it works."""
        for endpoint, place in self._places.items():
            if place.scope is None and place.retry_at <= trio.current_time():
                self._open(ctx, endpoint, place)

    def _open(self, ctx: Context[Any], endpoint: Endpoint, place: _Place) -> None:
        if endpoint.tls and self._certificates.context is None:
            error = "there is no certificate that can be used"
        else:
            try:
                listener = listen(endpoint.host, endpoint.port)
            except OSError as exc:
                error = exc.strerror or str(exc)
            else:
                place.bound = format_address(listener.socket.getsockname()[:2])
                place.scope = trio.CancelScope()
                ctx.start_soon(partial(self._serve, endpoint, listener, place.scope), name=f"listener {endpoint}")
                if place.failures:
                    ctx.log.info("management API: %s is listened on again", endpoint)
                place.failures, place.error = 0, ""
                return
        place.failures += 1
        place.retry_at = trio.current_time() + min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(place.failures - 1, 10))
        if error != place.error:
            ctx.log.error("management API: cannot listen on %s: %s; it is tried again, DNS goes on", endpoint, error)
        place.error = error

    async def _serve(self, endpoint: Endpoint, listener: trio.SocketListener, scope: trio.CancelScope) -> None:
        certificates = self._certificates
        with scope:
            context = (lambda: certificates.context) if endpoint.tls else (lambda: None)
            await self._servers(endpoint.surface).serve(listener, context)

    def status(self) -> tuple[ApiListener, ...]:
        """Each endpoint, and what became of it."""
        return tuple(
            ApiListener(
                address=place.bound or str(endpoint),
                surface=endpoint.surface,
                tls=endpoint.tls,
                listening=place.scope is not None,
                error=place.error,
            )
            for endpoint, place in self._places.items()
        )
