"""What reaches past a buffer is refused, whatever was said of its size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.kernels import prefixes


def words(count: int) -> memoryview:
    return np.zeros(count, np.uint64).data


def test_no_octet_past_the_data_is_gathered() -> None:
    for start, length in ((0, 5), (4, 1), (2**32 - 1, 16), (3, 2)):
        with pytest.raises(IndexError):
            prefixes.gather(
                b"abcd",
                np.array([start], np.uint32).data,
                np.array([length], np.uint32).data,
                np.zeros(16, np.uint8).data,
                np.zeros(1, np.uint8).data,
            )


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_columns_too_short_for_their_sizes_are_refused(rows: int, long: int, out: int) -> None:
    octets, room = np.zeros(16 * long, np.uint8), np.ones(16 * out, np.uint8)
    sizes, out_sizes = np.full(rows, 16, np.uint8), np.zeros(out, np.uint8)
    if rows > min(long, out):
        with pytest.raises(IndexError):
            prefixes.canonical(octets.data, sizes.data, room.data, out_sizes.data)
        with pytest.raises(IndexError):
            prefixes.covered(octets.data, sizes.data, words(0), words(0), out_sizes.data)
    else:
        assert prefixes.canonical(octets.data, sizes.data, room.data, out_sizes.data) == 0
        assert out_sizes.tolist() == [16] * rows + [0] * (out - rows)
        prefixes.covered(octets.data, sizes.data, words(0), words(0), out_sizes.data)
        assert not out_sizes.any()


def test_prefixes_need_their_room() -> None:
    with pytest.raises(IndexError):
        prefixes.spread(words(2), words(64), words(64), words(63))
    with pytest.raises(IndexError):
        prefixes.spread(words(2), words(64), words(62), words(64))
    with pytest.raises(IndexError):
        prefixes.fold(bytes(16 * 31), bytes(4), np.zeros(4, np.uint8).data)
    with pytest.raises(IndexError):
        prefixes.fold(bytes(16 * 32), bytes(4), np.zeros(3, np.uint8).data)


def test_a_prefix_is_followed_by_the_pad() -> None:
    masks = np.array([0, 0, 0xFF, 0], np.uint64)
    pads = np.array([0x1234, 0x56, 0x1200, 0x56], np.uint64)
    out = np.zeros(4, np.uint64)
    prefixes.spread(np.array([0xAB, 0xCD], np.uint64).data, masks.data, pads.data, out.data)
    assert out.tolist() == [0x1234, 0x56, 0x12AB, 0x56]


def test_bits_are_flipped_where_a_block_begins_with_one() -> None:
    blocks = bytearray(16 * 16)
    blocks[0] = blocks[16 * 7] = 0x80
    blocks[16 * 8] = 0x7F
    out = np.zeros(2, np.uint8)
    prefixes.fold(bytes(blocks), b"\x01\x0f", out.data)
    assert out.tolist() == [0x80, 0x0F]
