"""What EDM says of itself to a scraper and to Core, as a real process says it."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

from dnstap_frames import dns_message, envelope, frame
from edm import CLIENT, SERVER, Edm, answer_frame, send
from edm_core import KID, Core
from peers import Pop, free_port, wait_until
from prometheus_client.parser import text_string_to_metric_families

from tapir.codec.dawg import encode_dawg
from tapir.codec.dnstap import MessageType
from tapir.codec.functionstatus import parse_function_status
from tapir.codec.jose import parse_keystore, verify_jws
from tapir.minimiser.hook import ENOUGH
from tapir.model.messages.events import EventKind, ExceptionalEvent
from tapir.model.messages.telemetry import ComponentState, FunctionStatus
from tapir.services.ingest.metrics_table import EDM_METRICS

IGNORED = bytes((203, 0, 113, 9))
STATUS = f"status/up/{KID}/edm"
SOMETIMES = {
    "tapir_edm_aggregates_failed_total",
    "tapir_edm_aggregates_sent_timestamp_seconds",
    "tapir_edm_events_oldest_timestamp_seconds",
    "tapir_edm_outbox_oldest_timestamp_seconds",
    "tapir_edm_input_failed_total",
}
"""of what need not have come about"""

Figures = dict[tuple[str, tuple[str, ...]], float]


def figures_of(page: str) -> Figures:
    """What a page says, by name and labels; read as Prometheus does."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def scrape(edm: Edm) -> Figures:
    """The figures of all parts; one that is late, as on a busy machine it may be, has none, and is asked again."""

    def whole() -> Figures | None:
        status, page = edm.fetch("/metrics")
        assert status == 200
        figures = figures_of(page.decode())
        return figures if all(figures[key] for key in figures if key[0] == "tapir_edm_part_answers") else None

    found: Figures = wait_until(whole, what="every part to answer")
    return found


def test_every_metric_is_there_and_its_figures_are_of_what_was_sent(edm: Edm, core: Core, tmp_path: Path) -> None:
    (tmp_path / "clients").write_text("203.0.113.0/24\n")
    (tmp_path / "names.dawg").write_bytes(encode_dawg(["ignored.example."]))
    core.serve(edm)
    edm.keys |= {
        "ignored-client-ips-file": str(tmp_path / "clients"),
        "ignored-question-names-file": str(tmp_path / "names.dawg"),
        "enable-manual-parquet-rotation": True,
    }
    edm.start()
    answered = {"query_address": CLIENT, "response_address": SERVER}
    sent = send(
        edm.socket,
        [
            *[answer_frame("known.example.")] * 5,
            *[answer_frame(f"new{number}.example.") for number in range(3)],
            *[answer_frame("new0.example.")] * 4,
            *[answer_frame("any.example.", message_type=MessageType.CLIENT_RESPONSE - 1)] * 2,
            b"\xff\xff\xff",
            envelope(None),
            frame(**answered, response_message=b"no message"),
            frame(**answered, response_message=dns_message([])),
            *[answer_frame("known.example.", client=IGNORED)] * 2,
            answer_frame("known.example.", client=b"\1\2\3"),
            answer_frame("Ignored.example."),
        ],
    )
    account = edm.settled(sent)
    wait_until(lambda: scrape(edm)["tapir_edm_events_sent_total", ()] == 3, what="the events to be sent")
    assert edm.fetch("/debug/rotate-parquet", method="POST") == (202, b"rotation requested\n")
    wait_until(lambda: scrape(edm)["tapir_edm_aggregates_sent_total", ()] == 1, what="the histogram to be sent")

    figures = scrape(edm)
    there = {name for name, _ in figures}
    assert there >= EDM_METRICS.keys() - SOMETIMES - {"tapir_edm_mqtt_events_total"}
    assert "process_resident_memory_bytes" in there
    expected = {
        "edm_processed_dnstap_total": sent,
        "edm_ignored_dns_parse_error_total": 2,
        "edm_ignored_empty_question_section_total": 1,
        "edm_ignored_invalid_question_name_total": 0,
        "edm_ignored_client_ip_total": 2,
        "edm_ignored_client_ip_error_total": 1,
        "edm_ignored_question_name_total": 1,
        "edm_cryptopan_lru_evicted_total": 0,
        "edm_seen_qname_lru_evicted_total": 0,
        "edm_new_qname_queued_total": 3,
        "edm_new_qname_discarded_total": 0,
        "edm_new_qname_ch_len": 0,
        "tapir_edm_frames_received_total": sent,
        "tapir_edm_frames_in_flight": 0,
        "tapir_edm_input_connections": 0,
        "tapir_edm_input_accepted_total": 1,
        "tapir_edm_mqtt_connected": 1,
        "tapir_edm_outbox_files": 0,
        "tapir_edm_rows_lost_total": 0,
    }
    assert {name: figures[name, ()] for name in expected} == expected
    for key, count in account.settled.items():
        kind, _, reason = key.partition(".")
        assert figures["tapir_edm_frames_total", (kind, reason)] == count
    assert figures["tapir_edm_frames_total", ("malformed", "protobuf")] == 1
    assert figures["tapir_edm_frames_total", ("ignored", "query")] == 2
    assert figures["tapir_edm_files_written_total", ("histograms",)] == 1
    assert figures["tapir_edm_list_entries", ("ignored-client-ips-file",)] == 1
    # Seven sessions, all with the same two addresses.
    assert figures["edm_cryptopan_lru_hit_total", ()] == 12
    assert all(value == 1 for (name, _), value in figures.items() if name == "tapir_edm_part_answers")
    page = edm.fetch("/metrics")[1].decode()
    assert not any(text in page for text in ("198.51.100", "203.0.113", "new0", "known.example"))


