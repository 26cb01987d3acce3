"""Cutting at the ends of frames says what reading frame by frame says, over anything, from anywhere."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.kernels import frames

LENGTHS = st.one_of(st.integers(0, 6), st.sampled_from([100, 0x01000000, 0x80000000, 0xFFFFFFFF]))
PIECES = st.tuples(LENGTHS, st.binary(max_size=6)).map(lambda piece: piece[0].to_bytes(4) + piece[1])
STREAMS = st.one_of(
    st.binary(max_size=40),
    st.lists(PIECES, max_size=12).map(b"".join),
    st.lists(st.binary(min_size=1, max_size=9), max_size=12).map(
        lambda bodies: b"".join(len(body).to_bytes(4) + body for body in bodies)
    ),
)


def cut_slowly(data: bytes, limit: int, room: int) -> tuple[int, int, list[int]]:
    """The oracle: frame by frame, in plain Python."""
    at = 0
    ends: list[int] = []
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        if length == 0:
            return at, frames.CONTROL, ends
        if length > limit:
            return at, frames.TOO_LONG, ends
        if at + 4 + length > len(data):
            break
        if len(ends) == room:
            return at, frames.ROOM, ends
        at += 4 + length
        ends.append(at)
    return at, frames.PARTIAL, ends


@given(STREAMS, st.integers(0, 8), st.integers(0, 8), st.binary(max_size=5), st.binary(max_size=5))
def test_cutting_agrees_with_reading_frame_by_frame(
    stream: bytes, limit: int, room: int, before: bytes, after: bytes
) -> None:
    base = len(before)
    ends = array("I", bytes(4 * room))
    at, why, count = frames.cut(before + stream + after, base, base + len(stream), base, limit, ends, 0)
    assert (at - base, why, ends[:count].tolist()) == cut_slowly(stream, limit, room)


@given(STREAMS, st.integers(0, 40))
def test_cutting_goes_on_where_it_ended(stream: bytes, split: int) -> None:
    ends = array("I", bytes(4 * 40))
    split = min(split, len(stream))
    at, _, count = frames.cut(stream, 0, split, 0, 9, ends, 0)
    at, why, count = frames.cut(stream, at, len(stream), 0, 9, ends, count)
    assert (at, why, ends[:count].tolist()) == cut_slowly(stream, 9, 40)


@pytest.mark.parametrize(("at", "end", "base", "count"), [(0, 9, 0, 0), (1, 4, 2, 0), (0, 4, -1, 0), (0, 4, 0, -1)])
def test_positions_outside_the_data_are_refused(at: int, end: int, base: int, count: int) -> None:
    with pytest.raises(ValueError, match="not within"):
        frames.cut(bytes(8), at, end, base, 9, array("I", [0]), count)


def test_a_limit_past_what_offsets_hold_reads_nothing_outside() -> None:
    assert frames.cut(b"\xff\xff\xff\xff" + bytes(9), 0, 13, 0, 1 << 40, array("I", [0]), 0) == (0, frames.PARTIAL, 0)
