"""Sketches of many rows at once are those of each by itself, octet by octet, whatever the order and the memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.hll import HllError, Sketch, Storage, cardinality, encode, sketch_of
from tapir.minimiser.sketches import ClientSketches

SEED = bytes(range(16))
ROWS = 5

# Many share a register or have hardly any bits above it, and some are equal, or 0.
HASHES = (
    st.integers(0, 2**64 - 1)
    | st.integers(0, 3000)
    | st.builds(lambda index, shift: index | 1 << shift, st.integers(0, 1023), st.integers(0, 63))
)
ADDED = st.tuples(st.integers(0, ROWS - 1), HASHES, st.sampled_from([4, 6, 0]))


def add(sketches: ClientSketches, added: list[tuple[int, int, int]]) -> None:
    sketches.add(
        np.array([row for row, _, _ in added], np.uint32),
        np.array([value for _, value, _ in added], np.uint64),
        np.array([family for _, _, family in added], np.uint8),
    )


def registers_of(hashes: set[int]) -> bytes:
    registers = bytearray(1024)
    for value in hashes:
        bits = f"{value >> 10:b}"
        if "1" in bits:
            registers[value % 1024] = max(registers[value % 1024], min(len(bits) - bits.rindex("1"), 15))
    return bytes(registers)


def many(count: int, seed: int) -> list[int]:
    return [int(value) for value in np.random.default_rng(seed).integers(1, 1 << 64, count, dtype=np.uint64)]


def hold(sketches: ClientSketches, added: list[tuple[int, int, int]], threshold: int) -> None:
    """Compare with one sketch for each row and family, made at once of all its hashes."""
    rows = np.array([3, 0, 1, 2, 4], np.uint32)
    for family in (4, 6):
        column = sketches.column(rows, family)
        for place, row in enumerate(rows.tolist()):
            own = {value for at, value, kind in added if at == row and kind == family}
            wanted = sketch_of(own, threshold=threshold)
            told = wanted.storage in {Storage.SPARSE, Storage.FULL}
            assert column.stored(place) == (encode(wanted) if told else None)
            assert column.counts[place] == cardinality(wanted)


@given(st.lists(st.lists(ADDED, max_size=60), max_size=5), st.integers(1, 12))
def test_rows_are_what_each_would_be_alone(blocks: list[list[tuple[int, int, int]]], threshold: int) -> None:
    sketches = ClientSketches(ROWS, threshold=threshold, seed=SEED)
    for block in blocks:
        add(sketches, block)
    hold(sketches, [each for block in blocks for each in block], threshold)


@pytest.mark.parametrize("threshold", [1, 10, 20, 64, 300, 131072])
def test_every_storage_is_as_published(threshold: int) -> None:
    counts = {0: threshold if threshold < 1000 else 900, 1: threshold + 1, 2: 256, 3: 300, 4: 2000}
    added = [
        (row, value, family)
        for family in (4, 6)
        for row, count in counts.items()
        for value in many(min(count, 2000), row * 10 + family)
    ]
    np.random.default_rng(7).shuffle(added)
    added = [(int(row), int(value), int(family)) for row, value, family in added]
    sketches = ClientSketches(ROWS, threshold=threshold, seed=SEED)
    for first in range(0, len(added), 997):
        add(sketches, added[first : first + 997])
    hold(sketches, added, threshold)


@given(st.lists(ADDED, max_size=200))
def test_without_room_counts_are_estimated_and_no_sketch_is_told_that_should_not_be(
    added: list[tuple[int, int, int]],
) -> None:
    sketches = ClientSketches(ROWS, threshold=10, seed=SEED, octets=24 * 8)
    for first in range(0, len(added), 7):
        add(sketches, added[first : first + 7])
    rows = np.arange(ROWS, dtype=np.uint32)
    for family in (4, 6):
        column = sketches.column(rows, family)
        for row in range(ROWS):
            own = {value for at, value, kind in added if at == row and kind == family}
            exact = sketch_of(own, threshold=10)
            estimate = cardinality(Sketch(storage=Storage.FULL, code=0, registers=registers_of(own)))
            assert column.counts[row] in {cardinality(exact), estimate}
            stored = column.stored(row)
            assert stored is None or (len(own - {0}) > 10 and stored == encode(exact))


def test_memory_follows_what_was_seen() -> None:
    sketches = ClientSketches(100_000, threshold=20, seed=SEED)
    assert sketches.octets < 3_000_000
    generator = np.random.default_rng(1)
    rows = np.minimum(generator.zipf(1.2, 30_000) - 1, 99_999).astype(np.uint32)
    hashes = generator.integers(1, 1 << 64, 50_000, dtype=np.uint64)[generator.integers(0, 50_000, 30_000)]
    sketches.add(rows, hashes, np.where(generator.random(30_000) < 0.4, 6, 4).astype(np.uint8))
    assert sketches.octets < 4_500_000
    assert repr(sketches) == f"<ClientSketches of 100000 rows, {sketches.octets} octets>"
    column = sketches.column(rows[:3], 4)
    assert repr(column) == f"<SketchColumn of 3 rows, {len(column.data)} octets>"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(HllError, match="from 1 to 131072, not 0"):
        ClientSketches(1, threshold=0, seed=SEED)
    sketches = ClientSketches(2, threshold=20, seed=SEED)
    with pytest.raises(IndexError):
        add(sketches, [(2, 1, 4)])
    with pytest.raises(IndexError):
        sketches.column(np.array([2], np.uint32), 4)
    assert len(sketches.column(np.array([], np.uint32), 4)) == 0
