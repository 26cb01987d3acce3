"""Version 1, as the existing command line and other POPs speak it (pop.md §7): 200 whatever happens, and what in the
body.

A wrong or missing key is a 404, like a path that is not there; a wrong method a 405, a slash at the end a 301. All of
that is looked at in this order, so who has no key learns nothing.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from tapir.codec.popapi import encode_pong, parse_ping
from tapir.services.control.api_desk import Desk
from tapir.transport.streams import format_address

PREFIX: Final = "/api/v1"

Handler = Callable[[Desk, Request], Awaitable[Response]]


class VersionOne:
    """The paths of `handlers` below `/api/v1`; an ASGI application."""

    def __init__(self, desk: Desk, handlers: Mapping[str, Handler]) -> None:
        self._desk = desk
        self._handlers = handlers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"].removeprefix(PREFIX)
        handler = self._handlers.get(path.rstrip("/")) if request.scope["path"].startswith(PREFIX) else None
        if handler is None or not self._desk.admits(request.headers.get("X-API-Key")):
            return PlainTextResponse("404 page not found\n", HTTPStatus.NOT_FOUND)
        if request.method != "POST":
            return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        if path.endswith("/"):
            return RedirectResponse(PREFIX + path.rstrip("/"), HTTPStatus.MOVED_PERMANENTLY)
        return await handler(self._desk, request)


async def ping(desk: Desk, request: Request) -> Response:
    """`/ping`: who is there, and since when; `Client` is what the client sees of itself."""
    post = parse_ping(await request.body())
    desk.pongs += 1
    peer = request.scope["state"]["peer"]
    client = request.scope["client"]
    text = f"{'TLS ' if peer.secured else ''}pong from tapir-pop @ {socket.gethostname()}"
    return json_response(
        encode_pong(
            time=desk.now(),
            boot_time=desk.facts.started_at,
            client=format_address(client) if client else "",
            msg=text,
            pings=post.pings + 1,
            pongs=desk.pongs,
        )
    )


def json_response(body: bytes) -> Response:
    """200, with what is a JSON document already."""
    return Response(body, media_type="application/json")
