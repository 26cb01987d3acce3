"""Clients are ignored as the published lists and a plain search have it; a bad line refuses the whole list."""

import ipaddress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.ignoring import ClientVerdict, IgnoredClients, IgnoredClientsError, parse_ignored_clients

VECTORS = Path(__file__).resolve().parents[1] / "vectors/edm"

PASS, IGNORE, UNUSABLE = ClientVerdict


def column(addresses: list[bytes]) -> AddressColumn:
    lengths = np.array([len(address) for address in addresses], np.uint32)
    return AddressColumn.gathered(b"".join(addresses), (np.cumsum(lengths) - lengths).astype(np.uint32), lengths)


def verdicts(clients: IgnoredClients, *addresses: str | bytes) -> list[int]:
    packed = [ipaddress.ip_address(each).packed if isinstance(each, str) else each for each in addresses]
    return [int(verdict) for verdict in clients.verdicts(column(packed))]


def published(name: str) -> IgnoredClients:
    return parse_ignored_clients((VECTORS / f"ignored-client-ips.{name}").read_bytes())


FIRST = ["127.0.0.1", "127.0.0.2", "10.10.8.5", "::1", "::2", "2001:db8:10:11::10"]
SECOND = ["127.0.0.3", "198.51.100.10", "::3", "3fff:10:11::10"]


def test_published_lists() -> None:
    first, second = published("valid1"), published("valid2")
    assert (len(first), len(second)) == (6, 6)
    assert verdicts(first, *FIRST, *SECOND) == [IGNORE] * 6 + [PASS] * 4
    assert verdicts(second, *FIRST, *SECOND, "::4") == [PASS] * 6 + [IGNORE] * 5
    few = published("empty-lines-and-comments")
    assert len(few) == 2
    assert verdicts(few, "127.0.0.1", "127.0.0.2", "::1", "::2") == [PASS, IGNORE, IGNORE, PASS]


def test_what_is_no_address_is_ignored_while_there_is_a_list() -> None:
    odd = [b"", bytes(5), bytes(7), bytes(15), bytes(17), bytes(300)]
    assert verdicts(published("valid1"), *odd) == [UNUSABLE] * 6
    for empty in (published("empty"), parse_ignored_clients(b"# none\n\n"), IgnoredClients()):
        assert len(empty) == 0
        assert verdicts(empty, *odd, "127.0.0.1", "::1") == [PASS] * 8


def test_a_mapped_client_is_hidden_by_networks_of_both_versions() -> None:
    # The existing edge lets it pass 10.0.0.0/8.
    assert verdicts(parse_ignored_clients(b"10.0.0.0/8\n"), "::ffff:10.1.2.3", "::ffff:11.1.2.3") == [IGNORE, PASS]
    mapped = parse_ignored_clients(b"::ffff:10.0.0.0/104")
    assert verdicts(mapped, "10.1.2.3", "::ffff:10.1.2.3", "11.0.0.1", "::ffff:11.0.0.1") == [
        IGNORE,
        IGNORE,
        PASS,
        PASS,
    ]
    # A network of more than mapped addresses is one of IPv6.
    assert verdicts(parse_ignored_clients(b"::/0"), "10.1.2.3", "::ffff:10.1.2.3", "fe80::") == [PASS, IGNORE, IGNORE]
    assert verdicts(parse_ignored_clients(b"0.0.0.0/0"), "10.1.2.3", "::ffff:10.1.2.3", "::") == [IGNORE, IGNORE, PASS]


@pytest.mark.parametrize(
    "line",
    [
        b"127.0.0.1",
        b"::1",
        b" 127.0.0.1/32",
        b"127.0.0.1/32 ",
        b"127.0.0.1/32 # me",
        b"\t",
        b" # a comment",
        b"10.0.0.0/08",
        b"10.0.0.0/+8",
        b"10.0.0.0/",
        b"10.0.0.0/33",
        b"10.0.0.0/999",
        b"10.0.0.0/255.0.0.0",
        b"10.0.0/8",
        b"10.0.0.0.0/8",
        b"010.0.0.0/8",
        b"256.0.0.0/8",
        b"::/129",
        b"fe80::1%eth0/64",
        b"1::2::3/64",
        b"12345::/16",
        b"::/0/0",
        b"example.com/8",
        b"\xef\xbb\xbf10.0.0.0/8",
        "\u0661\u0660.0.0.0/8".encode(),
        b"10.0.0.0/8\r\r",
        b"10.0.0.0/8\x00",
        b"/8",
        b"1" * 70_000,
    ],
)
def test_a_bad_line_refuses_the_whole_list(line: bytes) -> None:
    with pytest.raises(IgnoredClientsError) as caught:
        parse_ignored_clients(b"# these\n127.0.0.1/32\n\n" + line + b"\n::1/128\n")
    assert caught.value.line == 4
    assert caught.value.reason in str(caught.value)
    assert str(caught.value).startswith("line 4 of the clients to ignore is ")


