"""EDM's metrics over HTTP, at an address of their own as the existing EDM has them; nothing else depends on them.

An address that cannot be had is tried again: said once, and once again when it works. Clients and sizes are bounded as
those of the management API.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import attrs
from prometheus_client import ProcessCollector

from actors import (
    Actor,
    ActorRef,
    Context,
    MailboxSpec,
    Overflow,
    Request,
    StopReason,
    SystemStatistics,
    answered,
    ask_together,
)
from tapir.codec.exposition import make_families, write_page
from tapir.minimiser.account import Ledger
from tapir.model.messages.edm import GetAggregates, GetEdmMetrics, GetInput, GetMinimiser, GetNovelty, MetricsStatus
from tapir.model.messages.events import GetEvents
from tapir.model.messages.mqtt import GetMqtt
from tapir.model.messages.newnames import GetNewNames
from tapir.services.ingest.metrics_facts import EdmFacts, Pages, edm_samples
from tapir.services.ingest.metrics_routes import MetricsDesk, metrics_application
from tapir.services.ingest.metrics_table import EDM_METRICS
from tapir.transport.http.server import HttpLimits, HttpServer, listen
from tapir.transport.streams import format_address

MAILBOX: Final = MailboxSpec(capacity=8, overflow=Overflow.REJECT)
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0


@attrs.frozen(kw_only=True)
class MetricsSettings:
    """Where metrics are asked for, None for nowhere; `rotation` allows `POST /debug/rotate-parquet`. Times in seconds.

    `patience` is for an answer of a part, `grace` for the answers that an ordered stop finds being written;
    `started_at` is when the process started, microseconds since the epoch.
    """

    address: tuple[str, int] | None
    rotation: bool = False
    version: str = ""
    commit: str = ""
    started_at: int = 0
    patience: float = 1.0
    grace: float = 1.0
    limits: HttpLimits = HttpLimits(connections=32, head=16 * 1024, body=1024, requests=16)


@attrs.frozen(kw_only=True)
class MetricsRefs:
    """Whom the page asks; None where that is not run."""

    ledger: Ledger
    statistics: Callable[[], SystemStatistics]
    minimiser: ActorRef[Any]
    input: ActorRef[Any] | None = None
    novelty: ActorRef[Any] | None = None
    newnames: ActorRef[Any] | None = None
    aggregates: ActorRef[Any] | None = None
    mqtt: ActorRef[Any] | None = None
    events: ActorRef[Any] | None = None


@attrs.frozen(kw_only=True)
class OpenAgain:
    """It is time to try to listen where that failed."""


MetricsMessage = OpenAgain | GetEdmMetrics


class EdmMetrics(Actor[MetricsMessage]):
    """Serves the page, made anew for each who asks; a part that does not answer is as it was when it last did."""

    def __init__(self, settings: MetricsSettings, *, refs: MetricsRefs) -> None:
        self._settings = settings
        self._refs = refs
        self._pages = Pages()
        self._last: dict[str, Any] = {}
        self._server: HttpServer | None = None
        self._bound = ""
        self._error = ""
        self._failures = 0

    async def started(self, ctx: Context[MetricsMessage]) -> None:
        """Listen where that is possible; where not, later."""
        if self._settings.address is None:
            return
        desk = MetricsDesk(
            page=partial(self._page, ctx), minimiser=self._refs.minimiser, rotation=self._settings.rotation
        )
        self._server = HttpServer(metrics_application(desk), self._settings.limits)
        self._open(ctx, self._server, self._settings.address)

    async def receive(self, ctx: Context[MetricsMessage], message: MetricsMessage) -> None:
        """Try again to listen, and answer who asks."""
        match message:
            case OpenAgain():
                if self._server is not None and self._settings.address is not None and not self._bound:
                    self._open(ctx, self._server, self._settings.address)
            case GetEdmMetrics():
                ctx.reply(self._status())

    async def stopping(self, ctx: Context[MetricsMessage], reason: StopReason) -> None:
        """Let answers that are being written be read."""
        if self._server is not None:
            await self._server.finish(self._settings.grace)

    def _open(self, ctx: Context[MetricsMessage], server: HttpServer, address: tuple[str, int]) -> None:
        where = format_address(address)
        try:
            listener = listen(*address)
        except OSError as exc:
            error = exc.strerror or str(exc)
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self._failures, 10))
            self._failures += 1
            if error != self._error:
                ctx.log.error("metrics: cannot listen on %s: %s; it is tried again, all else goes on", where, error)
            self._error = error
            ctx.send_after(wait, OpenAgain())
            return
        self._bound = format_address(listener.socket.getsockname()[:2])
        if self._error:
            ctx.log.info("metrics: %s is listened on now", where)
        self._error = ""
        ctx.start_soon(server.serve, listener, name="listener")

    async def _page(self, ctx: Context[MetricsMessage], accept: str) -> tuple[bytes, str]:
        pages = self._pages
        pages.in_flight += 1
        try:
            facts = await self._gather()
            page = await ctx.run_blocking(partial(_expose, facts, accept))
        except Exception:
            pages.failed += 1
            raise  # it is a bug, and is logged as such by who serves
        finally:
            pages.in_flight -= 1
        pages.answered += 1
        return page

    async def _gather(self) -> EdmFacts:
        refs = self._refs
        questions: list[tuple[str, ActorRef[Any] | None, Request[Any]]] = [
            ("input", refs.input, GetInput()),
            ("minimiser", refs.minimiser, GetMinimiser()),
            ("novelty", refs.novelty, GetNovelty()),
            ("newnames", refs.newnames, GetNewNames()),
            ("aggregates", refs.aggregates, GetAggregates()),
            ("mqtt", refs.mqtt, GetMqtt()),
            ("events", refs.events, GetEvents()),
        ]
        settings = self._settings
        # Who is busy or restarting has its last figures, and the page says that it did not answer. Noted as they come,
        # for a page that waits long for somebody must not put back what a later page has heard of others.
        answers = await ask_together(questions, patience=settings.patience, note=self._last.__setitem__)
        given = answered(answers)
        return EdmFacts(
            version=settings.version,
            commit=settings.commit,
            started_at=settings.started_at,
            account=refs.ledger.account(),
            runtime=refs.statistics(),
            pages=attrs.evolve(self._pages, refused=self._server.refused.get("busy", 0) if self._server else 0),
            answered=tuple([(name, name in given) for name in answers]),
            **self._last,
        )

    def _status(self) -> MetricsStatus:
        address = self._settings.address
        return MetricsStatus(
            address=self._bound or ("" if address is None else format_address(address)),
            listening=bool(self._bound),
            pages=self._pages.answered,
            trouble=self._error,
        )


def _expose(facts: EdmFacts, accept: str) -> tuple[bytes, str]:
    # Without a registry of its own it goes to the one of the process, and so onto pages that are none of ours.
    process = ProcessCollector(registry=None)
    return write_page(make_families(EDM_METRICS, edm_samples(facts)), accept, more=[process])
