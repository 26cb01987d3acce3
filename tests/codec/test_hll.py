"""Sketches are those of the existing edge's library, octet by octet, and nothing else is taken for one."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.hll import (
    REGISTERS,
    HllError,
    Sketch,
    Storage,
    cardinality,
    encode,
    estimates,
    parse,
    sketch_of,
    union,
)
from tapir.kernels import murmur

VECTORS = Path(__file__).resolve().parents[1] / "vectors/hll/golden.json"
SHARED = Path(__file__).resolve().parents[2].parent / "shared/vectors/hll/golden.json"

HASHES = st.integers(0, 2**64 - 1) | st.integers(0, 3000) | st.integers(0, 63).map(lambda bit: 1 << bit)


def golden(path: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(path.read_text())
    return cases


def hold(cases: list[dict[str, Any]]) -> int:
    """Hold us against cases; those of one seed share their hashes, which stand with the first of them."""
    known: dict[tuple[str, int], list[int]] = {}
    made = 0
    for case in cases:
        stored = bytes.fromhex(case["bytes"])
        sketch = parse(stored)
        assert (sketch.storage, cardinality(sketch)) == (case["storage_type"], case["cardinality"])
        assert encode(sketch) == stored
        if case.get("addrs"):
            addresses = np.array([list(bytes.fromhex(text).ljust(16, b"\0")) for text in case["addrs"]], np.uint8)
            out = np.empty(len(addresses), np.uint64)
            sizes = bytes([len(text) // 2 for text in case["addrs"]])
            murmur.clients(addresses.reshape(-1).data, sizes, out.data, np.empty(len(out), np.uint8).data)
            assert [str(value) for value in out.tolist()] == case["hashes"]
        if "hashes" in case:
            known[case["family"], case["seed"]] = [int(value) for value in case["hashes"]]
        hashes = known.get((case["family"], case["seed"]))
        if hashes is not None:
            own = sketch_of(hashes, threshold=case["explicit_threshold"])
            assert encode(own) == stored
            assert cardinality(own) == case["cardinality"]
            made += 1
    return made


def test_sketches_are_as_published() -> None:
    assert hold(golden(VECTORS)) > 50


@pytest.mark.skipif(not SHARED.is_file(), reason="the larger vectors are not here")
def test_all_published_sketches_hold() -> None:
    assert hold(golden(SHARED)) == 136


def test_registers_are_as_published() -> None:
    values = "50cc36f917736c57 596a50a5a9831dff d8046d7f364db971 6abaaee0764bf3c5 8d2fbf75b678d034 87e7ddf30d74c981"
    words = [0x15C4, 0x7FC4, 0x5C48, 0xF14C, 0x0D0C, 0x6048]
    for value, word in zip(values.split(), words, strict=True):
        registers = encode(sketch_of([int(value, 16), 1], threshold=1))[3:]  # 1 has no bit that a register takes
        assert int.from_bytes(registers) == word


def many(count: int, seed: int) -> set[int]:
    return {int(value) for value in np.random.default_rng(seed).integers(1, 1 << 64, count, dtype=np.uint64)}


@given(st.sets(HASHES, max_size=40) | st.builds(many, st.integers(250, 350), st.integers(0, 2**32)), st.integers(1, 70))
def test_what_is_stored_is_read_again(hashes: set[int], threshold: int) -> None:
    sketch = sketch_of(hashes, threshold=threshold)
    assert parse(encode(sketch)) == sketch
    if len(hashes - {0}) <= threshold:
        assert cardinality(sketch) == len(hashes - {0})


@given(st.sets(HASHES, max_size=40), st.sets(HASHES, max_size=40), st.integers(1, 50), st.integers(1, 50))
def test_a_union_is_the_sketch_of_both(left: set[int], right: set[int], first: int, second: int) -> None:
    wanted = sketch_of(left | right, threshold=first)
    assert union(sketch_of(left, threshold=first), sketch_of(right, threshold=first), threshold=first) == wanted
    mixed = union(sketch_of(left, threshold=first), sketch_of(right, threshold=second), threshold=first)
    if not wanted.registers and mixed.registers:  # the other one gave up its hashes earlier
        assert len(right - {0}) > second
    else:
        assert mixed == wanted


def test_a_union_with_a_full_sketch_is_full() -> None:
    full = Sketch(storage=Storage.FULL, code=4, registers=bytes([1, *bytes(REGISTERS - 1)]))
    assert union(sketch_of([], threshold=20), full, threshold=20) == full


@given(st.binary(max_size=80))
def test_garbage_is_an_error_or_a_sketch(data: bytes) -> None:
    try:
        sketch = parse(data)
    except HllError:
        return
    assert encode(sketch) == data
    cardinality(sketch)


@given(st.sampled_from([0x11, 0x12, 0x13, 0x14]), st.binary(max_size=40) | st.binary(min_size=512, max_size=512))
def test_what_is_taken_is_stored_the_same(kind: int, content: bytes) -> None:
    data = bytes([kind, 0x6A, 0x44]) + content
    try:
        sketch = parse(data)
    except HllError:
        return
    assert encode(sketch) == data
    assert cardinality(sketch) >= 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "3 octets"),
        ("206a44", "version 2"),
        ("106a44", "way 0"),
        ("156a44", "way 5"),
        ("118a44", "2\\^10 of 4"),
        ("116a04", "without sparse"),
        ("116a4400", "empty sketch with 1"),
        ("126a4400", "no whole hashes"),
        ("126a440000000000000000", "0"),
        ("126a44" + "00000000000000ff" + "ff00000000000000", "out of order"),
        ("136a4400", "no number of registers"),
        ("136a4415c5", "behind its last"),
        ("136a4415c0", "out of order or 0"),
        ("136a44" + f"{(0x571 << 14 | 0x571) << 4:08x}", "register 87 out of order"),
        ("136a44" + "11" * 1800, "no number of registers"),
        ("146a44" + "00" * 511, "511 octets"),
    ],
)
def test_what_no_sketch_is_is_refused(data: str, words: str) -> None:
    with pytest.raises(HllError, match=words):
        parse(bytes.fromhex(data))


@pytest.mark.parametrize("threshold", [0, -1, 131073])
def test_a_threshold_is_within_bounds(threshold: int) -> None:
    with pytest.raises(HllError):
        sketch_of([], threshold=threshold)


def test_small_estimates_do_not_hang_on_the_last_bit_of_a_logarithm() -> None:
    # Another library's logarithm may differ in its last bit: rounding up must not show it.
    zeroes = np.arange(1, REGISTERS, dtype=np.int64)
    exact = [REGISTERS * math.log(REGISTERS / count) for count in zeroes.tolist()]
    assert min(abs(value - round(value)) for value in exact) > 1e-6
    indicators = np.full(len(zeroes), 800 << 15)
    assert estimates(indicators, zeroes).tolist() == [math.ceil(value) for value in exact]


def test_large_estimates_are_corrected_as_far_as_that_is_defined() -> None:
    def estimate(value: int) -> int:
        return cardinality(Sketch(storage=Storage.FULL, code=4, registers=bytes([value]) * REGISTERS))

    raw = 0.7213 / (1 + 1.079 / 1024) * 1024
    assert estimate(9) == math.ceil(raw * 2**9)
    assert estimate(10) == math.ceil(-(2.0**24) * math.log(1 - raw * 2**10 / 2.0**24))
    assert estimate(15) == math.ceil(raw * 2**15)
