"""`/command` of version 1: what the existing command line tells a POP to do, also what its server never did."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from tapir.codec.lists import parse_entry
from tapir.codec.popapi import CommandPost, CommandResponse, encode_command_response, parse_command
from tapir.model.actions import ListKind
from tapir.model.messages.lists import GetSources
from tapir.model.messages.local import GetOverrides, OverridesStatus, RemoveOverride, SetOverride
from tapir.model.messages.mqtt import SetMqttActive
from tapir.model.messages.telemetry import GetFunctionStatus
from tapir.model.messages.zone import GetZone, SetSerial, ZoneStatus
from tapir.model.names import NameSyntaxError, format_name
from tapir.services.control.api_desk import Desk, user_of
from tapir.services.control.documents import bumped_serial, kind_of, lookup_text, sources_text, well_or_not
from tapir.services.control.explaining import explain_name
from tapir.services.control.overriding import override
from tapir.services.control.protocol import ProtocolError
from tapir.services.control.routes_v1 import json_response

_STOP: Final = "stop"


async def command(desk: Desk, request: Request) -> Response:
    """Obey one command; what went wrong is in the answer, whose status is 200."""
    post = parse_command(await request.body())
    handler = _COMMANDS.get(post.command)
    if handler is None:
        known = ", ".join(_COMMANDS)
        answer = CommandResponse(error=True, error_msg=f"unknown command {post.command[:100]!r}; known are: {known}")
        return _response(answer)
    try:
        answer = await handler(desk, post, user_of(request))
    except ProtocolError as exc:
        answer = CommandResponse(error=True, error_msg=str(exc))
    response = _response(answer)
    if post.command == _STOP:

        async def stop() -> None:
            desk.stop()

        response.background = BackgroundTask(stop)  # once the answer is written
    return response


def _response(answer: CommandResponse) -> Response:
    return json_response(encode_command_response(answer))


async def _status(desk: Desk, post: CommandPost, user: str) -> CommandResponse:
    health = await desk.health()
    zone = await desk.look(desk.refs.keeper, GetZone())
    function = await desk.look(desk.refs.telemetry, GetFunctionStatus())
    return CommandResponse(status="ok", msg=well_or_not(health, zone), function_status=function)


async def _stop(desk: Desk, post: CommandPost, user: str) -> CommandResponse:
    return CommandResponse(status="stopping", msg="the process stops in order")


async def _bump(desk: Desk, post: CommandPost, user: str) -> CommandResponse:
    """A new serial for the zone that we serve, which secondaries are notified of; no zone named means that one."""
    zone: ZoneStatus = await desk.ask(desk.refs.keeper, GetZone())
    named = post.zone.lower().rstrip(".")
    if named not in ("", zone.zone.lower().rstrip(".")):
        text = f"{post.zone[:255]!r} is not the zone that is served here, which is {zone.zone}"
        return CommandResponse(error=True, error_msg=f"{text}; the serial of a feed is its primary's")
    if zone.serial is None:
        return CommandResponse(error=True, error_msg=f"the zone {zone.zone} has no first version yet")
    serial = bumped_serial(zone.serial, desk.now())
    return CommandResponse(msg=await desk.ask(desk.refs.keeper, SetSerial(serial=serial, user=user)))


def _mqtt(*, active: bool, restart: bool = False) -> "_Handler":
    async def handler(desk: Desk, post: CommandPost, user: str) -> CommandResponse:
        session = desk.running(desk.refs.mqtt)
        if session is None:
            return CommandResponse(error=True, error_msg="there is no MQTT connection: nothing in the files needs one")
        return CommandResponse(msg=await desk.ask(session, SetMqttActive(active=active, restart=restart)))

    return handler


async def _add(desk: Desk, post: CommandPost, user: str) -> CommandResponse:
    kind = kind_of(post.list_type, post.policy)
    if kind is None:
        wanted = " or ".join(each.value for each in ListKind)
        return CommandResponse(error=True, error_msg=f"on which list? ListType must be {wanted}")
    order = SetOverride(entry=post.name, kind=kind, seconds=None, reason="", user=user)
    text = (await override(desk.refs, desk.ask, order, patience=desk.patience))["text"]
    if post.action:
        text += "; an action of its own it does not get, the policy says which one"
    return CommandResponse(msg=text)


async def _remove(desk: Desk, post: CommandPost, user: str) -> CommandResponse:
    kind = kind_of(post.list_type, post.policy) or await _kind_held(desk, post.name)
    if kind is None:
        return CommandResponse(error=True, error_msg=f"{post.name[:255]!r} is on none of the lists kept by hand")
    order = RemoveOverride(entry=post.name, kind=kind, user=user)
    return CommandResponse(msg=(await override(desk.refs, desk.ask, order, patience=desk.patience))["text"])


async def _kind_held(desk: Desk, entry: str) -> ListKind | None:
    """The list kept by hand that has the first of the names that `entry` stands for."""
    status: OverridesStatus = await desk.ask(desk.refs.overrides, GetOverrides())
    try:
        names = {format_name(name) for name in parse_entry(entry)}
    except NameSyntaxError:
        return None
    return next((each.kind for each in status.overrides if each.entry in names), None)


async def _lookup(desk: Desk, post: CommandPost, user: str) -> CommandResponse:
    explanation = await explain_name(desk.refs, desk.ask, post.name, patience=desk.patience)
    return CommandResponse(msg=lookup_text(explanation))


async def _list_sources(desk: Desk, post: CommandPost, user: str) -> CommandResponse:
    return CommandResponse(msg=sources_text(await desk.ask(desk.refs.lists, GetSources())))


_Handler = Callable[[Desk, CommandPost, str], Awaitable[CommandResponse]]

_COMMANDS: Final[Mapping[str, _Handler]] = {
    "status": _status,
    _STOP: _stop,
    "bump": _bump,
    "mqtt-start": _mqtt(active=True),
    "mqtt-stop": _mqtt(active=False),
    "mqtt-restart": _mqtt(active=True, restart=True),
    "rpz-add": _add,
    "rpz-remove": _remove,
    "rpz-lookup": _lookup,
    "rpz-list-sources": _list_sources,
}
