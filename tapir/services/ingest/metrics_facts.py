"""What EDM's parts say of themselves, as samples of metrics. Pure.

Labels have kinds, reasons, keys of the configuration, states and places in the tree: never a client, never a sender,
never a domain name.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from actors import Status, SystemStatistics
from tapir.codec.exposition import Sample
from tapir.minimiser.account import Account, Fate
from tapir.model.messages.edm import AggregatesStatus, InputStatus, ListFile, MinimiserStatus, NoveltyStatus
from tapir.model.messages.events import ExceptionalEvent
from tapir.model.messages.mqtt import MqttStatus
from tapir.model.messages.newnames import NewNamesStatus

_SECOND: Final = 1_000_000
_PARTS: Final = ("edm", "edm-uplink", "control")
"""the supervisors whose actors are shown: EDM's, and those that it shares"""


@attrs.define
class Pages:
    """What became of the pages of metrics that were asked for."""

    answered: int = 0
    failed: int = 0
    refused: int = 0
    in_flight: int = 0


@attrs.frozen(kw_only=True)
class EdmFacts:
    """The answers of the parts; None for one that is not run, or never answered. `started_at` is in microseconds."""

    version: str
    commit: str
    started_at: int
    account: Account
    runtime: SystemStatistics
    pages: Pages
    input: InputStatus | None = None
    minimiser: MinimiserStatus | None = None
    novelty: NoveltyStatus | None = None
    newnames: NewNamesStatus | None = None
    aggregates: AggregatesStatus | None = None
    mqtt: MqttStatus | None = None
    events: tuple[ExceptionalEvent, ...] | None = None
    answered: tuple[tuple[str, bool], ...] = ()
    """each part that is run, and whether it answered this time"""


def edm_samples(facts: EdmFacts) -> Iterator[Sample]:
    """All there is to say, in no order."""
    yield from _account(facts.account)
    yield from _pages(facts.pages)
    if facts.input is not None:
        yield from _input(facts.input)
    if facts.minimiser is not None:
        yield from _minimiser(facts.minimiser)
    if facts.novelty is not None:
        yield from _novelty(facts.novelty)
    yield from _events(facts)
    if facts.aggregates is not None:
        yield from _aggregates(facts.aggregates)
    if facts.mqtt is not None:
        yield "tapir_edm_mqtt_connected", (), facts.mqtt.state == "connected"
        yield "tapir_edm_mqtt_connections_total", (), facts.mqtt.connections
        yield "tapir_edm_mqtt_published_total", (), facts.mqtt.published
        yield from _counted("tapir_edm_mqtt_events_total", facts.mqtt.counters)
    if facts.events is not None:
        yield "tapir_edm_exceptional_events", (), sum([event.cleared_at is None for event in facts.events])
    yield "tapir_edm_build_info", (facts.version, facts.commit), 1
    yield "tapir_edm_start_time_seconds", (), facts.started_at / _SECOND
    for part, answered in facts.answered:
        yield "tapir_edm_part_answers", (part,), answered
    yield from _runtime(facts.runtime)


def _account(account: Account) -> Iterator[Sample]:
    for name, count in account.upstream().items():
        yield name, (), count
    yield "tapir_edm_frames_received_total", (), account.received
    yield "tapir_edm_frames_in_flight", (), account.in_flight
    for fate in Fate:
        yield "tapir_edm_frames_total", (fate.kind, fate.reason), account.count(fate)


def _pages(pages: Pages) -> Iterator[Sample]:
    for code, count in (("200", pages.answered), ("500", pages.failed), ("503", pages.refused)):
        yield "promhttp_metric_handler_requests_total", (code,), count
    yield "promhttp_metric_handler_requests_in_flight", (), pages.in_flight
    yield "promhttp_metric_handler_errors_total", ("gathering",), pages.failed


def _input(status: InputStatus) -> Iterator[Sample]:
    yield "tapir_edm_input_connections", (), status.open
    yield "tapir_edm_input_accepted_total", (), status.accepted
    yield "tapir_edm_input_refused_total", (), status.refused
    yield from _counted("tapir_edm_input_ended_total", status.ended)
    yield from _counted("tapir_edm_input_failed_total", status.failed)
    yield "tapir_edm_input_bytes_total", (), status.octets
    yield "tapir_edm_input_abandoned_total", (), status.abandoned


