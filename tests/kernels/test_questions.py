"""All questions of messages come out as plain Python finds them, however little room there is at a time."""

import random

import numpy as np
import pytest
from dnstap_frames import dns_message, frame, question
from dnstap_oracle import parse_dns
from dnstap_strange import Strange
from hypothesis import given
from hypothesis import strategies as st

import tapir.kernels.questions
from tapir.codec.dnstap import Outcome, decode
from tapir.model.blocks import FrameBlock

SECRET = bytes(range(16))
LONGEST = (b"\x3f" + b"X" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0"


def unfold(data: bytes, places: list[tuple[int, int]], *, room: int = 1024, most: int = 16) -> list[tuple[int, bytes]]:
    """Each name with the number of its message."""
    starts, lengths = (np.array([place[side] for place in places], np.uint32) for side in (0, 1))
    state = np.zeros(4, np.int64)
    names, offsets, owners = np.empty(room, np.uint8), np.empty(most + 1, np.uint32), np.empty(most, np.uint32)
    found: list[tuple[int, bytes]] = []
    while count := tapir.kernels.questions.unfold(
        data, starts.data, lengths.data, state.data, names.data, offsets.data, owners.data
    ):
        if count < 0:
            raise ValueError("no message")
        ends = offsets.tolist()
        octets = names.tobytes()
        found += [(int(owners[place]), octets[ends[place] : ends[place + 1]]) for place in range(count)]
    return found


def message(strange: Strange) -> bytes:
    names = [
        question(strange.name() if strange.chance(0.5) else b"\3Www\7exAmple\0")
        for _ in range(strange.rng.randrange(5))
    ]
    wire = dns_message(names)
    return strange.changed(wire, (0, 1, 0xC0, 12)) if strange.chance(0.2) else wire


@given(st.integers(0, 1 << 32), st.sampled_from([(255, 1), (256, 2), (600, 3), (4096, 100)]))
def test_agrees_with_plain_python(seed: int, room: tuple[int, int]) -> None:
    strange = Strange(random.Random(seed))
    block = decode(FrameBlock.of([frame(response_message=message(strange)) for _ in range(20)]), SECRET)
    rows = np.flatnonzero(block.outcome == Outcome.OK)
    places = [(int(block.wire_at[row]), int(block.wire_length[row])) for row in rows]
    expected = [
        (number, name.lower())
        for number, row in enumerate(rows.tolist())
        for name, _, _ in parse_dns(block.wire(row)).questions
    ]
    assert unfold(block.frames.data, places, room=room[0], most=room[1]) == expected


@given(st.binary(max_size=60), st.integers(0, 3))
def test_whatever_comes_stays_inside(rest: bytes, questions: int) -> None:
    wire = bytes(5) + bytes((questions,)) + bytes(6) + rest
    try:
        found = unfold(wire + b"\0" * 9, [(0, len(wire))])
    except ValueError:
        return
    assert len(found) == (questions if rest else 0)
    assert all(len(name) <= 255 and name.endswith(b"\0") for _, name in found)


@pytest.mark.parametrize("wire", [b"", bytes(12), b"\xff" * 12, b"\xff" * 3])
def test_a_header_alone_has_no_questions(wire: bytes) -> None:
    assert unfold(wire, [(0, len(wire))]) == []
    assert unfold(b"", []) == []


def test_the_longest_name() -> None:
    assert len(LONGEST) == 255
    wire = dns_message([question(LONGEST), question(b"\xc0\x0c")])
    assert unfold(wire, [(0, len(wire))], room=255) == [(0, LONGEST.lower())] * 2


@pytest.mark.parametrize(
    "name", [b"\x40", b"\5ab", b"\1a\xc0", b"\xc0\x0c", b"\1" + LONGEST[:-1] + b"\0", b"\2aa" + LONGEST, b"\xbf\0"]
)
def test_what_is_no_name(name: bytes) -> None:
    wire = bytes(5) + b"\1" + bytes(6) + name
    with pytest.raises(ValueError, match="no message"):
        unfold(wire, [(0, len(wire))])


def test_what_does_not_lie_in_the_data_is_refused() -> None:
    with pytest.raises(IndexError):
        unfold(bytes(20), [(90, 20)])
