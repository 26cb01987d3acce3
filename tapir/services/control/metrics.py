"""What `/metrics` says: the facts of `tapir status`, as families of Prometheus. Pure.

`METRICS` is all there is: a family that is not in it cannot be made, and docs/metrics.md is held to it by a test.
Labels have ids of sources, configured peers, names of states and of counters; never a client, never a domain name.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs
from prometheus_client.core import Metric

from actors import Status, SystemStatistics
from tapir.codec.exposition import Sample, make_families
from tapir.model.messages.control import ApiStatus, HealthStatus
from tapir.model.messages.events import ClockStatus, ExceptionalEvent
from tapir.model.messages.feeds import FeedStatus
from tapir.model.messages.lists import SourcesStatus
from tapir.model.messages.mqtt import MqttStatus
from tapir.model.messages.observations import ObservationsStatus
from tapir.model.messages.policy import PolicyStatus
from tapir.model.messages.zone import SecondaryStatus, ServerStatus, ZoneStatus
from tapir.services.control.metrics_table import METRICS
from tapir.services.control.status import ProcessFacts

_SECOND: Final = 1_000_000


@attrs.frozen(kw_only=True)
class MetricFacts:
    """What the parts answered; None and empty for those that are not run, or did not answer."""

    process: ProcessFacts
    runtime: SystemStatistics
    health: HealthStatus | None = None
    zone: ZoneStatus | None = None
    policy: PolicyStatus | None = None
    sources: SourcesStatus | None = None
    server: ServerStatus | None = None
    secondaries: tuple[SecondaryStatus, ...] = ()
    feeds: tuple[FeedStatus, ...] = ()
    observations: tuple[ObservationsStatus, ...] = ()
    mqtt: MqttStatus | None = None
    events: tuple[ExceptionalEvent, ...] | None = None
    clock: ClockStatus | None = None
    api: ApiStatus | None = None


def families(facts: MetricFacts) -> Iterator[Metric]:
    """The families that there is something to say of, in the order of the table."""
    return make_families(METRICS, _samples(facts))


def _samples(facts: MetricFacts) -> Iterator[Sample]:
    process = facts.process
    yield "tapir_build_info", (process.version, process.commit), 1
    yield "tapir_start_time_seconds", (), process.started_at / _SECOND
    if facts.health is not None:
        yield "tapir_ready", (), facts.health.ready
    if facts.zone is not None:
        yield from _zone(facts.zone)
    if facts.policy is not None:
        yield "tapir_policy_names", (), facts.policy.names
        yield "tapir_policy_lists", (), facts.policy.lists
        yield "tapir_policy_records", (), facts.policy.records
    if facts.sources is not None:
        yield from _sources(facts.sources)
    if facts.server is not None:
        yield "tapir_server_connections", (), facts.server.connections
        yield from _counted("tapir_server_events_total", facts.server.counters)
        yield from _counted("tapir_server_refusals_total", facts.server.refusals)
    yield from _secondaries(facts)
    for feed in facts.feeds:
        yield from _feed(feed)
    for source in facts.observations:
        yield from _observations(source)
    if facts.mqtt is not None:
        yield from _mqtt(facts.mqtt)
    if facts.events is not None:
        yield "tapir_exceptional_events", (), sum(event.cleared_at is None for event in facts.events)
    if facts.clock is not None:
        yield "tapir_clock_held", (), facts.clock.held
    if facts.api is not None:
        yield "tapir_api_connections", (), facts.api.connections
        yield "tapir_api_listeners_failed", (), sum(not each.listening for each in facts.api.listeners)
        yield from _counted("tapir_api_events_total", facts.api.counters)
    yield from _runtime(facts.runtime)


def _zone(zone: ZoneStatus) -> Iterator[Sample]:
    yield "tapir_zone_state", (zone.state,), 1
    yield "tapir_zone_records", (), zone.records
    yield "tapir_zone_journal_deltas", (), zone.journal_deltas
    yield "tapir_zone_journal_bytes", (), zone.journal_octets
    if zone.serial is not None:
        yield "tapir_zone_serial", (), zone.serial
    yield from _time("tapir_zone_published_timestamp_seconds", (), zone.published_at)


def _sources(status: SourcesStatus) -> Iterator[Sample]:
    yield "tapir_publishing", (), status.publishing
    for source in status.sources:
        if not source.active:
            continue
        yield "tapir_source_names", (source.id, source.name, source.kind.value), source.names
        yield "tapir_source_state", (source.id, source.state), 1
        yield "tapir_source_required", (source.id,), source.required
        yield "tapir_source_pending_names", (source.id,), source.pending_names or 0
        yield from _time("tapir_source_loaded_timestamp_seconds", (source.id,), source.loaded_at)
        yield from _time("tapir_source_checked_timestamp_seconds", (source.id,), source.checked_at)
        for refusal in source.refusals:
            yield "tapir_source_refused_lines", (source.id, refusal.reason), refusal.count


def _secondaries(facts: MetricFacts) -> Iterator[Sample]:
    for secondary in facts.secondaries:
        if not secondary.configured:
            continue  # whoever asked: a client, and clients are in no label
        if secondary.last_serial is not None:
            yield "tapir_secondary_serial", (secondary.address,), secondary.last_serial
        yield from _time("tapir_secondary_query_timestamp_seconds", (secondary.address,), secondary.last_query_at)
        acknowledged = secondary.notify_state == "acknowledged"
        yield "tapir_secondary_notify_acknowledged", (secondary.address,), acknowledged


def _feed(feed: FeedStatus) -> Iterator[Sample]:
    yield "tapir_feed_state", (feed.source, feed.state), 1
    if feed.serial is not None:
        yield "tapir_feed_serial", (feed.source,), feed.serial
    yield from _time("tapir_feed_checked_timestamp_seconds", (feed.source,), feed.checked_at)
    yield from _time("tapir_feed_expires_timestamp_seconds", (feed.source,), feed.expires_at)
    for primary in feed.primaries:
        yield "tapir_feed_primary_failures", (feed.source, primary.address), primary.failures
    for event, count in feed.counters:
        yield "tapir_feed_events_total", (feed.source, event), count


def _observations(source: ObservationsStatus) -> Iterator[Sample]:
    yield "tapir_observations_names", (source.source,), source.entries
    yield "tapir_observations_waiting", (source.source,), source.waiting
    yield "tapir_observations_expiry_held", (source.source,), source.held
    yield from _time("tapir_observations_latest_timestamp_seconds", (source.source,), source.latest_at)
    for event, count in source.counters:
        yield "tapir_observations_events_total", (source.source, event), count


def _mqtt(mqtt: MqttStatus) -> Iterator[Sample]:
    yield "tapir_mqtt_connected", (), mqtt.state == "connected"
    yield "tapir_mqtt_connections_total", (), mqtt.connections
    yield "tapir_mqtt_published_total", (), mqtt.published
    yield "tapir_mqtt_unacknowledged", (), mqtt.unacknowledged
    for topic in mqtt.topics:
        yield "tapir_mqtt_messages_total", (topic.filter, topic.consumer), topic.messages
        yield "tapir_mqtt_received_bytes_total", (topic.filter, topic.consumer), topic.octets
        yield from _time("tapir_mqtt_latest_timestamp_seconds", (topic.filter, topic.consumer), topic.latest_at)
    yield from _counted("tapir_mqtt_events_total", mqtt.counters)


def _runtime(runtime: SystemStatistics) -> Iterator[Sample]:
    for node in runtime.root.walk():
        if node.mailbox is None:
            continue
        label = (node.path,)
        yield "tapir_actor_running", label, node.status is Status.RUNNING
        yield "tapir_actor_restarts_total", label, node.restarts
        yield "tapir_actor_messages_total", label, node.processed
        yield "tapir_actor_mailbox_depth", label, node.mailbox.depth
        yield "tapir_actor_lost_messages_total", label, sum(node.mailbox.drops.values())
    yield "tapir_dead_letters_total", (), runtime.dead_letters
    for quantile, seconds in (("0.5", runtime.lag.p50), ("0.9", runtime.lag.p90), ("0.99", runtime.lag.p99)):
        yield "tapir_event_loop_lag_seconds", (quantile,), seconds
    yield "tapir_event_loop_lag_max_seconds", (), runtime.lag.maximum
    if runtime.workers is not None:
        yield "tapir_workers_running", (), runtime.workers.running
        yield "tapir_workers_waiting", (), runtime.workers.waiting


def _time(name: str, labels: tuple[str, ...], microseconds: int | None) -> Iterator[Sample]:
    if microseconds is not None:
        yield name, labels, microseconds / _SECOND


def _counted(name: str, counters: Iterable[tuple[str, int]]) -> Iterator[Sample]:
    return ((name, (event,), count) for event, count in counters)


def facts_of(process: ProcessFacts, runtime: SystemStatistics, parts: Mapping[str, Any]) -> MetricFacts:
    """The facts in what `gather_status` and its like returned, in which a part that did not answer is a dict."""
    answered = {
        name: part
        for name, part in parts.items()
        if part is not None and not isinstance(part, dict) and name in attrs.fields_dict(MetricFacts)
    }
    return MetricFacts(process=process, runtime=runtime, **answered)
