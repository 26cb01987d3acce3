"""What needs no key: whether the process serves, whether it is ready, and its metrics on this host."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from tapir.model.messages.control import GetHealth, HealthStatus
from tapir.model.messages.lists import GetSources, SourcesStatus
from tapir.services.control.api_desk import Desk

_HEADERS = {"Cache-Control": "no-store"}


def open_routes(desk: Desk) -> list[BaseRoute]:
    """`/healthz` and `/readyz`."""

    async def healthz(request: Request) -> Response:
        """The process lives and its event loop answers; nothing else is asked of anybody."""
        return PlainTextResponse("ok\n", headers=_HEADERS)

    async def readyz(request: Request) -> Response:
        """Whether the zone is served and every required source is fresh."""
        reasons = await not_ready(desk)
        return JSONResponse(
            {"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200, headers=_HEADERS
        )

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


async def not_ready(desk: Desk) -> list[str]:
    """Why the service is not ready, each reason a sentence; what an error says of peers is not in them."""
    health: HealthStatus | None = await desk.look(desk.refs.health, GetHealth())
    sources: SourcesStatus | None = await desk.look(desk.refs.lists, GetSources())
    reasons = ["the health actor does not answer"] if health is None else list(health.reasons)
    for source in sources.sources if sources is not None else ():
        if source.active and source.required and source.state not in ("fresh", "waiting"):
            reasons.append(f"the required source {source.id} is {source.state}: its last good content is used")
        elif source.active and source.required and source.state == "waiting":
            reasons.append(f"the required source {source.id} has not delivered yet")
    return reasons
