import json
from typing import Any

import attrs
import pytest
import trio
from edm_parts import AGGREGATES, CLIENT, EVENT, INPUT, MINIMISER, MQTT, NEWNAMES, NOVELTY, EdmParts, ledger

from actors import ActorSpec, ActorSystem, MailboxSpec, ManualClock, Overflow, Strategy, SupervisorSpec
from tapir.minimiser.account import Account, Fate
from tapir.model.errors import TapirError
from tapir.model.messages.edm import GetNovelty, ListFile
from tapir.model.messages.events import (
    EDM_CERTIFICATES,
    EventKind,
    EventsChanged,
    ExceptionalEvent,
    GetEvents,
    concerns_edm,
    concerns_pop,
)
from tapir.model.messages.mqtt import GetMqtt
from tapir.model.messages.telemetry import ComponentState, FunctionStatus, GetFunctionStatus
from tapir.services.uplink.telemetry import Telemetry, TelemetrySettings
from tapir.services.uplink.telemetry_edm import EdmTelemetryRefs
from tapir.services.uplink.telemetry_edm_parts import COMPONENTS, EdmAnswers, count_edm, judge_edm

FAIL, WARN, OK = ComponentState.FAIL, ComponentState.WARN, ComponentState.OK
BOX = MailboxSpec(capacity=64, overflow=Overflow.REJECT)
GOOD = ListFile(path="/a/list", entries=1, loaded_at=1)
BAD = attrs.evolve(GOOD, trouble=CLIENT)
NEVER = attrs.evolve(BAD, loaded_at=None)
WELL = EdmAnswers(
    account=ledger().account(),
    input=attrs.evolve(INPUT, trouble=""),
    minimiser=attrs.evolve(MINIMISER, trouble="", ignored_clients=GOOD),
    novelty=NOVELTY,
    aggregates=AGGREGATES,
    newnames=NEWNAMES,
    mqtt=MQTT,
    events=(),
)


def event(kind: EventKind, subject: str = "edm", *, over: bool = False) -> ExceptionalEvent:
    return attrs.evolve(EVENT, kind=kind, subject=subject, text=CLIENT, cleared_at=2 if over else None)


def change(part: str, **members: Any) -> EdmAnswers:
    return attrs.evolve(WELL, **{part: attrs.evolve(getattr(WELL, part), **members)})


def lasting(kind: EventKind, subject: str = "edm") -> EdmAnswers:
    return attrs.evolve(WELL, events=(event(kind, subject), event(kind, "other", over=True)))


def test_all_is_well():
    judged = judge_edm(WELL)
    assert judged.keys() == COMPONENTS
    assert {judgement.state for judgement in judged.values()} == {OK}


def test_who_is_not_run_or_does_not_answer_is_left_out():
    assert judge_edm(EdmAnswers(account=Account())) == {}
    assert [name for name, _ in count_edm(EdmAnswers(account=Account()))] == sorted(
        ["frames.received", "frames.in-flight-now", *(f"frames.{fate.kind}.{fate.reason}" for fate in Fate)]
    )


@pytest.mark.parametrize(
    ("answers", "component", "state", "text"),
    [
        (lasting(EventKind.RESTART_LIMIT, "edm/input"), "main-boot", WARN, "1 actor crashed"),
        (lasting(EventKind.CERTIFICATE_EXPIRES, "mqtt-ca-file"), "cert-status", WARN, "mqtt-ca-file ends soon"),
        (change("input", trouble=CLIENT), "dnstap-input", FAIL, "listened"),
        (change("input", open=0), "dnstap-input", WARN, "no sender"),
        (lasting(EventKind.DNSTAP_HOOK), "dnstap-input", WARN, "asks for itself"),
        (
            change("minimiser", well_known=BAD),
            "minimiser",
            WARN,
            "well-known-domains-file cannot be used; what was read before is",
        ),
        (
            change("minimiser", ignored_names=NEVER),
            "minimiser",
            FAIL,
            "ignored-question-names-file cannot be used; none was read before",
        ),
        (
            change("minimiser", ignored_names=NEVER, interval_started_at=0),
            "minimiser",
            FAIL,
            "ignored-question-names-file cannot be used; frames wait for it",
        ),
        (change("minimiser", trouble=CLIENT), "minimiser", WARN, "see its log"),
        (lasting(EventKind.DISK_FULL, "sessions"), "parquet", FAIL, "does not take sessions"),
        (change("aggregates", enabled=False, trouble="x"), "aggregates", OK, "not sent"),
        (change("aggregates", trouble=CLIENT), "aggregates", WARN, "tried again"),
        (lasting(EventKind.HISTOGRAMS_UNSENT), "aggregates", FAIL, "waiting for long"),
        (change("novelty", trouble=CLIENT), "novelty", FAIL, "cannot be used"),
        (lasting(EventKind.STORE_ASIDE), "novelty", WARN, "began anew"),
        (change("newnames", trouble=CLIENT), "new-qname", WARN, "tried again"),
        (lasting(EventKind.EVENTS_DROPPED), "new-qname", FAIL, "dropped"),
        (change("mqtt", state="connecting"), "mqtt-event", WARN, "connecting"),
    ],
)
def test_a_component_that_is_not_well(answers: EdmAnswers, component: str, state: ComponentState, text: str):
    judged = judge_edm(answers)
    assert judged[component].state is state
    assert text in judged[component].text
    others = {name: each.state for name, each in judged.items() if name != component}
    assert set(others.values()) == {OK}
    assert CLIENT not in json.dumps([[each.text for each in judged.values()], count_edm(answers)])


