"""Signed requests and what is answered to them; dnspython signs and checks."""

import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.tsig
import dns.xfr
import dns.zone
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import tapir.zone.replies
from tapir.codec.tsig import FUDGE, TsigError, TsigKey, find_tsig
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, VersionDelta
from tapir.model.names import Name, parse_name
from tapir.zone.answers import answer
from tapir.zone.difference import difference
from tapir.zone.query import QueryKind
from tapir.zone.replies import TCP, UDP, Refusal, Reply, TransferReply
from tapir.zone.settings import ZoneSettings
from tapir.zone.signing import SignedRequest
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

SECOND = 1_000_000
NOW = 1_790_000_000 * SECOND
KEY = TsigKey(name=parse_name("k.example"), algorithm="hmac-sha256", secret=b"s" * 32)
LONG = TsigKey(name=parse_name("x" * 60 + "." + "y" * 30), algorithm="hmac-sha512", secret=b"s" * 64)
KEYS = {KEY.name: KEY, LONG.name: LONG}
ORIGIN = dns.name.from_text("rpz.example.")
SETTINGS = ZoneSettings(name=parse_name("rpz.example"), redirect=parse_name("garden.example"))
SAID = [action for action in Action if action is not Action.NONE]


def their(key):
    return dns.tsig.Key(dns.name.from_wire(key.name, 0)[0], key.secret, key.algorithm)


KEYRING = {their(key).name: their(key) for key in KEYS.values()}


@pytest.fixture
def clock(monkeypatch):
    """Their clock, in seconds."""
    now = [NOW / SECOND]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


def view_of(rules, serial=1):
    return ZoneView(version=ZoneVersion.build(SETTINGS, serial, RecordBlock.of(rules.items())))


def numbered(count, action=Action.NXDOMAIN):
    return {parse_name(f"n{number}.example"): action for number in range(count)}


def ask(view, query, *, transport=TCP, keys=KEYS, now=NOW, allowed=lambda kind: True):
    wire = query if isinstance(query, bytes) else query.to_wire()
    return answer(wire, settings=SETTINGS, view=view, transport=transport, allowed=allowed, keys=keys, now=now)


def read(reply, query):
    """A single reply as dnspython reads and checks it."""
    assert isinstance(reply, Reply)
    return dns.message.from_wire(reply.wire, keyring=KEYRING, request_mac=query.mac)


def signed_query(rdtype, *, key=KEY, name="rpz.example.", serial=None, edns=0):
    query = dns.message.make_query(name, rdtype, use_edns=edns)
    if serial is not None:
        query.authority.append(dns.rrset.from_text("rpz.example.", 0, "IN", "SOA", f". . {serial} 0 0 0 0"))
    query.use_tsig(their(key))
    return query


def take(zone, query, reply, serial):
    """Let dnspython's secondary take a transfer as it comes over a stream, and check every MAC."""
    request = query.to_wire()
    stream = b"".join(b"".join(batch) for batch in ask_again(reply, request))
    context = None
    first = True
    with dns.xfr.Inbound(zone, query.question[0].rdtype, serial=serial) as inbound:
        done = False
        while stream:
            length = int.from_bytes(stream[:2], "big")
            message = dns.message.from_wire(
                stream[2 : 2 + length],
                keyring=KEYRING,
                request_mac=query.mac if first else b"",
                xfr=True,
                origin=ORIGIN,
                tsig_ctx=context,
                multi=True,
                one_rr_per_rrset=query.question[0].rdtype == dns.rdatatype.IXFR,
            )
            assert message.had_tsig
            context, first = message.tsig_ctx, False
            stream = stream[2 + length :]
            done = inbound.process_message(message)
        assert done


def ask_again(reply, request):
    return reply(request).batches(now=lambda: NOW)


def rules_of(zone):
    return {
        name.derelativize(ORIGIN).relativize(ORIGIN).concatenate(dns.name.root).to_wire(): rdata.target
        for name, _, rdata in zone.iterate_rdatas("CNAME")
    }


@pytest.mark.parametrize("key", KEYS.values(), ids=["short", "long"])
@pytest.mark.parametrize("transport", [UDP, TCP])
@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        ("rpz.example.", "SOA", "NOERROR"),
        ("n1.example.rpz.example.", "A", "NOERROR"),
        ("nowhere.rpz.example.", "A", "NXDOMAIN"),
        ("elsewhere.test.", "A", "REFUSED"),
        ("elsewhere.test.", "AXFR", "NOTAUTH"),
    ],
)
def test_what_was_asked_signed_is_answered_signed(clock, key, transport, name, rdtype, rcode):
    query = signed_query(rdtype, key=key, name=name)
    response = read(ask(view_of(numbered(3)), query, transport=transport), query)
    assert response.had_tsig
    assert response.rcode() == dns.rcode.from_text(rcode)


