"""`tapir.mqtt`, `tapir.config` and `keystore`: the one MQTT connection, and what it takes to use it."""

from ipaddress import IPv6Address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tapir.app.config.files import Files, MqttFile
from tapir.app.config.problems import format_key
from tapir.app.config.report import Invalid, Report, Section
from tapir.app.config.settings import BrokerAddress, GlobalConfig, MqttConfig
from tapir.app.config.strict import shown
from tapir.app.config.values import between, path_in
from tapir.codec.mqtt.packets import MalformedPacket, check_filter

_PLAIN: Final = frozenset({"mqtt", "tcp"})
_SECURE: Final = frozenset({"mqtts", "tls", "ssl", "tcps", "mqtt+ssl"})
_WEB: Final = frozenset({"ws", "wss"})
_PORT: Final = {False: 1883, True: 8883}
_DAY: Final = 86_400
_MQTT: Final = ("tapir", "mqtt")
_WANTED_SERVER: Final = "needed is the broker's URL, such as mqtts://broker.example:8883"


def map_mqtt(report: Report, files: Files, folder: Path) -> MqttConfig | None:
    """The connection, or None where nothing needs one."""
    users = _users(files)
    file = files.tapir.mqtt
    section = Section(report, _MQTT)
    if not users:
        if file.server is not None:
            section.note("server", "no connection is made: no active source, `tapir.config` or `tapir.status` needs it")
        return None
    broker = section.require(
        "server",
        file.server or None,
        parse_broker,
        wanted=f"{_WANTED_SERVER}, for {users[0]} needs it",
        fallback=BrokerAddress("", 0, tls=False),
    )
    path = path_in(folder)
    ca = section.parse("cacert", file.cacert or None, path, None)
    certificate = section.parse("clientcert", file.clientcert or None, path, None)
    key = section.parse("clientkey", file.clientkey or None, path, None)
    if broker.tls:
        _check_files(section, ca, certificate, key)
    elif broker.host and (ca or certificate or key):
        section.warn("server", f"{broker} is not TLS, so the certificates are not used, and anybody can read along")
    return MqttConfig(
        broker=broker,
        ca=ca if broker.tls else None,
        certificate=certificate if broker.tls else None,
        key=key if broker.tls else None,
        qos=_qos(section, file),
        keepalive=section.parse("keepalive", file.keepalive, between(5, 65535, unit="seconds"), 30),
        session_expiry=section.parse("session-expiry", file.session_expiry, between(_DAY, unit="seconds"), 7 * _DAY),
        receive_maximum=section.parse("receive-maximum", file.receive_maximum, between(10, 65535), 1000),
        max_message=section.parse("max-message", file.max_message, between(1024, 256 << 20, unit="octets"), 4 << 20),
    )


def map_global(report: Report, files: Files) -> GlobalConfig | None:
    """What `tapir.config` says, or None where it is not active."""
    section = Section(report, ("tapir", "config"))
    if not files.tapir.config.active:
        return None
    topic = section.require(
        "topic",
        files.tapir.config.topic or None,
        parse_topic_filter,
        wanted="needed is the topic of the global configuration, such as config/down/tapir-pop",
        fallback="",
    )
    if not files.keystore.path:
        report.missing(("keystore", "path"), "needed is the file of the keys that may sign the global configuration")
    return GlobalConfig(topic=topic)


def map_keystore(report: Report, files: Files, folder: Path) -> Path | None:
    """The file of the keys that messages are verified with."""
    return Section(report, ("keystore",)).parse("path", files.keystore.path or None, path_in(folder), None)


def parse_topic_filter(text: str) -> str:
    """A topic, or a topic filter with `+` and `#`."""
    try:
        check_filter(text)
    except MalformedPacket as exc:
        raise Invalid(f"{shown(text)} is no topic: {exc}") from exc
    return text


def parse_broker(text: str) -> BrokerAddress:
    """A broker's URL: `mqtts://HOST[:PORT]`, or `HOST[:PORT]` for plain TCP."""
    scheme, separator, rest = text.strip().rpartition("://")
    scheme = scheme.lower()
    if separator and scheme in _WEB:
        raise Invalid(f"{shown(text)}: MQTT over WebSocket is not supported; allowed is mqtts:// or mqtt://")
    if separator and scheme not in _PLAIN | _SECURE:
        raise Invalid(
            f"{shown(text)} has an unknown scheme; allowed is mqtts://, tls:// and ssl://, mqtt:// and tcp://"
        )
    if "@" in rest:
        # Not shown: there may be a password in it.
        raise Invalid("a user name or password in the URL is not supported; allowed is a client certificate")
    tls = scheme in _SECURE
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port
        if rest.startswith("["):
            host = str(IPv6Address(host))
    except ValueError as exc:
        raise Invalid(f"{shown(text)} is no URL: {exc}") from exc
    if not host or not host.isprintable() or " " in host:
        raise Invalid(f"{shown(text)} names no host; allowed is a URL such as mqtts://broker.example:8883")
    if port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise Invalid(f"{shown(text)} has more than a host and a port; allowed is such as mqtts://broker.example:8883")
    return BrokerAddress(host, port or _PORT[tls], tls=tls)


def _users(files: Files) -> list[str]:
    """What needs the connection, as the files call it."""
    sources = (
        format_key(("sources", name))
        for name, source in (files.sources or {}).items()
        if source.active and (source.source or "").lower() == "mqtt"
    )
    return [
        *sources,
        *(("tapir.config",) if files.tapir.config.active else ()),
        *(("tapir.status",) if files.tapir.status.active else ()),
    ]


def _check_files(section: Section, ca: Path | None, certificate: Path | None, key: Path | None) -> None:
    if ca is None:
        section.note("cacert", "not given, so the broker's certificate must be one that this system trusts")
    if (certificate is None) != (key is None):
        lacking, other = ("clientkey", "clientcert") if key is None else ("clientcert", "clientkey")
        section.report.missing((*_MQTT, lacking), f"needed is the file that goes with `{other}`")
    elif certificate is None:
        section.note("clientcert", "not given, so the broker is not shown who we are")
    for name, path in (("cacert", ca), ("clientcert", certificate), ("clientkey", key)):
        try:
            there = path is None or path.is_file()
        except OSError:
            there = False
        if not there:
            section.note(name, f"there is no file {path} yet; it is looked for with every connection")


def _qos(section: Section, file: MqttFile) -> int:
    qos = section.parse("qos", file.qos, between(0, 2), 1)
    if file.at_most_once:
        if file.qos:
            section.warn("qos", f"{file.qos} is not used, for `at-most-once: true` asks for 0")
        return 0
    if not file.qos:
        said = "not given" if file.qos is None else "0"
        text = "so 1 is used, and nothing is lost (the existing POP makes it 2); `at-most-once: true` asks for 0"
        section.note("qos", f"{said}, {text}")
    return qos or 1
