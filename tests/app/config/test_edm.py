"""EDM's configuration: every key with its default, who counts most, and every fault at once with its place."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tapir.app.config.edm import edm_variable, load_edm
from tapir.app.config.edmkeys import Kind
from tapir.app.config.edmrules import compare_edm, edm_after_reload
from tapir.app.config.edmsettings import KEYS, EdmConfig
from tapir.app.config.problems import ConfigErrors
from tapir.app.config.settings import BrokerAddress, SocketAddress
from tapir.store.parquetfiles import Retention
from tapir.transport.framestream import FrameStreamSettings

PAGE = Path(__file__).resolve().parents[3] / "docs/edm-configuration.md"
SECRET = "hunter2-and-more"
LEAST = f'input-unix = "/run/edm.sock"\ncryptopan-key = "{SECRET}"\n'

Load = Callable[..., EdmConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads these texts."""

    def loading(
        text: str = LEAST,
        *,
        own: str | None = None,
        environment: Mapping[str, str] | None = None,
        flags: Mapping[str, str] | None = None,
    ) -> EdmConfig:
        (tmp_path / "dnstapir-edm.toml").write_text(text)
        if own is not None:
            (tmp_path / "tapir-edm.toml").write_text(own)
        return load_edm(tmp_path / "dnstapir-edm.toml", environment=environment or {}, flags=flags)

    return loading


@pytest.fixture
def faults_of(load: Load) -> Callable[..., list[str]]:
    """The faults of these texts, without the folder; nothing in them is the secret."""

    def failing(*texts: str, **more: object) -> list[str]:
        with pytest.raises(ConfigErrors) as caught:
            load(*texts, **more)
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value.errors)
        return [re.sub(r"^/\S*/", "", line) for line in caught.value.lines]

    return failing


UPSTREAM_DEFAULTS = {
    "input-unix": "",
    "input-tcp": "",
    "input-tls": "",
    "input-tls-cert-file": "",
    "input-tls-key-file": "",
    "input-tls-client-ca-file": "",
    "cryptopan-key": "",
    "cryptopan-key-salt": "edm-kdf-salt-val",
    "cryptopan-address-entries": 10_000_000,
    "well-known-domains-file": "well-known-domains.dawg",
    "ignored-client-ips-file": "",
    "ignored-question-names-file": "",
    "data-dir": "/var/lib/dnstapir/edm",
    "minimiser-workers": 1,
    "qname-seen-entries": 10_000_000,
    "newqname-buffer": 1000,
    "histogram-hll-explicit-threshold": 20,
    "disable-session-files": False,
    "disable-histogram-sender": False,
    "disable-mqtt": False,
    "disable-mqtt-filequeue": False,
    "pebble-sync": False,
    "enable-manual-parquet-rotation": False,
    "mqtt-server": "127.0.0.1:8883",
    "mqtt-signing-key-file": "edm-mqtt-signer-key.pem",
    "mqtt-client-cert-file": "edm-mqtt-client.pem",
    "mqtt-client-key-file": "edm-mqtt-client-key.pem",
    "mqtt-ca-file": "",
    "mqtt-keepalive": 30,
    "mqtt-sign-workers": 0,
    "http-url": "https://127.0.0.1:8443",
    "http-signing-key-file": "edm-http-signer-key.pem",
    "http-client-cert-file": "edm-http-client.pem",
    "http-client-key-file": "edm-http-client-key.pem",
    "http-ca-file": "",
    "debug": False,
    "debug-dnstap-filename": "",
    "debug-enable-blockprofiling": False,
    "debug-enable-mutexprofiling": False,
}
"""edm.md §2.2, by heart"""


def test_the_keys_and_defaults_are_upstreams() -> None:
    assert {name: key.default for name, key in KEYS.items() if not key.own} == UPSTREAM_DEFAULTS
    assert [name for name, key in KEYS.items() if not key.variable] == ["mqtt-sign-workers"]


def test_what_the_least_file_comes_to(load: Load, tmp_path: Path) -> None:
    config = load()
    assert config.input_unix == Path("/run/edm.sock")
    assert config.input_tcp is None
    assert config.data_dir == Path("/var/lib/dnstapir/edm")
    assert config.well_known_domains_file == tmp_path / "well-known-domains.dawg"
    assert config.ignored_client_ips_file is None
    assert config.cryptopan_key == SECRET
    assert config.broker == BrokerAddress("127.0.0.1", 8883, tls=True)
    assert config.aggregate_url == "https://127.0.0.1:8443/api/v1/aggregate/histogram"
    assert config.metrics_address == SocketAddress("127.0.0.1", 2112)
    assert config.input_unix_mode == 0o660
    assert config.frame_streams == FrameStreamSettings()
    assert config.keep_sent == Retention(seconds=86400)
    assert config.keep_sessions == Retention(seconds=7 * 86400, octets=10 << 30)
    assert config.config_file == tmp_path / "dnstapir-edm.toml"
    assert config.notices == ()
    assert SECRET not in repr(config)
    assert config.cryptopan_key_salt not in repr(config)