def test_counters():
    counters = dict(count_edm(WELL))
    account = WELL.account
    assert counters["frames.received"] == account.received
    assert counters["frames.ignored.client"] == account.count(Fate.CLIENT)
    settled = sum(number for name, number in counters.items() if name.count(".") == 2 and name.startswith("frames."))
    assert counters["frames.received"] == settled + counters["frames.in-flight-now"]
    expected = {
        "input.failed.handshake": 5,
        "minimiser.histograms-written": 14,
        "novelty.new": 33,
        "new-qname.dropped": 43,
        "aggregates.waiting-now": 51,
        "aggregates.failed.500": 54,
        "mqtt.reconnects": 63,
    }
    assert {name: counters[name] for name in expected} == expected
    assert len(counters) < 100


@pytest.mark.parametrize(
    ("kind", "subject", "edm", "pop"),
    [
        (EventKind.DNSTAP_HOOK, "edm", True, False),
        (EventKind.SOURCE_HELD, "deny", False, True),
        (EventKind.CLOCK_STEP, "clock", True, True),
        (EventKind.RENEWAL_FAILED, "http-ca-file", True, False),
        (EventKind.CERTIFICATE_EXPIRES, "tapir.mqtt.clientcert", False, True),
        (EventKind.RESTART_LIMIT, "edm-uplink/mqtt", True, False),
        (EventKind.RESTART_LIMIT, "uplink/mqtt", False, True),
        (EventKind.RESTART_LIMIT, "control/console", True, True),
        (EventKind.RESTART_LIMIT, "control", True, True),
    ],
)
def test_each_function_tells_of_what_concerns_it(kind: EventKind, subject: str, edm: bool, pop: bool):
    assert (concerns_edm(event(kind, subject)), concerns_pop(event(kind, subject))) == (edm, pop)


def test_every_kind_concerns_somebody():
    for kind in EventKind:
        subjects = ["a", *EDM_CERTIFICATES]
        assert any(concerns_edm(event(kind, each)) or concerns_pop(event(kind, each)) for each in subjects)


async def test_the_status_of_an_edm_is_its_own(autojump_clock: Any):
    parts = EdmParts()
    parts.answers[GetEvents] = (EVENT, event(EventKind.SOURCE_HELD, "deny"))
    parts.answers[GetNovelty] = TapirError("not now")
    system = ActorSystem(clock=ManualClock())
    part = system.ref("parts")
    refs = EdmTelemetryRefs(
        ledger=ledger(),
        events=part,
        input=part,
        minimiser=part,
        novelty=part,
        aggregates=part,
        newnames=part,
        mqtt=part,
    )
    settings = TelemetrySettings(version="1", connected=False)
    tree = SupervisorSpec(
        name="test",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            ActorSpec(name="parts", factory=lambda: parts, mailbox=BOX),
            ActorSpec(name="telemetry", factory=lambda: Telemetry(settings, refs=refs), mailbox=BOX),
        ),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run, tree)
        system.ref("telemetry").tell_nowait(EventsChanged())
        status: FunctionStatus = await system.ref("telemetry").ask(GetFunctionStatus())
        system.request_stop()
    assert (status.function, status.id) == ("tapir-edm", "tapir-edm")
    assert [name for name, _ in status.components] == sorted(COMPONENTS - {"mqtt-event", "novelty"})
    assert status.events == (EVENT,)
    assert dict(status.counters)["frames.in-flight-now"] == 9
    assert not any(isinstance(each, GetMqtt) for each in parts.heard)
