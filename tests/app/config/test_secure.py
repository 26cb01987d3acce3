"""`keys`, `dnsengine.access`, `dnsengine.tls` and what outputs say of both, from the files to the actors' settings."""

from pathlib import Path
from typing import Any

import pytest
from certificates import Authority

from tapir.app.config import Config, ConfigErrors, load, tls_after_reload
from tapir.app.mapping import notifier_settings, server_settings
from tapir.model.names import parse_name
from tapir.services.authority.access import AccessList, Secured
from tapir.zone.query import QueryKind

SECRET = "c2l4dGVlbiBvY3RldHMgb3IgbW9yZSBvZiBpdAo="
OTHER = "b3RoZXIgb2N0ZXRzLCBidXQgYXMgbWFueSBvZiB0aGVtCg=="


@pytest.fixture
def folder(write_config, tmp_path: Path):
    """`folder(more=..., outputs=...)` is a configuration beside which lie a key file and certificates."""
    made = tmp_path / "config"
    made.mkdir()
    (made / "k.key").write_text(SECRET + "\n")
    (made / "k.key").chmod(0o640)

    def make(**texts: Any) -> Path:
        folder: Path = write_config(**texts)
        return folder

    return make


KEYS = "keys:\n  K.Test: { secret-file: k.key }\n  other.test: { algorithm: HMAC-SHA512, secret-file: k.key }\n"


def engine(*lines: str) -> str:
    inside = "".join(f"  {line}\n" for line in lines)
    return (
        'services: { rpz: { zonename: rpz.pop.example. } }\ndnsengine:\n  addresses: ["127.0.0.1:5359"]\n'
        + inside
        + KEYS
    )


def faults(folder: Path) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(folder)
    return [str(fault).partition(": ")[2] for fault in caught.value.errors]


def warnings(config: Config) -> list[str]:
    return [str(notice).partition(": ")[2] for notice in config.notices if notice.warning]


def test_keys_are_read_from_their_files_and_never_shown(folder) -> None:
    config = load(folder(more=KEYS))
    assert warnings(config) == []
    assert [(key.name, key.algorithm) for key in config.keys] == [
        (parse_name("k.test"), "hmac-sha256"),
        (parse_name("other.test"), "hmac-sha512"),
    ]
    assert config.keys[0].secret == b"sixteen octets or more of it\n"
    assert SECRET not in repr(config)
    assert "sixteen" not in repr(config)


def test_what_is_wrong_with_a_key_is_said_without_its_secret(folder) -> None:
    made = folder()
    (made / "bad.key").write_text("no base64 §" + SECRET, encoding="utf-8")
    (made / "open.key").write_text("YWJj")
    (made / "open.key").chmod(0o644)
    (made / "block.key").write_text(f'key "k.test" {{ algorithm hmac-sha512; secret "{SECRET}"; }};')
    (made / "bytes.key").write_bytes(b"\xff\xfe")
    more = """\
keys:
  a: { secret-file: missing.key }
  b: { secret-file: bad.key }
  c: { algorithm: hmac-md5, secret-file: k.key }
  k.test: { algorithm: hmac-sha256, secret-file: block.key }
  d: { algorithm: hmac-sha256 }
  e..f: { secret-file: k.key }
  other: { secret-file: block.key }
  g: { secret-file: bytes.key }
"""
    said = faults(folder(more=more))
    assert len(said) == 8, said
    text = "\n".join(said)
    for part in (
        "missing.key cannot be read: No such file",
        "bad.key: it is no text",
        "'hmac-md5' is not allowed",
        "hmac-sha256 here, and hmac-sha512 in",
        "needed is the path of a file with the secret",
        "'e..f' is not a domain name",
        "none of that name",
        "bytes.key: it is no text",
    ):
        assert part in text
    assert SECRET not in text
    config = load(folder(more="keys: { a: { secret-file: open.key } }\n"))
    assert len(warnings(config)) == 2
    assert "mode 0644: others can read or change it" in warnings(config)[0]
    assert "the secret has 3 octets" in warnings(config)[1]


def test_a_key_without_its_file_is_one_fault_however_many_rules_name_it(folder) -> None:
    more = engine("access:", "  - { from: 192.0.2.0/24, key: [Lost.Test., k.test] }").replace(
        "keys:\n", "keys:\n  lost.test: { secret-file: lost.key }\n"
    )
    outputs = 'outputs: { r: { active: true, downstream: "192.0.2.1:53", key: lost.test } }\n'
    said = faults(folder(main=more, outputs=outputs))
    assert len(said) == 1, said
    assert "lost.key cannot be read: No such file" in said[0]


OUTPUTS = """\
outputs:
  r1: { active: true, downstream: "192.0.2.1:53", key: k.test }
  r2: { active: true, downstream: "192.0.2.2:53", key: [other.test, k.test], allow: [soa, ixfr] }
  r3: { active: true, downstream: "192.0.2.3:53" }
"""


def serve(config: Config) -> AccessList:
    server = config.server
    return AccessList(server_settings(config, zone=config.zone, addresses=server.addresses, tls=server.tls).access)


def test_outputs_with_a_key_are_judged_by_it_and_told_by_it(folder) -> None:
    config = load(folder(more=KEYS, outputs=OUTPUTS))
    assert warnings(config) == []
    access = serve(config)
    k, other = parse_name("k.test"), parse_name("other.test")

    def may(host: str, kind: QueryKind, key: Any = None) -> bool:
        return access.grant(host, key=key).allows(kind)

    assert not may("192.0.2.1", QueryKind.SOA)
    assert may("192.0.2.1", QueryKind.AXFR, k)
    assert not may("192.0.2.1", QueryKind.AXFR, other)
    assert may("192.0.2.2", QueryKind.IXFR, other)
    assert may("192.0.2.2", QueryKind.IXFR, k)
    assert not may("192.0.2.2", QueryKind.AXFR, k)
    assert may("192.0.2.3", QueryKind.AXFR)
    assert may("127.0.0.1", QueryKind.AXFR)
    assert not may("192.0.2.4", QueryKind.SOA, k)
    assert access.grant("192.0.2.1").reason == "outputs.r1 wants it signed by the key k.test."
    signing = {address: key.name for address, key in notifier_settings(config).keys}
    assert signing == {("192.0.2.1", 53): k, ("192.0.2.2", 53): other}


