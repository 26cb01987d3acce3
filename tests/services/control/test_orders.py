from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors import Actor, ActorRef, ActorSpec, ActorSystem, Context, MailboxSpec, Overflow, Strategy, SupervisorSpec
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock
from tapir.model.messages.events import AcceptClock, ClockStatus, EventKind, ExceptionalEvent, GetClock, GetEvents
from tapir.model.messages.feeds import FeedStatus, GetFeed, TransferWhole
from tapir.model.messages.lists import (
    GetListNames,
    GetSources,
    ListedNames,
    ListNamesPage,
    RefreshSource,
    SourcesStatus,
    SourceStatus,
)
from tapir.model.messages.observations import BootstrapAgain, GetObservations
from tapir.model.names import parse_name
from tapir.services.control.listing import MOST_ROWS
from tapir.services.control.orders import ORDERS, accept_clock
from tapir.services.control.protocol import ConsoleRequest, ProtocolError
from tapir.services.control.status import ControlRefs

SOURCE = SourceStatus(
    id="core",
    name="dns-tapir",
    kind=ListKind.DOUBT,
    origin="mqtt",
    active=True,
    required=False,
    state="fresh",
    names=2,
    pending_names=None,
    loaded_at=1,
    checked_at=1,
    refusals=(),
    error="",
    format="tapir-msg-v1",
)
SOURCES = (
    SOURCE,
    attrs.evolve(SOURCE, id="feed", name="partner", kind=ListKind.DENY, origin="xfr 192.0.2.1", format="rpz"),
    attrs.evolve(SOURCE, id="file", name="denied", kind=ListKind.DENY, origin="file /x", format=""),
    attrs.evolve(SOURCE, id="off", name="off", active=False, state="inactive"),
    attrs.evolve(SOURCE, id="tapir:allow", name="local-allow", internal=True, origin="this host"),
)
FEED = FeedStatus(
    source="feed",
    zone="z.",
    serial=1,
    state="current",
    checked_at=1,
    next_check_at=2,
    expires_at=3,
    primaries=(),
    counters=(),
)
EVENT = ExceptionalEvent(id="1", kind=EventKind.SOURCE_HELD, subject="deny", text="it shrinks", at=1)


