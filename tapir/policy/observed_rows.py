"""The memory of an observation source: a row for each name that it knows, found by the name. Pure.

A row takes 33 octets beside its name in the table; rows of forgotten names are used again. Row 0 is nobody's.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapir.codec.columns import concatenated, joined, octets_of
from tapir.model.blocks import NameBlock
from tapir.model.observed import RememberedBlock, Standing
from tapir.policy.storage import SlotColumn, Store
from tapir.policy.table import Flags, NameTable, Nodes

Rows = npt.NDArray[np.int32]
Times = npt.NDArray[np.int64]
Tags = npt.NDArray[np.uint32]
Standings = npt.NDArray[np.uint8]

LOWEST: Final = -(1 << 63)
"""Before every time."""


class RowTable:
    """Rows by name, and names by row.

    The columns are views on what there is room for: drop them before the next `enter`.
    """

    def __init__(self, *, key: bytes) -> None:
        self._table = NameTable(key=key)
        self._index: SlotColumn[np.int32] = SlotColumn(np.int32)
        self._slots: Store[np.int32] = Store(np.int32)
        self._tags: Store[np.uint32] = Store(np.uint32)
        self._stamps: Store[np.int64] = Store(np.int64)
        self._deadlines: Store[np.int64] = Store(np.int64)
        self._horizons: Store[np.int64] = Store(np.int64)
        self._standings: Store[np.uint8] = Store(np.uint8)
        self._free: Store[np.int32] = Store(np.int32)
        self._free_count = 0
        self.extent = 1
        """one more than the highest row ever in use"""

    def __len__(self) -> int:
        """How many names have a row."""
        return self.extent - 1 - self._free_count

    @property
    def octets(self) -> int:
        """How much memory names and rows take."""
        return self._table.octets + self._index.octets(self._table.extent) + self.extent * 33 + 4 * self._free_count

    @property
    def tags(self) -> Tags:
        """The tags of the last observation that was taken."""
        return self._tags.view[: self.extent]

    @property
    def stamps(self) -> Times:
        """When the last message that was taken is of; `LOWEST` where none was."""
        return self._stamps.view[: self.extent]

    @property
    def deadlines(self) -> Times:
        """When the last observation that was taken ends."""
        return self._deadlines.view[: self.extent]

    @property
    def horizons(self) -> Times:
        """Until when an older message could matter; `LOWEST` where none could."""
        return self._horizons.view[: self.extent]

    @property
    def standings(self) -> Standings:
        """How each stands; UNKNOWN where a row is free, or new."""
        return self._standings.view[: self.extent]

    def enter(self, names: NameBlock) -> tuple[Rows, Rows]:
        """The rows of `names`, one each, and those of them that are new (UNKNOWN): forget these, or give them values.

        Raises ValueError for what is no name.
        """
        slots = self._table.slots_of(names)
        self._index.grow(self._table.extent)
        rows = self._index[slots]
        missing = rows == 0
        if not missing.any():
            return rows, np.empty(0, np.int32)
        lacking = np.unique(slots[missing])
        new = self._allocate(len(lacking))
        self._slots.view[new] = lacking
        self._stamps.view[new] = LOWEST
        self._horizons.view[new] = LOWEST
        self._deadlines.view[new] = LOWEST
        self._index[lacking] = new
        return self._index[slots], new

    def find(self, names: NameBlock) -> Rows:
        """The rows of those of `names` that have one."""
        slots = self._table.known_slots_of(names)
        self._index.grow(self._table.extent)
        rows = self._index[slots]
        found: Rows = rows[rows != 0]
        return found

    def names_of(self, rows: Rows) -> NameBlock:
        """The names of these rows, in their order."""
        return self._table.names_of(self._slots.view[rows])

    def forget(self, rows: Rows) -> None:
        """These rows are free, and their names unknown; none of them may be there twice."""
        if not len(rows):
            return
        slots = self._slots.view[rows]
        self._index[slots] = np.int32(0)
        self._standings.view[rows] = Standing.UNKNOWN
        self._free.grow(self._free_count + len(rows))
        self._free.view[self._free_count : self._free_count + len(rows)] = rows
        self._free_count += len(rows)
        self._table.release(np.unique(slots >> 1), self._in_use)

    def block_of(self, rows: Rows) -> RememberedBlock:
        """All that is known of these rows."""
        return RememberedBlock(
            names=self.names_of(rows),
            tags=octets_of(self.tags[rows]),
            stamps=octets_of(self.stamps[rows]),
            deadlines=octets_of(self.deadlines[rows]),
            horizons=octets_of(self.horizons[rows]),
            standings=octets_of(self.standings[rows]),
        )

    def restore(self, blocks: Sequence[RememberedBlock]) -> Rows:
        """The names of `blocks` are as they say, whatever was known of them; of one that comes twice the later counts.

        Returns their rows.
        """
        rows, _ = self.enter(joined([block.names for block in blocks]))
        self.tags[rows] = np.frombuffer(concatenated([block.tags for block in blocks]), np.uint32)
        self.stamps[rows] = np.frombuffer(concatenated([block.stamps for block in blocks]), np.int64)
        self.deadlines[rows] = np.frombuffer(concatenated([block.deadlines for block in blocks]), np.int64)
        self.horizons[rows] = np.frombuffer(concatenated([block.horizons for block in blocks]), np.int64)
        self.standings[rows] = np.frombuffer(concatenated([block.standings for block in blocks]), np.uint8)
        return rows

    def _in_use(self, nodes: Nodes) -> Flags:
        used: Flags = self._index[2 * nodes] != 0
        if self._index.stars is not None:
            used |= self._index[2 * nodes + 1] != 0
        return used

    def _allocate(self, count: int) -> Rows:
        again = min(count, self._free_count)
        self._free_count -= again
        reused = self._free.view[self._free_count : self._free_count + again].copy()
        fresh = count - again
        columns: tuple[Store[Any], ...] = (
            self._slots,
            self._tags,
            self._stamps,
            self._deadlines,
            self._horizons,
            self._standings,
        )
        for column in columns:
            column.grow(self.extent + fresh)
        new = np.arange(self.extent, self.extent + fresh, dtype=np.int32)
        self.extent += fresh
        return np.concatenate([reused, new])
