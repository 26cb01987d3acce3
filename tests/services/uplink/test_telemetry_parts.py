import json
from typing import Any

import attrs
import pytest

from tapir.model.actions import ListKind
from tapir.model.messages.control import HealthStatus
from tapir.model.messages.events import EventKind, ExceptionalEvent
from tapir.model.messages.feeds import FeedStatus
from tapir.model.messages.lists import Refusal, SourcesStatus, SourceStatus
from tapir.model.messages.mqtt import MqttStatus, TopicStatus
from tapir.model.messages.observations import ObservationsStatus
from tapir.model.messages.telemetry import ComponentState
from tapir.model.messages.zone import SecondaryStatus, ServerStatus, ZoneStatus
from tapir.services.uplink.telemetry_parts import GLOBAL, Facts, count_all, judge_components

FAIL, WARN, OK = ComponentState.FAIL, ComponentState.WARN, ComponentState.OK
SECRET = "198.51.100.77 customer.example"
ZONE = ZoneStatus(
    zone="dnstapir.",
    serial=7,
    records=20,
    published_at=1,
    journal_from=1,
    journal_deltas=1,
    journal_octets=10,
    state="serving",
    held_change=None,
    store_error=SECRET,
)
SOURCE = SourceStatus(
    id="core",
    name="dns-tapir",
    kind=ListKind.DOUBT,
    origin="mqtt",
    active=True,
    required=False,
    state="fresh",
    names=5,
    pending_names=None,
    loaded_at=1,
    checked_at=1,
    refusals=(Refusal(reason="syntax", count=3, lines=(1,)),),
    error=SECRET,
)
SECONDARY = SecondaryStatus(
    address=SECRET,
    configured=True,
    last_serial=7,
    last_query="IXFR",
    last_query_at=1,
    ahead=False,
    notify_serial=7,
    notify_state="acknowledged",
    notify_at=1,
)
TOPIC = TopicStatus(filter="a/b", consumer="core", qos=1, granted=True, refused="", messages=4, octets=40, latest_at=1)
MQTT = MqttStatus(
    broker="mqtts://broker.example:8883",
    client_id="c",
    state="connected",
    version="5",
    since=1,
    trouble=SECRET,
    retry_at=None,
    connections=2,
    topics=(TOPIC, attrs.evolve(TOPIC, consumer=GLOBAL)),
    published=3,
    unacknowledged=0,
    counters=(("refused", 1),),
)
FEED = FeedStatus(
    source="feed",
    zone=SECRET,
    serial=1,
    state="current",
    checked_at=1,
    next_check_at=2,
    expires_at=3,
    primaries=(),
    counters=(("transfers", 2),),
)
OBSERVED = ObservationsStatus(
    source="core",
    name="dns-tapir",
    kind=ListKind.DOUBT,
    topics=("a/b",),
    entries=5,
    remembered=0,
    octets=1,
    next_expiry=None,
    held=False,
    bootstrap="no",
    latest_at=1,
    waiting=0,
    keys=1,
    trouble=SECRET,
    counters=(("stale", 2),),
)
EVENT = ExceptionalEvent(id="1", kind=EventKind.CERTIFICATE_EXPIRES, subject="tapir.mqtt.clientcert", text=SECRET, at=1)
WELL = Facts(
    health=HealthStatus(ready=True, reasons=(), warnings=()),
    sources=SourcesStatus(sources=(SOURCE,), publishing=True, waiting_for=()),
    zone=ZONE,
    server=ServerStatus(listening=("x",), counters=(("soa", 9),), refusals=(("acl", 2),), connections=0),
    secondaries=(SECONDARY, attrs.evolve(SECONDARY, configured=False, notify_state="")),
    mqtt=MQTT,
    feeds=(FEED,),
    observed=(OBSERVED,),
    events=(),
)


def test_all_is_well():
    judged = judge_components(WELL)
    assert {judgement.state for judgement in judged.values()} == {OK}
    assert set(judged) == {
        "main-boot",
        "cert-status",
        "rpz",
        "rpz-ixfr",
        "rpz-inbound",
        "tapir-observation",
        "downstream-notify",
        "downstream-ixfr",
        "mqtt-event",
        "mqtt-config",
    }


def test_what_does_not_answer_or_is_not_run_says_nothing():
    assert judge_components(Facts()) == {}
    assert count_all(Facts()) == ()
    file = attrs.evolve(SOURCE, origin="file /etc/x")
    few = Facts(
        sources=SourcesStatus(sources=(file,), publishing=True, waiting_for=()),
        zone=attrs.evolve(ZONE, serial=None, state="empty"),
        secondaries=(),
        mqtt=attrs.evolve(MQTT, topics=(TOPIC,)),
    )
    assert set(judge_components(few)) == {"rpz", "mqtt-event"}


def with_source(**changes: Any) -> dict[str, Any]:
    return {"sources": SourcesStatus(sources=(attrs.evolve(SOURCE, **changes),), publishing=True, waiting_for=())}


