"""Version 2, for programs: plain JSON, problem documents, a description of itself."""

from typing import Any, Final

from starlette.routing import Router

from tapir.services.control.api_desk import Desk


class VersionTwo:
    """Everything below `/api/v2`."""

    PREFIX: Final = "/api/v2"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._router = Router([])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._router(scope, receive, send)
