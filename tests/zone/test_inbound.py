"""Transfers into us: what dnspython's secondary makes of them, from our own answers, other servers', and nonsense."""

import itertools
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.xfr
import dns.zone
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapir.codec.dnswire import encode_header, encode_record
from tapir.codec.rpz import action_of, target_of
from tapir.codec.transfer import RecordKind
from tapir.codec.tsig import Signer, TsigKey, find_tsig, seal
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, VersionDelta
from tapir.model.names import parse_name
from tapir.zone.answers import answer
from tapir.zone.difference import difference
from tapir.zone.errors import ZoneError
from tapir.zone.faults import Fault, TransferError, TransferLimits
from tapir.zone.inbound import Inbound
from tapir.zone.query import QueryKind
from tapir.zone.replies import TCP, TransferReply
from tapir.zone.schedule import Timers
from tapir.zone.serial import compare, next_serial
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ZONE = parse_name("rpz.example")
ORIGIN = dns.name.from_text("rpz.example.")
SETTINGS = ZoneSettings(name=ZONE)
SAID = [action for action in Action if action not in {Action.NONE, Action.REDIRECT}]
POOL = [parse_name(text) for i in range(8) for text in (f"n{i}.example", f"*.n{i}.example", f"{'long' * 12}{i}.x")]
CONTENTS = st.dictionaries(st.sampled_from(POOL), st.sampled_from(SAID), max_size=16)
NOW = 1_700_000_000_000_000
KEY = TsigKey(name=parse_name("k.example"), algorithm="hmac-sha256", secret=b"secret")


def frame(wire):
    return len(wire).to_bytes(2, "big") + wire


def split(stream, cuts):
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def run(machine, stream, cuts=()):
    """Feed the machine; returns what came of it, or the fault."""
    try:
        for piece in split(stream, cuts):
            if machine.feed(piece, now=NOW):
                break
        machine.end()
        return machine.result()
    except TransferError as exc:
        return exc.fault


def applied(result, held):
    """The rules after the transfer, from those that were held."""
    if result.is_current:
        return held
    if result.content is not None:
        return dict(entry for block in result.content for entry in block)
    now = dict(held)
    for name, action in result.delta.removed:
        assert now.pop(name) is action
    for name, action in result.delta.added:
        assert name not in now
        now[name] = action
    return now


# -- from our own answers


@given(
    contents=st.lists(CONTENTS, min_size=1, max_size=5),
    first=st.sampled_from([1, 7, 2**31 - 2, 2**32 - 3]),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
    signed=st.booleans(),
)
def test_a_secondary_of_ours_follows_us(contents, first, cuts, signed):
    view = ZoneView(version=ZoneVersion.build(SETTINGS, first, RecordBlock.of(contents[0].items())))
    serials = [first]
    for content in contents[1:]:
        old = view.version
        delta = difference(old, RecordBlock.of(content.items()))
        serials.append(next_serial(old.serial))
        step = VersionDelta(from_serial=old.serial, to_serial=serials[-1], at=0, delta=delta)
        view = ZoneView(version=old.successor(delta, serials[-1]), journal=view.journal.append(step))
    key = KEY if signed else None
    for held, content in [(None, {}), *zip(serials, contents, strict=True)]:
        for whole in (False, True):
            machine = Inbound(ZONE, held=held, id_=7, key=key, now=NOW, whole=whole)
            reply = answer(
                machine.request,
                settings=SETTINGS,
                view=view,
                transport=TCP,
                allowed=lambda kind: True,
                keys={KEY.name: KEY},
                now=NOW,
            )
            wires = list(reply) if isinstance(reply, TransferReply) else [reply.wire]
            assert reply.kind is (QueryKind.IXFR if machine.incremental else QueryKind.AXFR)
            result = run(machine, b"".join(map(frame, wires)), cuts)
            assert (result.serial, result.held) == (serials[-1], held)
            assert result.timers == Timers(refresh=60, retry=60, expire=86400, minimum=60)
            assert applied(result, content) == contents[-1]
            assert (result.delta is not None) == (isinstance(reply, TransferReply) and reply.incremental)
            assert result.is_current == (held == serials[-1] and not whole)
            assert result.octets == sum(2 + len(wire) for wire in wires)