def test_refusals_and_what_is_not_ready_are_signed_too(clock):
    query = signed_query("AXFR")
    for reply in (ask(None, query), ask(view_of({}), query, allowed=lambda kind: False)):
        assert read(reply, query).had_tsig
    wrong = dns.message.make_query("rpz.example.", "SOA")
    wrong.set_opcode(dns.opcode.UPDATE)
    wrong.use_tsig(their(KEY))
    response = read(ask(None, wrong), wrong)
    assert (response.had_tsig, response.rcode()) == (True, dns.rcode.NOTIMP)
    newer = signed_query("SOA", edns=1)
    assert read(ask(view_of({}), newer), newer).rcode() == dns.rcode.BADVERS


def test_what_was_asked_unsigned_is_answered_unsigned():
    query = dns.message.make_query("rpz.example.", "SOA")
    assert not read(ask(view_of({}), query), query).had_tsig


@pytest.mark.parametrize(
    ("change", "error", "refusal"),
    [
        ({"keys": {}}, TsigError.BADKEY, Refusal.TSIG_BADKEY),
        (
            {"keys": {KEY.name: TsigKey(name=KEY.name, algorithm="hmac-sha384", secret=KEY.secret)}},
            TsigError.BADKEY,
            Refusal.TSIG_BADKEY,
        ),
        (
            {"keys": {KEY.name: TsigKey(name=KEY.name, algorithm=KEY.algorithm, secret=b"other" * 8)}},
            TsigError.BADSIG,
            Refusal.TSIG_BADSIG,
        ),
        ({"now": NOW + (FUDGE + 2) * SECOND}, TsigError.BADTIME, Refusal.TSIG_BADTIME),
        ({"now": NOW - (FUDGE + 2) * SECOND}, TsigError.BADTIME, Refusal.TSIG_BADTIME),
    ],
)
@pytest.mark.parametrize("transport", [UDP, TCP])
def test_a_bad_signature_gets_nothing_but_its_error(clock, change, error, refusal, transport):
    query = signed_query("AXFR")
    reply = ask(view_of(numbered(3)), query, transport=transport, allowed=lambda kind: pytest.fail("asked"), **change)
    assert isinstance(reply, Reply)
    assert reply.refusal is refusal
    response = dns.message.from_wire(reply.wire, keyring=False)
    assert (response.rcode(), response.answer) == (dns.rcode.NOTAUTH, [])
    assert find_tsig(reply.wire).error == error
    with pytest.raises(getattr(dns.tsig, {16: "PeerBadSignature", 17: "PeerBadKey", 18: "PeerBadTime"}[error])):
        read(reply, query)


def test_an_impossible_mac_is_a_format_error(clock):
    wire = bytearray(signed_query("SOA").to_wire())
    record = find_tsig(bytes(wire))
    place = record.start + len(KEY.name) + 10 + len(KEY.algorithm_name) + 8
    cut = wire[: place + 1] + b"\5" + wire[place + 2 : place + 7] + wire[place + 2 + 32 :]
    rdlength = place - len(KEY.algorithm_name) - 8 - 2
    cut[rdlength : rdlength + 2] = (int.from_bytes(cut[rdlength : rdlength + 2], "big") - 27).to_bytes(2, "big")
    reply = ask(view_of({}), bytes(cut))
    assert reply.refusal is Refusal.FORMERR
    assert find_tsig(reply.wire) is None


def test_a_strange_key_of_long_names_does_not_pass_a_datagram(clock):
    name = dns.name.from_text(".".join(["a" * 60] * 4))
    query = dns.message.make_query("rpz.example.", "SOA")
    query.use_tsig(dns.tsig.Key(name, b"x" * 32, "hmac-sha512"))
    wire = bytearray(query.to_wire())
    record = find_tsig(bytes(wire))
    for transport, room in ((UDP, 512), (TCP, 65535)):
        reply = ask(view_of({}), query, transport=transport)
        assert len(reply.wire) <= room
        assert reply.refusal is Refusal.TSIG_BADKEY
    long = b"\x3f" + b"b" * 63
    rdata = (
        long * 3
        + b"\x28"
        + b"c" * 40
        + b"\0"
        + bytes(wire[record.start + len(record.key) + 10 + len(record.algorithm) :])
    )
    head = bytes(wire[: record.start]) + record.key + b"\0\xfa\0\xff\0\0\0\0" + len(rdata).to_bytes(2, "big")
    reply = ask(view_of({}), head + rdata, transport=UDP)
    assert (len(reply.wire) <= 512, bool(reply.wire[2] & 2), find_tsig(reply.wire)) == (True, True, None)
    assert find_tsig(ask(view_of({}), head + rdata, transport=TCP).wire).error == TsigError.BADKEY


