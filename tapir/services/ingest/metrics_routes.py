"""What EDM answers at its metrics address: the page of metrics, and where it is allowed, rotating (edm.md §11.2)."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from actors import ActorRef, AskError, AskFailed, AskTimeout
from tapir.model.errors import TapirError
from tapir.model.messages.edm import RotateNow

ROTATION_PATIENCE: Final = 9.0
"""seconds that the existing EDM waits, too"""
_HEADERS: Final = {"Cache-Control": "no-store"}


@attrs.frozen(kw_only=True)
class MetricsDesk:
    """What the routes lean on: `page` makes the page and its type for a header `Accept`."""

    page: Callable[[str], Awaitable[tuple[bytes, str]]]
    minimiser: ActorRef[Any]
    rotation: bool


def metrics_application(desk: MetricsDesk) -> Starlette:
    """`/metrics`, and `/debug/rotate-parquet` where `desk` has `rotation`."""

    async def metrics(request: Request) -> Response:
        """All metrics; whoever reaches the address may read them, for they name nobody."""
        page, kind = await desk.page(request.headers.get("Accept", ""))
        return Response(page, headers={**_HEADERS, "Content-Type": kind})

    async def rotate(request: Request) -> Response:
        """End the running interval now."""
        if request.method != "POST":
            return _plain(405, "Method Not Allowed", Allow="POST")
        if not request.scope["state"]["peer"].local:
            return _plain(403, "rotation is asked for on this host only")
        if "origin" in request.headers:
            # A browser says so of what a page of somebody else asks; programs do not.
            return _plain(403, "rotation is not asked for from a web page")
        return await _rotate(desk.minimiser)

    routes = [Route("/metrics", metrics)]
    if desk.rotation:
        every = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        routes.append(Route("/debug/rotate-parquet", rotate, methods=every))
    return Starlette(routes=routes)


async def _rotate(minimiser: ActorRef[Any]) -> Response:
    try:
        rotated = await minimiser.ask(RotateNow(), timeout=ROTATION_PATIENCE)
    except AskTimeout:
        return _plain(504, "the files were not written in time; they still may be")
    except AskFailed as exc:
        # Another error is of a crash, and what it says may be what stood in a frame.
        if isinstance(exc.__cause__, TapirError):
            return _plain(500, str(exc.__cause__))
        return _plain(503, "there is nobody now who could do it; EDM stops or restarts")
    except AskError:
        return _plain(503, "EDM is too busy; try again")
    if rotated.trouble:
        return _plain(500, rotated.trouble)
    return _plain(202, "rotation requested")


def _plain(status: int, text: str, **headers: str) -> Response:
    return PlainTextResponse(f"{text}\n", status_code=status, headers={**_HEADERS, **headers})