def test_what_is_disabled_goes_nowhere(load: Load) -> None:
    switched_off = "disable-mqtt = true\ndisable-histogram-sender = true\n"
    empty = 'mqtt-server = ""\nhttp-url = ""\nmqtt-keepalive = 0\nmqtt-signing-key-file = ""\n'
    config = load(LEAST + switched_off + empty)
    assert config.broker is None
    assert config.aggregate_url is None


@pytest.mark.parametrize("name", KEYS)
def test_a_value_of_another_type_is_a_fault(faults_of: Callable[..., list[str]], name: str) -> None:
    line = f"{name} = [1979-05-27]\n"
    (told,) = faults_of(LEAST, own=line) if KEYS[name].own else faults_of(line + _without(LEAST, name))
    value = "the value" if KEYS[name].secret else "a list"
    assert re.search(rf"edm\.toml:1: {name}: {value} is (not text|not a whole number|not a number|neither)", told)


def _without(text: str, name: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(f"{name} "))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("debug = 1", "debug: 1 is neither true nor false"),
        ("debug = 'true'", "debug: 'true' is neither true nor false"),
        ("mqtt-keepalive = true", "mqtt-keepalive: true is not a whole number"),
        ("mqtt-keepalive = 1.0", "mqtt-keepalive: 1.0 is not a whole number"),
        ("mqtt-keepalive = 0", "mqtt-keepalive: 0 is not allowed unless"),
        ("mqtt-keepalive = 65536", "mqtt-keepalive: 65536 is out of range"),
        ("data-dir = 5", "data-dir: 5 is not text"),
        ("data-dir = ''", "data-dir: is empty"),
        ("well-known-domains-file = ''", "well-known-domains-file: is empty"),
        ('data-dir = "\\u0000"', "data-dir: '\\x00' is no path"),
        ("cryptopan-key-salt = 'short'", "cryptopan-key-salt: the salt has 5 octets; needed are 8 or more"),
        ("cryptopan-key-salt = ''", "cryptopan-key-salt: the salt has 0 octets"),
        ("cryptopan-key-salt = 5", "cryptopan-key-salt: the value is not text"),
        ("cryptopan-address-entries = -1", "cryptopan-address-entries: -1 is out of range"),
        ("qname-seen-entries = 0", "qname-seen-entries: 0 is out of range"),
        ("newqname-buffer = -1", "newqname-buffer: -1 is out of range"),
        ("histogram-hll-explicit-threshold = 0", "histogram-hll-explicit-threshold: 0 is out of range"),
        ("histogram-hll-explicit-threshold = 131073", "histogram-hll-explicit-threshold: 131073 is out of range"),
        ("mqtt-server = ''", "mqtt-server: is empty; it is needed unless disable-mqtt"),
        ("mqtt-server = 'ftp://mqtt.example:21'", "mqtt-server: 'ftp://mqtt.example:21' has an unknown scheme"),
        ("mqtt-server = 'tls://'", "mqtt-server: 'tls://' names no host"),
        ("mqtt-server = 'tls://:8883'", "mqtt-server: 'tls://:8883' names no host"),
        ("mqtt-server = '://bad'", "mqtt-server: '://bad' has an unknown scheme"),
        ("mqtt-server = 'wss://mqtt.example'", "mqtt-server: 'wss://mqtt.example': MQTT over WebSocket"),
        (f"mqtt-server = 'x://me:{SECRET}@mqtt'", "mqtt-server: a user and a password have no place there"),
        (f"http-url = 'https://me:{SECRET}@core'", "http-url: a user and a password have no place there"),
        ("http-url = 'core.example'", "http-url: allowed is a URL such as"),
        ("http-url = ''", "http-url: is empty; it is needed unless disable-histogram-sender"),
        ("http-client-key-file = ''", "http-client-key-file: is empty"),
        ("mqtt-client-cert-file = ''", "mqtt-client-cert-file: is empty"),
        ("input-tcp = '127.0.0.1:53535'", "input-tcp: input-unix is set, too; allowed is exactly one"),
        ("input-tcp = 'localhost:53535'", "input-tcp: 'localhost:53535' has no IP address"),
        (
            "well-known-domain-file = 'x'",
            "well-known-domain-file: unknown key; did you mean `well-known-domains-file`?",
        ),
        ("durable = true", "durable: this key belongs into tapir-edm.toml"),
        ("config-file = 5", "config-file: unknown key"),
        ("[minimiser]\nworkers = 1", "minimiser: unknown key"),
        ("'minimiser'.workers = 1", "minimiser: unknown key"),
    ],
)
def test_a_fault_is_told_with_its_line(faults_of: Callable[..., list[str]], line: str, fault: str) -> None:
    (told,) = faults_of(LEAST + line + "\n")
    assert told.startswith("dnstapir-edm.toml:3: " + fault)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("mqtt-qos = 2", "mqtt-qos: 2 is out of range; allowed is 0 to 1"),
        ("input-unix-mode = '0888'", "input-unix-mode: '0888' is no mode"),
        ("input-unix-mode = 660", "input-unix-mode: 660 is not text"),
        ("input-idle-limit = nan", "input-idle-limit: nan is out of range"),
        ("input-block-delay = 'x'", "input-block-delay: 'x' is not a number of seconds"),
        ("metrics-address = '127.0.0.1'", "metrics-address: '127.0.0.1' names no port"),
        ("data-dir = '/x'", "data-dir: this key belongs into dnstapir-edm.toml"),
        ("config-file = 'x'", "config-file: unknown key"),
    ],
)
def test_a_fault_in_our_file(faults_of: Callable[..., list[str]], line: str, fault: str) -> None:
    (told,) = faults_of(LEAST, own=f"# ours\n{line}\n")
    assert told.startswith("tapir-edm.toml:2: " + fault)