def test_rotation_is_asked_for_by_post_where_it_is_allowed(make_edm: Callable[..., Edm]) -> None:
    edm = make_edm(keys={"enable-manual-parquet-rotation": True})
    edm.start()
    edm.wait_young_minute()
    send(edm.socket, [answer_frame("known.example.")])
    edm.settled(1)
    assert edm.histograms() == []
    assert edm.fetch("/debug/rotate-parquet")[0] == 405
    assert edm.histograms() == []
    assert edm.fetch("/debug/rotate-parquet", method="POST")[0] == 202
    assert len(edm.histograms()) == 1
    other = make_edm()
    other.start()
    assert other.fetch("/debug/rotate-parquet", method="POST")[0] == 404


def test_an_address_that_somebody_else_has_stops_nothing(make_edm: Callable[..., Edm]) -> None:
    first = make_edm()
    first.start()
    second = make_edm(metrics_port=first.metrics_port)
    second.start()
    assert second.part("metrics")["listening"] is False
    send(second.socket, [answer_frame("known.example.")])
    assert second.settled(1).received == 1
    assert scrape(first)["tapir_edm_frames_received_total", ()] == 0
    first.stop()
    wait_until(lambda: second.part("metrics")["listening"], what="the address to be had", seconds=90)
    assert scrape(second)["tapir_edm_frames_received_total", ()] == 1
    assert second.daemon is not None
    assert second.daemon.output().count("cannot listen on") == 1


def test_the_status_is_signed_and_brings_events(edm: Edm, core: Core) -> None:
    core.serve(edm)
    edm.own |= {"telemetry-topic": "status/up/{EdgeId}/edm", "telemetry-interval": 1}
    edm.start()
    keystore = parse_keystore(json.dumps({**core.key.public_key().jwk.to_json(), "kid": KID}).encode())

    def statuses() -> list[FunctionStatus]:
        found = [verify_jws(payload, keystore, allowed=[KID]) for topic, payload in core.messages if topic == STATUS]
        return [parse_function_status(verified.payload) for verified in found]

    def event_of(*, over: bool) -> ExceptionalEvent | None:
        events = [event for status in statuses() for event in status.events if event.kind is EventKind.DNSTAP_HOOK]
        return next((event for event in events if (event.cleared_at is not None) == over), None)

    first = wait_until(statuses, what="the status")[0]
    assert (first.function, first.id) == ("tapir-edm", KID)
    assert {event.kind for event in first.events} <= {EventKind.CERTIFICATE_EXPIRES}  # in two days they do
    assert dict(first.components)["main-boot"].state is ComponentState.OK

    # The resolver sends what it asks for itself; some blocks of many are looked at.
    wrong = answer_frame("known.example.", message_type=MessageType.RESOLVER_RESPONSE)
    sent = 0
    while not edm.part("minimiser")["trouble"]:
        sent += send(edm.socket, [wrong] * ENOUGH)
        edm.settled(sent)
        assert sent < 100 * ENOUGH
    event = wait_until(lambda: event_of(over=False), what="the event")
    assert "CLIENT_RESPONSE" in event.text
    shown = json.loads(edm.command("events", "--json").stdout)
    assert [each["id"] for each in shown if each["kind"] == "dnstap-hook"] == [event.id]
    assert edm.daemon is not None
    assert edm.daemon.output().count(f"event {event.id} dnstap-hook") == 1
    component = wait_until(
        lambda: next(
            (found for each in statuses() if "for itself" in (found := dict(each.components)["dnstap-input"]).message),
            None,
        ),
        what="the component to want a hand",
    )
    assert component.state is ComponentState.WARN
    counters = wait_until(
        lambda: next((found for each in statuses() if (found := dict(each.counters))["frames.received"]), None),
        what="counters",
    )
    assert counters["frames.received"] == counters["frames.in-flight-now"] + sum(
        count for name, count in counters.items() if name.startswith("frames.") and name.count(".") == 2
    )

    # It was put right.
    right = answer_frame("known.example.")
    while edm.part("minimiser")["trouble"]:
        sent += send(edm.socket, [right] * ENOUGH)
        edm.settled(sent)
        assert sent < 200 * ENOUGH
    over = wait_until(lambda: event_of(over=True), what="the end of the event")
    assert over.id == event.id
    said = b"".join(payload for _, payload in core.messages)
    assert b"198.51.100.7" not in said

    edm.own["telemetry-topic"] = "status/up/{EdgeId}/elsewhere"
    edm.reload()
    wait_until(lambda: f"status/up/{KID}/elsewhere" in {topic for topic, _ in core.messages}, what="the other topic")


