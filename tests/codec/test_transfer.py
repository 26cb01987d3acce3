"""Blocks of transfer messages are read as dnspython reads them, one by one; over any split, and over garbage."""

import itertools
import struct

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.renderer
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.rpz import action_of
from tapir.codec.transfer import MessageFault, RecordKind, TransferMessageError, TransferReader
from tapir.model.actions import Action
from tapir.model.names import Name, parse_name

APEX = parse_name("rpz.example")
ORIGIN = dns.name.from_text("rpz.example.")
TRIGGERS = {
    b"rpz-ip": RecordKind.RPZ_IP,
    b"rpz-client-ip": RecordKind.RPZ_CLIENT_IP,
    b"rpz-nsip": RecordKind.RPZ_NSIP,
    b"rpz-nsdname": RecordKind.RPZ_NSDNAME,
}
NO_POLICY = {"NS", "DNAME", "DS", "RRSIG", "NSEC", "DNSKEY", "NSEC3", "NSEC3PARAM", "CDS", "CDNSKEY", "ZONEMD"}

LABELS = st.one_of(
    st.sampled_from(["a", "B", "www", "*", "rpz-ip", "RPZ-NSIP", "rpz-nsdname", "rpz-client-ip", "rpz-ipx", "x" * 63]),
    st.binary(min_size=1, max_size=4).map(lambda octets: "".join(f"\\{octet:03d}" for octet in octets)),
)
OWNERS = st.one_of(
    st.lists(LABELS, max_size=3).map(lambda labels: ".".join([*labels, "rPz.example."])),
    st.lists(LABELS, min_size=1, max_size=2).map(lambda labels: ".".join([*labels, "other.example."])),
    st.sampled_from([".", "example.", "xrpz.example.", "rpz.example."]),
)
RDATA = st.one_of(
    st.sampled_from(
        [
            ("CNAME", target)
            for target in [
                ".",
                "*.",
                "rpz-passthru.",
                "RPZ-Drop.",
                "rpz-tcp-only.",
                "rpz-dropx.",
                "garden.example.",
                "*.garden.example.",
                "a.",
                "b.",
                "www.",
                "a.www.",
                "x.rpz.example.",
            ]
        ]
    ),
    st.sampled_from(
        [
            ("A", "192.0.2.1"),
            ("TXT", '"some text"'),
            ("NS", "ns1.rpz.example."),
            ("MX", "10 Mail.rpz.example."),
            ("SRV", "1 2 3 srv.www.rpz.example."),
            ("PTR", "WWW.other.example."),
            ("RP", "a.rpz.example. b.rpz.example."),
            ("AFSDB", "1 a.rpz.example."),
            ("DNAME", "garden.example."),
            ("DS", "1 8 2 " + "00" * 32),
        ]
    ),
    st.builds(lambda serial: ("SOA", f"ns.rpz.example. h.rpz.example. {serial} 1 2 3 4"), st.integers(0, 2**32 - 1)),
)
RECORDS = st.lists(st.tuples(OWNERS, st.integers(0, 2**31 - 1), RDATA), max_size=12)


def encode(records, *, compress=True, question=True, id_=7, flags=0x8400):
    """A message as dnspython renders it, without turning records that share an owner and type into one set."""
    renderer = dns.renderer.Renderer(id_, flags)
    if question:
        renderer.add_question(ORIGIN, dns.rdatatype.AXFR)
    for owner, ttl, (rdtype, text) in records:
        rrset = dns.rrset.from_text(owner, ttl, "IN", rdtype, text)
        renderer.add_rrset(dns.renderer.ANSWER, rrset)
        if not compress:
            renderer.compress.clear()
    renderer.write_header()
    return renderer.get_wire()


def frame(wire):
    return struct.pack("!H", len(wire)) + wire


