"""`tapir.status` and `certs.expirationwarning`: what this POP says of itself, and which certificates it looks after."""

from pathlib import Path
from typing import Final

from tapir.app.config.files import Files
from tapir.app.config.report import Invalid, Report, Section
from tapir.app.config.settings import CertificatesConfig, ServerConfig, TelemetryConfig, WatchedCertificate
from tapir.app.config.strict import shown
from tapir.app.config.values import between, path_in
from tapir.codec.mqtt.packets import MalformedPacket, check_topic

EDGE_ID: Final = "{EdgeId}"
_STATUS: Final = ("tapir", "status")
_DAYS: Final = 30


def map_telemetry(report: Report, files: Files, folder: Path) -> TelemetryConfig | None:
    """Where and how often the status is published, or None where it is not."""
    status = files.tapir.status
    if not status.active:
        return None
    section = Section(report, _STATUS)
    topic = section.require(
        "topic",
        status.topic or None,
        parse_status_topic,
        wanted="needed is the topic of the status, such as status/up/{EdgeId}/pop",
        fallback="",
    )
    key = section.require(
        "signingkey",
        status.signingkey or None,
        path_in(folder),
        wanted="needed is the file of the key that signs the status, such as certs/datakey-priv.json",
        fallback=folder,
    )
    certificate = Section(report, ("tapir", "mqtt")).parse(
        "clientcert", files.tapir.mqtt.clientcert or None, path_in(folder), None
    )
    if EDGE_ID in topic and certificate is None:
        section.note("topic", f"without `tapir.mqtt.clientcert` the `kid` of the signing key stands for {EDGE_ID}")
    try:
        if not key.is_file() and status.signingkey:
            section.note("signingkey", f"there is no file {key} yet; the status waits for it")
    except OSError as exc:
        section.note("signingkey", f"cannot look at {key} now: {exc.strerror}")
    return TelemetryConfig(
        topic=topic,
        signing_key=key,
        certificate=certificate,
        interval=section.parse("interval", status.interval, between(5, 86_400, unit="seconds"), 60),
        heartbeat=section.parse("heartbeat", status.heartbeat, between(5, 86_400, unit="seconds"), 900),
    )


def parse_status_topic(text: str) -> str:
    """A topic that may hold `{EdgeId}`."""
    try:
        check_topic(text)
    except MalformedPacket as exc:
        raise Invalid(f"{shown(text)} is no topic to publish on: {exc}") from exc
    return text


def map_certificates(report: Report, files: Files, folder: Path, server: ServerConfig) -> CertificatesConfig:
    """The certificates that are ours to renew, each named by the key that has it.

    A path that is wrong is somebody else's error to report.
    """
    mqtt, certs = files.tapir.mqtt, files.certs
    connected = mqtt.server is not None
    serves = bool(files.apiserver.tlsaddresses or files.bootstrapserver.tlsaddresses)
    named = (
        ("tapir.mqtt.clientcert", mqtt.clientcert, mqtt.clientkey, connected),
        ("tapir.mqtt.cacert", mqtt.cacert, None, connected),
        ("certs.tapir-pop.cert", certs.tapir_pop.cert, certs.tapir_pop.key, serves),
        ("certs.cacertfile", certs.cacertfile, None, serves),
    )
    watched = [
        WatchedCertificate(label=label, path=folder / path, key=folder / key if key else None)
        for label, path, key, used in named
        if path and used
    ]
    if server.active and server.tls is not None:
        tls = server.tls
        watched.append(WatchedCertificate(label="dnsengine.tls.certificate", path=tls.certificate, key=tls.key))
        if tls.client_ca is not None:
            watched.append(WatchedCertificate(label="dnsengine.tls.client-ca", path=tls.client_ca, key=None))
    days = Section(report, ("certs",)).parse(
        "expirationwarning", certs.expirationwarning, between(0, 3650, unit="days"), _DAYS
    )
    return CertificatesConfig(warning_days=days, watched=tuple(watched))