def test_a_truncated_reply_is_signed_and_fits(clock):
    label = b"\x3f" + b"a" * 63
    servers = tuple(Name(label * 3 + bytes([40]) + bytes([97 + i]) * 40 + b"\0") for i in range(16))
    settings = ZoneSettings(name=parse_name("rpz.example"), ns=servers)
    view = ZoneView(version=ZoneVersion.build(settings, 1))
    for key in KEYS.values():
        for edns in (-1, 0):
            query = signed_query("NS", key=key, edns=edns)
            wire = query.to_wire()
            reply = answer(
                wire, settings=settings, view=view, transport=UDP, allowed=lambda _: True, keys=KEYS, now=NOW
            )
            assert len(reply.wire) <= (512 if edns < 0 else 1232)
            response = read(reply, query)
            assert response.flags & dns.flags.TC
            assert response.had_tsig


@pytest.mark.parametrize("key", KEYS.values(), ids=["short", "long"])
@pytest.mark.parametrize("count", [0, 1, 400, 30_000])
def test_every_message_of_a_transfer_is_signed_and_within_16_kib(clock, key, count):
    view = view_of(numbered(count))
    query = signed_query("AXFR", key=key)
    reply = ask(view, query)
    assert max(map(len, reply.messages())) <= 16 * 1024
    zone = dns.zone.Zone(ORIGIN)
    take(zone, query, lambda request: ask(view, request), None)
    assert len(rules_of(zone)) == count


def test_a_slow_reader_gets_signatures_of_the_time_that_they_are_made():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: NOW / SECOND)
        reply = ask(view_of(numbered(5_000)), signed_query("AXFR").to_wire())
    times = iter(range(10))
    batches = list(reply.batches(now=lambda: NOW + next(times) * 400 * SECOND))
    messages = b"".join(b"".join(batch) for batch in batches)
    seen = []
    while messages:
        length = int.from_bytes(messages[:2], "big")
        seen.append(find_tsig(messages[2 : 2 + length]).signed - NOW // SECOND)
        messages = messages[2 + length :]
    assert seen == [400 * number for number in range(len(seen))]
    assert len(seen) > 5


def test_batches_are_the_messages_and_are_small_when_signed():
    view = view_of(numbered(60_000))
    query = dns.message.make_query("rpz.example.", "AXFR")
    reply = ask(view, query)
    batches = list(reply.batches(now=lambda: NOW))
    framed = b"".join(len(message).to_bytes(2, "big") + message for message in reply)
    assert b"".join(b"".join(batch) for batch in batches) == framed
    assert max(len(batch) for batch in batches) <= 3 * 32
    assert len(batches) < len(list(reply)) / 16
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: NOW / SECOND)
        signed = ask(view, signed_query("AXFR").to_wire())
    assert max(len(batch) for batch in signed.batches(now=lambda: NOW)) <= 3 * 8
    # The records go out as they lie in the version.
    body = view.version.chunks[1].wire
    assert any(piece is body for batch in batches for piece in batch)


def test_who_may_not_axfr_gets_no_whole_zone_by_ixfr(clock):
    view = view_of(numbered(3), serial=9)
    query = signed_query("IXFR", serial=3)
    reply = ask(view, query, allowed=lambda kind: kind is not QueryKind.AXFR)
    assert reply.refusal is Refusal.ACL
    assert isinstance(ask(view, query), TransferReply)


HISTORIES = st.lists(
    st.dictionaries(st.sampled_from([parse_name(f"n{i}.example") for i in range(12)]), st.sampled_from(SAID)),
    min_size=2,
    max_size=5,
)


