"""Who may ask, how many may connect, and what is remembered of either."""

from ipaddress import ip_network

import pytest

from tapir.services.authority.access import AccessList, FirstTimes, allowing_line
from tapir.services.authority.connections import ConnectionLedger, ConnectionLimit


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
    access = AccessList([ip_network("127.0.0.0/8"), ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")])
    assert access.allows(host) is allowed
    assert access.allows(host) is allowed


def test_the_memory_of_decisions_is_bounded() -> None:
    access = AccessList([ip_network("10.0.0.0/8")])
    for number in range(10_000):
        assert access.allows(f"10.0.{number >> 8}.{number & 255}")
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
