from pathlib import Path

import pytest

from tapir.app.config import Config, ConfigErrors, SocketAddress, load
from tapir.app.mapping_api import api_settings

OWN = "apiserver: { key: own-secret, addresses: [ '192.0.2.1:9099', '[2001:db8::1]:9099' ] }\n"


def warnings_of(config: Config) -> list[str]:
    return [f"{notice.key}: {notice.text}" for notice in config.notices]


def test_without_the_sections_nothing_listens(write_config):
    config = load(write_config())
    assert config.api is None
    assert api_settings(config).endpoints == ()


@pytest.mark.parametrize(
    "more",
    [
        "apiserver: { active: false, key: own-secret, addresses: [ '127.0.0.1:9099' ] }\n",
        "apiserver: { key: own-secret }\n",
        "bootstrapserver: { active: off, tlsaddresses: [ '127.0.0.1:5455' ] }\n",
    ],
)
def test_what_is_not_active_or_has_no_address_does_not_listen(write_config, more: str):
    config = load(write_config(more=more))
    assert config.api is None
    assert not config.notices


def test_with_a_key_of_its_own_it_listens_where_it_is_told(write_config):
    config = load(write_config(more=OWN))
    assert config.api is not None
    assert config.api.addresses == (SocketAddress("192.0.2.1", 9099), SocketAddress("2001:db8::1", 9099))
    assert not config.notices
    settings = api_settings(config)
    assert [(str(each), each.surface, each.tls) for each in settings.endpoints] == [
        ("192.0.2.1:9099", "api", False),
        ("[2001:db8::1]:9099", "api", False),
    ]
    assert settings.key.admits("own-secret")
    assert not settings.key.admits("other")
    assert "own-secret" not in repr(config) + repr(settings)


@pytest.mark.parametrize(
    ("key", "told"), [("key: be-nice-to-a-bad-tempered-tapir,", "known to everybody"), ("", "there is no key")]
)
def test_with_a_key_that_keeps_nobody_out_it_stays_on_this_host(write_config, key: str, told: str):
    more = (
        f"apiserver: {{ {key} addresses: [ '0.0.0.0:9099', '192.0.2.1:9099', '[::]:9099', '127.0.0.5:9097' ] }}\n"
        "bootstrapserver: { addresses: [ '0.0.0.0:5454' ] }\n"
    )
    config = load(write_config(more=more))
    assert config.api is not None
    assert [str(address) for address in config.api.addresses] == ["127.0.0.1:9099", "[::1]:9099", "127.0.0.5:9097"]
    assert [str(address) for address in config.api.bootstrap_addresses] == ["127.0.0.1:5454"]
    (warning,) = warnings_of(config)
    assert told in warning
    assert "key-file" in warning
    assert "127.0.0.1:9099 [::1]:9099 127.0.0.5:9097 127.0.0.1:5454" in warning


def test_the_key_comes_from_a_file(write_config):
    folder = write_config(more="apiserver: { key-file: api.key, addresses: [ '192.0.2.1:9099' ] }\n")
    (folder / "api.key").write_text("from-a-file\n")
    config = load(folder)
    assert config.api is not None
    assert config.api.key == "from-a-file"
    assert not config.notices


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "holds no key"),
        (b"two\nlines", "holds no key"),
        (b"x" * 2000, "holds no key"),
        (b"\xc3\xa5", "is no ASCII text"),
    ],
)
def test_a_key_file_that_is_none_is_an_error_that_shows_nothing(write_config, content: bytes | None, text: str):
    folder = write_config(more="apiserver: { key-file: api.key, addresses: [ '192.0.2.1:9099' ] }\n")
    if content is not None:
        (folder / "api.key").write_bytes(content)
    with pytest.raises(ConfigErrors) as caught:
        load(folder)
    (line,) = caught.value.lines
    assert text in line
    assert "two" not in line
    assert "xxx" not in line


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("{ key: a, key-file: b, addresses: [ '127.0.0.1:1' ] }", "there is `key`, too"),
        ("{ key: a, addresses: [ '127.0.0.1:1', '127.0.0.1:1' ] }", "127.0.0.1:1 is given twice"),
        ("{ key: a, addresses: [ '127.0.0.1:1' ], tlsaddresses: [ '127.0.0.1:1' ] }", "127.0.0.1:1 is given twice"),
        ("{ key: a, addresses: [ 'localhost:1' ] }", "has no IP address"),
    ],
)
def test_what_cannot_be_is_an_error(write_config, section: str, text: str):
    with pytest.raises(ConfigErrors, match=text):
        load(write_config(more=f"apiserver: {section}\n"))


def test_without_a_certificate_nothing_is_served_over_tls_and_the_rest_is(write_config):
    more = "apiserver: { key: own, addresses: [ '127.0.0.1:1' ], tlsaddresses: [ '127.0.0.1:2' ] }\n"
    config = load(write_config(more=more))
    assert config.api is not None
    assert (len(config.api.addresses), config.api.tls_addresses) == (1, ())
    assert warnings_of(config) == [
        "certs.tapir-pop: without `cert` and `key` the API is not served over TLS; needed are the paths of both"
    ]


def test_the_certificate_is_the_nodes(write_config):
    more = (
        "apiserver: { key: own, tlsaddresses: [ '127.0.0.1:2' ] }\n"
        "certs: { cacertfile: ca.crt, tapir-pop: { cert: tls.crt, key: /etc/tls.key } }\n"
    )
    folder = write_config(more=more)
    tls = api_settings(load(folder)).tls
    assert tls is not None
    assert (tls.certificate, tls.key, tls.client_ca) == (folder / "tls.crt", Path("/etc/tls.key"), folder / "ca.crt")
