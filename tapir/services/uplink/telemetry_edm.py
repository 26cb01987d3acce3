"""The parts of an EDM, asked how they do."""

from typing import Any, Final

import attrs
import trio

from actors import ActorRef, AskError, Request
from tapir.minimiser.account import Ledger
from tapir.model.messages.edm import GetAggregates, GetInput, GetMinimiser, GetNovelty
from tapir.model.messages.events import GetEvents, concerns_edm
from tapir.model.messages.mqtt import GetMqtt
from tapir.model.messages.newnames import GetNewNames
from tapir.services.uplink.telemetry import Look
from tapir.services.uplink.telemetry_edm_parts import COMPONENTS, EdmAnswers, count_edm, judge_edm

FUNCTION: Final = "tapir-edm"


@attrs.frozen(kw_only=True)
class EdmTelemetryRefs:
    """Whom telemetry asks; None where that is not run. The `ledger` is read, for the account is there at all times."""

    ledger: Ledger
    events: ActorRef[Any]
    input: ActorRef[Any]
    minimiser: ActorRef[Any]
    novelty: ActorRef[Any]
    aggregates: ActorRef[Any] | None = None
    newnames: ActorRef[Any] | None = None
    mqtt: ActorRef[Any] | None = None
    function: str = FUNCTION
    components: frozenset[str] = COMPONENTS

    async def look(self, *, connected: bool, patience: float) -> Look:
        """Ask all of them at once."""
        found: dict[str, Any] = {}

        async def ask(name: str, ref: ActorRef[Any] | None, question: Request[Any]) -> None:
            if ref is not None:
                try:
                    found[name] = await ref.ask(question, timeout=patience)
                except AskError:
                    return  # busy or restarting: the next look asks again

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "events", self.events, GetEvents())
            nursery.start_soon(ask, "input", self.input, GetInput())
            nursery.start_soon(ask, "minimiser", self.minimiser, GetMinimiser())
            nursery.start_soon(ask, "novelty", self.novelty, GetNovelty())
            nursery.start_soon(ask, "aggregates", self.aggregates, GetAggregates())
            nursery.start_soon(ask, "newnames", self.newnames, GetNewNames())
            nursery.start_soon(ask, "mqtt", self.mqtt if connected else None, GetMqtt())
        if "events" in found:
            found["events"] = tuple(filter(concerns_edm, found["events"]))
        answers = EdmAnswers(account=self.ledger.account(), **found)
        return Look(judgements=judge_edm(answers), counters=count_edm(answers), events=answers.events)
