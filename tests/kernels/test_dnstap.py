"""The decode kernels against protobuf and plain Python, over frames as they are, nearly are, and never should be."""

import random

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import numpy as np
import pytest
from dnstap_frames import Workload, blocks, envelope, frame, message_fields, number, octets, opt, record, varint
from dnstap_oracle import expected
from dnstap_strange import Strange
from hypothesis import given
from hypothesis import strategies as st

import tapir.kernels.dnsquestion
import tapir.kernels.dnsrecords
import tapir.kernels.dnstap
from tapir.codec.dnstap import DecodedBlock, Marks, Outcome, decode, hashes_of
from tapir.model.blocks import FrameBlock, NameBlock
from tapir.model.names import Name

SECRET = bytes(range(16))
TRAFFIC = Workload(clients=50, known=30, others=20).frames(60)


def found(block: DecodedBlock, row: int) -> dict[str, object]:
    """All that a row says, under the names that the oracle uses."""
    marks = Marks(int(block.marks[row]))
    out: dict[str, object] = {mark.name.lower(): mark in marks for mark in Marks if mark.name}
    for column in ("query_address", "response_address", "identity", "wire", "name", "name_as_sent"):
        out[column] = bytes(getattr(block, column)(row))
    numbers = (
        "outcome", "message_type", "family", "protocol", "query_port", "response_port", "time",
        "flags", "rcode", "qtype", "qclass", "questions", "answers", "authorities", "additionals",
    )  # fmt: skip
    return out | {column: int(getattr(block, column)[row]) for column in numbers}


def check(frames: list[bytes]) -> DecodedBlock:
    block = decode(FrameBlock.of(frames), SECRET)
    assert len(block) == len(frames)
    for row, one in enumerate(frames):
        wanted = expected(one)
        got = found(block, row)
        assert {key: got[key] for key in wanted} == wanted, one.hex()
    return block


@given(st.integers(0, 2**64 - 1))
def test_strange_frames_are_read_as_by_the_oracle(seed: int) -> None:
    strange = Strange(random.Random(seed))
    check([strange.frame() for _ in range(20)])


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
def test_garbage_is_read_as_by_the_oracle(frames: list[bytes]) -> None:
    check(frames)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(TRAFFIC),
            st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
            st.integers(1, 400),
        ),
        max_size=5,
    )
)
def test_frames_that_were_changed_in_places_are_read_as_by_the_oracle(
    drawn: list[tuple[bytes, list[tuple[int, int]], int]],
) -> None:
    frames = []
    for original, changes, length in drawn:
        octets_ = bytearray(original)
        for place, octet in changes:
            octets_[place % len(octets_)] = octet
        frames.append(bytes(octets_[:length]))
    check(frames)


def test_every_cut_of_a_frame_is_read_as_by_the_oracle() -> None:
    whole = TRAFFIC[0]
    check([whole[:length] for length in range(1, len(whole) + 1)])


def test_every_cut_of_a_dns_message_is_read_as_by_the_oracle() -> None:
    strange = Strange(random.Random(7))
    wires = [strange.dns_message() for _ in range(15)]
    check([frame(response_message=wire[:length]) for wire in wires for length in range(len(wire) + 1)])


def test_real_traffic_is_read_as_by_dnspython() -> None:
    for block in blocks(TRAFFIC, size=2000):
        for row in range(len(block)):
            decoded = decode(block, SECRET)
            message = dns.message.from_wire(decoded.wire(row))
            (question,) = message.question
            assert decoded.outcome[row] == Outcome.OK
            assert decoded.name_as_sent(row) == question.name.to_wire()
            assert decoded.name(row) == question.name.canonicalize().to_wire()
            assert (decoded.qtype[row], decoded.qclass[row]) == (question.rdtype, question.rdclass)
            assert decoded.rcode[row] == message.rcode()
            assert decoded.opcode[row] == message.opcode()
            assert dns.flags.QR & int(decoded.flags[row])
            assert decoded.answers[row] == sum(len(rrset) for rrset in message.answer)
            assert decoded.additionals[row] == 1


@pytest.mark.parametrize("rcode", [0, 3, 16, 23, 4095])
def test_response_code_has_the_bits_of_the_opt_record(rcode: int) -> None:
    message = dns.message.make_response(dns.message.make_query("a.example.", "A", use_edns=0))
    message.set_rcode(rcode)  # type: ignore[arg-type]
    block = check([frame(response_message=message.to_wire())])
    assert block.rcode[0] == rcode == message.rcode()
    assert block.flags[0] & 15 == rcode & 15


