"""A frame without the client: what is kept, and that he is nowhere in it."""

import random

import dns.edns
import dns.message
import pytest
from dnstap_frames import envelope, fixed32, frame, message_fields, number, octets, varint
from dnstap_oracle import Dnstap
from dnstap_strange import Strange
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dnstap import Marks, Outcome, decode
from tapir.codec.dnstapframe import pseudonymised, without_client_subnet
from tapir.model.blocks import FrameBlock

CLIENT = b"\xc6\x33\x64\x14"
SERVER = b"\xc6\x33\x64\x35"


def asked(client: str = "198.51.100.20", length: int = 32) -> bytes:
    """A response that repeats the client's subnet to him."""
    options = [dns.edns.ECSOption(client, length), dns.edns.CookieOption(b"12345678", b"")]
    query = dns.message.make_query("www.example.", "A", use_edns=0, options=options)
    message = dns.message.make_response(query)
    message.use_edns(0, options=options)
    return message.to_wire()


def parsed(data: bytes) -> dict[str, object]:
    dnstap = Dnstap()
    dnstap.ParseFromString(data)
    out = {field.name: value for field, value in dnstap.ListFields()}
    return out | {field.name: value for field, value in dnstap.message.ListFields()}


def test_only_what_says_nothing_of_the_client_is_kept() -> None:
    wire = asked()
    more = number(16, 77) + octets(15, CLIENT) + octets(99, CLIENT) + fixed32(98, int.from_bytes(CLIENT, "little"))
    hidden = varint(97 << 3 | 3) + octets(14, CLIENT) + varint(97 << 3 | 4)
    message = message_fields(
        query_address=CLIENT, response_address=SERVER, query_message=wire, response_message=wire,
        query_time=(5, 6), more=more + hidden,
    )  # fmt: skip
    whole = envelope(message, identity=b"ns1", version=b"1.2") + octets(3, CLIENT) + hidden
    out = pseudonymised(whole, query_address=b"\x3a\x5c\x0b\x35", response_address=b"\1\2\3\4")
    assert CLIENT not in out
    before, after = parsed(whole), parsed(out)
    lost = {"extra", "query_message"}
    changed = {"message", "query_address", "response_address", "response_message"}
    assert after.keys() == before.keys() - lost
    assert all(after[key] == before[key] for key in after.keys() - changed)
    assert (after["query_address"], after["response_address"]) == (b"\x3a\x5c\x0b\x35", b"\1\2\3\4")


def test_addresses_may_get_shorter_and_are_not_made_up() -> None:
    mapped = bytes(10) + b"\xff\xff" + CLIENT
    out = parsed(pseudonymised(frame(query_address=mapped), query_address=b"abcd", response_address=b"efgh"))
    assert out["query_address"] == b"abcd"
    assert "response_address" not in out


def test_of_a_message_that_is_no_dns_nothing_is_left() -> None:
    for wire in (b"short", bytes(4) + b"\0\1" + bytes(6) + b"\xc0\x0c", CLIENT):
        out = pseudonymised(frame(response_message=wire), query_address=b"", response_address=b"")
        assert parsed(out)["response_message"] == b""


@pytest.mark.parametrize("data", [b"\x80", b"\x0a\x05abc", b"\x0e", b"\x0c", b"\x09123", b"\x08" + b"\x80" * 11])
def test_what_is_no_protobuf(data: bytes) -> None:
    with pytest.raises(ValueError, match="no protobuf"):
        pseudonymised(data, query_address=b"", response_address=b"")


@pytest.mark.parametrize(("client", "length"), [("198.51.100.20", 32), ("198.51.100.0", 24), ("2001:db8::14", 128)])
def test_client_subnets_get_an_address_of_zeros(client: str, length: int) -> None:
    wire = asked(client, length)
    block = decode(FrameBlock.of([frame(response_message=wire)]), bytes(16))
    assert Marks.CLIENT_SUBNET in Marks(int(block.marks[0]))
    blind = without_client_subnet(wire)
    assert len(blind) == len(wire)
    subnet, cookie = dns.message.from_wire(blind).options
    assert isinstance(subnet, dns.edns.ECSOption)
    assert (set(subnet.address) <= set("0.:"), subnet.srclen) == (True, length)
    assert isinstance(cookie, dns.edns.CookieOption)
    assert without_client_subnet(blind) == blind


def test_a_message_without_the_option_stays_as_it_is() -> None:
    wire = dns.message.make_query("www.example.", "A", use_edns=0).to_wire() + b"trailing"
    assert without_client_subnet(wire) is wire


@given(st.integers(0, 2**64 - 1))
def test_frames_that_decode_can_be_pseudonymised(seed: int) -> None:
    strange = Strange(random.Random(seed))
    frames = [strange.frame() for _ in range(20)]
    block = decode(FrameBlock.of(frames), bytes(16))
    for row, one in enumerate(frames):
        if block.outcome[row] == Outcome.MALFORMED:
            continue
        keys = {"query_address": b"abcd", "response_address": b"efgh"}
        again = decode(FrameBlock.of([pseudonymised(one, **keys)]), bytes(16))
        wanted = Outcome(int(block.outcome[row]))
        if wanted is Outcome.UNPARSABLE and again.outcome[0] == Outcome.NO_DNS:
            wanted = Outcome.NO_DNS
        assert again.outcome[0] == wanted
        assert again.time[0] == block.time[row]
        assert again.query_address(0) in (b"", b"abcd")
        assert without_client_subnet(again.wire(0)) == again.wire(0) if wanted is Outcome.OK else True
