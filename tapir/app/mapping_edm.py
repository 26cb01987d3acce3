"""From what the operator configured to what each of EDM's actors needs of it."""

import platform
from pathlib import Path
from typing import Final

from tapir.app.config import EdmConfig, SocketAddress
from tapir.codec.aggregates import user_agent
from tapir.services.ingest.inputopening import InputSettings
from tapir.services.ingest.metrics import MetricsSettings
from tapir.services.ingest.minimisersettings import MinimiserSettings
from tapir.services.ingest.novelty import NoveltySettings
from tapir.services.uplink.aggregates_post import AggregateSettings
from tapir.services.uplink.newnames import NewNamesSettings
from tapir.services.uplink.session_settings import BrokerSettings, MqttSettings
from tapir.store.seen import Retention as SeenRetention
from tapir.store.state import StateDirectory

SEEN: Final = "seen"
"""The folder of the store of seen names, in the data folder"""

_MICROSECONDS: Final = 1_000_000
_DAY: Final = 86_400 * _MICROSECONDS
_NOTED: Final = 8
"""a name in use is noted when a share of its retention has passed: it is to be asked for as often at least"""
_LARGEST: Final = 1 << 28
"""names that are remembered: two GiB of them"""


def data_dir(config: EdmConfig) -> Path:
    """Where EDM keeps what it makes."""
    return _given(config.data_dir)


def input_settings(config: EdmConfig, *, connections: int) -> InputSettings:
    """Where dnstap comes in, from no more than so many senders at once."""
    return InputSettings(
        unix=config.input_unix,
        unix_mode=config.input_unix_mode,
        unix_group=config.input_unix_group,
        tcp=_pair(config.input_tcp),
        tls=_pair(config.input_tls),
        tls_certificate=config.input_tls_cert_file,
        tls_key=config.input_tls_key_file,
        tls_client_ca=config.input_tls_client_ca_file,
        streams=config.frame_streams,
        connections=connections,
    )


def minimiser_settings(config: EdmConfig) -> MinimiserSettings:
    """How frames are minimised; `newqname-buffer` and `minimiser-workers` say nothing of ours."""
    return MinimiserSettings(
        cryptopan_key=config.cryptopan_key,
        cryptopan_salt=config.cryptopan_key_salt,
        pseudonym_entries=config.cryptopan_address_entries,
        pseudonym_octets=config.pseudonym_cache_octets,
        well_known=_given(config.well_known_domains_file),
        ignored_clients=config.ignored_client_ips_file,
        ignored_names=config.ignored_question_names_file,
        data_dir=data_dir(config),
        threshold=config.histogram_hll_explicit_threshold,
        sessions=not config.disable_session_files,
        keep_sessions=config.keep_sessions,
        durable=config.durable,
        debug_dnstap=config.debug_dnstap_filename,
    )


def novelty_settings(config: EdmConfig) -> NoveltySettings:
    """Where names that were seen are kept, and for how long."""
    return NoveltySettings(
        path=data_dir(config) / SEEN,
        retention=SeenRetention(
            age=round(config.seen_retention * _MICROSECONDS) or None, events=config.new_qname_outbox
        ),
        sync=config.pebble_sync,
        events_enabled=not config.disable_mqtt,
        refresh=refresh_names(config),
    )


def remembered_names(config: EdmConfig) -> int:
    """How many names are remembered that came lately."""
    return min(config.qname_seen_entries, _LARGEST)


def refresh_names(config: EdmConfig) -> int:
    """Microseconds within which each of them is asked of the store again."""
    age = round(config.seen_retention * _MICROSECONDS)
    return max(_MICROSECONDS, min(_DAY, age // _NOTED)) if age else _DAY


def newname_settings(config: EdmConfig) -> NewNamesSettings:
    """How events for new names are sent, where they are."""
    return NewNamesSettings(key=_given(config.mqtt_signing_key_file), qos=config.mqtt_qos, rate=config.new_qname_rate)


def aggregate_settings(config: EdmConfig, version: str) -> AggregateSettings:
    """How histograms are sent, if they are."""
    url = config.aggregate_url
    return AggregateSettings(
        enabled=url is not None,
        data_dir=data_dir(config),
        url=url or "",
        signing_key=config.http_signing_key_file or Path(),
        client_certificate=config.http_client_cert_file,
        client_key=config.http_client_key_file,
        ca=config.http_ca_file,
        keep_sent=config.keep_sent,
        agent=user_agent(version=version, system=platform.system(), machine=platform.machine()),
    )


def broker_settings(config: EdmConfig, state: StateDirectory) -> MqttSettings | None:
    """The session of EDM with its own broker, or None where there is none."""
    broker = config.broker
    if broker is None:
        return None
    return MqttSettings(
        broker=BrokerSettings(
            host=broker.host,
            port=broker.port,
            tls=broker.tls,
            ca=config.mqtt_ca_file,
            certificate=config.mqtt_client_cert_file,
            key=config.mqtt_client_key_file,
            keepalive=config.mqtt_keepalive,
        ),
        state_path=state.edm_mqtt,
        role="edm",
    )


def metrics_settings(config: EdmConfig, *, version: str, commit: str, started_at: int) -> MetricsSettings:
    """Where metrics are asked for."""
    return MetricsSettings(
        address=_pair(config.metrics_address),
        rotation=config.enable_manual_parquet_rotation,
        version=version,
        commit=commit,
        started_at=started_at,
    )


def _pair(address: SocketAddress | None) -> tuple[str, int] | None:
    return (address.host, address.port) if address is not None else None


def _given(path: Path | None) -> Path:
    if path is None:
        raise AssertionError("a configuration that lacks this path is not loaded")
    return path