def test_all_faults_are_told_at_once(faults_of: Callable[..., list[str]]) -> None:
    told = faults_of(
        "debug = 1\nfoo = 1\ninput-tls = '[::]:853'\n",
        own="mqtt-qos = 9\n",
        environment={"DNSTAPIR_EDM_MQTT_KEEPALIVE": "0x10"},
        flags={"newqname-buffer": "-1", "mqtt-sign-workers": "1"},
    )
    assert [line.split(": ")[:2] for line in told] == [
        ["dnstapir-edm.toml", "input-tls-cert-file"],
        ["dnstapir-edm.toml", "input-tls-key-file"],
        ["dnstapir-edm.toml", "cryptopan-key"],
        ["dnstapir-edm.toml:1", "debug"],
        ["dnstapir-edm.toml:2", "foo"],
        ["tapir-edm.toml:1", "mqtt-qos"],
        ["environment", "DNSTAPIR_EDM_MQTT_KEEPALIVE"],
        ["command line", "--mqtt-sign-workers"],
        ["command line", "--newqname-buffer"],
    ]


@pytest.mark.parametrize("given_inputs", [(), ("unix", "tcp"), ("unix", "tls"), ("tcp", "tls"), ("unix", "tcp", "tls")])
def test_there_is_one_input(faults_of: Callable[..., list[str]], given_inputs: tuple[str, ...]) -> None:
    values = {"unix": "/run/x", "tcp": "127.0.0.1:1", "tls": "127.0.0.1:2"}
    lines = [f"input-{name} = '{values[name]}'" for name in given_inputs]
    lines += [f"cryptopan-key = '{SECRET}'", "input-tls-cert-file = 'c'", "input-tls-key-file = 'k'"]
    told = faults_of("\n".join(lines))
    assert len(told) == max(1, len(given_inputs) - 1)
    assert all("exactly one of input-unix, input-tcp and input-tls" in line for line in told)


def test_an_input_that_is_wrong_is_one_all_the_same(faults_of: Callable[..., list[str]]) -> None:
    (told,) = faults_of(f"cryptopan-key = '{SECRET}'\ninput-tcp = 'x'\n")
    assert told.startswith("dnstapir-edm.toml:2: input-tcp: 'x' names no port")


@pytest.mark.parametrize("name", ["tcp", "tls"])
def test_each_input_will_do(load: Load, name: str) -> None:
    config = load(
        f"input-{name} = '[::1]:53535'\ncryptopan-key = 'k'\ninput-tls-cert-file = 'c'\ninput-tls-key-file = 'k'\n"
    )
    assert SocketAddress("::1", 53535) in (config.input_tcp, config.input_tls)


