"""A management API over actors that answer what a test wants, on 127.0.0.1."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import trio

from actors import Actor, ActorSpec, ActorSystem, Context, MailboxSpec, Overflow, Strategy, SupervisorSpec
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import ListBlock, RecordBlock
from tapir.model.errors import TapirError
from tapir.model.messages.control import ApiStatus, GetApi, GetHealth, HealthStatus
from tapir.model.messages.events import ClockStatus, GetClock, GetEvents
from tapir.model.messages.lists import (
    GetListNames,
    GetSources,
    ListedNames,
    ListNamesPage,
    SourcesStatus,
    SourceStatus,
)
from tapir.model.messages.local import GetOverrides, OverridesStatus
from tapir.model.messages.policy import Explain, Explanation, GetPolicy, GetRecords, PolicyStatus
from tapir.model.messages.zone import (
    GetRecordHistory,
    GetSecondaries,
    GetServer,
    GetZone,
    RecordHistory,
    ServerStatus,
    ZoneStatus,
)
from tapir.model.names import parse_name
from tapir.services.control.api import MAILBOX, ApiSettings, ManagementApi
from tapir.services.control.api_desk import ApiKey
from tapir.services.control.api_listeners import Endpoint
from tapir.services.control.status import ControlRefs, ProcessFacts

KEY = "own-secret"
BOX = MailboxSpec(capacity=64, overflow=Overflow.WAIT)
FACTS = ProcessFacts(version="1.2.3", commit="c", pid=1, started_at=1_000_000_000_000, config_dir="", state_dir="")
ZONE = ZoneStatus(
    zone="dnstapir.",
    serial=7,
    records=3,
    published_at=1_700_000_000_000_000,
    journal_from=5,
    journal_deltas=2,
    journal_octets=100,
    state="serving",
    held_change=None,
    store_error="",
)


class RefusedError(TapirError):
    """What an actor of a test refuses with."""


def source(id_: str, name: str, kind: ListKind, **members: Any) -> SourceStatus:
    """A source that is fresh, unless told otherwise."""
    told: dict[str, Any] = {
        "origin": "file /etc/x",
        "active": True,
        "required": False,
        "state": "fresh",
        "names": 2,
        "pending_names": None,
        "loaded_at": 1_700_000_000_000_000,
        "checked_at": 1_700_000_000_000_000,
        "refusals": (),
        "error": "",
        "format": "domains",
    }
    return SourceStatus(id=id_, name=name, kind=kind, **(told | members))


class Parts(Actor[Any]):
    """All the actors that the API asks, in one; a test replaces `answers` by the class of the question."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.silent: set[type] = set()
        """what is left unanswered for ever"""
        self._left: list[Any] = []
        self.sources: tuple[SourceStatus, ...] = (
            source("a", "allowed", ListKind.ALLOW),
            source("d", "denied", ListKind.DENY, required=True),
            source("t", "dns-tapir", ListKind.DOUBT, origin="mqtt", format="tapir-msg-v1"),
        )
        self.names: dict[str, list[tuple[str, int]]] = {
            "a": [("good.example.", 0)],
            "d": [("bad.example.", 0), (r"we\034ird.example.", 0)],
            "t": [("epoch-1761739157.ticker.looptest.dnstapir.se.", 1024)],
        }
        self.answers: dict[type, Any] = {
            GetHealth: HealthStatus(ready=True, reasons=(), warnings=()),
            GetZone: ZONE,
            GetPolicy: PolicyStatus(names=4, lists=3, records=3, decided_at=1),
            GetRecords: RecordBlock.of([(parse_name("bad.example"), Action.NODATA)]),
            GetServer: ServerStatus(listening=(), counters=(("queries", 5),), refusals=(("acl", 2),), connections=1),
            GetSecondaries: (),
            GetEvents: (),
            GetClock: ClockStatus(held=False, stepped_by=0, stepped_at=None, released_at=None),
            GetOverrides: OverridesStatus(overrides=(), store_error=""),
            GetRecordHistory: RecordHistory(
                serial=7,
                journal_from=5,
                journal_from_at=1,
                steps=(),
                present=((parse_name("bad.example"), Action.NODATA),),
            ),
            GetApi: ApiStatus(listeners=(), certificate_error="", connections=0, counters=()),
        }

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        """Answer, refuse or stay silent."""
        self.heard.append(message)
        if type(message) in self.silent:
            self._left.append(ctx.defer_reply())
            return
        answer = self.answers.get(type(message))
        if isinstance(answer, TapirError):
            ctx.defer_reply().fail(answer)
        elif answer is not None:
            ctx.reply(answer)
        else:
            match message:
                case GetSources():
                    ctx.reply(SourcesStatus(sources=self.sources, publishing=True, waiting_for=()))
                case GetListNames():
                    ctx.reply(self._page(message))
                case Explain(name=name):
                    ctx.reply(_explain(name))
                case _:
                    return  # no answer at all: the runtime fails the ask

    def _page(self, question: GetListNames) -> ListNamesPage:
        """One name a page: the API has to go on."""
        names = self.names.get(question.source, [])
        at = int(question.cursor or 0)
        entries = ListBlock.of((parse_name(name), tags) for name, tags in names[at : at + 1])
        return ListNamesPage(
            parts=(ListedNames(source=question.source, entries=entries),) if len(entries) else (),
            next=str(at + 1) if at + 1 < len(names) else "",
            sources=tuple(each for each in self.sources if each.id == question.source),
        )


def _explain(name: str) -> Explanation:
    denied = name.startswith("bad.")
    return Explanation(
        name=name,
        action=Action.NODATA if denied else Action.NONE,
        stage="denylist" if denied else "none",
        hits=(),
        rules=(),
        winner="denylist" if denied else "",
        emitted="bad.example.dnstapir. CNAME *." if denied else "",
        why="a denylist holds it" if denied else "no list holds it",
    )


@attrs.frozen(kw_only=True)
class ApiPop:
    """What a test speaks with."""

    system: ActorSystem
    parts: Parts
    urls: tuple[str, ...]
    """of the endpoints, in their order"""

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client of the first endpoint."""
        return httpx.AsyncClient(base_url=self.urls[0], **options)


@asynccontextmanager
async def api_pop(
    settings: ApiSettings | None = None, *, parts: Parts | None = None, mqtt: bool = False, telemetry: bool = False
) -> AsyncIterator[ApiPop]:
    """The API with `settings`, by default on one address of its own; what hangs fails the test."""
    if settings is None:
        settings = ApiSettings(key=ApiKey(KEY), endpoints=(Endpoint(host="127.0.0.1", port=0, surface="api"),))
    system = ActorSystem()
    other = system.ref("other")
    refs = ControlRefs(
        keeper=other,
        server=other,
        notifier=other,
        lists=other,
        policy=other,
        health=other,
        overrides=other,
        events=other,
        clock=other,
        mqtt=other if mqtt else None,
        telemetry=other if telemetry else None,
        source=lambda _: other,
    )
    answering = parts or Parts()
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(name="other", factory=lambda: answering, mailbox=BOX, drain_timeout=0.1),
            ActorSpec(
                name="api",
                factory=lambda: ManagementApi(settings, system=system, refs=refs, facts=FACTS),
                mailbox=MAILBOX,
            ),
        ),
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(system.run, tree)
            try:
                status: ApiStatus = await system.ref("api").ask(GetApi())
                urls = tuple(f"http{'s' if each.tls else ''}://{each.address}" for each in status.listeners)
                yield ApiPop(system=system, parts=answering, urls=urls)
            finally:
                system.request_stop()
