"""What keeps EDM from its work, and what else deserves a word."""

import logging
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorSpec,
    ActorSystem,
    Context,
    MailboxSpec,
    ManualClock,
    Overflow,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)
from actors.testing import probe, run_system
from tapir.model.messages.control import GetHealth, HealthStatus
from tapir.model.messages.edm import (
    AccountStatus,
    AggregatesStatus,
    GetAggregates,
    GetInput,
    GetMinimiser,
    GetNovelty,
    InputStatus,
    ListFile,
    MinimiserStatus,
    NoveltyStatus,
)
from tapir.model.messages.lists import GetSources
from tapir.model.messages.mqtt import GetMqtt, MqttStatus
from tapir.model.messages.newnames import GetNewNames, NewNamesStatus
from tapir.model.messages.zone import GetZone
from tapir.services.control.edm import EdmRefs
from tapir.services.control.health import Health, HealthSettings, join_health
from tapir.services.control.health_edm import OVERDUE, EdmLook, judge_edm

NOW = 10 * OVERDUE
NO_FILE = ListFile(path="")
INPUT = InputStatus(
    addresses=("unix:/run/edm.sock",),
    open=1,
    accepted=1,
    refused=0,
    ended=(),
    failed=(),
    frames=9,
    octets=99,
    abandoned=0,
)
MINIMISER = MinimiserStatus(
    account=AccountStatus(received=9, in_flight=0, settled=()),
    interval_started_at=1,
    interval_names=0,
    interval_responses=0,
    session_rows=0,
    histograms_written=0,
    session_files_written=0,
    rows_lost=0,
    well_known=ListFile(path="/well-known.dawg", entries=1, loaded_at=1),
    ignored_clients=NO_FILE,
    ignored_names=NO_FILE,
    pseudonyms=0,
    pseudonym_generation=0,
    spooling=False,
    replayed=0,
)
NOVELTY = NoveltyStatus(gathered=0, asked=0, new=0, put_off=0, recent_octets=0, newest=())
AGGREGATES = AggregatesStatus(
    enabled=True,
    url="https://core.example/",
    waiting=2,
    waiting_octets=9,
    oldest_at=NOW - 1,
    sent=0,
    failures=(),
    last_sent_at=None,
    kept=0,
)
NEW_NAMES = NewNamesStatus(topic="", sent=0, waiting=0, oldest_at=None, dropped=0, names=0, forgotten=0, trouble="")
MQTT = MqttStatus(
    broker="mqtts://core.example:8883",
    client_id="edge-edm-1",
    state="connected",
    version="5",
    since=1,
    trouble="",
    retry_at=None,
    connections=1,
    topics=(),
    published=0,
    unacknowledged=0,
    counters=(),
)
WELL = EdmLook(input=INPUT, minimiser=MINIMISER, novelty=NOVELTY, aggregates=AGGREGATES, new_names=NEW_NAMES, mqtt=MQTT)


def test_all_is_well() -> None:
    assert judge_edm(WELL, now=NOW) == ((), ())


def test_what_is_not_run_is_not_missed() -> None:
    alone = attrs.evolve(
        WELL,
        connected=False,
        mqtt=None,
        new_names=None,
        aggregates=attrs.evolve(AGGREGATES, enabled=False, oldest_at=0, trouble="old"),
    )
    assert judge_edm(alone, now=NOW) == ((), ())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input": None}, "the dnstap input does not answer"),
        (
            {"input": attrs.evolve(INPUT, addresses=(), trouble="address in use")},
            "the dnstap input is not open: address in use",
        ),
        ({"minimiser": None}, "the minimiser does not answer"),
        (
            {"minimiser": attrs.evolve(MINIMISER, well_known=ListFile(path="/w", trouble="/w: no such file"))},
            "the well-known names are not loaded: /w: no such file",
        ),
        (
            {
                "minimiser": attrs.evolve(
                    MINIMISER,
                    interval_started_at=0,
                    ignored_clients=ListFile(path="/c", trouble="/c: is no file"),
                    trouble="/c: is no file",
                )
            },
            "clients to ignore: /c: is no file",
        ),
        ({"minimiser": attrs.evolve(MINIMISER, interval_started_at=0)}, "the minimiser has not begun yet"),
    ],
)
def test_what_keeps_it_from_its_work(change: dict[str, Any], reason: str) -> None:
    reasons, warnings = judge_edm(attrs.evolve(WELL, **change), now=NOW)
    assert reasons == (reason,)
    assert not warnings


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (
            {"minimiser": attrs.evolve(MINIMISER, well_known=attrs.evolve(MINIMISER.well_known, trouble="torn"))},
            "well-known names: torn; those of before are in effect",
        ),
        (
            {"minimiser": attrs.evolve(MINIMISER, ignored_clients=ListFile(path="/c", trouble="line 3"))},
            "clients to ignore: line 3",
        ),
        ({"minimiser": attrs.evolve(MINIMISER, trouble="disk full")}, "minimiser: disk full"),
        ({"novelty": attrs.evolve(NOVELTY, trouble="disk full")}, "new names: disk full"),
        ({"novelty": None}, "who looks for new names does not answer"),
        ({"aggregates": None}, "the sender of histograms does not answer"),
        (
            {"aggregates": attrs.evolve(AGGREGATES, oldest_at=NOW - 3 * OVERDUE, trouble="500")},
            "2 histograms are not sent, the oldest is 3 h old: 500; they are kept",
        ),
        ({"aggregates": attrs.evolve(AGGREGATES, trouble="500")}, "histograms: 500; 2 are kept"),
        ({"mqtt": attrs.evolve(MQTT, trouble="refused")}, "EDM's broker is away: refused"),
        ({"mqtt": None}, "EDM's session with its broker does not answer"),
        ({"new_names": None}, "the sender of new names does not answer"),
        ({"new_names": attrs.evolve(NEW_NAMES, trouble="no key")}, "events of new names: no key"),
        (
            {"new_names": attrs.evolve(NEW_NAMES, waiting=7, oldest_at=NOW - OVERDUE)},
            "7 events of new names are not sent, the oldest is 1 h old; they are kept",
        ),
        ({"input": attrs.evolve(INPUT, trouble="no files of TLS")}, "dnstap input: no files of TLS"),
    ],
)
def test_what_deserves_a_word(change: dict[str, Any], warning: str) -> None:
    assert judge_edm(attrs.evolve(WELL, **change), now=NOW) == ((), (warning,))


