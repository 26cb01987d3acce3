import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
from edm_parts import CLIENT, MINIMISER, EdmParts, ledger
from prometheus_client.parser import text_string_to_metric_families

from actors import (
    ActorRef,
    ActorSpec,
    ActorSystem,
    AskError,
    AskFailed,
    AskRejected,
    MailboxSpec,
    Overflow,
    Strategy,
    SupervisorSpec,
)
from tapir.codec.exposition import make_families
from tapir.model.errors import TapirError
from tapir.model.messages.edm import (
    GetEdmMetrics,
    GetInput,
    GetMinimiser,
    GetNovelty,
    MetricsStatus,
    Rotated,
    RotateNow,
)
from tapir.model.messages.newnames import GetNewNames
from tapir.services.ingest.metrics import MAILBOX, EdmMetrics, MetricsRefs, MetricsSettings, OpenAgain
from tapir.services.ingest.metrics_routes import MetricsDesk, _rotate, metrics_application
from tapir.services.ingest.metrics_table import EDM_METRICS
from tapir.transport.http.guard import HttpPeer
from tapir.transport.http.server import listen

PAGE = Path(__file__).parents[3] / "docs/metrics.md"
UPSTREAM = {
    "edm_processed_dnstap_total",
    "edm_ignored_dns_parse_error_total",
    "edm_ignored_empty_question_section_total",
    "edm_ignored_invalid_question_name_total",
    "edm_ignored_client_ip_total",
    "edm_ignored_client_ip_error_total",
    "edm_ignored_question_name_total",
    "edm_cryptopan_lru_hit_total",
    "edm_cryptopan_lru_evicted_total",
    "edm_seen_qname_lru_evicted_total",
    "edm_new_qname_queued_total",
    "edm_new_qname_discarded_total",
    "edm_new_qname_ch_len",
    "promhttp_metric_handler_requests_total",
    "promhttp_metric_handler_requests_in_flight",
    "promhttp_metric_handler_errors_total",
}
"""edm.md §11.1"""

BOX = MailboxSpec(capacity=64, overflow=Overflow.WAIT)
SETTINGS = MetricsSettings(address=("127.0.0.1", 0), version="1.2.3", commit="c", started_at=70_000_000, patience=30)


@attrs.define
class Rig:
    parts: EdmParts
    metrics: ActorRef[Any]
    system: ActorSystem

    async def status(self) -> MetricsStatus:
        status: MetricsStatus = await self.metrics.ask(GetEdmMetrics())
        return status

    async def client(self) -> httpx.AsyncClient:
        status = await self.status()
        return httpx.AsyncClient(base_url=f"http://{status.address}", trust_env=False)

    async def samples(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """What the page says, by name and labels."""
        async with await self.client() as client:
            answer = await client.get("/metrics")
        assert answer.status_code == 200
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }


@asynccontextmanager
async def running(settings: MetricsSettings = SETTINGS, *, alone: bool = False) -> AsyncIterator[Rig]:
    parts = EdmParts()
    system = ActorSystem()
    part, metrics = system.ref("edm/parts"), system.ref("edm/metrics")
    others = {} if alone else {"newnames": part, "aggregates": part, "mqtt": part}
    refs = MetricsRefs(
        ledger=ledger(),
        statistics=system.statistics,
        minimiser=part,
        input=part,
        novelty=part,
        events=part,
        **others,
    )
    tree = SupervisorSpec(
        name="root",
        strategy=Strategy.ONE_FOR_ONE,
        children=(
            SupervisorSpec(
                name="edm",
                strategy=Strategy.ONE_FOR_ONE,
                children=(
                    ActorSpec(name="parts", factory=lambda: parts, mailbox=BOX),
                    ActorSpec(name="metrics", factory=lambda: EdmMetrics(settings, refs=refs), mailbox=MAILBOX),
                ),
            ),
        ),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run, tree)
        yield Rig(parts, metrics, system)
        system.request_stop()


async def test_the_page_has_every_metric_of_the_table_and_prometheus_reads_it():
    async with running() as rig, await rig.client() as client:
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        found = {family.name: family for family in text_string_to_metric_families(answer.text)}
        table = {name.removesuffix("_total") for name in EDM_METRICS}
        assert table <= found.keys()
        assert all(name.startswith("process_") for name in found.keys() - table)
        for name in EDM_METRICS:
            assert found[name.removesuffix("_total")].type == ("counter" if name.endswith("_total") else "gauge")
        assert "# TYPE edm_processed_dnstap_total counter" in answer.text
        assert CLIENT not in answer.text
        assert "new.example" not in answer.text
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        assert (await client.get("/metrics", headers=accept)).text.endswith("# EOF\n")


