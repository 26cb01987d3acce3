"""Every metric of EDM: those of the existing EDM by their names, and behind them ours."""

from typing import Final

from tapir.codec.exposition import MetricText

EDM_METRICS: Final[dict[str, MetricText]] = {
    # What the existing EDM has (edm.md §11).
    "edm_processed_dnstap_total": MetricText("Frames that were looked at, of whatever kind; not those dropped unseen."),
    "edm_ignored_dns_parse_error_total": MetricText("Responses that are no DNS message, and frames without a message."),
    "edm_ignored_empty_question_section_total": MetricText("Responses without a question."),
    "edm_ignored_invalid_question_name_total": MetricText(
        "Always 0: a name that the wire format allows is valid here, and another is no DNS message."
    ),
    "edm_ignored_client_ip_total": MetricText("Responses to clients of `ignored-client-ips-file`."),
    "edm_ignored_client_ip_error_total": MetricText("Responses without a client address while there is such a list."),
    "edm_ignored_question_name_total": MetricText("Responses whose question is in `ignored-question-names-file`."),
    "edm_cryptopan_lru_hit_total": MetricText("Addresses whose pseudonym was remembered."),
    "edm_cryptopan_lru_evicted_total": MetricText("Pseudonyms that made room for others."),
    "edm_seen_qname_lru_evicted_total": MetricText("Names that came lately and made room for others in memory."),
    "edm_new_qname_queued_total": MetricText("Events of new names that were put into the outbox."),
    "edm_new_qname_discarded_total": MetricText("Events that were dropped unsent, for the outbox was full."),
    "edm_new_qname_ch_len": MetricText("Events that wait in the outbox."),
    "promhttp_metric_handler_requests_total": MetricText("Pages of metrics that were asked for.", ("code",)),
    "promhttp_metric_handler_requests_in_flight": MetricText("Pages of metrics in the making, this one with them."),
    "promhttp_metric_handler_errors_total": MetricText("Pages of metrics that could not be made.", ("cause",)),
    # The account.
    "tapir_edm_frames_received_total": MetricText("Frames that were taken from their streams."),
    "tapir_edm_frames_total": MetricText(
        "What became of them; with those in flight these are the ones received.", ("kind", "reason")
    ),
    "tapir_edm_frames_in_flight": MetricText("Frames that were received, and of which nothing has become yet."),
    # Input.
    "tapir_edm_input_connections": MetricText("Senders of dnstap that are connected."),
    "tapir_edm_input_accepted_total": MetricText("Connections that were accepted."),
    "tapir_edm_input_refused_total": MetricText("Connections closed at once, for there were as many as may be."),
    "tapir_edm_input_ended_total": MetricText("Connections that ended in order, by how.", ("reason",)),
    "tapir_edm_input_failed_total": MetricText("Connections that were given up.", ("reason",)),
    "tapir_edm_input_bytes_total": MetricText("Size of the frames that were read."),
    "tapir_edm_input_abandoned_total": MetricText("Frames that were read and given up, since the input stopped."),
    # The minute.
    "tapir_edm_interval_start_timestamp_seconds": MetricText("When the running interval began."),
    "tapir_edm_interval_names": MetricText("Well-known names that were met in it."),
    "tapir_edm_interval_responses": MetricText("Responses that were counted in it."),
    "tapir_edm_session_rows": MetricText("Sessions that wait for their file."),
    "tapir_edm_files_written_total": MetricText("Files that were written: histograms or sessions.", ("kind",)),
    "tapir_edm_rows_lost_total": MetricText("Rows of histograms and sessions that no disk took."),
    "tapir_edm_replayed_responses": MetricText("Responses that were counted again at the start, after a crash."),
    "tapir_edm_list_entries": MetricText("Entries of a list, called by its key.", ("list",)),
    "tapir_edm_list_loaded_timestamp_seconds": MetricText("When it was read.", ("list",)),
    "tapir_edm_list_unusable": MetricText("1 while its file cannot be used, and what was read before is.", ("list",)),
    "tapir_edm_pseudonyms": MetricText("Pseudonyms that are remembered."),
    "tapir_edm_pseudonyms_bytes": MetricText("Memory that they take."),
    "tapir_edm_pseudonyms_made_total": MetricText("Addresses whose pseudonym was not remembered."),
    "tapir_edm_pseudonyms_generation": MetricText("How often the key was changed since the start."),
    # Novelty.
    "tapir_edm_novelty_gathered": MetricText("Sightings that wait for the store of seen names."),
    "tapir_edm_novelty_asked_total": MetricText("Names that the store was asked about."),
    "tapir_edm_novelty_new_total": MetricText("Names that were never seen before."),
    "tapir_edm_novelty_put_off_total": MetricText("Sightings that the store did not take; their names come again."),
    "tapir_edm_novelty_recent_bytes": MetricText("Memory for the names that came lately."),
    "tapir_edm_seen_names": MetricText("Names that were seen."),
    "tapir_edm_seen_forgotten_total": MetricText("Names given up for their age, or that made room."),
    "tapir_edm_events_sent_total": MetricText("Events that the broker has."),
    "tapir_edm_events_oldest_timestamp_seconds": MetricText("When the event came that waits for longest."),
    # Aggregates.
    "tapir_edm_outbox_files": MetricText("Histograms that wait to be sent."),
    "tapir_edm_outbox_bytes": MetricText("Size of these."),
    "tapir_edm_outbox_oldest_timestamp_seconds": MetricText("When the interval of the oldest of them began."),
    "tapir_edm_aggregates_sent_total": MetricText("Histograms that Core has taken."),
    "tapir_edm_aggregates_failed_total": MetricText("Tries to send one that failed.", ("reason",)),
    "tapir_edm_aggregates_sent_timestamp_seconds": MetricText("When Core last took one."),
    "tapir_edm_aggregates_kept": MetricText("Histograms that were sent and are still there."),
    # The rest.
    "tapir_edm_mqtt_connected": MetricText("1 while there is a connection with the broker."),
    "tapir_edm_mqtt_connections_total": MetricText("Connections with the broker that came about."),
    "tapir_edm_mqtt_published_total": MetricText("Messages that were published."),
    "tapir_edm_mqtt_events_total": MetricText("What else happened on the connection.", ("event",)),
    "tapir_edm_exceptional_events": MetricText("Exceptional events that last."),
    "tapir_edm_build_info": MetricText("Always 1; which version runs.", ("version", "commit")),
    "tapir_edm_start_time_seconds": MetricText("When the process started, seconds since the epoch."),
    "tapir_edm_part_answers": MetricText(
        "0 for a part that did not answer in time: its figures are those of its last answer.", ("part",)
    ),
    "tapir_edm_actor_running": MetricText("1 while the actor runs and is not stuck.", ("actor",)),
    "tapir_edm_actor_restarts_total": MetricText("Restarts of the actor.", ("actor",)),
    "tapir_edm_actor_mailbox_depth": MetricText("Messages that wait for the actor.", ("actor",)),
    "tapir_edm_actor_lost_messages_total": MetricText("Messages that its mailbox did not keep.", ("actor",)),
    "tapir_edm_event_loop_lag_seconds": MetricText("How late the event loop was, by quantile.", ("quantile",)),
    "tapir_edm_event_loop_lag_max_seconds": MetricText("How late it was at most."),
    "tapir_edm_workers_running": MetricText("Threads at work on files and signatures."),
    "tapir_edm_workers_waiting": MetricText("Work that waits for a thread."),
}