def with_topic(**changes: Any) -> dict[str, Any]:
    return {"mqtt": attrs.evolve(MQTT, topics=(TOPIC, attrs.evolve(TOPIC, consumer=GLOBAL, **changes)))}


@pytest.mark.parametrize(
    ("component", "changes", "state", "text"),
    [
        ("main-boot", {"health": HealthStatus(ready=False, reasons=(SECRET,), warnings=())}, WARN, "1 reason"),
        ("main-boot", {"health": HealthStatus(ready=True, reasons=(), warnings=(SECRET, ""))}, OK, "2 warnings"),
        ("cert-status", {"events": (EVENT,)}, WARN, "tapir.mqtt.clientcert ends soon"),
        ("cert-status", {"events": (attrs.evolve(EVENT, cleared_at=5),)}, OK, "good"),
        ("rpz", {"zone": attrs.evolve(ZONE, state="braked")}, WARN, "brake"),
        ("rpz", {"zone": attrs.evolve(ZONE, state="paused")}, WARN, "nothing is blocked"),
        ("rpz", {"zone": attrs.evolve(ZONE, state="unsaved")}, FAIL, "saved"),
        ("rpz", {"zone": attrs.evolve(ZONE, state="empty")}, FAIL, "no version"),
        ("rpz", {"zone": attrs.evolve(ZONE, state="of-later")}, WARN, "of-later"),
        ("rpz-ixfr", {"zone": attrs.evolve(ZONE, journal_from=None)}, OK, "empty"),
        ("rpz-inbound", {"feeds": (FEED, attrs.evolve(FEED, source="b", state="retrying"))}, WARN, "b is retrying"),
        ("rpz-inbound", {"feeds": (attrs.evolve(FEED, state="expired"), FEED)}, FAIL, "feed is expired"),
        (
            "rpz-inbound",
            {"feeds": tuple(attrs.evolve(FEED, source=f"f{n:02}", state="waiting") for n in range(13))},
            WARN,
            "f09 is waiting; 3 more",
        ),
        ("tapir-observation", with_source(state="stale"), WARN, "core is stale"),
        ("tapir-observation", with_source(state="waiting"), FAIL, "core is waiting"),
        ("tapir-observation", {"observed": (attrs.evolve(OBSERVED, held=True),)}, WARN, "clock is in doubt"),
        (
            "downstream-notify",
            {"secondaries": (SECONDARY, attrs.evolve(SECONDARY, notify_state="waiting: x"))},
            WARN,
            "1 of 2",
        ),
        ("downstream-notify", {"secondaries": (attrs.evolve(SECONDARY, notify_state="failed: x"),)}, FAIL, "1 of 1"),
        ("downstream-ixfr", {"secondaries": (attrs.evolve(SECONDARY, ahead=True),)}, FAIL, "ahead"),
        ("mqtt-event", {"mqtt": attrs.evolve(MQTT, state="waiting")}, FAIL, "waiting"),
        ("mqtt-event", {"mqtt": attrs.evolve(MQTT, state="connecting")}, WARN, "connecting"),
        ("mqtt-event", with_topic(granted=False), FAIL, "refuses 1 of 2 subscriptions"),
        ("mqtt-config", with_topic(granted=False), FAIL, "refuses"),
    ],
)
def test_what_is_not_well(component: str, changes: dict[str, Any], state: ComponentState, text: str):
    judgement = judge_components(attrs.evolve(WELL, **changes))[component]
    assert judgement.state is state
    assert text in judgement.text


def test_counters_are_sums_over_all():
    facts = attrs.evolve(WELL, feeds=(FEED, FEED), observed=(OBSERVED, OBSERVED))
    counters = dict(count_all(facts))
    assert counters == {
        "feeds.transfers": 4,
        "mqtt.connections": 2,
        "mqtt.messages": 8,
        "mqtt.octets": 80,
        "mqtt.published": 3,
        "mqtt.refused": 1,
        "observations.names-now": 10,
        "observations.stale": 4,
        "server.refused.acl": 2,
        "server.soa": 9,
        "sources.fresh-now": 1,
        "sources.lines-refused-now": 3,
        "sources.names-now": 5,
        "sources.now": 1,
        "zone.records-now": 20,
    }


def test_no_text_of_a_part_goes_out():
    """Their errors may name files, addresses, and names of lists."""
    told = attrs.evolve(WELL, events=(EVENT,), zone=attrs.evolve(ZONE, reason=SECRET))
    judged = {name: judgement.text for name, judgement in judge_components(told).items()}
    assert SECRET not in json.dumps([judged, count_all(told)])


def test_what_ails_edm_is_not_the_pops_to_tell() -> None:
    health = HealthStatus(ready=True, reasons=(), warnings=("EDM: no input", "EDM: slow"))
    assert judge_components(attrs.evolve(WELL, health=health))["main-boot"].text == "started"
