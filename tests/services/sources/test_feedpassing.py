"""What of a feed may be passed through, as far as it alone says it, and what is held of it."""

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.localdata import MOST_RDATA, TYPES, is_known, is_well_formed
from tapir.codec.passed import make, owner_of, parts_of
from tapir.codec.transfer import RecordKind
from tapir.model.actions import ListKind
from tapir.model.names import Name, format_name, parse_name
from tapir.policy.feeds import FeedRules
from tapir.services.sources import feedpassing
from tapir.services.sources.feedpassing import MOST_OF_A_TYPE, has_room, held_after, held_whole, offer_of
from tapir.services.sources.suffixes import load_suffix_test
from tapir.zone.collecting import OpaqueDelta, OpaqueRecord

DATA = {
    "A": ["192.0.2.1"],
    "AAAA": ["2001:db8::1"],
    "CNAME": ["other.example."],
    "PTR": ["other.example."],
    "MX": ["10 mx.example."],
    "TXT": ['"one" "two"', '""'],
    "SRV": ["1 2 3 srv.example."],
    "NAPTR": ['1 2 "u" "E2U+sip" "!.*!x!" .'],
    "TLSA": [f"3 1 1 {'00' * 32}", "3 1 0 00"],
    "CAA": ['0 issue "ca.example"'],
    "SVCB": ["0 other.example.", '1 . alpn="h2,h3" port="8443"'],
    "HTTPS": ['1 . alpn="h2" ipv4hint="192.0.2.1,192.0.2.2" ipv6hint="2001:db8::1"'],
}


def wire(rdtype: str, text: str) -> bytes:
    octets = dns.rdata.from_text("IN", rdtype, text).to_wire()
    assert octets is not None
    return octets


def rules(kind: ListKind = ListKind.DENY, *, zone: str = "rpz.example", broad: bool = False) -> FeedRules:
    return FeedRules(kind=kind, zone=parse_name(zone), is_public_suffix=load_suffix_test(), broad=broad)


def record(owner: str, text: str = "192.0.2.1", *, rdtype: str = "A", ttl: int = 60) -> bytes:
    return make(parse_name(owner), dns.rdatatype.from_text(rdtype), ttl, wire(rdtype, text))


@pytest.mark.parametrize("rdtype", DATA)
def test_what_people_answer_with_is_known(rdtype: str) -> None:
    number = dns.rdatatype.from_text(rdtype)
    assert TYPES[number] == rdtype
    assert is_known(number)
    for text in DATA[rdtype]:
        rdata = wire(rdtype, text)
        assert is_well_formed(number, rdata)
        assert not is_well_formed(number, b"")
        if rdtype not in {"TXT", "CAA"} and text != "3 1 0 00":
            assert not is_well_formed(number, rdata + b"x")
        assert not is_well_formed(number, rdata + bytes(MOST_RDATA))


@given(st.sampled_from(sorted(TYPES)), st.binary(max_size=40), st.booleans(), st.data())
def test_what_is_taken_for_rdata_others_read_too(rdtype: int, octets: bytes, real: bool, data: st.DataObject) -> None:
    if real:
        octets = wire(TYPES[rdtype], data.draw(st.sampled_from(DATA[TYPES[rdtype]])))
        place = data.draw(st.integers(0, len(octets) - 1))
        octets = octets[:place] + data.draw(st.binary(max_size=2)) + octets[place + 1 :]
    if is_well_formed(rdtype, octets):
        read = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rdtype), octets, 0, len(octets))
        assert read.to_wire() == octets


@pytest.mark.parametrize("number", [0, 2, 6, 39, 41, 43, 46, 250, 251, 252, 255, 65280])
def test_other_types_are_not(number: int) -> None:
    assert not is_known(number)
    offer = offer_of([make(parse_name("a.example"), number, 60, b"\0")], rules())
    assert (offer.records, offer.refused, offer.digest) == ((), {"type": 1}, "nothing")


