"""TSIG against dnspython, both ways, message by message and in chains."""

import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dnswire import WireError, read_record
from tapir.codec.tsig import (
    ALGORITHMS,
    FUDGE,
    Rejected,
    Signer,
    TsigError,
    TsigKey,
    TsigKeyError,
    TsigRecord,
    Verified,
    check,
    check_request,
    encode_rejection,
    find_tsig,
    read_tsig,
    seal,
    signed,
)
from tapir.model.names import Name, parse_name

SECOND = 1_000_000
NOW = 1_790_000_000 * SECOND
SECRET = b"sixteen octets and more"
NAME = parse_name("transfer.key.example")


def key_of(algorithm="hmac-sha256", secret=SECRET, name=NAME):
    return TsigKey(name=name, algorithm=algorithm, secret=secret)


def theirs(key):
    return dns.tsig.Key(dns.name.from_wire(key.name, 0)[0], key.secret, key.algorithm)


def query(key, *, at=NOW, fudge=FUDGE, rdtype="SOA", name="rpz.example."):
    """A query signed by dnspython at `at`."""
    message = dns.message.make_query(name, rdtype)
    message.use_tsig(theirs(key), fudge=fudge)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: at / SECOND)
        wire = message.to_wire()
    return message, wire


def record_of(wire: bytes) -> TsigRecord:
    record = find_tsig(wire)
    assert record is not None
    return record


def checked(wire, *keys, now=NOW):
    record = record_of(wire)
    return check_request(wire, record, {key.name: key for key in keys}, now=now)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_their_signature_is_good_and_ours_is_to_them(algorithm):
    key = key_of(algorithm)
    message, wire = query(key)
    proof = checked(wire, key)
    assert proof == Verified(key=key, mac=message.mac)
    answer = dns.message.make_response(message, tsig_error=0)
    answer.tsig = None
    reply = signed(answer.to_wire(), Signer(key, request_mac=proof.mac), now=NOW)
    assert len(reply) == len(answer.to_wire()) + key.record_octets
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: NOW / SECOND)
        read = dns.message.from_wire(reply, keyring={theirs(key).name: theirs(key)}, request_mac=message.mac)
    assert read.had_tsig
    assert read.tsig_error == 0


@pytest.mark.parametrize("octets", [1, 20, 63, 64, 65, 127, 128, 129, 500])
def test_secrets_of_any_length(octets):
    key = key_of("hmac-sha512", bytes(range(octets % 256)) + bytes(octets - octets % 256))
    assert isinstance(checked(query(key)[1], key), Verified)


def test_what_is_wrong_is_said_in_the_order_of_the_rfc():
    key = key_of()
    late = NOW + (FUDGE + 1) * SECOND
    wire = query(key)[1]

    def error(wire=wire, *keys, now=NOW):
        proof = checked(wire, *keys, now=now)
        assert isinstance(proof, Rejected)
        return proof.error, proof.key

    assert error(wire) == (TsigError.BADKEY, None)
    assert error(wire, key_of(name=parse_name("other"))) == (TsigError.BADKEY, None)
    assert error(wire, key_of("hmac-sha512")) == (TsigError.BADKEY, None)
    assert error(wire, key_of(secret=b"other"), now=late) == (TsigError.BADSIG, None)
    assert error(wire, key, now=late) == (TsigError.BADTIME, key)
    assert error(wire, key, now=NOW - (FUDGE + 1) * SECOND) == (TsigError.BADTIME, key)
    for now in (NOW - FUDGE * SECOND, NOW + FUDGE * SECOND):
        assert isinstance(checked(wire, key, now=now), Verified)


def cut_mac(wire, octets):
    """`wire` with only so many octets of its MAC."""
    record = find_tsig(wire)
    head = wire[: record.start]
    rdata = (
        record.algorithm
        + record.signed.to_bytes(6, "big")
        + record.fudge.to_bytes(2, "big")
        + octets.to_bytes(2, "big")
        + (record.mac + bytes(99))[:octets]
        + record.original_id
        + b"\0\0\0\0"
    )
    return head + record.key + b"\0\xfa\0\xff\0\0\0\0" + len(rdata).to_bytes(2, "big") + rdata


@pytest.mark.parametrize(("octets", "error"), [(31, TsigError.BADTRUNC), (16, TsigError.BADTRUNC), (32, None)])
def test_a_mac_that_is_cut_is_right_but_not_taken(octets, error):
    proof = checked(cut_mac(query(key_of())[1], octets), key_of())
    assert getattr(proof, "error", None) == error
    assert proof.key == key_of()


@pytest.mark.parametrize("octets", [0, 1, 10, 15, 33, 64])
def test_a_mac_of_an_impossible_length_is_a_format_error(octets):
    wire = cut_mac(query(key_of())[1], octets)
    with pytest.raises(WireError, match=f"its MAC has {octets} octets"):
        checked(wire, key_of())


