"""`/debug` of version 1: looking into the lists, the zone and the broker's connection."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from tapir.codec.popapi import (
    DebugPost,
    DebugResponse,
    encode_debug_around,
    encode_debug_response,
    encode_denied_names,
    encode_list_around,
    encode_names,
    encode_text,
    parse_debug,
)
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock
from tapir.model.messages.control import GetHealth
from tapir.model.messages.lists import GetListNames, GetSources, ListNamesPage, SourcesStatus, SourceStatus
from tapir.model.messages.mqtt import GetMqtt
from tapir.model.messages.observations import GetObservationsExport, ObservationsExport
from tapir.model.messages.zone import GetZone, ZoneStatus
from tapir.services.control.api_desk import BusyError, Desk
from tapir.services.control.documents import list_heads, reaper_slots, topics_of, well_or_not, zone_text
from tapir.services.control.explaining import explain_name
from tapir.services.control.protocol import ProtocolError
from tapir.services.control.routes_v1 import json_response
from tapir.transport.http.fence import ClientGone

PAGE: Final = 5000
"""names that a worker writes at a time: some tens of milliseconds, of which the loop has as many as it wants"""


async def debug(desk: Desk, request: Request) -> Response:
    """Answer one question; what went wrong is in the answer, whose status is 200."""
    post = parse_debug(await request.body())
    handler = _COMMANDS.get(post.command)
    try:
        if handler is not None:
            return await handler(desk, post)
        known = ", ".join(_COMMANDS)
        answer = DebugResponse(error=True, error_msg=f"unknown command {post.command[:100]!r}; known are: {known}")
    except ProtocolError as exc:
        answer = DebugResponse(error=True, error_msg=str(exc))
    return _response(answer)


def _response(answer: DebugResponse) -> Response:
    return json_response(encode_debug_response(answer))


async def _well(desk: Desk) -> str:
    health = await desk.look(desk.refs.health, GetHealth())
    return well_or_not(health, await desk.look(desk.refs.keeper, GetZone()))


async def _filterlists(desk: Desk, post: DebugPost) -> Response:
    answer = DebugResponse(msg=await _well(desk))
    sources: SourcesStatus = await desk.ask(desk.refs.lists, GetSources())
    start, end = encode_debug_around(answer, "Lists")

    async def pieces() -> AsyncIterator[bytes]:
        yield start + b"{"
        for number, kind in enumerate(ListKind):
            yield (b"," if number else b"") + f'"{kind.value}":{{'.encode()
            async for piece in _lists(desk, sources.sources, kind):
                yield piece
            yield b"}"
        yield b"}" + end

    return LongAnswer(desk, pieces)


async def _lists(desk: Desk, sources: tuple[SourceStatus, ...], kind: ListKind) -> AsyncIterator[bytes]:
    heads = [each for each in list_heads(sources) if each[0].kind is kind]
    for number, (head, key, source) in enumerate(heads):
        before, after = encode_list_around(head)
        yield (b"," if number else b"") + encode_text(key) + b":" + before + b"{"
        async for piece in _names(desk, [source], encode_names):
            yield piece
        yield b"}" + after


async def _names(desk: Desk, sources: Iterable[str], encode: Callable[[ListBlock], bytes]) -> AsyncIterator[bytes]:
    """The names of these sources, page by page, with commas between all of them."""
    comma = b""
    for source in sources:
        cursor = ""
        while True:
            question = GetListNames(source=source, limit=PAGE, cursor=cursor)
            page: ListNamesPage = await desk.ask(desk.refs.lists, question)
            for part in page.parts:
                if len(part.entries):
                    yield comma + await desk.run_blocking(encode, part.entries)
                    comma = b","
            cursor = page.next
            if not cursor:
                break


async def _gen_output(desk: Desk, post: DebugPost) -> Response:
    """The names that are denied and doubted; what becomes of them is in the zone, which is there to be transferred."""
    answer = DebugResponse(msg="what is decided for these names is the zone: transfer it (AXFR)")
    sources: SourcesStatus = await desk.ask(desk.refs.lists, GetSources())
    start, between, end = encode_debug_around(answer, "DenylistedNames", "DoubtlistedNames")

    def of(kind: ListKind) -> list[str]:
        return [source for head, _, source in list_heads(sources.sources) if head.kind is kind]

    async def pieces() -> AsyncIterator[bytes]:
        yield start + b"{"
        async for piece in _names(desk, of(ListKind.DENY), encode_denied_names):
            yield piece
        yield b"}" + between + b"{"
        async for piece in _names(desk, of(ListKind.DOUBT), encode_names):
            yield piece
        yield b"}" + end

    return LongAnswer(desk, pieces)


async def _mqtt_stats(desk: Desk, post: DebugPost) -> Response:
    session = desk.running(desk.refs.mqtt)
    if session is None:
        return _response(DebugResponse(error=True, error_msg="there is no MQTT connection: nothing needs one"))
    mqtt = await desk.ask(session, GetMqtt())
    version = f" {mqtt.version}" if mqtt.version else ""
    trouble = f": {mqtt.trouble}" if mqtt.trouble else ""
    return _response(DebugResponse(topics=topics_of(mqtt), msg=f"{mqtt.broker}: {mqtt.state}{version}{trouble}"))


async def _reaper_stats(desk: Desk, post: DebugPost) -> Response:
    sources: SourcesStatus = await desk.ask(desk.refs.lists, GetSources())
    found: dict[str, dict[int, tuple[str, ...]]] = {}
    later = 0
    source_of = desk.refs.source
    for source in sources.sources:
        if source_of is not None and source.kind is ListKind.DOUBT and source.active and source.origin == "mqtt":
            export: ObservationsExport = await desk.ask(source_of(source.id), GetObservationsExport())
            found[source.name], more = await desk.run_blocking(reaper_slots, export.observations)
            later += more
    text = f"{later} further names go later" if later else await _well(desk)
    return _response(DebugResponse(reaper=found, msg=text))


async def _rrset(desk: Desk, post: DebugPost) -> Response:
    """What the zone that we serve has for a name, in words: Go's reader has no way to read a record."""
    zone: ZoneStatus = await desk.ask(desk.refs.keeper, GetZone())
    if not _is(zone, post.zone):
        return _response(_no_such_zone(zone, post))
    explanation = await explain_name(desk.refs, desk.ask, post.qname, patience=desk.patience)
    record = explanation["record"]
    text = f"{record['owner']}: {record['action']}" if record and record["owner"] else f"{post.qname}: no record"
    return _response(DebugResponse(zone=zone.zone, msg=text))


