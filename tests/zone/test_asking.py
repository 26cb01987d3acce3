"""Which version a primary has: what is asked, and which answers count."""

import contextlib

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.tsig import Signer, TsigKey, find_tsig, signed
from tapir.model.names import parse_name
from tapir.zone.asking import SoaQuestion
from tapir.zone.faults import Fault, TransferError

ZONE = parse_name("feed.example")
NOW = 1_700_000_000_000_000
KEY = TsigKey(name=parse_name("k.example"), algorithm="hmac-sha256", secret=b"secret")
OTHER = TsigKey(name=parse_name("k.example"), algorithm="hmac-sha256", secret=b"another")
SOA = "feed.example. 60 IN SOA ns.example. h.example. {serial} 60 20 3600 60"


def question(key=None) -> SoaQuestion:
    return SoaQuestion.of(ZONE, id_=7, key=key, now=NOW)


def answered(asked: SoaQuestion, *, serial=5, rcode=0, aa=True, owner="feed.example.", key=None) -> bytes:
    plain = dns.message.make_query("feed.example.", "SOA", flags=0, id=7)
    response = dns.message.make_response(plain)
    response.set_rcode(rcode)
    if aa:
        response.flags |= dns.flags.AA
    if serial is not None:
        said = SOA.format(serial=serial).split(maxsplit=4)
        response.answer.append(dns.rrset.from_text(owner, 60, "IN", "SOA", said[4]))
    wire = response.to_wire()
    if key is None:
        return wire
    record = find_tsig(asked.wire)
    assert record is not None
    return signed(wire, Signer(key, request_mac=record.mac), now=NOW)


@pytest.mark.parametrize("key", [None, KEY])
def test_the_serial_of_an_answer(key):
    asked = question(key)
    wire = answered(asked, serial=2**32 - 1, key=key)
    assert asked.is_answered_by(wire, now=NOW)
    assert asked.serial_of(wire, now=NOW) == 2**32 - 1


def fault_of(asked: SoaQuestion, wire: bytes) -> tuple[Fault, str]:
    with pytest.raises(TransferError) as caught:
        asked.serial_of(wire, now=NOW)
    return caught.value.fault, caught.value.detail


def test_an_answer_by_no_key_or_another_is_waited_past_over_udp_and_refused_on_a_stream():
    asked = question(KEY)
    for key, detail in ((None, "its answer is not signed"), (OTHER, "the signature of its answer is BADSIG")):
        wire = answered(asked, key=key)
        assert not asked.is_answered_by(wire, now=NOW)
        assert asked.is_meant_by(wire)
        assert fault_of(asked, wire) == (Fault.TSIG, detail)


@pytest.mark.parametrize(
    ("keys", "fault", "detail"),
    [
        ({"rcode": dns.rcode.REFUSED, "serial": None}, Fault.REFUSED, "it says REFUSED"),
        ({"rcode": 13, "serial": None}, Fault.REFUSED, "it says rcode 13"),
        ({"aa": False}, Fault.REFUSED, "it is no authority for the zone"),
        ({"serial": None}, Fault.PROTOCOL, "its answer has no SOA of the zone"),
        ({"owner": "other.example."}, Fault.PROTOCOL, "its answer has no SOA of the zone"),
    ],
)
def test_an_answer_that_tells_no_serial(keys, fault, detail):
    asked = question()
    wire = answered(asked, **keys)
    assert asked.is_answered_by(wire, now=NOW)
    assert fault_of(asked, wire) == (fault, detail)


def test_an_answer_that_is_cut_is_no_crash():
    asked = question()
    wire = answered(asked)
    assert fault_of(asked, wire[:-3])[0] is Fault.FORMERR


@given(st.binary(max_size=80), st.integers(0, 200))
def test_any_octets_are_an_answer_or_not(noise, cut):
    asked = question(KEY)
    for wire in (noise, answered(asked)[:cut] + noise):
        asked.is_answered_by(wire, now=NOW)
        asked.is_meant_by(wire)
        with contextlib.suppress(TransferError):
            assert 0 <= asked.serial_of(wire, now=NOW) < 2**32


def test_a_secret_is_not_in_its_repr():
    assert "secret" not in repr(question(KEY))
