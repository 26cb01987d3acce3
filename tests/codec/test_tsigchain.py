"""Chains of signed answers are taken as dnspython takes them, and broken ones are not."""

import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dnswire import encode_header
from tapir.codec.tsig import (
    ALGORITHMS,
    Rejected,
    Signer,
    TsigError,
    TsigKey,
    TsigRecord,
    encode_rejection,
    find_tsig,
    seal,
)
from tapir.codec.tsigchain import MOST_UNSIGNED, AnswerChecker
from tapir.model.names import parse_name

NOW = 1_700_000_000
SECOND = 1_000_000
NAME = parse_name("key.example")
QUESTION = b"\x03rpz\x07example\0\0\xfc\0\1"


def key_of(algorithm="hmac-sha256", secret=b"secret"):
    return TsigKey(name=NAME, algorithm=algorithm, secret=secret)


def message(number, id_=7):
    return encode_header(id_, 0x8400, (1, 0, 0, 0)) + QUESTION if number % 3 else encode_header(id_, 0x8400, (0,) * 4)


def chain(signs, *, key=None, mac=b"r" * 32, now=NOW):
    """Messages by dnspython, signed where `signs` says, with where their TSIG records begin."""
    ours = key or key_of()
    theirs = dns.tsig.Key(dns.name.from_wire(ours.name, 0)[0], ours.secret, ours.algorithm)
    wires, context = [], None
    first = True
    for number, sign in enumerate(signs):
        wire = message(number)
        if not sign:
            if context is not None:
                context.update(wire)
            wires.append((wire, 0))
            continue
        blank = dns.rdtypes.ANY.TSIG.TSIG(
            dns.rdataclass.ANY, dns.rdatatype.TSIG, dns.name.from_text(ours.algorithm), now, 300, b"", 7, 0, b""
        )
        signed, context = dns.tsig.sign(wire, theirs, blank, now, mac if first else b"", context, True)
        first = False
        tail = NAME + b"\0\xfa\0\xff\0\0\0\0"
        rdata_wire = signed.to_wire()
        octets = seal(wire, tail + len(rdata_wire).to_bytes(2, "big") + rdata_wire)
        wires.append((octets, len(wire)))
    return wires


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(signs=st.lists(st.booleans(), max_size=12), octet=st.integers(0, 10**4), bit=st.integers(0, 7))
def test_takes_dnspythons_chain_and_none_with_a_flipped_bit(algorithm, signs, octet, bit):
    key = key_of(algorithm)
    wires = chain([True, *signs, True], key=key)
    checker = AnswerChecker(key, request_mac=b"r" * 32)
    for (wire, tsig), sign in zip(wires, [True, *signs, True], strict=True):
        assert checker.take(wire, tsig, now=NOW * SECOND) == ""
        assert checker.settled == sign
    # One flipped bit anywhere must be seen by the next signature at the latest. An ID may change on its way.
    number = octet % len(wires)
    wire, tsig = wires[number]
    place = octet % len(wire)
    if place < 2:
        place = 2
    flipped = bytearray(wire)
    flipped[place] ^= 1 << bit
    checker = AnswerChecker(key, request_mac=b"r" * 32)
    faults = [
        checker.take(bytes(flipped) if index == number else one, at, now=NOW * SECOND)
        for index, (one, at) in enumerate(wires)
    ]
    lower = tsig and bit == 5 and chr(wire[place]).isalpha()  # letter case of the names in the record
    header_of_tsig = tsig and tsig <= place < tsig + len(NAME) + 10
    # After the first message a signature speaks of its times alone, not of what error its record names.
    error = number and tsig and len(wire) - 4 <= place < len(wire) - 2
    assert any(faults) or lower or header_of_tsig or error


def test_takes_our_own_signer_too():
    key = key_of()
    signer = Signer(key, request_mac=b"m" * 32)
    checker = AnswerChecker(key, request_mac=b"m" * 32)
    for number in range(5):
        wire = message(number)
        octets = seal(wire, signer.sign((wire,), id_=7, now=NOW * SECOND))
        record = find_tsig(octets)
        assert record is not None
        assert checker.take(octets, record.start, now=NOW * SECOND) == ""
    assert checker.settled


def test_up_to_99_in_a_row_may_be_unsigned():
    for count, fault in ((MOST_UNSIGNED, ""), (MOST_UNSIGNED + 1, "more than 99 messages in a row are not signed")):
        checker = AnswerChecker(key_of(), request_mac=b"r" * 32)
        faults = [checker.take(*one, now=NOW * SECOND) for one in chain([True, *[False] * count, True])]
        assert next(filter(None, faults), "") == fault


@pytest.mark.parametrize(
    ("change", "now", "fault"),
    [
        ({"signs": [False]}, NOW, "the first message is not signed"),
        ({"signs": [True]}, NOW + 301, "BADTIME"),
        ({"signs": [True]}, NOW - 301, "BADTIME"),
        ({"signs": [True]}, NOW + 299, ""),
        ({"signs": [True], "key": key_of(secret=b"other")}, NOW, "BADSIG"),
        ({"signs": [True], "mac": b"other"}, NOW, "BADSIG"),
        ({"signs": [True], "key": key_of("hmac-sha512")}, NOW, "signed by another key"),
    ],
)
def test_says_why(change, now, fault):
    checker = AnswerChecker(key_of(), request_mac=b"r" * 32)
    [one] = chain(**change)
    assert checker.take(*one, now=now * SECOND) == fault
    assert checker.settled == (not fault)


def test_an_error_about_our_key_and_a_broken_record_are_named():
    for error, said in ((TsigError.BADKEY, "BADKEY"), (TsigError.BADSIG, "BADSIG")):
        record = TsigRecord(
            start=0,
            key=NAME,
            algorithm=key_of().algorithm_name,
            signed=NOW,
            fudge=300,
            mac=b"",
            original_id=b"\0\7",
            error=0,
            other=b"",
        )
        wire = message(1)
        octets = seal(wire, encode_rejection(Rejected(error=error, record=record)))
        checker = AnswerChecker(key_of(), request_mac=b"")
        assert checker.take(octets, len(wire), now=NOW * SECOND) == said
    checker = AnswerChecker(key_of(), request_mac=b"")
    [(octets, at)] = chain([True])
    assert checker.take(octets[:-1], at, now=NOW * SECOND).startswith("malformed: ")
    length = int.from_bytes(octets[at + len(NAME) + 8 : at + len(NAME) + 10], "big")
    assert length
    cut = bytearray(octets)
    place = octets.index(b"\0\x20", at)
    del cut[place + 2 + 16 : place + 2 + 32]
    cut[place : place + 2] = b"\0\x10"
    cut[at + len(NAME) + 8 : at + len(NAME) + 10] = (length - 16).to_bytes(2, "big")
    checker = AnswerChecker(key_of(), request_mac=b"r" * 32)
    assert checker.take(bytes(cut), at, now=NOW * SECOND) == "BADTRUNC"
