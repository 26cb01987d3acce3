"""What changed between two contents of one list, column by column (pure).

Names are compared a length at a time: names of one length are the rows of one matrix, and such rows sort as
fixed-width strings, outside the interpreter lock. Sets of a million `bytes` would hold the lock for most of a second,
and the event loop answers DNS.
"""

from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock

Positions = npt.NDArray[np.int64]

# Names gathered at once: bounds the index array to some tens of megabytes and each call to some milliseconds.
_ROWS: Final = 1 << 16


@attrs.frozen(eq=False)
class ListDifference:
    """The names to take out, and those to put in or to give other tags; each name at most once."""

    removed: NameBlock
    upserted: ListBlock

    def __bool__(self) -> bool:
        return len(self.removed) + len(self.upserted) > 0


NO_DIFFERENCE: Final = ListDifference(removed=EMPTY_NAMES, upserted=ListBlock(names=EMPTY_NAMES))


def difference(before: ListBlock, after: ListBlock) -> ListDifference:
    """What makes `after` of `before`; of a name that is in a block twice, the last entry counts."""
    old_names, new_names = before.names, after.names
    if (before.tags, old_names.offsets, old_names.data) == (after.tags, new_names.offsets, new_names.data):
        return NO_DIFFERENCE
    old, new = _Columns.of(before), _Columns.of(after)
    removed: list[Positions] = []
    upserted: list[Positions] = []
    for length in np.union1d(old.lengths, new.lengths):
        gone, come = _compare(old, new, int(length))
        removed.append(gone)
        upserted.append(come)
    return ListDifference(
        removed=take_names(before.names, _joined(removed)),
        upserted=take_entries(after, _joined(upserted)),
    )


def take_names(block: NameBlock, positions: Positions) -> NameBlock:
    """The names of `block` at `positions`, in their order."""
    data = np.frombuffer(block.data, np.uint8)
    offsets = np.frombuffer(block.offsets, np.uint32).astype(np.int64)
    parts: list[bytes] = []
    lengths = offsets[positions + 1] - offsets[positions]
    for first in range(0, len(positions), _ROWS):
        starts = offsets[positions[first : first + _ROWS]]
        widths = lengths[first : first + _ROWS]
        ends = np.cumsum(widths)
        parts.append(data[np.arange(ends[-1]) + np.repeat(starts - (ends - widths), widths)].tobytes())
    taken = np.zeros(len(positions) + 1, np.uint32)
    np.cumsum(lengths, out=taken[1:])
    return NameBlock(data=b"".join(parts), offsets=taken.tobytes())


def take_entries(block: ListBlock, positions: Positions) -> ListBlock:
    """The entries of `block` at `positions`, in their order."""
    tags = np.frombuffer(block.tags, np.uint32)[positions] if block.tags else np.zeros(0, np.uint32)
    return ListBlock(names=take_names(block.names, positions), tags=tags.tobytes() if tags.any() else b"")


@attrs.frozen(eq=False)
class _Columns:
    data: npt.NDArray[np.uint8]
    starts: Positions
    widths: Positions
    tags: npt.NDArray[np.uint32]
    lengths: Positions
    """every length that a name has, once"""

    @classmethod
    def of(cls, block: ListBlock) -> "_Columns":
        offsets = np.frombuffer(block.names.offsets, np.uint32).astype(np.int64)
        widths = np.diff(offsets)
        tags = np.frombuffer(block.tags, np.uint32) if block.tags else np.zeros(len(widths), np.uint32)
        return cls(
            data=np.frombuffer(block.names.data, np.uint8),
            starts=offsets[:-1],
            widths=widths,
            tags=tags,
            lengths=np.unique(widths),
        )

    def rows(self, length: int) -> tuple[Positions, npt.NDArray[np.bytes_]]:
        """The positions of the names of `length` octets, and these names."""
        positions = np.flatnonzero(self.widths == length)
        if not len(positions):
            return positions, np.zeros(0, f"S{length}")
        windows = np.lib.stride_tricks.sliding_window_view(self.data, length)
        return positions, np.ascontiguousarray(windows[self.starts[positions]]).view(f"S{length}").ravel()


def _compare(old: _Columns, new: _Columns, length: int) -> tuple[Positions, Positions]:
    """Positions in `old` of names that `new` lacks, and in `new` of entries that `old` lacks."""
    old_positions, old_names = old.rows(length)
    new_positions, new_names = new.rows(length)
    # Rows of one width differ in an octet or are equal: that NumPy ignores NULs at the end of a string does no harm.
    names = np.concatenate((old_names, new_names))
    order = np.argsort(names, kind="stable")
    ordered = names[order]
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    group = np.empty(len(ordered), np.int64)
    group[order] = np.cumsum(first) - 1
    # One cell a distinct name; where a name occurs twice in a block the last assignment stays.
    groups = int(first.sum())
    in_old = np.full(groups, -1, np.int64)
    in_new = np.full(groups, -1, np.int64)
    in_old[group[: len(old_positions)]] = old_positions
    in_new[group[len(old_positions) :]] = new_positions
    gone = in_old[in_new < 0]
    both = np.flatnonzero((in_old >= 0) & (in_new >= 0))
    retagged = both[old.tags[in_old[both]] != new.tags[in_new[both]]]
    come = np.concatenate((in_new[in_old < 0], in_new[retagged]))
    return gone, come


def _joined(parts: list[Positions]) -> Positions:
    return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
