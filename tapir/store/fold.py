"""Apply a log of changes to a block, without a Python object per name.

Records are in canonical order, and changes are merged into it. A list is in order of wire octets, or is put in it, and
what its changes come to is merged into that.
"""

from collections.abc import Sequence

import numpy as np

import tapir.kernels.columns
import tapir.kernels.order
from tapir.codec.columns import (
    NO_CHANGES,
    Changes,
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
from tapir.codec.entries import apply_change, change_of, put_in_order, take_entries
from tapir.codec.ordering import take_names
from tapir.model.blocks import EMPTY_RECORDS, ListBlock, NameBlock, RecordBlock, RecordDelta
from tapir.store.blobs import BlobError


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
    """`base` after all (removed, upserted) `changes`, in order of wire octets, each name once.

    Quickest when `base` is in that order, too. Removing a name that is not there changes nothing.
    """
    return apply_change(put_in_order(base), change_of(changes))


def merge_list_changes(changes: Sequence[tuple[NameBlock, ListBlock]]) -> tuple[NameBlock, ListBlock]:
    """One (removed, upserted) change that does what all of `changes` do, one after the other."""
    change = change_of(changes)
    held = np.frombuffer(change.held, np.uint8) != 0
    return (
        take_names(change.entries.names, np.flatnonzero(~held).astype(np.uint32)),
        take_entries(change.entries, np.flatnonzero(held).astype(np.uint32)),
    )
