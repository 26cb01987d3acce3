"""`sources.ID` with `source: mqtt`: what becomes of each key, and what is said of those that make no sense."""

import attrs
import pytest

from tapir.app.config import Config, ConfigErrors, load
from tapir.app.config.settings import BootstrapConfig
from tapir.app.observing import observation_settings
from tapir.codec.globalconfig import BootstrapSettings as LearnedBootstrap
from tapir.codec.globalconfig import GlobalConfiguration
from tapir.model.actions import ListKind

MORE = """\
tapir: { mqtt: { server: mqtt://127.0.0.1 } }
keystore: { path: keys.json }
certs: { cacertfile: ca.crt, tapir-pop: { cert: tls.crt, key: tls.key } }
"""
SOURCE = {"active": "true", "name": "dns-tapir", "type": "doubtlist", "source": "mqtt", "topic": "obs/down"}
BOOTSTRAP = {
    "bootstrap": '["192.0.2.9:5455", ""]',
    "bootstrapurl": "https://%s/api/v1",
    "bootstrapkey": "s3cret",
}


def text_of(keys):
    return "sources:\n  core:\n" + "".join(f"    {key}: {value}\n" for key, value in keys.items())


@pytest.fixture
def loaded(write_config):
    def read(more=MORE, **keys) -> Config:
        given = {**SOURCE, **{key.replace("_", "-"): value for key, value in keys.items()}}
        return load(write_config(more=more, sources=text_of(given)))

    return read


def faults(loaded, **keys):
    with pytest.raises(ConfigErrors) as caught:
        loaded(**keys)
    return [f"{fault.key}: {fault.text}" for fault in caught.value.errors]


def warnings(config):
    return [f"{notice.key}: {notice.text}" for notice in config.notices if notice.key.startswith("sources.core")]


def settings_of(config, tmp_path):
    (source,) = config.sources
    return observation_settings(source, config, zone=config.zone.name, store_path=tmp_path / "core.db")


def test_a_topic_and_keys_are_all_it_takes(loaded, tmp_path):
    config = loaded()
    (source,) = config.sources
    assert (source.supported, source.required, source.kind) == (True, False, ListKind.DOUBT)
    assert warnings(config) == []
    settings = settings_of(config, tmp_path)
    assert (settings.id, settings.name, settings.topics) == ("core", "dns-tapir", ("obs/down",))
    assert settings.keystore == config.config_dir / "keys.json"
    assert (settings.signers, settings.reaper_interval, settings.bootstrap) == (None, 60, None)


def test_each_key_has_its_place(loaded, tmp_path):
    config = loaded(
        more=MORE + "log: {}\n",
        type="allowlist",
        signers="[a, b]",
        immutable="true",
        required="true",
        broad="true",
        **BOOTSTRAP,
    )
    (source,) = config.sources
    assert (source.kind, source.required) == (ListKind.ALLOW, True)
    assert source.observations is not None
    assert source.observations.immutable
    settings = settings_of(config, tmp_path)
    assert settings.signers == ("a", "b")
    assert settings.broad
    folder = config.config_dir
    assert source.observations.bootstrap == BootstrapConfig(
        servers=("192.0.2.9:5455",),
        url="https://%s/api/v1",
        key="s3cret",
        ca=folder / "ca.crt",
        certificate=folder / "tls.crt",
        private_key=folder / "tls.key",
    )
    assert settings.bootstrap is not None
    assert (settings.bootstrap.key, settings.bootstrap.verify) == ("s3cret", True)
    assert "s3cret" not in repr(source)
    assert "s3cret" not in repr(settings)


def test_an_allowlist_holds_nothing_up_unless_it_is_said(loaded):
    (source,) = loaded(type="allowlist").sources
    assert not source.required