def test_a_pop_in_the_same_process_has_a_page_of_its_own(make_pop: Callable[..., Pop], tmp_path: Path) -> None:
    pop, api, port = make_pop(), free_port(), free_port()
    pop.extra["apiserver"] = {"active": True, "addresses": [f"127.0.0.1:{api}"], "key": "not-a-secret-of-anybody"}
    pop.add_source("deny", "denylist", ["bad.example"])
    pop.config_dir.mkdir(parents=True, exist_ok=True)
    (tmp_path / "known.dawg").write_bytes(encode_dawg(["known.example."]))
    keys = {
        "input-unix": str(tmp_path / "edm.sock"),
        "cryptopan-key": "the key of these tests",
        "data-dir": str(tmp_path / "data"),
        "well-known-domains-file": str(tmp_path / "known.dawg"),
        "disable-mqtt": True,
        "disable-histogram-sender": True,
    }
    (pop.config_dir / "dnstapir-edm.toml").write_text("".join(f"{key} = {json.dumps(keys[key])}\n" for key in keys))
    (pop.config_dir / "tapir-edm.toml").write_text(f'metrics-address = "127.0.0.1:{port}"\n')
    pop.start()

    def names_at(address: int) -> set[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{address}/metrics", timeout=30) as answer:
            return {name for name, _ in figures_of(answer.read().decode())}

    theirs, ours = names_at(api), names_at(port)
    assert "tapir_zone_serial" in theirs
    assert "edm_processed_dnstap_total" in ours
    assert {name for name in theirs & ours if not name.startswith("process_")} == set()


def test_what_an_operator_must_hear_of_has_an_identifier_and_ends(edm: Edm, core: Core) -> None:
    core.serve(edm)
    edm.own |= {"new-qname-outbox": 4, "telemetry-topic": STATUS, "telemetry-interval": 1}
    edm.start()

    def lasting() -> dict[str, object]:
        found = json.loads(edm.command("events", "--json").stdout)
        return {each["kind"]: each for each in found if each["cleared_at"] is None}

    send(edm.socket, [answer_frame("known.example.")])
    edm.settled(1)
    good = edm.well_known.read_bytes()
    edm.well_known.write_bytes(good[:-3])
    edm.reload()
    wait_until(lambda: EventKind.LIST_UNUSABLE in lasting(), what="the event of the list", pause=0.2)
    assert "tapir_edm_list_unusable" in {name for (name, _), value in scrape(edm).items() if value}
    send(edm.socket, [answer_frame("known.example.")])
    assert edm.settled(2).settled == {"minimised.histogram": 2}
    edm.well_known.write_bytes(good)
    edm.reload()
    wait_until(lambda: EventKind.LIST_UNUSABLE not in lasting(), what="its end", pause=0.2)

    core.broker.stop()
    wait_until(lambda: not scrape(edm)["tapir_edm_mqtt_connected", ()], what="the broker to be missed")
    sent = send(edm.socket, [answer_frame(f"new{number}.example.") for number in range(9)])
    edm.settled(2 + sent)
    wait_until(lambda: EventKind.EVENTS_DROPPED in lasting(), what="the event of the outbox", pause=0.2)
    wait_until(lambda: scrape(edm)["edm_new_qname_queued_total", ()] == 9, what="all of them to come there")
    figures = scrape(edm)
    assert figures["edm_new_qname_discarded_total", ()] == 5
    assert figures["edm_new_qname_ch_len", ()] == 4
    assert edm.daemon is not None
    log = edm.daemon.output()
    assert log.count(" list-unusable ") == 2  # it is so, and it is over
    assert log.count(" events-dropped ") == 1
