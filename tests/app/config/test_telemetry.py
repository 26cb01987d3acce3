"""`tapir.status` and the certificates that are looked after."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tapir.app.config import CertificatesConfig, Config, ConfigErrors, TelemetryConfig, WatchedCertificate, load

Write = Callable[..., Path]
MQTT = "mqtt: { server: mqtts://broker.example, cacert: ca.crt, clientcert: tls.crt, clientkey: tls.key }"
STATUS = 'status: { active: true, topic: "status/up/{EdgeId}/pop", signingkey: key.json }'


def read(write_config: Write, text: str) -> Config:
    return load(write_config(more=text))


def faults(write_config: Write, text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(write_config(more=text))
    return [f"{error.key}: {error.text}" for error in caught.value.errors]


def test_nothing_is_published_unless_it_is_active(write_config: Write):
    assert read(write_config, "").telemetry is None
    assert read(write_config, "tapir: { status: { active: false, topic: '#' } }\n").telemetry is None


def test_what_is_said_and_what_is_left_out(write_config: Write):
    config = read(write_config, f"tapir:\n  {MQTT}\n  {STATUS}\n")
    folder = config.config_dir
    assert config.telemetry == TelemetryConfig(
        topic="status/up/{EdgeId}/pop",
        signing_key=folder / "key.json",
        certificate=folder / "tls.crt",
        interval=60,
        heartbeat=900,
    )
    assert any(
        "there is no file" in notice.text for notice in config.notices if notice.key == "tapir.status.signingkey"
    )


def test_intervals_are_taken(write_config: Write):
    status = STATUS.replace("active", "interval: 5, heartbeat: 300, active")
    telemetry = read(write_config, f"tapir:\n  {MQTT}\n  {status}\n").telemetry
    assert telemetry is not None
    assert (telemetry.interval, telemetry.heartbeat) == (5, 300)


def test_who_stands_for_the_edge_without_a_certificate(write_config: Write):
    config = read(write_config, f"tapir:\n  mqtt: {{ server: mqtt://broker.example }}\n  {STATUS}\n")
    assert config.telemetry is not None
    assert config.telemetry.certificate is None
    assert any("`kid`" in notice.text for notice in config.notices if notice.key == "tapir.status.topic")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("status: { active: true, signingkey: key.json }", "tapir.status.topic: "),
        ("status: { active: true, topic: a }", "tapir.status.signingkey: "),
        ("status: { active: true, topic: 'a/#', signingkey: k }", "tapir.status.topic: 'a/#' is no topic"),
        ("status: { active: true, topic: a, signingkey: k, interval: 4 }", "tapir.status.interval: "),
        ("status: { active: true, topic: a, signingkey: k, heartbeat: 86401 }", "tapir.status.heartbeat: "),
    ],
)
def test_what_is_wrong_is_said(write_config: Write, text: str, fault: str):
    found = faults(write_config, f"tapir:\n  {MQTT}\n  {text}\n")
    assert [line for line in found if line.startswith(fault)], found


def test_days_of_warning_have_a_range(write_config: Write):
    (fault,) = faults(write_config, "certs: { expirationwarning: -1 }\n")
    assert fault.startswith("certs.expirationwarning")


def test_certificates_that_are_in_use_are_looked_after(write_config: Write):
    assert read(write_config, "certs: { cacertfile: c, tapir-pop: { cert: a, key: b } }\n").certificates == (
        CertificatesConfig()
    )
    config = read(write_config, f"tapir:\n  {MQTT}\n  {STATUS}\ncerts: {{ expirationwarning: 20 }}\n")
    folder = config.config_dir
    assert config.certificates == CertificatesConfig(
        warning_days=20,
        watched=(
            WatchedCertificate(label="tapir.mqtt.clientcert", path=folder / "tls.crt", key=folder / "tls.key"),
            WatchedCertificate(label="tapir.mqtt.cacert", path=folder / "ca.crt", key=None),
        ),
    )
