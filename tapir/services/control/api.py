"""The management API: an actor that serves HTTP, and that nothing else depends on.

What it serves is in `routes`; here are its listeners, its key, its certificate and its end. An address that cannot be
had is tried again, the others are served meanwhile.
"""

from typing import Final

import attrs
import trio

from actors import Actor, ActorSystem, Context, MailboxSpec, Overflow, StopReason
from tapir.model.messages.control import ApiStatus, GetApi
from tapir.services.control.api_desk import ApiKey, Desk
from tapir.services.control.api_listeners import Certificates, Endpoint, Listeners, TlsFiles
from tapir.services.control.routes import api_application, bootstrap_application
from tapir.services.control.status import ControlRefs, ProcessFacts
from tapir.transport.http.server import HttpLimits, HttpServer

MAILBOX: Final = MailboxSpec(capacity=32, overflow=Overflow.REJECT)


@attrs.frozen(kw_only=True)
class ApiSettings:
    """Where the API listens, with which key and files. `interval` (s): how often the files are looked at.

    `grace` (s) is how long an ordered stop waits for answers that are being written.
    """

    key: ApiKey
    endpoints: tuple[Endpoint, ...]
    tls: TlsFiles | None = None
    limits: HttpLimits = HttpLimits()
    interval: float = 30.0
    grace: float = 3.0


@attrs.frozen(kw_only=True)
class ConfigureApi:
    """From now on it is served like this; `limits` wait for a restart."""

    settings: ApiSettings


@attrs.frozen(kw_only=True)
class LookAgain:
    """It is time to look at the certificate's files."""


@attrs.frozen(kw_only=True)
class OpenAgain:
    """It is time to try to listen where that failed."""


ApiMessage = ConfigureApi | LookAgain | OpenAgain | GetApi


class ManagementApi(Actor[ApiMessage]):
    """Serves the management API and the bootstrap server."""

    def __init__(self, settings: ApiSettings, *, system: ActorSystem, refs: ControlRefs, facts: ProcessFacts) -> None:
        self._settings = settings
        self._system = system
        self._refs = refs
        self._facts = facts
        self._certificates = Certificates()
        self._servers: dict[str, HttpServer] = {}
        self._listeners = Listeners(lambda surface: self._servers[surface], self._certificates)
        self._retry: float | None = None

    async def started(self, ctx: Context[ApiMessage]) -> None:
        """Listen where that is possible; where not, later."""
        desk = Desk(
            system=self._system,
            refs=self._refs,
            facts=self._facts,
            key=lambda: self._settings.key,
            run_blocking=ctx.run_blocking,
            now=ctx.now,
            stop=lambda: self._system.request_stop("the management API was told so"),
        )
        limits = self._settings.limits
        self._servers = {
            "api": HttpServer(api_application(desk), limits),
            "bootstrap": HttpServer(bootstrap_application(desk), limits),
        }
        ctx.send_every(self._settings.interval, LookAgain())
        await self._apply(ctx)

    async def receive(self, ctx: Context[ApiMessage], message: ApiMessage) -> None:
        """Follow the configuration and the files."""
        match message:
            case ConfigureApi(settings=settings):
                self._settings = settings
                await self._apply(ctx)
            case LookAgain():
                await self._certificates.look(ctx, self._settings.tls)
            case OpenAgain():
                self._retry = None
                await self._certificates.look(ctx, self._settings.tls)
                self._listeners.open(ctx)
                self._try_later(ctx)
            case GetApi():
                ctx.reply(self._status())

    async def stopping(self, ctx: Context[ApiMessage], reason: StopReason) -> None:
        """Let answers that are being written be read."""
        async with trio.open_nursery() as nursery:
            for server in self._servers.values():
                nursery.start_soon(server.finish, self._settings.grace)

    async def _apply(self, ctx: Context[ApiMessage]) -> None:
        await self._certificates.look(ctx, self._settings.tls)
        self._listeners.want(ctx, self._settings.endpoints)
        self._try_later(ctx)

    def _try_later(self, ctx: Context[ApiMessage]) -> None:
        at = self._listeners.retry_at
        if at is not None and self._retry is None:
            self._retry = at
            ctx.send_after(max(0.0, at - trio.current_time()), OpenAgain())

    def _status(self) -> ApiStatus:
        counters: dict[str, int] = {"requests": 0}
        for server in self._servers.values():
            counters["requests"] += server.requests
            for name, count in (*server.counters.items(), *server.refused.items()):
                counters[name] = counters.get(name, 0) + count
        return ApiStatus(
            listeners=self._listeners.status(),
            certificate_error=self._certificates.error,
            connections=sum(server.connections for server in self._servers.values()),
            counters=tuple(sorted(counters.items())),
        )
