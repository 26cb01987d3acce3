"""Apply a log of changes to a block, without a Python object per name.

Records are in canonical order, and changes are merged into it. A list is in any order: all names of the base and of the
changes are laid end to end, and equal names are brought together by sorting on a 64-bit hash. The last word on a name
decides whether it stays. The hash's multiplier is drawn anew for every fold, so nobody can prepare names that collide;
should two names collide all the same, that is noticed (equal hash, other octets) and another multiplier is drawn.
"""

import os
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

import tapir.kernels.columns
import tapir.kernels.order
from tapir.codec.columns import (
    NO_CHANGES,
    Changes,
    concatenated,
    follow_in_order,
    is_ordered,
    joined_records,
    lengths_of,
    name_of,
    net_of,
    octets_of,
    offsets_of,
    order_of,
    records_of,
    scratch,
    steps_of,
    taken,
)
from tapir.model.blocks import EMPTY_RECORDS, ListBlock, NameBlock, RecordBlock, RecordDelta
from tapir.store.blobs import BlobError

_CHUNK: Final = 1 << 16
_DRAWS: Final = 16


def fold_records(base: Sequence[RecordBlock], deltas: Sequence[RecordDelta]) -> tuple[RecordBlock, ...]:
    """The records of all of `base` after all of `deltas`, in canonical order from block to block.

    Quickest when `base` is in canonical order, too. Raises BlobError when it has a name twice, or when a delta removes
    a record that is not there, or adds one that is.
    """
    parts = _in_order(base)
    changes = _net(deltas)
    if not len(changes):
        return parts
    starts = [0]
    for part in parts[1:]:
        first = name_of(part.names, 0)
        starts.append(
            tapir.kernels.order.reach(changes.names.data, offsets_of(changes.names), starts[-1], first, scratch())
        )
    return tuple(
        _amended(part, changes.part(start, end))
        for part, start, end in zip(parts, starts, [*starts[1:], len(changes)], strict=True)
    )


def _in_order(base: Sequence[RecordBlock]) -> tuple[RecordBlock, ...]:
    parts = tuple(part for part in base if len(part)) or (EMPTY_RECORDS,)
    if follow_in_order([part.names for part in parts]):
        return parts
    whole = joined_records(parts)
    order = order_of(whole.names)
    actions = np.frombuffer(whole.actions, dtype=np.uint8)
    if not is_ordered(taken(whole.names, order)):
        raise BlobError("a record is there twice")
    return (records_of(whole.names, actions, order),)


def _net(deltas: Sequence[RecordDelta]) -> Changes:
    """What all of `deltas` come to."""
    blocks = [block for delta in deltas for block in (delta.removed, delta.added)]
    if not blocks:
        return NO_CHANGES
    names, adds, actions = steps_of(blocks)
    changes, misfit = net_of(names, adds, actions, order_of(names))
    if misfit is not None:
        raise BlobError("a delta does not fit the records that it changes")
    return changes


def _amended(records: RecordBlock, changes: Changes) -> RecordBlock:
    """`records` with `changes` made, both in canonical order. Raises BlobError for one that does not fit."""
    if not len(changes):
        return records
    before = np.frombuffer(changes.before, dtype=np.uint8)
    after = np.frombuffer(changes.after, dtype=np.uint8)
    growth = (after != 0).astype(np.int64) - (before != 0)
    count = len(records) + int(growth.sum())
    octets = int(lengths_of(records.names).sum()) + int((growth * lengths_of(changes.names)).sum())
    if count < 0 or octets < 0:
        raise BlobError("a delta does not fit the records that it changes")
    room = len(changes)  # a change that does not fit is noticed after the records before it
    offsets = np.zeros(count + room + 1, dtype=np.uint32)
    actions = np.zeros(count + room, dtype=np.uint8)
    slack = int(lengths_of(changes.names).sum())
    data = np.empty(octets + slack, dtype=np.uint8)
    made = tapir.kernels.columns.amend(
        records.names.data,
        offsets_of(records.names),
        records.actions,
        changes.names.data,
        offsets_of(changes.names),
        changes.before,
        changes.after,
        data.data,
        offsets.data,
        actions.data,
        scratch(),
    )
    if made != count:
        raise BlobError("a delta does not fit the records that it changes")
    names = NameBlock(data=octets_of(data[:octets]), offsets=octets_of(offsets[: count + 1]))
    return RecordBlock(names=names, actions=octets_of(actions[:count]))


