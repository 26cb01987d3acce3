"""The console's operations on EDM: how it stands, what it counts now, and an order to write its files.

Nothing here says anything of a client: the actors that are asked keep nothing of them that could be told.
"""

from typing import Any, Final

import attrs

from actors import ActorRef, Request
from tapir.model.messages.edm import (
    GetAggregates,
    GetBusyNames,
    GetEdmMetrics,
    GetInput,
    GetMinimiser,
    GetNovelty,
)
from tapir.model.messages.mqtt import GetMqtt
from tapir.model.messages.newnames import GetNewNames
from tapir.model.messages.telemetry import GetTelemetry
from tapir.services.control.asking import gather

BUSY: Final = 20
"""well-known names that who watches is told of"""


@attrs.frozen(kw_only=True)
class EdmRefs:
    """EDM's actors; None for each that is not run."""

    input: ActorRef[Any] | None = None
    minimiser: ActorRef[Any] | None = None
    novelty: ActorRef[Any] | None = None
    aggregates: ActorRef[Any] | None = None
    newnames: ActorRef[Any] | None = None
    mqtt: ActorRef[Any] | None = None
    """the connection with EDM's own broker"""
    metrics: ActorRef[Any] | None = None
    telemetry: ActorRef[Any] | None = None


async def gather_edm(refs: EdmRefs, *, patience: float) -> dict[str, Any]:
    """What each part says of itself, by its name.

    The names are `input`, `minimiser`, `novelty`, `new_names`, `aggregates`, `mqtt`, `metrics` and `telemetry`. Those
    that are not run are left out; one that does not answer within `patience` s is an `error`.
    """
    return await gather(_questions(refs), patience=patience)


async def look_at_edm(refs: EdmRefs, *, patience: float) -> dict[str, Any]:
    """As `gather_edm`, and the `busy` names of the running interval."""
    busy: tuple[str, ActorRef[Any] | None, Request[Any]] = ("busy", refs.minimiser, GetBusyNames(count=BUSY))
    return await gather([*_questions(refs), busy], patience=patience)


def _questions(refs: EdmRefs) -> list[tuple[str, ActorRef[Any] | None, Request[Any]]]:
    return [
        ("input", refs.input, GetInput()),
        ("minimiser", refs.minimiser, GetMinimiser()),
        ("novelty", refs.novelty, GetNovelty()),
        ("new_names", refs.newnames, GetNewNames()),
        ("aggregates", refs.aggregates, GetAggregates()),
        ("mqtt", refs.mqtt, GetMqtt()),
        ("metrics", refs.metrics, GetEdmMetrics()),
        ("telemetry", refs.telemetry, GetTelemetry()),
    ]