# -- as dnspython takes it


def soa(serial):
    numbers = b"".join(number.to_bytes(4, "big") for number in (serial, 60, 60, 86400, 60))
    return encode_record(b"\xc0\x0c", 6, 1, 60, b"\0\0" + numbers)


def rule(name, action):
    return encode_record(name[:-1] + b"\xc0\x0c", 5, 1, 60, target_of(action))


RULES = {rule(name, action): (name, action) for name in POOL for action in SAID}
NS = encode_record(b"\xc0\x0c", 2, 1, 60, b"\x02ns\xc0\x0c")


def messages(records, sizes, *, rdtype=251, id_=7, flags=0x8400):
    """The records in messages of these sizes, over and over."""
    wires: list[bytes] = []
    question = ZONE + rdtype.to_bytes(2, "big") + b"\0\1"
    sizes = list(sizes) or [100]
    while records or not wires:
        count = sizes[len(wires) % len(sizes)]
        part, records = records[:count], records[count:]
        wires.append(encode_header(id_, flags, (1, len(part), 0, 0)) + question + b"".join(part))
    return wires


def history(contents, serials):
    """An answer to IXFR that is not condensed."""
    records = [soa(serials[-1])]
    for (old, new), (before, after) in zip(itertools.pairwise(serials), itertools.pairwise(contents), strict=True):
        records.append(soa(old))
        records += [rule(*entry) for entry in before.items() if after.get(entry[0]) is not entry[1]]
        records.append(soa(new))
        records += [rule(*entry) for entry in after.items() if before.get(entry[0]) is not entry[1]]
    return [*records, soa(serials[-1])]


def fits(records, held):
    """Whether the first that differences say of each name, that it goes or that it comes, is true of `held`."""
    said = set()
    goes = False
    for record in records[1:]:
        if record not in RULES:  # an SOA
            goes = not goes
            continue
        name, action = RULES[record]
        if name not in said and (held.get(name) is not action if goes else name in held):
            return False
        said.add(name)
    return True


def whole(content, serial):
    return [soa(serial), NS, *(rule(*entry) for entry in content.items()), soa(serial)]


def dnspython(wires, *, held, content, rdtype=251):
    """The serial and content that dnspython ends with; None where it refuses."""
    zone = dns.zone.Zone(ORIGIN)
    if held is not None:
        with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
            for wire in messages(whole(content, held), [], rdtype=252):
                inbound.process_message(dns.message.from_wire(wire, xfr=True, origin=ORIGIN))
    try:
        with dns.xfr.Inbound(zone, dns.rdatatype.RdataType(rdtype), serial=held) as inbound:
            for wire in wires:
                message = dns.message.from_wire(wire, xfr=True, origin=ORIGIN, one_rr_per_rrset=rdtype == 251)
                if inbound.process_message(message):
                    break
            else:
                return None
    except (dns.exception.DNSException, KeyError, ValueError, AssertionError):
        return None
    rules = {}
    serial = None
    rdata: Any
    for name, _, rdata in zone.iterate_rdatas():
        if rdata.rdtype == dns.rdatatype.CNAME:
            owner = name.derelativize(ORIGIN).relativize(ORIGIN).concatenate(dns.name.root).to_wire()
            rules[owner] = action_of(rdata.target.derelativize(dns.name.root).to_wire())
        elif rdata.rdtype == dns.rdatatype.SOA:
            serial = rdata.serial
    return serial, rules


@given(
    contents=st.lists(CONTENTS, min_size=2, max_size=5),
    step=st.sampled_from([1, 5, 2**29]),
    first=st.sampled_from([0, 1, 2**31 - 2, 2**32 - 3]),
    sizes=st.lists(st.integers(1, 9), max_size=3),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
)
def test_histories_come_to_what_dnspython_says(contents, step, first, sizes, cuts):
    serials = [(first + i * step) % 2**32 for i in range(len(contents))]
    for records in (history(contents, serials), whole(contents[-1], serials[-1])):
        wires = messages(records, sizes)
        result = run(Inbound(ZONE, held=first, id_=7, now=NOW), b"".join(map(frame, wires)), cuts)
        if compare(serials[-1], first) != 1:
            assert result is Fault.ROLLBACK
            continue
        assert (result.serial, applied(result, contents[0])) == (serials[-1], contents[-1])
        assert dnspython(wires, held=first, content=contents[0]) == (serials[-1], contents[-1])