def _minimiser(status: MinimiserStatus) -> Iterator[Sample]:
    # 0 is that none has begun: frames wait for what minimising needs.
    yield from _time("tapir_edm_interval_start_timestamp_seconds", (), status.interval_started_at or None)
    yield "tapir_edm_interval_names", (), status.interval_names
    yield "tapir_edm_interval_responses", (), status.interval_responses
    yield "tapir_edm_session_rows", (), status.session_rows
    yield "tapir_edm_files_written_total", ("histograms",), status.histograms_written
    yield "tapir_edm_files_written_total", ("sessions",), status.session_files_written
    yield "tapir_edm_rows_lost_total", (), status.rows_lost
    yield "tapir_edm_replayed_responses", (), status.replayed
    yield from _list("well-known-domains-file", status.well_known)
    yield from _list("ignored-client-ips-file", status.ignored_clients)
    yield from _list("ignored-question-names-file", status.ignored_names)
    yield "edm_cryptopan_lru_hit_total", (), status.pseudonym_hits
    yield "edm_cryptopan_lru_evicted_total", (), status.pseudonym_evicted
    yield "tapir_edm_pseudonyms", (), status.pseudonyms
    yield "tapir_edm_pseudonyms_bytes", (), status.pseudonym_octets
    yield "tapir_edm_pseudonyms_made_total", (), status.pseudonym_misses
    yield "tapir_edm_pseudonyms_generation", (), status.pseudonym_generation


def _list(key: str, file: ListFile) -> Iterator[Sample]:
    if not file.path:
        return
    yield "tapir_edm_list_entries", (key,), file.entries
    yield "tapir_edm_list_unusable", (key,), bool(file.trouble)
    yield from _time("tapir_edm_list_loaded_timestamp_seconds", (key,), file.loaded_at)


def _novelty(status: NoveltyStatus) -> Iterator[Sample]:
    yield "edm_seen_qname_lru_evicted_total", (), status.recent_evicted
    yield "tapir_edm_novelty_gathered", (), status.gathered
    yield "tapir_edm_novelty_asked_total", (), status.asked
    yield "tapir_edm_novelty_new_total", (), status.new
    yield "tapir_edm_novelty_put_off_total", (), status.put_off
    yield "tapir_edm_novelty_recent_bytes", (), status.recent_octets


def _events(facts: EdmFacts) -> Iterator[Sample]:
    """The outbox of events; where nobody sends any, none are queued, and the existing EDM's counters stay 0."""
    sender = facts.newnames
    runs = any(part == "newnames" for part, _ in facts.answered)
    if not runs:
        yield "edm_new_qname_queued_total", (), 0
        yield "edm_new_qname_discarded_total", (), 0
        yield "edm_new_qname_ch_len", (), 0
        return
    if facts.novelty is not None:
        yield "edm_new_qname_queued_total", (), facts.novelty.new
    if sender is None:
        return
    yield "edm_new_qname_discarded_total", (), sender.dropped
    yield "edm_new_qname_ch_len", (), sender.waiting
    yield "tapir_edm_seen_names", (), sender.names
    yield "tapir_edm_seen_forgotten_total", (), sender.forgotten
    yield "tapir_edm_events_sent_total", (), sender.sent
    yield from _time("tapir_edm_events_oldest_timestamp_seconds", (), sender.oldest_at)


def _aggregates(status: AggregatesStatus) -> Iterator[Sample]:
    yield "tapir_edm_outbox_files", (), status.waiting
    yield "tapir_edm_outbox_bytes", (), status.waiting_octets
    yield from _time("tapir_edm_outbox_oldest_timestamp_seconds", (), status.oldest_at)
    yield "tapir_edm_aggregates_sent_total", (), status.sent
    yield from _counted("tapir_edm_aggregates_failed_total", status.failures)
    yield from _time("tapir_edm_aggregates_sent_timestamp_seconds", (), status.last_sent_at)
    yield "tapir_edm_aggregates_kept", (), status.kept


def _runtime(runtime: SystemStatistics) -> Iterator[Sample]:
    for node in runtime.root.walk():
        if node.mailbox is None or node.path.split("/")[0] not in _PARTS:
            continue
        label = (node.path,)
        yield "tapir_edm_actor_running", label, node.status is Status.RUNNING
        yield "tapir_edm_actor_restarts_total", label, node.restarts
        yield "tapir_edm_actor_mailbox_depth", label, node.mailbox.depth
        yield "tapir_edm_actor_lost_messages_total", label, sum(node.mailbox.drops.values())
    for quantile, seconds in (("0.5", runtime.lag.p50), ("0.9", runtime.lag.p90), ("0.99", runtime.lag.p99)):
        yield "tapir_edm_event_loop_lag_seconds", (quantile,), seconds
    yield "tapir_edm_event_loop_lag_max_seconds", (), runtime.lag.maximum
    if runtime.workers is not None:
        yield "tapir_edm_workers_running", (), runtime.workers.running
        yield "tapir_edm_workers_waiting", (), runtime.workers.waiting


def _time(name: str, labels: tuple[str, ...], microseconds: int | None) -> Iterator[Sample]:
    if microseconds is not None:
        yield name, labels, microseconds / _SECOND


def _counted(name: str, counters: Iterable[tuple[str, int]]) -> Iterator[Sample]:
    return ((name, (reason,), count) for reason, count in counters)