def hold(contents, serial, key):
    """AXFR(m) + IXFR(m→n) = AXFR(n), every message signed and checked, for every m of a history."""
    view = view_of(contents[0], serial)
    copies = []
    for content in contents[1:]:
        zone = dns.zone.Zone(ORIGIN)
        take(zone, signed_query("AXFR", key=key), lambda request, view=view: ask(view, request), None)
        copies.append((view.serial, zone))
        delta = difference(view.version, RecordBlock.of(content.items()))
        to = view.serial % (2**32 - 1) + 1
        step = VersionDelta(from_serial=view.serial, to_serial=to, at=0, delta=delta)
        view = ZoneView(version=view.version.successor(delta, to), journal=view.journal.append(step))
    whole = dns.zone.Zone(ORIGIN)
    take(whole, signed_query("AXFR", key=key), lambda request: ask(view, request), None)
    for at, zone in copies:
        take(zone, signed_query("IXFR", key=key, serial=at), lambda request: ask(view, request), at)
        assert zone == whole
        assert set(rules_of(zone)) == set(contents[-1])


@pytest.fixture
def tiny_messages(tiny_chunks):
    """Messages of a few records, so that chains are long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tapir.zone.replies, "TRANSFER_OCTETS", 700)
        patch.setattr("time.time", lambda: NOW / SECOND)
        yield


# The fixture stays as it is from one example to the next.
@hypothesis_settings(
    max_examples=max(10, hypothesis_settings().max_examples // 4),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(contents=HISTORIES, serial=st.sampled_from([1, 2**31 - 2, 2**32 - 3]), key=st.sampled_from(list(KEYS.values())))
def test_signed_transfers_carry_any_history(tiny_messages, contents, serial, key):
    hold(contents, serial, key)


def test_many_random_histories_go_over_signed(tiny_messages, campaign):
    rng = campaign.random()
    pool = [parse_name(f"{'w*'[i % 2 == 0]}{'' if i % 2 == 0 else i}.n{i // 2}.example") for i in range(24)]
    for _ in range(campaign.rounds(100_000) if campaign.full else 150):
        contents = [
            {name: rng.choice(SAID) for name in rng.sample(pool, rng.randrange(len(pool)))}
            for _ in range(rng.randint(2, 4))
        ]
        hold(contents, rng.choice([1, 5, 2**31 - 2, 2**32 - 3]), rng.choice(list(KEYS.values())))


# -- what we ask ourselves


def response_to(request, key, *, mac=None, at=NOW, change=lambda message: None):
    """What a peer with `key` answers to `request`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: at / SECOND)
        keyring = {their(key).name: their(key)} if key else None
        query = dns.message.from_wire(request.wire, keyring=keyring)
        message = dns.message.make_response(query)
        change(message)
        return message.to_wire()


def test_our_request_is_signed_and_its_answer_checked():
    plain = dns.message.make_query("rpz.example.", "SOA").to_wire()
    request = SignedRequest.of(plain, KEY, now=NOW)
    assert request.fault(response_to(request, KEY), now=NOW) == ""
    assert request.fault(response_to(request, KEY), now=NOW + 999 * SECOND) == "the signature of its answer is BADTIME"
    assert request.fault(plain, now=NOW) == "its answer is not signed"
    other = SignedRequest.of(plain, LONG, now=NOW)
    assert request.fault(response_to(other, LONG), now=NOW) == "its answer is signed by another key"
    twin = SignedRequest.of(plain, KEY, now=NOW + SECOND)
    assert request.fault(response_to(twin, KEY), now=NOW) == "the signature of its answer is BADSIG"
    assert request.fault(b"", now=NOW).startswith("its answer cannot be checked")
    assert SignedRequest.of(plain, None, now=NOW).fault(b"", now=NOW) == ""


@pytest.mark.parametrize("error", [TsigError.BADKEY, TsigError.BADSIG, TsigError.BADTIME])
def test_what_a_peer_says_of_our_signature_is_told(error):
    plain = dns.message.make_query("rpz.example.", "SOA").to_wire()
    at = NOW - 9999 * SECOND if error is TsigError.BADTIME else NOW
    request = SignedRequest.of(plain, KEY, now=at)
    keys = {
        TsigError.BADKEY: {},
        TsigError.BADSIG: {KEY.name: TsigKey(name=KEY.name, algorithm=KEY.algorithm, secret=b"z" * 32)},
        TsigError.BADTIME: KEYS,
    }[error]
    wire = request.wire
    reply = ask(view_of({}), wire, keys=keys, now=NOW)
    said = request.fault(reply.wire, now=at)
    wanted = f"it says {error.name}" + (" of our key k.example." if error is not TsigError.BADTIME else "")
    assert said == wanted
