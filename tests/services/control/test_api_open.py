import re
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
from api_pop import FACTS, KEY, ZONE, Parts, RefusedError, api_pop, source
from prometheus_client.parser import text_string_to_metric_families

from actors import ActorSystem, Context, Reply
from tapir.model.actions import ListKind
from tapir.model.messages.control import ApiListener, ApiStatus, GetHealth, HealthStatus
from tapir.model.messages.events import ClockStatus, EventKind, ExceptionalEvent
from tapir.model.messages.feeds import FeedStatus, PrimaryStatus
from tapir.model.messages.lists import GetSources, Refusal, SourcesStatus
from tapir.model.messages.mqtt import MqttStatus, TopicStatus
from tapir.model.messages.observations import ObservationsStatus
from tapir.model.messages.policy import PolicyStatus
from tapir.model.messages.zone import SecondaryStatus, ServerStatus, ZoneStatus
from tapir.services.control.api_desk import ApiKey, Desk
from tapir.services.control.documents import bumped_serial, lookup_text, well_or_not
from tapir.services.control.metrics import MetricFacts, families
from tapir.services.control.metrics_table import METRICS
from tapir.services.control.routes import api_application
from tapir.services.control.status import ControlRefs
from tapir.transport.http.guard import HttpPeer
from tapir.zone.serial import is_newer

PAGE = Path(__file__).parents[3] / "docs/metrics.md"


async def test_healthz_needs_no_key_and_asks_nobody():
    async with api_pop() as pop, pop.client() as client:
        before = len(pop.parts.heard)
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.text) == (200, "ok\n")
        assert len(pop.parts.heard) == before
        assert (await client.head("/healthz")).status_code == 200
        assert (await client.post("/healthz")).status_code == 405
        assert (await client.get("/other")).status_code == 404


@pytest.mark.parametrize(
    ("state", "reasons"),
    [
        ("fresh", []),
        ("stale", ["the required source d is stale: its last good content is used"]),
        ("held", ["the required source d is held: its last good content is used"]),
        ("waiting", ["the required source d is waiting: nothing of it is there yet"]),
    ],
)
async def test_readyz_says_which_required_source_is_not_fresh(state: str, reasons: list[str]):
    parts = Parts()
    parts.sources = (
        source("d", "denied", ListKind.DENY, required=True, state=state, error="192.0.2.1 refuses"),
        source("o", "other", ListKind.DENY, state="stale"),
        source("i", "idle", ListKind.DENY, required=True, active=False, state="inactive"),
    )
    async with api_pop(parts=parts) as pop, pop.client() as client:
        answer = await client.get("/readyz")
        assert answer.status_code == (503 if reasons else 200)
        assert answer.json() == {"ready": not reasons, "reasons": reasons}


async def test_readyz_has_patience_with_health_that_waits_for_busy_parts_itself():
    class Busy(Parts):
        async def receive(self, ctx: Context[Any], message: Any) -> None:
            if isinstance(message, GetHealth):
                ctx.start_soon(self._later, ctx.defer_reply())
                return
            await super().receive(ctx, message)

        async def _later(self, reply: Reply) -> None:
            await trio.sleep(1.5)  # more than anybody has who asks nobody else
            reply.send(HealthStatus(ready=True, reasons=(), warnings=()))

    async with api_pop(parts=Busy()) as pop, pop.client() as client:
        assert (await client.get("/readyz")).json() == {"ready": True, "reasons": []}


async def test_readyz_without_a_zone_and_without_an_answer():
    parts = Parts()
    parts.answers[GetHealth] = HealthStatus(ready=False, reasons=("the zone x has no first version yet",), warnings=())
    async with api_pop(parts=parts) as pop, pop.client() as client:
        assert (await client.get("/readyz")).json()["reasons"] == ["the zone x has no first version yet"]
        parts.answers[GetHealth] = RefusedError("not now")
        parts.answers[GetSources] = RefusedError("not now")
        assert (await client.get("/readyz")).json()["reasons"] == ["the health actor does not answer"]


async def test_metrics_are_read_by_prometheus():
    async with api_pop() as pop, pop.client() as client:
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        found = {family.name: family for family in text_string_to_metric_families(answer.text)}
        assert found["tapir_zone_serial"].samples[0].value == 7
        assert found["tapir_server_events"].samples[0].labels == {"event": "queries"}
        assert "process_resident_memory_bytes" in found
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = await client.get("/metrics", headers=accept)
        assert answer.text.endswith("# EOF\n")


