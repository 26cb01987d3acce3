import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import Name, parse_name
from tapir.zone.answers import answer
from tapir.zone.encoding import encoding_of
from tapir.zone.journal import Journal
from tapir.zone.lookup import look_up
from tapir.zone.query import MOST_RECORDS, Malformed, NoReply, Query, QueryKind, Rcode, read_query
from tapir.zone.replies import TCP, UDP, Refusal, Reply, TransferReply
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

RULES = {
    "bad.example": "NXDOMAIN",
    "nodata.example": "NODATA",
    "drop.example": "DROP",
    "pass.example": "PASSTHRU",
    "tcp.example": "TCP_ONLY",
    "garden.test": "REDIRECT",
    "*.wild.example": "DROP",
    "deep.below.wild.example": "NODATA",
}
SERIAL = 2024


@pytest.fixture(scope="module")
def view(settings, records):
    version = ZoneVersion.build(settings, SERIAL - 1, records({"bad.example": "DROP", "old.example": "DROP"}))
    rules = dict(records(RULES))
    delta = RecordDelta(
        removed=version.records(),
        added=RecordBlock.of(rules.items()),
    )
    step = VersionDelta(from_serial=SERIAL - 1, to_serial=SERIAL, at=0, delta=delta)
    return ZoneView(version=version.successor(delta, SERIAL), journal=Journal.of([step]))


@pytest.fixture
def ask(settings, view):
    """`ask(wire or dnspython's message)` is our answer."""

    def ask(message, *, transport=UDP, allowed=True, ready=True):
        wire = message if isinstance(message, bytes) else message.to_wire()
        return answer(
            wire,
            settings=settings,
            view=view if ready else None,
            transport=transport,
            allowed=lambda kind: allowed,
        )

    return ask


@pytest.fixture
def resolve(ask):
    """`resolve(name, type)` is dnspython's reading of our answer."""

    def resolve(name, rdtype="CNAME", *, rdclass="IN", query=None, **options):
        query = query or dns.message.make_query(name, rdtype, rdclass=rdclass, use_edns=True)
        reply = ask(query, **options)
        assert isinstance(reply, Reply)
        response = dns.message.from_wire(reply.wire)
        assert query.is_response(response)
        assert not response.flags & (dns.flags.RA | dns.flags.AD | dns.flags.CD | dns.flags.TC)
        return response

    return resolve


def in_text(rrsets):
    return [text for rrset in rrsets for text in rrset.to_text().splitlines()]


SOA = "rpz.example. 3600 IN SOA mname. hostmaster.dnstapir.se. 2024 60 60 86400 60"
NEGATIVE_SOA = SOA.replace(" 3600 ", " 60 ")
NS = ["rpz.example. 3600 IN NS ns1.rpz.example.", "rpz.example. 3600 IN NS ns2.rpz.example."]


# -- lookups


def test_soa(resolve):
    response = resolve("rpz.example", "SOA")
    assert in_text(response.answer) == [SOA]
    assert response.flags & dns.flags.AA
    assert response.rcode() == dns.rcode.NOERROR


def test_ns_and_any_at_the_apex(resolve):
    assert in_text(resolve("rpz.example", "NS").answer) == NS
    assert in_text(resolve("rpz.example", "ANY").answer) == [SOA, *NS]


@pytest.mark.parametrize("rdtype", ["A", "TXT", "CNAME", "DS", "RRSIG", "TYPE65280"])
def test_other_types_at_the_apex_are_no_data(resolve, rdtype):
    response = resolve("rpz.example", rdtype)
    assert (response.rcode(), response.answer) == (dns.rcode.NOERROR, [])
    assert in_text(response.authority) == [NEGATIVE_SOA]