def test_a_broker_that_is_away_is_said_once() -> None:
    away = attrs.evolve(
        WELL, mqtt=attrs.evolve(MQTT, trouble="refused"), new_names=attrs.evolve(NEW_NAMES, trouble="not connected")
    )
    assert judge_edm(away, now=NOW) == ((), ("EDM's broker is away: refused",))


def test_beside_a_pop_nothing_of_edm_makes_the_process_unready() -> None:
    pop = HealthStatus(ready=True, reasons=(), warnings=("a",))
    assert join_health(pop, ("no input",), ("slow",), alone=False) == HealthStatus(
        ready=True, reasons=(), warnings=("a", "EDM: no input", "EDM: slow")
    )
    alone = join_health(HealthStatus(ready=True, reasons=(), warnings=()), ("no input",), ("slow",), alone=True)
    assert alone == HealthStatus(ready=False, reasons=("no input",), warnings=("EDM: slow",))


async def test_edm_alone_is_looked_at_and_its_readiness_is_said_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    answers = {
        GetInput: INPUT,
        GetMinimiser: MINIMISER,
        GetNovelty: NOVELTY,
        GetAggregates: attrs.evolve(AGGREGATES, enabled=False),
        GetMqtt: MQTT,
        GetNewNames: NEW_NAMES,
    }
    part = probe(answers)
    reports: list[HealthStatus] = []

    async def report(status: HealthStatus) -> None:
        reports.append(status)

    ref = system.ref("part")
    edm = EdmRefs(input=ref, minimiser=ref, novelty=ref, aggregates=ref, mqtt=ref, newnames=ref)
    nobody = system.ref("authority/keeper")
    health = Health(
        settings=HealthSettings(grace=10), keeper=nobody, server=None, lists=nobody, report=report, pop=False, edm=edm
    )
    spec: ActorSpec[Any] = ActorSpec(
        name="health", factory=lambda: health, mailbox=MailboxSpec(capacity=8, overflow=Overflow.REJECT)
    )
    tree = SupervisorSpec(name="tapir", strategy=Strategy.ONE_FOR_ONE, children=(part.spec("part"), spec))
    async with run_system(tree, system=system):
        await trio.sleep(60)
        assert await system.ref("health").ask(GetHealth()) == HealthStatus(ready=True, reasons=(), warnings=())
    assert [status.ready for status in reports] == [True]
    said = [record.message for record in caplog.records if record.message.startswith("ready")]
    assert said == ["ready edm input=unix:/run/edm.sock"]


class Hanging(Actor[Any]):
    """Takes a message, and is never done with it."""

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        await trio.sleep_forever()


async def test_beside_a_pop_who_asks_does_not_wait_for_an_edm_that_hangs(autojump_clock: MockClock) -> None:
    system = ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))
    pop = probe({GetZone: None, GetSources: None})
    part: ActorSpec[Any] = ActorSpec(
        name="part", factory=Hanging, mailbox=MailboxSpec(capacity=8, overflow=Overflow.REJECT)
    )
    ref = system.ref("part")
    edm = EdmRefs(input=ref, minimiser=ref, novelty=ref, aggregates=ref, mqtt=ref, newnames=ref)
    reports: list[HealthStatus] = []

    async def report(status: HealthStatus) -> None:
        reports.append(status)

    keeper = system.ref("keeper")
    spec: ActorSpec[Any] = ActorSpec(
        name="health",
        factory=lambda: Health(
            settings=HealthSettings(grace=10, interval=3600),
            keeper=keeper,
            server=None,
            lists=keeper,
            report=report,
            edm=edm,
        ),
        mailbox=MailboxSpec(capacity=8, overflow=Overflow.REJECT),
    )
    children = (pop.spec("keeper"), part, spec)
    async with run_system(
        SupervisorSpec(name="tapir", strategy=Strategy.ONE_FOR_ONE, children=children), system=system
    ):
        await trio.sleep(60)
        status = await system.ref("health").ask(GetHealth(), timeout=1.0)  # as long as status, API and telemetry wait
    assert "EDM: the dnstap input does not answer" in status.warnings
