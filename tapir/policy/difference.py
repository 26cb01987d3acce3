"""What changed between two contents of one list (pure).

Both are in order of wire octets, with each name once, as admission makes them; so one pass over both tells.
"""

from typing import Final

import attrs
import numpy as np

from tapir.codec.entries import put_in_order, take_entries
from tapir.codec.ordering import take_names
from tapir.kernels.sorting import compare_blocks
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock


@attrs.frozen(eq=False)
class ListDifference:
    """The names to take out, and those to put in or to give other tags; each name at most once."""

    removed: NameBlock
    upserted: ListBlock

    def __bool__(self) -> bool:
        return len(self.removed) + len(self.upserted) > 0


NO_DIFFERENCE: Final = ListDifference(removed=EMPTY_NAMES, upserted=ListBlock(names=EMPTY_NAMES))


def difference(before: ListBlock, after: ListBlock) -> ListDifference:
    """What makes `after` of `before`, in order of wire octets; of a name that is in a block twice, the last counts."""
    old_names, new_names = before.names, after.names
    if (before.tags, old_names.offsets, old_names.data) == (after.tags, new_names.offsets, new_names.data):
        return NO_DIFFERENCE
    before, after = put_in_order(before), put_in_order(after)
    removed, upserted = np.empty(len(before), np.uint32), np.empty(len(after), np.uint32)
    gone, come = compare_blocks(
        before.names.data,
        np.frombuffer(before.names.offsets, np.uint32),
        np.frombuffer(before.tags, np.uint32),
        after.names.data,
        np.frombuffer(after.names.offsets, np.uint32),
        np.frombuffer(after.tags, np.uint32),
        removed,
        upserted,
    )
    return ListDifference(
        removed=take_names(before.names, removed[:gone]), upserted=take_entries(after, upserted[:come])
    )