async def _zonedata(desk: Desk, post: DebugPost) -> Response:
    zone: ZoneStatus = await desk.ask(desk.refs.keeper, GetZone())
    if not _is(zone, post.zone):
        return _response(_no_such_zone(zone, post))
    return _response(DebugResponse(zone=zone.zone, msg=zone_text(zone)))


def _is(zone: ZoneStatus, named: str) -> bool:
    return named.lower().rstrip(".") in ("", zone.zone.lower().rstrip("."))


def _no_such_zone(zone: ZoneStatus, post: DebugPost) -> DebugResponse:
    text = f"{post.zone[:255]!r} is not the zone that is served here, which is {zone.zone}"
    return DebugResponse(msg=text, error=True, error_msg=text)


async def _send_status(desk: Desk, post: DebugPost) -> Response:
    text = "no status is taken from outside: each part is asked how it does, and what it says is signed"
    return _response(DebugResponse(error=True, error_msg=text))


_Handler = Callable[[Desk, DebugPost], Awaitable[Response]]

_COMMANDS: Final[Mapping[str, _Handler]] = {
    "filterlists": _filterlists,
    "gen-output": _gen_output,
    "mqtt-stats": _mqtt_stats,
    "reaper-stats": _reaper_stats,
    "rrset": _rrset,
    "zonedata": _zonedata,
    "send-status": _send_status,
}


class LongAnswer(Response):
    """A JSON document of any length that is made as it is sent; one that cannot be finished breaks the connection."""

    def __init__(self, desk: Desk, pieces: Callable[[], AsyncIterator[bytes]]) -> None:
        super().__init__(media_type="application/json")
        self._desk = desk
        self._pieces = pieces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it. Raises ClientGone when an actor does not answer in the middle."""
        try:
            async with self._desk.expensive():
                head = {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", b"application/json")],
                }
                await send(head)
                async for piece in self._pieces():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except BusyError as exc:
            answer = _response(DebugResponse(error=True, error_msg=str(exc)))
            await answer(scope, receive, send)
        except ProtocolError as exc:
            scope["state"]["guard"].abort()
            raise ClientGone from exc
