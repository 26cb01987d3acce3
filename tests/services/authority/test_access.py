"""Who may ask, how many may connect, and what is remembered of either."""

from ipaddress import ip_network
from typing import Any

import pytest

from tapir.model.names import parse_name
from tapir.services.authority.access import AccessList, AccessRule, FirstTimes, Secured, allowing_line
from tapir.services.authority.connections import ConnectionLedger, ConnectionLimit
from tapir.zone.query import QueryKind


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::1", False),
        ("not an address", False),
        ("", False),
    ],
)
def test_access_is_by_prefix(host: str, allowed: bool) -> None:
    access = AccessList([rule("127.0.0.0/8", "192.0.2.0/24", "2001:db8::/32")])
    for _ in range(2):
        assert access.grant(host).allows(QueryKind.AXFR) is allowed
        assert access.covers(host, secured=Secured.NO) is allowed


KEY_A, KEY_B = parse_name("a.key"), parse_name("b.key")
SOA_ONLY = frozenset({QueryKind.SOA})


def rule(*prefixes: str, label: str = "rule", **fields: Any) -> AccessRule:
    return AccessRule(label=label, networks=tuple(ip_network(prefix) for prefix in prefixes), **fields)


def test_the_first_rule_that_a_query_fits_decides() -> None:
    access = AccessList(
        [
            rule("192.0.2.66", label="never", kinds=frozenset()),
            rule("192.0.2.0/24", label="signed", keys=frozenset({KEY_A, KEY_B})),
            rule("192.0.2.0/24", label="tls", secured=Secured.CLIENT_CERTIFICATE, kinds=SOA_ONLY),
            rule("192.0.2.1", label="open", kinds=SOA_ONLY),
        ]
    )

    def grant(host: str, **facts: Any) -> tuple[bool, bool, str]:
        found = access.grant(host, **facts)
        return found.allows(QueryKind.SOA), found.allows(QueryKind.AXFR), found.reason

    assert grant("192.0.2.2", key=KEY_A)[:2] == grant("192.0.2.2", key=KEY_B)[:2] == (True, True)
    needs = "signed wants it signed by the key a.key. or b.key. or over TLS with a client certificate"
    assert grant("192.0.2.2") == (False, False, needs)
    assert grant("192.0.2.2", key=parse_name("c.key"))[2] == needs
    assert grant("192.0.2.2", secured=Secured.TLS)[2] == needs
    assert grant("192.0.2.2", secured=Secured.CLIENT_CERTIFICATE) == (True, False, "tls allows SOA")
    assert grant("192.0.2.1") == (True, False, "open allows SOA")
    assert grant("192.0.2.1", key=KEY_A)[:2] == (True, True)
    assert grant("192.0.2.66", key=KEY_A, secured=Secured.TLS)[:2] == (False, False)
    assert grant("198.51.100.1", key=KEY_A) == (False, False, "")


def test_a_prefix_of_mapped_addresses_is_one_of_ipv4() -> None:
    mapped = [rule("::ffff:192.0.2.66", kinds=frozenset()), rule("::ffff:192.0.2.0/120"), rule("2001:db8::/32")]
    access = AccessList(mapped)
    assert not access.grant("192.0.2.66").kinds
    for host, allowed in (("192.0.2.1", True), ("192.0.3.1", False), ("2001:db8::1", True), ("2001:db9::1", False)):
        assert access.grant(host).allows(QueryKind.AXFR) is allowed


def test_an_address_of_its_own_is_judged_by_that_alone() -> None:
    own = [rule("127.0.0.1", label="outputs.one", keys=frozenset({key}), alone=True) for key in (KEY_A, KEY_B)]
    access = AccessList([rule("127.0.0.0/8"), *own, rule("0.0.0.0/0")])
    assert not access.grant("127.0.0.1").allows(QueryKind.SOA)
    assert access.grant("127.0.0.1", key=KEY_A).allows(QueryKind.AXFR)
    assert access.grant("127.0.0.1", key=KEY_B).allows(QueryKind.AXFR)
    assert access.grant("127.0.0.2").allows(QueryKind.AXFR)


def test_who_cannot_be_granted_anything_is_a_stranger() -> None:
    access = AccessList(
        [
            rule("192.0.2.0/24", keys=frozenset({KEY_A})),
            rule("198.51.100.0/24", secured=Secured.TLS),
            rule("203.0.113.0/24", kinds=frozenset()),
        ]
    )
    assert access.covers("192.0.2.1", secured=Secured.NO)
    assert not access.covers("198.51.100.1", secured=Secured.NO)
    assert access.covers("198.51.100.1", secured=Secured.CLIENT_CERTIFICATE)
    assert not access.covers("203.0.113.1", secured=Secured.CLIENT_CERTIFICATE)
    assert access.grant("203.0.113.1").reason == "rule allows nothing"


def test_a_notify_is_told_what_we_make_of_it_where_anything_is_allowed() -> None:
    access = AccessList([rule("192.0.2.0/24", kinds=SOA_ONLY), rule("203.0.113.0/24", kinds=frozenset())])
    assert access.grant("192.0.2.1").allows(QueryKind.NOTIFY)
    assert not access.grant("203.0.113.1").allows(QueryKind.NOTIFY)
    assert not access.grant("198.51.100.1").allows(QueryKind.NOTIFY)


def test_the_memory_of_decisions_is_bounded() -> None:
    access = AccessList([rule("10.0.0.0/8")])
    for number in range(10_000):
        assert access.covers(f"10.0.{number >> 8}.{number & 255}", secured=Secured.NO)
    assert len(access._decided) == 4096


def test_the_line_that_allows_an_address_allows_it_alone() -> None:
    assert allowing_line("192.0.2.7", "key") == 'key: [..., "192.0.2.7/32"]'
    assert allowing_line("2001:db8::1", "key") == 'key: [..., "2001:db8::1/128"]'


def test_first_times_are_told_once_and_are_bounded() -> None:
    first = FirstTimes(2)
    assert [first.note(host) for host in ("a", "a", "b", "c", "b", "c")] == [True, False, True, False, False, False]
    assert first.full


def test_connections_are_counted_in_all_and_by_address() -> None:
    ledger = ConnectionLedger(total=3, per_address=2)
    assert [ledger.admit(host, stranger=False) for host in "aaab"] == [None, None, ConnectionLimit.ADDRESS, None]
    assert ledger.admit("c", stranger=False) is ConnectionLimit.TOTAL
    assert len(ledger) == 3
    ledger.release("a", stranger=False)
    assert ledger.admit("c", stranger=False) is None
    for host in "abc":
        ledger.release(host, stranger=False)
    assert len(ledger) == 0
    assert not ledger._by_address


def test_strangers_have_a_small_share_of_the_connections() -> None:
    ledger = ConnectionLedger(total=16, per_address=4)
    assert [ledger.admit(host, stranger=True) for host in "abc"] == [None, None, ConnectionLimit.STRANGERS]
    assert [ledger.admit(str(number), stranger=False) for number in range(15)] == [None] * 14 + [ConnectionLimit.TOTAL]
    ledger.release("a", stranger=True)
    assert ledger.admit("c", stranger=True) is None
    assert ConnectionLedger(total=1, per_address=1).admit("a", stranger=True) is None