def fold_list(base: ListBlock, changes: Sequence[tuple[NameBlock, ListBlock]]) -> ListBlock:
    """`base` after all (removed, upserted) `changes`; removing a name that is not there changes nothing."""
    parts = [base.names]
    tags = [_tags_of(base)]
    adds = [True]
    for removed, upserted in changes:
        parts += [removed, upserted.names]
        tags += [np.zeros(len(removed), dtype=np.uint32), _tags_of(upserted)]
        adds += [False, True]
    folded = _fold(parts, adds)
    kept = np.concatenate(tags)[folded.kept]
    return ListBlock(names=folded.names(), tags=octets_of(kept) if bool(kept.any()) else b"")


def _tags_of(block: ListBlock) -> NDArray[np.uint32]:
    if not block.tags:
        return np.zeros(len(block), dtype=np.uint32)
    return np.frombuffer(block.tags, dtype=np.uint32)


@attrs.frozen(kw_only=True, eq=False)
class _Folded:
    """Every name of every part in one row, and which of them are `kept`."""

    octets: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    kept: NDArray[np.int64]

    def names(self) -> NameBlock:
        keep = np.zeros(len(self.lengths), dtype=np.bool_)
        keep[self.kept] = True
        offsets = np.zeros(len(self.kept) + 1, dtype=np.uint32)
        np.cumsum(self.lengths[self.kept], out=offsets[1:], dtype=np.uint32)
        return NameBlock(data=octets_of(self.octets[np.repeat(keep, self.lengths)]), offsets=octets_of(offsets))


def _fold(parts: Sequence[NameBlock], adds: Sequence[bool]) -> _Folded:
    lengths = np.concatenate([_lengths_of(part) for part in parts])
    octets = np.frombuffer(concatenated([_octets_of(part) for part in parts]), dtype=np.uint8)
    added = np.repeat(np.array(adds, dtype=np.bool_), [len(part) for part in parts])
    for _ in range(_DRAWS):
        hashes = _hash_names(octets, lengths, _draw_multiplier())
        order = np.argsort(hashes, kind="stable")
        same = hashes[order[1:]] == hashes[order[:-1]]
        if _are_equal(octets, lengths, order[1:][same], order[:-1][same]):
            break
    else:
        raise BlobError(f"names collide under {_DRAWS} hashes: the machine's random numbers are broken")
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = ~same
    final = order[last]
    return _Folded(octets=octets, lengths=lengths, kept=np.sort(final[added[final]]))


def _lengths_of(block: NameBlock) -> NDArray[np.int64]:
    offsets = np.frombuffer(block.offsets, dtype=np.uint32).astype(np.int64)
    return offsets[1:] - offsets[:-1]


def _octets_of(block: NameBlock) -> bytes:
    offsets = memoryview(block.offsets).cast("I")
    return block.data[offsets[0] : offsets[-1]]


def _draw_multiplier() -> int:
    return int.from_bytes(os.urandom(8), "little") | 1


def _hash_names(octets: NDArray[np.uint8], lengths: NDArray[np.int64], multiplier: int) -> NDArray[np.uint64]:
    """A polynomial hash per name, in chunks that keep the temporaries in the cache."""
    powers = np.array([pow(multiplier, exponent, 2**64) for exponent in range(1, 257)], dtype=np.uint64)
    hashes = np.empty(len(lengths), dtype=np.uint64)
    starts = np.cumsum(lengths) - lengths
    for begin in range(0, len(lengths), _CHUNK):
        size = lengths[begin : begin + _CHUNK]
        start = starts[begin : begin + _CHUNK]
        local = start - start[0]
        part = octets[start[0] : start[-1] + size[-1]]
        place = np.arange(len(part)) - np.repeat(local, size)
        hashes[begin : begin + _CHUNK] = np.add.reduceat((part.astype(np.uint64) + 1) * powers[place], local)
    return hashes


def _are_equal(
    octets: NDArray[np.uint8], lengths: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> bool:
    """Whether the names at `left` and at `right` are pairwise the same octets."""
    if bool((lengths[left] != lengths[right]).any()):
        return False
    starts = np.cumsum(lengths) - lengths
    size = lengths[left]
    place = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    same = octets[np.repeat(starts[left], size) + place] == octets[np.repeat(starts[right], size) + place]
    return bool(same.all())
