"""What changed between two contents of one list (pure).

Both are in order of wire octets, with each name once, as admission makes them; so one pass over both tells.
"""

from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from tapir.codec.columns import octets_of
from tapir.kernels.sorting import compare_blocks, is_ordered
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock
from tapir.policy.ordering import Positions, in_order, take_names


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
    before, after = _ordered(before), _ordered(after)
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
        removed=take_names(before.names, removed[:gone]), upserted=_take_entries(after, upserted[:come])
    )


def _ordered(block: ListBlock) -> ListBlock:
    """`block` in order of wire octets, each name once."""
    if is_ordered(block.names.data, np.frombuffer(block.names.offsets, np.uint32)):
        return block
    return _take_entries(block, in_order(block.names, np.arange(len(block), dtype=np.uint32)))


def _take_entries(block: ListBlock, which: Positions) -> ListBlock:
    tags: npt.NDArray[np.uint32] = np.frombuffer(block.tags, np.uint32)[which] if block.tags else np.zeros(0, np.uint32)
    return ListBlock(names=take_names(block.names, which), tags=octets_of(tags) if tags.any() else b"")
