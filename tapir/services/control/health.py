"""Is the service ready, and what is wrong with it? One line in the log when that changes."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import attrs
import trio

from actors import Actor, ActorRef, AskError, AskTimeout, Context, Request
from tapir.model.messages.control import OF_EDM, GetHealth, HealthStatus, VersionPublished
from tapir.model.messages.edm import GetAggregates, GetInput, GetMinimiser, GetNovelty
from tapir.model.messages.lists import GetSources, SourcesStatus
from tapir.model.messages.mqtt import GetMqtt
from tapir.model.messages.newnames import GetNewNames
from tapir.model.messages.zone import GetServer, GetZone, ZoneStatus
from tapir.services.control.edm import EdmRefs
from tapir.services.control.health_edm import EdmLook, judge_edm
from tapir.services.control.health_events import HeldBack

R = TypeVar("R")

_EDM_BEGINS: Final = 1.0
"""seconds until EDM, which starts after us, has said how it stands"""
_EDM_SHARE: Final = 0.25
"""of the patience, which EDM has beside a POP: who asks us waits for no part of it that hangs"""


@attrs.frozen(kw_only=True)
class CheckHealth:
    """It is time to look."""


@attrs.frozen(kw_only=True)
class GraceEnds:
    """From now on it is wrong not to be ready."""


HealthMessage = VersionPublished | CheckHealth | GetHealth | GraceEnds


@attrs.frozen(kw_only=True)
class HealthSettings:
    """How often to look, in seconds, and how long an actor may take to say how it stands.

    One that answered before may be busy for `silence` seconds, saving a list of a million names, and what it said last
    stands. For `grace` seconds not being ready is nothing out of the ordinary: lists are read, sources are waited for.
    """

    interval: float = 5.0
    patience: float = 1.0
    silence: float = 20.0
    grace: float = 60.0


def judge(zone: ZoneStatus | None, sources: SourcesStatus | None) -> HealthStatus:
    """The health that follows from how the zone and the sources stand; None is one that does not answer."""
    reasons: list[str] = []
    warnings: list[str] = []
    if zone is None:
        reasons.append("the zone keeper does not answer")
    else:
        if zone.serial is None:
            reasons.append(f"the zone {zone.zone} has no first version yet")
        if zone.state == "braked" and zone.held_change is not None:
            removed, added = zone.held_change
            warnings.append(f"a change of -{removed} +{added} records is held back: tapir accept zone")
        elif zone.paused_until is not None:
            warnings.append(f"the zone is {zone.reason}: nothing is blocked; tapir resume")
        elif zone.state == "held":
            warnings.append(f"the zone is {zone.reason or 'held by the operator'}: tapir zone resume")
        if zone.store_error:
            warnings.append(f"the zone cannot be saved: {zone.store_error}")
    if sources is None:
        reasons.append("the list keeper does not answer")
    else:
        if not sources.publishing:
            reasons.append(f"nothing new is published until these deliver: {', '.join(sources.waiting_for)}")
        for source in sources.sources:
            if source.state == "held":
                reason = f": it {source.error}" if source.error else ""
                warnings.append(f"source {source.id} is held back by the brake{reason}; tapir accept {source.id}")
            elif source.state == "unsupported":
                warnings.append(f"source {source.id} takes no part: this version does not run {source.origin} sources")
            elif source.error:
                warnings.append(f"source {source.id}: {source.error}")
    return HealthStatus(ready=not reasons, reasons=tuple(reasons), warnings=tuple(warnings))


def join_health(pop: HealthStatus, reasons: tuple[str, ...], warnings: tuple[str, ...], *, alone: bool) -> HealthStatus:
    """The health of the process, from the POP's and that of EDM, which may be `alone`.

    Beside a POP nothing that EDM lacks makes the process unready: the zone is served as before.
    """
    told = (*(() if alone else reasons), *warnings)
    all_reasons = (*pop.reasons, *(reasons if alone else ()))
    return HealthStatus(
        ready=not all_reasons, reasons=all_reasons, warnings=(*pop.warnings, *(f"{OF_EDM}{each}" for each in told))
    )


class Health(Actor[HealthMessage]):
    """Looks at the zone and the sources, says when the service becomes ready or stops being so, and what a brake holds.

    `report` is told every judgement: the process hands it on to the service manager.
    """

    def __init__(
        self,
        *,
        settings: HealthSettings,
        keeper: ActorRef[Any],
        server: ActorRef[Any] | None,
        lists: ActorRef[Any],
        report: Callable[[HealthStatus], Awaitable[None]],
        events: ActorRef[Any] | None = None,
        pop: bool = True,
        edm: EdmRefs | None = None,
    ) -> None:
        """`pop`: whether a POP is run, which the first three are of; `edm` has the actors of EDM, where that is."""
        self._pop = pop
        self._edm = edm
        self._settings = settings
        self._keeper = keeper
        self._server = server
        self._lists = lists
        self._report = report
        self._events = events
        self._held_back = HeldBack()
        self._status: HealthStatus | None = None
        self._announced = False
        self._taking = False
        """whether EDM took dnstap at some time since"""
        self._was_ready = False
        self._in_grace = True
        self._heard: dict[object, tuple[float, Any]] = {}
        """what was answered last to each question, and when"""

    async def started(self, ctx: Context[HealthMessage]) -> None:
        """Announce a zone that is served from the store; look at the rest when it has had its turn to start."""
        ctx.send_every(self._settings.interval, CheckHealth())
        ctx.send_after(self._settings.grace, GraceEnds())
        if self._edm is not None:
            ctx.send_after(_EDM_BEGINS, CheckHealth())
        if ctx.restarts:
            self._announced = self._taking = True  # by an earlier incarnation: the line is said once
            return
        zone = await self._ask(self._keeper, GetZone()) if self._pop else None
        if zone is not None and zone.serial is not None:
            await self._announce(ctx, VersionPublished(zone=zone.zone, serial=zone.serial, records=zone.records))

    async def receive(self, ctx: Context[HealthMessage], message: HealthMessage) -> None:
        """Look again, and answer who asks."""
        match message:
            case VersionPublished():
                if not self._announced:
                    await self._announce(ctx, message)
            case CheckHealth():
                await self._look(ctx)
            case GetHealth():
                ctx.reply(await self._look(ctx))
            case GraceEnds():
                self._in_grace = False
                if not self._was_ready and not (await self._look(ctx)).ready and self._status is not None:
                    ctx.log.warning("still not ready: %s", "; ".join(self._status.reasons))

    async def _announce(self, ctx: Context[HealthMessage], version: VersionPublished) -> None:
        server = await self._ask(self._server, GetServer()) if self._server is not None else None
        listening = ",".join(server.listening) if server is not None else "nothing"
        ctx.log.info(
            "ready zone=%s serial=%d records=%d listening=%s",
            version.zone,
            version.serial,
            version.records,
            listening,
        )
        self._announced = True

    async def _look(self, ctx: Context[HealthMessage]) -> HealthStatus:
        zone = await self._ask(self._keeper, GetZone()) if self._pop else None
        sources = await self._ask(self._lists, GetSources()) if self._pop else None
        status = judge(zone, sources) if self._pop else HealthStatus(ready=True, reasons=(), warnings=())
        if self._edm is not None:
            look = await self._look_at_edm(self._edm)
            reasons, warnings = judge_edm(look, now=ctx.now())
            if not reasons and not self._taking and look.input is not None:
                ctx.log.info("ready edm input=%s", ",".join(look.input.addresses))
            self._taking = self._taking or not reasons
            status = join_health(status, reasons, warnings, alone=not self._pop)
        if status != self._status:
            self._log_change(ctx, status)
            self._status = status
            await self._report(status)
        self._held_back, news = self._held_back.look(zone, sources)
        if self._events is not None:
            for each in news:
                self._events.tell_nowait(each)
        return status

    async def _look_at_edm(self, refs: EdmRefs) -> EdmLook:
        found: dict[str, Any] = {}

        async def ask(name: str, ref: ActorRef[Any], question: Request[Any]) -> None:
            found[name] = await self._ask(ref, question, share=_EDM_SHARE if self._pop else 1.0)

        questions: tuple[tuple[str, ActorRef[Any] | None, Request[Any]], ...] = (
            ("input", refs.input, GetInput()),
            ("minimiser", refs.minimiser, GetMinimiser()),
            ("novelty", refs.novelty, GetNovelty()),
            ("aggregates", refs.aggregates, GetAggregates()),
            ("new_names", refs.newnames, GetNewNames()),
            ("mqtt", refs.mqtt, GetMqtt()),
        )
        async with trio.open_nursery() as nursery:
            for name, ref, question in questions:
                if ref is not None:
                    nursery.start_soon(ask, name, ref, question)
        return EdmLook(connected=refs.mqtt is not None, **found)

    def _log_change(self, ctx: Context[HealthMessage], status: HealthStatus) -> None:
        before = self._status
        if not status.ready and (before is None or before.reasons != status.reasons):
            level = logging.INFO if self._in_grace and not self._was_ready else logging.WARNING
            ctx.log.log(level, "not ready: %s", "; ".join(status.reasons))
        elif status.ready and self._was_ready and before is not None and not before.ready:
            ctx.log.info("ready again: nothing is missing")
        self._was_ready = self._was_ready or status.ready

    async def _ask(self, ref: ActorRef[Any], request: Request[R], *, share: float = 1.0) -> R | None:
        question = (ref.path, type(request))
        try:
            answer = await ref.ask(request, timeout=share * self._settings.patience)
        except AskTimeout:
            at, last = self._heard.get(question, (0.0, None))
            return last if trio.current_time() - at <= self._settings.silence else None
        except AskError:
            return None
        self._heard[question] = (trio.current_time(), answer)
        return answer
