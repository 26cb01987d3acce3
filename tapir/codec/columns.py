"""Columns for the kernels: blocks as buffers, and results as `bytes` that are filled where they lie.

A kernel takes memoryviews, since their elements are plain integers also where it runs uncompiled.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

import tapir.kernels.columns
import tapir.kernels.order
from tapir.codec.pages import prefer_large_pages
from tapir.kernels.sorting import sort_names
from tapir.model.blocks import EMPTY_NAMES, NameBlock, RecordBlock, RecordDelta
from tapir.model.names import Name

Numbers = NDArray[np.uint32]
Buffer = bytes | memoryview
"""octets; a memoryview must be one of octets, too"""

_SMALL: Final = 1 << 16  # a copy of so little holds the interpreter for less than handing it over takes

NO_NUMBERS: Final = memoryview(b"").cast("I")
"""as an order: as it is given"""


def offsets_of(names: NameBlock) -> memoryview:
    """The offsets of a block as numbers."""
    return memoryview(names.offsets).cast("I")


def scratch() -> memoryview:
    """What the kernels ask for as `marks`."""
    return memoryview(bytearray(256))


def filled(size: int, fill: Callable[[memoryview], object]) -> bytes:
    """The `size` octets that `fill` writes. They are written where they stay: a copy of 20 MB holds the interpreter."""
    if not size:
        return b""
    content = io.BytesIO(bytes(size))
    with content.getbuffer() as buffer:
        prefer_large_pages(buffer)
        fill(buffer)
    return content.getvalue()


def concatenated(parts: Sequence[Buffer]) -> bytes:
    """All `parts` in one row; unlike a join, a copy of megabytes leaves the interpreter to others."""
    size = sum([len(part) for part in parts])

    def fill(out: memoryview) -> None:
        whole = np.frombuffer(out, dtype=np.uint8)
        done = 0
        for part in parts:
            whole[done : done + len(part)] = np.frombuffer(part, dtype=np.uint8)
            done += len(part)

    return filled(size, fill) if size > _SMALL else b"".join(parts)


def octets_of(array: NDArray[Any]) -> bytes:
    """The elements of `array` as they lie in memory; as `concatenated`."""
    return concatenated([np.ascontiguousarray(array).reshape(-1).view(np.uint8).data])


def lengths_of(names: NameBlock) -> NDArray[np.uint32]:
    """The length of each name."""
    offsets = np.frombuffer(names.offsets, dtype=np.uint32)
    return offsets[1:] - offsets[:-1]


def joined(blocks: Sequence[NameBlock]) -> NameBlock:
    """All names of `blocks`, one block after the other."""
    if len(blocks) == 1:
        return blocks[0]
    if not blocks:
        return EMPTY_NAMES
    pieces: list[Buffer] = []
    offsets = [np.zeros(1, dtype=np.uint32)]
    size = 0
    for block in blocks:
        own = np.frombuffer(block.offsets, dtype=np.uint32)
        offsets.append(own[1:] - own[0] + np.uint32(size))
        pieces.append(memoryview(block.data)[own[0] : own[-1]])
        size += len(pieces[-1])
    return NameBlock(data=concatenated(pieces), offsets=octets_of(np.concatenate(offsets)))


def is_ordered(names: NameBlock) -> bool:
    """Whether the names stand in canonical order and none is there twice."""
    return bool(tapir.kernels.order.disorder(names.data, offsets_of(names), scratch()) == len(names))


def follow_in_order(blocks: Sequence[NameBlock]) -> bool:
    """Whether the names of all blocks, one after the other, stand in canonical order and none is there twice."""
    ends = [name_of(block, number) for block in blocks for number in sorted({0, len(block) - 1}) if len(block)]
    return is_ordered(NameBlock.of(ends)) and all(is_ordered(block) for block in blocks)


def joined_records(blocks: Sequence[RecordBlock]) -> RecordBlock:
    """All records of `blocks`, one block after the other."""
    return RecordBlock(
        names=joined([block.names for block in blocks]), actions=concatenated([block.actions for block in blocks])
    )


def order_of(names: NameBlock) -> Numbers:
    """The numbers of the names, in canonical order; equal names stay in the order given."""
    count = len(names)
    offsets = offsets_of(names)
    marks = scratch()
    split = tapir.kernels.order.disorder(names.data, offsets, marks)
    if split == count:
        return np.arange(count, dtype=np.uint32)
    if split + tapir.kernels.order.disorder(names.data, offsets[split:], marks) == count:
        # What is removed and what is added, each in order: nothing is to be sorted.
        woven = np.empty(count, dtype=np.uint32)
        tapir.kernels.order.weave(names.data, offsets, split, woven.data, marks)
        return woven
    keys = np.empty(tapir.kernels.order.key_octets(names.data, offsets), dtype=np.uint8).data
    starts = np.empty(count + 1, dtype=np.uint32).data
    tapir.kernels.order.make_keys(names.data, offsets, marks, keys, starts)
    order = np.arange(count, dtype=np.uint32)
    spare, counts = np.empty_like(order), np.empty(2048, dtype=np.uint32)
    heads, spare_heads = np.empty(count, dtype=np.uint64), np.empty(count, dtype=np.uint64)
    sort_names(keys, starts, order.data, heads.data, spare.data, spare_heads.data, counts.data)
    return order


def taken(names: NameBlock, numbers: Numbers) -> NameBlock:
    """The names of these numbers, in this order."""
    offsets = np.empty(len(numbers) + 1, dtype=np.uint32).data
    size = int(lengths_of(names)[numbers].sum())
    source = offsets_of(names)
    if size:
        data = filled(size, lambda out: tapir.kernels.columns.take(names.data, source, numbers.data, out, offsets))
    else:
        data = b""
        offsets[0] = 0
    return NameBlock(data=data, offsets=octets_of(np.asarray(offsets)))


@attrs.frozen(kw_only=True, eq=False)
class Changes:
    """Names in canonical order, none twice, with the action of each before and after (`Action.NONE` for no record)."""

    names: NameBlock
    before: bytes
    after: bytes

    def __len__(self) -> int:
        return len(self.before)

    def name(self, index: int) -> Name:
        """The name of change `index`."""
        return name_of(self.names, index)

    def part(self, start: int, end: int) -> "Changes":
        """The changes from `start` to `end`."""
        names = NameBlock(data=self.names.data, offsets=self.names.offsets[4 * start : 4 * (end + 1)])
        return Changes(names=names, before=self.before[start:end], after=self.after[start:end])

    def delta(self) -> RecordDelta:
        """The changes that change something, as a difference."""
        before = np.frombuffer(self.before, dtype=np.uint8)
        after = np.frombuffer(self.after, dtype=np.uint8)
        changed = before != after
        return RecordDelta(
            removed=records_of(self.names, before, np.flatnonzero(changed & (before != 0)).astype(np.uint32)),
            added=records_of(self.names, after, np.flatnonzero(changed & (after != 0)).astype(np.uint32)),
        )


NO_CHANGES = Changes(names=EMPTY_NAMES, before=b"", after=b"")


def name_of(names: NameBlock, index: int) -> Name:
    """Name `index` of a block."""
    offsets = offsets_of(names)
    return Name(names.data[offsets[index] : offsets[index + 1]])


def steps_of(parts: Sequence[RecordBlock]) -> tuple[NameBlock, bytes, bytes]:
    """All records of parts that remove and add by turns, in one row: their names, whether they add, their actions."""
    adds = b"".join([bytes((number & 1,)) * len(part) for number, part in enumerate(parts)])
    return joined([part.names for part in parts]), adds, concatenated([part.actions for part in parts])


def net_of(names: NameBlock, adds: bytes, actions: bytes, order: Numbers) -> tuple[Changes, int | None]:
    """What the steps come to; or the number of one that does not follow the one before it."""
    heads = np.empty(len(order), dtype=np.uint32)
    before = np.empty(len(order), dtype=np.uint8)
    after = np.empty(len(order), dtype=np.uint8)
    count = tapir.kernels.columns.net(
        names.data,
        offsets_of(names),
        order.data,
        adds,
        actions,
        heads.data,
        before.data,
        after.data,
    )
    if count < 0:
        return NO_CHANGES, -1 - count
    changes = Changes(
        names=taken(names, heads[:count]), before=octets_of(before[:count]), after=octets_of(after[:count])
    )
    return changes, None


def records_of(
    names: NameBlock, actions: "np.ndarray[tuple[int], np.dtype[np.uint8]]", numbers: Numbers
) -> RecordBlock:
    return RecordBlock(names=taken(names, numbers), actions=octets_of(actions[numbers]))