def test_rules_take_the_place_of_the_wide_default(folder) -> None:
    more = engine(
        "access:",
        "  - { from: 192.0.2.66, allow: [] }",
        "  - { from: [192.0.2.0/24], key: k.test }",
        "  - { from: 198.51.100.0/24, allow: [soa, lookup] }",
    )
    config = load(folder(main=more, outputs=OUTPUTS))
    assert warnings(config) == []
    access = serve(config)
    assert not access.grant("127.0.0.1").kinds
    assert not access.grant("192.0.2.3").kinds
    assert not access.grant("192.0.2.66", key=parse_name("k.test")).kinds
    assert access.grant("192.0.2.9", key=parse_name("k.test")).allows(QueryKind.AXFR)
    assert access.grant("198.51.100.1").kinds == {QueryKind.SOA, QueryKind.LOOKUP}
    assert access.grant("192.0.2.9").reason.startswith("dnsengine.access[1] wants it signed")


def test_what_probably_was_not_meant_is_warned_of(folder) -> None:
    more = engine("allow-transfer: [192.0.2.0/25]", "access:", "  - { from: 192.0.2.0/24, key: k.test }")
    far = 'outputs: { r: { active: true, downstream: "203.0.113.1:53" } }\n'
    said = warnings(load(folder(main=more, outputs=far)))
    assert len(said) == 2
    assert "leaves out 203.0.113.1, which outputs.r notifies" in said[0] + said[1]
    assert "lets 192.0.2.0/25 ask everything, so dnsengine.access[0] holds nobody there back" in said[0] + said[1]


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("{ key: k.test }", "dnsengine.access[0].from: missing"),
        ("{ from: nowhere }", "dnsengine.access[0].from[0]: 'nowhere' is no prefix"),
        ("{ from: 192.0.2.1, key: none }", "no key is called 'none'; allowed is k.test. or other.test."),
        ("{ from: 192.0.2.1, key: [] }", "empty; leave it out"),
        ("{ from: 192.0.2.1, key: a..b }", "'a..b' is not a domain name"),
        ("{ from: 192.0.2.1, allow: [update] }", "'update' is not allowed; allowed is soa, ixfr, axfr or lookup"),
        ("{ from: 192.0.2.1, tls: true }", "wants TLS, and dnsengine.tls is not there"),
        ("", "dnsengine.access[0]: "),
    ],
)
def test_rules_that_cannot_be_used_are_errors(folder, rule: str, fault: str) -> None:
    said = faults(folder(main=engine("access:", f"  - {rule}")))
    assert len(said) == 1
    assert fault in said[0]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_tls_is_served_by_files_that_fit(folder, authority: Authority) -> None:
    made = folder()
    pair = authority.issue("pop")
    other = authority.issue("other")
    for file in (pair.certificate, pair.key, authority.ca):
        (made / file.name).write_bytes(file.read_bytes())
    (made / "pop.key").chmod(0o640)
    tls = ["tls:", '  addresses: ["127.0.0.1:853"]', "  certificate: pop.pem", "  key: pop.key"]
    rules = ["access:", "  - { from: 192.0.2.1, tls: true }", "  - { from: 192.0.2.2, client-certificate: true }"]
    assert faults(folder(main=engine(*tls, *rules))) == [
        "dnsengine.access: wants client certificates, and there is no dnsengine.tls.client-ca"
    ]
    main = engine(*tls, "  client-ca: ca.pem", *rules)
    config = load(folder(main=main))
    settings = server_settings(config, zone=config.zone, addresses=config.server.addresses, tls=config.server.tls)
    assert settings.tls is not None
    assert settings.tls.addresses == (("127.0.0.1", 853),)
    assert (settings.tls.certificate, settings.tls.client_ca) == (made / "pop.pem", made / "ca.pem")
    assert [rule.secured for rule in settings.rules] == [Secured.TLS, Secured.CLIENT_CERTIFICATE]
    assert warnings(config) == []
    (made / "pop.key").chmod(0o644)
    assert [text.partition(" has ")[2][:9] for text in warnings(load(folder(main=main)))] == ["mode 0644"]
    moved = load(
        folder(main=main.replace("853", "8853").replace("ca.pem\n", "ca.pem\n    require-client-certificate: yes\n"))
    )
    after = tls_after_reload(config, moved)
    assert after is not None
    assert [str(address) for address in after.addresses] == ["127.0.0.1:853"]
    assert after.require_client_certificate
    plain = load(folder())
    assert tls_after_reload(plain, config) is None
    assert tls_after_reload(config, plain) == config.server.tls
    (made / "pop.key").write_bytes(other.key.read_bytes())
    assert "key values mismatch" in faults(made_again := folder(main=main))[0]
    assert made_again == made


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        (["tls: {}"], 3),
        (["tls: { addresses: [x], certificate: a, key: b }"], 2),
        (['tls: { addresses: ["127.0.0.1:853"], certificate: a, key: b, require-client-certificate: true }'], 2),
    ],
)
def test_tls_that_lacks_something_is_an_error(folder, lines: list[str], count: int) -> None:
    assert len(faults(folder(main=engine(*lines)))) == count