@pytest.mark.parametrize("rdtype", ["CNAME", "ANY", "A", "TXT"])
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("bad.example", "."),
        ("nodata.example", "*."),
        ("drop.example", "rpz-drop."),
        ("pass.example", "rpz-passthru."),
        ("tcp.example", "rpz-tcp-only."),
        ("garden.test", "garden.example."),
        ("*.wild.example", "rpz-drop."),
        ("x.wild.example", "rpz-drop."),
        ("x.y.wild.example", "rpz-drop."),
    ],
)
def test_a_rule_answers_every_type_with_its_cname(resolve, name, target, rdtype):
    response = resolve(f"{name}.rpz.example", rdtype)
    assert in_text(response.answer) == [f"{name}.rpz.example. 3600 IN CNAME {target}"]
    assert response.authority == []
    assert response.flags & dns.flags.AA


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("other.example", "NXDOMAIN"),
        ("below.bad.example", "NXDOMAIN"),
        ("ns1", "NXDOMAIN"),
        ("example", "NOERROR"),  # empty non-terminals
        ("wild.example", "NOERROR"),
        ("below.wild.example", "NOERROR"),
        ("x.below.wild.example", "NXDOMAIN"),  # RFC 4592: its closest encloser is not the wildcard's parent
        ("x.*.wild.example", "NXDOMAIN"),
    ],
)
def test_what_is_no_rule_is_no_data_or_nxdomain(resolve, name, rcode):
    response = resolve(f"{name}.rpz.example", "A")
    assert (dns.rcode.to_text(response.rcode()), response.answer) == (rcode, [])
    assert in_text(response.authority) == [NEGATIVE_SOA]


LABEL = st.sampled_from([b"a", b"b", b"*", b"\0", b"\1"])
NAMES = st.lists(LABEL, min_size=1, max_size=4).map(lambda labels: Name(dns.name.Name([*labels, b""]).to_digestable()))


# The closest encloser is known from the name after only, from the name before only.
@example(rules={Name(b"\1*\0"), Name(b"\1b\1b\0")}, name=Name(b"\1a\1b\0"))
@example(rules={Name(b"\1*\0"), Name(b"\1a\1b\0")}, name=Name(b"\1b\1b\0"))
@given(rules=st.sets(NAMES, max_size=8), name=NAMES)
def test_lookups_are_as_rfc_4592_says(settings, rules, name):
    found = look_up(ZoneVersion.build(settings, 1, RecordBlock.of((rule, Action.DROP) for rule in rules)), name)
    owners = {dns.name.from_wire(rule, 0)[0] for rule in rules}
    existing = {dns.name.root}
    for owner in owners:
        while owner != dns.name.root:
            existing.add(owner)
            owner = owner.parent()
    wanted = dns.name.from_wire(name, 0)[0]
    encloser = wanted
    while encloser not in existing:
        encloser = encloser.parent()
    source = wanted if wanted in existing else dns.name.Name([b"*", *encloser.labels])
    assert (found.action is Action.DROP) == (source in owners)
    assert found.exists == (wanted in existing or source in owners)


def test_names_compare_without_case_and_the_question_is_echoed_as_sent(ask):
    for text in ("BaD.eXample.rPZ.EXAMPLE.", "X.Wild.example.RPZ.example."):
        query = dns.message.make_query(text, "CNAME")
        wire = ask(query).wire
        assert wire[12 : 12 + len(text)] == b"".join(
            bytes([len(label)]) + label for label in dns.name.from_text(text).labels[:-1]
        )
        assert dns.message.from_wire(wire).answer[0].name.to_text() == text


@pytest.mark.parametrize("name", ["example", "rpz.example.org", "xrpz.example", "notrpz.example", "."])
def test_outside_of_the_zone_is_refused(ask, resolve, name):
    response = resolve(name, "SOA")
    assert response.rcode() == dns.rcode.REFUSED
    assert [option.code for option in response.extended_errors()] == [dns.edns.EDECode.NOT_AUTHORITATIVE]
    assert ask(dns.message.make_query(name, "A")).refusal is Refusal.OUTSIDE