def kind_of(owner, rdtype, rdata):
    """What a record is, as naively as it can be said; None for what is malformed where it stands."""
    if not owner.is_subdomain(ORIGIN):
        return RecordKind.OUT_OF_ZONE, Action.NONE
    relative = Name((owner.relativize(ORIGIN).concatenate(dns.name.root)).to_wire().lower())
    if relative == b"\0":
        return (RecordKind.SOA if rdtype == "SOA" else RecordKind.APEX), Action.NONE
    if rdtype == "SOA":
        return RecordKind.MALFORMED, Action.NONE
    action = Action.NONE
    if rdtype == "CNAME":
        target = rdata.target.to_wire().lower()
        action = action_of(target)
        if action is Action.REDIRECT:
            action = Action.PASSTHRU if target == relative else Action.NONE
    last = owner.relativize(ORIGIN).labels[-1].lower()
    if last in TRIGGERS:
        return TRIGGERS[last], action
    if rdtype == "CNAME":
        return (RecordKind.RULE if action else RecordKind.OTHER_TARGET), action
    return (RecordKind.NO_POLICY if rdtype in NO_POLICY else RecordKind.LOCAL_DATA), action


def expected_of(wires, *, keep):
    rows = []
    others = 0
    counts: dict[RecordKind, int] = {}
    for wire in wires:
        message = dns.message.from_wire(wire, one_rr_per_rrset=True, xfr=True)
        for rrset in message.answer:
            rdtype = dns.rdatatype.to_text(rrset.rdtype)
            kind, action = kind_of(rrset.name, rdtype, rrset[0])
            counts[kind] = counts.get(kind, 0) + 1
            if kind is RecordKind.SOA:
                action = 0 if others else 1
                others = -1
            others += 1
            if kind not in {RecordKind.RULE, RecordKind.SOA}:
                kept = RecordKind.LOCAL_DATA <= kind < RecordKind.OUT_OF_ZONE
                if not keep or not kept:
                    continue
            owner = rrset.name.relativize(ORIGIN).concatenate(dns.name.root).to_wire().lower()
            rdata = b"" if kind is RecordKind.RULE else rrset[0].to_wire()
            if kind is not RecordKind.RULE and rdtype != "TXT":
                rdata = rrset[0].to_digestable()
            rows.append((owner, kind, action, rrset.rdtype, rrset.ttl, rdata))
    return rows, counts


def rows_of(reader, pieces):
    rows = []
    for piece in pieces:
        for batch in reader.feed(piece):
            rows += [
                (
                    batch.owner(i),
                    RecordKind(batch.kinds[i]),
                    batch.actions[i],
                    batch.types[i],
                    batch.ttls[i],
                    batch.rdata_of(i),
                )
                for i in range(len(batch))
            ]
            assert sum(1 for _ in batch.messages()) > 0
    return rows


def split(stream, cuts):
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@given(
    messages=st.lists(st.tuples(RECORDS, st.booleans(), st.booleans()), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 5000), max_size=8),
    keep=st.booleans(),
)
def test_reads_what_dnspython_reads(messages, cuts, keep):
    wires = [encode(records, compress=compress, question=question) for records, compress, question in messages]
    reader = TransferReader(APEX, id_=7, rdtype=dns.rdatatype.AXFR, keep=keep)
    rows = rows_of(reader, split(b"".join(map(frame, wires)), cuts))
    expected, counts = expected_of(wires, keep=keep)
    assert rows == expected
    assert reader.counts == counts
    assert reader.pending == 0


