"""The configuration: upstream's files and our extension keys in, a value for each component or all errors out."""

from tapir.app.config.components import (
    Component,
    Setup,
    candidate_state_dirs,
    find_components,
    load_setup,
    setup_after_reload,
    setup_changes_needing_restart,
)
from tapir.app.config.edmsettings import EdmConfig
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
    "Component",
    "Config",
    "ConfigErrors",
    "EdmConfig",
    "Fault",
    "GlobalConfig",
    "LimitsConfig",
    "LogConfig",
    "MqttConfig",
    "Notice",
    "OutputConfig",
    "Place",
    "ServerConfig",
    "Setup",
    "SocketAddress",
    "SourceBrakeConfig",
    "SourceConfig",
    "TelemetryConfig",
    "TlsConfig",
    "WatchedCertificate",
    "ZoneBrakeConfig",
    "after_reload",
    "candidate_state_dirs",
    "changes_needing_restart",
    "find_components",
    "load",
    "load_setup",
    "read_state_dir",
    "setup_after_reload",
    "setup_changes_needing_restart",
    "tls_after_reload",
    "wants_json_log",
]