def test_an_error_does_not_repeat_the_line() -> None:
    for line in (b"192.0.2.77", b"192.0.2.777/32", b"192.0.2.77/77"):
        with pytest.raises(IgnoredClientsError) as caught:
            parse_ignored_clients(line)
        assert "192" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_lines_may_end_as_on_windows_or_not_at_all() -> None:
    assert len(parse_ignored_clients(b"10.0.0.0/8\r\n\r\n#\r\n::1/128")) == 2


SHORT = st.builds(
    lambda value, length: f"{ipaddress.IPv4Address(value)}/{length}",
    st.integers(0, 2**32 - 1) | st.integers(0x0A000000, 0x0A0000FF),
    st.integers(0, 32) | st.integers(24, 32),
)
LONG = st.builds(
    lambda value, length: f"{ipaddress.IPv6Address(value)}/{length}",
    st.integers(0, 2**128 - 1) | st.integers(0xFFFF0A000000, 0xFFFF0A0000FF) | st.integers(0, 300),
    st.integers(0, 128) | st.integers(90, 128),
)
CLIENTS = (
    st.integers(0, 2**32 - 1).map(lambda value: value.to_bytes(4))
    | st.integers(0x0A000000, 0x0A0000FF).map(lambda value: value.to_bytes(4))
    | st.integers(0x0A000000, 0x0A0000FF).map(lambda value: bytes(10) + b"\xff\xff" + value.to_bytes(4))
    | st.integers(0, 2**128 - 1).map(lambda value: value.to_bytes(16))
    | st.integers(0, 300).map(lambda value: value.to_bytes(16))
    | st.binary(max_size=20)
)


def oracle(networks: list[str], client: bytes) -> int:
    if len(client) not in {4, 16}:
        return UNUSABLE
    address = ipaddress.ip_address(client)
    mapped = ipaddress.IPv6Address(bytes(10) + b"\xff\xff" + client) if len(client) == 4 else None
    unmapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    for text in networks:
        network = ipaddress.ip_network(text, strict=False)
        within = network.version == 6 and network.subnet_of(ipaddress.IPv6Network("::ffff:0:0/96"))
        if any(form in network for form in (address, unmapped, mapped if within else None) if form is not None):
            return IGNORE
    return PASS


@given(st.lists(SHORT | LONG, min_size=1, max_size=12), st.lists(CLIENTS))
@example(["0.0.0.0/0", "::/0"], [bytes(4), b"\xff" * 4, bytes(16), b"\xff" * 16])
def test_a_search_says_what_looking_at_each_network_says(networks: list[str], clients: list[bytes]) -> None:
    parsed = parse_ignored_clients("\n".join(networks).encode())
    assert len(parsed) == len(networks)
    assert repr(parsed) == f"<IgnoredClients of {len(networks)} networks>"
    assert verdicts(parsed, *clients) == [oracle(networks, client) for client in clients]


@given(st.binary(max_size=60) | st.text("0123456789abc.:/#\n\r ", max_size=40).map(str.encode))
def test_garbage_is_an_error_or_a_list(data: bytes) -> None:
    lines = [line.removesuffix(b"\r").decode("ascii", errors="replace") for line in data.split(b"\n")]
    try:
        parsed = parse_ignored_clients(data)
    except IgnoredClientsError as error:
        refused = lines[error.line - 1]
    else:
        refused = "!"
        networks = [ipaddress.ip_network(line, strict=False) for line in lines if line and not line.startswith("#")]
        assert len(parsed) == len(networks)
    assert refused
    assert not refused.startswith("#")