def test_who_counts_most(load: Load) -> None:
    text = LEAST + "newqname-buffer = 1\n"
    environment = {"DNSTAPIR_EDM_NEWQNAME_BUFFER": "2", "NEWQNAME_BUFFER": "9"}
    assert load().newqname_buffer == 1000
    assert load(text).newqname_buffer == 1
    assert load(text, environment=environment).newqname_buffer == 2
    assert load(text, environment=environment, flags={"newqname-buffer": "3"}).newqname_buffer == 3


def test_a_wrong_value_that_does_not_count_does_not_matter(load: Load) -> None:
    assert load(LEAST + "debug = 5\n", environment={"DNSTAPIR_EDM_DEBUG": "t"}).debug


@pytest.mark.parametrize("name", [name for name, key in KEYS.items() if key.variable])
def test_every_key_is_in_the_environment_and_on_the_command_line(load: Load, name: str) -> None:
    texts = {
        Kind.TEXT: "mqtts://other.example",
        Kind.PATH: "/other",
        Kind.ADDRESS: "127.0.0.1:9",
        Kind.NUMBER: "1",
        Kind.DECIMAL: "40",
        Kind.SECONDS: "1.5",
        Kind.FLAG: "1",
    }
    special = {"http-url": "http://other.example", "input-unix-mode": "0600", "newqname-buffer": "7"}
    more = {"minimiser-workers": "0x10", "input-frame-limit": "01000", "input-block-octets": "0x4000", "mqtt-qos": "0"}
    text = (special | more).get(name, texts[KEYS[name].kind])
    inputs = ("input-unix", "input-tcp", "input-tls")
    file = LEAST if name not in inputs else LEAST.partition("\n")[2]
    file += "" if name.startswith("input-tls-") else "input-tls-cert-file = 'c'\ninput-tls-key-file = 'k'\n"
    field = name.replace("-", "_")
    by_variable = load(file, environment={edm_variable(name): text})
    by_flag = load(file, flags={name: text})
    assert getattr(by_variable, field) == getattr(by_flag, field)
    if name not in inputs:
        assert getattr(by_flag, field) != getattr(load(LEAST), field)


def test_relative_paths_start_where_they_are_written(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = load(LEAST + "http-ca-file = 'ca.pem'\n", environment={"DNSTAPIR_EDM_MQTT_CA_FILE": "ca.pem"})
    assert config.http_ca_file == tmp_path / "ca.pem"
    assert config.mqtt_ca_file == elsewhere / "ca.pem"


def test_variables_that_say_nothing_are_told_of(load: Load) -> None:
    config = load(environment={"DNSTAPIR_EDM_CONFIG_FILE": "/x", "DNSTAPIR_EDM_MQTT_SIGN_WORKERS": "1", "PATH": ""})
    assert [notice.key for notice in config.notices] == ["DNSTAPIR_EDM_CONFIG_FILE", "DNSTAPIR_EDM_MQTT_SIGN_WORKERS"]


def test_what_is_sent_in_clear_is_told_of(load: Load) -> None:
    lines = "http-url = 'HTTP://core.example'\nmqtt-server = 'tcp://broker.example'\n"
    http, mqtt = load(LEAST + lines).notices
    assert (http.key, http.warning, http.text) == (
        "http-url",
        True,
        "histograms go there in clear, and nobody proves who it is; https:// does both",
    )
    assert (mqtt.key, mqtt.warning, mqtt.text) == (
        "mqtt-server",
        True,
        "new names go there in clear, and nobody proves who it is; mqtts:// does both",
    )
    assert load(LEAST + lines + "disable-mqtt = true\ndisable-histogram-sender = true\n").notices == ()


def test_profiling_of_go_is_told_of(load: Load) -> None:
    (notice,) = load(LEAST + "debug-enable-mutexprofiling = true\n").notices
    assert str(notice).endswith(":3: debug-enable-mutexprofiling: " + notice.text)


def test_a_path_of_the_file_in_itself_is_allowed(load: Load, tmp_path: Path) -> None:
    assert load(LEAST + 'config-file = "/other"\n').config_file == tmp_path / "dnstapir-edm.toml"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"cryptopan-key = {SECRET}\n", ":1: is not TOML from column 17 on: invalid value"),
        (
            f"cryptopan-key = '{SECRET}'\ncryptopan-key = ''\n",
            ":2: is not TOML from column 19 on: a key is given twice",
        ),
        ("a\n", ":1: is not TOML from column 2 on: expected '=' after a key"),
        ("a = '\x01'\n", ":1: is not TOML from column 6 on: it does not belong there"),
        ("a = [1", ": is not TOML to its end"),
        ("a = " + 5000 * "[", ": is not TOML to its end"),
        ("#" * (1 << 20) + "\n", ": is too large; allowed are 1048576 octets"),
    ],
)
def test_what_is_no_toml(faults_of: Callable[..., list[str]], text: str, fault: str) -> None:
    (told,) = faults_of(text)
    assert told.startswith("dnstapir-edm.toml" + fault)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "tapir-edm.toml").mkdir()
    with pytest.raises(ConfigErrors) as caught:
        load_edm(tmp_path / "none.toml", environment={})
    assert caught.value.lines == (
        f"{tmp_path}/none.toml: there is no such file",
        f"{tmp_path}/tapir-edm.toml: cannot be read: Is a directory",
    )
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = '\xe4'\n")
    with pytest.raises(ConfigErrors, match=r"latin\.toml:2: is not UTF-8"):
        load_edm(tmp_path / "latin.toml", environment={})
    with pytest.raises(ConfigErrors, match="cannot be read"):
        load_edm(Path("x\0y"), environment={})