def test_the_last_opt_record_of_the_additional_section_counts() -> None:
    question = b"\x01a\0\0\1\0\1"
    head = b"\0\1\x81\x80\0\1\0\1\0\0\0\3"
    wire = head + question + opt(0x120) + opt(0x340) + record(b"\0", 16, b"\1x") + opt(0x560)
    assert check([frame(response_message=wire)]).rcode[0] == 0x560


# -- protobuf


MESSAGE = message_fields(response_message=b"\0\1\x81\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0\1")


def outcome(one: bytes) -> Outcome:
    return Outcome(int(check([one]).outcome[0]))


def test_order_of_the_first_decisions() -> None:
    """As edm.md §12.11 has it."""
    assert outcome(b"not protobuf") is Outcome.MALFORMED
    assert outcome(number(15, 1)) is Outcome.NO_MESSAGE
    assert outcome(envelope(message_fields(message_type=None))) is Outcome.MALFORMED
    assert outcome(envelope(MESSAGE)) is Outcome.OK
    assert outcome(octets(14, MESSAGE)) is Outcome.MALFORMED  # without the type of the envelope
    assert outcome(envelope(message_fields(message_type=5, response_message=b"x"))) is Outcome.QUERY
    assert outcome(envelope(message_fields(message_type=99))) is Outcome.MALFORMED
    assert outcome(envelope(message_fields(response_message=None))) is Outcome.NO_DNS
    assert outcome(envelope(message_fields(response_message=b"short"))) is Outcome.UNPARSABLE
    assert outcome(envelope(message_fields(response_message=bytes(12)))) is Outcome.NO_QUESTION
    assert outcome(envelope(message_fields(response_message=bytes(5) + b"\7" + bytes(6)))) is Outcome.NO_QUESTION


@pytest.mark.parametrize("kind", range(1, 15))
def test_all_kinds_of_responses_are_taken_and_no_query(kind: int) -> None:
    wanted = Outcome.QUERY if kind % 2 else Outcome.OK
    assert outcome(envelope(MESSAGE + number(1, kind))) is wanted


def test_a_message_in_parts_is_put_together() -> None:
    parts = octets(14, number(1, 5)) + octets(14, MESSAGE) + octets(14, number(6, 77)) + octets(14, b"")
    block = check([parts + number(15, 1)])
    assert (block.outcome[0], block.message_type[0], block.query_port[0]) == (Outcome.OK, 6, 77)


def test_the_last_of_several_values_wins() -> None:
    twice = octets(4, b"1111") + octets(4, b"2222") + octets(4, b"")
    block = check([envelope(MESSAGE + twice + number(1, 8) + number(1, 99), identity=b"a") + octets(1, b"b")])
    assert (block.query_address(0), block.message_type[0], block.identity(0)) == (b"", 8, b"b")


def test_known_fields_of_another_wire_type_are_passed_over() -> None:
    odd = octets(1, b"\x05") + octets(12, b"\x05") + number(14, 5) + number(4, 1) + octets(13, b"1234") + number(13, 9)
    block = check([envelope(MESSAGE + odd)])
    assert (block.outcome[0], block.message_type[0]) == (Outcome.OK, 6)


def group(*numbers: int) -> bytes:
    """Groups in each other, closed from the inside out."""
    opened = b"".join([varint(one << 3 | 3) for one in numbers])
    return opened + b"".join([varint(one << 3 | 4) for one in reversed(numbers)])


def test_groups_are_passed_over_with_all_that_is_in_them() -> None:
    hidden = varint(99 << 3 | 3) + number(1, 5) + octets(14, b"x") + varint(99 << 3 | 4)
    assert outcome(envelope(MESSAGE + hidden) + hidden) is Outcome.OK
    assert outcome(envelope(MESSAGE) + group(*range(1, 90))) is Outcome.OK
    assert outcome(envelope(MESSAGE) + group(*[7] * 200)) is Outcome.MALFORMED
    assert outcome(envelope(MESSAGE) + group(5)[:1]) is Outcome.MALFORMED
    assert outcome(envelope(MESSAGE + group(5)[:1])) is Outcome.MALFORMED
    assert outcome(envelope(MESSAGE) + group(5)[:1] + group(6)[1:]) is Outcome.MALFORMED
    assert outcome(envelope(MESSAGE) + group(5)[1:]) is Outcome.MALFORMED