@example(
    contents=[{POOL[0]: Action.PASSTHRU}, {POOL[0]: Action.NODATA}, {}],
    moves=[("drop", 2)],  # so what is held does not go before something else comes, and goes
    sizes=[],
    full=False,
    rdtype=251,
)
@given(
    contents=st.lists(CONTENTS, min_size=2, max_size=4),
    moves=st.lists(
        st.tuples(st.sampled_from(["drop", "double", "swap", "soa", "rule"]), st.integers(0, 99)), max_size=3
    ),
    sizes=st.lists(st.integers(1, 9), max_size=2),
    full=st.booleans(),
    rdtype=st.sampled_from([251, 252]),
)
def test_what_dnspython_refuses_we_refuse(contents, moves, sizes, full, rdtype):
    serials = list(range(10, 10 + len(contents)))
    records = whole(contents[-1], serials[-1]) if full else history(contents, serials)
    for move, number in moves:
        place = number % max(1, len(records))
        match move:
            case "drop":
                del records[place : place + 1]
            case "double":
                records[place:place] = records[place : place + 1]
            case "swap":
                records[place : place + 2] = reversed(records[place : place + 2])
            case "soa":
                records.insert(place, soa(8 + number % 7))
            case "rule":
                records.insert(place, rule(POOL[number % len(POOL)], SAID[number % len(SAID)]))
    wires = messages(records, sizes, rdtype=rdtype)
    machine = Inbound(ZONE, held=10, id_=7, now=NOW, whole=rdtype == 252)
    ours = run(machine, b"".join(map(frame, wires)))
    theirs = dnspython(wires, held=10, content=contents[0], rdtype=rdtype)
    if isinstance(ours, Fault):
        # We refuse more: what follows the end of a whole message, an older zone by AXFR, what contradicts itself.
        assert theirs is None or ours in {Fault.PROTOCOL, Fault.ROLLBACK, Fault.CONTRADICTION}
        return
    if ours.is_current:
        # Where the first SOA is what we have we are done, whatever a primary may send behind it.
        assert ours.serial == 10
        return
    if ours.delta is not None and not fits(records, contents[0]):
        # The machine does not know what is held: that shows where the net is applied, if there is any.
        return
    assert theirs == (ours.serial, applied(ours, contents[0]))


# -- one thing at a time

A, B = POOL[:2]
NEW = {A: Action.DROP, B: Action.NODATA}


def stream(records, sizes=(), **kwargs):
    return b"".join(map(frame, messages(records, sizes, **kwargs)))


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ([], Fault.CUT_OFF),
        ([soa(12)], Fault.CUT_OFF),
        ([NS, soa(12)], Fault.PROTOCOL),
        ([NS], Fault.PROTOCOL),
        ([soa(9)], Fault.ROLLBACK),
        ([soa(10 + 2**31)], Fault.ROLLBACK),
        ([soa(12), NS, soa(11)], Fault.PROTOCOL),
        ([soa(12), soa(11)], Fault.PROTOCOL),
        ([soa(12), soa(12)], Fault.PROTOCOL),
        ([soa(12), soa(10), soa(11), soa(10)], Fault.PROTOCOL),
        ([soa(12), soa(10), soa(12), soa(12), NS], Fault.PROTOCOL),
        ([soa(12), soa(10), soa(12), soa(12), soa(12)], Fault.PROTOCOL),
        ([soa(12), soa(10), soa(12), rule(A, Action.DROP), rule(A, Action.DROP), soa(12)], Fault.CONTRADICTION),
        ([soa(12), soa(10), soa(12), rule(A, Action.DROP)], Fault.CUT_OFF),
    ],
)
def test_records_in_the_wrong_order_are_refused(records, fault):
    machine = Inbound(ZONE, held=10, id_=7, now=NOW)
    assert run(machine, stream(records)) is fault
    error = TransferError(zone=ZONE, fault=fault, detail="it is so")
    second = machine.instead(error, now=NOW)
    assert (second is None) == (fault is Fault.ROLLBACK)
    if second is not None:
        assert not second.incremental
        assert second.instead(error, now=NOW) is None
        result = run(second, stream(whole(NEW, 12), rdtype=252))
        assert applied(result, {}) == NEW