async def test_the_figures_are_those_of_the_parts():
    async with running() as rig:
        samples = await rig.samples()
    account = ledger().account()
    assert {name for name, _ in samples} >= UPSTREAM
    assert samples["edm_processed_dnstap_total", ()] == account.processed
    assert samples["edm_ignored_client_ip_total", ()] == account.upstream()["edm_ignored_client_ip_total"]
    expected = {
        "edm_cryptopan_lru_hit_total": 22,
        "edm_cryptopan_lru_evicted_total": 24,
        "edm_seen_qname_lru_evicted_total": 36,
        "edm_new_qname_queued_total": 33,
        "edm_new_qname_discarded_total": 43,
        "edm_new_qname_ch_len": 42,
        "promhttp_metric_handler_requests_in_flight": 1,
        "tapir_edm_frames_in_flight": 9,
        "tapir_edm_input_connections": 2,
        "tapir_edm_outbox_files": 51,
        "tapir_edm_outbox_oldest_timestamp_seconds": 64,
        "tapir_edm_events_oldest_timestamp_seconds": 63,
        "tapir_edm_exceptional_events": 1,
        "tapir_edm_start_time_seconds": 70,
    }
    assert {name: samples[name, ()] for name in expected} == expected
    assert samples["promhttp_metric_handler_requests_total", ("200",)] == 0
    assert samples["tapir_edm_input_failed_total", ("handshake",)] == 5
    assert samples["tapir_edm_files_written_total", ("sessions",)] == 15
    assert samples["tapir_edm_list_unusable", ("ignored-client-ips-file",)] == 1
    assert samples["tapir_edm_list_unusable", ("well-known-domains-file",)] == 0
    assert ("tapir_edm_list_entries", ("ignored-question-names-file",)) not in samples
    assert samples["tapir_edm_actor_running", ("edm/metrics",)] == 1


async def test_what_was_received_is_what_became_of_it_and_what_is_in_flight():
    async with running() as rig:
        samples = await rig.samples()
    settled = sum(value for (name, _), value in samples.items() if name == "tapir_edm_frames_total")
    assert samples["tapir_edm_frames_received_total", ()] == settled + samples["tapir_edm_frames_in_flight", ()]


async def test_a_part_that_does_not_answer_is_as_it_was_and_that_is_told():
    async with running(attrs.evolve(SETTINGS, patience=0.5)) as rig:
        await rig.samples()
        rig.parts.answers[GetMinimiser] = None
        rig.parts.answers[GetNovelty] = TapirError("not now")
        samples = await rig.samples()
        assert samples["edm_cryptopan_lru_hit_total", ()] == 22
        assert samples["tapir_edm_novelty_asked_total", ()] == 32
        assert samples["tapir_edm_part_answers", ("minimiser",)] == 0
        assert samples["tapir_edm_part_answers", ("novelty",)] == 0
        assert samples["tapir_edm_part_answers", ("input",)] == 1
        assert samples["promhttp_metric_handler_requests_total", ("200",)] == 1


async def test_who_never_answered_is_left_out_and_the_account_is_there_all_the_same():
    async with running() as rig:
        for question in (GetMinimiser, GetInput, GetNovelty):
            rig.parts.answers[question] = TapirError("not now")
        rig.parts.answers[GetNewNames] = TapirError("not now")
        samples = await rig.samples()
        assert samples["tapir_edm_frames_in_flight", ()] == 9
        assert ("tapir_edm_pseudonyms", ()) not in samples
        assert ("edm_new_qname_queued_total", ()) not in samples
        assert ("edm_new_qname_ch_len", ()) not in samples


async def test_an_interval_that_has_not_begun_has_no_time():
    async with running() as rig:
        assert (await rig.samples())["tapir_edm_interval_start_timestamp_seconds", ()] == 60
        rig.parts.answers[GetMinimiser] = attrs.evolve(MINIMISER, interval_started_at=0)
        assert ("tapir_edm_interval_start_timestamp_seconds", ()) not in await rig.samples()


async def test_without_mqtt_no_event_is_queued_whatever_is_new():
    async with running(alone=True) as rig:
        samples = await rig.samples()
    assert samples["edm_new_qname_queued_total", ()] == 0
    assert samples["edm_new_qname_ch_len", ()] == 0
    assert samples["tapir_edm_novelty_new_total", ()] == 33
    assert ("tapir_edm_mqtt_connected", ()) not in samples


async def test_rotation_is_not_there_unless_it_is_allowed():
    async with running() as rig, await rig.client() as client:
        assert (await client.post("/debug/rotate-parquet")).status_code == 404
        assert not any(isinstance(each, RotateNow) for each in rig.parts.heard)


ROTATED = Rotated(start=1, stop=2, histogram="/x/dns_histogram.parquet")
ALLOWED = attrs.evolve(SETTINGS, rotation=True)


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (ROTATED, 202, "rotation requested\n"),
        (Rotated(start=1, stop=2), 202, "rotation requested\n"),
        (attrs.evolve(ROTATED, trouble="the disk is full"), 500, "the disk is full\n"),
        (TapirError("it is broken"), 500, "it is broken\n"),
    ],
)
async def test_rotation_answers_as_the_existing_edm(answer: Any, status: int, text: str):
    async with running(ALLOWED) as rig, await rig.client() as client:
        rig.parts.answers[RotateNow] = answer
        found = await client.post("/debug/rotate-parquet")
        assert (found.status_code, found.text) == (status, text)


