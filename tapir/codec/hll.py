"""HyperLogLog sketches in the storage format of Aggregate Knowledge, version 1, as the existing edge writes them.

A sketch has 1024 registers of 4 bits, an explicit threshold, and sparse storage. It stores its hashes themselves while
there are no more than the threshold, registers from then on: sparse while no more than 256 of them are set, full above.
What it stores depends on the set of hashes alone, not on their order. Hash 0 stands for nothing.

Two things are as the existing edge has them, and not as the specification: the code of the explicit threshold in the
header is the logarithm rounded down, where the specification has one more; so a reader cannot tell a threshold from a
header, and a union is given one.
"""

from collections.abc import Iterable
from enum import IntEnum
from itertools import pairwise
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from tapir.model.errors import TapirError

REGISTERS: Final = 1024
LARGEST: Final = 15
"""what a register holds at most"""
SPARSE_MOST: Final = 256
THRESHOLD_MOST: Final = 1 << 17

_LOG2M: Final = 10
_WIDTH: Final = 4
_VERSION: Final = 1
_SHAPE: Final = (_WIDTH - 1) << 5 | _LOG2M
_SPARSE_ENABLED: Final = 0x40
_WORD: Final = _LOG2M + _WIDTH

_RAW: Final = (0.7213 / (1.0 + 1.079 / REGISTERS)) * REGISTERS * REGISTERS
_SMALL: Final = REGISTERS * 5 / 2
_SPACE: Final = 2.0 ** (LARGEST - 1 + _LOG2M)


class HllError(TapirError):
    """Octets or a setting that no sketch of ours has."""


class Storage(IntEnum):
    """How a sketch is stored: the low half of its first octet."""

    EMPTY = 1
    EXPLICIT = 2
    SPARSE = 3
    FULL = 4


@attrs.frozen(kw_only=True)
class Sketch:
    """What a sketch holds: `hashes` where it is explicit, `registers`, an octet each, where it is sparse or full.

    `code` is what its header says of its explicit threshold.
    """

    storage: Storage
    code: int
    hashes: frozenset[int] = attrs.field(default=frozenset(), repr=False)
    registers: bytes = attrs.field(default=b"", repr=False)


def threshold_code(threshold: int) -> int:
    """What a header says of this explicit threshold; raises HllError for one that cannot be."""
    if not 1 <= threshold <= THRESHOLD_MOST:
        raise HllError(f"an explicit threshold is from 1 to {THRESHOLD_MOST}, not {threshold}")
    return threshold.bit_length() - 1


def header(storage: Storage, code: int) -> bytes:
    """The three octets before the content."""
    return bytes((_VERSION << 4 | storage, _SHAPE, _SPARSE_ENABLED | code))


def sketch_of(hashes: Iterable[int], *, threshold: int) -> Sketch:
    """The sketch of these hashes, 64 bits each."""
    code = threshold_code(threshold)
    distinct = frozenset(hashes) - {0}
    if not distinct:
        return Sketch(storage=Storage.EMPTY, code=code)
    if len(distinct) <= threshold:
        return Sketch(storage=Storage.EXPLICIT, code=code, hashes=distinct)
    return _stored(_registers_of(distinct), code)


def union(left: Sketch, right: Sketch, *, threshold: int) -> Sketch:
    """The sketch of what either has seen, with this explicit threshold."""
    if not left.registers and not right.registers:
        return sketch_of(left.hashes | right.hashes, threshold=threshold)
    parts = [part.registers or _registers_of(part.hashes) for part in (left, right)]
    sketch = _stored(bytes(map(max, *parts)), threshold_code(threshold))
    if Storage.FULL in (left.storage, right.storage):
        return attrs.evolve(sketch, storage=Storage.FULL)  # once full, it stays so
    return sketch


def encode(sketch: Sketch) -> bytes:
    """The sketch as it is stored."""
    if sketch.storage is Storage.EXPLICIT:
        content = b"".join(value.to_bytes(8, signed=True) for value in sorted(map(_signed, sketch.hashes)))
    elif sketch.storage is Storage.SPARSE:
        number = size = 0
        for index, value in enumerate(sketch.registers):
            if value:
                number = number << _WORD | index << _WIDTH | value
                size += _WORD
        octets = (size + 7) // 8
        content = (number << (8 * octets - size)).to_bytes(octets)
    else:
        pairs = zip(sketch.registers[::2], sketch.registers[1::2], strict=True)
        content = bytes([first << _WIDTH | second for first, second in pairs])
    return header(sketch.storage, sketch.code) + content