@pytest.mark.parametrize("rdclass", ["CH", "ANY"])
def test_other_classes_are_refused(resolve, rdclass):
    for rdtype in ("TXT", "SOA"):
        assert resolve("rpz.example", rdtype, rdclass=rdclass).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(
    ("rdtype", "rcode"), [(253, "NOTIMP"), (254, "NOTIMP"), (41, "FORMERR"), (249, "FORMERR"), (250, "FORMERR")]
)
def test_meta_types_are_no_types_to_ask_for(ask, rdtype, rcode):
    query = dns.message.make_query("rpz.example", "A").to_wire()
    query = query[:-4] + struct.pack("!HH", rdtype, 1)
    assert dns.rcode.to_text(dns.message.from_wire(ask(query).wire).rcode()) == rcode


# -- access, readiness


@pytest.mark.parametrize("rdtype", ["SOA", "AXFR", "IXFR", "A"])
def test_who_is_not_allowed_is_refused_and_told_why(ask, rdtype):
    query = dns.message.make_query("rpz.example", rdtype, use_edns=True)
    reply = ask(query, allowed=False, transport=TCP)
    response = dns.message.from_wire(reply.wire)
    assert response.rcode() == dns.rcode.REFUSED
    assert [option.code for option in response.extended_errors()] == [dns.edns.EDECode.PROHIBITED]
    assert reply.refusal is Refusal.ACL
    plain = dns.message.from_wire(ask(dns.message.make_query("rpz.example", rdtype), allowed=False).wire)
    assert (plain.rcode(), plain.edns) == (dns.rcode.REFUSED, -1)


def test_access_control_is_asked_once_by_kind(settings, view):
    asked: list[QueryKind] = []

    def allowed(kind):
        asked.append(kind)
        return True

    for rdtype in ("SOA", "AXFR", "IXFR", "A"):
        wire = dns.message.make_query("rpz.example", rdtype).to_wire()
        answer(wire, settings=settings, view=view, transport=TCP, allowed=allowed)
    assert asked == [QueryKind.SOA, QueryKind.AXFR, QueryKind.IXFR, QueryKind.LOOKUP]


@pytest.mark.parametrize("transport", [UDP, TCP])
@pytest.mark.parametrize("name", ["rpz.example", "bad.example.rpz.example", "x.rpz.example"])
@pytest.mark.parametrize("rdtype", ["SOA", "A", "ANY"])
def test_until_there_is_a_version_the_zone_fails(resolve, name, rdtype, transport):
    response = resolve(name, rdtype, ready=False, transport=transport)
    assert response.rcode() == dns.rcode.SERVFAIL
    assert not response.flags & dns.flags.AA
    assert [option.code for option in response.extended_errors()] == [dns.edns.EDECode.NOT_READY]


def test_until_there_is_a_version_transfers_fail_and_strangers_are_refused(resolve):
    for rdtype in ("AXFR", "IXFR"):
        assert resolve("rpz.example", rdtype, ready=False, transport=TCP).rcode() == dns.rcode.SERVFAIL
    assert resolve("example.org", "A", ready=False).rcode() == dns.rcode.REFUSED
    assert resolve("rpz.example", "SOA", ready=False, allowed=False).rcode() == dns.rcode.REFUSED


# -- EDNS, TSIG, opcodes


def test_edns_is_answered_with_edns_and_only_then(resolve):
    query = dns.message.make_query("rpz.example", "SOA", use_edns=0, want_dnssec=True, payload=4096)
    response = resolve("", query=query)
    assert (response.edns, response.payload, response.options) == (0, 1232, ())
    assert response.ednsflags == dns.flags.DO
    assert resolve("", query=dns.message.make_query("rpz.example", "SOA")).edns == -1


def test_unknown_options_are_no_hindrance(resolve):
    options: list[dns.edns.Option] = [
        dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678"),
        dns.edns.GenericOption(dns.edns.OptionType.make(65001), b""),
    ]
    query = dns.message.make_query("rpz.example", "SOA", use_edns=0, options=options)
    assert in_text(resolve("", query=query).answer) == [SOA]


