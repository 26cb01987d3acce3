"""Of whose NOTIFY the source of a feed is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapir.app.config import Config, ConfigErrors, load
from tapir.app.mapping import server_settings
from tapir.model.names import Name, parse_name
from tapir.services.authority.access import AccessList
from tapir.services.authority.feeds import FeedAccess
from tapir.zone.query import QueryKind

KEY = parse_name("feed.key")
Loads = Callable[..., Config]


@pytest.fixture
def load_feed(write_config: Callable[..., Path], source_text: Callable[..., str], tmp_path: Path) -> Loads:
    """Loads a configuration with one feed, of which the arguments are keys."""
    secret = tmp_path / "secret"
    secret.write_text("c2VjcmV0IG9mIHRoZSBiZW5jaCwgMzIgb2N0ZXRzLi4=")
    secret.chmod(0o600)

    def load_one(**keys: Any) -> Config:
        text = source_text(source="xfr", format="rpz", zone="feed.example", filename=None, **keys)
        return load(write_config(sources=text, more=f"keys:\n  feed.key: {{ secret-file: {secret} }}\n"))

    return load_one


def access_of(config: Config) -> FeedAccess:
    tls = config.server.tls
    (feed,) = server_settings(config, zone=config.zone, addresses=config.server.addresses, tls=tls).feeds
    return feed


def may(feed: FeedAccess, host: str, key: Name | None = None) -> bool:
    return AccessList(feed.rules).grant(host, key=key).allows(QueryKind.NOTIFY)


def test_by_default_the_primaries_may_each_with_its_key(load_feed: Loads) -> None:
    feed = access_of(
        load_feed(
            upstream='"192.0.2.1:53"',
            tsig_key="feed.key",
            primaries='[{ address: "192.0.2.2" }, { address: "[2001:db8::1]:5353", key: feed.key }]',
        )
    )
    assert (feed.source, feed.zone, feed.label) == ("x", parse_name("feed.example"), "sources.x")
    for host, signed in (("192.0.2.1", True), ("192.0.2.2", False), ("2001:db8::1", True)):
        assert may(feed, host, KEY)
        assert may(feed, host) is not signed
    assert not may(feed, "192.0.2.3", KEY)


def test_two_primaries_at_one_address_may_each_with_its_key(load_feed: Loads) -> None:
    feed = access_of(load_feed(primaries='[{ address: "192.0.2.1:53", key: feed.key }, { address: "192.0.2.1:54" }]'))
    assert may(feed, "192.0.2.1", KEY)
    assert may(feed, "192.0.2.1")


def test_whom_notify_from_names_may_instead_of_the_primaries(load_feed: Loads) -> None:
    feed = access_of(load_feed(upstream="192.0.2.1", tsig_key="feed.key", notify_from="[198.51.100.0/24, 203.0.113.7]"))
    assert may(feed, "198.51.100.9", KEY)
    assert may(feed, "203.0.113.7", KEY)
    assert not may(feed, "203.0.113.7")
    assert not may(feed, "192.0.2.1", KEY)


def test_nobody_may_where_notify_from_is_empty(load_feed: Loads) -> None:
    assert not may(access_of(load_feed(upstream="192.0.2.1", notify_from="[]")), "192.0.2.1")


def test_a_primary_with_a_name_wants_notify_from(load_feed: Loads) -> None:
    config = load_feed(upstream="primary.example:53")
    (notice,) = [notice for notice in config.notices if notice.key == "sources.x.notify-from"]
    assert "primary.example, which is a name" in notice.text
    assert not notice.warning
    assert access_of(config).rules == ()
    config = load_feed(upstream="primary.example:53", notify_from="[192.0.2.1]")
    assert not [notice for notice in config.notices if notice.key == "sources.x.notify-from"]
    assert may(access_of(config), "192.0.2.1")


@pytest.mark.parametrize("wrong", ["[192.0.2.1/24]", "[nobody]", "[null]", "{}", "7"])
def test_what_is_no_prefix_is_an_error(load_feed: Loads, wrong: str) -> None:
    with pytest.raises(ConfigErrors, match="notify-from"):
        load_feed(upstream="192.0.2.1", notify_from=wrong)
