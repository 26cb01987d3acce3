"""The configuration: upstream's four files and our extension keys in, one frozen `Config` or all errors out."""

from tapir.app.config.loading import load, read_state_dir, wants_json_log
from tapir.app.config.problems import ConfigErrors, Fault, Notice, Place
from tapir.app.config.process import DEFAULT_STATE_DIR
from tapir.app.config.reloading import after_reload, changes_needing_restart, tls_after_reload
from tapir.app.config.settings import (
    AccessConfig,
    BrokerAddress,
    CertificatesConfig,
    Config,
    GlobalConfig,
    LimitsConfig,
    LogConfig,
    MqttConfig,
    OutputConfig,
    ServerConfig,
    SocketAddress,
    SourceBrakeConfig,
    SourceConfig,
    TelemetryConfig,
    TlsConfig,
    WatchedCertificate,
    ZoneBrakeConfig,
)

__all__ = [
    "DEFAULT_STATE_DIR",
    "AccessConfig",
    "BrokerAddress",
    "CertificatesConfig",
    "Config",
    "ConfigErrors",
    "Fault",
    "GlobalConfig",
    "LimitsConfig",
    "LogConfig",
    "MqttConfig",
    "Notice",
    "OutputConfig",
    "Place",
    "ServerConfig",
    "SocketAddress",
    "SourceBrakeConfig",
    "SourceConfig",
    "TelemetryConfig",
    "TlsConfig",
    "WatchedCertificate",
    "ZoneBrakeConfig",
    "after_reload",
    "changes_needing_restart",
    "load",
    "read_state_dir",
    "tls_after_reload",
    "wants_json_log",
]
