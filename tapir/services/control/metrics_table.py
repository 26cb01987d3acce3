"""Every metric: its name with its unit, its labels, and its help text."""

from typing import Final

from tapir.codec.exposition import MetricText

METRICS: Final[dict[str, MetricText]] = {
    "tapir_build_info": MetricText("Always 1; which version runs.", ("version", "commit")),
    "tapir_start_time_seconds": MetricText("When the process started, seconds since the epoch."),
    "tapir_ready": MetricText("1 while a zone is served and nothing that it waits for is missing."),
    "tapir_publishing": MetricText("1 while changes of lists reach the zone."),
    "tapir_zone_state": MetricText(
        "Always 1; the state of the zone: empty, serving, paused, held, braked or unsaved.", ("state",)
    ),
    "tapir_zone_serial": MetricText("The serial that is published."),
    "tapir_zone_records": MetricText("Policy records in the published zone."),
    "tapir_zone_published_timestamp_seconds": MetricText("When the zone was last published."),
    "tapir_zone_journal_deltas": MetricText("Differences that an IXFR can be answered from."),
    "tapir_zone_journal_bytes": MetricText("Size of these differences."),
    "tapir_policy_names": MetricText("Names that the policy evaluator knows of all lists."),
    "tapir_policy_lists": MetricText("Lists that the policy evaluator knows."),
    "tapir_policy_records": MetricText("Records that it decided on."),
    "tapir_source_names": MetricText("Names that the source holds in its list.", ("source", "list", "kind")),
    "tapir_source_state": MetricText(
        "Always 1; the state of the source: waiting, fresh, restored, stale, held or unsupported.", ("source", "state")
    ),
    "tapir_source_required": MetricText("1 for a source that the zone waits for.", ("source",)),
    "tapir_source_pending_names": MetricText("Names in what the brake holds back; 0 for nothing held.", ("source",)),
    "tapir_source_loaded_timestamp_seconds": MetricText("When the content last changed.", ("source",)),
    "tapir_source_checked_timestamp_seconds": MetricText("When the source was last looked at.", ("source",)),
    "tapir_source_refused_lines": MetricText("Lines of the present content that were refused.", ("source", "reason")),
    "tapir_server_connections": MetricText("Connections for DNS over TCP and TLS."),
    "tapir_server_events_total": MetricText("What the zone server did.", ("event",)),
    "tapir_server_refusals_total": MetricText("DNS queries that were refused.", ("reason",)),
    "tapir_secondary_serial": MetricText("The serial that a configured secondary last had.", ("secondary",)),
    "tapir_secondary_query_timestamp_seconds": MetricText("When it last asked.", ("secondary",)),
    "tapir_secondary_notify_acknowledged": MetricText("1 when it acknowledged the last NOTIFY.", ("secondary",)),
    "tapir_feed_state": MetricText(
        "Always 1; the state of an RPZ feed: waiting, current, transferring, retrying or expired.", ("source", "state")
    ),
    "tapir_feed_serial": MetricText("The serial of the feed that is in use.", ("source",)),
    "tapir_feed_checked_timestamp_seconds": MetricText("When a primary last said its serial.", ("source",)),
    "tapir_feed_expires_timestamp_seconds": MetricText("When the feed is withdrawn without a primary.", ("source",)),
    "tapir_feed_primary_failures": MetricText("Failures of a primary in a row.", ("source", "primary")),
    "tapir_feed_events_total": MetricText("What came of the feed: transfers, records, NOTIFYs.", ("source", "event")),
    "tapir_observations_names": MetricText("Names that are observed now.", ("source",)),
    "tapir_observations_waiting": MetricText("Messages that are here and not yet durable.", ("source",)),
    "tapir_observations_expiry_held": MetricText("1 while nothing expires, for the clock is in doubt.", ("source",)),
    "tapir_observations_latest_timestamp_seconds": MetricText("When the last message came.", ("source",)),
    "tapir_observations_events_total": MetricText(
        "What became of messages and entries; refusals by reason.", ("source", "event")
    ),
    "tapir_mqtt_connected": MetricText("1 while there is a connection with the broker."),
    "tapir_mqtt_connections_total": MetricText("Connections with the broker that came about."),
    "tapir_mqtt_published_total": MetricText("Messages that were published."),
    "tapir_mqtt_unacknowledged": MetricText("Messages of the broker that are not yet durable here."),
    "tapir_mqtt_messages_total": MetricText("Messages that came by a subscription.", ("topic", "consumer")),
    "tapir_mqtt_received_bytes_total": MetricText("Size of these messages.", ("topic", "consumer")),
    "tapir_mqtt_latest_timestamp_seconds": MetricText("When the last one came.", ("topic", "consumer")),
    "tapir_mqtt_events_total": MetricText("What else happened on the connection.", ("event",)),
    "tapir_exceptional_events": MetricText("Exceptional events that last."),
    "tapir_clock_held": MetricText("1 while nothing expires, for the wall clock stepped."),
    "tapir_api_connections": MetricText("Clients of the management API and the bootstrap server."),
    "tapir_api_listeners_failed": MetricText("Configured addresses of the API that cannot be had."),
    "tapir_api_events_total": MetricText("Requests, and what was not answered.", ("event",)),
    "tapir_actor_running": MetricText("1 while the actor runs and is not stuck.", ("actor",)),
    "tapir_actor_restarts_total": MetricText("Restarts of the actor.", ("actor",)),
    "tapir_actor_messages_total": MetricText("Messages that the actor handled.", ("actor",)),
    "tapir_actor_mailbox_depth": MetricText("Messages that wait for the actor.", ("actor",)),
    "tapir_actor_lost_messages_total": MetricText("Messages that its mailbox did not keep.", ("actor",)),
    "tapir_dead_letters_total": MetricText("Messages that nobody took."),
    "tapir_event_loop_lag_seconds": MetricText("How late the event loop was, by quantile.", ("quantile",)),
    "tapir_event_loop_lag_max_seconds": MetricText("How late it was at most."),
    "tapir_workers_running": MetricText("Threads at work on files, lists and decisions."),
    "tapir_workers_waiting": MetricText("Work that waits for a thread."),
}