def test_an_unknown_edns_version_is_badvers(ask, resolve):
    query = dns.message.make_query("rpz.example", "SOA", use_edns=1)
    response = resolve("", query=query)
    assert (response.rcode(), response.edns, response.answer) == (dns.rcode.BADVERS, 0, [])
    assert ask(query).refusal is Refusal.BADVERS


def test_an_unknown_key_is_badkey(ask):
    query = dns.message.make_query("rpz.example", "AXFR", use_edns=0)
    key = dns.tsig.Key("some.key.", b"secret", "hmac-sha256")
    query.use_tsig(key)
    reply = ask(query, transport=TCP)
    assert reply.refusal is Refusal.TSIG_BADKEY
    assert struct.unpack_from("!6H", reply.wire)[1:] == (0x8009 | (query.flags & dns.flags.RD), 1, 0, 0, 2)
    with pytest.raises(dns.tsig.PeerBadKey):
        dns.message.from_wire(reply.wire, keyring={key.name: key}, request_mac=query.mac)


@pytest.mark.parametrize("opcode", [1, 2, 3, 5, 6, 15])
def test_other_opcodes_are_not_implemented(ask, opcode):
    query = dns.message.make_query("rpz.example", "SOA")
    query.set_opcode(opcode)
    reply = ask(query)
    assert reply.refusal is Refusal.NOTIMP
    assert struct.unpack_from("!6H", reply.wire)[1:] == (0x8004 | opcode << 11 | query.flags & 0x100, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "rcode"), [("rpz.example", "REFUSED"), ("example", "NOTAUTH"), ("a.rpz.example", "NOTAUTH")]
)
@pytest.mark.parametrize("ready", [True, False])
def test_nobody_notifies_a_primary(resolve, name, rcode, ready):
    query = dns.message.make_query(name, "SOA", flags=dns.flags.AA)
    query.set_opcode(dns.opcode.NOTIFY)
    assert dns.rcode.to_text(resolve("", query=query, ready=ready).rcode()) == rcode


# -- messages that are none


@pytest.mark.parametrize(
    "wire", [b"", b"\0" * 11, dns.message.make_response(dns.message.make_query("a", "A")).to_wire()]
)
def test_responses_and_fragments_of_headers_are_not_answered(ask, wire):
    assert isinstance(ask(wire), NoReply)


def plain():
    return dns.message.make_query("rpz.example", "SOA", id=7, flags=0).to_wire()


def with_additional(*records):
    wire = plain()
    return wire[:10] + struct.pack("!H", len(records)) + wire[12:] + b"".join(records)


OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
TSIG_RDATA = b"\x04hmac\0" + bytes(8) + b"\0\x02ab" + b"\0\7\0\0\0\0"


def tsig_record(rdata=TSIG_RDATA, owner=b"\3key\0"):
    return owner + struct.pack("!HHIH", 250, 255, 0, len(rdata)) + rdata