def test_an_empty_zone_and_an_empty_difference_are_answers():
    for held, rdtype in ((10, 251), (None, 252)):
        result = run(Inbound(ZONE, held=held, id_=7, now=NOW), stream([soa(12), NS, soa(12)], rdtype=rdtype))
        assert (result.serial, result.content, "whole" in repr(result)) == (12, (), True)
    assert run(Inbound(ZONE, held=None, id_=7, now=NOW), stream([soa(12), soa(12)], rdtype=252)).content == ()
    result = run(Inbound(ZONE, held=10, id_=7, now=NOW), stream([soa(12), soa(10), soa(12), soa(12)], [1]))
    assert (result.serial, len(result.delta), "incremental" in repr(result)) == (12, 0, True)
    result = run(Inbound(ZONE, held=12, id_=7, now=NOW), stream([soa(12)]))
    assert (result.is_current, "current" in repr(result)) == (True, True)


def test_a_first_transfer_and_one_that_is_asked_for_whole_take_the_serial_as_it_is():
    for held, serial in ((None, 5), (5, 5)):
        result = run(Inbound(ZONE, held=held, id_=7, now=NOW, whole=True), stream(whole(NEW, serial), rdtype=252))
        assert applied(result, {}) == NEW
    machine = Inbound(ZONE, held=6, id_=7, now=NOW, whole=True)
    assert run(machine, stream(whole(NEW, 5), rdtype=252)) is Fault.ROLLBACK


@pytest.mark.parametrize(
    ("wire", "fault", "retried"),
    [
        (messages([], [], flags=0x8405)[0], Fault.REFUSED, True),
        (messages([], [], flags=0x8404)[0], Fault.REFUSED, True),
        (messages([], [], flags=0x840F)[0], Fault.REFUSED, True),
        (messages([], [], id_=8)[0], Fault.OTHER_ANSWER, False),
        (messages([], [], flags=0x0400)[0], Fault.OTHER_ANSWER, False),
        (messages([], [], rdtype=252)[0], Fault.FORMERR, True),
        (messages([soa(1)], [])[0] + b"x", Fault.FORMERR, True),
        (b"", Fault.FORMERR, True),
    ],
)
def test_messages_that_are_no_answer_say_so(wire, fault, retried):
    machine = Inbound(ZONE, held=10, id_=7, now=NOW)
    with pytest.raises(TransferError, match=r"transfer of rpz.example.: ") as caught:
        machine.feed(frame(wire), now=NOW)
    assert caught.value.fault is fault
    assert (machine.instead(caught.value, now=NOW) is not None) == retried


def test_silence_after_one_newer_soa_sends_to_axfr():
    machine = Inbound(ZONE, held=10, id_=7, now=NOW)
    assert machine.instead(ZoneError("no octet came"), now=NOW) is None
    assert not machine.feed(stream([soa(12)]), now=NOW)
    assert machine.instead(ZoneError("no octet came"), now=NOW) is not None
    with pytest.raises(TransferError, match="not complete"):
        machine.result()
    machine = Inbound(ZONE, held=10, id_=7, now=NOW)
    with pytest.raises(TransferError) as caught:
        machine.end()
    assert caught.value.fault is Fault.NO_ANSWER