def parse(data: bytes) -> Sketch:
    """The sketch that is stored in `data`. Raises HllError for what no sketch of ours is."""
    if len(data) < 3:
        raise HllError(f"a sketch has a header of 3 octets, and this is {len(data)}")
    version, number = data[0] >> 4, data[0] & 0xF
    if version != _VERSION:
        raise HllError(f"a sketch of version {version}, not {_VERSION}")
    if number not in {*Storage}:
        raise HllError(f"a sketch stored in way {number}, which there is not")
    if data[1] != _SHAPE:
        raise HllError(
            f"a sketch of 2^{data[1] & 0x1F} registers of {(data[1] >> 5) + 1} bits, not 2^{_LOG2M} of {_WIDTH}"
        )
    if data[2] >> 6 != 1:
        raise HllError(f"a sketch whose third octet is {data[2]:#04x}, without sparse storage")
    storage, code, content = Storage(number), data[2] & 0x3F, data[3:]
    match storage:
        case Storage.EMPTY:
            if content:
                raise HllError(f"an empty sketch with {len(content)} octets of content")
            return Sketch(storage=storage, code=code)
        case Storage.EXPLICIT:
            return Sketch(storage=storage, code=code, hashes=_parse_explicit(content))
        case Storage.SPARSE:
            return Sketch(storage=storage, code=code, registers=_parse_sparse(content))
        case Storage.FULL:
            if len(content) != REGISTERS // 2:
                raise HllError(f"a full sketch of {len(content)} octets, not {REGISTERS // 2}")
            return Sketch(
                storage=storage,
                code=code,
                registers=bytes([half for pair in content for half in (pair >> 4, pair & 15)]),
            )


def cardinality(sketch: Sketch) -> int:
    """How many different hashes the sketch has seen: exactly where it is explicit, else about."""
    if not sketch.registers:
        return len(sketch.hashes)
    indicator = sum([1 << (LARGEST - value) for value in sketch.registers])
    counts = estimates(np.array([indicator], np.int64), np.array([sketch.registers.count(0)], np.int64))
    return int(counts[0])


def estimates(indicators: NDArray[np.int64], zeroes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """How many different hashes registers stand for, rounded up.

    `indicators` are the sums of 2^(15 - value) over the registers, `zeroes` how many registers are 0. Where so many
    registers are full that the correction for large numbers is undefined, the estimate is without it.
    """
    raw = _RAW / (indicators / (1 << LARGEST))
    with np.errstate(divide="ignore", invalid="ignore"):
        small = REGISTERS * np.log(REGISTERS / zeroes)
        large = -_SPACE * np.log(1.0 - raw / _SPACE)
    counts = np.where(raw <= _SPACE / 30, raw, np.where(raw < _SPACE, large, raw))
    counts = np.where((zeroes != 0) & (raw < _SMALL), small, counts)
    return np.ceil(counts).astype(np.uint64)


def _registers_of(hashes: Iterable[int]) -> bytes:
    registers = bytearray(REGISTERS)
    for value in hashes:
        rest = value >> _LOG2M
        if rest:
            index = value & (REGISTERS - 1)
            registers[index] = max(registers[index], min((rest & -rest).bit_length(), LARGEST))
    return bytes(registers)


def _stored(registers: bytes, code: int) -> Sketch:
    sparse = REGISTERS - registers.count(0) <= SPARSE_MOST
    return Sketch(storage=Storage.SPARSE if sparse else Storage.FULL, code=code, registers=registers)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _parse_explicit(content: bytes) -> frozenset[int]:
    if len(content) % 8:
        raise HllError(f"an explicit sketch whose {len(content)} octets are no whole hashes")
    values = [int.from_bytes(content[at : at + 8], signed=True) for at in range(0, len(content), 8)]
    if any(left >= right for left, right in pairwise(values)) or 0 in values:
        raise HllError("an explicit sketch whose hashes are out of order, or one of them 0")
    return frozenset(value % (1 << 64) for value in values)


def _parse_sparse(content: bytes) -> bytes:
    """The registers; what is left of the last octet must be nothing, and no register may be there twice."""
    count = 8 * len(content) // _WORD
    rest = 8 * len(content) - count * _WORD
    if count > REGISTERS or rest > 7:
        raise HllError(f"a sparse sketch of {len(content)} octets, which no number of registers takes")
    number = int.from_bytes(content)
    if number & ((1 << rest) - 1):
        raise HllError("a sparse sketch with bits behind its last register")
    number >>= rest
    registers = bytearray(REGISTERS)
    last = REGISTERS
    for place in range(count):
        word = number >> (place * _WORD) & ((1 << _WORD) - 1)
        index, value = word >> _WIDTH, word & LARGEST
        if index >= last or not value:
            raise HllError(f"a sparse sketch with register {index} out of order or 0")
        registers[index] = value
        last = index
    return bytes(registers)
