"""A list that changes a little and often: what it held when it was last written out, and what changed since (pure).

    base    a.example  b.example  d.example          in order of wire octets, each name once; maybe a million
    top                b.example  c.example          the same, few: gone (b), come or tagged otherwise (c)

A change is looked up in both and merged into the top, so it takes time in its own size and that of the top. Once the
top is a certain part of the base, both become a new base.
"""

from typing import Final

import attrs
import numpy as np

from tapir.codec.entries import (
    NO_CHANGE,
    EntryChange,
    Flags,
    Tags,
    apply_change,
    change_of,
    find,
    merge_changes,
    put_in_order,
    tags_of,
    take_entries,
)
from tapir.codec.ordering import take_names
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock
from tapir.policy.difference import NO_DIFFERENCE, ListDifference

_LEAST: Final = 4096
"""Changes that are kept beside a base, however small that is"""
_SHARE: Final = 64
"""and such a part of a larger one: to merge a change into them, and to make a new base of them, cost about the same"""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class LayeredList:
    """A list of `count` names; a value like any block, which each change makes another of."""

    base: ListBlock
    top: EntryChange
    count: int

    @classmethod
    def of(cls, block: ListBlock) -> "LayeredList":
        """The list that `block` is; of a name that is there twice, the last counts."""
        base = put_in_order(block)
        return cls(base=base, top=NO_CHANGE, count=len(base))

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f"<LayeredList of {self.count} names, {len(self.top)} changed>"

    def flat(self) -> ListBlock:
        """All of it as one block, in order of wire octets, each name once."""
        return apply_change(self.base, self.top)

    def changed(self, removed: NameBlock, upserted: ListBlock) -> tuple["LayeredList", ListDifference]:
        """The list without `removed` and then with `upserted`, and what of that makes a difference."""
        change = change_of([(removed, upserted)])
        was_held, tags_before = self._look_up(change.entries.names)
        held = np.frombuffer(change.held, np.uint8) != 0
        come = held & (~was_held | (tags_of(change.entries) != tags_before))
        gone = ~held & was_held
        if not (come.any() or gone.any()):
            return self, NO_DIFFERENCE
        count = self.count + int(np.count_nonzero(held & ~was_held)) - int(np.count_nonzero(gone))
        which = np.flatnonzero(come | gone).astype(np.uint32)
        if len(which) < len(change):
            change = EntryChange(entries=take_entries(change.entries, which), held=held[which].tobytes())
            come, gone = come[which], gone[which]
        top = merge_changes(self.top, change)
        after = LayeredList(base=self.base, top=top, count=count)
        if len(top) > max(_LEAST, len(self.base) // _SHARE):
            after = LayeredList(base=after.flat(), top=NO_CHANGE, count=count)
        if not gone.any():
            return after, ListDifference(removed=EMPTY_NAMES, upserted=change.entries)
        return after, ListDifference(
            removed=take_names(change.entries.names, np.flatnonzero(gone).astype(np.uint32)),
            upserted=take_entries(change.entries, np.flatnonzero(come).astype(np.uint32)),
        )

    def _look_up(self, names: NameBlock) -> tuple[Flags, Tags]:
        """Which of `names`, which are in order, are on the list, and with which tags."""
        places, held = find(self.base.names, names)
        tags = np.zeros(len(names), np.uint32)
        if self.base.tags:
            tags[held] = np.frombuffer(self.base.tags, np.uint32)[places[held]]
        if len(self.top):
            places, same = find(self.top.entries.names, names)
            places = places[same]
            held[same] = np.frombuffer(self.top.held, np.uint8)[places] != 0
            tags[same] = tags_of(self.top.entries)[places]
        return held, tags