@pytest.mark.parametrize(
    ("wire", "questions"),
    [
        (plain()[:4] + b"\0\0" + plain()[6:12], 0),
        (plain()[:4] + b"\0\2" + plain()[6:], 0),
        (plain()[:2] + b"\2\0" + plain()[4:], 0),  # TC
        (plain()[:-1], 0),
        (plain()[:12] + b"\xc0\x0c\0\6\0\1", 0),
        (plain() + b"x", 1),
        (plain()[:11] + b"\1" + plain()[12:], 1),
        (with_additional(OPT, OPT), 1),
        (with_additional(b"\1a" + OPT), 1),
        (with_additional(OPT[:-1] + b"\3\0\1\0"), 1),
        (with_additional(OPT[:-1] + b"\5\0\1\0\2x"), 1),
        (with_additional(tsig_record(), OPT), 1),
        (with_additional(tsig_record(), tsig_record()), 1),
        (with_additional(tsig_record(TSIG_RDATA[:8])), 1),
        (with_additional(tsig_record(TSIG_RDATA[:-5])), 1),
        (with_additional(tsig_record(TSIG_RDATA + b"x")), 1),
        (with_additional(tsig_record(owner=b"\xc0\xff")), 1),
        (plain()[:6] + b"\0\1" + plain()[8:] + OPT, 1),  # an OPT as answer
    ],
)
def test_what_cannot_be_read_is_formerr(ask, wire, questions):
    reply = ask(wire, transport=TCP)
    assert reply.refusal is Refusal.FORMERR
    assert (reply.kind, reply.client_serial) == (None, None)
    assert struct.unpack_from("!5H", reply.wire) == (7, 0x8001, questions, 0, 0)
    question = plain()[12:] if questions else b""
    assert reply.wire[12:] in {question, question + OPT}


def test_a_compressed_key_name_is_answered_in_full(ask):
    reply = ask(with_additional(tsig_record(owner=b"\3key\xc0\x0c")))
    assert reply.wire.endswith(b"\3key\3rpz\7example\0" + tsig_record(TSIG_RDATA[:14] + b"\0\0\0\7\0\x11\0\0")[5:])


# -- truncation


def long_zone():
    label = b"\x3f" + b"a" * 63
    names = tuple(Name(label * 3 + bytes([40]) + bytes([97 + i]) * 40 + b"\0") for i in range(16))
    return ZoneSettings(name=parse_name("rpz.example"), ns=names, mname=names[0], rname=names[1])


@pytest.mark.parametrize(
    ("transport", "payload", "room"), [(UDP, None, 512), (UDP, 100, 512), (UDP, 4096, 1232), (TCP, None, 65535)]
)
def test_what_does_not_fit_a_datagram_is_truncated(transport, payload, room):
    settings = long_zone()
    view = ZoneView(version=ZoneVersion.build(settings, 1))
    for rdtype in ("NS", "SOA", "A"):
        query = dns.message.make_query("rpz.example", rdtype, use_edns=payload is not None, payload=payload)
        reply = answer(query.to_wire(), settings=settings, view=view, transport=transport, allowed=lambda _: True)
        assert isinstance(reply, Reply)
        response = dns.message.from_wire(reply.wire)
        assert len(reply.wire) <= room
        assert query.is_response(response)
        assert (response.edns >= 0) == (payload is not None)
        records = encoding_of(settings).ns if rdtype == "NS" else encoding_of(settings).soa(1)
        needed = len(dns.message.make_response(query).to_wire()) + len(records)
        assert bool(response.flags & dns.flags.TC) == (needed > room)
        assert bool(response.answer or response.authority) == (needed <= room)


def with_counts(wire, *, questions=None, flags=None):
    flags_field = wire[2:4] if flags is None else struct.pack("!H", flags)
    questions_field = wire[4:6] if questions is None else struct.pack("!H", questions)
    return wire[:2] + flags_field + questions_field + wire[6:]


@pytest.mark.parametrize(
    ("wire", "rcode"),
    [
        (with_additional(OPT) + b"junk", "FORMERR"),
        (with_additional(OPT, OPT), "FORMERR"),
        (with_additional(tsig_record(), OPT), "FORMERR"),
        (with_counts(with_additional(OPT), flags=dns.flags.TC), "FORMERR"),
        (with_counts(plain()[:10] + b"\0\1" + OPT, questions=0), "FORMERR"),
        (with_counts(plain()[:10] + b"\0\1" + plain()[12:] * 2 + OPT, questions=2), "FORMERR"),
        (with_counts(with_additional(OPT), flags=5 << 11), "NOTIMP"),
        (with_counts(with_additional(OPT), flags=15 << 11), "NOTIMP"),
    ],
)
def test_an_error_for_a_malformed_request_has_an_opt_where_the_request_had_one(ask, wire, rcode):
    """RFC 6891 §7: an OPT record in a request must be answered by one."""
    reply = ask(wire)
    response = dns.message.from_wire(reply.wire)
    assert (dns.rcode.to_text(response.rcode()), response.edns, response.payload) == (rcode, 0, 1232)
    assert len(reply.wire) <= len(wire)


