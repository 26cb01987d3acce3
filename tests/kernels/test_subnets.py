"""What tells of the client is blanked as plain Python does it, in any message, and nothing else is touched."""

import random

import numpy as np
import pytest
from dnstap_frames import dns_message, frame, opt, question, record
from dnstap_strange import Strange
from hypothesis import given
from hypothesis import strategies as st

import tapir.kernels.subnets
from tapir.codec.dnstap import Marks, Outcome, decode
from tapir.codec.dnstapframe import without_client_subnet
from tapir.model.blocks import FrameBlock

SECRET = bytes(range(16))
ADDRESS = b"\xd3\xd7\xb5\xa9"


def blank(data: bytes | bytearray, *places: tuple[int, int]) -> tuple[int, bytes]:
    out = bytearray(data)
    starts, lengths = (np.array(column, np.uint32) for column in (zip(*places, strict=True) if places else ((), ())))
    return tapir.kernels.subnets.blank(out, starts.data, lengths.data), bytes(out)


def subnet(data: bytes = b"\0\1\x20\0" + ADDRESS) -> bytes:
    return b"\0\x08" + len(data).to_bytes(2) + data


def strange_message(strange: Strange) -> bytes:
    """A message that tells of the client somewhere, or nearly so."""
    rng = strange.rng
    options = [strange.option() for _ in range(rng.choice((0, 0, 1, 2)))]
    options.insert(rng.randrange(len(options) + 1), subnet())
    sections: list[list[bytes]] = [[], [], []]
    for section in sections:
        if strange.chance(0.3):
            section.append(strange.record() if strange.chance(0.5) else record(b"\xc0\x0c", 1, b"abcd"))
    for _ in range(rng.choice((1, 1, 2))):
        rng.choice(sections).append(opt(0, b"".join(options)))
    wire = dns_message([question(b"\3abc\0")] * rng.choice((1, 1, 1, 2, 0)), *sections)
    return strange.changed(wire, (0, 1, 8, 12, 41, 0xC0, 255, rng.randrange(256))) if strange.chance(0.5) else wire


@given(st.integers(0, 1 << 32))
def test_agrees_with_plain_python_where_a_message_decodes(seed: int) -> None:
    strange = Strange(random.Random(seed))
    block = decode(FrameBlock.of([frame(response_message=strange_message(strange)) for _ in range(30)]), SECRET)
    rows = np.flatnonzero((block.outcome == Outcome.OK) & (block.marks & np.uint8(Marks.CLIENT_SUBNET) != 0))
    expected = bytearray(block.frames.data)
    for row in rows.tolist():
        at = int(block.wire_at[row])
        wire = without_client_subnet(block.wire(row))
        expected[at : at + len(wire)] = wire
    found = bytearray(block.frames.data)
    wanted = block.wire_at[rows], block.wire_length[rows]
    assert tapir.kernels.subnets.blank(found, wanted[0].data, wanted[1].data) == len(rows)
    assert found == expected


@given(st.integers(0, 1 << 32), st.binary(max_size=8), st.integers(0, 200))
def test_whatever_comes_nothing_outside_the_message_is_touched(seed: int, around: bytes, cut: int) -> None:
    wire = strange_message(Strange(random.Random(seed)))[:cut]
    done, out = blank(around + wire + around, (len(around), len(wire)))
    assert done in {0, 1}
    assert (out[: len(around)], out[len(around) + len(wire) :]) == (around, around)
    assert [new for new, old in zip(out, around + wire + around, strict=True) if new not in {old, 0}] == []


@pytest.mark.parametrize(
    ("data", "left"),
    [
        (b"\0\1\x20\0" + ADDRESS, b"\0\1\x20\0" + bytes(4)),
        (b"\0\1\x08\0\xd3", b"\0\1\x08\0\0"),
        (b"\0\2\x80\0" + ADDRESS * 4, b"\0\2\x80\0" + bytes(16)),
        (b"\0\1\0\0", b"\0\1\0\0"),
        (b"\0", b"\0"),
        (b"", b""),
    ],
)
def test_the_option_keeps_its_form(data: bytes, left: bytes) -> None:
    parts = [dns_message([question(b"\0")], additionals=[opt(0, subnet(octets) * 2)]) for octets in (data, left)]
    assert blank(parts[0], (0, len(parts[0]))) == (1, parts[1])


def test_it_ends_before_what_is_no_message() -> None:
    good = dns_message([question(b"\0")], additionals=[opt(0, subnet())])
    size = len(good)
    done, out = blank(
        good + bytes(size) + good[:20] + good, (0, size), (size, 12), (2 * size, 11), (2 * size + 20, size)
    )
    assert done == 2
    assert out[:size] == without_client_subnet(good)
    assert out[2 * size + 20 :] == good
    assert blank(b"") == (0, b"")


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        bytes(4) + b"\0\1" + bytes(6) + b"\x40",
        bytes(4) + b"\0\1" + bytes(6) + b"\xc0",
        bytes(4) + b"\0\1" + bytes(6) + b"\5ab",
        bytes(4) + b"\0\0\0\1" + bytes(4) + b"\0\0\x29" + bytes(6),
        bytes(4) + b"\0\0\0\1" + bytes(4) + b"\0\0\x29" + bytes(6) + b"\0\1",
        bytes(4) + b"\0\0\0\1" + bytes(4) + b"\x41",
    ],
)
def test_what_is_no_message(wire: bytes) -> None:
    assert blank(wire + b"\0\x08\0\4", (0, len(wire)))[0] == 0


def test_what_does_not_lie_in_the_data_is_refused_and_nothing_done() -> None:
    good = dns_message([question(b"\0")], additionals=[opt(0, subnet())])
    out = bytearray(good)
    places = np.array([0, 1], np.uint32), np.array([len(good), len(good)], np.uint32)
    with pytest.raises(IndexError):
        tapir.kernels.subnets.blank(out, places[0].data, places[1].data)
    assert out == good
