"""What needs no key: whether the process serves, whether it is ready, and on this host its metrics."""

from functools import partial
from typing import Any

import trio
from prometheus_client import ProcessCollector
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from actors import ActorRef
from actors import Request as Question
from tapir.codec.exposition import write_page
from tapir.model.messages.feeds import FeedStatus, GetFeed
from tapir.model.messages.lists import GetSources, SourcesStatus
from tapir.model.messages.observations import GetObservations, ObservationsStatus
from tapir.services.control.api_desk import Desk, key_shown
from tapir.services.control.listing import takes_part
from tapir.services.control.metrics import MetricFacts, facts_of, families
from tapir.services.control.status import gather_status

_HEADERS = {"Cache-Control": "no-store"}


def open_routes(desk: Desk) -> list[BaseRoute]:
    """`/healthz`, `/readyz` and `/metrics`."""

    async def healthz(request: Request) -> Response:
        """The process lives and its event loop answers; nothing else is asked of anybody."""
        return PlainTextResponse("ok\n", headers=_HEADERS)

    async def readyz(request: Request) -> Response:
        """Whether the zone is served and every required source is fresh."""
        reasons = await not_ready(desk)
        return JSONResponse(
            {"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200, headers=_HEADERS
        )

    async def metrics(request: Request) -> Response:
        """All metrics; from other hosts with the key, for they name sources and configured peers."""
        if not request.scope["state"]["peer"].local and not desk.admits(key_shown(request)):
            headers = {**_HEADERS, "WWW-Authenticate": "Bearer"}
            return PlainTextResponse("from other hosts, show the key\n", status_code=401, headers=headers)
        facts = await gather_metrics(desk)
        body, kind = await desk.run_blocking(partial(_expose, facts, request.headers.get("Accept", "")))
        return Response(body, headers={**_HEADERS, "Content-Type": kind})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


async def not_ready(desk: Desk) -> list[str]:
    """Why the service is not ready, each reason a sentence; what an error says of peers is not in them."""
    health = await desk.health()
    sources: SourcesStatus | None = await desk.look(desk.refs.lists, GetSources())
    reasons = ["the health actor does not answer"] if health is None else list(health.reasons)
    for source in sources.sources if sources is not None else ():
        if source.active and source.required and source.state != "fresh":
            used = "nothing of it is there yet" if source.state == "waiting" else "its last good content is used"
            reasons.append(f"the required source {source.id} is {source.state}: {used}")
    return reasons


async def gather_metrics(desk: Desk) -> MetricFacts:
    """What every part says of itself, asked all at once; who does not answer is left out."""
    found: dict[str, Any] = {}
    details: list[Any] = []

    async def status() -> None:
        found.update(await gather_status(desk.refs, patience=desk.patience))

    async def detail(ref: ActorRef[Any], question: Question[Any]) -> None:
        details.append(await desk.look(ref, question))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(status)
        sources: SourcesStatus | None = await desk.look(desk.refs.lists, GetSources())
        for source in sources.sources if sources is not None else ():
            question = _QUESTIONS.get(source.origin.split(" ")[0])
            if question is not None and desk.refs.source is not None and takes_part(source):
                nursery.start_soon(detail, desk.refs.source(source.id), question)
    found["feeds"] = tuple(each for each in details if isinstance(each, FeedStatus))
    found["observations"] = tuple(each for each in details if isinstance(each, ObservationsStatus))
    return facts_of(desk.facts, desk.system.statistics(), found)


_QUESTIONS: dict[str, Question[Any]] = {"xfr": GetFeed(), "mqtt": GetObservations()}


def _expose(facts: MetricFacts, accept: str) -> tuple[bytes, str]:
    # It registers itself where it is not told a registry, and it is to be on our page only.
    return write_page(families(facts), accept, more=[ProcessCollector(registry=None)])