@pytest.mark.parametrize(
    "wire",
    [
        plain() + b"junk",
        with_counts(plain(), flags=5 << 11),
        with_additional(OPT)[:-3],
        with_additional(OPT[:-2] + b"\0\3" + b"abc"),
        plain()[:8] + b"\0\0\0\2" + plain()[12:] + b"\xc0",
    ],
)
def test_an_error_for_a_malformed_request_has_no_opt_where_none_could_be_read(ask, wire):
    assert dns.message.from_wire(ask(wire).wire).edns == -1


def test_a_request_full_of_records_is_not_read():
    """What a stranger sends is read before anybody knows that it is one; 64 KiB are 5,900 records."""
    record = b"\0" + struct.pack("!HHIH", 1, 1, 0, 0)
    fits = plain()[:10] + struct.pack("!H", MOST_RECORDS - 1) + plain()[12:] + record * (MOST_RECORDS - 1)
    assert isinstance(read_query(fits), Query)
    crowded = fits[:10] + struct.pack("!H", MOST_RECORDS) + fits[12:] + record
    for opcode, rcode in ((0, Rcode.FORMERR), (4, Rcode.FORMERR), (5, Rcode.NOTIMP)):
        read = read_query(with_counts(crowded, flags=opcode << 11))
        assert isinstance(read, Malformed)
        assert (read.rcode, read.question, read.edns, read.tsig) == (rcode, None, None, None)
        assert read.reason == f"it has {MOST_RECORDS + 1} questions and records"


# -- transfers that are no transfers (tests/zone/test_transfers.py has the others)


def test_axfr_over_udp_is_refused(ask):
    reply = ask(dns.message.make_query("rpz.example", "AXFR"))
    assert dns.message.from_wire(reply.wire).rcode() == dns.rcode.FORMERR
    assert reply.refusal is Refusal.AXFR_OVER_UDP


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
@pytest.mark.parametrize("name", ["example", "bad.example.rpz.example"])
def test_only_the_zone_itself_is_transferred(resolve, name, rdtype):
    assert resolve(name, rdtype, transport=TCP).rcode() == dns.rcode.NOTAUTH


def ixfr(serial, name="rpz.example", owner=None, **options):
    query = dns.message.make_query(name, "IXFR", **options)
    if serial is not None:
        soa = query.find_rrset(
            query.authority, dns.name.from_text(owner or name), dns.rdataclass.IN, dns.rdatatype.SOA, create=True
        )
        soa.add(dns.rdata.from_text("IN", "SOA", f". . {serial} 0 0 0 0"))
    return query


@pytest.mark.parametrize("query", [ixfr(None), ixfr(1, owner="example.org")])
@pytest.mark.parametrize("transport", [UDP, TCP])
def test_an_ixfr_without_the_serial_is_formerr(ask, query, transport):
    reply = ask(query, transport=transport)
    assert dns.message.from_wire(reply.wire).rcode() == dns.rcode.FORMERR
    assert reply.refusal is Refusal.FORMERR


@pytest.mark.parametrize("serial", [SERIAL, SERIAL + 1, SERIAL + 2**31 - 1])
@pytest.mark.parametrize("transport", [UDP, TCP])
def test_a_secondary_that_is_current_or_ahead_gets_one_soa(ask, serial, transport):
    reply = ask(ixfr(serial), transport=transport)
    assert in_text(dns.message.from_wire(reply.wire).answer) == [SOA]
    assert (reply.kind, reply.client_serial, reply.refusal) == (QueryKind.IXFR, serial, None)