@pytest.mark.parametrize(
    "tail",
    [
        b"\0\0",  # field 0
        b"\x2e",  # wire type 6
        b"\x2f",
        b"\x2d123",  # less than it says
        b"\x291234567",
        b"\x2a\x05abcd",
        b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length of 64 bits
        b"\x2a\xff\xff\xff\xff\x0f",
        b"\x28" + b"\x80" * 10 + b"\x01",  # longer than a varint can be
        b"\x28\x80",
        b"\xf0",
        b"\xf8\xff\xff\xff\xff\x01\x00",  # a field number of more than 29 bits
    ],
)
def test_what_is_no_protobuf(tail: bytes) -> None:
    assert outcome(envelope(MESSAGE) + tail) is Outcome.MALFORMED
    assert outcome(envelope(MESSAGE + tail)) is Outcome.MALFORMED


def test_a_varint_of_ten_octets_is_a_number() -> None:
    block = check([envelope(MESSAGE + number(7, 2**64 - 1) + number(6, 2**32 + 5))])
    assert (block.response_port[0], block.query_port[0]) == (2**32 - 1, 5)


@pytest.mark.parametrize(
    ("time", "wanted", "marks"),
    [
        (None, 0, Marks.NO_TIME),
        ((5, None), 5_000_000, Marks(0)),
        ((1_700_000_001, 456), 1_700_000_001_000_000, Marks(0)),
        ((1, 999_999_999), 1_999_999, Marks(0)),
        ((1, 2**32 - 1), 1_000_000 + 4_294_967, Marks(0)),
        ((9223372036849, 2**32 - 1), 9223372036849_000_000 + 4_294_967, Marks(0)),
        ((9223372036850, 0), 0, Marks.ABSURD_TIME),
        ((2**64 - 1, 0), 0, Marks.ABSURD_TIME),
    ],
)
def test_times(time: tuple[int, int | None] | None, wanted: int, marks: Marks) -> None:
    block = check([frame(response_time=time)])
    assert (block.time[0], block.marks[0]) == (wanted, marks)


# -- names


def test_names_are_told_in_lower_case_and_as_sent() -> None:
    sent = [b"\x03WwW\x07Example\x03cOm\0", b"\x03www\0", b"\0", b"\x05A@[`Z\0", b"\x02\xc0\xdd\0"]
    block = check([frame(response_message=b"\0" * 5 + b"\1" + bytes(6) + name) for name in sent])
    assert [block.name_as_sent(row) for row in range(5)] == sent
    assert [block.name(row) for row in range(5)] == [name.lower() for name in sent]
    assert (block.sent_at != block.name_at).tolist() == [True, False, False, True, False]


def test_names_of_every_length() -> None:
    names = [b"".join([b"\x01a"] * count) + b"\0" for count in range(130)]
    names += [b"\x3f" + b"b" * 63 + name for name in names]
    check([frame(response_message=b"\0" * 5 + b"\1" + bytes(6) + name + b"\0\1\0\1") for name in names])


def test_pointers_in_a_question_lead_anywhere_in_the_message() -> None:
    head = b"\1b\0\0\0\1" + bytes(6)
    wires = [
        head + b"\xc0\0\0\1\0\1",  # into the header
        head + b"\xc0\x12\0\1\0\1\1c\0",  # ahead
        head + b"\xc0\x0c\0\1\0\1",  # to itself
        head + b"\xff\xff\0\1\0\1",
        head + b"\xc0",
        head + b"\x40a\0\0\1\0\1",
    ]
    block = check([frame(response_message=wire) for wire in wires])
    assert [bytes(block.name(row)) for row in range(2)] == [b"\1b\0", b"\1c\0"]
    assert block.outcome.tolist() == [0, 0] + [Outcome.UNPARSABLE] * 4


def test_a_message_of_nothing_but_pointers_costs_no_more_than_its_length() -> None:
    """Each of these names would follow a hundred pointers, which are the names themselves."""
    question = b"\0\0\1\0\1"
    chain = b"".join([(0xC011 + 2 * max(0, place - 1)).to_bytes(2) for place in range(110)])
    hip = record(b"\0", 55, b"\0\0\0\1x" + chain + (0xC011 + 2 * 109).to_bytes(2) * 30_000)
    wire = b"\0\1\x81\x80\0\1\0\1\0\0\0\0" + question + hip
    assert outcome(frame(response_message=wire)) is Outcome.UNPARSABLE


# -- blocks


def test_an_empty_block() -> None:
    block = check([])
    assert len(block) == 0
    assert block.names == b""


def test_frames_do_not_leak_into_each_other() -> None:
    """A frame that claims the octets of the next one does not get them."""
    inner = message_fields(response_message=b"\0\1\x81\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0\1")
    for cut in range(1, 30):
        check([envelope(inner)[:-cut] or b"\0", TRAFFIC[0]])