@pytest.mark.parametrize(
    ("limits", "records"),
    [
        ({"octets": 100}, whole(NEW, 12)),
        ({"records": 4}, whole(NEW, 12)),
        ({"steps": 2}, [soa(13), soa(10), soa(11), soa(11), soa(12), soa(12), soa(13), soa(13)]),
    ],
)
def test_limits_hold(limits, records):
    octets = stream(records)
    assert run(Inbound(ZONE, held=10, id_=7, now=NOW, keep=True), octets).serial in {12, 13}
    machine = Inbound(ZONE, held=10, id_=7, now=NOW, keep=True, limits=TransferLimits(**limits))
    assert run(machine, octets) is Fault.TOO_LARGE
    with pytest.raises(ZoneError, match="1 or more"):
        TransferLimits(octets=0)


def test_names_count_as_they_are_without_compression():
    long = parse_name(("l" * 60 + ".") * 3)
    first = encode_record(long[:-1] + b"\xc0\x0c", 5, 1, 60, b"\0")
    # Every further one is a pointer to the first, of which there are many times more octets than on the wire.
    start = 12 + len(ZONE) + 4 + len(soa(1))
    again = encode_record((0xC000 | start).to_bytes(2, "big"), 5, 1, 60, b"\0")
    octets = stream([soa(12), first, *[again] * 100, soa(12)], [1000])
    assert run(Inbound(ZONE, held=10, id_=7, now=NOW), octets).serial == 12
    limits = TransferLimits(octets=len(octets) + 1000)
    assert run(Inbound(ZONE, held=10, id_=7, now=NOW, limits=limits), octets) is Fault.TOO_LARGE


def opaque_of(name, rdata, *, rdtype=1, ttl=60):
    return encode_record(name[:-1] + b"\xc0\x0c", rdtype, 1, ttl, rdata)


def test_what_pop_does_not_evaluate_is_handed_out_or_counted_but_no_name():
    client = parse_name(r"32.1.2.0.192.rpz-client-ip")
    records = [soa(12), opaque_of(A, b"abcd"), opaque_of(client, b"\0", rdtype=5), rule(B, Action.DROP), soa(12)]
    for keep in (False, True):
        result = run(Inbound(ZONE, held=None, id_=7, now=NOW, keep=keep), stream(records, rdtype=252))
        assert applied(result, {}) == {B: Action.DROP}
        assert result.counts == {
            RecordKind.SOA: 2,
            RecordKind.LOCAL_DATA: 1,
            RecordKind.RPZ_CLIENT_IP: 1,
            RecordKind.RULE: 1,
        }
        kept = [(one.kind, one.owner, one.rdtype, one.ttl, one.rdata) for one in result.opaque.added]
        assert not result.opaque.removed
        assert len(result.opaque) == len(kept)
        assert kept == (
            [(RecordKind.LOCAL_DATA, A, 1, 60, b"abcd"), (RecordKind.RPZ_CLIENT_IP, client, 5, 60, b"\0")]
            if keep
            else []
        )


def test_of_what_pop_does_not_evaluate_no_more_is_taken_than_allowed():
    others = [opaque_of(name, b"abcd") for name in POOL[:3]]
    for limits, left_out in (({"opaque": 1}, 2), ({"opaque_octets": 30}, 1), ({}, 0)):
        machine = Inbound(ZONE, held=None, id_=7, now=NOW, keep=True, limits=TransferLimits(**limits))
        result = run(machine, stream([soa(12), *others, soa(12)], rdtype=252))
        assert (len(result.opaque.added), result.left_out) == (3 - left_out, left_out)
        assert result.unevaluated == {RecordKind.LOCAL_DATA: 3}
    machine = Inbound(ZONE, held=10, id_=7, now=NOW, keep=True, limits=TransferLimits(opaque=1))
    gone = stream([soa(12), soa(10), *others[:2], soa(12), soa(12)])
    assert run(machine, gone) is Fault.TOO_LARGE


def test_what_pop_does_not_evaluate_is_netted_too():
    one, two, three = (opaque_of(A, octets) for octets in (b"aaaa", b"bbbb", b"cccc"))
    records = [
        soa(12), soa(10), one, two, soa(11), three, opaque_of(A, b"bbbb", ttl=9),
        soa(11), three, soa(12), one, soa(12),
    ]  # fmt: skip
    result = run(Inbound(ZONE, held=10, id_=7, now=NOW, keep=True), stream(records))
    assert [(each.rdata, each.ttl) for each in result.opaque.removed] == [(b"bbbb", 60)]
    assert [(each.rdata, each.ttl) for each in result.opaque.added] == [(b"bbbb", 9)]