@pytest.mark.parametrize("serial", [SERIAL + 2**31, SERIAL - 2, 0])
def test_a_secondary_that_the_journal_does_not_reach_gets_the_whole_zone(ask, serial):
    reply = ask(ixfr(serial), transport=TCP)
    assert isinstance(reply, TransferReply)
    assert not reply.incremental
    assert (reply.kind, reply.client_serial, reply.serial) == (QueryKind.IXFR, serial, SERIAL)
    assert in_text(dns.message.from_wire(ask(ixfr(serial)).wire).answer) == [SOA]


def test_a_small_difference_fits_a_datagram(ask):
    query = ixfr(SERIAL - 1, use_edns=0)
    response = dns.message.from_wire(ask(query).wire, one_rr_per_rrset=True)
    assert len(response.answer) == 4 + 2 + 8
    assert not response.flags & dns.flags.TC
    # Without EDNS there is room for 512 octets less the question: this difference is larger.
    assert in_text(dns.message.from_wire(ask(ixfr(SERIAL - 1)).wire).answer) == [SOA]


# -- garbage


def seeds():
    return [
        plain(),
        with_additional(OPT, tsig_record()),
        ixfr(SERIAL - 1, use_edns=0).to_wire(),
        dns.message.make_query("x.wild.example.rpz.example", "A", use_edns=0, want_dnssec=True).to_wire(),
        dns.message.make_query("rpz.example", "AXFR").to_wire(),
    ]


MUTATIONS = st.lists(
    st.tuples(st.integers(0, 120), st.integers(0, 2), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4
)


def mutate(wire, mutations):
    octets = bytearray(wire)
    for position, kind, new in mutations:
        position = min(position, len(octets))
        if kind == 0:
            octets[position : position + len(new)] = new
        elif kind == 1:
            octets[position:position] = new
        else:
            del octets[position : position + len(new)]
    return bytes(octets)


GARBAGE = st.one_of(st.binary(max_size=600), st.builds(mutate, st.sampled_from(seeds()), MUTATIONS))


@given(wire=GARBAGE, transport=st.sampled_from([UDP, TCP]), allowed=st.booleans(), ready=st.booleans())
def test_any_octets_get_a_sound_answer_or_none(settings, view, wire, transport, allowed, ready):
    reply = answer(
        wire, settings=settings, view=view if ready else None, transport=transport, allowed=lambda kind: allowed
    )
    if len(wire) < 12 or wire[2] & 0x80:
        assert isinstance(reply, NoReply)
        return
    assert not isinstance(reply, NoReply)
    messages = list(reply) if isinstance(reply, TransferReply) else [reply.wire]
    for message in messages:
        assert len(message) <= (transport.limit if transport.stream else 1232)
        assert message[:2] == wire[:2]
        assert message[2] & 0x80
        assert (message[2] ^ wire[2]) & 0x79 == 0  # opcode and RD
        response = dns.message.from_wire(message, keyring=False, ignore_trailing=False)
        if isinstance(reply, TransferReply) or reply.refusal is None:
            assert response.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}
            assert allowed
            assert ready


@given(wire=GARBAGE)
def test_what_dnspython_reads_is_read_alike(wire):
    query = read_query(wire)
    try:
        theirs = dns.message.from_wire(wire, keyring=False)
    except Exception:  # noqa: BLE001  dnspython raises many kinds here
        return
    if isinstance(query, Query):
        assert query.header.id == theirs.id
        if theirs.question and theirs.opcode() in {0, 4}:
            assert query.name == theirs.question[0].name.canonicalize().to_wire()
            assert query.question.rdtype == theirs.question[0].rdtype
        assert (query.edns is None) == (theirs.edns < 0)
        if query.edns is not None:
            assert (query.edns.version, query.edns.payload) == (theirs.edns, theirs.payload)
        assert (query.tsig is not None) == bool(theirs.had_tsig)
    else:
        assert isinstance(query, Malformed | NoReply)
