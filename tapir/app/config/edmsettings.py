"""What EDM's configuration comes to: one frozen value, with the keys of the existing EDM and ours.

The fields are the keys, with `_` for `-`; this is the one place where a key, its default and its range are written.
"""

import re
from pathlib import Path

import attrs

from tapir.app.config import edmkeys
from tapir.app.config.edmkeys import Key
from tapir.app.config.mqtt import parse_broker
from tapir.app.config.problems import Notice
from tapir.app.config.report import Invalid
from tapir.app.config.settings import BrokerAddress, SocketAddress, TelemetryConfig
from tapir.app.config.strict import shown
from tapir.app.config.telemetry import parse_status_topic
from tapir.codec.aggregates import aggregate_url
from tapir.codec.hll import THRESHOLD_MOST
from tapir.store.parquetfiles import Retention
from tapir.transport.framestream import FrameStreamSettings

_DAY = 86400
_YEARS = 3650 * _DAY
_INT64 = (1 << 63) - 1


def parse_edm_broker(text: str) -> BrokerAddress:
    """The broker's URL, or `HOST[:PORT]`, which is TLS here. Raises Invalid."""
    return parse_broker(text if "://" in text else f"tls://{text}")


def _without_password(text: str) -> str:
    if "@" in text:
        raise Invalid("a user and a password have no place there; who we are is told by a client certificate")
    return text


def _parse_topic(text: str) -> str:
    return parse_status_topic(text) if text else ""


def _parse_mode(text: str) -> int:
    """The rights of a file in octal, such as `0660`."""
    if re.fullmatch(r"0?[0-7]{3}", text, re.ASCII) is None:
        raise Invalid(f"{shown(text)} is no mode; allowed are the rights in octal, such as 0660")
    return int(text, 8)


