"""EDM's parts as an actor that answers what a test wants, and answers of which each figure is unique."""

from typing import Any

from actors import Actor, Context
from tapir.minimiser.account import Fate, Ledger
from tapir.model.errors import TapirError
from tapir.model.messages.edm import (
    AccountStatus,
    AggregatesStatus,
    FreshName,
    GetAggregates,
    GetInput,
    GetMinimiser,
    GetNovelty,
    InputStatus,
    ListFile,
    MinimiserStatus,
    NoveltyStatus,
)
from tapir.model.messages.events import EventKind, ExceptionalEvent, GetEvents
from tapir.model.messages.mqtt import GetMqtt, MqttStatus
from tapir.model.messages.newnames import GetNewNames, NewNamesStatus

SECOND = 1_000_000
CLIENT = "192.0.2.99"
"""the address of nobody's client, in a place where none belongs; it is to come out nowhere"""

EVENT = ExceptionalEvent(id="1", kind=EventKind.LIST_UNUSABLE, subject="ignored-client-ips-file", text="cut", at=1)
INPUT = InputStatus(
    addresses=("/run/edm.sock",),
    open=2,
    accepted=7,
    refused=3,
    ended=(("finished", 4),),
    failed=(("handshake", 5),),
    frames=100,
    octets=15_000,
    abandoned=6,
    trouble=CLIENT,
)
MINIMISER = MinimiserStatus(
    account=AccountStatus(received=0, in_flight=0, settled=()),
    interval_started_at=60 * SECOND,
    interval_names=11,
    interval_responses=12,
    session_rows=13,
    histograms_written=14,
    session_files_written=15,
    rows_lost=16,
    well_known=ListFile(path="/a/well-known", entries=17, loaded_at=61 * SECOND),
    ignored_clients=ListFile(path="/a/clients", entries=18, loaded_at=62 * SECOND, trouble=f"it has {CLIENT}"),
    ignored_names=ListFile(path=""),
    pseudonyms=19,
    pseudonym_generation=1,
    spooling=True,
    replayed=20,
    pseudonym_octets=21,
    pseudonym_hits=22,
    pseudonym_misses=23,
    pseudonym_evicted=24,
    trouble=CLIENT,
)
NOVELTY = NoveltyStatus(
    gathered=31,
    asked=32,
    new=33,
    put_off=34,
    recent_octets=35,
    newest=(FreshName(name="new.example.", at=1),),
    recent_evicted=36,
)
NEWNAMES = NewNamesStatus(
    topic="events/up/k/new_qname",
    sent=41,
    waiting=42,
    oldest_at=63 * SECOND,
    dropped=43,
    names=44,
    forgotten=45,
    trouble="",
)
AGGREGATES = AggregatesStatus(
    enabled=True,
    url="https://core.example/api",
    waiting=51,
    waiting_octets=52,
    oldest_at=64 * SECOND,
    sent=53,
    failures=(("500", 54),),
    last_sent_at=65 * SECOND,
    kept=55,
)
MQTT = MqttStatus(
    broker="broker.example:8883",
    client_id="k-edm-1",
    state="connected",
    version="5",
    since=1,
    trouble="",
    retry_at=None,
    connections=61,
    topics=(),
    published=62,
    unacknowledged=0,
    counters=(("reconnects", 63),),
)


def ledger() -> Ledger:
    """An account with another figure for each fate, and 9 in flight."""
    found = Ledger()
    counts = {fate: 100 + number for number, fate in enumerate(Fate)}
    found.receive(sum(counts.values()) + 9)
    found.settle(counts)
    return found


class EdmParts(Actor[Any]):
    """All the actors that are asked, in one; a test replaces `answers` by the class of the question.

    An error is answered with; of a question without an answer nothing is heard again.
    """

    def __init__(self) -> None:
        self.answers: dict[type, Any] = {
            GetInput: INPUT,
            GetMinimiser: MINIMISER,
            GetNovelty: NOVELTY,
            GetNewNames: NEWNAMES,
            GetAggregates: AGGREGATES,
            GetMqtt: MQTT,
            GetEvents: (EVENT,),
        }
        self.heard: list[Any] = []
        self._left: list[Any] = []

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        """Answer, refuse or stay silent."""
        self.heard.append(message)
        answer = self.answers.get(type(message))
        match answer:
            case None:
                self._left.append(ctx.defer_reply())
            case TapirError():
                ctx.defer_reply().fail(answer)
            case _:
                ctx.reply(answer)