async def test_metrics_leave_out_who_does_not_answer():
    parts = Parts()
    parts.answers[GetSources] = RefusedError("not now")
    async with api_pop(parts=parts) as pop, pop.client() as client:
        text = (await client.get("/metrics")).text
        assert "tapir_source_names" not in text
        assert "tapir_zone_serial 7.0" in text


@pytest.mark.parametrize(
    ("local", "headers", "status"),
    [
        (True, {}, 200),
        (False, {}, 401),
        (False, {"Authorization": "Bearer wrong"}, 401),
        (False, {"Authorization": f"Bearer {KEY}"}, 200),
        (False, {"X-API-Key": KEY}, 200),
    ],
)
async def test_metrics_need_the_key_from_other_hosts(local: bool, headers: dict[str, str], status: int):
    async with api_pop() as pop:
        other = pop.system.ref("other")
        refs = ControlRefs(
            keeper=other, server=None, notifier=None, lists=other, policy=other, health=other, overrides=other
        )

        async def run(fn: Any, *args: object) -> Any:
            return fn(*args)

        desk = Desk(
            system=pop.system,
            refs=refs,
            facts=FACTS,
            key=lambda: ApiKey(KEY),
            run_blocking=run,
            now=lambda: 0,
            stop=lambda: None,
        )
        app = api_application(desk)

        async def from_there(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = {"peer": HttpPeer(local=local, secured=False, certificate="")}
            await app(scope, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(from_there), base_url="http://pop") as client:
            assert (await client.get("/metrics", headers=headers)).status_code == status
            assert (await client.get("/healthz")).status_code == 200


def everything(system: ActorSystem) -> MetricFacts:
    """Facts with which every metric has something to say."""
    runtime = system.statistics()
    return MetricFacts(
        process=FACTS,
        runtime=runtime,
        health=HealthStatus(ready=True, reasons=(), warnings=()),
        zone=ZONE,
        policy=PolicyStatus(names=1, lists=1, records=1, decided_at=None),
        sources=SourcesStatus(
            sources=(
                source("d", "l", ListKind.DENY, refusals=(Refusal(reason="no name", count=2, lines=()),)),
                source("off", "l", ListKind.DENY, active=False),
            ),
            publishing=True,
            waiting_for=(),
        ),
        server=ServerStatus(listening=(), counters=(("queries", 1),), refusals=(("acl", 1),), connections=1),
        secondaries=(secondary("192.0.2.53:53", configured=True), secondary("198.51.100.7", configured=False)),
        feeds=(
            FeedStatus(
                source="f",
                zone="feed.",
                serial=1,
                state="current",
                checked_at=1,
                next_check_at=1,
                expires_at=1,
                primaries=(
                    PrimaryStatus(address="192.0.2.1:53", secured="tsig", failures=0, error="", answered_at=None),
                ),
                counters=(("axfr", 1),),
            ),
        ),
        observations=(
            ObservationsStatus(
                source="t",
                name="dns-tapir",
                kind=ListKind.DOUBT,
                topics=("x",),
                entries=1,
                remembered=0,
                octets=0,
                next_expiry=None,
                held=False,
                bootstrap="no",
                latest_at=1,
                waiting=0,
                keys=1,
                trouble="",
                counters=(("applied", 1),),
            ),
        ),
        mqtt=MqttStatus(
            broker="b",
            client_id="c",
            state="connected",
            version="5",
            since=1,
            trouble="",
            retry_at=None,
            connections=1,
            topics=(
                TopicStatus(
                    filter="x",
                    consumer="sources/t",
                    qos=1,
                    granted=True,
                    refused="",
                    messages=1,
                    octets=1,
                    latest_at=1,
                ),
            ),
            published=1,
            unacknowledged=0,
            counters=(("dropped", 1),),
        ),
        events=(ExceptionalEvent(id="1", kind=EventKind.CLOCK_STEP, subject="s", text="t", at=1),),
        clock=ClockStatus(held=True, stepped_by=0, stepped_at=None, released_at=None),
        api=ApiStatus(
            listeners=(ApiListener(address="a", surface="api", tls=False, listening=False, error="e"),),
            certificate_error="",
            connections=1,
            counters=(("requests", 1),),
        ),
    )


def secondary(address: str, *, configured: bool) -> SecondaryStatus:
    return SecondaryStatus(
        address=address,
        configured=configured,
        last_serial=7,
        last_query="SOA",
        last_query_at=1,
        ahead=False,
        notify_serial=7,
        notify_state="acknowledged",
        notify_at=1,
    )


async def test_every_metric_of_the_table_is_made_and_no_client_is_in_it():
    async with api_pop() as pop:
        made = list(families(everything(pop.system)))
    names = {family.name + ("_total" if family.type == "counter" else "") for family in made}
    assert names == METRICS.keys()
    labels = {value for family in made for sample in family.samples for value in sample.labels.values()}
    assert "192.0.2.53:53" in labels
    assert "198.51.100.7" not in labels
    assert "off" not in labels


async def test_what_is_said_twice_is_on_the_page_once():
    async with api_pop() as pop:
        facts = everything(pop.system)
    (feed,) = facts.feeds
    twice = attrs.evolve(facts, feeds=(feed, attrs.evolve(feed, serial=2)))
    (family,) = (each for each in families(twice) if each.name == "tapir_feed_serial")
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"source": "f"}, 2)]


