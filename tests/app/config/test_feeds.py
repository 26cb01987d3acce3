"""`source: xfr`: what a feed may say, and what each mistake is told as."""

import base64

import pytest

from tapir.app.config import ConfigErrors, load
from tapir.model.actions import ListKind
from tapir.model.names import parse_name

KEYS = 'keys: { k.test: { secret-file: "k.key" } }\n'


@pytest.fixture
def load_feed(write_config):
    """Loads a configuration with one feed, of which `lines` are keys; `main` is added to the main file."""

    def load_it(*lines, kind="denylist", main=""):
        entry = ["active: true", "name: x", f"type: {kind}", "source: xfr", *lines]
        folder = write_config(sources="sources:\n  x:\n" + "".join(f"    {line}\n" for line in entry))
        secret = folder / "k.key"
        secret.write_text(base64.b64encode(bytes(32)).decode())
        secret.chmod(0o600)
        path = folder / "dnstapir-pop.yaml"
        path.write_text(path.read_text() + KEYS + main)
        return load(folder)

    return load_it


def complaints(load_feed, *lines, **keys):
    with pytest.raises(ConfigErrors) as caught:
        load_feed(*lines, **keys)
    return [f"{fault.key}: {fault.text}" for fault in caught.value.errors]


@pytest.mark.parametrize("kind", list(ListKind))
def test_a_feed_of_any_kind_is_supported(load_feed, kind):
    (source,) = load_feed("zone: Deny.Example", "upstream: 192.0.2.1:5353", kind=kind.value).sources
    assert (source.supported, source.kind, source.origin, source.format) == (True, kind, "xfr", "rpz")
    assert source.required == (kind is ListKind.ALLOW)
    (primary,) = source.feed.primaries
    assert (source.feed.zone, str(primary), primary.key, primary.tls) == (
        parse_name("deny.example"),
        "192.0.2.1:5353",
        None,
        None,
    )
    assert (source.feed.max_octets, source.feed.max_records, source.feed.transfer_timeout) == (
        2 << 30,
        20_000_000,
        3600,
    )
    assert source.feed.max_refresh is None


def test_all_that_a_feed_may_say(load_feed):
    (source,) = load_feed(
        "zone: deny.example.",
        "upstream: Primary.Example",
        "tsig-key: K.test.",
        "primaries:",
        '  - { address: "[2001:db8::1]:5353", key: k.test }',
        "  - { address: other.example, tls: { hostname: name.example, require-alpn: false } }",
        "max-octets: 4096",
        "max-records: 7",
        "transfer-timeout: 60",
        "other-triggers: count",
        "feed-actions: false",
        "match: exact",
        main="service: { maxrefresh: 20 }\n",
    ).sources
    feed = source.feed
    assert [str(primary) for primary in feed.primaries] == [
        "primary.example:53",
        "[2001:db8::1]:5353",
        "other.example:853",
    ]
    assert [primary.key for primary in feed.primaries] == [parse_name("k.test")] * 2 + [None]
    tls = feed.primaries[2].tls
    assert (tls.hostname, tls.ca, tls.require_alpn) == ("name.example", None, False)
    assert (feed.max_octets, feed.max_records, feed.transfer_timeout, feed.max_refresh) == (4096, 7, 60, 20)


def test_over_tls_the_certificate_is_for_the_host_unless_it_is_said(load_feed):
    (source,) = load_feed("zone: a.example", "upstream: p.example", "tls: { }").sources
    (primary,) = source.feed.primaries
    assert (primary.port, primary.tls.hostname, primary.tls.require_alpn) == (853, "p.example", True)


def test_primaries_alone_will_do(load_feed):
    config = load_feed("zone: a.example", "tsig-key: k.test", "primaries: [{ address: 192.0.2.1 }]")
    assert [str(primary) for primary in config.sources[0].feed.primaries] == ["192.0.2.1:53"]
    assert "sources.x.tsig-key: counts for `upstream`, which is not given" in [
        f"{notice.key}: {notice.text}" for notice in config.notices
    ]


def test_an_unknown_key_of_a_primary_is_told(load_feed):
    config = load_feed("zone: a.example", "primaries: [{ address: 192.0.2.1, tsig: k.test }]")
    assert any(notice.key == "sources.x.primaries[0].tsig" for notice in config.notices), config.notices


GOOD = ("zone: a.example", "upstream: 192.0.2.1")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["upstream: 192.0.2.1"], "zone: missing; needed is the zone to transfer"),
        (["zone: .", "upstream: 192.0.2.1"], "zone: '.' is too wide; allowed is a domain name, such as"),
        (["zone: a.example", "upstream: ''"], "upstream: '' is neither an IP address nor the name of a host"),
        (["zone: a.example", "upstream: 192.0.2"], "upstream: '192.0.2' is neither an IP address nor the name"),
        (["zone: a.example", "upstream: 192.0.2.1:0"], "upstream: '192.0.2.1:0' has no such port"),
        (["zone: a.example", 'upstream: "2001:db8::1"'], "upstream: '2001:db8::1' is no address; allowed is HOST:port"),
        (["zone: a.example", "upstream: a..b"], "upstream: "),
        ([*GOOD, "tsig-key: other.test"], "tsig-key: no key is called 'other.test'; allowed is k.test."),
        ([*GOOD, "primaries: [{ key: k.test }]"], "primaries[0].address: missing; needed is the primary's address"),
        ([*GOOD, "primaries: [{ address: 192.0.2.1 }]"], "primaries[0].address: '192.0.2.1' is given twice"),
        ([*GOOD, "tls: { key: a.pem }"], "tls.key: is the key of a certificate, and there is no cert"),
        ([*GOOD, "tls: { ca: missing.pem }"], "tls: "),
        ([*GOOD, "match: subtree"], "match: a feed says itself, by wildcards, what is below a name; allowed is exact"),
        ([*GOOD, "other-triggers: drop"], "other-triggers: 'drop' is not allowed; allowed is count or pass"),
        ([*GOOD, "feed-actions: true"], "feed-actions: not supported by this version"),
        ([*GOOD, "max-records: 0"], "max-records: 0 is out of range"),
        ([*GOOD, "max-octets: 1"], "max-octets: 1 is out of range"),
        ([*GOOD, "transfer-timeout: 0"], "transfer-timeout: 0 is out of range"),
    ],
)
def test_a_fault_in_a_feed(load_feed, lines, complaint):
    found = complaints(load_feed, *lines)
    assert len(found) == 1, found
    assert found[0].startswith(f"sources.x.{complaint}"), found