@given(st.integers(0, 2**64 - 1), st.binary(max_size=24), st.lists(st.integers(0, 40), max_size=4))
def test_kernels_read_nothing_outside_of_lying_columns(seed: int, data: bytes, places: list[int]) -> None:
    """Columns that lead out of the octets are an IndexError at most, in either form."""
    count = len(places)
    numbers = np.zeros(8 * count, dtype=np.uint16).data
    where = np.zeros(4 * count, dtype=np.uint32)
    at = np.array(places, dtype=np.uint32).data
    outcomes = np.zeros(count, dtype=np.uint8).data
    state = np.zeros(5, dtype=np.int64).data
    names = np.zeros(510 * count, dtype=np.uint8).data
    hashes = np.zeros(count, dtype=np.uint64).data
    key = np.array([1, 2], dtype=np.uint64).data
    try:
        tapir.kernels.dnsquestion.read(data, at, at, key, outcomes, numbers, where.data, hashes, names, state)
        tapir.kernels.dnsrecords.check(
            data, at, at, where[3 * count :].data, memoryview(bytes(2)).cast("H"), bytes(1), outcomes, outcomes,
            numbers, state,
        )  # fmt: skip
    except IndexError:
        pass


def test_columns_that_are_too_short_are_refused() -> None:
    block = FrameBlock.of(TRAFFIC[:3])
    offsets = memoryview(block.offsets).cast("I")
    short = np.zeros(3, dtype=np.uint32).data
    with pytest.raises(ValueError, match="shorter"):
        tapir.kernels.dnstap.decode(block.data, offsets, short, bytearray(3), np.zeros(3, dtype=np.int64).data, short)
    few = np.zeros(3, dtype=np.uint16).data
    longs = np.zeros(3, dtype=np.uint64).data
    with pytest.raises(ValueError, match="shorter"):
        tapir.kernels.dnsquestion.read(
            block.data, short, short, longs[:2], bytearray(3), few, short, longs, bytearray(3),
            np.zeros(2, dtype=np.int64).data,
        )  # fmt: skip
    with pytest.raises(ValueError, match="two words"):
        tapir.kernels.dnsquestion.read(
            block.data, short, short, longs[:1], bytearray(3), memoryview(bytearray(48)).cast("H"),
            memoryview(bytearray(48)).cast("I"), longs, bytearray(3), np.zeros(2, dtype=np.int64).data,
        )  # fmt: skip
    with pytest.raises(ValueError, match="shorter"):
        tapir.kernels.dnsrecords.check(
            block.data, short, short, short, few, b"\0", bytearray(3), bytearray(3), few,
            np.zeros(5, dtype=np.int64).data,
        )  # fmt: skip


# -- hashes


def siphash(data: bytes, key: bytes, *, rounds: int, last: int) -> int:
    mask = 2**64 - 1
    first, second = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [
        first ^ 0x736F6D6570736575, second ^ 0x646F72616E646F6D, first ^ 0x6C7967656E657261, second ^ 0x7465646279746573
    ]  # fmt: skip

    def turn(count: int) -> None:
        for _ in range(count):
            for one, two, turn_two, turn_one in ((0, 1, 13, 32), (2, 3, 16, 0), (0, 3, 21, 0), (2, 1, 17, 32)):
                v[one] = v[one] + v[two] & mask
                v[two] = (v[two] << turn_two | v[two] >> 64 - turn_two) & mask ^ v[one]
                v[one] = (v[one] << turn_one | v[one] >> 64 - turn_one) & mask if turn_one else v[one]

    padded = data + bytes(7 - len(data) % 8) + bytes((len(data) & 255,))
    for place in range(0, len(padded), 8):
        word = int.from_bytes(padded[place : place + 8], "little")
        v[3] ^= word
        turn(rounds)
        v[0] ^= word
    v[2] ^= 255
    turn(last)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_the_hash_that_we_compare_with() -> None:
    """The vector of SipHash-2-4's authors."""
    assert siphash(bytes(range(15)), SECRET, rounds=2, last=4) == 0xA129CA6149BE45E5


@given(st.lists(st.binary(min_size=1, max_size=255), max_size=5), st.binary(min_size=16, max_size=16))
def test_hashes_are_siphash(names: list[bytes], secret: bytes) -> None:
    hashes = hashes_of(NameBlock.of(map(Name, names)), secret)
    assert hashes.tolist() == [siphash(name.lower(), secret, rounds=1, last=3) for name in names]


def test_a_row_has_the_hash_of_its_name() -> None:
    block = decode(FrameBlock.of(TRAFFIC), SECRET)
    names = NameBlock.of(block.name(row) for row in range(len(block)))
    assert block.name_hash.tolist() == hashes_of(names, SECRET).tolist()
    assert block.name_hash.tolist() != decode(FrameBlock.of(TRAFFIC), bytes(16)).name_hash.tolist()
