"""The operations of version 2: the console's, over HTTP."""

from typing import Any, Final

from starlette.requests import Request

from tapir.model.actions import ListKind
from tapir.model.messages.events import ExceptionalEvent, GetEvents
from tapir.model.messages.feeds import FeedStatus
from tapir.model.messages.lists import AcceptSource
from tapir.model.messages.local import (
    MAX_SECONDS,
    GetOverrides,
    OverridesStatus,
    RemoveOverride,
    SetOverride,
)
from tapir.model.messages.mqtt import GetMqtt, MqttStatus
from tapir.model.messages.zone import AcceptZone, GetZone, GetZoneHistory, ZoneHistory, ZoneStatus
from tapir.services.control.api_desk import Desk, user_of
from tapir.services.control.documents import kind_of
from tapir.services.control.documents_openapi import Operation, Parameter
from tapir.services.control.explaining import explain_name
from tapir.services.control.listing import MOST_ROWS, list_names, list_sources
from tapir.services.control.orders import ORDERS, accept_clock
from tapir.services.control.overriding import override
from tapir.services.control.protocol import ConsoleRequest, ProtocolError
from tapir.services.control.status import gather_status

_MAX_HISTORY: Final = 1000


async def _status(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    parts = await gather_status(desk.refs, patience=desk.patience)
    return {"process": desk.facts, **parts, "runtime": desk.system.statistics()}


async def _sources(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    return await list_sources(desk.refs, desk.ask, patience=desk.patience)


async def _names(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    arguments = {**order.arguments, "source": order.text("id")}
    return await list_names(ConsoleRequest(id=0, op=order.op, arguments=arguments), desk.ask, desk.refs)


async def _explain(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    return await explain_name(desk.refs, desk.ask, order.text("name"), patience=desk.patience)


async def _zone(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    return await desk.ask(desk.refs.keeper, GetZone())


async def _history(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    count = order.integer("count", lowest=1, highest=_MAX_HISTORY, default=20)
    return await desk.ask(desk.refs.keeper, GetZoneHistory(count=count))


async def _events(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    return await desk.ask(_present(desk.refs.events, "events are not kept here"), GetEvents())


async def _mqtt(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    return await desk.ask(
        _present(desk.running(desk.refs.mqtt), "there is no MQTT connection: nothing needs one"), GetMqtt()
    )


async def _feeds(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    sources = await list_sources(desk.refs, desk.ask, patience=desk.patience)
    feeds = {each["id"] for each in sources["sources"] if each["origin"].split(" ")[0] == "xfr"}
    return [{"source": id_, **detail} for id_, detail in sources["details"].items() if id_ in feeds]


async def _overrides(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    return await desk.ask(desk.refs.overrides, GetOverrides())


async def _set_override(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    reason = order.arguments.get("reason", "")
    if not isinstance(reason, str):
        raise ProtocolError(code="arguments", text="reason is not a string")
    change = SetOverride(
        entry=order.text("name"),
        kind=_kind(order),
        seconds=order.integer("seconds", lowest=0, highest=MAX_SECONDS, default=0) or None,
        reason=reason,
        user=user_of(request),
    )
    return await override(desk.refs, desk.ask, change, patience=desk.patience)


async def _remove_override(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    change = RemoveOverride(entry=order.text("name"), kind=_kind(order), user=user_of(request))
    return await override(desk.refs, desk.ask, change, patience=desk.patience)


async def _accept(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    what, user = order.text("what"), user_of(request)
    if what == "zone":
        text = await desk.ask(desk.refs.keeper, AcceptZone(user=user))
    elif what == "clock":
        text = await accept_clock(order, desk.ask, desk.refs, user=user)
    else:
        text = await desk.ask(desk.refs.lists, AcceptSource(source=what))
    return {"text": text}


async def _refresh(desk: Desk, order: ConsoleRequest, request: Request) -> object:
    return {"text": await ORDERS["refresh"](order, desk.ask, desk.refs)}


def _present(ref: Any, text: str) -> Any:
    if ref is None:
        raise ProtocolError(code="missing", text=text)
    return ref


def _kind(order: ConsoleRequest) -> ListKind:
    kind = kind_of(order.text("list"))
    if kind is None:
        wanted = ", ".join(each.value for each in ListKind)
        raise ProtocolError(code="arguments", text=f"list is none of {wanted}")
    return kind


_ID: Final = Parameter(name="id", text="the id of a source in pop-sources.yaml", required=True)
_NAME: Final = Parameter(name="name", text="a domain name, as in a list", required=True)
_LIST: Final = Parameter(name="list", text="allowlist, denylist or doubtlist", required=True)

OPERATIONS: Final = (
    Operation(method="GET", path="/status", name="status", text="Everything at one look.", handler=_status),
    Operation(method="GET", path="/sources", name="sources", text="Every source and how it stands.", handler=_sources),
    Operation(
        method="GET",
        path="/sources/{id}/names",
        name="names",
        text="A page of the names that a source holds.",
        handler=_names,
        in_path=(_ID,),
        query=(
            Parameter(name="suffix", text="only names at or below this one"),
            Parameter(name="containing", text="only names in whose text this stands"),
            Parameter(name="limit", text=f"names of the page, at most {MOST_ROWS}", integer=True),
            Parameter(name="cursor", text="`next` of the page before"),
        ),
    ),
    Operation(
        method="GET",
        path="/explain/{name}",
        name="explain",
        text="Why a name is answered as it is, since when, and until when.",
        handler=_explain,
        in_path=(_NAME,),
    ),
    Operation(method="GET", path="/zone", name="zone", text="How the zone stands.", handler=_zone, result=ZoneStatus),
    Operation(
        method="GET",
        path="/zone/history",
        name="zone-history",
        text="The last versions of the zone, the newest first.",
        handler=_history,
        query=(Parameter(name="count", text=f"how many, at most {_MAX_HISTORY}", integer=True),),
        result=ZoneHistory,
    ),
    Operation(
        method="GET",
        path="/events",
        name="events",
        text="The last exceptional events, the newest first, and all that last.",
        handler=_events,
        result=tuple[ExceptionalEvent, ...],
    ),
    Operation(
        method="GET",
        path="/mqtt",
        name="mqtt",
        text="How the connection with the broker stands.",
        handler=_mqtt,
        result=MqttStatus,
    ),
    Operation(
        method="GET",
        path="/feeds",
        name="feeds",
        text="How the RPZ feeds stand.",
        handler=_feeds,
        result=tuple[FeedStatus, ...],
    ),
    Operation(
        method="GET",
        path="/overrides",
        name="overrides",
        text="What is allowed, denied and doubted by hand.",
        handler=_overrides,
        result=OverridesStatus,
    ),
    Operation(
        method="POST",
        path="/overrides",
        name="override-set",
        text="Allow, deny or doubt a name by hand.",
        handler=_set_override,
        body=(
            _NAME,
            _LIST,
            Parameter(name="seconds", text="for how long; 0 or nothing: until it is removed", integer=True),
            Parameter(name="reason", text="why, for people"),
        ),
    ),
    Operation(
        method="DELETE",
        path="/overrides/{list}/{name}",
        name="override-remove",
        text="Take that back.",
        handler=_remove_override,
        in_path=(_LIST, _NAME),
    ),
    Operation(
        method="POST",
        path="/accept",
        name="accept",
        text="Accept what a brake holds back, or that the clock is right.",
        handler=_accept,
        body=(Parameter(name="what", text="`zone`, `clock` or the id of a source", required=True),),
    ),
    Operation(
        method="POST",
        path="/refresh",
        name="refresh",
        text="Have a source look now.",
        handler=_refresh,
        body=(Parameter(name="source", text="the id of a source", required=True),),
    ),
)