@attrs.frozen(kw_only=True)
class EdmConfig:
    """Every key with its value; a path or an address that is empty is None. Secrets are in no `repr`."""

    config_file: Path
    notices: tuple[Notice, ...] = ()

    # The keys of the existing EDM, in dnstapir-edm.toml.
    input_unix: Path | None = edmkeys.path()
    input_tcp: SocketAddress | None = edmkeys.address()
    input_tls: SocketAddress | None = edmkeys.address()
    input_tls_cert_file: Path | None = edmkeys.path()
    input_tls_key_file: Path | None = edmkeys.path()
    input_tls_client_ca_file: Path | None = edmkeys.path()
    cryptopan_key: str = edmkeys.text(secret=True, reload=True)
    cryptopan_key_salt: str = edmkeys.text("edm-kdf-salt-val", secret=True, reload=True)
    cryptopan_address_entries: int = edmkeys.number(10_000_000, 0, _INT64)
    well_known_domains_file: Path | None = edmkeys.path("well-known-domains.dawg", reload=True)
    ignored_client_ips_file: Path | None = edmkeys.path(reload=True)
    ignored_question_names_file: Path | None = edmkeys.path(reload=True)
    data_dir: Path | None = edmkeys.path("/var/lib/dnstapir/edm")
    minimiser_workers: int = edmkeys.number(1, -_INT64, _INT64)
    qname_seen_entries: int = edmkeys.number(10_000_000, 1, _INT64)
    newqname_buffer: int = edmkeys.number(1000, 0, _INT64)
    histogram_hll_explicit_threshold: int = edmkeys.number(20, 1, THRESHOLD_MOST, reload=True)
    disable_session_files: bool = edmkeys.flag(reload=True)
    disable_histogram_sender: bool = edmkeys.flag(reload=True)
    disable_mqtt: bool = edmkeys.flag()
    disable_mqtt_filequeue: bool = edmkeys.flag()
    pebble_sync: bool = edmkeys.flag(reload=True)
    enable_manual_parquet_rotation: bool = edmkeys.flag()
    mqtt_server: str = edmkeys.text("127.0.0.1:8883", parse=_without_password)
    mqtt_signing_key_file: Path | None = edmkeys.path("edm-mqtt-signer-key.pem")
    mqtt_client_cert_file: Path | None = edmkeys.path("edm-mqtt-client.pem", reload=True)
    mqtt_client_key_file: Path | None = edmkeys.path("edm-mqtt-client-key.pem", reload=True)
    mqtt_ca_file: Path | None = edmkeys.path()
    mqtt_keepalive: int = edmkeys.number(30, 0, 65535, decimal=True)
    mqtt_sign_workers: int = edmkeys.number(0, -_INT64, _INT64, variable=False)
    http_url: str = edmkeys.text("https://127.0.0.1:8443", parse=_without_password)
    http_signing_key_file: Path | None = edmkeys.path("edm-http-signer-key.pem")
    http_client_cert_file: Path | None = edmkeys.path("edm-http-client.pem", reload=True)
    http_client_key_file: Path | None = edmkeys.path("edm-http-client-key.pem", reload=True)
    http_ca_file: Path | None = edmkeys.path()
    debug: bool = edmkeys.flag(reload=True)
    debug_dnstap_filename: Path | None = edmkeys.path()
    debug_enable_blockprofiling: bool = edmkeys.flag()
    debug_enable_mutexprofiling: bool = edmkeys.flag()

    # Ours, in tapir-edm.toml.
    input_unix_mode: int = edmkeys.text("0660", parse=_parse_mode, own=True)
    input_unix_group: str = edmkeys.text(own=True)
    input_connections: int = edmkeys.number(1000, 1, 100_000, own=True)
    input_handshake_deadline: float = edmkeys.seconds(5, 0.1, 3600, own=True)
    input_idle_limit: float = edmkeys.seconds(0, 0, _YEARS, own=True)
    input_frame_limit: int = edmkeys.number(98304, 512, 1 << 24, own=True)
    input_block_octets: int = edmkeys.number(262144, 4096, 1 << 26, own=True)
    input_block_delay: float = edmkeys.seconds(0.05, 0.001, 10, own=True)
    pseudonym_cache_octets: int = edmkeys.number(1 << 26, 0, 1 << 36, own=True)
    durable: bool = edmkeys.flag(own=True)
    sessions_retention: float = edmkeys.seconds(7 * _DAY, 0, _YEARS, own=True, reload=True)
    sessions_octets: int = edmkeys.number(10 << 30, 0, _INT64, own=True, reload=True)
    sent_retention: float = edmkeys.seconds(_DAY, 0, _YEARS, own=True, reload=True)
    sent_octets: int = edmkeys.number(0, 0, _INT64, own=True, reload=True)
    seen_retention: float = edmkeys.seconds(90 * _DAY, 0, _YEARS, own=True, reload=True)
    new_qname_rate: int = edmkeys.number(500, 1, 1_000_000, own=True, reload=True)
    new_qname_outbox: int = edmkeys.number(2_000_000, 1, 1 << 32, own=True, reload=True)
    mqtt_qos: int = edmkeys.number(1, 0, 1, own=True)
    metrics_address: SocketAddress | None = edmkeys.address("127.0.0.1:2112", own=True)
    telemetry_topic: str = edmkeys.text(parse=_parse_topic, own=True, reload=True)
    telemetry_signing_key_file: Path | None = edmkeys.path(own=True, reload=True)
    telemetry_interval: float = edmkeys.seconds(60, 1, _DAY, own=True, reload=True)
    telemetry_heartbeat: float = edmkeys.seconds(900, 1, _DAY, own=True, reload=True)

    @property
    def broker(self) -> BrokerAddress | None:
        """Where events go, unless they are disabled."""
        return None if self.disable_mqtt else parse_edm_broker(self.mqtt_server)

    @property
    def telemetry(self) -> TelemetryConfig | None:
        """Where and how often the status is published, or None where it is not; the key's `kid` says who we are."""
        key = self.telemetry_signing_key_file or self.mqtt_signing_key_file
        if not self.telemetry_topic or key is None or self.disable_mqtt:
            return None
        return TelemetryConfig(
            topic=self.telemetry_topic,
            signing_key=key,
            certificate=None,
            interval=self.telemetry_interval,
            heartbeat=self.telemetry_heartbeat,
        )

    @property
    def aggregate_url(self) -> str | None:
        """Where histograms go, unless they are not sent."""
        return None if self.disable_histogram_sender else aggregate_url(self.http_url)

    @property
    def frame_streams(self) -> FrameStreamSettings:
        """What is taken from a sender of dnstap."""
        return FrameStreamSettings(
            frame_limit=self.input_frame_limit,
            block_octets=self.input_block_octets,
            block_delay=self.input_block_delay,
            handshake_deadline=self.input_handshake_deadline,
            idle_limit=self.input_idle_limit or None,
        )

    @property
    def keep_sessions(self) -> Retention:
        """For how long and up to which size session files are kept."""
        return Retention(seconds=self.sessions_retention or None, octets=self.sessions_octets or None)

    @property
    def keep_sent(self) -> Retention:
        """For how long and up to which size histograms are kept that were sent."""
        return Retention(seconds=self.sent_retention or None, octets=self.sent_octets or None)


def _keys() -> dict[str, Key]:
    fields = attrs.fields(EdmConfig)
    return {field.name.replace("_", "-"): field.metadata[Key] for field in fields if Key in field.metadata}


KEYS = _keys()
"""Every key by its name, in the order of the documentation."""