@given(
    messages=st.lists(RECORDS, min_size=1, max_size=3),
    edits=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 5000), max_size=4),
    keep=st.booleans(),
)
def test_mutated_streams_read_alike_however_they_are_split(messages, edits, cuts, keep):
    stream = bytearray(b"".join(frame(encode(records)) for records in messages))
    for place, octet in edits:
        stream[place % len(stream)] = octet
    outcomes: list[object] = []
    for pieces in ([bytes(stream)], split(bytes(stream), cuts), [bytes((octet,)) for octet in stream]):
        reader = TransferReader(APEX, id_=7, rdtype=dns.rdatatype.AXFR, keep=keep)
        rows = []
        try:
            for piece in pieces:
                rows += rows_of(reader, [piece])
            outcomes.append((rows, reader.pending, reader.counts, None))
        except TransferMessageError as exc:
            outcomes.append((None, None, None, (exc.fault, exc.wire)))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_refused_or_read(garbage, keep):
    reader = TransferReader(APEX, id_=7, rdtype=dns.rdatatype.AXFR, keep=keep)
    head = struct.pack("!6H", 7, 0x8400, 0, 40, 0, 0)
    try:
        rows_of(reader, [frame(head + garbage)])
    except TransferMessageError as exc:
        assert exc.wire == head + garbage  # noqa: PT017 - most garbage ends here, some reads


def record(owner, rdtype, rdata, *, rdclass=1):
    return owner + struct.pack("!HHIH", rdtype, rdclass, 60, len(rdata)) + rdata


def message(*records, additional=(), id_=7, flags=0x8400):
    return struct.pack("!6H", id_, flags, 0, len(records), 0, len(additional)) + b"".join((*records, *additional))


def read_one(wire, **kwargs):
    reader = TransferReader(APEX, id_=7, rdtype=dns.rdatatype.AXFR, **kwargs)
    rows = rows_of(reader, [frame(wire)])
    return rows, dict(reader.counts)


HERE = b"\x01a" + APEX
SOA = b"\0\0" + struct.pack("!5I", 9, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        (b"\0\7\x84\0", MessageFault.SHORT),
        (message(id_=8), MessageFault.OTHER_ID),
        (message(flags=0x0400), MessageFault.NO_ANSWER),
        (message(flags=0x8C00), MessageFault.NO_ANSWER),
        (message(flags=0x8600), MessageFault.TRUNCATED),
        (message(flags=0x8405), MessageFault.RCODE),
        (message(record(HERE, 5, b"\0")) + b"\0", MessageFault.CUT),
        (message(record(HERE, 5, b"\0"))[:-1], MessageFault.CUT),
        (message(b"\x40a" + record(b"\0", 5, b"\0")), MessageFault.CUT),
        (message(record(APEX, 6, SOA[:-1])), MessageFault.BAD_SOA),
        (message(record(APEX, 6, SOA + b"\0")), MessageFault.BAD_SOA),
        (message(record(APEX, 6, b"\xc0\xff" + SOA[1:])), MessageFault.BAD_SOA),
        (message(record(b"\0", 250, b"")), MessageFault.BAD_TSIG),
        (message(additional=[record(b"\0", 250, b""), record(b"\0", 1, b"")]), MessageFault.BAD_TSIG),
        (struct.pack("!6H", 7, 0x8400, 2, 0, 0, 0) + 2 * (APEX + b"\0\xfc\0\1"), MessageFault.QUESTION),
        (struct.pack("!6H", 7, 0x8400, 1, 0, 0, 0) + APEX + b"\0\xfb\0\1", MessageFault.QUESTION),
        (struct.pack("!6H", 7, 0x8400, 1, 0, 0, 0) + HERE + b"\0\xfc\0\1", MessageFault.QUESTION),
        (struct.pack("!6H", 7, 0x8400, 1, 0, 0, 0) + APEX + b"\0\xfc\0", MessageFault.CUT),
    ],
)
def test_what_is_no_message_of_the_transfer_ends_it(wire, fault):
    good = message(record(HERE, 5, b"\0"))
    reader = TransferReader(APEX, id_=7, rdtype=dns.rdatatype.AXFR)
    batches = reader.feed(frame(good) + frame(wire) + frame(good))
    assert len(next(batches)) == 1
    with pytest.raises(TransferMessageError) as caught:
        next(batches)
    assert (caught.value.fault, caught.value.wire) == (fault, wire)


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (record(b"\xc0\x0c", 5, b"\0"), RecordKind.MALFORMED),  # points at itself
        (record(b"\xc0\xff", 5, b"\0"), RecordKind.MALFORMED),  # points ahead
        (record(HERE, 5, b"\0\0"), RecordKind.MALFORMED),  # more than a name
        (record(HERE, 5, b"\x01"), RecordKind.MALFORMED),
        (record(HERE, 5, b""), RecordKind.MALFORMED),
        (record(HERE, 5, b"\xc0"), RecordKind.MALFORMED),
        (record((b"\x3f" + b"x" * 63) * 4 + APEX, 5, b"\0"), RecordKind.MALFORMED),  # longer than a name
        (record(HERE, 15, b"\0"), RecordKind.MALFORMED),
        (record(HERE, 15, b"\0\1\x05"), RecordKind.MALFORMED),
        (record(HERE, 6, SOA), RecordKind.MALFORMED),  # below the apex
        (record(HERE, 5, b"\0", rdclass=3), RecordKind.OTHER_CLASS),
        (record(b"\x01a\x07example\0", 5, b"\0"), RecordKind.OUT_OF_ZONE),
        (record(b"\x04xrpz\x07example\0", 5, b"\0"), RecordKind.OUT_OF_ZONE),  # ends in its octets, not its labels
        (record(b"\0", 5, b"\0"), RecordKind.OUT_OF_ZONE),
        (record(APEX, 5, b"\xff"), RecordKind.APEX),
    ],
)
def test_what_is_wrong_with_one_record_alone_is_counted(one, kind):
    behind = record(b"\x01b" + APEX, 5, b"\0")
    rows, counts = read_one(message(one, behind), keep=True)
    assert [row[0] for row in rows] == [b"\x01b\0"]
    assert counts == {kind: 1, RecordKind.RULE: 1}