# -- signatures


def signed_stream(machine, records, signs, *, key=KEY, sizes=(1,)):
    record = find_tsig(machine.request)
    assert record is not None
    signer = Signer(key, request_mac=record.mac)
    out, unsigned = [], []
    for wire, sign in zip(messages(records, sizes, rdtype=252), signs, strict=True):
        if not sign:
            unsigned.append(wire)
            out.append(frame(wire))
            continue
        tsig = signer.sign((*unsigned, wire), id_=7, now=NOW)
        unsigned = []
        out.append(frame(seal(wire, tsig)))
    return b"".join(out)


@pytest.mark.parametrize(
    ("signs", "fault"),
    [
        ([1, 1, 1, 1, 1], None),
        ([1, 0, 0, 0, 1], None),
        ([1, 0, 1, 0, 1], None),
        ([0, 0, 0, 0, 1], Fault.TSIG),
        ([1, 0, 0, 0, 0], Fault.CUT_OFF),
        ([0, 0, 0, 0, 0], Fault.TSIG),
    ],
)
def test_first_and_last_message_must_be_signed(signs, fault):
    machine = Inbound(ZONE, held=None, id_=7, key=KEY, now=NOW)
    outcome = run(machine, signed_stream(machine, whole(NEW, 12), signs), range(0, 900, 7))
    if fault is None:
        assert applied(outcome, {}) == NEW
    else:
        assert outcome is fault


def test_another_secret_and_a_refused_key_end_it():
    machine = Inbound(ZONE, held=5, id_=7, key=KEY, now=NOW, whole=True)
    other = TsigKey(name=KEY.name, algorithm="hmac-sha256", secret=b"other")
    assert run(machine, signed_stream(machine, whole(NEW, 12), [1] * 5, key=other)) is Fault.TSIG
    for held in (5, None):
        machine = Inbound(ZONE, held=held, id_=7, key=KEY, now=NOW)
        with pytest.raises(TransferError, match=r"NOTAUTH of our key k\.example\.") as caught:
            machine.feed(frame(messages([], [], flags=0x8409, rdtype=251 if held else 252)[0]), now=NOW)
        assert machine.instead(caught.value, now=NOW) is None
    # A signature that was not asked for proves nothing, and does no harm.
    plain = Inbound(ZONE, held=None, id_=7, now=NOW)
    assert applied(run(plain, signed_stream(machine, whole(NEW, 12), [1] * 5)), {}) == NEW


# -- a primary that means harm


def test_a_storm_of_soas_and_a_zone_without_end_meet_their_limits():
    storm = [soa(12), soa(10), *[soa(11)] * 30_000]
    machine = Inbound(ZONE, held=10, id_=7, now=NOW, limits=TransferLimits(steps=1000))
    assert run(machine, stream(storm, [800])) is Fault.TOO_LARGE
    machine = Inbound(ZONE, held=None, id_=7, now=NOW, limits=TransferLimits(records=100_000))
    endless = stream([rule(A, Action.DROP)] * 1000, rdtype=252)
    assert not machine.feed(stream([soa(12)], rdtype=252), now=NOW)
    while machine.counts.get(RecordKind.RULE, 0) < 99_000:
        assert not machine.feed(endless, now=NOW)
    with pytest.raises(TransferError, match="more than 100000 records"):
        machine.feed(endless * 2, now=NOW)
    assert machine.counts[RecordKind.RULE] <= 102_000


def test_records_in_a_message_behind_the_last_soa_are_refused_while_its_signature_is_awaited():
    machine = Inbound(ZONE, held=None, id_=7, key=KEY, now=NOW)
    unsigned = signed_stream(machine, whole(NEW, 12), [1, 0, 0, 0, 0])
    assert not machine.feed(unsigned, now=NOW)
    assert machine.octets == len(unsigned)
    with pytest.raises(TransferError, match="follow the last SOA"):
        machine.feed(stream([rule(A, Action.DROP)], rdtype=252), now=NOW)