def test_the_page_has_the_table():
    rows = re.findall(r"^\| `(tapir_(?!edm_)\w+)` \| ?(.*?) ?\| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    there = {name: (tuple(re.findall(r"`(\w+)`", labels)), text) for name, labels, text in rows}
    assert there == {name: (metric.labels, metric.text) for name, metric in METRICS.items()}


def test_names_have_units_and_help_texts_end():
    for name, metric in METRICS.items():
        assert metric.text.endswith(".")
        assert re.fullmatch(r"tapir_[a-z0-9_]+", name)
        if "timestamp" in name or "lag" in name or "_time_" in name:
            assert name.endswith("_seconds")


async def test_a_metric_outside_the_table_is_a_bug(monkeypatch: pytest.MonkeyPatch):
    async with api_pop() as pop:
        monkeypatch.delitem(METRICS, "tapir_ready")
        with pytest.raises(AssertionError, match="tapir_ready"):
            list(families(attrs.evolve(everything(pop.system))))


@pytest.mark.parametrize(
    ("health", "zone", "text"),
    [
        (None, ZONE, "some parts do not answer"),
        (HealthStatus(ready=True, reasons=(), warnings=("w",)), ZONE, "ready: dnstapir. is served with serial 7"),
    ],
)
def test_how_the_service_does_in_a_sentence(health: HealthStatus | None, zone: ZoneStatus | None, text: str):
    assert well_or_not(health, zone).startswith(text)


@pytest.mark.parametrize(
    ("present", "now", "serial"),
    [(7, 1_800_000_000, 1_800_000_000), (1_900_000_000, 1_800_000_000, 1_900_000_001), (2**32 - 1, 0, 1)],
)
def test_a_bump_never_goes_back(present: int, now: int, serial: int):
    bumped = bumped_serial(present, now * 1_000_000)
    assert is_newer(bumped, than=present)
    assert bumped in (serial, 0)


def test_a_lookup_tells_lists_and_rules_line_by_line():
    explanation = {
        "name": "a.example.",
        "action": "NXDOMAIN",
        "why": "",
        "hits": [
            {"match": "wildcard", "entry": "*.example.", "tags": ["badip"], "kind": "doubtlist", "list_name": "l"},
            {"match": "exact", "entry": "a.example.", "tags": [], "kind": "doubtlist", "list_name": "m"},
        ],
        "rules": [
            {"rule": "numsources", "fired": True, "detail": "2 of 2", "action": "NXDOMAIN"},
            {"rule": "numtapirtags", "fired": False, "detail": "1 of 3", "action": "NXDOMAIN"},
        ],
        "record": None,
    }
    assert lookup_text(explanation).splitlines() == [
        "a.example.: NXDOMAIN",
        "  on doubtlist l, by *.example., tags badip",
        "  on doubtlist m",
        "  rule numsources fires: 2 of 2: NXDOMAIN",
    ]