@pytest.mark.parametrize(
    ("error", "seen"), [(TsigError.BADTIME, dns.tsig.PeerBadTime), (TsigError.BADTRUNC, dns.tsig.PeerBadTruncation)]
)
def test_errors_about_time_are_signed_and_carry_our_time(error, seen):
    key = key_of()
    message, wire = query(key)
    record = record_of(wire)
    rejected = Rejected(error=error, record=record, key=key)
    plain = dns.message.make_response(message)
    plain.tsig = None
    plain.set_rcode(dns.rcode.NOTAUTH)
    now = NOW + 9999 * SECOND
    reply = plain.to_wire()
    reply = seal(reply, Signer(key, request_mac=record.mac).sign_rejection(reply, rejected, now=now))
    said = record_of(reply)
    assert (said.signed, said.fudge, said.error) == (record.signed, record.fudge, error)
    assert said.other == ((now // SECOND).to_bytes(6, "big") if error is TsigError.BADTIME else b"")
    # By the time that the requester knows: it can check who says that its clock is wrong.
    assert check(reply, said, key, now=NOW, request_mac=record.mac) is None
    with pytest.raises(seen):
        dns.message.from_wire(reply, keyring={theirs(key).name: theirs(key)}, request_mac=message.mac)


@pytest.mark.parametrize(
    ("error", "seen"), [(TsigError.BADKEY, dns.tsig.PeerBadKey), (TsigError.BADSIG, dns.tsig.PeerBadSignature)]
)
def test_errors_about_the_key_are_not_signed(error, seen):
    key = key_of()
    message, wire = query(key)
    plain = dns.message.make_response(message)
    plain.tsig = None
    reply = seal(plain.to_wire(), encode_rejection(Rejected(error=error, record=record_of(wire))))
    assert record_of(reply).mac == b""
    with pytest.raises(seen):
        dns.message.from_wire(reply, keyring={theirs(key).name: theirs(key)}, request_mac=message.mac)


@given(st.lists(st.binary(min_size=12, max_size=40), min_size=1, max_size=6), st.sampled_from(list(ALGORITHMS)))
def test_a_chain_is_theirs_octet_by_octet(bodies, algorithm):
    key = key_of(algorithm)
    signer = Signer(key, request_mac=b"m" * key.mac_octets)
    context = None
    for number, body in enumerate(bodies):
        wire = body[:10] + b"\0\1" + body[12:]
        now = NOW + number * SECOND
        template = dns.rdtypes.ANY.TSIG.TSIG(
            dns.rdataclass.ANY,
            dns.rdatatype.TSIG,
            theirs(key).algorithm,
            0,
            FUDGE,
            b"",
            int.from_bytes(wire[:2], "big"),
            0,
            b"",
        )
        request_mac = b"m" * key.mac_octets if number == 0 else b""
        rdata, context = dns.tsig.sign(wire, theirs(key), template, now // SECOND, request_mac, context, multi=True)
        pieces = (wire[:5], memoryview(wire)[5:12], bytearray(wire[12:]))
        made = signer.sign(pieces, id_=int.from_bytes(wire[:2], "big"), now=now)
        assert made.endswith(rdata.to_wire())
        assert signer.mac == rdata.mac


MUTATIONS = st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=4)


@given(cut=st.integers(0, 200), mutations=MUTATIONS)
def test_no_octet_can_be_changed(cut, mutations):
    key = key_of()
    wire = query(key)[1]
    octets = bytearray(wire[: len(wire) - cut] if cut % 3 == 0 else wire)
    for position, value in mutations:
        if octets:
            octets[position % len(octets)] = value
    changed = bytes(octets)
    try:
        record = find_tsig(changed)
        if record is None:
            return
        proof = check_request(changed, record, {key.name: key}, now=NOW)
    except WireError:
        return
    if isinstance(proof, Verified):
        # The ID may change on the way (a forwarder's), and so may the case of the record's names, the RR's error
        # and other fields may not.
        assert changed[2 : record.start].lower() == wire[2 : record.start].lower()
        assert record.mac == find_tsig(wire).mac
        assert changed[12 : record.start] == wire[12 : record.start]


@given(st.binary(max_size=300))
def test_any_octets_are_a_record_or_an_error(octets):
    try:
        find_tsig(octets)
        read_tsig(octets, read_record(octets, 0))
    except WireError:
        pass


@pytest.mark.parametrize(
    ("algorithm", "secret", "name", "match"),
    [
        ("hmac-md5", b"x", NAME, "hmac-md5 is no algorithm"),
        ("hmac-sha1", b"x", NAME, "hmac-sha1 is no algorithm"),
        ("hmac-sha256", b"", NAME, "is empty"),
        ("hmac-sha256", b"x", Name(b"\x3f" + bytes(63) + b"\x3f" + bytes(63) + b"\0"), "has 129 octets"),
    ],
)
def test_what_makes_no_key(algorithm, secret, name, match):
    with pytest.raises(TsigKeyError, match=match):
        TsigKey(name=name, algorithm=algorithm, secret=secret)


def test_a_key_never_shows_its_secret():
    key = key_of()
    for text in (repr(key), str(key), f"{[key]}", repr(Verified(key=key, mac=b"m")), repr(Signer(key))):
        assert "sixteen" not in text
        assert "transfer" in text or "Signer" in text
