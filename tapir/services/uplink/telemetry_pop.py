"""The parts of a POP, asked how they do."""

from collections.abc import Callable
from typing import Any, Final

import attrs

from actors import ActorRef, Request, answered, ask_together
from tapir.model.messages.control import GetHealth
from tapir.model.messages.events import GetEvents, concerns_pop
from tapir.model.messages.feeds import GetFeed
from tapir.model.messages.lists import GetSources, SourcesStatus
from tapir.model.messages.mqtt import GetMqtt
from tapir.model.messages.observations import GetObservations
from tapir.model.messages.zone import GetSecondaries, GetServer, GetZone
from tapir.services.uplink.telemetry import Look
from tapir.services.uplink.telemetry_parts import COMPONENTS, Facts, count_all, judge_components


@attrs.frozen(kw_only=True)
class TelemetryRefs:
    """Whom telemetry asks; None where that is not run. `source` is the actor of a source, by its id."""

    health: ActorRef[Any]
    lists: ActorRef[Any]
    keeper: ActorRef[Any]
    events: ActorRef[Any]
    server: ActorRef[Any] | None = None
    notifier: ActorRef[Any] | None = None
    mqtt: ActorRef[Any] | None = None
    source: Callable[[str], ActorRef[Any]] | None = None
    function: str = "tapir-pop"
    components: frozenset[str] = COMPONENTS

    async def look(self, *, connected: bool, patience: float) -> Look:
        """Ask all of them at once."""
        facts = await gather(self if connected else attrs.evolve(self, mqtt=None), patience=patience)
        return Look(judgements=judge_components(facts), counters=count_all(facts), events=facts.events)


async def gather(refs: TelemetryRefs, *, patience: float) -> Facts:
    """What all parts say, asked at once; who does not answer within `patience` s is left out."""
    questions: list[tuple[str, ActorRef[Any] | None, Request[Any]]] = [
        ("health", refs.health, GetHealth()),
        ("sources", refs.lists, GetSources()),
        ("zone", refs.keeper, GetZone()),
        ("events", refs.events, GetEvents()),
        ("server", refs.server, GetServer()),
        ("secondaries", refs.notifier, GetSecondaries()),
        ("mqtt", refs.mqtt, GetMqtt()),
    ]
    # Who is busy or restarting is left out: the next look asks again.
    found = answered(await ask_together(questions, patience=patience))
    if "events" in found:
        found["events"] = tuple(filter(concerns_pop, found["events"]))
    found |= await _ask_sources(refs, found.get("sources"), patience=patience)
    return Facts(**found)


_OF_ORIGIN: Final[dict[str, tuple[str, Request[Any]]]] = {
    "xfr": ("feeds", GetFeed()),
    "mqtt": ("observed", GetObservations()),
}


async def _ask_sources(
    refs: TelemetryRefs, sources: SourcesStatus | None, *, patience: float
) -> dict[str, tuple[Any, ...]]:
    """What the sources that have more to say tell of themselves, by their ids in order."""
    questions: list[tuple[tuple[str, str], ActorRef[Any], Request[Any]]] = []
    for each in sources.sources if sources is not None and refs.source is not None else ():
        kind, question = _OF_ORIGIN.get(each.origin.split(" ")[0], ("", None))
        if question is not None and each.active and not each.internal and refs.source is not None:
            questions.append(((kind, each.id), refs.source(each.id), question))
    found = answered(await ask_together(questions, patience=patience))
    return {kind: tuple([found[key] for key in sorted(found) if key[0] == kind]) for kind, _ in _OF_ORIGIN.values()}