def test_pointers_may_lead_to_pointers_but_not_for_ever():
    chain = b"".join(struct.pack("!H", 0xC000 | 12 + len(APEX) + 10 + 2 * max(0, i - 1)) for i in range(200))
    start = 12 + len(APEX) + 10
    first = record(APEX, 10, struct.pack("!H", 0xC00C) + chain[2:])
    for hops, kinds in ((90, {RecordKind.APEX: 2}), (150, {RecordKind.APEX: 1, RecordKind.MALFORMED: 1})):
        last = struct.pack("!H", 0xC000 | start + 2 * hops)
        assert read_one(message(first, record(last, 1, b"abcd")))[1] == kinds


def test_a_full_column_does_not_lose_or_double_anything(monkeypatch):
    import tapir.codec.transfer

    monkeypatch.setattr(tapir.codec.transfer, "_RECORDS", 12)
    monkeypatch.setattr(tapir.codec.transfer, "_MESSAGES", 2)
    wires = [message(*(record(b"\x02%02d" % i + APEX, 5, b"\0") for i in range(n))) for n in (0, 9, 3, 12, 0, 0, 0, 1)]
    reader = TransferReader(APEX, id_=7, rdtype=dns.rdatatype.AXFR)
    sizes = [len(batch) for batch in reader.feed(b"".join(map(frame, wires)))]
    assert sum(sizes) == reader.counts[RecordKind.RULE] == 25
    assert len(sizes) > 3


def test_messages_say_where_they_are_signed():
    signature = record(b"\x03key\0", 250, b"whatever")
    wires = [message(record(HERE, 5, b"\0")), message(record(HERE, 5, b"\0"), additional=[signature])]
    [batch] = TransferReader(APEX, id_=7, rdtype=dns.rdatatype.AXFR).feed(b"".join(map(frame, wires)))
    bounds = list(batch.messages())
    assert batch.signed
    assert [bytes(batch.wire[one.start : one.end]) for one in bounds] == wires
    assert [one.first for one in bounds] == [0, 1]
    assert bounds[0].tsig == 0
    assert bytes(batch.wire[bounds[1].tsig : bounds[1].end]) == signature
