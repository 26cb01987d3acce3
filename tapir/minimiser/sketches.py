"""The clients of each row of a histogram, by family: exact while they are few, sketches from then on."""

from typing import Final, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from tapir.codec.columns import filled
from tapir.codec.hll import Storage, estimates, header, threshold_code
from tapir.kernels.sketches import SLOT, Sketches

SEED_SIZE: Final = 16

_ENTRY: Final = 24
"""octets that a hash takes: itself, its chain, its owner, two items of the table"""
_ENTRIES_MOST: Final = 1 << 30
"""their numbers have 31 bits"""
_FIRST_ENTRIES: Final = 4096
_FIRST_SLOTS: Final = 64

Rows = NDArray[np.uint32]
T = TypeVar("T", bound=np.generic)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class SketchColumn:
    """The clients of one family, for each of some rows.

    `counts` is exact as far as the threshold, then an estimate, rounded up. The stored sketch of row i lies in `data`
    from `starts[i]` to `starts[i + 1]`: only where there were more clients than the threshold, for the hashes that it
    would else hold are those of addresses; where there is none the two are equal.
    """

    counts: NDArray[np.uint64]
    starts: NDArray[np.int64]
    data: bytes

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        return f"<SketchColumn of {len(self)} rows, {len(self.data)} octets>"

    def stored(self, row: int) -> bytes | None:
        """The stored sketch of row number `row` of the column; None where there is none."""
        return self.data[self.starts[row] : self.starts[row + 1]] or None


class ClientSketches:
    """The clients of an interval; a new interval takes a new one. Belongs to one thread at a time.

    Memory follows what was seen: 24 octets a client that is kept exactly, for each row and again for each; 512 for a
    row with more clients of a family than the threshold; and 16 a row.
    """

    def __init__(self, rows: int, *, threshold: int, seed: bytes, octets: int = 128 << 20) -> None:
        """`seed` is SEED_SIZE random octets. Raises HllError for a threshold that cannot be.

        What is kept exactly takes at most `octets`. Beyond, a row's clients are estimated from then on, and its sketch
        is never told, for nobody knows whether they are more than the threshold.
        """
        self._code = threshold_code(threshold)
        self._most = min(max(octets // _ENTRY, 1), _ENTRIES_MOST)
        self._sketches = Sketches(threshold, int.from_bytes(seed[:8]), int.from_bytes(seed[8:16]))
        self._heads = np.zeros(2 * rows, np.int32)
        self._counts = np.zeros(2 * rows, np.uint32)
        self._hashes = np.empty(0, np.uint64)
        self._nexts = np.empty(0, np.uint32)
        self._owners = np.empty(0, np.uint32)
        self._registers = np.empty(0, np.uint8)
        self._index = np.empty(0, np.uint32)
        self._resize(min(_FIRST_ENTRIES, self._most), _FIRST_SLOTS)

    def __repr__(self) -> str:
        return f"<ClientSketches of {len(self._heads) // 2} rows, {self.octets} octets>"

    @property
    def octets(self) -> int:
        """How much memory it has."""
        buffers = (self._heads, self._counts, self._hashes, self._nexts, self._owners, self._registers, self._index)
        return sum(buffer.nbytes for buffer in buffers)

    def add(self, rows: Rows, hashes: NDArray[np.uint64], families: NDArray[np.uint8]) -> None:
        """Count a client for each of `rows`, by its hash and family (4 or 6; else it is left out)."""
        used = np.flatnonzero((families == 4) | (families == 6))
        if len(used) < len(rows):
            rows, hashes, families = rows[used], hashes[used], families[used]
        keys = (rows.astype(np.uint32) << np.uint32(1)) | (families == 6)
        hashes = np.ascontiguousarray(hashes)
        done = 0
        while True:
            spill = len(self._hashes) == self._most
            done = self._sketches.add(keys.data, hashes.data, done, spill)
            if done == len(keys):
                return
            entries, slots = len(self._hashes), len(self._registers) // SLOT
            if self._sketches.slots == slots:
                slots += slots // 2
            if self._sketches.entries == entries:
                entries = min(2 * entries, self._most)
            self._resize(entries, slots)

    def column(self, rows: Rows, family: int) -> SketchColumn:
        """What came of family 4 or 6, for each of these rows."""
        keys = (rows.astype(np.uint32) << np.uint32(1)) | np.uint32(family == 6)
        counts, indicators = np.empty(len(keys), np.uint32), np.empty(len(keys), np.uint32)
        zeroes, sizes = np.empty(len(keys), np.uint16), np.empty(len(keys), np.uint16)
        self._sketches.measure(keys.data, counts.data, indicators.data, zeroes.data, sizes.data)
        told = counts.astype(np.uint64)
        sketched = np.flatnonzero(indicators)
        told[sketched] = estimates(indicators[sketched].astype(np.int64), zeroes[sketched].astype(np.int64))
        starts = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        _, shape, cutoff = header(Storage.SPARSE, self._code)
        data = filled(int(starts[-1]), lambda out: self._sketches.write(keys.data, starts.data, shape, cutoff, out))
        return SketchColumn(counts=told, starts=starts, data=data)

    def _resize(self, entries: int, slots: int) -> None:
        """Give room for so many hashes and so many sketches."""
        if slots * SLOT > len(self._registers):
            self._registers = _grown(self._registers, slots * SLOT)
        more = entries > len(self._hashes)
        if more:
            self._hashes = _grown(self._hashes, entries)
            self._nexts = _grown(self._nexts, entries)
            self._owners = _grown(self._owners, entries)
            self._index = np.zeros(2 * entries + 1, np.uint32)
        self._sketches.attach(
            self._heads.data,
            self._counts.data,
            self._hashes.data,
            self._nexts.data,
            self._owners.data,
            self._index.data,
            self._registers.data,
        )
        if more:
            self._sketches.rehash()


def _grown(array: NDArray[T], size: int) -> NDArray[T]:
    grown = np.zeros(size, array.dtype)
    grown[: len(array)] = array
    return grown