async def test_only_a_post_of_a_program_rotates():
    async with running(ALLOWED) as rig, await rig.client() as client:
        rig.parts.answers[RotateNow] = ROTATED
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            found = await client.request(method, "/debug/rotate-parquet")
            assert (found.status_code, found.headers["allow"]) == (405, "POST")
        found = await client.post("/debug/rotate-parquet", headers={"Origin": "https://elsewhere.example"})
        assert found.status_code == 403
        assert not any(isinstance(each, RotateNow) for each in rig.parts.heard)


async def test_rotation_is_asked_for_on_this_host_only():
    async def page(accept: str) -> tuple[bytes, str]:
        return b"", "text/plain"

    app = metrics_application(MetricsDesk(page=page, minimiser=ActorSystem().ref("edm/minimiser"), rotation=True))

    async def from_elsewhere(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"peer": HttpPeer(local=False, secured=False, certificate="")}
        await app(scope, receive, send)

    transport = httpx.ASGITransport(app=from_elsewhere)
    async with httpx.AsyncClient(transport=transport, base_url="http://edm.example") as client:
        assert (await client.post("/debug/rotate-parquet")).status_code == 403
        assert (await client.get("/metrics")).status_code == 200


async def test_a_rotation_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tapir.services.ingest.metrics_routes.ROTATION_PATIENCE", 0.05)
    async with running(ALLOWED) as rig, await rig.client() as client:
        assert (await client.post("/debug/rotate-parquet")).status_code == 504


class Failing:
    """A minimiser that fails every question so."""

    def __init__(self, error: AskError) -> None:
        self.error = error

    async def ask(self, message: Any, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as a ref has it
        raise self.error


def crashed() -> AskError:
    error = AskFailed(path="edm/minimiser", message="RotateNow", reason="it crashed")
    error.__cause__ = ValueError(CLIENT)
    return error


@pytest.mark.parametrize(
    "minimiser",
    [
        ActorSystem().ref("edm/minimiser"),
        Failing(AskRejected(path="edm/minimiser", message="RotateNow", reason="full")),
        Failing(crashed()),
    ],
)
async def test_a_rotation_that_nobody_can_do_is_for_later(minimiser: Any):
    answer = await _rotate(minimiser)
    assert answer.status_code == 503
    assert CLIENT not in bytes(answer.body).decode()


async def test_an_address_that_is_taken_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture):
    taken = listen("127.0.0.1", 0)
    caplog.set_level(logging.INFO)
    async with running(attrs.evolve(SETTINGS, address=taken.socket.getsockname()[:2])) as rig:
        status = await rig.status()
        assert (status.listening, status.trouble) == (False, "Address already in use")
        await taken.aclose()
        await rig.metrics.tell(OpenAgain())
        await rig.metrics.tell(OpenAgain())  # the timer's comes later, and finds it done
        assert (await rig.samples())["tapir_edm_frames_in_flight", ()] == 9
        assert (await rig.status()).trouble == ""
    said = [record.getMessage() for record in caplog.records if "metrics:" in record.getMessage()]
    assert [text.split(" on ")[0] for text in said] == [
        "metrics: cannot listen",
        f"metrics: {status.address} is listened",
    ]


async def test_where_no_address_is_configured_nothing_is_listened_on():
    async with running(attrs.evolve(SETTINGS, address=None)) as rig:
        assert await rig.status() == MetricsStatus(address="", listening=False, pages=0)


async def test_a_page_that_cannot_be_made_is_counted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    async with running() as rig:
        rig.parts.answers[GetMinimiser] = "nonsense"
        async with await rig.client() as client:
            assert (await client.get("/metrics")).status_code == 500
        rig.parts.answers[GetMinimiser] = MINIMISER
        samples = await rig.samples()
        assert samples["promhttp_metric_handler_errors_total", ("gathering",)] == 1
        assert samples["promhttp_metric_handler_requests_total", ("500",)] == 1


def test_the_documentation_has_the_table():
    rows = re.findall(r"^\| `((?:tapir_edm|edm|promhttp)_\w+)` \| ?(.*?) ?\| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    there = {name: (tuple(re.findall(r"`(\w+)`", labels)), text) for name, labels, text in rows}
    assert there == {name: (metric.labels, metric.text) for name, metric in EDM_METRICS.items()}


def test_names_have_units_and_help_texts_end():
    for name, metric in EDM_METRICS.items():
        assert metric.text.endswith(".")
        assert re.fullmatch(r"[a-z0-9_]+", name)
        if "timestamp" in name or "lag" in name or "_time" in name:
            assert name.endswith("_seconds")


def test_a_metric_outside_the_table_is_a_bug():
    with pytest.raises(AssertionError, match="tapir_edm_other"):
        list(make_families(EDM_METRICS, [("tapir_edm_other", (), 1)]))
