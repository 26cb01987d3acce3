"""Entries of lists in order of the octets of their names: put in order, found, and changed.

Nothing here makes an object per name, and all that takes long leaves the interpreter's lock alone.
"""

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from tapir.codec.columns import filled, joined, lengths_of, octets_of, offsets_of
from tapir.codec.ordering import Positions, in_order, take_names
from tapir.kernels import entries, sorting
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock

Tags = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]


@attrs.frozen(kw_only=True, eq=False)
class EntryChange:
    """What becomes of some names of a list, which are in order, each once: `held` with these tags (1), or not (0)."""

    entries: ListBlock
    held: bytes

    def __len__(self) -> int:
        return len(self.held)


NO_CHANGE: Final = EntryChange(entries=ListBlock(names=EMPTY_NAMES), held=b"")


def is_in_order(names: NameBlock) -> bool:
    """Whether `names` are in order of wire octets, each once."""
    return bool(sorting.is_ordered(names.data, offsets_of(names)))


def put_in_order(block: ListBlock) -> ListBlock:
    """`block` in order of wire octets, each name once; of one that is there twice, the last counts."""
    if is_in_order(block.names):
        return block
    return take_entries(block, in_order(block.names, np.arange(len(block), dtype=np.uint32)))


def take_entries(block: ListBlock, which: Positions) -> ListBlock:
    """The entries `which` of `block`, in their order."""
    tags: Tags = np.frombuffer(block.tags, np.uint32)[which] if block.tags else np.zeros(0, np.uint32)
    return ListBlock(names=take_names(block.names, which), tags=octets_of(tags) if tags.any() else b"")


def tags_of(block: ListBlock) -> Tags:
    """The tags of all entries, also where all are 0."""
    return np.frombuffer(block.tags, np.uint32) if block.tags else np.zeros(len(block), np.uint32)


def change_of(steps: Sequence[tuple[NameBlock, ListBlock]]) -> EntryChange:
    """What it comes to when a list loses and then gains names, step by step (`removed`, `upserted`)."""
    if len(steps) == 1 and not len(steps[0][0]) and is_in_order(steps[0][1].names):
        upserted = steps[0][1]
        return EntryChange(entries=upserted, held=octets_of(np.ones(len(upserted), np.uint8)))
    names = joined([part for removed, upserted in steps for part in (removed, upserted.names)])
    if not len(names):
        return NO_CHANGE
    tags = [part for removed, upserted in steps for part in (np.zeros(len(removed), np.uint32), tags_of(upserted))]
    held = [
        part
        for removed, upserted in steps
        for part in (np.zeros(len(removed), np.uint8), np.ones(len(upserted), np.uint8))
    ]
    last = in_order(names, np.arange(len(names), dtype=np.uint32))
    return EntryChange(
        entries=take_entries(ListBlock(names=names, tags=octets_of(np.concatenate(tags))), last),
        held=octets_of(np.concatenate(held)[last]),
    )


def find(block: NameBlock, names: NameBlock) -> tuple[Positions, Flags]:
    """Where in `block` each of `names` is, or the next one after it, and whether it is; both in order."""
    places = np.empty(len(names), np.uint32)
    same = np.empty(len(names), np.uint8)
    if len(names):
        entries.seek(block.data, offsets_of(block), names.data, offsets_of(names), places.data, same.data)
    return places, same.view(np.bool_)


def merge_changes(first: EntryChange, then: EntryChange) -> EntryChange:
    """One change that does what both do, one after the other."""
    if not len(first):
        return then
    places, same = find(first.entries.names, then.entries.names)
    put = np.ones(len(then), np.bool_)
    return EntryChange(
        entries=_spliced(first.entries, then.entries, places, same, put),
        held=octets_of(
            _splice_column(np.frombuffer(first.held, np.uint8), np.frombuffer(then.held, np.uint8), places, same, put)
        ),
    )


def apply_change(base: ListBlock, change: EntryChange) -> ListBlock:
    """`base`, which is in order, with `change` made; removing a name that is not there changes nothing."""
    if not len(change):
        return base
    places, same = find(base.names, change.entries.names)
    return _spliced(base, change.entries, places, same, np.frombuffer(change.held, np.uint8) != 0)


def _spliced(base: ListBlock, change: ListBlock, places: Positions, same: Flags, put: Flags) -> ListBlock:
    """`base` without the names that are the `same` in `change`, and with those of `change` to `put` in."""
    before, after = lengths_of(base.names), lengths_of(change.names)
    count = len(base) - int(np.count_nonzero(same)) + int(np.count_nonzero(put))
    octets = int(before.sum(dtype=np.int64)) - int(before[places[same]].sum(dtype=np.int64))
    octets += int(after[put].sum(dtype=np.int64))
    offsets = np.zeros(count + 1, np.uint32)

    def fill(out: memoryview) -> None:
        entries.splice(
            base.names.data,
            offsets_of(base.names),
            change.names.data,
            offsets_of(change.names),
            places.data,
            same.view(np.uint8).data,
            put.view(np.uint8).data,
            out,
            offsets.data,
        )

    names = NameBlock(data=filled(octets, fill), offsets=octets_of(offsets))
    if not base.tags and not change.tags:
        return ListBlock(names=names)
    tags = _splice_column(tags_of(base), tags_of(change), places, same, put)
    return ListBlock(names=names, tags=octets_of(tags) if tags.any() else b"")


def _splice_column(
    base: npt.NDArray[np.generic], change: npt.NDArray[np.generic], places: Positions, same: Flags, put: Flags
) -> npt.NDArray[np.generic]:
    """The column beside the names that `_spliced` makes."""
    keep = np.ones(len(base), np.bool_)
    keep[places[same]] = False
    gone: npt.NDArray[np.int64] = np.cumsum(same, dtype=np.int64) - same
    return np.insert(base[keep], (places.astype(np.int64) - gone)[put], change[put])
