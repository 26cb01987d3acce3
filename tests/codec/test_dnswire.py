import contextlib

import dns.exception
import dns.message
import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dnswire import (
    WireError,
    encode_header,
    encode_record,
    read_header,
    read_name,
    read_question,
    read_record,
    read_soa_serial,
    skip_name,
)

LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=4)


@given(id_=st.integers(0, 65535), flags=st.integers(0, 65535), counts=st.tuples(*[st.integers(0, 65535)] * 4))
def test_a_header_reads_back(id_, flags, counts):
    header = read_header(encode_header(id_, flags, counts))
    assert (header.id, header.flags, header.counts) == (id_, flags, counts)
    assert header.is_response == bool(flags & 0x8000)
    assert header.opcode == dns.opcode.from_flags(flags)
    assert header.rcode == flags & 15


@given(prefix=LABELS, suffix=LABELS, junk=st.binary(max_size=5))
def test_a_compressed_name_is_as_dnspython_reads_it(prefix, suffix, junk):
    base = b"".join(bytes([len(label)]) + label for label in (*suffix, b""))
    start = len(junk)
    wire = junk + base + b"".join(bytes([len(label)]) + label for label in prefix) + bytes([0xC0, start])
    position = start + len(base)
    try:
        expected, used = dns.name.from_wire(wire, position)
    except (dns.exception.DNSException, dns.name.NameTooLong):
        with pytest.raises(WireError):
            read_name(wire, position)
        return
    assert read_name(wire, position) == (expected.canonicalize().to_wire(), position + used)
    assert skip_name(wire, position) == position + used


@given(wire=st.binary(max_size=300), position=st.integers(0, 300))
def test_garbage_is_a_wire_error_and_names_agree_with_dnspython(wire, position):
    for read in (skip_name, read_record, read_question):
        with contextlib.suppress(WireError):
            read(wire, position)
    try:
        ours = read_name(wire, position)[0]
    except WireError:
        ours = None
    try:
        theirs = dns.name.from_wire(wire, position)[0].canonicalize().to_wire()
    except (dns.exception.DNSException, IndexError):
        theirs = None
    assert ours == theirs


@pytest.mark.parametrize(
    "wire",
    [
        b"\xc0\x00",  # to itself
        b"\x01a\xc0\x00",  # to its own labels
        b"\xc0",  # cut short
        b"\xc0\x05",  # forward
        b"\x40a\0",  # label type 1
        b"\x03ab",  # cut short
        b"",
        b"\x3f" + b"a" * 63,  # no end
        (b"\x3f" + b"a" * 63) * 4 + b"\0",  # 257 octets
    ],
)
def test_bad_names_are_refused(wire):
    with pytest.raises(WireError):
        read_name(wire, 0)


def test_a_chain_of_pointers_is_followed_as_far_as_names_have_labels():
    """A chain of 8,000 could be followed from each of thousands of records: seconds for one message."""
    labels = b"\1a\0"
    chain = labels + b"".join(
        (0xC000 | (0 if not n else len(labels) + 2 * (n - 1))).to_bytes(2, "big") for n in range(200)
    )
    for pointers in (1, 2, 126, 127):
        assert read_name(chain, len(labels) + 2 * (pointers - 1))[0] == labels
    with pytest.raises(WireError, match="more than 127 pointers"):
        read_name(chain, len(labels) + 2 * 127)


def test_a_short_header_is_refused():
    with pytest.raises(WireError, match="11 octets"):
        read_header(bytes(11))


@pytest.mark.parametrize("octets", [b"\x01a\0\0\1\0", b"\xc0\x00\0\1\0\1", (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1"])
def test_a_question_is_whole_and_not_compressed(octets):
    with pytest.raises(WireError):
        read_question(octets, 0)


def test_a_question_keeps_its_octets_and_compares_in_lower_case():
    question, end = read_question(b"\x01A\x02bC\0\0\x06\0\1rest", 0)
    assert (question.octets, question.name) == (b"\x01A\x02bC\0\0\x06\0\1", b"\x01a\x02bc\0")
    assert (question.rdtype, question.rdclass, end) == (6, 1, 10)


def test_a_record_must_be_whole():
    record = encode_record(b"\0", 1, 1, 0, b"abcd")
    assert read_record(record, 0).end == len(record)
    for size in range(len(record)):
        with pytest.raises(WireError):
            read_record(record[:size], 0)


def test_the_serial_of_an_soa():
    rdata = b"\0\0" + (7).to_bytes(4, "big") + bytes(16)
    wire = encode_record(b"\0", 6, 1, 0, rdata)
    assert read_soa_serial(wire, read_record(wire, 0)) == 7
    wire = encode_record(b"\0", 6, 1, 0, rdata + b"x")
    with pytest.raises(WireError, match="SOA"):
        read_soa_serial(wire, read_record(wire, 0))