def test_the_reaper_has_its_interval(write_config):
    main = "services: { rpz: { zonename: dnstapir. }, reaper: { interval: 5 } }\n"
    main += "dnsengine: { addresses: ['127.0.0.1:53'] }\n"
    folder = write_config(main=main, more=MORE, sources=text_of(SOURCE))
    (source,) = load(folder).sources
    assert source.observations is not None
    assert source.observations.reaper_interval == 5


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"topic": ""}, "sources.core.topic: has no value; needed is the topic of the observations"),
        ({"topic": "a/#/b"}, "sources.core.topic: 'a/#/b' is no topic"),
        ({"signers": "[]"}, "sources.core.signers: nobody could sign for it"),
        ({**BOOTSTRAP, "bootstrapurl": "https://x/api"}, "sources.core.bootstrapurl: 'https://x/api' is not such"),
        ({**BOOTSTRAP, "bootstrapurl": ""}, "sources.core.bootstrapurl: has no value; needed is where the API is"),
        ({**BOOTSTRAP, "bootstrapkey": ""}, "sources.core.bootstrapkey: has no value; needed is the API key"),
    ],
)
def test_what_makes_no_sense_is_an_error(loaded, keys, found):
    (fault,) = faults(loaded, **keys)
    assert fault.startswith(found)


def test_without_keys_there_are_no_observations(loaded):
    (fault,) = faults(loaded, more="tapir: { mqtt: { server: mqtt://127.0.0.1 } }\n")
    assert fault.startswith("keystore.path: missing; needed is the file of the keys that sign observations")


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"format": "tapir-msg-v1"}, []),
        ({"format": "json"}, []),
        ({"format": "csv"}, ["sources.core.format: is not looked at"]),
        ({"validatorkey": "key.json"}, ["sources.core.validatorkey: is not looked at"]),
        ({**BOOTSTRAP, "bootstrap_verify": "false"}, ["sources.core.bootstrap-verify: is false"]),
        ({**BOOTSTRAP, "bootstrap_key_file": "key"}, ["sources.core.bootstrapkey: is not looked at"]),
    ],
)
def test_what_does_nothing_is_said(loaded, keys, found):
    said = warnings(loaded(**keys))
    assert [line.startswith(start) for line, start in zip(said, found, strict=True)] == [True] * len(found)


def test_where_to_bootstrap_from_may_be_learned(loaded, tmp_path):
    learned = GlobalConfiguration(
        version="1",
        bootstrap=LearnedBootstrap(servers=("198.51.100.1:5455",), base_url="https://%s/api/v1", token="t"),
    )
    config = attrs.evolve(loaded(**BOOTSTRAP), learned=learned)
    settings = settings_of(config, tmp_path)
    assert settings.bootstrap is not None
    assert (settings.bootstrap.servers, settings.bootstrap.key) == (("198.51.100.1:5455",), "t")
    assert settings.bootstrap.ca == config.config_dir / "ca.crt"
    config = attrs.evolve(loaded(), learned=learned)
    settings = settings_of(config, tmp_path)
    assert settings.bootstrap is not None
    assert (settings.bootstrap.servers, settings.bootstrap.ca) == (("198.51.100.1:5455",), config.config_dir / "ca.crt")
    config = attrs.evolve(loaded(**BOOTSTRAP, immutable="true"), learned=learned)
    settings = settings_of(config, tmp_path)
    assert settings.bootstrap is not None
    assert settings.bootstrap.servers == ("192.0.2.9:5455",)


def test_lists_of_one_topic_know_of_each_other(write_config, tmp_path):
    others = {
        "same": {**SOURCE, "type": "denylist"},
        "else": {**SOURCE, "name": "b", "topic": "obs/other"},
        "off": {**SOURCE, "name": "c", "active": "false"},
    }
    text = text_of(SOURCE) + "".join(
        f"  {name}:\n" + "".join(f"    {key}: {value}\n" for key, value in keys.items())
        for name, keys in others.items()
    )
    config = load(write_config(more=MORE, sources=text))
    found = {
        source.id: observation_settings(source, config, zone=config.zone.name, store_path=tmp_path).neighbours
        for source in config.sources
        if source.id != "off"
    }
    doubt, deny = ("dns-tapir", ListKind.DOUBT), ("dns-tapir", ListKind.DENY)
    assert found == {"core": {deny}, "same": {doubt}, "else": frozenset()}
