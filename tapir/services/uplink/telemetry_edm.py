"""The parts of an EDM, asked how they do."""

from typing import Any, Final

import attrs

from actors import ActorRef, Request, answered, ask_together
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
        questions: list[tuple[str, ActorRef[Any] | None, Request[Any]]] = [
            ("events", self.events, GetEvents()),
            ("input", self.input, GetInput()),
            ("minimiser", self.minimiser, GetMinimiser()),
            ("novelty", self.novelty, GetNovelty()),
            ("aggregates", self.aggregates, GetAggregates()),
            ("newnames", self.newnames, GetNewNames()),
            ("mqtt", self.mqtt if connected else None, GetMqtt()),
        ]
        # Who is busy or restarting is left out: the next look asks again.
        found = answered(await ask_together(questions, patience=patience))
        if "events" in found:
            found["events"] = tuple(filter(concerns_edm, found["events"]))
        answers = EdmAnswers(account=self.ledger.account(), **found)
        return Look(judgements=judge_edm(answers), counters=count_edm(answers), events=answers.events)
