"""`/debug` of version 1: looking into the lists, the zone and the broker's connection."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tapir.codec.popapi import DebugPost, DebugResponse, parse_debug
from tapir.model.actions import ListKind
from tapir.model.messages.feeds import FeedStatus
from tapir.model.messages.lists import GetSources, SourcesStatus, SourceStatus
from tapir.model.messages.mqtt import GetMqtt
from tapir.model.messages.observations import GetObservationsExport, ObservationsExport
from tapir.model.messages.telemetry import ComponentState, SetComponent
from tapir.model.messages.zone import GetZone, ZoneStatus
from tapir.services.control.api_desk import Desk
from tapir.services.control.documents import (
    feed_text,
    is_zone,
    list_heads,
    reaper_slots,
    record_text,
    relative_to,
    rules_text,
    topics_of,
    zone_text,
)
from tapir.services.control.explaining import explain_name
from tapir.services.control.protocol import ProtocolError
from tapir.services.control.routes_names import debug_response, feeds_of, filterlists, gen_output, well


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
    return debug_response(answer)


async def _mqtt_stats(desk: Desk, post: DebugPost) -> Response:
    session = desk.running(desk.refs.mqtt)
    if session is None:
        return debug_response(DebugResponse(error=True, error_msg="there is no MQTT connection: nothing needs one"))
    mqtt = await desk.ask(session, GetMqtt())
    version = f" {mqtt.version}" if mqtt.version else ""
    trouble = f": {mqtt.trouble}" if mqtt.trouble else ""
    return debug_response(DebugResponse(topics=topics_of(mqtt), msg=f"{mqtt.broker}: {mqtt.state}{version}{trouble}"))


async def _reaper_stats(desk: Desk, post: DebugPost) -> Response:
    sources: SourcesStatus = await desk.ask(desk.refs.lists, GetSources())
    found: dict[str, dict[int, tuple[str, ...]]] = {}
    later = 0
    source_of = desk.refs.source
    for _, key, source in list_heads(each for each in sources.sources if each.kind is ListKind.DOUBT):
        if source_of is not None and source.origin == "mqtt":
            export: ObservationsExport = await desk.ask(source_of(source.id), GetObservationsExport())
            found[key], more = await desk.run_blocking(reaper_slots, export.observations)
            later += more
    text = f"{later} further names go later" if later else await well(desk)
    return debug_response(DebugResponse(reaper=found, msg=text))


async def _rrset(desk: Desk, post: DebugPost) -> Response:
    """What the zone that we serve, or a feed, has for a name, in words: Go's reader has no way to read a record."""
    zone: ZoneStatus = await desk.ask(desk.refs.keeper, GetZone())
    feeds = () if is_zone(post.zone, zone.zone) else await _feeds(desk, post.zone)
    if not feeds and not is_zone(post.zone, zone.zone):
        return debug_response(_no_such_zone(zone, post))
    named = feeds[0][0].zone if feeds else zone.zone
    explanation = await explain_name(desk.refs, desk.ask, relative_to(post.qname, named), patience=desk.patience)
    text = rules_text(explanation, [each.id for _, each in feeds]) if feeds else record_text(explanation, post.qname)
    return debug_response(DebugResponse(zone=named, msg=text))


async def _zonedata(desk: Desk, post: DebugPost) -> Response:
    """How the zone that we serve, or a feed, stands."""
    zone: ZoneStatus = await desk.ask(desk.refs.keeper, GetZone())
    if is_zone(post.zone, zone.zone):
        return debug_response(DebugResponse(zone=zone.zone, msg=zone_text(zone)))
    feeds = await _feeds(desk, post.zone)
    if not feeds:
        return debug_response(_no_such_zone(zone, post))
    return debug_response(DebugResponse(zone=feeds[0][0].zone, msg="\n".join(feed_text(*each) for each in feeds)))


async def _feeds(desk: Desk, zone: str) -> tuple[tuple[FeedStatus, SourceStatus], ...]:
    """The feeds of that zone, of which there may be several."""
    sources: SourcesStatus = await desk.ask(desk.refs.lists, GetSources())
    known = {source.id: source for source in sources.sources}
    feeds = await feeds_of(desk, sources.sources)
    return tuple((feed, known[feed.source]) for feed in feeds if is_zone(zone, feed.zone))


def _no_such_zone(zone: ZoneStatus, post: DebugPost) -> DebugResponse:
    text = f"{post.zone[:255]!r} is neither the zone that is served here, which is {zone.zone}, nor that of a feed"
    return DebugResponse(msg=text, error=True, error_msg=text)


async def _send_status(desk: Desk, post: DebugPost) -> Response:
    """Say of a component that it does so, until it is looked at again: whether such a word arrives can be tried."""
    telemetry = desk.running(desk.refs.telemetry)
    if telemetry is None:
        return debug_response(DebugResponse(error=True, error_msg="component status is not kept here"))
    states = {int(state): state for state in ComponentState}
    state = states.get(post.status)
    if state is None:
        known = ", ".join(f"{number} ({each.name.lower()})" for number, each in sorted(states.items()))
        return debug_response(DebugResponse(error=True, error_msg=f"there is no such status; known are {known}"))
    return debug_response(DebugResponse(msg=await desk.ask(telemetry, SetComponent(name=post.component, state=state))))


_Handler = Callable[[Desk, DebugPost], Awaitable[Response]]

_COMMANDS: Final[Mapping[str, _Handler]] = {
    "filterlists": filterlists,
    "gen-output": gen_output,
    "mqtt-stats": _mqtt_stats,
    "reaper-stats": _reaper_stats,
    "rrset": _rrset,
    "zonedata": _zonedata,
    "send-status": _send_status,
}
