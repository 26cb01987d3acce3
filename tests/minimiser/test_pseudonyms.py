"""Pseudonyms are those of Crypto-PAn whatever the cache holds; the cache stays within its octets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.cryptopan import CryptoPan
from tapir.kernels.pseudonyms import Cache
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.pseudonyms import Pseudonymiser

KEY, OTHER, SEED = bytes(range(32)), bytes(range(100, 132)), bytes(range(16))

FEW = st.integers(0, 9).map(lambda number: bytes([10, 0, 0, number]))
ADDRESSES = (
    FEW
    | FEW.map(lambda octets: bytes(10) + b"\xff\xff" + octets)
    | FEW.map(lambda octets: bytes(12) + octets)
    | st.binary(max_size=18)
    | st.binary(min_size=4, max_size=4)
    | st.binary(min_size=16, max_size=16)
)


def column(addresses: list[bytes]) -> AddressColumn:
    lengths = np.array([len(address) for address in addresses], np.uint32)
    starts = (np.cumsum(lengths) - lengths).astype(np.uint32)
    return AddressColumn.gathered(b"".join(addresses), starts, lengths)


def listed(addresses: AddressColumn) -> list[bytes]:
    pairs = zip(addresses.octets, addresses.sizes.tolist(), strict=True)
    return [octets.tobytes()[:size] if size <= 16 else b"long" for octets, size in pairs]


def pseudonym(key: bytes, address: bytes) -> bytes:
    if len(address) == 16 and address.startswith(bytes(10) + b"\xff\xff"):
        address = address[12:]
    if len(address) not in {4, 16}:
        return bytes(len(address)) if len(address) <= 16 else b"long"
    return CryptoPan(key).transform(np.frombuffer(address, np.uint8).reshape(1, -1)).tobytes()


def network(count: int, first: int = 0) -> AddressColumn:
    octets = np.zeros((count, 16), np.uint8)
    octets[:, :4] = np.arange(first, first + count, dtype=">u4").view(np.uint8).reshape(-1, 4)
    return AddressColumn(octets=octets, sizes=np.full(count, 4, np.uint8))


@given(st.lists(st.lists(ADDRESSES), max_size=4), st.sampled_from([0, 1000, 1 << 20]))
def test_pseudonyms_are_those_without_a_cache(blocks: list[list[bytes]], octets: int) -> None:
    pseudonymiser = Pseudonymiser(CryptoPan(KEY), octets=octets, seed=SEED)
    valid = odd = 0
    for block in blocks:
        given_column = column(block)
        before = given_column.octets.copy()
        assert listed(pseudonymiser.pseudonymise(given_column)) == [pseudonym(KEY, address) for address in block]
        assert (given_column.octets == before).all()
        valid += sum(len(address) in {4, 16} for address in block)
        odd += sum(len(address) not in {0, 4, 16} for address in block)
    statistics = pseudonymiser.statistics()
    assert (statistics.hits + statistics.misses, statistics.invalid) == (valid, odd)
    assert statistics.octets <= octets


@given(st.lists(ADDRESSES, min_size=1))
def test_another_key_is_in_effect_from_the_next_block_on(block: list[bytes]) -> None:
    pseudonymiser = Pseudonymiser(CryptoPan(KEY), octets=1 << 20, seed=SEED)
    pseudonymiser.pseudonymise(column(block))
    pseudonymiser.rotate(CryptoPan(OTHER))
    assert pseudonymiser.statistics().entries == 0
    assert listed(pseudonymiser.pseudonymise(column(block))) == [pseudonym(OTHER, address) for address in block]
    assert pseudonymiser.statistics().generation == 1


def test_a_block_that_came_before_is_known() -> None:
    pseudonymiser = Pseudonymiser(CryptoPan(KEY), octets=1 << 20, seed=SEED)
    block = network(500)
    first = pseudonymiser.pseudonymise(block)
    again = pseudonymiser.pseudonymise(block)
    assert first.octets.tobytes() == again.octets.tobytes()
    statistics = pseudonymiser.statistics()
    assert (statistics.hits, statistics.misses, statistics.evicted, statistics.entries) == (500, 500, 0, 500)


def test_what_comes_again_within_a_block_is_a_hit_unless_nothing_is_remembered() -> None:
    octets = network(500).octets.repeat(3, axis=0)
    block = AddressColumn(octets=octets, sizes=np.full(1500, 4, np.uint8))
    for limit, expected in ((1 << 20, (1000, 500)), (0, (0, 1500))):
        pseudonymiser = Pseudonymiser(CryptoPan(KEY), octets=limit, seed=SEED)
        pseudonymiser.pseudonymise(block)
        statistics = pseudonymiser.statistics()
        assert (statistics.hits, statistics.misses) == expected


def test_the_cache_stays_within_its_octets_and_keeps_what_is_asked_for() -> None:
    pseudonymiser = Pseudonymiser(CryptoPan(KEY), octets=300_000, seed=SEED)
    often = network(200, 1 << 24)
    for first in range(0, 30_000, 2000):
        pseudonymiser.pseudonymise(network(2000, first))
        pseudonymiser.pseudonymise(often)
    statistics = pseudonymiser.statistics()
    assert 200_000 < statistics.octets <= 300_000
    assert statistics.evicted == statistics.misses - statistics.entries
    pseudonymiser.pseudonymise(often)
    assert pseudonymiser.statistics().hits >= statistics.hits + 190


def test_nothing_shows_an_address_or_the_key() -> None:
    assert repr(Pseudonymiser(CryptoPan(KEY), octets=0, seed=SEED)) == "<Pseudonymiser of generation 0>"


def test_buffers_that_do_not_fit_are_refused() -> None:
    words, octets = np.zeros(4 * 8, np.uint64), np.zeros(8, np.uint8)
    with pytest.raises(ValueError, match="do not fit"):
        Cache(1, 2, words.data, octets.data, np.zeros(2, np.uint8).data)
    cache = Cache(1, 2, words.data, octets.data, np.zeros(1, np.uint8).data)
    numbers = np.zeros(3, np.uint32).data
    with pytest.raises(ValueError, match="scratch"):
        cache.look(words.data, octets.data, words.data, numbers, numbers, numbers, numbers)
