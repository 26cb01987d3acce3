"""Hashes are those of mmh3, and of the published vectors."""

import ipaddress

import mmh3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.kernels import murmur

PUBLISHED = {
    b"": 0x0000000000000000,
    bytes([192, 0, 2, 1]): 0x596A50A5A9831DFF,
    bytes([198, 51, 100, 20]): 0x50CC36F917736C57,
    bytes([198, 51, 100, 21]): 0xBECDFAC7DDCEEBA7,
    bytes([203, 0, 113, 255]): 0xD8046D7F364DB971,
    ipaddress.ip_address("2001:db8::1").packed: 0x6ABAAEE0764BF3C5,
    ipaddress.ip_address("2001:db8::20").packed: 0x8D2FBF75B678D034,
    ipaddress.ip_address("fe80::1").packed: 0x87E7DDF30D74C981,
    ipaddress.ip_address("::ffff:198.51.100.20").packed: 0xD15C7AF2A92FEA2F,
    b"a": 0x85555565F6597889,
    b"abcdefg": 0xA6CD2F9FC09EE499,
    b"abcdefgh": 0xCC8A0AB037EF8C02,
    b"abcdefghijklmno": 0x8ABE2451890C2FFB,
    b"abcdefghijklmnop": 0xC4CA3CA3224CB723,
    b"abcdefghijklmnopq": 0x7564747F88BDA657,
}


def hashes(parts: list[bytes]) -> list[int]:
    out = np.empty(len(parts), np.uint64)
    sizes = np.array([len(part) for part in parts], np.uint8)
    starts = (np.cumsum(sizes, dtype=np.uint32) - sizes).astype(np.uint32)
    murmur.hashes(b"".join(parts), starts.data, sizes.data, out.data)
    return out.tolist()


def test_published_values() -> None:
    assert hashes(list(PUBLISHED)) == list(PUBLISHED.values())


@given(st.lists(st.binary(max_size=255)))
def test_hashes_are_those_of_mmh3(parts: list[bytes]) -> None:
    assert hashes(parts) == [mmh3.hash64(part, seed=0, x64arch=True, signed=False)[0] for part in parts]


def test_octets_past_the_data_are_not_read() -> None:
    out = np.empty(1, np.uint64)
    with pytest.raises(IndexError):
        murmur.hashes(b"abc", np.array([0], np.uint32).data, np.array([4], np.uint8).data, out.data)
    with pytest.raises(IndexError):
        murmur.clients(b"\0" * 15, b"\x10", out.data, np.empty(1, np.uint8).data)