class Others(Actor[Any]):
    """All whom the console asks."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.sources: tuple[SourceStatus, ...] = SOURCES
        self.next = "more"

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        self.asked.append(message)
        match message:
            case GetSources():
                ctx.reply(SourcesStatus(sources=self.sources, publishing=True, waiting_for=()))
            case GetListNames():
                some = ListBlock.of([(parse_name("a.example."), 1024), (parse_name("*.b.example."), 0)])
                part = ListedNames(source="core", entries=some)
                ctx.reply(ListNamesPage(parts=(part,), next=self.next, sources=SOURCES, unlisted=("dawg",)))
            case GetFeed():
                ctx.reply(FEED)
            case TransferWhole() | BootstrapAgain() | AcceptClock():
                ctx.reply(f"{type(message).__name__} done")
            case GetEvents():
                ctx.reply((EVENT,))
            case GetClock():
                ctx.reply(ClockStatus(held=False, stepped_by=0, stepped_at=None, released_at=None))
            case _:
                pass


class Rig:
    def __init__(self, others: Others, refs: ControlRefs) -> None:
        self.others = others
        self.refs = refs

    async def order(self, op: str, **arguments: Any) -> Any:
        async def ask(ref: ActorRef[Any], question: Any) -> Any:
            return await ref.ask(question)

        return await ORDERS[op](ConsoleRequest(id=1, op=op, arguments=arguments), ask, self.refs)


@asynccontextmanager
async def running(*, alone: bool = False, room: int = 64) -> AsyncIterator[Rig]:
    system = ActorSystem()
    other = system.ref("other")
    refs = ControlRefs(
        keeper=other,
        server=None,
        notifier=None,
        lists=other,
        policy=other,
        health=other,
        overrides=other,
        events=None if alone else other,
        clock=None if alone else other,
        source=lambda source: system.ref("nobody" if source == "file" and alone else "other"),
    )
    others = Others()
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(
                name="other", factory=lambda: others, mailbox=MailboxSpec(capacity=room, overflow=Overflow.REJECT)
            ),
        ),
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(system.run, tree)
            yield Rig(others, refs)
            system.request_stop()


async def test_names_are_rows_with_their_list(autojump_clock: Any):
    async with running() as rig:
        answer = await rig.order("names", source="core", containing="x", suffix="example", cursor="c", limit=5)
        assert answer["rows"] == [
            {
                "name": "a.example.",
                "source": "core",
                "list": "dns-tapir",
                "format": "tapir-msg-v1",
                "filter": "doubt",
                "tags": 1024,
            },
            {
                "name": "*.b.example.",
                "source": "core",
                "list": "dns-tapir",
                "format": "tapir-msg-v1",
                "filter": "doubt",
                "tags": 0,
            },
        ]
        assert (answer["next"], answer["unlisted"]) == ("more", ["dawg"])
        assert rig.others.asked[-1] == GetListNames(
            source="core", suffix="example", containing="x", limit=5, cursor="c"
        )


@pytest.mark.parametrize(("asked", "source"), [("", ""), ("dns-tapir", "core"), ("off", "off"), ("none", "none")])
async def test_a_source_goes_by_its_id_or_by_the_name_of_its_list(asked: str, source: str, autojump_clock: Any):
    async with running() as rig:
        await rig.order("names", source=asked)
        assert rig.others.asked[-1] == GetListNames(source=source, limit=MOST_ROWS)


async def test_a_list_that_several_sources_feed_is_listed_by_its_name(autojump_clock: Any):
    async with running() as rig:
        rig.others.sources = (
            *(attrs.evolve(SOURCE, id=id_, name="allow_catchall") for id_ in ("f:allow", "g:allow")),
            attrs.evolve(SOURCE, id="x", name="x"),
        )
        rig.others.next = "f:allow/0161"
        answer = await rig.order("names", source="allow_catchall")
        assert (rig.others.asked[-1].source, answer["next"]) == ("f:allow", "f:allow/0161")
        rig.others.next = ""
        answer = await rig.order("names", source="allow_catchall", cursor=answer["next"])
        assert (rig.others.asked[-1].source, answer["next"]) == ("f:allow", "g:allow/")
        answer = await rig.order("names", source="allow_catchall", cursor=answer["next"])
        assert (rig.others.asked[-1].source, rig.others.asked[-1].cursor) == ("g:allow", "g:allow/")
        assert answer["next"] == ""


async def test_a_page_is_bounded(autojump_clock: Any):
    async with running() as rig:
        with pytest.raises(ProtocolError, match="limit"):
            await rig.order("names", limit=MOST_ROWS + 1)


async def test_sources_say_more_of_themselves(autojump_clock: Any):
    async with running() as rig:
        answer = await rig.order("sources")
        assert [each["id"] for each in answer["sources"]] == ["core", "feed", "file", "off", "tapir:allow"]
        assert set(answer["details"]) == {"core", "feed"}
        assert answer["details"]["feed"]["zone"] == "z."
        assert "error" in answer["details"]["core"], "it did not answer"
        assert GetObservations() in rig.others.asked


async def test_a_source_is_told_to_look(autojump_clock: Any):
    async with running() as rig:
        assert "source file looks now" in await rig.order("refresh", source="file")
        await trio.testing.wait_all_tasks_blocked()
        assert rig.others.asked[-1] == RefreshSource()
        assert await rig.order("refresh", source="feed", whole=True) == "TransferWhole done"
        assert await rig.order("refresh", source="core", whole=True) == "BootstrapAgain done"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "refresh needs source"),
        ({"source": "none"}, "there is no source 'none'; known are: core, feed, file, off"),
        ({"source": "off"}, "it is inactive"),
        ({"source": "tapir:allow"}, "it is always there"),
        ({"source": "file", "whole": True}, "no feed"),
        ({"source": "file"}, "cannot be told now"),
    ],
)
async def test_what_cannot_be_refreshed_is_said(arguments: dict[str, Any], text: str, autojump_clock: Any):
    async with running(alone=True) as rig:
        with pytest.raises(ProtocolError, match=text):
            await rig.order("refresh", **arguments)


async def test_events_and_the_clock(autojump_clock: Any):
    async with running() as rig:
        assert await rig.order("exceptional-events") == (EVENT,)
        assert not (await rig.order("clock")).held
        request = ConsoleRequest(id=1, op="accept", arguments={"what": "clock"})

        async def ask(ref: ActorRef[Any], question: Any) -> Any:
            return await ref.ask(question)

        assert await accept_clock(request, ask, rig.refs, user="alice") == "AcceptClock done"
        assert rig.others.asked[-1] == AcceptClock(user="alice")


async def test_a_part_that_is_not_run_is_said(autojump_clock: Any):
    async with running(alone=True) as rig:
        for op in ("exceptional-events", "clock"):
            with pytest.raises(ProtocolError, match="not run here"):
                await rig.order(op)