def test_a_reload_takes_what_needs_no_restart(load: Load) -> None:
    running = load()
    lines = "pebble-sync = true\nwell-known-domains-file = '/new'\n"
    lines += "http-url = 'https://new.example'\ndebug-dnstap-filename = 'x'\n"
    loaded = load(LEAST + lines, own="new-qname-rate = 7\n")
    changes = compare_edm(running, loaded)
    assert changes.honoured == ("well-known-domains-file", "pebble-sync", "new-qname-rate")
    assert changes.restart == ("http-url", "debug-dnstap-filename")
    after = edm_after_reload(running, loaded)
    assert (after.pebble_sync, after.well_known_domains_file, after.new_qname_rate) == (True, Path("/new"), 7)
    assert (after.http_url, after.debug_dnstap_filename) == (running.http_url, None)
    assert compare_edm(after, loaded).honoured == ()


def test_a_sender_that_is_switched_on_by_a_reload_has_new_keys(load: Load) -> None:
    running = load(LEAST + "disable-histogram-sender = true\nhttp-url = ''\n")
    loaded = load(LEAST + "http-url = 'https://new.example'\n")
    after = edm_after_reload(running, loaded)
    assert after.aggregate_url == "https://new.example/api/v1/aggregate/histogram"


@pytest.mark.parametrize("own", [False, True])
def test_the_page_has_every_key(own: bool) -> None:
    sections = PAGE.read_text().split("\n## ")
    (section,) = [text for text in sections if text.startswith("`tapir-edm" if own else "`dnstapir-edm")]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \| (\S+) \| (.+) \|$", section, re.MULTILINE)
    expected = []
    for name, key in KEYS.items():
        default = str(key.default).lower() if isinstance(key.default, bool) else str(key.default)
        default = f"`{default}`" if default else "empty"
        if key.own == own:
            expected.append((name, key.kind.value.partition(",")[0], default, not key.reload))
    assert [(name, kind, default, text.endswith("↻")) for name, kind, default, text in rows] == expected


def test_the_example_of_the_page_loads(load: Load) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert load(example).broker is None


def test_telemetry_is_signed_by_the_key_of_events_unless_another_is_named(load: Load, tmp_path: Path) -> None:
    assert load().telemetry is None
    topic = "telemetry-topic = 'status/up/{EdgeId}/edm'\n"
    telemetry = load(own=topic).telemetry
    assert telemetry is not None
    assert (telemetry.topic, telemetry.certificate) == ("status/up/{EdgeId}/edm", None)
    assert telemetry.signing_key == tmp_path / "edm-mqtt-signer-key.pem"
    assert (telemetry.interval, telemetry.heartbeat) == (60, 900)
    telemetry = load(own=topic + "telemetry-signing-key-file = 'other.json'\ntelemetry-interval = 5\n").telemetry
    assert telemetry is not None
    assert (telemetry.signing_key, telemetry.interval) == (tmp_path / "other.json", 5)


def test_telemetry_without_mqtt_goes_nowhere_and_that_is_said(load: Load) -> None:
    config = load(LEAST + "disable-mqtt = true\n", own="telemetry-topic = 'status/up/x/edm'\n")
    assert config.telemetry is None
    assert [(notice.key, notice.text) for notice in config.notices] == [
        ("telemetry-topic", "nothing is published there: disable-mqtt is set")
    ]


def test_a_topic_of_telemetry_is_one_to_publish_on(faults_of: Callable[..., list[str]]) -> None:
    (told,) = faults_of(LEAST, own="telemetry-topic = 'status/#'\n")
    assert "telemetry-topic: 'status/#' is no topic to publish on" in told