PASSTHRU = "rpz-passthru."
CASES = [
    (record("a.example"), ListKind.DENY, ""),
    (record("*.a.example"), ListKind.DOUBT, ""),
    (record("32.1.2.0.192.rpz-ip", ".", rdtype="CNAME"), ListKind.DENY, ""),
    (record("32.1.2.0.192.rpz-client-ip"), ListKind.DENY, ""),
    (record("ns.example.rpz-nsdname", ".", rdtype="CNAME"), ListKind.DENY, ""),
    (record("24.0.2.0.192.rpz-nsip", PASSTHRU, rdtype="CNAME"), ListKind.ALLOW, ""),
    (record("24.0.2.0.192.rpz-nsip", ".", rdtype="CNAME"), ListKind.ALLOW, "kind"),
    (record("a.example"), ListKind.ALLOW, "kind"),
    (record("com"), ListKind.DENY, "too_broad"),
    (record("*.co.uk"), ListKind.DENY, "too_broad"),
    (record("*"), ListKind.DENY, "too_broad"),
    (record("x.rpz-new"), ListKind.DENY, "unknown_trigger"),
    (make(parse_name("a.example"), 1, 60, b"abc"), ListKind.DENY, "rdata"),
    (record("n" * 60 + "." + "n" * 60 + ".rpz-ip"), ListKind.DENY, "too_long"),
    (record("n" * 60 + "." + "n" * 60 + ".example"), ListKind.DENY, "too_long"),
]


@pytest.mark.parametrize(("said", "kind", "reason"), CASES)
def test_each_record_passes_or_is_refused_for_a_reason(said: bytes, kind: ListKind, reason: str) -> None:
    zone = "z" * 60 + "." + "z" * 60 + ".example" if reason == "too_long" else "rpz.example"
    offer = offer_of([said], rules(kind, zone=zone))
    assert offer.records == (() if reason else (said,))
    assert offer.refused == ({reason: 1} if reason else {})


def test_the_top_wildcard_never_passes() -> None:
    assert offer_of([record("*"), record("com")], rules(broad=True)).refused == {"too_broad": 1}


def test_what_stands_at_one_owner_can_stand_there() -> None:
    offer = offer_of(
        [
            record("a.example", "one.example.", rdtype="CNAME"),
            record("a.example", "two.example.", rdtype="CNAME"),
            record("a.example"),
            record("b.example", "192.0.2.1", ttl=70),
            record("b.example", "192.0.2.2", ttl=50),
            record("c.example", ttl=2**31),
            *(record("d.example", f"192.0.2.{number}") for number in range(MOST_OF_A_TYPE + 1)),
        ],
        rules(),
    )
    assert offer.refused == {"other_data": 2, "too_many": MOST_OF_A_TYPE + 1}
    found = [(format_name(owner), ttl) for owner, _, ttl, _ in map(parts_of, offer.records)]
    assert found == [("a.example.", 60), ("b.example.", 50), ("b.example.", 50), ("c.example.", 0)]


def opaque(owner: Name, last: int = 1) -> OpaqueRecord:
    return OpaqueRecord(kind=RecordKind.LOCAL_DATA, owner=owner, rdtype=1, ttl=60, rdata=bytes((192, 0, 2, last)))


def test_what_is_too_much_is_not_held_and_differences_still_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedpassing, "MOST_RECORDS", 3)
    names = [parse_name(f"{letter}.example") for letter in "abcd"]
    held, complete = held_whole(OpaqueDelta(added=tuple(map(opaque, names))))
    assert ([*map(owner_of, held)], complete, has_room(held)) == (names[:3], False, False)
    # What was never held goes unnoticed; there is room then, and so the feed is had whole.
    gone = OpaqueDelta(removed=(opaque(names[3]), opaque(names[0]), opaque(names[1])))
    after, delta, complete = held_after(held, gone, complete=False)
    assert ([*map(owner_of, after)], len(delta), complete, has_room(after)) == (names[2:3], 2, False, True)
    with pytest.raises(ValueError, match="removed where it is not"):
        held_after(held[:1], OpaqueDelta(removed=(opaque(names[3]),)), complete=True)
    with pytest.raises(ValueError, match="added where it is"):
        held_after(held[:1], OpaqueDelta(added=(opaque(names[0]),)), complete=True)
    more = OpaqueDelta(added=(opaque(names[3]),))
    after, delta, complete = held_after(held, more, complete=True)
    assert (after, len(delta), complete) == (held, 0, False)
    assert held_after(held, OpaqueDelta(), complete=True)[0] is held
    monkeypatch.setattr(feedpassing, "MOST_OCTETS", 30)
    assert held_whole(OpaqueDelta(added=tuple(map(opaque, names[:2]))))[1] is False
