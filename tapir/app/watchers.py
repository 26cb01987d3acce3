"""The actors that watch the process and its world, and tell of them: events, clock, certificates, telemetry."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from actors import ActorRef, ActorSpec, ActorSystem, MailboxSpec, Overflow
from tapir.app.config import CertificatesConfig, Config, TelemetryConfig
from tapir.services.control.certificates import (
    CertificateKeeper,
    CertificateSettings,
    ConfigureCertificates,
    WatchedFile,
)
from tapir.services.control.clock import ClockKeeper, ClockSettings
from tapir.services.control.events import EventKeeper, EventSettings
from tapir.services.uplink.telemetry import ConfigureTelemetry, Telemetry, TelemetrySettings
from tapir.services.uplink.telemetry_pop import TelemetryRefs
from tapir.services.uplink.telemetry_signing import SigningSettings
from tapir.store.state import StateDirectory

_TOLD: Final = MailboxSpec(capacity=256, overflow=Overflow.REJECT)
"""For who is told by everybody, and must not make anybody wait."""

_HINTED: Final = MailboxSpec(capacity=32, overflow=Overflow.REJECT)
_PATIENCE: Final = 60.0


class Watchers:
    """Makes them, and hands a new configuration over. Their refs are there before they are."""

    def __init__(self, *, system: ActorSystem, state: StateDirectory, version: str) -> None:
        self.events = system.ref("control/events")
        self.clock = system.ref("control/clock")
        self.certificates = system.ref("control/certificates")
        self.telemetry = system.ref("uplink/telemetry")
        self._system = system
        self._state = state
        self._version = version
        # What the next incarnations start with: a crash must not undo a reload.
        self._watching: CertificateSettings | None = None
        self._telling: TelemetrySettings | None = None
        self._listeners: dict[str, ActorRef[Any]] = {}

    def event_keeper(self) -> ActorSpec[Any]:
        """Gives exceptional events their identifiers; starts first, since all the others tell it."""
        settings = EventSettings(store_path=self._state.events)
        return ActorSpec(
            name="events",
            factory=lambda: EventKeeper(settings, system=self._system, listeners=self._listeners.values),
            mailbox=_TOLD,
        )

    def listen(self, ref: ActorRef[Any]) -> None:
        """Have `ref` told from now on that there are events, or others than before."""
        self._listeners[ref.path] = ref

    def clock_keeper(self, expiring: Callable[[], Iterable[ActorRef[Any]]]) -> ActorSpec[Any]:
        """Watches the wall clock for the sources that `expiring` names, as of now."""
        settings = ClockSettings(store_path=self._state.clock)
        return ActorSpec(
            name="clock",
            factory=lambda: ClockKeeper(settings, events=self.events, sources=expiring),
            mailbox=_HINTED,
        )

    def certificate_keeper(self, config: CertificatesConfig) -> ActorSpec[Any]:
        """Looks after the certificates that `config` names."""
        settings = _certificate_settings(config)
        return ActorSpec(
            name="certificates",
            factory=lambda: CertificateKeeper(self._watching or settings, events=self.events),
            mailbox=_HINTED,
        )

    def telemetry_sender(self, config: Config, refs: TelemetryRefs) -> ActorSpec[Any]:
        """Keeps the component status; publishes it where `config` says so."""
        settings = _telemetry_of(config, self._version)
        self.listen(self.telemetry)
        return ActorSpec(
            name="telemetry", factory=lambda: Telemetry(self._telling or settings, refs=refs), mailbox=_TOLD
        )

    async def reconfigure(self, certificates: CertificatesConfig) -> None:
        """Look after these certificates from now on. Raises ActorError."""
        self._watching = _certificate_settings(certificates)
        await self.certificates.ask(ConfigureCertificates(settings=self._watching), timeout=_PATIENCE)

    async def reconfigure_telemetry(self, config: Config) -> None:
        """Hand over how the component status is published. Raises ActorError."""
        self._telling = _telemetry_of(config, self._version)
        await self.telemetry.ask(ConfigureTelemetry(settings=self._telling), timeout=_PATIENCE)


def _certificate_settings(config: CertificatesConfig) -> CertificateSettings:
    return CertificateSettings(
        watched=tuple(WatchedFile(label=each.label, path=each.path, key=each.key) for each in config.watched),
        warning_days=config.warning_days,
    )


def telemetry_settings(config: TelemetryConfig | None, *, connected: bool, version: str) -> TelemetrySettings:
    """How the status of a component is published; without `config` it is kept, and told to who asks."""
    if config is None:
        return TelemetrySettings(version=version, connected=connected)
    return TelemetrySettings(
        version=version,
        connected=connected,
        signing=SigningSettings(topic=config.topic, key=config.signing_key, certificate=config.certificate),
        interval=float(config.interval),
        heartbeat=float(config.heartbeat),
    )


def _telemetry_of(config: Config, version: str) -> TelemetrySettings:
    return telemetry_settings(config.telemetry, connected=config.mqtt is not None, version=version)
