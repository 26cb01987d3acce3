"""The configuration: upstream's four files and our extension keys in, one frozen `Config` or all errors out."""

from tapir.app.config.loading import changes_needing_restart, load
from tapir.app.config.problems import ConfigErrors, Fault, Notice, Place
from tapir.app.config.settings import (
    Config,
    LimitsConfig,
    LogConfig,
    OutputConfig,
    ServerConfig,
    SocketAddress,
    SourceBrakeConfig,
    SourceConfig,
    ZoneBrakeConfig,
)

__all__ = [
    "Config",
    "ConfigErrors",
    "Fault",
    "LimitsConfig",
    "LogConfig",
    "Notice",
    "OutputConfig",
    "Place",
    "ServerConfig",
    "SocketAddress",
    "SourceBrakeConfig",
    "SourceConfig",
    "ZoneBrakeConfig",
    "changes_needing_restart",
    "load",
]
