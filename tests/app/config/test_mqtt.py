"""`tapir.mqtt`, `tapir.config` and `keystore`, from the files to the session's settings."""

import json
from pathlib import Path

import attrs
import pytest

from tapir.app.config import BrokerAddress, Config, ConfigErrors, GlobalConfig, load
from tapir.app.config.inforce import pack_in_force
from tapir.app.config.mqtt import parse_broker
from tapir.app.config.report import Invalid
from tapir.app.config.settings import BootstrapConfig, ObservationsConfig, SourceBrakeConfig, SourceConfig
from tapir.app.uplink import GLOBAL, global_settings, learned_bootstrap, overlay, session_settings
from tapir.codec.globalconfig import BootstrapSettings, GlobalConfiguration, TopicSettings
from tapir.model.actions import ListKind
from tapir.store.state import StateDirectory

KEYS = "keystore: { path: keys.json }\n"


def faults(folder: Path) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(folder)
    return [str(fault).partition(": ")[2] for fault in caught.value.errors]


def notices(config: Config) -> list[str]:
    return [str(notice).partition(": ")[2] for notice in config.notices]


def wanting(*lines: str) -> str:
    """`tapir` with these lines of `tapir.mqtt`, and something that needs the connection."""
    inside = "".join(f"    {line}\n" for line in lines)
    return f"{KEYS}tapir:\n  config: {{ active: true, topic: config/down }}\n  mqtt:\n{inside}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtts://broker.example:8884", ("broker.example", 8884, True)),
        ("mqtts://broker.example", ("broker.example", 8883, True)),
        ("mqtts://broker.example/", ("broker.example", 8883, True)),
        ("tls://b", ("b", 8883, True)),
        ("SSL://B.Example", ("b.example", 8883, True)),
        ("tcps://b", ("b", 8883, True)),
        ("mqtt+ssl://b", ("b", 8883, True)),
        ("mqtt://b", ("b", 1883, False)),
        ("tcp://127.0.0.1:1", ("127.0.0.1", 1, False)),
        ("b.example:1884", ("b.example", 1884, False)),
        ("b.example", ("b.example", 1883, False)),
        ("mqtts://[2001:db8::1]:9", ("2001:db8::1", 9, True)),
        ("[::1]", ("::1", 1883, False)),
    ],
)
def test_every_scheme(text: str, expected: tuple[str, int, bool]) -> None:
    found = parse_broker(text)
    assert (found.host, found.port, found.tls) == expected
    assert parse_broker(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ws://b", "WebSocket is not supported"),
        ("wss://b:443/mqtt", "WebSocket is not supported"),
        ("http://b", "unknown scheme"),
        ("mqtts://user:hunter2@b", "user name or password"),
        ("mqtts://", "names no host"),
        ("mqtts://b:0", "more than a host and a port"),
        ("mqtts://b:99999", "is no URL"),
        ("mqtts://b:x", "is no URL"),
        ("mqtts://[::1", "is no URL"),
        ("mqtts://[v1.a]", "is no URL"),
        ("mqtts://b/path", "more than a host and a port"),
        ("mqtts://b?x", "more than a host and a port"),
        ("mqtts://a b", "names no host"),
    ],
)
def test_what_is_no_broker(text: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_broker(text)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_there_is_a_connection_only_where_something_needs_it(write_config) -> None:
    config = load(write_config(more="tapir: { mqtt: { server: b } }"))
    assert config.mqtt is None
    assert load(write_config(more=wanting("server: b"))).mqtt is not None
    assert faults(write_config(more=f"{KEYS}tapir: {{ config: {{ active: true, topic: t }} }}")) == [
        "tapir.mqtt.server: missing; needed is the broker's URL, such as mqtts://broker.example:8883, for tapir.config "
        "needs it"
    ]


def test_the_global_configuration_needs_a_topic_and_keys(write_config) -> None:
    assert faults(write_config(more="tapir: { mqtt: { server: b }, config: { active: true } }")) == [
        "keystore.path: missing; needed is the file of the keys that may sign the global configuration",
        "tapir.config.topic: missing; needed is the topic of the global configuration, such as config/down/tapir-pop",
    ]
    (fault,) = faults(
        write_config(more=f"{KEYS}tapir: {{ mqtt: {{ server: b }}, config: {{ active: true, topic: a/#/b }} }}")
    )
    assert "is no topic" in fault


@pytest.mark.parametrize(
    ("lines", "qos", "words"),
    [
        ((), 1, "not given, so 1 is used"),
        (("qos: 0",), 1, "0, so 1 is used"),
        (("qos: 1",), 1, None),
        (("qos: 2",), 2, None),
        (("at-most-once: true",), 0, None),
        (("qos: 0", "at-most-once: true"), 0, None),
        (("qos: 2", "at-most-once: true"), 0, "2 is not used"),
        (("qos: 1", "at-most-once: false"), 1, None),
    ],
)
def test_nothing_is_lost_unless_that_is_asked_for(write_config, lines, qos, words) -> None:
    config = load(write_config(more=wanting("server: b", *lines)))
    assert config.mqtt is not None
    assert config.mqtt.qos == qos
    told = [notice for notice in notices(config) if "tapir.mqtt.qos" in notice]
    assert [words in notice for notice in told] == ([True] if words else [])


def test_files_of_tls(write_config, tmp_path) -> None:
    folder = write_config(more=wanting("server: mqtts://b", "qos: 1", "cacert: ca.pem", "clientcert: /x/c.pem"))
    assert faults(folder) == ["tapir.mqtt.clientkey: missing; needed is the file that goes with `clientcert`"]
    config = load(write_config(more=wanting("server: mqtts://b", "qos: 1")))
    assert [notice.partition(":")[0] for notice in notices(config)] == ["tapir.mqtt.cacert", "tapir.mqtt.clientcert"]
    (folder / "ca.pem").touch()
    pair = ("clientcert: c.pem", "clientkey: c.key")
    config = load(write_config(more=wanting("server: mqtts://b", "qos: 1", "cacert: ca.pem", *pair)))
    assert config.mqtt is not None
    assert (config.mqtt.ca, config.mqtt.certificate) == (folder / "ca.pem", folder / "c.pem")
    assert all("there is no file" in notice for notice in notices(config))
    assert len(notices(config)) == 2
    config = load(write_config(more=wanting("server: mqtt://b", "qos: 1", "cacert: ca.pem", *pair)))
    assert config.mqtt is not None
    assert (config.mqtt.ca, config.mqtt.certificate, config.mqtt.key) == (None, None, None)
    assert ["anybody can read along" in notice for notice in notices(config)] == [True]


# -- what the session and the sources make of it


def source(id_: str, **keys: object) -> SourceConfig:
    found = SourceConfig(
        id=id_,
        name=id_,
        description="",
        kind=ListKind.DOUBT,
        origin="mqtt",
        format="",
        active=True,
        supported=True,
        required=False,
        broad=False,
        path=None,
        column=None,
        match="exact",
        poll_interval=1,
        brake=SourceBrakeConfig(shrink=0.5, grow=2.0, minimum=1),
    )
    return attrs.evolve(found, observations=ObservationsConfig(topic=f"observations/{id_}", **keys))  # type: ignore[arg-type]


@pytest.fixture
def config(write_config) -> Config:
    found = load(write_config(more=wanting("server: b", "qos: 2")))
    return attrs.evolve(found, sources=(source("one"), source("fixed", immutable=True)))


@pytest.fixture
def state(tmp_path: Path):
    found = StateDirectory.open(tmp_path / "state")
    yield found
    found.close()


LEARNED = GlobalConfiguration(
    version="1",
    bootstrap=BootstrapSettings(servers=("192.0.2.9:1",), base_url="https://%s/api/v1", token="hush"),
    observation_topics=(TopicSettings(topic="new"), TopicSettings(topic="other")),
)


def topics(config: Config, state: StateDirectory) -> dict[str, str]:
    settings = session_settings(config, state)
    assert settings is not None
    assert {each.qos for each in settings.subscriptions} == {2}
    return {each.consumer: each.filter for each in settings.subscriptions}


def test_the_files_hold_while_nothing_was_received(config: Config, state: StateDirectory) -> None:
    found = overlay(config, None)
    assert topics(found, state) == {
        "one": "observations/one",
        "fixed": "observations/fixed",
        GLOBAL: "config/down",
    }
    assert learned_bootstrap(found.sources[0], found) is None


def test_what_was_received_lies_over_the_files_but_for_immutable_sources(config: Config, state: StateDirectory) -> None:
    found = overlay(config, LEARNED)
    assert topics(found, state) == {"one": "new", "fixed": "observations/fixed", GLOBAL: "config/down"}
    assert learned_bootstrap(found.sources[0], found) == LEARNED.bootstrap
    assert learned_bootstrap(found.sources[1], found) is None
    assert "hush" not in repr(found)
    quiet = attrs.evolve(LEARNED, observation_topics=(), bootstrap=None)
    assert topics(overlay(config, quiet), state)["one"] == "observations/one"
    # An operator who switches it off has the files again.
    off = attrs.evolve(config, global_config=None)
    assert overlay(off, LEARNED) == off
    assert topics(overlay(off, LEARNED), state)["one"] == "observations/one"


def test_what_the_process_goes_by_tells_no_secret(config: Config) -> None:
    bootstrap = BootstrapConfig(servers=("b:1",), url="https://%s", key="hush")
    observed = ObservationsConfig(topic="t", bootstrap=bootstrap)
    found = attrs.evolve(overlay(config, LEARNED), sources=(attrs.evolve(config.sources[0], observations=observed),))
    packed = json.dumps(pack_in_force(found))
    assert "https://%s" in packed
    assert "hush" not in packed


def test_settings_of_the_global_configuration(config: Config, state: StateDirectory) -> None:
    found = global_settings(config, state)
    assert found is not None
    assert (found.topic, found.keystore, found.store_path) == ("config/down", config.keystore, state.learned)
    assert global_settings(attrs.evolve(config, global_config=None), state) is None
    assert session_settings(attrs.evolve(config, mqtt=None), state) is None
    assert GlobalConfig(topic="config/down") == config.global_config
    assert str(BrokerAddress("::1", 1883, tls=False)) == "mqtt://[::1]:1883"
