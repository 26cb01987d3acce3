"""Which path leads where: version 1 as upstream has it, version 2, and what needs no key."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.routing import Router

from tapir.services.control.api_desk import Desk
from tapir.services.control.bootstrap import bootstrap
from tapir.services.control.routes_command import command
from tapir.services.control.routes_debug import debug
from tapir.services.control.routes_open import open_routes
from tapir.services.control.routes_v1 import PREFIX, VersionOne, ping
from tapir.services.control.routes_v2 import VersionTwo

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


def api_application(desk: Desk) -> Application:
    """What is served on `apiserver`'s addresses."""
    one = VersionOne(desk, {"/ping": ping, "/command": command, "/bootstrap": bootstrap, "/debug": debug})
    two = VersionTwo(desk)
    rest = Router(open_routes(desk), redirect_slashes=False)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        path: str = scope["path"]
        if path.startswith(f"{PREFIX}/"):
            await one(scope, receive, send)
        elif path.startswith(f"{VersionTwo.PREFIX}/"):
            await two(scope, receive, send)
        else:
            await rest(scope, receive, send)

    return application


def bootstrap_application(desk: Desk) -> Application:
    """What is served on `bootstrapserver`'s addresses."""
    return VersionOne(desk, {"/ping": ping, "/bootstrap": bootstrap})
